"""Landmarks placed by hand, for drawings and animals whose face no tracker finds.

A file gives the positions of a few named points (`POINTS`). The 478 landmarks follow from them: a
similarity places the canonical face on the points, and a thin-plate spline (Bookstein 1989) deforms
it to match them. A file can also give all 478 landmarks. Left and right are the viewer's.

    [points]                        # TOML; the same in JSON: {"points": {"nose_tip": [268, 240]}}
    left_eye_outer = [135, 105]     # px from the picture's top left corner, x right, y down
    left_eye_inner = [208, 143]
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reenact.config import read_toml
from reenact.errors import ConfigError, SourceError, TargetError
from reenact.face.geometry import canonical_face, fit_similarity
from reenact.face.topology import N_LANDMARKS
from reenact.storage import expanded
from reenact.targets.clip_files import load_landmarks
from reenact.types import Array

POINTS: Final[Mapping[str, int]] = {
    "left_eye_outer": 33,
    "left_eye_inner": 133,
    "left_eye_top": 159,
    "left_eye_bottom": 145,
    "right_eye_outer": 263,
    "right_eye_inner": 362,
    "right_eye_top": 386,
    "right_eye_bottom": 374,
    "left_pupil": 468,
    "right_pupil": 473,
    "left_brow": 105,
    "right_brow": 334,
    "nose_tip": 1,
    "mouth_left": 61,
    "mouth_right": 291,
    "lips_top": 0,
    "lips_bottom": 17,
    "mouth_top": 13,
    "mouth_bottom": 14,
    "chin": 152,
    "forehead": 10,
    "left_cheek": 234,
    "right_cheek": 454,
}
"""The landmark of each named point. `mouth_top` and `mouth_bottom` are on the inner edges of the
lips; the cheeks are where the face's outline passes the nose."""

REQUIRED: Final = (
    "left_eye_outer",
    "left_eye_inner",
    "right_eye_outer",
    "right_eye_inner",
    "nose_tip",
    "mouth_left",
    "mouth_right",
    "chin",
)

_STIFFNESS: Final = 1e-3
"""Smoothing of the spline: trades the distance to the points for less deformation."""

_MAX_PX: Final = 20_000.0

_MIN_ASPECT: Final = 0.1
"""Minimum extent of a face across its longest direction, relative to the extent along it."""


def read_manual_landmarks(path: Path) -> Array:
    """Read landmarks from a file, float32 (478, 3) px of the picture.

    Args:
        path: TOML or JSON with `points` (see `POINTS`) or with `landmarks`, a list of 478 [x, y] or
            [x, y, z]; or an .npz with `landmarks` (478, 2) or (478, 3).

    Raises:
        TargetError: the file is missing or damaged, a required point is missing, a point is
            unknown, or the points do not form a face.
    """
    path = expanded(path)
    try:
        content = _read(path)
        if "landmarks" in content:
            return _complete(np.asarray(content["landmarks"], dtype=np.float32), path)
        points = content.get("points")
        if not isinstance(points, Mapping):
            raise TargetError(
                f"{path} has neither `points` nor `landmarks`; write the points under [points], "
                "such as nose_tip = [268, 238]."
            )
        return fit_landmarks({str(name): _place(name, place) for name, place in points.items()})
    except FileNotFoundError as error:
        raise TargetError(f"There is no file {path}; check the path.") from error
    except (ConfigError, SourceError) as error:  # their messages name the file
        raise TargetError(str(error)) from error
    except (OSError, ValueError, TypeError) as error:
        raise TargetError(f"{path} is not a readable file of landmarks: {error}") from error


def fit_landmarks(points: Mapping[str, tuple[float, float]]) -> Array:
    """Return the (478, 3) px landmarks of a face from some of its (x, y) points by name.

    Raises TargetError if a name is unknown, one of `REQUIRED` is missing, or points coincide or lie
    on one line.
    """
    from scipy.interpolate import RBFInterpolator

    unknown = sorted(points.keys() - POINTS.keys())
    if unknown:
        raise TargetError(f"There is no point {unknown[0]!r}; known points: {', '.join(POINTS)}.")
    missing = [name for name in REQUIRED if name not in points]
    if missing:
        raise TargetError(f"These points are missing: {', '.join(missing)}.")
    goal = np.array(list(points.values()), np.float64)
    face = canonical_face().astype(np.float64)
    known = face[[POINTS[name] for name in points], :2]
    distances = np.linalg.norm(goal[:, None] - goal[None], axis=-1)
    if distances[np.triu_indices(len(goal), 1)].min() < 1:
        raise TargetError("Two of the points lie in the same place; move one of them.")
    _check_spread(goal)
    scale, turn, shift = _upright_similarity(known, goal)
    laid = face.copy()
    laid[:, :2] = scale * face[:, :2] @ turn.T + shift
    laid[:, 2] *= scale
    start = laid[[POINTS[name] for name in points], :2] / scale
    spline = RBFInterpolator(
        start, goal / scale - start, smoothing=_STIFFNESS, kernel="thin_plate_spline"
    )
    laid[:, :2] += spline(laid[:, :2] / scale) * scale
    return laid.astype(np.float32)


def _upright_similarity(
    source: NDArray[Any], goal: NDArray[Any]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return scale, (2, 2) rotation and (2,) translation of the least squares fit.

    Raises TargetError if only a reflection would fit.
    """
    scale, rotation, translation = fit_similarity(source, goal)
    if scale <= 0:
        raise TargetError(
            "The points do not form a face; are left and right, or up and down, swapped?"
        )
    return scale, rotation, translation


def _read(path: Path) -> Mapping[str, Any]:
    kind = path.suffix.lower()
    if not path.is_file():
        raise FileNotFoundError(path)
    if kind == ".npz":
        return {"landmarks": load_landmarks(path)}
    content = json.loads(path.read_text("utf-8-sig")) if kind == ".json" else read_toml(path)
    if not isinstance(content, Mapping):
        raise ValueError("it is not a table.")
    return content


def _place(name: str, place: Any) -> tuple[float, float]:
    try:
        x, y = (float(value) for value in place)
    except (TypeError, ValueError) as error:
        raise TargetError(f"The point {name} is {place!r}; write [x, y] in px.") from error
    if not (abs(x) < _MAX_PX and abs(y) < _MAX_PX):
        raise ValueError(f"[{x}, {y}] lies outside any picture.")
    return x, y


def _complete(points: Array, path: Path) -> Array:
    if points.shape == (N_LANDMARKS, 2):
        face = canonical_face()
        scale, _, _ = _upright_similarity(face[:, :2], points)
        points = np.concatenate([points, face[:, 2:] * np.float32(scale)], axis=1)
    if points.shape != (N_LANDMARKS, 3) or not (np.abs(points) < _MAX_PX).all():
        raise TargetError(
            f"{path} holds {points.shape} landmarks; (478, 2) or (478, 3) in px are needed."
        )
    _check_spread(points[:, :2])
    return np.ascontiguousarray(points, dtype=np.float32)


def _check_spread(points: NDArray[Any]) -> None:
    """Raise TargetError if (N, 2) points lie on one line or in one place."""
    along, across = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if across <= _MIN_ASPECT * along:
        raise TargetError("The points lie on one line; place them on a face.")
