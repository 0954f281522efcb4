"""The still image and test pattern sources, and the registered sources."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reenact.config import SourceSettings
from reenact.errors import ReenactError
from reenact.registry import available, load
from reenact.sources import clocked
from reenact.sources.clocked import ClockedSettings
from reenact.sources.image_file import ImageSource
from reenact.sources.pattern import PatternSettings, PatternSource, pattern_image
from reenact.types import Frame, Source
from support.clips import read_all, write_png


def test_still_source_with_an_end_is_not_paced(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", np.full((8, 9, 3), 3, np.uint8))
    source = ImageSource(path, 25, frames=5)
    assert (source.live, source.size, source.fps, source.name) == (False, (9, 8), 25, "a.png")
    frames = read_all(source)
    assert [(frame.index, frame.time_s) for frame in frames] == [(i, i / 25) for i in range(5)]


class FakeTime:
    """Stands in for the module `time` and for the event that a paced source waits on."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def wait(self, timeout_s: float) -> bool:
        self.now_s += timeout_s
        return False

    def is_set(self) -> bool:
        return False


@given(
    fps=st.sampled_from([0.5, 10.0, 24.0, 30.0, 240.0]),
    busy_ticks=st.lists(st.floats(0, 5), max_size=30),
)
def test_live_source_gives_one_frame_a_tick_and_leaves_missed_ticks_out(
    fps: float, busy_ticks: list[float]
) -> None:
    """The reader is busy for some ticks after each frame."""
    time = FakeTime()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocked, "time", time)
        source = PatternSource((64, 48), fps=fps)
        patch.setattr(source, "_closing", time)
        assert source.live
        ticks = []
        for index, busy in enumerate([*busy_ticks, 0.0]):
            asked_s = time.now_s
            frame = source.read()
            assert frame is not None
            assert frame.index == index
            assert frame.time_s == time.now_s
            ticks.append((frame.time_s - 1000.0) * fps)
            waited = frame.time_s > asked_s
            assert not waited or ticks[-1] == pytest.approx(round(ticks[-1]), abs=1e-6)
            time.now_s += busy / fps
    slots = np.floor(np.array(ticks) + 1e-6)
    assert (np.diff(slots) >= 1).all()  # no burst to catch up
    # No tick is left out without a reason.
    assert all(np.diff(slots) <= np.ceil(np.array(busy_ticks)) + 1)


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
        source = load("sources", kind).make(argument, settings)
        assert isinstance(source, Source)
        assert source.size == size
        assert len(read_all(source)) == count


@pytest.mark.parametrize(("kind", "argument"), [("video", ""), ("image", ""), ("pattern", "x")])
def test_wrong_arguments_are_refused(kind: str, argument: str) -> None:
    with pytest.raises(ReenactError):
        load("sources", kind).make(argument, SourceSettings())
