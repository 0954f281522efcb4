"""Renderers whose network redraws an aligned face as a vector says: GANimation, LGP-GAN and others.

A similarity takes the target's face into the network's frame. The optical flow from this face to
the one that the network draws is carried back and moves the pixels of the target's first reference,
which keeps its own detail, its background and its pose. What no flow can give, the inside of a
mouth that opens, is added from the network's picture. Importing this module loads no torch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple, get_args

import cv2
import numpy as np

from reenact.config import Emotion
from reenact.face.geometry import canonical_face, fit_similarity, region_mask, transform_points
from reenact.face.topology import LIPS_OUTER, N_SKIN, RIGID
from reenact.imaging import crop_image, from_unit, invert_affine, to_unit
from reenact.rendering.image_to_image import LandmarkRenderer
from reenact.rendering.mesh_warp import sources, warp_image
from reenact.types import Array, Drive, Image, Target

FACE_SHARE: Final = 0.74
"""Height of the canonical face, as a share of the frame's side."""

FACE_MIDDLE: Final = 0.47
"""Height of its middle; below the chin there is room for a jaw that drops."""

MAX_STRENGTH: Final = 1.3
"""Of what a network changes; more than that shows its faults alone."""

_EDGE: Final = 0.08
"""Width of the border in which changes fade out, as a share of the frame's side."""

_SOFT: Final = 0.03
"""Blur of the edges of regions, as a share of the picture's side."""

_MOUTH_GROWN: Final = 2.0
"""Blurs by which the lips of the photo are widened, for a mouth that opens."""

_ADDED: Final = 0.5
"""Of what no flow can give in the mouth; all of it is a dark smear beside the lips."""

_FLOW_PX: Final = 128
"""Side of the faces between which motion is searched."""

_FLOW_BLUR: Final = 1.5 / 64
"""Blur of the motion, as a share of the frame's side."""


def frame_face(size_px: int) -> Array:
    """Return the (478, 2) px landmarks of the canonical face in a frame of that side."""
    face = canonical_face()[:, :2]
    low, high = face[:N_SKIN].min(axis=0), face[:N_SKIN].max(axis=0)
    scale = size_px * FACE_SHARE / float(high[1] - low[1])
    middle = np.array([0.5, FACE_MIDDLE], np.float32) * size_px - 0.5
    placed: Array = (face - (low + high) / 2) * np.float32(scale) + middle
    return placed


def to_frame(points: Array, size_px: int) -> Array:
    """Return the (2, 3) similarity that takes a face, (478, 3) px, into the frame."""
    index = list(RIGID)
    scale, rotation, shift = fit_similarity(points[index, :2], frame_face(size_px)[index])
    return np.asarray(np.concatenate([scale * rotation, shift[:, None]], axis=1), np.float32)


@lru_cache(maxsize=4)
def _fading(size_px: int) -> Array:
    """Return 1 inside the frame, falling to 0 at its border, (S, S, 1)."""
    places = (np.arange(size_px) + 0.5) / size_px
    side = np.clip(np.minimum(places, 1 - places) / _EDGE, 0, 1)
    return np.asarray(np.minimum.outer(side, side)[..., None], np.float32)


def soft_region(points: Array, loop: tuple[int, ...], side: int, grown: float) -> Array:
    """Return a mask (S, S, 1), 0 to 1, of a loop of landmarks, px, `grown` blurs wider."""
    blur = _SOFT * side
    mask = region_mask(points, loop, side)
    if grown:
        width = 2 * round(grown * blur) + 1
        mask = np.asarray(cv2.dilate(mask, np.ones((width, width), np.uint8)), np.uint8)
    soft = cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), blur / 2)
    return np.asarray(soft[..., None], np.float32)


def motion(face: Array, drawn: Array) -> Array:
    """Return the way from each pixel of a drawn face to its place in the face, px, (S, S, 2).

    By dense inverse search (Kroeger 2016) on the grey levels of both, (3, S, S) in -1..1.
    """
    size = face.shape[-1]
    given, wanted = (
        cv2.resize(
            cv2.cvtColor(from_unit(one), cv2.COLOR_RGB2GRAY),
            (_FLOW_PX, _FLOW_PX),
            interpolation=cv2.INTER_CUBIC,
        )
        for one in (face, drawn)
    )
    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(0)
    flow = search.calc(wanted, given, None)  # type: ignore[call-overload]
    small = cv2.resize(flow * (size / _FLOW_PX), (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), _FLOW_BLUR * size), np.float32)


def unless_faint(amount: float) -> float:
    """Return 1, but less for a faint expression (below .1), so that a face at rest is the photo."""
    return min(10 * amount, 1.0)


class _Drawing(NamedTuple):
    """What the network draws for a condition, at any strength.

    Attributes:
        condition: (1, ...), the network's input.
        change: (3, S, S), the drawn face less the target's, times the gain.
        flow: (H, W, 2), the way from each pixel of the drawn photo to its place in the reference,
            px.
    """

    condition: Array
    change: Array
    flow: Array


class AlignedRenderer(LandmarkRenderer):
    """Moves the target's first reference as the network moves its aligned face.

    A subclass sets `condition_shape` and `condition`. The network maps a face (N, 3, S, S) in -1..1
    and the condition to a face; the weights' header may hold a `gain`, a factor on the change. What
    it draws, and the motion found in it, serve all frames in a row of one and the same condition.
    """

    def prepare(self, target: Target) -> None:
        """Load the weights unless they are loaded, and align the target's face.

        Raises NoWeightsError or ModelError, as its parent.
        """
        self.load(target)
        self._reference = np.ascontiguousarray(target.references[0])
        self._affine = to_frame(target.landmarks[0], self._size)
        self._to_photo = np.ascontiguousarray(invert_affine(self._affine)[:, :2])
        face = crop_image(self._reference, self._affine, self._size)
        self._face = to_unit(face[None])
        points = transform_points(target.landmarks[0], self._affine)
        self._mouth = _ADDED * soft_region(points, LIPS_OUTER, self._size, _MOUTH_GROWN)
        self._engine.hold("picture", self._face)
        self._gain = float(self.header.get("gain", 1))
        self._drawing: _Drawing | None = None

    def strength(self, drive: Drive) -> float:
        """Return the factor on what the network changes."""
        del drive
        return 1.0

    def render(self, drive: Drive) -> Image:
        """Draw one frame; at strength 0 it is the reference itself."""
        strength = self.strength(drive)
        if not strength:
            return self._reference.copy()
        _, change, flow = self._drawing_for(self.condition(drive))
        moved = warp_image(self._reference, sources(flow * np.float32(2 * strength / len(flow))))
        shown = to_unit(crop_image(moved, self._affine, self._size)[None])[0]
        wanted = np.clip(self._face[0] + np.float32(strength) * change, -1, 1)
        missing = (wanted - shown).transpose(1, 2, 0) * self._mouth
        added = self._carried(missing * np.float32(127.5))
        return np.asarray(cv2.add(moved, added, dtype=cv2.CV_8U), np.uint8)

    def reset(self) -> None:
        """Draw the next frame anew."""
        self._drawing = None

    def _drawing_for(self, condition: Array) -> _Drawing:
        """Return what the network draws; it is asked only if the condition is not the last one.

        They must be equal to the last bit: the flow between nearly equal faces may jump, and a
        picture that is held until a bound is passed would step.
        """
        kept = self._drawing
        if kept is None or not np.array_equal(kept.condition, condition):
            (drawn,) = self._engine({"condition": condition})
            face = self._face[0]
            change = np.float32(self._gain) * (drawn[0] - face)
            # The whole change is searched for motion: a search at each strength would tremble.
            flow = self._carried(motion(face, face + change) @ self._to_photo.T)
            kept = self._drawing = _Drawing(condition.copy(), change, flow)
        return kept

    def _carried(self, values: Array) -> Array:
        """Carry values (S, S, C) of the frame into the photo; they fade to the frame's border."""
        side = self._reference.shape[0]
        return np.asarray(
            cv2.warpAffine(
                np.ascontiguousarray(values * _fading(self._size), np.float32),
                self._affine,
                (side, side),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            ),
            np.float32,
        )


class EmotionRenderer(AlignedRenderer):
    """Asks the network for an emotion; its intensity is a factor on the change (ours)."""

    condition_shape = (len(get_args(Emotion)) - 1,)

    def condition(self, drive: Drive) -> Array:
        """Return the weights of the emotions without neutral's share, (1, 8), of sum 1."""
        weights = drive.emotion.astype(np.float32)
        weights[0] = 0
        return np.ascontiguousarray((weights / max(float(weights.sum()), 1e-6))[None])

    def strength(self, drive: Drive) -> float:
        """Return the intensity times what neutral leaves, at most `MAX_STRENGTH`."""
        return min(drive.intensity * float(1 - drive.emotion[0]), MAX_STRENGTH)
