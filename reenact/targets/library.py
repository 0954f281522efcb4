"""Opens targets by name or path, for the rest of the program."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from typing import Final

import numpy as np

from reenact.config import TrackingSettings
from reenact.errors import TargetError, quoted
from reenact.sources.video_file import VideoSource
from reenact.storage import DEMO_ACTOR, expanded
from reenact.targets.builder import create_target, resize_target, target_from_image
from reenact.targets.exchange_file import SUFFIX
from reenact.targets.store import BUILT_IN, TargetStore
from reenact.types import Image, Target, Tracker

__all__ = [
    "BUILT_IN",
    "TargetStore",
    "built_in_portrait",
    "create_target",
    "open_target",
    "resize_target",
    "still_tracker",
    "target_from_image",
]

_HEAD: Final = (slice(0, 300), slice(74, 374))
_HEAD_SIZE_PX: Final = (640, 640)

_ORIGINS: Final = {
    "astronaut": "NASA, Great Images database",
    "robin": "the invented face of the demo's actor",
}

_log = logging.getLogger(__name__)


def still_tracker(settings: TrackingSettings | None = None) -> Tracker:
    """Return the tracker for making targets, which tracks each picture independently.

    It takes the largest face; the setting `tracking.face` applies to the actor only.
    """
    from reenact.face.mediapipe_tracker import MediaPipeTracker

    settings = (settings or TrackingSettings()).model_copy(update={"face": "largest"})
    return MediaPipeTracker(settings, static=True)


def open_target(
    name_or_path: str,
    size_px: int | None = None,
    *,
    store: TargetStore | None = None,
    make_tracker: Callable[[], Tracker] = still_tracker,
) -> Target:
    """Return a stored or built-in target, or make one from a photo or video.

    Args:
        name_or_path: a stored or built-in target's name, or the path of a picture or video.
        size_px: side of its crops; None: as stored.
        store: the stored targets; None: the user's.
        make_tracker: creates the tracker if a face has to be found.

    Raises:
        TargetError: there is no such target or file, no face in it, or it is damaged.
        SourceError: the picture or video cannot be read.
    """
    store = store or TargetStore()
    if name_or_path in store:
        target = store.load(name_or_path)
    elif name_or_path in BUILT_IN:
        notes = {"from": _ORIGINS[name_or_path], "consent": "not needed: public domain"}
        portrait = built_in_portrait(name_or_path)
        with closing(make_tracker()) as tracker:
            target = target_from_image(name_or_path, portrait, tracker, metadata=notes)
    elif name_or_path and (path := expanded(name_or_path)).exists():
        if path.suffix == SUFFIX:
            raise TargetError(
                f"{path} is an exported target; store it with `reenact target import "
                f"{quoted(str(path))}`, and use it by its name."
            )
        notes = {"consent": "not asked: made on the fly"}
        with closing(make_tracker()) as tracker:
            target = create_target(path.stem, [path], tracker, metadata=notes)
        _log.warning("%s is used as a target without asking whether you may use the face.", path)
    else:
        known = ", ".join((*store.list(), *BUILT_IN))
        raise TargetError(
            f"There is no target or file {name_or_path!r}; give the path of a photo or video, "
            f"or one of these targets: {known}."
        )
    return target if size_px is None else resize_target(target, size_px)


def built_in_portrait(name: str) -> Image:
    """Return the picture of a built-in target, uint8 (H, W, 3) RGB.

    `astronaut` is Eileen Collins, photographed by NASA: in the public domain, shipped with
    scikit-image; cropped to head and shoulders and enlarged. `robin` is the invented face of the
    demo's actor.
    """
    if name == "robin":
        with VideoSource(DEMO_ACTOR) as video:
            first = video.read()
        assert first is not None  # the file comes with the program
        return first.image
    import cv2
    from skimage import data

    picture: Image = data.astronaut()  # type: ignore[no-untyped-call]  # scikit-image has no types
    head = np.ascontiguousarray(picture[_HEAD])
    enlarged = cv2.resize(head, _HEAD_SIZE_PX, interpolation=cv2.INTER_LANCZOS4)
    return np.asarray(enlarged, dtype=np.uint8)
