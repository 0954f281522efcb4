"""The training loop: seeds, precision, averaged weights, checkpoints, and the best weights.

A recipe owns its networks and its step; the loop owns everything else. Processes started by
`torchrun` train together with DistributedDataParallel:

    torchrun --nproc-per-node 4 --no-python reenact train configs/train/fan2023.toml
"""

from __future__ import annotations

import atexit
import inspect
import json
import logging
import math
import os
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset, Subset

from reenact.errors import ModelError, ReenactError
from reenact.storage import exclusive_lock
from reenact.training.checkpoints import WEIGHTS, TrainingState, check_folder, disk_error
from reenact.training.log import TrainingLog

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger(__name__)

_LOCK: Final = "training.lock"

_SEED_STRIDE = 1_000_003
"""Distance between the seeds of two processes, so that each draws its own batches."""

_SHARED_MEMORY: Final = Path("/dev/shm")
"""Where Linux keeps the batches that workers pass on."""

_MIN_SHARED_BYTES: Final = 512 << 20
"""Containers have 64 MB by default; a few batches of pictures take several times as much."""

Schedule = Callable[[float], float]
"""Factor on a learning rate as a function of the progress from 0 to 1."""


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """How long and where to train.

    Attributes:
        folder: receives the state, the best weights and the history.
        steps: last step; the loop ends there or after `minutes`.
        minutes: limit of wall time over all resumed runs; 0: no limit.
        validate_every: steps between validations.
        seed: seed of weights and batches.
        device: "cpu" or "cuda".
        precision: "auto" (bfloat16 if the device supports it natively), "float32" or "bfloat16".
        workers: worker processes that make batches; 0: the training process itself.
        ema: decay of the averaged weights, which are validated and kept.
    """

    folder: Path
    steps: int
    minutes: float = 0.0
    validate_every: int = 500
    seed: int = 0
    device: str = "cpu"
    precision: str = "auto"
    workers: int = 1
    ema: float = 0.998

    def progress(self, step: int, seconds: float) -> float:
        """Return the completed share of the steps or of the minutes, whichever is larger."""
        by_time = seconds / (self.minutes * 60) if self.minutes else 0.0
        return min(max(step / self.steps, by_time), 1.0)


class Recipe(Protocol):
    """The networks to train and their training step.

    A step must call its networks through `networks`. The loop puts wrappers there that average the
    gradients of several processes.
    """

    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    averaged: str
    """Name of the network that is validated and kept, with averaged weights."""

    schedules: Mapping[str, Schedule] = MappingProxyType({})
    """Schedules of learning rates by optimizer name; the others stay constant."""

    def batches(self, seed: int, steps: int) -> Dataset[Any]:
        """Return a dataset whose item n is the whole batch of step n."""
        ...

    def step(self, batch: Mapping[str, Any], progress: float) -> dict[str, float]:
        """Train on one batch and return the losses by name; progress runs from 0 to 1."""
        ...

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return figures on held-out people; a higher "score" is better."""
        ...

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write the weights that the live path loads. Raises ModelError if that fails."""


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """The best figures over all runs, the last step, and whether the training was stopped.

    Of several processes only the first has figures.
    """

    best: dict[str, float]
    step: int
    stopped: bool


def cosine(end: float, warm_up: float = 0.0) -> Schedule:
    """Return a schedule that falls from 1 to `end` along half a cosine.

    During the first `warm_up` share of the training it rises linearly from a twentieth.
    """

    def factor(progress: float) -> float:
        fall = end + (1 - end) * 0.5 * (1 + np.cos(np.pi * progress))
        rise = progress / warm_up + 0.05 if warm_up else 1.0
        return float(fall * min(rise, 1.0))

    return factor


def train(
    recipe: Recipe,
    options: LoopOptions,
    resume: bool = False,
    stop: Callable[[], bool] = lambda: False,
) -> TrainingOutcome:
    """Train until the steps or the minutes are used up, or until `stop` returns True.

    `stop` is called before each step. A stopped training is validated and saved. KeyboardInterrupt
    stops it without that; it is raised only if there was no validation yet. The best weights so far
    are in `folder/best.safetensors`, the state for resuming in `folder/state.safetensors`.
    The recipe's networks are moved to the device.

    Raises ReenactError if the folder cannot be written, another process trains in it, there is
    nothing to resume, or the training diverged.
    """
    fabric = _launch(options.device)
    torch.manual_seed(options.seed)
    _make_folder(options.folder)
    # One lock for all processes of a training.
    with _lock(options.folder) if fabric.is_global_zero else nullcontext():
        return _train(recipe, options, fabric, resume, stop)


def _train(
    recipe: Recipe,
    options: LoopOptions,
    fabric: Fabric,
    resume: bool,
    stop: Callable[[], bool],
) -> TrainingOutcome:
    for network in recipe.networks.values():
        network.to(fabric.device)
    state = TrainingState(
        options.folder, recipe.networks, recipe.optimizers, recipe.averaged, options.ema
    )
    if resume:
        state.load()
    elif fabric.is_global_zero:
        check_folder(options.folder, resume)
    if fabric.world_size > 1:
        recipe.networks.update(
            {name: _distributed(fabric, network) for name, network in recipe.networks.items()}
        )
    run = _Run(recipe, options, state, fabric)
    with TrainingLog(options.folder, silent=not fabric.is_global_zero) as history:
        try:
            with _explained_workers():
                stopped = run.steps(history, stop)
            if run.validated != state.step:
                run.validate(history, {})
            text = f"Stopped after step {state.step}; the training can be continued."
        except KeyboardInterrupt:
            if not state.best:
                raise
            stopped, text = (
                True,
                "Ended at once; the training can be continued from the last saved step.",
            )
    if stopped and fabric.is_global_zero:
        log.warning("%s", text)
    fabric.barrier()
    figures = state.best if fabric.is_global_zero else {}
    return TrainingOutcome(figures, state.step, stopped)


def _launch(device: str) -> Fabric:
    """Join the processes that `torchrun` started, or train in this process alone."""
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    fabric = Fabric(
        accelerator=device,
        devices=local,
        num_nodes=world // local,
        # Copying buffers before each forward pass would modify tensors that a discriminator's first
        # pass saved for the backward pass.
        strategy=DDPStrategy(forward_sync_buffers=False) if world > 1 else "auto",
    )
    joined = torch.distributed.is_available() and torch.distributed.is_initialized()
    fabric.launch()
    if fabric.world_size > 1 and not joined:
        # Threads of the process group that still run when a process ends could abort it.
        atexit.register(torch.distributed.destroy_process_group)
    return fabric


def _distributed(fabric: Fabric, network: nn.Module) -> nn.Module:
    """Wrap a network so that passes through any of its methods average their gradients."""
    wrapped = fabric.setup_module(network)
    for name, member in vars(type(network)).items():
        if inspect.isfunction(member) and not name.startswith("_") and name != "forward":
            wrapped.mark_forward_method(name)
    return wrapped


class _Run:
    """One run of the loop; `validated` is the last step that it has validated, -1 for none."""

    def __init__(
        self, recipe: Recipe, options: LoopOptions, state: TrainingState, fabric: Fabric
    ) -> None:
        self._recipe, self._options, self._state, self._fabric = recipe, options, state, fabric
        self._progress = options.progress(state.step, state.seconds)
        self.validated = -1

    def steps(self, history: TrainingLog, stop: Callable[[], bool]) -> bool:
        """Run the remaining steps; return True if stopped."""
        recipe, options, state = self._recipe, self._options, self._state
        schedulers = [
            LambdaLR(recipe.optimizers[name], self._follow(schedule))
            for name, schedule in recipe.schedules.items()
        ]
        autocast = choose_precision(options.device, options.precision) == "bfloat16"
        rank_seed = options.seed + _SEED_STRIDE * self._fabric.global_rank
        started = time.monotonic() - state.seconds
        for batch in self._loader(rank_seed):
            stopped = self._any(stop())
            if stopped or self._any(self._progress >= 1):
                return stopped
            torch.manual_seed(rank_seed + 1 + state.step)
            with torch.autocast(options.device, torch.bfloat16, enabled=autocast):
                losses = recipe.step(batch, self._progress)
            if self._any(not all(map(math.isfinite, losses.values()))):
                raise ReenactError(
                    f"Training diverged in step {state.step + 1}: a loss is no longer a number. "
                    "The best weights so far are kept; train again with a lower learning rate."
                )
            state.average()
            state.step += 1
            state.seconds = time.monotonic() - started
            self._progress = options.progress(state.step, state.seconds)
            with warnings.catch_warnings():
                # An optimizer may be idle at first, as a critic's while only pairs are trained.
                warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
                for scheduler in schedulers:
                    scheduler.step()
            history.step(state.step, self._progress, state.seconds, losses)
            if state.step % options.validate_every == 0:
                self.validate(history, losses)
        return False

    def _follow(self, schedule: Schedule) -> Callable[[int], float]:
        """Adapt a schedule to LambdaLR, whose step count ignores the limit of minutes."""
        return lambda _: schedule(self._progress)

    def _any(self, value: bool) -> bool:
        """Return True if the value is True in any of the processes."""
        if self._fabric.world_size == 1:
            return value
        shared = torch.tensor(float(value), device=self._fabric.device)
        return bool(self._fabric.all_reduce(shared, reduce_op="max"))

    def validate(self, history: TrainingLog, losses: Mapping[str, float]) -> None:
        """Measure the averaged weights, keep them if they are the best, and save the state."""
        state = self._state
        self.validated = state.step
        if not self._fabric.is_global_zero:
            return
        state.averaged.eval()
        with torch.no_grad():
            figures = self._recipe.validate(state.averaged)
        if not math.isfinite(figures["score"]):
            raise ReenactError(
                "The validation gives no score, so that no weights can be chosen; the clips of the "
                "held-out people may be too short or show too little."
            )
        if figures["score"] > state.best.get("score", float("-inf")):
            facts = {
                "steps": str(state.step),
                "minutes": f"{state.seconds / 60:.1f}",
                "figures": json.dumps({name: round(value, 4) for name, value in figures.items()}),
            }
            try:
                self._recipe.save(state.averaged, state.folder / WEIGHTS, facts)
            except ModelError as error:
                raise disk_error(state.folder, error) from error
            state.best = figures
        state.save()
        history.validation(state.step, state.seconds, {**losses, **figures})

    def _loader(self, seed: int) -> Iterable[Mapping[str, Any]]:
        options = self._options
        workers = options.workers if _has_shared_memory() else 0
        if workers < options.workers:
            log.warning(
                "%s has less than %d MB free, so that no other process can make batches. If this "
                "is a container, start it with more, as with --shm-size=2g.",
                _SHARED_MEMORY,
                _MIN_SHARED_BYTES >> 20,
            )
        batches = self._recipe.batches(seed, options.steps)
        loader: DataLoader[Any] = DataLoader(
            Subset(batches, range(self._state.step, options.steps)),
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            worker_init_fn=_init_worker,
            pin_memory=options.device == "cuda",
            # A forked worker would inherit locks that other libraries' threads hold.
            multiprocessing_context="spawn" if workers else None,
        )
        placed = self._fabric.setup_dataloaders(loader, use_distributed_sampler=False)
        return cast(Iterable[Mapping[str, Any]], placed)


def _has_shared_memory() -> bool:
    """Return False if workers would wait for ever for room for their batches."""
    try:
        return shutil.disk_usage(_SHARED_MEMORY).free >= _MIN_SHARED_BYTES
    except OSError:  # another system, where batches are passed in other ways
        return True


@contextmanager
def _explained_workers() -> Iterator[None]:
    """Say what to do when a worker dies; PyTorch then raises wherever the training is."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise ReenactError(
            "A process that makes batches was killed, perhaps because the memory is full. Close "
            "other programs, or set workers=0; then continue from the last saved step."
        ) from error


def choose_precision(device: str, wish: str) -> str:
    """Return the precision to compute in, "float32" or "bfloat16".

    "auto" selects bfloat16 if the device multiplies it natively.
    """
    if wish != "auto":
        return wish
    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    # CPUs with native instructions for it need half the time per step, or less.
    native: bool = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return "bfloat16" if native else "float32"


def _init_worker(number: int) -> None:
    """Limit a worker to one thread, and leave signals to the training process, which ends it.

    Several busy thread pools on few cores slow each other down. A closed terminal, `timeout` and
    the shutdown of a system signal to all processes of a command.
    """
    import cv2

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _lock(folder: Path) -> AbstractContextManager[None]:
    busy = (
        f"Another process is training in {folder}; wait until it has ended, stop it, or name "
        "another folder."
    )
    return exclusive_lock(folder / _LOCK, busy, error=ReenactError)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ReenactError(f"Training cannot write to {folder}: {error.strerror}.") from error
