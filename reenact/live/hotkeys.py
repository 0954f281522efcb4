"""Global hotkeys, which work while any program has the focus, by pynput."""

from __future__ import annotations

import os
import sys
from typing import Any, Final

from pydantic import Field

from reenact.config import Section
from reenact.errors import ConfigError, SourceError
from reenact.lifecycle import ClosesOnExit
from reenact.live.actions import bindings, is_setting
from reenact.registry import RemoteSpec
from reenact.types import Performer

_WAYLAND: Final = (
    "On Wayland no program can see the keys typed in others. Bind a shortcut of the desktop to a "
    "request to the panel's API instead: docs/panel.md."
)


class HotkeySettings(Section):
    """Keys that work while any program has the focus."""

    keys: str = Field(
        "ctrl+alt+space: rest; ctrl+alt+f: freeze; ctrl+alt+n: neutral; ctrl+alt+x: mirror; "
        "ctrl+alt+r: record; ctrl+alt+m: motion; ctrl+alt+h: hold",
        description="what keys do, as in `ctrl+alt+a: target=anna; ctrl+alt+right: target=next; "
        "ctrl+alt+1: emotion=happy`",
    )


class Hotkeys(ClosesOnExit):
    """Listens to the keys of the whole desktop.

    Args:
        performer: performs the actions that the keys are bound to.
        settings: the bindings.

    Raises:
        SourceError: the system does not allow it, or pynput is missing.
        ConfigError: a key or action is unknown.
    """

    def __init__(self, performer: Performer, settings: HotkeySettings) -> None:
        bound = bindings(settings.keys)
        for action in bound.values():
            if is_setting(action):
                raise ConfigError(f"remote.hotkeys.keys: a key cannot turn {action}; a knob can.")
            performer.check(action)
        keyboard = _keyboard()

        def does(action: str) -> Any:
            return lambda: performer.act(action)

        try:
            self._keys = keyboard.GlobalHotKeys(
                {_named(key): does(action) for key, action in bound.items()}
            )
        except ValueError as error:
            raise SourceError(f"remote.hotkeys.keys: {error}.") from error
        self._keys.start()
        self._keys.wait()

    @property
    def lost(self) -> bool:
        """True if the connection to the desktop is lost."""
        return not self._keys.is_alive()

    def close(self) -> None:
        """Stop listening."""
        self._keys.stop()


def _keyboard() -> Any:
    if sys.platform.startswith("linux") and os.environ.get("WAYLAND_DISPLAY"):
        raise SourceError(_WAYLAND)
    try:
        from pynput import keyboard
    except ImportError as error:  # also raised if there is no display
        if error.name == "pynput":
            raise SourceError(
                "Hotkeys need the package pynput: `pip install '.[hotkeys]'`."
            ) from error
        raise SourceError(f"Hotkeys cannot be used here: {str(error).splitlines()[0]}") from error
    return keyboard


def _named(keys: str) -> str:
    """Convert keys such as ctrl+alt+f to pynput's notation, <ctrl>+<alt>+f."""
    return "+".join(f"<{key}>" if len(key) > 1 else key for key in keys.replace(" ", "").split("+"))


HOTKEYS: Final = RemoteSpec(
    "hotkeys",
    "keys that work while any program has the focus (not on Wayland)",
    Hotkeys,
    settings=HotkeySettings,
    needs="a desktop, not Wayland's",
)
