"""The fallback when a frame cannot be rendered: the target at rest, never the actor."""

from __future__ import annotations

import logging
from typing import Final, Protocol

import numpy as np

from reenact.config import OutputSettings, Settings
from reenact.expression.driving import Hold
from reenact.live.prepared_target import PreparedTarget
from reenact.stats import Recorder
from reenact.types import Drive, Frame, Pose, Target

log = logging.getLogger(__name__)

MAX_FAILURES_IN_A_ROW: Final = 30
"""After this many failed frames in a row the error is raised."""

_CARD_GREY: Final = 64


class ReenactorLike(Protocol):
    """What a session needs of `pipeline.Reenactor`.

    One thread calls the methods. Any thread may use `prepare`, `open_backdrop`, `close` and the
    properties.
    """

    @property
    def face_found(self) -> bool:
        """True if any frame so far had a face."""

    @property
    def face_present(self) -> bool:
        """True if the newest frame had a face."""

    @property
    def faces_seen(self) -> int:
        """The number of faces in the newest frame."""

    @property
    def actor_rest_pose(self) -> Pose | None:
        """The pose of the actor's head at rest; None before the first face."""

    @property
    def target(self) -> Target:
        """The target that is shown."""

    @property
    def drive(self) -> Drive | None:
        """What the newest picture was drawn from; None for the target at rest."""

    @property
    def hold(self) -> Hold:
        """Keeps the actor's expression; any thread may set `hold.on`."""

    @property
    def device(self) -> str:
        """The device of the renderer, such as "cpu" or "cuda"."""

    @property
    def faces_lost(self) -> int:
        """The number of times the face was lost."""

    @property
    def frames_limited(self) -> int:
        """The number of frames in which the limits of a face restricted the target."""

    @property
    def frames_still(self) -> int:
        """The number of frames that repeated the last picture because the target kept still."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) px of the pictures."""

    def look(self, frame: Frame) -> None:
        """Track a frame ahead of its `step`; another thread may call this."""

    def draw_at(self, size_px: int) -> bool:
        """Draw at this size once that is prepared; return whether it is drawn at.

        The output pictures keep their size.
        """

    def step(self, frame: Frame) -> Frame:
        """Return the target's picture for a frame of the actor, with its time and index."""

    def idle(self, time_s: float, index: int, *, at_rest: bool = False) -> Frame:
        """Return the target without an actor; `at_rest`: without the units set by hand, too."""

    def set_neutral(self) -> None:
        """Take the actor's current face as the neutral one."""

    def play_motion(self) -> None:
        """Play the motion of the current emotion, or a smile, once."""

    def undo_neutral(self) -> None:
        """Restore the neutral from before the last `set_neutral`."""

    def prepare(self, target: Target, tried: Settings | None = None) -> PreparedTarget:
        """Prepare another target for `switch`, with other settings if given.

        Raises ReenactError.
        """

    def open_backdrop(self, output: OutputSettings) -> None:
        """Prepare for another `output.background`. Raises ReenactError."""

    def switch(self, prepared: PreparedTarget) -> None:
        """Show another target from the next frame on."""

    def reset(self) -> None:
        """Forget earlier frames."""

    def close(self) -> None:
        """Release models and devices."""


class FallbackReenactor:
    """Shows the target at rest for every frame that fails. One thread calls it.

    Args:
        reenactor: makes the pictures.
        recorder: counts the frames that fail.
        endures: go on for ever once a frame was rendered. A live output must not close then:
            some programs for calls would switch to the camera itself.
    """

    def __init__(self, reenactor: ReenactorLike, recorder: Recorder, *, endures: bool) -> None:
        self._reenactor = reenactor
        self._endures = endures
        self._recorder = recorder
        self._failures_in_a_row = 0
        self._last_failure: Exception | None = None
        self._rendered_any = False
        self._card_shown = False

    def step(self, frame: Frame) -> Frame:
        """Return the picture for a frame of the actor, or the target at rest if that fails.

        Raises:
            Exception: the error of the last of `MAX_FAILURES_IN_A_ROW` failures, unless it endures.
        """
        try:
            picture = self._reenactor.step(frame)
        except Exception as error:
            self._recorder.failed()
            self._last_failure = error
            self._failures_in_a_row += 1
            if self._failures_in_a_row == 1:
                log.warning("A frame could not be rendered: %s", error, exc_info=True)
            if self._failures_in_a_row == MAX_FAILURES_IN_A_ROW:
                if not (self._endures and self._rendered_any):
                    raise
                log.error("The target stays at rest, because no frame can be rendered: %s", error)
            return self.idle(frame.time_s, frame.index)
        self._failures_in_a_row = 0
        self._rendered_any = True
        return picture

    def idle(self, time_s: float, index: int, *, at_rest: bool = False) -> Frame:
        """Return what `ReenactorLike.idle` does, or a plain picture if even that fails."""
        try:
            return self._reenactor.idle(time_s, index, at_rest=at_rest)
        except Exception:
            if not self._card_shown:
                log.warning("The target at rest could not be drawn.", exc_info=True)
            self._card_shown = True
            width, height = self._reenactor.size
            return Frame(np.full((height, width, 3), _CARD_GREY, np.uint8), time_s, index)

    def reset(self) -> None:
        """Have the reenactor forget earlier frames; if a part fails at that, the run goes on."""
        try:
            self._reenactor.reset()
        except Exception:
            log.warning("Earlier frames could not be forgotten.", exc_info=True)

    def raise_if_all_failed(self) -> None:
        """Raise the last failure if there were frames and none of them was rendered."""
        if self._last_failure is not None and not self._rendered_any:
            raise self._last_failure
