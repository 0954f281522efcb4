"""Action units by hand in what is drawn: with an actor, alone, at rest, and unchanged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reenact.config import Settings
from reenact.expression.driving import HAND_S
from reenact.face.topology import ACTION_UNITS
from reenact.live.load import SteppedRenderer
from reenact.live.pipeline import Reenactor
from reenact.live.presenter import Presenter, Show
from reenact.stats import Recorder, StepTimer
from reenact.types import Array, Drive, Frame, Landmarks, Renderer
from support.faces import deviation_of, plain_target, target_units
from support.fakes import GREEN, MAGENTA, FakeRenderer, FakeTracker, plain
from support.sessions import quiet_settings

FPS = 25
TARGET = plain_target(GREEN)
FACE = Landmarks(TARGET.neutral, 1.0, (640, 480))
HAND_FRAMES = round(HAND_S * FPS)
OPEN, SMILE_LEFT, SMILE_RIGHT = (
    ACTION_UNITS.index(name) for name in ("mouth_open", "smile_left", "smile_right")
)


class Stage:
    """A presenter of a reenactor whose actor is posed by the test, at 25 frames a second."""

    def __init__(self, settings: Settings, renderer: Renderer | None = None) -> None:
        self.settings = settings
        self.settings.fusion.method = "direct"  # needs no weights
        self.tracker, self.fake = FakeTracker(None), FakeRenderer()
        drawn_by = renderer or self.fake
        self.reenactor = Reenactor(settings, TARGET, self.tracker, drawn_by, StepTimer())
        self.presenter = Presenter(self.reenactor, Recorder())
        self._index = 0

    def show(self, face: Landmarks | None, frames: int = 1) -> list[Drive | None]:
        """Show a face, or none, for some frames; return what each was drawn from."""
        self.tracker.face = face
        drives = []
        for _ in range(frames):
            self._index += 1
            self.presenter.settle()
            self.presenter.step(Frame(plain(MAGENTA), self._index / FPS, self._index))
            drives.append(self.reenactor.drive)
        return drives


def measured(drive: Drive | None) -> Array:
    """Return the (17,) units of the target's landmarks; 0 for the target at rest."""
    points = TARGET.neutral if drive is None else drive.landmarks
    return target_units(points, TARGET.neutral)


@pytest.mark.parametrize("life", [False, True])
def test_a_unit_by_hand_is_in_all_that_drives_a_renderer_with_and_without_an_actor(
    life: bool,
) -> None:
    stage = Stage(quiet_settings())
    stage.settings.idle.life = life
    stage.settings.fusion.mirror = True  # which is for the actor alone
    for face in (FACE, None):
        stage.show(face, 20)
        stage.settings.drive.units.smile_left = 0.8
        drive = stage.show(face, HAND_FRAMES + 1)[-1]
        assert drive is not None
        assert drive.expression.action_units[SMILE_LEFT] == pytest.approx(0.8, abs=0.02)
        assert measured(drive)[SMILE_LEFT] > 0.6
        assert measured(drive)[SMILE_RIGHT] < 0.1
        moved = drive.expression.deviation[291] - deviation_of(smile_left=0.8)[291]
        assert np.abs(moved).max() < 0.01
        assert drive.emotion[2] == pytest.approx(1.0, abs=0.05), "one corner: contempt"
        stage.settings.drive.units.smile_left = 0.0
        stage.show(face, HAND_FRAMES + 1)
    assert (stage.reenactor.drive is None) == (not life)


def test_the_tongue_of_the_actor_and_of_the_hand_reaches_the_renderer() -> None:
    stage = Stage(quiet_settings())
    stage.settings.idle.life = False
    seen = replace(FACE, tongue=0.6)  # as a phone sees it
    drive = stage.show(seen, 20)[-1]
    assert drive is not None
    assert drive.expression.tongue == pytest.approx(0.6)
    stage.reenactor.hold.on = True
    stage.show(seen)
    drive = stage.show(FACE, 20)[-1]
    assert drive is not None
    assert drive.expression.tongue == pytest.approx(0.6), "a held expression keeps it"
    stage.reenactor.hold.on = False
    stage.settings.drive.units.tongue = 1.0
    for face in (FACE, None):
        drive = stage.show(face, 20)[-1]
        assert drive is not None
        assert drive.expression.tongue == 1
        assert measured(drive)[OPEN] > 0.2
    stage.settings.drive.units.tongue = 0.0
    assert stage.show(None, 20)[-1] is None


@pytest.mark.parametrize("face", [FACE, None])
def test_a_slider_that_jumps_opens_the_mouth_without_a_jump(face: Landmarks | None) -> None:
    stage = Stage(quiet_settings())
    way = [measured(drive)[OPEN] for drive in stage.show(face, 20)]
    assert max(way) < 0.05
    stage.settings.drive.units.mouth_open = 1.0
    way += [measured(drive)[OPEN] for drive in stage.show(face, HAND_FRAMES + 2)]
    assert way[-1] > 0.8
    assert max(np.diff(way)) < 0.35
    assert way[20] > 0.05, "the first frame already answers"


@pytest.mark.parametrize("life", [False, True])
def test_at_rest_no_unit_by_hand_is_shown(life: bool) -> None:
    stage = Stage(quiet_settings())
    stage.settings.idle.life = life
    stage.settings.drive.units.mouth_open = 1.0
    assert measured(stage.show(FACE, 20)[-1])[OPEN] > 0.8
    stage.presenter.show = Show.REST
    resting = stage.show(FACE, 20)
    assert max(measured(drive)[OPEN] for drive in resting) < 0.05
    assert all((drive is None) == (not life) for drive in resting)
    stage.presenter.show = Show.LIVE
    back = [measured(drive)[OPEN] for drive in stage.show(FACE, 20)]
    assert back[0] < 0.35
    assert back[-1] > 0.8


def test_a_unit_that_does_not_change_is_not_drawn_again_and_a_change_is() -> None:
    fake = FakeRenderer()
    stage = Stage(quiet_settings(), SteppedRenderer(lambda size: fake, TARGET.crop_size))
    stage.settings.drive.units.mouth_open = 0.5

    def draws(frames: int) -> int:
        before = len(fake.drives)
        stage.show(FACE, frames)
        return len(fake.drives) - before

    draws(3 * FPS)
    assert draws(4 * FPS) < 0.2 * 4 * FPS
    stage.settings.drive.units.mouth_open = 0.55  # a step of the panel's slider
    assert draws(2) >= 1
    assert fake.drives[-1].expression.action_units[OPEN] == pytest.approx(0.55, abs=0.01)
    draws(FPS)
    assert draws(4 * FPS) < 0.2 * 4 * FPS
    stage.settings.drive.units.tongue = 0.05  # which hardly opens the mouth more
    assert draws(2) >= 1
