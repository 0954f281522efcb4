"""Every setting, declared once: type, default, range, unit, help, and whether it may change live.

An exchangeable part declares its own settings beside its spec in the same way. They form a section
of their own, such as `[sink.http]`. `live.settings` reads all settings from TOML and from `--set
section.key=value`.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from reenact.errors import ConfigError, TargetError
from reenact.storage import checked_name

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover - the same library under its older name
    import tomli as tomllib

Share = Annotated[float, Field(ge=0, le=1)]
"""A fraction, 0 to 1."""

UserPath = Annotated[str, AfterValidator(os.path.expanduser)]
"""The path of a file, in which a leading ~ is the user's home folder; "" if there is none."""

BACKGROUNDS: Final = ("keep", "blur", "colour", "transparent")
"""The values of `output.background` that name no picture of the user's."""


def _background_name(name: str) -> str:
    """Return a background's name as a file has it, which no pattern of pydantic's tells."""
    try:
        return checked_name(name, "background")
    except TargetError as error:
        raise PydanticCustomError("name", "not a name") from error


Emotion = Literal[
    "actor",
    "neutral",
    "angry",
    "contemptuous",
    "disgusted",
    "fearful",
    "happy",
    "sad",
    "surprised",
]
"""The values of `drive.emotion`: "actor", or one of `expression.emotions.EMOTIONS`."""


def unit(name: str, live: bool = False) -> dict[str, Any]:
    """Return the `json_schema_extra` of a setting with a unit, such as "px"."""
    return {"unit": name, "live": live}


def declared(entry: FieldInfo) -> dict[str, Any]:
    """Return what a setting declares besides its type: its "unit", and whether it is "live"."""
    extra = entry.json_schema_extra
    return dict(extra) if isinstance(extra, dict) else {}


_T = TypeVar("_T")

Live = Annotated[_T, Field(json_schema_extra={"live": True})]
"""A setting that may change while a session runs: `Live[bool]`."""

Gain = Annotated[float, Field(ge=0, le=2, json_schema_extra={"live": True})]
"""A factor that may change while a session runs."""

Degrees = Annotated[float, Field(ge=0, le=60, json_schema_extra=unit("degrees", live=True))]
"""An angle that may change while a session runs."""

Hertz = Annotated[float, Field(gt=0, le=60, json_schema_extra=unit("Hz", live=True))]
"""A cut-off frequency that may change while a session runs."""

Pixels = Annotated[int, Field(json_schema_extra=unit("px"))]
"""A width, height or side."""

FrameRate = Annotated[float, Field(gt=0, le=240, json_schema_extra=unit("frames/s"))]
"""Pictures in a second."""


class Section(BaseModel):
    """A group of settings. Assignments are validated; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, coerce_numbers_to_str=True)


OwnSettings = TypeVar("OwnSettings", bound=Section)


class PartsSection(Section):
    """A section that also holds the sections of parts, such as `source.webcam`.

    These are passed as instances by name: `SinkSettings(http=HttpSettings(port=8090))`.
    """

    model_config = ConfigDict(extra="allow")

    __pydantic_extra__: dict[str, SerializeAsAny[Section]]

    def parts(self) -> dict[str, Section]:
        """Return the sections of parts that were given, by name."""
        extra = self.__pydantic_extra__
        return {name: part for name, part in extra.items() if isinstance(part, Section)}

    def part(self, name: str, settings: type[OwnSettings]) -> OwnSettings:
        """Return the settings of the part of this name: as given, or defaults, which are kept.

        Raises TypeError if the settings given under this name have another class.
        """
        own = self.__pydantic_extra__.setdefault(name, settings())
        if not isinstance(own, settings):
            raise TypeError(f"{name} takes {settings.__name__}, not {type(own).__name__}")
        return own


class SourceSettings(PartsSection):
    """Where the actor's pictures come from; each source has its own section."""

    rotate: Literal[0, 90, 180, 270] = Field(
        0,
        description="turn the pictures clockwise, for a camera that lies on its side or hangs "
        "upside down",
        json_schema_extra=unit("degrees"),
    )


FACE: Final = r"^(largest|centre|[0-9]+)$"
"""Pattern of how one of several faces is chosen."""


class TrackingSettings(PartsSection):
    """Which face is tracked, and how certain it must be."""

    name: str = Field("mediapipe", description="the tracker; `reenact plugins` lists them")
    face: str = Field(
        "largest",
        pattern=FACE,
        description="the face to follow: largest, centre, or a number counted from the left, "
        "from 0; the last one if there are fewer",
    )
    min_confidence: float = Field(
        0.5, ge=0, le=1, description="a face found with less confidence counts as lost"
    )
    body: Live[bool] = Field(
        True,
        description="shoulders and hair follow the actor's where they are visible; otherwise they "
        "follow the head",
    )


class ActorSettings(Section):
    """The actor's own neutral face."""

    name: str = Field(
        "default",
        min_length=1,
        max_length=64,
        description="the name under which the actor's neutral face is stored and found again",
    )
    neutral: Literal["auto", "stored", "fresh"] = Field(
        "auto",
        description="auto: use the stored neutral, or estimate one and store it; stored: use "
        "only a stored one; fresh: estimate one and do not store it (the default for a video, a "
        "picture or an actor whom another program tracks, unless this or actor.name is set)",
    )


class FusionSettings(Section):
    """How the actor's expression is transferred to the target."""

    method: Literal["network", "direct"] = Field(
        "network",
        description="network: the landmark-fusion autoencoder; direct: add the actor's deviations "
        "unchanged",
    )
    mode: Live[Literal["auto", "relative", "absolute"]] = Field(
        "auto",
        description="relative: the actor's expression is added to the one in the target's picture; "
        "absolute: a calm actor gives a calm target, whatever its picture shows; auto: absolute "
        "if the picture smiles, speaks or has its eyes shut, else relative",
    )
    mouth: Gain = Field(1.0, description="gain of the mouth and jaw")
    eyes: Gain = Field(1.0, description="gain of the lids")
    gaze: Gain = Field(
        1.0, description="gain of the irises; at 0 the target looks where it looks in its picture"
    )
    brows: Gain = Field(1.0, description="gain of the brows")
    blinks: Live[Literal["actor", "automatic"]] = Field(
        "actor",
        description="actor: the lids follow the actor's; automatic: the target blinks by itself, "
        "whatever the actor's lids do",
    )
    voice: str = Field(
        "off",
        min_length=1,
        max_length=200,
        description="what opens the mouth where it is covered or no face is seen: off: nothing; "
        "microphone: your voice, by the system's microphone; or another microphone's name, or a "
        "part of it. Of a video it is the video's own sound",
        examples=["off", "microphone"],
        json_schema_extra={"live": True},
    )
    pose: Gain = Field(1.0, description="gain of the rotation of the head")
    translation: Live[Share] = Field(
        0.5, description="gain of the head's movement sideways, up, down and closer"
    )
    max_yaw: Degrees = Field(
        25.0, description="largest turn of the head from the target's own pose"
    )
    max_pitch: Degrees = Field(
        18.0, description="largest nod of the head from the target's own pose"
    )
    max_roll: Degrees = Field(
        25.0, description="largest tilt of the head from the target's own pose"
    )
    mirror: Live[bool] = Field(False, description="mirror the actor's movements")


class UnitSettings(Section):
    """Action units by hand, added to whatever drives the target; sides are the target's own."""

    mouth_open: Live[Share] = Field(0.0, description="parts the lips")
    jaw_drop: Live[Share] = Field(0.0, description="lowers the chin")
    smile_left: Live[Share] = Field(0.0, description="lifts the left corner of the mouth")
    smile_right: Live[Share] = Field(0.0, description="lifts the right corner of the mouth")
    frown: Live[Share] = Field(0.0, description="lowers the corners of the mouth")
    pucker: Live[Share] = Field(0.0, description="narrows the mouth")
    stretch: Live[Share] = Field(0.0, description="widens the mouth")
    upper_lip_raise: Live[Share] = Field(0.0, description="lifts the upper lip")
    lower_lip_depress: Live[Share] = Field(0.0, description="lowers the lower lip")
    mouth_left: Live[Share] = Field(0.0, description="moves the mouth to the left")
    mouth_right: Live[Share] = Field(0.0, description="moves the mouth to the right")
    brow_raise_left: Live[Share] = Field(0.0, description="lifts the left brow")
    brow_raise_right: Live[Share] = Field(0.0, description="lifts the right brow")
    brow_lower: Live[Share] = Field(0.0, description="lowers the brows and draws them together")
    blink_left: Live[Share] = Field(0.0, description="shuts the left eye")
    blink_right: Live[Share] = Field(0.0, description="shuts the right eye")
    eye_wide: Live[Share] = Field(0.0, description="opens both eyes wide")
    tongue: Live[Share] = Field(0.0, description="puts out the tongue; warp_unet draws it")


class DriveSettings(PartsSection):
    """What the target follows: the actor, an emotion, or a file."""

    emotion: Live[Emotion] = Field(
        "actor",
        description="actor: follow the actor, or drive.track if set; else the emotion to show",
    )
    intensity: Gain = Field(
        1.0,
        description="strength of the whole expression, the actor's and an emotion's: 0 neutral, "
        "1 as acted",
    )
    mix: Live[Share] = Field(
        0.5,
        description="how much of the actor's own expression an emotion replaces (0: the emotion is "
        "added, 1: only lids and gaze stay the actor's)",
    )
    track: UserPath = Field(
        "",
        description="a CSV or JSON lines file of emotions or action units over time; empty: none",
    )
    motion: str = Field(
        "",
        description="the motion by which an emotion appears, listed by `reenact plugins`; empty: a "
        "plain fade",
    )
    units: UnitSettings = Field(default_factory=UnitSettings)


class IdleSettings(Section):
    """What the target does while no face is seen."""

    life: Live[bool] = Field(
        True,
        description="breathe, blink and look around while no face is seen; otherwise keep still",
    )


class RendererSettings(PartsSection):
    """What draws the target."""

    name: str = Field(
        "auto",
        description="auto: the renderer that drew the target best when it was created; or one "
        "that `reenact plugins` lists",
    )
    size: Literal[128, 256, 512, 720, 1024] = Field(
        512,
        description="largest side of the generated crop, which is drawn hardly larger than it is "
        "shown; 128 is no faster than 256",
        json_schema_extra=unit("px", live=True),
    )
    adaptive: bool = Field(
        True,
        description="render at a smaller size while the machine cannot keep up with a camera; the "
        "output keeps its size",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto: CUDA if available, else the CPU"
    )
    engine: Literal["auto", "torch", "openvino"] = Field(
        "auto", description="auto: OpenVINO on a CPU, torch on CUDA"
    )
    threads: int = Field(
        0,
        ge=0,
        le=64,
        description="CPU threads of the engine; 0: the fastest number, which is measured once",
    )
    weights: UserPath = Field(
        "",
        description="path of a .safetensors file; empty: the target's own weights, else the "
        "shipped ones",
    )


class SmoothingSettings(Section):
    """One-Euro filters (Casiez 2012) on the landmarks, and a filter on the picture."""

    enabled: Live[bool] = Field(True, description="smooth the landmarks and the picture")
    pose_min_cutoff: Hertz = Field(0.6, description="cut-off frequency for a still head")
    pose_beta: Live[float] = Field(
        25.0,
        ge=0,
        le=100,
        description="how fast the cut-off rises with the speed of the head (Hz per iod/s)",
    )
    expression_min_cutoff: Hertz = Field(
        1.1, description="cut-off frequency for a still expression"
    )
    expression_beta: Live[float] = Field(
        100.0,
        ge=0,
        le=500,
        description="how fast the cut-off rises with the speed of the expression (Hz per iod/s)",
    )
    picture_min_cutoff: Hertz = Field(
        0.06,
        description="cut-off frequency for pixels that hardly change (60: almost no smoothing)",
    )


class OutputSettings(Section):
    """The picture that leaves the program."""

    picture: Literal["plate", "crop"] = Field(
        "plate",
        description="plate: the target's whole picture, or as much of it as fits into the shape; "
        "crop: only the square around the face, within the picture, or as little more as the shape "
        "takes",
    )
    shape: Live[Literal["picture", "16:9", "4:3", "1:1", "9:16"]] = Field(
        "picture",
        description="picture: as the target's picture; else width:height of the output, whatever "
        "the target: its picture is cut around the head, and continued out of focus where it is "
        "too narrow",
    )
    background: Annotated[str, AfterValidator(_background_name)] = Field(
        "keep",
        description="keep: that of the target's picture; blur: the same, blurred; colour: "
        "background_colour; transparent: none, for outputs with an alpha channel (obs, and .webm "
        "and .mov files); else the name of a picture, such as beach, in the folder backgrounds of "
        "the data folder",
        examples=list(BACKGROUNDS),
        json_schema_extra={"live": True},
    )
    background_colour: str = Field(
        "#00b140",
        pattern=r"^#[0-9a-fA-F]{6}$",
        description="the colour of the background, #rrggbb",
        json_schema_extra={"format": "color", "live": True},
    )
    label: str = Field(
        "",
        pattern="^[ -~\u00a1-\u024f\u0370-\u052f\u1e00-\u1fff]{0,60}$",
        description="text in the lower left corner, such as AI, that tells viewers that the "
        "picture is synthetic; up to 60 Latin, Greek or Cyrillic characters; empty: none",
        json_schema_extra={"live": True},
    )
    max_side: int = Field(
        1280,
        ge=128,
        le=4096,
        description="longest side of the plate; a larger one is scaled down. With a shape, 9/16 of "
        "it is the short side: 1280 gives 1280x720, 960x720, 720x720 or 720x1280",
        json_schema_extra=unit("px", live=True),
    )
    fps: float = Field(
        30.0,
        ge=1,  # a change of it is seen at the end of the present interval
        le=240,
        description="frame rate of the outputs of a camera; those of a file have the file's",
        json_schema_extra=unit("frames/s", live=True),
    )
    show_raw_camera: bool = Field(
        False,
        description="show the actor beside the target; otherwise no output shows the actor",
    )
    overwrite: bool = Field(
        False,
        description="replace existing files without asking; otherwise the program asks in a "
        "terminal, replaces them without one, and the panel refuses",
    )


class SinkSettings(PartsSection):
    """Where the picture goes; each sink has its own section."""


class RemoteSettings(PartsSection):
    """What controls a session from outside; each kind has its own section."""

    use: str = Field(
        "", description="the remote controls to use, such as `hotkeys, midi`; see `reenact plugins`"
    )

    def used(self) -> list[str]:
        """Return the names in `use`."""
        return [name for name in (part.strip() for part in self.use.split(",")) if name]


class Settings(Section):
    """All settings of `reenact live`."""

    source: SourceSettings = Field(default_factory=SourceSettings)
    tracking: TrackingSettings = Field(default_factory=TrackingSettings)
    actor: ActorSettings = Field(default_factory=ActorSettings)
    fusion: FusionSettings = Field(default_factory=FusionSettings)
    drive: DriveSettings = Field(default_factory=DriveSettings)
    idle: IdleSettings = Field(default_factory=IdleSettings)
    renderer: RendererSettings = Field(default_factory=RendererSettings)
    smoothing: SmoothingSettings = Field(default_factory=SmoothingSettings)
    output: OutputSettings = Field(default_factory=OutputSettings)
    sink: SinkSettings = Field(default_factory=SinkSettings)
    remote: RemoteSettings = Field(default_factory=RemoteSettings)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file. Raises ConfigError if there is no such file, or it is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError(f"There is no settings file {path}; check the path.") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path} is a folder; name a settings file in it.") from error
    except UnicodeDecodeError as error:  # such as UTF-16 of a PowerShell
        raise ConfigError(f"{path} is not text in UTF-8; save it in that encoding.") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # no TOML, or endless digits or brackets
        raise ConfigError(f"{path} is not a readable TOML file: {error}") from error


def as_toml(value: bool | float | str) -> str:
    """Return a value as it is written in a TOML file."""
    # JSON's form is TOML too, except for characters that it escapes in two halves, such as emoji.
    return json.dumps(value, ensure_ascii=False)


def parse_assignment(text: str) -> tuple[str, Any]:
    """Split `name=value`. The value is read as TOML; a date, and what is not TOML, stays text.

    Raises ConfigError if there is no name or no equals sign.
    """
    name, equals, value = text.partition("=")
    if not (equals and name.strip()):
        raise ConfigError(f"--set takes name=value, not {text!r}.")
    name, text = name.strip(), value.strip()
    with contextlib.suppress(ValueError, RecursionError):
        read = tomllib.loads(f"value = {text}")["value"]
        return name, text if isinstance(read, datetime.date | datetime.time) else read
    return name, text


def first_problem(error: ValidationError, section: str = "") -> str:
    """Tell the first thing that validation found, in one sentence.

    `section` is what the names in the error lack, with a dot at its end.
    """
    problem = error.errors()[0]
    place = section + ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "missing":
        return f"{place} is missing."
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"There is no setting {place}."
    return f"{place}: {problem['msg']} (given: {problem['input']!r})."
