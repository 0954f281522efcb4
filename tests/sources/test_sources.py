"""The still image and test pattern sources, and how all sources are registered."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from reenact.config import SourceSettings
from reenact.errors import ReenactError
from reenact.registry import available, load
from reenact.sources.clocked import ClockedSettings
from reenact.sources.image_file import ImageSource
from reenact.sources.pattern import PatternSettings, PatternSource, pattern_image
from reenact.types import Frame, Source
from support.clips import (
    read_all,
    write_png,
)


def test_still_source_with_an_end_is_not_paced(tmp_path: Path) -> None:
    source = ImageSource(
        write_png(tmp_path / "a.png", np.full((8, 9, 3), 3, np.uint8)), 25, frames=5
    )
    assert (source.live, source.size, source.fps, source.name) == (False, (9, 8), 25, "a.png")
    frames = read_all(source)
    assert [(frame.index, frame.time_s) for frame in frames] == [(i, i / 25) for i in range(5)]


def test_endless_source_is_live_and_paced() -> None:
    source = PatternSource((64, 48), fps=100)
    assert source.live
    before_s = time.monotonic()
    frames = [frame for frame in (source.read() for _ in range(21)) if frame is not None]
    source.close()
    assert [frame.index for frame in frames] == list(range(21))
    times_s = [frame.time_s for frame in frames]
    assert before_s <= times_s[0]
    assert times_s[-1] <= time.monotonic()
    # Late is possible on a busy machine, early is a bug: 20 ticks of 10 ms.
    assert times_s[-1] - times_s[0] >= 0.19


def test_missed_ticks_are_left_out() -> None:
    with PatternSource((64, 48), fps=100) as source:
        source.read()
        time.sleep(0.3)
        frames = [frame for frame in (source.read() for _ in range(11)) if frame is not None]
    assert [frame.index for frame in frames] == list(range(1, 12))
    assert frames[-1].time_s - frames[0].time_s > 0.085  # no burst to catch up


def test_close_wakes_a_waiting_read() -> None:
    source = PatternSource((64, 48), fps=0.01)
    assert source.read() is not None
    result: list[Frame | None] = []
    thread = threading.Thread(target=lambda: result.append(source.read()))
    thread.start()
    source.close()
    source.close()
    thread.join(timeout=5)
    assert result == [None]


# --- test pattern -----------------------------------------------------------------------------


def test_pattern_is_deterministic_and_moves() -> None:
    one = pattern_image(7, (320, 240))
    assert one.shape == (240, 320, 3)
    assert one.flags.c_contiguous
    assert np.array_equal(one, pattern_image(7, (320, 240)))
    following = pattern_image(8, (320, 240))
    top = slice(0, 40)  # above the number
    assert np.array_equal(following[top], np.roll(one[top], -4, axis=1))
    assert not np.array_equal(following[100:140, 120:200], one[100:140, 120:200])


@pytest.mark.parametrize("size", [(64, 64), (1920, 1080), (65, 481)])
def test_pattern_of_any_size(size: tuple[int, int]) -> None:
    frames = read_all(PatternSource(size, frames=3))
    assert [frame.size for frame in frames] == [size] * 3


# --- registration -----------------------------------------------------------------------------


def test_sources_are_registered_and_built(numbered_clip: Path, tmp_path: Path) -> None:
    assert {"webcam", "video", "image", "pattern"} <= set(available("sources"))
    picture = write_png(tmp_path / "b.png", np.zeros((70, 80, 3), np.uint8))
    settings = SourceSettings(
        image=ClockedSettings(fps=10, frames=2),
        pattern=PatternSettings(width=128, height=96, fps=10, frames=2),
    )
    for kind, argument, size, count in (
        ("video", str(numbered_clip), (160, 120), 30),
        ("image", str(picture), (80, 70), 2),
        ("pattern", "", (128, 96), 2),
    ):
        spec = load("sources", kind)
        source = spec.make(argument, settings)
        assert isinstance(source, Source)
        assert source.size == size
        assert len(read_all(source)) == count


@pytest.mark.parametrize(("kind", "argument"), [("video", ""), ("image", ""), ("pattern", "x")])
def test_wrong_arguments_are_refused(kind: str, argument: str) -> None:
    with pytest.raises(ReenactError):
        load("sources", kind).make(argument, SourceSettings())
