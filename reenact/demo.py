"""The whole main job without a camera, a GPU, a driver or a download."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

from reenact.config import Settings
from reenact.session import Session
from reenact.stats import Stats
from reenact.targets import open_target

ACTOR: Final = "demo_actor.mp4"
TARGET: Final = "astronaut"


def run_demo(out: Path, settings: Settings) -> Stats:
    """Drive the astronaut's portrait with the packaged actor; write both side by side.

    Actor: a public-domain portrait of Grace Hopper, moved by the program's own generator.
    Target: scikit-image's public-domain portrait of Eileen Collins.

    Args:
        out: the video to write, .mp4.
        settings: the actor's stored neutral is not used, and the actor is shown on the left.

    Raises:
        ReenactError: the video cannot be written.
    """
    shown = settings.model_copy(deep=True)
    shown.output.show_raw_camera = True
    shown.actor.neutral = "fresh"
    with as_file(files("reenact") / "assets" / ACTOR) as actor:
        target = open_target(TARGET)
        with Session.open(shown, f"video:{actor}", target, [f"file:{out}"]) as session:
            session.start()
            session.wait()
            return session.stats()
