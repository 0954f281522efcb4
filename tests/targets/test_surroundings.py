"""Crops that are widened so that all of the hair moves."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
import pytest

from reenact.config import OutputSettings, Settings
from reenact.expression.head_motion import HeadMotion
from reenact.face.geometry import (
    estimate_pose,
    face_box,
    to_face_frame,
    to_image,
    transform_points,
)
from reenact.live.drives import resting_drive
from reenact.live.pipeline import open_reenactor
from reenact.live.prepared_target import prepare_target
from reenact.registry import load
from reenact.rendering.compositing import Paster
from reenact.stats import StepTimer
from reenact.targets.builder import resize_target
from reenact.targets.surroundings import shown_square, with_surroundings
from reenact.testing.portrait import drive, portrait_target
from reenact.types import Array, Image, Pose, Target


def drawn(target: Target, shift: tuple[float, float]) -> Image:
    """Return the whole picture with the head shifted, in shares of the usual crop."""
    renderer = load("renderers", "warp_unet").make(Settings().renderer)
    renderer.prepare(target)
    pose = estimate_pose(target.neutral)
    moved = np.array([*shift, 0], np.float32) * target.usual_size
    there = Pose(pose.rotation, pose.translation + moved, pose.scale)
    picture = renderer.render(drive(to_image(to_face_frame(target.neutral, pose), there)))
    return Paster(target).paste(picture)


def test_a_wider_crop_shows_the_plate_around_the_usual_one() -> None:
    usual = portrait_target()
    wide = with_surroundings(usual)
    assert (wide.crop_size, wide.usual_size) == (320, 256)
    places = [transform_points(one.neutral, one.crop_to_plate) for one in (usual, wide)]
    np.testing.assert_allclose(places[0][:, :2], places[1][:, :2], atol=1e-3)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    true = cv2.warpAffine(wide.plate, wide.crop_to_plate, (320, 320), flags=flags)
    inside = cv2.warpAffine(
        np.ones(wide.plate.shape[:2], np.uint8), wide.crop_to_plate, (320, 320), flags=flags
    )
    difference = np.abs(wide.references[0].astype(int) - true).mean(axis=-1)[inside > 0]
    assert difference.mean() < 3
    assert resize_target(wide, 480).usual_size == 384


def test_a_wider_crop_stays() -> None:
    wide = with_surroundings(portrait_target())
    assert with_surroundings(wide) is wide


def cut_at(target: Target, row: int) -> Target:
    """Return the target with a picture that begins at a row of its crop."""
    picture = target.references[0].copy()
    picture[:row] = picture[row]
    first = round(
        float(transform_points(np.array([[0, row, 0]], np.float32), target.crop_to_plate)[0, 1])
    )
    affine = target.crop_to_plate - np.array([[0, 0, 0], [0, 0, first]], np.float32)
    return replace(
        target, references=picture[None], plate=target.plate[first:], crop_to_plate=affine
    )


def test_a_head_that_the_upper_edge_cuts_is_closed_when_it_comes_down() -> None:
    """Its hair is as wide at the edge as in the whole picture, not as at the cut."""
    whole = portrait_target()
    cut = cut_at(whole, 16)
    left, side = int(cut.crop_to_plate[0, 2]), int(256 * cut.crop_to_plate[0, 0])
    widths = []
    for one in (with_surroundings(whole), with_surroundings(cut), cut):
        picture = drawn(one, (0, 0.25))
        row = picture[len(picture) - len(cut.plate) + 2, left : left + side].astype(int)
        wall = np.median(row[: side // 6], axis=0)
        widths.append(int((np.abs(row - wall).max(axis=1) > 40).sum()))
    true, closed, open_ = widths
    assert abs(closed - true) < 0.6 * abs(open_ - true), widths


def test_hair_above_the_usual_crop_moves_with_the_head() -> None:
    """Hair that stays where it was is as far from the moved head's as the head has moved."""
    usual = portrait_target()
    left, top = usual.crop_to_plate[:, 2].astype(int)
    side = int(usual.crop_size * usual.crop_to_plate[0, 0])
    band = np.s_[max(top - side // 10, 0) : top + side // 10, left : left + side]
    shift = 0.15
    still = {}
    for one in (usual, with_surroundings(usual)):
        moved, rest = drawn(one, (shift, 0)), drawn(one, (0, 0))
        step = round(shift * side)
        followed = np.abs(moved[band][:, step:].astype(int) - rest[band][:, :-step])
        still[one.extent] = followed.mean()
    assert still[1.25] < 0.6 * still[1.0], still


@pytest.mark.parametrize("picture", ["plate", "crop"])
def test_the_live_path_widens_the_crops_of_every_kind_of_picture(
    picture: Literal["plate", "crop"],
) -> None:
    settings = Settings()
    settings.renderer.size = 256
    settings.output.picture = picture
    reenactor = open_reenactor(settings, portrait_target(), StepTimer(), tracked=False)
    assert reenactor.target.extent == 1.25
    if picture == "crop":
        assert reenactor.size == (256, 256)
    reenactor.close()


def test_a_picture_of_the_crop_alone_is_a_part_of_the_whole_picture() -> None:
    """Its upper edge shows the hair of the moved head, as the whole picture does."""
    usual = portrait_target()
    affine = usual.crop_to_plate
    top = np.s_[:40]
    drawn_alone: list[Image] = []
    shown: list[Image] = []
    for one in (usual, with_surroundings(usual)):
        renderer = load("renderers", "warp_unet").make(Settings().renderer)
        rest = resting_drive(one.neutral)
        for kind, pictures in (("crop", drawn_alone), ("plate", shown)):
            output = OutputSettings.model_validate({"picture": kind})
            prepared = prepare_target(one, "warp_unet", renderer, rest, output)
            crop = renderer.render(drive(one.neutral + np.array([30, 20, 0], np.float32)))
            pictures.append(prepared.picture(crop, None, None, output)[0])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    part = cv2.warpAffine(shown[1], affine, (256, 256), flags=flags)
    tight, wide = (np.abs(one.astype(int) - part)[top].mean() for one in drawn_alone)
    assert drawn_alone[1].shape == (256, 256, 3)
    assert wide < 0.6 * tight


def narrowed(target: Target, width: int) -> Target:
    """Return the target with a picture of this many columns, the face's middle in its middle."""
    middle = transform_points(target.neutral, target.crop_to_plate)[:, 0].mean()
    first = max(round(float(middle) - width / 2), 0)
    affine = target.crop_to_plate - np.array([[0, 0, first], [0, 0, 0]], np.float32)
    return replace(
        target, plate=np.ascontiguousarray(target.plate[:, first:][:, :width]), crop_to_plate=affine
    )


@pytest.mark.parametrize("wide", [True, False])
def test_the_square_around_the_face_stays_within_the_picture(wide: bool) -> None:
    whole = portrait_target()
    px = float(whole.crop_to_plate[0, 0])
    sides = []
    for one in (whole, cut_at(whole, 40), narrowed(whole, round(200 * px))):
        target = with_surroundings(one) if wide else one
        left, top, side = shown_square(target)
        sides.append(side)
        corners = np.array([[left, top, 0], [left + side - 1, top + side - 1, 0]], np.float32)
        low, high = transform_points(corners, target.crop_to_plate)[:, :2]
        assert (low > -0.75 * px).all()
        assert (high < np.array(target.plate.shape[1::-1]) - 1 + 0.75 * px).all()
        face = target.neutral[:, :2]
        assert (face > [left, top]).all()
        assert (face < np.array([left, top]) + side).all()
    np.testing.assert_allclose(sides, [256, 216, 200], atol=1)


def test_the_square_of_a_face_at_the_edge_is_whole() -> None:
    whole = portrait_target()
    px = float(whole.crop_to_plate[0, 0])
    first = round(0.35 * whole.plate.shape[1])
    affine = whole.crop_to_plate - np.array([[0, 0, first], [0, 0, 0]], np.float32)
    for columns in (round(70 * px), round(120 * px)):
        plate = np.ascontiguousarray(whole.plate[:, first:][:, :columns])
        left, top, side = shown_square(replace(whole, plate=plate, crop_to_plate=affine))
        assert min(left, top) >= 0
        assert max(left, top) + side <= whole.crop_size


def test_beyond_a_narrow_picture_no_second_face_appears() -> None:
    """The surroundings repeat what lies between face and edge, not the face."""
    whole = portrait_target()
    width = round(160 * float(whole.crop_to_plate[0, 0]))
    narrow = narrowed(whole, width)
    numbered = np.broadcast_to(np.arange(width, dtype=np.uint8)[:, None], narrow.plate.shape)
    wide = with_surroundings(replace(narrow, plate=np.ascontiguousarray(numbered)))
    face = transform_points(wide.neutral, wide.crop_to_plate)[:, 0]
    left, right = wide.references[0][100, :30, 0], wide.references[0][100, -30:, 0]
    assert 1 < left.max() < 0.5 * face.min()
    assert right.min() > face.max() + 0.5 * (width - face.max())


def moved_head(target: Target, shift: tuple[float, float]) -> Array:
    """Return how the target's head moves with the actor's, px, which moves far that way."""
    rest = Pose(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), 60.0)
    there = replace(rest, translation=np.array([*shift, 0], np.float32) * 600)
    pose = estimate_pose(target.neutral)
    head = HeadMotion(pose, target.neutral, target.headroom)
    return head.follow(there, rest, Settings().fusion).translation[:2] - pose.translation[:2]


@pytest.mark.parametrize("shift", [(-1, 0), (1, 0), (0, -1), (0, 1)])
def test_a_head_moves_as_far_in_a_wider_crop(shift: tuple[float, float]) -> None:
    usual = portrait_target()
    far = moved_head(usual, shift)
    assert far @ shift > 0.1 * usual.crop_size
    np.testing.assert_allclose(moved_head(with_surroundings(usual), shift), far, atol=0.01)


def test_a_head_whose_forehead_the_upper_edge_cuts_does_not_come_down() -> None:
    """A photo that shows hair lets it come down as far as that hair reaches."""
    usual = portrait_target()
    _, top, _, bottom = face_box(usual.neutral)
    high, falls = bottom - top, []
    for share in (0.1, 0.2, 0.3):  # of the face's height, that is left above it
        cut = cut_at(usual, round(top - share * high))
        assert cut.headroom == pytest.approx(share * high, abs=2)
        falls.append(moved_head(with_surroundings(cut), (0, 1))[1])
    assert falls[0] < 0.1
    assert 2 < falls[1] < falls[2] < moved_head(usual, (0, 1))[1]
    assert moved_head(cut, (0, -1)) == pytest.approx(moved_head(usual, (0, -1)), abs=0.01)
