"""Hotkeys, MIDI devices and other remote controls of a session.

A remote calls `act` and `turn` from its own thread. They return at once. Two further threads carry
the requests out through `Controls`: an action such as "rest" does not wait for a knob whose setting
takes seconds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from reenact import registry
from reenact.errors import ReenactError, SourceError
from reenact.lifecycle import ClosesOnExit, close_part
from reenact.live.actions import act, check, is_setting, live_setting, turn, without_waiting
from reenact.live.controls import Controls
from reenact.types import Remote

log = logging.getLogger(__name__)

_STOP_S: Final = 2.0

LOOK_S: Final = 2.0
"""Interval between checks for absent or lost devices."""


class Remotes(ClosesOnExit):
    """The remotes in `remote.use`. The snapshot reports those that fail.

    A device that is absent or unplugged is looked for until it is there. Satisfies
    `types.Performer`; any thread may call `act` and `turn`.

    Args:
        controls: controls of the session.
    """

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._acts: list[str] = []
        self._turns: dict[str, float] = {}
        self._wanted = threading.Condition()
        self._ending = False
        self._threads: list[threading.Thread] = []
        self._open: dict[str, Remote] = {}
        self._absent: set[str] = set()
        for name in controls.session.settings.remote.used():
            self._try(name)
        if controls.remotes:
            for body in (self._perform, self._turn_knobs):
                thread = threading.Thread(target=body, name="remotes", daemon=True)
                thread.start()
                self._threads.append(thread)

    def check(self, text: str) -> None:
        """Raise ConfigError if this is neither an action nor a live setting."""
        if is_setting(text):
            live_setting(self._controls, text.partition("=")[0])
        else:
            check(text)

    def act(self, text: str) -> None:
        """Perform an action soon."""
        with self._wanted:
            self._acts.append(text)
            self._wanted.notify_all()

    def turn(self, setting: str, share: float) -> None:
        """Change a setting soon; of several pending values, the last one counts."""
        with self._wanted:
            self._turns[setting] = share
            self._wanted.notify_all()

    def close(self) -> None:
        """Close the remotes and stop listening."""
        with self._wanted:
            self._ending = True
            self._wanted.notify_all()
        deadline_s = time.monotonic() + _STOP_S
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        for remote in list(self._open.values()):
            close_part(remote)

    def _try(self, name: str) -> None:
        """Open a remote; if its device is absent, try again later."""
        controls = self._controls
        settings = controls.session.settings.remote
        self._absent.discard(name)
        try:
            self._add(name, registry.load("remotes", name).make(self, settings))
            problem = ""
        except Exception as error:
            if isinstance(error, SourceError):
                self._absent.add(name)
            known = isinstance(error, ReenactError)
            problem = str(error) if known else f"{name}: {type(error).__name__}: {error}"
            if problem != controls.remotes.get(name):
                log.warning("%s", problem, exc_info=not known)
        controls.remotes[name] = problem

    def _add(self, name: str, remote: Remote) -> None:
        """Keep a remote that was opened, unless that took longer than `close` has waited."""
        with self._wanted:
            late = self._ending
            if not late:
                self._open[name] = remote
        if late:
            close_part(remote)

    def _look(self) -> None:
        """Look for devices that are absent or lost."""
        for name, remote in list(self._open.items()):
            if remote.lost:
                self._absent.add(name)
                close_part(self._open.pop(name))
        for name in list(self._absent):
            self._try(name)

    def _perform(self) -> None:
        look_s = time.monotonic() + LOOK_S
        while True:
            with self._wanted:
                self._wanted.wait_for(lambda: self._ending or self._acts, look_s - time.monotonic())
                if self._ending:
                    return
                acts, self._acts = self._acts, []
            if time.monotonic() >= look_s:
                _carry_out(self._look)
                look_s = time.monotonic() + LOOK_S
            for text in acts:
                without_waiting(text, partial(_carry_out, partial(act, self._controls, text)))

    def _turn_knobs(self) -> None:
        while True:
            with self._wanted:
                self._wanted.wait_for(lambda: self._ending or self._turns)
                if self._ending:
                    return
                turns, self._turns = self._turns, {}
            for item in turns.items():
                _carry_out(partial(turn, self._controls, *item))


def _carry_out(request: Callable[[], object]) -> None:
    try:
        if done := request():
            log.info("%s", done)
    except Exception as error:  # such as a plugin's; the next request is carried out
        log.warning("%s", error, exc_info=not isinstance(error, ReenactError))
