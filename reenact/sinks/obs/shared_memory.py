"""Named memory that two programs of one user share, on Linux, macOS and Windows.

Python's own `multiprocessing.shared_memory` removes a name when any program that used it ends,
even while others still do.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import sys
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

HEADER_BYTES: Final = 4096
"""Minimum size, and the size of the part that `words` and `longs` cover."""


class SharedMemory:
    r"""Mapped named memory that only this user's programs can read and write.

    On Linux it is the file `/dev/shm/reenact.UID.NAME`, on macOS the `shm_open` name
    `/reenact.NAME`, and on Windows the file mapping `Local\reenact.NAME`, which disappears with
    its last user. Any thread may call.

    Attributes:
        bytes: uint8 (size,), all of the memory; writable, like the others.
        words: uint32 (1024,), the first `HEADER_BYTES`.
        longs: uint64 (512,), the first `HEADER_BYTES`.
    """

    def __init__(self, mapping: mmap.mmap) -> None:
        self._mapping = mapping
        self.bytes: NDArray[np.uint8] = np.frombuffer(mapping, np.uint8)
        self.words: NDArray[np.uint32] = self.bytes[:HEADER_BYTES].view(np.uint32)
        self.longs: NDArray[np.uint64] = self.bytes[:HEADER_BYTES].view(np.uint64)

    @classmethod
    def create(cls, name: str, size: int) -> SharedMemory:
        """Create zeroed memory of at least `HEADER_BYTES` under a name of at most 21 characters.

        Raises OSError if there is no memory left or (except on Windows) the name is taken.
        """
        return cls(_mapping(name, size, create=True))

    @classmethod
    def open(cls, name: str, size: int) -> SharedMemory:
        """Map existing memory; Windows creates it if it is missing.

        Raises OSError if it is missing, smaller, or another user's.
        """
        return cls(_mapping(name, size, create=False))

    @classmethod
    def open_or_create(cls, name: str, size: int) -> SharedMemory:
        """Map existing memory, or create it. Raises OSError like `open` and `create`."""
        with contextlib.suppress(FileNotFoundError):
            return cls.open(name, size)
        return cls.create(name, size)

    @staticmethod
    def remove(name: str) -> None:
        """Remove a name, if it exists; programs that have the memory mapped keep it."""
        with contextlib.suppress(OSError):
            if sys.platform == "linux":
                os.unlink(_linux_path(name))
            elif sys.platform == "darwin":
                _libc_call("shm_unlink", _mac_name(name))

    def close(self) -> None:
        """Unmap the memory; the views must not be used any more."""
        del self.bytes, self.words, self.longs
        with contextlib.suppress(BufferError):  # another view keeps the mapping alive
            self._mapping.close()


def _mapping(name: str, size: int, *, create: bool) -> mmap.mmap:
    if sys.platform == "win32":
        arguments: dict[str, Any] = {"tagname": f"Local\\reenact.{name}"}
        return mmap.mmap(-1, size, **arguments)
    else:  # noqa: RET505 (mypy follows the platform by branches)
        flags = os.O_RDWR | (os.O_CREAT | os.O_EXCL if create else 0)
        if sys.platform == "linux":
            file = os.open(_linux_path(name), flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        else:
            file = _libc_call("shm_open", _mac_name(name), flags, 0o600)
        try:
            if os.fstat(file).st_uid != os.geteuid():
                raise PermissionError(errno.EPERM, "another user's")
            if create:
                _resize(file, size)
            elif os.fstat(file).st_size < size:
                raise FileNotFoundError(errno.ENOENT, "not whole")
            return mmap.mmap(file, size)
        finally:
            os.close(file)


def _resize(file: int, size: int) -> None:
    if sys.platform == "linux":
        # Touching memory that was promised but does not exist would crash the program.
        os.posix_fallocate(file, 0, size)
    else:
        os.ftruncate(file, size)


def _linux_path(name: str) -> str:
    return f"/dev/shm/reenact.{os.geteuid()}.{name}"


def _mac_name(name: str) -> bytes:
    return f"/reenact.{name}".encode()


def _libc_call(function: str, name: bytes, *arguments: int) -> int:
    """Call `shm_open(name, flags, ...)` or `shm_unlink(name)`. Raises OSError."""
    call = getattr(ctypes.CDLL(None, use_errno=True), function)
    # Only the fixed arguments are declared, because variadic ones are passed differently.
    call.argtypes = [ctypes.c_char_p] + [ctypes.c_int] * min(len(arguments), 1)
    call.restype = ctypes.c_int
    result: int = call(name, *arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
