"""NDI, out and in, through its own library on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reenact.config import Section
from reenact.errors import SinkError, SourceError
from reenact.sources.reconnecting import ReconnectingSource
from reenact.types import Frame, Image
from support.plugins import PLUGINS

sys.path.append(str(PLUGINS / "reenact_ndi"))
# The library asks this machine by its address: a runner may have neither Avahi nor a network.
os.environ["NDI_CONFIG_DIR"] = str(Path(__file__).parents[1] / "support" / "ndi")

pytest.importorskip("cyndilib", reason="cyndilib is not installed")

from reenact_ndi import library
from reenact_ndi.library import find_senders, load_module
from reenact_ndi.sink import NdiSink
from reenact_ndi.source import NdiSource, open_sender

FPS = 30.0


def halves(size: tuple[int, int]) -> Image:
    """Return a picture whose left half is green, and the right one red."""
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    picture[:, : size[0] // 2] = 20, 200, 60
    picture[:, size[0] // 2 :] = 220, 30, 40
    return picture


class Sender:
    """Sends one picture again and again, as a session does."""

    def __init__(self) -> None:
        self.called = uuid.uuid4().hex
        self.picture = halves((320, 240))
        self.alpha: NDArray[np.uint8] | None = None
        self._sink: NdiSink | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def start(self) -> None:
        self._sink = NdiSink(self.called)
        self._sink.open((320, 240), FPS)
        self._stop.clear()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._sink is not None:
            self._thread.join()
            self._sink.close()

    def _send(self) -> None:
        assert self._sink is not None
        number = 0
        while not self._stop.wait(1 / FPS):
            self._sink.write(Frame(self.picture, time.monotonic(), number, self.alpha))
            number += 1


@pytest.fixture
def sender() -> Iterator[Sender]:
    """A sender that runs."""
    sender = Sender()
    sender.start()
    yield sender
    sender.stop()


def read_until(source: NdiSource | ReconnectingSource, size: tuple[int, int]) -> Frame:
    """Read on through passing failures until a frame has this size."""
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        try:
            frame = source.read()
        except SourceError:
            continue
        assert frame is not None
        if frame.size == size:
            return frame
    raise AssertionError(f"no picture of {size} came")


def test_pictures_arrive_as_they_were_sent_and_follow_a_new_size(sender: Sender) -> None:
    with open_sender(sender.called[4:].upper(), Section()) as source:
        assert sender.called in source.name
        assert source.fps == FPS
        assert source.size == (320, 240)
        sent = halves((320, 240))
        frames = [read_until(source, (320, 240)) for _ in range(5)]
        assert all(np.abs(frame.image.astype(int) - sent)[:, :150].max() < 8 for frame in frames)
        assert np.diff([frame.index for frame in frames]).min() > 0
        assert np.diff([frame.time_s for frame in frames]).min() > 0
        sender.picture = halves((400, 300))
        wide = read_until(source, (400, 300))
        assert np.abs(wide.image.astype(int) - sender.picture)[:, 250:].max() < 8


def test_the_alpha_channel_is_sent(sender: Sender) -> None:
    sender.alpha = np.full((240, 320), 255, np.uint8)
    sender.alpha[:120] = 64
    finder, found = find_senders(sender.called, 10, SourceError)
    forms = load_module("wrapper.ndi_recv", SourceError)
    video = load_module("video_frame", SourceError).VideoFrameSync()
    receiver = load_module("receiver", SourceError).Receiver(
        color_format=forms.RecvColorFormat.RGBX_RGBA, bandwidth=forms.RecvBandwidth.highest
    )
    receiver.frame_sync.set_video_frame(video)
    receiver.set_source(library.matching(found, sender.called)[0])
    alpha = np.full((240, 320), 255, np.uint8)
    deadline_s = time.monotonic() + 20
    while alpha[10, 10] == 255 and time.monotonic() < deadline_s:
        time.sleep(0.02)
        receiver.frame_sync.capture_video()
        if video.xres:
            alpha = np.frombuffer(video, np.uint8).reshape(240, 320, 4)[..., 3].copy()
    receiver.disconnect()
    finder.close()
    assert np.abs(alpha[:110].astype(int) - 64).max() < 4
    assert alpha[130:].min() > 250


def test_a_sender_that_went_away_is_waited_for(sender: Sender) -> None:
    with open_sender(sender.called, Section()) as source:
        read_until(source, (320, 240))
        sender.stop()
        deadline_s = time.monotonic() + 20
        while "no picture over NDI" not in source.problem and time.monotonic() < deadline_s:
            with contextlib.suppress(SourceError):
                source.read()
        assert "no picture over NDI" in source.problem
        sender.start()
        read_until(source, (320, 240))
        assert source.reopened


def test_a_source_that_is_closed_wakes_its_reader(sender: Sender) -> None:
    source = NdiSource(sender.called)
    source.read()
    sender.stop()
    frames: list[Frame | None] = []

    def read() -> None:
        while not frames or frames[-1] is not None:
            frames.append(source.read())

    reader = threading.Thread(target=read)
    reader.start()
    source.close()
    source.close()
    reader.join(5)
    assert frames[-1] is None


def test_a_name_must_fit_one_sender(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reenact_ndi.source._FIND_S", 1.0)
    with pytest.raises(SourceError, match=r"ndi:nobody .* the network has: .*" + sender.called):
        NdiSource("nobody")


def test_a_closed_sink_says_so(sender: Sender) -> None:
    sink = NdiSink("")
    assert sink.name == "ndi"
    sink.close()
    with pytest.raises(SinkError, match="closed"):
        sink.write(Frame(halves((32, 32)), 0.0, 0))


def test_a_missing_library_and_a_missing_avahi_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(library, "_AVAHI", tmp_path / "socket")
    monkeypatch.setattr(sys, "platform", "linux")
    with caplog.at_level(logging.WARNING):
        library.warn_without_avahi()
    assert "avahi-daemon" in caplog.text
    monkeypatch.setitem(sys.modules, "cyndilib", None)
    monkeypatch.delitem(sys.modules, "cyndilib.sender", raising=False)
    with pytest.raises(SinkError, match="pip install cyndilib"):
        NdiSink("").open((32, 32), FPS)
