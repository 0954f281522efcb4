"""Pairs for generators that draw from a picture and a landmark map, and how they are validated.

Fan 2023's Ω and its baselines see the same pairs at the same size and are validated alike. A batch
holds, at the recipe's size S and in -1..1:

    reference      (N, 3, S, S)  the target's picture P_t
    reference_map  (N, 1, S, S)  its own landmark map
    truth          (N, 3, S, S)  the same person's picture with the wanted expression, I_o
    truth_map      (N, 1, S, S)  the landmark map J of that expression
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from reenact.evaluation import metrics
from reenact.face.geometry import square_to_crop, transform_points
from reenact.imaging import from_unit, resized_square, to_unit
from reenact.rendering.image_to_image import map_planes
from reenact.training.augmentation import Pair, Rng, augment
from reenact.training.sampling import (
    Batch,
    Clip,
    PairSampler,
    PictureData,
    Sampler,
    describe,
    load_clips,
    load_stills,
    rarity,
    split_people,
    validation_pairs,
)

_STILL_PX: Final = 256
"""Stills are cropped at the size of the clips."""

_CHUNK: Final = 8
"""Pairs that are drawn at once in a validation."""


@dataclass(frozen=True, slots=True)
class PictureMaterial:
    """What a picture generator learns from: training pairs, pairs of other people, and a note.

    The note says in the header of the weights what they were made from.
    """

    sampler: Sampler
    held_out: Sequence[Pair]
    description: str


def load_pictures(
    data: PictureData, sampler: Callable[[list[Clip]], Sampler] | None = None
) -> PictureMaterial:
    """Load clips, and photos that are deformed as the people in the clips move.

    `sampler` draws the pairs from the clips; None: two frames of a clip, or a photo. Raises
    ReenactError if the data is missing or damaged, or train and val share people.
    """
    clips, held_out = split_people(data, lambda folder: load_clips(folder, Path(data.cache)))
    stills = load_stills([Path(folder) for folder in data.stills], _STILL_PX)
    return PictureMaterial(
        sampler(clips) if sampler else PairSampler(clips, stills, data.still_share),
        [pair for _, pair in validation_pairs(held_out, data.validation_frames)],
        f"{describe(clips, data)}, {len(stills)} stills",
    )


class NeutralPairs:
    """Draws a calm frame as the reference and any frame of the same clip as the truth."""

    def __init__(self, clips: list[Clip]) -> None:
        self._people: dict[str, list[Clip]] = {}
        for clip in clips:
            self._people.setdefault(clip.identity, []).append(clip)
        self._names = sorted(self._people)
        self._chances = {clip.name: rarity(clip.landmarks[clip.usable]) for clip in clips}

    def draw(self, rng: Rng) -> Pair:
        """Return one pair, augmented."""
        clips = self._people[self._names[rng.integers(len(self._names))]]
        clip = clips[rng.integers(len(clips))]
        chances = self._chances[clip.name]
        calm = clip.usable[np.argsort(chances)[: max(len(chances) // 2, 1)]]
        first, second = int(rng.choice(calm)), int(rng.choice(clip.usable, p=chances))
        pair = Pair(
            clip.images[first], clip.landmarks[first], clip.images[second], clip.landmarks[second]
        )
        return augment(pair, rng)


def collate(pairs: Sequence[Pair], size_px: int) -> Batch:
    """Make a batch as the module describes it."""
    small = [resized(pair, size_px) for pair in pairs]
    return {
        "reference": to_unit(np.stack([pair.reference for pair in small])),
        "reference_map": map_planes([pair.reference_landmarks for pair in small], size_px),
        "truth": to_unit(np.stack([pair.truth for pair in small])),
        "truth_map": map_planes([pair.truth_landmarks for pair in small], size_px),
    }


def resized(pair: Pair, size_px: int) -> Pair:
    """Return a pair at another size."""
    side = pair.truth.shape[0]
    if side == size_px:
        return pair
    affine = square_to_crop((0, 0, side), size_px)
    return Pair(
        resized_square(np.asarray(pair.reference), size_px),
        transform_points(pair.reference_landmarks, affine),
        resized_square(np.asarray(pair.truth), size_px),
        transform_points(pair.truth_landmarks, affine),
    )


def measure(
    draw: Callable[[Mapping[str, Any]], Tensor],
    pairs: Sequence[Pair],
    size_px: int,
    device: torch.device,
    stack: Callable[[Sequence[Pair], int], Batch] = collate,
) -> dict[str, float]:
    """Return PSNR (dB) and SSIM of drawn pairs, of the whole picture and of the face's box.

    The score is the SSIM of the whole picture, by which Fan 2023 chose (Fig. 5). `draw` makes (N,
    3, S, S) pictures of a batch, which `stack` makes; S is `size_px`.
    """
    rows = []
    for start in range(0, len(pairs), _CHUNK):
        chosen = [resized(pair, size_px) for pair in pairs[start : start + _CHUNK]]
        batch = stack(chosen, size_px)
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
