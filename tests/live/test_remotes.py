"""Keys, hotkeys and knobs do by name what the page does."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillRuns
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import pytest

from reenact import registry
from reenact.config import Section
from reenact.errors import ConfigError, ReenactError, SourceError, TargetError
from reenact.live.actions import ACTIONS, act, bindings, turn
from reenact.live.controls import Controls
from reenact.live.hotkeys import HOTKEYS
from reenact.live.remotes import Remotes
from reenact.types import Performer, Target
from support.fakes import until
from support.obs.studio import display
from support.sessions import fake_controls
from support.simulation import SimulatedTime


@pytest.fixture
def controls(time: SimulatedTime) -> Iterator[Controls]:
    with fake_controls(time) as made:
        yield made


def test_actions_by_name(controls: Controls, tmp_path: Path) -> None:
    session = controls.session
    assert "rests" in act(controls, "rest")
    assert session.presenter.show.value == "rest"
    assert "follows" in act(controls, "rest")
    assert "frozen" in act(controls, "freeze")
    with pytest.raises(ReenactError, match="paused"):
        act(controls, "hold")
    act(controls, "freeze")
    assert "is held" in act(controls, "hold")
    assert (session.reenactor.hold.on, controls.snapshot()["held"]) == (True, True)
    assert "follows" in act(controls, "hold")
    assert not session.reenactor.hold.on
    for asked, shown in (("happy", "happy"), ("sad", "sad"), ("sad", "actor"), ("actor", "actor")):
        told = act(controls, f"emotion={asked}")
        assert session.settings.drive.emotion == shown
        assert told == (
            "The target follows you again." if shown == "actor" else f"{shown.title()}."
        )
    for _ in range(12):
        act(controls, "intensity=+0.1")
    assert session.settings.drive.intensity == 2.0
    controls.save_preset("strong")
    act(controls, "intensity=-5")
    act(controls, "preset=strong")
    assert session.settings.drive.intensity == 2.0
    assert act(controls, "mirror") == "Mirrored."
    for out in (1.0, 0.0):
        act(controls, "tongue")
        assert session.settings.drive.units.tongue == out
    assert act(controls, "output=null") == "null is being switched on."
    assert act(controls, "output=null") == "null is off."
    assert "neutral face" in act(controls, "neutral")
    until(lambda: session.reenactor.neutrals == 1)  # type: ignore[attr-defined]
    assert "is ending" in act(controls, "stop")
    assert session.ended(5.0)


def test_an_emotion_for_some_seconds(controls: Controls) -> None:
    drive = controls.session.settings.drive
    assert act(controls, "emotion=happy .2") == "Happy for 0.2 s."
    assert drive.emotion == "happy"
    until(lambda: drive.emotion == "actor")
    act(controls, "emotion=happy .2")
    act(controls, "emotion=happy 60")  # a second request starts the time again
    act(controls, "emotion=sad .2")
    act(controls, "emotion=happy")
    time.sleep(0.4)
    assert drive.emotion == "happy"  # what was chosen without a time stays


@pytest.mark.parametrize(
    "text",
    [
        *("dance", "", "intensity=much", "preset=../x", "output=nothing"),
        *("emotion=bored", "emotion=bored 5", "emotion=happy soon", "emotion=happy -1"),
    ],
)
def test_a_wrong_action_is_told_in_one_sentence(controls: Controls, text: str) -> None:
    with pytest.raises(ReenactError) as caught:
        act(controls, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "share", "value"),
    [
        ("drive.intensity", 0.25, 0.5),
        ("fusion.max_yaw", 2.0, 60.0),
        ("fusion.mirror", 0.7, True),
        ("drive.emotion", 1.0, "surprised"),
        ("drive.units.mouth_open", 0.25, 0.25),
        ("smoothing.pose_min_cutoff", 0.0, 0.06),
    ],
)
def test_a_knob_turns_a_setting_through_its_range(
    controls: Controls, name: str, share: float, value: object
) -> None:
    turn(controls, name, share)
    assert controls.settings()[name] == value
    with pytest.raises(ConfigError, match="no setting"):
        turn(controls, "renderer.threads", share)


def test_bindings_are_read_or_refused() -> None:
    text = " Ctrl+Alt+F : freeze;note  3: target=anna ; "
    assert bindings(text) == {"ctrl+alt+f": "freeze", "note 3": "target=anna"}
    with pytest.raises(ConfigError, match="NAME: ACTION"):
        bindings("ctrl+f freeze")


def test_a_remote_that_fails_is_told_and_the_session_goes_on(
    controls: Controls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    controls.session.settings.remote.use = "hotkeys, telepathy"
    with Remotes(controls):
        told = {one["name"]: one["error"] for one in controls.snapshot()["remotes"]}
    assert "no remote called 'telepathy'" in told["telepathy"]
    if sys.platform.startswith("linux"):
        assert "Wayland" in told["hotkeys"]
    assert {one["where"] for one in controls.snapshot()["problems"]} == {"remotes"}


def test_a_plugins_remote_that_breaks_is_told_and_its_device_looked_for_again(
    controls: Controls, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Breaking:
        lost = False

        def close(self) -> None:
            raise ZeroDivisionError

    made: list[Breaking] = []

    def build(performer: Performer, own: Section) -> Breaking:
        made.append(Breaking())
        if len(made) == 1:
            raise ZeroDivisionError("a plugin's own")
        return made[-1]

    spec = registry.RemoteSpec("breaking", "breaks", build)
    monkeypatch.setattr(registry, "load", lambda group, name: spec)
    controls.session.settings.remote.use = "breaking"
    with Remotes(controls) as remotes:
        assert controls.remotes["breaking"] == "breaking: ZeroDivisionError: a plugin's own"
        remotes._try("breaking")
        assert controls.remotes["breaking"] == ""
        made[-1].lost = True
        remotes._look()
        assert len(made) == 3
    assert caplog.messages.count("Breaking could not be closed.") == 2


def test_a_remote_that_is_opened_after_the_end_is_closed(
    controls: Controls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its device stays in use, and it goes on to act in a session that has ended."""
    opening, may_open, closed = threading.Event(), threading.Event(), threading.Event()

    class Late:
        lost = False
        close = staticmethod(closed.set)

    def build(performer: Performer, own: Section) -> Late:
        if not opening.is_set():
            opening.set()
            raise SourceError("It is unplugged.")
        assert may_open.wait(60.0)
        return Late()

    spec = registry.RemoteSpec("late", "takes long", build)
    monkeypatch.setattr(registry, "load", lambda group, name: spec)
    monkeypatch.setattr("reenact.live.remotes._STOP_S", 0.0)
    controls.session.settings.remote.use = "late"
    with Remotes(controls) as remotes:
        looking = threading.Thread(target=remotes._look)
        looking.start()
    may_open.set()
    looking.join(60.0)
    assert closed.is_set()


def test_a_request_that_fails_unexpectedly_does_not_stop_the_next(
    controls: Controls, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def failing(controls: Controls, text: str) -> str:
        asked.append(text)
        if text == "mirror":
            raise RuntimeError("a plugin's own error")
        return act(controls, text)

    monkeypatch.setattr("reenact.live.remotes.act", failing)
    controls.session.settings.remote.use = "telepathy"
    with Remotes(controls) as remotes:
        remotes.act("mirror")
        remotes.act("rest")
        until(lambda: controls.session.presenter.show.value == "rest")
    assert asked == ["mirror", "rest"]


def test_the_rest_does_not_wait_for_a_target_that_is_being_prepared(
    controls: Controls, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, prepared = queue.SimpleQueue[str](), threading.Event()

    def open_slowly(name: str, *_: object, **__: object) -> Target:
        asked.put(name)
        assert prepared.wait(60.0)
        raise TargetError("The disk sleeps.")

    monkeypatch.setattr("reenact.targets.library.open_target", open_slowly)
    controls.session.settings.remote.use = "telepathy"
    with Remotes(controls) as remotes:
        remotes.act("target=next")
        assert asked.get(timeout=60.0) == "astronaut"
        remotes.act("target=next")
        remotes.act("rest")
        until(lambda: controls.session.presenter.show.value == "rest")
        prepared.set()
        assert asked.get(timeout=60.0) == "robin"


def test_the_rest_does_not_wait_for_a_knob_whose_setting_takes_long(
    controls: Controls, monkeypatch: pytest.MonkeyPatch
) -> None:
    turning, turned = threading.Event(), threading.Event()

    def prepare_slowly(*_: object) -> object:
        turning.set()
        assert turned.wait(60.0)
        raise TargetError("The disk sleeps.")

    monkeypatch.setattr(controls, "_prepare", prepare_slowly)
    controls.session.settings.remote.use = "telepathy"
    with Remotes(controls) as remotes:
        remotes.turn("output.max_side", 0.5)
        assert turning.wait(60.0)
        remotes.act("rest")
        until(lambda: controls.session.presenter.show.value == "rest")
        turned.set()


def test_an_output_that_several_switch_on_at_once_is_there_once(
    controls: Controls, monkeypatch: pytest.MonkeyPatch
) -> None:
    loading, loaded, load = threading.Event(), threading.Event(), registry.load

    def load_slowly(group: Literal["sinks"], name: str) -> object:
        loading.set()
        assert loaded.wait(60.0)
        return load(group, name)

    monkeypatch.setattr("reenact.live.controls.registry.load", load_slowly)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(act, controls, "output=null")
        assert loading.wait(60.0)
        second = threads.submit(act, controls, "output=null")
        with pytest.raises(StillRuns):
            second.result(0.2)
        loaded.set()
        assert first.result(60.0) == "null is being switched on."
        assert second.result(60.0) == "null is off."


PRESS = """
import sys, threading, time
from Xlib import X, XK, display
from Xlib.ext import xtest
from reenact.config import RemoteSettings
from reenact.live.hotkeys import HOTKEYS, HotkeySettings

class Told:
    done = threading.Event()
    def check(self, text): pass
    def act(self, text):
        print(text, flush=True)
        if text == "target=anna":
            self.done.set()

told = Told()
settings = RemoteSettings(hotkeys=HotkeySettings(keys=sys.argv[1]))
remote = HOTKEYS.make(told, settings)
screen = display.Display()
time.sleep(0.5)  # the X server begins to report keys after the listener is ready
for keys in ("space", "f", "x", "a"):
    keys = ["Control_L", "Alt_L", keys]
    codes = [screen.keysym_to_keycode(XK.string_to_keysym(key)) for key in keys]
    for code in codes:
        xtest.fake_input(screen, X.KeyPress, code)
    for code in reversed(codes):
        xtest.fake_input(screen, X.KeyRelease, code)
    screen.sync()
assert told.done.wait(20)
remote.close()
"""


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="Xvfb is missing (apt install xvfb)")
@pytest.mark.skipif(find_spec("pynput") is None, reason="pynput is missing: .[hotkeys]")
def test_hotkeys_are_heard_on_an_x_display_whatever_has_the_focus(tmp_path: Path) -> None:
    """The keys are pressed through the X server's own XTEST extension."""
    keys = "ctrl+alt+space: rest; ctrl+alt+f: freeze; shift+x: stop; ctrl+alt+a: target=anna"
    with display(tmp_path) as number:
        environment = {**os.environ, "DISPLAY": number}
        environment.pop("WAYLAND_DISPLAY", None)
        done = subprocess.run(
            [sys.executable, "-c", PRESS, keys],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout.split()) == (0, ["rest", "freeze", "target=anna"]), done


def test_an_unknown_action_of_a_hotkey_is_told(controls: Controls) -> None:
    assert set(ACTIONS) >= set(bindings(HOTKEYS.settings().keys).values())
    remote = controls.session.settings.remote
    remote.hotkeys = HOTKEYS.settings(keys="ctrl+q: dance")  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="no action dance"), Remotes(controls) as remotes:
        HOTKEYS.make(remotes, remote)
    remote.hotkeys = HOTKEYS.settings(keys="ctrl+q: fusion.mouth")  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="a key cannot turn"), Remotes(controls) as remotes:
        HOTKEYS.make(remotes, remote)
