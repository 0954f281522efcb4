"""One session after another: which one runs, which one is requested, and what outlasts its end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from reenact.lifecycle import ClosesOnExit, close_part
from reenact.live.controls import Controls
from reenact.live.session import Session
from reenact.panel.choice import Choice
from reenact.types import Frame, Sink

log = logging.getLogger(__name__)


class Sessions(ClosesOnExit):
    """The running session, the next one, and the outputs that stay open between them.

    Any thread may call.

    Attributes:
        running: controls of the running session; None if none is running.
    """

    def __init__(self) -> None:
        self.running: Controls | None = None
        self._changed = threading.Condition()
        self._wanted: Choice | None = None
        self._opening = False
        self._kept: dict[str, Sink] = {}
        self._black: Frame | None = None

    @property
    def phase(self) -> str:
        """What happens now: "idle", "starting" or "running"."""
        with self._changed:
            if self._opening or self._wanted is not None:
                return "starting"
            return "idle" if self.running is None else "running"

    def ask(self, choice: Choice) -> Controls | None:
        """Request a session, in place of an earlier request; return the one that is to make way."""
        with self._changed:
            self._wanted = choice
            self._changed.notify_all()
            return self.running

    def next(self, timeout_s: float) -> Choice | None:
        """Wait for a request and return it; its session is being opened until `begin` or `end`."""
        with self._changed:
            self._changed.wait_for(lambda: self._wanted is not None, timeout_s)
            choice, self._wanted = self._wanted, None
            self._opening = choice is not None
            return choice

    def begin(self, controls: Controls) -> bool:
        """Let a session be the running one; return True if it is to make way for another."""
        with self._changed:
            self.running, self._opening = controls, False
            return self._wanted is not None

    def end(self) -> None:
        """Note that no session runs or is being opened any more.

        The kept outputs are closed unless another session is requested.
        """
        with self._changed:
            self.running, self._opening = None, False
            kept = {} if self._wanted is not None else self._take_all()
            black, self._black = self._black, None
            staying = [*self._kept.values()]
        if black is not None:
            _write(staying, black)
        _close(kept)

    def keep(self, session: Session, outputs: Iterable[str]) -> None:
        """Keep those live outputs of a session that is to end open for the next one.

        If they show the actor, they turn black once it has ended: the next one may not show the
        actor any more.
        """
        kept, newest = session.output.hand_over(outputs), session.output.newest
        with self._changed:
            self._kept |= kept
            if session.settings.output.show_raw_camera and newest is not None:
                self._black = replace(newest, image=np.zeros_like(newest.image))

    def take(self, name: str) -> Sink | None:
        """Give an output that was kept to a session; None if there is none of that name."""
        with self._changed:
            return self._kept.pop(name, None)

    def close(self) -> None:
        """Close the outputs that no session took over."""
        with self._changed:
            kept = self._take_all()
        _close(kept)

    def _take_all(self) -> dict[str, Sink]:
        kept, self._kept = self._kept, {}
        return kept


def _write(outputs: Iterable[Sink], picture: Frame) -> None:
    for sink in outputs:
        try:
            sink.write(picture)
        except Exception:  # the next session's first frame tells why
            log.debug("%s cannot be written to.", sink.name, exc_info=True)


def _close(outputs: Mapping[str, Sink]) -> None:
    for sink in outputs.values():
        close_part(sink)
