"""Tests the path to OBS on this machine: shared memory, then the picture in OBS."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Final, NamedTuple

import numpy as np

from reenact.errors import SinkError
from reenact.sinks.obs.config_files import find_obs_files
from reenact.sinks.obs.ring import RingReader, RingWriter
from reenact.sinks.obs.scene_collection import KIND
from reenact.sinks.obs.shared_memory import SharedMemory
from reenact.sinks.obs.websocket import ObsRemote
from reenact.types import Image

_FRAMES: Final = 30
_SIZE_PX: Final = 64
_SHOWN_WITHIN_S: Final = 3.0
_INSTALL: Final = "`reenact obs install`"


class Finding(NamedTuple):
    """The result of a test: what was observed, and what to do about it; "" if nothing."""

    name: str
    works: bool
    detail: str
    remedy: str = ""


def try_obs() -> list[Finding]:
    """Test each step of the path. Takes seconds and leaves no change behind. Use from one thread.

    If OBS runs, a scene is created for the test, which is not put on air, and removed again.
    """
    findings = [_try_memory()]
    if findings[0].works:
        findings.append(_try_picture())
    return findings


def _try_memory() -> Finding:
    name, place = _trial_name(), {"linux": "/dev/shm", "win32": "a named file mapping"}
    picture = _picture(0)
    try:
        with RingWriter(name) as writer, RingReader(name) as reader:
            writer.open()
            start_s = time.perf_counter()
            for _ in range(_FRAMES):
                writer.write(picture)
            took_ms = (time.perf_counter() - start_s) / _FRAMES * 1000
            found = reader.newest()
    except SinkError as error:
        return Finding("OBS memory", False, str(error), "free the memory, or restart the computer")
    finally:
        SharedMemory.remove(name)
    if found is None or not np.array_equal(found.picture[..., 2::-1], picture):
        return Finding("OBS memory", False, "pictures come back changed or not at all", "report it")
    where = place.get(sys.platform, "shm_open")
    return Finding("OBS memory", True, f"works by {where}, {took_ms:.2f} ms a frame")


def _try_picture() -> Finding:
    files = find_obs_files()
    if files is None or not files.is_running():
        return Finding("OBS picture", False, "not tested, because OBS is not running", "start OBS")
    try:
        with closing(ObsRemote(files.remote_control())) as remote:
            if not remote.knows_source():
                return Finding("OBS picture", False, "OBS has not loaded the script", _INSTALL)
            with _trial_source(remote) as name:
                return _compare(remote, name)
    except SinkError as error:
        return Finding("OBS picture", False, str(error), _INSTALL)


def _compare(remote: ObsRemote, name: str) -> Finding:
    delays_ms = []
    with RingWriter(name) as writer:
        writer.open()
        for number in range(5):
            picture = _picture(number)
            written_s = time.monotonic()
            writer.write(picture)
            if not _is_shown(remote, name, picture):
                return Finding(
                    "OBS picture",
                    False,
                    f"OBS {remote.version()} does not show what is written",
                    "restart OBS, and look at Tools > Scripts > Script Log",
                )
            delays_ms.append((time.monotonic() - written_s) * 1000)
    delay_ms = sorted(delays_ms)[len(delays_ms) // 2]
    detail = f"OBS {remote.version()} shows every pixel as written, {delay_ms:.0f} ms later"
    return Finding("OBS picture", True, f"{detail} (including its screenshot)")


def _is_shown(remote: ObsRemote, name: str, picture: Image) -> bool:
    deadline_s = time.monotonic() + _SHOWN_WITHIN_S
    while time.monotonic() < deadline_s:
        with suppress(SinkError):  # a source without a size has no screenshot
            seen = remote.screenshot(name)
            if np.array_equal(seen[..., :3], picture) and (seen[..., 3] == 255).all():
                return True
    return False


@contextmanager
def _trial_source(remote: ObsRemote) -> Iterator[str]:
    """Create a source in a scene that is not on air; yield its name, which is also the ring's."""
    name = _trial_name()
    scene = f"{name} (scene)"
    remote.request("CreateScene", sceneName=scene)
    try:
        remote.request(
            "CreateInput",
            sceneName=scene,
            inputName=name,
            inputKind=KIND,
            inputSettings={"name": name},
        )
        try:
            yield name
        finally:
            remote.request("RemoveInput", inputName=name)
            SharedMemory.remove(name)
    finally:
        remote.request("RemoveScene", sceneName=scene)


def _trial_name() -> str:
    return f"try-{secrets.token_hex(4)}"


def _picture(number: int) -> Image:
    """Return a picture; pictures with different numbers differ in every pixel."""
    noise = np.random.default_rng(0).integers(0, 256, (_SIZE_PX, _SIZE_PX, 3), np.uint8)
    return (noise + np.uint8(17 * number)).astype(np.uint8)
