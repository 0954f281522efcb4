"""Reports are written whole or not at all, and refusals say why."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from reenact.errors import SinkError
from reenact.storage import check_writable, write_json, write_png


def test_json_and_png_come_back_as_they_were(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"mean": {"psnr": 20.5, "identity": None}})
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "mean": {"psnr": 20.5, "identity": None}
    }
    image = np.zeros((4, 6, 3), np.uint8)
    image[..., 0] = 200  # red
    write_png(tmp_path / "a.png", image)
    blue_first = cv2.imread(str(tmp_path / "a.png"))
    assert blue_first.shape == (4, 6, 3)
    assert blue_first[0, 0].tolist() == [0, 0, 200]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.png"]


def test_an_unwritable_value_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_missing_folder_and_folder_as_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="there is no folder"):
        check_writable(tmp_path / "missing" / "a.json")
    with pytest.raises(SinkError, match="there is no folder"):
        write_json(tmp_path / "missing" / "a.json", {})
    with pytest.raises(SinkError, match="is a folder"):
        check_writable(tmp_path)
    check_writable(tmp_path / "a.json")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_refuses_is_named(tmp_path: Path) -> None:
    closed = Path("/proc/reenact.json")
    if not Path("/proc").is_dir():
        pytest.skip("no folder here refuses the superuser")
    with pytest.raises(SinkError, match=r"/proc/reenact\.json cannot be written"):
        check_writable(closed)
