from __future__ import annotations

import threading
from dataclasses import replace
from functools import partial
from typing import Literal, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray

from reenact.config import OutputSettings
from reenact.errors import ModelError, PluginError
from reenact.live.drives import landmark_drive
from reenact.live.load import LoadControl, SteppedRenderer, needed_px
from reenact.rendering.baselines import CopyRenderer
from reenact.targets.builder import resize_target
from reenact.targets.surroundings import with_surroundings
from reenact.types import Drive, Image, Target
from support.faces import plain_target
from support.fakes import FakeRenderer, until

CAMERA_S = 1 / 30


class Machine:
    """Works off a camera's frames one at a time, and counts those that come meanwhile."""

    def __init__(self, asked_px: int) -> None:
        self.control = LoadControl(asked_px)
        self.now_s = 0.0
        self.dropped = 0
        self.sizes = [asked_px]

    def run(self, seconds: float, costs_s: dict[int, float]) -> list[int]:
        """Return the sizes that were drawn at, in order, beginning with the present one."""
        self.sizes = self.sizes[-1:]
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            work_s = costs_s[self.control.size_px]
            self.now_s += max(work_s, CAMERA_S)
            self.dropped += int(work_s / CAMERA_S)
            size = self.control.frame(self.now_s, work_s, self.dropped)
            if size != self.sizes[-1]:
                self.sizes.append(size)
        return self.sizes


QUICK = {1024: 0.030, 720: 0.020, 512: 0.012, 256: 0.010}


def scaled(factor: float) -> dict[int, float]:
    return {size: factor * cost for size, cost in QUICK.items()}


def test_a_machine_that_keeps_up_draws_what_was_asked_for() -> None:
    assert Machine(1024).run(300, scaled(1.1)) == [1024]


def test_the_size_goes_down_until_the_machine_keeps_up_and_not_below_the_networks() -> None:
    assert Machine(1024).run(60, scaled(1.6)) == [1024, 720]
    assert Machine(1024).run(60, scaled(2.5)) == [1024, 720, 512]
    assert Machine(512).run(300, scaled(9)) == [512, 256]
    assert Machine(256).run(300, scaled(9)) == [256]


def test_it_comes_back_once_there_is_room_and_not_sooner() -> None:
    machine = Machine(1024)
    machine.run(30, scaled(1.6))
    assert machine.run(600, scaled(1.1)) == [720], "1024 px would take all of the 33 ms"
    assert machine.run(60, scaled(0.7)) == [720, 1024]


def test_a_load_that_comes_and_goes_does_not_make_the_size_flutter() -> None:
    machine = Machine(1024)
    changes = 0
    for _ in range(60):
        for factor in (1.6, 0.7):
            changes += len(machine.run(30, scaled(factor))) - 1
    assert changes < 30, "in an hour of 120 changes of the load"


def test_a_load_that_comes_rarely_does_not_keep_the_size_down() -> None:
    machine = Machine(1024)
    for _ in range(6):
        assert machine.run(30, scaled(1.6)) == [1024, 720]
        assert machine.run(90, scaled(0.7)) == [720, 1024]


def test_frames_that_other_programs_cost_change_no_size() -> None:
    """They are lost although the work takes a third of the time."""
    for start_px, factor in ((1024, 1.0), (720, 1.6)):
        machine = Machine(1024)
        machine.run(8, scaled(factor))
        assert machine.control.size_px == start_px
        for number in range(2000):
            machine.now_s += CAMERA_S
            machine.dropped += number % 5 == 0
            assert machine.control.frame(machine.now_s, CAMERA_S / 3, machine.dropped) == start_px


@pytest.mark.parametrize(
    ("asked_px", "picture", "drawn_px"),
    [(1024, "plate", 256), (128, "plate", 128), (1024, "crop", 1024)],
)
def test_crops_are_drawn_as_large_as_they_are_shown_and_not_below_the_networks(
    asked_px: int, picture: Literal["plate", "crop"], drawn_px: int
) -> None:
    """The plate shows the crop with 128 px."""
    target = plain_target((0, 100, 0))
    assert needed_px(target, asked_px, OutputSettings(picture=picture)) == drawn_px


def test_larger_plates_need_larger_crops() -> None:
    target = replace(
        plain_target((0, 100, 0)),
        plate=np.zeros((1200, 1200, 3), np.uint8),
        crop_to_plate=np.array([[5, 0, 100], [0, 5, 100]], np.float32),
    )
    assert needed_px(target, 1024, OutputSettings()) == 640
    assert needed_px(target, 512, OutputSettings()) == 512


class SlowRenderer(CopyRenderer):
    """Takes until `ready` to prepare a small red target."""

    ready = threading.Event()

    def prepare(self, target: Target) -> None:
        super().prepare(target)
        if target.crop_size == 256 and target.plate[0, 0, 0]:
            self.ready.wait(60)


def test_another_target_is_drawn_at_every_size_though_the_one_before_is_still_prepared() -> None:
    before = threading.active_count()
    renderer = SteppedRenderer(lambda size: SlowRenderer(), 512)
    red, green = (resize_target(plain_target(colour), 512) for colour in ((200, 0, 0), (0, 200, 0)))
    renderer.prepare(red)
    face = landmark_drive(red.neutral)
    assert not renderer.draw_at(256)
    renderer.prepare(green)
    until(lambda: renderer.draw_at(256))
    assert renderer.render(face)[0, 0].tolist() == [0, 200, 0]
    SlowRenderer.ready.set()
    until(lambda: threading.active_count() == before)
    for size_px in (512, 256):
        assert renderer.draw_at(size_px)
        assert renderer.render(face)[0, 0].tolist() == [0, 200, 0]
    renderer.prepare(red)
    assert renderer.render(face)[0, 0].tolist() == [200, 0, 0]


def test_a_still_target_is_drawn_again_at_another_size() -> None:
    levels = {512: FakeRenderer(levels=[50]), 256: FakeRenderer(levels=[80])}
    renderer = SteppedRenderer(levels.__getitem__, 512)
    renderer.prepare(resize_target(plain_target((0, 0, 0)), 512))
    still = replace(landmark_drive(resize_target(plain_target((0, 0, 0)), 512).neutral), dt_s=0.04)
    for size_px, level in ((512, 50), (256, 80), (512, 50)):
        until(partial(renderer.draw_at, size_px))
        assert {int(renderer.render(still)[0, 0, 0]) for _ in range(50)} == {level}
    assert renderer.frames_still > 50
    assert levels[256].resets == 1, "what it remembers is out of date"


def test_smaller_pictures_are_enlarged_and_driven_by_scaled_landmarks() -> None:
    made: dict[int, FakeRenderer] = {}

    def make(size_px: int) -> FakeRenderer:
        if size_px == 384:
            raise ModelError("no weights")
        if size_px == 320:
            raise RuntimeError("the engine fails")
        return made.setdefault(size_px, FakeRenderer(levels=[size_px // 8]))

    renderer = SteppedRenderer(make, 512)
    target = resize_target(plain_target((0, 100, 0)), 512)
    renderer.prepare(target)
    face = landmark_drive(target.neutral)

    def drawn() -> int:
        picture = renderer.render(face)
        assert picture.shape == (512, 512, 3)
        return int(picture[0, 0, 0])

    renderer.draw_at(720)
    assert drawn() == 64
    until(lambda: renderer.draw_at(384))
    until(lambda: renderer.draw_at(320))
    assert drawn() == 64, "384 and 320 cannot be prepared, and are not waited for"

    def is_small() -> bool:
        renderer.draw_at(256)
        return drawn() == 32

    until(is_small)
    scaled_face = made[256].drives[-1].landmarks[:, :2]
    np.testing.assert_allclose(scaled_face + 0.5, (face.landmarks[:, :2] + 0.5) / 2, rtol=1e-4)
    renderer.draw_at(512)
    assert drawn() == 64
    renderer.draw_at(256)
    assert drawn() == 32, "it was kept"
    assert set(made) == {256, 512}


class CuttingRenderer(FakeRenderer):
    """Moves every alpha down by a quarter of its side."""

    def __init__(self) -> None:
        super().__init__()
        self.sides: list[int] = []

    def prepare(self, target: Target) -> None:
        super().prepare(target)
        self.sides.append(target.crop_size)

    def cut_out(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        self.sides.append(len(alpha))
        return np.roll(alpha, len(alpha) // 4, axis=0)


@pytest.mark.parametrize("wide", [False, True])
def test_the_outline_of_smaller_pictures_is_enlarged(wide: bool) -> None:
    made: dict[int, CuttingRenderer] = {}
    renderer = SteppedRenderer(lambda size: made.setdefault(size, CuttingRenderer()), 512)
    target = resize_target(plain_target((0, 100, 0)), 512)
    target = with_surroundings(target) if wide else target
    renderer.prepare(target)
    side = target.crop_size
    alpha = np.zeros((side, side), np.uint8)
    alpha[side // 4 : side // 2] = 255
    whole = renderer.cut_out(alpha)

    def is_small() -> bool:
        renderer.draw_at(256)
        renderer.render(landmark_drive(target.neutral))
        return 256 in made and len(made[256].drives) > 0

    until(is_small)
    small = renderer.cut_out(alpha)
    assert made[256].sides == [side // 2, side // 2]
    for outline in (whole, small):
        assert outline.shape == (side, side)
        assert (outline[side // 2 + 4 : side * 3 // 4 - 4] == 255).all()
        assert (outline[: side // 2 - 4] == 0).all()


def moved(path_px: list[float]) -> tuple[list[float], list[float], int]:
    """Return where a landmark was and where it was last drawn in each frame, and the repeats."""
    target = plain_target((90, 90, 90))
    fake = FakeRenderer()
    renderer = SteppedRenderer(lambda size: fake, target.crop_size)
    renderer.prepare(target)
    shown = []
    for shift_px in path_px:
        landmarks = target.neutral.copy()
        landmarks[10, 0] += shift_px * target.crop_size / 256
        renderer.render(replace(landmark_drive(landmarks), dt_s=1 / 30))
        drawn = fake.drives[-1].landmarks[10, 0] - target.neutral[10, 0]
        shown.append(float(drawn) * 256 / target.crop_size)
    return path_px, shown, renderer.frames_still


def test_a_target_that_keeps_still_is_hardly_ever_drawn_again() -> None:
    *_, repeats = moved([0.0] * 150)
    assert repeats > 0.8 * 150


@given(st.floats(0.02, 4), st.floats(0.1, 8))
@examples(max_examples=25, deadline=None)
def test_what_moves_is_never_shown_where_it_no_longer_is(size_px: float, hertz: float) -> None:
    path, shown, repeats = moved([size_px * np.sin(hertz * i * 2 * np.pi / 30) for i in range(90)])
    assert np.abs(np.subtract(path, shown)).max() <= 0.1 + 1e-3
    if size_px * hertz > 2:  # as slow as anything that a speaking face does
        assert repeats == 0


@pytest.mark.parametrize("wrong", [np.zeros((64, 64, 4), np.uint8), np.zeros((64, 64, 3)), None])
def test_a_renderer_that_draws_no_picture_is_an_error(wrong: object) -> None:
    class Wrong(FakeRenderer):
        def render(self, drive: Drive) -> Image:
            return cast("Image", wrong)

    target = plain_target((0, 0, 0))
    renderer = SteppedRenderer(lambda size: Wrong(), 128)
    renderer.prepare(target)
    with pytest.raises(PluginError, match="Wrong draws no picture"):
        renderer.render(landmark_drive(target.neutral))
