"""Addresses and units of the VMC protocol.

Source: https://protocol.vmc.info/english. Bones are in Unity's frame: left-handed, y up, the model
looking along z. Seen by the camera that is the face frame with every axis turned round, which
leaves a rotation matrix as it is.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.spatial.transform import Rotation

from reenact.types import Array

MARIONETTE_PORT: Final = 39539
PERFORMER_PORT: Final = 39540

OK: Final = "/VMC/Ext/OK"
TIME: Final = "/VMC/Ext/T"
BONE: Final = "/VMC/Ext/Bone/Pos"
VALUE: Final = "/VMC/Ext/Blend/Val"
APPLY: Final = "/VMC/Ext/Blend/Apply"
HEAD: Final = "Head"


def quaternion(rotation: Array) -> list[float]:
    """Return (x, y, z, w) of a (3, 3) head rotation."""
    values: list[float] = Rotation.from_matrix(rotation).as_quat().tolist()
    return values


def rotation(quaternion: list[float]) -> Array:
    """Return the float32 (3, 3) head rotation of (x, y, z, w), the identity for no rotation."""
    values = np.asarray(quaternion, np.float64)
    # Squares of what a damaged datagram may hold are infinite.
    if not 1e-6 < np.linalg.norm(values) < np.inf:
        return np.eye(3, dtype=np.float32)
    matrix: Array = Rotation.from_quat(values).as_matrix().astype(np.float32)
    return matrix
