"""The face frame, head pose, crops and landmark maps.

Training and the live path use the same functions. A shape is 478 landmarks in the order of
`topology`. The face frame has its origin between the eye corners and the nose of the canonical
face, x to the image's right, y down and z away from the camera; its unit is the inter-ocular
distance (iod).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.topology import (
    BROW_LEFT,
    BROW_RIGHT,
    EYE_LEFT,
    EYE_RIGHT,
    IRIS_LEFT,
    IRIS_RIGHT,
    LIPS_INNER,
    LIPS_OUTER,
    N_SKIN,
    NOSE,
    OVAL,
    RIGID,
)
from reenact.storage import read_asset
from reenact.types import Array, Pose

Triangles = NDArray[np.int32]

Square = tuple[float, float, float]
"""(left, top, side) px of a picture, edges; it may reach beyond the picture."""

_RIGID: Final = np.array(RIGID)

FACE_SHARE: Final = 0.6
"""Height of the face, as a fraction of the crop's side."""

FACE_MIDDLE: Final = 0.53
"""Vertical position of the middle of the face, as a fraction of the crop's side from its top."""


# --- the canonical face and the face frame ----------------------------------------------------


@lru_cache(maxsize=1)
def canonical_face() -> Array:
    """Return the mean neutral face, float32 (478, 3), face frame, iod, left-right symmetric.

    It is the generalised Procrustes mean of the training clips, made by
    `python -m tools.canonical_face`, and read-only.
    """
    return read_asset("canonical_face.npz")["points"]


@lru_cache(maxsize=1)
def mirror_index() -> NDArray[np.intp]:
    """Return (478,) indices: landmark i of a mirrored face is landmark mirror[i] of the face."""
    points = canonical_face()
    flipped = points * np.array([-1, 1, 1], np.float32)
    distance = np.linalg.norm(flipped[:, None] - points[None], axis=-1)
    return np.asarray(distance.argmin(axis=1), dtype=np.intp)


def mirrored(points: Array, width: float) -> Array:
    """Mirror (..., 478, 3) landmarks, px, of a picture of this width, px."""
    flipped = points[..., mirror_index(), :].copy()
    flipped[..., 0] = (width - 1) - flipped[..., 0]
    return flipped


def mirrored_deviation(deviation: Array) -> Array:
    """Mirror a (..., 478, 3) deviation in the face frame."""
    return deviation[..., mirror_index(), :] * np.array([-1, 1, 1], np.float32)


def estimate_pose(points: Array, template: Array | None = None) -> Pose:
    """Fit the pose that maps the template to the landmarks of a picture.

    Only the landmarks in `topology.RIGID` are used.

    Args:
        points: (478, 3) px.
        template: (478, 3) face-frame shape, such as the person's own neutral; None for the
            canonical face.
    """
    shape = canonical_face() if template is None else template
    scale, rotation, translation = fit_similarity(shape.take(_RIGID, 0), points.take(_RIGID, 0))
    return Pose(rotation.astype(np.float32), translation.astype(np.float32), scale)


def fit_similarity(
    source: NDArray[np.floating[Any]], goal: NDArray[np.floating[Any]]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Fit `goal = scale * rotation @ source + translation` by least squares.

    Orthogonal Procrustes with scale (Umeyama 1991, eq. 40-43).

    Args:
        source: (N, D) points.
        goal: (N, D), the point to which each should be mapped.

    Returns:
        The scale, the proper rotation (D, D) and the translation (D,). The scale is not positive if
        only a reflection would fit.
    """
    a, b = source.astype(np.float64), goal.astype(np.float64)
    a_mean, b_mean = a.sum(axis=0) / len(a), b.sum(axis=0) / len(b)
    a -= a_mean
    b -= b_mean
    singular, u, vt = cv2.SVDecomp(b.T @ a)  # numpy's takes 20 times as long for so few numbers
    sign = np.ones(a.shape[1])
    sign[-1] = math.copysign(1.0, cv2.determinant(u @ vt))
    rotation = np.asarray((u * sign) @ vt, dtype=np.float64)
    scale = float(sign @ singular[:, 0] / max(np.vdot(a, a), 1e-12))
    return scale, rotation, b_mean - scale * rotation @ a_mean


def to_face_frame(points: Array, pose: Pose) -> Array:
    """Return (478, 3) px landmarks in the face frame (iod) of a pose."""
    turned = pose.rotation / np.float32(pose.scale)
    return np.asarray((points - pose.translation) @ turned, dtype=np.float32)


def to_face_frames(points: Array, template: Array | None = None) -> tuple[Array, Array]:
    """Return the shapes and the head rotations of many faces, each in its own face frame.

    Args:
        points: (N, 478, 3) px.
        template: as of `estimate_pose`.

    Returns:
        The shapes (N, 478, 3), iod, and the rotation vectors (N, 3), rad.
    """
    poses = [estimate_pose(one, template) for one in points]
    shapes = [to_face_frame(one, pose) for one, pose in zip(points, poses, strict=True)]
    return np.stack(shapes), np.stack([rotation_vector(pose.rotation) for pose in poses])


def to_image(shape: Array, pose: Pose) -> Array:
    """Return the (478, 3) px landmarks of a face-frame shape (iod) with a pose."""
    turned = pose.rotation.T * np.float32(pose.scale)
    return np.asarray(shape @ turned + pose.translation, dtype=np.float32)


def rotation_vector(rotation: Array) -> Array:
    """Return the axis-angle vector (3,) in radians of a rotation (3, 3)."""
    vector, _ = cv2.Rodrigues(rotation.astype(np.float64))
    return np.asarray(vector, dtype=np.float32).reshape(3)


def rotation_matrix(vector: Array) -> Array:
    """Return the rotation (3, 3) of an axis-angle vector (3,) in radians."""
    matrix, _ = cv2.Rodrigues(vector.astype(np.float64).reshape(3, 1))
    return np.asarray(matrix, dtype=np.float32)


def between_poses(first: Pose, second: Pose, share: float) -> Pose:
    """Interpolate between two poses; share 0 is the first, 1 the second."""
    part = np.float32(share)
    turn = rotation_vector(second.rotation @ first.rotation.T)
    return Pose(
        rotation_matrix(part * turn) @ first.rotation,
        first.translation + part * (second.translation - first.translation),
        first.scale * (second.scale / first.scale) ** share,
    )


def yaw_sine(rotation: Array) -> float:
    """Return the sine of a head's yaw, whatever its roll; the right eye is far if it is positive.

    Args:
        rotation: (3, 3) of the head's pose.
    """
    return -float(rotation[2, 0])


def axis_in_image(rotation: Array, axis: int) -> Array:
    """Return the direction in the image of a head's axis x, 0, or y, 1: (2,) of length 1.

    Args:
        rotation: (3, 3) of the head's pose.
        axis: its number.
    """
    seen = rotation[:2, axis]
    return np.asarray(seen / np.linalg.norm(seen))


def further_turn(start: Pose, end: Pose) -> float:
    """Return by how much the sine of a head's yaw grows to either side; 0 if it turns back.

    Its sign is that of the side, see `yaw_sine`. There the turn widens the cheek.
    """
    before, after = yaw_sine(start.rotation), yaw_sine(end.rotation)
    return math.copysign(max(abs(after) - abs(before), 0), after)


# --- crops ------------------------------------------------------------------------------------


def face_box(points: Array) -> tuple[float, float, float, float]:
    """Return (left, top, right, bottom) px of the landmarks of the skin."""
    across, down = points[:N_SKIN, :2].T.copy()  # contiguous: a quarter of the time
    return float(across.min()), float(down.min()), float(across.max()), float(down.max())


MAX_SHIFT: Final = 0.5
"""Smallest `box_shift` between two successive pictures that one face does not make."""


def box_shift(before: Array, after: Array) -> float:
    """Return how far a face, (478, 3) px, moved or grew, as a fraction of its size before.

    It is the largest shift of any edge of the face's box. A face that moves by a large part of its
    size from one frame to the next is probably another face.
    """
    old, new = face_box(before), face_box(after)
    size = max(old[2] - old[0], old[3] - old[1], 1.0)
    return max(abs(a - b) for a, b in zip(old, new, strict=True)) / size


def choose_face(
    faces: Sequence[Array], size: tuple[int, int], rule: str, followed: Array | None = None
) -> Array:
    """Choose one of several faces as the setting `tracking.face` says.

    Args:
        faces: at least one; (478, 3) px each.
        size: (width, height) px of the picture.
        rule: `largest`, `centre`, or a number counted from the left, from 0; the last one if there
            are fewer.
        followed: one of them; `largest` and `centre` stay with it unless another is clearly better.
    """
    if len(faces) == 1:
        return faces[0]
    if rule.isdigit():
        in_order = sorted(faces, key=lambda points: float(points[:, 0].mean()))
        return in_order[min(int(rule), len(in_order) - 1)]
    middle = np.array(size, np.float32) / 2

    def rank(points: Array) -> float:
        left, top, right, bottom = face_box(points)
        if rule == "largest":  # in the picture: the mesh of a face goes on beyond its edges
            across = max(min(right, size[0]) - max(left, 0), 0)
            value = across * max(min(bottom, size[1]) - max(top, 0), 0)
        else:
            centre = np.array([(left + right) / 2, (top + bottom) / 2])
            value = 1 / (1 + float(np.linalg.norm(centre - middle)))
        return value * (1.5 if points is followed else 1.0)

    return max(faces, key=rank)


def crop_transform(points: Array, size_px: int) -> Array:
    """Return the (2, 3) affine from picture px to the px of the face's square crop.

    The crop is the `face_square`; there is no rotation.
    """
    return square_to_crop(face_square(points), size_px)


def face_square(points: Array) -> Square:
    """Return the square around a face, (478, 3) px, that its usual crop shows.

    The longer side of the face's box takes `FACE_SHARE` of it, as in the training clips.
    """
    left, top, right, bottom = face_box(points)
    side = max(bottom - top, right - left, 1.0) / FACE_SHARE
    x0 = (left + right) / 2 - side / 2 + 0.5  # pixel centres lie on whole numbers
    y0 = (top + bottom) / 2 - side * FACE_MIDDLE + 0.5
    return x0, y0, side


def square_to_crop(square: Square, size_px: int) -> Array:
    """Return the (2, 3) affine from picture px to px of the square resized to size_px."""
    left, top, side = square
    scale = size_px / side
    shift = (scale - 1) / 2  # pixel centres lie on whole numbers
    return np.array(
        [[scale, 0, shift - left * scale], [0, scale, shift - top * scale]], dtype=np.float32
    )


def transform_points(points: Array, affine: Array) -> Array:
    """Apply a (2, 3) similarity to (..., 3) points; z is scaled too."""
    result = np.empty_like(points, dtype=np.float32)
    result[..., :2] = points[..., :2] @ affine[:, :2].T + affine[:, 2]
    result[..., 2] = points[..., 2] * np.float32(np.hypot(affine[0, 0], affine[1, 0]))
    return result


# --- landmark maps ----------------------------------------------------------------------------

_CONTOURS: Final = (
    (OVAL, True),
    (LIPS_OUTER, True),
    (LIPS_INNER, True),
    (EYE_RIGHT, True),
    (EYE_LEFT, True),
    (BROW_RIGHT, True),
    (BROW_LEFT, True),
    (IRIS_RIGHT[1:], True),
    (IRIS_LEFT[1:], True),
    (NOSE[:8], False),
    (NOSE[8:], False),
)


def triangulate(points: Array) -> Triangles:
    """Return the Delaunay triangles (T, 3) of (V, 2) different points.

    OpenCV finds them, because importing SciPy takes a fifth of a second of every start.
    """
    points = points - points.min(axis=0)
    points = (100 * points / points.max()).astype(np.float32)  # it compares with fixed tolerances
    # It begins with a triangle around this box, and leaves out outer triangles if that is near.
    plane = cv2.Subdiv2D((-100_000, -100_000, 200_000, 200_000))
    number = {tuple(point): index for index, point in enumerate(points.tolist())}
    for point in number:
        plane.insert(point)
    corners = np.reshape(plane.getTriangleList(), (-1, 2)).tolist()
    triangles = np.array([number.get(tuple(corner), -1) for corner in corners]).reshape(-1, 3)
    return np.asarray(triangles[triangles.min(axis=1) >= 0], np.int32)


def landmark_map(points: Array, size_px: int) -> NDArray[np.uint8]:
    """Draw the contours of a face, uint8 (size, size): 255 on a line, 0 elsewhere, anti-aliased.

    This is the one-channel key point image J of Fan 2023, eq. 2.
    """
    canvas = np.zeros((size_px, size_px), np.uint8)
    for index, closed in _CONTOURS:
        line = np.round(points[list(index), :2] * 16).astype(np.int32)
        cv2.polylines(canvas, [line], closed, (255,), 1, cv2.LINE_AA, 4)
    return canvas


def region_mask(points: Array, loop: tuple[int, ...], size_px: int) -> NDArray[np.uint8]:
    """Fill a closed loop of landmarks, such as the lips, uint8 (size, size): 0 or 255."""
    return filled_outline(points[list(loop), :2], (size_px, size_px))


_FINER: Final = 8
"""Rows and columns in each px from which its coverage is calculated."""

_EDGE: Final = 9
"""Width, in these rows and columns, of the line along an outline that counts as covered as well, so
that nothing shows between lids and lips that meet."""

_COVERAGE: Final = np.round(np.arange(_FINER**2 + 1) * 255 / _FINER**2).astype(np.uint8)
"""Coverage of a px by how many of its parts are covered."""

_ALL_BYTES: Final = 0x0101010101010101
"""A factor by which the upper byte of a number becomes the sum of all of its bytes."""


def filled_outline(outline: Array, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return how much of each px an outline, (N, 2) px, covers: uint8 (H, W), 255: all of it.

    OpenCV's own anti-aliasing covers as much beside an outline as `_EDGE` does, but it moves level
    edges in steps of a px.
    """
    canvas = np.zeros(shape, np.uint8)
    (left, top), (right, bottom) = outline.min(axis=0).tolist(), outline.max(axis=0).tolist()
    x0, y0 = max(math.floor(left) - 1, 0), max(math.floor(top) - 1, 0)
    x1, y1 = min(math.ceil(right) + 2, shape[1]), min(math.ceil(bottom) + 2, shape[0])
    if x1 <= x0 or y1 <= y0:
        return canvas
    width, height = x1 - x0, y1 - y0
    fine = np.zeros((height * _FINER, width * _FINER), np.uint8)
    points = (outline - (x0, y0) + 0.5) * _FINER - 0.5
    edge = [np.round(points * 16).astype(np.int32)]
    cv2.fillPoly(fine, edge, (1,), cv2.LINE_8, 4)
    cv2.polylines(fine, edge, True, (1,), _EDGE, cv2.LINE_8, 4)
    # The eight bytes of a px's row are summed as one number, in a third of the time of a resize.
    rows = fine.view(np.int64).reshape(height, _FINER, width).sum(axis=1)
    canvas[y0:y1, x0:x1] = _COVERAGE.take(rows * _ALL_BYTES >> 56)
    return canvas


def farthest_points(
    points: Array | NDArray[np.float64],
    chosen: Sequence[int],
    count: int,
    *,
    min_distance: float = 0.0,
    allowed: NDArray[np.bool_] | None = None,
) -> list[int]:
    """Choose points, each the farthest from all those chosen before it (Gonzalez 1985).

    Args:
        points: (N, D).
        chosen: indices of the points already chosen, at least one.
        count: how many more to choose; fewer if the points run out.
        min_distance: stop if no point is this far from those chosen.
        allowed: (N,) the points that may be chosen; None: all.

    Returns:
        The indices of the new ones, in the order in which they were chosen.
    """
    distance = np.full(len(points), np.inf, points.dtype)
    if allowed is not None:
        distance[~allowed] = -1
    taken = list(chosen)
    for index in chosen:
        distance = np.minimum(distance, np.linalg.norm(points - points[index], axis=1))
    while len(taken) < len(chosen) + count:
        distance[taken] = -1
        farthest = int(distance.argmax())
        if distance[farthest] < min_distance:
            break
        taken.append(farthest)
        distance = np.minimum(distance, np.linalg.norm(points - points[farthest], axis=1))
    return taken[len(chosen) :]
