"""Chooses the renderer of a new target: the generator that draws it best.

Generators are trained on people and may spoil other faces. To measure that, the mesh deforms a copy
of the target's picture (head turned, eyes shut, mouth opened). The copy is the reference, and the
picture itself is the ground truth that each renderer has to draw. The score of a generator is its
gain in decibels over the mesh warp. If no generator gains anything, the mesh warp draws the target.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np

from reenact.config import RendererSettings
from reenact.errors import ReenactError
from reenact.evaluation import metrics
from reenact.face.action_units import action_unit_basis
from reenact.face.geometry import estimate_pose, rotation_matrix, to_face_frame, to_image
from reenact.face.topology import ACTION_UNITS
from reenact.live.drives import landmark_drive
from reenact.registry import available, load, renderer_of
from reenact.rendering.compositing import within_plate
from reenact.rendering.head_mesh import head_mesh
from reenact.rendering.mesh_warp import source_map, warp_image
from reenact.targets.builder import resize_target
from reenact.types import Target

FLOOR: Final = "warp"
"""The baseline, and the renderer of a target on which no generator gains anything."""

MIN_GAIN_DB: Final = 0.0
"""Minimum gain, dB; below it the mesh warp draws the target. In PSNR alone, photos of people gained
3 to 7 dB, drawings and statues 2.6 to 5.2, a cat 3.0; two photos with objects in front of the face
0.4 and -0.5."""

log = logging.getLogger(__name__)

_SIZE_PX: Final = 256

_BENDS: Final = (
    ((0, 10, 0), {"smile_left": 0.6, "smile_right": 0.6}),
    ((0, -10, 0), {"brow_raise_left": 0.8, "brow_raise_right": 0.8}),
    ((6, 0, 4), {"mouth_open": 0.6, "jaw_drop": 0.5}),
    ((-5, 4, 0), {"blink_left": 0.8, "blink_right": 0.8}),
)
"""Head rotation in degrees (pitch, yaw, roll), and action units."""


def choose_renderer(target: Target) -> Target:
    """Return the target with the renderer that draws it best and the measured gain in its metadata.

    All renderers that can draw from a photo are measured. One that fails is skipped with a
    warning; if all fail, the first ReenactError is raised.
    """
    gains: dict[str, float] = {}
    failures: list[ReenactError] = []
    for name in available("renderers"):
        try:
            if load("renderers", name).from_photo:
                gains[name] = generator_gain_db(target, name)
        except ReenactError as error:
            failures.append(error)
            log.warning("%s is not measured: %s", name, error)
        except Exception:
            log.exception("%s is not measured because of a bug in it.", name)
    if not gains:
        if failures:
            raise failures[0]
        return replace(target, renderer=FLOOR)
    best = max(gains, key=lambda name: gains[name])
    return replace(
        target,
        renderer=best if gains[best] >= MIN_GAIN_DB else FLOOR,
        metadata={**target.metadata, "generator gain": f"{gains[best]:.1f} dB over the mesh warp"},
    )


def generator_gain_db(target: Target, name: str) -> float:
    """Return by how many dB a renderer draws the target's first reference better than the mesh.

    The gain is the PSNR of the face plus 1 dB per .1 of sharpness. The target's own weights are
    used if they belong to this renderer. Raises ModelError if weights are missing or damaged.
    """
    if renderer_of(target) != name:
        target = replace(target, weights=None)
    target = resize_target(target, _SIZE_PX)
    renderers = [
        load("renderers", kind).make(RendererSettings(name=kind)) for kind in (name, FLOOR)
    ]
    box = metrics.face_box(target.landmarks[0], (_SIZE_PX, _SIZE_PX))
    if box is None:
        return 0.0
    # Above the photo there is no ground truth.
    first_row = within_plate(target, _SIZE_PX)[0].start
    box = slice(max(box[0].start, first_row), box[0].stop), box[1]
    truth = target.references[0][box]
    gains = []
    for bent in _bent_copies(target):
        drawn = []
        for renderer in renderers:
            renderer.prepare(bent)
            picture = renderer.render(landmark_drive(target.landmarks[0]))[box]
            sharpness = min(metrics.sharpness(truth, picture), 1.0)
            drawn.append(metrics.psnr(truth, picture) + 10 * sharpness)
        gains.append(drawn[0] - drawn[1])
    return float(np.mean(gains))


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
        source = source_map(maps, _SIZE_PX)
        yield replace(
            target,
            references=warp_image(picture, source)[None],
            landmarks=bent[None],
            neutral=bent,
            alphas=None if target.alphas is None else warp_image(target.alphas[0], source)[None],
        )
