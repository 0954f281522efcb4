"""What is shown where no picture can be rendered: the target at rest, never the actor."""

from __future__ import annotations

import logging
from typing import Final, Protocol

import numpy as np

from reenact.stats import Recorder
from reenact.types import Frame

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW: Final = 30
"""So many frames that cannot be rendered, one after the other, are no accident any more."""

_CARD_GREY: Final = 64


class Reenacting(Protocol):
    """What is needed of `pipeline.Reenactor`; one thread calls everything but `close`."""

    @property
    def face_found(self) -> bool:
        """Whether any frame so far had a face."""

    @property
    def device(self) -> str:
        """What the renderer runs on, such as "cpu" or "cuda"."""

    @property
    def faces_lost(self) -> int:
        """How often the face was lost."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) px of the pictures."""

    def step(self, frame: Frame) -> Frame:
        """Return the picture of the target for the actor's frame, time and index kept."""

    def idle(self, time_s: float, index: int) -> Frame:
        """Return the target at rest."""

    def set_neutral(self) -> None:
        """Take the actor's face as neutral."""

    def reset(self) -> None:
        """Forget earlier frames."""

    def close(self) -> None:
        """Release models and devices."""


class Covering:
    """A reenactor whose failures are covered by the target at rest. One thread calls.

    Args:
        reenactor: makes the pictures.
        recorder: counts the frames that fail.
    """

    def __init__(self, reenactor: Reenacting, recorder: Recorder) -> None:
        self._reenactor = reenactor
        self._recorder = recorder
        self._failures_in_a_row = 0
        self._last_failure: Exception | None = None
        self._rendered_any = False
        self._card_shown = False

    def step(self, frame: Frame) -> Frame:
        """Return the picture for a frame of the actor, the target at rest where that fails.

        Raises:
            Exception: what the last of `FAILURES_IN_A_ROW` failures raised.
        """
        try:
            picture = self._reenactor.step(frame)
        except Exception as error:
            self._recorder.failed()
            self._last_failure = error
            self._failures_in_a_row += 1
            if self._failures_in_a_row == 1:
                log.warning("A frame could not be rendered: %s", error, exc_info=True)
            if self._failures_in_a_row >= FAILURES_IN_A_ROW:
                raise
            return self.at_rest(frame.time_s, frame.index)
        self._failures_in_a_row = 0
        self._rendered_any = True
        return picture

    def at_rest(self, time_s: float, index: int) -> Frame:
        """Return the target at rest, or a plain card where even that fails."""
        try:
            return self._reenactor.idle(time_s, index)
        except Exception:
            if not self._card_shown:
                log.warning("The target at rest cannot be drawn.", exc_info=True)
            self._card_shown = True
            width, height = self._reenactor.size
            return Frame(np.full((height, width, 3), _CARD_GREY, np.uint8), time_s, index)

    def check(self) -> None:
        """Raise the last failure if there were frames and none of them was rendered."""
        if self._last_failure is not None and not self._rendered_any:
            raise self._last_failure
