"""GANimation: its losses by hand, and training that resumes.

That it can be trained and driven is what the contract tests ask of every renderer.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from reenact_ganimation.single_units import UNITS, draw, main, unit_drive
from reenact_ganimation.training import GanimationRecipe, GanimationTraining
from torch import Tensor, nn

from reenact.config import RendererSettings
from reenact.evaluation.clips import first_frame_target, read_clip
from reenact.evaluation.face_reader import units_of
from reenact.expression.emotions import EMOTIONS, acted_units
from reenact.face.geometry import estimate_pose, region_mask, to_face_frame
from reenact.face.topology import ACTION_UNITS, LIPS_OUTER
from reenact.models.masked_generator import (
    ConditionCritic,
    MaskedConfig,
    MaskedGenerator,
    blended,
    gradient_penalty,
    total_variation,
    with_planes,
)
from reenact.registry import load
from reenact.testing.portrait import drive, portrait, portrait_target
from reenact.testing.weights import people, train_two_steps
from reenact.training.faces.material import FaceMaterial
from reenact.training.recipes import run_config
from support.emotion_renderers import check_export, face_batch

SMALL = "batch_size = 2\nsize_px = 32\nwidth = 4\nblocks = 1\nframes = 6\n"


def test_the_networks_are_those_of_tables_2_and_3() -> None:
    config = MaskedConfig()
    generator, critic = MaskedGenerator(config), ConditionCritic((128, 128), 17)
    first = generator.body[0]
    assert isinstance(first, nn.Conv2d)
    assert first.weight.shape == (64, 3 + 17, 7, 7)
    widths = [layer.out_channels for layer in critic.body if isinstance(layer, nn.Conv2d)]
    assert widths == [64, 128, 256, 512, 1024, 2048]
    assert critic.real.kernel_size == (3, 3)
    assert critic.condition.kernel_size == (2, 2)  # h / 64
    assert not [one for one in critic.modules() if isinstance(one, nn.InstanceNorm2d)]
    with pytest.raises(ValueError, match="100"):
        MaskedConfig(size_px=100)


def test_the_mask_keeps_the_picture_where_it_is_one() -> None:
    picture, colour = torch.full((1, 3, 2, 2), 0.5), torch.full((1, 3, 2, 2), -1.0)
    mask = torch.tensor([[[[1.0, 0.0], [0.5, 0.25]]]])
    wanted = torch.tensor([[0.5, -1.0], [-0.25, -0.625]])
    assert torch.allclose(blended(picture, colour, mask)[0, 0], wanted)


def test_short_trainings_begin_with_the_picture_and_see_the_vector_everywhere() -> None:
    torch.manual_seed(0)
    picture, vectors = torch.rand(2, 3, 32, 32), torch.stack([torch.zeros(17), torch.ones(17)])
    begun = MaskedGenerator(MaskedConfig(32, width=4, blocks=1, residual=True))
    assert torch.allclose(begun(picture, vectors), picture, atol=1e-6)
    assert (with_planes(picture, vectors)[1, 3:] == 1).all()
    faded = with_planes(picture, vectors, windowed=True)
    assert faded[1, 3:, 0].abs().max() == 0
    assert faded[1, 3:, 15:17, 15:17].min() > 0.98

    def told(windowed: bool) -> float:
        """Return how much the vector changes the middle of the first layer's normalised output."""
        torch.manual_seed(0)
        first = MaskedGenerator(MaskedConfig(64, width=4, blocks=1, windowed=windowed)).body[:2]
        still = torch.rand(1, 3, 64, 64)
        with torch.no_grad():
            both = [first(with_planes(still, one[None], windowed)) for one in vectors]
        return float((both[0] - both[1])[..., 28:36, 28:36].abs().mean())

    assert told(windowed=True) > 2 * told(windowed=False)


def test_the_smoothness_and_the_gradient_penalty_by_hand() -> None:
    mask = torch.tensor([[[[0.0, 1.0], [0.5, 0.5]]]])
    assert total_variation(mask) == pytest.approx(1 + 0 + 0.25 + 0.25)

    def score(picture: Tensor) -> Tensor:
        """Slope 3 in one pixel and 4 in another: of length 5."""
        return 3 * picture[:, 0, 0, :1] + 4 * picture[:, 1, 0, 1:2]

    real, generated = torch.randn(2, 4, 3, 2, 2)
    assert gradient_penalty(score, real, generated) == pytest.approx((5 - 1) ** 2)
    curves = torch.randn(2, 6, 32, 15)
    assert gradient_penalty(lambda one: 2 * one[:, 0, :1], *curves) == pytest.approx(1)


def test_the_generators_losses_have_the_authors_weights(people_faces: FaceMaterial) -> None:
    """Unpaired: the wanted units are the next face's, and the way back asks for the face's own."""
    torch.manual_seed(0)
    config = GanimationTraining(train="", size_px=32, batch_size=2, width=4, blocks=1)
    recipe = GanimationRecipe(config, people_faces)
    batch = face_batch(people_faces, 4)
    faces, units, generator = batch["faces"], batch["units"], recipe.networks["generator"]
    assert isinstance(generator, MaskedGenerator)
    wanted = units[[3, 0, 1, 2]]
    assert 0.02 < (recipe.wanted(batch) - wanted).abs().max() <= 0.1
    with torch.no_grad():
        losses = recipe.generator_losses(batch, wanted)
        colour, there = generator.masks(faces, wanted)
        drawn = (1 - there) * colour + there * faces
        colour, back = generator.masks(drawn, units)
        cycle = ((1 - back) * colour + back * drawn - faces).abs().mean()
        scores, read = recipe.networks["critic"](drawn)
        steps = sum(
            float(np.abs(np.diff(mask.numpy(), axis=axis)).sum())
            for mask in (there, back)
            for axis in (2, 3)
        )
    assert losses["adversarial"] == pytest.approx(-float(scores.mean()), rel=1e-4)
    assert losses["units"] == pytest.approx(160 * float((read - wanted).square().mean()), rel=1e-4)
    assert losses["cycle"] == pytest.approx(10 * float(cycle), rel=1e-4)
    assert losses["attention"] == pytest.approx(0.1 * float(there.mean() + back.mean()), rel=1e-4)
    # The authors add 1e-5 of this over their batch of 25.
    assert losses["smooth"] == pytest.approx(25 * 1e-5 * steps / len(faces), rel=1e-4)
    assert losses.keys() == {"adversarial", "units", "cycle", "attention", "smooth"}


def test_pairs_are_compared_with_what_lies_under_the_mask(people_faces: FaceMaterial) -> None:
    config = GanimationTraining(
        train="", size_px=32, batch_size=2, width=4, blocks=1, pair_weight=3
    )
    recipe = GanimationRecipe(config, people_faces)
    drawn = people_faces.draw(np.random.default_rng(0), 4)
    batch = {name: torch.from_numpy(values) for name, values in drawn.items()}
    generator = recipe.networks["generator"]
    assert isinstance(generator, MaskedGenerator)
    with torch.no_grad():
        losses = recipe.generator_losses(batch, recipe.wanted(batch))
        colour, mask = generator.masks(batch["other_faces"], batch["units"])
    weight = np.outer(np.hanning(32), np.hanning(32))
    weight /= weight.mean()
    errors = [
        ((one - batch["faces"]).square().numpy() * weight).mean()
        for one in (colour, blended(batch["other_faces"], colour, mask))
    ]
    assert losses["pairs"] == pytest.approx(3 * np.mean(errors), rel=1e-4)


def test_it_trains_resumes_and_is_driven_by_action_units(tmp_path: Path) -> None:
    weights = train_two_steps("ganimation", tmp_path, SMALL)
    assert run_config(tmp_path / "ganimation.toml", True, ["steps=3"]).step == 3
    settings = RendererSettings(name="ganimation", weights=str(weights), engine="torch")
    renderer = load("renderers", "ganimation").make(settings)
    renderer.prepare(first_frame_target(read_clip(people() / "val" / "other_portrait__01.mp4"), ""))

    def drawn(units: float, intensity: float) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        still = drive(portrait_target().neutral)
        acted = replace(still.expression, action_units=np.full(17, units, np.float32))
        return renderer.render(replace(still, expression=acted, intensity=intensity))

    assert np.array_equal(drawn(0.0, 1.0), drawn(1.0, 0.0))
    assert np.abs(drawn(0.0, 1.0).astype(int) - drawn(1.0, 1.0)).max() > 0
    check_export("ganimation", weights, tmp_path)


def test_single_units_are_driven_alone_and_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = portrait_target(256)
    asked = unit_drive(target, UNITS["smile (12)"], 2 / 3)
    shown = units_of(asked.landmarks, to_face_frame(target.neutral, estimate_pose(target.neutral)))
    smiles = [ACTION_UNITS.index(one) for one in UNITS["smile (12)"]]
    assert asked.expression.action_units[smiles] == pytest.approx(2 / 3)
    assert asked.expression.action_units.sum() == pytest.approx(4 / 3)
    assert shown[smiles] == pytest.approx(2 / 3, abs=0.05)
    photo, sheet = tmp_path / "photo.png", tmp_path / "sheet.png"
    cv2.imwrite(str(photo), portrait()[..., ::-1])
    assert main([str(photo), "--sheet", str(sheet), "--renderer", "warp"]) == 0
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    read = {name.strip(): [float(one) for one in values] for name, *values in rows}
    assert read.keys() == UNITS.keys()
    assert max(values[0] for values in read.values()) < 0.1  # at 0 nothing changes
    assert read["mouth open (25)"][1] < read["mouth open (25)"][3] > 0.5
    height, width = cv2.imread(str(sheet)).shape[:2]
    assert width / height == pytest.approx(9 / 4, rel=0.1)
    assert main([str(tmp_path / "missing.png")]) == 2
    with pytest.raises(SystemExit) as left:
        main([str(photo), "--size", "0"])
    assert left.value.code == 2
    assert "argument --size: " in capsys.readouterr().err


def test_at_intensity_0_no_unit_changes_the_photo() -> None:
    target = portrait_target(256)
    pictures = draw(
        load("renderers", "ganimation").make(RendererSettings(name="ganimation")), target
    )
    assert pictures.keys() == UNITS.keys()
    for kept, *_, changed in pictures.values():
        assert np.array_equal(kept, target.references[0])
        assert (changed != kept).any()


def test_the_shipped_weights_change_the_mouth_of_a_smile_most() -> None:
    renderer = load("renderers", "ganimation").make(RendererSettings(name="ganimation"))
    target = portrait_target(256)
    renderer.prepare(target)
    photo = target.references[0]
    assert np.array_equal(renderer.render(drive(target.neutral)), photo)
    still = drive(target.neutral)
    smiling = acted_units()[EMOTIONS.index("happy")]
    drawn = renderer.render(
        replace(still, expression=replace(still.expression, action_units=smiling))
    )
    change = np.abs(drawn.astype(int) - photo).mean(axis=2)
    mouth = region_mask(target.landmarks[0], LIPS_OUTER, 256) > 0
    assert change[mouth].mean() > 2 * change[~mouth].mean()
