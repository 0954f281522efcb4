"""LGP-GAN: Tables II and III layer by layer, eq. 1 to 9 by hand, training that resumes, keys.

That it can be trained and driven is what the contract tests ask of every renderer.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from reenact_lgp_gan.network import REGIONS, LgpConfig, LgpGenerator, critics, cut_out, region
from reenact_lgp_gan.training import (
    LgpRecipe,
    LgpTraining,
    attention_loss,
    critic_loss,
)
from torch import Tensor, nn

from reenact.expression.emotions import EMOTIONS
from reenact.face.topology import BROW_LEFT, BROW_RIGHT, EYE_LEFT, EYE_RIGHT, LIPS_OUTER
from reenact.models.masked_generator import ConditionCritic, MaskedGenerator
from reenact.rendering.aligned_face import frame_face
from reenact.training.faces.material import FaceMaterial, shown
from support.emotion_renderers import (
    check_it_resumes_and_shows_emotions,
    check_shipped_weights,
    face_batch,
)

SMALL = (
    "batch_size = 2\nsize_px = 32\nwidth = 4\nblocks = 1\nlocal_blocks = 1\ncritic_steps = 2\n"
    "frames = 6\n"
)


def layers(module: nn.Module) -> list[tuple[object, ...]]:
    """Return what the paper's tables say of each layer: kind, N, K, S, P."""
    found: list[tuple[object, ...]] = []
    for one in module.modules():
        if isinstance(one, nn.Conv2d | nn.ConvTranspose2d):
            kind = type(one).__name__
            found.append((kind, one.out_channels, *(cast(int, two[0]) for two in _numbers(one))))
        elif not list(one.children()):
            found.append((type(one).__name__,))
    return found


def _numbers(layer: nn.Conv2d | nn.ConvTranspose2d) -> tuple[tuple[object, ...], ...]:
    return layer.kernel_size, layer.stride, cast(tuple[int, int], layer.padding)


def normed(*layer: object) -> list[tuple[object, ...]]:
    return [layer, ("InstanceNorm2d",), ("ReLU",)]


@pytest.mark.parametrize(("name", "blocks"), [("whole", 6), ("eyes", 3), ("mouth", 3)])
def test_table_2(name: str, blocks: int) -> None:
    network = LgpGenerator(LgpConfig())
    generator = network.whole if name == "whole" else network.local[name]
    assert isinstance(generator, MaskedGenerator)
    first = generator.body[0]
    assert isinstance(first, nn.Conv2d)
    assert first.in_channels == 3 + len(EMOTIONS)
    residual = [*normed("Conv2d", 256, 3, 1, 1), ("Conv2d", 256, 3, 1, 1), ("InstanceNorm2d",)]
    assert layers(generator.body) == [
        *normed("Conv2d", 64, 7, 1, 3),
        *normed("Conv2d", 128, 4, 2, 1),
        *normed("Conv2d", 256, 4, 2, 1),
        *residual * blocks,
        *normed("ConvTranspose2d", 128, 4, 2, 1),
        *normed("ConvTranspose2d", 64, 4, 2, 1),
    ]
    assert layers(generator.colour) == [("Conv2d", 3, 7, 1, 3), ("Tanh",)]
    assert layers(generator.attention) == [("Conv2d", 1, 7, 1, 3), ("Sigmoid",)]


@pytest.mark.parametrize(
    ("name", "shape", "depth"),
    [("face", (128, 128), 6), ("eyes", (48, 96), 4), ("mouth", (48, 64), 4)],
)
def test_table_3(name: str, shape: tuple[int, int], depth: int) -> None:
    critic = critics(LgpConfig())[name]
    leaky = [one.negative_slope for one in critic.body if isinstance(one, nn.LeakyReLU)]
    assert leaky == [0.01] * depth
    assert layers(critic.body)[::2] == [("Conv2d", 64 << level, 4, 2, 1) for level in range(depth)]
    assert layers(critic.real) == [("Conv2d", 1, 3, 1, 1)]
    kernel = tuple(side // 2**depth for side in shape)  # h/64 × w/64, h/16 × w/16
    assert critic.condition.kernel_size == kernel
    assert (critic.condition.out_channels, critic.condition.padding) == (len(EMOTIONS), (0, 0))
    scores, read = critic(torch.zeros(1, 3, *shape))
    assert (scores.shape, read.shape) == ((1, 1, *kernel), (1, len(EMOTIONS)))


def test_the_regions_hold_their_landmarks() -> None:
    face = frame_face(128)
    for name, index in (
        ("eyes", [*EYE_LEFT, *EYE_RIGHT, *BROW_LEFT, *BROW_RIGHT]),
        ("mouth", list(LIPS_OUTER)),
    ):
        top, left, height, width = REGIONS[name]
        low, high = face[index].min(axis=0), face[index].max(axis=0)
        assert left + 4 < low[0] < high[0] < left + width - 4
        assert top + 4 < low[1] < high[1] < top + height - 4


def test_the_cascade_changes_regions_before_the_face() -> None:
    """With a global mask of 1 the output is the input with both local results in their places."""
    torch.manual_seed(0)
    network = LgpGenerator(LgpConfig(32, 4, 1, 1))

    class Kept(MaskedGenerator):
        def masks(self, picture: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
            del condition
            return torch.zeros_like(picture), torch.ones_like(picture[:, :1])

    network.whole = Kept(network.whole.config)
    picture, condition = torch.rand(2, 3, 32, 32), torch.eye(8)[:2]
    drawn = network.draw(picture, condition).pictures
    expected = picture.clone()
    for name in REGIONS:
        top, left, height, width = region(name, 32)
        expected[..., top : top + height, left : left + width] = drawn[name]
        assert not torch.equal(drawn[name], cut_out(picture)[name])
    assert torch.equal(drawn["face"], expected)


def test_eq_2_3_and_8_by_hand() -> None:
    class Linear(ConditionCritic):
        """Its slope is 3 in one pixel and 4 in another: of length 5."""

        def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
            logits = torch.zeros(len(picture), 8)
            logits[:, 1] = np.log(3)
            return 3 * picture[:, 0, 0, :1] + 4 * picture[:, 1, 0, 1:2], logits

    real, generated = torch.full((2, 3, 2, 2), 0.5), torch.full((2, 3, 2, 2), -0.25)
    losses = critic_loss(Linear((32, 32), 8, 2), real, generated, torch.eye(8)[[1, 0]], _training())
    assert losses["critic"] == pytest.approx(7 * (-0.25 - 0.5))
    assert losses["penalty"] == pytest.approx(10 * (5 - 1) ** 2)
    # Shares 3/10 of the asked emotion and 1/10 of another: the mean of log(10/3) and log(10).
    assert losses["read"] == pytest.approx(np.log(10) - np.log(3) / 2)


def test_eq_7_by_hand() -> None:
    masks = {
        "eyes": torch.tensor([[[[0.6, 0.8]]], [[[0.0, 0.0]]]]),
        "face": torch.ones(2, 1, 4, 4),
    }
    assert attention_loss(masks) == pytest.approx((np.sqrt(0.5) + 1 + 0 + 1) / 2)


def test_eq_4_5_6_8_and_9_from_what_is_drawn(people_faces: FaceMaterial) -> None:
    torch.manual_seed(0)
    recipe = LgpRecipe(_training(), people_faces)
    batch = face_batch(people_faces, 4)
    wanted = recipe.wanted(batch)
    assert torch.equal(wanted[1], shown(batch)[0])
    with torch.no_grad():
        losses = recipe.generator_losses(batch, wanted)
        generator = cast(LgpGenerator, recipe.networks["generator"])
        faces = batch["faces"]
        drawn = generator.draw(faces, wanted)
        cycle = (generator(drawn.pictures["face"], shown(batch)) - faces).abs().mean()
        same = (generator(faces, shown(batch)) - faces).abs().mean()
        classes, scores = 0.0, 0.0
        for name in ("eyes", "mouth", "face"):
            score, read = recipe.networks[name](drawn.pictures[name])
            classes -= float((read.log_softmax(1) * wanted).sum(1).mean())
            scores -= float(score.mean())
    assert losses["cycle"] == pytest.approx(10 * float(cycle), rel=1e-4)
    assert losses["self"] == pytest.approx(10 * float(same), rel=1e-4)
    assert losses["classes"] == pytest.approx(classes, rel=1e-4)
    assert losses["adversarial"] == pytest.approx(scores, rel=1e-4)
    assert losses["attention"] == pytest.approx(0.1 * float(attention_loss(drawn.masks)))
    torch.manual_seed(1)
    judged = recipe.critic_losses(batch, wanted)
    torch.manual_seed(1)
    parts = [
        critic_loss(
            cast(ConditionCritic, recipe.networks[name]),
            real,
            drawn.pictures[name],
            shown(batch),
            recipe.config,
        )
        for name, real in cut_out(faces).items()
    ]
    for loss, value in judged.items():  # eq. 8: over all three critics
        summed = sum(float(one[loss].detach()) for one in parts)
        assert float(value.detach()) == pytest.approx(summed, rel=1e-4), loss


def test_it_trains_resumes_and_shows_emotions(tmp_path: Path) -> None:
    check_it_resumes_and_shows_emotions("lgp_gan", SMALL, tmp_path)


def test_the_shipped_weights_show_what_is_asked() -> None:
    check_shipped_weights("lgp_gan")


def _training() -> LgpTraining:
    return LgpTraining(
        train="", size_px=32, batch_size=2, width=4, blocks=1, local_blocks=1, critic_steps=2
    )
