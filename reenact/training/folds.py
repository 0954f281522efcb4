"""Files of folds, `{"folds": [["name", ...], ...]}`: people who are held out together."""

from __future__ import annotations

import json
from pathlib import Path

from reenact.errors import ReenactError, counted


def read_folds(path: Path) -> list[set[str]]:
    """Return the people of each fold. Raises ReenactError if the file is missing or another."""
    try:
        return [set(fold) for fold in json.loads(path.read_text(encoding="utf-8"))["folds"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReenactError(f"{path} is not a file of folds: {error}.") from error


def read_fold(path: Path, number: int) -> set[str]:
    """Return the people of one fold. Raises ReenactError if the file or the fold is missing."""
    folds = read_folds(path)
    if not 0 <= number < len(folds):
        last = f"the last one is {len(folds) - 1}"
        raise ReenactError(f"{path} has {counted(len(folds), 'fold')} from 0; {last}.")
    return folds[number]
