"""The sheet of extremes, drawn by the script as the model card names it."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from reenact.evaluation.single_expressions import SINGLE_EXPRESSIONS, TURNS
from support.program import repository

MIN_CHANGE_LEVELS, MIN_CHANGED_PX = 20, 60
"""An expression changes at least the area of an eye by more than noise and edges differ."""

SCRIPT = repository() / "benchmarks" / "extremes.py"


@pytest.mark.slow
def test_no_two_expressions_look_alike(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    subprocess.run([sys.executable, str(SCRIPT), str(sheet)], check=True, capture_output=True)
    picture = cv2.imread(str(sheet))
    assert picture is not None
    gap, columns = 4, 1 + len(SINGLE_EXPRESSIONS) + len(TURNS)
    step = (picture.shape[1] - gap) // columns
    side = step - gap
    drawn = [
        picture[-step:-gap, gap + column * step :][:, :side].astype(int)
        for column in range(1, columns)
    ]
    for first, second in itertools.combinations(drawn, 2):
        assert first.shape == second.shape == (side, side, 3)
        changed = np.abs(first - second).mean(axis=2) > MIN_CHANGE_LEVELS
        assert changed.sum() > MIN_CHANGED_PX, "two expressions look alike"
