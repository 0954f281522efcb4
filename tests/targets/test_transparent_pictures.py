"""A drawing with a transparent background is cut out by its own alpha."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from reenact.config import OutputSettings, Settings
from reenact.errors import TargetError
from reenact.face.geometry import estimate_pose, rotation_matrix, to_face_frame, to_image
from reenact.imaging import on_white
from reenact.live.drives import landmark_drive, resting_drive
from reenact.live.load import drawn_target, open_renderer
from reenact.live.prepared_target import PreparedTarget, prepare_target
from reenact.rendering.warp_unet import WarpUNetRenderer
from reenact.targets.builder import create_target, resize_target
from reenact.targets.store import TargetStore
from reenact.types import Array, Target, Tracker
from support.drawings import BRIGHTEST, SIZE, character_landmarks, drawn_character, write_rgba
from support.faces import portrait, portrait_landmarks
from support.targets import same_target

COLOUR = (16, 32, 96)
HEX = "#102060"


@pytest.fixture(scope="module")
def character(tmp_path_factory: pytest.TempPathFactory, tracker: Tracker) -> Target:
    path = write_rgba(tmp_path_factory.mktemp("drawing") / "kid.png", drawn_character())
    return create_target("kid", [path], tracker, landmarks=character_landmarks())


@pytest.fixture(scope="module")
def prepared(character: Target) -> PreparedTarget:
    settings = Settings()
    settings.renderer.name = "warp_unet"
    target = drawn_target(character, "warp_unet", 256)
    renderer = open_renderer(settings.renderer)
    rest = resting_drive(target.neutral)
    return prepare_target(target, "warp_unet", renderer, rest, settings.output)


def shown(
    prepared: PreparedTarget, background: str, face: Array | None = None, picture: str = "plate"
) -> tuple[Array, Array | None]:
    """Return the output for a driven face, (H, W, 3), and its alpha, (H, W)."""
    output = OutputSettings.model_validate(
        {"background": background, "background_colour": HEX, "picture": picture}
    )
    prepared = replace(prepared, backdrop=None)
    prepared.open_backdrop(output)
    drive = None if face is None else landmark_drive(face)
    crop = prepared.rest_crop if drive is None else prepared.renderer.render(drive)
    image, alpha = prepared.picture(crop, drive, None, output)
    return image.astype(np.float32), None if alpha is None else alpha.astype(np.float32)


def turned(points: Array, degrees: float, shift_px: float) -> Array:
    """Return a face turned aside, tilted and moved."""
    pose = estimate_pose(points)
    turn = rotation_matrix(np.radians(np.array([0, degrees, degrees / 2], np.float32)))
    moved = pose.translation + np.array([shift_px, 0, 0], np.float32)
    shape = to_face_frame(points, pose)
    return to_image(shape, replace(pose, rotation=turn @ pose.rotation, translation=moved))


def test_the_alpha_of_a_drawing_becomes_the_targets(character: Target) -> None:
    rgba = drawn_character()
    np.testing.assert_array_equal(character.plate, on_white(rgba))
    assert character.alphas is not None
    assert character.plate_alpha is not None
    np.testing.assert_array_equal(character.plate_alpha, rgba[..., 3])
    assert character.alphas.shape == character.references.shape[:3]
    clear = character.alphas[0] == 0
    assert (character.references[0][clear] > 250).all()
    smaller = resize_target(character, 128)
    assert smaller.alphas is not None
    assert smaller.alphas.shape == (1, 128, 128)


def test_a_stored_target_keeps_its_alpha_and_earlier_versions_see_it_on_white(
    character: Target, tmp_path: Path
) -> None:
    store = TargetStore(tmp_path / "targets")
    store.create(character)
    assert same_target(store.load("kid"), character)
    np.testing.assert_array_equal(store.picture("kid"), character.references[0])
    store.export_file("kid", tmp_path)
    store.import_file(tmp_path / "kid.reenact-target", "copy")
    assert same_target(store.load("copy"), character)
    for name, picture in (("plate", character.plate), ("reference_0", character.references[0])):
        seen = cv2.imread(str(store.folder_of("kid") / f"{name}.png"), cv2.IMREAD_COLOR)
        assert seen is not None
        np.testing.assert_array_equal(seen[..., ::-1], picture)


@pytest.mark.parametrize("picture", ["plate", "crop"])
def test_a_drawing_at_rest_is_laid_on_a_colour_as_by_an_editor(
    prepared: PreparedTarget, picture: str
) -> None:
    rgba = drawn_character().astype(np.float32)
    share = rgba[..., 3:] / 255
    wanted = share * rgba[..., :3] + (1 - share) * np.array(COLOUR, np.float32)
    image, alpha = shown(prepared, "colour", picture=picture)
    assert alpha is None
    if picture == "plate":
        assert image.shape == (SIZE[1], SIZE[0], 3)
        # The network redraws the face a little.
        assert np.abs(image - wanted).mean() < 1.5
    edge = (share[..., 0] > 0.02) & (share[..., 0] < 0.98)
    if picture == "plate":
        assert np.abs(image - wanted)[edge].mean() < 4
    assert image.max() < BRIGHTEST + 25
    np.testing.assert_array_equal(image[2, 2], COLOUR)


@pytest.mark.parametrize("degrees", [-14.0, 14.0])
def test_a_moved_drawing_has_no_fringe_and_its_alpha_goes_along(
    prepared: PreparedTarget, degrees: float
) -> None:
    face = turned(prepared.target.neutral, degrees, degrees)
    image, _ = shown(prepared, "colour", face)
    assert image.max() < BRIGHTEST + 40
    person, alpha = shown(prepared, "transparent", face)
    assert alpha is not None
    mixed = alpha[..., None] / 255 * person + (1 - alpha[..., None] / 255) * COLOUR
    assert np.abs(mixed - image).max() < 3
    rest = shown(prepared, "transparent")[1]
    assert rest is not None
    row = slice(150, 250)
    middle = [float(np.nonzero(one[row] > 127)[1].mean()) for one in (rest, alpha)]
    assert (middle[1] - middle[0]) * np.sign(degrees) > 3
    blurred, _ = shown(prepared, "blur", face)
    assert (blurred[alpha == 0] == 255).all()  # what is blurred is the white


def framed(shape: str) -> NDArray[np.uint8]:
    """Return the portrait with an alpha that is no outline of a person."""
    rgb = portrait()
    height, width = rgb.shape[:2]
    alpha: NDArray[Any] = np.zeros((height, width), np.uint8)
    if shape == "disc":
        cv2.circle(alpha, (224, 116), 110, (255,), -1)
    elif shape == "round corners":
        alpha = cv2.copyMakeBorder(
            np.full((height - 60, width - 60), 255, np.uint8), 30, 30, 30, 30, cv2.BORDER_CONSTANT
        )
        alpha = cv2.dilate(alpha, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (61, 61)))
    elif shape == "beside the face":
        alpha[300:] = 255
        alpha[:, :60] = 255
    else:
        alpha[:] = 255
    return np.dstack([rgb, alpha])


@pytest.mark.parametrize("shape", ["disc", "round corners", "beside the face", "opaque"])
def test_an_alpha_that_is_no_outline_is_not_used(
    tmp_path: Path, tracker: Tracker, shape: str
) -> None:
    path = write_rgba(tmp_path / "photo.png", framed(shape))
    target = create_target("x", [path], tracker, landmarks=portrait_landmarks().points)
    assert target.alphas is None
    assert target.plate_alpha is None


def cut_out_portrait() -> NDArray[np.uint8]:
    """Return the portrait with a rough outline of its own."""
    rgb = portrait()
    alpha = np.zeros(rgb.shape[:2], np.uint8)
    for middle, axes in (((224, 120), (85, 110)), ((224, 420), (150, 220))):
        cv2.ellipse(alpha, middle, axes, 0, 0, 360, (255,), -1)
    return np.dstack([rgb, cv2.GaussianBlur(alpha, (0, 0), 2)])


def test_each_of_several_pictures_keeps_its_own_alpha(
    tmp_path: Path, tracker: Tracker, caplog: pytest.LogCaptureFixture
) -> None:
    first = cut_out_portrait()
    second = np.ascontiguousarray(np.roll(first, 20, axis=1)[:, ::-1])
    paths = [
        write_rgba(tmp_path / f"{number}.png", rgba) for number, rgba in enumerate((first, second))
    ]
    target = create_target("x", paths, tracker)
    assert target.alphas is not None
    assert target.alphas.shape == target.references.shape[:3]
    renderer = WarpUNetRenderer(Settings().renderer)
    renderer.prepare(target)
    renderer.render(landmark_drive(target.landmarks[1]))
    moved = renderer.cut_out(target.alphas[0]).astype(int)
    expected = target.alphas[1].astype(int)
    assert np.abs(moved - expected).mean() < 4 < np.abs(target.alphas[0] - expected).mean()
    opaque = write_rgba(tmp_path / "opaque.png", framed("opaque"))
    caplog.set_level(logging.WARNING, "reenact")
    mixed = create_target("y", [paths[0], opaque], tracker)
    assert mixed.alphas is None
    assert "Not all pictures of y have a transparent background" in caplog.text


def test_a_drawing_without_alpha_names_the_way_out(tmp_path: Path, tracker: Tracker) -> None:
    flat = on_white(drawn_character())
    path = write_rgba(tmp_path / "flat.png", np.dstack([flat, np.full_like(flat[..., 0], 255)]))
    target = create_target("flat", [path], tracker, landmarks=character_landmarks())
    target = drawn_target(target, "warp", 256)
    settings = Settings()
    settings.renderer.name = "warp"
    prepared = prepare_target(
        target,
        "warp",
        open_renderer(settings.renderer),
        resting_drive(target.neutral),
        settings.output,
    )
    with pytest.raises(TargetError, match=r"flat.*PNG whose background is transparent"):
        shown(prepared, "colour")
