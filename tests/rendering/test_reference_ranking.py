from __future__ import annotations

import numpy as np
import pytest

from reenact import registry
from reenact.config import RendererSettings
from reenact.evaluation.clips import Clip
from reenact.rendering.reference_ranking import (
    DECIBELS,
    DIFFERENCES,
    SeenFaces,
    differences,
    reference_distances,
)
from reenact.testing.moving_portrait import moving_portrait
from reenact.types import Array
from support.faces import opened_mouth, portrait_target, turned
from tools.reference_weights import FRAMES, Drawn, draw, fit


def test_each_difference_tells_of_its_own_motion() -> None:
    points = portrait_target().neutral
    seen = SeenFaces.of(points[None])

    def changed(face: Array) -> dict[str, float]:
        return dict(zip(DIFFERENCES, differences(seen, face)[0].tolist(), strict=True))

    assert max(changed(points).values()) < 1e-4
    shifted = changed(points + np.array([12, 0, 0], np.float32))
    assert shifted.pop("across") > 0.1 > 50 * max(shifted.values())
    larger = changed(points * np.float32(1.1))
    assert larger["size"] == pytest.approx(np.log(1.1), abs=1e-3)
    opened = changed(opened_mouth(points, 14))
    assert opened["mouth"] > 4 * max(opened["eyes"], opened["brows"])
    aside = changed(turned(points, 10))
    assert aside["yaw"] == pytest.approx(np.radians(10), abs=0.02)


def test_a_turned_face_is_farther_than_a_shifted_one_and_any_than_the_same() -> None:
    points = portrait_target().neutral
    shifted = points + np.array([10, 0, 0], np.float32)
    others = [points, shifted, turned(points, 15), opened_mouth(points, 16)]
    same, moved, aside, opened = reference_distances(SeenFaces.of(np.stack(others)), points)
    assert same < 1e-3
    assert 0.1 < moved < 0.4 * aside
    assert opened > 0.1


def test_the_fit_finds_what_a_difference_costs() -> None:
    rng = np.random.default_rng(0)
    clips = []
    for _ in range(20):
        found = rng.random((6, 5, len(DIFFERENCES))).astype(np.float32)
        # How hard a frame is, is the same for all of its references.
        hard = rng.normal(0, 5, (1, 5))
        noise = rng.normal(0, 0.05, (6, 5))
        clips.append(Drawn(found, 30 + hard - found @ DECIBELS + noise))
    weights = fit(clips)
    np.testing.assert_allclose(weights, DECIBELS, atol=0.2)
    assert np.mean([clip.lost(weights) for clip in clips]) < 0.05
    assert np.mean([clip.lost(-weights) for clip in clips]) > 5


def test_references_draw_the_end_of_a_clip() -> None:
    images, landmarks = (np.concatenate([part, part, part]) for part in moving_portrait())
    renderer = registry.load("renderers", "warp").make(RendererSettings())
    whole = Clip("portrait", images, landmarks, np.arange(len(images)))
    drawn = draw(whole, renderer)
    assert drawn is not None
    references = len(drawn.decibels)
    assert drawn.differences.shape == (references, FRAMES, len(DIFFERENCES))
    assert references > 1
    assert drawn.decibels.min() > 12
    # The clip repeats itself: some reference is nearly the frame, and the nearest is that one.
    assert drawn.lost(DECIBELS) < 0.5 * drawn.lost(-DECIBELS)
    short = Clip("portrait", images[:50], landmarks[:50], np.arange(50))
    assert draw(short, renderer) is None
