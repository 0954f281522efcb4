from __future__ import annotations

import numpy as np

from reenact.face.segmentation import person_masks
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
