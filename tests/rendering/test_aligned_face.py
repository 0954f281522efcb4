"""What a network draws of an aligned face moves the photo's own pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.config import RendererSettings, Section
from reenact.face.geometry import region_mask
from reenact.face.topology import LIPS_OUTER, OVAL
from reenact.rendering.aligned_face import AlignedRenderer, to_frame
from reenact.testing.portrait import drive, portrait_target
from reenact.types import Array, Drive, Image, Target

SIZE_PX = 64
TARGET = portrait_target(256)
FACE = region_mask(TARGET.landmarks[0], OVAL, 256) > 0
LIPS = cv2.dilate(region_mask(TARGET.landmarks[0], LIPS_OUTER, 256), np.ones((31, 31))) > 0

Network = Callable[[Array], Array]
"""Maps a face (S, S, 3) in -1..1 to the drawn one."""


class Engine:
    """Stands in for the engine that runs a network."""

    def __init__(self, network: Network) -> None:
        self._network = network

    def hold(self, name: str, value: Array) -> None:
        assert name == "picture"
        self._face = value[0].transpose(1, 2, 0)

    def __call__(self, inputs: dict[str, Array]) -> tuple[Array]:
        assert set(inputs) == {"condition"}
        return (np.ascontiguousarray(self._network(self._face).transpose(2, 0, 1))[None],)


class EverLower:
    """Draws the face lower each time that it is asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, face: Array) -> Array:
        self.calls += 1
        return lowered(face, self.calls)


class FakeRenderer(AlignedRenderer):
    """Draws by a function in place of a network with weights."""

    def __init__(self, network: Network) -> None:
        super().__init__(RendererSettings(), Section(), name="fake", build="", recipe="")
        self._network = network

    def load(self, target: Target) -> None:
        self._size, self.header = SIZE_PX, {}
        self._engine = Engine(self._network)  # type: ignore[assignment]

    def strength(self, drive: Drive) -> float:
        return drive.intensity

    def condition(self, drive: Drive) -> Array:
        return drive.emotion[None]


def draw(network: Network) -> Image:
    """Return the portrait as a renderer with such a network draws it."""
    return prepared(network).render(at_strength(1.0))


def prepared(network: Network) -> FakeRenderer:
    renderer = FakeRenderer(network)
    renderer.prepare(TARGET)
    return renderer


def at_strength(strength: float, neutral: float = 1.0) -> Drive:
    emotion = np.array([neutral] + [0.0] * 7, np.float32)
    return replace(drive(TARGET.neutral), intensity=strength, emotion=emotion)


def lowered(picture: NDArray[Any], px: float) -> Array:
    shift = np.array([[1, 0, 0], [0, 1, px]], np.float32)
    return cv2.warpAffine(
        picture, shift, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE
    ).astype(np.float32)


def psnr(one: NDArray[Any], other: NDArray[Any], where: NDArray[np.bool_]) -> float:
    error = np.square(one.astype(np.float32) - other.astype(np.float32))[where].mean()
    return float(10 * np.log10(255**2 / error))


def test_a_face_that_is_drawn_lower_is_the_photo_moved() -> None:
    photo = TARGET.references[0]
    lower_px = 1.5
    drawn = draw(lambda face: lowered(cv2.GaussianBlur(face, (0, 0), 0.7), lower_px))
    affine = to_frame(TARGET.landmarks[0], SIZE_PX)
    truth = lowered(photo, lower_px / float(np.hypot(affine[0, 0], affine[1, 0])))
    middle = FACE & ~LIPS
    middle[:90], middle[170:] = False, False
    # A difference that is added to the photo leaves both faces visible: 5 dB.
    assert psnr(drawn, truth, middle) > psnr(photo, truth, middle) + 10


def test_colours_that_a_network_misses_do_not_show_beside_the_mouth() -> None:
    drawn = draw(lambda face: face - 0.1)  # 13 levels
    changed = cv2.absdiff(drawn, TARGET.references[0]).max(axis=2)
    assert changed[FACE & ~LIPS].mean() < 1


def test_a_mouth_that_a_network_opens_is_added_to_the_photo() -> None:
    def opened(face: Array) -> Array:
        canvas = face.copy()
        cv2.ellipse(canvas, (32, 42), (6, 4), 0, 0, 360, (-1.0, -1.0, -1.0), -1)
        return canvas

    drawn = draw(opened)
    darker = TARGET.references[0].astype(int).mean(axis=2) - drawn.astype(int).mean(axis=2)
    lips = region_mask(TARGET.landmarks[0], LIPS_OUTER, 256) > 0
    assert darker[lips].mean() > 15
    assert np.abs(darker[FACE & ~LIPS]).mean() < 3


def test_what_a_network_does_not_change_stays_to_the_last_bit() -> None:
    assert np.array_equal(draw(lambda face: face), TARGET.references[0])


def test_the_photo_moves_evenly_while_the_strength_rises() -> None:
    def opened(face: Array) -> Array:
        face = lowered(cv2.GaussianBlur(face, (0, 0), 0.7), 1.5)
        cv2.ellipse(face, (32, 44), (6, 4), 0, 0, 360, (-1.0, -1.0, -1.0), -1)
        return face

    renderer = prepared(opened)
    strengths = np.linspace(0.05, 1, 20).tolist()
    drawn = [renderer.render(at_strength(one)).astype(np.float32) for one in strengths]
    steps = [float(np.abs(one - other).mean()) for one, other in pairwise(drawn)]
    assert max(steps) < 1.5 * float(np.mean(steps))


def test_frames_of_one_condition_are_drawn_from_one_call_of_the_network() -> None:
    calls = 0

    def lower(face: Array) -> Array:
        nonlocal calls
        calls += 1
        return lowered(face, 1.5)

    drives = [at_strength(one) for one in (0.3, 1.0, 1.0, 0.0, 0.6)]
    renderer = prepared(lower)
    pictures = [renderer.render(one) for one in drives]
    assert calls == 1
    for one, picture in zip(drives, pictures, strict=True):
        assert np.array_equal(picture, prepared(lower).render(one))


def test_a_network_is_asked_again_if_its_condition_changes_however_little() -> None:
    network = EverLower()
    renderer = prepared(network)
    nearly = float(np.nextafter(np.float32(1), np.float32(0)))
    pictures = [renderer.render(at_strength(1.0, neutral)) for neutral in (1.0, nearly, 1.0)]
    assert network.calls == 3
    assert not any(np.array_equal(one, other) for one, other in pairwise(pictures))


def test_a_condition_that_is_written_over_counts_as_changed() -> None:
    network = EverLower()
    renderer = prepared(network)
    wanted = at_strength(1.0)
    renderer.render(wanted)
    wanted.emotion[0] = 0.5
    renderer.render(wanted)
    assert network.calls == 2


def test_a_network_is_asked_again_after_a_reset_and_for_another_target() -> None:
    network = EverLower()
    renderer = prepared(network)
    wanted = at_strength(1.0)
    renderer.render(wanted)
    renderer.reset()
    renderer.render(wanted)
    assert network.calls == 2
    darker = replace(TARGET, references=(TARGET.references // 2).astype(np.uint8))
    renderer.prepare(darker)
    drawn = renderer.render(wanted)
    assert network.calls == 3
    other = FakeRenderer(lambda face: lowered(face, 3))
    other.prepare(darker)
    assert np.array_equal(drawn, other.render(wanted))
