"""The frame memory of the ring: one generation of slots of one size. See `sinks.obs.ring`."""

from __future__ import annotations

import errno
import secrets
import sys
import threading
import time
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.sinks.obs.shared_memory import HEADER_BYTES, SharedMemory
from reenact.types import Image

VERSION: Final = 1
SLOTS: Final = 3

# Offsets in the header, in words of 4 bytes or longs of 8; see the tables in `ring`.
_SHAPE: Final = slice(2, 7)  # words: version, slots, width px, height px, stride bytes
_EXTENT: Final = slice(4, 6)  # longs: bytes from slot to slot, total bytes
NEWEST: Final = 8  # long: number of the newest frame
_SLOT_STATES: Final = 16  # longs, two per slot:
_SLOT_NUMBER, _SLOT_TIME_NS = 0, 1

_MAGIC: Final = b"REENACTD"
_PAGE_BYTES: Final = 4096
_MAX_SIDE_PX: Final = 16384

Bgra = NDArray[np.uint8]
"""uint8 (H, W, 4) BGRA, straight alpha."""


@dataclass(frozen=True, slots=True)
class RingFrame:
    """A frame as copied by a reader.

    Attributes:
        picture: uint8 (H, W, 4) BGRA, straight alpha.
        number: number within its generation, from 1.
        generation: changes with every writer and every size.
        time_ns: time of the write, by `clock_ns`.
    """

    picture: Bgra
    number: int
    generation: int
    time_ns: int


def clock_ns() -> int:
    """Return the time on the clock of OBS's `os_gettime_ns` on this system, ns."""
    # On Windows, Python's monotonic clock is coarse, and OBS uses the performance counter.
    return time.perf_counter_ns() if sys.platform == "win32" else time.monotonic_ns()


class MemoryBarrier:
    """A full memory barrier: a mutex is unlocked and locked again."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._mutex.acquire()

    def pass_through(self) -> None:
        """Prevent memory accesses from being reordered across this point."""
        self._mutex.release()
        self._mutex.acquire()


class FrameMemory:
    """The slots of one generation for frames of one (width, height) px. Use from one thread."""

    def __init__(self, memory: SharedMemory, name: str, generation: int) -> None:
        """Take over mapped memory. Raises ValueError if it holds no frames of this version."""
        version, slots, width, height, stride = (int(value) for value in memory.words[_SHAPE])
        slot_bytes, total_bytes = (int(value) for value in memory.longs[_EXTENT])
        is_known = bytes(memory.bytes[:8]) == _MAGIC and version == VERSION
        if not is_known or stride != 4 * width or len(memory.bytes) < total_bytes:
            memory.close()
            raise ValueError("not frames of this version")
        self.size = (width, height)
        self.generation = generation
        self._memory: SharedMemory | None = memory
        self._name = name
        self._longs = memory.longs
        self._pictures: list[Bgra] = [
            memory.bytes[start : start + stride * height].reshape(height, width, 4)
            for start in range(HEADER_BYTES, HEADER_BYTES + slots * slot_bytes, slot_bytes)
        ]

    @classmethod
    def create(cls, name: str, size: tuple[int, int]) -> FrameMemory:
        """Create a new generation of a ring for frames of (width, height) px.

        Raises OSError if the frames are too large, or there is no memory left.
        """
        width, height = size
        if max(size) > _MAX_SIDE_PX:
            raise OSError(errno.EFBIG, "the picture is too large")
        slot_bytes = -(-4 * width * height // _PAGE_BYTES) * _PAGE_BYTES
        total_bytes = HEADER_BYTES + SLOTS * slot_bytes
        generation = secrets.randbits(32) or 1
        memory = SharedMemory.create(frame_memory_name(name, generation), total_bytes)
        memory.words[_SHAPE] = (VERSION, SLOTS, width, height, 4 * width)
        memory.longs[_EXTENT] = (slot_bytes, total_bytes)
        memory.bytes[:8] = np.frombuffer(_MAGIC, np.uint8)
        return cls(memory, name, generation)

    @classmethod
    def open(cls, name: str, generation: int) -> FrameMemory:
        """Map a generation of a ring. Raises OSError or ValueError if missing or truncated."""
        path = frame_memory_name(name, generation)
        header = SharedMemory.open(path, HEADER_BYTES)
        total_bytes = int(header.longs[_EXTENT][1])
        header.close()
        return cls(SharedMemory.open(path, total_bytes), name, generation)

    @property
    def newest(self) -> int:
        """Number of the newest frame; 0 before the first."""
        return int(self._longs[NEWEST])

    def write(self, image: Image, alpha: NDArray[np.uint8] | None, barrier: MemoryBarrier) -> int:
        """Write the next frame, see `RingWriter.write`; return its number."""
        number = self.newest + 1
        picture, state = self._slot(number)
        state[_SLOT_NUMBER] = 0
        barrier.pass_through()
        if alpha is None:
            cv2.cvtColor(image, cv2.COLOR_RGB2BGRA, dst=picture)
        else:
            cv2.mixChannels([image, alpha], [picture], [0, 2, 1, 1, 2, 0, 3, 3])
        state[_SLOT_TIME_NS] = clock_ns()
        barrier.pass_through()
        state[_SLOT_NUMBER] = number
        barrier.pass_through()
        self._longs[NEWEST] = number
        return number

    def read(self, barrier: MemoryBarrier) -> RingFrame | None:
        """Copy the newest frame; None if there is none, or it was overwritten during the copy."""
        number = self.newest
        picture, state = self._slot(number)
        if number == 0 or state[_SLOT_NUMBER] != number:
            return None
        barrier.pass_through()
        copy = picture.copy()
        time_ns = int(state[_SLOT_TIME_NS])
        barrier.pass_through()
        if state[_SLOT_NUMBER] != number:
            return None
        return RingFrame(copy, number, self.generation, time_ns)

    def close(self) -> None:
        """Unmap the memory. May be called twice."""
        memory, self._memory = self._memory, None
        if memory is not None:
            self._pictures = []
            self._longs = np.zeros(NEWEST + 1, np.uint64)
            memory.close()

    def remove(self) -> None:
        """Unmap the memory and remove its name; programs that have it mapped keep it."""
        self.close()
        SharedMemory.remove(frame_memory_name(self._name, self.generation))

    def _slot(self, number: int) -> tuple[Bgra, NDArray[np.uint64]]:
        """Return the pixels of a frame's slot, and its state: frame number and time, ns."""
        index = number % len(self._pictures)
        start = _SLOT_STATES + 2 * index
        return self._pictures[index], self._longs[start : start + 2]


def frame_memory_name(name: str, generation: int) -> str:
    """Return the name of the shared memory that holds a generation of a ring."""
    return f"{name}.{generation:08x}"
