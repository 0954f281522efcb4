"""The autoencoder: neutral by construction, numpy as torch, files checked, better than plain."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from reenact.errors import ConfigError, ModelError, ReenactError
from reenact.face.action_units import action_unit_basis
from reenact.face.geometry import canonical_face
from reenact.face.regions import lid_gaps
from reenact.models.fusion_network import (
    ARCHITECTURE,
    FusionNetwork,
    shipped_network,
    shipped_path,
    tensor_shapes,
)
from reenact.models.landmark_fusion import LandmarkFusion
from reenact.models.weights import load_model, save_model
from reenact.training.deformation_transfer import DeformationTransfer, load_motions
from reenact.training.landmark_fusion import FusionValidation, build_recipe
from reenact.training.loop import LoopOptions, train
from reenact.types import Array
from support.faces import deviation_of


def random_network(path: Path) -> LandmarkFusion:
    """Write a network with weights in every layer, and return it as the file holds it."""
    torch.manual_seed(1)
    network = LandmarkFusion()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.15)
    save_model(path, network.state_dict(), {"architecture": ARCHITECTURE})
    load_model(path, network, ARCHITECTURE)
    return network


def person(seed: int) -> Array:
    """Return a resting face that differs smoothly from the canonical one."""
    rng = np.random.default_rng(seed)
    face = canonical_face()
    stretch = 1 + rng.uniform(-0.12, 0.12, 3)
    wave = 0.03 * np.sin(face[:, ::-1] * rng.uniform(1, 2.5, 3) + rng.uniform(0, 6, 3))
    return np.asarray(face * stretch + wave, dtype=np.float32)


def acting(seed: int, frames: int = 1) -> Array:
    """Return (frames, 478, 3) deviations of two or three units each."""
    rng = np.random.default_rng(seed)
    units = rng.uniform(0, 1, (frames, 17)) * (rng.random((frames, 17)) < 0.15)
    return np.tensordot(units.astype(np.float32), action_unit_basis(), 1)


def write_clips(folder: Path, people: list[int], frames: int = 30) -> Path:
    """Write landmark files as the data has them, in px."""
    folder.mkdir()
    for seed in people:
        shapes = person(seed) + acting(seed, frames)
        points = shapes * 60 + np.array([128, 110, 0], np.float32)
        np.savez(folder / f"p{seed:03d}__01.npz", landmarks=points.astype(np.float16))
    return folder


def test_numpy_computes_what_torch_computes(tmp_path: Path) -> None:
    network = random_network(tmp_path / "m.safetensors")
    fast = FusionNetwork(tmp_path / "m.safetensors")
    for seed in range(4):  # actors and targets change in turn
        actor, target = person(seed // 2), person(10 + seed % 2)
        deviation = acting(seed)[0]
        with torch.no_grad():
            expected = network(
                *[torch.from_numpy(value)[None] for value in (actor, deviation, target)]
            )[0].numpy()
        assert np.abs(expected - deviation).max() > 1e-3
        np.testing.assert_allclose(fast.deviation(actor, deviation, target), expected, atol=1e-4)


def test_a_resting_actor_leaves_any_target_kernel_exactly(tmp_path: Path) -> None:
    random_network(tmp_path / "m.safetensors")
    fast = FusionNetwork(tmp_path / "m.safetensors")
    still = np.zeros((478, 3), np.float32)
    assert np.array_equal(fast.deviation(person(1), still, person(2)), still)


def test_an_untrained_network_adds_the_deviation() -> None:
    network = LandmarkFusion()
    values = [torch.from_numpy(v)[None] for v in (person(1), acting(1)[0], person(2))]
    assert torch.equal(network(*values), values[1])


@pytest.mark.parametrize("spoil", ["missing", "text", "cut", "other", "shape", "surplus"])
def test_a_wrong_file_is_told_in_one_sentence(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "m.safetensors"
    header = {"format": "reenact-1", "architecture": ARCHITECTURE}
    shapes = tensor_shapes()
    if spoil == "text":
        path.write_text("not a model")
    elif spoil == "cut":
        path.write_bytes(shipped_path().read_bytes()[:5000])
    elif spoil != "missing":
        if spoil == "other":
            header["architecture"] = "warp_unet"
        if spoil == "shape":
            shapes["decoder_in.bias"] = (7,)
        if spoil == "surplus":
            shapes["decoder_end.bias"] = (7,)
        tensors = {name: np.zeros(shape, np.float16) for name, shape in shapes.items()}
        save_file(tensors, path, metadata=header)
    with pytest.raises(ModelError) as caught:
        FusionNetwork(path)
    assert str(caught.value).count(". ") == 0
    assert "m.safetensors" in str(caught.value)
    assert ("check the path, or train it first" in str(caught.value)) == (spoil == "missing")


def test_the_shipped_file_says_what_it_is() -> None:
    facts = shipped_network().facts
    assert facts["architecture"] == ARCHITECTURE
    assert "no one of them in val" in facts["data"]
    assert float(json.loads(facts["figures"])["neutral_iod"]) < 1e-6
    assert shipped_path().stat().st_size < 2_000_000


def test_a_transferred_blink_is_still_a_blink() -> None:
    faces = np.stack([person(seed) for seed in range(3)])
    transfer = DeformationTransfer(faces)
    blink = faces[0] + deviation_of(blink_left=1)
    field = (transfer.fields[1] - transfer.fields[0])[None]
    rests, kernel = faces[:1], transfer.kernel(faces[:1])
    ((deformed, moved),) = transfer.transfer(rests, kernel, blink[None], [field])
    apart = np.linalg.norm(faces[0] - faces[1], axis=1).mean()
    assert np.linalg.norm(deformed[0] - faces[1], axis=1).mean() < 0.4 * apart
    middle = slice(9, 12)
    rest, shut = lid_gaps(deformed[0])[middle], lid_gaps(deformed[0] + moved[0])[middle]
    assert np.all(shut < 0.25 * rest)


def test_a_face_transferred_to_itself_stays() -> None:
    faces = np.stack([person(seed) for seed in range(2)])
    transfer = DeformationTransfer(faces)
    shapes = faces[:1] + acting(3)
    nothing = np.zeros((1, *transfer.fields.shape[1:]), np.float32)
    ((deformed, moved),) = transfer.transfer(
        faces[:1], transfer.kernel(faces[:1]), shapes, [nothing]
    )
    np.testing.assert_allclose(deformed, faces[:1], atol=1e-6)
    np.testing.assert_allclose(moved, shapes - faces[:1], atol=1e-6)


def test_the_recipe_trains_resumes_and_keeps_the_best(tmp_path: Path) -> None:
    settings = {
        "train": str(write_clips(tmp_path / "train", [1, 2, 3, 4])),
        "val": str(write_clips(tmp_path / "val", [11, 12])),
        "batch_size": 8,
    }
    folder = tmp_path / "run"

    def run(steps: int, resume: bool) -> dict[str, float]:
        options = LoopOptions(folder, steps, validate_every=10, workers=0, precision="float32")
        return train(build_recipe(settings), options, resume).best

    run(10, resume=False)
    best = run(40, resume=True)
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [row["step"] for row in history][:2] == [10, 20]
    assert history[-1]["step"] == 40
    assert best["score"] == max(row["score"] for row in history)
    network = FusionNetwork(folder / "best.safetensors")
    moved = network.deviation(person(1), acting(5)[0], person(2))
    assert np.isfinite(moved).all()


def test_batches_are_the_same_for_the_same_seed_and_differ_by_step(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "train", [1, 2, 3])
    val = write_clips(tmp_path / "val", [11, 12])
    recipe = build_recipe({"train": str(folder), "val": str(val), "batch_size": 16})
    first, again = recipe.batches(3, 10)[4], recipe.batches(3, 10)[4]
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    assert np.abs(first["deviation"] - recipe.batches(3, 10)[5]["deviation"]).max() > 0.01
    assert np.abs(first["truth"] - first["deviation"]).max() > 1e-3


def test_people_in_train_and_val_are_refused(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "both", [1, 2])
    with pytest.raises(ReenactError, match="share people: p001, p002"):
        build_recipe({"train": str(folder), "val": str(folder)})


def test_one_person_is_too_few_for_validation(tmp_path: Path) -> None:
    folder = write_clips(tmp_path / "train", [1, 2])
    val = write_clips(tmp_path / "val", [11])
    with pytest.raises(ReenactError, match="at least two people"):
        build_recipe({"train": str(folder), "val": str(val)})


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(ConfigError, match="learning"):
        build_recipe({"train": "a", "val": "b", "learning": 3})


@pytest.mark.faces
def test_the_shipped_network_beats_plain_addition_on_people_it_never_saw(faces_dir: Path) -> None:
    network = shipped_network()

    def transfer(neutral: Array, deviations: Array, target: Array) -> Array:
        return np.stack([network.deviation(neutral, one, target) for one in deviations])

    figures = FusionValidation(load_motions(faces_dir / "val"), frames=12).figures(transfer)
    assert figures["neutral_iod"] == 0
    assert figures["transfer_iod"] < 0.9 * figures["direct_transfer_iod"]
    assert figures["lids"] < figures["direct_lids"]
    assert figures["cycle_iod"] < 0.002
    assert figures["correlation"] > 0.97
