"""Loads drivers, plugs and unplugs cameras, and starts other programs, all inside the guest."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

CAMERA: Final = "/dev/video10"
"""The virtual camera."""

WEBCAM: Final = "/dev/video20"

_MODULES: Final = Path("/run/modules")
_BUSYBOX: Final = _MODULES / "busybox"
_VIVID: Final = Path("/sys/bus/platform/drivers/vivid")
_WEBCAM_OPTIONS: Final = "n_devs=1 node_types=0x1 vid_cap_nr=20 num_inputs=1 input_types=0"
_SETTLE_S: Final = 20.0
_NOBODY: Final = 65534


def loopback_version(age: str) -> str:
    """Return an "old" or "new" version of v4l2loopback; skip the test if there is none."""
    found = sorted(
        (path.stem.partition("-")[2] for path in _MODULES.glob("v4l2loopback-*.ko")),
        key=lambda version: [int(part) for part in version.split(".")],
    )
    fits = [version for version in found if (version < "0.13") == (age == "old")]
    if not fits:
        pytest.skip(f"the guest's image has no {age} v4l2loopback, only {', '.join(found)}")
    return fits[-1]


@contextmanager
def loopback(age: str = "new", *, exclusive: bool = True) -> Iterator[None]:
    """Load v4l2loopback with one device, CAMERA."""
    module = _MODULES / f"v4l2loopback-{loopback_version(age)}.ko"
    options = f"devices=1 video_nr=10 card_label=reenact exclusive_caps={int(exclusive)}"
    _busybox("insmod", str(module), *options.split())
    _wait_for(Path(CAMERA).exists)
    try:
        yield
    finally:
        _wait_for(lambda: _busybox("rmmod", "v4l2loopback", check=False))


@contextmanager
def webcam() -> Iterator[None]:
    """Load the test camera, WEBCAM: colour bars with a running clock."""
    _busybox("insmod", str(_MODULES / "vivid.ko"), *_WEBCAM_OPTIONS.split())
    _wait_for(Path(WEBCAM).exists)
    try:
        yield
    finally:
        if not Path(WEBCAM).exists():
            plug()
        _wait_for(lambda: _busybox("rmmod", "vivid", check=False))


def unplug() -> None:
    """Remove the test camera, as if its cable were pulled."""
    (_VIVID / "unbind").write_text("vivid.0")
    _wait_for(lambda: not Path(WEBCAM).exists())


def plug() -> None:
    """Add the test camera again."""
    (_VIVID / "bind").write_text("vivid.0")
    _wait_for(Path(WEBCAM).exists)


@contextmanager
def another_program(body: Callable[[], object]) -> Iterator[int]:
    """Run a function, which returns what it holds open, in another process; yield its number."""
    ready, tell = os.pipe()
    process = os.fork()
    if process == 0:
        with suppress(BaseException):
            held = body()
            os.write(tell, b"1")
            signal.pause()
            del held
        os._exit(1)
    os.close(tell)
    try:
        assert os.read(ready, 1) == b"1", "the other program failed"
        yield process
    finally:
        os.close(ready)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """Drop root's privileges inside the block."""
    os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def _busybox(*command: str, check: bool = True) -> bool:
    done = subprocess.run([_BUSYBOX, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, done.stderr
    return done.returncode == 0


def _wait_for(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + _SETTLE_S
    while not condition():
        assert time.monotonic() < until_s, "the guest's devices do not settle"
        time.sleep(0.05)
