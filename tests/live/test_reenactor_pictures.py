"""The pictures of the reenactor with its real tracker and renderer: an invented actor acts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from reenact.config import Settings, TrackingSettings
from reenact.face.geometry import estimate_pose, to_face_frame
from reenact.face.mediapipe_tracker import MediaPipeTracker
from reenact.face.regions import lip_gaps
from reenact.live.pipeline import Reenactor, open_reenactor
from reenact.stats import StepTimer
from reenact.types import Frame, Image
from support.actor import AT_REST, FPS, MOUTH_OPENS, acted
from support.faces import difference, portrait_target
from support.fakes import MAGENTA, plain
from support.sessions import quiet_settings


def nobody(index: int) -> Frame:
    return Frame(plain(MAGENTA, (320, 240)), index / FPS, index)


@pytest.fixture
def reenactor() -> Iterator[Reenactor]:
    opened = open_reenactor(quiet_settings(), portrait_target(), StepTimer())
    yield opened
    opened.close()


def shows_actor(image: Image) -> bool:
    """Return True if the actor's pure magenta is there; the portrait only has a duller purple."""
    return bool(((image[..., 0] > 240) & (image[..., 1] < 40) & (image[..., 2] > 240)).any())


def lip_gap(picture: Image) -> float:
    """Return the gap in the middle of the lips, iod, as the tracker sees it."""
    tracker = MediaPipeTracker(TrackingSettings(), static=True)
    found = tracker.track(Frame(picture, 0.0, 0))
    tracker.close()
    assert found is not None
    return float(lip_gaps(to_face_frame(found.points, estimate_pose(found.points)))[4])


def test_the_target_opens_its_mouth_with_the_actor_and_its_surroundings_stay(
    reenactor: Reenactor,
) -> None:
    rest = reenactor.idle(0.0, 0).image
    pictures = [
        reenactor.step(Frame(acted()[number], index / FPS, index))
        for index, number in enumerate([*AT_REST, *MOUTH_OPENS])
    ]
    assert [picture.index for picture in pictures] == list(range(len(pictures)))
    assert [picture.time_s for picture in pictures] == [n / FPS for n in range(len(pictures))]
    calm, acting = pictures[len(AT_REST) - 1].image, pictures[-1].image
    assert difference(calm, rest) < 0.6 * difference(acting, rest)
    assert lip_gap(calm) == pytest.approx(lip_gap(rest), abs=0.06)
    assert lip_gap(acting) > lip_gap(rest) + 0.15
    left, top = np.floor(portrait_target().crop_to_plate[:, 2]).astype(int)
    beside = np.ones(rest.shape[:2], bool)
    beside[top:, left:] = False
    assert beside.any()
    np.testing.assert_array_equal(acting[beside], rest[beside])


def test_a_knob_opens_and_shuts_the_mouth_of_a_target_that_nobody_drives(
    reenactor: Reenactor,
) -> None:
    gaps = []
    for number, amount in enumerate((0.0, 1.0, 0.0)):
        reenactor.settings.drive.units.mouth_open = amount
        pictures = [reenactor.step(nobody(15 * number + n)).image for n in range(15)]
        gaps.append(lip_gap(pictures[-1]))
    assert gaps[1] > gaps[0] + 0.2
    assert gaps[2] == pytest.approx(gaps[0], abs=0.03)


def test_the_actor_is_never_in_the_picture_unless_asked_for(reenactor: Reenactor) -> None:
    shown = open_reenactor(quiet_settings(show_raw_camera=True), portrait_target(), StepTimer())
    for index in range(3):
        assert not shows_actor(reenactor.step(nobody(index)).image)
    side_by_side = shown.step(nobody(0)).image
    shown.close()
    assert side_by_side.shape == (512, 1024, 3)
    assert shows_actor(side_by_side[:, :512])
    np.testing.assert_array_equal(side_by_side[:, 512:], reenactor.idle(0.0, 0).image)


@pytest.mark.parametrize(
    ("shape", "size", "actor"),
    [
        ("16:9", (1280, 720), (slice(0, 720), slice(0, 640))),
        ("9:16", (720, 1280), (slice(0, 640), slice(0, 720))),
    ],
)
def test_the_actor_and_the_target_share_the_shape(
    shape: str, size: tuple[int, int], actor: tuple[slice, slice]
) -> None:
    shown = open_reenactor(
        quiet_settings(show_raw_camera=True, shape=shape, background="transparent"),
        portrait_target(),
        StepTimer(),
    )
    assert shown.size == size
    picture = shown.step(nobody(0))
    shown.close()
    assert picture.size == size
    assert picture.alpha is not None
    assert shows_actor(picture.image[actor])
    assert (picture.alpha[actor] == 255).all()
    target = picture.image.copy()
    target[actor] = 0
    assert not shows_actor(target)


def test_another_target_is_drawn_from_the_next_frame_on(reenactor: Reenactor) -> None:
    for index, number in enumerate(AT_REST):
        reenactor.step(Frame(acted()[number], index / FPS, index))
    neutral = reenactor.actor_neutral
    other = portrait_target()
    flipped = replace(other, references=other.references[..., ::-1], plate=other.plate[..., ::-1])
    reenactor.switch(reenactor.prepare(flipped))
    drawn = reenactor.step(Frame(acted()[AT_REST[0]], len(AT_REST) / FPS, len(AT_REST)))
    fresh = open_reenactor(quiet_settings(), flipped, StepTimer())
    assert difference(drawn.image, fresh.idle(0.0, 0).image) < 3.0
    fresh.close()
    assert reenactor.drive is not None
    assert neutral is not None
    assert reenactor.actor_neutral == pytest.approx(neutral, abs=0.02)


@pytest.mark.parametrize(
    ("picture", "shape", "max_side", "drawn_px"),
    [
        ("plate", "picture", 1280, 320),
        ("plate", "picture", 300, 256),
        ("crop", "picture", 1280, 512),
        ("plate", "1:1", 640, 256),
        ("plate", "1:1", 1280, 448),
        ("crop", "16:9", 640, 512),
    ],
)
def test_a_crop_is_not_drawn_larger_than_it_is_shown(
    picture: str, shape: str, max_side: int, drawn_px: int
) -> None:
    """The plate shows 300 px of a crop that was scaled up to 512."""
    zoom = 300 / 512
    target = replace(
        portrait_target(512), crop_to_plate=np.array([[zoom, 0, 0], [0, zoom, 0]], np.float32)
    )
    settings = Settings.model_validate(
        {
            "output": {"picture": picture, "shape": shape, "max_side": max_side},
            "renderer": {"size": 512},
        }
    )
    settings.renderer.name = "copy"
    opened = open_reenactor(settings, target, StepTimer(), tracked=False)
    opened.draw_at(512)  # what the session does while the machine keeps up
    assert opened.target.crop_size == drawn_px
