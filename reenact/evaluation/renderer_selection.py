"""Does the generator serve a target, or harm it? Measured when the target is made.

The generator learned from people. A bent copy of the target's own picture (head turned, eyes
shut, mouth opened, all by the mesh alone) is given as the reference, and the picture itself is to
be drawn: the truth is known. What the generator gains over the mesh warp there, in decibels, tells
whether it understands this kind of face; where it gains nothing, the warp carries the target.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from reenact.config import RendererSettings
from reenact.evaluation import metrics
from reenact.face.action_units import action_unit_basis
from reenact.face.geometry import estimate_pose, rotation_matrix, to_face_frame, to_image
from reenact.face.topology import ACTION_UNITS
from reenact.live.pipeline import landmark_drive
from reenact.registry import load
from reenact.rendering.head_mesh import head_mesh, source_map, warp_image
from reenact.targets.builder import resize_target
from reenact.types import Renderer, Target

LEAST_GAIN_DB: Final = 0.0
"""Below this gain the mesh warp draws the target. In PSNR alone, photos of people gained 3 to 7
decibels, drawings and statues 2.6 to 5.2, a cat 3.0; two photos with things before the face 0.4
and -0.5."""

_SIZE_PX: Final = 256

_BENDS: Final = (
    ((0, 10, 0), {"smile_left": 0.6, "smile_right": 0.6}),
    ((0, -10, 0), {"brow_raise_left": 0.8, "brow_raise_right": 0.8}),
    ((6, 0, 4), {"mouth_open": 0.6, "jaw_drop": 0.5}),
    ((-5, 4, 0), {"blink_left": 0.8, "blink_right": 0.8}),
)
"""Turn of the head in degrees (pitch, yaw, roll), and action units."""


def choose_renderer(target: Target, name: str = "warp_unet") -> Target:
    """Return the target with the renderer that draws it best, and the measured gain noted.

    Raises:
        ModelError: the renderer's weights are missing or damaged.
    """
    gain_db = generator_gain_db(target, name)
    return replace(
        target,
        renderer=name if gain_db >= LEAST_GAIN_DB else "warp",
        metadata={**target.metadata, "generator gain": f"{gain_db:.1f} dB over the mesh warp"},
    )


def generator_gain_db(target: Target, name: str = "warp_unet") -> float:
    """Return how much better than the mesh warp a renderer draws the target's own picture.

    PSNR of the face, and a decibel for each tenth of sharpness.

    Args:
        target: its first reference is looked at.
        name: of the renderer.

    Raises:
        ModelError: the renderer's weights are missing or damaged.
    """
    target = resize_target(target, _SIZE_PX)
    settings = RendererSettings(name=name)
    renderers: list[Renderer] = [
        load("renderers", kind).make(settings.model_copy(update={"name": kind}))
        for kind in (name, "warp")
    ]
    gains = []
    for bent in _bent_copies(target):
        box = metrics.face_box(target.landmarks[0], (_SIZE_PX, _SIZE_PX))
        if box is None:
            continue
        truth = target.references[0][box]
        drawn = []
        for renderer in renderers:
            renderer.prepare(bent)
            picture = renderer.render(landmark_drive(target.landmarks[0]))[box]
            sharpness = min(metrics.sharpness(truth, picture), 1.0)
            drawn.append(metrics.psnr(truth, picture) + 10 * sharpness)
        gains.append(drawn[0] - drawn[1])
    return float(np.mean(gains)) if gains else 0.0


def _bent_copies(target: Target) -> Iterator[Target]:
    picture, points = target.references[0], target.landmarks[0]
    pose = estimate_pose(points)
    shape = to_face_frame(points, pose)
    for degrees, units in _BENDS:
        acted = shape.copy()
        for unit, strength in units.items():
            acted += strength * action_unit_basis()[ACTION_UNITS.index(unit)]
        turn = rotation_matrix(np.radians(np.array(degrees, np.float32)))
        bent = to_image(acted, replace(pose, rotation=turn @ pose.rotation))
        maps = head_mesh().maps(points, bent, _SIZE_PX, _SIZE_PX // 2)
        copy = warp_image(picture, source_map(maps, _SIZE_PX))
        yield replace(target, references=copy[None], landmarks=bent[None], neutral=bent)
