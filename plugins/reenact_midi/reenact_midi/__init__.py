"""Maps the pads, keys and knobs of a MIDI device to actions and settings (`remote.midi.map`).

Importing this module loads no MIDI library: `reenact plugins` imports it to list the spec.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from reenact.config import Section
from reenact.errors import ConfigError, SourceError
from reenact.lifecycle import ClosesOnExit
from reenact.live.actions import bindings, is_setting
from reenact.registry import RemoteSpec
from reenact.types import Performer

_FULL: Final = 127
_KINDS: Final = {
    "note_on": ("note", "velocity"),
    "control_change": ("control", "value"),
    "program_change": ("program", ""),
}
"""The name of each message type in the map and in mido, and mido's attribute with its level."""


class MidiSettings(Section):
    """The MIDI device and its mapping."""

    port: str = Field("", description="a part of the device's name; empty: the first one")
    channel: int = Field(0, ge=0, le=16, description="the channel to listen to; 0: all")
    map: str = Field(
        "note 36: rest; note 37: freeze; note 38: neutral; note 39: record; note 40: motion; "
        "control 1: drive.intensity; control 7: fusion.mouth",
        description="what notes, controllers and programs do: an action such as `rest` or "
        "`target=anna`, or a setting that a controller turns",
    )


class Midi(ClosesOnExit):
    """Listens to one MIDI device.

    Args:
        performer: performs the mapped actions.
        settings: the device and the map.

    Raises:
        SourceError: there is no such device.
        ConfigError: the map is invalid.
    """

    def __init__(self, performer: Performer, settings: MidiSettings) -> None:
        import mido

        self._performer = performer
        self._channel = settings.channel
        self._map: dict[str, str] = {}
        self._levels: dict[str, int] = {}
        for name, action in bindings(settings.map).items():
            kind, _, number = name.partition(" ")
            known = kind in dict(_KINDS.values()) and number.isdecimal() and int(number) <= _FULL
            if not known:
                raise ConfigError(f"remote.midi.map: {name!r}; write note, control or program N.")
            if is_setting(action) and kind != "control":
                raise ConfigError(f"remote.midi.map: only a controller can turn {action}.")
            performer.check(action)
            self._map[f"{kind} {int(number)}"] = action
        names = _connected()
        found = [name for name in names if settings.port.lower() in name.lower()]
        if not settings.port:  # Linux has a port that connects programs, and it is always the first
            found = [name for name in found if not name.startswith("Midi Through")]
        if not found:
            offered = ", ".join(names) or "none is connected"
            wanted = f"device {settings.port}" if settings.port else "device"
            raise SourceError(f"There is no MIDI {wanted}: {offered}.")
        try:
            self._port = mido.open_input(found[0], callback=self._heard)
        except (OSError, RuntimeError) as error:
            raise SourceError(f"MIDI cannot be used: {str(error).splitlines()[0]}") from error

    @property
    def lost(self) -> bool:
        """True if the device was unplugged."""
        try:
            return self._port.name not in _connected()
        except SourceError:
            return True

    def close(self) -> None:
        """Release the device."""
        self._port.close()

    def _heard(self, message: Any) -> None:
        """Perform the action mapped to a `mido.Message`; called on the MIDI library's thread."""
        if message.type not in _KINDS or self._channel not in (0, message.channel + 1):
            return
        kind, level_of = _KINDS[message.type]
        name = f"{kind} {getattr(message, kind)}"
        action = self._map.get(name)
        if action is None:
            return
        level = getattr(message, level_of) if level_of else _FULL
        before, self._levels[name] = self._levels.get(name, 0), level
        if is_setting(action):
            self._performer.turn(action, level / _FULL)
        elif kind == "control":
            if level > _FULL // 2 >= before:
                self._performer.act(action)
        elif level:  # a note of velocity 0 is a release
            self._performer.act(action)


def _connected() -> list[str]:
    """Return the names of the connected devices. Raises SourceError."""
    import mido

    try:
        return list(dict.fromkeys(mido.get_input_names()))
    except (OSError, RuntimeError, ImportError) as error:
        raise SourceError(f"MIDI cannot be used: {str(error).splitlines()[0]}") from error


MIDI: Final = RemoteSpec(
    "midi",
    "the pads and knobs of a MIDI device",
    Midi,
    settings=MidiSettings,
    needs="a MIDI device",
)
