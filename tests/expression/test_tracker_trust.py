"""What the tracker says of a covered part is not believed, and comes back without a jump."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reenact.config import FusionSettings, TrackingSettings
from reenact.evaluation import wild
from reenact.evaluation.clips import read_clip
from reenact.evaluation.covered import track_covered
from reenact.expression import tracker_trust
from reenact.expression.face_model import expression_solver, face_model
from reenact.expression.limits import JOINT_USUAL
from reenact.expression.tracker_trust import TrackerTrust
from reenact.face.geometry import canonical_face, mirrored_deviation, rotation_matrix, to_image
from reenact.face.regions import lid_closure, part_weights
from reenact.registry import load
from reenact.types import Array, Landmarks, Pose
from support.faces import deviation_of

STILL = np.zeros((478, 3), np.float32)
FRONTAL = Pose(np.eye(3, dtype=np.float32), np.array([128, 128, 0], np.float32), 60.0)


def nonsense(frame: int) -> Array:
    """Return a deviation that no face makes, torn apart point by point and trembling."""
    fixed, fresh = (np.random.default_rng(seed).normal(0, 0.05, (478, 3)) for seed in (0, frame))
    return np.asarray(fixed + 0.5 * fresh, dtype=np.float32)


def judge(
    trust: TrackerTrust,
    deviation: Array,
    frames: int,
    pose: Pose = FRONTAL,
    *,
    torn: Array | float = 0.0,
    dt_s: float = 0.04,
) -> list[Array]:
    """Show so many frames of a deviation, with as much nonsense as `torn` says."""
    result = []
    for frame in range(frames):
        tracked = np.asarray(deviation + torn * nonsense(frame + 1), dtype=np.float32)
        seen = Landmarks(to_image(canonical_face() + tracked, pose), 1.0, (256, 256))
        trust.judge(tracked, pose, seen, dt_s)
        result.append(trust.believe(tracked, dt_s))
    return result


def test_expressions_are_believed() -> None:
    trust = TrackerTrust()
    for unit in ("mouth_open", "smile_left", "blink_right", "brow_raise_left"):
        deviation = deviation_of(**{unit: 1})
        assert judge(trust, deviation, 10)[-1] == pytest.approx(deviation, abs=1e-6), unit
        trust.reset()


def test_nonsense_fades_to_what_was_believed_then_to_rest_and_back_without_a_jump() -> None:
    trust = TrackerTrust()
    smile = deviation_of(smile_left=1)
    held = judge(trust, smile, 20)
    covered = judge(trust, smile, 50, torn=1.0)
    free = judge(trust, smile, 50)
    steps = np.sqrt((np.diff([*held, *covered, *free], axis=0) ** 2).sum(axis=2).mean(axis=1))
    assert steps.max() < 0.03
    most = float(np.abs(smile).max())
    assert float(np.abs(covered[10] - smile).max()) < 0.3 * most
    assert float(np.abs(covered[-1]).max()) < 0.6 * most
    assert free[-1] == pytest.approx(smile, abs=1e-4)


def test_while_an_eye_is_covered_the_rest_of_the_mesh_does_what_expressions_do() -> None:
    """What covers one part bends the tracker's whole mesh; no limit of a face is to bite then."""
    trust = TrackerTrust()
    smile = deviation_of(smile_left=1)
    judge(trust, smile, 20)
    brow = part_weights()[4] ** 2
    bend = np.random.default_rng(1).normal(0, 0.03, (478, 3)).astype(np.float32)
    seen = smile + bend * part_weights()[4][:, None]
    believed = judge(trust, seen, 30, torn=2 * part_weights()[1][:, None])[-1]
    assert trust.trust[1] == 0
    assert trust.trust[4] == 1
    left = np.sqrt(brow @ ((believed - smile) ** 2).sum(axis=1) / brow.sum())
    came = np.sqrt(brow @ ((seen - smile) ** 2).sum(axis=1) / brow.sum())
    assert left < 0.4 * came


def test_the_left_eye_is_judged_as_the_right_one_of_the_mirrored_face() -> None:
    """It rests on the symmetry of the face model."""
    right, left = TrackerTrust(), TrackerTrust()
    for frame in range(10):
        torn = 4 * nonsense(frame) * part_weights()[1][:, None]
        judge(right, torn, 1)
        judge(left, mirrored_deviation(torn), 1)
        np.testing.assert_allclose(left.trust, right.trust[[0, 2, 1, 4, 3, 5]], atol=1e-4)
    assert right.trust[1] == 0


def test_what_would_be_doubted_of_a_frontal_face_is_believed_of_a_turned_one() -> None:
    """On turned heads a tracker errs as much without anything before the face."""
    turned = Pose(rotation_matrix(np.array([0.1, 0.6, 0.3], np.float32)), FRONTAL.translation, 60.0)
    least = []
    for pose in (FRONTAL, turned):
        trust = TrackerTrust()
        judge(trust, STILL, 20, pose, torn=0.5)
        least.append(float(trust.trust.min()))
    assert least == [0, 1]


def test_of_a_turned_head_only_what_expressions_explain_is_believed() -> None:
    """The turn bends the tracker's mesh in everybody."""
    smile = deviation_of(smile_left=1)
    model = face_model()
    weights = expression_solver(model)
    bent = smile + 0.004 * np.sin(np.arange(smile.size, dtype=np.float32)).reshape(smile.shape)
    sideways = rotation_matrix(np.array([0, 0.75, 0], np.float32))
    turned = Pose(sideways, FRONTAL.translation, FRONTAL.scale)
    assert judge(TrackerTrust(), bent, 1)[0] == pytest.approx(bent)
    shown = judge(TrackerTrust(), bent, 1, turned)[0].reshape(-1)
    assert shown == pytest.approx(weights @ bent.reshape(-1) @ model.expression, abs=1e-5)
    extreme = judge(TrackerTrust(), 4 * model.expression[0].reshape(-1, 3) * 40**0.5, 1, turned)
    size = np.sqrt(((weights @ extreme[0].reshape(-1)) ** 2).mean())
    assert JOINT_USUAL < size < 3.3


def test_the_far_side_of_a_profile_and_the_pictures_edge_are_not_believed() -> None:
    trust = TrackerTrust()
    turned = Pose(rotation_matrix(np.array([0, 1.1, 0], np.float32)), FRONTAL.translation, 60.0)
    judge(trust, STILL, 20, turned)
    right, left = trust.trust[1:3]
    far_is_right = (turned.rotation @ canonical_face()[33])[2] > (
        turned.rotation @ canonical_face()[263]
    )[2]
    assert (right, left) == ((0, 1) if far_is_right else (1, 0))
    trust.reset()
    judge(trust, STILL, 20, Pose(FRONTAL.rotation, np.array([128, 240, 0], np.float32), 60.0))
    assert trust.trust[0] == 0
    assert trust.trust[1] == 1


@pytest.mark.slow
def test_a_hand_before_the_mouth_of_a_person(faces_dir: Path) -> None:
    video = faces_dir / "train" / "v031__01.mp4"
    tracker = load("trackers", "mediapipe").make(TrackingSettings())
    run = track_covered(read_clip(video), "hand_mouth", tracker)
    tracker.close()
    assert run is not None
    clip = wild.read_performance(video)
    other = wild.read_performance(faces_dir / "train" / "v001__01.mp4")
    figures = wild.Stage(clip, other.points[0], FusionSettings()).covered(run, "hand_mouth")
    assert figures["trust"] is not None
    assert figures["trust"] < 0.1
    assert figures["step"] is not None
    assert figures["step"] < 0.05
    assert figures["stray"] is not None
    assert figures["stray"] < 0.05
    assert figures["limits"] == 0


def test_a_suspect_eye_moves_slowly_but_blinks_with_the_other_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = np.zeros((3, 63), np.float32), np.array([-5.0, 0.6, -5.0], np.float32)
    monkeypatch.setattr(tracker_trust, "_weights", lambda: scores)
    closures = []
    for units in ({"blink_right": 1.0}, {"blink_right": 1.0, "blink_left": 1.0}):
        trust = TrackerTrust()
        judge(trust, STILL, 2)
        shown = canonical_face() + judge(trust, deviation_of(**units), 1)[0]
        closures.append(float(lid_closure(shown, canonical_face())[3]))
    assert closures[0] > 0.3
    assert closures[1] < 0.05


def test_a_suspect_part_moves_as_far_in_the_same_time_at_any_frame_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = np.zeros((3, 63), np.float32), np.array([0.6, -5.0, -5.0], np.float32)
    monkeypatch.setattr(tracker_trust, "_weights", lambda: scores)
    opened = deviation_of(mouth_open=1)
    shares = []
    for frames, dt_s in ((8, 0.02), (4, 0.04), (2, 0.08)):
        trust = TrackerTrust()
        judge(trust, STILL, 2, dt_s=dt_s)
        moved = judge(trust, opened, frames, dt_s=dt_s)[-1]
        shares.append(float((moved * opened).sum() / (opened**2).sum()))
    assert 0.2 < shares[0] < 0.9
    assert shares == pytest.approx([shares[0]] * 3, rel=0.1)


def test_the_head_keeps_still_while_the_mesh_is_on_somebody_else() -> None:
    """Whoever passes before a face takes the mesh along; then no part looks like a face."""
    own, other = (
        Pose(FRONTAL.rotation, np.array([across, 110, 0], np.float32), 50.0) for across in (90, 150)
    )
    trust = TrackerTrust()
    places = []
    for pose, frames, torn in ((own, 20, 0.0), (own, 12, 2.0), (other, 20, 2.0), (own, 40, 0.0)):
        for number in range(frames):
            judge(trust, torn * nonsense(number), 1, pose)
            places.append(trust.place(pose).translation[0])
    assert trust.trust.min() == 1
    assert places == pytest.approx([90] * 92, abs=1)


def test_the_head_goes_on_where_the_edge_of_the_picture_cuts_the_face() -> None:
    trust = TrackerTrust()
    for across in range(128, 400, 8):
        pose = Pose(FRONTAL.rotation, np.array([across, 128, 0], np.float32), 60.0)
        judge(trust, STILL, 1, pose)
        assert trust.place(pose) is pose
    assert trust.trust.max() < 1
