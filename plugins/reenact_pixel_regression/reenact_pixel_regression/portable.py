"""Pixel regression by numpy alone: this file goes with an exported model.

    python pixel_regression.py MODEL.npz PHOTO.npy LANDMARKS.npy EMOTION INTENSITY OUT.npy

A picture is uint8 (H, W, 3) RGB of any size; landmarks are those of MediaPipe FaceMesh, px. The
face is brought into the model's frame by a thin-plate spline through some of its landmarks. There
each pixel and channel has a table of 256 outputs for the 256 values it may have. What the table
adds to a pixel is carried back and added to the photo, so that the photo keeps its own detail.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

LEVELS = 256

GREY_LEVELS = 6
"""Levels that the channels of a grey picture differ by at most, on average."""

Array = Any
"""An array of numpy; the shape is in the doc of each use."""


def spline_map(source: Array, goal: Array, size: tuple[int, int]) -> Array:
    """Return where a thin-plate spline takes each pixel, float32 (H, W, 2), x and y.

    The spline takes the points source (N, 2) to goal (N, 2). It is smooth, so it is computed on a
    grid of at most 65 × 65 places, and interpolated.

    Args:
        source: (N, 2) px.
        goal: (N, 2) px of another picture.
        size: (width, height) px of the result.
    """
    width, height = size
    columns, rows = min(width, 65), min(height, 65)
    x, y = np.meshgrid(np.linspace(0, width - 1, columns), np.linspace(0, height - 1, rows))
    coarse = thin_plate(source, goal, np.stack([x.ravel(), y.ravel()], axis=1))
    at = np.linspace(0, columns - 1, width)
    down = np.linspace(0, rows - 1, height)
    return _stretch(_stretch(coarse.reshape(rows, columns, 2), down, 0), at, 1)


def thin_plate(source: Array, goal: Array, points: Array) -> Array:
    """Map (M, 2) points by the thin-plate spline that takes source (N, 2) to goal (N, 2)."""
    size = np.float64(np.ptp(source, axis=0).max())
    source, points = source / size, points / size  # a well-conditioned system
    count = len(source)
    system = np.zeros((count + 3, count + 3))
    # Points that coincide, as those of closed eyes in a small picture, need not be met exactly.
    system[:count, :count] = _bend(source, source) + 1e-5 * np.eye(count)
    system[:count, count:] = np.column_stack([np.ones(count), source])
    system[count:, :count] = system[:count, count:].T
    right = np.zeros((count + 3, 2))
    right[:count] = goal
    weights = np.linalg.solve(system, right)
    affine = weights[count] + points @ weights[count + 1 :]
    return np.asarray(_bend(points, source) @ weights[:count] + affine, np.float32)


def sample(picture: Array, places: Array) -> Array:
    """Sample (H, W, ...) bilinearly at (M, 2) places, float32 (M, ...); edges are repeated."""
    height, width = picture.shape[:2]
    x = np.clip(places[:, 0], 0, width - 1)
    y = np.clip(places[:, 1], 0, height - 1)
    left, top = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    shape = (-1,) + (1,) * (picture.ndim - 2)
    fx, fy = (x - left).reshape(shape), (y - top).reshape(shape)
    upper = picture[top, left] * (1 - fx) + picture[top, left + 1] * fx
    lower = picture[top + 1, left] * (1 - fx) + picture[top + 1, left + 1] * fx
    return np.asarray(upper * (1 - fy) + lower * fy, np.float32)


def tabulate(knots: Array) -> Array:
    """Return the table (256, ...) of outputs, uint8, through knots (L, ...) in 0..1.

    The knots are the outputs for L evenly spaced input values, the first 0 and the last 255; two
    describe a linear regression exactly.
    """
    place = np.arange(LEVELS) * ((len(knots) - 1) / (LEVELS - 1))
    below = np.minimum(place.astype(int), len(knots) - 2)
    share = (place - below).reshape(-1, *(1,) * (knots.ndim - 1))
    values = knots[below] * (1 - share) + knots[below + 1] * share
    return np.round(np.clip(values, 0, 1) * (LEVELS - 1)).astype(np.uint8)


def look_up(table: Array, picture: Array) -> Array:
    """Return the output of each pixel and channel of an aligned picture, uint8 (S, S, 3).

    Args:
        table: uint8 (256, S, S, 3).
        picture: uint8 (S, S, 3).
    """
    pixels = picture.size
    index = picture.reshape(-1).astype(np.intp)
    index *= pixels
    index += np.arange(pixels)
    return np.take(table.reshape(-1), index).reshape(picture.shape)


def change(table: Array, picture: Array) -> Array:
    """Return what an expression adds to an aligned picture, float32 (S, S, 3), levels.

    What is added to a grey picture is grey, although the channels are regressed one by one.
    """
    added = np.subtract(look_up(table, picture), picture, dtype=np.float32)
    if np.ptp(picture, axis=2).mean() < GREY_LEVELS:
        added[...] = added.mean(axis=2, keepdims=True)
    return added


def weight(points: Array, side: int) -> Array:
    """Return how much of the change counts, (S, S) 0 to 1: all on the face, none far off it.

    Args:
        points: (N, 2) the model's landmarks, px; the ellipse of their box counts as the face.
        side: S, px.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    y, x = np.mgrid[:side, :side]
    places = (np.stack([x, y], axis=-1) - (low + high) / 2) / ((high - low) / 2)
    fade = np.clip((1.3 - np.sqrt((places**2).sum(axis=-1))) / 0.3, 0, 1)
    return np.asarray(fade * fade * (3 - 2 * fade), np.float32)


def aligned(photo: Array, points: Array, frame: Array, side: int) -> Array:
    """Bring a face into the model's frame, uint8 (S, S, 3).

    Args:
        photo: uint8 (H, W, 3) RGB.
        points: (N, 2) px of the photo.
        frame: (N, 2) px, where the frame has them.
        side: S, px.
    """
    shrink = int(np.ptp(points, axis=0).max() / np.ptp(frame, axis=0).max())
    if shrink > 1:  # first average squares of pixels, so that none is skipped
        height, width = (photo.shape[n] // shrink * shrink for n in (0, 1))
        squares = photo[:height, :width].reshape(
            height // shrink, shrink, width // shrink, shrink, 3
        )
        photo, points = squares.mean(axis=(1, 3)), (points + 0.5) / shrink - 0.5
    places = spline_map(frame, points, (side, side))
    return np.round(sample(photo, places.reshape(-1, 2))).astype(np.uint8).reshape(side, side, 3)


def carried(added: Array, points: Array, frame: Array, size: tuple[int, int]) -> Array:
    """Carry what is added in the frame back to a photo, float32 (H, W, C); 0 off the frame.

    Args:
        added: (S, S, C) in the frame.
        points: (N, 2) px of the photo.
        frame: (N, 2) px of the frame.
        size: (width, height) px of the photo.
    """
    places = spline_map(points, frame, size).reshape(-1, 2)
    inside = ((places >= 0) & (places <= added.shape[0] - 1)).all(axis=1)
    result = np.zeros((len(places), added.shape[2]), np.float32)
    result[inside] = sample(added, places[inside])
    return result.reshape(size[1], size[0], -1)


def express(photo: Array, landmarks: Array, model: Any, emotion: str, intensity: float) -> Array:
    """Return a photo, uint8 (H, W, 3) RGB of any size, with an emotion.

    Args:
        photo: uint8 (H, W, 3) RGB.
        landmarks: (478, 2 or 3) px of the photo.
        model: what `numpy.load` returns for an exported model.
        emotion: one of the model's.
        intensity: 0 leaves the photo as it is; 1 is the expression that was learned.
    """
    names = [str(name) for name in model["emotions"]]
    if emotion == "neutral":
        return photo.copy()
    if emotion not in names:
        raise ValueError(f"The model has no emotion {emotion!r}, but {', '.join(names)}.")
    number = names.index(emotion)
    straight = np.linspace(0, 1, model["knots"].shape[1], dtype=np.float32)
    scale = model["scale"][number]
    knots = straight[:, None, None, None] + model["knots"][number] * scale
    points = np.asarray(landmarks, np.float64)[model["index"], :2]
    frame = model["points"].astype(np.float64)
    side = knots.shape[1]
    face = aligned(photo, points, frame, side)
    added = change(tabulate(knots), face) * weight(frame, side)[..., None]
    changed = photo + intensity * carried(added, points, frame, (photo.shape[1], photo.shape[0]))
    return np.round(np.clip(changed, 0, LEVELS - 1)).astype(np.uint8)


def _stretch(values: Array, places: Array, axis: int) -> Array:
    """Interpolate linearly at fractional indices along an axis."""
    before = np.minimum(places.astype(int), values.shape[axis] - 2)
    share = (places - before).astype(np.float32)
    share = share.reshape(-1, 1, 1) if axis == 0 else share.reshape(1, -1, 1)
    low, high = np.take(values, before, axis), np.take(values, before + 1, axis)
    return low + (high - low) * share


def _bend(first: Array, second: Array) -> Array:
    """Return r² log r of all distances r, (N, M)."""
    squares = ((first[:, None] - second[None]) ** 2).sum(axis=-1)
    return 0.5 * squares * np.log(np.maximum(squares, 1e-12))


if __name__ == "__main__":
    if len(sys.argv) != 7:
        sys.exit("Give MODEL.npz PHOTO.npy LANDMARKS.npy EMOTION INTENSITY OUT.npy.")
    place, photo_at, landmarks_at, wanted, strength, out = sys.argv[1:]
    try:
        with np.load(place) as stored:
            drawn = express(
                np.load(photo_at), np.load(landmarks_at), dict(stored), wanted, float(strength)
            )
        np.save(Path(out), drawn)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
