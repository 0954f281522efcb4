"""How the action units and the gaze map onto ARKit's blend shapes.

Names are those of perfect-sync models, such as `EyeBlinkLeft`. Left and right are the person's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from reenact.face.topology import ACTION_UNITS, IRIS_LEFT, IRIS_RIGHT, N_LANDMARKS
from reenact.types import Array

_SHAPES: Final[dict[str, tuple[str, ...]]] = {
    "jaw_drop": ("JawOpen",),
    "smile_left": ("MouthSmileLeft",),
    "smile_right": ("MouthSmileRight",),
    "frown": ("MouthFrownLeft", "MouthFrownRight"),
    "pucker": ("MouthPucker",),
    "stretch": ("MouthStretchLeft", "MouthStretchRight"),
    "upper_lip_raise": ("MouthUpperUpLeft", "MouthUpperUpRight"),
    "lower_lip_depress": ("MouthLowerDownLeft", "MouthLowerDownRight"),
    "mouth_left": ("MouthLeft",),
    "mouth_right": ("MouthRight",),
    "brow_raise_left": ("BrowOuterUpLeft",),
    "brow_raise_right": ("BrowOuterUpRight",),
    "brow_lower": ("BrowDownLeft", "BrowDownRight"),
    "blink_left": ("EyeBlinkLeft",),
    "blink_right": ("EyeBlinkRight",),
    "eye_wide": ("EyeWideLeft", "EyeWideRight"),
}

_LOOKS: Final = (
    (IRIS_RIGHT, ("EyeLookOutRight", "EyeLookInRight"), ("EyeLookUpRight", "EyeLookDownRight")),
    (IRIS_LEFT, ("EyeLookInLeft", "EyeLookOutLeft"), ("EyeLookUpLeft", "EyeLookDownLeft")),
)
"""Landmarks of each iris, and the shapes that move it to the image's left and right, up and down.
Left and right in a name are the person's own."""

_IRIS_IOD: Final = 10.5 / 63 * math.sin(math.radians(30))
"""How far an iris moves at a shape of 1, iod. It is 10.5 mm in front of the middle of the eye,
which then has turned by some 30 degrees; pupils are 63 mm apart on average."""

_READ: Final = {
    name.lower(): name
    for names in (
        *_SHAPES.values(),
        ("MouthClose", "TongueOut"),
        *(pair for _, *axes in _LOOKS for pair in axes),
    )
    for name in names
}


def read_name(name: str) -> str | None:
    """Return a received name, in any case, as this package knows it; None: nothing reads it."""
    return _READ.get(name.lower())


def blend_shapes(units: Array) -> dict[str, float]:
    """Return ARKit's blend shapes, 0 to 1, for (17,) action units."""
    of = dict(zip(ACTION_UNITS, units.tolist(), strict=True))
    shapes = {name: of[unit] for unit, names in _SHAPES.items() for name in names}
    shapes["MouthClose"] = max(of["jaw_drop"] - of["mouth_open"], 0.0)
    shapes["BrowInnerUp"] = (of["brow_raise_left"] + of["brow_raise_right"]) / 2
    return shapes


def action_units(shapes: Mapping[str, float]) -> Array:
    """Return float32 (17,) action units, 0 to 1, for blend shapes, 0 to 1; missing ones are 0."""
    of = {
        unit: sum(shapes.get(name, 0.0) for name in names) / len(names)
        for unit, names in _SHAPES.items()
    }
    of["mouth_open"] = of["jaw_drop"] - shapes.get("MouthClose", 0.0)
    units = np.nan_to_num([of[unit] for unit in ACTION_UNITS])
    return np.clip(units, 0.0, 1.0).astype(np.float32)


def look_shapes(deviation: Array) -> dict[str, float]:
    """Return ARKit's blend shapes of the gaze, 0 to 1, for (478, 3) deviations, face frame, iod."""
    shapes = {}
    for iris, *axes in _LOOKS:
        for (first, second), moved in zip(axes, deviation[iris[0], :2].tolist(), strict=True):
            shapes[first] = min(max(-moved / _IRIS_IOD, 0.0), 1.0)
            shapes[second] = min(max(moved / _IRIS_IOD, 0.0), 1.0)
    return shapes


def looks(shapes: Mapping[str, float]) -> Array:
    """Return float32 (478, 3) deviations of the irises, face frame, iod, as `look_shapes` does."""
    result = np.zeros((N_LANDMARKS, 3), np.float32)
    for iris, *axes in _LOOKS:
        moved = [shapes.get(b, 0.0) - shapes.get(a, 0.0) for a, b in axes]
        result[list(iris), :2] = np.clip(np.nan_to_num(moved), -1, 1) * _IRIS_IOD
    return result
