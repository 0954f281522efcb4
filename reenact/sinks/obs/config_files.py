"""OBS's settings on disk, and the location of this program's script.

The password of the remote control is read but never written.
"""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reenact.storage import ASSETS, atomic_write

DEFAULT_PORT: Final = 4455
FLATPAK: Final = "com.obsproject.Studio"

_DEFAULT_CANVAS: Final = (1920, 1080)


@dataclass(frozen=True, slots=True)
class RemoteControl:
    """The settings of obs-websocket on this machine; the password is "" if none is needed."""

    enabled: bool = False
    port: int = DEFAULT_PORT
    password: str = ""


def packaged_script() -> str:
    """Return the text of the script for OBS."""
    return (ASSETS / "reenact.lua").read_text(encoding="utf-8")


def find_obs_files() -> ObsFiles | None:
    """Return the settings of the last used OBS; None if none was ever started."""
    home = Path.home()
    if sys.platform == "win32":
        folders = [Path(os.environ.get("APPDATA", home)) / "obs-studio"]
    elif sys.platform == "darwin":
        folders = [home / "Library/Application Support/obs-studio"]
    else:
        folders = [
            _config_home(dict(os.environ)) / "obs-studio",
            home / ".var/app" / FLATPAK / "config/obs-studio",
            home / "snap/obs-studio/current/.config/obs-studio",
        ]
    # OBS writes this file at the end of its first run.
    used = [folder for folder in folders if (folder / "global.ini").is_file()]
    return ObsFiles(max(used, key=_last_used_s)) if used else None


class ObsFiles:
    """The `obs-studio` settings folder of one OBS, with the place for this program's script."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "reenact" / "reenact.lua"

    @property
    def is_flatpak(self) -> bool:
        """True if this OBS runs in a Flatpak sandbox."""
        return FLATPAK in self.folder.parts

    def is_running(self) -> bool:
        """Return True if an OBS with these settings seems to be running."""
        if sys.platform == "win32":
            command = ["tasklist", "/FI", "IMAGENAME eq obs64.exe", "/NH"]
            return "obs64" in _output_of(command)
        if sys.platform == "darwin":
            return bool(_output_of(["pgrep", "-x", "OBS"]).strip())
        return any(self._is_of(process) for process in Path("/proc").glob("[0-9]*"))

    def _is_of(self, process: Path) -> bool:
        try:
            if (process / "comm").read_text().strip() != "obs":
                return False
            if process.stat().st_uid != os.getuid():
                return False
            entries = (process / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            return False
        found = dict(entry.partition("=")[::2] for entry in entries)
        return not found or _config_home(found) / "obs-studio" == self.folder

    def remote_control(self) -> RemoteControl:
        """Read how to reach OBS; missing values are OBS's defaults."""
        path = self.folder / "plugin_config/obs-websocket/config.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return RemoteControl(
                enabled=bool(found.get("server_enabled", False)),
                port=_port(found.get("server_port")),
                password=str(found.get("server_password", ""))
                if found.get("auth_required", True)
                else "",
            )
        except (OSError, ValueError, AttributeError):
            pass
        section = self._ini("OBSWebSocket")  # until OBS 30
        return RemoteControl(
            enabled=section.get("serverenabled") == "true",
            port=_port(section.get("serverport")),
            password=section.get("serverpassword", "")
            if section.get("authrequired", "true") == "true"
            else "",
        )

    def canvas(self) -> tuple[int, int]:
        """Return the (width, height) px of the current profile's canvas."""
        name = self._ini("Basic").get("profiledir", "Untitled")
        video = _read_ini(self.folder / "basic/profiles" / name / "basic.ini", "Video")
        try:
            return int(video["basecx"]), int(video["basecy"])
        except (KeyError, ValueError):
            return _DEFAULT_CANVAS

    def collection(self) -> Path:
        """Return the file of the current scene collection; it may not exist."""
        name = self._ini("Basic").get("scenecollectionfile", "Untitled")
        return self.folder / "basic/scenes" / f"{name.removesuffix('.json')}.json"

    def collections(self) -> list[Path]:
        """Return the files of all scene collections."""
        return sorted((self.folder / "basic/scenes").glob("*.json"))

    def put_script(self) -> bool:
        """Copy the packaged script to its place; return False if it was already there."""
        if self.has_this_script():
            return False
        with atomic_write(self.script, parents=True) as partial:
            partial.write_text(packaged_script(), encoding="utf-8")
        return True

    def has_this_script(self) -> bool:
        """Return True if the script in its place is the packaged one."""
        try:
            return self.script.read_text(encoding="utf-8") == packaged_script()
        except (OSError, ValueError):
            return False

    def delete_script(self) -> None:
        """Delete the script, and its folder if that is then empty."""
        with contextlib.suppress(OSError):
            self.script.unlink()
            self.script.parent.rmdir()

    def _ini(self, section: str) -> dict[str, str]:
        # Since version 31, the user's part is in user.ini.
        shared, users = (
            _read_ini(self.folder / name, section) for name in ("global.ini", "user.ini")
        )
        return {**shared, **users}


def _config_home(environment: dict[str, str]) -> Path:
    chosen = environment.get("XDG_CONFIG_HOME")
    return Path(chosen) if chosen else Path(environment.get("HOME", Path.home())) / ".config"


def _last_used_s(folder: Path) -> float:
    stamps = [folder / "global.ini", *(folder / "basic/scenes").glob("*.json")]
    return max(path.stat().st_mtime for path in stamps)


def _read_ini(path: Path, section: str) -> dict[str, str]:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, configparser.Error):
        return {}
    return dict(parser.items(section)) if parser.has_section(section) else {}


def _port(value: object) -> int:
    with contextlib.suppress(TypeError, ValueError):
        port = int(str(value))
        if 0 < port < 65536:
            return port
    return DEFAULT_PORT


def _output_of(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout
