"""The whole main job without a camera, a GPU, a driver or a download."""

from __future__ import annotations

from contextlib import ExitStack
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from reenact.config import Settings
from reenact.live.session import Session
from reenact.targets.library import open_target

ACTOR: Final = "demo_actor.mp4"
TARGET: Final = "astronaut"


def open_demo(out: Path, settings: Settings, undo: ExitStack) -> Session:
    """Make the session that drives the astronaut's portrait with the packaged actor.

    Actor: an invented face, moved by the program's own generator (`training.demo_actor`).
    Target: scikit-image's public-domain portrait of Eileen Collins.

    Args:
        out: the video to write, actor and target side by side.
        settings: used as they are, but that the actor is shown and its neutral is found anew.
        undo: told how to release the actor's clip after the session.

    Raises:
        ReenactError: the video cannot be written.
    """
    shown = settings.model_copy(deep=True)
    shown.output.show_raw_camera = True
    shown.actor.neutral = "fresh"
    actor = undo.enter_context(as_file(files("reenact") / "assets" / ACTOR))
    return Session.open(shown, f"video:{actor}", open_target(TARGET), [f"file:{out}"])
