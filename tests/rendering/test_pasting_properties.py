"""Wherever the crop lies, pasting changes the picture inside of its box only."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from reenact.rendering.compositing import Paster
from support.portraits import box_target, smooth_picture

PLATE = smooth_picture((200, 160), seed=3)
SIDES = st.sampled_from([32, 48, 64, 96])
EDGES = st.integers(-80, 180)


@settings(max_examples=60)
@given(SIDES, EDGES, EDGES, st.integers(0, 255))
def test_outside_of_the_box_nothing_changes(side: int, left: int, top: int, level: int) -> None:
    paster = Paster(box_target(PLATE, left, top, side, crop_px=side))
    pasted = paster.paste(np.full((side, side, 3), level, np.uint8))
    assert pasted.shape == PLATE.shape
    rows, columns = paster.box
    assert 0 <= columns.start <= columns.stop <= 200
    assert 0 <= rows.start <= rows.stop <= 160
    kept = PLATE.copy()
    kept[paster.box] = pasted[paster.box]
    assert np.array_equal(pasted, kept)
    low, high = np.minimum(PLATE, level).astype(int) - 1, np.maximum(PLATE, level).astype(int) + 1
    assert ((pasted >= low) & (pasted <= high)).all(), "a blend is between what it blends"


@settings(max_examples=60)
@given(SIDES, st.integers(0, 100), st.integers(0, 60))
def test_what_is_cut_out_and_pasted_leaves_the_picture(side: int, left: int, top: int) -> None:
    target = box_target(PLATE, left, top, side, crop_px=side)
    paster = Paster(target)
    pasted = paster.paste(target.references[0])
    assert np.abs(pasted.astype(int) - PLATE).max() <= 1
