"""All that a resumed training needs, as safetensors: nothing is ever unpickled."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from reenact.errors import ModelError, ReenactError, SinkError
from reenact.storage import atomic_write

FILE: Final = "state.safetensors"


class TrainingState:
    """Networks, averaged weights, optimisers, and how far a training has come.

    Random numbers need no place in it: every step draws its own from the seed and its number.

    Args:
        folder: where the state is kept.
        networks: by name; they are shared, not copied.
        optimisers: by name; shared as well.
        averaged: name of the network whose averaged weights are kept.

    Attributes:
        step: steps done.
        seconds: spent on them, over all runs.
        best: figures of the best validation so far; empty before the first.
        averaged: the averaged network.
    """

    def __init__(
        self,
        folder: Path,
        networks: Mapping[str, nn.Module],
        optimisers: Mapping[str, torch.optim.Optimizer],
        averaged: str,
    ) -> None:
        self.folder = folder
        self.step = 0
        self.seconds = 0.0
        self.best: dict[str, float] = {}
        self._networks, self._optimisers = networks, optimisers
        self._source = networks[averaged]
        self.averaged = copy.deepcopy(self._source).requires_grad_(False)

    def average(self, decay: float) -> None:
        """Let the averaged weights follow; at the beginning faster, as there is little to keep."""
        decay = min(decay, (1 + self.step) / (10 + self.step))
        source = self._source.state_dict()
        for name, value in self.averaged.state_dict().items():
            if value.is_floating_point():
                value.lerp_(source[name], 1 - decay)
            else:
                value.copy_(source[name])

    def save(self) -> None:
        """Write the state, whole or not at all.

        Raises:
            ReenactError: it cannot be written; the state before is still there.
        """
        tensors: dict[str, Tensor] = {}
        for name, network in self._all_networks():
            for key, value in network.state_dict().items():
                tensors[f"network/{name}/{key}"] = _portable(value)
        for name, optimiser in self._optimisers.items():
            for index, entries in optimiser.state_dict()["state"].items():
                for key, value in entries.items():
                    tensors[f"optimiser/{name}/{index}/{key}"] = _portable(torch.as_tensor(value))
        facts = {
            "step": str(self.step),
            "seconds": str(self.seconds),
            "best": json.dumps(self.best),
        }
        try:
            with atomic_write(self.folder / FILE) as partial:
                save_file(tensors, partial, metadata=facts)
        except (SinkError, SafetensorError) as error:
            raise disk_error(self.folder, error) from error

    def load(self) -> None:
        """Go back to the state that was saved.

        Raises:
            ReenactError: there is none, or it is of another network.
            ModelError: it is damaged.
        """
        path = self.folder / FILE
        if not path.exists():
            raise ReenactError(f"{self.folder} holds no training to resume.")
        try:
            tensors = load_file(path)
            with safe_open(path, framework="pt") as file:
                facts = file.metadata() or {}
            self.step = int(facts["step"])
            self.seconds = float(facts["seconds"])
            self.best = json.loads(facts["best"])
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise ModelError(f"{path} is damaged: {error}.") from error
        try:
            self._restore(tensors)
        except (RuntimeError, ValueError, KeyError) as error:
            raise ReenactError(
                f"{path} is of another network; use the settings it was begun with, or another "
                "folder."
            ) from error

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        for name, network in self._all_networks():
            prefix = f"network/{name}/"
            network.load_state_dict(
                {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            )
        for name, optimiser in self._optimisers.items():
            prefix = f"optimiser/{name}/"
            entries: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(prefix):
                    index, field = key.removeprefix(prefix).split("/")
                    entries.setdefault(int(index), {})[field] = value
            plain = optimiser.state_dict()
            optimiser.load_state_dict({"state": entries, "param_groups": plain["param_groups"]})

    def _all_networks(self) -> Iterator[tuple[str, nn.Module]]:
        yield from self._networks.items()
        yield "averaged", self.averaged


def disk_error(folder: Path, error: Exception) -> ReenactError:
    """Say that a folder takes no more, and what to do."""
    return ReenactError(
        f"The training could not be written to {folder} ({error}); free some space and go on from "
        "the last saved step with --resume."
    )


def _portable(value: Tensor) -> Tensor:
    return value.detach().cpu().contiguous().clone()
