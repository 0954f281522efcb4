"""The attention cGAN: eq. 5 to 18 by hand, training that resumes, levels, a photo's video.

That it can be trained and driven is what the contract tests ask of every renderer.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from math import exp, log
from pathlib import Path

import cv2
import pytest
import torch
from reenact_attention_cgan import AttentionRenderer
from reenact_attention_cgan.network import (
    AttentionBlock,
    ChannelAttention,
    IdentityExtractor,
    SpatialAttention,
)
from reenact_attention_cgan.training import (
    AttentionRecipe,
    AttentionTraining,
    adversarial_loss,
    classification,
    labels,
)
from reenact_attention_cgan.video import main
from torch import Tensor, nn

from reenact.expression.emotions import EMOTIONS, LEVELS
from reenact.targets.clip_files import decode_clip
from reenact.testing.portrait import portrait_target
from reenact.training.faces.material import FaceMaterial
from reenact.training.faces.recipe import critic_log_loss
from support.emotion_renderers import (
    check_it_resumes_and_shows_emotions,
    check_shipped_weights,
    emotional,
    face_batch,
)

SMALL = "batch_size = 2\nsize_px = 32\nwidth = 4\nblocks = 1\nreduction = 4\nframes = 6\n"


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def test_eq_5_to_7_channel_attention() -> None:
    attention = ChannelAttention(2, 2)
    set_to(attention.down, [[1.0, -2.0]], [0.5])
    set_to(attention.up, [[2.0], [-1.0]], [0.0, 1.0])
    features = torch.tensor([[[[1.0, 3.0]], [[0.0, 1.0]]]])  # p = (2, .5)
    hidden = 2 - 2 * 0.5 + 0.5
    expected = [[1 * sigmoid(2 * hidden), 3 * sigmoid(2 * hidden)], [0, sigmoid(1 - hidden)]]
    assert torch.allclose(attention(features)[0, :, 0], torch.tensor(expected))
    negative = attention(-features)[0, :, 0]  # p = (-2, -.5): δ is 0
    assert torch.allclose(negative, torch.tensor([[-0.5, -1.5], [0, -sigmoid(1)]]))


def test_eq_8_and_9_spatial_attention() -> None:
    attention = SpatialAttention(2)
    set_to(attention.squeeze, [[[[1.0]], [[2.0]]]], [0.0])
    features = torch.tensor([[[[1.0, 0.0]], [[0.5, -1.0]]]])
    expected = [[sigmoid(2), 0.0], [0.5 * sigmoid(2), -sigmoid(-2)]]
    assert torch.allclose(attention(features)[0, :, 0], torch.tensor(expected))


def test_a_block_adds_the_sum_of_both_attentions() -> None:
    torch.manual_seed(0)
    block, features = AttentionBlock(4, 2), torch.randn(1, 4, 8, 8)
    change = block.layers(features)
    expected = features + block.channel(change) + block.spatial(change)
    assert torch.allclose(block(features), expected)


def test_eq_10_and_11_from_probabilities() -> None:
    """Logits of D(x) = 3/4 and D(G) = 1/5."""
    real, generated = torch.tensor([log(3.0)]), torch.tensor([log(0.25)])
    assert critic_log_loss(real, generated) == pytest.approx(-log(3 / 4) - log(4 / 5))
    assert adversarial_loss(generated, saturating=True) == pytest.approx(log(4 / 5))
    assert adversarial_loss(generated, saturating=False) == pytest.approx(-log(1 / 5))


def test_eq_13_and_14_of_level_and_emotion() -> None:
    read, wanted = torch.zeros(1, 12), torch.zeros(1, 12)
    read[0, 9], read[0, 5] = log(3), log(8)
    wanted[0, 9] = wanted[0, 5] = 1
    assert classification(read, wanted) == pytest.approx(-log(3 / 6) - log(8 / 15))


def test_levels_begin_at_their_intensities() -> None:
    happy = torch.tensor([[0.4, 0, 0, 0, 0, 0.6, 0, 0]]).expand(5, -1)
    found = labels(happy, torch.tensor([0.3, 0.34, 0.66, 0.67, 1.2]))
    assert found[:, 8:].argmax(1).tolist() == [0, 1, 1, 2, 3]
    assert found[:, :8].argmax(1).tolist() == [0, 5, 5, 5, 5]
    assert found.sum(1).tolist() == [2.0] * 5


def test_eq_12_and_15_to_18_from_what_is_drawn(people_faces: FaceMaterial) -> None:
    torch.manual_seed(0)
    config = AttentionTraining(
        train="", size_px=32, batch_size=2, width=4, blocks=1, identity_weight=0.5, level_weight=2
    )
    recipe = AttentionRecipe(config, people_faces)
    batch = face_batch(people_faces, 4)
    wanted = recipe.wanted(batch)
    generator, extractor = recipe.networks["generator"], recipe.networks["identity"]
    with torch.no_grad():
        losses = recipe.generator_losses(batch, wanted)
        source = batch["other_faces"]
        drawn = generator(source, wanted)
        shown = labels(batch["other_emotions"], batch["other_intensity"])
        cycle = (source - generator(drawn, shown)).abs().mean()
        pixels = (batch["faces"] - drawn).abs().mean()
        features = [phi(extractor, one) for one in (source, drawn)]
        identity = (features[0] - features[1]).abs().sum(1).mean()
        scores, read = recipe.networks["critic"](drawn)
    assert losses["cycle"] == pytest.approx(10 * float(cycle), rel=1e-4)
    assert losses["pixels"] == pytest.approx(10 * float(pixels), rel=1e-4)
    assert losses["identity"] == pytest.approx(0.5 * float(identity), rel=1e-4)
    assert losses["level"] == pytest.approx(2 * float(classification(read, wanted)), rel=1e-4)
    expected = torch.log(1 - scores.sigmoid()).mean()
    assert losses["adversarial"] == pytest.approx(float(expected), rel=1e-4)
    with torch.no_grad():
        people = extractor(batch["faces"]).log_softmax(1)[range(4), batch["people"]]
        _, read = recipe.networks["critic"](batch["faces"])
    judged = recipe.critic_losses(batch, wanted)
    told = 2 * float(classification(read, wanted))
    assert float(judged["read"].detach()) == pytest.approx(told, rel=1e-4)
    assert float(judged["people"].detach()) == pytest.approx(-float(people.mean()), rel=1e-4)


def phi(extractor: nn.Module, faces: Tensor) -> Tensor:
    assert isinstance(extractor, IdentityExtractor)
    features: Tensor = extractor.body(faces).mean(dim=(2, 3))
    lengths: Tensor = features.norm(dim=1, keepdim=True)
    return features / lengths


def test_intensity_asks_for_the_nearest_levels() -> None:
    def asked(intensity: float) -> list[float]:
        renderer = AttentionRenderer.__new__(AttentionRenderer)
        drive = replace(emotional("sad"), intensity=intensity)
        return [*renderer.condition(drive)[0, [0, 6, 8, 9, 10, 11]], renderer.strength(drive)]

    assert asked(0.0) == pytest.approx([1, 0, 1, 0, 0, 0, 0])
    assert asked(1 / 6) == pytest.approx([0.5, 0.5, 0.5, 0.5, 0, 0, 0.5])
    assert asked(0.5) == pytest.approx([0, 1, 0, 0.5, 0.5, 0, 1])
    assert asked(1.7) == pytest.approx([0, 1, 0, 0, 0, 1, 1])
    assert AttentionRenderer.condition_shape == (len(EMOTIONS) + len(LEVELS),)


def test_it_trains_resumes_and_shows_emotions(tmp_path: Path) -> None:
    check_it_resumes_and_shows_emotions("attention_cgan", SMALL, tmp_path)


def test_the_shipped_weights_make_a_video_of_a_photo(tmp_path: Path) -> None:
    photo, video = tmp_path / "photo.png", tmp_path / "sad.mp4"
    cv2.imwrite(str(photo), portrait_target(256).references[0][..., ::-1])
    options = ["--emotion", "sad", "--frames", "9"]
    assert main([str(photo), str(video), *options]) == 0
    assert decode_clip(video).shape == (9, 256, 256, 3)
    rows = list(csv.DictReader(video.with_suffix(".csv").open()))
    levels = [float(row["intensity"]) for row in rows]
    assert levels == levels[::-1]
    assert (levels[0], max(levels), rows[0]["ssim"]) == (0, 1, "")
    assert all(0 < float(row["ssim"]) <= 1 for row in rows[1:])
    assert main([str(tmp_path / "missing.png"), str(video), *options]) == 2


@pytest.mark.parametrize(
    ("option", "value"),
    [*(("--frames", n) for n in ("1", "0", "-3", "2.5")), ("--size", "0"), ("--size", "10")],
)
def test_numbers_that_make_no_video_are_refused(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["photo.png", str(tmp_path / "out.mp4"), option, value])
    assert left.value.code == 2
    assert f"argument {option}: " in capsys.readouterr().err


def set_to(layer: nn.Linear | nn.Conv2d, weight: object, bias: object) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
        assert layer.bias is not None
        layer.bias.copy_(torch.tensor(bias))


def test_the_shipped_weights_show_what_is_asked() -> None:
    check_shipped_weights("attention_cgan")
