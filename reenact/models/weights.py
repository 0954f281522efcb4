"""Model files: safetensors in half precision with a header, validated before loading."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open

from reenact.errors import ModelError
from reenact.storage import atomic_write
from reenact.types import Array

if TYPE_CHECKING:  # loading torch takes a second and 170 MB, which most runs avoid
    from torch import Tensor, nn
    from typing_extensions import Self


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Sizes of a picture generator, stored as text in its weight files.

    Attributes:
        size_px: side of the pictures.
    """

    size_px: int

    def to_json(self) -> str:
        """Return the text for a weight file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read such a text. Raises ValueError or TypeError if it is invalid."""
        return cls(**json.loads(text))


Config = TypeVar("Config", bound=NetworkConfig)
Network = TypeVar("Network", bound="nn.Module")


def builder(
    config: type[Config], network: Callable[[Config], Network]
) -> Callable[[str], tuple[Network, int]]:
    """Return a function that builds a network from the config text of a weight file.

    The function also returns the side of the pictures. It raises ValueError or TypeError if the
    text is invalid.
    """

    def build(text: str) -> tuple[Network, int]:
        sizes = config.from_json(text)
        return network(sizes), sizes.size_px

    return build


def save_model(path: Path, state: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    """Write weights as float16 with a header of text fields, atomically.

    Raises:
        ModelError: the file cannot be written.
    """
    import torch
    from safetensors.torch import save_file

    tensors = {
        name: value.detach().cpu().to(torch.float16).contiguous()
        if value.is_floating_point()
        else value.detach().cpu().contiguous()
        for name, value in state.items()
    }
    header = {"format": "reenact-1", "torch": torch.__version__, **facts}
    try:
        with atomic_write(path, error=ModelError) as partial:
            save_file(tensors, partial, metadata=header)
    except SafetensorError as error:
        raise ModelError(f"{path} cannot be written: {error}.") from error


def read_header(path: Path) -> dict[str, str]:
    """Return the text fields of a model file without loading its weights.

    Raises:
        ModelError: the file is missing, or it is not a model of this program.
    """
    if not path.is_file():
        raise ModelError(f"There is no model file {path}.")
    try:
        with safe_open(path, framework="np") as file:
            header: dict[str, str] = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} is not a safetensors file, or it is damaged.") from error
    if header.get("format") != "reenact-1":
        raise ModelError(f"{path} is a safetensors file, but not a model of this program.")
    return header


def load_model(path: Path, network: nn.Module, architecture: str) -> dict[str, str]:
    """Load weights into a network, in single precision, and return the header.

    Raises:
        ModelError: the file is missing, damaged, of another architecture, or its tensors do not
            fit the network.
    """
    header = header_of(path, architecture)
    wanted = network.state_dict()
    with safe_open(path, framework="pt") as file:
        names = set(file.keys())
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
        odd = sorted(
            (names ^ wanted.keys())
            | {name for name in names & wanted.keys() if shapes[name] != tuple(wanted[name].shape)}
        )
        if odd:
            raise ModelError(
                f"{path} does not fit this version's {architecture} ({odd[0]} differs): train it "
                "again (`reenact target train NAME` for the weights of a target)."
            )
        network.load_state_dict({name: file.get_tensor(name).float() for name in names})
    return header


def load_built(
    path: Path, build: Callable[[str], tuple[Network, int]], architecture: str
) -> tuple[Network, int, dict[str, str]]:
    """Build a network by the config in the header of its weights, see `builder`, and load them.

    Returns:
        The network for inference, the side of its pictures in px, and the header.

    Raises:
        ModelError: the file is missing, damaged, of another architecture or another version.
    """
    header = header_of(path, architecture)
    try:
        network, size_px = build(header.get("config", "{}"))
    except (TypeError, ValueError) as error:
        raise ModelError(f"{path} has a config that this version does not know.") from error
    load_model(path, network, architecture)
    return network.eval(), size_px, header


def load_arrays(path: Path, architecture: str) -> dict[str, Array]:
    """Return the tensors of a file in single precision, without checking their shapes.

    Raises:
        ModelError: the file is missing, damaged or of another architecture.
    """
    header_of(path, architecture)
    with safe_open(path, framework="np") as file:
        return {name: file.get_tensor(name).astype(np.float32) for name in file.keys()}  # noqa: SIM118


def header_of(path: Path, architecture: str) -> dict[str, str]:
    """Return the header of a model file that must be of one architecture.

    Raises:
        ModelError: the file is missing, damaged or of another architecture.
    """
    header = read_header(path)
    found = header.get("architecture", "no name")
    if found != architecture:
        raise ModelError(f"{path} holds a model of {found}, not of {architecture}.")
    return header
