from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from reenact.config import Settings
from reenact.errors import PluginError
from reenact.live.pipeline import RETURN_S, Reenactor, open_reenactor
from reenact.stats import StepTimer
from reenact.types import Array, Drive, Frame, Image
from support.faces import portrait, portrait_target
from support.fakes import MAGENTA, plain
from support.portraits import turned


def settings(**output: object) -> Settings:
    return Settings.model_validate(
        {
            "renderer": {"name": "warp"},
            "actor": {"neutral": "fresh"},
            "output": output,
        }
    )


@pytest.fixture
def reenactor() -> Iterator[Reenactor]:
    opened = open_reenactor(settings(), portrait_target(), StepTimer())
    yield opened
    opened.close()


def actor(index: int) -> Frame:
    """The portrait as an actor who does not move."""
    return Frame(portrait(), index / 25, index)


def nobody(index: int) -> Frame:
    return Frame(plain(MAGENTA, (320, 240)), index / 25, index)


def shows_actor(image: Image) -> bool:
    """Whether the actor's own magenta is there; the portrait has purple, but none as pure."""
    return bool(((image[..., 0] > 240) & (image[..., 1] < 40) & (image[..., 2] > 240)).any())


def difference(first: Image, second: Image) -> float:
    return float(np.abs(first.astype(np.float32) - second).mean())


def test_time_and_index_are_kept(reenactor: Reenactor) -> None:
    for frame in (actor(3), nobody(4)):
        picture = reenactor.step(frame)
        assert (picture.time_s, picture.index) == (frame.time_s, frame.index)
        assert picture.size == reenactor.size == (512, 512)


def test_a_face_at_rest_leaves_the_target_at_rest(reenactor: Reenactor) -> None:
    rest = reenactor.idle(0.0, 0).image
    for index in range(5):
        picture = reenactor.step(actor(index)).image
    assert difference(picture, rest) < 1.0


def test_without_a_face_the_target_comes_to_rest(reenactor: Reenactor) -> None:
    rest = reenactor.idle(0.0, 0).image
    for index in range(5):
        reenactor.step(actor(index))
    frames = round(RETURN_S * 25) + 2
    pictures = [reenactor.step(nobody(5 + index)).image for index in range(frames)]
    assert reenactor.faces_lost == 1
    np.testing.assert_array_equal(pictures[-1], rest)
    assert not any(shows_actor(picture) for picture in pictures)


def test_an_actor_who_goes_away_is_faded_out_and_in_again(reenactor: Reenactor) -> None:
    rest = reenactor.idle(0.0, 0).image
    reenactor.step(actor(0))
    acted = reenactor.step(Frame(turned(portrait(), 12.0), 0.04, 1)).image
    away = [reenactor.idle(0.08 + index * 0.04, 2 + index).image for index in range(15)]
    steps = [difference(a, b) for a, b in itertools.pairwise([acted, *away])]
    whole = difference(acted, rest)
    assert whole > 0.5
    assert max(steps) < 0.5 * whole
    np.testing.assert_array_equal(away[-1], rest)
    reenactor.reset()
    back = [
        reenactor.step(Frame(turned(portrait(), 12.0), 5 + index * 0.04, index)).image
        for index in range(15)
    ]
    # An actor who holds the turned head is soon taken for neutral, so less of it comes back.
    assert difference(back[0], rest) < 0.1 * whole
    assert difference(back[-1], rest) > 0.2 * whole


def test_after_a_failed_frame_the_target_at_rest_needs_no_renderer() -> None:
    opened = open_reenactor(settings(), portrait_target(), StepTimer())
    rest = opened.idle(0.0, 0).image
    opened.step(actor(0))

    def fail(drive: Drive) -> Image:
        raise RuntimeError("out of memory")

    opened._renderer.render = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="out of memory"):
        opened.step(actor(1))
    np.testing.assert_array_equal(opened.idle(0.08, 2).image, rest)
    opened.close()


def test_the_actor_is_never_in_the_picture_unless_asked_for() -> None:
    hidden = open_reenactor(settings(), portrait_target(), StepTimer())
    shown = open_reenactor(settings(show_raw_camera=True), portrait_target(), StepTimer())
    for index in range(3):
        assert not shows_actor(hidden.step(nobody(index)).image)
    side_by_side = shown.step(nobody(0)).image
    hidden.close()
    shown.close()
    assert side_by_side.shape == (512, 1024, 3)
    assert shows_actor(side_by_side[:, :512])
    assert not shows_actor(side_by_side[:, 512:])
    np.testing.assert_array_equal(side_by_side[:, 512:], hidden.idle(0.0, 0).image)


def test_pictures_may_be_changed_by_whoever_gets_them(reenactor: Reenactor) -> None:
    first = reenactor.idle(0.0, 0).image
    kept = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(reenactor.idle(0.0, 1).image, kept)
    reenactor.step(nobody(0)).image[:] = 0
    np.testing.assert_array_equal(reenactor.step(nobody(1)).image, kept)


def test_crop_output_is_the_generated_square() -> None:
    opened = open_reenactor(settings(picture="crop"), portrait_target(), StepTimer())
    assert opened.step(actor(0)).size == opened.size == (256, 256)
    opened.close()


def test_each_step_is_measured() -> None:
    timer = StepTimer()
    opened = open_reenactor(settings(), portrait_target(), timer)
    opened.step(actor(0))
    opened.close()
    assert set(timer.percentiles()) == {"track", "fuse", "render", "blend", "paste"}


def test_shoulders_are_late_and_come_to_rest_with_the_face(reenactor: Reenactor) -> None:
    """The actor tilts the head at once: the body's landmarks are on their way, then there."""
    drives: list[Drive] = []
    crop = reenactor._rest_crop

    def note(drive: Drive) -> Image:
        drives.append(drive)
        return crop

    reenactor._renderer.render = note  # type: ignore[method-assign]
    for index in range(8):
        reenactor.step(actor(index))
    first = drives[-1]
    tilted = turned(portrait(), 12.0)
    for index in range(8, 38):
        reenactor.step(Frame(tilted, index / 25, index))
    moved = [np.abs(of - first.landmarks).mean() for of in (drives[9].landmarks, bodies(drives)[9])]
    assert moved[0] > 1
    assert 0 < moved[1] < 0.3 * moved[0]
    assert np.abs(bodies(drives)[-1] - drives[-1].landmarks).mean() < 0.2 * moved[0]
    for index in range(38, 60):
        reenactor.step(nobody(index))
    still = reenactor._target.neutral
    assert np.abs(bodies(drives)[-1] - still).mean() < 0.05 * moved[0]


def bodies(drives: list[Drive]) -> list[Array]:
    assert all(drive.body is not None for drive in drives)
    return [drive.body for drive in drives if drive.body is not None]


def test_a_picture_that_trembles_is_steadied_until_the_face_is_lost(reenactor: Reenactor) -> None:
    """The renderer's pictures differ by 2 levels in turn; at rest nothing of that is left."""
    rest = reenactor.idle(0.0, 0).image
    crop = reenactor._rest_crop
    turn = itertools.cycle([0, 2])

    def tremble(drive: Drive) -> Image:
        return np.clip(crop.astype(np.int16) + next(turn), 0, 255).astype(np.uint8)

    reenactor._renderer.render = tremble  # type: ignore[method-assign]
    pictures = [reenactor.step(actor(index)).image for index in range(20)]
    inside = np.stack(pictures)[1:, 200:300, 200:300].astype(np.float32)
    assert float(np.abs(np.diff(inside, axis=0)).mean()) < 0.3
    frames = round(RETURN_S * 25) + 2
    away = [reenactor.step(nobody(20 + index)).image for index in range(frames)]
    np.testing.assert_array_equal(away[-1], rest)


def test_an_unknown_renderer_is_told() -> None:
    wrong = settings()
    wrong.renderer.name = "wrap_unet"
    with pytest.raises(PluginError, match="Did you mean warp_unet"):
        open_reenactor(wrong, portrait_target(), StepTimer())
    wrong = settings()
    wrong.tracking.name = "mediapip"
    with pytest.raises(PluginError, match="Did you mean mediapipe"):
        open_reenactor(wrong, portrait_target(), StepTimer())


@pytest.mark.faces
def test_a_real_actor_moves_the_target(faces_dir: Path, reenactor: Reenactor) -> None:
    rest = reenactor.idle(0.0, 0).image
    moved = []
    with av.open(str(faces_dir / "raw" / "talk_face4.mp4")) as container:
        for index, picture in enumerate(container.decode(video=0)):
            if index >= 60:
                break
            image = np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)
            moved.append(difference(reenactor.step(Frame(image, index / 25, index)).image, rest))
    assert reenactor.faces_lost == 0
    assert max(moved) > 1.0
    assert moved[0] < max(moved)
