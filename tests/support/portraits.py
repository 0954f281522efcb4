"""Faces and targets for tests, made from the one portrait that comes with scikit-image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import PIL.ExifTags
import PIL.Image

from reenact.face.geometry import canonical_face, transform_points
from reenact.testing.portrait import portrait
from reenact.types import Array, Image, Target

NOSE_PX = np.array([223.0, 131.0])
"""The tip of the astronaut's nose."""


def astronaut() -> Image:
    """Return the portrait that comes with scikit-image, a copy of its own."""
    return portrait().copy()


def nose_on_plate(target: Target) -> Array:
    """Return where the tip of the target's nose is on its plate, (2,) px."""
    return transform_points(target.landmarks[0], target.crop_to_plate)[1, :2]


def on_canvas(image: Image, size: tuple[int, int], corner: tuple[int, int]) -> Image:
    """Lay a picture onto a grey one of (width, height) px, its top left at (x, y)."""
    canvas = np.full((size[1], size[0], 3), 110, np.uint8)
    x, y = corner
    canvas[y : y + image.shape[0], x : x + image.shape[1]] = image
    return canvas


def turned(image: Image, degrees: float, middle: tuple[float, float] = (224, 116)) -> Image:
    """Turn a picture about the astronaut's face, edges repeated."""
    affine = cv2.getRotationMatrix2D(middle, degrees, 1.0)
    size = (image.shape[1], image.shape[0])
    return np.asarray(
        cv2.warpAffine(image, affine, size, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def write_jpeg(path: Path, image: Image, exif_orientation: int = 1) -> Path:
    """Store an RGB picture with an EXIF orientation."""
    exif = PIL.Image.Exif()
    exif[PIL.ExifTags.Base.Orientation] = exif_orientation
    PIL.Image.fromarray(image).save(path, quality=95, exif=exif)
    return path


def smooth_picture(size: tuple[int, int], seed: int = 0) -> Image:
    """Return a soft pattern of (width, height) px, levels 40 to 215."""
    coarse = np.random.default_rng(seed).uniform(40, 215, (8, 12, 3)).astype(np.float32)
    resized = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(resized, 40, 215), dtype=np.uint8)


def with_two_pictures(target: Target, name: str) -> Target:
    """Return a target of that name whose picture is there twice."""
    return replace(
        target,
        name=name,
        references=np.repeat(target.references, 2, axis=0),
        landmarks=np.repeat(target.landmarks, 2, axis=0),
    )


def box_target(
    plate: Image,
    left: float,
    top: float,
    side: float,
    *,
    crop_px: int = 256,
    name: str = "somebody",
) -> Target:
    """Return a target whose crop covers a square of the plate; edges in px of the plate."""
    scale = side / crop_px
    shift = (scale - 1) / 2
    crop_to_plate = np.array([[scale, 0, left + shift], [0, scale, top + shift]], np.float32)
    crop = cv2.warpAffine(
        plate,
        crop_to_plate,
        (crop_px, crop_px),
        flags=cv2.INTER_AREA | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    face: Array = canonical_face() * np.float32(crop_px / 5) + np.float32(crop_px / 2)
    return Target(
        name=name,
        references=np.asarray(crop, dtype=np.uint8)[None],
        landmarks=face[None],
        neutral=face,
        plate=plate,
        crop_to_plate=crop_to_plate,
        metadata={"consent": "generated"},
    )
