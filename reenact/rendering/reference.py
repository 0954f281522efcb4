"""References of a target, and the pictures of driven heads that are composed from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.face.geometry import estimate_pose, square_to_crop, transform_points
from reenact.models.warp_unet_inputs import FLOW, MAP_STEM, NETWORK_PX, MapChannel
from reenact.rendering.body_field import moved_from
from reenact.rendering.far_side import far_share, is_turned, mirrored_layers, turns_back
from reenact.rendering.head_mesh import head_mesh
from reenact.rendering.layers import Layers, compose, enlarged, move_person
from reenact.rendering.mouth_interior import MouthPlace, place_mouth
from reenact.types import Array, Body, Image, Pose

_STRETCHED: Final = 0.15
"""Share of a reference, at its lower edge, that is stretched where a body rises."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A picture of the target and all that the frames drawn from it share.

    Landmarks, pose and `side_px`, the side of the crop, are in the network's px.
    """

    layers: Layers
    landmarks: Array
    pose: Pose
    side_px: int
    body: Body

    @classmethod
    def of(
        cls,
        picture: Image,
        coverage: NDArray[np.uint8],
        landmarks: Array,
        side_px: int = NETWORK_PX,
        body: Body | None = None,
    ) -> Reference:
        """Split a picture; the arguments are those of `Layers.of`, and where its body is."""
        points = transform_points(landmarks, square_to_crop((0, 0, len(picture)), side_px))
        layers = Layers.of(picture, coverage, landmarks, side_px)
        return cls(layers, points, estimate_pose(points), side_px, body or Body())

    def mirrored(self) -> Reference:
        """Return its mirror image, of which nobody knows where the body is."""
        moved = mirrored_layers(self.layers, self.landmarks, self.pose, self.side_px)
        return Reference(*moved, self.side_px, Body())

    def moved(
        self, landmarks: Array, pose: Pose, follows: Pose | None, body: Body | None
    ) -> tuple[Array, MouthPlace]:
        """Return the maps of the driven head, and where its teeth are; see `Painter.paint`."""
        poses, side = (self.pose, pose), self.side_px // MAP_STEM
        body = body and moved_from(body, self.body)
        maps = head_mesh().maps(
            self.landmarks, landmarks, self.side_px, side, poses=poses, follows=follows, body=body
        )
        return maps, place_mouth(self.landmarks, landmarks, poses)


class Painter:
    """Composes pictures of driven heads from one reference, and from its mirror image.

    It keeps an enlarged copy of the reference; of the mirror image only if the face is turned.
    """

    def __init__(self, reference: Reference) -> None:
        self._reference = reference
        self._fine = enlarged(reference.layers.person)
        self._mirror: tuple[Reference, Image] | None = None
        if is_turned(reference.pose):
            mirror = reference.mirrored()
            self._mirror = mirror, enlarged(mirror.layers.person)

    def paint(
        self,
        landmarks: Array,
        pose: Pose,
        *,
        follows: Pose | None = None,
        body: Body | None = None,
        edge_fade: Array | float = 1.0,
    ) -> tuple[Image, Array]:
        """Compose one picture; return it, uint8 (S, S, 3) RGB, with the maps of its mesh.

        Args:
            landmarks: (478, 3) driven ones, in the network's px.
            pose: theirs.
            follows: the pose that hair and body follow, see `HeadMesh.maps`.
            body: where torso and hair are; None: they follow the head.
            edge_fade: factors on the motion, (side, side, 1), see `compositing.edge_fade`.
        """
        reference, far = self._reference, None
        maps, mouth = reference.moved(landmarks, pose, follows, body)
        maps[..., FLOW] *= edge_fade
        _stretch_to_floor(maps[..., MapChannel.FLOW_Y])
        if self._mirror is not None and turns_back(reference.pose, pose):
            mirror, fine = self._mirror
            others, other_mouth = mirror.moved(landmarks, pose, follows, None)
            share = far_share(maps, others, landmarks) * np.squeeze(edge_fade)
            far = move_person(fine, mirror.layers, others, other_mouth), share
        return compose(self._fine, reference.layers, maps, mouth, far), maps


def _stretch_to_floor(down: Array) -> None:
    """Let no cell show what lies below the reference; in place.

    A body that rises would end in streaks of its lowest pixels. `down` is the (side, side) vertical
    flow, in halves of the side.
    """
    half, lowest = len(down) / 2, np.float32(len(down) - 1)
    below = np.maximum(down[-1] * half, 0)
    if not below.any():
        return
    rows = np.arange(len(down), dtype=np.float32)[:, None]
    band = np.float32(_STRETCHED * len(down))
    inside = np.maximum(rows + down * half - (lowest - band), 0)
    down -= inside * (below / (band + below)) / half
