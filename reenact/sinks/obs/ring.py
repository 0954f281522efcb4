r"""Frames in shared memory: how `--sink obs` hands pictures to the source inside OBS.

Two kinds of memory, both little-endian, all numbers aligned:

*Control*, 4096 bytes, one for each name, kept from run to run:

| offset | type | |
|---|---|---|
| 0 | char[8] | `REENACTC` |
| 8 | u32 | version, 1 |
| 12 | u32 | 1 while a writer is at work |
| 16 | u32 | generation: which frame memory is the present one; 0: none yet |

*Frames*, one for each generation, never changed in size:

| offset | type | |
|---|---|---|
| 0 | char[8] | `REENACTD` |
| 8 | u32 ×5 | version, slots, width px, height px, stride bytes |
| 32 | u64 ×2 | bytes from slot to slot, bytes of everything |
| 64 | u64 | number of the newest frame, from 1; frame n lies in slot n mod slots |
| 128 + 16 i | u64 ×2 | slot i: number of the frame in it, 0 while it is written; time in ns |
| 4096 | | the slots' pixels: BGRA, straight alpha |

A writer that starts, or whose pictures change their size, makes a new generation, writes its first
frame and only then announces it in the control memory: readers find all of it or nothing.

No frame is ever torn. The writer sets a slot's number to 0, writes the pixels, sets the number,
then the newest one. A reader notes the newest number n, finds n in its slot, copies, and looks
again: only if the slot still says n is the copy that frame. The steps are kept apart by memory
barriers, which are unlocking and locking a mutex, on both sides.

Names of the memory: on Linux files `/dev/shm/reenact.UID.NAME`; on macOS `shm_open` names
`/reenact.NAME`; on Windows file mappings `Local\reenact.NAME`; with `.GENERATION` in eight
hexadecimal digits for the frames. Times are those of OBS's own clock, `os_gettime_ns`.
"""

from __future__ import annotations

import contextlib
import errno
import re
import secrets
import sys
import threading
import time
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.errors import SinkError
from reenact.lifecycle import ClosesOnExit
from reenact.sinks.obs.shared_memory import HEADER_BYTES, SharedMemory
from reenact.types import Image

DEFAULT_NAME: Final = "reenact"
SLOTS: Final = 3

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,12}")
"""macOS allows 31 characters for everything."""

_VERSION: Final = 1
_PAGE_BYTES: Final = 4096
_CONTROL_MAGIC: Final = b"REENACTC"
_FRAMES_MAGIC: Final = b"REENACTD"
_MAX_SIDE_PX: Final = 16384
_BUSY_S: Final = 0.5
"""A writer that has not ended properly is watched for so long before its place is taken."""

_ATTEMPTS: Final = 100

Bgra = NDArray[np.uint8]
"""uint8 (H, W, 4) BGRA, straight alpha."""


@dataclass(frozen=True, slots=True)
class RingFrame:
    """A frame as a reader copied it.

    Attributes:
        picture: uint8 (H, W, 4) BGRA, straight alpha.
        number: of the frame within its generation, from 1.
        generation: changes with every writer and every size.
        time_ns: when it was written, on the clock of `clock_ns`.
    """

    picture: Bgra
    number: int
    generation: int
    time_ns: int


def clock_ns() -> int:
    """Return the time on the clock that OBS's `os_gettime_ns` has on this system."""
    # Python's monotonic clock on Windows is a coarse one; OBS uses the performance counter.
    return time.perf_counter_ns() if sys.platform == "win32" else time.monotonic_ns()


def check_name(name: str) -> str:
    """Return the name, if it can be one of a ring.

    Raises:
        SinkError: it has other characters, or too many.
    """
    if not _NAME.fullmatch(name):
        raise SinkError(
            f"obs:{name}: a name has 1 to 12 letters, digits, - and _; it is also to be set in "
            "the properties of the source in OBS."
        )
    return name


class RingWriter(ClosesOnExit):
    """Writes frames for any number of readers, which it never waits for.

    One thread opens and writes; `close` may be called by any, and twice.
    """

    def __init__(self, name: str = DEFAULT_NAME) -> None:
        """Touch nothing yet.

        Raises:
            SinkError: the name cannot be one.
        """
        self._name = check_name(name)
        self._control: SharedMemory | None = None
        self._frames: _Frames | None = None
        self._lock = threading.Lock()
        self._barrier = _Barrier()

    def open(self) -> None:
        """Take the name.

        Raises:
            SinkError: another program writes under this name, or there is no memory to share.
        """
        with self._lock:
            try:
                control = SharedMemory.open_or_create(self._name, HEADER_BYTES)
            except OSError as error:
                raise SinkError(_explain(self._name, error)) from error
            try:
                self._take(control)
            except BaseException:
                control.close()
                raise
            self._control = control

    def write(self, image: Image, alpha: NDArray[np.uint8] | None = None) -> int:
        """Make this the newest frame; one copy, no waiting.

        Args:
            image: uint8 (H, W, 3) RGB, of any size, also of another than before.
            alpha: uint8 (H, W), 255 opaque; None: all of it is.

        Returns:
            The frame's number within its generation, from 1.

        Raises:
            SinkError: not open, or there is no memory left to share.
        """
        with self._lock:
            if self._control is None:
                raise SinkError("The picture for OBS is closed.")
            height, width = image.shape[:2]
            if self._frames is not None and self._frames.size == (width, height):
                return self._frames.write(image, alpha, self._barrier)
            try:
                frames = _Frames.create(self._name, (width, height))
            except OSError as error:
                raise SinkError(_explain(self._name, error)) from error
            number = frames.write(image, alpha, self._barrier)
            self._barrier.pass_through()
            self._control.words[4] = frames.generation
            old, self._frames = self._frames, frames
            if old is not None:
                old.remove()
            return number

    def close(self) -> None:
        """Give the name free; readers keep what they have mapped. May be called twice."""
        with self._lock:
            control, self._control = self._control, None
            frames, self._frames = self._frames, None
            if frames is not None:
                frames.remove()
            if control is not None:
                control.words[3] = 0
                control.close()

    def _take(self, control: SharedMemory) -> None:
        words = control.words
        if bytes(control.bytes[:8]) == _CONTROL_MAGIC and words[2] == _VERSION:
            generation = int(words[4])
            if words[3] and self._is_written(generation):
                raise SinkError(
                    f"Another reenact already writes for OBS as {self._name}; stop it, or choose "
                    "another name with --sink obs:NAME and set it in the source's properties."
                )
            if generation:
                SharedMemory.remove(_frames_name(self._name, generation))
        else:
            words[2:5] = (_VERSION, 0, 0)
            control.bytes[:8] = np.frombuffer(_CONTROL_MAGIC, np.uint8)
        words[3] = 1

    def _is_written(self, generation: int) -> bool:
        """Whether new frames come in the memory of a writer that has not closed it."""
        try:
            frames = _Frames.open(self._name, generation)
        except (OSError, ValueError):
            return False
        with contextlib.closing(frames):
            before, deadline_s = frames.newest, time.monotonic() + _BUSY_S
            while time.monotonic() < deadline_s:
                if frames.newest != before:
                    return True
                time.sleep(0.02)
        return False


class RingReader(ClosesOnExit):
    """Reads the newest frame, by the rules that the script in OBS follows. One thread calls."""

    def __init__(self, name: str = DEFAULT_NAME) -> None:
        """Look for nothing yet.

        Raises:
            SinkError: the name cannot be one.
        """
        self._name = check_name(name)
        self._frames: _Frames | None = None
        self._barrier = _Barrier()

    def newest(self) -> RingFrame | None:
        """Return a copy of the newest frame.

        None: nothing was written yet, the writer has ended, or a fast writer overwrote the frame
        during each of many attempts to copy it.
        """
        frames = self._present()
        if frames is None:
            return None
        for _ in range(_ATTEMPTS):
            found = frames.read(self._barrier)
            if found is not None:
                return found
        return None

    def close(self) -> None:
        """Let go of the memory. May be called twice."""
        frames, self._frames = self._frames, None
        if frames is not None:
            frames.close()

    def _present(self) -> _Frames | None:
        try:
            control = SharedMemory.open(self._name, HEADER_BYTES)
        except OSError:
            return None
        with contextlib.closing(control):
            if bytes(control.bytes[:8]) != _CONTROL_MAGIC or control.words[2] != _VERSION:
                return None
            generation = int(control.words[4])
        if self._frames is None or self._frames.generation != generation:
            self.close()
            try:
                self._frames = _Frames.open(self._name, generation)
            except (OSError, ValueError):
                return None
        return self._frames


class _Barrier:
    """A full memory barrier: an unlock followed by a lock of one mutex."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._mutex.acquire()

    def pass_through(self) -> None:
        self._mutex.release()
        self._mutex.acquire()


class _Frames:
    """The frame memory of one generation."""

    def __init__(self, memory: SharedMemory, name: str, generation: int) -> None:
        words, longs = memory.words, memory.longs
        slots, width, height, stride = (int(value) for value in words[3:7])
        sound = bytes(memory.bytes[:8]) == _FRAMES_MAGIC and words[2] == _VERSION
        if not sound or stride != 4 * width or len(memory.bytes) < int(longs[5]):
            memory.close()
            raise ValueError("not frames of this version")
        self.size = (width, height)
        self.generation = generation
        self._memory: SharedMemory | None = memory
        self._name = name
        self._longs = longs
        start, step = HEADER_BYTES, int(longs[4])
        self._pictures: list[Bgra] = [
            memory.bytes[start + i * step :][: stride * height].reshape(height, width, 4)
            for i in range(slots)
        ]

    @classmethod
    def create(cls, name: str, size: tuple[int, int]) -> _Frames:
        width, height = size
        if max(size) > _MAX_SIDE_PX:
            raise OSError(errno.EFBIG, "too large a picture")
        slot_bytes = -(-4 * width * height // _PAGE_BYTES) * _PAGE_BYTES
        total = HEADER_BYTES + SLOTS * slot_bytes
        generation = secrets.randbits(32) or 1
        memory = SharedMemory.create(_frames_name(name, generation), total)
        memory.words[2:7] = (_VERSION, SLOTS, width, height, 4 * width)
        memory.longs[4:6] = (slot_bytes, total)
        memory.bytes[:8] = np.frombuffer(_FRAMES_MAGIC, np.uint8)
        return cls(memory, name, generation)

    @classmethod
    def open(cls, name: str, generation: int) -> _Frames:
        """Map a generation. Raises OSError, ValueError."""
        path = _frames_name(name, generation)
        head = SharedMemory.open(path, HEADER_BYTES)
        total = int(head.longs[5])
        head.close()
        return cls(SharedMemory.open(path, total), name, generation)

    @property
    def newest(self) -> int:
        return int(self._longs[8])

    def write(self, image: Image, alpha: NDArray[np.uint8] | None, barrier: _Barrier) -> int:
        number = self.newest + 1
        index = number % len(self._pictures)
        slot = self._longs[16 + 2 * index : 18 + 2 * index]
        slot[0] = 0
        barrier.pass_through()
        picture = self._pictures[index]
        if alpha is None:
            cv2.cvtColor(image, cv2.COLOR_RGB2BGRA, dst=picture)
        else:
            cv2.mixChannels([image, alpha], [picture], [0, 2, 1, 1, 2, 0, 3, 3])
        slot[1] = clock_ns()
        barrier.pass_through()
        slot[0] = number
        barrier.pass_through()
        self._longs[8] = number
        return number

    def read(self, barrier: _Barrier) -> RingFrame | None:
        """Copy the newest frame; None where it was overwritten meanwhile."""
        number = self.newest
        index = number % len(self._pictures)
        slot = self._longs[16 + 2 * index : 18 + 2 * index]
        if number == 0 or slot[0] != number:
            return None
        barrier.pass_through()
        picture = self._pictures[index].copy()
        time_ns = int(slot[1])
        barrier.pass_through()
        if slot[0] != number:
            return None
        return RingFrame(picture, number, self.generation, time_ns)

    def close(self) -> None:
        memory, self._memory = self._memory, None
        if memory is not None:
            self._pictures = []
            self._longs = np.zeros(9, np.uint64)
            memory.close()

    def remove(self) -> None:
        """Close, and take the name away; who has it mapped keeps it."""
        self.close()
        SharedMemory.remove(_frames_name(self._name, self.generation))


def _frames_name(name: str, generation: int) -> str:
    return f"{name}.{generation:08x}"


def _explain(name: str, error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "There is no shared memory left for the picture; enlarge /dev/shm, or free it."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EEXIST):
        return (
            f"The shared memory {name} belongs to another user; choose another name with "
            "--sink obs:NAME and set it in the source's properties."
        )
    return f"Shared memory for OBS cannot be had: {error.strerror or error}."
