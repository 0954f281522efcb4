"""Crops that are widened so that all of the hair moves."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from reenact.config import Settings
from reenact.face.geometry import estimate_pose, to_face_frame, to_image, transform_points
from reenact.live.pipeline import open_reenactor
from reenact.registry import load
from reenact.rendering.compositing import Paster
from reenact.stats import StepTimer
from reenact.targets.builder import resize_target
from reenact.targets.surroundings import with_surroundings
from reenact.testing.portrait import drive, portrait_target
from reenact.types import Image, Pose, Target


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


def test_a_crop_without_surroundings_stays() -> None:
    usual = portrait_target()
    alone = replace(usual, plate=usual.references[0], crop_to_plate=np.eye(2, 3, dtype=np.float32))
    assert with_surroundings(alone) is alone
    wide = with_surroundings(usual)
    assert with_surroundings(wide) is wide


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


def test_the_live_path_widens_crops_that_are_pasted() -> None:
    settings = Settings()
    settings.renderer.size = 256
    for picture, extent in (("plate", 1.25), ("crop", 1.0)):
        settings.output.picture = picture  # type: ignore[assignment]
        reenactor = open_reenactor(settings, portrait_target(), StepTimer(), tracked=False)
        assert reenactor.target.extent == extent
        reenactor.close()
