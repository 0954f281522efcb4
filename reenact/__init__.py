"""Real-time video reenactment: your expression on another face.

    from reenact import Session, load_settings, open_target

    with Session.open(load_settings(), "webcam:0", open_target("anna"), ["window"]) as session:
        session.run()

The public names are found on first use, so that importing the package loads neither torch nor
mediapipe.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

# OpenVINO reports each import and conversion to its maker, unless this cannot be imported.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

if TYPE_CHECKING:
    from reenact.config import Section, Settings
    from reenact.errors import ReenactError
    from reenact.live.pipeline import Reenactor, open_reenactor
    from reenact.live.session import Session
    from reenact.live.settings import load_settings
    from reenact.registry import RendererSpec, SinkSpec, SourceSpec, TrackerSpec
    from reenact.targets.library import create_target, open_target
    from reenact.types import Drive, Frame, Landmarks, Renderer, Sink, Source, Target, Tracker

__all__ = [
    "Drive",
    "Frame",
    "Landmarks",
    "ReenactError",
    "Reenactor",
    "Renderer",
    "RendererSpec",
    "Section",
    "Session",
    "Settings",
    "Sink",
    "SinkSpec",
    "Source",
    "SourceSpec",
    "Target",
    "Tracker",
    "TrackerSpec",
    "create_target",
    "load_settings",
    "open_reenactor",
    "open_target",
]

_HOMES: Final = {
    "config": ("Section", "Settings"),
    "errors": ("ReenactError",),
    "live.pipeline": ("Reenactor", "open_reenactor"),
    "live.session": ("Session",),
    "live.settings": ("load_settings",),
    "registry": ("RendererSpec", "SinkSpec", "SourceSpec", "TrackerSpec"),
    "targets.library": ("create_target", "open_target"),
    "types": ("Drive", "Frame", "Landmarks", "Renderer", "Sink", "Source", "Target", "Tracker"),
}
_HOME_OF: Final = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version  # loads much; Ctrl-C would still print a traceback

        return version("reenact")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'reenact' has no attribute {name!r}")
    return getattr(import_module(f"reenact.{_HOME_OF[name]}"), name)
