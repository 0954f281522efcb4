"""Renderers whose network maps the target's picture and a landmark map to a picture: `fan2023`.

`I = Ω(J, P_t)` (Fan 2023, eq. 2). A plugin with a network of this form supplies its name and a
function that builds the network. Importing this module loads no torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from reenact.config import RendererSettings, Section
from reenact.errors import NoWeightsError
from reenact.face.geometry import landmark_map, square_to_crop, transform_points
from reenact.imaging import from_unit, resized_square, to_unit
from reenact.registry import RendererSpec, import_object
from reenact.types import Array, Drive, Image, Target


class LandmarkRenderer:
    """Draws the target's first reference with the driven landmarks. One thread calls it.

    The network draws at its training size; a crop of another size is scaled to it and back.

    Args:
        settings: device, engine and weights.
        own: not used.
        name: name of the renderer, and of the architecture in its weight files.
        build: "module:function" that builds the network, see `models.weights.builder`. The network
            maps a picture (N, 3, S, S) and a landmark map (N, 1, S, S) to a picture.
        recipe: training file for the weights, named in the error message if there are none.
        shipped: weights that come with the renderer; "": none.

    Attributes:
        condition_shape: shape of one frame's `condition`; None: a landmark map.
        header: header of the loaded weights.
    """

    condition_shape: tuple[int, ...] | None = None

    def __init__(
        self,
        settings: RendererSettings,
        own: Section,
        *,
        name: str,
        build: str,
        recipe: str,
        shipped: str = "",
    ) -> None:
        from reenact.models.inference import choose_device

        self.device = choose_device(settings.device, settings.engine)
        self.engine = ""
        self._settings = settings
        self._name, self._build, self._recipe = name, build, recipe
        self._shipped = shipped
        self.header: Mapping[str, str] = {}
        self._loaded: Path | None = None
        self._crop_px = 0

    def prepare(self, target: Target) -> None:
        """Load the weights unless they are loaded, and prepare the target's first reference.

        Raises NoWeightsError if there are no weights, ModelError if they are damaged or of another
        architecture.
        """
        self.load(target)
        self._crop_px = target.crop_size
        self._to_network = square_to_crop((0, 0, self._crop_px), self._size)
        reference = resized_square(target.references[0], self._size)
        points = transform_points(target.landmarks[0], self._to_network)
        self._engine.hold("picture", self.reference(reference, points))

    def load(self, target: Target) -> None:
        """Load the user's weights, the target's own or the shipped ones, unless they are loaded."""
        path = self._weights(target)
        if self._loaded != path:
            self._load(path)

    def reference(self, picture: Image, points: Array) -> Array:
        """Return the network's input for the target's picture, (1, 3, S, S) in -1..1.

        The picture is uint8 (S, S, 3) RGB at the network's size; `points` are its landmarks.
        """
        return to_unit(picture[None])

    def condition(self, drive: Drive) -> Array:
        """Return the network's input for one frame: the landmark map, (1, 1, S, S) in -1..1."""
        points = transform_points(drive.landmarks, self._to_network)
        return map_planes([points], self._size)

    def render(self, drive: Drive) -> Image:
        """Draw one frame."""
        (drawn,) = self._engine({"condition": self.condition(drive)})
        return np.ascontiguousarray(resized_square(from_unit(drawn[0]), self._crop_px))

    def reset(self) -> None:
        """Do nothing: each frame is drawn on its own."""

    def _weights(self, target: Target) -> Path:
        trained = target.weights if target.renderer == self._name else None
        path = self._settings.weights or trained or self._shipped
        if not path:
            raise NoWeightsError(
                f"{self._name} comes without weights: train it with `reenact train {self._recipe}` "
                "and give the file with --set renderer.weights=PATH."
            )
        return Path(path)

    def _load(self, path: Path) -> None:
        from reenact.models.inference import compile_module, file_digest
        from reenact.models.weights import load_built

        network, size, header = load_built(path, import_object(self._build), self._name)
        self.network, self._size = network, size
        code = file_digest(Path(inspect.getfile(type(network))))  # of this version of the plugin
        example = {
            "picture": np.zeros((1, 3, size, size), np.float32),
            "condition": np.zeros((1, *(self.condition_shape or (1, size, size))), np.float32),
        }
        self._engine = compile_module(
            lambda: network,
            example,
            self.device,
            self._settings.engine,
            self._settings.threads,
            key=f"{self._name} {header.get('config', '{}')} {file_digest(path)} {code}",
        )
        self.engine = self._engine.name
        self._loaded, self.header = path, header


def map_planes(landmarks: Sequence[Array], size_px: int) -> Array:
    """Return the landmark maps J, (N, 1, S, S) in -1..1, of N faces, (478, 3) px each."""
    return to_unit(np.stack([landmark_map(points, size_px)[..., None] for points in landmarks]))


def spec(
    name: str,
    summary: str,
    *,
    recipe: str,
    training_file: str,
    build: str = "reenact.models.unet:build",
    renderer: type[LandmarkRenderer] = LandmarkRenderer,
    export: str | None = None,
    shipped: str = "",
) -> RendererSpec:
    """Return the spec of a `LandmarkRenderer`, for an entry point.

    Args:
        name: name that users type.
        summary: one line.
        recipe: "module:function" of the training recipe.
        training_file: argument of `reenact train` that makes its weights.
        build: "module:function" that builds its network, see `models.weights.builder`.
        renderer: a subclass if the network needs other inputs.
        export: "module:function" of a `models.export.Exporter`.
        shipped: weights that come with it; "": none.
    """
    make = partial(renderer, name=name, build=build, recipe=training_file, shipped=shipped)
    return RendererSpec(name, summary, make, recipe=recipe, export=export)


FAN2023: Final = spec(
    "fan2023",
    "U-net of Fan 2023, from picture and landmark map (no weights are shipped)",
    recipe="reenact.training.adversarial:build_fan2023",
    training_file="configs/train/fan2023.toml",
)
