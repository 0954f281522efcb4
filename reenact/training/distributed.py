"""Several processes that train one network, as `torchrun` starts them.

    torchrun --nproc-per-node 4 --no-python reenact train configs/train/fan2023.toml

Each process draws batches of its own and averages its gradients with the others' before every
step of an optimiser, by `torch.distributed`. (`DistributedDataParallel` averages the same way, but
only what passes one module's `forward` once a step; a recipe with critics and several passes is
more than that.)
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

_OWN_BATCHES = 1_000_003
"""The seeds of two processes' batches lie so far apart."""


@dataclass(frozen=True, slots=True)
class Team:
    """The processes that train together; a team of one needs nothing of the others.

    Attributes:
        rank: which this one is; 0 validates, saves and talks.
        size: how many there are.
        device: that this one computes on.
    """

    rank: int
    size: int
    device: str

    @property
    def leads(self) -> bool:
        """Whether this process validates, saves and talks."""
        return self.rank == 0

    def seed(self, seed: int) -> int:
        """Return the seed of this process's batches."""
        return seed + _OWN_BATCHES * self.rank

    def start_alike(
        self, networks: Iterable[nn.Module], optimisers: Iterable[torch.optim.Optimizer]
    ) -> None:
        """Give every process the first one's weights, and average gradients from now on."""
        if self.size == 1:
            return
        for network in networks:
            for value in network.state_dict().values():
                dist.broadcast(value, 0)
        for optimiser in optimisers:
            optimiser.register_step_pre_hook(self._average_gradients)

    def agree(self, value: float) -> float:
        """Return the first process's value in every process."""
        if self.size == 1:
            return value
        shared = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.broadcast(shared, 0)
        return float(shared)

    def leave(self) -> None:
        """Wait for the others, then part."""
        if self.size > 1:
            dist.barrier()
            dist.destroy_process_group()

    def _average_gradients(
        self, optimiser: torch.optim.Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        del args, kwargs
        gradients = [
            parameter.grad
            for group in optimiser.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        start = 0
        for gradient in gradients:
            part = flat[start : start + gradient.numel()]
            gradient.copy_(part.view(gradient.shape))
            start += gradient.numel()


def join_team(device: str) -> Team:
    """Join the processes that `torchrun` started beside this one, or be alone.

    Args:
        device: "cpu" or "cuda"; with CUDA each process takes the GPU of its number.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Team(0, 1, device)
    rank = int(os.environ["RANK"])
    if device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', rank)}"
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    return Team(rank, size, device)
