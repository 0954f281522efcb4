from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from reenact.imaging import crop_image, invert_affine
from reenact.rendering.compositing import Paster, View, continued, whole_view, within_plate
from reenact.types import Image
from support.portraits import box_target, smooth_picture

BLACK = np.zeros((256, 256, 3), np.uint8)
WHITE = np.full((256, 256, 3), 255, np.uint8)


def difference(first: Image, second: Image) -> NDArray[np.int64]:
    return np.asarray(np.abs(first.astype(np.int64) - second.astype(np.int64)), dtype=np.int64)


def test_the_plates_own_crop_leaves_the_plate_as_it_was() -> None:
    plate = np.random.default_rng(1).integers(0, 256, (360, 640, 3), dtype=np.uint8)
    pasted = Paster(box_target(plate, 200, 40, 256)).paste(plate[40:296, 200:456].copy())
    assert difference(pasted, plate).max() <= 1


def test_only_the_box_changes_and_its_middle_is_the_crop() -> None:
    plate = smooth_picture((640, 360))
    paster = Paster(box_target(plate, 200, 40, 256))
    assert paster.box == (slice(40, 296), slice(200, 456))
    pasted = paster.paste(WHITE)
    assert (pasted[128:208, 288:368] == 255).all()
    pasted[40:296, 200:456] = plate[40:296, 200:456]
    assert np.array_equal(pasted, plate)


def test_no_edge_of_the_box_is_visible() -> None:
    pasted = Paster(box_target(np.zeros((400, 600, 3), np.uint8), 150, 70, 256)).paste(WHITE)
    luma = pasted[..., 0].astype(int)
    steps = max(np.abs(np.diff(luma, axis=axis)).max() for axis in (0, 1))
    assert steps <= 24, "a jump at the border of the crop"
    assert luma[70 + 2, 150 + 128] <= 16
    assert luma[70 + 253, 150 + 128] <= 16
    assert luma[70 + 236, 150 + 20] == 0, "a corner shows"


def test_where_the_crop_leaves_the_plate_it_is_not_softened() -> None:
    paster = Paster(box_target(np.zeros((300, 300, 3), np.uint8), -60, 0, 256))
    assert paster.box == (slice(0, 256), slice(0, 196))
    pasted = paster.paste(WHITE)
    assert (pasted[0, :100] == 255).all(), "the crop's top is the plate's top"
    assert (pasted[:150, 0] == 255).all()
    assert pasted[100, 195, 0] < 16, "this side has plate beside it"
    assert pasted[255, 50, 0] < 16


def test_a_crop_beside_the_plate_changes_nothing() -> None:
    plate = smooth_picture((320, 240))
    paster = Paster(box_target(plate, 900, 900, 128))
    assert np.array_equal(paster.paste(WHITE), plate)


@pytest.mark.parametrize(
    ("size", "max_side", "expected"),
    [
        ((3840, 2160), 1280, (1280, 720)),
        ((1920, 1080), 1280, (1280, 720)),
        ((160, 120), 1280, (160, 120)),
        ((641, 361), 1280, (640, 360)),
        ((1080, 1920), 720, (404, 720)),
        ((512, 512), 512, (512, 512)),
    ],
)
@pytest.mark.parametrize("share", [0.333, 0.517])
def test_size_and_place(
    size: tuple[int, int], max_side: int, expected: tuple[int, int], share: float
) -> None:
    plate = smooth_picture(size)
    height = size[1]
    target = box_target(plate, 0.31 * size[0], 0.17 * height, share * height)
    paster = Paster(target, whole_view(target, max_side))
    assert paster.size == expected
    dot = np.zeros((256, 256, 3), np.float32)
    cv2.circle(dot, (128, 128), 40, (255, 255, 255), cv2.FILLED)
    pasted = paster.paste(dot.astype(np.uint8))
    assert pasted.shape == (expected[1], expected[0], 3)
    assert pasted.flags.c_contiguous
    at_rest = paster.paste(BLACK)
    y, x = np.nonzero(difference(pasted, at_rest)[..., 0] > 127)
    scale = max(expected) / max(size)
    wanted = (target.crop_to_plate @ [128, 128, 1] + 0.5) * scale - 0.5
    # A plate that is scaled may be shifted by up to one and a half px to let the box fit.
    assert np.abs(np.array([x.mean(), y.mean()]) - wanted).max() <= 2.0


@pytest.mark.parametrize("max_side", [1280, 700, 333])
def test_box_and_plate_fit_to_a_part_of_a_pixel(max_side: int) -> None:
    """The true crop, at rest, must not be seen to be there: no doubled or shifted edges."""
    plate = smooth_picture((1023, 765))
    cv2.putText(plate, "8 B", (330, 420), cv2.FONT_HERSHEY_SIMPLEX, 6, (250, 250, 250), 14)
    plate = np.asarray(cv2.GaussianBlur(plate, (0, 0), 2.5), dtype=np.uint8)
    target = box_target(plate, 300.4, 160.7, 431.3, crop_px=512)
    crop = crop_image(plate, invert_affine(target.crop_to_plate), 512)
    paster = Paster(target, whole_view(target, max_side))
    shown = paster.paste(crop)
    middle = tuple(slice(side.start + 20, side.stop - 20) for side in paster.box)
    error = difference(shown[middle], paster.plate[middle])
    assert error.mean() < 1.0
    shifted = np.roll(paster.plate, 1, axis=1)
    assert error.mean() < 0.4 * difference(shifted[middle], paster.plate[middle]).mean()


def test_an_enlarged_face_stays_sharp() -> None:
    plate = np.random.default_rng(3).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    target = box_target(plate, 94, 94, 512)
    crop = np.asarray(cv2.GaussianBlur(target.references[0], (0, 0), 1.0), dtype=np.uint8)
    pasted = Paster(target).paste(crop)[250:450, 250:450].astype(int)
    linear = cv2.resize(crop, (512, 512), interpolation=cv2.INTER_LINEAR)
    blurred = linear[156:356, 156:356].astype(int)
    assert np.abs(np.diff(pasted, axis=1)).mean() > 1.05 * np.abs(np.diff(blurred, axis=1)).mean()


def test_crops_of_another_size_than_the_references() -> None:
    plate = smooth_picture((640, 480))
    paster = Paster(box_target(plate, 190, 100, 256, crop_px=512))
    small = cv2.resize(plate[100:356, 190:446], (128, 128), interpolation=cv2.INTER_AREA)
    assert difference(paster.paste(np.asarray(small, dtype=np.uint8)), plate).mean() < 0.6


def test_every_picture_is_a_new_one() -> None:
    plate = smooth_picture((320, 240))
    paster = Paster(box_target(plate, 60, 20, 128))
    first = paster.paste(WHITE)
    kept = first.copy()
    first[:] = 0
    assert np.array_equal(paster.paste(WHITE), kept)


def test_a_view_beyond_the_plate_shows_the_plate_unchanged_and_its_edges_beside_it() -> None:
    plate = np.zeros((200, 120, 3), np.uint8)
    plate[:, :60], plate[:, 60:] = (200, 40, 40), (40, 40, 200)
    paster = Paster(box_target(plate, 20, 20, 80), View((-80, 40, 280, 140), 1.0, (280, 140)))
    assert paster.inside == (slice(0, 140), slice(80, 200))
    assert paster.square[:2] == (100, -20)
    assert np.array_equal(paster.plate[paster.inside], plate[40:180])
    assert difference(paster.plate[:, :80], np.uint8([200, 40, 40])).max() <= 2  # type: ignore[arg-type]
    assert difference(paster.plate[:, 200:], np.uint8([40, 40, 200])).max() <= 2  # type: ignore[arg-type]
    pasted = paster.paste(WHITE)
    assert (pasted[10:30, 130:150] == 255).all()
    assert np.array_equal(pasted[:, 200:], paster.plate[:, 200:])


def test_the_continuation_has_no_seam_and_loses_its_detail_with_the_distance() -> None:
    noise = np.random.default_rng(4).integers(0, 256, (240, 200, 3), dtype=np.uint8)
    picture = np.zeros((240, 400, 3), np.uint8)
    inside = slice(0, 240), slice(100, 300)
    picture[inside] = cv2.GaussianBlur(noise, (0, 0), 3)
    result = continued(picture, inside)
    assert np.array_equal(result[inside], picture[inside])
    seam = difference(result[:, 99], result[:, 100]).mean()
    assert seam < 2 * difference(result[:, 100], result[:, 101]).mean() + 1
    detail = np.abs(np.diff(result.astype(int), axis=0)).mean(axis=(0, 2))
    assert 4 * detail[0] < 2 * detail[60] < detail[97]


@pytest.mark.parametrize("upright", [False, True])
def test_the_continuation_follows_what_is_drawn_at_the_plates_edge(upright: bool) -> None:
    """A head that leaves the plate at its edge does not end there in a straight line."""
    plate = smooth_picture((240, 240))
    crop = plate.copy()
    if upright:
        crop[:, 80:160] = 255  # a bar across the whole crop
        view = View((0, -200, 240, 640), 1.0, (240, 640))
    else:
        crop[80:160] = 255
        view = View((-200, 0, 640, 240), 1.0, (640, 240))
    paster = Paster(box_target(plate, 0, 0, 240), view)
    pasted, still = paster.paste(crop), paster.plate
    if upright:
        pasted, still = pasted.swapaxes(0, 1), still.swapaxes(0, 1)
    for edge, way in ((200, -1), (439, 1)):
        assert difference(pasted[:, edge], pasted[:, edge + way]).max() <= 8
        assert (pasted[100:140, edge + 10 * way] > 200).all()
        assert np.array_equal(pasted[:, edge + 81 * way], still[:, edge + 81 * way])
        assert np.array_equal(pasted[:10, edge + way], still[:10, edge + way])


def test_a_plate_that_fills_the_view_is_not_continued() -> None:
    plate = smooth_picture((320, 240))
    whole = slice(0, 240), slice(0, 320)
    assert continued(plate, whole) is plate
    alpha = np.full((240, 320), 255, np.uint8)
    assert Paster(box_target(plate, 60, 20, 128)).faded(alpha) is alpha


def test_a_person_whom_the_plate_cuts_off_fades_out_there_and_nowhere_else() -> None:
    plate = smooth_picture((120, 200))
    paster = Paster(box_target(plate, 20, 20, 80), View((-80, 0, 280, 200), 1.0, (280, 200)))
    rest = np.zeros((200, 280), np.uint8)
    rest[paster.inside] = 255
    faded = paster.paste_alpha(np.full((80, 80), 255, np.uint8), rest)
    assert (faded[:, 80].max(), faded[:, 199].max()) == (0, 0)
    assert faded[:, 140].min() == 255, "nor at the picture's own edges"
    assert np.abs(np.diff(faded[100].astype(int))).max() < 60


def test_the_part_of_a_crop_that_shows_the_plate() -> None:
    plate = np.zeros((300, 400, 3), np.uint8)
    rows, columns = within_plate(box_target(plate, -40, -30, 320), 256)
    assert (rows, columns) == (slice(24, 256), slice(32, 256))
    rows, columns = within_plate(box_target(plate, 240, 140, 200), 512)
    assert (rows, columns) == (slice(0, 410), slice(0, 410))
