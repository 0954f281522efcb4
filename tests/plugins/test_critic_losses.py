"""The losses of critics: all recipes report them by the same names, as their papers define them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reenact.models.masked_generator import gradient_penalty
from reenact.testing.weights import people
from reenact.training.faces.material import FaceMaterial
from reenact.training.faces.recipe import FaceRecipe
from reenact.training.recipes import build_recipe
from support.emotion_renderers import face_batch

SMALL: Mapping[str, Any] = {"batch_size": 2, "size_px": 32, "width": 4}
FACES: Mapping[str, Any] = {**SMALL, "frames": 6, "critic_steps": 1}
WASSERSTEIN = {
    "ganimation": {**FACES, "blocks": 1},
    "lgp_gan": {**FACES, "blocks": 1, "local_blocks": 1},
    "stargan": {**FACES, "blocks": 1},
    "attgan": FACES,
}
LOGARITHMIC = {
    "attention_cgan": {**FACES, "blocks": 1, "reduction": 4},
    "exprgan": {**FACES, "depth": 3},
}
SQUARED = {"cyclegan": {**FACES, "blocks": 1, "acted_frames": 2}}
PICTURES = {
    "fan2023": SMALL,
    "pix2pix": SMALL,
    "cgan": SMALL,
    "g2gan": SMALL,
    "texture_gan": {**SMALL, "frames": 6},
    "landmark_fusion": {"batch_size": 2, "network": "freenet"},
}
OTHERS = {"attention_cgan": {"people"}, "exprgan": {"prior"}, "texture_gan": {"people"}}

NAMES = {"critic", "penalty", "read", "people", "prior", "discriminator", "person", "face"}


def recipe_of(name: str, settings: Mapping[str, Any]) -> Any:
    torch.manual_seed(0)
    folders = {split: str(people() / split) for split in ("train", "val")}
    return build_recipe(name, {**folders, **settings})


@pytest.mark.parametrize(
    ("name", "constant"),
    [("ganimation", 2 / 3), ("lgp_gan", 1 / 2), ("stargan", 1 / 2), ("cyclegan", 1 / 2)],
)
def test_rates_stay_for_the_papers_share_and_fall_to_zero(name: str, constant: float) -> None:
    recipe = recipe_of(name, (WASSERSTEIN | SQUARED)[name])
    assert recipe.schedules.keys() == recipe.optimizers.keys()
    for rate in recipe.schedules.values():
        rates = [rate(progress) for progress in (0, constant, (1 + constant) / 2, 1)]
        assert rates == pytest.approx([1, 1, 0.5, 0])


@pytest.mark.parametrize(
    ("name", "settings"),
    [*WASSERSTEIN.items(), *LOGARITHMIC.items(), *SQUARED.items(), *PICTURES.items()],
)
def test_a_step_tells_the_critics_losses_by_the_same_names(
    name: str, settings: Mapping[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # caches are made in the working folder
    recipe = recipe_of(name, settings)
    batch = recipe.batches(0, 1)[0]
    losses = recipe.step({key: torch.from_numpy(value) for key, value in batch.items()}, 0.5)
    wanted = {"critic"} | OTHERS.get(name, set())
    wanted |= set() if name in PICTURES or name in SQUARED else {"read"}
    wanted |= {"penalty"} if name in WASSERSTEIN else set()
    assert losses.keys() & NAMES == wanted
    assert "adversarial" in losses


@pytest.mark.parametrize("name", ["ganimation", "stargan", "attgan"])
def test_a_wasserstein_critic_loses_by_its_scores_its_slope_and_what_it_reads(
    name: str, people_faces: FaceMaterial
) -> None:
    recipe = recipe_of(name, WASSERSTEIN[name])
    batch = face_batch(people_faces, 4)
    real, wanted, critic = batch["faces"], recipe.wanted(batch), recipe.networks["critic"]
    torch.manual_seed(1)
    losses = recipe.critic_losses(batch, wanted)
    drawn = drawn_by(recipe, batch, wanted)
    scores, read = critic(real)
    told = critic(drawn)[0].mean() - scores.mean()
    assert float(losses["critic"].detach()) == pytest.approx(float(told.detach()), abs=1e-5)
    torch.manual_seed(1)
    slope = gradient_penalty(lambda one: critic(one)[0], real, drawn)
    assert float(losses["penalty"].detach()) == pytest.approx(10 * float(slope.detach()), rel=1e-4)
    if name == "ganimation":
        error = 160 * (read - batch["units"]).square().mean()
    else:
        shown = batch["emotions"].argmax(1)
        error = -read.log_softmax(1)[range(4), shown].mean()
    assert float(losses["read"].detach()) == pytest.approx(float(error.detach()), rel=1e-4)


@pytest.mark.parametrize("name", LOGARITHMIC)
def test_a_discriminator_loses_by_the_logarithms_of_its_probabilities(
    name: str, people_faces: FaceMaterial, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(name, LOGARITHMIC[name])
    batch = face_batch(people_faces, 4)
    wanted = recipe.wanted(batch)
    # The sizes of ExprGAN's codes: all alike, so that its faces can be drawn again.
    monkeypatch.setattr(torch, "rand", lambda *shape, device: torch.full(shape, 0.5))
    losses = recipe.critic_losses(batch, wanted)
    drawn = drawn_by(recipe, batch, 0.5 * wanted if name == "exprgan" else wanted)
    real, false = (recipe.networks["critic"](one)[0].sigmoid() for one in (batch["faces"], drawn))
    told = -real.log().mean() - (1 - false).log().mean()
    assert float(losses["critic"].detach()) == pytest.approx(float(told.detach()), rel=1e-4)


def drawn_by(recipe: FaceRecipe[Any], batch: Mapping[str, Tensor], wanted: Tensor) -> Tensor:
    """Return what the generator draws."""
    with torch.no_grad():
        drawn: Tensor = recipe.networks["generator"](recipe.given(batch)[0], wanted)
    return drawn
