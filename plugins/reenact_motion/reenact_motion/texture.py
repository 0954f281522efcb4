"""TextureGAN (Otberdout 2022), MotionGAN's second half: frames from a neutral face and landmarks.

    L = L_adv + λ₁ ‖G(I_n, Z) − I‖₁ + λ₂ (1 − cos(F(G(I_n, Z)), F(I_n)))

The losses are the paper's: adversarial, reconstruction and identity. The paper's faces are frontal,
so pairs here are aligned faces with similar head poses (ours): frames of clips, and frames warped
to emotions. The paper's extractor F is a face recognition network that is not free to redistribute.
So F is trained with the generator, on real pictures alone: it has to find which two pictures of a
batch show the same person. Generator and critic are those of `training.adversarial`, because the
survey (Syed 2023, §3.2.1) gives no layers; λ and F are ours.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from reenact.expression.emotions import acted_deviations
from reenact.face.geometry import estimate_pose, to_face_frame, to_image
from reenact.models.export import conditional_exporter
from reenact.models.masked_generator import halving
from reenact.models.unet import build
from reenact.rendering.image_to_image import map_planes
from reenact.training.adversarial import (
    AdversarialConfig,
    AdversarialRecipe,
    adam,
    frozen,
    optimizer_step,
)
from reenact.training.augmentation import AUGMENTATIONS, Augmentation, Pair, Rng, augment
from reenact.training.faces.clips import FaceData, LabelledClip, load_acted, load_labelled
from reenact.training.faces.material import measure_emotions
from reenact.training.people import describe, read_settings, recipe_settings, split_people
from reenact.training.picture_pairs import PictureMaterial
from reenact.types import Array
from reenact_motion import TEXTURE_NAME, TEXTURE_WEIGHTS

TEMPERATURE: Final = 0.1
"""Temperature of the similarities by which F identifies people."""

FEATURES: Final = 64

MAX_TURN: Final = 6.0
"""Difference of the head poses of a pair, degrees, that counts as much as a whole expression."""


@recipe_settings
class TextureTraining(AdversarialConfig):
    """The `[settings]`: networks, learning rates and losses of Fan 2023, and the people.

    Attributes:
        identity_weight: λ₂.
        frames, acted_frames: frames of each clip, see `FaceData`.
        augmentation: augmentations of the training pairs.
        gain: factor on the generator's change wherever it is used, see `FaceGanConfig` (ours).
    """

    identity_weight: NonNegativeFloat = 10.0
    frames: PositiveInt = 60
    acted_frames: NonNegativeInt = 0
    augmentation: tuple[Augmentation, ...] = AUGMENTATIONS
    gain: PositiveFloat = 1.0


class IdentityNetwork(nn.Module):
    """F: maps (N, 3, S, S) pictures in -1..1 to (N, FEATURES) of length one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        pooled = [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(64 * width, FEATURES)]
        self.layers = nn.Sequential(*halving([3, width, 2 * width, 4 * width], 0.2), *pooled)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the features."""
        return F.normalize(self.layers(pictures).float(), dim=1)


class TextureRecipe(AdversarialRecipe):
    """Trains TextureGAN; see the module's docstring.

    Args:
        config: data, networks, loss weights and learning rates.
        material: training and validation pairs.
        held_out: clips of held-out people, whose calmest faces show acted emotions in validation.
    """

    def __init__(
        self,
        config: TextureTraining,
        material: PictureMaterial,
        held_out: Sequence[LabelledClip],
    ) -> None:
        super().__init__(TEXTURE_NAME, config, material)
        self._held_out = held_out
        self.networks["identity"] = IdentityNetwork(config.width)
        self.optimizers["identity"] = adam(self.networks["identity"], config.discriminator_rate)

    def further_losses(
        self, batch: Mapping[str, Any], generated: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Train F on real pictures; return the loss of the generated ones, and F's own."""
        assert isinstance(self.config, TextureTraining)
        network = self.networks["identity"]
        known = network(batch["reference"])
        likeness = known @ network(batch["truth"]).T / TEMPERATURE
        told = F.cross_entropy(likeness, torch.arange(len(known), device=likeness.device))
        optimizer_step(self.optimizers["identity"], [told])
        with frozen(network):
            alike = (known.detach() * network(generated)).sum(dim=1)
        identity = self.config.identity_weight * (1 - alike).mean()
        return {"identity": identity}, {"people": float(told.detach())}

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return the figures of the held-out pairs, and how well acted emotions are shown.

        See `picture_pairs.measure` and `measure_emotions`; `calm_ssim` is the SSIM to the calm
        face. The score is that of the pairs.
        """
        assert isinstance(self.config, TextureTraining)
        acted = measure_emotions(network, self.config.gain, self._held_out, acted_maps)
        shown = {"told": acted["told"], "believed": acted["believed"], "calm_ssim": acted["ssim"]}
        return {**super().validate(network), **shown}

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write half-precision safetensors with a header that describes them."""
        assert isinstance(self.config, TextureTraining)
        super().save(network, path, {**facts, "gain": str(self.config.gain)})


class AlignedPairs:
    """Draws a face of a clip, with the calmest face of a similar head pose as its reference."""

    def __init__(
        self, clips: Sequence[LabelledClip], changes: Collection[Augmentation] = ()
    ) -> None:
        self._clips, self._changes = clips, changes

    def pair(self, clip: LabelledClip, row: int) -> Pair:
        """Return the pair whose truth is a face of a clip."""
        assert clip.points is not None
        others = np.arange(clip.sources or len(clip.pictures))
        turned = np.linalg.norm(clip.turns[others] - clip.turns[row], axis=1)
        best = int((clip.intensity[others] + turned / MAX_TURN).argmin())
        faces, points = clip.pictures, clip.points
        return Pair(faces[best], points[best], faces[row], points[row])

    def draw(self, rng: Rng) -> Pair:
        """Return one pair, augmented."""
        clip = self._clips[rng.integers(len(self._clips))]
        pair = self.pair(clip, int(rng.integers(len(clip.pictures))))
        return augment(pair, rng, self._changes)

    def all(self) -> list[Pair]:
        """Return a pair for each face."""
        return [self.pair(clip, row) for clip in self._clips for row in range(len(clip.pictures))]


def acted_maps(clip: LabelledClip, row: int) -> Array:
    """Return the landmark maps (7, 1, S, S) of a face that acts each emotion but neutral."""
    assert clip.points is not None
    pose = estimate_pose(clip.points[row])
    shapes = to_face_frame(clip.points[row], pose) + acted_deviations()[1:]
    return map_planes([to_image(shape, pose) for shape in shapes], clip.pictures.shape[1])


def load_pairs(config: TextureTraining) -> tuple[PictureMaterial, list[LabelledClip]]:
    """Load aligned faces as pairs, and the clips of held-out people.

    Raises ReenactError if the data is missing or damaged, or train and val share people.
    """
    data = FaceData(
        config.train,
        config.val,
        config.folds,
        config.held_out_fold,
        config.test_fold,
        size_px=config.size_px,
        frames=config.frames,
        acted_frames=config.acted_frames,
    )
    clips, held_out = split_people(data, lambda folder: load_labelled(folder, data))
    description, measured = describe(clips, data), held_out
    if data.acted_frames:
        clips = [*clips, *load_acted(Path(data.train), data, {clip.identity for clip in clips})]
        few = replace(data, acted_frames=1)
        measured = load_acted(data.held_out_folder, few, {clip.identity for clip in held_out})
    pairs = AlignedPairs(clips, config.augmentation)
    return PictureMaterial(pairs, AlignedPairs(measured).all(), description), held_out


def build_recipe(settings: Mapping[str, Any]) -> TextureRecipe:
    """Make the recipe from the `[settings]` of a training file; the reference is a calm frame."""
    config = read_settings(TextureTraining, settings)
    return TextureRecipe(config, *load_pairs(config))


export = conditional_exporter(TEXTURE_NAME, build, (), TEXTURE_WEIGHTS)
