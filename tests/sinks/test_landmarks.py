"""The file of a performance: what a killed program and a full disk leave."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reenact.errors import SinkError
from reenact.sinks.landmarks import LandmarksSink
from reenact.types import Frame, Landmarks, PerformanceFrame

PICTURE = np.zeros((8, 8, 3), np.uint8)


def acted(index: int) -> Frame:
    points = np.full((478, 3), index, np.float32)
    performance = PerformanceFrame(Landmarks(points, 1.0, (8, 8)), index / 25)
    return Frame(PICTURE, index / 25, index, performance=performance)


def write(sink: LandmarksSink, frames: int) -> None:
    for index in range(frames):
        sink.write(acted(index))


def kept(path: Path) -> NDArray[np.void]:
    with path.open("rb") as file:
        np.load(file)
        frames: NDArray[np.void] = np.load(file)
    return frames


def test_an_older_performance_stays_until_the_new_one_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "take.npy"
    path.write_text("older")
    with LandmarksSink(str(path)) as sink:
        sink.open((8, 8), 25.0)
        sink.write(acted(0))
        assert path.read_text() == "older"
    assert len(kept(path)) == 1
    with LandmarksSink(str(tmp_path / "nobody.npy")) as sink:
        sink.open((8, 8), 25.0)
        sink.write(Frame(PICTURE, 0.0, 0))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process to kill")
def test_a_killed_program_leaves_what_it_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reenact.sinks.landmarks._FLUSH_S", 0.0)
    child = os.fork()
    if not child:
        sink = LandmarksSink(str(tmp_path / "take.npy"))
        sink.open((8, 8), 25.0)
        write(sink, 7)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (partial,) = tmp_path.iterdir()
    assert partial.name == "take.partial.npy"
    assert kept(partial)["tracked"][:, 0, 0].tolist() == list(range(7))


def test_a_full_disk_is_one_sentence_and_leaves_the_beginning(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reenact.sinks.landmarks._FLUSH_S", 0.0)
    sink = LandmarksSink(str(small_disk / "take.npy"))
    sink.open((8, 8), 25.0)
    with pytest.raises(SinkError, match=r"disk is full.*take\.partial\.npy") as caught:
        write(sink, 1000)
    assert "\n" not in str(caught.value)
    sink.close()
    frames = kept(small_disk / "take.partial.npy")
    assert len(frames) > 50
    assert frames["tracked"][:, 0, 0].tolist() == list(range(len(frames)))
