"""The recipe of the live generator.

    reenact train configs/train/warp_unet.toml

It trains the repair network on the repair box as the live path composes it. The losses are L1,
gradient L1, texture L1 and structural similarity, with more weight on face, lips and eyes.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor, nn
from torch.utils.data import Dataset

from reenact.config import UserPath
from reenact.face.geometry import estimate_pose, region_mask
from reenact.face.topology import EYE_LEFT, EYE_RIGHT, LIPS_OUTER
from reenact.imaging import from_unit
from reenact.models.warp_unet import WarpUNet
from reenact.models.warp_unet_inputs import NETWORK_PX, MapChannel, WarpUNetConfig
from reenact.models.weights import load_model, save_model
from reenact.rendering.layers import Reference, follow_box, in_box, maps_in_box
from reenact.rendering.openings import LID_LOOPS
from reenact.rendering.painter import Painter
from reenact.training.adversarial import as_floats, optimizer_step
from reenact.training.augmentation import Pair
from reenact.training.loop import Recipe, cosine
from reenact.training.losses import gradient_l1, picture_figures, ssim_loss, texture_l1, weighted_l1
from reenact.training.people import PictureData, read_settings, recipe_settings
from reenact.training.picture_pairs import PictureMaterial, load_pictures, resized
from reenact.training.sampling import Batch
from reenact.types import Array, Image

ARCHITECTURE: Final = "warp_unet"

_CHUNK: Final = 8
"""Pairs per batch in a validation."""


@recipe_settings
class WarpUNetRecipeConfig(PictureData):
    """The `[settings]`: data and loss weights.

    Attributes:
        start: weight file of this recipe to start from; "": random weights.
        batch_size: pairs per step.
        learning_rate: initial learning rate; it falls to a hundredth along a cosine.
        texture_weight: weight of the texture L1.
        ssim_weight: weight of the structural similarity loss; 0: not computed.
        network: sizes of the generator.
    """

    start: UserPath = ""
    batch_size: PositiveInt = 12
    learning_rate: NonNegativeFloat = 7e-4
    texture_weight: NonNegativeFloat = 2.5
    ssim_weight: NonNegativeFloat = 0.3
    validation_frames: PositiveInt = 5
    network: WarpUNetConfig = field(default_factory=WarpUNetConfig)


def build_recipe(settings: Mapping[str, Any]) -> WarpUNetRecipe:
    """Make the recipe from the `[settings]` of a training file.

    Raises ConfigError if a setting is wrong, ReenactError if the data is missing or does not fit.
    """
    config = read_settings(WarpUNetRecipeConfig, settings)
    return WarpUNetRecipe(config, load_pictures(config, with_people=True))


class GeneratorRecipe(Recipe):
    """Trains the live generator on the batches of a subclass; see the module's docstring.

    `data` describes them in the header of the weights.
    """

    averaged = "generator"

    def __init__(self, config: WarpUNetRecipeConfig, data: str) -> None:
        self.config = config
        self._data = data
        generator = WarpUNet(config.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.start:
            load_model(Path(config.start), generator, ARCHITECTURE)
        self.networks = {"generator": generator}
        self.optimizers = {
            "generator": torch.optim.AdamW(
                generator.parameters(), config.learning_rate, betas=(0.9, 0.99), fused=True
            )
        }
        self.schedules = {"generator": cosine(end=0.01, warm_up=0.005)}

    @abstractmethod
    def held_out(self) -> Iterable[Batch]:
        """Return batches of `stacked` that are never trained on."""

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        """Train on one batch of `collate`."""
        config = self.config
        layered, truth, maps = (batch[name] for name in ("layered", "truth", "maps"))
        weight = _doubled(batch["weight"])
        mouth = _doubled(maps[:, MapChannel.MOUTH, None])
        picture = layered + self.networks["generator"](layered, maps)
        losses = {
            "picture": weighted_l1(picture, truth, weight),
            "edges": gradient_l1(picture, truth, weight),
            # The texture inside a mouth is unpredictable; asking for it produces a grid.
            "texture": texture_l1(picture, truth, weight * (1 - mouth)) * config.texture_weight,
        }
        if config.ssim_weight:
            losses["structure"] = ssim_loss(picture, truth, weight) * config.ssim_weight
        optimizer_step(self.optimizers["generator"], losses.values(), max_norm=1.0)
        return as_floats(losses)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return PSNR, SSIM and sharpness of face and box on the held-out batches."""
        rows = []
        for batch, picture in _drawn(network, self.held_out()):
            face = _boxes(_doubled(batch["maps"][:, MapChannel.SKIN, None]))
            for result, name in ((picture.clamp(-1, 1), "picture"), (batch["layered"], "warped")):
                rows.append(picture_figures(result, batch["truth"], face, name))
        means = {
            name: float(torch.cat([row[name] for row in rows if name in row]).mean())
            for name in sorted({name for row in rows for name in row})
        }
        # Blur raises PSNR, so sharpness and structural similarity count, too: a decibel is worth a
        # tenth of sharpness, or three hundredths of similarity.
        score = means["picture_face_psnr"] + 10 * min(means["picture_sharpness"], 1.0)
        score += 30 * means["picture_face_ssim"]
        return {**means, "score": score}

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write half-precision safetensors with a header that describes the weights."""
        save_model(
            path,
            network.state_dict(),
            {
                "architecture": ARCHITECTURE,
                "config": json.dumps(asdict(self.config.network)),
                "data": self._data,
                **facts,
            },
        )


class WarpUNetRecipe(GeneratorRecipe):
    """Trains the live generator on people in clips and photos."""

    def __init__(self, config: WarpUNetRecipeConfig, material: PictureMaterial) -> None:
        super().__init__(config, material.description)
        self._material = material

    def batches(self, seed: int, steps: int) -> Dataset[Batch]:
        """Return the dataset of batches, one for each step."""
        return self._material.batches(collate, self.config.batch_size, seed, steps)

    def held_out(self) -> Iterator[Batch]:
        """Compose the pairs of held-out people, a few at a time."""
        pairs = list(self._material.held_out)
        for start in range(0, len(pairs), _CHUNK):
            yield collate(pairs[start : start + _CHUNK])


def draw(network: nn.Module, batch: Batch) -> list[tuple[Image, Image]]:
    """Draw a batch with a generator; return (truth, drawn) of the box, uint8 (B, B, 3) RGB."""
    with torch.no_grad():
        return [
            (from_unit(truth), from_unit(drawn))
            for batch, picture in _drawn(network, [batch])
            for truth, drawn in zip(
                batch["truth"].cpu().numpy(), picture.cpu().numpy(), strict=True
            )
        ]


def _drawn(
    network: nn.Module, batches: Iterable[Batch]
) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
    """Yield batches with the generator's pictures."""
    device = next(network.parameters()).device
    for arrays in batches:
        batch = {name: torch.from_numpy(value).to(device) for name, value in arrays.items()}
        yield batch, batch["layered"] + network(batch["layered"], batch["maps"])


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _boxes(face: Tensor) -> Tensor:
    """Return the bounding boxes of (N, 1, H, W) masks as masks."""
    inside = face > 0.5
    return (inside.any(2, keepdim=True) & inside.any(3, keepdim=True)).float()


def collate(pairs: list[Pair]) -> Batch:
    """Compose the layers of pairs as the live path does, see `compose`."""
    return stacked([_row(pair) for pair in pairs])


def stacked(rows: Sequence[Batch]) -> Batch:
    """Return a batch of rows of `compose`."""
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _row(pair: Pair) -> Batch:
    pair = resized(pair, NETWORK_PX)
    person = np.zeros((1, 1), np.uint8) if pair.person is None else pair.person
    reference = Reference.of(pair.reference, person, pair.reference_landmarks)
    return compose(Painter(reference), pair.reference_landmarks, pair.truth, pair.truth_landmarks)


def compose(painter: Painter, points: Array, truth: Image, driven: Array) -> Batch:
    """Compose the layers of a frame as the live path does, and cut out its repair box.

    Args:
        painter: of the reference.
        points: (478, 3) landmarks of the reference, in the network's px.
        truth: the true frame, uint8 (`NETWORK_PX`, `NETWORK_PX`, 3) RGB.
        driven: its (478, 3) landmarks.

    Returns:
        With B = `REPAIR_CELLS` * `STEM` px:

        layered    (3, B, B), the warped person over the background, RGB in -1 to 1
        truth      (3, B, B), RGB in -1 to 1
        maps       (C, B/2, B/2), see `warp_unet_inputs`
        weight     (1, B/2, B/2), see `importance`
    """
    layered, maps = painter.paint(driven, estimate_pose(driven))
    # In the live path, the box stays until the face has left its middle.
    corner = follow_box(follow_box(None, points), driven)
    return {
        "layered": in_box(layered, corner, 1),
        "truth": in_box(truth, corner, 1),
        "maps": maps_in_box(maps, corner),
        "weight": maps_in_box(importance(driven, NETWORK_PX)[..., None], corner),
    }


def importance(points: Array, size_px: int) -> Array:
    """Return the weights of the losses, float32 (size/2, size/2), mean 1.

    They are proportional to 1 in the background, 2 around the face, 3 on the face, and 12 on mouth,
    eyes and upper lids.
    """
    side = size_px // 2
    small = points * np.float32(0.5)
    hull = cv2.convexHull(np.round(small[:468, :2]).astype(np.int32))
    face = np.zeros((side, side), np.uint8)
    cv2.fillConvexPoly(face, hull, (1,))
    reach = round(float(np.ptp(small[:468, 1])) * 0.2) | 1
    around = cv2.dilate(face, np.ones((reach, reach), np.uint8))
    detail = np.zeros((side, side), np.uint8)
    for loop in (LIPS_OUTER, EYE_LEFT, EYE_RIGHT, *LID_LOOPS):
        detail |= region_mask(small, loop, side)
    detail = cv2.dilate(detail, np.ones((5, 5), np.uint8)).astype(np.uint8)
    weight = 1 + around.astype(np.float32) + face + 9 * (detail > 0)
    weight = cv2.blur(weight, (5, 5)).astype(np.float32)
    return np.asarray(weight / weight.mean(), dtype=np.float32)
