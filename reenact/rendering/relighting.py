"""Relighting: a turning head changes its shading, because the light stays in place.

The logarithm of the skin's luma in the reference is fitted by a linear function of the normal:
Lambert's law for a distant lamp and ambient light to first order (Basri and Jacobs 2003). A driven
face gets brighter or darker as its normals turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from reenact.face.geometry import (
    Triangles,
    canonical_face,
    estimate_pose,
    to_face_frame,
    triangulate,
)
from reenact.face.topology import (
    BROW_LEFT,
    BROW_RIGHT,
    EYE_LEFT,
    EYE_RIGHT,
    LIPS_INNER,
    LIPS_OUTER,
    N_SKIN,
)
from reenact.types import Array, Image, Pose

TRUST: Final = 0.75
"""Share of the estimated change that is applied: beards, blushes and shadows of hair look like
shading."""

MAX_LOG_GAIN: Final = 0.5
"""Asymptote of the logarithm of the gain."""

_SMALL_PX: Final = 128
_BLUR_PX: Final = 1.5
_DARK_LEVELS: Final = 4.0
"""Added to the luma, because noise dominates the logarithm near black."""

_FACING: Final = -0.25
"""Normals with a greater z are seen too obliquely."""

_RIDGE: Final = 0.005
_OUTLIER: Final = 0.15
_ROUNDS: Final = 6


@dataclass(frozen=True, slots=True)
class Lighting:
    """Brightness of the skin in one picture as a function of its orientation. Immutable.

    Attributes:
        slope: (3,), gradient of the logarithm of luma over the normal, in camera axes.
        shade: (468,), the resulting logarithm at each landmark of that picture.
    """

    slope: Array
    shade: Array

    @classmethod
    def of(cls, picture: Image, landmarks: Array) -> Lighting:
        """Estimate the light on the face in a uint8 (S, S, 3) RGB picture; (478, 3) px."""
        small = cv2.resize(picture, (_SMALL_PX, _SMALL_PX), interpolation=cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
        luma = cv2.GaussianBlur(grey, (0, 0), _BLUR_PX)
        scale = np.float32(_SMALL_PX / len(picture))
        places = (landmarks[:N_SKIN, None, :2] + 0.5) * scale - 0.5
        across, down = places[..., 0], places[..., 1]
        seen = cv2.remap(luma, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        facing = normals(landmarks, estimate_pose(landmarks))
        skin = np.flatnonzero(_is_plain_skin() & (facing[:, 2] < _FACING))
        bright = np.log(seen[skin, 0] + _DARK_LEVELS)
        slope = _plane(facing[skin], bright)
        return cls(slope, facing @ slope)

    def gain(self, landmarks: Array, pose: Pose) -> Array:
        """Return the factors, (468,), by which the skin at driven landmarks changes brightness."""
        change = TRUST * (normals(landmarks, pose) @ self.slope - self.shade)
        return np.asarray(np.exp(MAX_LOG_GAIN * np.tanh(change / MAX_LOG_GAIN)), dtype=np.float32)


def normals(landmarks: Array, pose: Pose) -> Array:
    """Return the (468, 3) unit normals of the skin at (478, 3) landmarks, in camera axes."""
    triangles, around = _surface()
    shape = to_face_frame(landmarks, pose)
    first, second, third = (shape[triangles[:, corner]] for corner in range(3))
    facing = around @ np.cross(second - first, third - first)
    facing /= np.linalg.norm(facing, axis=1, keepdims=True) + 1e-9
    return np.asarray(facing @ pose.rotation.T, dtype=np.float32)


def _plane(facing: Array, bright: Array) -> Array:
    """Fit (N,) brightness linearly over (N, 3) normals, robustly, and return the (3,) slope."""
    design = np.concatenate([np.ones((len(facing), 1)), facing], axis=1)
    ridge = np.diag([0.0, _RIDGE, _RIDGE, _RIDGE]) * max(len(facing), 1)
    ridge[0, 0] = 1e-6
    weights = np.ones(len(facing))
    for _ in range(_ROUNDS):
        weighted = (design * weights[:, None]).T
        found = np.linalg.solve(weighted @ design + ridge, weighted @ bright)
        weights = 1 / (1 + ((bright - design @ found) / _OUTLIER) ** 2)
    return np.asarray(found[1:], dtype=np.float32)


@lru_cache(maxsize=1)
def _surface() -> tuple[Triangles, Any]:
    """Return the skin's triangles (T, 3), and a (468, T) matrix that sums over nearby triangles.

    Nearby includes the triangles of a landmark's neighbours, because landmarks are noisy in depth.
    Cross products of the triangles' edges point at the camera.
    """
    triangles = triangulate(canonical_face()[:N_SKIN, :2])[:, [0, 2, 1]]
    corners = np.repeat(np.arange(len(triangles)), 3)
    shape = (N_SKIN, len(triangles))
    of = csr_matrix((np.ones(len(corners), np.float32), (triangles.ravel(), corners)), shape)
    near = of @ of.T
    near.data[:] = 1
    return triangles, (near @ of).tocsr()


@lru_cache(maxsize=1)
def _is_plain_skin() -> NDArray[np.bool_]:
    """Return a (468,) mask of landmarks that are not on lips, eyes or brows."""
    others = (LIPS_OUTER, LIPS_INNER, EYE_LEFT, EYE_RIGHT, BROW_LEFT, BROW_RIGHT)
    plain = np.ones(N_SKIN, np.bool_)
    plain[[landmark for loop in others for landmark in loop]] = False
    return plain
