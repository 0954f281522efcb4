"""Pictures from files: orientation, depth, transparency and damage."""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageCms

from reenact.errors import SourceError
from reenact.sources import image_file as pictures
from reenact.sources.image_file import read_cut_out, read_image
from support.clips import corners, four_colours, numbered_picture, png_claiming, write_png
from support.heic import write_heic
from support.portraits import write_jpeg

P3_PRIMARIES = {
    b"rXYZ": (0.51512, 0.24120, -0.00105),
    b"gXYZ": (0.29198, 0.69225, 0.04189),
    b"bXYZ": (0.15710, 0.06657, 0.78407),
}
"""X, Y and Z of the primaries of Display P3 by their tags in a profile, adapted to D50."""


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (1, ["red", "green", "blue", "white"]),
        (2, ["green", "red", "white", "blue"]),
        (3, ["white", "blue", "green", "red"]),
        (6, ["blue", "red", "white", "green"]),
        (8, ["green", "white", "red", "blue"]),
    ],
)
def test_exif_orientation(tmp_path: Path, orientation: int, expected: list[str]) -> None:
    image = read_image(write_jpeg(tmp_path / "photo.jpg", four_colours(), orientation))
    assert corners(image) == expected
    assert image.shape == ((160, 120, 3) if orientation > 4 else (120, 160, 3))


@pytest.mark.parametrize("ending", ["png", "webp"])
def test_a_picture_with_damaged_exif_data_is_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"photo.{ending}"
    PIL.Image.fromarray(four_colours()).save(path, exif=b"no TIFF at all", lossless=True)
    assert corners(read_image(path)) == ["red", "green", "blue", "white"]


def test_cut_exif_data_are_no_matter_of_the_users(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    PIL.Image.fromarray(four_colours()).save(path, exif=b"II*\0\x08\0\0\0\x05\0")
    words = [sys.executable, "-c", f"from {pictures.__name__} import *; read_image({str(path)!r})"]
    assert subprocess.run(words, capture_output=True, check=True).stderr == b""


def test_grey_16_bit_alpha_and_palette(tmp_path: Path) -> None:
    grey = write_png(tmp_path / "grey.png", np.full((4, 6), 77, np.uint8))
    assert read_image(grey).tolist() == [[[77, 77, 77]] * 6] * 4
    deep = write_png(tmp_path / "deep.png", np.array([[[65535, 0, 32896]]], np.uint16))
    assert read_image(deep).tolist() == [[[128, 0, 255]]]
    deep_grey = write_png(tmp_path / "deep_grey.png", np.array([[0, 257, 65535]], np.uint16))
    assert read_image(deep_grey)[0, :, 0].tolist() == [0, 1, 255]
    bgra = np.array([[[0, 0, 200, 255], [0, 0, 200, 0], [0, 0, 200, 128]]], np.uint8)
    mixed = read_image(write_png(tmp_path / "alpha.png", bgra))
    assert mixed.tolist() == [[[200, 0, 0], [255, 255, 255], [227, 127, 127]]]
    assert mixed.flags.c_contiguous
    cut_out = read_cut_out(tmp_path / "alpha.png")
    np.testing.assert_array_equal(cut_out.image, mixed)
    assert cut_out.alpha is not None
    assert cut_out.alpha.tolist() == [[255, 0, 128]]
    assert read_cut_out(write_png(tmp_path / "all.png", bgra[:, :1])).alpha is None
    assert read_cut_out(deep).alpha is None
    palette = PIL.Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 90, 90, 90])
    palette.save(tmp_path / "palette.png", transparency=1)
    assert read_image(tmp_path / "palette.png").tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize("size", [(160, 120), (64, 64)])
@pytest.mark.parametrize(
    ("turns", "mirror", "expected"),
    [
        (0, None, ["red", "green", "blue", "white"]),
        (1, None, ["green", "white", "red", "blue"]),
        (3, None, ["blue", "red", "white", "green"]),
        (0, 0, ["blue", "white", "red", "green"]),
        (1, 1, ["white", "green", "blue", "red"]),
    ],
)
def test_heic_is_whole_and_upright(
    tmp_path: Path, size: tuple[int, int], turns: int, mirror: int | None, expected: list[str]
) -> None:
    path = tmp_path / "IMG_0001.HEIC"
    image = read_image(write_heic(path, four_colours(size), turns=turns, mirror=mirror))
    assert corners(image) == expected
    assert image.shape == (*(size if turns else size[::-1]), 3)


def test_heic_of_an_iphone_becomes_srgb(tmp_path: Path) -> None:
    stored = np.full((100, 70, 3), (234, 51, 35), np.uint8)  # the red of sRGB in Display P3
    path = write_heic(tmp_path / "red.heic", stored, profile=display_p3())
    assert np.abs(read_image(path).astype(int) - (255, 0, 0)).max() <= 6


def test_too_large_and_damaged_heic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_heic(tmp_path / "photo.heic", four_colours())
    data = path.read_bytes()
    for cut in range(0, len(data), 97):
        path.write_bytes(data[:cut] + bytes(8) + data[cut + 8 :])
        with contextlib.suppress(SourceError):
            assert read_image(path).dtype == np.uint8
    for cut in range(16, len(data) // 2, 97):  # the last tiles alone may be missing
        path.write_bytes(data[:cut])
        with pytest.raises(SourceError, match=r"HEIC picture .*; save it as JPEG or PNG first\.$"):
            read_image(path)
    path.write_bytes(data)
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 160 * 120 // 2 - 1)
    with pytest.raises(SourceError, match="scale it down"):
        read_image(path)


def display_p3() -> bytes:
    """Return the profile of Display P3: that of sRGB with other primaries."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (count,) = struct.unpack_from(">I", profile, 128)
    data = bytearray(profile)
    for number in range(count):
        tag, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * number)
        if tag in P3_PRIMARIES:
            fixed = [round(value * 65536) for value in P3_PRIMARIES[tag]]
            struct.pack_into(">3i", data, offset + 8, *fixed)
    return bytes(data)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "key"])
def test_colours_with_a_profile_become_srgb(mode: str, tmp_path: Path) -> None:
    """The red and green of sRGB, and a grey, are stored as they are in Display P3."""
    stored = np.array([[[234, 51, 35], [117, 251, 76], [128, 128, 128]]], np.uint8)
    srgb = [[255, 0, 0], [0, 255, 0], [128, 128, 128]]
    picture, key = PIL.Image.fromarray(stored), None
    if mode == "RGBA":
        picture.putalpha(PIL.Image.fromarray(np.array([[255, 128, 0]], np.uint8)))
        srgb[1:] = [[127, 255, 127], [255, 255, 255]]
    elif mode == "key":
        key, srgb[2] = (128, 128, 128), [255, 255, 255]
    picture.save(tmp_path / "p3.png", icc_profile=display_p3(), transparency=key)
    found, alpha = read_cut_out(tmp_path / "p3.png")
    assert np.abs(found[0].astype(int) - srgb).max() <= 3
    given = {"RGB": None, "RGBA": [[255, 128, 0]], "key": [[255, 255, 0]]}[mode]
    assert (None if alpha is None else alpha.tolist()) == given


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P", "I;16"])
def test_a_profile_that_does_not_fit_changes_nothing(mode: str, tmp_path: Path) -> None:
    levels = np.array([[0, 60, 234]], np.uint16 if mode == "I;16" else np.uint8)
    picture = PIL.Image.fromarray(levels)
    picture = picture if mode == "I;16" else picture.convert("RGB").convert(mode)
    profile = display_p3()[:300] if mode == "RGB" else display_p3()
    picture.save(tmp_path / "plain.tif")
    picture.save(tmp_path / "tagged.tif", icc_profile=profile)
    plain, tagged = (read_image(tmp_path / f"{name}.tif") for name in ("plain", "tagged"))
    np.testing.assert_array_equal(tagged, plain)


@pytest.mark.parametrize(
    "ending", ["jpg", "png", "bmp", "webp", "tiff", "gif", "ppm", "avif", "jp2"]
)
def test_usual_formats(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"picture.{ending}"
    PIL.Image.fromarray(four_colours()).save(path)
    assert corners(read_image(path)) == ["red", "green", "blue", "white"]


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "avif"])
def test_first_frame_on_white(tmp_path: Path, ending: str) -> None:
    frames = [PIL.Image.new("RGBA", (32, 16), (0, 0, level, 255)) for level in (0, 255)]
    frames[0].paste((0, 0, 0, 0), (0, 0, 16, 16))
    path = tmp_path / f"moving.{ending}"
    animated = ending != "webp"  # Pillow writes those without alpha
    frames[0].save(path, save_all=animated, append_images=frames[1:], duration=100)
    image = read_image(path)
    assert image.shape == (16, 32, 3)
    assert image[8, 4].min() > 240
    assert image[8, 28].max() < 15


@pytest.mark.parametrize("size", [(50_000, 50_000), (2_147_483_647, 1)])
def test_too_many_pixels_are_refused_before_any_is_decoded(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_claiming(*size))
    tracemalloc.start()
    with pytest.raises(SourceError, match="scale it down"):
        read_image(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@settings(max_examples=60, deadline=None)
@given(
    ending=st.sampled_from(["jpg", "png", "webp", "tiff", "gif", "avif", "bmp"]),
    cut=st.floats(0, 1),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=8),
)
def test_damage_gives_a_picture_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory,
    ending: str,
    cut: float,
    changes: list[tuple[float, int]],
) -> None:
    path = tmp_path_factory.getbasetemp() / f"damaged.{ending}"
    PIL.Image.fromarray(four_colours((32, 24))).save(path)
    data = bytearray(path.read_bytes())
    for place, value in changes:
        data[int(place * len(data))] = value
    path.write_bytes(data[: 1 + int(cut * len(data))])
    try:
        image = read_image(path)
    except SourceError as error:
        message = str(error)
    else:
        message = f"{path.name} is a picture."
        assert image.dtype == np.uint8
        assert image.shape[2] == 3
    assert message.startswith(path.name)
    assert message.endswith(".")
    assert "\n" not in message


def test_tiny_and_huge(tmp_path: Path) -> None:
    dot = write_png(tmp_path / "dot.png", np.zeros((1, 1, 3), np.uint8))
    assert read_image(dot).shape == (1, 1, 3)
    strip = write_png(tmp_path / "strip.png", np.full((10, 9000, 3), 50, np.uint8))
    assert read_image(strip).shape == (9, pictures.MAX_SIDE_PX, 3)


def test_name_beyond_ascii(tmp_path: Path) -> None:
    path = write_png(tmp_path / "gesicht äöü 顔.png", np.full((2, 2, 3), 9, np.uint8))
    assert read_image(path)[0, 0].tolist() == [9, 9, 9]


def test_bad_pictures_are_explained_in_one_sentence(tmp_path: Path, numbered_clip: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("no picture\n" * 10)
    (tmp_path / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    # A raw picture is a TIFF file with a small preview.
    PIL.Image.fromarray(four_colours((16, 12))).save(tmp_path / "photo.dng", "TIFF")
    png = cv2.imencode(".png", numbered_picture(5))[1].tobytes()
    (tmp_path / "head.png").write_bytes(png[:30])
    for name, words in (
        ("missing.png", "no file"),
        ("empty.png", "is empty"),
        ("text.jpg", "not a picture"),
        ("head.png", "not a picture"),
        ("photo.heic", "HEIC"),
        ("photo.dng", "raw picture; export it as JPEG"),
        (numbered_clip.name, "is a video"),
        (".", "is a folder"),
    ):
        with pytest.raises(SourceError, match=words) as caught:
            read_image(tmp_path / name)
        assert str(caught.value).endswith(".")
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other pipes")
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "photo.jpg")
    with pytest.raises(SourceError, match="is a pipe or a device; name a file"):
        read_image(tmp_path / "photo.jpg")
