"""`reenact bench --glass-to-glass SINK`: the delay from capture to a program that reads the sink.

The whole path runs at a camera's rate. Each output picture carries the number of the frame it was
made from, as black and white fields along its upper edge. The pictures go through a real sink and
are read back the way another program would read them.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.config import Settings
from reenact.errors import SinkError, SourceError, counted
from reenact.evaluation.benchmark import (
    CAMERA_FPS,
    ClipReplay,
    demo_frames,
    own_settings,
    warm_reenactor,
)
from reenact.live.fallback import ReenactorLike
from reenact.live.session import Session
from reenact.registry import load
from reenact.sinks.fanout import SinkSet
from reenact.sinks.obs.ring import RingReader
from reenact.sources.camera_devices import backend, find_camera
from reenact.stats import Durations, Recorder
from reenact.storage import check_writable, write_json
from reenact.types import Frame, Image, Sink

_BITS: Final = 16
_FIELDS: Final = _BITS + 2
"""A white and a black field precede the bits, so that other pictures are not misread."""

_HEIGHT_SHARE: Final = 1 / 16
_BLACK, _WHITE = 80, 176
_POLL_S: Final = 0.002
_RING: Final = "bench"

Sighting = tuple[int, float]
"""The number read back from a picture, and the monotonic time of the reading, s."""


def draw_number(picture: Image, number: int) -> None:
    """Draw the Gray code of a number into a uint8 (H, W, 3) picture; it survives YUV conversion.

    Neighbouring numbers differ in one field, so a blend of two pictures reads as one of them.
    """
    code = (number ^ (number >> 1)) & ((1 << _BITS) - 1)
    fields = np.array([1, 0, *((code >> bit) & 1 for bit in range(_BITS))], np.uint8)
    width = picture.shape[1]
    row = fields[np.arange(width) * _FIELDS // width] * np.uint8(255)
    picture[: round(len(picture) * _HEIGHT_SHARE)] = row[None, :, None]


def read_number(picture: NDArray[np.uint8]) -> int | None:
    """Return the number in a (H, W, C) picture of any size; None if there is none."""
    height, width = picture.shape[:2]
    row = picture[max(round(height * _HEIGHT_SHARE / 2), 0), :, :3].mean(axis=-1)
    levels = row[(2 * np.arange(_FIELDS) + 1) * width // (2 * _FIELDS)]
    if ((levels > _BLACK) & (levels < _WHITE)).any() or levels[0] < levels[1]:
        return None
    number = 0
    for bit in reversed(range(_BITS)):
        number = (number << 1) | (int(levels[bit + 2] > _WHITE) ^ (number & 1))
    return number


def measure_delay(
    kind: str,
    settings: Settings,
    seconds: float,
    json_path: Path | None = None,
    *,
    reenactor: ReenactorLike | None = None,
) -> dict[str, Any]:
    """Run the whole path into a virtual camera or the OBS ring, read it back, and print figures.

    Args:
        kind: "camera" or "obs", followed by a colon and the sink's argument if there is one.
        settings: settings of the run.
        seconds: duration of the run.
        json_path: file that receives the figures.
        reenactor: makes the pictures; None: the packaged actor drives the packaged portrait.

    Returns:
        `delay_ms` from capture to reading (p50, p95, p99), and counts: `seen`, `lost` (camera
        frames between the first and the last one seen that were not seen) and `duplicated`
        (pictures that showed the same frame as the one before).

    Raises:
        ReenactError: a component cannot be opened, or no picture was read back.
    """
    if json_path is not None:
        check_writable(json_path)
    settings = own_settings(settings)
    name, _, argument = kind.partition(":")
    if name not in ("camera", "obs"):
        raise SinkError(f"--glass-to-glass can read back from camera and obs, not from {kind}.")
    sink = load("sinks", name).make(argument or (_RING if name == "obs" else ""), settings.sink)
    frames = demo_frames(settings)
    recorder = Recorder()
    coded = _Coded(reenactor or warm_reenactor(settings, frames, recorder))
    source = ClipReplay(frames, seconds, CAMERA_FPS, live=True)
    output = SinkSet([sink])
    sightings: list[Sighting] = []
    with Session(settings, source, cast(ReenactorLike, coded), output, recorder=recorder) as run:
        run.start()
        reader = threading.Thread(
            target=lambda: sightings.extend(_sightings(sink, argument, settings, run.ended)),
            daemon=True,
        )
        reader.start()
        run.wait()
        reader.join(5.0)
    figures = _delays(sightings, coded.captured_s)
    delay = ", ".join(f"{key} {value:.1f} ms" for key, value in figures["delay_ms"].items())
    print(
        f"{kind}: from capture to sight {delay}; {counted(figures['seen'], 'frame')} seen, "
        f"{figures['lost']} lost, {figures['duplicated']} shown again"
    )
    if json_path is not None:
        write_json(json_path, figures)
    return figures


class _Coded:
    """A reenactor whose pictures carry the number of the frame they were made from."""

    def __init__(self, reenactor: ReenactorLike) -> None:
        self.captured_s: dict[int, float] = {}
        self._reenactor = reenactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reenactor, name)

    def step(self, frame: Frame) -> Frame:
        self.captured_s[frame.index] = frame.time_s
        picture = self._reenactor.step(frame)
        draw_number(picture.image, frame.index)
        return picture


def _sightings(
    sink: Sink, argument: str, settings: Settings, ended: Callable[[float], bool]
) -> Iterator[Sighting]:
    """Yield what another program reads from a sink until the session has ended."""
    with contextlib.ExitStack() as undo:
        if sink.name == "obs":
            ring = undo.enter_context(RingReader(argument or _RING))
            last = 0
            while not ended(_POLL_S):
                found = ring.newest()
                if found is not None and found.number != last:
                    last = found.number
                    number = read_number(found.picture)
                    if number is not None:
                        yield number, time.monotonic()
            return
        device = find_camera(str(getattr(sink, "device", "")))
        camera = cv2.VideoCapture(device.index, backend())
        undo.callback(camera.release)
        while not ended(0.0):
            done, picture = camera.read()
            number = read_number(np.asarray(picture, np.uint8)) if done else None
            if number is not None:
                yield number, time.monotonic()


def _delays(sightings: list[Sighting], captured_s: dict[int, float]) -> dict[str, Any]:
    delays = Durations()
    seen: set[int] = set()
    for number, seen_s in sightings:
        if number in captured_s and number not in seen:
            seen.add(number)
            delays.add(seen_s - captured_s[number])
    spread = delays.percentiles()
    if spread is None:
        raise SourceError("No numbered picture was read back from the sink.")
    return {
        "delay_ms": {name: round(value, 2) for name, value in asdict(spread).items()},
        "seen": len(seen),
        "lost": max(seen) - min(seen) + 1 - len(seen),
        "duplicated": len(sightings) - len(seen),
    }
