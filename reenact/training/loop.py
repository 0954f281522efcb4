"""One training loop: seeds, precision, averaged weights, checkpoints that resume, the best kept.

A recipe owns its networks and its step; the loop owns everything else. Several processes share
one training where `torchrun` starts them (`team`).
"""

from __future__ import annotations

import json
import logging
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from reenact.errors import ReenactError
from reenact.training.checkpoints import FILE, TrainingState
from reenact.training.distributed import Team, join_team
from reenact.training.log import Journal

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How long and where.

    Attributes:
        folder: where state, best weights and history are kept.
        steps: last step; the loop ends there or after `minutes`.
        minutes: budget of wall time over all resumed runs; 0: none.
        validate_every: steps between validations.
        seed: of weights and batches.
        device: "cpu" or "cuda".
        precision: "auto" (bfloat16 where the device computes it natively), "float32" or
            "bfloat16".
        workers: processes that make batches; 0: the training process itself.
        fresh_workers: start them anew instead of as copies of this process: slower, and the only
            safe way where this process has run other libraries' threads.
        ema: decay of the averaged weights that are validated and kept.
    """

    folder: Path
    steps: int
    minutes: float = 0.0
    validate_every: int = 500
    seed: int = 0
    device: str = "cpu"
    precision: str = "auto"
    workers: int = 1
    fresh_workers: bool = False
    ema: float = 0.998


class Recipe(Protocol):
    """What is trained and how one step goes."""

    networks: dict[str, nn.Module]
    optimisers: dict[str, torch.optim.Optimizer]
    averaged: str
    """Which of the networks is validated and kept, with averaged weights."""

    def batches(self, seed: int, steps: int) -> Dataset[Any]:
        """Return a dataset whose item n is the whole batch of step n."""

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        """Learn from one batch; progress runs from 0 to 1. Return losses by name.

        A recipe that wants to end the training raises KeyboardInterrupt before it learns.
        """

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return figures on people it never saw; of "score", more is better."""

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write the weights that the live path loads."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a training ended.

    Attributes:
        best: figures of the best validation, over all runs.
        step: the last step done.
        interrupted: whether it was asked to stop before its end.
    """

    best: dict[str, float]
    step: int
    interrupted: bool


def train(
    recipe: Recipe,
    options: LoopOptions,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, float]:
    """Train as `run` does and return the best figures."""
    return run(recipe, options, resume, stop).best


def run(
    recipe: Recipe,
    options: LoopOptions,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    """Train until the steps or the minutes are spent, or it is asked to stop.

    `folder/best.safetensors` holds the best weights on validation so far and
    `folder/state.safetensors` all that a resumed run needs.

    Args:
        recipe: its networks are moved to the device.
        options: how long and where.
        resume: go on from the state in the folder.
        stop: asked before each step; True ends the training, with the weights so far validated
            and the state saved.

    Raises:
        ReenactError: the folder cannot be written (any more), or there is nothing to resume.
    """
    team = join_team(options.device)
    torch.manual_seed(options.seed)
    _make_folder(options.folder)
    for network in recipe.networks.values():
        network.to(team.device)
    state = TrainingState(options.folder, recipe.networks, recipe.optimisers, recipe.averaged)
    if resume:
        state.load()
    elif (options.folder / FILE).exists() and team.leads:
        raise ReenactError(
            f"{options.folder} holds an earlier training; add --resume or name another folder."
        )
    team.start_alike(recipe.networks.values(), recipe.optimisers.values())
    training = _Training(recipe, options, state, team)
    with Journal(options.folder, silent=not team.leads) as journal:
        try:
            interrupted = training.go(journal, stop)
        except KeyboardInterrupt:
            interrupted = True
        training.validate(journal, {})
    if interrupted and team.leads:
        log.warning("Stopped after step %d; go on with --resume.", state.step)
    team.leave()
    return Outcome(state.best, state.step, interrupted)


class _Training:
    """What `run` is made of, with its parts at hand."""

    def __init__(
        self, recipe: Recipe, options: LoopOptions, state: TrainingState, team: Team
    ) -> None:
        self._recipe, self._options, self._state, self._team = recipe, options, state, team

    def go(self, journal: Journal, stop: Callable[[], bool]) -> bool:
        """Do all steps; return whether it was asked to stop."""
        recipe, options, state, team = self._recipe, self._options, self._state, self._team
        halves = choose_precision(options.device, options.precision) == "bfloat16"
        started = time.monotonic() - state.seconds
        for batch in _loader(recipe, options, state.step, team):
            state.seconds = time.monotonic() - started
            asked = stop()
            progress = team.agree(1.0 if asked else _progress(options, state))
            if progress >= 1:
                return asked
            torch.manual_seed(team.seed(options.seed + 1) + state.step)
            with torch.autocast(options.device, torch.bfloat16, enabled=halves):
                losses = recipe.step(_to_device(batch, team.device), progress)
            state.average(options.ema)
            state.step += 1
            journal.tell(state.step, _progress(options, state), state.seconds, losses)
            if state.step % options.validate_every == 0:
                self.validate(journal, losses)
        return False

    def validate(self, journal: Journal, losses: Mapping[str, float]) -> None:
        """Look at the averaged weights, keep them if they are the best, and save the state."""
        if not self._team.leads:
            return
        state = self._state
        state.averaged.eval()
        with torch.no_grad():
            figures = self._recipe.validate(state.averaged)
        if figures["score"] > state.best.get("score", float("-inf")):
            state.best = figures
            facts = {
                "steps": str(state.step),
                "minutes": f"{state.seconds / 60:.1f}",
                "figures": json.dumps({name: round(value, 4) for name, value in figures.items()}),
            }
            self._recipe.save(state.averaged, state.folder / "best.safetensors", facts)
        state.save()
        journal.note(state.step, state.seconds, {**losses, **figures})


def _progress(options: LoopOptions, state: TrainingState) -> float:
    by_time = state.seconds / (options.minutes * 60) if options.minutes else 0.0
    return min(max(state.step / options.steps, by_time), 1.0)


def choose_precision(device: str, wish: str) -> str:
    """Return "bfloat16" where asked for, or where the device multiplies it natively."""
    if wish != "auto":
        return wish
    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    native: bool = torch.cpu._is_amx_tile_supported()
    return "bfloat16" if native else "float32"


class _Rest(Dataset[Any]):
    """The batches from a step on."""

    def __init__(self, batches: Dataset[Any], start: int, stop: int) -> None:
        self._batches, self._start, self._stop = batches, start, stop

    def __len__(self) -> int:
        return max(self._stop - self._start, 0)

    def __getitem__(self, index: int) -> Any:
        return self._batches[self._start + index]


def _loader(
    recipe: Recipe, options: LoopOptions, start: int, team: Team
) -> Iterable[Mapping[str, Any]]:
    import cv2

    # A worker forked from a process whose OpenCV has threads would wait for them for ever.
    cv2.setNumThreads(1)
    batches = recipe.batches(team.seed(options.seed), options.steps)
    loader: Iterable[Mapping[str, Any]] = DataLoader(
        _Rest(batches, start, options.steps),
        batch_size=None,
        num_workers=options.workers,
        prefetch_factor=4 if options.workers else None,
        worker_init_fn=_quiet_worker,
        pin_memory=options.device == "cuda",
        multiprocessing_context="spawn" if options.workers and options.fresh_workers else None,
    )
    return loader


def _quiet_worker(number: int) -> None:
    """Keep a worker to one thread, and let Ctrl-C be the training process's matter.

    Several spinning pools on few cores slow each other down.
    """
    import cv2

    del number
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _to_device(batch: Mapping[str, Any], device: str) -> dict[str, Any]:
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass  # its name is unlike any other process's of a team
    except OSError as error:
        raise ReenactError(f"Training cannot write to {folder}: {error.strerror}.") from error
