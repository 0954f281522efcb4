"""Equations 3 to 6 of Fan 2023 by hand, labelled pairs, and the files that are to the letter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from reenact.errors import ReenactError
from reenact.expression.emotions import EMOTIONS, acted_deviations
from reenact.face.geometry import canonical_face
from reenact.models.fusion_network import shipped_network
from reenact.models.landmark_fusion import FreenetFusion
from reenact.testing.weights import people
from reenact.training.deformation_transfer import load_motions
from reenact.training.landmark_fusion import FusionRecipe, FusionSampler, build_recipe
from reenact.training.people import PictureData
from reenact.training.picture_pairs import load_pictures
from reenact.training.recipes import read_training_file
from reenact.types import Array
from support.program import repository

HAPPY, SAD = EMOTIONS.index("happy"), EMOTIONS.index("sad")
PAPER = {
    "batch_size": 4,
    "learning_rate": 1.0,
    "final_rate": 1.0,
    "discriminator_rate": 0.0,
    "lid_weight": 0.0,
    "region_weights": False,
    "clip_norm": 0.0,
    "scripted_share": 0.0,
    "gain": 0.0,
}


class Scaling(nn.Module):
    """Φ that multiplies the source's deviation by one number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, neutral: Tensor, deviation: Tensor, target: Tensor) -> Tensor:
        return self.factor * deviation


class MeanLogit(nn.Module):
    """D_J whose logit is the mean deviation, with a weight that it may learn."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(1.0))

    def forward(self, neutral: Tensor, deviation: Tensor) -> Tensor:
        return self.weight * deviation.mean((1, 2))[:, None]


def labelled_people(folder: Path) -> Path:
    """Write three people of other stature, neutral, happy and, but for the last, sad."""
    folder.mkdir(parents=True)
    for number, emotions in enumerate(([0, HAPPY, SAD], [0, HAPPY, SAD], [0, HAPPY, -1])):
        face = canonical_face() * np.array([1 + 0.1 * number, 1 - 0.05 * number, 1], np.float32)
        own = np.float32(1 - 0.2 * number) * acted_deviations()
        shapes = np.stack([face + own[max(emotion, 0)] for emotion in emotions])
        points = shapes * 60 + np.array([128, 110, 0], np.float32)
        np.savez(
            folder / f"p{number}__01.npz",
            landmarks=points.astype(np.float32),
            emotions=np.array(emotions, np.int8),
        )
    return folder


def recipe_on(folder: Path, **settings: Any) -> FusionRecipe:
    torch.manual_seed(0)
    train = labelled_people(folder / "train")
    val = folder / "val"
    val.mkdir(parents=True)
    for file in train.iterdir():
        (val / f"other_{file.name}").write_bytes(file.read_bytes())
    return build_recipe({"train": str(train), "val": str(val), **PAPER, **settings})


def constant(value: float) -> Tensor:
    return torch.full((4, 478, 3), value)


def test_equations_3_to_6_and_their_weights(tmp_path: Path) -> None:
    """Φ doubles a deviation of .1 where the truth is .05; the critic's logit is the mean."""
    recipe = recipe_on(tmp_path)
    fusion, critic = Scaling(2.0), MeanLogit()
    recipe.networks |= {"fusion": fusion, "discriminator": critic}
    recipe.optimizers |= {
        "fusion": torch.optim.SGD(fusion.parameters(), 1.0),
        "discriminator": torch.optim.SGD(critic.parameters(), 0.0),
    }
    face = torch.from_numpy(canonical_face().copy()).expand(4, -1, -1)
    losses = recipe.step(
        {
            **dict.fromkeys(("neutral", "other", "deformed", "real"), face),
            "deviation": constant(0.1),
            "truth": constant(0.05),
            "real_deviation": constant(0.3),
        },
        0.0,
    )
    softplus = torch.nn.functional.softplus
    generated, real = torch.tensor(0.2), torch.tensor(0.3)
    told = float(softplus(-real) + softplus(generated))  # eq. 3: -log D(x) - log(1 - D(Φ))
    assert losses["critic"] == pytest.approx(told, rel=1e-5)
    assert losses["adversarial"] == pytest.approx(0.1 * float(softplus(-generated)), rel=1e-5)
    assert losses["cycle"] == pytest.approx(10 * (0.4 - 0.1), rel=1e-5)  # eq. 4: there and back
    assert losses["l1"] == pytest.approx(100 * (0.2 - 0.05), rel=1e-5)  # eq. 5
    assert "lids" not in losses
    assert "identity" not in losses
    # Eq. 6: the step follows the slope of the weighted sum, in the factor k = 2 of Φ.
    slope = 100 * 0.1 + 10 * 2 * 2 * 0.1 - 0.1 * 0.1 * float(torch.sigmoid(-generated))
    assert float(fusion.factor.detach()) == pytest.approx(2 - slope, rel=1e-4)


def test_landmark_files_that_are_damaged_or_empty_are_told_or_left_out(tmp_path: Path) -> None:
    nobody = np.full((3, 478, 3), np.nan, np.float32)
    np.savez(tmp_path / "nobody.npz", landmarks=nobody)
    with pytest.raises(ReenactError, match="has no landmark files"):
        load_motions(tmp_path)
    np.savez(tmp_path / "other.npz", points=nobody)
    with pytest.raises(ReenactError, match=r"other\.npz is not a landmark file"):
        load_motions(tmp_path)


def test_one_person_alone_teaches_no_transfer(tmp_path: Path) -> None:
    for folder in ("train", "val"):
        labelled_people(tmp_path / folder)
    for number in (1, 2):
        (tmp_path / "train" / f"p{number}__01.npz").unlink()
    (tmp_path / "train" / "p0__01.npz").rename(tmp_path / "train" / "alone__01.npz")
    with pytest.raises(ReenactError, match="at least two people to transfer between"):
        build_recipe({"train": str(tmp_path / "train"), "val": str(tmp_path / "val"), **PAPER})


def test_people_in_whose_clips_nothing_moves_cannot_be_validated_on(tmp_path: Path) -> None:
    """Without a correlation there is no score, and no weights would be kept."""
    labelled_people(tmp_path / "train")
    (tmp_path / "val").mkdir()
    for name in ("a__1", "b__1"):
        points = np.repeat(canonical_face()[None] * 60 + 128, 8, axis=0)
        np.savez(tmp_path / "val" / f"{name}.npz", landmarks=points)
    with pytest.raises(ReenactError, match="No action unit moves"):
        build_recipe({"train": str(tmp_path / "train"), "val": str(tmp_path / "val"), **PAPER})


def test_a_pair_of_equation_5_is_two_people_with_the_same_label(tmp_path: Path) -> None:
    folder = labelled_people(tmp_path / "people")
    motions = load_motions(folder)
    recipe = recipe_on(tmp_path / "all", batch_size=32)
    batch = FusionSampler(motions, recipe.config).draw(np.random.default_rng(3))
    rests = np.stack([motion.rest for motion in motions])
    whole = np.concatenate([motion.shapes for motion in motions])

    def nearest(shape: Array, known: Array) -> tuple[int, float]:
        apart = np.abs(known - shape).mean((1, 2))
        return int(apart.argmin()), float(apart.min())

    straight = 0
    for row in range(32):
        a, apart = nearest(batch["neutral"][row], rests)
        b, _ = nearest(batch["deformed"][row], rests)
        if apart > 1e-5:  # mirrored
            continue
        straight += 1
        assert a != b
        acted, _ = nearest(batch["neutral"][row] + batch["deviation"][row], whole)
        truly, apart = nearest(batch["deformed"][row] + batch["truth"][row], whole)
        assert (acted // 3, truly // 3) == (a, b)
        assert apart < 1e-4, "the truth is the other's own face"
        assert acted % 3 == truly % 3 > 0, "with the same label"
    assert straight > 5


def test_neutral_labels_give_the_rest_and_pseudo_labels_stand_in(tmp_path: Path) -> None:
    folder = labelled_people(tmp_path / "people")
    (labelled, *_) = load_motions(folder)
    np.testing.assert_array_equal(labelled.rest, labelled.shapes[0])
    assert labelled.emotions is not None
    with np.load(folder / "p0__01.npz") as stored:
        points = stored["landmarks"][[0] * 20 + [1] * 3]
    np.savez(tmp_path / "q__01.npz", landmarks=points)
    (plain,) = load_motions(tmp_path)
    assert plain.emotions is None
    (told,) = load_motions(tmp_path, pseudo_labels=True)
    assert told.emotions is not None
    assert told.emotions[[0, -1]].tolist() == [0, HAPPY]


def test_freenets_network_has_two_critics_and_learns(tmp_path: Path) -> None:
    recipe = recipe_on(
        tmp_path, network="freenet", learning_rate=2e-4, identity_weight=100.0, batch_size=8
    )
    network = recipe.networks["fusion"]
    assert isinstance(network, FreenetFusion)
    assert [layer.out_features for layer in network.source if isinstance(layer, nn.Linear)] == (
        [512] * 6
    )
    widths = [layer.out_features for layer in network.decoder if isinstance(layer, nn.Linear)]
    assert widths == [1024, 1024, 512, 3 * 478]
    batches = recipe.batches(1, 40)
    losses = []
    for number in range(40):
        batch = {name: torch.from_numpy(value) for name, value in batches[number].items()}
        losses.append(recipe.step(batch, 0.0))
    assert {"person", "face"} <= recipe.networks.keys()
    assert {"critic", "identity"} <= losses[0].keys()
    first, last = (np.mean([one["l1"] for one in part]) for part in (losses[:5], losses[-5:]))
    assert last < 0.6 * first
    assert recipe.validate(network)["labelled_iod"] > 0


def test_pictures_may_be_drawn_from_fused_landmarks(tmp_path: Path) -> None:
    train, val = (str(people() / name) for name in ("train", "val"))
    data = PictureData(train, val, cache=str(tmp_path), augmentation=(), still_share=0)
    true, fused = load_pictures(data), load_pictures(data, fusion=shipped_network())
    for one, other in zip(true.held_out, fused.held_out, strict=True):
        np.testing.assert_array_equal(one.truth, other.truth)
        apart = np.linalg.norm(one.truth_landmarks - other.truth_landmarks, axis=-1)[:, None]
        assert 0 < apart.mean() < 2
    drawn = [one.sampler.draw(np.random.default_rng(1)) for one in (true, fused)]
    apart = np.linalg.norm(drawn[0].truth_landmarks - drawn[1].truth_landmarks, axis=-1)
    assert 0 < apart.mean() < 60


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (
            "landmark_fusion_paper",
            {
                **PAPER,
                "batch_size": 8,
                "learning_rate": 2e-4,
                "discriminator_rate": 1e-4,
                "adversarial_weight": 0.1,
                "cycle_weight": 10.0,
                "l1_weight": 100.0,
                "labelled_share": 1.0,
            },
        ),
        (
            "fan2023_paper",
            {
                "size_px": 256,
                "batch_size": 8,
                "width": 64,
                "augmentation": ["flip"],
                "still_share": 0.0,
                "landmarks": "fused",
                "generator_rate": 2e-4,
                "discriminator_rate": 1e-4,
                "adversarial_weight": 1.0,
                "pixel_weight": 100.0,
                "dropout": 0.0,
                "spectral": True,
                "critic_relu": True,
                "critic_sees_landmarks": False,
            },
        ),
    ],
)
def test_the_papers_files_are_to_the_letter(name: str, values: dict[str, Any]) -> None:
    file = read_training_file(repository() / "configs" / "train" / f"{name}.toml")
    paths = {"train", "val", "fusion"}
    assert {key: value for key, value in file.settings.items() if key not in paths} == values
    assert (file.average, file.precision) == (0, "float32")
