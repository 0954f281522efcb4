"""The demo: a session that needs no camera, GPU, driver or download."""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from reenact.config import Settings
from reenact.live.session import Session
from reenact.targets.library import open_target

ACTOR: Final = "demo_actor.mp4"
TARGET: Final = "astronaut"


def packaged_actor() -> AbstractContextManager[Path]:
    """Return a context with the actor's video: an invented face, made by `tools/demo_actor.py`."""
    return as_file(files("reenact") / "assets" / ACTOR)


def open_demo(actor: Path, out: Path, settings: Settings) -> Session:
    """Open the session that drives Eileen Collins's public-domain portrait with the actor's video.

    It writes both side by side unless the settings say otherwise. Raises ReenactError if the video
    cannot be written.
    """
    shown = settings.model_copy(deep=True)
    if "show_raw_camera" not in settings.output.model_fields_set:
        shown.output.show_raw_camera = True
    return Session.open(shown, f"video:{actor}", open_target(TARGET), [f"file:{out}"])
