"""A MIDI device controls a session: real messages, through mido's in-memory port or ALSA's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from reenact_midi import MIDI, MidiSettings

from reenact.live.controls import Controls
from reenact.live.remotes import Remotes
from support.fakes import until
from support.sessions import fake_controls
from support.simulation import SimulatedTime

mido = pytest.importorskip("mido", reason="mido is not installed")

MAP = "note 036: rest; note 37: emotion=happy; control 1: drive.intensity; control 64: freeze"


class Keyboard(ModuleType):
    """A backend of mido whose one device is the test."""

    def __init__(self) -> None:
        super().__init__("keyboard")
        self.callback: Any = None
        keyboard = self

        class Input(mido.ports.BaseInput):  # type: ignore[misc, name-defined]
            def _open(self, callback: Any = None, **_: Any) -> None:
                keyboard.callback = callback

        self.Input = Input
        self.connected = ["Pads"]
        self.get_devices = lambda **_: [
            {"name": name, "is_input": True, "is_output": False} for name in self.connected
        ]

    def send(self, *data: int) -> None:
        """Send the bytes of a message as a cable carries them."""
        parser = mido.Parser()
        parser.feed(bytes(data))
        for message in parser:
            self.callback(message)


@pytest.fixture
def keyboard(monkeypatch: pytest.MonkeyPatch) -> Keyboard:
    made = Keyboard()
    monkeypatch.setitem(sys.modules, "keyboard_of_the_test", made)
    backend = mido.Backend("keyboard_of_the_test")
    monkeypatch.setattr(mido, "open_input", backend.open_input)
    monkeypatch.setattr(mido, "get_input_names", backend.get_input_names)
    return made


@pytest.fixture
def controls() -> Iterator[Controls]:
    with fake_controls(SimulatedTime()) as made:
        made.session.settings.remote.use = "midi"
        yield made


def listening(controls: Controls, **settings: Any) -> Remotes:
    controls.session.settings.remote.midi = MidiSettings(  # type: ignore[attr-defined]
        **{"map": MAP, **settings}
    )
    return Remotes(controls)


def test_notes_and_controllers_move_the_session(keyboard: Keyboard, controls: Controls) -> None:
    session = controls.session
    drive = session.settings.drive
    with listening(controls):
        assert controls.remotes == {"midi": ""}
        keyboard.send(0x90, 36, 100)
        until(lambda: session.presenter.show.value == "rest")
        keyboard.send(0x90, 36, 0)  # released: it stays at rest
        keyboard.send(0xB0, 1, 127)
        until(lambda: drive.intensity == 2.0)
        assert session.presenter.show.value == "rest"
        keyboard.send(0x92, 37, 1)
        until(lambda: drive.emotion == "happy")
        for level in (30, 70, 90, 127, 90):  # a pedal passes its middle once
            keyboard.send(0xB0, 64, level)
        until(lambda: session.presenter.show.value == "frozen")
        for message in ((0x90, 99, 100), (0xE0, 0, 64), (0xF8,), (0xC0, 5)):
            keyboard.send(*message)  # mapped to nothing
        keyboard.send(0xB0, 1, 0)
        until(lambda: drive.intensity == 0.0)


def test_one_channel_alone_can_be_chosen(keyboard: Keyboard, controls: Controls) -> None:
    with listening(controls, channel=10):
        keyboard.send(0x90, 36, 100)
        keyboard.send(0x99, 37, 100)
        until(lambda: controls.session.settings.drive.emotion == "happy")
        assert controls.session.presenter.show.value == "live"


def test_a_device_may_be_plugged_in_later_and_pulled_out(
    keyboard: Keyboard, controls: Controls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reenact.live.remotes.LOOK_S", 0.05)
    shown = controls.session.presenter
    keyboard.connected = []
    with listening(controls):
        for show in ("rest", "live"):
            until(lambda: "none is connected" in controls.remotes["midi"])
            assert [one["where"] for one in controls.snapshot()["problems"]] == ["remotes"]
            keyboard.connected = ["Pads"]
            until(lambda: controls.remotes["midi"] == "")
            keyboard.send(0x90, 36, 100)
            until(lambda: shown.show.value == show)  # noqa: B023 - it is called in this turn
            keyboard.connected = []


def test_the_port_that_connects_programs_is_no_device(
    keyboard: Keyboard, controls: Controls
) -> None:
    keyboard.connected = ["Midi Through:Midi Through Port-0 14:0", "Pads"]
    with listening(controls):
        assert controls.remotes["midi"] == ""
        keyboard.connected = ["Midi Through:Midi Through Port-0 14:0"]
        until(lambda: controls.remotes["midi"].startswith("There is no MIDI device: Midi"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"port": "Organ"}, "no MIDI device Organ: Pads"),
        ({"map": "note 3: dance"}, "no action dance"),
        ({"map": "key 3: rest"}, "write note, control or program"),
        ({"map": "note 200: rest"}, "write note, control or program"),
        ({"map": "note 3: fusion.mouth"}, "only a controller"),
        ({"map": "control 3: drive.intensty"}, "no setting drive.intensty"),
        ({"map": "control 3: renderer.threads"}, "no setting renderer.threads"),
    ],
)
def test_what_is_wrong_is_told(
    keyboard: Keyboard, controls: Controls, settings: Any, message: str
) -> None:
    with listening(controls, **settings):
        assert message in controls.remotes["midi"]


@pytest.mark.skipif(not Path("/dev/snd/seq").exists(), reason="no ALSA sequencer (snd-seq)")
def test_a_virtual_port_of_alsa_is_heard(controls: Controls) -> None:
    with (
        mido.open_output("reenact test", virtual=True) as device,
        listening(controls, port="reenact test"),
    ):
        device.send(mido.Message("note_on", note=36, velocity=64))
        until(lambda: controls.session.presenter.show.value == "rest")


def test_it_is_listed_without_a_midi_library() -> None:
    assert (MIDI.name, MIDI.settings().port) == ("midi", "")
