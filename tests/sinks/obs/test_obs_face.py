"""The whole way: an actor's video, the target's face, OBS. The README's picture comes from here."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from reenact.config import TrackingSettings
from reenact.face.mediapipe_tracker import MediaPipeTracker
from reenact.storage import DEMO_ACTOR
from reenact.types import Frame, Image, Landmarks
from support.fakes import until
from support.obs import studio
from support.obs.studio import CANVAS, SCENE, Studio, needs_obs
from support.program import reenact

pytestmark = [pytest.mark.obs, needs_obs]

START_S = 200.0
GAME = (40, 90, 150)


@pytest.fixture
def tracker() -> Iterator[MediaPipeTracker]:
    opened = MediaPipeTracker(TrackingSettings())
    yield opened
    opened.close()


@contextmanager
def live(home: Path, *arguments: str) -> Iterator[Callable[[], str]]:
    """Drive the astronaut by the packaged actor into OBS until the context ends.

    What is yielded returns what the program said, once it has ended; "" before.
    """
    path = home / "live.log"
    with path.open("w") as log:
        source = ["--source", f"video:{DEMO_ACTOR}", "--set", "source.video.loop=true"]
        process = subprocess.Popen(
            reenact("live", *source, "--target", "astronaut", "--sink", "obs", *arguments),
            env={**studio.environment(home), "REENACT_DATA": str(home / "data")},
            stdin=subprocess.DEVNULL,
            stderr=log,
        )
        try:
            yield lambda: "" if process.poll() is None else path.read_text()[-2000:]
        finally:
            process.terminate()
            process.wait(60)


def face_in(tracker: MediaPipeTracker, picture: Image) -> Landmarks | None:
    tracker.reset()
    return tracker.track(Frame(np.ascontiguousarray(picture[..., :3]), 0.0, 0))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_commands_bring_a_moving_face_into_a_fresh_obs(
    tmp_path: Path, tracker: MediaPipeTracker
) -> None:
    studio.configure(tmp_path)
    subprocess.run(
        reenact("obs", "install"),
        env=studio.environment(tmp_path),
        check=True,
        capture_output=True,
        timeout=120,
    )
    with studio.start(tmp_path) as obs:
        add_game(obs)
        with live(tmp_path, "--set", "output.background=transparent") as ended:

            def face() -> Landmarks | None:
                assert not ended()
                return face_in(tracker, obs.screenshot(SCENE))

            first = until(face, START_S, "a face is in the scene")
            width, height = first.points[:468, :2].max(0) - first.points[:468, :2].min(0)
            assert height > CANVAS[1] / 4
            assert abs(first.points[1, 0] - CANVAS[0] / 2) < width

            def moved() -> bool:
                now = face()
                return now is not None and bool(
                    np.abs(now.points[:468, :2] - first.points[:468, :2]).max() > 0.02 * height
                )

            until(moved, START_S, "the face moves")
            scene = obs.screenshot(SCENE)[..., :3]
            # The game is seen beside the target, above it, and not through it.
            for place in ((20, 20), (20, CANVAS[0] - 20), (CANVAS[1] // 2, 20)):
                assert tuple(scene[place]) == GAME
            left = (CANVAS[0] - CANVAS[1]) // 2  # the target's picture is a square
            assert tuple(scene[20, left + 40]) == GAME
            nose = first.points[1, :2].astype(int)
            assert np.abs(scene[nose[1], nose[0]].astype(int) - GAME).max() > 40
            keep_picture(obs)
        assert obs.stop() == 0


def add_game(obs: Studio) -> None:
    """Put a plain colour behind the target."""
    packed = 0xFF000000 | GAME[2] << 16 | GAME[1] << 8 | GAME[0]
    settings = {"color": packed, "width": CANVAS[0], "height": CANVAS[1]}
    item = obs.add("Game", "color_source_v3", settings)
    obs.ask("SetSceneItemIndex", sceneName=SCENE, sceneItemId=item, sceneItemIndex=0)


def keep_picture(obs: Studio) -> None:
    """Store OBS's window as obs.jpg in the folder REENACT_PICTURES, where that is set."""
    folder = os.environ.get("REENACT_PICTURES")
    window = obs.window()
    assert window.std() > 10, "OBS's window is not seen"
    if folder:
        rows, columns = np.nonzero(window.max(axis=2))  # the display is larger than the window
        window = window[: rows.max() + 1, : columns.max() + 1]
        size = (864, 864 * window.shape[0] // window.shape[1])
        bgr = cv2.cvtColor(
            cv2.resize(window, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR
        )
        cv2.imwrite(str(Path(folder) / "obs.jpg"), bgr, [cv2.IMWRITE_JPEG_QUALITY, 80])
