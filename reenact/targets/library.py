"""Targets as the rest of the program uses them: open by name or path, ask before what counts."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TextIO

import numpy as np

from reenact.config import TrackingSettings
from reenact.errors import TargetError
from reenact.storage import data_folder
from reenact.targets.builder import DRAWN_PX, create_target, resize_target, target_from_image
from reenact.targets.store import BUILT_IN, SUFFIX, TargetStore
from reenact.types import Image, Target, Tracker

__all__ = [
    "BUILT_IN",
    "SUFFIX",
    "TargetStore",
    "confirm_consent",
    "confirm_removal",
    "create_target",
    "data_folder",
    "open_target",
    "resize_target",
    "still_tracker",
    "target_from_image",
]

_QUESTION: Final = (
    "Is the face of {name} your own, invented, or a person's who lets you use it? [y/N] "
)

_REMOVAL: Final = "Remove {name} with its {held}? [y/N] "

_HEAD: Final = (slice(0, 300), slice(74, 374))
_HEAD_SIZE_PX: Final = (640, 640)

_log = logging.getLogger(__name__)


def still_tracker(settings: TrackingSettings | None = None) -> Tracker:
    """Return the tracker that targets are made with: each picture on its own.

    Raises:
        ModelError: mediapipe or its model file is missing.
    """
    from reenact.face.mediapipe_tracker import MediaPipeTracker

    return MediaPipeTracker(settings or TrackingSettings(), static=True)


def open_target(
    name_or_path: str,
    size_px: int | None = None,
    *,
    store: TargetStore | None = None,
    make_tracker: Callable[[], Tracker] = still_tracker,
) -> Target:
    """Return a stored or built-in target, or one made on the fly from a photo or video.

    Args:
        name_or_path: a stored target's name, `astronaut`, or the path of a picture or video.
        size_px: side that its crops are brought to; None: as stored.
        store: where stored targets are looked for; None: the user's.
        make_tracker: makes the tracker where a face has to be found.

    Raises:
        TargetError: there is no such target or file, no face in it, or it is damaged.
        SourceError: the picture or video cannot be read.
    """
    store = store or TargetStore()
    if name_or_path in store.list():
        target = store.load(name_or_path)
    elif name_or_path in BUILT_IN:
        target = _with_tracker(make_tracker, _astronaut)
    elif Path(name_or_path).expanduser().exists():
        path = Path(name_or_path).expanduser()
        _log.warning("%s is used as a target; whether you may use the face was not asked.", path)
        notes = {"consent": "not asked: made on the fly"}
        target = _with_tracker(
            make_tracker,
            lambda tracker: create_target(
                path.stem, [path], tracker, metadata=notes, drawn_px=size_px or DRAWN_PX
            ),
        )
    else:
        known = ", ".join((*store.list(), *BUILT_IN))
        raise TargetError(
            f"There is no target and no file {name_or_path!r}; give the path of a photo or video, "
            f"or one of these targets: {known}."
        )
    return target if size_px is None else resize_target(target, size_px)


def confirm_consent(
    name: str,
    assume_yes: bool,
    stdin: TextIO | None = None,
    stdout: TextIO | None = None,
) -> str:
    """Ask once whether the user may use a face.

    Args:
        name: of the target to be made.
        assume_yes: the user said so on the command line; do not ask.
        stdin: where the answer comes from; None: sys.stdin. Nothing is asked where it is no
            terminal; the log notes that.
        stdout: where the question goes; None: sys.stdout.

    Returns:
        What to note under "consent" in the target's metadata.

    Raises:
        TargetError: the answer was not yes; nothing must be made.
    """
    stdin = stdin or sys.stdin
    stdout = stdout or sys.stdout
    if assume_yes:
        note = "confirmed on the command line"
        _log.info("Use of the face of %s: %s.", name, note)
        return note
    if stdin is None or not stdin.isatty():
        note = "not asked: no terminal"
        _log.warning("Use of the face of %s: %s.", name, note)
        return note
    if not _agreed(_QUESTION.format(name=name), stdin, stdout):
        raise TargetError(f"{name} was not made; use a face that you have the right to use.")
    return "confirmed in the terminal"


def confirm_removal(
    store: TargetStore,
    name: str,
    assume_yes: bool,
    stdin: TextIO | None = None,
    stdout: TextIO | None = None,
) -> None:
    """Ask before trained weights or footage of a stored target are deleted.

    Args:
        store: holds the target.
        name: of the target.
        assume_yes: the user said so on the command line; do not ask.
        stdin: where the answer comes from; None: sys.stdin. Nothing is asked where it is no
            terminal.
        stdout: where the question goes; None: sys.stdout.

    Raises:
        TargetError: there is no such target, or the answer was not yes; nothing must be deleted.
    """
    stdin = stdin or sys.stdin
    held = " and ".join(store.laborious(name))
    if not held or assume_yes or stdin is None or not stdin.isatty():
        return
    if not _agreed(_REMOVAL.format(name=name, held=held), stdin, stdout or sys.stdout):
        raise TargetError(f"{name} was not removed; answer y, or add --yes.")


def _agreed(question: str, stdin: TextIO, stdout: TextIO) -> bool:
    stdout.write(question)
    stdout.flush()
    return stdin.readline().strip().lower() in {"y", "yes"}


def _astronaut(tracker: Tracker) -> Target:
    """Eileen Collins, photographed by NASA: in the public domain, shipped with scikit-image.

    Head and shoulders of the picture, enlarged to what a webcam would frame.
    """
    import cv2
    from skimage import data

    picture: Image = data.astronaut()  # type: ignore[no-untyped-call]  # scikit-image has no types
    head = np.ascontiguousarray(picture[_HEAD])
    enlarged = cv2.resize(head, _HEAD_SIZE_PX, interpolation=cv2.INTER_LANCZOS4)
    portrait = np.asarray(enlarged, dtype=np.uint8)
    notes = {"from": "NASA, Great Images database", "consent": "not needed: public domain"}
    return target_from_image("astronaut", portrait, tracker, metadata=notes)


def _with_tracker(make_tracker: Callable[[], Tracker], make: Callable[[Tracker], Target]) -> Target:
    tracker = make_tracker()
    try:
        return make(tracker)
    finally:
        tracker.close()
