"""The cut-out of a real portrait: at rest, moving with the head, and through the pipeline."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reenact.config import OutputSettings, Settings
from reenact.errors import TargetError
from reenact.face.body_placement import torso
from reenact.live.backdrop import Backdrop
from reenact.live.drives import still_expression
from reenact.live.load import SteppedRenderer
from reenact.live.pipeline import Reenactor
from reenact.rendering.baselines import CopyRenderer
from reenact.rendering.compositing import Paster
from reenact.rendering.matting import Alpha, Matte, without_spill
from reenact.rendering.warp_unet import WarpUNetRenderer
from reenact.stats import StepTimer
from reenact.targets.library import open_target
from reenact.targets.surroundings import with_surroundings
from reenact.types import HEAD_ALONE, Array, Body, Drive, Frame, Landmarks, Target
from support.fakes import FakeRenderer, FakeTracker
from support.portraits import box_target

PERSON = ((0.35, 0.48), (0.12, 0.5), (0.9, 0.2))  # face, hair, suit
BACKGROUND = ((0.04, 0.2), (0.2, 0.85), (0.04, 0.94), (0.5, 0.1))
"""(y, x) as shares of the portrait's side."""


@pytest.fixture(scope="module")
def target() -> Target:
    return with_surroundings(open_target("astronaut", 256))


@pytest.fixture(scope="module")
def matte(target: Target) -> Matte:
    paster = Paster(target)
    return Matte(target, paster.plate, paster.square)


@pytest.fixture(scope="module")
def renderer(target: Target) -> WarpUNetRenderer:
    result = WarpUNetRenderer(Settings().renderer)
    result.prepare(target)
    return result


def moved_alpha(
    renderer: WarpUNetRenderer,
    target: Target,
    matte: Matte,
    landmarks: Array,
    body: Body = HEAD_ALONE,
) -> Alpha:
    """Return the alpha of the whole picture, drawn for driven landmarks."""
    renderer.render(Drive(landmarks, still_expression(), body=body))
    return Paster(target).paste_alpha(renderer.cut_out(matte.crop), matte.whole)


def at(alpha: Alpha, place: tuple[float, float]) -> int:
    height, width = alpha.shape
    return int(alpha[round(place[0] * height), round(place[1] * width)])


def moved(target: Target, shift: tuple[float, float]) -> Array:
    """Return the neutral face shifted, in px of the picture."""
    scale = Paster(target).square[2] / target.crop_size
    return target.neutral + np.array([*shift, 0], np.float32) / np.float32(scale)


def head_edges(alpha: Alpha, row: float) -> tuple[int, int]:
    """Return where the head begins and ends, in px, in a row at this share of the height."""
    inside = np.flatnonzero(alpha[round(row * alpha.shape[0])] > 127)
    return int(inside[0]), int(inside[-1])


def test_person_is_opaque_and_the_background_clear(matte: Matte) -> None:
    assert matte.whole.shape == open_target("astronaut", 256).plate.shape[:2]
    assert matte.whole.dtype == np.uint8
    assert [at(matte.whole, place) for place in PERSON] == [255] * 3
    assert [at(matte.whole, place) for place in BACKGROUND] == [0] * 4
    soft = (matte.whole > 0) & (matte.whole < 255)
    assert 0.001 < soft.mean() < 0.05


def test_resting_face_leaves_the_cut_out_alone(
    matte: Matte, target: Target, renderer: WarpUNetRenderer
) -> None:
    renderer.reset()
    alpha = moved_alpha(renderer, target, matte, target.neutral)
    assert alpha is not matte.whole
    difference = np.abs(alpha.astype(int) - matte.whole)
    assert difference.mean() < 0.3
    assert (difference > 60).mean() < 1e-3


@pytest.mark.parametrize("shift", [12, -12])
def test_cut_out_goes_with_the_head_and_the_suit_stays(
    matte: Matte, target: Target, renderer: WarpUNetRenderer, shift: int
) -> None:
    renderer.reset()
    alpha = moved_alpha(renderer, target, matte, moved(target, (shift, 0)))
    for row in (0.24, 0.3, 0.36):
        before, after = head_edges(matte.whole, row), head_edges(alpha, row)
        # Hair is carried along less than the face.
        assert 0.2 < (after[0] - before[0]) / shift < 1.1
        assert 0.2 < (after[1] - before[1]) / shift < 1.1
    suit = round(0.97 * len(alpha))
    assert np.array_equal(alpha[suit:], matte.whole[suit:])


@pytest.mark.parametrize("shift", [(12, 4), (-12, 8)])
@pytest.mark.parametrize("torso_known", [False, True])
def test_cut_out_fits_what_the_generator_draws(
    matte: Matte,
    target: Target,
    renderer: WarpUNetRenderer,
    shift: tuple[float, float],
    torso_known: bool,
) -> None:
    """The head of a moved picture is found anew, and lies where the moved cut-out says."""
    paster = Paster(target)
    renderer.reset()
    landmarks = moved(target, shift)
    still = torso(np.zeros(4, np.float32), target.neutral, 50.0, target.crop_size)
    body = Body(still if torso_known else None)
    rest = still_expression()
    drive = Drive(landmarks, rest, body=body)
    drawn = renderer.render(drive)
    found = Matte(target, paster.paste(drawn), paster.square).whole > 127
    said = paster.paste_alpha(renderer.cut_out(matte.crop), matte.whole) > 127
    assert (found & said).sum() / (found | said).sum() > 0.985
    assert (found ^ said).sum() < (found ^ (matte.whole > 127)).sum() / 2


def test_the_edge_of_hair_does_not_tremble_with_the_landmarks(
    matte: Matte, target: Target, renderer: WarpUNetRenderer
) -> None:
    """The hair of the picture is steadied, and its edge with it."""
    paster = Paster(target)
    top = slice(0, round(float(target.neutral[:, 1].min())))
    changes = {}
    for kept in (True, False):
        renderer.reset()
        alphas = []
        for number in range(6):
            if not kept:
                renderer.reset()
            face = moved(target, (0.8 * (-1) ** number, 0.0))
            alpha = moved_alpha(renderer, target, matte, face)
            alphas.append(alpha[paster.box][top].astype(int))
        changes[kept] = np.abs(np.diff(alphas, axis=0)).sum()
    assert 0 < changes[True] < 0.5 * changes[False]


def test_picture_without_a_person_is_told(target: Target) -> None:
    empty = box_target(np.full((512, 512, 3), 110, np.uint8), 128, 128, 256, name="nobody")
    with pytest.raises(TargetError, match=r"nobody.*output\.background=keep"):
        Matte(empty, empty.plate, (128, 128, 256))


@pytest.mark.parametrize("picture", ["plate", "crop"])
@pytest.mark.parametrize("beside", [False, True])
def test_frames_carry_alpha_when_it_is_asked_for(
    target: Target, picture: str, beside: bool
) -> None:
    settings = Settings.model_validate(
        {
            "output": {
                "picture": picture,
                "background": "transparent",
                "show_raw_camera": beside,
            },
            "actor": {"neutral": "fresh"},
        }
    )
    face = Landmarks(target.neutral, 1.0, (256, 256))
    pipeline = Reenactor(settings, target, FakeTracker(face), CopyRenderer(), StepTimer())
    try:
        idle = pipeline.idle(0.0, 0)
        moving = [pipeline.step(Frame(target.references[0], n / 25, n)) for n in range(1, 8)][-1]
    finally:
        pipeline.close()
    for frame in (idle, moving):
        assert frame.alpha is not None
        assert frame.alpha.shape == frame.image.shape[:2]
        assert frame.size == pipeline.size
        panel = frame.image.shape[0] if beside else 0
        assert (frame.alpha[:, :panel] == 255).all()
        assert frame.alpha[:, panel:].min() == 0
        assert frame.alpha[:, panel:].max() == 255


def test_frames_carry_no_alpha_otherwise(target: Target) -> None:
    face = Landmarks(target.neutral, 1.0, (256, 256))
    pipeline = Reenactor(Settings(), target, FakeTracker(face), FakeRenderer(), StepTimer())
    try:
        assert pipeline.idle(0.0, 0).alpha is None
    finally:
        pipeline.close()


def test_the_edge_has_no_colour_of_the_old_background() -> None:
    """A dark disc before a white wall; the edge is as dark as the disc, the rest as it was."""
    y, x = np.mgrid[:200, :300]
    share = np.clip((60 - np.hypot(x - 150, y - 100)) / 8, 0, 1)
    picture = (255 - 200 * share)[..., None].repeat(3, axis=2).astype(np.uint8)
    alpha = (255 * share).astype(np.uint8)
    clean = without_spill(picture, alpha)
    faint = (alpha > 0) & (alpha < 60)
    assert picture[faint].mean() > 220
    assert clean[faint].mean() < 100
    whole = (alpha == 0) | (alpha == 255)
    np.testing.assert_array_equal(clean[whole], picture[whole])


def test_an_edge_with_nothing_opaque_beside_it_keeps_its_colours() -> None:
    picture = np.full((100, 100, 3), 90, np.uint8)
    alpha = np.zeros((100, 100), np.uint8)
    alpha[40:50, 40:50] = 120
    assert np.abs(without_spill(picture, alpha).astype(int) - 90).max() <= 1


def test_a_cut_out_head_that_comes_down_ends_below_the_edge() -> None:
    """The picture ends in the hair; what is above it narrows, and no wall comes along."""
    whole = with_surroundings(open_target("astronaut", 256))
    first = round(float(whole.crop_to_plate[1, 2] + 0.24 * 320 * whole.crop_to_plate[1, 1]))
    affine = whole.crop_to_plate - np.array([[0, 0, 0], [0, 0, first]], np.float32)
    cut = replace(whole, plate=whole.plate[first:], crop_to_plate=affine)
    paster = Paster(cut)
    matte = Matte(cut, paster.plate, paster.square)
    renderer = WarpUNetRenderer(Settings().renderer)
    renderer.prepare(cut)
    down = round(0.3 * paster.square[2])
    lowered = moved_alpha(renderer, cut, matte, moved(cut, (0, down)))
    widths = [int((one[1] > 127).sum()) for one in (matte.whole, lowered)]
    assert widths[0] > 40
    assert widths[1] < 0.7 * widths[0], widths


def test_another_reference_has_an_outline_of_its_own(target: Target, matte: Matte) -> None:
    shift_px = 30
    aside = np.roll(target.references[0], shift_px, axis=1)
    there = target.landmarks[0] + np.array([shift_px, 0, 0], np.float32)
    two = replace(
        target,
        references=np.stack([target.references[0], aside]),
        landmarks=np.stack([target.landmarks[0], there]),
    )
    renderer = WarpUNetRenderer(Settings().renderer)
    renderer.prepare(two)
    renderer.render(Drive(there, still_expression()))
    found = renderer.cut_out(np.zeros_like(matte.crop)) > 127
    expected = np.roll(matte.crop, shift_px, axis=1) > 127
    assert (found & expected).sum() / (found | expected).sum() > 0.9


def test_a_renderer_without_a_cut_out_keeps_that_of_the_picture(matte: Matte) -> None:
    stepped = SteppedRenderer(lambda _: CopyRenderer(), 256)
    assert stepped.cut_out(matte.crop) is matte.crop


def test_where_the_person_was_the_blurred_background_has_no_person() -> None:
    """A head may move by more than the reach of the blur."""
    disc = np.hypot(*np.mgrid[-128:128, -128:128]) < 90
    alpha = np.where(disc, 255, 0).astype(np.uint8)
    picture = np.where(disc, 30, 200).astype(np.uint8)[..., None].repeat(3, axis=2)
    nobody = np.zeros_like(alpha)
    output = OutputSettings(background="blur")
    shown, _ = Backdrop(picture, alpha, alpha).lay(picture, nobody, output)
    assert shown.min() > 190
