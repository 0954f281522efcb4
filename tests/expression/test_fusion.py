"""The actor's neutral is found, kept and checked; what is fused is what was acted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reenact.config import ActorSettings, FusionSettings, SmoothingSettings
from reenact.expression.driving import Addition, nothing
from reenact.expression.fusion import Fusion
from reenact.expression.measures import MOUTH_OPEN, MOUTH_WIDTH, measure
from reenact.expression.neutral_store import NeutralStore
from reenact.expression.target_face import mode_for
from reenact.face.geometry import (
    canonical_face,
    estimate_pose,
    face_box,
    mirrored_deviation,
    rotation_matrix,
    rotation_vector,
    to_face_frame,
    to_image,
)
from reenact.face.regions import lid_gaps, lip_gaps
from reenact.face.topology import ACTION_UNITS
from reenact.types import Array, Landmarks, Pose
from support.faces import deviation_of, target_units
from support.fusions import FPS, FRONT, another_face, in_picture, start, target_points

NAMES = list(ACTION_UNITS)
GIVEN = {
    "mouth_open": ("mouth_open",),
    "smile": ("smile_left", "smile_right"),
    "brow_raise": ("brow_raise_left", "brow_raise_right"),
    "blink_left": ("blink_left",),
    "blink_right": ("blink_right",),
}


def acted(
    fusion: Fusion,
    shape: Array,
    pose: Pose = FRONT,
    time_s: float = 4.0,
    addition: Addition | None = None,
) -> Array:
    return fusion.fuse(fusion.express(in_picture(shape, pose), time_s), addition)


def in_iod(points: Array, target: Array) -> float:
    return float(np.linalg.norm(points - target, axis=1).mean() / estimate_pose(target).scale)


@pytest.fixture(params=["direct", "network"])
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def settings_of(method: str, **values: float | bool | str) -> FusionSettings:
    return FusionSettings.model_validate({"method": method, **values})


def test_smoothing_that_is_switched_on_again_does_not_remember(method: str) -> None:
    smoothing = SmoothingSettings()
    fusion = Fusion(
        settings_of(method), smoothing, target_points(), ActorSettings(), neutrals=NeutralStore()
    )
    shout = canonical_face() + deviation_of(mouth_open=1)
    for number in range(60):
        acted(fusion, shout if number >= 30 else canonical_face(), time_s=number / FPS)
    smoothing.enabled = False
    calm = [acted(fusion, canonical_face(), time_s=2 + number / FPS) for number in range(30)][-1]
    smoothing.enabled = True
    again = acted(fusion, canonical_face(), time_s=3.0)
    assert in_iod(again, calm) < 2e-3


def test_an_actor_at_rest_leaves_the_target_at_rest(method: str) -> None:
    fusion = start(settings_of(method))
    assert in_iod(acted(fusion, canonical_face()), target_points()) < 1e-3


def test_the_two_methods_differ() -> None:
    shape = canonical_face() + deviation_of(mouth_open=1)
    shown = [acted(start(settings_of(method)), shape) for method in ("direct", "network")]
    assert in_iod(shown[0], shown[1]) > 1e-3


def test_intensity_zero_is_the_neutral(method: str) -> None:
    fusion = start(settings_of(method))
    shape = canonical_face() + deviation_of(mouth_open=1, blink_left=1, smile_right=0.8)
    assert in_iod(acted(fusion, shape, addition=nothing(0.0)), target_points()) < 5e-3


@pytest.mark.parametrize("name", GIVEN)
def test_a_unit_given_alone_arrives_alone(method: str, name: str) -> None:
    fusion = start(settings_of(method))
    amounts = np.linspace(0, 1, 15)
    seen = []
    for number, amount in enumerate(amounts):
        shape = canonical_face() + deviation_of(**dict.fromkeys(GIVEN[name], amount))
        face = acted(fusion, shape, time_s=4 + number / FPS)
        seen.append(target_units(face, target_points()))
    tracks = np.stack(seen)
    rows = [NAMES.index(unit) for unit in GIVEN[name]]
    for row in rows:
        assert np.corrcoef(amounts, tracks[:, row])[0, 1] > 0.95
        assert tracks[-1, row] > 0.7
    related = {NAMES.index("jaw_drop")} if name == "mouth_open" else set()
    others = [k for k in range(len(NAMES)) if k not in rows and k not in related]
    # On a longer face the network opens the lips further, which counts as a lowered lip: .35 of
    # its range with the shipped weights, which transfer better in every measured figure than the
    # ones before them, with .32.
    assert tracks[:, others].max() < (0.25 if method == "direct" else 0.4)


def test_a_blink_shuts_eyes_of_another_size_and_lips_never_cross(method: str) -> None:
    target = target_points()
    pose = estimate_pose(target)
    rest = to_face_frame(target, pose)
    fusion = start(settings_of(method))
    shape = canonical_face() + deviation_of(blink_left=1, blink_right=1)
    shut = to_face_frame(acted(fusion, shape), pose)
    middle = [2, 3, 4, 9, 10, 11]
    assert np.all(lid_gaps(shut)[middle] < 0.2 * lid_gaps(rest)[middle])
    assert np.all(lid_gaps(shut)[middle] >= -1e-3)
    pressed = canonical_face().copy()
    pressed[[13, 82, 312, 81, 311], 1] += 0.06
    pressed[[14, 87, 317, 178, 402], 1] -= 0.06
    closed = to_face_frame(acted(fusion, pressed, time_s=4.1), pose)
    assert lip_gaps(closed).min() > min(lip_gaps(rest).min(), 0) - 0.005


def test_lids_by_hand_shut_eyes_that_are_wide_open(method: str) -> None:
    wide = canonical_face().copy()
    wide[[159, 158, 160, 157, 161, 386, 385, 387, 384, 388], 1] -= 0.08
    fusion = start(settings_of(method), to_image(wide, FRONT))
    units = np.zeros(len(NAMES), np.float32)
    units[[NAMES.index("blink_left"), NAMES.index("blink_right")]] = 1
    shut, _ = fusion.alone(None, nothing().with_units(units))
    middle = [2, 3, 4, 9, 10, 11]
    gaps = lid_gaps(to_face_frame(shut, FRONT))[middle]
    assert np.all(gaps < 0.2 * lid_gaps(wide)[middle])


def test_a_calm_actor_closes_a_shouting_photos_lips_in_absolute_mode_alone(method: str) -> None:
    pose = Pose(np.eye(3, dtype=np.float32), np.array([128, 120, 0], np.float32), 50.0)
    shouting = to_image(canonical_face() + deviation_of(mouth_open=0.8, jaw_drop=0.4), pose)

    def gap(mode: str, shape: Array) -> float:
        fusion = start(FusionSettings.model_validate({"method": method, "mode": mode}), shouting)
        shown = to_face_frame(acted(fusion, shape), estimate_pose(shouting))
        return float(lip_gaps(shown)[4])

    speaking = canonical_face() + deviation_of(mouth_open=0.5)
    assert gap("relative", canonical_face()) > 0.15
    assert gap("absolute", canonical_face()) < 0.06
    assert gap("auto", canonical_face()) == gap("absolute", canonical_face())
    assert mode_for(shouting) == "absolute"
    assert mode_for(target_points()) == "relative"
    assert gap("absolute", speaking) > gap("absolute", canonical_face()) + 0.1


def test_frames_that_no_face_shows_are_held_back_and_counted(method: str) -> None:
    settings = settings_of(method)
    fusion = start(settings)
    shout = canonical_face() + deviation_of(mouth_open=0.9, jaw_drop=0.5)
    acted(fusion, shout)
    assert fusion.frames_limited == 0
    settings.mouth = 2.0
    shape = to_face_frame(acted(fusion, shout, time_s=4.04), estimate_pose(target_points()))
    assert fusion.frames_limited == 1
    assert not fusion.target.beyond(shape)


def test_openings_keep_their_share_of_each_face(method: str) -> None:
    """A gap of a tenth of the actor's mouth is one of a tenth of the target's wider mouth."""
    fusion = start(settings_of(method))
    rest = to_face_frame(target_points(), estimate_pose(target_points()))
    face = canonical_face()
    spoken = face + deviation_of(mouth_open=0.4)
    shown = to_face_frame(acted(fusion, spoken), estimate_pose(target_points()))
    given = (measure(spoken) - measure(face))[MOUTH_OPEN] / measure(face)[MOUTH_WIDTH]
    found = (measure(shown) - measure(rest))[MOUTH_OPEN] / measure(rest)[MOUTH_WIDTH]
    assert found == pytest.approx(given, rel=0.1)


@pytest.mark.parametrize("mirror", [False, True])
def test_an_eye_whose_blinks_are_tracked_half_way_shuts_the_targets(mirror: bool) -> None:
    """As behind glasses; known from the second blink on, of each eye by itself."""
    fusion = start(FusionSettings(mirror=mirror))
    half_shut = canonical_face() + deviation_of(blink_left=0.5, blink_right=0.7)
    gaps = []
    for second in (4, 5):
        for number, shape in enumerate([canonical_face(), half_shut, canonical_face()]):
            points = acted(fusion, shape, time_s=second + number / 10)
            if shape is half_shut:
                left_and_right = lid_gaps(to_face_frame(points, estimate_pose(points)))
                gaps.append(left_and_right[:7] if mirror else left_and_right[7:])
    assert gaps[0][3] > 0.02
    assert gaps[1].max() < 0.01


def test_gains_hold_one_region_and_leave_no_tear(method: str) -> None:
    shape = canonical_face() + deviation_of(mouth_open=1, brow_raise_left=1, brow_raise_right=1)
    full = acted(start(settings_of(method)), shape)
    still_mouth = acted(start(settings_of(method, mouth=0.0)), shape)
    units = target_units(still_mouth, target_points())
    assert units[NAMES.index("mouth_open")] < 0.05
    assert units[NAMES.index("brow_raise_left")] > 0.7
    near = np.linalg.norm(canonical_face()[:, None] - canonical_face()[None], axis=-1)
    first, second = np.nonzero((near > 0) & (near < 0.06))
    gap = full - still_mouth
    steps = np.linalg.norm(gap[first] - gap[second], axis=1)
    lips = set(range(478)) - set(np.flatnonzero(np.abs(deviation_of(mouth_open=1)[:, 1]) > 0.15))
    outside = [k for k in range(len(first)) if first[k] in lips and second[k] in lips]
    assert steps[outside].max() < 0.12 * estimate_pose(target_points()).scale


def test_a_higher_intensity_does_more() -> None:
    fusion = start(FusionSettings(method="direct"))
    shape = canonical_face() + deviation_of(mouth_open=0.4)
    row = NAMES.index("mouth_open")
    once = target_units(acted(fusion, shape), target_points())[row]
    again = acted(fusion, shape, time_s=4.1, addition=nothing(2.0))
    twice = target_units(again, target_points())[row]
    assert twice > 1.6 * once


def test_mirror_swaps_sides_and_turns(method: str) -> None:
    turned = Pose(
        rotation_matrix(np.array([0.1, 0.2, -0.1], np.float32)),
        FRONT.translation + np.array([40, 0, 0], np.float32),
        FRONT.scale,
    )
    target = to_image(another_face(), Pose(np.eye(3, dtype=np.float32), FRONT.translation, 90.0))
    shape = canonical_face() + deviation_of(smile_left=1, blink_left=1)
    fusion = start(settings_of(method, mirror=True), target)
    points = acted(fusion, shape, turned)
    units = target_units(points, target)
    for unit in ("smile", "blink"):
        assert units[NAMES.index(f"{unit}_right")] > 0.6
        assert units[NAMES.index(f"{unit}_left")] < 0.2
    rest = to_face_frame(target, estimate_pose(target))
    straight, moved = estimate_pose(target), estimate_pose(points, rest)
    turn = rotation_vector(moved.rotation @ straight.rotation.T)
    np.testing.assert_allclose(turn, [0.1, -0.2, 0.1], atol=0.03)
    assert moved.translation[0] < straight.translation[0]


def test_the_head_turns_with_gain_and_never_beyond_its_limit() -> None:
    settings = FusionSettings(method="direct", max_yaw=20.0)
    fusion = start(settings)

    def yaw(degrees: float) -> float:
        turn = rotation_matrix(np.array([0, np.radians(degrees), 0], np.float32))
        points = acted(fusion, canonical_face(), Pose(turn, FRONT.translation, FRONT.scale))
        target = target_points()
        rest = estimate_pose(target)
        pose = estimate_pose(points, to_face_frame(target, rest))
        return float(np.degrees(rotation_vector(pose.rotation @ rest.rotation.T)[1]))

    assert yaw(8) == pytest.approx(8, abs=0.5)
    assert 15 < yaw(25) < 20
    assert yaw(25) < yaw(50) <= 20.1
    settings.pose = 0.5
    assert yaw(8) == pytest.approx(4, abs=0.5)


@pytest.mark.parametrize("shift", [(400, 0), (-400, 0), (0, 300), (0, -300)])
def test_the_face_stays_inside_the_crop(shift: tuple[int, int]) -> None:
    fusion = start(FusionSettings(method="direct", translation=1.0))
    away = FRONT.translation + np.array([*shift, 0], np.float32)
    points = acted(fusion, canonical_face(), Pose(FRONT.rotation, away, 2 * FRONT.scale))
    left, top, right, bottom = face_box(points)
    assert min(left, top) > 0
    assert max(right, bottom) < 256


def test_smoothing_leaves_a_blink(method: str) -> None:
    fusion = start(settings_of(method), smooth=True)
    row = NAMES.index("blink_left")
    seen = []
    for number, depth in enumerate([0, 0, 0.6, 1, 0.6, 0, 0, 0]):
        shape = canonical_face() + deviation_of(blink_left=depth)
        seen.append(target_units(acted(fusion, shape, time_s=4 + number / FPS), target_points()))
    track = np.stack(seen)[:, row]
    assert track.max() > 0.7
    assert int(track.argmax()) in (3, 4)


@pytest.mark.faces
def test_real_actors_drive_real_targets(faces_dir: Path, method: str) -> None:
    from reenact.targets.clip_files import load_landmarks

    files = sorted((faces_dir / "val").glob("*.npz"))[::2]
    clips = [load_landmarks(file) for file in files]
    clips = [clip[np.isfinite(clip).all(axis=(1, 2))] for clip in clips]
    for actor, other in zip(clips, clips[2:] + clips[:2], strict=True):
        target = other[0]
        fusion = Fusion(
            settings_of(method, mode="relative"),
            SmoothingSettings(),
            target,
            ActorSettings(neutral="fresh"),
        )
        rest = to_face_frame(target, estimate_pose(target))
        given, shown, acted_widths, shown_widths = [], [], [], []
        for number, points in enumerate(actor):
            expression = fusion.express(Landmarks(points, 1.0, (256, 256)), number / 25)
            result = fusion.fuse(expression)
            assert np.isfinite(result).all()
            given.append(expression.action_units)
            shown.append(target_units(result, target))
            shape = to_face_frame(result, estimate_pose(result, rest))
            acted_widths.append(measure(expression.deviation)[MOUTH_WIDTH])
            shown_widths.append(measure(shape)[MOUTH_WIDTH])
        before, after = np.stack(given)[25:], np.stack(shown)[25:]
        for k in np.flatnonzero(before.std(axis=0) > 0.1):
            # A photo that smiles nears the limit of its width, and the unit's dead zone swallows
            # what is left; the width itself still follows.
            if NAMES[k] != "stretch":
                assert np.corrcoef(before[:, k], after[:, k])[0, 1] > 0.9, NAMES[k]
        assert np.corrcoef(acted_widths[25:], shown_widths[25:])[0, 1] > 0.9
        neutral = fusion.actor_neutral
        assert neutral is not None
        at_rest = Landmarks(to_image(neutral, FRONT), 1.0, (640, 480))
        fusion.reset()
        fusion.set_neutral()
        for number in range(60):
            result = fusion.fuse(fusion.express(at_rest, 1000 + number / 25))
        assert in_iod(result, target) < 0.02


def test_mirroring_twice_is_nothing() -> None:
    deviation = deviation_of(smile_left=1, mouth_right=0.5)
    np.testing.assert_allclose(mirrored_deviation(mirrored_deviation(deviation)), deviation)
