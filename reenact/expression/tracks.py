"""Emotions and action units over time, from a file (`drive.track`).

CSV with a header, or JSON lines; the columns or keys are:

- `time_s`: seconds since the first frame, rising;
- emotions (`emotions.EMOTIONS`) and action units (`topology.ACTION_UNITS`): 0 to 1;
- `intensity`: a factor on `drive.intensity`, 0 to 2; 1 if left out.

Other columns that are left out are 0. Values change linearly from row to row. Before the first row
and after the last one only the actor drives.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import numpy as np

from reenact.errors import ConfigError
from reenact.expression.emotions import EMOTIONS
from reenact.face.topology import ACTION_UNITS
from reenact.types import Array

_VALUES: Final = (*EMOTIONS, *ACTION_UNITS, "intensity")


@dataclass(frozen=True, slots=True)
class Track:
    """Emotions, action units and intensity over time.

    Attributes:
        times_s: (N,), rising.
        values: (N, 26): emotions, action units, intensity.
    """

    times_s: Array
    values: Array

    def at(self, time_s: float) -> tuple[Array, Array, float] | None:
        """Return emotions (8,), action units (17,) and the intensity; None outside the track."""
        times_s = self.times_s
        if not times_s[0] <= time_s <= times_s[-1]:
            return None
        after = int(np.searchsorted(times_s, time_s))
        before = max(after - 1, 0)
        span = float(times_s[after] - times_s[before])
        share = np.float32((time_s - times_s[before]) / span if span else 1.0)
        found = self.values[before] + share * (self.values[after] - self.values[before])
        return found[: len(EMOTIONS)], found[len(EMOTIONS) : -1], float(found[-1])


def load_track(path: Path) -> Track:
    """Read a track.

    Raises:
        ConfigError: it cannot be read, names something unknown, or holds a value out of range.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows: Sequence[Mapping[str, Any]]
        if path.suffix.lower() == ".csv":
            table = csv.DictReader(text.splitlines())
            if twice := _repeated(table.fieldnames or ()):
                raise ValueError(f"it has two columns {twice}")
            rows = list(table)
        else:
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        if not rows:
            raise ValueError("it has no row")
        times_s, values = zip(*(_row(row) for row in rows), strict=True)
    except FileNotFoundError as error:
        raise ConfigError(f"drive.track: there is no file {path}; check the path.") from error
    except OSError as error:
        raise ConfigError(f"drive.track: {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"drive.track: {path} is not text in UTF-8; use a CSV file or JSON lines."
        ) from error
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"drive.track: {path} is not JSON lines; a CSV file needs a name that ends in .csv."
        ) from error
    except (ValueError, TypeError, AttributeError, csv.Error) as error:
        raise ConfigError(f"drive.track: {path} cannot be used: {error}.") from error
    if np.any(np.diff(times_s) <= 0):
        raise ConfigError(f"drive.track: the times of {path} do not rise.")
    return Track(np.array(times_s, np.float64), np.array(values, np.float32))


def _repeated(names: Sequence[str]) -> str:
    return next((name for name in names if names.count(name) > 1), "")


def _row(row: Mapping[str, Any]) -> tuple[float, list[float]]:
    if not isinstance(row, dict):
        raise ValueError(f'{row} is not a row such as {{"time_s": 0, "happy": 1}}')
    if None in row:  # where the csv module puts them
        raise ValueError(f"the row at {row.get('time_s')} s has more values than the header")
    unknown = [name for name in row if name not in (*_VALUES, "time_s")]
    if any(";" in name for name in unknown):
        raise ValueError("its columns must be separated by commas")
    if unknown or "time_s" not in row:
        if not unknown:
            raise ValueError("there is no time_s")
        near = get_close_matches(unknown[0], (*_VALUES, "time_s"), 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"unknown column {unknown[0]!r}{hint}")
    given = {name: value for name, value in row.items() if value not in (None, "")}
    time_s = _number(row["time_s"], "time_s")
    if not math.isfinite(time_s):
        raise ValueError(f"{row['time_s']} is not a time")
    values = [_number(given.get(name, name == "intensity"), name) for name in _VALUES]
    for name, value in zip(_VALUES, values, strict=True):
        highest = 2 if name == "intensity" else 1
        if not 0 <= value <= highest:  # NaN is not either
            raise ValueError(f"{name} at {time_s:g} s is {value:g}; give 0 to {highest}")
    return time_s, values


def _number(given: Any, name: str) -> float:
    try:
        return float(given)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {given!r}, which is not a number") from None
