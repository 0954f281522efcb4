"""`reenact target train NAME`: brings a stored target, its footage and the training together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from reenact.errors import ModelError, TargetError
from reenact.models.warp_unet import read_config
from reenact.models.warp_unet_inputs import shipped_weights
from reenact.targets.footage import clip_names, read_footage, write_footage
from reenact.targets.store import FOOTAGE, TargetStore
from reenact.targets.video_scan import scan_video
from reenact.training.fine_tuning import (
    ARCHITECTURE,
    Outcome,
    PersonalOptions,
    preview_path,
    train_personal,
)
from reenact.types import Target, Tracker

log = logging.getLogger(__name__)

SIZE_PX: Final = 256
"""Side of the pictures that are trained on; the weights serve at every size."""

_TRAINING: Final = "training"


def training_folder(store: TargetStore, name: str) -> Path:
    """Return where the training of a target keeps its state and preview."""
    return store.folder_of(name) / _TRAINING


def add_footage(store: TargetStore, name: str, videos: Sequence[Path], tracker: Tracker) -> None:
    """Add videos of the same face to a target's footage; an older one of that name is replaced.

    Raises:
        TargetError: there is no such target, or a video shows no face.
        SourceError: a video cannot be read.
        SinkError: the target's folder cannot be written.
    """
    folder = store.folder_of(name) / FOOTAGE
    side_px = store.load(name).crop_size
    for video, clip in zip(videos, clip_names(videos), strict=True):
        write_footage(scan_video(video, tracker), folder, clip, side_px, tracker)


def train_target(
    store: TargetStore,
    name: str,
    *,
    minutes: float,
    device: str,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
    begun: Callable[[Path], None] = lambda preview: None,
    steps: int | None = None,
) -> Outcome:
    """Train a stored target's weights on its footage, and keep them where they are better.

    Args:
        store: holds the target.
        name: of the target.
        minutes: of wall time, over all resumed runs.
        device: "cpu" or "cuda".
        resume: go on with a training that was stopped.
        stop: asked before each step; True ends the training with the best state kept.
        begun: told where the preview will be, once there is something to train on.
        steps: end after so many, where the minutes allow more; None: as usual.

    Raises:
        TargetError: there is no such target, or it has no footage.
        ReenactError: its folder cannot be written, or there is nothing to resume.
    """
    target = store.load(name)
    footage = read_footage(store.folder_of(name) / FOOTAGE, SIZE_PX)
    if not footage:
        raise TargetError(
            f"{name} was made of {len(target.references)} photo(s), with nothing to check a "
            "training against: what helps is a video of half a minute, with "
            "--from VIDEO. The shipped weights stay in use."
        )
    options = PersonalOptions(training_folder(store, name), minutes, device=device)
    begun(preview_path(options.folder))
    if steps is not None:
        options = replace(options, steps=steps)
    outcome = train_personal(footage, _start(target), options, resume=resume, stop=stop)
    if outcome.weights is not None:
        store.attach_weights(name, outcome.weights, ARCHITECTURE)
    return outcome


def _start(target: Target) -> Path:
    """Return the target's own weights, where this version can go on from them; else the shipped."""
    if not target.weights:
        return shipped_weights()
    own = Path(target.weights)
    try:
        read_config(own)
    except ModelError:
        log.warning(
            "The weights of %s cannot be used any more; it is trained anew from the shipped ones.",
            target.name,
        )
        return shipped_weights()
    return own


def summary(name: str, outcome: Outcome) -> str:
    """Tell in a sentence or two what a training came to."""
    before, after = outcome.before, outcome.after
    figures = (
        f"likeness of the face on held-back frames {before['picture_face_psnr']:.2f} -> "
        f"{after['picture_face_psnr']:.2f} dB, sharpness {before['picture_sharpness']:.2f} -> "
        f"{after['picture_sharpness']:.2f}"
    )
    if outcome.weights is not None:
        return f"{name} is better: {figures}. Its own weights are in use from now on."
    if outcome.stopped:
        return (
            f"{name} was stopped before it got better; its weights stay as they were. --resume "
            "goes on from here."
        )
    return (
        f"{name} did not get better: {figures}. Its weights stay as they were; more video, with "
        "more expressions in it, is what helps."
    )


__all__ = ["SIZE_PX", "add_footage", "preview_path", "summary", "train_target", "training_folder"]
