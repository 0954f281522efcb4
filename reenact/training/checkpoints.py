"""The training state that is needed to resume, stored as safetensors: nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from reenact.errors import ModelError, ReenactError, SinkError
from reenact.storage import atomic_write

WEIGHTS: Final = "best.safetensors"
"""The best weights of a training, in its folder."""

STATE: Final = "state.safetensors"
"""What a training continues from, in its folder."""


class TrainingState:
    """Networks, averaged weights, optimizers and progress of a training run.

    Random state is not stored: each step derives its own from the seed and its number. Networks and
    optimizers are shared, not copied. `averaged` names the network whose moving average is kept.

    Attributes:
        step: number of completed steps.
        seconds: time spent on them, over all runs.
        best: figures of the best validation so far; empty before the first one.
    """

    def __init__(
        self,
        folder: Path,
        networks: Mapping[str, nn.Module],
        optimizers: Mapping[str, torch.optim.Optimizer],
        averaged: str,
        decay: float,
    ) -> None:
        self.folder = folder
        self.step = 0
        self.seconds = 0.0
        self.best: dict[str, float] = {}
        self._optimizers = optimizers
        self._source = networks[averaged]
        self._average = AveragedModel(
            self._source, multi_avg_fn=_moving_average(decay), use_buffers=True
        ).requires_grad_(False)
        self._networks = {**networks, "averaged": self._average}

    @property
    def averaged(self) -> nn.Module:
        """The network with averaged weights."""
        network: nn.Module = self._average.module
        return network

    def average(self) -> None:
        """Update the averaged weights."""
        self._average.update_parameters(self._source)

    def save(self) -> None:
        """Write the state atomically. Raises ReenactError if that fails."""
        tensors: dict[str, Tensor] = {}
        for name, network in self._networks.items():
            for key, value in network.state_dict().items():
                tensors[f"network/{name}/{key}"] = _portable(value)
        for name, optimizer in self._optimizers.items():
            for index, entries in optimizer.state_dict()["state"].items():
                for key, value in entries.items():
                    tensors[f"optimizer/{name}/{index}/{key}"] = _portable(torch.as_tensor(value))
        facts = {
            "step": str(self.step),
            "seconds": str(self.seconds),
            "best": json.dumps(self.best),
        }
        try:
            with atomic_write(self.folder / STATE) as partial:
                save_file(tensors, partial, metadata=facts)
        except (SinkError, SafetensorError) as error:
            raise disk_error(self.folder, error) from error

    def load(self) -> None:
        """Restore the saved state.

        Raises ReenactError if it is missing, damaged, or of another network.
        """
        check_folder(self.folder, resume=True)
        path = self.folder / STATE
        self.step, self.seconds, self.best = read_progress(self.folder)
        try:
            self._restore(load_file(path))
        except (RuntimeError, ValueError, LookupError) as error:
            raise ReenactError(
                f"{path} belongs to another network; use the settings that it was started with, "
                "or another folder."
            ) from error

    def _restore(self, tensors: Mapping[str, Tensor]) -> None:
        for name, network in self._networks.items():
            prefix = f"network/{name}/"
            network.load_state_dict(
                {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            )
        for name, optimizer in self._optimizers.items():
            prefix = f"optimizer/{name}/"
            parameters = [one for group in optimizer.param_groups for one in group["params"]]
            entries: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(prefix):
                    index, field = key.removeprefix(prefix).split("/")
                    laid_out = _laid_out_as(parameters[int(index)], value)
                    entries.setdefault(int(index), {})[field] = laid_out
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": entries, "param_groups": groups})


def check_folder(folder: Path, resume: bool) -> None:
    """Raise ReenactError if there is nothing to resume, or a training would replace another."""
    earlier, best = (folder / STATE).exists(), folder / WEIGHTS
    if resume and not earlier:
        raise ReenactError(f"{folder} has no training to resume; leave out --resume.")
    if resume:
        return
    if earlier:
        raise ReenactError(
            f"{folder} has an earlier training; add --resume or name another folder."
        )
    if best.exists():
        raise ReenactError(f"{best} would be replaced; move it or name another folder.")


def read_progress(folder: Path) -> tuple[int, float, dict[str, float]]:
    """Return steps, seconds and best figures of the training saved in a folder.

    Raises ModelError if the state is missing or damaged.
    """
    path = folder / STATE
    try:
        with safe_open(path, framework="pt") as file:
            facts = file.metadata() or {}
        return int(facts["step"]), float(facts["seconds"]), json.loads(facts["best"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {error}.") from error


def disk_error(folder: Path, error: Exception) -> ReenactError:
    """Return the error for a folder that can no longer be written."""
    return ReenactError(
        f"The training state could not be written to {folder} ({error}). Free some disk space and "
        "continue from the last saved step."
    )


def _moving_average(decay: float) -> Any:
    """Return an exponential moving average that adapts faster at the beginning."""

    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        warm = float((1 + count) / (10 + count))
        average = get_ema_multi_avg_fn(min(decay, warm))  # type: ignore[no-untyped-call]
        average(averaged, current, count)

    return update


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """Return an optimizer moment in the memory layout of its parameter.

    Fused optimizers require equal layouts, and `channels_last` changes that of the parameter.
    """
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, requires_grad=False).copy_(value)


def _portable(value: Tensor) -> Tensor:
    return value.detach().cpu().contiguous().clone()
