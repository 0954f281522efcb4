"""The reenactor, with its real tracker and renderer and with fakes in their place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reenact.errors import PluginError, TargetError
from reenact.expression.driving import EASE_S
from reenact.expression.emotions import EMOTIONS
from reenact.face.action_units import action_unit_basis
from reenact.face.geometry import estimate_pose, rotation_matrix, to_face_frame, to_image
from reenact.face.topology import ACTION_UNITS, OUTER_EYE_CORNERS
from reenact.live.drives import resting_drive
from reenact.live.pipeline import RETURN_S, Reenactor, open_reenactor
from reenact.live.prepared_target import prepare_target
from reenact.stats import StepTimer
from reenact.types import Array, Frame, Image, Landmarks, Pose, Target
from support.actor import FPS
from support.faces import deviation_of, plain_target, portrait_target, target_units
from support.fakes import GREEN, MAGENTA, FakeRenderer, FakeTracker, plain
from support.fusions import another_face
from support.sessions import quiet_settings

TARGET = plain_target(GREEN)
RETURN_FRAMES = round(RETURN_S * FPS) + 1


def test_an_unknown_part_is_an_error() -> None:
    wrong = quiet_settings()
    wrong.renderer.name = "wrap_unet"
    with pytest.raises(PluginError, match="Did you mean warp_unet"):
        open_reenactor(wrong, portrait_target(), StepTimer())
    wrong = quiet_settings()
    wrong.tracking.name = "mediapip"
    with pytest.raises(PluginError, match="Did you mean mediapipe"):
        open_reenactor(wrong, portrait_target(), StepTimer())


class Stage:
    """A reenactor whose actor is posed by the test, at 25 frames a second."""

    def __init__(self, renderer: FakeRenderer | None = None, life: bool = False) -> None:
        self.tracker = FakeTracker(None)
        self.renderer = renderer or FakeRenderer()
        self.timer = StepTimer()
        options = quiet_settings()
        options.fusion.method = "direct"  # needs no weights
        options.idle.life = life
        self.settings = options
        self.reenactor = Reenactor(options, TARGET, self.tracker, self.renderer, self.timer)
        self.renderer.drives.clear()
        self.rest = self.reenactor.idle(0.0, 0).image
        self._index = 0

    def act(self, face: Landmarks | None, frames: int = 1) -> list[Image]:
        """Show a face, or none, for some frames; return the pictures."""
        self.tracker.face = face
        pictures = []
        for _ in range(frames):
            self._index += 1
            frame = Frame(plain(MAGENTA), self._index / FPS, self._index)
            pictures.append(self.reenactor.step(frame).image)
        return pictures

    def moved(self) -> list[float]:
        """Return the distance of each drive's landmarks from the target's neutral, px."""
        return [distance(drive.landmarks) for drive in self.renderer.drives]


def distance(points: Array) -> float:
    return float(np.abs(points - TARGET.neutral).mean())


def posed(degrees: float = 0.0, shift_px: float = 0.0) -> Landmarks:
    """Return the actor's face, tilted and moved."""
    pose = estimate_pose(TARGET.neutral)
    tilt = rotation_matrix(np.array([0, 0, np.radians(degrees)], np.float32))
    shifted = pose.translation + np.array([shift_px, 0, 0], np.float32)
    shape = to_face_frame(TARGET.neutral, pose)
    return Landmarks(
        to_image(shape, Pose(tilt @ pose.rotation, shifted, pose.scale)), 1.0, (640, 480)
    )


def test_an_actor_who_goes_away_is_faded_out_and_in_again() -> None:
    stage = Stage()
    stage.act(posed(), 20)
    stage.act(posed(12.0), 20)
    whole = stage.moved()[-1]
    assert whole > 1.0
    for face, frames, ends in ((None, RETURN_FRAMES, 0.0), (posed(12.0), RETURN_FRAMES, whole)):
        stage.renderer.drives.clear()
        before = whole - ends
        stage.act(face, frames)
        way = [before, *stage.moved()]
        assert max(np.abs(np.diff(way))) < 0.25 * whole
        assert way[-1] == pytest.approx(ends, abs=0.15 * whole)
    assert stage.reenactor.faces_lost == 1


def test_landmarks_that_are_no_numbers_are_no_face_in_that_frame_alone() -> None:
    stage = Stage()
    stage.act(posed(12.0), 20)
    points = posed(12.0).points.copy()
    points[7, 2] = np.nan
    seen = []
    for face, frames in ((replace(posed(12.0), points=points), 1), (posed(12.0), 20)):
        stage.act(face, frames)
        seen.append(stage.reenactor.face_present)
    assert seen == [False, True]
    assert np.isfinite(stage.moved()).all()


def test_another_face_takes_over_without_a_jump() -> None:
    stage = Stage()
    stage.act(posed(), 80)
    stage.act(posed(12.0, 30.0), 20)
    far = stage.moved()[-1]
    stage.renderer.drives.clear()
    stage.act(posed(0.0, 250.0), RETURN_FRAMES)  # who sits beside the actor
    way = stage.moved()
    assert way[0] == pytest.approx(far, rel=0.25)
    assert max(np.abs(np.diff(way))) < 0.3 * far
    assert way[-1] < 0.2 * far  # and is in the middle


def test_the_first_face_is_faded_in_unless_it_is_in_the_first_picture() -> None:
    stage = Stage()
    stage.act(None, 10)
    stage.act(posed(12.0), RETURN_FRAMES)
    way = stage.moved()
    assert way[0] < 0.25 * way[-1]
    assert max(np.diff(way)) < 0.25 * way[-1]
    first = Reenactor(stage.settings, TARGET, stage.tracker, stage.renderer, stage.timer)
    stage.renderer.drives.clear()
    for number in range(2):
        first.step(Frame(plain(MAGENTA), number / FPS, number))
    at_once, next_one = stage.moved()
    assert at_once > 0.8 * next_one > 0


def test_a_mirrored_expression_is_mirrored_in_all_that_drives_a_renderer() -> None:
    stage = Stage()
    stage.act(posed(), 20)
    shape = to_face_frame(TARGET.neutral, estimate_pose(TARGET.neutral))
    shape = shape + action_unit_basis()[ACTION_UNITS.index("smile_left")]
    smiling = replace(posed(), points=to_image(shape, estimate_pose(TARGET.neutral)))
    left, right = (ACTION_UNITS.index(f"smile_{side}") for side in ("left", "right"))
    for mirror, most, least in ((False, left, right), (True, right, left)):
        stage.settings.fusion.mirror = mirror
        stage.act(smiling, 20)
        drive = stage.renderer.drives[-1]
        for units in (drive.expression.action_units, target_units(drive.landmarks, TARGET.neutral)):
            assert units[most] > units[least] + 0.2


def test_without_a_face_the_target_comes_to_rest_and_needs_no_renderer() -> None:
    stage = Stage()
    stage.act(posed(12.0), 5)
    stage.act(None, RETURN_FRAMES)
    drawn = len(stage.renderer.drives)
    np.testing.assert_array_equal(stage.act(None)[0], stage.rest)
    assert len(stage.renderer.drives) == drawn


def test_without_a_face_the_target_lives_and_gives_way_to_the_actor() -> None:
    stage = Stage(life=True)
    stage.act(None, 100)
    alive = np.stack([drive.landmarks for drive in stage.renderer.drives])
    ways = np.abs(np.diff(alive, axis=0)).mean(axis=(1, 2))
    assert ways.max() < 0.5
    assert ways[-50:].min() > 1e-4, "it never stands still"
    assert max(stage.moved()) < 3.0
    stage.act(posed(), 20)
    assert stage.moved()[-1] < 0.1
    stage.settings.idle.life = False
    np.testing.assert_array_equal(stage.act(None, RETURN_FRAMES)[-1], stage.rest)


def test_an_emotion_is_in_all_that_drives_a_renderer_with_and_without_an_actor() -> None:
    stage = Stage()
    happy, smile = EMOTIONS.index("happy"), ACTION_UNITS.index("smile_left")
    stage.act(posed(), 20)
    calm = stage.renderer.drives[-1]
    assert calm.emotion[0] == pytest.approx(1.0, abs=0.05)
    stage.settings.drive.emotion = "happy"
    stage.settings.drive.intensity = 1.5
    for face in (posed(), None):
        stage.act(face, 20)
        drive = stage.renderer.drives[-1]
        assert drive.emotion[happy] > 0.95
        assert drive.expression.action_units[smile] > 0.9
        assert drive.intensity == 1.5
        assert np.abs(drive.landmarks - calm.landmarks)[61].max() > 1.0


def test_after_a_failed_frame_the_target_at_rest_needs_no_renderer() -> None:
    stage = Stage(FakeRenderer(fails=[2]))
    stage.act(posed())
    with pytest.raises(RuntimeError, match="the fake renderer fails"):
        stage.act(posed(), 2)
    drawn = len(stage.renderer.drives)
    np.testing.assert_array_equal(stage.reenactor.idle(0.12, 3).image, stage.rest)
    assert len(stage.renderer.drives) == drawn


def test_after_a_failed_frame_the_target_goes_from_rest_to_the_actor_again() -> None:
    stage = Stage(FakeRenderer(fails=[40]))
    stage.act(posed(), 20)
    stage.act(posed(12.0), 20)
    with pytest.raises(RuntimeError, match="the fake renderer fails"):
        stage.act(posed(12.0))
    stage.renderer.drives.clear()
    stage.act(posed(12.0), RETURN_FRAMES)
    way = stage.moved()
    assert len(way) == RETURN_FRAMES
    assert way[0] < 0.25 * way[-1]
    assert max(np.diff(way)) < 0.25 * way[-1]


def switched(stage: Stage, target: Target) -> FakeRenderer:
    """Show another target from the next frame on; return its renderer."""
    renderer, rest = FakeRenderer(), resting_drive(target.neutral)
    stage.reenactor.switch(prepare_target(target, "copy", renderer, rest, stage.settings.output))
    renderer.drives.clear()
    return renderer


def test_a_new_target_shows_nothing_of_the_one_before() -> None:
    """Its face is elsewhere in the crop; its colour is so close that the filter would keep it."""
    moved = TARGET.neutral + np.array([12, 0, 0], np.float32)
    other = replace(
        TARGET,
        references=np.array(TARGET.references + 2, np.uint8),
        plate=np.array(TARGET.plate + 2, np.uint8),
        landmarks=moved[None],
        neutral=moved,
    )
    for before, now in (
        (posed(12.0), None),  # the face is lost in the same moment
        (posed(0.0, 250.0), posed(0.0, 250.0)),  # another face, to which the target goes over
    ):
        stage = Stage()
        stage.act(posed(), 20)
        stage.act(before)
        renderer = switched(stage, other)
        assert stage.reenactor.drive is None
        (shown,) = stage.act(now)
        np.testing.assert_array_equal(shown, np.full_like(shown, np.add(GREEN, 2)))
        assert len(renderer.drives) == (now is not None)
        for drive in renderer.drives:
            assert float(np.abs(drive.landmarks - moved).mean()) < 1.0


def test_each_target_is_drawn_by_its_own_renderer_unless_the_user_has_chosen_one() -> None:
    for chosen, drawn_by in (("auto", ["copy", "warp"]), ("copy", ["copy", "copy"])):
        wanted = quiet_settings()
        wanted.renderer.name = chosen
        target = replace(portrait_target(), renderer="copy")
        opened = open_reenactor(wanted, target, StepTimer(), tracked=False)
        names = [opened.settings.renderer.name]
        opened.switch(opened.prepare(replace(target, renderer="warp")))
        assert [*names, opened.settings.renderer.name] == drawn_by
        opened.close()


def test_a_target_without_pictures_is_refused() -> None:
    empty = replace(portrait_target(), references=portrait_target().references[:0])
    with pytest.raises(TargetError, match="has no pictures; create it again"):
        open_reenactor(quiet_settings(), empty, StepTimer())


def test_the_target_goes_to_rest_while_no_frames_come() -> None:
    stage = Stage()
    stage.act(posed(), 20)
    stage.act(posed(12.0), 20)
    whole = stage.moved()[-1]
    stage.renderer.drives.clear()
    for number in range(RETURN_FRAMES + 1):
        picture = stage.reenactor.idle((41 + number) / FPS, 0).image
    np.testing.assert_array_equal(picture, stage.rest)
    assert stage.reenactor.drive is None
    assert max(np.abs(np.diff([whole, *stage.moved(), 0.0]))) < 0.25 * whole


def test_an_emotion_is_shown_while_no_frames_come() -> None:
    stage = Stage()
    stage.settings.drive.emotion = "happy"
    for number in range(20):
        stage.reenactor.idle(number / FPS, number)
    assert stage.renderer.drives[-1].emotion[EMOTIONS.index("happy")] > 0.95


def acting(degrees: float = 0.0, **amounts: float) -> Landmarks:
    """Return the actor's face with action units of these amounts, its head tilted."""
    pose = estimate_pose(TARGET.neutral)
    shape = to_face_frame(TARGET.neutral, pose) + deviation_of(**amounts)
    tilt = rotation_matrix(np.array([0, 0, np.radians(degrees)], np.float32))
    return Landmarks(
        to_image(shape, Pose(tilt @ pose.rotation, pose.translation, pose.scale)), 1.0, (640, 480)
    )


def test_a_held_expression_stays_while_lids_and_head_go_on_moving() -> None:
    stage = Stage()
    stage.act(acting(), 80)
    smiling = acting(smile_left=0.6, smile_right=0.6, jaw_drop=0.3)
    stage.act(smiling, 20)
    stage.reenactor.hold.on = True
    stage.act(smiling)
    held = stage.renderer.drives[-1]
    stage.act(acting(8.0, blink_left=1.0, blink_right=1.0, brow_lower=0.5), 20)
    shown = stage.renderer.drives[-1]
    before, after = (target_units(one.landmarks, TARGET.neutral) for one in (held, shown))
    lids = [ACTION_UNITS.index(name) for name in ("blink_left", "blink_right")]
    others = [n for n, name in enumerate(ACTION_UNITS) if "blink" not in name and "eye" not in name]
    assert before[ACTION_UNITS.index("smile_left")] > 0.3
    np.testing.assert_allclose(after[others], before[others], atol=0.05)
    assert (before[lids] < 0.2).all()
    assert (after[lids] > 0.8).all()
    np.testing.assert_allclose(
        shown.expression.action_units[others], held.expression.action_units[others], atol=1e-5
    )
    right, left = shown.landmarks[list(OUTER_EYE_CORNERS), :2]
    assert abs(np.degrees(np.arctan2(*(left - right)[::-1]))) > 4


def test_a_held_expression_is_let_go_without_a_jump() -> None:
    stage, plainly = Stage(), Stage()

    def act(face: Landmarks, frames: int) -> Array:
        """Return how far the held expression is from the actor's in each frame."""
        for one in (stage, plainly):
            one.renderer.drives.clear()
            one.act(face, frames)
        return np.subtract(stage.moved(), plainly.moved(), dtype=np.float32)

    act(acting(), 80)
    act(acting(jaw_drop=0.9), 20)
    stage.reenactor.hold.on = True
    assert act(acting(jaw_drop=0.9), 1)[-1] == pytest.approx(0, abs=1e-6)
    whole = act(acting(), 20)[-1]
    assert whole > 0.2
    stage.reenactor.hold.on = False
    way = [whole, *act(acting(), round(EASE_S * FPS) + 1)]
    assert max(np.abs(np.diff(way))) < 0.25 * whole
    assert way[-1] == pytest.approx(0, abs=1e-4)


def test_several_faces_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.act(posed(), 2)
    assert caplog.messages == []
    stage.tracker.faces_seen = 2
    stage.act(posed(), 5)
    assert [text for text in caplog.messages if "2 faces in the picture" in text] == caplog.messages
    assert len(caplog.messages) == 1


def test_a_face_is_known_to_be_there_or_to_have_been_there() -> None:
    stage = Stage()
    seen = []
    for face in (None, posed(), None):
        stage.act(face)
        seen.append((stage.reenactor.face_found, stage.reenactor.face_present))
    assert seen == [(False, False), (True, True), (True, False)]


def test_the_receiver_may_change_a_picture() -> None:
    stage = Stage()
    kept = stage.rest.copy()
    stage.rest[:] = 0
    np.testing.assert_array_equal(stage.reenactor.idle(0.0, 1).image, kept)
    stage.act(None)[0][:] = 0
    np.testing.assert_array_equal(stage.act(None)[0], kept)


def test_each_step_is_measured() -> None:
    stage = Stage()
    stage.act(posed())
    assert set(stage.timer.percentiles()) == {"track", "body", "fuse", "render", "blend", "paste"}


def test_a_frame_that_was_looked_at_ahead_is_not_tracked_again() -> None:
    stage, plainly = Stage(), Stage()
    stage.tracker = FakeTracker(posed(12.0), fails=[4])
    stage.reenactor._tracker = stage.tracker
    frames = [Frame(plain(MAGENTA), n / FPS, n) for n in range(1, 6)]
    for frame in frames[:2]:
        stage.reenactor.look(frame)  # another thread is one or two frames ahead
    plainly.tracker.face = posed(12.0)
    for number, frame in enumerate(frames[:4]):
        picture = stage.reenactor.step(frame).image
        np.testing.assert_array_equal(picture, plainly.reenactor.step(frame).image)
        assert stage.tracker.calls == max(2, number + 1)
    stage.reenactor.look(frames[4])
    with pytest.raises(RuntimeError, match="the fake tracker fails"):
        stage.reenactor.step(frames[4])


def test_a_picture_that_trembles_is_steadied_until_the_face_is_lost() -> None:
    """The renderer's pictures alternate by 2 levels; none of that is left at rest."""
    stage = Stage(FakeRenderer(levels=(0, 2)))
    inside = np.stack(stage.act(posed(), 20))[1:, 60:90, 60:90].astype(np.float32)
    assert float(np.abs(np.diff(inside, axis=0)).mean()) < 0.3
    np.testing.assert_array_equal(stage.act(None, RETURN_FRAMES)[-1], stage.rest)


def test_after_a_reset_the_target_comes_from_rest() -> None:
    stage = Stage()
    stage.act(posed(), 20)
    stage.act(posed(12.0), 20)
    whole = stage.moved()[-1]
    before = stage.tracker.resets, stage.renderer.resets
    stage.reenactor.reset()
    assert (stage.tracker.resets, stage.renderer.resets) == (before[0] + 1, before[1] + 1)
    np.testing.assert_array_equal(stage.reenactor.idle(1.7, 0).image, stage.rest)
    stage.renderer.drives.clear()
    stage.act(posed(12.0), 3)
    assert stage.moved()[0] < 0.25 * whole


def test_a_tracked_face_that_trembles_is_steadied() -> None:
    jitter = []
    for smooth in (False, True):
        stage = Stage()
        stage.settings.smoothing.enabled = smooth
        for number in range(30):
            stage.act(posed(0.0, 0.5 * (-1) ** number))
        x = [float(drive.landmarks[:, 0].mean()) for drive in stage.renderer.drives[-10:]]
        jitter.append(float(np.abs(np.diff(x)).mean()))
    assert jitter[1] < 0.5 * jitter[0]


def test_whoever_is_seen_after_the_face_was_lost_is_compared_with_the_actor(
    caplog: pytest.LogCaptureFixture,
) -> None:
    stage = Stage()
    stage.act(posed(), 20)
    shape = another_face() * np.array([1.15, 0.85, 1], np.float32)
    other = replace(posed(), points=to_image(shape, estimate_pose(TARGET.neutral)))
    for frames_away, told in ((0, False), (3, True)):
        stage.act(None, frames_away)
        stage.act(other, 20)
        assert ("does not fit this face" in caplog.text) == told
