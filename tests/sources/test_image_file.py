"""Pictures from files: orientation, depth, transparency and damage."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reenact.errors import SourceError
from reenact.sources import image_file as pictures
from reenact.sources.image_file import read_cut_out, read_image
from support.clips import corners, four_colours, numbered_picture, png_claiming, write_png
from support.portraits import write_jpeg


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
    png = cv2.imencode(".png", numbered_picture(5))[1].tobytes()
    (tmp_path / "head.png").write_bytes(png[:30])
    for name, words in (
        ("missing.png", "no file"),
        ("empty.png", "is empty"),
        ("text.jpg", "not a picture"),
        ("head.png", "not a picture"),
        ("photo.heic", "HEIC"),
        (numbered_clip.name, "is a video"),
        (".", "is a folder"),
    ):
        with pytest.raises(SourceError, match=words) as caught:
            read_image(tmp_path / name)
        assert str(caught.value).endswith(".")
        assert "\n" not in str(caught.value)
