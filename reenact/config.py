"""Every setting, declared once: type, default, range, unit, help, changeable while live or not.

Order of precedence: defaults < TOML file < `--set section.key=value`. An unknown key is an
error that names the nearest one.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from reenact.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - the same library under its older name
    import tomli as tomllib

Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole."""

_LIVE: dict[str, Any] = {"live": True}


def _unit(unit: str, live: bool = False) -> dict[str, Any]:
    return {"unit": unit, "live": live}


class Section(BaseModel):
    """A group of settings; assignments are validated, unknown names refused."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, coerce_numbers_to_str=True)


class SourceSettings(Section):
    """Where the actor comes from."""

    width: int = Field(
        1280, ge=64, le=7680, description="width asked of a webcam", json_schema_extra=_unit("px")
    )
    height: int = Field(
        720, ge=64, le=4320, description="height asked of a webcam", json_schema_extra=_unit("px")
    )
    fps: float = Field(
        30.0,
        gt=0,
        le=240,
        description="rate asked of a webcam; rate of a still image or test pattern",
        json_schema_extra=_unit("frames/s"),
    )
    fourcc: str = Field(
        "MJPG",
        pattern=r"^([A-Za-z0-9]{4})?$",
        description="pixel format asked of a webcam; empty: the driver's choice",
    )
    loop: bool = Field(False, description="start a video again when it ends")
    frames: int = Field(
        0, ge=0, description="end a still image or test pattern after so many frames; 0: never"
    )


class TrackingSettings(Section):
    """Which face, and how sure."""

    name: str = Field("mediapipe", description="see `reenact plugins`")
    face: str = Field(
        "largest",
        pattern=r"^(largest|centre|[0-9]+)$",
        description="which face of several: largest, centre, or its number from the left, from 0",
    )
    min_confidence: float = Field(0.5, ge=0, le=1, description="below it a face counts as lost")
    model: str = Field(
        "",
        description="path of a face_landmarker.task, for a mediapipe newer than 0.10.21",
    )


class ActorSettings(Section):
    """The actor's own neutral face."""

    name: str = Field(
        "default", min_length=1, max_length=64, description="whose neutral is stored and used again"
    )
    neutral: Literal["auto", "stored", "fresh"] = Field(
        "auto",
        description="auto: stored, else found in the first seconds and stored; stored: only that; "
        "fresh: found, not stored (as for a video or picture where neither this nor actor.name is "
        "set)",
    )
    calibration_s: float = Field(
        3.0,
        ge=0.2,
        le=60,
        description="how long calm frames are collected for the neutral",
        json_schema_extra=_unit("s"),
    )


class FusionSettings(Section):
    """How the actor's expression goes onto the target."""

    method: Literal["network", "direct"] = Field(
        "network",
        description="network: the landmark-fusion autoencoder; direct: deviations are just added",
    )
    read_back: bool = Field(
        True,
        description="correct smiles, lips and brows so that on the target they are read as acted",
        json_schema_extra=_LIVE,
    )
    close_lips: bool = Field(
        False,
        description="lips apart in the target's picture come together where the actor's do",
        json_schema_extra=_LIVE,
    )
    intensity: float = Field(
        1.0,
        ge=0,
        le=2,
        description="whole expression: 0 neutral, 1 as acted",
        json_schema_extra=_LIVE,
    )
    mouth: float = Field(
        1.0, ge=0, le=2, description="gain of mouth and jaw", json_schema_extra=_LIVE
    )
    eyes: float = Field(
        1.0, ge=0, le=2, description="gain of lids and gaze", json_schema_extra=_LIVE
    )
    brows: float = Field(1.0, ge=0, le=2, description="gain of the brows", json_schema_extra=_LIVE)
    pose: float = Field(
        1.0, ge=0, le=2, description="gain of head rotation", json_schema_extra=_LIVE
    )
    translation: float = Field(
        0.5,
        ge=0,
        le=1,
        description="gain of head movement and of moving closer",
        json_schema_extra=_LIVE,
    )
    max_yaw: float = Field(
        25.0,
        ge=0,
        le=60,
        description="head turned at most so far from the target's own pose",
        json_schema_extra=_unit("degrees", live=True),
    )
    max_pitch: float = Field(
        18.0,
        ge=0,
        le=60,
        description="head nodded at most so far",
        json_schema_extra=_unit("degrees", live=True),
    )
    max_roll: float = Field(
        25.0,
        ge=0,
        le=60,
        description="head tilted at most so far",
        json_schema_extra=_unit("degrees", live=True),
    )
    mirror: bool = Field(False, description="act as into a mirror", json_schema_extra=_LIVE)


class RendererSettings(Section):
    """What draws the target."""

    name: str = Field(
        "auto",
        description="auto: what draws the target best, as measured when it was made; or one of "
        "`reenact plugins`",
    )
    size: Literal[128, 256, 512] = Field(
        256, description="side of the generated crop", json_schema_extra=_unit("px")
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: CUDA where there is one"
    )
    engine: Literal["auto", "torch", "openvino"] = Field(
        "auto", description="auto: OpenVINO on a CPU, torch on CUDA"
    )
    threads: int = Field(0, ge=0, le=64, description="CPU threads of the engine; 0: all cores")
    weights: str = Field(
        "",
        description="path of a .safetensors file; empty: the target's own, else the shipped ones",
    )
    sharpen: float = Field(
        0.5,
        ge=0,
        le=1,
        description="unsharp mask beside the skin, where warp_unet is a little soft, and at 512 "
        "half of it on skin; 0: none; weights trained on the target get less",
        json_schema_extra=_LIVE,
    )
    teeth: bool = Field(
        True,
        description="where warp_unet draws teeth that no photo of the target shows, draw the gaps "
        "between them",
        json_schema_extra=_LIVE,
    )


class SmoothingSettings(Section):
    """One-Euro filters (Casiez 2012) and the picture's; in seconds, nothing counts frames."""

    enabled: bool = Field(True, description="smooth at all", json_schema_extra=_LIVE)
    pose_min_cutoff: float = Field(
        0.6,
        gt=0,
        le=60,
        description="cut-off of a still head",
        json_schema_extra=_unit("Hz", live=True),
    )
    pose_beta: float = Field(
        25.0,
        ge=0,
        le=100,
        description="how fast the cut-off rises with the head's speed (Hz per iod/s)",
        json_schema_extra=_LIVE,
    )
    expression_min_cutoff: float = Field(
        1.1,
        gt=0,
        le=60,
        description="cut-off of a still expression",
        json_schema_extra=_unit("Hz", live=True),
    )
    expression_beta: float = Field(
        100.0,
        ge=0,
        le=500,
        description="how fast the cut-off rises with the expression's speed (Hz per iod/s)",
        json_schema_extra=_LIVE,
    )
    picture_min_cutoff: float = Field(
        0.06,
        gt=0,
        le=60,
        description="cut-off of what hardly changes in the picture (60: it passes almost as drawn)",
        json_schema_extra=_unit("Hz", live=True),
    )
    body_time: float = Field(
        0.4,
        ge=0,
        le=10,
        description="how late shoulders follow the head (0: at once)",
        json_schema_extra=_unit("s", live=True),
    )


class OutputSettings(Section):
    """The picture that leaves the program."""

    picture: Literal["plate", "crop"] = Field(
        "plate",
        description="plate: the whole picture of the target; crop: the generated square alone",
    )
    background: Literal["keep", "transparent"] = Field(
        "keep",
        description="transparent: the target is cut out, for outputs with an alpha channel (obs)",
    )
    max_side: int = Field(
        1280,
        ge=128,
        le=4096,
        description="a larger plate is scaled down to this side",
        json_schema_extra=_unit("px"),
    )
    fps: float = Field(
        30.0, gt=0, le=240, description="rate of live outputs", json_schema_extra=_unit("frames/s")
    )
    match_colour: bool = Field(
        True, description="match the crop's border colours to the plate", json_schema_extra=_LIVE
    )
    show_raw_camera: bool = Field(
        False,
        description="show the actor beside the target; off, the actor's picture never leaves",
    )


class SinkSettings(Section):
    """Options of the outputs."""

    camera_device: str = Field("", description="virtual camera device or name; empty: the first")
    camera_backend: str = Field(
        "",
        description="pyvirtualcam backend: v4l2loopback, obs or unitycapture; empty: what works",
    )
    http_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="port of the HTTP stream on the loopback address; 0: any free one",
    )
    http_quality: int = Field(85, ge=10, le=100, description="JPEG quality of the HTTP stream")
    file_crf: int = Field(18, ge=0, le=51, description="H.264 quality of a file; lower is better")


class Settings(Section):
    """All settings of `reenact live`."""

    source: SourceSettings = Field(default_factory=SourceSettings)
    tracking: TrackingSettings = Field(default_factory=TrackingSettings)
    actor: ActorSettings = Field(default_factory=ActorSettings)
    fusion: FusionSettings = Field(default_factory=FusionSettings)
    renderer: RendererSettings = Field(default_factory=RendererSettings)
    smoothing: SmoothingSettings = Field(default_factory=SmoothingSettings)
    output: OutputSettings = Field(default_factory=OutputSettings)
    sink: SinkSettings = Field(default_factory=SinkSettings)


def load_settings(path: Path | None = None, assignments: Iterable[str] = ()) -> Settings:
    """Build the settings from defaults, an optional TOML file and `section.key=value` texts.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value is not allowed.
    """
    values: dict[str, Any] = {}
    if path is not None:
        values = read_toml(path)
    _check_keys(values, str(path))
    for text in assignments:
        _assign(values, text)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(first_problem(error)) from error


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ConfigError: there is no such file, or it is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError(f"There is no settings file {path}.") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} is not a readable TOML file: {error}") from error


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split `name=value`; the value is read as TOML, or kept as text where it is none.

    Raises:
        ConfigError: there is no name or no equals sign.
    """
    name, equals, value = text.partition("=")
    if not (equals and name.strip()):
        raise ConfigError(f"--set takes name=value, not {text!r}.")
    try:
        return name.strip(), tomllib.loads(f"value = {value.strip()}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


def describe() -> Iterator[tuple[str, str, Any, str]]:
    """Yield (section.key, type, default, help with unit) of every setting, for help texts."""
    for section_name, section in Settings.model_fields.items():
        section_type = section.annotation
        assert isinstance(section_type, type)
        assert issubclass(section_type, Section)
        for key, entry in section_type.model_fields.items():
            extra = entry.json_schema_extra if isinstance(entry.json_schema_extra, dict) else {}
            unit = f" [{extra['unit']}]" if "unit" in extra else ""
            live = " (live)" if extra.get("live") else ""
            kind = str(
                TypeAdapter[Any](entry.annotation or str).json_schema().get("type", "choice")
            )
            yield f"{section_name}.{key}", kind, entry.default, f"{entry.description}{unit}{live}"


def _sections() -> dict[str, type[Section]]:
    return {name: field.annotation for name, field in Settings.model_fields.items()}  # type: ignore[misc]


def _check_keys(values: Mapping[str, Any], origin: str) -> None:
    sections = _sections()
    for name, entries in values.items():
        if name not in sections:
            raise ConfigError(f"{origin}: {_unknown(name, sections)}")
        if not isinstance(entries, Mapping):
            raise ConfigError(f"{origin}: {name} is a section; write [{name}] and its keys below.")
        for key in entries:
            if key not in sections[name].model_fields:
                known = [f"{name}.{field}" for field in sections[name].model_fields]
                raise ConfigError(f"{origin}: {_unknown(f'{name}.{key}', known)}")


def _assign(values: dict[str, Any], text: str) -> None:
    name, value = parse_assignment(text)
    section, dot, key = name.partition(".")
    if not (dot and key):
        raise ConfigError(f"--set takes section.key=value, not {text!r}.")
    _check_keys({section: {key: value}}, "--set")
    values.setdefault(section, {})[key] = value


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}."
    return f"unknown setting {name}{hint}"


def first_problem(error: ValidationError) -> str:
    """Tell the first thing that validation found, in one sentence."""
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"])
    return f"{place}: {problem['msg']} (given: {problem['input']!r})."
