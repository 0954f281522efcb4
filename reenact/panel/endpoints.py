"""The endpoints of the API, each with its path, its body and the function it calls.

The routes, the OpenAPI document and the security tests are all generated from this table.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from reenact import registry
from reenact.config import FACE
from reenact.errors import PluginError, TargetError
from reenact.live.actions import ACTIONS
from reenact.live.presenter import Show
from reenact.live.presets import give_settings, import_preset, preset_names, preset_path
from reenact.panel.studio import Studio
from reenact.panel.widgets import widgets
from reenact.targets.manual_landmarks import POINTS

log = logging.getLogger(__name__)


def _shown(name: str) -> str:
    argument = ACTIONS[name].argument
    return f"{name}={argument}" if argument else name


class Body(BaseModel):
    """The content of a request; unknown keys are rejected."""

    model_config = ConfigDict(extra="forbid")


class StartBody(Body):
    """A session to start."""

    source: str = Field(max_length=500, description="such as webcam:0 or webcam:NAME")
    target: str = Field(max_length=100, description="name of a target")
    outputs: list[str] = Field(default=[], max_length=16, description="such as camera")


class NameBody(Body):
    """A name."""

    name: str = Field(max_length=100, description="name of a target")


class SourceBody(Body):
    """A source to preview; empty for none."""

    source: str = Field(max_length=500, description="such as webcam:0; empty: none")


class OutputBody(Body):
    """An output, and whether it is on."""

    output: str = Field(max_length=500, description="such as camera")
    on: bool = Field(description="whether it gets pictures")


class ShowBody(Body):
    """What is shown."""

    show: Literal["live", "rest", "frozen"] = Field(
        description="live: the target follows; rest: it is shown at rest; frozen: the picture stays"
    )


class CreateBody(Body):
    """A target to make."""

    name: str = Field(max_length=100, description="name of the new target")
    uploads: list[str] = Field(max_length=32, description="identifiers from POST /api/uploads")
    face: str = Field(
        "largest",
        max_length=9,
        pattern=FACE,
        description="which of several faces: largest, centre, or a number from the left, from 0",
    )
    consent: Literal[True] = Field(description="the user confirms that the face may be used")


class AddBody(Body):
    """Videos of a target's face."""

    uploads: list[str] = Field(
        min_length=1, max_length=32, description="identifiers from POST /api/uploads"
    )


class TakeBody(Body):
    """A recording of the camera."""

    seconds: float = Field(20.0, ge=5, le=300, description="its length")


class ImportBody(Body):
    """An exported target."""

    upload: str = Field(max_length=100, description="identifier from POST /api/uploads")
    name: str | None = Field(None, max_length=100, description="name to store it under")


class BackgroundBody(Body):
    """A picture for the background."""

    name: str = Field(max_length=100, description="name to store it under")
    upload: str = Field(max_length=100, description="identifier from POST /api/uploads")


class PointsBody(Body):
    """Points of a face."""

    points: dict[str, tuple[float, float]] = Field(
        max_length=len(POINTS), description="[x, y] by name, in px of the target's picture"
    )


class TrainBody(Body):
    """A training."""

    minutes: float = Field(10, gt=0, le=240, description="maximum duration")


class ActBody(Body):
    """An action."""

    do: str = Field(
        max_length=300,
        description=f"one of {', '.join(_shown(name) for name in ACTIONS)}",
        examples=["rest", "target=anna", "target=next"],
    )


class SettingsBody(Body):
    """Settings by section.key."""

    values: dict[str, bool | float | str] = Field(description="such as fusion.mirror")


class PresetBody(Body):
    """A preset to store."""

    toml: str | None = Field(
        None, max_length=100_000, description="TOML text; null: the current settings"
    )


class RecordBody(Body):
    """A recording to start."""

    microphone: str | None = Field(
        None, max_length=200, description="microphone to record; empty: the default one; null: none"
    )


class NoBody(Body):
    """Nothing."""


Call = Callable[[Studio, Mapping[str, str], Any], Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One function of the API.

    Attributes:
        method: HTTP method.
        path: may contain names in braces; their values are the second argument of `call`.
        summary: one line for the OpenAPI document.
        call: receives the studio, the values in the path, and the body; its result becomes JSON.
        body: content of the request; None for GET.
    """

    method: str
    path: str
    summary: str
    call: Call
    body: type[Body] | None = None


def _set_show(studio: Studio, body: ShowBody) -> None:
    controls = studio.running()
    {
        Show.LIVE.value: controls.resume,
        Show.REST.value: controls.panic,
        Show.FROZEN.value: controls.freeze,
    }[body.show]()


def _outputs(studio: Studio) -> list[dict[str, Any]]:
    """Describe the outputs that can be switched on, also those that this run named."""
    found = []
    for name in registry.available("sinks"):
        try:
            spec = registry.load("sinks", name)
        except PluginError as error:  # the others can be switched on
            log.warning("%s", error)
            continue
        needs_argument = spec.argument and not spec.argument.startswith("[")
        if name != "null" and not needs_argument:
            found.append({"output": name, "summary": spec.summary, "needs": spec.needs})
    listed = {one["output"] for one in found}
    named = [one for one in studio.named_outputs if one not in listed and one[:5] != "file:"]
    return [*found, *({"output": one, "summary": one, "needs": ""} for one in named)]


def _stop_job(studio: Studio, number: str) -> None:
    try:
        job = studio.jobs.get(int(number))
    except ValueError:  # it is no number, or one of thousands of digits
        job = None
    if job is None or job.state != "running":
        raise TargetError("That job has ended.")
    if job.kind == "switch":
        raise TargetError("A change of the target cannot be stopped; choose the old one again.")
    job.stop_wanted.set()


def _save_preset(studio: Studio, name: str, toml: str | None) -> None:
    if toml is None:
        studio.running().save_preset(name)
    else:
        import_preset(name, toml)


def _keep_settings(studio: Studio, target: str) -> list[str]:
    names = studio.keep_with_target(target)
    studio.gallery.changes += 1
    return names


def _forget_settings(studio: Studio, target: str) -> None:
    give_settings(studio.gallery.store, target, [], anew=True)
    studio.gallery.changes += 1


ENDPOINTS: Final = (
    Endpoint("GET", "/api/state", "Everything that the page shows", lambda s, p, b: s.state()),
    Endpoint("GET", "/api/sources", "The cameras", lambda s, p, b: s.sources()),
    Endpoint("GET", "/api/outputs", "Available outputs", lambda s, p, b: _outputs(s)),
    Endpoint("GET", "/api/targets", "The targets", lambda s, p, b: s.gallery.list()),
    Endpoint(
        "GET",
        "/api/settings",
        "All settings; `waiting` are those that get this value at the next start",
        lambda s, p, b: widgets(s.settings(), s.waiting()),
    ),
    Endpoint("GET", "/api/presets", "The presets", lambda s, p, b: preset_names()),
    Endpoint(
        "POST",
        "/api/start",
        "Start a session",
        lambda s, p, b: s.start_offered(b.source, b.target, b.outputs),
        StartBody,
    ),
    Endpoint("POST", "/api/stop", "End the session", lambda s, p, b: s.stop(), NoBody),
    Endpoint(
        "POST",
        "/api/watch",
        "Preview a camera before the start",
        lambda s, p, b: s.watch_source(b.source),
        SourceBody,
    ),
    Endpoint(
        "POST",
        "/api/target",
        "Fade to another target",
        lambda s, p, b: s.switch(b.name).number,
        NameBody,
    ),
    Endpoint(
        "POST",
        "/api/act",
        "Perform an action of a key or button; returns a message",
        lambda s, p, b: s.act(b.do),
        ActBody,
    ),
    Endpoint(
        "POST", "/api/show", "Follow, rest or freeze", lambda s, p, b: _set_show(s, b), ShowBody
    ),
    Endpoint(
        "POST",
        "/api/neutral",
        "Take the actor's current face as the neutral face",
        lambda s, p, b: s.running().set_neutral(),
        NoBody,
    ),
    Endpoint(
        "DELETE",
        "/api/neutral",
        "Restore the previous neutral face",
        lambda s, p, b: s.running().undo_neutral(),
        NoBody,
    ),
    Endpoint(
        "POST",
        "/api/motion",
        "Play the emotion's motion once",
        lambda s, p, b: s.running().play_motion(),
        NoBody,
    ),
    Endpoint(
        "PATCH",
        "/api/settings",
        "Change settings; returns those that take effect at the next start",
        lambda s, p, b: s.update(b.values),
        SettingsBody,
    ),
    Endpoint(
        "POST",
        "/api/backgrounds",
        "Keep an uploaded picture for output.background; returns its name there",
        lambda s, p, b: s.add_background(b.name, b.upload),
        BackgroundBody,
    ),
    Endpoint(
        "DELETE",
        "/api/backgrounds/{name}",
        "Delete a picture for output.background; a session that shows it goes on without",
        lambda s, p, b: s.remove_background(p["name"]),
        NoBody,
    ),
    Endpoint(
        "POST",
        "/api/outputs",
        "Switch an output on or off",
        lambda s, p, b: s.set_output(b.output, b.on),
        OutputBody,
    ),
    Endpoint(
        "POST",
        "/api/recording",
        "Start a recording; returns its file",
        lambda s, p, b: str(s.running().start_recording(microphone=b.microphone)),
        RecordBody,
    ),
    Endpoint(
        "DELETE",
        "/api/recording",
        "Finish the recording; returns its file",
        lambda s, p, b: str(s.running().stop_recording()),
        NoBody,
    ),
    Endpoint(
        "POST",
        "/api/obs-sound",
        "Delay the microphones of OBS by the delay of the picture",
        lambda s, p, b: s.running().delay_obs_sound(),
        NoBody,
    ),
    Endpoint(
        "PUT",
        "/api/presets/{name}",
        "Store the current settings, or those of a file, as a preset",
        lambda s, p, b: _save_preset(s, p["name"], b.toml),
        PresetBody,
    ),
    Endpoint(
        "POST",
        "/api/presets/{name}",
        "Apply a preset; returns the settings that take effect at the next start",
        lambda s, p, b: s.load_preset(p["name"]),
        NoBody,
    ),
    Endpoint(
        "DELETE",
        "/api/presets/{name}",
        "Delete a preset",
        lambda s, p, b: preset_path(p["name"]).unlink(missing_ok=True),
        NoBody,
    ),
    Endpoint(
        "POST",
        "/api/targets",
        "Make a target of uploaded files; returns the number of the job",
        lambda s, p, b: s.gallery.create(b.name, b.uploads, b.face).number,
        CreateBody,
    ),
    Endpoint(
        "POST",
        "/api/takes",
        "Record the camera that is previewed or in use; returns an identifier like /api/uploads",
        lambda s, p, b: s.record_camera(b.seconds),
        TakeBody,
    ),
    Endpoint(
        "POST",
        "/api/names",
        "Check that a new target can have a name",
        lambda s, p, b: s.gallery.check_free(b.name),
        NameBody,
    ),
    Endpoint(
        "POST",
        "/api/import",
        "Store an exported target; returns its name. The upload stays if the name is taken",
        lambda s, p, b: s.gallery.import_file(b.upload, b.name),
        ImportBody,
    ),
    Endpoint(
        "PATCH",
        "/api/targets/{name}",
        "Rename a target",
        lambda s, p, b: s.rename(p["name"], b.name),
        NameBody,
    ),
    Endpoint(
        "DELETE",
        "/api/targets/{name}",
        "Remove a target; it can be restored until the panel ends",
        lambda s, p, b: s.remove(p["name"]),
        NoBody,
    ),
    Endpoint(
        "POST",
        "/api/targets/{name}/restore",
        "Restore a removed target",
        lambda s, p, b: s.restore(p["name"]),
        NoBody,
    ),
    Endpoint(
        "GET",
        "/api/targets/{name}/points",
        "Where the points of a target's face are in its picture",
        lambda s, p, b: s.gallery.points(p["name"]),
    ),
    Endpoint(
        "PUT",
        "/api/targets/{name}/points",
        "Correct the face of a target by some of its points",
        lambda s, p, b: s.gallery.place(p["name"], b.points),
        PointsBody,
    ),
    Endpoint(
        "POST",
        "/api/targets/{name}/settings",
        "Keep the settings changed since the target is shown with it; returns their names",
        lambda s, p, b: _keep_settings(s, p["name"]),
        NoBody,
    ),
    Endpoint(
        "DELETE",
        "/api/targets/{name}/settings",
        "Forget a target's own settings; what is shown changes when it is chosen again",
        lambda s, p, b: _forget_settings(s, p["name"]),
        NoBody,
    ),
    Endpoint(
        "POST",
        "/api/targets/{name}/videos",
        "Add uploaded videos of its face to a target; returns the number of the job",
        lambda s, p, b: s.gallery.add(p["name"], b.uploads).number,
        AddBody,
    ),
    Endpoint(
        "POST",
        "/api/targets/{name}/train",
        "Train a target on its own video; returns the number of the job",
        lambda s, p, b: s.train(p["name"], b.minutes).number,
        TrainBody,
    ),
    Endpoint(
        "DELETE",
        "/api/jobs/{number}",
        "End a job early; a training keeps its best state, and no target is made",
        lambda s, p, b: _stop_job(s, p["number"]),
        NoBody,
    ),
    Endpoint(
        "GET",
        "/api/features",
        "What actor and target do now",
        lambda s, p, b: [asdict(one) for one in s.running().features()],
    ),
)
