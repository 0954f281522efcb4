"""Training and held-out frames of a target, with references chosen like in the live path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.face.reference_ranking import SeenFaces
from reenact.face.topology import N_LANDMARKS
from reenact.models.warp_unet_inputs import NETWORK_PX
from reenact.rendering.layers import Reference
from reenact.rendering.painter import Painter
from reenact.rendering.warp_unet import person_coverage
from reenact.targets.footage import Footage
from reenact.targets.reference_selection import choose_references, measure_look
from reenact.training.augmentation import Rng
from reenact.training.sampling import Batch, rarity
from reenact.training.warp_unet import compose, stacked
from reenact.types import Array

_HELD_OUT: Final = ((0.42, 0.48), (0.93, 1.0))
"""Stretches that are never trained on, as shares of a clip."""

_GAP_FRAMES: Final = 2
"""Number of frames beside a held-out stretch that are too similar to it to be trained on."""

_NEAREST_SHARE: Final = 0.5
"""Share of the pairs whose reference is the one that the renderer would choose."""

_NOISE_PX: Final = 0.25
"""Standard deviation of the noise of the landmarks that drive a training frame."""


class TargetClip:
    """A clip of one person: training frames, references and held-out frames.

    Frames and landmarks are those of `NETWORK_PX`. The layers of each reference are made once.

    Attributes:
        images: uint8 (F, S, S, 3) RGB; landmarks: (F, 478, 3) px.
        trained: (N,) indices of the training frames; chances: their probabilities.
        references: (K,) indices of the references that a target of these frames would have.
        held_out: indices of frames that are never trained on.
    """

    def __init__(self, footage: Footage) -> None:
        footage = footage.resized(NETWORK_PX)
        self.images, self.landmarks = footage.images, footage.landmarks
        self.held_out, excluded = _stretches(len(footage))
        self.trained: NDArray[np.intp] = np.setdiff1d(np.arange(len(footage)), excluded)
        looks = [measure_look(self.images[i], self.landmarks[i]) for i in self.trained]
        self.references = self.trained[choose_references(looks)]
        self.chances = rarity(self.landmarks[self.trained])
        points = self.landmarks[self.references]
        people = person_coverage((self.images[i] for i in self.references), points)
        layers = zip(self.references.tolist(), people, points, strict=True)
        self._painters = {i: Painter(Reference.of(self.images[i], *one)) for i, *one in layers}
        self._faces = SeenFaces(points)

    def nearest_reference(self, frame: int) -> int:
        """Return the reference that the renderer would choose for a frame."""
        return int(self.references[self._faces.distances(self.landmarks[frame]).argmin()])

    def row(self, frame: int, reference: int | None = None, noise: Array | float = 0.0) -> Batch:
        """Return a frame as `warp_unet.compose` does; the default is the nearest reference."""
        if reference is None:
            reference = self.nearest_reference(frame)
        return compose(
            self._painters[reference],
            self.landmarks[reference],
            self.images[frame],
            self.landmarks[frame] + noise,
        )


class TargetSampler:
    """Draws batches of a target's own frames; a longer clip is drawn more often."""

    def __init__(self, clips: Sequence[TargetClip], batch_size: int) -> None:
        self._clips, self._batch_size = clips, batch_size
        lengths = np.array([len(clip.trained) for clip in clips], np.float64)
        self._chances = lengths / lengths.sum()

    def draw(self, rng: Rng) -> Batch:
        """Return one batch."""
        return stacked([self._row(rng) for _ in range(self._batch_size)])

    def _row(self, rng: Rng) -> Batch:
        clip = self._clips[int(rng.choice(len(self._clips), p=self._chances))]
        truth = int(rng.choice(clip.trained, p=clip.chances))
        nearest = rng.random() < _NEAREST_SHARE
        reference = None if nearest else int(rng.choice(clip.references))
        noise = rng.normal(0, _NOISE_PX, (N_LANDMARKS, 3)).astype(np.float32)
        return clip.row(truth, reference, noise)


def _stretches(count: int) -> tuple[list[int], list[int]]:
    """Return a clip's held-out frames, and all frames that are not trained on."""
    held_out: list[int] = []
    excluded: list[int] = []
    for start, stop in _HELD_OUT:
        first, end = round(start * count), round(stop * count)
        held_out += range(first, end)
        excluded += range(first - _GAP_FRAMES, end + _GAP_FRAMES)
    return held_out, excluded
