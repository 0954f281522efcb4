"""StarGAN, AttGAN, ExprGAN, CycleGAN: what tells each from the others; training that resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from reenact_expression_baselines.attgan import AttganGenerator, AttganRecipe, AttganTraining
from reenact_expression_baselines.cyclegan import (
    CycleganGenerator,
    CycleganRecipe,
    CycleganTraining,
)
from reenact_expression_baselines.exprgan import (
    EMOTION_LENGTH,
    ExprganGenerator,
    ExprganRecipe,
    ExprganTraining,
    expression_code,
)
from reenact_expression_baselines.layers import BaselineConfig
from reenact_expression_baselines.stargan import StarganRecipe, StarganTraining
from torch import Tensor, nn

from reenact.errors import ModelError, ReenactError
from reenact.models.masked_generator import ConditionCritic
from reenact.testing.weights import people
from reenact.training.faces.clips import FaceData, load_labelled
from reenact.training.faces.material import FaceMaterial, by_emotion, load_faces, shown
from support.emotion_renderers import (
    check_it_resumes_and_shows_emotions,
    check_shipped_weights,
    face_batch,
)

SMALL = "batch_size = 2\nsize_px = 32\nwidth = 4\nframes = 6\ncritic_steps = 2\n"


@pytest.mark.parametrize(
    ("name", "more"), [("stargan", "blocks = 1\n"), ("attgan", ""), ("exprgan", "depth = 3\n")]
)
def test_it_trains_resumes_and_shows_emotions(name: str, more: str, tmp_path: Path) -> None:
    check_it_resumes_and_shows_emotions(name, SMALL + more, tmp_path)
    check_shipped_weights(name)


def test_stargan_weighs_a_cycle_and_classes(people_faces: FaceMaterial) -> None:
    torch.manual_seed(0)
    config = StarganTraining(train="", size_px=32, batch_size=2, width=4, blocks=1)
    recipe = StarganRecipe(config, people_faces)
    batch = face_batch(people_faces, 4)
    wanted, generator = recipe.wanted(batch), recipe.networks["generator"]
    with torch.no_grad():
        losses = recipe.generator_losses(batch, wanted)
        drawn = generator(batch["faces"], wanted)
        cycle = (generator(drawn, shown(batch)) - batch["faces"]).abs().mean()
        _, read = recipe.networks["critic"](drawn)
    assert losses["cycle"] == pytest.approx(10 * float(cycle), rel=1e-4)
    classes = -float((read.log_softmax(1) * wanted).sum(1).mean())
    assert losses["classes"] == pytest.approx(classes, rel=1e-4)


def test_attgan_weighs_its_own_face_and_the_wanted_class(people_faces: FaceMaterial) -> None:
    torch.manual_seed(0)
    config = AttganTraining(train="", size_px=32, batch_size=2, width=4)
    recipe = AttganRecipe(config, people_faces)
    batch = face_batch(people_faces, 4)
    wanted, generator = recipe.wanted(batch), recipe.networks["generator"]
    with torch.no_grad():
        losses = recipe.generator_losses(batch, wanted)
        same = (generator(batch["faces"], shown(batch)) - batch["faces"]).abs().mean()
        scores, read = recipe.networks["critic"](generator(batch["faces"], wanted))
    assert losses["same"] == pytest.approx(100 * float(same), rel=1e-4)
    classes = -10 * float((read.log_softmax(1) * wanted).sum(1).mean())
    assert losses["classes"] == pytest.approx(classes, rel=1e-4)
    assert losses["adversarial"] == pytest.approx(-float(scores.mean()), rel=1e-4)
    assert losses.keys() == {"adversarial", "classes", "same"}


def test_exprgan_weighs_codes_classes_the_prior_and_its_own_face(
    people_faces: FaceMaterial,
) -> None:
    torch.manual_seed(0)
    config = ExprganTraining(train="", size_px=32, batch_size=2, width=4, depth=3)
    recipe = ExprganRecipe(config, people_faces)
    batch = face_batch(people_faces, 4)
    wanted, faces = recipe.wanted(batch), batch["faces"]
    generator = recipe.networks["generator"]
    assert isinstance(generator, ExprganGenerator)
    torch.manual_seed(1)
    with torch.no_grad():
        losses = recipe.generator_losses(batch, wanted)
        torch.manual_seed(1)
        code = expression_code(wanted, torch.rand(4, EMOTION_LENGTH))
        identity = generator.encode(faces)
        drawn = generator.decode(identity, code)
        level = batch["intensity"].clamp(0, 1)[:, None].expand(-1, EMOTION_LENGTH)
        same = generator.decode(identity, expression_code(shown(batch), level))
        scores, read = recipe.networks["critic"](drawn)
        fooled = recipe.networks["prior"](identity)
    steps = drawn.diff(dim=2).square().sum() + drawn.diff(dim=3).square().sum()
    expected = {
        "adversarial": -scores.sigmoid().log().mean(),
        "prior_fooled": -0.01 * fooled.sigmoid().log().mean(),
        "classes": -(read[:, :8].log_softmax(1) * wanted).sum(1).mean(),
        "code": (read[:, 8:] - code).square().mean(),
        "same": 10 * (same - faces).abs().mean(),
        "smooth": 1e-5 * steps / 4,
    }
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert losses[name] == pytest.approx(float(value), rel=1e-4), name


def test_critics_learn_alone_before_the_generator_learns_from_them(
    people_faces: FaceMaterial,
) -> None:
    """Phases by progress: pairs alone, critics beside them, and both."""
    batch = face_batch(people_faces, 2)

    def change(progress: float) -> tuple[float, dict[str, float]]:
        torch.manual_seed(0)
        config = StarganTraining(
            train="", size_px=32, batch_size=2, width=4, blocks=1, critic_steps=1, rate=1e-2,
            pair_weight=10.0, pairs_first=0.2, critics_alone=0.3,
        )  # fmt: skip
        recipe = StarganRecipe(config, people_faces)
        critic = recipe.networks["critic"]
        assert isinstance(critic, ConditionCritic)
        before = critic.real.weight.detach().clone()
        torch.manual_seed(1)
        losses = recipe.step(batch, progress)
        return float((critic.real.weight.detach() - before).abs().max()), losses

    moved, losses = change(0.1)
    assert moved == 0
    assert set(losses) == {"pairs"}
    moved, losses = change(0.4)
    assert 0 < moved <= 0.011
    assert "adversarial" not in losses
    _, both = change(0.6)
    assert {"critic", "adversarial", "classes", "pairs"} <= set(both)


def test_a_generator_starts_from_given_weights(people_faces: FaceMaterial, tmp_path: Path) -> None:
    small = StarganTraining(train="", size_px=32, batch_size=2, width=4, blocks=1)
    first = StarganRecipe(small, people_faces)
    weights = tmp_path / "weights.safetensors"
    first.save(first.networks["generator"], weights, {})
    started = StarganRecipe(replace(small, start=str(weights)), people_faces)
    saved = first.networks["generator"].state_dict()
    for name, value in started.networks["generator"].state_dict().items():
        assert torch.equal(value, saved[name].half().float())
    with pytest.raises(ModelError, match="not of attgan"):
        AttganRecipe(AttganTraining(train="", size_px=32, start=str(weights)), people_faces)
    with pytest.raises(ModelError, match=r"does not fit the network .* the same settings"):
        StarganRecipe(replace(small, start=str(weights), width=8), people_faces)


def test_attgan_puts_the_emotion_between_encoder_and_decoder() -> None:
    network = AttganGenerator(BaselineConfig(64, 4, 5)).eval()
    layer = next(one for one in network.up.modules() if isinstance(one, nn.ConvTranspose2d))
    assert layer.in_channels == 4 * 8 + 8  # four layers at 64 px, and eight emotions
    faces = torch.rand(1, 3, 64, 64)
    first, second = (network(faces, torch.eye(8)[[index]]) for index in (1, 5))
    assert first.shape == faces.shape
    assert not torch.equal(first, second)


def test_exprgan_codes_the_intensity() -> None:
    code = expression_code(torch.eye(8)[[2]], torch.full((1, EMOTION_LENGTH), 0.25))
    signs = code.reshape(8, EMOTION_LENGTH) / 0.25
    assert torch.equal(signs, 2 * torch.eye(8)[2][:, None].expand(-1, EMOTION_LENGTH) - 1)
    network = ExprganGenerator(BaselineConfig(32, 4, 3)).eval()
    faces = torch.rand(1, 3, 32, 32)
    identity = network.encode(faces)
    assert identity.abs().max() <= 1
    assert torch.allclose(network(faces, 0.25 * torch.eye(8)[[2]]), network.decode(identity, code))


@pytest.fixture(scope="module")
def acting_faces() -> FaceMaterial:
    """Faces of every emotion, grouped by it."""
    folders = (str(people() / "train"), str(people() / "val"))
    return load_faces(FaceData(*folders, size_px=32, frames=6, acted_frames=2), by_emotion)


class Shift(nn.Module):
    """Moves all colours; of a critic it is what the mean of a picture makes of it."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by))

    def forward(self, *pictures: Tensor) -> Tensor:
        return pictures[-1] + self.by


def test_cyclegan_trains_resumes_and_shows_emotions(tmp_path: Path) -> None:
    small = "size_px = 32\nwidth = 4\nframes = 6\nblocks = 1\nacted_frames = 2\n"
    check_it_resumes_and_shows_emotions("cyclegan", "batch_size = 2\n" + small, tmp_path)


def test_cyclegans_losses_by_hand(acting_faces: FaceMaterial) -> None:
    """Generators add .5 and .25 to colours, critics look at the colours themselves."""
    config = CycleganTraining(train="", size_px=32, batch_size=2, width=4, blocks=1)
    recipe = CycleganRecipe(config, acting_faces)
    happy = torch.eye(8)[[5, 5]]
    generator = recipe.networks["generator"]
    assert isinstance(generator, CycleganGenerator)
    generator.translators[4] = Shift(0.5)
    for name, by in (("calming", 0.25), ("critic", 0.0), ("calm_critic", 0.0)):
        bank = recipe.networks[name]
        assert isinstance(bank, nn.ModuleList)
        bank[4] = Shift(by)
    faces, calm = torch.full((2, 3, 32, 32), 0.25), torch.zeros(2, 3, 32, 32)
    batch = {"faces": faces, "calm_faces": calm, "emotions": happy}
    assert torch.equal(recipe.wanted(batch), happy)
    # Acted .5, calmed .5; acted and calmed again .75, calmed and acted again 1.
    judged = recipe.critic_losses(batch, happy)
    told = (0.25 - 1) ** 2 + 0.5**2 + (0 - 1) ** 2 + 0.5**2
    assert float(judged["critic"].detach()) == pytest.approx(told / 2)
    losses = recipe.generator_losses(batch, happy)
    expected = {"adversarial": 0.25 + 0.25, "cycle": 10 * (0.75 + 0.75), "same": 5 * (0.5 + 0.25)}
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        assert float(losses[name].detach()) == pytest.approx(value), name


def test_a_step_of_cyclegan_is_of_one_emotion_and_changes_its_networks_alone(
    acting_faces: FaceMaterial,
) -> None:
    torch.manual_seed(0)
    config = CycleganTraining(train="", size_px=32, batch_size=3, width=4, blocks=1, rate=1e-2)
    recipe = CycleganRecipe(config, acting_faces)
    found = recipe.batches(3, 1)[0]
    batch = {name: torch.from_numpy(values) for name, values in found.items()}
    (number,) = set(batch["emotions"].argmax(1).tolist())
    assert number > 0
    assert batch["calm_faces"].shape == batch["faces"].shape
    kept = {
        key: value.clone()
        for name, network in recipe.networks.items()
        for key, value in network.state_dict(prefix=f"{name}.").items()
    }
    recipe.step(batch, 0.0)
    changed = {
        key.replace("translators.", "").split(".")[1]
        for name, network in recipe.networks.items()
        for key, value in network.state_dict(prefix=f"{name}.").items()
        if not torch.equal(value, kept[key])
    }
    assert changed == {str(number - 1)}


def test_cyclegans_pictures_of_two_emotions_are_mixed_and_neutral_keeps_the_face() -> None:
    network = CycleganGenerator(BaselineConfig(32, 4, 1)).eval()
    faces = torch.rand(1, 3, 32, 32)
    happy, sad = (network(faces, torch.eye(8)[[index]]) for index in (5, 6))
    mixed = network(faces, 0.5 * torch.eye(8)[[5]] + 0.5 * torch.eye(8)[[6]])
    assert not torch.equal(happy, sad)
    assert torch.allclose(mixed, (happy + sad) / 2, atol=1e-6)
    assert torch.equal(network(faces, torch.eye(8)[[0]]), faces)


def test_cyclegan_needs_faces_at_rest_and_faces_that_act() -> None:
    clips = load_labelled(people() / "train", FaceData("", size_px=32, frames=6))
    calm = FaceMaterial(clips, [], "", lambda clip: np.zeros(len(clip.pictures), np.intp))
    with pytest.raises(ReenactError, match="faces at rest"):
        CycleganRecipe(CycleganTraining(train="", size_px=32, width=4, blocks=1), calm)
