"""Files with an alpha channel: decoded again, with the decoders of the programs that read them."""

from __future__ import annotations

import base64
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from reenact.errors import SinkError
from reenact.sinks.fanout import SinkSet
from reenact.sinks.video_file import TAGS, FileSink
from reenact.sources.video_file import VideoSource
from reenact.types import Frame
from support.clips import four_colours, number_of, numbered_picture, write_talk
from support.obs.browser import program
from support.recordings import read, read_with_alpha

ALPHA = (".webm", ".mov")
OPAQUE = (".mp4", ".m4v", ".mkv")
SIZE = (160, 120)


def cut_out(size: tuple[int, int] = SIZE, edge: float = 0.0) -> NDArray[np.uint8]:
    """Return an alpha channel: 0 at the left, a ramp over the middle half, 255 at the right."""
    across = np.clip(np.linspace(-0.5, 1.5, size[0]) + edge, 0, 1)
    row = np.round(255 * across).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(row, (size[1], size[0])))


def write_all(path: Path, frames: list[Frame], crf: int = 18) -> None:
    with FileSink(path, crf) as sink:
        sink.open(frames[0].size, 25.0)
        for frame in frames:
            sink.write(frame)


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.int_]:
    return np.asarray(np.abs(one.astype(int) - other))


@pytest.mark.parametrize("ending", ALPHA)
def test_alpha_and_colours_come_back_with_their_times(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{ending}"
    alphas = [cut_out(edge=0.02 * index) for index in range(12)]
    times = [0.0, *np.cumsum([0.04] * 6 + [0.1] * 5).tolist()]
    image = four_colours()
    frames = [
        Frame(image, 100 + time, index, alpha)
        for index, (time, alpha) in enumerate(zip(times, alphas, strict=True))
    ]
    write_all(path, frames)
    read_times, pictures = read_with_alpha(path)
    assert read_times == pytest.approx(times, abs=1e-3)
    for picture, alpha in zip(pictures, alphas, strict=True):
        assert difference(picture[..., 3], alpha).max() <= 6
        assert difference(picture[..., 3], alpha).mean() <= 1
        # The colours are straight: below full alpha they are those of the picture as well.
        for y, x in ((30, 20), (30, 120), (90, 20), (90, 120)):
            assert difference(picture[y, x, :3], image[y, x]).max() <= 4


@pytest.mark.parametrize(
    ("ending", "codec", "pixels"),
    [(".webm", "vp9", "yuv420p"), (".mov", "prores", "yuva444p12le")],
)
def test_players_and_editors_are_told_of_the_alpha_channel(
    ending: str, codec: str, pixels: str, tmp_path: Path
) -> None:
    path = tmp_path / f"out{ending}"
    write_all(path, [Frame(four_colours(), 0.0, 0, cut_out())])
    with av.open(str(path)) as container:
        (stream,) = container.streams
        context = stream.codec_context
        assert (context.name, context.pix_fmt) == (codec, pixels)  # type: ignore[attr-defined]
        if ending == ".webm":
            assert b"\x53\xc0\x81\x01" in path.read_bytes()  # the track's AlphaMode is 1
        else:
            assert context.codec_tag == "ap4h"  # ProRes 4444
        found = {key.lower(): value for key, value in container.metadata.items()}
        assert {key: found.get(key) for key in TAGS} == dict(TAGS)
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range) == (1, 1)


@pytest.mark.parametrize("ending", ALPHA)
def test_pictures_without_alpha_are_opaque_in_such_a_file(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{ending}"
    image = four_colours()
    tall = np.full((240, 160, 3), 200, np.uint8)
    frames = [
        Frame(image, 0.0, 0, cut_out()),
        Frame(image, 0.04, 1),
        Frame(tall, 0.08, 2),
        Frame(image, 0.12, 3, cut_out()),
    ]
    write_all(path, frames)
    _, pictures = read_with_alpha(path)
    assert len(pictures) == 4
    assert pictures[1][..., 3].min() >= 250
    # One of another size is fitted in; beside it nothing is covered.
    assert pictures[2][:, 66:94, 3].min() >= 250
    assert pictures[2][:, :34, 3].max() <= 5
    assert difference(pictures[3][..., 3], cut_out()).mean() <= 1.5


@pytest.mark.parametrize("ending", ALPHA)
@pytest.mark.parametrize("size", [(161, 121), (180, 240), (182, 240), (1, 1)])
def test_any_size_comes_back_and_odd_sides_repeat_their_last_line(
    size: tuple[int, int], ending: str, tmp_path: Path
) -> None:
    path = tmp_path / f"out{ending}"
    image = np.full((size[1], size[0], 3), (200, 60, 30), np.uint8)
    alpha = np.full(size[::-1], 90, np.uint8)
    write_all(path, [Frame(image, index / 25, index, alpha) for index in range(20)])
    _, pictures = read_with_alpha(path)
    for picture in pictures:
        assert picture.shape[:2] == (size[1] + size[1] % 2, size[0] + size[0] % 2)
        assert difference(picture, np.array([200, 60, 30, 90], np.uint8)).max() <= 4


@pytest.mark.parametrize("ending", OPAQUE)
def test_a_file_that_can_have_none_keeps_the_background_and_says_so_once(
    ending: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"out{ending}"
    sink = FileSink(path)
    outputs = SinkSet([sink])
    outputs.open(SIZE, 25.0)
    for index in range(4):
        outputs.write(Frame(numbered_picture(index), index / 25, index, cut_out()))
        (problem,) = outputs.problems.values()
        assert path.name in problem
        assert ".mov" in problem
    outputs.write(Frame(numbered_picture(4), 4 / 25, 4))
    assert outputs.problems == {}
    outputs.write(Frame(numbered_picture(5), 5 / 25, 5, cut_out()))
    outputs.close()
    assert caplog.messages == [problem]
    assert [number_of(picture) for picture in read(path)[1]] == list(range(6))


@pytest.mark.parametrize("ending", ALPHA)
def test_a_file_that_began_with_a_background_keeps_it_and_says_so_once(
    ending: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / f"out{ending}"
    alphas = [None, None, cut_out(), None, cut_out()]
    frames = [
        Frame(numbered_picture(index), index / 25, index, alpha)
        for index, alpha in enumerate(alphas)
    ]
    write_all(path, frames)
    assert len(caplog.messages) == 1
    assert f"out{ending} keeps the background" in caplog.text
    assert [number_of(picture) for picture in read(path)[1]] == list(range(5))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert b"\x53\xc0\x81\x01" not in path.read_bytes()


@pytest.mark.parametrize("ending", ALPHA)
def test_a_file_with_alpha_has_nothing_to_report(
    ending: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with FileSink(tmp_path / f"out{ending}") as sink:
        sink.open(SIZE, 25.0)
        for index, alpha in enumerate([cut_out(), None, cut_out()]):
            sink.write(Frame(numbered_picture(index), index / 25, index, alpha))
            assert sink.problem == ""
    assert caplog.messages == []


@pytest.mark.parametrize("crf", [0, 18, 51])
def test_the_quality_reaches_prores(crf: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    path = tmp_path / "out.mov"
    write_all(path, [Frame(noise, 0.04 * index, index, cut_out()) for index in range(3)], crf)
    _, pictures = read_with_alpha(path)
    error = float(np.mean([difference(picture[..., :3], noise).mean() for picture in pictures]))
    low, high = {0: (0, 0.7), 18: (0.7, 2), 51: (2, 20)}[crf]
    assert low <= error <= high
    assert all(difference(picture[..., 3], cut_out()).max() <= 1 for picture in pictures)


@pytest.mark.parametrize(("ending", "codec"), [(".webm", "libopus"), (".mov", "aac")])
def test_sound_is_stored_beside_pictures_with_alpha(
    ending: str, codec: str, tmp_path: Path
) -> None:
    talk = write_talk(tmp_path / "talk.mkv", beep_s=0.2, codec=codec)
    path = tmp_path / f"out{ending}"
    sink = FileSink(path)
    with VideoSource(talk) as source, sink:
        sound = source.open_sound()
        assert sound is not None
        sink.take_sound(sound)
        sink.open(SIZE, 25.0)
        for index in range(25):
            sink.write(Frame(numbered_picture(index), index / 25, index, cut_out()))
    with av.open(str(path)) as container:
        heard = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert heard == pytest.approx(1.0, abs=0.06)
    _, pictures = read_with_alpha(path)
    assert [number_of(picture[..., :3]) for picture in pictures] == list(range(25))
    assert difference(pictures[-1][..., 3], cut_out()).mean() <= 1.5


@pytest.mark.parametrize("ending", ALPHA)
def test_without_a_frame_nothing_is_left(ending: str, tmp_path: Path) -> None:
    with FileSink(tmp_path / f"out{ending}") as sink:
        sink.open(SIZE, 25.0)
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_the_encoder_refuses_leaves_nothing(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "out.webm")
    sink.open((70_000, 16), 25.0)
    with pytest.raises(SinkError, match="cannot be written"):
        sink.write(Frame(np.zeros((16, 70_000, 3), np.uint8), 0.0, 0))
    assert list(tmp_path.iterdir()) == []


SEEN = """async (url) => {
  const video = document.createElement("video");
  video.muted = true;
  video.src = url;
  await new Promise((done, fail) => { video.onloadeddata = done; video.onerror = fail; });
  video.currentTime = 0.1;
  await new Promise((done) => { video.onseeked = done; });
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext("2d");
  const pixel = (x) => Array.from(context.getImageData(x, 90, 1, 1).data);
  // A busy browser may have no picture yet when it has found the place.
  for (let tries = 0; tries < 100 && pixel(150)[3] === 0; tries++) {
    await new Promise((done) => setTimeout(done, 100));
    context.drawImage(video, 0, 0);
  }
  return [10, 80, 150].map(pixel);
}"""


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(not program(), reason="Chromium is missing (apt install chromium)")
def test_a_browser_shows_what_is_behind_a_webm(tmp_path: Path) -> None:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: .[test]")
    path = tmp_path / "out.webm"
    write_all(path, [Frame(four_colours(), index / 25, index, cut_out()) for index in range(5)])
    with api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program(), args=["--no-sandbox"])
        url = f"data:video/webm;base64,{base64.b64encode(path.read_bytes()).decode()}"
        seen = browser.new_page().evaluate(SEEN, url)
        browser.close()
    for x, pixel in zip((10, 80, 150), seen, strict=True):
        assert pixel[3] == pytest.approx(int(cut_out()[0, x]), abs=4)
    assert seen[2][:3] == pytest.approx([255, 255, 255], abs=4)


KILLED = """
import os, signal, sys
import numpy as np
from reenact.sinks.video_file import FileSink
from reenact.types import Frame
sink = FileSink(sys.argv[1])
sink.open((160, 120), 25.0)
for index in range(250):
    level = np.full((120, 160), index, np.uint8)
    sink.write(Frame(np.full((120, 160, 3), 128, np.uint8), index / 25, index, level))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("ending", ALPHA)
def test_a_killed_program_leaves_the_alpha_of_a_partial_file(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"out{ending}"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    (partial,) = tmp_path.iterdir()
    assert partial.name == f"out.partial{ending}"
    _, pictures = read_with_alpha(partial)
    assert len(pictures) >= 250 - 50 - 25
    levels = [int(picture[60, 80, 3]) for picture in pictures]
    assert levels == pytest.approx(list(range(len(levels))), abs=3)


@pytest.mark.parametrize("ending", ALPHA)
def test_full_disk_is_one_sentence_and_leaves_nothing(ending: str, small_disk: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    sink = FileSink(small_disk / f"out{ending}")
    sink.open(SIZE, 25.0)

    def fill() -> None:
        for index in range(10_000):
            picture = np.roll(noise, 7 * index, axis=1)
            sink.write(Frame(picture, index / 25, index, picture[..., 0].copy()))

    with pytest.raises(SinkError, match="disk is full") as caught:
        fill()
    assert str(caught.value).count("\n") == 0
    assert list(small_disk.iterdir()) == []
