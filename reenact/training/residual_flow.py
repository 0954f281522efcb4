"""Fit the residual flow: how skin, hair, ears, neck and shoulders move beyond the mesh.

The mesh warps one frame of a clip to another. Optical flow measures what still differs, where it
agrees in both directions and on the person only. These residuals are regressed on the head's motion
and on the principal components of the change of shape, for each landmark and each cell around the
face, by ridge regression with the Huber loss (iteratively reweighted least squares).

`tools/residual_flow.py` fits the asset on many people. `refine` continues from it for one person,
on the footage that a target is trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import estimate_pose, mirror_index, mirrored_deviation, to_face_frame
from reenact.face.topology import N_SKIN
from reenact.rendering.head_mesh import HeadMesh
from reenact.rendering.mesh_warp import source_map, warp_image
from reenact.rendering.residual_flow import (
    MOTIONS,
    SIDE,
    SPAN,
    ResidualFlow,
    head_axes,
    head_motion,
    limited_causes,
)
from reenact.training.augmentation import Pair
from reenact.types import Array, Image, Pose

RIDGE: Final = (0.003, 0.15)
"""Ridge of motions and of components of expression, as shares of their mean squares. Chosen on
people of the training clips that were left out of the fit."""

REFINE_RIDGE: Final = (1.0, 1.0)
"""The same for the part that is one person's own."""

MAX_RESIDUAL: Final = 0.6
"""A larger residual, iod, is an error of the optical flow."""

_MAX_DISAGREEMENT_PX: Final = 1.5
_HUBER_IOD: Final = 0.03
_MIN_SAMPLES: Final = 80
_VARIANCE_FLOOR: Final = 1e-8
_SMOOTHING_CELLS: Final = 1.0
_ITERATIONS: Final = 3
_MIRROR: Final = np.array([1, -1, -1, -1, 1], np.float32)
"""Signs of `MOTIONS` in a mirror."""

_MIRROR_FLOW: Final = np.array([-1, 1], np.float32)


@dataclass(frozen=True, slots=True)
class FlowResidual:
    """What the mesh leaves over in one pair of frames.

    Attributes:
        motion: (5,), `MOTIONS`.
        change: (478, 3), the change of shape in the face frame, iod.
        skin: (468, 2) residual flow at the landmarks, iod, upright with the driven head.
        skin_known: (468,) bool, where it was measured.
        around: (SIDE, SIDE, 2), the same in the cells of the field around the face.
        around_known: (SIDE, SIDE) bool.
    """

    motion: Array
    change: Array
    skin: Array
    skin_known: NDArray[np.bool_]
    around: Array
    around_known: NDArray[np.bool_]

    def mirrored(self) -> FlowResidual:
        """Return the residual of the mirrored pair."""
        index = mirror_index()[:N_SKIN]
        return FlowResidual(
            self.motion * _MIRROR,
            mirrored_deviation(self.change),
            self.skin[index] * _MIRROR_FLOW,
            self.skin_known[index],
            self.around[:, ::-1] * _MIRROR_FLOW,
            self.around_known[:, ::-1],
        )


def measure(pair: Pair, mesh: HeadMesh) -> FlowResidual:
    """Compare the truth of a pair with its reference, warped by the mesh."""
    reference, driven = pair.reference_landmarks, pair.truth_landmarks
    poses = estimate_pose(reference), estimate_pose(driven)
    true = np.asarray(pair.truth)
    size = len(true)
    maps = mesh.maps(reference, driven, size, size // 2)
    warped = warp_image(np.asarray(pair.reference), source_map(maps, size))
    flow, known = _optical_flow(true, warped)
    if pair.person is not None:
        known &= cv2.resize(pair.person, (size, size)) > 127
    axis = np.linspace(-SPAN, SPAN, SIDE, dtype=np.float32)
    cells = np.stack(np.meshgrid(axis, axis), axis=-1) @ head_axes(poses[1]).T
    cells = cells * np.float32(poses[1].scale) + poses[1].translation[:2]
    return FlowResidual(
        head_motion(*poses),
        to_face_frame(driven, poses[1]) - to_face_frame(reference, poses[0]),
        *_read_flow(driven[:N_SKIN, :2], flow, known, poses[1]),
        *_read_flow(cells, flow, known, poses[1]),
    )


def fit(
    residuals: Sequence[FlowResidual], components: Array, ridge: tuple[float, float] = RIDGE
) -> ResidualFlow:
    """Return the residual flow that explains the residuals best.

    `components` are (K, 468, 3) principal components of the change of shape; `ridge` is of motions
    and of components, see `RIDGE`.
    """
    causes = limited_causes(
        np.stack([residual.motion for residual in residuals]),
        np.stack([residual.change for residual in residuals]),
        components,
    )
    ridges = np.full(causes.shape[1], ridge[1])
    ridges[: len(MOTIONS)] = ridge[0]
    skin, around = (
        _regress(causes, np.stack(flows), np.stack(known), ridges)
        for flows, known in (
            zip(*((of.skin, of.skin_known) for of in residuals), strict=True),
            zip(
                *((of.around.reshape(-1, 2), of.around_known.ravel()) for of in residuals),
                strict=True,
            ),
        )
    )
    planes = np.moveaxis(around.reshape(SIDE, SIDE, -1), -1, 0)
    smooth = np.stack([cv2.GaussianBlur(plane, (0, 0), _SMOOTHING_CELLS) for plane in planes], -1)
    return ResidualFlow(components, skin, smooth.reshape(SIDE, SIDE, -1, 2).astype(np.float32))


def refine(known: ResidualFlow, pairs: Iterable[Pair]) -> ResidualFlow:
    """Return a residual flow with what pairs of one person's frames add to that of all people.

    A background at rest is part of it: the footage's own background stays where it is.
    """
    mesh = HeadMesh(known)
    residuals = [measure(pair, mesh) for pair in pairs]
    return known + fit(residuals, known.components, REFINE_RIDGE) if residuals else known


def _regress(causes: Array, flows: Array, known: NDArray[np.bool_], ridges: Array) -> Array:
    """Regress flows (N, P, 2) at P places on causes (N, C), where they are known: (P, C, 2)."""
    variance = (causes.astype(np.float64) ** 2).mean(axis=0)
    ridge = np.diag(len(causes) * (ridges * variance + _VARIANCE_FLOOR))
    answers = np.zeros((flows.shape[1], causes.shape[1], 2), np.float32)
    for place in np.flatnonzero(known.sum(axis=0) >= _MIN_SAMPLES).tolist():
        rows = known[:, place]
        cause = causes[rows].astype(np.float64)
        result = flows[rows, place].astype(np.float64)
        weights = np.ones(len(cause))
        for _ in range(_ITERATIONS):
            weighted = cause.T * weights
            answer = np.linalg.solve(weighted @ cause + ridge, weighted @ result)
            error = np.linalg.norm(result - cause @ answer, axis=1)
            weights = _HUBER_IOD / np.maximum(error, _HUBER_IOD)
        answers[place] = answer
    return answers


def _optical_flow(true: Image, warped: Image) -> tuple[Array, NDArray[np.bool_]]:
    """Return the flow (S, S, 2) px from true to warped pixels, and where the flow back agrees."""
    finder = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (true, warped)]
    flow = np.asarray(finder.calc(grey[0], grey[1], np.empty(0)), np.float32)
    back = np.asarray(finder.calc(grey[1], grey[0], np.empty(0)), np.float32)
    rows, columns = np.mgrid[: len(true), : len(true)].astype(np.float32)
    there = cv2.remap(back, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR)
    return flow, np.linalg.norm(flow + there, axis=-1) < _MAX_DISAGREEMENT_PX


def _read_flow(
    places: Array, flow: Array, known: NDArray[np.bool_], pose: Pose
) -> tuple[Array, NDArray[np.bool_]]:
    """Read a flow (px) at places (..., 2) px: in iod, upright with the head, and where known."""
    x, y = np.moveaxis(places.reshape(-1, 1, 2).astype(np.float32), -1, 0)
    share = cv2.blur(known.astype(np.float32), (5, 5))
    mean = cv2.blur(flow * known[..., None].astype(np.float32), (5, 5))
    share = cv2.remap(share, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    mean = cv2.remap(mean, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    residual = mean / np.maximum(share, 0.2)[..., None] @ head_axes(pose) / np.float32(pose.scale)
    residual = np.clip(residual, -MAX_RESIDUAL, MAX_RESIDUAL).astype(np.float32)
    return residual.reshape(places.shape), (share > 0.5).reshape(places.shape[:-1])
