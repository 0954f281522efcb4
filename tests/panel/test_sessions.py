"""What is asked for while a session is being opened, or is about to end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest

from reenact import registry
from reenact.config import SourceSettings
from reenact.errors import ReenactError
from reenact.live.controls import Controls
from reenact.panel import studio as studio_module
from reenact.panel.choice import Choice
from reenact.panel.preview import NewestPicture, SourceWatch
from reenact.panel.sessions import Sessions
from reenact.panel.studio import Studio
from reenact.targets.library import open_target
from reenact.testing.portrait import portrait_target
from reenact.types import Target
from support.fakes import FakeSource, until
from support.panels import FAST, Panel


@pytest.fixture
def studio() -> Iterator[Studio]:
    with Studio(assignments=FAST) as opened:
        opened.offer("pattern", "")
        yield opened


def opened(studio: Studio) -> Controls:
    """Open the session that was asked for."""
    choice = studio.next_start(0.0)
    assert choice is not None
    controls = studio.open(choice)
    assert controls is not None
    return controls


def test_an_order_while_a_session_starts_is_told_to_come_later(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def order(*_: Any, **__: Any) -> Target:
        for ask in (studio.running, lambda: studio.act("rest"), studio.stop):
            with pytest.raises(ReenactError) as caught:
                ask()
            told.append(str(caught.value))
        return open_target("robin", 128)

    monkeypatch.setattr(studio_module, "open_target", order)
    studio.start("pattern", "robin", [])
    with pytest.raises(ReenactError, match="is starting"):
        studio.act("rest")
    with opened(studio).session:
        assert studio.act("rest").startswith("The target rests")
    assert told == ["The session is starting; try again once it runs."] * 3
    studio.ended(None)
    with pytest.raises(ReenactError, match="No session is running"):
        studio.act("rest")


def test_what_is_changed_while_a_session_starts_holds_in_it(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(*_: Any, **__: Any) -> Target:
        assert studio.update({"fusion.mouth": 0.5, "output.picture": "crop"}) == []
        studio.set_output("null", True)
        return open_target("robin", 128)

    monkeypatch.setattr(studio_module, "open_target", change)
    studio.start("pattern", "robin", [])
    controls = opened(studio)
    with controls.session:
        assert controls.session.settings.fusion.mouth == 0.5
        assert studio.waiting() == {"output.picture": "crop"}
        assert [one["name"] for one in controls.outputs()] == ["panel", "null"]
    studio.ended(None)


def test_a_target_that_is_renamed_while_its_session_starts_is_shown(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = studio.gallery.store
    store.create(replace(portrait_target(), name="anna"))

    def load(name: str, *_: Any, **__: Any) -> Target:
        target = open_target(name, 128, store=store)
        studio.rename(name, "carla")
        return target

    studio.start("pattern", "anna", [])
    studio.rename("anna", "berta")
    monkeypatch.setattr(studio_module, "open_target", load)
    controls = opened(studio)
    with controls.session:
        assert (controls.target, studio.choice.target) == ("carla", "carla")
        controls.update("output", "max_side", 300)
    studio.ended(None)


def test_of_a_request_and_a_session_that_begins_at_once_one_sees_the_other() -> None:
    first, second, controls = Choice("a"), Choice("b"), Mock()
    for begins_first in (True, False):
        sessions, output, session = Sessions(), Mock(), Mock()
        session.output.hand_over.return_value = {"camera": output}
        session.settings.output.show_raw_camera = False
        assert sessions.ask(first) is None
        assert sessions.next(0.0) is first
        assert sessions.phase == "starting"
        if begins_first:
            assert not sessions.begin(controls)
            assert sessions.phase == "running"
            assert sessions.ask(second) is controls
        else:
            assert sessions.ask(second) is None
            assert sessions.begin(controls)
        assert (sessions.phase, sessions.running) == ("starting", controls)
        sessions.keep(session, ["camera"])
        sessions.end()
        assert (sessions.phase, sessions.running) == ("starting", None)
        assert sessions.next(0.0) is second
        assert sessions.take("camera") is output
        sessions.keep(session, ["camera"])
        assert sessions.next(0.0) is None
        sessions.end()
        assert (sessions.phase, output.close.call_count) == ("idle", 1)


def test_a_target_that_is_renamed_while_it_is_prepared_is_shown_under_its_new_name(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.gallery.store.create(replace(portrait_target(), name="anna"))
    prepare, ready, may_show = Controls._prepare, threading.Event(), threading.Event()

    def prepare_slowly(*arguments: Any) -> Any:
        prepared = prepare(*arguments)
        ready.set()
        assert may_show.wait(60.0)
        return prepared

    studio.start("pattern", "robin", [])
    controls = opened(studio)
    with controls.session, ThreadPoolExecutor() as threads, monkeypatch.context() as patch:
        patch.setattr(Controls, "_prepare", prepare_slowly)
        job = studio.switch("anna")
        assert ready.wait(60.0)
        renamed = threads.submit(studio.rename, "anna", "berta")
        until(lambda: "berta" in studio.gallery.store)
        may_show.set()
        renamed.result(60.0)
        until(lambda: job.state != "running")
        assert job.state == "done"
    assert (controls.target, studio.choice.target) == ("berta", "berta")
    controls.update("renderer", "size", 256)
    studio.ended(None)


def test_the_target_of_the_session_that_is_asked_for_counts(studio: Studio) -> None:
    studio.start("pattern", "robin", [])
    controls = opened(studio)
    with controls.session:
        studio.start("pattern", "astronaut", [])
        controls.on_switch("robin")  # which was being prepared
    assert studio.choice.target == "astronaut"
    studio.ended(None)


def test_the_newest_of_several_choices_is_stored(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: list[Choice] = []
    storing, may_store = threading.Event(), threading.Event()

    def store(choice: Choice) -> None:
        if not storing.is_set():
            storing.set()
            may_store.wait(0.5)  # unless the next one is stored before
        stored.append(choice)
        may_store.set()

    monkeypatch.setattr(studio_module, "keep_choice", store)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(studio.update, {"fusion.mouth": 0.5})
        assert storing.wait(60.0)
        studio.update({"fusion.brows": 0.7})
        first.result(60.0)
    assert stored[-1] == studio.choice
    assert studio.choice.settings == {"fusion.mouth": 0.5, "fusion.brows": 0.7}


def test_an_emotion_for_some_seconds_is_not_kept_for_the_next_session(studio: Studio) -> None:
    studio.start("pattern", "robin", [])
    with opened(studio).session:
        studio.act("emotion=happy 60")
    studio.ended(None)
    assert studio.choice.settings == {}
    studio.start("pattern", "robin", [])
    with opened(studio).session:
        studio.act("emotion=happy 60")
        studio.act("emotion=sad")
    studio.ended(None)
    assert studio.choice.settings == {"drive.emotion": "sad"}


def test_a_target_that_is_ready_after_the_end_is_not_chosen(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls, preparing, may_prepare = panel.start("pattern"), threading.Event(), threading.Event()
    prepare = Controls._prepare

    def prepare_slowly(*arguments: Any) -> Any:
        preparing.set()
        assert may_prepare.wait(60.0)
        return prepare(*arguments)

    monkeypatch.setattr(Controls, "_prepare", prepare_slowly)
    number = panel.call("POST", "/api/target", name="astronaut")
    assert preparing.wait(60.0)
    panel.call("POST", "/api/stop")
    until(lambda: panel.studio.controls is None)
    may_prepare.set()
    job = panel.studio.jobs.get(number)
    assert job is not None
    until(lambda: job.state != "running")
    assert (job.state, job.result) == ("failed", "The session has ended; start it again.")
    assert (controls.target, panel.studio.choice.target) == ("robin", "robin")


def test_an_output_of_a_plugin_that_cannot_be_made_is_told_and_the_session_begins(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(argument: str, settings: object) -> Any:
        raise ZeroDivisionError("a plugin's own")

    load = registry.load
    broken = registry.SinkSpec("null", "breaks", fail)
    monkeypatch.setattr(
        registry, "load", lambda group, name: broken if name == "null" else load(group, name)
    )
    studio.start("pattern", "robin", ["null"])
    with opened(studio).session:
        outputs = studio.running().outputs()
    studio.ended(None)
    assert [one["name"] for one in outputs] == ["panel", "null"]
    assert "a plugin's own" in outputs[1]["error"]


@pytest.mark.parametrize("reads", [0, 3])
def test_a_bug_of_a_source_that_is_watched_is_told_and_it_is_tried_again(
    reads: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def make(argument: str, settings: object) -> FakeSource:
        made.append(argument)
        if not reads:
            raise ZeroDivisionError("a plugin's own")
        return FakeSource(None, live=True, step=break_down)

    def break_down(number: int) -> None:
        if number >= reads:
            raise ZeroDivisionError("a plugin's own")

    made, newest = list[str](), NewestPicture()
    monkeypatch.setattr("reenact.panel.preview._RETRY_S", 0.01)
    monkeypatch.setattr(registry, "load", lambda group, name: Mock(make=make))
    with SourceWatch("plugin:x", SourceSettings(), newest) as watch:
        until(lambda: watch.problem, 5.0)
        assert "a plugin's own" in watch.problem
        until(lambda: watch._thread.is_alive() and len(made) > 3 * (not reads), 5.0)
    assert "ZeroDivisionError" in caplog.text
