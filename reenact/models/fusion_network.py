"""The landmark-fusion autoencoder at run time: a few matrix products in numpy.

It computes the same as `models.landmark_fusion.LandmarkFusion` (a test compares them) in .2 ms and
without loading torch. The weights are in a safetensors file whose header and shapes are checked
before any tensor is read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from safetensors import SafetensorError, safe_open

from reenact.errors import ModelError
from reenact.face.geometry import canonical_face
from reenact.face.topology import N_LANDMARKS
from reenact.storage import ASSETS
from reenact.types import Array

ARCHITECTURE: Final = "landmark_fusion"
SHAPE_SCALE: Final = 5.0
DEVIATION_SCALE: Final = 10.0
OUTPUT_SCALE: Final = 0.05

COORDINATES: Final = 3 * N_LANDMARKS

LAYERS: Final = {
    "source_in": (2 * COORDINATES, 128),
    "source_out": (128, 64),
    "target_in": (COORDINATES, 64),
    "target_out": (64, 32),
    "decoder_in": (64 + 32, 128),
    "decoder_out": (128, COORDINATES),
}
"""The layers, each with its numbers of inputs and outputs."""


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of the model file."""
    weights: dict[str, tuple[int, ...]] = {
        f"{name}.weight": (outputs, inputs) for name, (inputs, outputs) in LAYERS.items()
    }
    return weights | {f"{name}.bias": (outputs,) for name, (_, outputs) in LAYERS.items()}


class FusionNetwork:
    """Φ(n, d, t) of Fan 2023, eq. 1, for one face at a time. Not thread-safe.

    Args:
        path: model file.

    Raises:
        ModelError: the file is missing, damaged, or another model.
    """

    def __init__(self, path: Path) -> None:
        weights, self.facts = _read(path)
        self._layers = {
            name: (weights[f"{name}.weight"], weights[f"{name}.bias"]) for name in LAYERS
        }
        matrix, self._source_bias = self._layers["source_in"]
        self._who_in = np.ascontiguousarray(matrix[:, :COORDINATES])
        self._does_in = np.ascontiguousarray(matrix[:, COORDINATES:])
        self._canonical = canonical_face().reshape(-1)
        self._actor: Array | None = None
        self._target: Array | None = None

    def deviation(self, actor: Array, deviation: Array, target: Array) -> Array:
        """Return the target's (478, 3) deviation, iod; zero for a deviation of zero.

        Args:
            actor: (478, 3) resting shape of the actor, face frame, iod.
            deviation: (478, 3) deviation of the actor from it, iod.
            target: (478, 3) resting shape of the target, face frame, iod.
        """
        self._prepare(actor, target)
        does = self._does_in @ (deviation.reshape(-1) * np.float32(DEVIATION_SCALE))
        change = self._hidden(self._who + does) - self._rest
        moved = self._layers["decoder_out"][0] @ change
        return np.asarray(deviation + np.float32(OUTPUT_SCALE) * moved.reshape(-1, 3))

    def _prepare(self, actor: Array, target: Array) -> None:
        """Precompute what depends on the resting faces alone; they rarely change."""
        same_target = self._target is target
        if not same_target:
            self._target = target
            onto = self._linear("target_in", self._centred(target))
            self._onto = self._linear("target_out", _silu(onto))
        if self._actor is not actor:
            self._actor = actor
            self._who = self._who_in @ self._centred(actor) + self._source_bias
        elif same_target:
            return
        self._rest = self._hidden(self._who)

    def _hidden(self, source: Array) -> Array:
        latent = np.tanh(self._linear("source_out", _silu(source)))
        return _silu(self._linear("decoder_in", np.concatenate([latent, self._onto])))

    def _centred(self, shape: Array) -> Array:
        return (shape.reshape(-1) - self._canonical) * np.float32(SHAPE_SCALE)

    def _linear(self, name: str, value: Array) -> Array:
        matrix, bias = self._layers[name]
        return np.asarray(matrix @ value + bias)


def shipped_path() -> Path:
    """Return the model file that comes with the program."""
    return ASSETS / f"{ARCHITECTURE}.safetensors"


def shipped_network() -> FusionNetwork:
    """Return the network that comes with the program.

    Raises:
        ModelError: its file is missing or damaged.
    """
    if not shipped_path().is_file():
        raise ModelError(f"{shipped_path()} is missing; install the program again.")
    return FusionNetwork(shipped_path())


def _silu(x: Array) -> Array:
    return np.asarray(x / (1 + np.exp(-np.maximum(x, -60))), dtype=np.float32)


def _read(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    if not path.is_file():
        raise ModelError(f"There is no model file {path}; check the path, or train it first.")
    try:
        with safe_open(path, framework="np") as file:
            facts: dict[str, str] = file.metadata() or {}
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  (not a dict)
            if facts.get("format") != "reenact-1" or facts.get("architecture") != ARCHITECTURE:
                raise ModelError(f"{path} is not a {ARCHITECTURE} model of this program.")
            if found != tensor_shapes():
                raise ModelError(f"{path} has layer sizes that this program does not know.")
            return {name: file.get_tensor(name).astype(np.float32) for name in found}, facts
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is not a safetensors file, or it is damaged.") from error
