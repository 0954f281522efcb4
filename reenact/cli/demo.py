"""The demo: a session that needs no camera, GPU, driver or download."""

from __future__ import annotations

from pathlib import Path

from reenact.config import Settings
from reenact.live.session import Session
from reenact.storage import DEMO_ACTOR
from reenact.targets.library import open_target


def open_demo(out: Path, settings: Settings) -> Session:
    """Open the session that drives Eileen Collins's public-domain portrait with an actor's video.

    It writes both side by side unless the settings say otherwise. Raises ReenactError if the video
    cannot be written.
    """
    shown = settings.model_copy(deep=True)
    if "show_raw_camera" not in settings.output.model_fields_set:
        shown.output.show_raw_camera = True
    if "neutral" not in settings.actor.model_fields_set:
        shown.actor.neutral = "fresh"  # the stored one is the user's
    actor, target = f"video:{DEMO_ACTOR}", open_target("astronaut")
    return Session.open(shown, actor, target, [f"file:{out}"], replace_files=True)
