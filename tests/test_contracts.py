"""What every registered part must do, the program's own and an installed plugin's alike.

A plugin is tested by being installed: nothing here names one. Parts that this machine cannot
open (a camera, a display, a driver) are skipped with their own message.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from reenact import registry
from reenact.config import RendererSettings, Section, SinkSettings, SourceSettings, TrackingSettings
from reenact.errors import (
    ModelError,
    NoWeightsError,
    PluginError,
    SinkError,
    SourceError,
)
from reenact.face.geometry import canonical_face, crop_transform, to_image, transform_points
from reenact.face.topology import ACTION_UNITS, N_LANDMARKS
from reenact.types import (
    Array,
    Drive,
    Expression,
    Frame,
    Image,
    Landmarks,
    Pose,
    Renderer,
    Sink,
    Source,
    Target,
    Tracker,
)
from support.clips import numbered_picture, write_clip
from support.portraits import astronaut

SIZE_PX = 256
ALL = [(group, name) for group in registry.GROUPS for name in registry.available(group)]


SECTIONS: dict[registry.Group, type[Section]] = {
    "sources": SourceSettings,
    "trackers": TrackingSettings,
    "renderers": RendererSettings,
    "sinks": SinkSettings,
}


def trainable() -> list[str]:
    """Return the renderers that can be trained; a broken one fails its own test, not all."""
    found = []
    for name in registry.available("renderers"):
        with contextlib.suppress(PluginError):
            found += [name] if registry.load("renderers", name).recipe else []
    return found


@pytest.mark.parametrize(("group", "name"), ALL)
def test_spec_is_well_formed(group: registry.Group, name: str) -> None:
    spec = registry.load(group, name)
    assert spec.name == name
    assert 5 < len(spec.summary) <= 100
    assert "\n" not in spec.summary
    assert callable(spec.build)
    assert issubclass(spec.settings, Section)
    spec.settings()  # every setting has a default
    assert name not in SECTIONS[group].model_fields, "the section has a setting of this name"


# Sources


@pytest.fixture
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    """An open source of the requested name, fed with generated material."""
    spec = registry.load("sources", request.param)
    argument = ""
    if spec.argument:
        picture = tmp_path / "picture.png"
        PillowImage.fromarray(numbered_picture(5)).save(picture)
        clip = write_clip(tmp_path / "clip.mp4", frames=8)
        argument = {"image": str(picture), "video": str(clip)}.get(spec.name, "")
    try:
        opened = spec.make(argument, SourceSettings())
    except SourceError as error:
        pytest.skip(f"{spec.name} cannot be opened here: {error}")
    assert isinstance(opened, Source)
    return opened


@pytest.mark.parametrize("source", registry.available("sources"), indirect=True)
def test_source_delivers_frames(source: Source) -> None:
    with source:
        assert source.name
        assert source.fps > 0
        frames: list[Frame] = []
        while len(frames) < 8 and (frame := source.read()) is not None:
            frames.append(frame)
        assert len(frames) == 8
        for frame in frames:
            assert frame.image.dtype == np.uint8
            assert frame.image.shape == (source.size[1], source.size[0], 3)
            assert frame.image.flags.c_contiguous
        times = [frame.time_s for frame in frames]
        assert times == sorted(set(times))
        assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
        if source.live:
            assert abs(times[-1] - time.monotonic()) < 5.0
        else:
            assert times[0] == 0.0
            assert source.read() is None
    source.close()


# Trackers


@pytest.mark.parametrize("name", registry.available("trackers"))
def test_tracker_finds_a_face_and_its_absence(name: str) -> None:
    portrait = astronaut()
    tracker = registry.load("trackers", name).make(TrackingSettings())
    assert isinstance(tracker, Tracker)
    try:
        before = portrait.copy()
        found = tracker.track(Frame(portrait, 0.0, 0))
        assert np.array_equal(portrait, before)
        assert found is not None
        check_landmarks(found, portrait)
        tracker.reset()
        assert tracker.track(Frame(np.full_like(portrait, 127), 1.0, 1)) is None
        tracker.reset()
        again = tracker.track(Frame(portrait, 2.0, 2))
        assert again is not None
        assert np.abs(again.points[:, :2] - found.points[:, :2]).max() < 4.0
    finally:
        tracker.close()


def check_landmarks(found: Landmarks, picture: Image) -> None:
    assert found.points.shape == (N_LANDMARKS, 3)
    assert found.points.dtype == np.float32
    assert found.size == (picture.shape[1], picture.shape[0])
    assert 0.0 <= found.confidence <= 1.0
    nose = found.points[1, :2]
    assert 180 < nose[0] < 270  # where the astronaut's nose is
    assert 90 < nose[1] < 160


# Renderers


@pytest.fixture(scope="session")
def target() -> Target:
    """A target with two references: a face's landmarks on smooth colours."""
    points = neutral_landmarks()
    across = np.linspace(40, 220, SIZE_PX)
    picture = np.stack(
        [
            np.broadcast_to(across, (SIZE_PX, SIZE_PX)),
            np.broadcast_to(across[:, None], (SIZE_PX, SIZE_PX)),
            np.full((SIZE_PX, SIZE_PX), 128.0),
        ],
        axis=-1,
    ).astype(np.uint8)
    turned = points + np.float32(3.0)
    return Target(
        name="contract",
        references=np.stack([picture, np.roll(picture, 3, axis=(0, 1))]),
        landmarks=np.stack([points, turned]),
        neutral=points,
        plate=picture.copy(),
        crop_to_plate=np.eye(2, 3, dtype=np.float32),
    )


def neutral_landmarks() -> Array:
    shape = canonical_face()
    points = to_image(shape, Pose(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), 60.0))
    return transform_points(points, crop_transform(points, SIZE_PX))


def drive_at(index: int, shift_px: float = 0.0) -> Drive:
    landmarks = neutral_landmarks() + np.array([shift_px, shift_px / 2, 0.0], np.float32)
    return Drive(
        landmarks=landmarks,
        expression=Expression(
            deviation=np.zeros((N_LANDMARKS, 3), np.float32),
            pose=Pose(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), 60.0),
            action_units=np.zeros(len(ACTION_UNITS), np.float32),
        ),
        time_s=index / 25.0,
        dt_s=0.04 if index else 0.0,
    )


@pytest.fixture
def renderer(request: pytest.FixtureRequest, target: Target) -> Renderer:
    """A renderer that can draw; `test_recipes` draws with those that come without weights."""
    spec = registry.load("renderers", request.param)
    settings = RendererSettings(name=spec.name, size=SIZE_PX, device="cpu", threads=1)
    built = spec.make(settings)
    assert isinstance(built, Renderer)
    try:
        built.prepare(target)
    except NoWeightsError as error:
        pytest.skip(str(error))
    return built


@pytest.mark.parametrize("renderer", registry.available("renderers"), indirect=True)
def test_renderer_draws_and_leaves_its_inputs_alone(renderer: Renderer, target: Target) -> None:
    references, points = target.references.copy(), target.landmarks.copy()
    renderer.prepare(target)
    drive = drive_at(0, shift_px=4.0)
    landmarks = drive.landmarks.copy()
    image = renderer.render(drive)
    assert image.dtype == np.uint8
    assert image.shape == (SIZE_PX, SIZE_PX, 3)
    assert image.flags.c_contiguous
    assert np.array_equal(drive.landmarks, landmarks)
    assert np.array_equal(target.references, references)
    assert np.array_equal(target.landmarks, points)
    kept = image.copy()
    renderer.render(drive_at(1, shift_px=-8.0))
    assert np.array_equal(image, kept), "a picture handed out is drawn over by the next one"


@pytest.mark.parametrize("renderer", registry.available("renderers"), indirect=True)
def test_renderer_forgets_earlier_frames_when_reset(renderer: Renderer, target: Target) -> None:
    renderer.prepare(target)
    first = renderer.render(drive_at(0))
    for index in range(1, 4):
        renderer.render(drive_at(index, shift_px=6.0 * index))
    renderer.reset()
    again = renderer.render(drive_at(0))
    assert np.abs(again.astype(int) - first.astype(int)).max() <= 2


@pytest.mark.parametrize("renderer", registry.available("renderers"), indirect=True)
def test_renderer_takes_another_target(renderer: Renderer, target: Target) -> None:
    renderer.prepare(target)
    first = renderer.render(drive_at(0))
    other = Target(
        name="other",
        references=(255 - target.references).astype(np.uint8),
        landmarks=target.landmarks,
        neutral=target.neutral,
        plate=target.plate,
        crop_to_plate=target.crop_to_plate,
    )
    renderer.prepare(other)
    changed = renderer.render(drive_at(0)).astype(int)
    assert np.abs(changed - first).mean() > 20


@pytest.mark.parametrize("name", trainable())
def test_renderer_says_when_its_weights_are_missing(
    name: str, target: Target, tmp_path: Path
) -> None:
    path = str(tmp_path / "none.safetensors")
    settings = RendererSettings(name=name, size=SIZE_PX, device="cpu", weights=path)
    with pytest.raises(ModelError, match=r"none\.safetensors"):
        registry.load("renderers", name).make(settings).prepare(target)


# Sinks


@pytest.mark.parametrize("name", registry.available("sinks"))
def test_sink_takes_frames_and_leaves_them_alone(name: str, tmp_path: Path) -> None:
    spec = registry.load("sinks", name)
    argument = str(tmp_path / "out.mp4") if "PATH" in spec.argument else ""
    image = np.ascontiguousarray(np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8))
    before = image.copy()
    sink: Sink | None = None
    try:
        sink = spec.make(argument, SinkSettings())
        assert isinstance(sink, Sink)
        assert sink.name
        sink.open((160, 120), 25.0)
    except SinkError as error:
        if sink is not None:
            sink.close()
        pytest.skip(f"{name} cannot be opened here: {error}")
    with sink:
        for index in range(5):
            sink.write(Frame(image, index / 25.0, index))
    sink.close()
    assert np.array_equal(image, before)
