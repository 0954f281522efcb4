r"""A ring of frames in shared memory, through which `--sink obs` passes pictures to OBS.

There are two kinds of memory, both little-endian, with all numbers aligned.

*Control*, 4096 bytes, one for each name, kept from run to run:

| offset | type | |
|---|---|---|
| 0 | char[8] | `REENACTC` |
| 8 | u32 | version, 1 |
| 12 | u32 | 1 while there is a writer |
| 16 | u32 | generation: which frame memory is the current one; 0: none yet |

*Frames*, one for each generation, whose size never changes:

| offset | type | |
|---|---|---|
| 0 | char[8] | `REENACTD` |
| 8 | u32 ×5 | version, slots, width px, height px, stride bytes |
| 32 | u64 ×2 | bytes from slot to slot, bytes of everything |
| 64 | u64 | number of the newest frame, from 1; frame n is in slot n mod slots |
| 128 + 16 i | u64 ×2 | slot i: number of the frame in it, 0 while it is written; time in ns |
| 4096 | | the slots' pixels: BGRA, straight alpha |

A writer that starts, or whose pictures change size, creates a new generation, writes its first
frame, and only then announces it in the control memory. Readers see all of it or nothing.

No frame is ever torn. The writer sets a slot's number to 0, writes the pixels, sets the number,
and then sets the newest number. A reader takes the newest number n, finds n in its slot, copies
the pixels, and checks that the slot still has n; otherwise it discards the copy. On both sides,
memory barriers (unlocking and locking a mutex) keep the steps in order.

Names of the memory: on Linux files `/dev/shm/reenact.UID.NAME`; on macOS `shm_open` names
`/reenact.NAME`; on Windows file mappings `Local\reenact.NAME`; with `.GENERATION` in eight
hexadecimal digits for the frames. Times are those of OBS's own clock, `os_gettime_ns`.
"""

from __future__ import annotations

import contextlib
import errno
import re
import threading
import time
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.errors import SinkError
from reenact.lifecycle import ClosesOnExit
from reenact.sinks.obs.frame_memory import (
    VERSION,
    FrameMemory,
    MemoryBarrier,
    RingFrame,
    frame_memory_name,
)
from reenact.sinks.obs.shared_memory import HEADER_BYTES, SharedMemory
from reenact.types import Image

DEFAULT_NAME: Final = "reenact"

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,12}")
"""macOS allows 31 characters for the whole name."""

_CONTROL_MAGIC: Final = b"REENACTC"
_VERSION, _HAS_WRITER, _GENERATION = 2, 3, 4  # words of the control memory
_BUSY_S: Final = 1.5
"""Time for which a writer that did not end properly is watched before its name is taken over."""

_MAX_ATTEMPTS: Final = 100


def check_name(name: str) -> str:
    """Return the name if it is valid for a ring. Raises SinkError otherwise."""
    if not _NAME.fullmatch(name):
        raise SinkError(
            f"obs:{name}: a name has 1 to 12 letters, digits, - and _; set the same one in the "
            "properties of the source in OBS."
        )
    return name


class RingWriter(ClosesOnExit):
    """Writes frames for any number of readers and never waits for them.

    One thread calls `open` and `write`; any thread may call `close`, also twice.
    """

    def __init__(self, name: str = DEFAULT_NAME) -> None:
        """Create the writer without opening it. Raises SinkError if the name is not valid."""
        self._name = check_name(name)
        self._control: SharedMemory | None = None
        self._frames: FrameMemory | None = None
        self._lock = threading.Lock()
        self._barrier = MemoryBarrier()

    def open(self) -> None:
        """Claim the name.

        Raises SinkError if another program writes under it, or no shared memory is left.
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
        """Make this the newest frame, by one copy and without waiting; return its number, from 1.

        Args:
            image: uint8 (H, W, 3) RGB; its size may differ from the last one's.
            alpha: uint8 (H, W), 255 opaque; None: the picture is opaque.

        Raises:
            SinkError: it is not open, or no shared memory is left.
        """
        with self._lock:
            if self._control is None:
                raise SinkError("The output to OBS is closed.")
            height, width = image.shape[:2]
            if self._frames is not None and self._frames.size == (width, height):
                return self._frames.write(image, alpha, self._barrier)
            try:
                frames = FrameMemory.create(self._name, (width, height))
            except OSError as error:
                raise SinkError(_explain(self._name, error)) from error
            number = frames.write(image, alpha, self._barrier)
            self._barrier.pass_through()
            self._control.words[_GENERATION] = frames.generation
            old, self._frames = self._frames, frames
            if old is not None:
                old.remove()
            return number

    def close(self) -> None:
        """Release the name; readers keep what they have mapped."""
        with self._lock:
            control, self._control = self._control, None
            frames, self._frames = self._frames, None
            if frames is not None:
                frames.remove()
            if control is not None:
                control.words[_HAS_WRITER] = 0
                control.close()

    def _take(self, control: SharedMemory) -> None:
        words = control.words
        if _is_control(control):
            generation = int(words[_GENERATION])
            if words[_HAS_WRITER] and self._is_written(generation):
                raise SinkError(
                    f"Another reenact already writes for OBS as {self._name}; stop it, or choose "
                    "another name with --sink obs:NAME and set it in the source's properties."
                )
            if generation:
                SharedMemory.remove(frame_memory_name(self._name, generation))
        else:
            words[_VERSION], words[_GENERATION] = VERSION, 0
            control.bytes[:8] = np.frombuffer(_CONTROL_MAGIC, np.uint8)
        words[_HAS_WRITER] = 1

    def _is_written(self, generation: int) -> bool:
        """Watch a generation for a while; return True if new frames appear in it."""
        try:
            frames = FrameMemory.open(self._name, generation)
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
    """Reads the newest frame in the same way as the script in OBS. Use from one thread."""

    def __init__(self, name: str = DEFAULT_NAME) -> None:
        """Create the reader without opening it. Raises SinkError if the name is not valid."""
        self._name = check_name(name)
        self._frames: FrameMemory | None = None
        self._barrier = MemoryBarrier()

    def newest(self) -> RingFrame | None:
        """Return a copy of the newest frame.

        None if nothing was written yet, the writer has ended, or a fast writer overwrote the
        frame during each of many attempts to copy it.
        """
        frames = self._current()
        if frames is None:
            return None
        for _ in range(_MAX_ATTEMPTS):
            found = frames.read(self._barrier)
            if found is not None:
                return found
        return None

    def close(self) -> None:
        """Unmap the memory. May be called twice."""
        frames, self._frames = self._frames, None
        if frames is not None:
            frames.close()

    def _current(self) -> FrameMemory | None:
        try:
            control = SharedMemory.open(self._name, HEADER_BYTES)
        except OSError:
            return None
        with contextlib.closing(control):
            if not _is_control(control):
                return None
            generation = int(control.words[_GENERATION])
        if self._frames is None or self._frames.generation != generation:
            self.close()
            try:
                self._frames = FrameMemory.open(self._name, generation)
            except (OSError, ValueError):
                return None
        return self._frames


def _is_control(memory: SharedMemory) -> bool:
    """Return True for control memory of this version."""
    return bytes(memory.bytes[:8]) == _CONTROL_MAGIC and memory.words[_VERSION] == VERSION


def _explain(name: str, error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "There is no shared memory left for the picture; enlarge /dev/shm, or free some."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EEXIST):
        return (
            f"The shared memory {name} belongs to another user; choose another name with "
            "--sink obs:NAME and set it in the source's properties."
        )
    return f"No shared memory could be made for OBS: {error.strerror or error}."
