"""Decides what a session shows: the target driven by the actor, at rest, or frozen.

Requests come from any thread. They are carried out on the work thread between two frames, so that
no picture is half one thing and half another.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable
from dataclasses import replace
from queue import SimpleQueue
from typing import Final

import cv2
import numpy as np

from reenact.imaging import letterbox, smoothstep
from reenact.live.fallback import FallbackReenactor, ReenactorLike
from reenact.live.prepared_target import PreparedTarget
from reenact.stats import Recorder
from reenact.types import Frame

log = logging.getLogger(__name__)

FADE_S: Final = 0.4
"""Duration of the fade from one target to another."""


class Show(enum.Enum):
    """What is shown."""

    LIVE = "live"
    """The target, driven by the actor."""

    REST = "rest"
    """The target at rest, whatever the actor does."""

    FROZEN = "frozen"
    """The picture from the moment this was chosen."""


class Presenter:
    """Makes the pictures of a session. Any thread may set `show` and call `ask` and `switch`.

    The work thread calls the rest.

    Args:
        reenactor: makes the pictures.
        recorder: counts the frames that fail.
        endures: see `FallbackReenactor`.

    Attributes:
        show: what the next picture shows.
    """

    def __init__(
        self, reenactor: ReenactorLike, recorder: Recorder, *, endures: bool = False
    ) -> None:
        self.show = Show.LIVE
        self._reenactor = reenactor
        self._pictures = FallbackReenactor(reenactor, recorder, endures=endures)
        self._wishes: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._shown = Show.LIVE
        self._last: Frame | None = None
        self._fading: Frame | None = None
        self._fade_start_s: float | None = None

    def ask(self, wish: Callable[[], None]) -> None:
        """Have the work thread call `wish` before the next frame."""
        self._wishes.put(wish)

    def switch(self, prepared: PreparedTarget) -> None:
        """Fade to another target, from the next frame on."""

        def begin() -> None:
            self._reenactor.switch(prepared)
            self._fade()

        self.ask(begin)

    def settle(self) -> bool:
        """Carry out pending requests; return True if a picture is due even without a new frame.

        A request that fails, such as a plugin's motion, is logged, and the session goes on.
        """
        while not self._wishes.empty():
            wish = self._wishes.get()
            try:
                wish()
            except Exception as error:
                log.warning("A request failed: %s", error, exc_info=True)
        before, self._shown = self._shown, self.show
        if self._shown is before:
            return False
        if before is Show.FROZEN and self._shown is Show.LIVE:
            self._fade()
        if Show.REST in (before, self._shown):
            self.reset()
        return self._shown is Show.REST

    @property
    def follows(self) -> bool:
        """True if the last picture shows the target driven by the actor."""
        return self._shown is Show.LIVE

    def step(self, frame: Frame) -> Frame:
        """Return the picture for a frame of the actor, with its time and index.

        Raises:
            Exception: see `FallbackReenactor.step`.
        """
        if self._shown is Show.LIVE:
            return self._keep(self._faded(self._pictures.step(frame)))
        return self.idle(frame.time_s, frame.index)

    def idle(self, time_s: float, index: int) -> Frame:
        """Return the picture when there is no frame: the target at rest, or frozen."""
        if self._shown is Show.FROZEN and self._last is not None:
            return replace(self._last, time_s=time_s, index=index)
        rests = self._shown is Show.REST
        return self._keep(self._faded(self._pictures.idle(time_s, index, at_rest=rests)))

    def reset(self) -> None:
        """Forget earlier frames, for instance after a gap."""
        self._pictures.reset()

    def raise_if_all_failed(self) -> None:
        """Raise the last failure if there were frames and none of them was rendered."""
        self._pictures.raise_if_all_failed()

    def _keep(self, picture: Frame) -> Frame:
        self._last = picture
        return picture

    def _fade(self) -> None:
        """Start a fade from the last picture to the following ones."""
        self._fading, self._fade_start_s = self._last, None

    def _faded(self, picture: Frame) -> Frame:
        old = self._fading
        if old is None:
            return picture
        if self._fade_start_s is None:
            self._fade_start_s = picture.time_s
        share = (picture.time_s - self._fade_start_s) / FADE_S
        if not 0 <= share < 1:
            self._fading = None
            return picture
        return _blended(old, picture, 1 - smoothstep(share))


def _blended(old: Frame, new: Frame, rest: float) -> Frame:
    """Return the new frame, of which the old one's picture and alpha channel are the share `rest`.

    The old picture is fitted into the size of the new one; beside it nothing is covered.
    """
    before = letterbox(old.image, new.size)
    image = np.asarray(cv2.addWeighted(before, rest, new.image, 1 - rest, 0), np.uint8)
    if new.alpha is None:
        return replace(new, image=image)
    opaque = np.full(old.image.shape[:2], 255, np.uint8) if old.alpha is None else old.alpha
    covered = letterbox(np.dstack([opaque] * 3), new.size)[..., 0]
    alpha = cv2.addWeighted(covered, rest, new.alpha, 1 - rest, 0)
    return replace(new, image=image, alpha=np.asarray(alpha, np.uint8))
