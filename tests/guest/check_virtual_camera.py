"""The virtual camera's sink with the real driver, read back by other programs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest
import pyvirtualcam

from guest import devices
from guest.traffic import COLOURS, READERS, colour_error, drawn, opencv_reader, traffic
from reenact import v4l2
from reenact.cli import doctor
from reenact.config import Settings
from reenact.errors import SinkError
from reenact.evaluation.glass_to_glass import measure_delay
from reenact.sinks import v4l2loopback as loopback
from reenact.sinks.virtual_camera import CameraSink
from reenact.types import Frame
from support.clips import number_of
from support.fakes import FakeReenactor

SIZE = (320, 240)
FPS = 10.0  # emulated processors are slow

both_ages = pytest.mark.parametrize("age", ["old", "new"])


@pytest.fixture
def camera() -> Iterator[None]:
    with devices.loopback():
        yield


def open_sink(size: tuple[int, int] = SIZE) -> CameraSink:
    sink = CameraSink()
    sink.open(size, FPS)
    return sink


@pytest.mark.parametrize("program", READERS)
@pytest.mark.usefixtures("camera")
def test_other_programs_read_every_colour_in_order(program: str) -> None:
    with open_sink() as sink, traffic(sink, SIZE, FPS) as sent:
        assert (sink.device, sink.size) == (devices.CAMERA, SIZE)
        with READERS[program](sink.device) as pictures:
            next(pictures)  # on opening, the driver may give its newest picture before older ones
            seen = [next(pictures) for _ in range(16)]
    assert max(map(colour_error, seen)) <= 2
    found = [number_of(picture) for picture in seen]
    assert found == sorted(found)
    assert found[0] > 0
    assert found[-1] <= sent.number
    assert len(set(found)) >= 8  # at most every second picture is lost or repeated


@both_ages
def test_sink_opens_again_and_leaves_the_device_to_others(age: str) -> None:
    with devices.loopback(age):
        for size in (SIZE, (160, 120), (480, 360)):
            with open_sink(size) as sink, traffic(sink, size, FPS):
                assert sink.size == size
                with opencv_reader(sink.device) as pictures:
                    picture = next(pictures)
            assert picture.shape[1::-1] == size
            assert colour_error(picture) <= 2
        pyvirtualcam.Camera(*SIZE, FPS, device=devices.CAMERA).close()


def test_device_that_another_program_used_up_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    with devices.loopback("old"):
        with pyvirtualcam.Camera(*SIZE, FPS, device=devices.CAMERA) as other:
            other.send(drawn(1, SIZE))
        assert not v4l2.capability(devices.CAMERA).outputs  # the bug of this driver
        with monkeypatch.context() as patch:
            patch.setattr(loopback, "_stream_for_a_moment", lambda device: None)
            with pytest.raises(SinkError, match=r"before 0\.13.*sudo modprobe -r v4l2loopback &&"):
                open_sink()
        with open_sink() as sink, traffic(sink, SIZE, FPS), opencv_reader(sink.device) as pictures:
            assert colour_error(next(pictures)) <= 2


@both_ages
def test_reader_that_holds_the_device_keeps_its_size(age: str) -> None:
    with devices.loopback(age), ExitStack() as reading:
        with open_sink() as sink, traffic(sink, SIZE, FPS):
            pictures = reading.enter_context(opencv_reader(sink.device))
            assert next(pictures).shape == (240, 320, 3)
        with open_sink((640, 360)) as sink, traffic(sink, (640, 360), FPS, first=2000):
            assert sink.size == SIZE
            picture = next(picture for picture in pictures if number_of(picture) >= 2000)
            found = [number_of(next(pictures)) for _ in range(6)]
    assert picture.shape == (240, 320, 3)
    assert picture[:28].max() <= 2  # the whole picture with bars above and below
    assert picture[-28:].max() <= 2
    assert colour_error(picture[30:210]) <= 2
    assert found == sorted(found)


def test_reader_may_hold_the_device_at_another_pixel_format() -> None:
    with devices.loopback("new"):
        layout = pyvirtualcam.PixelFormat.YUYV
        with pyvirtualcam.Camera(*SIZE, FPS, fmt=layout, device=devices.CAMERA) as obs:
            obs.send(np.full(SIZE[0] * SIZE[1] * 2, 128, np.uint8))
            with opencv_reader(devices.CAMERA) as pictures:
                obs.send(np.full(SIZE[0] * SIZE[1] * 2, 128, np.uint8))
                next(pictures)
                obs.close()
                held = loopback.held_format(devices.CAMERA)
                assert held == loopback.Format("YUYV", SIZE)
                with open_sink() as sink, traffic(sink, SIZE, FPS):
                    picture = next(picture for picture in pictures if number_of(picture) in (1, 2))
    assert colour_error(picture) <= 2


@both_ages
@pytest.mark.parametrize("exclusive", [True, False])
def test_device_that_another_program_writes_to_is_left_to_it(age: str, exclusive: bool) -> None:
    def send() -> object:
        other = pyvirtualcam.Camera(*SIZE, FPS, device=devices.CAMERA)
        other.send(drawn(1, SIZE))
        return other

    with devices.loopback(age, exclusive=exclusive):
        with (
            devices.another_program(send) as process,
            pytest.raises(SinkError, match=rf"nother program uses .* \(process {process}\)"),
        ):
            open_sink()
        open_sink().close()


def test_missing_driver_is_reported_with_the_commands() -> None:
    with pytest.raises(SinkError, match=r"apt install v4l2loopback-dkms.*modprobe v4l2loopback"):
        open_sink()
    (check,) = doctor._virtual_camera()
    assert (check.status, check.detail) == ("missing", "there is no virtual camera")


@pytest.mark.usefixtures("camera")
def test_forbidden_device_is_reported_with_the_command() -> None:
    with devices.ordinary_user():
        with pytest.raises(SinkError, match=r"may not open .*usermod -aG video"):
            open_sink()
        (check,) = doctor._virtual_camera()
    assert (check.status, "usermod" in check.remedy) == ("warning", True)


@both_ages
def test_doctor_knows_a_camera_that_browsers_do_not_list(age: str) -> None:
    with devices.loopback(age, exclusive=True):
        (check,) = doctor._virtual_camera()
        assert (check.status, check.remedy) == ("ok", "")
        open_sink().close()
        (check,) = doctor._virtual_camera()
        assert check.status == "ok"
    with devices.loopback(age, exclusive=False):
        (check,) = doctor._virtual_camera()
        assert check.status == "warning"
        assert "browsers" in check.detail
        assert "exclusive_caps=1" in check.remedy


@pytest.mark.usefixtures("camera")
def test_pictures_of_changing_sizes_are_fitted_to_the_open_device() -> None:
    with open_sink() as sink:
        for number, size in ((100, SIZE), (200, (120, 120)), (300, (480, 360)), (400, SIZE)):
            side = 40 if size == (120, 120) else 0  # bars left and right of a square
            whole = slice(side, 320 - side)
            with traffic(sink, size, FPS, first=number), opencv_reader(sink.device) as shown:
                picture = next(image for image in shown if number_of(image[:, whole]) >= number)
            assert picture.shape == (240, 320, 3)
            assert colour_error(picture[:, whole]) <= 2
            assert picture[:, : max(0, side - 2)].max(initial=0) <= 2


@pytest.mark.usefixtures("camera")
def test_still_picture_stays_visible() -> None:
    """A program that starts to read sees the last picture at once, however old it is."""
    with open_sink() as sink:
        sink.write(Frame(drawn(7, SIZE), 0.0, 0))
        sink.write(Frame(drawn(8, SIZE), 0.0, 1))
        time.sleep(0.2)
        with opencv_reader(sink.device) as pictures:
            picture = next(pictures)
    assert number_of(picture) == 8
    assert picture[20, 100] == pytest.approx(np.array(COLOURS[0]), abs=2)


@pytest.mark.usefixtures("camera")
def test_delay_from_capture_to_another_program_is_measured() -> None:
    figures = measure_delay("camera", Settings(), 8.0, reenactor=FakeReenactor(size=SIZE))
    assert 0 < figures["delay_ms"]["p50"] <= figures["delay_ms"]["p99"] < 8000
    assert figures["seen"] >= 2  # emulated processors
