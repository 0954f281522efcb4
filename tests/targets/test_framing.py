"""`output.shape`: the size is that of the settings, the head is whole, little is made up."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reenact.config import OutputSettings
from reenact.rendering.compositing import Paster, View, whole_view
from reenact.targets.framing import view_of
from reenact.targets.surroundings import with_surroundings
from reenact.testing.portrait import portrait_target
from reenact.types import Target
from support.portraits import box_target, smooth_picture


def view(target: Target, shape: str, size_px: int = 256, **given: object) -> View:
    output = OutputSettings.model_validate({"shape": shape, **given})
    return view_of(target, output, size_px)


@pytest.mark.parametrize(
    ("shape", "given", "size_px", "size"),
    [
        ("16:9", {}, 256, (1280, 720)),
        ("4:3", {}, 256, (960, 720)),
        ("1:1", {}, 1024, (720, 720)),
        ("9:16", {}, 256, (720, 1280)),
        ("16:9", {"max_side": 1920}, 256, (1920, 1080)),
        ("16:9", {"max_side": 129}, 256, (128, 72)),
        ("16:9", {"picture": "crop"}, 128, (228, 128)),
        ("16:9", {"picture": "crop"}, 256, (456, 256)),
        ("16:9", {"picture": "crop"}, 512, (910, 512)),
        ("16:9", {"picture": "crop"}, 720, (1280, 720)),
        ("16:9", {"picture": "crop"}, 1024, (1820, 1024)),
        ("4:3", {"picture": "crop"}, 512, (682, 512)),
        ("9:16", {"picture": "crop"}, 720, (720, 1280)),
        ("16:9", {"show_raw_camera": True}, 256, (640, 720)),  # beside as large a picture
        ("9:16", {"show_raw_camera": True}, 256, (720, 640)),
    ],
)
def test_the_size_depends_on_the_settings_alone(
    shape: str, given: dict[str, object], size_px: int, size: tuple[int, int]
) -> None:
    for plate in ((300, 700), (700, 300), (512, 512)):
        target = box_target(smooth_picture(plate), 60, 40, 200)
        assert view(target, shape, size_px, **given).size == size
        assert Paster(target, view(target, shape, size_px, **given)).size == size


def test_the_shape_of_the_picture_is_the_whole_plate() -> None:
    target = box_target(smooth_picture((700, 300)), 60, 40, 200)
    assert view(target, "picture", max_side=350) == whole_view(target, 350)


def test_a_wide_picture_is_cut_beside_the_head_and_not_continued() -> None:
    target = box_target(smooth_picture((1600, 700)), 900, 200, 300)
    left, top, width, height = view(target, "4:3").window
    assert (top, height) == (0, 700)
    assert left + width / 2 == pytest.approx(1050)
    aside = box_target(smooth_picture((1600, 700)), 1300, 200, 300)
    left, _, width, _ = view(aside, "4:3").window
    assert left + width == pytest.approx(1600), "the plate ends there"


def test_a_tall_picture_is_cut_below_the_head_and_continued_no_more_than_the_head_needs() -> None:
    target = box_target(smooth_picture((600, 1000)), 150, 200, 300)
    left, top, width, height = view(target, "16:9").window
    assert height == pytest.approx(375), "the crop, and a quarter of it above for a moving head"
    assert top <= 200 - 75 < 200 + 300 <= top + height
    assert left == pytest.approx((600 - width) / 2), "as much is added at both sides"
    closer = view(target, "16:9", picture="crop").window
    assert closer[1:2] + closer[3:] == pytest.approx((200, 300))


def test_a_square_within_a_wide_picture_needs_no_continuation() -> None:
    target = box_target(smooth_picture((1600, 900)), 600, 200, 400)
    shown = Paster(target, view(target, "16:9", picture="crop"))
    assert shown.inside == (slice(0, 256), slice(0, 456))
    assert shown.square[1:] == (0, 256)


def test_the_surroundings_of_a_target_change_nothing() -> None:
    target = portrait_target()
    for shape in ("16:9", "9:16"):
        first, wider = (view(one, shape) for one in (target, with_surroundings(target)))
        assert wider.window == pytest.approx(first.window, abs=1)


@given(
    plate=st.tuples(st.integers(64, 1500), st.integers(64, 1500)),
    face=st.tuples(st.floats(-0.1, 0.9), st.floats(-0.1, 0.9), st.floats(0.05, 1.2)),
    shape=st.sampled_from(["16:9", "4:3", "1:1", "9:16"]),
    picture=st.sampled_from(["plate", "crop"]),
)
def test_what_the_plate_has_of_the_head_is_shown_and_no_view_is_empty(
    plate: tuple[int, int], face: tuple[float, float, float], shape: str, picture: str
) -> None:
    width, height = plate
    side = face[2] * min(plate)
    scale = side / 256
    shift = (scale - 1) / 2
    target = replace(
        box_target(np.zeros((64, 64, 3), np.uint8), 0, 0, 64),
        plate=np.zeros((height, width, 3), np.uint8),
        crop_to_plate=np.array(
            [[scale, 0, face[0] * width + shift], [0, scale, face[1] * height + shift]], np.float32
        ),
    )
    shown = view(target, shape, picture=picture)
    left, top, across, down = shown.window
    assert across / down == pytest.approx(shown.size[0] / shown.size[1])
    assert shown.scale == pytest.approx(shown.size[0] / across)
    assert side * shown.scale <= 2.01 * max(shown.size), "no sliver is enlarged"
    for start, end, first, extent in (
        (face[0] * width, width, left, across),
        (face[1] * height, height, top, down),
    ):
        assert first <= max(start, 0) + 1
        assert min(start + side, end) <= first + extent + 1
        assert min(first, end - first - extent) >= -extent, "the plate is in the view"
