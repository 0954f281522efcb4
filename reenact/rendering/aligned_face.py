"""Renderers whose network redraws an aligned face from a vector: GANimation, LGP-GAN and others.

A similarity maps the target's face into the network's frame. The optical flow between this face and
the network's output is mapped back, and warps the target's first reference, which keeps its detail,
background and pose. What no flow can produce, such as the inside of an opening mouth, is added from
the network's output. Importing this module loads no torch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple, get_args

import cv2
import numpy as np

from reenact.config import Emotion
from reenact.face.geometry import (
    canonical_face,
    estimate_pose,
    fit_similarity,
    region_mask,
    to_face_frame,
    transform_points,
)
from reenact.face.regions import mouth_gap
from reenact.face.topology import LIPS_OUTER, N_SKIN, RIGID
from reenact.imaging import crop_image, from_unit, invert_affine, to_unit
from reenact.rendering.image_to_image import LandmarkRenderer
from reenact.rendering.mesh_warp import sources, warp_image
from reenact.types import Array, Drive, Image, Target

FACE_SHARE: Final = 0.74
"""Height of the canonical face in the frame, as a share of the frame's side."""

FACE_MIDDLE: Final = 0.47
"""Vertical position of its middle, as a share of the side; the jaw needs room to drop."""

MAX_STRENGTH: Final = 1.3
"""Maximum factor on a network's change; above it, only the artefacts grow."""

_EDGE: Final = 0.08
"""Width of the border in which changes fade out, as a share of the frame's side."""

_SOFT: Final = 0.03
"""Blur of a region's edge, as a share of the picture's side."""

_MOUTH_DILATION: Final = 2.0
"""Dilation of the photo's lips, in blurs, which makes room for a mouth that opens."""

_LIP_GAPS: Final = 0.03, 0.1
_ADDED_SHARES: Final = 0.9, 0.5
"""Shares of the mouth's residual that are added at these gaps between the photo's lips, iod. An
open mouth shows its own teeth, which the flow moves; all of the residual would smear them."""

_FLOW_PX: Final = 128
"""Side of the pictures between which optical flow is computed."""

_FLOW_BLUR: Final = 1.5 / 64
"""Blur of the flow, as a share of the frame's side."""


def frame_face(size_px: int) -> Array:
    """Return the landmarks of the canonical face in the frame, (478, 2) px."""
    face = canonical_face()[:, :2]
    low, high = face[:N_SKIN].min(axis=0), face[:N_SKIN].max(axis=0)
    scale = size_px * FACE_SHARE / float(high[1] - low[1])
    middle = np.array([0.5, FACE_MIDDLE], np.float32) * size_px - 0.5
    placed: Array = (face - (low + high) / 2) * np.float32(scale) + middle
    return placed


def to_frame(points: Array, size_px: int) -> Array:
    """Return the (2, 3) similarity that maps a face, (478, 3) px, into the frame."""
    index = list(RIGID)
    scale, rotation, shift = fit_similarity(points[index, :2], frame_face(size_px)[index])
    return np.asarray(np.concatenate([scale * rotation, shift[:, None]], axis=1), np.float32)


@lru_cache(maxsize=4)
def _border_weights(size_px: int) -> Array:
    """Return weights (S, S, 1): 1 inside the frame, falling to 0 at its border."""
    positions = (np.arange(size_px) + 0.5) / size_px
    weights = np.clip(np.minimum(positions, 1 - positions) / _EDGE, 0, 1)
    return np.asarray(np.minimum.outer(weights, weights)[..., None], np.float32)


def soft_region(points: Array, loop: tuple[int, ...], side: int, grown: float) -> Array:
    """Return a soft mask (S, S, 1), 0 to 1, of a loop of px landmarks, dilated by `grown` blurs."""
    blur = _SOFT * side
    mask = region_mask(points, loop, side)
    if grown:
        width = 2 * round(grown * blur) + 1
        mask = np.asarray(cv2.dilate(mask, np.ones((width, width), np.uint8)), np.uint8)
    soft = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), blur / 2)
    return np.asarray(soft[..., None], np.float32)


def motion(face: Array, drawn: Array) -> Array:
    """Return the optical flow from a drawn face to the original one, (S, S, 2) px.

    Both are (3, S, S) RGB in -1..1. Dense inverse search (Kroeger 2016) compares their grey levels.
    """
    size = face.shape[-1]
    grey_face, grey_drawn = (
        cv2.resize(
            cv2.cvtColor(from_unit(picture), cv2.COLOR_RGB2GRAY),
            (_FLOW_PX, _FLOW_PX),
            interpolation=cv2.INTER_CUBIC,
        )
        for picture in (face, drawn)
    )
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    flow = search.calc(grey_drawn, grey_face, None)  # type: ignore[call-overload]
    small = cv2.resize(flow * (size / _FLOW_PX), (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), _FLOW_BLUR * size), np.float32)


def ramp_from_rest(activation: float) -> float:
    """Return a strength: 0 at rest, rising to 1 at an activation of .1.

    A face at rest then shows the photo unchanged.
    """
    return min(10 * activation, 1.0)


class _Drawing(NamedTuple):
    """The network's output for one condition, used at every strength.

    Attributes:
        condition: (1, ...), the network's input.
        change: (3, S, S), the drawn face minus the target's.
        flow: (H, W, 2) px, from each pixel of the drawn photo to its source in the reference.
    """

    condition: Array
    change: Array
    flow: Array


class AlignedRenderer(LandmarkRenderer):
    """Warps the target's first reference as the network moves its aligned face.

    A subclass sets `condition_shape` and `condition`. The network maps a face (N, 3, S, S) in -1..1
    and the condition to a face; the weights' header may hold a `gain`, a factor on the motion. The
    network's output and its flow are reused while the condition stays the same.
    """

    def prepare(self, target: Target) -> None:
        """Load the weights unless they are loaded, and align the target's face.

        Raises NoWeightsError or ModelError, as `LandmarkRenderer.prepare`.
        """
        self.load(target)
        self._reference = np.ascontiguousarray(target.references[0])
        self._affine = to_frame(target.landmarks[0], self._size)
        self._to_photo = np.ascontiguousarray(invert_affine(self._affine)[:, :2])
        face = crop_image(self._reference, self._affine, self._size)
        self._face = to_unit(face[None])
        points = transform_points(target.landmarks[0], self._affine)
        mouth = soft_region(points, LIPS_OUTER, self._size, _MOUTH_DILATION)
        gap = mouth_gap(to_face_frame(points, estimate_pose(points)))
        self._mouth = mouth * np.float32(np.interp(gap, _LIP_GAPS, _ADDED_SHARES))
        self._engine.hold("picture", self._face)
        self._gain = float(self.header.get("gain", 1))
        self._drawing: _Drawing | None = None

    def strength(self, drive: Drive) -> float:
        """Return the factor on the network's change."""
        return 1.0

    def render(self, drive: Drive) -> Image:
        """Draw one frame; at strength 0 it is the unchanged reference."""
        strength = self.strength(drive)
        if not strength:
            return self._reference.copy()
        _, change, flow = self._drawing_for(self.condition(drive))
        warped = warp_image(self._reference, sources(flow * np.float32(2 * strength / len(flow))))
        face = to_unit(crop_image(warped, self._affine, self._size)[None])[0]
        wanted = np.clip(self._face[0] + np.float32(strength) * change, -1, 1)
        residual = (wanted - face).transpose(1, 2, 0) * self._mouth
        added = self._to_reference(residual * np.float32(127.5))
        return np.asarray(cv2.add(warped, added, dtype=cv2.CV_8U), np.uint8)

    def reset(self) -> None:
        """Run the network again for the next frame."""
        self._drawing = None

    def _drawing_for(self, condition: Array) -> _Drawing:
        """Return the network's output; it runs only if the condition differs from the last one.

        Any difference counts: the flow may jump between nearly equal faces, so a tolerance would
        make the picture jump whenever it is exceeded.
        """
        drawing = self._drawing
        if drawing is None or not np.array_equal(drawing.condition, condition):
            (drawn,) = self._engine({"condition": condition})
            face = self._face[0]
            change = drawn[0] - face
            # The flow is that of the whole change: computed at each strength it would tremble. It
            # alone has the gain, which would turn removed lips white and new teeth glaring.
            moved = motion(face, face + np.float32(self._gain) * change)
            flow = self._to_reference(moved @ self._to_photo.T)
            drawing = self._drawing = _Drawing(condition.copy(), change, flow)
        return drawing

    def _to_reference(self, values: Array) -> Array:
        """Map values (S, S, C) from the frame to the reference, faded at the frame's border."""
        side = self._reference.shape[0]
        return np.asarray(
            cv2.warpAffine(
                np.ascontiguousarray(values * _border_weights(self._size), np.float32),
                self._affine,
                (side, side),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            ),
            np.float32,
        )


class EmotionRenderer(AlignedRenderer):
    """Conditions the network on an emotion; the intensity scales the change (not in the papers)."""

    condition_shape = (len(get_args(Emotion)) - 1,)

    def condition(self, drive: Drive) -> Array:
        """Return the weights of the emotions, (1, 8): neutral has 0, and the sum is 1."""
        weights = drive.emotion.astype(np.float32)
        weights[0] = 0
        return np.ascontiguousarray((weights / max(float(weights.sum()), 1e-6))[None])

    def strength(self, drive: Drive) -> float:
        """Return the intensity times the share that is not neutral, at most `MAX_STRENGTH`."""
        return min(drive.intensity * float(1 - drive.emotion[0]), MAX_STRENGTH)
