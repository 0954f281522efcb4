"""Hotkeys, MIDI devices and other remote controls that a session listens to.

A remote calls `act` and `turn` from its own thread; they return at once, and one thread does what
they name through `Controls`.
"""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from typing import Final

from reenact import registry
from reenact.errors import ReenactError
from reenact.lifecycle import ClosesOnExit
from reenact.live.actions import act, check, turn
from reenact.live.controls import Controls

log = logging.getLogger(__name__)

_STOP_S: Final = 2.0


class Remotes(ClosesOnExit):
    """The remotes that `remote.use` names, open. Those that fail are told in the snapshot.

    Satisfies `types.Performer`; any thread may call `act` and `turn`.

    Args:
        controls: of the session.
    """

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._acts: list[str] = []
        self._turns: dict[str, float] = {}
        self._wanted = threading.Condition()
        self._ending = False
        self._thread: threading.Thread | None = None
        self._open = ExitStack()
        settings = controls.session.settings.remote
        for name in filter(None, (name.strip() for name in settings.use.split(","))):
            try:
                self._open.callback(registry.load("remotes", name).make(self, settings).close)
                controls.remotes[name] = ""
            except ReenactError as error:
                log.warning("%s", error)
                controls.remotes[name] = str(error)
        if controls.remotes:
            self._thread = threading.Thread(target=self._perform, name="remotes", daemon=True)
            self._thread.start()

    def check(self, text: str) -> None:
        """Raise ConfigError if this names neither an action nor a setting."""
        if "." not in text.partition("=")[0]:
            check(text)

    def act(self, text: str) -> None:
        """Do an action soon."""
        with self._wanted:
            self._acts.append(text)
            self._wanted.notify()

    def turn(self, setting: str, share: float) -> None:
        """Turn a setting soon; of several values that wait, the last one counts."""
        with self._wanted:
            self._turns[setting] = share
            self._wanted.notify()

    def close(self) -> None:
        """Close the remotes and stop listening."""
        self._open.close()
        with self._wanted:
            self._ending = True
            self._wanted.notify()
        if self._thread is not None:
            self._thread.join(_STOP_S)

    def _perform(self) -> None:
        while True:
            with self._wanted:
                self._wanted.wait_for(lambda: self._ending or self._acts or self._turns)
                if self._ending:
                    return
                acts, turns = self._acts, self._turns
                self._acts, self._turns = [], {}
            for text in acts:
                try:
                    log.info("%s", act(self._controls, text))
                except ReenactError as error:
                    log.warning("%s", error)
            for setting, share in turns.items():
                try:
                    turn(self._controls, setting, share)
                except ReenactError as error:
                    log.warning("%s", error)
