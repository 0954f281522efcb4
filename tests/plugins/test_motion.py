"""MotionGAN: the sphere's maps, its losses, what it learns from clips, and what it draws live."""

from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from reenact_motion import MOTION_GAN, TEXTURE_GAN, MotionGANSettings, TextureRenderer
from reenact_motion.measures import Figures
from reenact_motion.network import CLASSES, NOISE, POINT, MotionGenerator, inner
from reenact_motion.recipe import MotionSampler, build_recipe
from reenact_motion.scaling import main as scaling
from reenact_motion.scaling import plane
from reenact_motion.segments import SAMPLES, UNITS, Segment, deviations_of, find_segments
from reenact_motion.srvf import (
    Curve,
    curve_of,
    distance,
    exp_map,
    karcher_mean,
    log_map,
    srvf,
)
from reenact_motion.srvf import inner as l2
from reenact_motion.texture import AlignedPairs, TextureRecipe, TextureTraining
from reenact_motion.texture import build_recipe as texture_recipe
from torch import Tensor, nn

from reenact.config import RendererSettings
from reenact.errors import ConfigError, ReenactError
from reenact.evaluation.clips import crop_target
from reenact.evaluation.emotions import emotion_drive
from reenact.expression.emotions import EMOTIONS, acted_units, emotion_weights
from reenact.face.action_units import action_unit_basis, action_units
from reenact.face.geometry import canonical_face
from reenact.imaging import to_unit
from reenact.testing.portrait import drive, portrait_target
from reenact.testing.weights import people, train_two_steps
from reenact.training.deformation_transfer import Motion
from reenact.training.faces import acted
from reenact.training.faces.clips import FaceData, LabelledClip, load_acted
from reenact.training.picture_pairs import PictureMaterial
from reenact.training.recipes import build_recipe as recipe_of
from support.emotion_renderers import check_export, check_shipped_weights
from support.portrait_pairs import ShiftedPortrait

RNG = np.random.default_rng(7)


def curves(count: int) -> Curve:
    return np.cumsum(RNG.standard_normal((count, SAMPLES, len(UNITS))), axis=1)


def test_a_curve_and_its_point_on_the_sphere_are_a_round_trip() -> None:
    given = curves(5)
    given -= given[:, :1]
    q, length = srvf(given)
    assert np.allclose(l2(q, q), 1.0)
    assert np.allclose(length, np.linalg.norm(np.diff(given, axis=1), axis=-1).sum(axis=1))
    assert np.abs(curve_of(q, length) - given).max() < 1e-6


def test_the_srvf_of_a_straight_line_by_hand() -> None:
    line = np.linspace(0, 1, 5)[:, None] * np.array([3.0, 4.0])
    q, length = srvf(line)
    assert length == pytest.approx(5.0)
    assert np.allclose(q, [0.6, 0.8])


def test_exp_and_log_are_inverse_to_1e_6_and_keep_the_distance() -> None:
    q = srvf(curves(20))[0]
    mean, others = q[0], q[1:]
    tangent = log_map(mean, others)
    assert np.abs(l2(tangent, mean[None])).max() < 1e-9, "it is orthogonal to the mean"
    assert np.allclose(np.sqrt(l2(tangent, tangent)), distance(mean, others))
    assert np.abs(exp_map(mean, tangent) - others).max() < 1e-6
    assert np.abs(log_map(mean, exp_map(mean, tangent)) - tangent).max() < 1e-6
    assert np.allclose(exp_map(mean, 0 * tangent), mean)


def test_the_mean_lies_half_way_between_two_points_and_its_tangents_cancel() -> None:
    q = srvf(curves(2))[0]
    mean = karcher_mean(q)
    assert distance(mean, q[0]) == pytest.approx(float(distance(q[0], q[1])) / 2, abs=1e-6)
    assert np.abs(log_map(mean, q).mean(axis=0)).max() < 1e-6


def test_the_generator_stays_in_the_tangent_space_of_its_class() -> None:
    generator = MotionGenerator()
    generator.means.normal_()
    emotion = torch.arange(CLASSES)
    made = generator(torch.randn(CLASSES, NOISE), emotion)
    assert made.shape == (CLASSES, *POINT)
    assert inner(made, generator.means).abs().max() < 1e-5


def test_batches_lie_between_motions_of_one_class_and_are_drawn_again_alike() -> None:
    tangents = [np.full((2, *POINT), number, np.float64) for number in range(CLASSES)]
    batches = [MotionSampler(tangents, (2, 16)).draw(np.random.default_rng(3)) for _ in range(2)]
    batch, again = batches
    assert batch["tangent"].shape == (2, 16, *POINT)
    assert np.array_equal(batch["tangent"][:, :, 0, 0], batch["emotion"])
    assert np.array_equal(again["tangent"], batch["tangent"])


def acting(emotion: int, name: str = "anna") -> Motion:
    """Return a clip in which somebody turns from neutral to an emotion."""
    way = 1.4 * np.concatenate([np.zeros(10), np.linspace(0, 1, 40), np.ones(5)])
    units = way[:, None].astype(np.float32) * acted_units()[emotion]
    shapes = canonical_face() + np.tensordot(units, action_unit_basis(), 1)
    return Motion(name, shapes, canonical_face())


def test_a_motion_is_cut_from_neutral_to_the_peak_with_its_mirror_image() -> None:
    happy = EMOTIONS.index("happy")
    first, second = find_segments([acting(happy)])
    assert first.emotion == second.emotion == happy
    assert np.abs(first.curve[0]).max() < 1e-9
    assert 6 / 25 <= first.duration_s <= 40 / 25
    end = deviations_of(first.curve, happy, 12)[-1]
    units = action_units(canonical_face() + end, canonical_face())
    assert emotion_weights(units)[happy] > 0.7


def test_held_out_people_without_motions_are_told() -> None:
    learned = [Segment("a", 1, np.outer(np.linspace(0, 1, 33), np.ones(15)), 1.0)]
    with pytest.raises(ReenactError, match="No clip of the held-out people shows a motion"):
        Figures(learned, [])


def test_clips_without_emotions_cannot_be_learned_from() -> None:
    assert not find_segments([acting(0)])
    with pytest.raises(ReenactError, match="No clip shows a motion from neutral"):
        build_recipe({"train": str(people() / "train"), "val": str(people() / "val")})


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Folders in whose clips somebody acts each emotion."""

    def clips(folder: Path) -> list[Motion]:
        return [acting(number, folder.name) for number in range(1, len(EMOTIONS))]

    monkeypatch.setattr("reenact_motion.recipe.load_motions", clips)
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
    return {name: str(tmp_path / name) for name in ("train", "val")}


def test_two_steps_of_training_change_both_networks_and_give_figures(
    folders: dict[str, str], tmp_path: Path
) -> None:
    recipe = recipe_of("motion_gan", {**folders, "batch_size": 4})
    before = {name: one.state_dict() for name, one in recipe.networks.items()}
    kept = {name: state["layers.0.weight"].clone() for name, state in before.items()}
    batches = recipe.batches(0, 2)
    for step in range(2):
        batch = {key: torch.from_numpy(value) for key, value in batches[step].items()}
        losses = recipe.step(batch, 0.0)
        assert all(np.isfinite(value) for value in losses.values())
    for name, network in recipe.networks.items():
        assert not torch.equal(network.state_dict()["layers.0.weight"], kept[name])
    figures = recipe.validate(recipe.networks["generator"])
    assert figures["walk_nearest"] > figures["people_nearest"]
    assert figures["mean_variety"] == 0
    weights = tmp_path / "motion.safetensors"
    recipe.save(recipe.networks["generator"], weights, {"steps": "2"})
    source = MOTION_GAN.build(MotionGANSettings(weights=str(weights)))
    assert source.motion("happy", 0).shape[1:] == (478, 3)


def test_eq_5_and_6_by_hand(folders: dict[str, str]) -> None:
    """The critic's slope is 3 in one number and 4 in another; the generator makes noughts."""

    class Slope(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.still = nn.Parameter(torch.zeros(1))

        def forward(self, tangent: Tensor, emotion: Tensor) -> Tensor:
            flat = tangent.flatten(1)
            return 3 * flat[:, :1] + 4 * flat[:, 1:2] + 0 * self.still

    class Nought(Slope):
        def forward(self, noise: Tensor, emotion: Tensor) -> Tensor:
            return torch.zeros(len(noise), *POINT) + 0 * self.still

    recipe = build_recipe({**folders, "batch_size": 2, "reconstruction_weight": 3.0})
    recipe.networks = {"generator": Nought(), "critic": Slope()}
    recipe.optimizers = {
        name: torch.optim.SGD(network.parameters(), 0.0)
        for name, network in recipe.networks.items()
    }
    real = torch.full((1, 2, *POINT), 0.25)
    losses = recipe.step({"tangent": real, "emotion": torch.zeros(1, 2, dtype=torch.long)}, 0.0)
    assert losses["critic"] == pytest.approx(0 - 7 * 0.25)
    assert losses["penalty"] == pytest.approx(10 * (5 - 1) ** 2)
    assert losses["adversarial"] == pytest.approx(0)
    assert losses["reconstruction"] == pytest.approx(3 * 0.25)


@pytest.mark.parametrize("emotion", EMOTIONS[1:])
def test_the_shipped_motions_end_in_their_emotion_and_vary(emotion: str) -> None:
    source = MOTION_GAN.build(MotionGANSettings())
    number, face = EMOTIONS.index(emotion), canonical_face()
    ends = [source.motion(emotion, seed)[-1] for seed in range(8)]
    weights = np.stack([emotion_weights(action_units(face + end, face)) for end in ends])
    assert 1 + int(weights.mean(axis=0)[1:].argmax()) == number
    mean = MOTION_GAN.build(MotionGANSettings(variety=0))
    assert np.ptp(ends, axis=0).max() > 0.01
    assert np.array_equal(mean.motion(emotion, 0), mean.motion(emotion, 2))


def test_scaling_finds_places_of_which_the_distances_are() -> None:
    given = np.array([[0.0, 0], [4, 0], [4, 3], [1, 7]])
    distances = np.linalg.norm(given[:, None] - given[None], axis=-1)
    places, kept = plane(distances)
    assert np.allclose(np.linalg.norm(places[:, None] - places[None], axis=-1), distances)
    assert kept == pytest.approx(1)


def test_real_and_drawn_motions_are_put_in_a_plane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def clips(folder: Path) -> list[Motion]:
        return [acting(number, f"person{number}") for number in (1, 5, 7)]

    monkeypatch.setattr("reenact_motion.scaling.load_motions", clips)
    out = tmp_path / "motions.png"
    assert scaling([str(tmp_path), str(out)]) == 0
    told = re.search(r"(\d+) real motions and as many generated", capsys.readouterr().out)
    assert told is not None
    assert int(told[1]) == len(find_segments(clips(tmp_path)))
    drawn = cv2.imread(str(out))
    assert (drawn.min(axis=2) < 200).mean() > 0.002
    folds = tmp_path / "folds.json"
    folds.write_text(json.dumps({"folds": [["somebody"]]}))
    assert scaling([str(tmp_path), str(out), "--folds", str(folds)]) == 2


def test_texture_gans_identity_loss_is_one_minus_the_cosine_to_the_face() -> None:
    """F is a fixed map here: it has nothing to learn, and its features are worked out by hand."""

    class Corner(nn.Module):
        def forward(self, pictures: Tensor) -> Tensor:
            return nn.functional.normalize(pictures[:, :2, 0, 0], dim=1)

    config = TextureTraining(train="", size_px=32, width=4, identity_weight=10.0)
    recipe = TextureRecipe(config, PictureMaterial(ShiftedPortrait(), [], "the portrait"), [])
    recipe.networks["identity"] = Corner()
    recipe.optimizers["identity"] = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.0)
    face, truth, drawn = (torch.zeros(2, 3, 32, 32) for _ in range(3))
    face[:, 0, 0, 0] = 1
    truth[:, 0, 0, 0] = 1
    drawn[0, :2, 0, 0] = torch.tensor([3.0, 4.0])  # cosine .6
    drawn[1, 1, 0, 0] = 1  # cosine 0
    truth.requires_grad_()
    batch = {"reference": face, "truth": truth}
    losses, told = recipe.further_losses(batch, drawn)
    assert float(losses["identity"]) == pytest.approx(10 * (0.4 + 1) / 2)
    assert told["people"] == pytest.approx(np.log(2))  # both pictures are alike to F


def test_texture_gans_reference_is_calm_and_turned_alike() -> None:
    count = 4
    shades = np.arange(count, dtype=np.uint8)[:, None, None, None]
    clip = LabelledClip(
        "one",
        np.broadcast_to(shades, (count, 32, 32, 3)).copy(),
        np.array([[0, 0, 0], [0, 1, 0], [0, 20, 0], [0, 21, 0]], np.float32),
        np.zeros((count, 17), np.float32),
        np.zeros((count, 8), np.float32),
        np.array([0.1, 0.9, 0.0, 0.8], np.float32),
        points=np.zeros((count, 478, 3), np.float32),
    )
    pairs = AlignedPairs([clip]).all()
    assert [int(pair.truth[0, 0, 0]) for pair in pairs] == [0, 1, 2, 3]
    assert [int(pair.reference[0, 0, 0]) for pair in pairs] == [0, 0, 2, 2]


def test_texture_gan_is_validated_by_emotions_that_the_renderer_asks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The network here goes half the way to faces that show them, so the gain must do the rest."""
    monkeypatch.setattr(acted, "LEVELS", (1.0,))
    folder = people() / "train"
    data = FaceData(str(folder), size_px=64, acted_frames=1)
    clip = load_acted(folder, data, {"portrait"})[0]
    assert clip.points is not None
    wanted = torch.from_numpy(to_unit(clip.pictures[1:]))
    asked = []

    class HalfWay(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.share = nn.Parameter(torch.tensor(0.5), requires_grad=False)

        def forward(self, faces: Tensor, maps: Tensor) -> Tensor:
            asked.append(maps)
            return faces + self.share * (wanted[: len(faces)] - faces)

    config = TextureTraining(train="", size_px=64, width=4, gain=2.0)
    pair = ShiftedPortrait().draw(np.random.default_rng(0))
    material = PictureMaterial(ShiftedPortrait(), [pair], "the portrait")
    figures = TextureRecipe(config, material, [clip]).validate(HalfWay())
    assert figures["told"] >= 4 / 7  # at gain 1 none is
    assert 0.7 < figures["calm_ssim"] < 0.97
    assert figures["score"] == figures["ssim"]

    renderer = TEXTURE_GAN.make(RendererSettings(name="texture_gan"))
    assert isinstance(renderer, TextureRenderer)
    target = crop_target("portrait", clip.pictures[0], clip.points[0], "texture_gan")
    renderer.prepare(target)
    maps = next(one for one in asked if len(one) == len(wanted)).numpy()
    for emotion, drawn in zip(EMOTIONS[1:], maps, strict=True):
        shown = renderer.condition(emotion_drive(target, emotion, 1.0))[0]
        assert np.abs(drawn - shown).mean() < 0.03, emotion  # of another emotion it is over .04


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("landmarks", "fused"),
        ("fusion", "x"),
        ("stills", ["x"]),
        ("cache", "x"),
        ("still_share", 0.5),
        ("validation_frames", 2),
    ],
)
def test_texture_gan_refuses_settings_that_it_would_not_read(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"settings\.{key}"):
        texture_recipe({"train": "nowhere", "val": "nowhere", key: value})


def test_texture_gan_trains_and_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = "batch_size = 2\nsize_px = 64\nwidth = 8\naugmentation = []\n"
    small += "frames = 6\nacted_frames = 1\n"  # people of `val` act, too, and are measured
    weights = train_two_steps("texture_gan", tmp_path, small)
    renderer = TEXTURE_GAN.make(RendererSettings(name="texture_gan", weights=str(weights)))
    target = portrait_target(64)
    renderer.prepare(target)
    assert np.array_equal(renderer.render(drive(target.neutral)), target.references[0])
    surprised = renderer.render(emotion_drive(target, "surprised", 1.0))
    assert (surprised != target.references[0]).any()
    check_export("texture_gan", weights, tmp_path)
    check_shipped_weights("texture_gan")
