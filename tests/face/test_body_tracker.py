from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from reenact.evaluation.clips import read_clip
from reenact.face.body_placement import hair, head_borne, reference_bodies, torso
from reenact.face.body_tracker import NECK, BodyTracker
from reenact.face.geometry import estimate_pose, rotation_matrix, transform_points
from reenact.face.segmentation import person_masks
from reenact.face.shoulders import shoulder_points
from reenact.face.skull import hair_middle, hair_motion, turned_at_neck
from reenact.face.topology import CHIN
from reenact.testing.portrait import portrait, portrait_landmarks, portrait_target
from reenact.types import Array, Image, PartMotion


def moved_picture(motion: Array) -> Image:
    """Return the portrait moved as `PartMotion` says, about the pivot of the torso."""
    points = portrait_landmarks().points
    iod = estimate_pose(points).scale
    pivot = points[CHIN, :2] + np.array([0, NECK * iod])
    affine = cv2.getRotationMatrix2D((0, 0), -math.degrees(motion[2]), math.exp(motion[3]))
    affine[:, 2] = pivot + motion[:2] * iod - affine[:, :2] @ pivot
    border = cv2.BORDER_REPLICATE
    moved = cv2.warpAffine(portrait(), affine, (512, 512), borderMode=border)
    return np.asarray(moved, np.uint8)


def test_the_motion_of_the_torso_is_found() -> None:
    tracker, landmarks = BodyTracker(), portrait_landmarks().points
    first = tracker.track(portrait(), landmarks).torso
    assert first is not None
    assert not first.motion.any()
    for share in np.linspace(0.2, 1, 5):
        motion = np.float32(share) * np.array([0.3, -0.2, 0.08, 0.06], np.float32)
        seen = tracker.track(moved_picture(motion), landmarks).torso
        assert seen is not None
        assert seen.since == first.since
        np.testing.assert_allclose(seen.motion, motion, atol=0.02)


def test_the_motion_of_the_hair_is_found_whatever_the_landmarks_say() -> None:
    """The whole picture moves; once the landmarks do so, too, once they stay, once they exceed."""
    landmarks = portrait_landmarks().points
    iod = estimate_pose(landmarks).scale
    for exceed in (1.0, 0.0, 1.3):
        tracker = BodyTracker()
        first = tracker.track(portrait(), landmarks).hair
        assert first is not None
        np.testing.assert_allclose(first.motion, 0, atol=1e-6)
        for share in np.linspace(0.2, 1, 5):
            shift = np.float32(share) * np.array([0.15, -0.1], np.float32)
            picture = moved_picture(np.array([*shift, 0, 0], np.float32))
            moved = landmarks + np.array([*(exceed * iod * shift), 0], np.float32)
            seen = tracker.track(picture, moved).hair
            assert seen is not None
            assert seen.since == first.since
            np.testing.assert_allclose(seen.motion, [*shift, 0, 0], atol=0.02)


def test_hair_and_torso_move_each_on_its_own() -> None:
    tracker, landmarks = BodyTracker(), portrait_landmarks().points
    below = round(float(landmarks[CHIN, 1]) + 0.25 * estimate_pose(landmarks).scale)
    first = tracker.track(portrait(), landmarks)
    for share in np.linspace(0.25, 1, 4):
        motion = np.float32(share) * np.array([0.3, 0.1, 0, 0], np.float32)
        picture = portrait().copy()
        picture[below:] = moved_picture(motion)[below:]
        seen = tracker.track(picture, landmarks)
        for part, begun, expected in (
            (seen.torso, first.torso, motion),
            (seen.hair, first.hair, 0 * motion),
        ):
            assert part is not None
            assert begun is not None
            assert part.since == begun.since
            np.testing.assert_allclose(part.motion, expected, atol=0.03)


def test_a_hand_before_the_torso_hardly_matters_and_a_cut_begins_anew() -> None:
    tracker, landmarks = BodyTracker(), portrait_landmarks().points
    first = tracker.track(portrait(), landmarks).torso
    hidden = portrait().copy()
    hidden[380:480, 200:300] = 128
    seen = tracker.track(hidden, landmarks).torso
    assert first is not None
    assert seen is not None
    np.testing.assert_allclose(seen.motion, 0, atol=0.02)
    other = np.ascontiguousarray(portrait()[:, ::-1])
    mirrored = landmarks.copy()
    mirrored[:, 0] = 511 - mirrored[:, 0]
    found = [tracker.track(other, mirrored) for _ in range(60)]
    assert found[0].torso is None
    parts: list[PartMotion | None] = [found[-1].torso, found[-1].hair]
    for part in parts:
        assert part is not None
        assert part.since != first.since
        np.testing.assert_allclose(part.motion, 0, atol=1e-3)


def test_the_working_size_follows_a_face_that_comes_or_goes() -> None:
    picture, points = portrait(), portrait_landmarks().points
    iod = estimate_pose(points).scale
    tracker = BodyTracker()
    for size in (200.0, 60.0, 200.0):
        wide = cv2.resize(picture, None, fx=size / iod, fy=size / iod)
        canvas = np.zeros((2000, 2000, 3), np.uint8)
        canvas[: len(wide), : wide.shape[1]] = wide[:2000, :2000]
        landmarks = (points + 0.5) * np.float32(size / iod) - 0.5
        for _ in range(2):
            assert tracker.track(canvas, landmarks).torso is not None, size
        assert 24 < size / tracker._shrink < 80


def scaled(size_px: float) -> tuple[Image, Array]:
    """Return the portrait, and its landmarks, at this inter-ocular distance."""
    points = portrait_landmarks().points
    factor = size_px / estimate_pose(points).scale
    wide = cv2.resize(portrait(), None, fx=factor, fy=factor)
    canvas = np.zeros((1600, 1600, 3), np.uint8)
    canvas[: len(wide), : wide.shape[1]] = wide[:1600, :1600]
    return canvas, (points + 0.5) * np.float32(factor) - 0.5


@pytest.mark.parametrize("nearest_px", [150.0, 250.0])
def test_who_leans_in_or_out_is_followed_without_beginning_anew(nearest_px: float) -> None:
    tracker = BodyTracker()
    first = tracker.track(*scaled(200.0))
    for size_px in np.geomspace(200, nearest_px, 8):
        seen = tracker.track(*scaled(size_px))
        for part, begun in ((seen.torso, first.torso), (seen.hair, first.hair)):
            assert part is not None
            assert begun is not None
            assert part.since == begun.since, size_px
            assert part.motion[3] == pytest.approx(math.log(size_px / 200), rel=0.2, abs=0.02)


def test_a_body_that_is_hidden_for_a_moment_is_known_again_and_after_a_cut_it_is_not() -> None:
    tracker, landmarks = BodyTracker(), portrait_landmarks().points
    seen = [tracker.track(portrait(), landmarks) for _ in range(35)]
    other = np.ascontiguousarray(portrait()[:, ::-1])
    assert all(tracker.track(other, landmarks).torso is None for _ in range(5))
    again = tracker.track(portrait(), landmarks)
    tracker.reset()
    anew = tracker.track(moved_picture(np.array([0.3, 0, 0, 0], np.float32)), landmarks)
    for before, after, cut in (
        (seen[-1].torso, again.torso, anew.torso),
        (seen[-1].hair, again.hair, anew.hair),
    ):
        assert before is not None
        assert after is not None
        assert cut is not None
        assert before.since == after.since != cut.since
        np.testing.assert_allclose(after.motion, 0, atol=0.01)
        np.testing.assert_allclose(cut.motion, 0, atol=1e-5)


def test_without_a_person_there_is_no_body() -> None:
    tracker = BodyTracker()
    plain = np.full((512, 512, 3), 90, np.uint8)
    assert tracker.track(plain, portrait_landmarks().points) == (None, None)


def test_a_body_that_is_not_found_is_searched_for_again_but_not_in_every_picture(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The segmentation takes as long as a picture has."""
    searched: list[object] = []

    def counted(pictures: list[Image]) -> Iterator[Array]:
        searched.append(pictures)
        return person_masks(pictures)

    monkeypatch.setattr("reenact.face.body_tracker.person_masks", counted)
    tracker, landmarks = BodyTracker(), portrait_landmarks().points
    plain = np.full((512, 512, 3), 90, np.uint8)
    for _ in range(60):
        tracker.track(plain, landmarks)
    assert 2 <= len(searched) <= 4
    found = [tracker.track(portrait(), landmarks) for _ in range(40)]
    assert found[-1].torso is not None
    assert found[-1].hair is not None
    searched.clear()
    for _ in range(60):
        tracker.track(portrait(), landmarks)
    assert not searched


def test_pictures_of_another_size_begin_anew() -> None:
    tracker, landmarks = BodyTracker(), portrait_landmarks().points
    for left, bottom in ((0, 512), (0, 400), (20, 512)):
        picture = np.ascontiguousarray(portrait()[:bottom, left:])
        moved = landmarks - np.array([left, 0, 0], np.float32)
        before, after = (tracker.track(picture, moved).torso for _ in range(2))
        assert before is not None
        assert after is not None
        assert before.since == after.since
        np.testing.assert_allclose(after.motion, 0, atol=1e-5)


def test_the_body_of_another_reference_is_known() -> None:
    """Between the two the person leans in so far that the tracker begins anew."""
    target = portrait_target()
    pictures, landmarks, motions = [target.references[0]], [target.neutral], [np.eye(2, 3)]
    for across, roll, growth in ((0.3, 0.0, math.log(1.5)), (0.2, 0.05, 0.0)):
        motion = np.array([across, 0.1, roll, growth], np.float32)
        scale = estimate_pose(target.neutral).scale
        affine = torso(motion, target.neutral, scale, 256).motion.astype(np.float64)
        affine_px = affine.copy()
        affine_px[:, 2] = 256 * affine[:, 2] + 0.5 * (affine[:, :2].sum(axis=1) - 1)
        border = cv2.BORDER_REPLICATE
        picture = cv2.warpAffine(target.references[0], affine_px, (256, 256), borderMode=border)
        pictures.append(np.asarray(picture, np.uint8))
        landmarks.append(transform_points(target.neutral, affine_px.astype(np.float32)))
        motions.append(affine)
    object.__setattr__(target, "references", np.stack(pictures))
    object.__setattr__(target, "landmarks", np.stack(landmarks))
    bodies = reference_bodies(target)
    for body in bodies:
        assert body.hair is not None
        np.testing.assert_allclose(body.hair.motion, np.eye(2, 3), atol=0.01)
    still, near, moved = (body.torso for body in bodies)
    assert still is not None
    np.testing.assert_allclose(still.motion, motions[0], atol=0.01)
    assert near is not None
    assert math.hypot(*near.motion[0, :2]) == pytest.approx(1.5, rel=0.02), "as near as the head"
    assert moved is not None
    np.testing.assert_allclose(moved.motion, motions[2], atol=0.03)


def test_torso_and_shoulders_of_a_real_clip_agree(faces_dir: Path) -> None:
    """Seated before a wall, the man sways: tracker and pose model see the same motion."""
    clip = read_clip(faces_dir / "train" / "v102__01.mp4")
    numbers = range(0, 60, 4)
    tracker, moved = BodyTracker(), []
    for number in range(60):
        picture = np.ascontiguousarray(clip.images[number])
        seen = tracker.track(picture, np.ascontiguousarray(clip.landmarks[number])).torso
        assert seen is not None
        moved.append(seen.motion)
    shoulders = np.stack(
        [
            points[:, :2].mean(axis=0)
            for points in shoulder_points(clip.images[n] for n in numbers)
            if points is not None
        ]
    )
    iod = estimate_pose(clip.landmarks[0]).scale
    apart = (shoulders - shoulders[0]) / iod - np.stack([moved[n][:2] for n in numbers])
    assert len(shoulders) == len(numbers)
    assert np.median(np.abs(apart)) < 0.1
    assert np.ptp(np.stack(moved), axis=0)[:2].max() > 0.1


def test_the_right_shoulder_comes_first_in_px_of_the_picture() -> None:
    """The picture is not square, and the shoulders are lower than they are wide apart."""
    picture = np.ascontiguousarray(portrait()[:, 30:400])
    (found,) = shoulder_points([picture])
    assert found is not None
    (right_x, right_y, _), (left_x, left_y, _) = found
    chin = portrait_landmarks().points[CHIN] - (30, 0, 0)
    assert 0 < right_x < chin[0] < left_x < 370
    assert chin[1] < min(right_y, left_y) <= max(right_y, left_y) < chin[1] + 120
    assert found[:, 2].min() > 0.9
    assert list(shoulder_points([np.zeros_like(picture)])) == [None]


@pytest.mark.parametrize("share", [0.0, 0.4])
def test_a_torso_turns_about_the_base_of_the_neck(share: float) -> None:
    neutral = portrait_target().neutral
    iod_px = estimate_pose(neutral).scale
    body = torso(np.array([0, 0, 0.2, 0.1], np.float32), neutral, iod_px, 256, share)
    pivot = (neutral[CHIN, :2] + 0.5 + (0, NECK * iod_px)) / 256
    np.testing.assert_allclose(body.motion[:, :2] @ pivot + body.motion[:, 2], pivot, atol=1e-5)
    assert body.share == share


def test_hair_turns_about_its_middle() -> None:
    pose = estimate_pose(portrait_target().neutral)
    moved = hair(np.array([0, 0, 0.2, 0.1], np.float32), pose, pose.scale, 256).motion
    middle = (hair_middle(pose) + 0.5) / 256
    np.testing.assert_allclose(moved[:, :2] @ middle + moved[:, 2], middle, atol=1e-5)


def test_a_head_takes_the_torso_along_unless_it_turns_about_the_neck() -> None:
    neutral = portrait_target().neutral
    start = estimate_pose(neutral)
    shift = np.float32(start.scale) * np.array([0.2, -0.1, 0], np.float32)
    aside = replace(start, translation=start.translation + shift)
    np.testing.assert_allclose(head_borne(neutral, start, aside), [0.2, -0.1, 0, 0], atol=1e-5)
    nearer = head_borne(neutral, start, replace(start, scale=1.2 * start.scale))
    assert nearer[3] == pytest.approx(math.log(1.2))
    nod = turned_at_neck(start, rotation_matrix(np.array([0.3, 0.2, 0], np.float32)))
    np.testing.assert_allclose(head_borne(neutral, start, nod), 0, atol=0.06)


def test_a_hand_that_passes_before_the_hair_does_not_take_it_along(faces_dir: Path) -> None:
    clip = read_clip(faces_dir / "train" / "v115__01.mp4")
    noise = np.random.default_rng(0).integers(60, 220, (24, 24, 3), np.uint8)
    pattern = cv2.resize(noise, (120, 120), interpolation=cv2.INTER_CUBIC)[:70]
    hand = (0.3 * pattern + 0.7 * np.array([190, 140, 120])).astype(np.uint8)
    tracker, before, seen_frames = BodyTracker(), None, 0
    for number in range(60):
        picture, points = clip.images[number].copy(), np.ascontiguousarray(clip.landmarks[number])
        if 25 <= number < 45:
            left, top = (points[10, :2] - (130 - 2 * number, 60)).astype(int)
            picture[max(top, 0) : top + 70, max(left, 0) : left + 120] = hand[
                max(-top, 0) :, max(-left, 0) :
            ]
        pose, hair = estimate_pose(points), tracker.track(picture, points).hair
        if hair is not None and before is not None and before[1].since == hair.since:
            moved = hair.motion - before[1].motion - hair_motion(before[0], pose)
            assert np.abs(moved[:2]).max() < 0.06
        before = None if hair is None else (pose, hair)
        seen_frames += hair is not None
    assert seen_frames > 30
