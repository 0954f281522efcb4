"""The portrait that comes with scikit-image, as the real tracker sees it."""

from __future__ import annotations

from contextlib import closing
from functools import lru_cache

from reenact.config import TrackingSettings
from reenact.face.face_search import find_face
from reenact.face.geometry import crop_transform, transform_points
from reenact.face.mediapipe_tracker import MediaPipeTracker
from reenact.imaging import crop_image, invert_affine
from reenact.live.drives import still_expression
from reenact.types import Array, Drive, Image, Landmarks, Target


@lru_cache(maxsize=1)
def portrait() -> Image:
    """Return Eileen Collins, photographed by NASA: 512 x 512 px, the face about 100 px high."""
    from skimage import data

    image: Image = data.astronaut()  # type: ignore[no-untyped-call]  # scikit-image has no types
    return image


@lru_cache(maxsize=1)
def portrait_landmarks() -> Landmarks:
    """Return her landmarks, as the real tracker finds them in a photo."""
    with closing(MediaPipeTracker(TrackingSettings(), static=True)) as tracker:
        found = find_face(portrait(), tracker)
    assert found is not None
    return found


def portrait_target(size_px: int = 256) -> Target:
    """Return a target made of the portrait, without the target store."""
    points = portrait_landmarks().points
    affine = crop_transform(points, size_px)
    neutral = transform_points(points, affine)
    return Target(
        name="portrait",
        references=crop_image(portrait(), affine, size_px)[None],
        landmarks=neutral[None],
        neutral=neutral,
        plate=portrait(),
        crop_to_plate=invert_affine(affine),
    )


def drive(landmarks: Array, time_s: float = 0.0, dt_s: float = 0.04) -> Drive:
    """Return a drive with these (478, 3) landmarks alone, px of the crop."""
    return Drive(landmarks, still_expression(), time_s=time_s, dt_s=dt_s)
