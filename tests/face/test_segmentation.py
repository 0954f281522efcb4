from __future__ import annotations

import numpy as np

from reenact.face.segmentation import by_colour, person_masks
from reenact.face.topology import OVAL
from reenact.targets.library import open_target
from support.faces import portrait_target


def test_a_person_who_leaves_the_picture_is_found_to_its_edge() -> None:
    picture = np.asarray(portrait_target().references[0])
    middle = len(picture) // 2
    (mask,) = person_masks([np.ascontiguousarray(picture[:middle, :middle])])
    assert mask.shape == (middle, middle)
    assert mask[-20, -1] > 0.9
    assert mask[-1, -20] > 0.9
    assert mask[0, 0] < 0.1


def test_hair_that_ends_just_below_the_edge_is_not_continued_to_it() -> None:
    picture = open_target("astronaut", 256).plate
    (whole,) = person_masks([picture])
    crown, gap = int((whole > 0.5).any(axis=1).argmax()), 12
    assert crown > gap
    (mask,) = person_masks([np.ascontiguousarray(picture[crown - gap :])])
    assert (mask[gap + 8] > 0.5).any()
    assert not (mask[0] > 0.5).any()


def test_colours_bring_back_missed_hair_and_take_away_wall() -> None:
    noise = np.random.default_rng(0).normal(0, 6, (300, 400, 3))
    shown = np.zeros((300, 400), np.float32)
    shown[60:300, 120:280] = 1
    picture = np.where(shown[..., None] > 0, (180, 40, 90), (120, 150, 160)) + noise
    picture[60:120, 120:280] = np.array([230, 200, 20]) + noise[60:120, 120:280]  # the hair
    turn = np.linspace(0, 2 * np.pi, len(OVAL))
    face = np.zeros((478, 2), np.float32)
    face[list(OVAL)] = np.stack([200 + 50 * np.cos(turn), 180 + 60 * np.sin(turn)], axis=1)
    mask = 0.99 * shown
    mask[60:120, 220:280] = 0.1
    mask[150:200, 280:310] = 0.7
    found = by_colour(mask, np.clip(picture, 0, 255).astype(np.uint8), face)
    assert found.shape == mask.shape
    assert ((found > 0.5) == (shown > 0.5)).mean() > 0.99
    assert ((mask > 0.5) == (shown > 0.5)).mean() < 0.96
    everywhere = np.full_like(mask, 0.6)
    assert by_colour(everywhere, picture.astype(np.uint8), face) is everywhere, "no wall is known"
