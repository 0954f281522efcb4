"""Training pairs and validation for generators that draw from a picture and a landmark map.

Fan 2023's Ω and its baselines get the same pairs at the same size and are validated in the same
way. A batch has, at the recipe's size S and with pictures as RGB in -1..1:

    reference      (N, 3, S, S)  the target's picture P_t
    reference_map  (N, 1, S, S)  its landmark map
    truth          (N, 3, S, S)  the same person's picture with the requested expression, I_o
    truth_map      (N, 1, S, S)  the landmark map J of that expression
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from reenact.errors import counted
from reenact.evaluation import metrics
from reenact.evaluation.recognition import ClipExpressions, clear_labels, read_expressions
from reenact.evaluation.transfer import fused_drive
from reenact.face.geometry import square_to_crop, transform_points
from reenact.imaging import from_unit, resized_square, to_unit
from reenact.models.fusion_network import FusionNetwork
from reenact.rendering.image_to_image import map_planes
from reenact.training.augmentation import AUGMENTATIONS, Augmentation, Pair, Rng
from reenact.training.deformation_transfer import DeformationTransfer
from reenact.training.people import PictureData, describe, split_people, unseen_people
from reenact.training.sampling import (
    Batch,
    Batches,
    Clip,
    Driven,
    PairDraw,
    PairSampler,
    Sampler,
    load_clips,
    load_stills,
    rarity,
    true_landmarks,
    validation_pairs,
)
from reenact.types import Array

_STILL_PX: Final = 256
"""Stills are cropped at the size of the clips."""

_CHUNK: Final = 8
"""Pairs per batch in a validation."""


@dataclass(frozen=True, slots=True)
class PictureMaterial:
    """The data of a picture generator: training pairs, pairs of held-out people, and a description.

    The description goes into the header of the weights.
    """

    sampler: Sampler
    held_out: Sequence[Pair]
    description: str

    def batches(
        self, collate: Callable[[list[Pair]], Batch], batch_size: int, seed: int, steps: int
    ) -> Dataset[Batch]:
        """Return the dataset of batches, one for each step; `collate` makes one of pairs."""
        return Batches(PairDraw(self.sampler, collate, batch_size), seed, steps)


def load_pictures(
    data: PictureData,
    sampler: Callable[[list[Clip], Driven], Sampler] | None = None,
    fusion: FusionNetwork | None = None,
    *,
    with_people: bool = False,
) -> PictureMaterial:
    """Load clips, and photos that are deformed by the motion of people in the clips.

    Photos of people who are held out are left out. None is loaded that would not be drawn.

    Args:
        data: folders and augmentation.
        sampler: draws the pairs from the clips; None: two frames of a clip, or a photo.
        fusion: provides the driven landmarks, see `FusedLandmarks`; None: the ground truth's own
            landmarks are used.
        with_people: also segment the people in the clips.

    Raises:
        ReenactError: the data is missing or damaged, or train and val share people.
    """
    clips, held_out = split_people(
        data, lambda folder: load_clips(folder, Path(data.cache), with_people)
    )
    used = data.stills if sampler is None and data.still_share else ()
    folders = [Path(folder) for folder in used]
    stills = load_stills(folders, _STILL_PX, without=unseen_people(data, held_out))
    driven = true_landmarks
    if fusion is not None:
        driven = FusedLandmarks(
            fusion, clips, held_out, [Path(data.train), data.held_out_folder]
        ).of
    return PictureMaterial(
        sampler(clips, driven)
        if sampler
        else PairSampler(clips, stills, data.still_share, data.augmentation, driven),
        [pair for _, pair in validation_pairs(held_out, data.validation_frames, driven)],
        f"{describe(clips, data)}, {counted(len(stills), 'still')}",
    )


class NeutralPairs(PairSampler):
    """Draws a calm frame of a clip as the reference."""

    def __init__(
        self,
        clips: list[Clip],
        driven: Driven = true_landmarks,
        changes: Collection[Augmentation] = AUGMENTATIONS,
    ) -> None:
        super().__init__(clips, [], 0.0, [name for name in changes if name != "winks"], driven)
        self._calm = {}
        for clip in clips:
            chances = rarity(clip.landmarks[clip.usable])
            self._calm[clip.name] = clip.usable[np.argsort(chances)[: max(len(chances) // 2, 1)]]

    def _reference(self, clip: Clip, rng: Rng) -> int:
        return int(rng.choice(self._calm[clip.name]))


class FusedLandmarks:
    """Landmarks that Φ makes for frames of clips: J_gen of Fan 2023, eq. 1 and 2.

    The source is another person with the same expression. If the clips have labels, it is a frame
    with the same label; otherwise the driven face is deformed into another person. The head pose is
    the frame's own, because the paper's pictures are all frontal.

    Args:
        fusion: Φ.
        people: clips of the source people; they are also driven.
        others: further clips that are driven.
        folders: folders with the clips' landmarks and labels.
    """

    def __init__(
        self,
        fusion: FusionNetwork,
        people: Sequence[Clip],
        others: Sequence[Clip],
        folders: Sequence[Path],
    ) -> None:
        self._fusion = fusion
        self._clips: dict[str, ClipExpressions] = {}
        for clip in [*people, *others]:
            files = (folder / f"{clip.name}.npz" for folder in folders)
            expressions = read_expressions(next(file for file in files if file.is_file()))
            assert expressions is not None, "a clip has two frames with a face"
            self._clips[clip.name] = expressions
        self._actors = [(clip.identity, self._clips[clip.name]) for clip in people]
        self._deformation = DeformationTransfer(
            np.stack([expressions.rest for expressions in self._clips.values()])
        )
        self._fields = dict(zip(self._clips, self._deformation.fields, strict=True))
        self._names = [clip.name for clip in people]

    def of(self, clip: Clip, frame: int, rng: Rng) -> Array:
        """Return the fused landmarks of one frame, (478, 3) px; see `sampling.Driven`."""
        own = self._clips[clip.name]
        row = int(np.flatnonzero(own.frames == frame)[0])
        rest, deviation = self._source(clip, own, row, rng)
        return fused_drive(self._fusion, rest, deviation, own, row).landmarks

    def _source(self, clip: Clip, own: ClipExpressions, row: int, rng: Rng) -> tuple[Array, Array]:
        """Return another person's resting shape and their deviation in the same expression."""
        emotion = int(clear_labels(own.weights[row : row + 1])[0])
        if own.labelled and emotion >= 0:
            same = [
                (other.rest, deviation)
                for identity, other in self._actors
                if other.labelled and identity != clip.identity
                for deviation in other.deviations[clear_labels(other.weights) == emotion]
            ]
            if same:
                return same[rng.integers(len(same))]
        name = self._names[rng.integers(len(self._names))]
        field = (self._fields[name] - self._fields[clip.name])[None]
        rest, acting = own.rest[None], own.rest[None] + own.deviations[row : row + 1]
        ((deformed, deviation),) = self._deformation.transfer(
            rest, self._deformation.kernel(rest), acting, [field]
        )
        return deformed[0], deviation[0]


def collate(pairs: Sequence[Pair], size_px: int) -> Batch:
    """Return the batch of these pairs, see the module's docstring."""
    small = [resized(pair, size_px) for pair in pairs]
    return {
        "reference": to_unit(np.stack([pair.reference for pair in small])),
        "reference_map": map_planes([pair.reference_landmarks for pair in small], size_px),
        "truth": to_unit(np.stack([pair.truth for pair in small])),
        "truth_map": map_planes([pair.truth_landmarks for pair in small], size_px),
    }


def resized(pair: Pair, size_px: int) -> Pair:
    """Return a pair at another side, px, with the person mask as it is."""
    affine = square_to_crop((0, 0, len(pair.truth)), size_px)
    return replace(
        pair,
        reference=resized_square(np.asarray(pair.reference), size_px),
        reference_landmarks=transform_points(pair.reference_landmarks, affine),
        truth=resized_square(np.asarray(pair.truth), size_px),
        truth_landmarks=transform_points(pair.truth_landmarks, affine),
    )


def measure(
    draw: Callable[[Mapping[str, Any]], Tensor],
    pairs: Sequence[Pair],
    size_px: int,
    device: torch.device,
) -> dict[str, float]:
    """Return PSNR (dB) and SSIM of drawn pairs, over the whole picture and over the face box.

    The score is the SSIM of the whole picture, by which Fan 2023 selected (Fig. 5). `draw` returns
    the (N, 3, S, S) pictures of a batch of `collate`; S is `size_px`.
    """
    rows = []
    for start in range(0, len(pairs), _CHUNK):
        chosen = [resized(pair, size_px) for pair in pairs[start : start + _CHUNK]]
        batch = collate(chosen, size_px)
        drawn = draw({name: torch.from_numpy(value).to(device) for name, value in batch.items()})
        for pair, picture in zip(chosen, from_unit(drawn.float().cpu().numpy()), strict=True):
            true = np.asarray(pair.truth)
            row = {"psnr": metrics.psnr(true, picture), "ssim": metrics.ssim(true, picture)}
            box = metrics.face_box(pair.truth_landmarks, (size_px, size_px))
            if box is not None:
                row["face_psnr"] = metrics.psnr(true[box], picture[box])
                row["face_ssim"] = metrics.ssim(true[box], picture[box])
            rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    means = {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}
    return {**means, "score": means["ssim"]}
