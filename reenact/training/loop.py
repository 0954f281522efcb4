"""One training loop: seeds, precision, averaged weights, checkpoints that resume, the best kept.

A recipe owns its networks and its step; the loop owns everything else.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from reenact.errors import ModelError, ReenactError

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
        """Learn from one batch; progress runs from 0 to 1. Return losses by name."""

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Return figures on people it never saw; of "score", more is better."""

    def save(self, network: nn.Module, path: Path, facts: Mapping[str, str]) -> None:
        """Write the weights that the live path loads."""


def train(recipe: Recipe, options: LoopOptions, resume: bool = False) -> dict[str, float]:
    """Train until the steps or the minutes are spent, or Ctrl-C; return the best figures.

    `folder/best.safetensors` holds the best weights on validation so far and
    `folder/state.safetensors` all that a resumed run needs.

    Raises:
        ReenactError: the folder cannot be written, or there is nothing to resume.
    """
    torch.manual_seed(options.seed)
    _make_folder(options.folder)
    for network in recipe.networks.values():
        network.to(options.device)
    state = _State(recipe, options)
    if resume:
        state.load()
    elif (options.folder / "state.safetensors").exists():
        raise ReenactError(
            f"{options.folder} holds an earlier training; add --resume or name another folder."
        )
    try:
        _run(recipe, options, state)
    except KeyboardInterrupt:
        log.warning("Stopped at step %d; go on later with --resume.", state.step)
    state.save()
    return state.best


def _run(recipe: Recipe, options: LoopOptions, state: _State) -> None:
    precision = choose_precision(options.device, options.precision)
    loader = _loader(recipe, options, state.step)
    started = time.monotonic() - state.seconds
    bar = tqdm(total=options.steps, initial=state.step, unit="step", mininterval=2, smoothing=0.05)
    with bar:
        for batch in loader:
            state.seconds = time.monotonic() - started
            progress = _progress(options, state)
            if progress >= 1:
                break
            torch.manual_seed(options.seed + 1 + state.step)
            with torch.autocast(options.device, torch.bfloat16, enabled=precision == "bfloat16"):
                losses = recipe.step(_to_device(batch, options.device), progress)
            state.average(options.ema)
            state.step += 1
            bar.update()
            bar.set_postfix({name: f"{value:.4f}" for name, value in losses.items()})
            if state.step % options.validate_every == 0:
                _validate(recipe, state, losses)
    _validate(recipe, state, {})


def _progress(options: LoopOptions, state: _State) -> float:
    by_time = state.seconds / (options.minutes * 60) if options.minutes else 0.0
    return max(state.step / options.steps, by_time)


def _validate(recipe: Recipe, state: _State, losses: Mapping[str, float]) -> None:
    state.averaged.eval()
    with torch.no_grad():
        figures = recipe.validate(state.averaged)
    row = {"step": state.step, "seconds": round(state.seconds, 1), **losses, **figures}
    with (state.folder / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    if figures["score"] > state.best.get("score", float("-inf")):
        state.best = figures
        facts = {
            "steps": str(state.step),
            "minutes": f"{state.seconds / 60:.1f}",
            "figures": json.dumps({name: round(value, 4) for name, value in figures.items()}),
        }
        recipe.save(state.averaged, state.folder / "best.safetensors", facts)
    state.save()


class _State:
    """Everything that a resumed run needs, as safetensors: nothing is ever unpickled."""

    def __init__(self, recipe: Recipe, options: LoopOptions) -> None:
        import copy

        self.folder = options.folder
        self.step = 0
        self.seconds = 0.0
        self.best: dict[str, float] = {}
        self._recipe = recipe
        self.averaged = copy.deepcopy(recipe.networks[recipe.averaged]).requires_grad_(False)

    def average(self, decay: float) -> None:
        decay = min(decay, (1 + self.step) / (10 + self.step))
        source = self._recipe.networks[self._recipe.averaged].state_dict()
        for name, value in self.averaged.state_dict().items():
            if value.is_floating_point():
                value.lerp_(source[name], 1 - decay)
            else:
                value.copy_(source[name])

    def save(self) -> None:
        tensors: dict[str, Tensor] = {}
        for name, network in [*self._recipe.networks.items(), ("averaged", self.averaged)]:
            for key, value in network.state_dict().items():
                tensors[f"network/{name}/{key}"] = value.detach().cpu().contiguous().clone()
        for name, optimiser in self._recipe.optimisers.items():
            for index, entries in optimiser.state_dict()["state"].items():
                for key, value in entries.items():
                    tensors[f"optimiser/{name}/{index}/{key}"] = (
                        torch.as_tensor(value).cpu().contiguous().clone()
                    )
        facts = {
            "step": str(self.step),
            "seconds": str(self.seconds),
            "best": json.dumps(self.best),
        }
        partial = self.folder / "state.part.safetensors"
        try:
            save_file(tensors, partial, metadata=facts)
            partial.replace(self.folder / "state.safetensors")
        except (OSError, SafetensorError) as error:
            raise ReenactError(
                f"The training state could not be written to {self.folder} ({error}); free some "
                "space and go on with --resume."
            ) from error

    def load(self) -> None:
        path = self.folder / "state.safetensors"
        try:
            tensors = load_file(path)
            with safe_open(path, framework="pt") as file:
                facts = file.metadata() or {}
        except FileNotFoundError as error:
            raise ReenactError(f"{self.folder} holds no training to resume.") from error
        except SafetensorError as error:
            raise ModelError(f"{path} is damaged: {error}.") from error
        for name, network in [*self._recipe.networks.items(), ("averaged", self.averaged)]:
            prefix = f"network/{name}/"
            network.load_state_dict(
                {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            )
        for name, optimiser in self._recipe.optimisers.items():
            prefix = f"optimiser/{name}/"
            entries: dict[int, dict[str, Tensor]] = {}
            for key, value in tensors.items():
                if key.startswith(prefix):
                    index, field = key.removeprefix(prefix).split("/")
                    entries.setdefault(int(index), {})[field] = value
            plain = optimiser.state_dict()
            optimiser.load_state_dict({"state": entries, "param_groups": plain["param_groups"]})
        self.step = int(facts["step"])
        self.seconds = float(facts["seconds"])
        self.best = json.loads(facts["best"])


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


def _loader(recipe: Recipe, options: LoopOptions, start: int) -> Iterable[Mapping[str, Any]]:
    import cv2

    # A worker forked from a process whose OpenCV has threads would wait for them for ever.
    cv2.setNumThreads(1)
    rest = _Rest(recipe.batches(options.seed, options.steps), start, options.steps)
    loader: Iterable[Mapping[str, Any]] = DataLoader(
        rest,
        batch_size=None,
        num_workers=options.workers,
        prefetch_factor=4 if options.workers else None,
        worker_init_fn=_quiet_worker,
        multiprocessing_context="spawn" if options.workers and options.fresh_workers else None,
    )
    return loader


def _quiet_worker(number: int) -> None:
    """Keep a worker to one thread: several spinning pools on few cores slow each other down."""
    import cv2

    del number
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
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ReenactError(f"Training cannot write to {folder}: {error.strerror}.") from error
