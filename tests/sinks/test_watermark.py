"""The watermark: what it changes, and what it outlasts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from reenact.cli.main import main
from reenact.sinks.video_file import FileSink
from reenact.sinks.watermark import CERTAIN, watermark_score, watermarked
from reenact.types import Array, Frame, Image
from support.clips import write_clip
from support.fakes import MAX_MARK
from support.portraits import astronaut, on_canvas
from support.recordings import read


def swaying(count: int = 25) -> list[Image]:
    """Return pictures of the astronaut, who sways."""
    return [np.roll(astronaut(), round(8 * np.sin(index / 4)), axis=1) for index in range(count)]


def marked(pictures: Sequence[Image]) -> list[Image]:
    return [watermarked(picture) for picture in pictures]


def compressed(pictures: Sequence[Image], folder: Path, crf: int) -> list[Image]:
    """Return what an H.264 file of a quality shows."""
    with FileSink(folder / "compressed.mp4", crf) as sink:
        height, width = pictures[0].shape[:2]
        sink.open((width, height), 25.0)
        for index, picture in enumerate(pictures):
            sink.write(Frame(picture, index / 25, index))
    return read(folder / "compressed.mp4")[1]


def resized(picture: Image, *size: int) -> Image:
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


@pytest.mark.parametrize("size", [(512, 512), (1280, 720), (361, 643), (64, 48)])
def test_only_blue_changes_and_only_a_little(size: tuple[int, int]) -> None:
    picture = resized(astronaut(), *size)
    change = watermarked(picture).astype(int) - picture
    assert not change[..., :2].any()
    assert np.abs(change).max() <= MAX_MARK
    assert change.any()
    for level, most in ((128, 3), (30, 2)):  # it is seen first on a wall, and in the dark
        wall = np.full((*size[::-1], 3), level, np.uint8)
        assert np.abs(watermarked(wall).astype(int) - wall).max() <= most


def test_it_is_found_in_one_picture_and_in_no_other() -> None:
    assert watermark_score([watermarked(astronaut())]) > CERTAIN + 3
    assert watermark_score([astronaut()]) < CERTAIN - 0.5
    assert watermark_score([np.full((300, 400, 3), 90, np.uint8)]) < CERTAIN


def test_it_is_found_after_a_call_has_scaled_and_compressed_the_pictures(tmp_path: Path) -> None:
    for pictures, found in ((marked(swaying()), True), (swaying(), False)):
        seen = compressed([resized(one, 360, 360) for one in pictures], tmp_path, crf=26)
        assert (watermark_score(seen) >= CERTAIN) is found


def test_it_is_found_in_a_part_a_scene_and_a_mirror_image() -> None:
    pictures = marked(swaying(5))
    assert watermark_score([one[60:460, 80:480] for one in pictures]) > CERTAIN
    assert watermark_score([one[:, ::-1] for one in pictures]) > CERTAIN
    scenes = [on_canvas(resized(one, 432, 432), (1280, 720), (700, 200)) for one in pictures]
    assert watermark_score(scenes) > CERTAIN


def test_of_extremely_long_pictures_a_part_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watermark_score([np.zeros((2, 8192, 3), np.uint8)]) == 0
    searched = []

    def peak(blueness: Array, _: float) -> float:
        searched.append(blueness.shape)
        return 5.0

    monkeypatch.setattr("reenact.sinks.watermark._peak", peak)
    assert watermark_score([np.zeros((40, 4000, 3), np.uint8)]) == 5
    assert set(searched) == {(40, 320)}


def test_without_a_picture_there_is_no_score() -> None:
    with pytest.raises(ValueError, match="no picture"):
        watermark_score([])


def test_the_command_finds_it_in_what_a_run_writes_and_not_in_what_it_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_clip(tmp_path / "actor.mp4", frames=12, fps=25, picture=lambda i: swaying()[i])
    out = tmp_path / "out.mp4"
    typed = ["live", "--source", f"video:{clip}", "--target", "astronaut", "--sink", f"file:{out}"]
    assert main([*typed, "--set", "renderer.name=warp"]) == 0
    capsys.readouterr()
    assert main(["verify", str(out)]) == 0
    assert "out.mp4 has the watermark of reenact" in capsys.readouterr().out
    assert main(["verify", str(clip)]) == 1
    assert "That is no proof that the face is real" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "told"), [(None, "There is no file"), (b"words", "is not a video")]
)
def test_what_cannot_be_verified_is_a_mistake(
    content: bytes | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "file.mp4"
    if content is not None:
        path.write_bytes(content)
    assert main(["verify", str(path)]) == 2
    assert told in capsys.readouterr().err
