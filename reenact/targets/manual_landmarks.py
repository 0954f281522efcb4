"""Landmarks placed by hand, for drawings and animals that the tracker does not recognise.

A file gives the positions of a few named points (`POINTS`). The 478 landmarks follow from them: a
thin-plate spline (Bookstein 1989) deforms a face to match them. That is the tracked face, or the
canonical one, placed by a similarity, if the points suffice for that (`REQUIRED`). A file can also
give all 478 landmarks. Left and right are the viewer's.

    [points]                        # TOML; the same in JSON: {"points": {"nose_tip": [268, 240]}}
    left_eye_outer = [135, 105]     # px from the picture's top left corner, x right, y down
    left_eye_inner = [208, 143]
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from reenact.config import read_toml
from reenact.errors import ConfigError, SourceError, TargetError
from reenact.face.geometry import canonical_face, estimate_pose, fit_similarity
from reenact.face.topology import EYE_LEFT, EYE_RIGHT, IRIS_LEFT, IRIS_RIGHT, N_LANDMARKS
from reenact.storage import expanded
from reenact.targets.clip_files import load_landmarks
from reenact.types import Array, Pose

Points = Mapping[str, tuple[float, float]]
"""Places (x, y) in px of a picture, by the names of `POINTS`."""

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
    "left_iris_edge": 471,
    "right_iris_edge": 474,
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
lips; the cheeks are where the face's outline passes the nose. An `iris_edge` is any place on the
edge of an iris."""

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

_EYES: Final = {"left_eye_": EYE_RIGHT, "right_eye_": EYE_LEFT}
"""The outline of each eye by the prefix of its points."""

_ABOVE_EYES: Final = {
    "left_brow": ("left_eye_",),
    "right_brow": ("right_eye_",),
    "forehead": ("left_eye_", "right_eye_"),
}
"""Points above the eyes, and the eyes that they keep their distance from."""

_OF_IRIS: Final = ("pupil", "iris_edge")
"""Ends of the names of points that move an iris alone."""

_IRISES: Final = {"left_": IRIS_RIGHT, "right_": IRIS_LEFT}

_NEAR: Final = 1.0
"""Median distance of the points from a tracked face, iod, from which on it is another one."""

_STIFFNESS: Final = 1e-3
"""Smoothing of the spline: trades the distance to the points for less deformation."""

_MAX_PX: Final = 20_000.0

_MIN_ASPECT: Final = 0.1
"""Minimum extent of a face across its longest direction, relative to the extent along it."""


def read_manual_landmarks(path: Path) -> Array | Points:
    """Read a file of landmarks: float32 (478, 3) px of the picture, or some points by name.

    Args:
        path: TOML or JSON with `points` (see `POINTS`) or with `landmarks`, a list of 478 [x, y] or
            [x, y, z]; or an .npz with `landmarks` (478, 2) or (478, 3).

    Raises:
        TargetError: the file is missing or damaged, or its 478 landmarks do not form a face.
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
        return {str(name): _place(name, place) for name, place in points.items()}
    except FileNotFoundError as error:
        raise TargetError(f"There is no file {path}; check the path.") from error
    except (ConfigError, SourceError) as error:  # their messages name the file
        raise TargetError(str(error)) from error
    except (OSError, ValueError, TypeError) as error:
        raise TargetError(f"{path} is not a readable file of landmarks: {error}") from error


def named_points(landmarks: Array) -> dict[str, tuple[float, float]]:
    """Return where the points of `POINTS` are in (478, 3) landmarks, px."""
    return {name: tuple(landmarks[index, :2].tolist()) for name, index in POINTS.items()}


def check_points(points: Points) -> None:
    """Raise TargetError if a point is unknown or lies outside any picture."""
    unknown = sorted(points.keys() - POINTS.keys())
    if unknown:
        raise TargetError(f"There is no point {unknown[0]!r}; known points: {', '.join(POINTS)}.")
    for name, place in points.items():
        if not (np.abs(place) < _MAX_PX).all():
            raise TargetError(f"The point {name} lies outside any picture.")


def check_inside(points: Points, side_px: int, label: str) -> None:
    """Raise TargetError if a point lies outside a square picture, which `label` names."""
    for name, place in points.items():
        if not all(0 <= value <= side_px for value in place):
            raise TargetError(
                f"The point {name} lies outside the picture of {label}, which has {side_px} x "
                f"{side_px} px; give it in px of that picture."
            )


def is_near(points: Points, landmarks: Array) -> bool:
    """Return whether points placed by hand can belong to (478, 3) tracked landmarks, px."""
    if not points:
        return False
    found = landmarks[[POINTS[name] for name in points], :2]
    away = np.linalg.norm(np.array(list(points.values())) - found, axis=1)
    return bool(np.median(away) < _NEAR * estimate_pose(landmarks).scale)


def fit_landmarks(points: Points, tracked: Array | None = None) -> Array:
    """Return the (478, 3) px landmarks of a face with some of its points placed by hand.

    An eye of which both corners, top and bottom are given has the outline of two half ellipses.

    Args:
        points: (x, y) px by name, see `POINTS`.
        tracked: (478, 3) px from a tracker. The other points of `POINTS` keep their places, so that
            only what is near the given ones moves. None: all of `REQUIRED` have to be given.

    Raises:
        TargetError: there is no point, one is unknown or lies outside any picture, a required one
            is missing, or points coincide or lie on one line.
    """
    from scipy.interpolate import RBFInterpolator

    check_points(points)
    missing = [name for name in REQUIRED if name not in points]
    if missing and tracked is None:
        raise TargetError(f"These points are missing: {', '.join(missing)}.")
    if not points:
        raise TargetError(f"There are no points; give some of these: {', '.join(POINTS)}.")
    outer = [place for name, place in points.items() if not name.endswith(_OF_IRIS)]
    places = np.array(outer, np.float64).reshape(-1, 2)
    distances = np.linalg.norm(places[:, None] - places[None], axis=-1)
    if distances[np.triu_indices(len(places), 1)].min(initial=np.inf) < 1:
        raise TargetError("Two of the points lie in the same place; move one of them.")
    if tracked is None:
        _check_spread(places)
        face = _laid_face(points)
        points = {**dict(_above_eyes(points, face)), **points}
    else:
        face = tracked.astype(np.float64)
    pose = estimate_pose(face.astype(np.float32))
    goal = _goals(points, face, pose, keep_others=tracked is not None)
    start = face[list(goal), :2] / pose.scale
    moved = np.array(list(goal.values())) / pose.scale - start
    spline = RBFInterpolator(start, moved, smoothing=_STIFFNESS, kernel="thin_plate_spline")
    face[:, :2] += spline(face[:, :2] / pose.scale) * pose.scale
    for side, iris in _IRISES.items():
        pupil, edge = (points.get(side + end) for end in _OF_IRIS)
        if pupil or edge:
            _place_iris(face, iris, pupil, edge)
    return face.astype(np.float32)


def _laid_face(points: Points) -> NDArray[np.float64]:
    """Return the canonical face, (478, 3) px, placed on the points by a similarity."""
    face = canonical_face().astype(np.float64)
    known = [name for name in points if not name.endswith(_OF_IRIS)]
    goal = np.array([points[name] for name in known])
    scale, turn, shift = _upright_similarity(face[[POINTS[name] for name in known], :2], goal)
    face[:, :2] = scale * face[:, :2] @ turn.T + shift
    face[:, 2] *= scale
    return face


def _above_eyes(
    points: Points, face: NDArray[np.float64]
) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield where brows and forehead of a laid face, (478, 3) px, belong if they are not given.

    They move with the eyes. A spline alone would go on with the stretch from eyes to nose, which
    gives an animal with a long nose a forehead as long.
    """
    for name, prefixes in _ABOVE_EYES.items():
        corners = [prefix + end for prefix in prefixes for end in ("outer", "inner")]
        shift = np.mean([points[corner] - face[POINTS[corner], :2] for corner in corners], axis=0)
        x, y = (face[POINTS[name], :2] + shift).tolist()
        yield name, (x, y)


def _goals(
    points: Points, face: NDArray[np.float64], pose: Pose, *, keep_others: bool
) -> dict[int, tuple[float, float]]:
    """Return where landmarks shall be, px, by their indices.

    Args:
        points: what is given, by name.
        face: (478, 3) px, the face to be deformed.
        pose: its pose.
        keep_others: the named points that are not given shall keep their places.
    """
    named = POINTS if keep_others else points
    goals = {
        POINTS[name]: points.get(name, tuple(face[POINTS[name], :2].tolist()))
        for name in named
        if not name.endswith(_OF_IRIS)
    }
    for prefix in _EYES:
        ends = [points.get(prefix + end) for end in ("outer", "inner", "top", "bottom")]
        if all(end is not None for end in ends):
            goals.update(_outline(prefix, np.array(ends), face, pose))
    return goals


def _outline(
    prefix: str, ends: NDArray[np.float64], face: NDArray[np.float64], pose: Pose
) -> Iterator[tuple[int, tuple[float, float]]]:
    """Yield the places of an eye's outline, px, on half ellipses through its ends, (4, 2) px.

    The ends are the corners, the top and the bottom. Each landmark keeps its share of the way
    between the corners. The halves are as high as the ends along the face's vertical, so that the
    lids of a slanted eye meet when they close. Raises TargetError if ends are swapped.
    """
    outline = _EYES[prefix]
    corners = (outline[0], outline[len(outline) // 2])
    right, down = pose.rotation[:2, :2].T
    first, line = ends[0], ends[1] - ends[0]
    inwards = right if prefix.startswith("left") else -right
    if line @ inwards <= _MIN_ASPECT * np.linalg.norm(line) * np.linalg.norm(right):
        raise TargetError(
            f"{prefix}outer is not beside {prefix}inner, away from the nose; exchange or move them."
        )
    across = down * (np.linalg.norm(line) / np.linalg.norm(down))
    coordinates = np.linalg.solve(np.array([line, across]).T, (ends[2:] - first).T)
    (top_at, top), (bottom_at, bottom) = coordinates.T
    if bottom <= top:
        raise TargetError(f"{prefix}top lies below {prefix}bottom; exchange them.")
    own_first, own_line = face[corners[0], :2], face[corners[1], :2] - face[corners[0], :2]
    for index in outline:
        at = float((face[index, :2] - own_first) @ own_line / (own_line @ own_line))
        height = 0.0
        if index not in corners:
            is_upper = outline.index(index) > len(outline) // 2
            middle, peak = (top_at, top) if is_upper else (bottom_at, bottom)
            reach = max(middle if at < middle else 1 - middle, 1e-3)
            height = peak * math.sqrt(max(1 - ((at - middle) / reach) ** 2, 0.0))
        place = first + at * line + height * across
        yield index, (float(place[0]), float(place[1]))


def _place_iris(
    face: NDArray[np.float64],
    iris: Sequence[int],
    pupil: tuple[float, float] | None,
    edge: tuple[float, float] | None,
) -> None:
    """Make the iris of a (478, 3) face a circle around the pupil, through its edge; in place.

    What is not given stays as it is.
    """
    ring = list(iris[1:])
    if pupil is not None:
        face[iris[0], :2] = pupil
    own = face[ring, :2] - face[ring, :2].mean(axis=0)
    reach = np.linalg.norm(own, axis=1, keepdims=True)
    radius = reach.mean() if edge is None else np.hypot(*(np.array(edge) - face[iris[0], :2]))
    face[ring, :2] = face[iris[0], :2] + own / np.maximum(reach, 1e-6) * radius


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
