"""The built-in renderers: copy, warp, warp_unet.

Each draws the target's crop from a `Drive`. Importing this module loads no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from reenact.config import LIVE, RendererSettings, Section, Share
from reenact.face.geometry import estimate_pose, region_mask
from reenact.face.topology import OVAL
from reenact.imaging import from_unit, in_bytes, smoothstep, to_unit
from reenact.models.warp_unet_inputs import shipped_weights
from reenact.registry import RendererSpec
from reenact.rendering.background import scene_behind
from reenact.rendering.eyelids import even_out
from reenact.rendering.head_mesh import (
    HeadMesh,
    tears,
)
from reenact.rendering.reference_ranking import SeenFaces, reference_distances
from reenact.rendering.relighting import Lighting
from reenact.rendering.residual_flow import read_own_flow
from reenact.rendering.teeth import UpperTeeth
from reenact.types import Array, Drive, Image, Pose, Target

_SKIN: Final = 0.5
"""Coverage by skin from which on a cell is not sharpened."""

_LEARNED_AT: Final = 256
"""Side of the pictures that the general weights were trained on, px."""

_MASK_OF_TRAINED: Final = 0.8
"""Share of the unsharp mask for weights that were trained on the target, which are sharper."""

_CUT_OUT: Final = 0.5
"""Share of a face that must be found to be person, or nothing is told about it."""

_FADE_SHARE: Final = 0.16
"""Over this share of the crop's side the mesh's motion fades towards the plate."""


class WarpUNetSettings(Section):
    """What is done to the network's picture."""

    sharpen: Share = Field(
        0.5,
        description="unsharp mask beside the skin, where the picture is a little soft, and at 512 "
        "half of it on skin; 0: none; weights trained on the target get less",
        json_schema_extra=LIVE,
    )
    teeth: bool = Field(
        True,
        description="where teeth are drawn that no photo of the target shows, draw the gaps "
        "between them",
        json_schema_extra=LIVE,
    )


class WarpUNetRenderer:
    """The live generator: `models.warp_unet` on the mesh's flow.

    Of several references it draws from the one whose face is most like the driven one; a change
    fades over `FADE_S`, and a reference is kept until another is clearly nearer.
    """

    FADE_S: Final = 0.12
    CLEARLY: Final = 0.8
    """Another reference must be nearer than this share of the present one's distance."""

    def __init__(self, settings: RendererSettings, own: WarpUNetSettings) -> None:
        from reenact.models.inference import choose_device

        self._settings, self._own = settings, own
        self.device = choose_device(settings.device, settings.engine)
        self.engine = ""
        self._loaded: tuple[str, int] | None = None
        self._landmarks = np.zeros((0, 478, 3), np.float32)
        self._chosen: int | None = None
        self._fading_from: int | None = None
        self._fade_s = 0.0

    def prepare(self, target: Target) -> None:
        """Load the weights, if others are loaded, and encode the references.

        Raises:
            ModelError: the weights are missing, damaged or of another architecture.
        """
        weights = self._settings.weights or target.weights or ""
        if self._loaded != (weights, target.crop_size):
            self._load(weights, target.crop_size)
        import torch

        from reenact.models.warp_unet_inputs import UNKNOWN_PERSON

        references = to_unit(target.references)
        people = np.stack(list(people_in(target.references, target.landmarks)))
        scenes = np.stack(
            [
                scene_behind(np.asarray(picture), in_bytes(person), points)
                for picture, person, points in zip(
                    target.references, people, target.landmarks, strict=True
                )
            ]
        )
        device = next(self._network.parameters()).device
        known = (references, people[:, None], to_unit(scenes))
        with torch.inference_mode():
            encoded = self._network.encode(*(torch.from_numpy(part).to(device) for part in known))
        background, features = (part.float().cpu().numpy() for part in encoded)
        self._held_inputs: dict[str, Array] = {
            "reference": references,
            "background": background,
            "features": features,
        }
        self._landmarks = target.landmarks
        self._poses = [estimate_pose(points) for points in target.landmarks]
        self._lighting = [
            Lighting.of(picture, points)
            for picture, points in zip(target.references, target.landmarks, strict=True)
        ]
        is_person = (people != UNKNOWN_PERSON).any()
        self._teeth = UpperTeeth(target.landmarks) if is_person else None
        self._seen = SeenFaces.of(target.landmarks)
        self._edge_fade = edge_fade(target, self._map_side)
        self._held: int | None = None
        self.reset()

    def render(self, drive: Drive) -> Image:
        """Draw one frame."""
        number = self._choose(drive)
        pose = estimate_pose(drive.landmarks)
        picture, maps = self._draw(number, drive, pose)
        if self._fading_from is not None:
            earlier, _ = self._draw(self._fading_from, drive, pose)
            picture = earlier + np.float32(self._fade_s / self.FADE_S) * (picture - earlier)
        drawn = from_unit(picture[0])
        poses = self._poses[number], pose
        even_out(drawn, self._landmarks[number], drive.landmarks, poses)
        if self._own.teeth and self._teeth is not None:
            self._teeth.draw(drawn, drive.landmarks, maps[..., 9], pose)
        return _finished(drawn, maps, self._own.sharpen * self._mask_share)

    def reset(self) -> None:
        """Forget the reference in use."""
        self._chosen = None
        self._fading_from = None

    def _load(self, weights: str, size_px: int) -> None:
        from reenact.models.inference import compile_module
        from reenact.models.warp_unet import (
            MAP_STEM,
            WarpUNet,
            input_shapes,
            read_config,
        )
        from reenact.models.weights import load_model

        path = Path(weights) if weights else shipped_weights()
        config = read_config(path)
        network = WarpUNet(config)
        load_model(path, network, "warp_unet")
        own_flow = read_own_flow(path)
        self._mesh = HeadMesh(own_flow)
        self._mask_share = 1.0 if own_flow is None else _MASK_OF_TRAINED
        network.eval()
        example = {
            name: np.zeros(shape, np.float32)
            for name, shape in input_shapes(config, size_px).items()
        }
        self._engine = compile_module(
            network, example, self.device, self._settings.engine, self._settings.threads
        )
        self.engine = self._engine.name
        self._network = network
        self._map_side = size_px // MAP_STEM
        self._size = size_px
        self._loaded = (weights, size_px)

    def _draw(self, number: int, drive: Drive, pose: Pose) -> tuple[Array, Array]:
        """Return the picture, (1, 3, S, S) in -1..1, and the maps that it is of."""
        if self._held != number:
            for name, values in self._held_inputs.items():
                self._engine.hold(name, values[number : number + 1])
            self._held = number
        maps = self._mesh.maps(
            self._landmarks[number],
            drive.landmarks,
            self._size,
            self._map_side,
            self._lighting[number],
            poses=(self._poses[number], pose),
            body=drive.body,
        )
        maps[..., :2] *= self._edge_fade
        return self._engine({"maps": np.ascontiguousarray(maps.transpose(2, 0, 1))[None]}), maps

    def _choose(self, drive: Drive) -> int:
        """Return the number of the reference to draw from, and see to the fade towards it."""
        if len(self._landmarks) == 1:
            return 0
        if self._fading_from is None:
            distances = reference_distances(self._seen, drive.landmarks)
            nearest = int(distances.argmin())
            if self._chosen is None:
                self._chosen = nearest
            elif distances[nearest] < self.CLEARLY * distances[self._chosen]:
                self._fading_from, self._chosen, self._fade_s = self._chosen, nearest, 0.0
        # The frame before showed the other one: the time since then belongs to the fade.
        self._fade_s += drive.dt_s
        if self._fade_s >= self.FADE_S:
            self._fading_from = None
        assert self._chosen is not None
        return self._chosen


def _finished(picture: Image, maps: Array, sharpen: float) -> Image:
    """Sharpen, above all beside the skin, and draw softly where the mesh is torn.

    Args:
        picture: uint8 (S, S, 3) RGB; it may be changed.
        maps: (S/2, S/2, MAP_CHANNELS) that it was drawn by. Where they are torn an outline is as
            coarse as their cells, in steps.
        sharpen: how much is added beside the skin of what the picture has over its mean of 3×3
            pixels, at 512 of 5×5. Of what moves, hair comes out softer than skin, which the network
            repairs more. It learned that at 256: the larger the picture, the more of it skin gets.
    """
    side = len(picture)
    window = 2 * max(round(side / _LEARNED_AT), 1) + 1
    soft = cv2.blur(picture, (window, window))
    if sharpen:
        beside = cv2.addWeighted(picture, 1 + sharpen, soft, -sharpen, 0)
        share = sharpen * max(0.0, 1 - _LEARNED_AT / side)
        if share:
            picture = np.asarray(cv2.addWeighted(picture, 1 + share, soft, -share, 0), np.uint8)
        picture = _replaced(picture, beside, maps[..., 5] < _SKIN)
    return _replaced(picture, soft, tears(maps[..., :2]))


def _replaced(picture: Image, other: NDArray[Any], where: NDArray[np.bool_]) -> Image:
    """Put another picture's pixels into one, in cells (S/2, S/2); both uint8 (S, S, 3)."""
    mask = cv2.resize(where.astype(np.uint8), picture.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.copyTo(other, mask, picture), np.uint8)


def people_in(pictures: Iterable[Image], landmarks: Iterable[Array]) -> Iterator[Array]:
    """Yield what the generator is told of each picture: where it shows a person.

    Args:
        pictures: uint8 (S, S, 3) RGB each.
        landmarks: (478, 3) px each.

    Yields:
        float32 (S, S), how far (0 to 1) each pixel is the person; `UNKNOWN_PERSON` everywhere in
        one whose face itself is not found to be a person's, as in some drawings.

    Raises:
        ModelError: this version of mediapipe cannot cut people out.
    """
    from reenact.face.segmentation import person_masks
    from reenact.models.warp_unet_inputs import UNKNOWN_PERSON

    for mask, points in zip(person_masks(pictures), landmarks, strict=True):
        face = region_mask(points, OVAL, len(mask)) > 127
        if mask[face].mean() < _CUT_OUT:
            yield np.full_like(mask, UNKNOWN_PERSON)
        else:
            yield mask


def edge_fade(target: Target, side: int) -> Array:
    """Return (side, side, 1): how far the mesh's motion holds, 0 on the crop's edge, 1 inside.

    Motion fades where the plate goes on beyond the crop, so that shoulders and background meet
    it; where the crop's edge is the plate's, nothing has to meet and all of it holds.
    """
    height, width = target.plate.shape[:2]
    scale, left, top = (float(target.crop_to_plate[at]) for at in ((0, 0), (0, 2), (1, 2)))
    reach = target.crop_size * scale
    axes = []
    for start, length in ((left, width), (top, height)):
        place = (np.arange(side, dtype=np.float32) + 0.5) / side
        depth = np.full(side, _FADE_SHARE, np.float32)
        if start > 1:
            depth = np.minimum(depth, place)
        if start + reach < length - 1:
            depth = np.minimum(depth, 1 - place)
        axes.append(smoothstep(depth / _FADE_SHARE))
    return np.asarray(np.minimum.outer(axes[1], axes[0])[..., None], dtype=np.float32)


WARP_UNET: Final = RendererSpec(
    "warp_unet",
    "mesh warp repaired and filled by a small U-net (default)",
    WarpUNetRenderer,
    settings=WarpUNetSettings,
    from_photo=True,
    recipe="reenact.training.warp_unet:build_recipe",
    target_training="reenact.training.fine_tuning:train_on_target",
    export="reenact.models.export:export_generator",
)
