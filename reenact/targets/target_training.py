"""`reenact target train NAME`, and the interface of its trainers (`RendererSpec.target_training`).

A target's footage goes in; its own weights come out, or None if they are no better than the
weights before. `reenact evaluate --target-training` calls the same trainers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from reenact.errors import PluginError, TargetError, counted, quoted
from reenact.registry import DEFAULT_RENDERER, import_object, load, renderer_of
from reenact.targets.footage import Footage, read_footage
from reenact.targets.store import FOOTAGE, TargetStore

SIZE_PX: Final = 256
"""Side of the pictures that are trained on; the weights serve at every size."""

MIN_FRAMES: Final = 24
"""Minimum number of frames with a face to train on, in one clip."""

_TRAINING: Final = "training"

_FIGURES: Final = {
    "picture_face_psnr": "PSNR of the face on held-out frames (dB)",
    "picture_sharpness": "sharpness",
}
"""Figures that the summary of a training shows, if the trainer reports them."""


@dataclass(frozen=True, slots=True)
class TrainingOptions:
    """Duration, place and device of a training.

    Attributes:
        folder: for everything that the training writes: its state, the best weights, the preview.
        minutes: maximum wall time, over all runs of a training that was interrupted.
        steps: number of training steps; None: the trainer decides.
        size_px: side of the footage's pictures.
        device: "cpu" or "cuda".
    """

    folder: Path
    minutes: float = 10.0
    steps: int | None = None
    size_px: int = 256
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """The result of a training.

    Attributes:
        before, after: figures on held-out frames by name, of the initial and of the best weights.
        weights: the best weights; None: they are no better than the initial ones.
        stopped: True if it was stopped early.
    """

    before: Mapping[str, float]
    after: Mapping[str, float]
    weights: Path | None
    stopped: bool


class TargetTrainer(Protocol):
    """Trains a renderer's weights on one target."""

    def __call__(
        self,
        footage: Sequence[Footage],
        start: Path | None,
        options: TrainingOptions,
        *,
        stop: Callable[[], bool] = lambda: False,
    ) -> TrainingOutcome:
        """Train; block until training ends or `stop` returns True.

        Args:
            footage: clips of the target, at `options.size_px`.
            start: initial weights; None: the renderer's own.
            options: duration, place and device. A training in the folder that was interrupted goes
                on, if the trainer can do that and the footage is the same; others are removed.
            stop: asked before each step, on the calling thread.

        Raises:
            TargetError: there is not enough footage.
            ModelError: the start cannot be trained.
            ReenactError: the folder cannot be written.
        """


def is_trainable(renderer: str) -> bool:
    """Return True if a renderer can be trained on one target; PluginError if it is unknown."""
    return load("renderers", renderer).target_training is not None


def target_trainer(renderer: str) -> TargetTrainer:
    """Return the trainer of a renderer.

    Raises PluginError if there is no such renderer, or it cannot be trained on a target.
    """
    place = load("renderers", renderer).target_training
    if place is None:
        raise PluginError(f"The renderer {renderer} cannot be trained on a target.")
    trainer: TargetTrainer = import_object(place)
    return trainer


def preview_path(folder: Path) -> Path:
    """Return the path of the preview picture of a training in that folder."""
    return folder / "preview.png"


def check_footage(footage: Sequence[Footage]) -> None:
    """Raise TargetError if no clip is long enough to train on."""
    if max(map(len, footage), default=0) < MIN_FRAMES:
        raise TargetError(
            f"There are fewer than {MIN_FRAMES} frames of this target to train on. Add half a "
            "minute of video in which it speaks, blinks and turns its head: "
            "`reenact target add NAME --from VIDEO`."
        )


def training_folder(store: TargetStore, name: str) -> Path:
    """Return where the training of a target keeps its state and preview."""
    return store.folder_of(name) / _TRAINING


def train_target(
    store: TargetStore,
    name: str,
    *,
    minutes: float,
    device: str,
    renderer: str | None = None,
    stop: Callable[[], bool] = lambda: False,
    begun: Callable[[Path], None] = lambda preview: None,
    steps: int | None = None,
) -> TrainingOutcome:
    """Train a stored target's weights on its footage, and use them if they are better.

    Args:
        store: holds the target.
        name: of the target.
        minutes: maximum wall time, over all runs of a training that was interrupted.
        device: "cpu" or "cuda".
        renderer: the renderer to train; None: the target's, or the default one if that cannot be
            trained.
        stop: asked before each step; True ends the training with the best state kept.
        begun: called with the path of the preview before training starts.
        steps: end after this many steps; None: the trainer decides.

    Raises:
        ReenactError: there is no such target, it has no footage, it is being trained already, the
            renderer cannot be trained on it, its folder cannot be written, or the target has
            weights of another renderer, which would be lost.
    """
    target = store.load(name)
    footage = read_footage(store.folder_of(name) / FOOTAGE, SIZE_PX)
    if not footage:
        raise TargetError(
            f"{name} was made from {counted(len(target.references), 'photo')}, and training needs "
            f"video: add one of half a minute with `reenact target add {quoted(name)} --from "
            "VIDEO`. The shipped weights stay in use."
        )
    own = renderer_of(target)
    if renderer is None:
        renderer = own if is_trainable(own) else DEFAULT_RENDERER
    trainer = target_trainer(renderer)
    if target.weights and own != renderer:
        raise TargetError(
            f"{name} has weights that were trained for {own}; a training for {renderer} would "
            f"replace them. Train a copy: `reenact target export {quoted(name)} FILE`, then "
            "`reenact target import FILE --name NEW`."
        )
    check_footage(footage)
    options = TrainingOptions(training_folder(store, name), minutes, steps, SIZE_PX, device)
    start = Path(target.weights) if target.weights and own == renderer else None
    with store.training(name):
        begun(preview_path(options.folder))
        outcome = trainer(footage, start, options, stop=stop)
        if outcome.weights is not None:
            store.attach_weights(name, outcome.weights, renderer)
    return outcome


def summary(name: str, outcome: TrainingOutcome) -> str:
    """Return the result of a training in one or two sentences."""
    before, after = outcome.before, outcome.after
    told = [figure for figure in _FIGURES if figure in before] or list(before)
    figures = ", ".join(
        f"{_FIGURES.get(figure, figure)} {before[figure]:.2f} -> {after[figure]:.2f}"
        for figure in told
    )
    go_on = " Train it again to go on." if outcome.stopped else ""
    if outcome.weights is not None:
        return f"{name} is better: {figures}. Its own weights are in use from now on.{go_on}"
    if outcome.stopped:
        return f"{name} was stopped before it got better; its weights stay as they were.{go_on}"
    return (
        f"Training did not make {name} visibly better ({figures}); its weights stay as they were."
    )
