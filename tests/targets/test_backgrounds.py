"""The user's own pictures behind a target, read by name and from one folder only."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from reenact.config import OutputSettings
from reenact.errors import ConfigError, SourceError, TargetError
from reenact.live.backdrop import Backdrop
from reenact.live.settings import load_settings
from reenact.storage import write_png
from reenact.targets import backgrounds
from reenact.targets.backgrounds import (
    add_background,
    background_names,
    check_background,
    read_background,
    remove_background,
)
from support.portraits import smooth_picture, write_jpeg


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REENACT_DATA", str(tmp_path / "data"))
    made = tmp_path / "data" / "backgrounds"
    made.mkdir(parents=True)
    return made


def test_a_picture_covers_the_output_and_is_cut_evenly(folder: Path) -> None:
    stripes = np.zeros((200, 400, 3), np.uint8)
    stripes[:, :100], stripes[:, 300:] = 255, 255  # all that a square picture leaves out
    write_png(folder / "stripes.png", stripes)
    assert read_background("stripes", (100, 100)).max() == 0
    wide = read_background("stripes", (800, 100))
    assert wide.shape == (100, 800, 3)
    assert (wide[:, :190] == 255).all()
    assert (wide[:, 210:590] == 0).all()


def test_a_picture_on_its_side_is_turned_upright(folder: Path) -> None:
    lying = np.zeros((60, 80, 3), np.uint8)
    lying[:, :40] = 255
    write_jpeg(folder / "phone.jpg", lying, exif_orientation=6)
    upright = read_background("phone", (60, 80))
    assert upright[:30].mean() > 250
    assert upright[50:].mean() < 5


def test_names_are_those_of_pictures_that_a_setting_can_name(folder: Path) -> None:
    for name in ("beach.png", "My room.JPG", "blur.png", ".hidden.png", "a..b.png", "notes.txt"):
        (folder / name).write_bytes(b"")
    (folder / "album.png").mkdir()
    assert background_names() == ["My room", "beach"]


@pytest.mark.parametrize("name", ["x²", "½ garden", "Zoë", "Zoe\u0308", "हिन्दी", "漢字", "𐒠"])
def test_whatever_name_a_picture_may_have_is_a_value_of_the_setting(
    name: str, folder: Path
) -> None:
    write_png(folder / f"{name}.png", smooth_picture((40, 30)))
    (offered,) = background_names()
    for given in (name, offered):
        chosen = load_settings(None, [f"output.background='{given}'"]).output.background
        assert read_background(chosen, (20, 20)).shape == (20, 20, 3)


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/passwd", "a/b", "..", "C:\\x", "a.png", "con", ""]
)
def test_no_setting_names_a_file_elsewhere(path: str, folder: Path) -> None:
    write_png(folder.parent / "secret.png", smooth_picture((20, 20)))
    with pytest.raises(ConfigError, match=r"output\.background cannot be .* the name of a picture"):
        load_settings(None, [f"output.background='{path}'"])
    with pytest.raises(ConfigError, match="There is no background"):
        read_background(path, (20, 20))


def test_a_missing_picture_is_told_with_those_that_are_there(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"no background 'beech'.*there is none yet\.$"):
        check_background("beech")
    write_png(folder / "beach.png", smooth_picture((20, 20)))
    with pytest.raises(ConfigError, match=r"transparent, or the name .*there is beach\.$"):
        check_background("beech")
    check_background("beach")
    check_background("blur")


def test_a_picture_is_added_under_a_free_name(folder: Path, tmp_path: Path) -> None:
    photo = write_jpeg(tmp_path / "photo.jpg", smooth_picture((40, 30)))
    names = [add_background(name, photo) for name in ("beach", "beach", "blur")]
    assert names == ["beach", "beach 2", "blur 2"]
    assert background_names() == sorted(names)
    assert (folder / "beach 2.jpg").read_bytes() == photo.read_bytes()
    with pytest.raises(TargetError, match="background's name"):
        add_background("../beach", photo)


@pytest.mark.parametrize("file", ["photo.jfif", "photo.reenact-target", "photo.HEIC", "photo"])
def test_a_picture_of_any_suffix_is_kept_under_one_that_is_found(
    file: str, folder: Path, tmp_path: Path
) -> None:
    photo = write_jpeg(tmp_path / "photo.jpg", smooth_picture((40, 30))).rename(tmp_path / file)
    assert add_background("beach", photo) == "beach"
    assert background_names() == ["beach"]
    assert read_background("beach", (20, 20)).shape == (20, 20, 3)
    remove_background("beach")
    assert not list(folder.iterdir())


def test_what_is_no_picture_or_too_large_is_not_added(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(SourceError, match="not a picture"):
        add_background("text", tmp_path / "text.png")
    # A bitmap of 60,000 x 60,000 px, of which there is only the header.
    header = b"BM" + struct.pack("<IIIIiiHHIIIIII", 54, 0, 54, 40, 60000, 60000, 1, 24, *[0] * 6)
    (tmp_path / "bomb.bmp").write_bytes(header)
    with pytest.raises(SourceError, match="million pixels"):
        add_background("bomb", tmp_path / "bomb.bmp")
    monkeypatch.setattr(backgrounds, "MAX_BYTES", 1 << 10)
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    write_png(folder / "large.png", noise)
    with pytest.raises(SourceError, match=r"large\.png is larger"):
        read_background("large", (10, 10))
    assert background_names() == ["large"]


def test_a_picture_is_read_once_and_the_one_before_stays_until_the_setting_changes(
    folder: Path,
) -> None:
    for name, level in (("dark", 20), ("light", 220)):
        write_png(folder / f"{name}.png", np.full((30, 40, 3), level, np.uint8))
    nobody = np.zeros((60, 80), np.uint8)
    backdrop = Backdrop(smooth_picture((80, 60)), nobody, nobody[:60, :60])
    backdrop.open("dark")
    (folder / "dark.png").unlink()
    backdrop.open("light")
    for name, level in (("dark", 20), ("light", 220)):
        picture, alpha = backdrop.lay(
            smooth_picture((80, 60)), nobody, OutputSettings(background=name)
        )
        assert alpha is None
        assert np.abs(picture.astype(int) - level).max() <= 1


def test_a_picture_is_deleted_by_its_name_alone(folder: Path) -> None:
    (folder / "beach.png").write_bytes(b"")
    (folder.parent / "secret.png").write_bytes(b"")
    for name in ("keep", "../secret", "beach.png", "nothing"):
        with pytest.raises(ConfigError, match="no picture"):
            remove_background(name)
    remove_background("beach")
    assert background_names() == []
    assert (folder.parent / "secret.png").exists()
