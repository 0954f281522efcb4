"""Sheets hold every picture, stay readable in size, and show the frames that differ."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reenact.evaluation.contact_sheet import (
    MAX_SIDE_PX,
    SheetRow,
    compose,
    error_map,
    spread_out,
    write_sheets,
)
from reenact.sources.image_file import read_image
from reenact.types import Image


def plain(colour: tuple[int, int, int], size_px: int = 64) -> Image:
    return np.full((size_px, size_px, 3), colour, np.uint8)


def test_every_picture_is_on_the_sheet_once() -> None:
    colours = [(200, 10 * i, 7) for i in range(6)]
    rows = [SheetRow("first", [plain(c) for c in colours[:3]])]
    rows.append(SheetRow("second", [plain(c) for c in colours[3:]]))
    (sheet,) = compose(["a", "b", "c"], rows)
    for colour in colours:
        ys, xs = np.nonzero((sheet == np.array(colour)).all(axis=-1))
        assert np.ptp(ys) == np.ptp(xs) == 255
        assert len(ys) == 256 * 256


def test_labels_are_written_above_the_pictures() -> None:
    (bare,) = compose(["", ""], [SheetRow("", [plain((0, 0, 0))] * 2)])
    (labelled,) = compose(["true", "warp"], [SheetRow("clip, frame 5", [plain((0, 0, 0))] * 2)])
    assert bare.max() < 100
    assert (labelled > 200).any(axis=-1)[:22].any()
    assert (labelled > 200).any(axis=-1)[22:44].any()


def test_many_rows_go_onto_further_sheets_of_bounded_size(tmp_path: Path) -> None:
    rows = [SheetRow(f"row {i}", [plain((i, 1, 2), 256)] * 10) for i in range(25)]
    columns = [f"c{i}" for i in range(10)]
    sheets = compose(columns, rows)
    assert len(sheets) == 3
    for sheet in sheets:
        assert max(sheet.shape) <= MAX_SIDE_PX
    seen = {int(v) for sheet in sheets for v in np.unique(sheet[..., 0])}
    assert set(range(25)) <= seen
    write_sheets(tmp_path / "a.png", columns, rows)
    for name, sheet in zip(("a.png", "a-2.png", "a-3.png"), sheets, strict=True):
        assert np.array_equal(read_image(tmp_path / name), sheet)
    assert len(list(tmp_path.iterdir())) == 3


def test_error_map_grows_from_black_to_white() -> None:
    true = plain((100, 100, 100))
    values = [error_map(true, plain((100 + e,) * 3))[0, 0].tolist() for e in (0, 16, 48, 96)]
    assert values[0] == [0, 0, 0]
    assert values[1][1:] == [0, 0]
    assert 0 < values[1][0] < 255
    assert values[2] == [255, 127, 0]
    assert values[3] == [255, 255, 255]


def test_spread_out_finds_the_odd_frames() -> None:
    shapes = np.random.default_rng(0).normal(0, 0.001, (20, 478, 3)).astype(np.float32)
    shapes[7, 13] += 0.3
    shapes[8, 13] += 0.29  # much like the one before: chosen last
    shapes[15, 33] -= 0.2
    assert spread_out(shapes, 2) == [7, 15]
    assert len(spread_out(shapes, 100)) == 19
