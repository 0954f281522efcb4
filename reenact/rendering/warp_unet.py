"""The renderer of the live generator: `models.warp_unet` driven by the head mesh.

Importing this module loads no torch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.config import RendererSettings
from reenact.errors import ModelError
from reenact.face.body_placement import reference_bodies
from reenact.face.geometry import estimate_pose, square_to_crop, transform_points
from reenact.face.reference_ranking import SeenFaces
from reenact.face.segmentation import by_colour, person_masks, shows_person
from reenact.imaging import in_bytes, resized_square
from reenact.models.warp_unet_inputs import (
    FLOW,
    MAP_STEM,
    NETWORK_PX,
    SHIPPED_WEIGHTS,
    VERSION,
    input_shapes,
    network_side,
    read_config,
)
from reenact.registry import RendererSpec
from reenact.rendering.background import closed_above, hidden_in
from reenact.rendering.compositing import edge_fade, within_plate
from reenact.rendering.head_mesh import steadied
from reenact.rendering.inpainting import backgrounds
from reenact.rendering.layers import (
    Corner,
    Reference,
    add_residual,
    follow_box,
    in_box,
    maps_in_box,
)
from reenact.rendering.painter import Painter
from reenact.types import Array, Body, Drive, Image, Pose, Target

if TYPE_CHECKING:
    from torch import nn

_log = logging.getLogger(__name__)


class WarpUNetRenderer:
    """The live generator. One thread calls it.

    It draws from the reference most similar to the driven face, keeps it until another one is
    clearly more similar, and cross-fades to that one within `FADE_S`.
    """

    FADE_S: Final = 0.12
    SWITCH_RATIO: Final = 0.65
    """Another reference is chosen if its distance is below this share of the current one's."""

    def __init__(self, settings: RendererSettings) -> None:
        from reenact.models.inference import choose_device

        self._settings = settings
        self.device = choose_device(settings.device, settings.engine)
        self.engine = ""
        self._loaded: str | None = None

    def prepare(self, target: Target) -> None:
        """Load the weights unless they are loaded, and split the references into layers.

        The shipped weights draw a target whose own do not load, with a warning.

        Raises ModelError if the weights of the settings are missing, damaged or of another
        architecture or version.
        """
        self._side_px = side_px = network_side(target.extent)
        weights = self._settings.weights or target.weights or ""
        if self._loaded != weights:
            try:
                self._load(Path(weights) if weights else SHIPPED_WEIGHTS)
            except ModelError as error:
                if weights != target.weights:
                    raise
                _log.warning("%s Until then, the shipped weights draw it.", error)
                self._load(SHIPPED_WEIGHTS)
            self._loaded = weights
        self._to_network = square_to_crop((0, 0, target.crop_size), side_px)
        landmarks = transform_points(target.landmarks, self._to_network)
        own = target.alphas is not None
        people = _coverage(target, side_px, landmarks) if target.alphas is None else target.alphas
        shown = zip(target.references, people, target.landmarks, strict=True)
        first_row = within_plate(target, target.crop_size)[0].start
        closed = [
            closed_above(image, person, first_row, points, exact=own)
            for image, person, points in shown
        ]
        filled: Sequence[Image | None] = [None] * len(closed)
        if not own:
            filled = backgrounds(
                (image, hidden_in(image, _mirrored_beyond(target, person)))
                for image, person in closed
            )
        bodies = reference_bodies(target)
        rows = zip(closed, target.landmarks, bodies, filled, strict=True)
        references = [
            Reference.of(*layers, points, side_px, body, filled=behind, on_white=own)
            for layers, points, body, behind in rows
        ]
        cells = side_px // MAP_STEM
        fade, inside = edge_fade(target, cells), within_plate(target, cells)
        # Two painters, because a picture cross-fades between two references.
        self._painter = lru_cache(maxsize=2)(
            lambda number: Painter(references[number], fade, inside)
        )
        self._seen = SeenFaces(landmarks, bodies, side_px)
        self.reset()

    def reset(self) -> None:
        """Forget the reference in use, the position of the repair box and the pose of the hair."""
        self._chosen: int | None = None
        self._fading_from: int | None = None
        self._fade_s = 0.0
        self._corner: Corner | None = None
        self._hair: Pose | None = None

    def render(self, drive: Drive) -> Image:
        """Draw one frame."""
        landmarks = transform_points(drive.landmarks, self._to_network)
        self._number = number = self._choose(landmarks, drive.body, drive.dt_s)
        self._corner = follow_box(self._corner, landmarks, self._side_px)
        pose = estimate_pose(landmarks)
        self._hair = pose if self._hair is None else steadied(self._hair, pose)
        body, tongue = drive.body, drive.expression.tongue
        picture = self._draw(number, landmarks, pose, body, tongue)
        if self._fading_from is not None:
            earlier = self._draw(self._fading_from, landmarks, pose, body, tongue)
            share = self._fade_s / self.FADE_S
            cv2.addWeighted(earlier, 1 - share, picture, share, 0, dst=picture)
        return picture

    def cut_out(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Move an alpha of the first reference like the person in the last picture, (S, S).

        If another reference was drawn, its own is moved. It fades over like the picture.
        """
        moved = self._painter(self._number).moved(None if self._number else alpha)
        if self._fading_from is not None:
            number, share = self._fading_from, self._fade_s / self.FADE_S
            earlier = self._painter(number).moved(None if number else alpha)
            cv2.addWeighted(earlier, 1 - share, moved, share, 0, dst=moved)
        return moved

    def _load(self, path: Path) -> None:
        from reenact.models.inference import compile_module, file_digest

        config = read_config(path)
        self._engine = compile_module(
            lambda: _network(path),
            {name: np.zeros(shape, np.float32) for name, shape in input_shapes().items()},
            self.device,
            self._settings.engine,
            self._settings.threads,
            key=f"warp_unet {VERSION} {config} {file_digest(path)}",
        )
        self.engine = self._engine.name

    def _draw(self, number: int, landmarks: Array, pose: Pose, body: Body, tongue: float) -> Image:
        """Draw from one reference; the landmarks are in the network's px."""
        painter = self._painter(number)
        picture, maps = painter.paint(landmarks, pose, follows=self._hair, body=body, tongue=tongue)
        assert self._corner is not None
        zoom = len(picture) / self._side_px
        cells = maps_in_box(maps, self._corner)
        # The network expects the flow in halves of the usual crop's side, not of a wider crop's.
        cells[FLOW] *= self._side_px / NETWORK_PX
        inputs = {"layered": in_box(picture, self._corner, zoom)[None], "maps": cells[None]}
        residual = self._engine(inputs)[0][0]
        add_residual(picture, residual, self._corner, zoom, grey=painter.grey)
        return picture

    def _choose(self, landmarks: Array, body: Body, dt_s: float) -> int:
        """Return the index of the reference to draw from, and advance the fade towards it."""
        if len(self._seen) == 1:
            return 0
        if self._fading_from is None:
            distances = self._seen.distances(landmarks, body)
            nearest = int(distances.argmin())
            if self._chosen is None:
                self._chosen = nearest
            elif distances[nearest] < self.SWITCH_RATIO * distances[self._chosen]:
                self._fading_from, self._chosen, self._fade_s = self._chosen, nearest, 0.0
        # The previous frame showed the old reference, so the time since then counts for the fade.
        self._fade_s += dt_s
        if self._fade_s >= self.FADE_S:
            self._fading_from = None
        assert self._chosen is not None
        return self._chosen


def _network(path: Path) -> nn.Module:
    from reenact.models.warp_unet import WarpUNet
    from reenact.models.weights import load_model

    network = WarpUNet(read_config(path))
    load_model(path, network, "warp_unet")
    return network


def person_coverage(
    pictures: Iterable[Image], landmarks: Iterable[Array]
) -> Iterator[NDArray[np.uint8]]:
    """Yield the coverage by people of each picture, uint8 (S, S, 3), as uint8 (S, S); 255: full.

    It is 0 everywhere, which means unknown, if the face is not segmented as a person, as in some
    drawings. Raises ModelError if this version of mediapipe has no segmentation.
    """
    kept, given = tee(pictures)
    for picture, mask, points in zip(kept, person_masks(given), landmarks, strict=True):
        if shows_person(mask, points):
            # Thin strands are in the one, coloured and drawn hair in the other.
            yield in_bytes(np.maximum(mask, by_colour(mask, picture, points)))
        else:
            yield np.zeros(mask.shape, np.uint8)


def _coverage(target: Target, side_px: int, landmarks: Array) -> Iterator[NDArray[np.uint8]]:
    """Yield the coverage by people of each reference, uint8 (S, S); see `person_coverage`.

    Beyond the plate, where a reference shows its mirror image, that of the edge is repeated.

    Args:
        target: the target.
        side_px: S.
        landmarks: (R, 478, 3) of its references, in px of S.
    """
    rows, columns = inside = within_plate(target, side_px)
    pictures = (
        np.ascontiguousarray(resized_square(np.asarray(image), side_px)[inside])
        for image in target.references
    )
    corner = np.array([columns.start, rows.start, 0], np.float32)
    for people in person_coverage(pictures, landmarks - corner):
        yield np.pad(people, _beyond(inside, side_px), mode="edge")


def _mirrored_beyond(target: Target, people: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a coverage by people, (S, S), with that of the mirror image beyond the plate.

    It is not drawn there, but is no wall to fill from.
    """
    inside = within_plate(target, len(people))
    mirrored = np.pad(people[inside], _beyond(inside, len(people)), mode="symmetric")
    return np.maximum(people, mirrored)


def _beyond(inside: tuple[slice, slice], side_px: int) -> list[tuple[int, int]]:
    """Return how many px a crop has before and after its rows and columns within the plate."""
    return [(part.start, side_px - part.stop) for part in inside]


WARP_UNET: Final = RendererSpec(
    "warp_unet",
    "mesh warp repaired and filled by a small U-net (default)",
    lambda common, own: WarpUNetRenderer(common),
    from_photo=True,
    beyond_crop=True,
    recipe="reenact.training.warp_unet:build_recipe",
    target_training="reenact.training.fine_tuning:train_on_target",
    export="reenact.models.warp_unet_export:export_generator",
)
