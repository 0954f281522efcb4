"""Training pairs and held-out pairs of a target's own frames, chosen like in the live path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.face.reference_ranking import SeenFaces
from reenact.rendering.warp_unet import person_coverage
from reenact.targets.footage import Footage
from reenact.targets.reference_selection import choose_references, measure_look
from reenact.training.augmentation import SAME_SCENE, Pair, Rng, augment
from reenact.training.sampling import rarity

_HELD_OUT: Final = ((0.42, 0.48), (0.93, 1.0))
"""Stretches that are never trained on, as shares of a clip."""

_GAP_FRAMES: Final = 2
"""Number of frames beside a held-out stretch that are too similar to it to be trained on."""

_NEAREST_SHARE: Final = 0.5
"""Share of the pairs whose reference is the one that the renderer would choose."""

_AUGMENTATION: Final = 0.45
"""Strength of the augmentation, relative to the general training."""


class TargetClip:
    """A clip of one person: training frames, references and held-out pairs.

    Attributes:
        images: uint8 (F, S, S, 3) RGB; landmarks: (F, 478, 3) px.
        trained: (N,) indices of the training frames; chances: their probabilities.
        references: (K,) indices of the references that a target of these frames would have.
        held_out: pairs that are never trained on, each with the reference of the live path.
    """

    def __init__(self, footage: Footage) -> None:
        self.images, self.landmarks = footage.images, footage.landmarks
        held_out, excluded = _stretches(len(footage))
        self.trained: NDArray[np.intp] = np.setdiff1d(np.arange(len(footage)), excluded)
        looks = [measure_look(self.images[i], self.landmarks[i]) for i in self.trained]
        self.references = self.trained[choose_references(looks)]
        pictures = (self.images[i] for i in self.references)
        people = person_coverage(pictures, self.landmarks[self.references])
        self._people = dict(zip(self.references.tolist(), people, strict=True))
        self._faces = SeenFaces(self.landmarks[self.references])
        self.chances = rarity(self.landmarks[self.trained])
        self.held_out = [self.pair(self.nearest_reference(i), i) for i in held_out]

    def nearest_reference(self, frame: int) -> int:
        """Return the reference that the renderer would choose for a frame."""
        return int(self.references[self._faces.distances(self.landmarks[frame]).argmin()])

    def pair(self, reference: int, truth: int) -> Pair:
        """Return the pair of two frames, given by index."""
        return Pair(
            self.images[reference],
            self.landmarks[reference],
            self.images[truth],
            self.landmarks[truth],
            self._people[reference],
        )


class TargetSampler:
    """Draws pairs of a target's own frames; a longer clip is drawn more often."""

    def __init__(self, clips: Sequence[TargetClip]) -> None:
        self._clips = clips
        lengths = np.array([len(clip.trained) for clip in clips], np.float64)
        self._chances = lengths / lengths.sum()

    def draw(self, rng: Rng) -> Pair:
        """Return one lightly augmented pair."""
        clip = self._clips[int(rng.choice(len(self._clips), p=self._chances))]
        truth = int(rng.choice(clip.trained, p=clip.chances))
        if rng.random() < _NEAREST_SHARE:
            reference = clip.nearest_reference(truth)
        else:
            reference = int(rng.choice(clip.references))
        return augment(clip.pair(reference, truth), rng, SAME_SCENE, _AUGMENTATION)


def _stretches(count: int) -> tuple[list[int], list[int]]:
    """Return a clip's held-out frames, and all frames that are not trained on."""
    held_out: list[int] = []
    excluded: list[int] = []
    for start, stop in _HELD_OUT:
        first, end = round(start * count), round(stop * count)
        held_out += range(first, end)
        excluded += range(first - _GAP_FRAMES, end + _GAP_FRAMES)
    return held_out, excluded
