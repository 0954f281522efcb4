"""Starts OBS on a virtual display with its own configuration, and talks to it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import pytest
from numpy.typing import NDArray

from reenact.errors import SinkError
from reenact.sinks.http_address import HttpAddress
from reenact.sinks.obs.config_files import ObsFiles
from reenact.sinks.obs.installer import FFMPEG_OPTIONS
from reenact.sinks.obs.websocket import ObsRemote
from reenact.storage import ASSETS
from support.fakes import until
from support.traffic import free_port

SCRIPT: Final = ASSETS / "reenact.lua"
CANVAS: Final = (1280, 720)
SCENE: Final = "Scene"
START_S: Final = 60.0

MISSING: Final = ", ".join(name for name in ("obs", "Xvfb") if not shutil.which(name))

needs_obs: Final = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")
"""Marks tests that call `start`."""


class Studio:
    """A running OBS with its configuration in `home`, controlled by requests of obs-websocket 5.

    Sources are added to `scene`.
    """

    def __init__(
        self, home: Path, process: subprocess.Popen[bytes], log: Path, screen: Path
    ) -> None:
        self.home = home
        self.process = process
        self._log = log
        self._screen = screen
        self.scene = SCENE
        settings = ObsFiles(home / "obs-studio").remote_control()
        self.port, self.password = settings.port, settings.password

        def connect() -> ObsRemote | None:
            assert process.poll() is None, f"OBS has ended:\n{self.log[-2000:]}"
            with contextlib.suppress(SinkError):
                remote = ObsRemote(settings, ask=str)
                remote.current_scene()
                return remote
            return None

        self._remote = until(connect, START_S, "OBS answers")

    @property
    def log(self) -> str:
        """What OBS has written so far."""
        return self._log.read_text(errors="replace")

    def ask(self, request: str, **data: Any) -> dict[str, Any]:
        """Send a request of obs-websocket."""
        return self._remote.request(request, **data)

    def add(self, name: str, kind: str, settings: Mapping[str, Any]) -> int:
        """Add a source to the scene, on top of the others; return its item's number."""
        return int(
            self.ask(
                "CreateInput",
                sceneName=self.scene,
                inputName=name,
                inputKind=kind,
                inputSettings=dict(settings),
                sceneItemEnabled=True,
            )["sceneItemId"]
        )

    def use_inner_scene(self) -> None:
        """Put sources that are added from now on into a scene inside `SCENE`.

        For tests that add and remove many: OBS's window lists the sources of `SCENE` alone, and may
        free one twice, of any kind, that is removed by remote control while the window is busy.
        """
        self.scene = "Inner"
        self.ask("CreateScene", sceneName=self.scene)
        self.ask("CreateSceneItem", sceneName=SCENE, sourceName=self.scene)

    def remove(self, name: str) -> None:
        """Remove a source and wait until it is gone."""
        self.ask("RemoveInput", inputName=name)
        until(lambda: name not in self.inputs(), what=f"{name} is removed")

    def inputs(self) -> list[str]:
        """Return the names of all sources."""
        return [entry["inputName"] for entry in self.ask("GetInputList")["inputs"]]

    def size_of(self, item: int) -> tuple[int, int]:
        """Return the (width, height) px that a source reports."""
        answer = self.ask("GetSceneItemTransform", sceneName=self.scene, sceneItemId=item)
        transform = answer["sceneItemTransform"]
        return int(transform["sourceWidth"]), int(transform["sourceHeight"])

    def screenshot(self, source: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
        """Return uint8 (H, W, 4) RGBA of a source or scene, exactly as OBS draws it."""
        return self._remote.screenshot(source, size)

    def window(self) -> NDArray[np.uint8]:
        """Return uint8 (H, W, 3) RGB of the whole display with OBS's window."""
        # XWD version 7: a header of big-endian numbers, the colour map, then the pixels as BGRX.
        data = self._screen.read_bytes()
        header = np.frombuffer(data, ">u4", 25)
        width, height, stride = (int(header[i]) for i in (4, 5, 12))
        start = int(header[0]) + 12 * int(header[19])
        rows = np.frombuffer(data, np.uint8, stride * height, start).reshape(height, stride)
        pixels = rows[:, : 4 * width].reshape(height, width, 4)
        return np.ascontiguousarray(pixels[..., 2::-1])

    def stop(self) -> int:
        """End OBS as a user would; return its exit status."""
        with contextlib.suppress(OSError):
            self._remote.close()
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


@contextmanager
def display(folder: Path) -> Iterator[str]:
    """Start Xvfb on a free number; yield its name.

    What it shows is in the file `Xvfb_screen0` of the folder.
    """
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x800x24"]
    process = subprocess.Popen(
        [*command, "-nolisten", "tcp", "-fbdir", str(folder)],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        assert number, "Xvfb did not start"
        yield f":{number}"
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def start(home: Path, *arguments: str) -> Iterator[Studio]:
    """Run OBS with the configuration in `home` until the context ends."""
    with display(home) as name:
        log_path = home / "obs.log"
        with log_path.open("wb") as log:
            process = _spawn(home, name, log, arguments)
            try:
                studio = Studio(home, process, log_path, home / "Xvfb_screen0")
                yield studio
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                    try:
                        process.wait(15)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()


def environment(home: Path) -> dict[str, str]:
    """Return the environment in which OBS, and programs that look for OBS, use `home`."""
    # OpenCV sets variables that point Qt, which OBS uses as well, to its own plugins.
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("QT_") and key != "WAYLAND_DISPLAY"
    }
    return {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home)}


def _spawn(
    home: Path, display_name: str, log: IO[bytes], arguments: tuple[str, ...]
) -> subprocess.Popen[bytes]:
    runtime = home / "run"
    runtime.mkdir(mode=0o700, exist_ok=True)
    return subprocess.Popen(
        ["obs", "--multi", "--disable-updater", "--disable-missing-files-check", *arguments],
        env={
            **environment(home),
            "DISPLAY": display_name,
            "LIBGL_ALWAYS_SOFTWARE": "1",
            "QT_QPA_PLATFORM": "xcb",
            "XDG_RUNTIME_DIR": str(runtime),
            "PULSE_SERVER": "none",
            "LANG": "C.UTF-8",
        },
        stdout=log,
        stderr=subprocess.STDOUT,
    )


def media_source_settings(address: HttpAddress) -> dict[str, object]:
    """Return what `reenact obs status --media-source` tells the user to set, as OBS stores it."""
    return {
        "is_local_file": False,
        "input": address.url("stream.mjpg"),
        "buffering_mb": 0,
        "reconnect_delay_sec": 1,
        "restart_on_activate": False,
        "ffmpeg_options": FFMPEG_OPTIONS,
    }


def configure(home: Path, *, scripts: tuple[Path, ...] = ()) -> None:
    """Write OBS's files as after its first start, with remote control and one empty scene."""
    folder = home / "obs-studio"
    profile, scenes = folder / "basic/profiles/Untitled", folder / "basic/scenes"
    for made in (profile, scenes):
        made.mkdir(parents=True)
    port = free_port()
    password = secrets.token_urlsafe(12)
    # Until version 30 everything is in global.ini; later, a part of it is in user.ini.
    basic = (
        "[General]\nFirstRun=true\nLastVersion=486539266\nPre19Defaults=false\n"
        "Pre21Defaults=false\nPre23Defaults=false\nPre24.1Defaults=false\nEnableAutoUpdates=false\n"
        "[Basic]\nProfile=Untitled\nProfileDir=Untitled\nSceneCollection=Untitled\n"
        "SceneCollectionFile=Untitled\nConfigOnNewProfile=false\n"
        "[BasicWindow]\nSysTrayEnabled=false\nPreviewEnabled=true\n"
    )
    remote = (
        "[OBSWebSocket]\nFirstLoad=false\nServerEnabled=true\nAlertsEnabled=false\n"
        f"ServerPort={port}\nAuthRequired=true\nServerPassword={password}\n"
    )
    (folder / "global.ini").write_text(basic + remote)
    (folder / "user.ini").write_text(basic)
    remote_folder = folder / "plugin_config/obs-websocket"
    remote_folder.mkdir(parents=True)
    (remote_folder / "config.json").write_text(
        json.dumps(
            {
                "alerts_enabled": False,
                "auth_required": True,
                "first_load": False,
                "server_enabled": True,
                "server_password": password,
                "server_port": port,
            }
        )
    )
    (profile / "basic.ini").write_text(
        "[General]\nName=Untitled\n[Output]\nMode=Simple\n[Video]\nFPSType=0\nFPSCommon=30\n"
        f"BaseCX={CANVAS[0]}\nBaseCY={CANVAS[1]}\nOutputCX={CANVAS[0]}\nOutputCY={CANVAS[1]}\n"
    )
    scene_settings = {"custom_size": False, "id_counter": 0, "items": []}
    collection = {
        "name": "Untitled",
        "current_scene": SCENE,
        "current_program_scene": SCENE,
        "scene_order": [{"name": SCENE}],
        "sources": [
            {"id": "scene", "versioned_id": "scene", "name": SCENE, "settings": scene_settings}
        ],
        "groups": [],
        "transitions": [],
        "quick_transitions": [],
        "saved_projectors": [],
        "modules": {"scripts-tool": [{"path": str(p), "settings": {}} for p in scripts]},
    }
    (scenes / "Untitled.json").write_text(json.dumps(collection))
