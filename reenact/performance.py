"""The file of a kept performance: landmarks and what was made of them, no picture.

It holds two numpy arrays one after the other, `START` of shape (1,) and `FRAMES` of shape (F,);
`docs/actor.md` describes their fields. numpy alone reads it:

    with open("take.npy", "rb") as file:
        start, frames = np.load(file), np.load(file)

Frames are appended while the performance goes on. The number of frames in the header grows after
the frames themselves, so that what a killed program or a full disk leaves is a whole file.
"""

from __future__ import annotations

import io
import os
import tokenize
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.lib import format as numpy_format
from numpy.typing import NDArray

from reenact.errors import SourceError
from reenact.types import EVENTS, Landmarks, PartMotion, PerformanceFrame, SeenBody

VERSION: Final = 3

_FACE: Final = (478, 3)

npy: Any = numpy_format
"""The file format's own functions, which have no types."""

START: Final = np.dtype([("version", "<i4"), ("fps", "<f8"), ("neutral", "<f4", _FACE)])
FRAMES: Final = np.dtype(
    [
        ("time_s", "<f8"),
        ("size", "<i4", 2),
        ("confidence", "<f4"),
        ("tracked", "<f4", _FACE),
        ("fused", "<f4", _FACE),
        ("rotation", "<f4", (3, 3)),
        ("translation", "<f4", 3),
        ("scale", "<f8"),
        ("action_units", "<f4", 17),
        ("trust", "<f4", 6),
        ("limited", "?", 12),
        ("events", "?", len(EVENTS)),
        ("torso", "<f4", 4),
        ("torso_since", "<i4"),
        ("hair", "<f4", 4),
        ("hair_since", "<i4"),
        ("tongue", "<f4"),
        ("voice", "<f4"),
    ]
)
_FRAMES_OF: Final = {2: np.dtype(FRAMES.descr[:-2]), VERSION: FRAMES}
"""The fields of the frames by the version of the file; the second ended with the hair."""

_MAX_SIDE_PX: Final = 16384
_MAX_FPS: Final = 1000.0
_MAX_TIME_S: Final = 1e7
_MAX_PX: Final = 10 * _MAX_SIDE_PX
_MAX_MOTION: Final = 1000.0
"""Largest value in a motion of the body or in a neutral."""


class PerformanceWriter:
    """Appends frames to a new file. One thread at a time.

    Args:
        path: of the file, which is created or replaced.
        fps: about how many frames come in a second.

    Any method raises OSError if the disk refuses; what `flush` wrote before stays readable.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._file = path.open("wb")
        self._fps = fps
        self._frames_at = 0
        self._start_s = 0.0
        self.frames = 0

    def add(self, frame: PerformanceFrame) -> None:
        """Append a frame; `flush` makes it count."""
        if not self.frames:
            self._begin(frame)
        self._file.write(_record(frame, frame.time_s - self._start_s).tobytes())
        self.frames += 1

    def flush(self) -> None:
        """Bring all frames so far to the disk."""
        if self.frames:
            self._file.flush()
            self._file.seek(self._frames_at)
            self._file.write(_header(self.frames))
            self._file.seek(0, os.SEEK_END)
        self._file.flush()

    def close(self) -> None:
        """Finish the file. May be called twice."""
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._file.close()

    def _begin(self, first: PerformanceFrame) -> None:
        start = np.zeros(1, START)
        stored = np.full(_FACE, np.nan, np.float32) if first.stored is None else first.stored
        start[0] = VERSION, min(self._fps, _MAX_FPS), stored
        np.save(self._file, start, allow_pickle=False)
        self._frames_at = self._file.tell()
        self._file.write(_header(0))
        self._start_s = first.time_s


def read_performance(path: Path) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """Return the (1,) `START` and the (F,) `FRAMES` of a file; frames are read as they are used.

    An older file lacks the last fields.

    Raises:
        SourceError: there is no such file, it is of another kind or version, or damaged.
    """
    try:
        with path.open("rb") as file:
            if _shape_of(file, START) != (1,):
                raise ValueError("more than one start")
            start = np.frombuffer(file.read(START.itemsize), START)
            fields = _FRAMES_OF.get(int(start["version"][0]), FRAMES)
            count, *more = _shape_of(file, fields)
            if more or count < 0 or os.path.getsize(path) < file.tell() + count * fields.itemsize:
                raise ValueError("fewer frames than the header says")
            frames = np.memmap(path, fields, "r", file.tell(), (count,))
    except FileNotFoundError as error:
        raise SourceError(f"There is no file {path}; check the path.") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, EOFError, tokenize.TokenError) as error:  # the last from a header's text
        raise SourceError(
            f"{path} is not a performance of this version; use a file of --sink landmarks:FILE."
        ) from error
    if not (start["version"][0] in _FRAMES_OF and len(frames) and _is_sound(start, frames)):
        raise SourceError(f"{path} shows nobody, or is of another version or damaged.")
    return start, frames


def _shape_of(file: BinaryIO, fields: np.dtype[Any]) -> tuple[int, ...]:
    """Read the header of an array; return its shape. Raises ValueError if it has other fields."""
    npy.read_magic(file)
    shape, _, kind = npy.read_array_header_1_0(file)
    if kind != fields:
        raise ValueError("other fields")
    return tuple(shape)


def _is_sound(start: NDArray[np.void], frames: NDArray[np.void]) -> bool:
    """Return True if the rate, the times, the sizes and all points are possible ones."""
    times_s, sizes, neutral = frames["time_s"], frames["size"], start["neutral"]
    return bool(
        0 < start["fps"][0] <= _MAX_FPS
        and (np.abs(times_s) <= _MAX_TIME_S).all()
        and (np.diff(times_s) >= 0).all()
        and sizes.min() >= 0
        and (sizes.max(axis=0) > 0).all()
        and sizes.max() <= _MAX_SIDE_PX
        and (np.isnan(neutral).all() or (np.abs(neutral) <= _MAX_MOTION).all())
        and _are_faces(frames["tracked"])
        and all(_are_motions(frames, name) for name in SeenBody._fields)
        and all(_are_shares(frames, name) for name in ("tongue", "voice"))
    )


def _are_faces(tracked: NDArray[np.float32]) -> bool:
    """Return True if every frame's points are those of a face, or NaN, which is none."""
    low, high = tracked.min(axis=1), tracked.max(axis=1)  # NaN if any point is
    outside = (low < -_MAX_PX) | (high > _MAX_PX)
    return not (outside.any() or (low == high)[:, :2].any())


def _are_motions(frames: NDArray[np.void], name: str) -> bool:
    motions = frames[name][frames[f"{name}_since"] > 0]
    return bool((np.abs(motions) <= _MAX_MOTION).all())


def _are_shares(frames: NDArray[np.void], name: str) -> bool:
    """Return True if all values are from 0 to 1 or NaN, or the file is older than them."""
    if name not in (frames.dtype.names or ()):
        return True
    return not ((frames[name] < 0) | (frames[name] > 1)).any()


def frame_of(frames: NDArray[np.void], index: int, stored: NDArray[np.float32]) -> PerformanceFrame:
    """Return one frame as a source hands it over: what the actor did, not what was made of it.

    Args:
        frames: of `read_performance`.
        index: of the frame.
        stored: (478, 3) the neutral that the performance began with; NaN: none.
    """
    frame = frames[index]
    points = np.array(frame["tracked"])
    width, height = (int(side) for side in frame["size"])
    found = bool(np.isfinite(points).all())
    tongue, voice = (_share_of(frame, name) for name in ("tongue", "voice"))
    confidence = float(frame["confidence"])
    return PerformanceFrame(
        Landmarks(points, confidence, (width, height), tongue or 0.0) if found else None,
        time_s=float(frame["time_s"]),
        events=tuple(bool(happened) for happened in frame["events"]),
        stored=stored if np.isfinite(stored).all() else None,
        body=SeenBody(*(_part_of(frame, name) for name in SeenBody._fields)),
        voice=voice,
    )


def _part_of(frame: np.void, name: str) -> PartMotion | None:
    since = int(frame[f"{name}_since"])
    return PartMotion(np.array(frame[name]), since) if since else None


def _share_of(frame: np.void, name: str) -> float | None:
    """Return a value from 0 to 1; None if it is NaN, or the file is older than it."""
    share = float(frame[name]) if name in (frame.dtype.names or ()) else np.nan
    return None if np.isnan(share) else share


def _header(frames: int) -> bytes:
    text = io.BytesIO()
    described = npy.dtype_to_descr(FRAMES)
    npy.write_array_header_1_0(
        text, {"descr": described, "fortran_order": False, "shape": (frames,)}
    )
    return text.getvalue()


def _record(frame: PerformanceFrame, time_s: float) -> NDArray[np.void]:
    record = np.zeros(1, FRAMES)
    row: Any = record[0]
    row["time_s"] = time_s
    row["events"] = frame.events
    for name in ("tracked", "fused"):
        row[name] = np.nan
    if frame.landmarks is not None:
        row["size"], row["confidence"] = frame.landmarks.size, frame.landmarks.confidence
        row["tracked"], row["tongue"] = frame.landmarks.points, frame.landmarks.tongue
    if frame.fused is not None:
        row["fused"] = frame.fused
    if frame.expression is not None:
        pose = frame.expression.pose
        row["rotation"], row["translation"], row["scale"] = (
            pose.rotation,
            pose.translation,
            pose.scale,
        )
        row["action_units"] = frame.expression.action_units
    if frame.trust is not None:
        row["trust"] = frame.trust
    for name, part in frame.body._asdict().items():
        if part is not None:
            row[name], row[f"{name}_since"] = part
    row["voice"] = np.nan if frame.voice is None else frame.voice
    if frame.limited is not None:
        row["limited"] = frame.limited
    return record
