"""What the user chose on the page, and how it is kept for the next run."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from reenact.errors import ConfigError, ReenactError, SourceError
from reenact.live.presets import assigned
from reenact.live.settings import load_settings
from reenact.storage import atomic_write, data_folder
from reenact.targets.backgrounds import check_background

if TYPE_CHECKING:
    from reenact.sources.camera_devices import CameraInfo

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """The user's choices; stored for the next start of the program.

    Attributes:
        source: such as `webcam:NAME`; "": not chosen yet.
        target: the target's name; "": not chosen yet.
        outputs: such as `camera`; empty: only the panel shows the picture.
        settings: changed settings by `section.key`.
    """

    source: str = ""
    target: str = ""
    outputs: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


_NETWORK: Final = ("http://", "https://", "rtsp://", "rtsps://")
"""How the address of a network camera begins, such as that of a phone with a camera app."""


def is_camera(source: str) -> bool:
    """Return True if the source is a webcam."""
    return source.partition(":")[0] == "webcam"


def is_network_camera(source: str) -> bool:
    """Return True if the source is a camera, or another video, at an address in the network."""
    kind, _, address = source.partition(":")
    return kind == "video" and address.lower().startswith(_NETWORK)


def lasting_source(source: str, cameras: Sequence[CameraInfo] | None = None) -> str:
    """Return a source whose camera, if it is one, is named as the page lists them.

    `cameras` are those of this machine; None: they are looked for.
    """
    from reenact.sources.camera_devices import find_camera, lasting_argument, list_cameras

    if not is_camera(source):
        return source
    cameras = list_cameras() if cameras is None else cameras
    try:
        camera = find_camera(source.partition(":")[2], cameras)
    except SourceError:  # it is told when the source is opened
        return source
    return f"webcam:{lasting_argument(camera, cameras)}"


def source_name(source: str) -> str:
    """Return the name of the file or folder of a source, or its address without passwords."""
    if is_network_camera(source):
        return source.partition("://")[2].rpartition("@")[2].partition("?")[0]
    return source if is_camera(source) else Path(source.partition(":")[2]).name or source


def offered_sources(offered: str, *others: str) -> list[dict[str, str]]:
    """Return `source` and `name` of each camera that is plugged in, and of further sources.

    `offered` is the command line's; "" stands for none.
    """
    from reenact.sources.camera_devices import lasting_argument, list_cameras

    plugged_in = list_cameras()
    cameras = [
        {"source": f"webcam:{lasting_argument(camera, plugged_in)}", "name": camera.name}
        for camera in plugged_in
        if not camera.is_loopback
    ]
    known = {camera["source"] for camera in cameras}
    return cameras + [
        {"source": text, "name": source_name(text)}
        for text in dict.fromkeys((lasting_source(offered, plugged_in), *others))
        if text and text not in known
    ]


def _choice_path() -> Path:
    return data_folder() / "panel" / "choice.json"


def kept_choice() -> Choice:
    """Return the choice of the last run, without what is no longer valid."""
    try:
        kept = json.loads(_choice_path().read_text(encoding="utf-8"))
        outputs = _lasting(str(output) for output in kept["outputs"])
        settings = {k: v for k, v in dict(kept["settings"]).items() if _is_valid(k, v)}
        return Choice(str(kept["source"]), str(kept["target"]), outputs, settings)
    except (OSError, ValueError, KeyError, TypeError):
        return Choice()


def keep_choice(choice: Choice) -> None:
    """Store the choice for the next run; if that fails, the next run begins without choices.

    Only the user can read the file, because the address of a camera may contain a password.
    """
    kept = replace(choice, outputs=_lasting(choice.outputs))
    text = json.dumps(asdict(kept), indent=1)
    path = _choice_path()
    with contextlib.suppress(ConfigError, OSError):
        if path.exists():
            path.chmod(0o600)
        with atomic_write(path, error=ConfigError, parents=True) as partial:
            partial.touch(0o600)
            partial.write_text(text, encoding="utf-8")


def _is_valid(name: str, value: Any) -> bool:
    """Return False for a setting that this version does not know, or a background that is gone."""
    try:
        check_background(load_settings(None, assigned({name: value})).output.background)
    except ReenactError as error:
        log.warning("A stored setting is not used: %s", error)
        return False
    return True


def _lasting(outputs: Iterable[str]) -> tuple[str, ...]:
    """Return the outputs that are kept for the next run: none that names a file or device."""
    return tuple(output for output in outputs if ":" not in output)
