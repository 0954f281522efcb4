"""The log of a training run: progress bar, history file, and TensorBoard if it is installed."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from typing_extensions import Self

from reenact.errors import SinkError
from reenact.progress import progress_bar
from reenact.storage import atomic_write
from reenact.training.checkpoints import disk_error

log = logging.getLogger(__name__)

_BAR: Final = "{percentage:3.0f}%|{bar}| {desc}"
_BOARD_EVERY: Final = 10
"""Steps between two points of a curve."""


class TrainingLog:
    """A context manager that logs steps and validations.

    `folder` receives history.jsonl and TensorBoard's files. If the latter cannot be written, a
    warning says so, and they end. In multi-process training every process but the first is
    `silent`.
    """

    def __init__(self, folder: Path, silent: bool = False) -> None:
        self._folder = folder
        self._silent = silent
        self._bar = progress_bar(total=1.0, bar_format=_BAR, mininterval=1, disable=silent)
        self._board = None if silent else _open_board(folder)
        self._before: tuple[int, float] | None = None
        self._step_s = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()
        if self._board is not None:
            with self._told_if_unwritable():
                self._board.close()

    def step(self, step: int, progress: float, seconds: float, losses: Mapping[str, float]) -> None:
        """Log a step, counted from 1; `progress` is 0 to 1, `seconds` cover all runs."""
        if self._silent:
            return
        self._measure(step)
        left_s = seconds * (1 - progress) / progress if progress > 0 else 0.0
        speed = f"{1 / self._step_s:.1f}" if self._step_s else "?"
        shown = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        self._bar.set_description_str(
            f"step {step}, {speed}/s, {_clock(left_s)} left  {shown}", refresh=False
        )
        self._bar.update(progress - self._bar.n)
        if step % _BOARD_EVERY == 0:
            self._plot("loss", losses, step)

    def validation(self, step: int, seconds: float, figures: Mapping[str, float]) -> None:
        """Log a validation. Raises ReenactError if the history cannot be written."""
        if self._silent:
            return
        row = {"step": step, "seconds": round(seconds, 1), **figures}
        path = self._folder / "history.jsonl"
        try:
            before = path.read_text("utf-8") if path.exists() else ""
            # Written whole: the next row would continue one that a full disk has cut off.
            with atomic_write(path) as partial:
                partial.write_text(f"{before}{json.dumps(row)}\n", "utf-8")
        except (OSError, SinkError) as error:
            raise disk_error(self._folder, error) from error
        self._plot("val", figures, step)

    def _plot(self, group: str, values: Mapping[str, float], step: int) -> None:
        if self._board is not None:
            with self._told_if_unwritable():
                for name, value in values.items():
                    self._board.add_scalar(f"{group}/{name}", value, step)

    @contextmanager
    def _told_if_unwritable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # told again by each later call
            self._board = None
            log.warning("TensorBoard's curves end here: they cannot be written (%s).", error)

    def _measure(self, step: int) -> None:
        now = time.monotonic()
        if self._before is not None and step > self._before[0]:
            took_s = (now - self._before[1]) / (step - self._before[0])
            self._step_s = took_s if not self._step_s else 0.95 * self._step_s + 0.05 * took_s
        self._before = step, now


def _open_board(folder: Path) -> Any:
    """Return TensorBoard's writer; None if it, or a protobuf that it accepts, is missing.

    A folder that it cannot use is told in the log.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    try:
        return SummaryWriter(str(folder / "tensorboard"))
    except (OSError, UnicodeError) as error:  # it takes no path that is not text in UTF-8
        log.warning("TensorBoard's curves cannot be written (%s).", error)
        return None


def _clock(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60}:{minutes % 60:02d} h" if minutes >= 60 else f"{minutes} min"
