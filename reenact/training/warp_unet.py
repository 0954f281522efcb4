"""The recipe of the live generator.

    reenact train configs/train/warp_unet.toml

L1, gradient L1, texture L1 and structural similarity on the repaired picture and, lighter, L1 on
the two layers alone, all weighted towards face, mouth and eyes. Where the truth shows no person,
the background layer learns to be what is seen there, and the head's layer to leave it free. From
`adversarial_from` on, a Markov discriminator with spectral normalisation (Fan 2023, eq. 7) looks
at mouth and eyes, as the local ones of LGP-GAN do: teeth and lids that the reference does not show
are a guess, and of guesses L1 draws the mean. With `landmark_weight`, what the tracker reads in the
picture is to be what it reads in the truth; with `acting_share`, also what was asked for where one
person acts what another one does, and there is no truth.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ConfigDict, NonNegativeFloat, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass
from torch import Tensor, nn
from torch.utils.data import Dataset

from reenact.config import Share, first_problem
from reenact.errors import ConfigError, ReenactError
from reenact.imaging import from_unit
from reenact.models.discriminators import PatchDiscriminator
from reenact.models.warp_unet import WarpUNet, WarpUNetConfig, read_config
from reenact.models.warp_unet_inputs import SEEN_CHANNELS, MapChannel
from reenact.models.weights import load_tensors, save_model
from reenact.rendering.head_mesh import HeadMesh
from reenact.rendering.residual_flow import ResidualFlow, personal_flow_tensors
from reenact.training.losses import (
    gradient_l1,
    hinge_discriminator,
    hinge_generator,
    landmark_distance,
    ssim_loss,
    structural_similarity,
    texture_l1,
    weighted_l1,
)
from reenact.training.mediapipe_torch import FaceMeshNetwork
from reenact.training.picture_pairs import load_people
from reenact.training.sampling import Pair, PairSampler, Sampler, load_stills, validation_pairs
from reenact.training.warp_unet_batches import Batch, PairBatches, collate
from reenact.types import Image

_CRITIC_SIDE = 72
"""Side of what the critic sees, px: about as large as the mouth's window is at 256."""


@pydantic_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class WarpUNetRecipeConfig:
    """Data and weights of the losses.

    Attributes:
        train, val: folders of clips; identities must not be shared.
        stills: folders of photos.
        start: weights to begin with, a file of this recipe, maybe of an earlier version: what has
            kept its name and shape is taken over; "": begin anew.
        parts: names of the generator's parts that learn, such as "repair"; (): all. What overfits
            47 people is the flow; the repair goes on getting better.
        cache: where decoded clips are kept.
        still_share: share of the batch that comes from photos.
        acting_share: share of it in which one person acts another one's expression.
        batch_size: pairs a step.
        learning_rate: at the start; falls to a hundredth along a cosine.
        warp_weight: of the warped reference's loss.
        gradient_weight: of the gradient L1.
        texture_weight: of the texture L1.
        ssim_weight: of what structural similarity lacks; 0: it is not asked for.
        background_weight: of the background layer's L1, where the truth shows no person.
        layer_weight: of the head's share where there is no person, and of what lacks on skin.
        landmark_weight: of what the tracker reads otherwise in the picture than in the truth.
        adversarial_weight: of the critic, once it looks.
        adversarial_from: progress (0 to 1) at which the critic begins; 1: never.
    """

    train: str
    val: str
    stills: tuple[str, ...] = ()
    start: str = ""
    parts: tuple[str, ...] = ()
    cache: str = "runs/cache"
    still_share: Share = 0.25
    acting_share: Share = 0.0
    batch_size: PositiveInt = 12
    learning_rate: NonNegativeFloat = 7e-4
    warp_weight: NonNegativeFloat = 0.4
    gradient_weight: NonNegativeFloat = 1.0
    texture_weight: NonNegativeFloat = 2.5
    ssim_weight: NonNegativeFloat = 0.3
    background_weight: NonNegativeFloat = 0.5
    layer_weight: NonNegativeFloat = 0.1
    landmark_weight: NonNegativeFloat = 0.0
    adversarial_weight: NonNegativeFloat = 0.08
    adversarial_from: Share = 0.5
    validation_frames: PositiveInt = 5
    network: WarpUNetConfig = field(default_factory=WarpUNetConfig)


def build_recipe(settings: Mapping[str, Any]) -> WarpUNetRecipe:
    """Make the recipe from the `[settings]` of a training file.

    Raises:
        ConfigError: a setting is unknown, of the wrong type or out of range.
        ReenactError: the data is missing or its landmarks do not fit.
    """
    try:
        config = TypeAdapter(WarpUNetRecipeConfig).validate_python(dict(settings))
    except ValidationError as error:
        raise ConfigError(f"settings.{first_problem(error)}") from error
    return WarpUNetRecipe(config)


@dataclass(frozen=True, slots=True)
class Material:
    """What a recipe learns from.

    Attributes:
        sampler: draws the training pairs.
        held_back: pairs to validate on, never trained on.
        description: what the weights were made from, for their file's header.
        own_flow: what was learned of the one person whom the pairs show; None: they show many.
    """

    sampler: Sampler
    held_back: Sequence[Pair]
    description: str
    own_flow: ResidualFlow | None = None

    def mesh(self) -> HeadMesh:
        """Return the mesh that moves the pairs."""
        return HeadMesh(self.own_flow)


def load_material(config: WarpUNetRecipeConfig, size_px: int) -> Material:
    """Load the folders that a config names.

    Raises:
        ReenactError: a folder is empty or damaged, or train and val share people.
    """
    clips, held_out = load_people(
        Path(config.train), Path(config.val), Path(config.cache), with_people=True
    )
    people = {clip.identity for clip in clips}
    stills = load_stills([Path(folder) for folder in config.stills], size_px)
    return Material(
        PairSampler(clips, stills, config.still_share, config.acting_share),
        [pair for _, pair in validation_pairs(held_out, config.validation_frames)],
        f"{len(clips)} clips of {len(people)} people, {len(stills)} stills; no one of them in val",
    )


class WarpUNetRecipe:
    """See the module; satisfies `loop.Recipe`.

    Args:
        config: weights of the losses, and the folders of the data.
        size_px: side of the pictures.
        material: what it learns from; None: what the config's folders hold.
    """

    averaged = "generator"

    def __init__(
        self, config: WarpUNetRecipeConfig, size_px: int = 256, material: Material | None = None
    ) -> None:
        self.config = config
        self._size = size_px
        self._material = material or load_material(config, size_px)
        self._mesh = self._material.mesh()
        self._generator = WarpUNet(config.network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if config.start:
            _take_over(self._generator, Path(config.start))
        self._resting = _resting(self._generator, config.parts)
        self._tracker = FaceMeshNetwork() if config.landmark_weight else None
        self._critic = PatchDiscriminator(3 + SEEN_CHANNELS)
        self.networks: dict[str, nn.Module] = {
            "generator": self._generator,
            "critic": self._critic,
        }
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "generator": torch.optim.AdamW(
                self._generator.parameters(), config.learning_rate, betas=(0.9, 0.99), fused=True
            ),
            "critic": torch.optim.Adam(self._critic.parameters(), 2e-4, betas=(0.5, 0.999)),
        }

    def batches(self, seed: int, steps: int) -> Dataset[Batch]:
        """Return the batches by step."""
        return PairBatches(self._material.sampler, self.config.batch_size, seed, steps, self._mesh)

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        """Learn from one batch of `batches.collate`."""
        config = self.config
        rate = config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * progress)))
        for part in self._resting:
            part.eval()
        _set_rate(self.optimisers["generator"], float(rate) * min(1.0, progress * 200 + 0.05))
        reference, truth = _unit(batch["reference"]), _unit(batch["truth"])
        maps = batch["maps"].permute(0, 3, 1, 2).contiguous()
        has_truth = batch["has_truth"][:, None, None, None]
        importance = _full_size(batch["weight"][:, None], self._size)
        weight = importance * has_truth
        background, features = self._generator.encode(*_known(batch))
        picture, warped, share = self._generator(reference, background, features, maps)
        scene = _full_size(1 - batch["person"][:, None], self._size)
        skin, mouth = (
            _full_size(maps[:, channel, None], self._size)
            for channel in (MapChannel.SKIN, MapChannel.MOUTH)
        )
        losses = {
            "picture": weighted_l1(picture, truth, weight),
            "warp": weighted_l1(warped, truth, weight) * config.warp_weight,
            "edges": gradient_l1(picture, truth, weight) * config.gradient_weight,
            "background": weighted_l1(background, truth, scene) * config.background_weight,
            "layers": (share * scene + (1 - share) * skin).mean() * config.layer_weight,
            # Asked for texture that nobody can know, the inside of the mouth fills with a grid.
            "texture": texture_l1(picture, truth, weight * (1 - mouth)) * config.texture_weight,
        }
        if config.ssim_weight:
            losses["structure"] = ssim_loss(picture, truth, weight) * config.ssim_weight
        if config.acting_share:
            # Else lips turn pink and teeth green: that is how the tracker tells them best.
            acting = importance * (1 - has_truth)
            losses["colour"] = weighted_l1(_colour(picture), _colour(warped.detach()), acting)
        if self._tracker is not None:
            losses["landmarks"] = self._misread(batch, picture, truth) * config.landmark_weight
        if progress >= config.adversarial_from:
            losses["critic_of"] = self._adversarial(batch, picture, truth, maps)
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            raise ReenactError(
                "Training diverged: the loss is not a number any more. The best weights so far are "
                "kept; go on from them with a lower learning_rate."
            )
        optimiser = self.optimisers["generator"]
        optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._generator.parameters(), 1.0)
        optimiser.step()
        return {name: float(value.detach()) for name, value in losses.items()}

    def _misread(self, batch: Mapping[str, Any], picture: Tensor, truth: Tensor) -> Tensor:
        """Return how far the tracker's landmarks of the picture are from those of the truth.

        Both are read by the same network, so that its bias falls out, and without their colours,
        lest those be bent to its liking. Where there is no true picture they are those of the
        reference, moved as it is to act.
        """
        assert self._tracker is not None
        tracker = self._tracker.to(picture.device)
        with torch.no_grad():
            wanted = tracker(_grey(truth), batch["truth_crop"]) + batch["moved"]
        return landmark_distance(tracker(_grey(picture), batch["face_crop"]), wanted)

    def _adversarial(
        self, batch: Mapping[str, Any], picture: Tensor, truth: Tensor, maps: Tensor
    ) -> Tensor:
        """Teach the critic, then return what the generator pays."""
        shown = (picture, truth, maps[:, :SEEN_CHANNELS])
        fake, real, seen = (_cut(t, batch["windows"]) for t in shown)
        true = batch["has_truth"].repeat(batch["windows"].shape[1]) > 0
        if true.any():
            optimiser = self.optimisers["critic"]
            shown_true = self._critic(real[true], seen[true])
            loss = hinge_discriminator(shown_true, self._critic(fake.detach(), seen))
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        self._critic.requires_grad_(False)
        cost = hinge_generator(self._critic(fake, seen)) * self.config.adversarial_weight
        self._critic.requires_grad_(True)
        return cost

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return PSNR of face and picture, and sharpness, on people that training never saw."""
        rows = []
        for truth, maps, picture, warped in _drawn(network, self._material.held_back, self._mesh):
            face = _boxes(_full_size(maps[:, MapChannel.SKIN, None], self._size))
            for result, name in ((picture.clamp(-1, 1), "picture"), (warped, "warped")):
                rows.append(_figures(result, truth, face, name))
        names = {name for row in rows for name in row}
        means = {
            name: float(torch.cat([row[name] for row in rows if name in row]).mean())
            for name in sorted(names)
        }
        # Blur raises PSNR: a tenth of sharpness is held to be worth one decibel; so are three
        # hundredths of structural similarity.
        score = means["picture_face_psnr"] + 10 * min(means["picture_sharpness"], 1.0)
        score += 30 * means["picture_face_ssim"]
        return {**means, "score": score}

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write half-precision safetensors with a header of what it is and how it was made."""
        own = self._material.own_flow
        save_model(
            path,
            {**network.state_dict(), **({} if own is None else personal_flow_tensors(own))},
            {
                "architecture": "warp_unet",
                "config": json.dumps(asdict(self.config.network)),
                "data": self._material.description,
                **facts,
            },
        )


def draw(network: nn.Module, pairs: Sequence[Pair], mesh: HeadMesh) -> list[Image]:
    """Let a generator draw pairs, moved by a mesh; return uint8 (S, S, 3) RGB pictures."""
    with torch.no_grad():
        pictures = [picture.cpu().numpy() for _, _, picture, _ in _drawn(network, pairs, mesh)]
    return [from_unit(picture) for batch in pictures for picture in batch]


def _drawn(
    network: nn.Module, pairs: Sequence[Pair], mesh: HeadMesh
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield truth, maps, picture and warped reference, a few pairs at a time."""
    assert isinstance(network, WarpUNet)
    device = next(network.parameters()).device
    for start in range(0, len(pairs), 8):
        batch = {
            name: torch.from_numpy(value).to(device)
            for name, value in collate(list(pairs[start : start + 8]), mesh).items()
        }
        reference, truth = _unit(batch["reference"]), _unit(batch["truth"])
        maps = batch["maps"].permute(0, 3, 1, 2).contiguous()
        picture, warped, _ = network(reference, *network.encode(*_known(batch)), maps)
        yield truth, maps, picture, warped


def _resting(network: nn.Module, parts: Sequence[str]) -> list[nn.Module]:
    """Hold all but some parts of a network as they are; return those that rest.

    Raises:
        ConfigError: there is no such part.
    """
    known = dict(network.named_children())
    for name in parts:
        if name not in known:
            raise ConfigError(f"settings.parts: there is no {name}; there are {', '.join(known)}.")
    resting = [part for name, part in known.items() if parts and name not in parts]
    for part in resting:
        part.requires_grad_(False)
    return resting


def _take_over(network: WarpUNet, path: Path) -> None:
    """Copy the tensors of a weight file that still fit; further input channels begin at zero.

    Raises:
        ModelError: the file is missing, damaged, of another architecture, or of a version whose
            inputs came in another order.
    """
    read_config(path)  # refuses weights of another version
    old = load_tensors(path, "warp_unet")
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            known = old.get(name)
            if known is None or known.dim() != tensor.dim():
                continue
            if known.shape == tensor.shape:
                tensor.copy_(known)
            elif known.dim() == 4 and known.shape[0] == tensor.shape[0]:
                tensor.zero_()
                tensor[:, : known.shape[1]].copy_(known[:, : tensor.shape[1]])


def _unit(pictures: Tensor) -> Tensor:
    """`geometry.to_unit` on the device."""
    return pictures.permute(0, 3, 1, 2).float() * (1 / 127.5) - 1


def _grey(pictures: Tensor) -> Tensor:
    return pictures.mean(1, keepdim=True).expand_as(pictures)


def _colour(pictures: Tensor) -> Tensor:
    """Return what is not grey of (N, 3, H, W)."""
    return pictures - _grey(pictures)


def _known(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return what the encoder takes."""
    person = _full_size(batch["reference_person"][:, None], batch["reference"].shape[1])
    return _unit(batch["reference"]), person, _unit(batch["scene"])


def _cut(x: Tensor, windows: Tensor) -> Tensor:
    """Cut windows, (N, W, 3) of `batches.local_windows`, out of (N, C, H, W): (W * N, C, ...)."""
    axis = (torch.arange(_CRITIC_SIDE, device=x.device) + 0.5) * (2 / _CRITIC_SIDE) - 1
    offsets = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1)
    cut = [
        F.grid_sample(
            x,
            window[:, None, None, :2] + offsets * window[:, None, None, 2:],
            padding_mode="border",
            align_corners=False,
        )
        for window in windows.unbind(1)
    ]
    return torch.cat(cut)


def _full_size(x: Tensor, size_px: int) -> Tensor:
    return F.interpolate(x, size=(size_px, size_px), mode="bilinear", align_corners=False)


def _set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = rate


def _figures(result: Tensor, truth: Tensor, face: Tensor, name: str) -> dict[str, Tensor]:
    similar = structural_similarity(result, truth)
    margin = (result.shape[-1] - similar.shape[-1]) // 2
    inner = face[..., margin:-margin, margin:-margin]
    squares = ((result - truth) * 127.5).square().mean(1, keepdim=True)
    whole = squares.mean((1, 2, 3))
    inside = (squares * face).sum((1, 2, 3)) / face.sum((1, 2, 3)).clamp(min=1)
    return {
        f"{name}_psnr": 10 * torch.log10(255**2 / whole),
        f"{name}_face_psnr": 10 * torch.log10(255**2 / inside),
        f"{name}_face_ssim": (similar.mean(1, keepdim=True) * inner).sum((1, 2, 3))
        / inner.sum((1, 2, 3)).clamp(min=1),
        f"{name}_sharpness": _edges(result, face) / _edges(truth, face),
    }


def _boxes(face: Tensor) -> Tensor:
    """Return the bounding boxes of (N, 1, H, W) masks as masks."""
    inside = face > 0.5
    return (inside.any(2, keepdim=True) & inside.any(3, keepdim=True)).float()


def _edges(picture: Tensor, face: Tensor) -> Tensor:
    luma = picture.mean(1, keepdim=True)
    across = (luma[..., :, 1:] - luma[..., :, :-1])[..., 1:, :]
    down = (luma[..., 1:, :] - luma[..., :-1, :])[..., :, 1:]
    inside = face[..., 1:, 1:]
    strength = (across.square() + down.square()).sqrt() * inside
    return strength.sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp(min=1)
