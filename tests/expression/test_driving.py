"""Emotions from action units and back, by key, by file and as motions, on any target."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reenact.config import (
    ActorSettings,
    DriveSettings,
    FusionSettings,
    SmoothingSettings,
    UnitSettings,
)
from reenact.errors import ConfigError
from reenact.expression.driving import EASE_S, HAND_S, HOLD_S, Addition, Driver, Hold, nothing
from reenact.expression.emotions import EMOTIONS, acted_deviations, acted_units, emotion_weights
from reenact.expression.fusion import Fusion
from reenact.expression.idle_life import BEGIN_S, Blinks, IdleLife, Life
from reenact.expression.tracks import load_track
from reenact.face.action_units import action_unit_basis
from reenact.face.geometry import canonical_face, estimate_pose, to_face_frame, to_image
from reenact.face.topology import ACTION_UNITS
from reenact.types import Array, Expression, Pose
from support.faces import deviation_of, portrait_landmarks, target_units, units_of
from support.fusions import in_picture, start, target_points

DT_S = 1 / 25
HAPPY = EMOTIONS.index("happy")


def run(driver: Driver, seconds: float) -> list[Addition]:
    return [driver.step(DT_S, number * DT_S) for number in range(round(seconds / DT_S))]


def steps(additions: list[Addition]) -> float:
    """Return the largest step of a landmark between two frames, iod."""
    shown = np.stack([addition.deviation for addition in additions])
    return float(np.linalg.norm(np.diff(shown, axis=0), axis=-1).max())


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_an_acted_emotion_is_recognised(emotion: str) -> None:
    weights = emotion_weights(acted_units()[EMOTIONS.index(emotion)])
    assert EMOTIONS[int(weights.argmax())] == emotion
    assert weights.max() > 0.8
    assert weights.sum() == pytest.approx(1.0, abs=1e-5)


def test_an_acted_anger_lowers_the_brows_visibly_by_one_whole_unit() -> None:
    angry, lowered = EMOTIONS.index("angry"), ACTION_UNITS.index("brow_lower")
    assert acted_units()[angry, lowered] == acted_units().max() == 1
    inner_brows = [107, 336]
    assert acted_deviations()[angry, inner_brows, 1].min() > 0.06
    assert action_unit_basis()[lowered, inner_brows, 1].max() < 0.03


@pytest.mark.parametrize(
    ("units", "emotion"),
    [
        ({"smile_left": 0.8, "smile_right": 0.8}, "happy"),  # 6+12
        ({"frown": 0.8, "brow_lower": 0.3, "brow_raise_left": 0.3, "brow_raise_right": 0.3}, "sad"),
        ({"brow_raise_left": 0.8, "brow_raise_right": 0.8, "eye_wide": 0.8, "jaw_drop": 0.6},
         "surprised"),
        ({"upper_lip_raise": 0.9, "frown": 0.4, "lower_lip_depress": 0.4}, "disgusted"),
        ({"brow_lower": 0.8, "eye_wide": 0.3}, "angry"),
        ({"smile_right": 0.8}, "contemptuous"),
        ({"mouth_open": 0.8, "jaw_drop": 0.8}, "neutral"),  # speech
        ({"blink_left": 1.0, "blink_right": 1.0}, "neutral"),
    ],
)  # fmt: skip
def test_the_papers_table_names_the_emotion(units: dict[str, float], emotion: str) -> None:
    weights = emotion_weights(units_of(**units))
    assert EMOTIONS[int(weights.argmax())] == emotion


def test_weights_rise_with_the_units_from_the_thresholds_on() -> None:
    smile = units_of(smile_left=1, smile_right=1)
    happy = [float(emotion_weights(amount * smile)[HAPPY]) for amount in (0.2, 0.4, 0.6)]
    assert happy == pytest.approx([0.0, 0.5, 1.0], abs=1e-5)


def test_a_key_eases_an_emotion_in_and_the_actor_gets_the_face_back() -> None:
    settings = DriveSettings()
    driver = Driver(settings)
    before = run(driver, 0.2)
    settings.emotion = "happy"
    way = run(driver, EASE_S + DT_S)
    np.testing.assert_allclose(way[-1].deviation, acted_deviations()[HAPPY], atol=1e-6)
    settings.emotion = "actor"
    back = run(driver, EASE_S + DT_S)
    assert before[-1].idle
    assert back[-1].idle
    largest = float(np.linalg.norm(acted_deviations()[HAPPY], axis=-1).max())
    assert steps([*before, *way, *back]) < 0.2 * largest


@pytest.mark.parametrize("mix", [0.0, 0.5, 1.0])
def test_mix_says_how_much_of_the_actor_is_replaced_but_lids_stay(mix: float) -> None:
    driver = Driver(DriveSettings(emotion="happy", mix=mix))
    addition = run(driver, 1.0)[-1]
    acted = units_of(jaw_drop=0.8, blink_left=1.0)
    mixed = addition.mixed_units(acted)
    assert mixed[ACTION_UNITS.index("jaw_drop")] == pytest.approx(0.8 * (1 - mix), abs=1e-5)
    assert mixed[ACTION_UNITS.index("blink_left")] == 1.0
    assert addition.emotion(acted)[HAPPY] == pytest.approx(1.0, abs=1e-5)
    kept = addition.kept()[:, 0]
    assert kept[159] == pytest.approx(1.0)
    assert kept[14] == pytest.approx(1 - mix, abs=1e-5)


def open_fusion() -> Fusion:
    return Fusion(
        FusionSettings(method="direct"),
        SmoothingSettings(),
        canonical_points(),
        ActorSettings(neutral="fresh"),
    )


def canonical_points() -> Array:
    return np.asarray(canonical_face() * np.float32(90) + np.float32(128), np.float32)


@pytest.mark.parametrize("emotion", ["happy", "sad", "surprised"])
def test_a_key_moves_any_targets_landmarks_more_with_more_intensity(emotion: str) -> None:
    number = EMOTIONS.index(emotion)
    fusion, target = open_fusion(), canonical_points()
    weights = []
    for intensity in (0.0, 0.5, 1.0):
        driver = Driver(DriveSettings.model_validate({"emotion": emotion, "intensity": intensity}))
        points, _ = fusion.alone(None, run(driver, 1.0)[-1])
        weights.append(float(emotion_weights(target_units(points, target))[number]))
    assert weights[0] < weights[1] < weights[2]
    assert weights[2] > 0.7


def test_an_emotion_is_added_to_what_the_actor_does_or_replaces_it() -> None:
    speaking = in_picture(canonical_face() + deviation_of(mouth_open=0.8))
    opened = []
    for mix in (0.0, 1.0):
        fusion = start(FusionSettings(method="direct"))
        addition = run(Driver(DriveSettings(emotion="sad", mix=mix)), 1.0)[-1]
        points = fusion.fuse(fusion.express(speaking, 4.0), addition)
        units = target_units(points, target_points())
        opened.append(float(units[ACTION_UNITS.index("mouth_open")]))
    assert opened[0] > 0.5
    assert opened[1] < 0.2


def test_without_anything_the_target_alone_is_at_rest() -> None:
    points = portrait_landmarks().points
    settings = FusionSettings(mode="relative")
    fusion = Fusion(settings, SmoothingSettings(), points, ActorSettings(neutral="fresh"))
    shown, torso = fusion.alone(None, nothing())
    np.testing.assert_allclose(shown, points, atol=1e-2)
    assert not torso.any()


class Nod:
    """A motion of 11 frames, to a peak that is its seed's own."""

    def motion(self, emotion: str, seed: int) -> Array:
        way = np.linspace(0, 1, 11, dtype=np.float32)[:, None, None]
        return np.asarray(way * np.full((478, 3), 0.1 * (seed + 1), np.float32))


def test_a_motion_is_played_from_the_present_pose_and_gives_way_to_the_actor() -> None:
    driver = Driver(DriveSettings(), motions=Nod())
    run(driver, 0.2)
    driver.play()
    shown = run(driver, 0.4 + HOLD_S)
    np.testing.assert_allclose(shown[-1].deviation, 0.1, atol=1e-6)
    assert shown[-1].emotion(units_of())[HAPPY] == pytest.approx(1.0)
    driver.play()  # another draw, from where it is
    shown += run(driver, 0.4 + HOLD_S)
    np.testing.assert_allclose(shown[-1].deviation, 0.2, atol=1e-6)
    shown += run(driver, 2 * DT_S + EASE_S)
    assert shown[-1].idle
    assert steps(shown) < 0.06


def by_hand(**amounts: float) -> DriveSettings:
    return DriveSettings(units=UnitSettings(**amounts))


def test_units_by_hand_are_added_to_the_actors_and_replace_nothing() -> None:
    addition = Driver(by_hand(smile_left=0.5, mouth_open=0.25)).step(0.0, 0.0)
    np.testing.assert_array_equal(addition.units, units_of(smile_left=0.5, mouth_open=0.25))
    np.testing.assert_allclose(
        addition.deviation, deviation_of(smile_left=0.5, mouth_open=0.25), atol=1e-6
    )
    assert (addition.kept() == 1).all()
    mixed = addition.mixed_units(units_of(smile_left=0.8, mouth_open=0.5, blink_left=1))
    np.testing.assert_allclose(mixed, units_of(smile_left=1, mouth_open=0.75, blink_left=1))
    smiling = Driver(by_hand(smile_left=0.2, smile_right=0.2)).step(0.0, 0.0)
    assert smiling.emotion(units_of())[HAPPY] == pytest.approx(0, abs=1e-5)
    acted = units_of(smile_left=0.2, smile_right=0.2)
    assert smiling.emotion(acted)[HAPPY] == pytest.approx(0.5, abs=1e-5), "evidence .4 of .2 to .6"


def test_units_by_hand_fill_up_what_an_emotion_leaves_and_count_beside_it() -> None:
    settings = by_hand(brow_raise_left=1)
    settings.emotion = "surprised"  # which raises the brows by .9
    driver, surprised = Driver(settings), EMOTIONS.index("surprised")
    shown = run(driver, 1.0)[-1]
    more = deviation_of(brow_raise_left=0.1)
    np.testing.assert_allclose(shown.deviation, acted_deviations()[surprised] + more, atol=1e-5)
    np.testing.assert_allclose(
        shown.units, acted_units()[surprised] + units_of(brow_raise_left=0.1), atol=1e-6
    )
    settings.emotion, settings.units = "sad", UnitSettings(smile_left=1, smile_right=1)
    weights = run(driver, 1.0)[-1].emotion(units_of())
    assert weights[[HAPPY, EMOTIONS.index("sad")]] == pytest.approx([0.5, 0.5])


def test_a_unit_by_hand_follows_a_slow_knob_at_once_and_a_jump_at_full_speed() -> None:
    settings, smile = DriveSettings(), ACTION_UNITS.index("smile_left")
    driver = Driver(settings)
    run(driver, 0.2)

    def shown(value: float, frames: int, fps: float = 25) -> list[float]:
        settings.units.smile_left = value
        return [float(driver.step(1 / fps, 1.0).units[smile]) for _ in range(frames)]

    assert [shown(value / 10, 1)[0] for value in range(1, 6)] == pytest.approx(
        [0.1, 0.2, 0.3, 0.4, 0.5]
    )
    step = 1 / 25 / HAND_S
    assert shown(1.0, 4) == pytest.approx([0.5 + step, 0.5 + 2 * step, 1, 1])
    assert shown(0.0, 6) == pytest.approx([1 - n * step for n in range(1, 6)] + [0], abs=1e-6)
    assert driver.step(1 / 25, 1.0).idle
    assert shown(1.0, 5, fps=50)[-1] == pytest.approx(5 / 50 / HAND_S)


def test_a_tongue_by_hand_comes_out_of_an_open_mouth() -> None:
    settings = by_hand()
    driver = Driver(settings)
    run(driver, 0.2)
    settings.units.tongue = 1.0
    shown = run(driver, 2 * HAND_S)
    way = [addition.tongue for addition in shown]
    assert 0 < way[0] < 0.5
    assert way[-1] == 1
    jaw, opens = (ACTION_UNITS.index(name) for name in ("jaw_drop", "mouth_open"))
    assert 0.3 < shown[-1].units[jaw] < 0.7
    assert 0.3 < shown[-1].units[opens] < 0.7
    settings.units.jaw_drop = 1.0
    assert run(driver, 2 * HAND_S)[-1].units[jaw] == 1, "the wider of both"
    settings.units = UnitSettings()
    assert run(driver, 2 * HAND_S)[-1].idle
    assert driver.step(DT_S, 9.0).tongue == 0


def test_units_by_hand_are_there_at_the_first_step_and_gone_at_once_at_rest() -> None:
    driver, smile = Driver(by_hand(smile_left=1)), ACTION_UNITS.index("smile_left")
    assert driver.step(0.0, 0.0).units[smile] == 1
    assert driver.step(DT_S, DT_S, by_hand=False).idle
    back = [float(driver.step(DT_S, n * DT_S).units[smile]) for n in range(2, 4)]
    assert back == pytest.approx([DT_S / HAND_S, 2 * DT_S / HAND_S])


@pytest.mark.parametrize("name", ACTION_UNITS)
def test_each_unit_by_hand_moves_any_targets_landmarks_by_its_amount(name: str) -> None:
    fusion, target = open_fusion(), canonical_points()
    found = []
    for amount, intensity in ((1.0, 0.0), (0.5, 1.0), (1.0, 0.5), (1.0, 1.0)):
        settings = by_hand(**{name: amount})
        settings.intensity = intensity
        points, _ = fusion.alone(None, Driver(settings).step(0.0, 0.0))
        units = target_units(points, target)
        found.append(float(units[ACTION_UNITS.index(name)]))
        assert not fusion.target.beyond(to_face_frame(points, estimate_pose(points)))
    assert found[0] == pytest.approx(0, abs=0.02)
    assert found[1] == pytest.approx(found[2], abs=1e-4)
    assert 0.3 < found[1] < 0.6, "half of it, less the dead zone of the measure"
    assert found[3] > 0.7


def test_all_units_by_hand_keep_a_shouting_face_within_its_limits() -> None:
    shouting = in_picture(canonical_face() + deviation_of(mouth_open=1, jaw_drop=1, eye_wide=1))
    settings = by_hand(**dict.fromkeys(ACTION_UNITS, 1.0))
    settings.intensity = 2.0
    fusion = start(FusionSettings(method="direct"))
    points = fusion.fuse(fusion.express(shouting, 4.0), Driver(settings).step(0.0, 0.0))
    assert not fusion.target.beyond(to_face_frame(points, estimate_pose(target_points())))
    assert fusion.frames_limited == 1


def test_a_smile_of_the_photo_gives_way_to_an_addition_without_a_jump() -> None:
    """As it does to an actor in the absolute mode, which this photo asks for."""
    grin = {"smile_left": 1.0, "smile_right": 1.0, "mouth_open": 0.5}
    pose = Pose(np.eye(3, dtype=np.float32), np.array([128, 120, 0], np.float32), 90.0)
    points = to_image(canonical_face() + deviation_of(**grin), pose)
    settings = FusionSettings(method="direct", mode="auto")
    fusion = Fusion(settings, SmoothingSettings(), points, ActorSettings(neutral="fresh"))
    way = [
        fusion.alone(None, Driver(by_hand(brow_raise_left=amount)).step(0.0, 0.0))[0]
        for amount in np.linspace(0, 1, 21)
    ]
    np.testing.assert_allclose(way[0], points, atol=1e-2)
    corner = np.array([one[291, 1] for one in way])
    whole = corner[-1] - corner[0]
    assert whole > 4, "px by which the corner sinks"
    assert np.diff(corner).max() < 1.2 * whole / 20


def test_a_file_drives_between_its_first_and_last_row(tmp_path: Path) -> None:
    rows = [
        {"time_s": 1.0, "happy": 0.0, "intensity": 0.0},
        {"time_s": 2.0, "happy": 1.0, "jaw_drop": 0.5, "intensity": 0.5},
    ]
    lines, table = tmp_path / "track.jsonl", tmp_path / "track.csv"
    lines.write_text("\n".join(json.dumps(row) for row in rows))
    table.write_text("time_s,happy,jaw_drop,intensity\n1.0,0,,0\n2.0,1,0.5,0.5\n")
    for path in (lines, table):
        shown = run(Driver(DriveSettings(), load_track(path)), 2.4)
        half = shown[round(1.5 / DT_S)]
        assert shown[round(0.8 / DT_S)].idle
        assert shown[-1].idle
        assert half.levels[HAPPY] == pytest.approx(0.5, abs=0.02)
        assert half.intensity == pytest.approx(0.25, abs=0.02)
        assert half.mixed_units(units_of())[ACTION_UNITS.index("jaw_drop")] > 0.2


def test_a_track_keeps_time_over_a_gap_between_frames(tmp_path: Path) -> None:
    path = tmp_path / "track.csv"
    path.write_text("time_s,happy\n0,0\n1,0\n2,1\n9,1\n")
    driver = Driver(DriveSettings(), load_track(path))
    shown = [driver.step(min(gap, 0.2), 70.0 + at) for gap, at in ((0, 0), (0.5, 0.5), (2, 2.5))]
    assert [float(one.levels[HAPPY]) for one in shown] == [0, 0, 1]
    path.write_text("time_s,happy,intensity\n0,1,2\n9,1,2\n")
    loud = Driver(DriveSettings(intensity=1.5), load_track(path))
    assert run(loud, 1.0)[-1].intensity == 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("time_s,hapy\n0,1\n", "'hapy'; did you mean happy?"),
        ("time_s;happy\n0;1\n", "must be separated by commas"),
        ("happy\n1\n", "no time_s"),
        ("time_s,happy\n0,3\n", "happy at 0 s is 3; give 0 to 1"),
        ("time_s,happy\n0,nan\n", "happy at 0 s is nan"),
        ("time_s,happy\nnan,0\n", "nan is not a time"),
        ("time_s,happy\n0,0,1\n", "at 0 s has more values than the header"),
        ("time_s,happy\n1,0\n1,1\n", "do not rise"),
        ("time_s,happy,happy\n0,1,0\n", "two columns happy"),
        ("time_s,happy\nx,0\n", "time_s is 'x', which is not a number"),
        ("", "it has no row"),
        ("x" * 140_000, "cannot be used: field larger than field limit"),
    ],
)
def test_a_wrong_track_is_explained(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "track.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        load_track(path)


def test_a_track_that_is_missing_or_of_another_format_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no file .*none\.csv"):
        load_track(tmp_path / "none.csv")
    path = tmp_path / "track.txt"
    path.write_text("time_s,happy\n0,1\n")
    with pytest.raises(ConfigError, match=r"not JSON lines; a CSV file .* \.csv"):
        load_track(path)
    path.write_text('{"time_s": 0}\n[1]\n')
    with pytest.raises(ConfigError, match=r"\[1\] is not a row such as"):
        load_track(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not text in UTF-8; use a CSV file or JSON lines"):
        load_track(path)
    with pytest.raises(ConfigError, match=r"cannot be read: [A-Z][\w ]+\.$"):
        load_track(tmp_path)


def lives(seed: int, fps: float, seconds: float) -> list[Life]:
    life, blinks = IdleLife(seed), Blinks(seed)
    return [life.step(1 / fps, blinks.step(1 / fps)) for _ in range(round(seconds * fps))]


def test_idle_life_is_that_of_people_and_the_same_for_a_seed() -> None:
    minutes = 5
    moments = lives(3, 25, 60 * minutes)
    closure = np.array([moment.closure for moment in moments])
    shut = closure < 0.5
    blinks = np.count_nonzero(shut[1:] & ~shut[:-1]) / minutes
    assert 10 <= blinks <= 22
    assert shut.mean() < 0.12
    height = np.array([moment.breath[1] for moment in moments])
    middle = height.mean()
    breaths = np.count_nonzero((height[1:] < middle) & (height[:-1] >= middle)) / minutes
    assert 12 <= breaths <= 18
    turns = np.degrees(np.linalg.norm([moment.turn for moment in moments], axis=1))
    assert 0.5 < turns.mean() < 3
    assert turns.max() < 8
    twice = lives(3, 50, 20)[1::2]
    np.testing.assert_allclose([one.closure for one in twice], closure[:500], atol=1e-4)
    assert any(
        not np.array_equal(one.deviation, other.deviation)
        for one, other in zip(lives(4, 25, 20), moments, strict=False)
    )


def test_idle_life_begins_at_rest() -> None:
    first = lives(0, 25, BEGIN_S)
    assert np.abs(first[0].turn).max() < 1e-3
    assert np.abs(np.diff([moment.turn for moment in first], axis=0)).max() < np.radians(0.5)


def test_an_expression_is_held_again_while_the_last_one_is_let_go() -> None:
    hold, pose = Hold(), Pose(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), 1.0)
    smiling, frowning = (
        Expression(deviation_of(**units), pose, units_of(**units))
        for units in ({"smile_left": 1.0}, {"brow_lower": 1.0})
    )
    hold.on = True
    hold.step(smiling, DT_S)
    np.testing.assert_array_equal(hold.step(frowning, DT_S).action_units, smiling.action_units)
    hold.on = False
    for _ in range(round(EASE_S / DT_S / 2)):
        between = hold.step(frowning, DT_S)
    assert 0.2 < between.action_units[ACTION_UNITS.index("brow_lower")] < 0.8
    hold.on = True
    for acted in (frowning, smiling, smiling):
        shown = hold.step(acted, DT_S)
        np.testing.assert_allclose(shown.action_units, between.action_units, atol=1e-6)
