"""Contact sheets and side-by-side videos of labelled pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.evaluation.clips import CLIP_FPS
from reenact.face.geometry import farthest_points
from reenact.imaging import resized_square
from reenact.sinks.video_file import FileSink, write_video
from reenact.storage import make_folder, write_png
from reenact.types import Array, Image

MAX_SIDE_PX: Final = 2400
"""Maximum side of a sheet, px; further rows go onto the next sheet."""

_MAX_TILE_PX: Final = 256
_STRIP_PX: Final = 22
_GAP_PX: Final = 4
_BACKGROUND: Final = 24
_INK: Final = (235, 235, 235)
_WHITE_ERROR_LEVELS: Final = 96.0
_CRF: Final = 14  # finer than for recordings, so that compression hides no difference


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One row of a sheet: an ASCII label, and one uint8 (S, S, 3) RGB picture per column."""

    label: str
    pictures: Sequence[Image]


def error_map(true: Image, rendered: Image) -> Image:
    """Map the difference of two pictures to colour: black, red, yellow, and white at 96 levels."""
    error = np.abs(true.astype(np.float32) - rendered.astype(np.float32)).mean(axis=-1)
    heat = error[..., None] * np.float32(3 / _WHITE_ERROR_LEVELS) - np.arange(3, dtype=np.float32)
    return np.asarray((np.clip(heat, 0, 1) * 255).astype(np.uint8))


def spread_out(shapes: Array, count: int) -> list[int]:
    """Return the frames that differ most from the first frame and from each other, ascending.

    `shapes` are (N, 478, 3) in the face frame. At most N - 1 frames are returned.
    """
    flat = shapes.reshape(len(shapes), -1).astype(np.float64)
    return sorted(farthest_points(flat, [0], count))


def compose(columns: Sequence[str], rows: Sequence[SheetRow]) -> list[Image]:
    """Lay out labelled rows on as many sheets as needed, each at most 2,400 px wide and high.

    Headings are ASCII. Each row has one picture per column. Returns uint8 (H, W, 3) RGB sheets.
    """
    tile = min(_MAX_TILE_PX, (MAX_SIDE_PX - _GAP_PX) // len(columns) - _GAP_PX)
    row_height = tile + _STRIP_PX + _GAP_PX
    rows_a_sheet = max(1, (MAX_SIDE_PX - _STRIP_PX - _GAP_PX) // row_height)
    return [
        _sheet(columns, rows[start : start + rows_a_sheet], tile)
        for start in range(0, len(rows), rows_a_sheet)
    ]


def write_sheets(path: Path, columns: Sequence[str], rows: Sequence[SheetRow]) -> None:
    """Write the sheets of `compose` as PNG files: NAME.png, NAME-2.png, NAME-3.png."""
    for number, sheet in enumerate(compose(columns, rows), start=1):
        write_png(path if number == 1 else path.with_stem(f"{path.stem}-{number}"), sheet)


def _sheet(columns: Sequence[str], rows: Sequence[SheetRow], tile: int) -> Image:
    width = len(columns) * (tile + _GAP_PX) + _GAP_PX
    height = _STRIP_PX + len(rows) * (tile + _STRIP_PX + _GAP_PX) + _GAP_PX
    canvas = np.full((height, width, 3), _BACKGROUND, np.uint8)
    lefts = [_GAP_PX + number * (tile + _GAP_PX) for number in range(len(columns))]
    for left, head in zip(lefts, columns, strict=True):
        _write(canvas[:_STRIP_PX, left : left + tile], head)
    top = _STRIP_PX
    for row in rows:
        _write(canvas[top : top + _STRIP_PX, _GAP_PX:], row.label)
        top += _STRIP_PX
        for left, picture in zip(lefts, row.pictures, strict=True):
            canvas[top : top + tile, left : left + tile] = resized_square(picture, tile)
        top += tile + _GAP_PX
    return canvas


def _write(strip: NDArray[np.uint8], text: str) -> None:
    """Write a line of text into a strip of the sheet."""
    line = np.ascontiguousarray(strip)
    cv2.putText(
        line, text, (3, _STRIP_PX - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _INK, 1, cv2.LINE_AA
    )
    strip[...] = line


def prepare_folder(folder: Path) -> None:
    """Make a folder unless it is there. Raises SinkError if no video can be written in it."""
    make_folder(folder)
    FileSink(folder / "check.mp4")


def write_side_by_side(folder: Path, name: str, runs: Mapping[str, Sequence[Image]]) -> None:
    """Write sequences of pictures side by side as NAME.mp4, labelled with the time.

    `runs` maps a column heading to uint8 (S, S, 3) RGB pictures; all runs have the same length.
    Nothing is written if there are none.
    """
    frames = enumerate(zip(*runs.values(), strict=True))
    rows = (SheetRow(f"{name}, {number / CLIP_FPS:.2f} s", row) for number, row in frames)
    pictures = (compose(list(runs), [row])[0] for row in rows)
    write_video(folder / f"{name}.mp4", pictures, CLIP_FPS, _CRF)
