"""The recipe of the live generator on the portrait: small, but the real data path and network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reenact.errors import ModelError, ReenactError
from reenact.models.warp_unet import WarpUNet, WarpUNetConfig
from reenact.models.weights import load_tensors, save_model
from reenact.training.sampling import Pair, Rng
from reenact.training.warp_unet import Material, WarpUNetRecipe, WarpUNetRecipeConfig
from reenact.training.warp_unet_batches import collate
from support.faces import opened_mouth, portrait_target

SMALL = WarpUNetConfig(
    feature_channels=8,
    motion_channels=(8, 8, 8, 8),
    repair_channels=(8, 8, 8, 8),
    context_channels=(8, 8, 8, 8),
)


class OnePair:
    """Draws the portrait, shifted."""

    def draw(self, rng: Rng) -> Pair:
        target = portrait_target(64)
        shift = int(rng.integers(1, 5))
        moved = np.roll(target.references[0], shift, axis=1)
        points = target.neutral + np.array([shift, 0, 0], np.float32)
        return Pair(target.references[0], target.neutral, moved, points)


def recipe(
    start: str = "",
    adversarial_from: float = 1.0,
    landmark_weight: float = 0.0,
    acting_share: float = 0.0,
) -> WarpUNetRecipe:
    pair = OnePair().draw(np.random.default_rng(0))
    config = WarpUNetRecipeConfig(
        train="",
        val="",
        start=start,
        batch_size=4,
        network=SMALL,
        adversarial_from=adversarial_from,
        landmark_weight=landmark_weight,
        acting_share=acting_share,
    )
    return WarpUNetRecipe(config, 64, Material(OnePair(), [pair], "the portrait"))


def test_it_learns_in_a_few_steps() -> None:
    torch.manual_seed(0)
    learner = recipe()
    batches = learner.batches(seed=1, steps=60)
    losses = []
    for step in range(60):
        batch = {name: torch.from_numpy(value) for name, value in batches[step].items()}
        losses.append(learner.step(batch, step / 60)["picture"])
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_the_critic_sees_mouth_and_eyes_alone() -> None:
    """What it asks of the generator is asked of these windows, and of nothing else."""
    torch.manual_seed(0)
    learner = recipe(adversarial_from=0.5)
    batch = {name: torch.from_numpy(v) for name, v in learner.batches(1, 1)[0].items()}
    before = {name: value.clone() for name, value in learner.networks["critic"].named_parameters()}
    assert "critic_of" not in learner.step(batch, 0.0)
    assert "critic_of" in learner.step(batch, 0.6)
    learned = learner.networks["critic"].named_parameters()
    assert any(not torch.equal(before[name], value) for name, value in learned)
    picture = torch.rand(4, 3, 64, 64, requires_grad=True)
    maps = batch["maps"].permute(0, 3, 1, 2)
    cost = learner._adversarial(batch, picture, torch.rand(4, 3, 64, 64), maps)
    (asked,) = torch.autograd.grad(cost, picture)
    inside = torch.zeros(64, 64, dtype=torch.bool)
    for x, y, half in ((batch["windows"][0] + torch.tensor([1.0, 1.0, 0.0])) * 32).tolist():
        rows = slice(int(y - half) - 1, int(y + half) + 2)
        columns = slice(int(x - half) - 1, int(x + half) + 2)
        inside[rows, columns] = True
        assert asked[0][:, rows, columns].abs().max() > 0
    assert asked[0][:, ~inside].abs().max() == 0
    assert inside.float().mean() < 0.5


def test_without_a_truth_only_what_is_read_in_the_picture_is_learned() -> None:
    """The reference that stands in the truth's place is not what is to be drawn."""
    torch.manual_seed(0)
    learner = recipe(adversarial_from=0.0, landmark_weight=1.0, acting_share=0.5)
    pair = OnePair().draw(np.random.default_rng(0))
    acting = replace(
        pair,
        truth=pair.reference,
        truth_landmarks=opened_mouth(pair.reference_landmarks, 6.0),
        has_truth=False,
    )
    batch = collate([acting] * 2)
    before = {name: value.clone() for name, value in learner.networks["critic"].named_parameters()}
    losses = learner.step({name: torch.from_numpy(value) for name, value in batch.items()}, 0.5)
    assert losses["landmarks"] > 0.01
    for name in ("picture", "warp", "edges", "texture", "structure"):
        assert losses[name] == 0
    # Nor may the critic learn that such a face looks like that.
    for name, value in learner.networks["critic"].named_parameters():
        assert torch.equal(before[name], value)


def test_who_acts_keeps_the_colours_of_the_reference() -> None:
    """Greener teeth and pinker lips would be read more surely."""
    torch.manual_seed(0)
    learner = recipe(landmark_weight=1.0, acting_share=0.5)
    acting = replace(OnePair().draw(np.random.default_rng(0)), has_truth=False)
    batch = {name: torch.from_numpy(value) for name, value in collate([acting] * 2).items()}
    with torch.no_grad():
        bias = learner._generator.picture_head.bias
        assert bias is not None
        bias[: len(bias) // 3] += 0.3  # red
    costs = [learner.step(batch, 0.5)["colour"] for _ in range(30)]
    assert costs[0] > 0.1
    assert costs[-1] < 0.6 * costs[0]


def test_what_is_read_in_the_picture_comes_nearer_to_what_is_read_in_the_truth() -> None:
    torch.manual_seed(0)
    learner = recipe(landmark_weight=3.0)
    batch = {name: torch.from_numpy(v) for name, v in learner.batches(1, 1)[0].items()}
    read = [learner.step(batch, step / 40)["landmarks"] for step in range(40)]
    assert read[-1] < 0.8 * read[0]


def test_a_training_that_diverged_is_told() -> None:
    learner = recipe()
    generator = learner.networks["generator"]
    assert isinstance(generator, WarpUNet)
    assert generator.picture_head.bias is not None
    torch.nn.init.constant_(generator.picture_head.bias, float("nan"))
    batch = {name: torch.from_numpy(v) for name, v in learner.batches(1, 1)[0].items()}
    with pytest.raises(ReenactError, match="lower learning_rate"):
        learner.step(batch, 0.0)


def test_it_begins_from_earlier_weights(tmp_path: Path) -> None:
    """Same shapes are taken over, further inputs begin at zero, new layers stay as they were."""
    old = WarpUNet(SMALL).state_dict()
    torch.nn.init.normal_(old["motion.stem.0.0.weight"])
    old["motion.stem.0.0.weight"] = old["motion.stem.0.0.weight"][:, :-8].clone()
    old["picture_head.bias"] = torch.full_like(old["picture_head.bias"], 0.5)
    old.pop("layer_head.bias")
    path = tmp_path / "old.safetensors"
    save_model(path, old, {"architecture": "warp_unet", "config": "{}"})
    begun = recipe(str(path)).networks["generator"].state_dict()
    kept = load_tensors(path, "warp_unet")["motion.stem.0.0.weight"]
    torch.testing.assert_close(begun["motion.stem.0.0.weight"][:, :-8], kept)
    assert begun["motion.stem.0.0.weight"][:, -8:].abs().max() == 0
    assert begun["picture_head.bias"].min() == 0.5
    assert begun["layer_head.bias"].abs().max() == 0
    facts = {"architecture": "warp_unet", "config": '{"max_residual_flow": 0.25}'}
    save_model(path, old, facts)
    with pytest.raises(ModelError, match="another version"):
        recipe(str(path))
    with pytest.raises(ModelError, match="no model file"):
        recipe(str(tmp_path / "none.safetensors"))
