"""Trains the generator further on one target: `reenact target train NAME`.

The shipped weights, or the target's own, learn from the target's footage. What is trained on is
what the live path does: the reference is one of those that a target made of this footage would
have, half of the time the one that the renderer would choose, and the truth any frame, of which
MediaPipe says where the person is, lest the wall behind be learned to move with the head. Batch
normalisation keeps the statistics of the start: one person's would drift with every batch.

Some stretches of the footage are held back. The weights with the best score on them are kept,
and only where that score is above the start's. What is scored and kept lies between the start and
what was learned: all of the footage is alike, and what comes later is not.

Before the network learns, the mesh does: how this person's skin, hair and shoulders move
(`training.residual_flow.refined`), on the frames that are trained on; it is kept where it brings
the start's weights nearer to the held-back frames.
"""

from __future__ import annotations

import copy
import itertools
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from reenact.errors import ModelError, TargetError
from reenact.evaluation.contact_sheet import SheetRow, compose, spread_out
from reenact.face.geometry import estimate_pose, to_face_frame
from reenact.imaging import in_bytes
from reenact.models.warp_unet import read_config
from reenact.models.warp_unet_inputs import shipped_weights
from reenact.models.weights import read_header
from reenact.progress import progress_bar
from reenact.rendering.reference_ranking import SeenFaces, reference_distances
from reenact.rendering.residual_flow import ResidualFlow, read_personal_flow, shipped_residual_flow
from reenact.rendering.warp_unet import person_coverage
from reenact.storage import atomic_write, write_png
from reenact.targets.footage import Footage
from reenact.targets.reference_selection import choose_references, measure_look
from reenact.targets.target_training import TrainingOptions, TrainingOutcome, preview_path
from reenact.training.loop import LoopOptions, train
from reenact.training.residual_flow import refined
from reenact.training.sampling import Pair, Rng, augment, rarity
from reenact.training.warp_unet import Material, WarpUNetRecipe, WarpUNetRecipeConfig, draw
from reenact.types import Image

log = logging.getLogger(__name__)

ARCHITECTURE: Final = "warp_unet"

MIN_FRAMES: Final = 24
"""Frames with a face that footage must have."""

_HELD_BACK: Final = ((0.42, 0.48), (0.93, 1.0))
"""Stretches that are never trained on, as shares of a clip."""

_GAP_FRAMES: Final = 2
"""Frames beside a held-back stretch that are not trained on either: they look alike."""

_CHECKED: Final = 16
"""Held-back frames that are drawn at each check."""

_CLEARLY_BETTER: Final = 0.05
"""The score, in decibels, must rise by more than this."""

_NEAREST_SHARE: Final = 0.5
"""Share of the pairs whose reference is the one that the renderer would choose."""

_EXTENT: Final = 0.45
"""Of the augmentation, against that of the general training."""

_TEXTURE_WEIGHT: Final = 4.0
"""On two clips, 60 steps: four times the general training's costs 0.04 and 0.25 dB in the face and
keeps sharpness from falling by 0.04 and 0.07."""

_LEARNED_SHARE: Final = 0.6
"""How far the weights go from the start's to those learned (Wortsman 2022, "Robust fine-tuning of
zero-shot models"): half-way they draw what comes later in a clip better than at either end."""

_FLOW_PAIRS: Final = 700
"""Pairs of frames that the mesh learns from, 20 ms each."""

_MOST_PASSES: Final = 30
"""Each frame is drawn so often in the mean, then it ends: more gains less than .1 dB, and without
`_LEARNED_SHARE` one clip of five lost 1.7 dB on its unseen rest between 52 and 125 passes."""

_PREVIEW_ROWS: Final = 4

_START: Final = "start.safetensors"
"""What a training began with, kept in its folder."""


@dataclass(frozen=True, slots=True)
class PersonalOptions:
    """How long and where.

    Attributes:
        folder: holds state, the weights at the start and the best, history and preview.
        minutes: of wall time, over all resumed runs.
        steps: last step; it ends there, or after `_MOST_PASSES`, where the minutes allow more.
        size_px: side of the pictures that are trained on.
        batch_size: pairs a step.
        learning_rate: at the start; falls along a cosine.
        validate_every: steps between checks, each of which renews the preview.
        seed: of the batches.
        device: "cpu" or "cuda".
    """

    folder: Path
    minutes: float = 10.0
    steps: int = 3000
    size_px: int = 256
    batch_size: int = 8
    learning_rate: float = 3e-4
    validate_every: int = 50
    seed: int = 0
    device: str = "cpu"


def train_on_target(
    footage: Sequence[Footage],
    start: Path | None,
    options: TrainingOptions,
    *,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingOutcome:
    """Train on one target as `targets.target_training.TargetTrainer` describes.

    A start of another version gives way to the shipped weights, with a warning.
    """
    own = PersonalOptions(
        options.folder, options.minutes, size_px=options.size_px, device=options.device
    )
    if options.steps is not None:
        own = replace(own, steps=options.steps)
    return train_personal(footage, _usable(start), own, resume=resume, stop=stop)


def _usable(start: Path | None) -> Path:
    if start is None:
        return shipped_weights()
    try:
        read_config(start)
    except ModelError:
        log.warning("%s cannot be used any more; the shipped weights are trained.", start)
        return shipped_weights()
    return start


def train_personal(
    footage: Sequence[Footage],
    start: Path,
    options: PersonalOptions,
    *,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingOutcome:
    """Train on one target's footage; blocks until the time is over or `stop` answers True.

    Args:
        footage: clips of one person, at `options.size_px`.
        start: weights to begin with.
        options: how long and where; an earlier training in the folder is removed.
        resume: go on with the training in the folder instead, from its own start: by now the
            target's weights may be what that training came to.
        stop: asked before each step and each pair that the mesh learns from, on the calling
            thread.

    Raises:
        TargetError: there is not enough footage.
        ModelError: the start is missing, damaged or of another architecture.
        ReenactError: the folder cannot be written, or there is nothing to resume.
    """
    begun = options.folder / _START
    if not resume:
        shutil.rmtree(options.folder, ignore_errors=True)
    elif begun.is_file():
        start = begun
    recipe = PersonalRecipe(footage, start, options, stop)
    if not resume:
        with atomic_write(begun, parents=True) as partial:
            shutil.copyfile(start, partial)
    before = recipe.examine_start(options.device)
    after = train(
        recipe,
        LoopOptions(
            folder=options.folder,
            steps=min(options.steps, recipe.most_steps),
            minutes=options.minutes,
            validate_every=options.validate_every,
            seed=options.seed,
            device=options.device,
            # On a CPU the cores are busy anyway.
            workers=min(8, os.cpu_count() or 1) if options.device == "cuda" else 0,
            fresh_workers=True,
            ema=0.99,
        ),
        resume,
    )
    helped = bool(after) and is_better(before, after)
    return TrainingOutcome(
        before,
        after or before,
        options.folder / "best.safetensors" if helped else None,
        recipe.stopped,
    )


def is_better(before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    """Tell whether trained weights are above the start, in score and in likeness of the face."""
    return (
        after["score"] > before["score"] + _CLEARLY_BETTER
        and after["picture_face_psnr"] >= before["picture_face_psnr"]
    )


class PersonalRecipe(WarpUNetRecipe):
    """The generator's recipe on one target; asks before each step whether to go on.

    Attributes:
        most_steps: after which more would harm, by the number of frames.
        stopped: whether it was told to stop.
    """

    def __init__(
        self,
        footage: Sequence[Footage],
        start: Path,
        options: PersonalOptions,
        stop: Callable[[], bool],
    ) -> None:
        header = read_header(start)
        if header.get("architecture") != ARCHITECTURE:
            raise ModelError(f"{start} holds no {ARCHITECTURE} model; there is nothing to train.")
        clips = [_TrainingClip(clip) for clip in footage if len(clip) >= MIN_FRAMES]
        if not clips:
            raise TargetError(
                f"There are fewer than {MIN_FRAMES} frames of this target to train with; give a "
                "video of half a minute, in which it speaks, blinks and turns its head, with "
                "--from VIDEO."
            )
        frames = sum(len(clip.trained) for clip in clips)
        config = WarpUNetRecipeConfig(
            train="",
            val="",
            start=str(start),
            batch_size=options.batch_size,
            learning_rate=options.learning_rate,
            texture_weight=_TEXTURE_WEIGHT,
            ssim_weight=0.0,
            adversarial_from=1.0,
            network=read_config(start),
        )
        held_back = [pair for clip in clips for pair in clip.held_back]
        sampler = _Sampler(clips)
        material = Material(
            sampler,
            [held_back[i] for i in _spread(len(held_back), _CHECKED)],
            f"{frames} frames of one target, from weights of: {header.get('data', 'unknown')}",
            read_personal_flow(start),
        )
        super().__init__(config, options.size_px, material)
        self._flow_pairs = sampler.plain(_FLOW_PAIRS, np.random.default_rng(options.seed))
        self.most_steps = max(1, _MOST_PASSES * frames // options.batch_size)
        self.stopped = False
        self._stop = stop
        self._begun = copy.deepcopy(self.networks[self.averaged].state_dict())
        self._preview_path = preview_path(options.folder)
        self._preview_pairs = _telling(material.held_back)
        self._columns = ["reference", "true", "start", "now"]
        self._at_start: list[Image] = []

    def examine_start(self, device: str) -> dict[str, float]:
        """Return the figures of the start on the held-back frames, and let the mesh learn."""
        generator = self.networks[self.averaged].to(device)
        # It stays so: the loop sets no mode.
        generator.eval()
        self._at_start = draw(generator, self._preview_pairs, self._mesh)
        with torch.no_grad():
            before = super().validate(generator)
            shown = progress_bar(self._flow_pairs, desc="skin and hair", unit="pair", leave=False)
            asked = itertools.takewhile(lambda _: not self._stop(), shown)
            earlier = self._take_flow(refined(shipped_residual_flow(), asked))
            if not is_better(before, super().validate(generator)):
                self._take_flow(earlier)
        return before

    def _take_flow(self, flow: ResidualFlow | None) -> ResidualFlow | None:
        """Let the mesh move by a flow; return the one before."""
        earlier = self._material.own_flow
        self._material = replace(self._material, own_flow=flow)
        self._mesh = self._material.mesh()
        return earlier

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        """Learn from one batch, or end the training where that is wished."""
        if not self._preview_path.exists():
            self._write_preview(self._at_start)
        if self._stop():
            self.stopped = True
            raise KeyboardInterrupt
        return super().step(batch, progress)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return figures on the held-back frames, and renew the preview."""
        kept = self._kept(network)
        figures = super().validate(kept)
        self._write_preview(draw(kept, self._preview_pairs, self._mesh))
        return figures

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write what is kept of a network's weights."""
        super().save(self._kept(network), path, facts)

    def _kept(self, network: nn.Module) -> nn.Module:
        """Return a network of weights between the start's and these."""
        kept = copy.deepcopy(network)
        for name, value in kept.state_dict().items():
            if value.is_floating_point():
                begun = self._begun[name].to(value)
                value.copy_(begun + _LEARNED_SHARE * (value - begun))
        return kept

    def _write_preview(self, now: Sequence[Image]) -> None:
        rows = [
            SheetRow(
                f"held-back frame {number + 1}",
                [np.asarray(pair.reference), np.asarray(pair.truth), before, after],
            )
            for number, (pair, before, after) in enumerate(
                zip(self._preview_pairs, self._at_start, now, strict=True)
            )
        ]
        write_png(self._preview_path, compose(self._columns, rows)[0])


class _TrainingClip:
    """A clip with its frames to train on, its references, and its held-back pairs."""

    def __init__(self, footage: Footage) -> None:
        self.images, self.landmarks = footage.images, footage.landmarks
        held, near = _stretches(len(footage))
        self.trained: NDArray[np.intp] = np.setdiff1d(np.arange(len(footage)), [*held, *near])
        looks = [measure_look(self.images[i], self.landmarks[i]) for i in self.trained]
        self.references = self.trained[choose_references(looks)]
        pictures = (self.images[i] for i in self.trained)
        people = person_coverage(pictures, self.landmarks[self.trained])
        self._people = dict(zip(self.trained.tolist(), map(in_bytes, people), strict=True))
        self._seen = SeenFaces.of(self.landmarks[self.references])
        self.chances = rarity(self.landmarks[self.trained])
        self.held_back = [self.pair(self.nearest_reference(i), i) for i in held]

    def nearest_reference(self, frame: int) -> int:
        """Return the reference that the renderer would take for a frame."""
        distances = reference_distances(self._seen, self.landmarks[frame])
        return int(self.references[distances.argmin()])

    def pair(self, reference: int, truth: int) -> Pair:
        person = self._people.get(truth)
        return Pair(
            self.images[reference],
            self.landmarks[reference],
            self.images[truth],
            self.landmarks[truth],
            None if person is None or _is_unknown(person) else person,
            self._people[reference],
        )


class _Sampler:
    """Draws pairs of a target's own frames; clips are drawn by their length."""

    def __init__(self, clips: Sequence[_TrainingClip]) -> None:
        self._clips = clips
        lengths = np.array([len(clip.trained) for clip in clips], np.float64)
        self._chances = lengths / lengths.sum()

    def draw(self, rng: Rng) -> Pair:
        """Return one pair, augmented a little."""
        clip = self._clips[int(rng.choice(len(self._clips), p=self._chances))]
        truth = int(rng.choice(clip.trained, p=clip.chances))
        if rng.random() < _NEAREST_SHARE:
            reference = clip.nearest_reference(truth)
        else:
            reference = int(rng.choice(clip.references))
        return augment(clip.pair(reference, truth), rng, _EXTENT, same_scene=True)

    def plain(self, count: int, rng: Rng) -> list[Pair]:
        """Return pairs of a clip's references and other frames, as they are."""
        pairs: list[Pair] = []
        while len(pairs) < count:
            clip = self._clips[int(rng.choice(len(self._clips), p=self._chances))]
            reference, truth = int(rng.choice(clip.references)), int(rng.choice(clip.trained))
            if reference != truth:
                pairs.append(clip.pair(reference, truth))
        return pairs


def _is_unknown(person: NDArray[np.uint8]) -> bool:
    return bool((person == person.flat[0]).all())


def _stretches(count: int) -> tuple[list[int], list[int]]:
    """Return the held-back frames of a clip, and those too near to them."""
    held: list[int] = []
    near: list[int] = []
    for start, stop in _HELD_BACK:
        first, last = round(start * count), round(stop * count)
        held += range(first, last)
        near += [*range(first - _GAP_FRAMES, first), *range(last, last + _GAP_FRAMES)]
    return held, near


def _spread(count: int, most: int) -> list[int]:
    places = np.linspace(0, count - 1, min(count, most))
    return sorted({round(float(place)) for place in places})


def _telling(pairs: Sequence[Pair]) -> list[Pair]:
    """Choose the pairs whose faces differ most."""
    shapes = [
        to_face_frame(points, estimate_pose(points))
        for points in (pairs[0].reference_landmarks, *(pair.truth_landmarks for pair in pairs))
    ]
    return [pairs[i - 1] for i in spread_out(np.stack(shapes), _PREVIEW_ROWS)]
