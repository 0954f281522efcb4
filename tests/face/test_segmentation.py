from __future__ import annotations

import numpy as np

from reenact.face.segmentation import person_masks
from support.faces import portrait_target


def test_a_person_who_leaves_the_picture_is_found_to_its_edge() -> None:
    picture = np.asarray(portrait_target().references[0])
    middle = len(picture) // 2
    (mask,) = person_masks([np.ascontiguousarray(picture[:middle, :middle])])
    assert mask.shape == (middle, middle)
    assert mask[-20, -1] > 0.9
    assert mask[-1, -20] > 0.9
    assert mask[0, 0] < 0.1
