"""Single pictures as files: what is in them, their names, and what is told if one is refused."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from reenact.errors import SinkError
from reenact.sinks.pictures import store_picture
from reenact.types import Frame
from support.clips import four_colours

SIZE = (161, 121)
ALPHA = np.ascontiguousarray(
    np.broadcast_to(np.arange(SIZE[0], dtype=np.uint8)[None], SIZE[::-1]), np.uint8
)


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's video folder, which does not exist yet."""
    folder = tmp_path / "Videos"
    monkeypatch.setattr("platformdirs.user_videos_path", lambda: folder)
    return folder


@pytest.mark.parametrize("alpha", [None, ALPHA])
def test_a_picture_comes_back_with_its_alpha_and_says_that_it_is_synthetic(
    alpha: NDArray[np.uint8] | None, videos: Path
) -> None:
    image = four_colours(SIZE)
    hours = {f"{datetime.now():%Y-%m-%d %H}"}
    path = store_picture(Frame(image, 5.0, 7, alpha))
    assert list(videos.iterdir()) == [path]
    hours.add(f"{datetime.now():%Y-%m-%d %H}")
    assert any(path.name.startswith(f"reenact {hour}.") for hour in hours)
    with Image.open(path) as stored:
        assert (stored.format, stored.size) == ("PNG", SIZE)
        assert stored.mode == ("RGB" if alpha is None else "RGBA")
        pixels = np.asarray(stored)
        assert (pixels[..., :3] == image).all()
        assert alpha is None or (pixels[..., 3] == alpha).all()
        assert stored.text == {  # type: ignore[attr-defined]
            "Title": "Synthetic picture",
            "Comment": "Synthetic picture made with reenact: the face is moved by another person.",
            "Synthetic": "true",
        }
    with Image.open(path) as stored:
        stored.verify()  # the sums of all chunks


def test_no_picture_takes_the_place_of_another(
    videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Mock(now=Mock(return_value=datetime(2026, 1, 2, 3, 4, 5)))
    monkeypatch.setattr("reenact.sinks.recordings.datetime.datetime", clock)
    videos.mkdir()
    mine = videos / "reenact 2026-01-02 03.04.05.png"
    mine.write_bytes(b"mine")
    paths = [store_picture(Frame(four_colours(), 0.0, 0)) for _ in range(2)]
    assert [path.name for path in paths] == [
        f"reenact 2026-01-02 03.04.05 {number}.png" for number in (2, 3)
    ]
    assert mine.read_bytes() == b"mine"


def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.user_videos_path", lambda: small_disk)
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), dtype=np.uint8)
    with pytest.raises(SinkError, match="the disk is full") as caught:
        store_picture(Frame(noise, 0.0, 0))
    assert str(caught.value).count("\n") == 0
    assert list(small_disk.iterdir()) == []


def test_a_folder_that_refuses_is_one_sentence(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos.write_bytes(b"a file where the folder should be")
    with pytest.raises(SinkError, match="Videos cannot be made"):
        store_picture(Frame(four_colours(), 0.0, 0))
    tmp_path.chmod(0o500)
    refusing = tmp_path if not os.access(tmp_path, os.W_OK) else Path("/proc/self")
    if not refusing.is_dir():
        pytest.skip("this user may write everywhere")
    monkeypatch.setattr("platformdirs.user_videos_path", lambda: refusing)
    with pytest.raises(SinkError, match=r"reenact .*\.png cannot be written") as caught:
        store_picture(Frame(four_colours(), 0.0, 0))
    assert str(caught.value).count("\n") == 0
