"""Every sink: it accepts frames and does not modify them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reenact import registry
from reenact.config import SinkSettings
from reenact.errors import SinkError
from reenact.types import Frame, Sink


@pytest.fixture
def sink(request: pytest.FixtureRequest, tmp_path: Path) -> Sink:
    """An open sink of the requested name.

    The placeholder of its argument decides: PATH writes a video, FILE another file, FOLDER into a
    folder. All others are opened without an argument.
    """
    spec = registry.load("sinks", request.param)
    argument = ""
    if spec.argument.startswith(("PATH", "FILE", "FOLDER")):
        argument = str(tmp_path / ("out.mp4" if spec.argument.startswith("PATH") else "out"))
    built: Sink | None = None
    try:
        built = spec.make(argument, SinkSettings())
        assert isinstance(built, Sink)
        built.open((160, 120), 25.0)
    except SinkError as error:
        if built is not None:
            built.close()
        if not spec.needs:
            raise
        pytest.skip(f"{spec.name} needs {spec.needs}: {error}")
    return built


@pytest.mark.parametrize("sink", registry.available("sinks"), indirect=True)
def test_sink_takes_frames_and_leaves_them_alone(sink: Sink) -> None:
    image = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)
    before = image.copy()
    assert sink.name
    with sink:
        for index in range(5):
            sink.write(Frame(image, index / 25.0, index))
    sink.close()  # again
    assert np.array_equal(image, before)


@pytest.mark.parametrize("sink", registry.available("sinks"), indirect=True)
def test_sink_takes_frames_of_another_size(sink: Sink) -> None:
    pictures = [
        np.full((height, width, 3), 7, np.uint8) for height, width in ((120, 160), (96, 200))
    ]
    with sink:
        for index, picture in enumerate(pictures):
            sink.write(Frame(picture, index / 25.0, index))
    assert all((picture == 7).all() for picture in pictures)
