"""Fine-tunes the live generator on one target: `reenact target train NAME`.

Training starts from the target's own weights or the shipped ones. It mimics the live path: the
reference is one that a target made from this footage would have, the ground truth is any frame.
Batch normalisation keeps the running statistics of the start, because those of one person would
drift with every batch.

Some stretches of the footage are held out. The weights with the best score on them are kept, but
only if they beat the start's by what is seen. The weights that are scored and kept are interpolated
between the start and the trained ones, because the footage is more uniform than later use.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from reenact.errors import ModelError, counted
from reenact.evaluation.contact_sheet import SheetRow, compose
from reenact.models.warp_unet import WarpUNet
from reenact.models.warp_unet_inputs import SHIPPED_WEIGHTS, read_config
from reenact.models.weights import header_of, load_model
from reenact.storage import atomic_write, write_png
from reenact.targets.footage import Footage
from reenact.targets.target_training import (
    MIN_FRAMES,
    TrainingOptions,
    TrainingOutcome,
    check_footage,
    preview_path,
)
from reenact.training.checkpoints import STATE, WEIGHTS, read_progress
from reenact.training.loop import LoopOptions, train
from reenact.training.sampling import Batch, Batches
from reenact.training.target_pairs import TargetClip, TargetSampler
from reenact.training.warp_unet import (
    ARCHITECTURE,
    GeneratorRecipe,
    WarpUNetRecipeConfig,
    draw,
    stacked,
)
from reenact.types import Image

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_MAX_HELD_OUT: Final = 16
"""Held-out frames drawn in each validation."""

_MIN_GAIN: Final = 0.3
"""Minimum gain of the score, dB. Smaller ones are not seen, and the rest of a clip lacks them: the
held-out frames lie between those that are trained on."""

_TEXTURE_WEIGHT: Final = 4.0
"""On two clips and 60 steps, the weight of the general training lost 0.04 and 0.07 of sharpness.
This weight keeps the sharpness, but costs 0.04 and 0.25 dB of PSNR in the face."""

_LEARNED_SHARE: Final = 0.6
"""Position of the kept weights between the start (0) and the trained weights (1), after Wortsman
2022, "Robust fine-tuning of zero-shot models". Weights at the far end draw a grid of lines on the
skin of faces that are turned further than in the footage."""

_MAX_PASSES: Final = 30
"""Training ends once each frame was used this often on average. More passes gain less than 0.1 dB;
without `_LEARNED_SHARE`, one clip of five lost 1.7 dB on its unseen rest between 52 and 125."""

_MAX_STEPS: Final = 3000

_BATCH_SIZE: Final = 8
_LEARNING_RATE: Final = 3e-4
"""Initial learning rate; it falls along a cosine."""

_VALIDATE_EVERY: Final = 50
"""Steps between validations, each of which updates the preview."""

_PREVIEW_ROWS: Final = 4

_START: Final = "start.safetensors"
"""The start weights of a training, kept in its folder."""

_FOOTAGE: Final = "footage.digest"
"""Digest of the footage of a training, kept in its folder; it goes on only with the same."""


def train_on_target(
    footage: Sequence[Footage],
    start: Path | None,
    options: TrainingOptions,
    *,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingOutcome:
    """Train on one target; implements `targets.target_training.TargetTrainer`.

    A training that goes on uses its stored start, because the target's weights may by now come from
    it. If the start is of another version, the shipped weights are used, with a warning.
    """
    stored_start, digest = options.folder / _START, _digest(footage)
    resume = _is_unfinished(options.folder, digest)
    start = stored_start if resume else _choose_start(start)
    recipe = FineTuningRecipe(footage, start, options)
    if resume:
        log.warning("The training that was interrupted goes on.")
    else:
        shutil.rmtree(options.folder, ignore_errors=True)
        with atomic_write(stored_start, parents=True) as partial:
            shutil.copyfile(start, partial)
        with atomic_write(options.folder / _FOOTAGE) as partial:
            partial.write_bytes(digest)
    before = recipe.prepare(options.device)
    outcome = train(
        recipe,
        LoopOptions(
            folder=options.folder,
            steps=min(options.steps or _MAX_STEPS, recipe.max_steps),
            minutes=options.minutes,
            validate_every=_VALIDATE_EVERY,
            seed=0,
            device=options.device,
            # On a CPU, training itself keeps the cores busy.
            workers=min(8, os.cpu_count() or 1) if options.device == "cuda" else 0,
            ema=0.99,
        ),
        resume,
        stop,
    )
    if not outcome.stopped:
        (options.folder / STATE).unlink()
    better = is_better(before, outcome.best)
    kept = options.folder / WEIGHTS if better else None
    return TrainingOutcome(before, outcome.best, kept, outcome.stopped)


def _is_unfinished(folder: Path, digest: bytes) -> bool:
    """Return True if a training on footage of this digest was interrupted and can go on."""
    try:
        read_progress(folder)
        _load(folder / _START)
        return (folder / _FOOTAGE).read_bytes() == digest
    except (ModelError, OSError):
        return False


def _digest(footage: Sequence[Footage]) -> bytes:
    """Return what is equal only for the same faces."""
    digest = hashlib.sha256()
    for clip in footage:
        digest.update(np.ascontiguousarray(clip.landmarks).tobytes())
    return digest.digest()


def _choose_start(start: Path | None) -> Path:
    """Return the start, or the shipped weights if this version cannot load it."""
    if start is None:
        return SHIPPED_WEIGHTS
    header_of(start, ARCHITECTURE)
    try:
        _load(start)
    except ModelError:
        log.warning("%s is of another version; training starts from the shipped weights.", start)
        return SHIPPED_WEIGHTS
    return start


def _load(weights: Path) -> None:
    """Raise ModelError if this version cannot load the weights."""
    load_model(weights, WarpUNet(read_config(weights)), ARCHITECTURE)


def is_better(before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    """Return True if a difference to the start is seen, and PSNR of the face is not lower."""
    return (
        after["score"] > before["score"] + _MIN_GAIN
        and after["picture_face_psnr"] >= before["picture_face_psnr"]
    )


class FineTuningRecipe(GeneratorRecipe):
    """The generator's recipe on one target, from the weights at `start`.

    `max_steps` is the number of steps, depending on the number of frames, after which training
    would do harm. Raises TargetError if there is too little footage, ModelError if the start is
    missing or damaged.
    """

    def __init__(self, footage: Sequence[Footage], start: Path, options: TrainingOptions) -> None:
        check_footage(footage)
        clips = [TargetClip(clip) for clip in footage if len(clip) >= MIN_FRAMES]
        frames = sum(len(clip.trained) for clip in clips)
        config = WarpUNetRecipeConfig(
            train="",
            start=str(start),
            batch_size=_BATCH_SIZE,
            learning_rate=_LEARNING_RATE,
            texture_weight=_TEXTURE_WEIGHT,
            ssim_weight=0.0,
            network=read_config(start),
        )
        trained_on = header_of(start, ARCHITECTURE).get("data", "unknown")
        data = f"{counted(frames, 'frame')} of one target, from weights of: {trained_on}"
        super().__init__(config, data)
        self._sampler = TargetSampler(clips, _BATCH_SIZE)
        held_out = [(clip, frame) for clip in clips for frame in clip.held_out]
        rows = [clip.row(frame) for clip, frame in _evenly(held_out, _MAX_HELD_OUT)]
        self._held_out = stacked(rows)
        self._shown = stacked(_evenly(rows, _PREVIEW_ROWS))
        # The loop does not set the mode: batch normalisation keeps the statistics of the start.
        self.networks[self.averaged].eval()
        self.max_steps = max(1, _MAX_PASSES * frames // _BATCH_SIZE)
        self._start = copy.deepcopy(self.networks[self.averaged].state_dict())
        self._preview_path = preview_path(options.folder)
        self._drawn_at_start: list[Image] = []

    def batches(self, seed: int, steps: int) -> Dataset[Batch]:
        """Return the dataset of batches, one for each step."""
        return Batches(self._sampler.draw, seed, steps)

    def held_out(self) -> list[Batch]:
        """Return the held-out frames as one batch."""
        return [self._held_out]

    def prepare(self, device: str) -> dict[str, float]:
        """Write the first preview; return the figures of the start."""
        generator = self.networks[self.averaged].to(device)
        pictures = draw(generator, self._shown)
        self._drawn_at_start = [drawn for _, drawn in pictures]
        if not self._preview_path.exists():
            self._write_preview(pictures)
        with torch.no_grad():
            return super().validate(generator)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return figures on the held-out frames, and update the preview."""
        interpolated = self._interpolated(network)
        figures = super().validate(interpolated)
        self._write_preview(draw(interpolated, self._shown))
        return figures

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write weights interpolated between the start's and the trained ones."""
        super().save(self._interpolated(network), path, facts)

    def _interpolated(self, network: nn.Module) -> nn.Module:
        """Return a network with weights interpolated between the start's and the trained ones.

        They are rounded as they will be stored, so that what is measured is what is drawn with.
        """
        result = copy.deepcopy(network)
        for name, value in result.state_dict().items():
            if value.is_floating_point():
                start = self._start[name].to(value)
                value.copy_(torch.lerp(start, value, _LEARNED_SHARE).half())
        return result

    def _write_preview(self, pictures: Sequence[tuple[Image, Image]]) -> None:
        """Write the contact sheet of (truth, drawn) pictures beside those of the start."""
        rows = [
            SheetRow(f"held-out frame {number}", [truth, before, now])
            for number, (before, (truth, now)) in enumerate(
                zip(self._drawn_at_start, pictures, strict=True), 1
            )
        ]
        write_png(self._preview_path, compose(["true", "start", "now"], rows)[0])


def _evenly(items: Sequence[_T], count: int) -> list[_T]:
    """Return at most so many items, spread evenly."""
    chosen = np.linspace(0, len(items) - 1, min(len(items), count))
    return [items[i] for i in chosen.round().astype(int)]
