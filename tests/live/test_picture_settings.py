"""Background, size and rate are changed while a session runs; no picture is missing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PngImage

from reenact.errors import ConfigError
from reenact.live.actions import turn
from reenact.live.controls import Controls
from reenact.live.session import Session
from reenact.live.settings import load_settings
from reenact.storage import write_png
from reenact.targets.backgrounds import backgrounds_folder
from reenact.targets.library import open_target
from reenact.types import Frame, Image
from support.fakes import FakeSink, is_plain, until

SETTINGS = ["renderer.name=warp", "fusion.method=direct", "renderer.size=128", "idle.life=false"]
WALL = (slice(10, 100), slice(10, 60))
"""A place in the astronaut's picture, of 640 px, in which nobody stands."""

FACE = (slice(200, 260), slice(260, 330))


class Stage:
    def __init__(self) -> None:
        self.sink = FakeSink("kept", live=True)
        settings = load_settings(None, SETTINGS)
        target = open_target("astronaut", 128)
        self.session = Session.open(settings, "pattern", target, [], extra=[self.sink])
        self.controls = Controls(self.session, "astronaut")

    def picture(self) -> Frame:
        """Return a picture that is made from now on, after any fade."""
        seen_s = self.sink.frames[-1].time_s + 1.0
        until(lambda: (self.sink.frames[-1].captured_s or 0.0) > seen_s, 60.0)
        return self.sink.frames[-1]


@pytest.fixture
def stage() -> Iterator[Stage]:
    opened = Stage()
    with opened.session:
        opened.session.start()
        until(lambda: len(opened.sink.frames) > 1, 60.0)
        yield opened
        numbers = [frame.index for frame in opened.sink.frames]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def detail(image: Image) -> float:
    """Return how much neighbouring pixels differ."""
    return float(np.abs(np.diff(image.astype(float), axis=1)).mean())


def test_the_background_is_changed_live(stage: Stage) -> None:
    kept = stage.picture().image
    stage.controls.update("output", "background", "blur")
    blurred = stage.picture().image
    assert detail(blurred[WALL]) < 0.5 * detail(kept[WALL])
    assert np.abs(blurred[FACE].astype(int) - kept[FACE]).mean() < 2
    stage.controls.update("output", "background", "colour")
    stage.controls.update("output", "background_colour", "#102030")
    coloured = stage.picture().image
    assert is_plain(coloured[WALL], (0x10, 0x20, 0x30), within=1)
    assert np.abs(coloured[FACE].astype(int) - kept[FACE]).mean() < 2
    stage.controls.update("output", "background", "transparent")
    cut = stage.picture()
    assert cut.alpha is not None
    assert (cut.alpha[WALL].max(), cut.alpha[FACE].min()) == (0, 255)
    stage.controls.switch_target("robin")  # which gets its own outline
    assert stage.picture().alpha is not None
    stage.controls.update("output", "background", "keep")
    assert stage.picture().alpha is None
    with pytest.raises(ConfigError, match="background_colour"):
        stage.controls.update("output", "background_colour", "red")


def test_a_picture_of_the_users_stands_behind_the_target(stage: Stage) -> None:
    with pytest.raises(ConfigError, match="There is no background 'beach'"):
        stage.controls.update("output", "background", "beach")
    assert stage.session.settings.output.background == "keep"
    backgrounds_folder().mkdir(parents=True)
    for name, colour in (("beach", (240, 200, 90)), ("sea", (20, 90, 160))):
        write_png(backgrounds_folder() / f"{name}.png", np.full((90, 160, 3), colour, np.uint8))
    kept = stage.picture().image
    stage.controls.update("output", "background", "beach")
    beach = stage.picture()
    assert is_plain(beach.image[WALL], (240, 200, 90), within=1)
    assert np.abs(beach.image[FACE].astype(int) - kept[FACE]).mean() < 2
    assert beach.alpha is None
    stage.controls.update("output", "background", "sea")
    assert is_plain(stage.picture().image[WALL], (20, 90, 160), within=1)
    stage.controls.save_preset("at sea")
    stage.controls.update("output", "background", "keep")
    stage.controls.load_preset("at sea")
    stage.controls.switch_target("robin")
    assert is_plain(stage.picture().image[10, 10], (20, 90, 160), within=1)


def test_every_target_has_the_chosen_shape(stage: Stage) -> None:
    stage.controls.update("output", "shape", "16:9")
    until(lambda: stage.sink.frames[-1].size == (1280, 720), 60.0)
    picture = stage.picture().image
    assert detail(picture[:, :100]) < 0.5 * detail(picture[:, 400:800]), "continued, out of focus"
    changed = len(stage.sink.frames)
    stage.controls.switch_target("robin")
    stage.controls.update("output", "background", "transparent")
    cut = stage.picture()
    assert {frame.size for frame in stage.sink.frames[changed:]} == {(1280, 720)}
    assert cut.alpha is not None
    assert cut.alpha.shape == (720, 1280)
    assert (cut.alpha[:300, :100].max(), cut.alpha[300:400, 600:680].min()) == (0, 255)
    stage.controls.update("output", "shape", "9:16")
    until(lambda: stage.sink.frames[-1].size == (720, 1280), 60.0)
    stage.controls.update("output", "shape", "picture")
    until(lambda: stage.sink.frames[-1].size != (720, 1280), 60.0)
    height, width = open_target("robin").plate.shape[:2]
    assert stage.sink.frames[-1].size == (width, height)


def test_a_label_is_written_live(stage: Stage) -> None:
    corner = (slice(-60, None), slice(0, 120))
    kept = stage.picture().image
    stage.controls.update("output", "label", "AI")
    labelled = stage.picture().image
    assert np.abs(labelled[corner].astype(int) - kept[corner]).mean() > 10
    assert np.abs(labelled[FACE].astype(int) - kept[FACE]).mean() < 2
    stage.controls.update("output", "background", "transparent")
    cut = stage.picture()
    assert cut.alpha is not None
    assert cut.alpha[corner].max() == 255
    stage.controls.update("output", "background", "keep")
    stage.controls.update("output", "label", "")
    assert np.abs(stage.picture().image[corner].astype(int) - kept[corner]).mean() < 2


def test_size_and_rate_are_changed_live(stage: Stage) -> None:
    before = stage.picture().size
    assert stage.controls.settings()["output.max_side"] == 1280
    stage.controls.update("output", "max_side", 320)
    until(lambda: max(stage.picture().size) == 320)
    assert before != stage.picture().size
    stage.controls.update("renderer", "size", 256)
    until(lambda: stage.session.reenactor.target.crop_size == 256, 60.0)
    assert stage.session.settings.renderer.size == 256
    stage.controls.update("output", "fps", 5.0)
    first, last = stage.picture(), stage.picture()
    assert last.index - first.index <= 1.2 * 5 * (last.time_s - first.time_s) + 2
    stage.controls.update("fusion", "mode", "absolute")
    until(lambda: stage.session.settings.fusion.mode == "absolute", 60.0)
    with pytest.raises(ConfigError, match=r"renderer\.size"):
        stage.controls.update("renderer", "size", 300)


def test_no_rate_stops_the_picture_for_longer_than_a_second(stage: Stage) -> None:
    for too_slow in (0.001, 0.9):
        with pytest.raises(ConfigError, match=r"output\.fps.*equal to 1"):
            stage.controls.update("output", "fps", too_slow)
    turn(stage.controls, "output.fps", 0.0)
    assert stage.session.settings.output.fps == 1.0


@pytest.mark.parametrize("raw", [False, True])
def test_a_stored_picture_is_the_one_that_viewers_see(
    raw: bool, stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the user has the actor shown beside the target."""
    monkeypatch.setattr("platformdirs.user_videos_path", lambda: tmp_path)
    stage.session.settings.output.show_raw_camera = raw
    stage.controls.update("output", "background", "transparent")
    shown = stage.picture()
    stored = PngImage.open(stage.controls.take_picture())
    assert stored.size == shown.size
    pixels = np.asarray(stored)
    seen = [frame for frame in stage.sink.frames[-30:] if frame.alpha is not None]
    assert any(
        (pixels[..., :3] == frame.image).all() and (pixels[..., 3] == frame.alpha).all()
        for frame in seen
    )
    left = pixels[:, : pixels.shape[0] // 2, 3]
    assert left.min() == (255 if raw else 0)
