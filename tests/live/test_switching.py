"""Changes of the target and of its size while a session runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from reenact.cli.main import main
from reenact.errors import ReenactError
from reenact.live.actions import act
from reenact.live.controls import Controls
from reenact.live.pipeline import Reenactor
from reenact.live.prepared_target import PreparedTarget
from reenact.live.presets import OwnSettings, give_settings, own_settings
from reenact.live.session import Session
from reenact.live.settings import load_settings
from reenact.storage import write_png
from reenact.targets.backgrounds import add_background
from reenact.targets.library import open_target
from reenact.targets.store import TargetStore
from reenact.testing.moving_portrait import moving_portrait, write_video
from reenact.testing.portrait import portrait, portrait_target
from reenact.types import Target
from support.fakes import MAGENTA, until


@pytest.fixture
def plain_session() -> Iterator[Session]:
    """A session of the test pattern and the astronaut; what was asked waits for `settle`."""
    options = ["renderer.name=warp", "fusion.method=direct", "actor.neutral=fresh"]
    settings, target = load_settings(None, options), open_target("astronaut")
    with Session.open(settings, "pattern", target, ["null"]) as session:
        yield session


def test_a_size_stays_when_the_next_setting_prepares_the_target_anew(
    plain_session: Session,
) -> None:
    controls = Controls(plain_session, "astronaut")
    controls.update("renderer", "size", 128)
    controls.update("output", "max_side", 300)
    plain_session.presenter.settle()
    assert plain_session.reenactor.target.crop_size == 128
    assert max(plain_session.reenactor.size) == 300


def test_targets_are_stepped_through_in_a_circle(plain_session: Session, tmp_path: Path) -> None:
    store, photo = TargetStore(tmp_path / "targets"), tmp_path / "photo.png"
    for name in ("anna", "ben"):
        store.create(replace(portrait_target(), name=name))
    write_png(photo, portrait())
    controls = Controls(plain_session, str(photo), store)
    circle = ["astronaut", "robin", "anna", "ben", str(photo), "astronaut"]
    for name in circle:
        assert act(controls, "target=next") == f"{name} is shown."
    for name in circle[-2::-1]:
        assert act(controls, "target=previous") == f"{name} is shown."
        assert controls.target == name
    act(controls, "target=anna")
    store.rename("anna", "zoe")
    assert controls.rename_target("anna", "zoe")
    assert act(controls, "target=previous") == "ben is shown."
    next(store.folder_of("zoe").glob("*.json")).write_text("{}")
    with pytest.raises(ReenactError, match="zoe"):
        act(controls, "target=next")
    assert controls.target == "ben"
    assert act(controls, "target=next") == f"{photo} is shown."


@pytest.fixture
def own_store(tmp_path: Path) -> TargetStore:
    """Two targets; anna has a mouth and a shape of her own."""
    store = TargetStore(tmp_path / "targets")
    for name in ("anna", "ben"):
        store.create(replace(portrait_target(), name=name))
    give_settings(store, "anna", ["fusion.mouth=1.5", 'output.shape="16:9"'])
    return store


def looks(controls: Controls) -> tuple[float, str, float]:
    settings = controls.session.settings
    return settings.fusion.mouth, settings.output.shape, settings.fusion.brows


def test_a_target_brings_its_own_settings_and_takes_them_away(
    plain_session: Session, own_store: TargetStore
) -> None:
    controls = Controls(plain_session, "astronaut", own_store)
    controls.update("fusion", "mouth", 0.8)
    act(controls, "target=ben")
    plain_session.presenter.settle()
    square = plain_session.reenactor.size
    act(controls, "target=anna")
    plain_session.presenter.settle()
    assert looks(controls) == (1.5, "16:9", 1.0)
    assert plain_session.reenactor.size != square
    controls.update_all({"fusion.mouth": 1.2, "fusion.brows": 0.5})  # the mouth is hers
    act(controls, "target=ben")
    plain_session.presenter.settle()
    assert looks(controls) == (0.8, "picture", 0.5)
    assert plain_session.reenactor.size == square
    act(controls, "target=anna")
    assert looks(controls) == (1.5, "16:9", 0.5)


def test_what_was_typed_for_the_run_wins_over_a_targets_own(
    plain_session: Session, own_store: TargetStore
) -> None:
    typed = OwnSettings(own_store, ["fusion.mouth=0.7"])
    settings = load_settings(None, ["fusion.mouth=0.7"])
    typed.begin("anna", settings)
    assert (settings.fusion.mouth, settings.output.shape) == (0.7, "16:9")
    plain_session.settings.fusion.mouth = 0.7
    controls = Controls(plain_session, "anna", own_store, own=typed)
    for name in ("ben", "anna"):
        act(controls, f"target={name}")
        assert controls.session.settings.fusion.mouth == 0.7
    assert controls.session.settings.output.shape == "16:9"


def test_what_changed_since_a_target_is_shown_can_become_its_own(
    plain_session: Session, own_store: TargetStore
) -> None:
    controls = Controls(plain_session, "astronaut", own_store)
    act(controls, "target=ben")
    controls.update_all({"fusion.brows": 0.5, "drive.intensity": 1.2, "drive.units.frown": 0.3})
    assert controls.keep_settings() == ["drive.intensity", "drive.units.frown", "fusion.brows"]
    act(controls, "target=anna")
    assert looks(controls) == (1.5, "16:9", 1.0)
    assert controls.session.settings.drive.units.frown == 0.0
    act(controls, "target=ben")
    assert looks(controls) == (1.0, "picture", 0.5)
    assert controls.session.settings.drive.units.frown == 0.3
    controls.update_all({"fusion.brows": 1.0, "drive.units.frown": 0.0})
    assert controls.keep_settings() == ["drive.intensity"]
    assert own_settings(own_store, "ben") == {"drive.intensity": 1.2}


def test_a_target_with_damaged_settings_is_shown_without_them(
    plain_session: Session, own_store: TargetStore, caplog: pytest.LogCaptureFixture
) -> None:
    (own_store.folder_of("anna") / "settings.toml").write_text("[fusion]\nmouht = 1.5\n")
    controls = Controls(plain_session, "astronaut", own_store)
    assert act(controls, "target=anna") == "anna is shown."
    assert looks(controls) == (1.0, "picture", 1.0)
    assert "The own settings of anna are not used" in caplog.text


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("output.picture=crop", "output.picture cannot be changed while running"),
        ("renderer.name=warp", "renderer.name cannot be changed while running"),
        ("fusion.mouht=1", "did you mean fusion.mouth"),
        ("fusion.mouth=9", "fusion.mouth"),
        ("output.background=nowhere", "There is no background 'nowhere'"),
        ("output.show_raw_camera=true", "show your own camera picture"),
    ],
)
def test_a_setting_that_no_target_can_have_is_refused(
    assignment: str, sentence: str, own_store: TargetStore
) -> None:
    with pytest.raises(ReenactError, match=sentence):
        give_settings(own_store, "anna", ["fusion.brows=0.5", assignment], anew=True)
    assert own_settings(own_store, "anna") == {"fusion.mouth": 1.5, "output.shape": "16:9"}
    with pytest.raises(ReenactError, match="built in"):
        give_settings(own_store, "robin", ["fusion.brows=0.5"])


def test_own_settings_follow_a_rename_and_an_export(own_store: TargetStore, tmp_path: Path) -> None:
    path = own_store.export_file("anna", tmp_path / "anna")
    own_store.rename("anna", "zoe")
    assert main(["target", "import", str(path), "--name", "eve"]) == 0
    for store, name in ((own_store, "zoe"), (TargetStore(), "eve")):
        assert own_settings(store, name) == {"fusion.mouth": 1.5, "output.shape": "16:9"}


@pytest.mark.parametrize(
    ("text", "left_out"),
    [
        ('output.label = "Real"', "settings: 'output.label'."),
        ("fusion.mouht = 1.2\nfusion.eyes = 9", "settings: 'fusion.mouht', 'fusion.eyes'."),
        ('output.background = "office"', "settings: 'output.background'."),
        ('output."label=1 #" = "Real"', "settings: 'output.label=1 #'."),
        ("output.fps = 1979-05-27", "settings: 'output.fps'."),
        ("[fusion", "damaged, and left out"),
        (f"fusion.mouth = {'[' * 4000}", "damaged, and left out"),
        (f"fusion{'.mouth' * 2000} = 1", "damaged, and left out"),
    ],
)
def test_an_imported_target_brings_no_settings_that_it_may_not_have(
    text: str,
    left_out: str,
    own_store: TargetStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_png(tmp_path / "office.png", portrait())
    add_background("office", tmp_path / "office.png")
    content = text if "damaged" in left_out else f"fusion.brows = 0.5\n{text}"
    (own_store.folder_of("anna") / "settings.toml").write_text(content, "utf-8")
    path = own_store.export_file("anna", tmp_path / "anna")
    assert main(["target", "import", str(path)]) == 0
    assert left_out in capsys.readouterr().err
    kept = {} if "damaged" in left_out else {"fusion.brows": 0.5}
    assert own_settings(TargetStore(), "anna") == kept


def test_quick_steps_each_count(plain_session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    controls, gate = Controls(plain_session, "astronaut"), Gate()
    monkeypatch.setattr("reenact.targets.library.open_target", gate.open_target)
    with ThreadPoolExecutor() as threads:
        steps = [threads.submit(controls.step_target, 1)]
        assert gate.reached.wait(60.0)
        for _ in range(2):
            last = controls._turns.newest
            steps.append(threads.submit(controls.step_target, 1))
            until(lambda last=last: controls._turns.newest is not last)  # type: ignore[misc]
        gate.passed.set()
        results = [step.result(60.0) for step in steps]
    assert sorted(results) == [("astronaut", False), ("robin", False), ("robin", True)]
    assert controls.target == "robin"


@dataclass
class Gate:
    """Holds whoever opens a target until it is opened itself."""

    reached: threading.Event = field(default_factory=threading.Event)
    passed: threading.Event = field(default_factory=threading.Event)
    opened: list[str] = field(default_factory=list)

    def open_target(self, *arguments: Any, **named: Any) -> Target:
        self.opened.append(arguments[0])
        self.reached.set()
        assert self.passed.wait(60.0)
        return open_target(*arguments, **named)


@contextmanager
def during_a_switch(
    controls: Controls, name: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str, Any], None]]:
    """Hold a switch to a target half-way; yield what changes a setting meanwhile."""
    gate = Gate()
    monkeypatch.setattr("reenact.targets.library.open_target", gate.open_target)
    with ThreadPoolExecutor() as threads:
        done: list[Future[Any]] = [threads.submit(controls.switch_target, name)]
        assert gate.reached.wait(60.0)
        yield lambda *change: done.append(threads.submit(controls.update, *change))
        sleep(0.2)  # so that it has begun
        gate.passed.set()
        for one in done:
            one.result(60.0)
    controls.session.presenter.settle()


def test_of_several_targets_asked_for_at_once_the_last_is_shown(
    plain_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, shown = Gate(), list[str]()
    monkeypatch.setattr("reenact.targets.library.open_target", gate.open_target)
    controls = Controls(plain_session, "astronaut")
    controls.on_switch = shown.append
    with ThreadPoolExecutor() as threads:
        asked = []
        for name in ("astronaut", "astronaut", "robin"):
            asked.append(threads.submit(controls.switch_target, name))
            assert gate.reached.wait(60.0)
            sleep(0.2)  # so that it has begun
        gate.passed.set()
        assert [one.result(60.0) for one in asked] == [False, False, True]
    assert gate.opened == ["astronaut", "robin"]
    assert shown == ["robin"]
    plain_session.presenter.settle()
    assert (controls.target, plain_session.reenactor.target.name) == ("robin", "robin")


def test_a_request_that_gives_way_does_not_wait(
    plain_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a burst of requests holds a thread each until the first target is loaded."""
    gate, controls = Gate(), Controls(plain_session, "astronaut")
    monkeypatch.setattr("reenact.targets.library.open_target", gate.open_target)
    with ThreadPoolExecutor(64) as threads:
        first = threads.submit(controls.switch_target, "robin")
        assert gate.reached.wait(60.0)
        burst = [threads.submit(controls.step_target, 1) for _ in range(50)]
        until(lambda: sum(one.done() for one in burst) == 49)
        assert not any(one.result()[1] for one in burst if one.done())
        gate.passed.set()
        assert first.result(60.0) is False
        assert sum(one.result(60.0)[1] for one in burst) == 1
    assert len(gate.opened) == 2


def test_a_size_that_changes_during_a_switch_keeps_the_new_target(
    plain_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls = Controls(plain_session, "astronaut")
    with during_a_switch(controls, "robin", monkeypatch) as change:
        change("renderer", "size", 128)
    target = plain_session.reenactor.target
    assert (controls.target, target.name, target.crop_size) == ("robin", "robin", 128)


def test_a_background_that_changes_during_a_switch_stands_behind_the_new_target(
    plain_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    controls = Controls(plain_session, "astronaut")
    with during_a_switch(controls, "robin", monkeypatch) as change:
        change("output", "background_colour", "#ff00ff")
        change("output", "background", "colour")
    corner = plain_session.reenactor.idle(0.0, 0).image[0, 0]
    assert tuple(corner) == MAGENTA


def test_a_real_session_changes_its_target_and_measures_the_face(tmp_path: Path) -> None:
    """The portrait drives one target and then another; features are those of the new one."""
    images, _ = moving_portrait()
    write_video(tmp_path / "actor.mp4", images)
    still = tmp_path / "still.mp4"
    write_video(still, images[:1])
    options: list[Any] = ["renderer.name=warp", "fusion.method=direct", "actor.neutral=fresh"]
    settings = load_settings(None, options)
    target = open_target("astronaut")
    with Session.open(settings, f"video:{tmp_path / 'actor.mp4'}", target, ["null"]) as session:
        controls = Controls(session, "astronaut")
        controls.switch_target(str(still))
        with pytest.raises(ReenactError, match="no target or file"):
            controls.switch_target("nobody")
        session.start()
        assert session.wait(120.0)
        assert controls.target == str(still)
        assert session.reenactor.target.name == "still"
        found = {feature.name: feature for feature in controls.features()}
        assert {"mouth open", "smile", "left lid", "gaze", "turn"} <= set(found)
        assert all(-1 <= one.actor <= 1 and -1 <= one.output <= 1 for one in found.values())
        assert session.stats().failures == 0


@pytest.mark.parametrize(
    ("name", "slow", "last"),
    [("renderer.size", 512, 256), ("output.background", "colour", "keep")],
)
def test_of_several_values_asked_for_at_once_the_last_is_used(
    name: str, slow: Any, last: Any, plain_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one needs no preparation, because it is still in use when it is asked for."""
    controls, preparing = Controls(plain_session, "astronaut"), threading.Event()
    may_prepare = threading.Event()
    controls.update("renderer", "size", 256)

    def slowly(function: Callable[..., Any]) -> Callable[..., Any]:
        def work(*arguments: Any) -> Any:
            preparing.set()
            assert may_prepare.wait(60.0)
            return function(*arguments)

        return work

    monkeypatch.setattr(controls, "_prepare", slowly(controls._prepare))
    for kind in (PreparedTarget, Reenactor):
        monkeypatch.setattr(kind, "open_backdrop", slowly(kind.open_backdrop))
    with ThreadPoolExecutor() as threads:
        changes = [threads.submit(controls.update_all, {name: slow})]
        assert preparing.wait(60.0)
        changes.append(threads.submit(controls.update_all, {name: last}))
        sleep(0.2)  # so that it has begun
        may_prepare.set()
        for change in changes:
            change.result(60.0)
    plain_session.presenter.settle()
    assert controls.settings()[name] == last
    assert plain_session.reenactor.target.crop_size == 256
