"""Automatic blinks go on with an actor and without one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reenact.config import Settings
from reenact.expression.idle_life import Blinks
from reenact.face.geometry import estimate_pose, to_face_frame, to_image
from reenact.face.regions import lid_closure
from reenact.face.topology import ACTION_UNITS
from reenact.live.pipeline import RETURN_S, Reenactor
from reenact.stats import StepTimer
from reenact.types import Frame, Landmarks
from support.faces import deviation_of, plain_target
from support.fakes import GREEN, MAGENTA, FakeRenderer, FakeTracker, plain

FPS = 25
TARGET = plain_target(GREEN)


def test_automatic_blinks_go_on_whatever_the_actors_lids_do_and_without_an_actor() -> None:
    settings = Settings.model_validate(
        {
            "actor": {"neutral": "fresh"},
            "fusion": {"method": "direct", "mode": "relative", "blinks": "automatic"},
        }
    )
    tracker, renderer, blinks = FakeTracker(None), FakeRenderer(), Blinks()
    reenactor = Reenactor(settings, TARGET, tracker, renderer, StepTimer())
    pose = estimate_pose(TARGET.neutral)
    shape, shut = to_face_frame(TARGET.neutral, pose), deviation_of(blink_left=1, blink_right=1)
    face = Landmarks(TARGET.neutral, 1.0, (640, 480))
    winking = [replace(face, points=to_image(shape + part * shut, pose)) for part in (0, 0.7)]
    lost, found, end = 12 * FPS, 15 * FPS, 24 * FPS
    openings, units, expected = [], [], []
    for number in range(end):
        tracker.face = None if lost <= number < found else winking[number // 3 % 2]
        reenactor.step(Frame(plain(MAGENTA), number / FPS, number))
        drive = renderer.drives[-1]
        head = estimate_pose(drive.landmarks, shape)
        openings.append(lid_closure(to_face_frame(drive.landmarks, head), shape).mean())
        units.append(drive.expression.action_units[ACTION_UNITS.index("blink_left")])
        expected.append(1 - blinks.step(1 / FPS if number else 0.0).shut)
    reenactor.close()
    # While a lost face fades out, its lids stay as they were last seen.
    kept = np.array([n for n in range(end) if not lost <= n <= lost + RETURN_S * FPS])
    assert np.count_nonzero(np.diff(np.array(expected) < 0.5)) >= 2 * 4
    np.testing.assert_allclose(np.array(openings)[kept], np.array(expected)[kept], atol=0.08)
    np.testing.assert_allclose(1 - np.array(units)[kept], np.array(expected)[kept], atol=0.02)
