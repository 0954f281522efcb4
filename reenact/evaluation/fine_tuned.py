"""Evaluation of target training: train on the first part of each clip, compare on the rest.

All renderers get the same references, up to sixteen frames of the first part, like a target made
from a video, so that only the weights of the trained ones differ. All are compared on the same
frames, which none of them has seen.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from reenact.config import Settings
from reenact.errors import SourceError
from reenact.evaluation import self_reenactment
from reenact.evaluation.clips import CLIP_FPS, Clip, first_frame_target, read_clip
from reenact.evaluation.contact_sheet import SheetRow, write_side_by_side
from reenact.evaluation.face_reader import FaceReader
from reenact.evaluation.metrics import Figures
from reenact.evaluation.self_reenactment import RenderedClip, run_columns, with_and_without
from reenact.models.inference import choose_device
from reenact.registry import load
from reenact.targets.footage import Footage
from reenact.targets.reference_selection import choose_references, measure_look
from reenact.targets.target_training import (
    MIN_FRAMES,
    TrainingOptions,
    is_trainable,
    target_trainer,
)
from reenact.types import Renderer, Target

MIN_CLIP_S: Final = 6.0
"""Shorter clips are skipped: they are too short to learn from. So are those without a face in
`MIN_FRAMES` of the frames to train on, or in any of the rest."""

_TRAINED: Final = " (trained)"


def protocol(share: float) -> str:
    """Return the protocol's name in a report."""
    return f"self-reenactment, trained on the first {share:.0%}"


def rows(renderers: Sequence[str]) -> list[str]:
    """Return the renderers, then a row `NAME (trained)` for each trainable one."""
    return [*renderers, *(f"{name}{_TRAINED}" for name in renderers if is_trainable(name))]


def is_trained(row: str) -> bool:
    """Return True if a row is that of a trained renderer."""
    return row.endswith(_TRAINED)


def run(
    renderers: Sequence[str],
    videos: Sequence[Path],
    settings: Settings,
    reader: FaceReader,
    *,
    share: float,
    minutes: float,
    frames: int | None = None,
    steps: int | None = None,
    min_clip_s: float = MIN_CLIP_S,
    ab: Path | None = None,
    body: bool = False,
) -> tuple[dict[str, dict[str, Figures]], list[SheetRow]]:
    """Train and measure on each clip that is long enough.

    Args:
        renderers: registered names; trainable ones are also measured untrained.
        videos: the clips.
        settings: the renderer's device, engine and start weights.
        reader: tracks the pictures.
        share: share of each clip's frames to train on.
        minutes: training time for each clip.
        frames: maximum number of compared frames of each clip; None: all of the protocol.
        steps: maximum number of training steps; None: as in `reenact target train`.
        min_clip_s: shorter clips are skipped.
        ab: folder that receives a video of each clip; None: no videos.
        body: also measure with shoulders and hair that follow the actor's, as rows `NAME (body)`.

    Returns:
        Figures by row and clip, and the rows of the contact sheet.

    Raises:
        SourceError: no clip is long enough.
    """
    from reenact.progress import progress_bar

    drawers = {name: _drawer(name, settings) for name in rows(renderers)}
    figures: dict[str, dict[str, Figures]] = {}
    pictured: list[SheetRow] = []
    for video in progress_bar(videos, desc="clips", unit="clip"):
        clip = read_clip(video)
        cut = round(share * len(clip.images))
        before = int((clip.usable < cut).sum())
        if len(clip.images) < min_clip_s * CLIP_FPS or not MIN_FRAMES <= before < len(clip.usable):
            continue
        clip = reader.refine_photo(clip)
        shot = self_reenactment.prepare_clip(clip, reader, frames, cut, body)
        footage, own = _first_part(clip, cut)
        drawn: dict[str, RenderedClip] = {}
        with tempfile.TemporaryDirectory() as scratch:
            for name, drawer in drawers.items():
                target = replace(own, renderer=name.removesuffix(_TRAINED))
                if is_trained(name):
                    options = TrainingOptions(Path(scratch) / name, minutes, steps)
                    target = _trained(target, footage, settings, options)
                for row, of_row in with_and_without(name, shot).items():
                    found, drawn[row] = self_reenactment.score(of_row, name, drawer, reader, target)
                    figures.setdefault(row, {})[clip.name] = found
        pictured += self_reenactment.sheet_rows(shot, list(drawn.values()))
        if ab is not None:
            write_side_by_side(ab, clip.name, run_columns(shot, drawn))
    if not pictured:
        raise SourceError(
            f"No clip is {min_clip_s:g} s long with a face in {MIN_FRAMES} frames of its first "
            f"{share:.0%}, to train on, and in the rest, to measure on."
        )
    return figures, pictured


def _drawer(row: str, settings: Settings) -> Renderer:
    """Return the renderer of a row; a trained one uses each target's own weights."""
    name = row.removesuffix(_TRAINED)
    weights = "" if is_trained(row) else settings.renderer.weights
    chosen = settings.renderer.model_copy(update={"name": name, "weights": weights})
    return load("renderers", name).make(chosen)


def _first_part(clip: Clip, cut: int) -> tuple[Footage, Target]:
    """Return the frames before `cut`, and a target that has the best of them as references."""
    usable = clip.usable[clip.usable < cut]
    footage = Footage(clip.images[usable], clip.landmarks[usable])
    chosen = choose_references(list(map(measure_look, footage.images, footage.landmarks)))
    target = replace(
        first_frame_target(clip, ""),
        references=np.ascontiguousarray(footage.images[chosen]),
        landmarks=footage.landmarks[chosen],
    )
    return footage, target


def _trained(
    target: Target, footage: Footage, settings: Settings, options: TrainingOptions
) -> Target:
    """Train on the footage; return the target with the new weights if they are used."""
    start = Path(settings.renderer.weights) if settings.renderer.weights else None
    device = choose_device(settings.renderer.device)
    options = replace(options, size_px=target.crop_size, device=device)
    outcome = target_trainer(target.renderer)([footage], start, options)
    weights = outcome.weights or start
    return replace(target, weights=None if weights is None else str(weights))
