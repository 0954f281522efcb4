from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from reenact.errors import ConfigError, ReenactError
from reenact.face.geometry import estimate_pose, mirrored, to_face_frame, to_image
from reenact.face.segmentation import person_masks
from reenact.imaging import encoded
from reenact.models.warp_unet import WarpUNet
from reenact.models.warp_unet_inputs import MAP_CHANNELS, MapChannel
from reenact.rendering.layers import follow_box, in_box
from reenact.testing.moving_portrait import write_clip
from reenact.training.augmentation import Still, animate
from reenact.training.deformation_transfer import load_motions
from reenact.training.people import (
    PeopleData,
    PictureData,
    describe,
    read_fold,
    read_settings,
    split_people,
)
from reenact.training.picture_pairs import NeutralPairs, load_pictures
from reenact.training.sampling import (
    Batches,
    Clip,
    PairDraw,
    PairSampler,
    load_clips,
    load_stills,
    validation_pairs,
)
from reenact.training.warp_unet import collate, importance
from reenact.types import Array
from support.faces import deviation_of, portrait_target


def write_sliding(folder: Path, name: str, landmarks: Array) -> None:
    """Write a clip of the portrait sliding to the right, with its landmarks."""
    picture = portrait_target().references[0]
    images = [np.roll(picture, 3 * frame, axis=1) for frame in range(len(landmarks))]
    write_clip(folder, name, np.stack(images), landmarks)


def sliding_landmarks(frames: int = 6) -> Array:
    neutral = portrait_target().neutral
    return np.stack([neutral + np.array([frame * 3, 0, 0], np.float32) for frame in range(frames)])


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    write_sliding(folder, "v001__01", sliding_landmarks())
    lost = sliding_landmarks()
    lost[2] = np.nan
    write_sliding(folder, "v002__01", lost)
    return folder


def test_clips_are_loaded_with_their_identity(clips: Path, tmp_path: Path) -> None:
    loaded = load_clips(clips, tmp_path / "cache")
    assert [clip.identity for clip in loaded] == ["v001", "v002"]
    assert loaded[0].images.shape == (6, 256, 256, 3)
    assert loaded[1].usable.tolist() == [0, 1, 3, 4, 5]
    stamps = [path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()]
    load_clips(clips, tmp_path / "cache")
    assert [path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()] == stamps


def test_wrong_data_is_reported(clips: Path, tmp_path: Path) -> None:
    with pytest.raises(ReenactError, match="has no clips"):
        load_clips(tmp_path / "nothing", tmp_path / "cache")
    np.savez(clips / "v001__01.npz", landmarks=np.zeros((3, 478, 3)))
    with pytest.raises(ReenactError, match="6 frames but landmarks for 3"):
        load_clips(clips, tmp_path / "cache")
    for wrong in ((6, 68, 2), (478, 3)):
        np.savez(clips / "v001__01.npz", landmarks=np.zeros(wrong))
        for load in (load_motions, partial(load_clips, cache=tmp_path / "cache")):
            with pytest.raises(ReenactError, match=r"clips need \(frames, 478, 3\)"):
                load(clips)
    np.savez(clips / "v001__01.npz", landmarks=sliding_landmarks(), emotions=[0, 1])
    with pytest.raises(ReenactError, match=r"\(2,\) labels, but landmarks for 6"):
        load_motions(clips)
    for content in (b"text", b"", (clips / "v002__01.npz").read_bytes()[:2000]):
        (clips / "v001__01.npz").write_bytes(content)
        with pytest.raises(ReenactError, match="not a landmark file"):
            load_clips(clips, tmp_path / "cache")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_a_truncated_clip_is_reported(share: float, clips: Path, tmp_path: Path) -> None:
    video = clips / "v002__01.mp4"
    whole = video.read_bytes()
    video.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ReenactError, match=r"v002__01\.mp4 is damaged, or no video"):
        load_clips(clips, tmp_path / "cache")


def sampler(clips: Path, cache: Path, still_share: float = 0.0) -> PairSampler:
    target = portrait_target()
    stills = [Still.of(target.references[0], target.neutral)]
    return PairSampler(load_clips(clips, cache), stills, still_share)


def test_a_batch_is_the_same_for_the_same_step(clips: Path, tmp_path: Path) -> None:
    batches, others = (
        Batches(PairDraw(sampler(clips, tmp_path), collate, 2), seed=5, steps=10) for _ in range(2)
    )
    first, again, other = batches[3], others[3], others[4]
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    assert not np.array_equal(first["truth"], other["truth"])
    assert first["layered"].shape == first["truth"].shape == (2, 3, 160, 160)
    assert first["maps"].shape == (2, MAP_CHANNELS, 80, 80)


@pytest.mark.parametrize("still_share", [0.0, 1.0])
def test_the_layers_are_nearer_to_the_truth_than_the_reference_is(
    clips: Path, tmp_path: Path, still_share: float
) -> None:
    draw = sampler(clips, tmp_path, still_share)
    gains = []
    for seed in range(8):
        pair = draw.draw(np.random.default_rng(seed))
        batch = collate([pair])
        layered, truth = batch["layered"][0], batch["truth"][0]
        face = batch["maps"][0, MapChannel.SKIN].repeat(2, axis=0).repeat(2, axis=1) > 0.5
        corner = follow_box(follow_box(None, pair.reference_landmarks), pair.truth_landmarks)
        shown = in_box(np.asarray(pair.reference), corner, 1)
        before, after = (np.abs(one - truth)[:, face].mean() for one in (shown, layered))
        gains.append(before / max(after, 1 / 128))
    assert np.median(gains) > 1.5


def test_person_masks_follow_flips_and_turns(clips: Path, tmp_path: Path) -> None:
    loaded = load_clips(clips, tmp_path / "cache", with_people=True)
    draw = PairSampler(loaded, [], 0.0)
    pairs = [draw.draw(np.random.default_rng(seed)) for seed in range(6)]
    told = [pair for pair in pairs if pair.person is not None]
    assert len(told) >= 4
    for pair in told:
        assert pair.person is not None
        person = pair.person > 127
        seen = cv2.resize(next(person_masks([pair.reference])), person.shape) > 0.5
        assert (person & seen).sum() / (person | seen).sum() > 0.85
    unknown = PairSampler(load_clips(clips, tmp_path / "cache"), [], 0.0)
    pair = unknown.draw(np.random.default_rng(0))
    assert pair.person is None


def test_an_animated_photo_keeps_its_background() -> None:
    """Only the person moves. Otherwise a generator would learn that walls move."""
    target = portrait_target()
    still = Still.of(target.references[0], target.neutral)
    assert still.person[128, 128] == 255
    wall = still.person < 8
    assert wall.mean() > 0.05
    first = sliding_landmarks()[0]
    pair = animate(still, first, first + np.array([14, 0, 0], np.float32))
    assert np.linalg.norm(pair.reference_landmarks - target.neutral, axis=1).min() > 5
    change = np.abs(pair.reference.astype(int) - pair.truth).max(axis=-1)
    far = cv2.erode(wall.astype(np.uint8), np.ones((41, 41), np.uint8)) > 0
    assert np.percentile(change[far], 95) <= 2
    assert change[still.person > 250].mean() > 4
    assert pair.person is not None
    seen = next(person_masks([pair.reference])) > 0.5
    person = pair.person > 127
    assert (person & seen).sum() / (person | seen).sum() > 0.9


def test_an_animated_photo_has_the_light_of_its_expression() -> None:
    """The renderer would change the light of a reference that has kept the truth's light."""
    target = portrait_target()
    grey = np.full_like(target.references[0], 150)
    still = replace(Still.of(target.references[0], target.neutral), image=grey, background=grey)
    pose = estimate_pose(target.neutral)
    smile = to_face_frame(target.neutral, pose) + deviation_of(smile_left=1.0, smile_right=1.0)
    pair = animate(still, target.neutral, to_image(smile, pose))
    x, y = pair.reference_landmarks[206, :2].round().astype(int)
    assert np.asarray(pair.reference)[y - 2 : y + 3, x - 2 : x + 3].mean() < 142, "a fold"
    batch = collate([pair])
    inside = batch["maps"][0, MapChannel.SKIN].repeat(2, axis=0).repeat(2, axis=1) > 0.5
    change = torch.exp(torch.from_numpy(batch["maps"][:, MapChannel.SHADING]))
    assert change.max() > 1.05, "and back"
    with torch.no_grad():
        lit = WarpUNet().eval()(*(torch.from_numpy(batch[name]) for name in ("layered", "maps")))
    before, after = (
        np.abs(picture - batch["truth"])[0].mean(axis=0)[inside].mean()
        for picture in (batch["layered"], batch["layered"] + lit.numpy())
    )
    assert after < 0.6 * before


def test_flipped_landmarks_swap_sides() -> None:
    points = portrait_target().neutral
    flipped = mirrored(points, 256)
    assert flipped[33, 0] < flipped[263, 0]
    np.testing.assert_allclose(flipped[33, 0], 255 - points[263, 0])


def test_importance_is_highest_at_mouth_and_eyes() -> None:
    points = portrait_target().neutral
    weight = importance(points, 256)
    assert weight.mean() == pytest.approx(1, abs=1e-4)

    def at(index: int) -> float:
        x, y = np.round(points[index, :2] / 2).astype(int)
        return float(weight[y, x])

    assert at(13) > at(1) > weight[2, 2]
    assert at(159) > at(10 if at(10) < at(1) else 1)


def test_a_fold_is_held_out_of_training(clips: Path, tmp_path: Path) -> None:
    folds = tmp_path / "folds.json"
    folds.write_text('{"folds": [["v002"], ["v001"], ["v009"]]}')

    def split(fold: int) -> tuple[list[str], list[str]]:
        data = PeopleData(str(clips), folds=str(folds), held_out_fold=fold)
        train, held_out = split_people(data, lambda folder: load_clips(folder, tmp_path / "cache"))
        return [clip.identity for clip in train], [clip.identity for clip in held_out]

    assert split(0) == (["v001"], ["v002"])
    assert split(1) == (["v002"], ["v001"])
    with pytest.raises(ReenactError, match="leaves nobody"):
        split(2)
    for missing in (3, -1):  # -1 comes from `--fold` of a plugin's command
        with pytest.raises(ReenactError, match="has 3 folds from 0; the last one is 2"):
            read_fold(folds, missing)
    folds.write_text("[]")
    with pytest.raises(ReenactError, match="is not a file of folds"):
        split(0)
    folds.unlink()
    with pytest.raises(ReenactError, match=r"no file .*folds\.json; .* --set settings\.folds= to"):
        split(0)


def test_empty_settings_mean_neither_folds_nor_a_test_fold() -> None:
    named = {"train": "clips", "folds": "folds.json", "test_fold": 1}
    assert read_settings(PeopleData, {**named, "test_fold": 0}).test_fold == 0
    own = read_settings(PeopleData, {**named, "folds": "", "test_fold": ""})
    assert (own.folds, own.test_fold) == ("", None)


def test_a_folder_may_be_named_by_digits() -> None:
    assert read_settings(PeopleData, {"train": 2024, "val": 2025}).train == "2024"


def test_the_people_of_the_test_fold_are_neither_trained_nor_validated_on(
    clips: Path, tmp_path: Path
) -> None:
    write_sliding(clips, "v003__01", sliding_landmarks())
    folds = tmp_path / "folds.json"
    folds.write_text('{"folds": [["v002"], ["v001"], ["v003"], ["v002", "v001"]]}')

    def split(held_out: int, test: int, file: str = str(folds)) -> tuple[list[Clip], list[Clip]]:
        data = PeopleData(str(clips), str(clips), file, held_out, test)
        return split_people(data, lambda folder: load_clips(folder, tmp_path / "cache"))

    train, held_out = split(0, 1)
    assert [clip.identity for clip in train] == ["v003"]
    assert [clip.identity for clip in held_out] == ["v002"]
    data = PeopleData(str(clips), folds=str(folds), held_out_fold=0, test_fold=1)
    assert describe(train, data) == "1 clip of 1 person, folds 0 and 1 held out"
    for test in (0, 3):
        with pytest.raises(ConfigError, match="share people"):
            split(0, test)
    with pytest.raises(ConfigError, match=r"settings\.folds, which is missing"):
        split(0, 1, file="")


def test_photos_of_people_who_are_held_out_are_not_trained_on(clips: Path, tmp_path: Path) -> None:
    """By folds, also if a person of the fold has no clip; by val without folds."""
    folds = tmp_path / "folds.json"
    folds.write_text('{"folds": [["v002"], ["v008"], ["v009"]]}')
    stills, val = tmp_path / "stills", tmp_path / "val"
    stills.mkdir()
    val.mkdir()
    write_sliding(val, "v007__01", sliding_landmarks())
    target = portrait_target()
    for name in ("v001__1", "v002__1", "v007__1", "v008__1", "s001"):
        cv2.imwrite(str(stills / f"{name}.jpg"), target.references[0][..., ::-1])
        np.savez(stills / f"{name}.npz", landmarks=target.neutral)

    def photos(**people: Any) -> int:
        data = PictureData(
            str(clips), stills=(str(stills),), cache=str(tmp_path / "cache"), **people
        )
        return int(load_pictures(data).description.rpartition(", ")[2].split()[0])

    assert photos(folds=str(folds)) == 4
    assert photos(folds=str(folds), test_fold=1) == 3
    assert photos(val=str(val)) == 4


def test_photos_that_are_not_drawn_are_not_counted(clips: Path, tmp_path: Path) -> None:
    target = portrait_target()
    cv2.imwrite(str(tmp_path / "s001.jpg"), target.references[0][..., ::-1])
    np.savez(tmp_path / "s001.npz", landmarks=target.neutral)
    folds, cache = tmp_path / "folds.json", str(tmp_path / "cache")
    folds.write_text('{"folds": [["v002"]]}')
    data = PictureData(str(clips), folds=str(folds), stills=(str(tmp_path),), cache=cache)
    assert load_pictures(data).description.endswith(", 1 still")
    assert load_pictures(data, NeutralPairs).description.endswith(", 0 stills")
    assert load_pictures(replace(data, still_share=0)).description.endswith(", 0 stills")


def test_photos_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    target = portrait_target()
    photo = tmp_path / "s001.jpg"
    cv2.imwrite(str(photo), target.references[0][..., ::-1])
    np.savez(photo.with_suffix(".npz"), landmarks=target.neutral[:468])
    with pytest.raises(ReenactError, match=r"holds \(468, 3\)"):
        load_stills([tmp_path], 64)
    np.savez(photo.with_suffix(".npz"), landmarks=target.neutral)
    for damaged in (photo.read_bytes()[:20], b""):
        photo.write_bytes(damaged)
        with pytest.raises(ReenactError, match=r"s001\.jpg is damaged"):
            load_stills([tmp_path], 64)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="names are text elsewhere")
def test_a_photo_may_have_a_name_that_is_no_text(tmp_path: Path) -> None:
    target = portrait_target()
    photo = tmp_path / os.fsdecode(b"J\xf6rg.jpg")
    photo.write_bytes(encoded(target.references[0], ".jpg"))
    np.savez(photo.with_suffix(".npz"), landmarks=target.neutral)
    assert len(load_stills([tmp_path], 64)) == 1


def test_validation_starts_from_each_clips_first_frame(clips: Path, tmp_path: Path) -> None:
    pairs = list(validation_pairs(load_clips(clips, tmp_path), per_clip=3))
    assert [name for name, _ in pairs] == ["v001__01"] * 3 + ["v002__01"] * 3
    for _, pair in pairs:
        np.testing.assert_allclose(pair.reference_landmarks, sliding_landmarks()[0], atol=0.1)


@pytest.mark.faces
def test_stills_are_cut_as_targets_are(faces_dir: Path) -> None:
    stills = load_stills([faces_dir / "stills" / "art"], 128)
    assert len(stills) > 50
    heights: NDArray[np.float32] = np.array([np.ptp(s.landmarks[:468, 1]) for s in stills])
    assert 60 < np.median(heights) < 80
