"""The packaged actor: an invented face that acts by a script, 25 frames a second."""

from __future__ import annotations

from functools import lru_cache

from reenact.storage import DEMO_ACTOR
from reenact.targets.clip_files import decode_clip
from reenact.types import Image

FPS = 25
AT_REST = range(20)
MOUTH_OPENS = range(222, 240)
"""To 0.7 of what mouths do; the brows rise meanwhile."""


@lru_cache(maxsize=1)
def acted() -> list[Image]:
    """Return all pictures of the clip."""
    return list(decode_clip(DEMO_ACTOR))
