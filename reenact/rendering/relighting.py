"""The light on a face: a head that turns, turns in its light, which stays where it is.

A picture moved by a mesh takes highlights and shadows along. From the reference alone it is told
how bright skin is that faces this way or that: the logarithm of its luma is fitted by a plane over
the normals, which is Lambert's law for a distant lamp and light from everywhere, to first order
(Basri and Jacobs 2003). A driven face is brighter or darker by as much as its normals have turned.
"""

from __future__ import annotations

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
"""Share of the change that is believed: beards, blushes and hair's shadows look like light."""

MOST: Final = 0.5
"""Logarithm of the gain that a large change tends to."""

_SMALL_PX: Final = 128
_BLUR_PX: Final = 1.5
_DARK_LEVELS: Final = 4.0
"""Added to the luma: of near black, noise decides the logarithm."""

_FACING: Final = -0.25
"""Normals with a greater depth are seen too obliquely."""

_RIDGE: Final = 0.005
_OUTLIER: Final = 0.15
_ROUNDS: Final = 6


class Lighting:
    """How bright the skin of one picture is, by where it faces. Immutable.

    Args:
        slope: (3,), by how much the logarithm of the luma grows along a normal's x, y and z, in
            the camera's axes.
        shade: (468,), what that makes of the picture's own face.
    """

    def __init__(self, slope: Array, shade: Array) -> None:
        self._slope = slope
        self._shade = shade

    @classmethod
    def of(cls, picture: Image, landmarks: Array) -> Lighting:
        """Look at a face.

        Args:
            picture: uint8 (S, S, 3) RGB.
            landmarks: (478, 3) px, of its face.
        """
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
        """Return float32 (468,), how many times as bright the skin is at a driven face's landmarks.

        Args:
            landmarks: (478, 3) px.
            pose: of these.
        """
        change = TRUST * (normals(landmarks, pose) @ self._slope - self._shade)
        return np.asarray(np.exp(MOST * np.tanh(change / MOST)), dtype=np.float32)


def normals(landmarks: Array, pose: Pose) -> Array:
    """Return (468, 3): where the skin at each landmark faces, in the camera's axes, length 1.

    Args:
        landmarks: (478, 3) px.
        pose: of these.
    """
    triangles, around = _surface()
    shape = to_face_frame(landmarks, pose)
    first, second, third = (shape[triangles[:, corner]] for corner in range(3))
    facing = around @ np.cross(second - first, third - first)
    facing /= np.linalg.norm(facing, axis=1, keepdims=True) + 1e-9
    return np.asarray(facing @ pose.rotation.T, dtype=np.float32)


def _plane(facing: Array, bright: Array) -> Array:
    """Return the (3,) slope of (N,) brightness over (N, 3) normals; outliers count for little."""
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
    """Return triangles (T, 3) of the skin, and the (468, T) sum over those around a landmark.

    Around is with its neighbours': landmarks tremble in depth. Their cross products point at the
    camera.
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
    """Return (468,): neither lips nor eyes nor brows."""
    others = (LIPS_OUTER, LIPS_INNER, EYE_LEFT, EYE_RIGHT, BROW_LEFT, BROW_RIGHT)
    plain = np.ones(N_SKIN, np.bool_)
    plain[[landmark for loop in others for landmark in loop]] = False
    return plain
