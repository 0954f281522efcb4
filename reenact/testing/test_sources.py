"""Every source: frames of the declared size with increasing times."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from reenact import registry
from reenact.config import SourceSettings
from reenact.errors import SourceError
from reenact.face.geometry import canonical_face
from reenact.performance import PerformanceWriter
from reenact.storage import write_png
from reenact.testing.moving_portrait import write_video
from reenact.types import Frame, Image, Landmarks, PerformanceFrame, Source

FRAMES = 8


def picture(number: int) -> Image:
    """Return a picture of 160 x 120 px that gets brighter with its number."""
    return np.full((120, 160, 3), 20 * number, np.uint8)


def write_performance(path: Path) -> None:
    """Store a performance in which nothing moves, seen in a picture of 160 x 120 px."""
    writer = PerformanceWriter(path, 25.0)
    seen = Landmarks(60 * canonical_face() + np.float32(60), 1.0, (160, 120))
    for index in range(FRAMES):
        writer.add(PerformanceFrame(seen, index / 25))
    writer.close()


def open_source(name: str, tmp_path: Path) -> Source:
    """Open a source.

    The placeholder of its argument decides: PATH reads a video, or a picture if the source is
    still; FILE a stored performance; FOLDER pictures. All others are opened without an argument.
    """
    spec = registry.load("sources", name)
    argument = ""
    if spec.argument.startswith("PATH"):
        if spec.still:
            path = tmp_path / "picture.png"
            write_png(path, picture(5))
        else:
            path = tmp_path / "clip.mp4"
            write_video(path, map(picture, range(FRAMES)))
        argument = str(path)
    elif spec.argument.startswith("FILE"):
        argument = str(tmp_path / "take.npy")
        write_performance(Path(argument))
    elif spec.argument.startswith("FOLDER"):
        for number in range(FRAMES):
            write_png(tmp_path / f"{number}.png", picture(number))
        argument = str(tmp_path)
    try:
        source = spec.make(argument, SourceSettings())
    except SourceError as error:
        skip_if_absent(name, error)
        raise
    assert isinstance(source, Source)
    return source


def skip_if_absent(name: str, error: SourceError) -> None:
    """Skip the test of a source that needs a device or a sender."""
    spec = registry.load("sources", name)
    if spec.needs:
        pytest.skip(f"{name} needs {spec.needs}: {error}")


@pytest.mark.parametrize("name", registry.available("sources"))
def test_source_delivers_frames(name: str, tmp_path: Path) -> None:
    with open_source(name, tmp_path) as source:
        assert source.name
        assert source.fps > 0
        frames: list[Frame] = []
        try:
            while len(frames) < FRAMES and (frame := source.read()) is not None:
                frames.append(frame)
        except SourceError as error:
            if not frames:
                skip_if_absent(name, error)
            raise
        assert len(frames) == FRAMES
        for frame in frames:
            assert frame.image.dtype == np.uint8
            assert frame.image.shape == (source.size[1], source.size[0], 3)
            assert frame.image.flags.c_contiguous
        times = [frame.time_s for frame in frames]
        assert times == sorted(set(times)), "times must increase"
        indices = [frame.index for frame in frames]
        assert indices == sorted(set(indices)), "indices must increase"
        if source.live:
            assert abs(times[-1] - time.monotonic()) < 5.0, "a live source needs monotonic times"
        else:
            assert times[0] == 0.0
    source.close()  # again


@pytest.mark.parametrize("name", registry.available("sources"))
def test_closed_source_has_ended(name: str, tmp_path: Path) -> None:
    source = open_source(name, tmp_path)
    source.close()
    assert source.read() is None
