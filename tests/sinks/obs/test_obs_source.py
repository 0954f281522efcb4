"""The source "Reenact" inside a real OBS, seen through OBS's own screenshots."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reenact.errors import SinkError
from reenact.sinks.obs.config_files import RemoteControl
from reenact.sinks.obs.ring import RingWriter
from reenact.sinks.obs.shared_memory import SharedMemory
from reenact.sinks.obs.websocket import ObsRemote
from reenact.types import Image
from support.clips import four_colours
from support.fakes import until
from support.obs import studio
from support.obs.rings import ring_name, writing_process
from support.obs.studio import CANVAS, Studio, needs_obs

pytestmark = [pytest.mark.obs, needs_obs]

SOURCE = "Reenact"

Add = Callable[..., int]


@pytest.fixture(scope="module")
def obs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """OBS with the script; it must also end properly."""
    home = tmp_path_factory.mktemp("obs")
    studio.configure(home, scripts=(studio.SCRIPT,))
    with studio.start(home) as running:
        running.use_inner_scene()
        yield running
        assert running.stop() == 0


@pytest.fixture
def add(obs: Studio, name: str) -> Iterator[Callable[..., int]]:
    """Add the source for this test's ring; it is removed at the end."""

    def add_source(**settings: object) -> int:
        return obs.add(SOURCE, "reenact", {"name": name, "hold_s": 60.0, **settings})

    yield add_source
    for left in obs.inputs():
        obs.remove(left)


@contextlib.contextmanager
def writer(name: str) -> Iterator[RingWriter]:
    with RingWriter(name) as opened:
        opened.open()
        yield opened


def noise(size: tuple[int, int], seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)


def shows(obs: Studio, image: Image, source: str = SOURCE) -> bool:
    """Return True if the source shows exactly this picture, opaque."""
    with contextlib.suppress(Exception):  # a source without a size has no screenshot
        seen = obs.screenshot(source)
        return np.array_equal(seen[..., :3], image) and bool((seen[..., 3] == 255).all())
    return False


def is_clear(picture: NDArray[np.uint8]) -> bool:
    return not picture[..., 3].any()


def test_source_is_there_and_its_pixels_are_right(obs: Studio, name: str, add: Add) -> None:
    assert "reenact" in obs.ask("GetInputKindList")["inputKinds"]
    item = add()
    assert obs.size_of(item) == (0, 0)
    with writer(name) as ring:
        ring.write(four_colours())
        until(lambda: shows(obs, four_colours()), what="four colours are shown")
        assert obs.size_of(item) == (160, 120)
        ring.write(noise((160, 120)))
        until(lambda: shows(obs, noise((160, 120))), what="every pixel is right")
        scene = obs.screenshot(obs.scene)
        assert scene.shape == (CANVAS[1], CANVAS[0], 4)
        assert np.array_equal(scene[:120, :160, :3], noise((160, 120)))


def test_hidden_source_has_its_size(obs: Studio, name: str, add: Add) -> None:
    item = add()
    obs.ask("SetSceneItemEnabled", sceneName=obs.scene, sceneItemId=item, sceneItemEnabled=False)
    with writer(name) as ring:
        ring.write(noise((200, 90)))
        until(lambda: obs.size_of(item) == (200, 90), what="the size is known")


def test_source_that_comes_later_shows_the_picture_at_once(
    obs: Studio, name: str, add: Add
) -> None:
    with writer(name) as ring:
        ring.write(noise((64, 48)))
        item = add()
        assert obs.size_of(item) == (64, 48)
        until(lambda: shows(obs, noise((64, 48))), what="the picture is shown")


def test_new_size_and_new_writer_are_followed(obs: Studio, name: str, add: Add) -> None:
    item = add()
    with writer(name) as ring:
        for seed, size in enumerate([(320, 240), (240, 320), (640, 360), (31, 17)]):
            ring.write(noise(size, seed))
            until(lambda s=size, n=seed: shows(obs, noise(s, n)), what=f"{size} is shown")  # type: ignore[misc]
            assert obs.size_of(item) == size
    for seed in range(3):
        with writer(name) as ring:
            ring.write(noise((100, 50), seed))
            until(lambda n=seed: shows(obs, noise((100, 50), n)), what=f"writer {seed}")  # type: ignore[misc]


def test_writer_is_found_again_after_its_memory_was_deleted(
    obs: Studio, name: str, add: Add
) -> None:
    add()
    with writer(name) as ring:
        ring.write(noise((64, 48), 1))
        until(lambda: shows(obs, noise((64, 48), 1)), what="the first writer is shown")
    SharedMemory.remove(name)
    with writer(name) as ring:
        ring.write(noise((64, 48), 2))
        # The source looks for another memory after a while without frames.
        until(lambda: shows(obs, noise((64, 48), 2)), what="the second writer is shown")


def test_stopped_writer_shows_its_last_picture_and_then_nothing(
    obs: Studio, name: str, add: Add
) -> None:
    hold_s = 3.0
    item = add(hold_s=hold_s)
    with writing_process(name, 0.03) as process:
        until(lambda: obs.size_of(item) == (512, 512), what="a picture has come")
        until(lambda: not is_clear(obs.screenshot(SOURCE)), what="it is shown")
        stopped_s = time.monotonic()
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        shown = [obs.screenshot(SOURCE)]
        while not is_clear(shown[-1]):
            assert np.array_equal(shown[-1], shown[0]), "the last picture changes"
            assert time.monotonic() - stopped_s < 10 * hold_s, "the last picture stays"
            shown.append(obs.screenshot(SOURCE))
        assert time.monotonic() - stopped_s > hold_s - 0.1
        assert len(shown) > 1
        assert obs.size_of(item) == (512, 512)
        process.send_signal(signal.SIGCONT)
        until(lambda: not is_clear(obs.screenshot(SOURCE)), what="the writer is back")
        obs.ask("SetInputSettings", inputName=SOURCE, inputSettings={"hold_s": 600.0})
        process.kill()
        process.wait()
        time.sleep(hold_s + 0.5)
        assert not is_clear(obs.screenshot(SOURCE))


def test_picture_of_a_writer_long_gone_is_not_shown(obs: Studio, name: str, add: Add) -> None:
    with writing_process(name, 0.03) as process:
        probe = add()
        until(lambda: obs.size_of(probe) == (512, 512), what="a picture has come")
        obs.remove(SOURCE)
        process.kill()
        process.wait()
    time.sleep(1.0)
    item = add(hold_s=0.5)
    until(lambda: obs.size_of(item) == (512, 512), what="the memory is found")
    assert is_clear(obs.screenshot(SOURCE))


def test_alpha_lets_the_background_through(obs: Studio, name: str, add: Add) -> None:
    colour = (20, 160, 220)
    packed = 0xFF000000 | colour[2] << 16 | colour[1] << 8 | colour[0]
    obs.add("Background", "color_source_v3", {"color": packed, "width": 160, "height": 120})
    item = add()
    alpha = np.zeros((120, 160), np.uint8)
    alpha[:, 40:80], alpha[:, 80:120], alpha[:, 120:] = 64, 128, 255
    with writer(name) as ring:
        ring.write(four_colours(), alpha)
        until(lambda: obs.size_of(item) == (160, 120), what="the picture has come")
        until(lambda: not is_clear(obs.screenshot(SOURCE)), what="the picture is drawn")
        own = obs.screenshot(SOURCE)
        assert np.array_equal(own[..., 3], alpha)
        scene = obs.screenshot(obs.scene)[:120, :160, :3].astype(float)
    share = alpha[..., None] / 255
    mixed = four_colours() * share + np.array(colour) * (1 - share)
    assert np.abs(scene - mixed).max() <= 2.0


def test_no_torn_frame_is_shown_while_a_writer_laps_the_reader(
    obs: Studio, name: str, add: Add
) -> None:
    item = add()
    numbers: set[int] = set()
    with writing_process(name, 0.0003, lapping=True):
        until(lambda: obs.size_of(item) == (512, 512), what="a picture has come")
        until(lambda: not is_clear(obs.screenshot(SOURCE)), what="it is drawn")
        looks, end_s = 0, time.monotonic() + 20
        while looks < 40 or (len(numbers) <= 10 and time.monotonic() < end_s):
            looks += 1
            seen = obs.screenshot(SOURCE)[..., :3]
            red, green, blue = (int(value) for value in seen[0, 0])
            assert (seen == seen[0, 0]).all(), "parts of two frames are shown as one"
            assert (green, blue) == (red * 7 % 256, 255 - red)
            numbers.add(red)
    assert len(numbers) > 10, "frames of a fast writer are hardly ever taken"


def test_two_sources_show_two_writers_or_one(obs: Studio, name: str, add: Add) -> None:
    with ring_name() as second, writer(name) as ring, writer(second) as other:
        add()
        obs.add("Same", "reenact", {"name": name})
        obs.add("Other", "reenact", {"name": second})
        ring.write(noise((64, 48), 1))
        other.write(noise((48, 64), 2))
        for source, image in ((SOURCE, noise((64, 48), 1)), ("Same", noise((64, 48), 1))):
            until(lambda s=source, i=image: shows(obs, i, s), what=f"{source} is right")  # type: ignore[misc]
        until(lambda: shows(obs, noise((48, 64), 2), "Other"), what="Other is right")
        obs.ask("SetInputSettings", inputName="Other", inputSettings={"name": name})
        until(lambda: shows(obs, noise((64, 48), 1), "Other"), what="it follows its name")


def test_source_is_created_and_removed_many_times(obs: Studio, name: str, add: Add) -> None:
    """Removing a source must not wait for another one that is being drawn."""
    with writer(name) as ring:
        obs.add("Same", "reenact", {"name": name})
        for number in range(8):
            ring.write(noise((64, 48), number))
            add()
            until(lambda n=number: shows(obs, noise((64, 48), n)), what="it is shown")  # type: ignore[misc]
            obs.remove(SOURCE)
        obs.remove("Same")
        # OBS frees a removed source a moment later.
        until(lambda: _open_maps(obs, name) == 0, what="the memory is let go")
    assert obs.process.poll() is None


def _open_maps(obs: Studio, name: str) -> int:
    """Return how many parts of the ring's memory OBS has mapped."""
    maps = Path(f"/proc/{obs.process.pid}/maps").read_text()
    return sum(f"reenact.{os.geteuid()}.{name}" in line for line in maps.splitlines())


def test_a_late_answer_is_not_taken_for_that_to_another_request(
    obs: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reenact.sinks.obs.websocket._TIMEOUT_S", 0.5)
    with closing(ObsRemote(RemoteControl(True, obs.port, obs.password))) as remote:
        obs.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, obs.process.pid, os.WSTOPPED)  # until then it may still answer
        try:
            with pytest.raises(SinkError, match="OBS has not answered GetVersion"):
                remote.version()
        finally:
            obs.process.send_signal(signal.SIGCONT)
        monkeypatch.setattr("reenact.sinks.obs.websocket._TIMEOUT_S", 20.0)
        assert remote.current_scene() == studio.SCENE


def test_microphones_are_delayed_and_nothing_else(obs: Studio) -> None:
    kinds = obs.ask("GetInputKindList", unversioned=True)["inputKinds"]
    kind = next((kind for kind in kinds if kind.endswith("_input_capture")), None)
    if kind is None:
        pytest.skip("this OBS takes no sound from devices")
    obs.add("Voice", kind, {})
    obs.add("Film", "ffmpeg_source", {})
    with closing(ObsRemote(RemoteControl(True, obs.port, obs.password))) as remote:
        assert "Voice" in remote.delay_microphones(83)
    for name, delay_ms in (("Voice", 83), ("Film", 0)):
        offset = obs.ask("GetInputAudioSyncOffset", inputName=name)["inputAudioSyncOffset"]
        assert offset == delay_ms
        obs.remove(name)
