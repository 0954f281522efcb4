"""Names and units of the VMC protocol, and how the action units map onto ARKit's blend shapes.

Source: https://protocol.vmc.info/english. Bones are in Unity's frame: left-handed, y up, the model
looking along z. Seen by the camera that is the face frame with every axis turned round, which
leaves a rotation matrix as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from scipy.spatial.transform import Rotation

from reenact.face.topology import ACTION_UNITS
from reenact.types import Array

MARIONETTE_PORT: Final = 39539
PERFORMER_PORT: Final = 39540

OK: Final = "/VMC/Ext/OK"
TIME: Final = "/VMC/Ext/T"
BONE: Final = "/VMC/Ext/Bone/Pos"
VALUE: Final = "/VMC/Ext/Blend/Val"
APPLY: Final = "/VMC/Ext/Blend/Apply"
HEAD: Final = "Head"

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

NAMES: Final = frozenset(
    name.lower() for names in (*_SHAPES.values(), ("MouthClose",)) for name in names
)
"""The blend shapes that `action_units` reads, in lower case."""


def blend_shapes(units: Array) -> dict[str, float]:
    """Return ARKit's blend shapes, 0 to 1, for (17,) action units."""
    of = dict(zip(ACTION_UNITS, units.tolist(), strict=True))
    shapes = {name: of[unit] for unit, names in _SHAPES.items() for name in names}
    shapes["MouthClose"] = max(of["jaw_drop"] - of["mouth_open"], 0.0)
    shapes["BrowInnerUp"] = (of["brow_raise_left"] + of["brow_raise_right"]) / 2
    return shapes


def action_units(shapes: Mapping[str, float]) -> Array:
    """Return float32 (17,) action units, 0 to 1, for blend shapes named in any case."""
    given = {name.lower(): value for name, value in shapes.items()}
    of = {
        unit: sum(given.get(name.lower(), 0.0) for name in names) / len(names)
        for unit, names in _SHAPES.items()
    }
    of["mouth_open"] = of["jaw_drop"] - given.get("mouthclose", 0.0)
    units = np.array([of[unit] for unit in ACTION_UNITS], np.float32)
    return np.clip(np.nan_to_num(units), 0.0, 1.0)


def quaternion(rotation: Array) -> list[float]:
    """Return (x, y, z, w) of a (3, 3) head rotation."""
    values: list[float] = Rotation.from_matrix(rotation).as_quat().tolist()
    return values


def rotation(quaternion: list[float]) -> Array:
    """Return the float32 (3, 3) head rotation of (x, y, z, w), the identity for no rotation."""
    values = np.asarray(quaternion, np.float64)
    if not np.isfinite(values).all() or np.linalg.norm(values) < 1e-6:
        return np.eye(3, dtype=np.float32)
    matrix: Array = Rotation.from_quat(values).as_matrix().astype(np.float32)
    return matrix
