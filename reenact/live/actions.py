"""What a key, a button or a knob can do to a session, by name.

The keys of the terminal and of the page, global hotkeys, MIDI devices and `POST /api/act` all name
the same actions, such as "rest" or "target=anna".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, get_args

from reenact.config import Emotion
from reenact.errors import ConfigError
from reenact.live.controls import Controls
from reenact.live.settings import Setting, walk


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do.

    Attributes:
        help: what it does, in a few words.
        do: does it and returns what to tell the user; gets what follows the "=" in its name.
        argument: how that is shown in help; "": there is none.
    """

    help: str
    do: Callable[[Controls, str], str]
    argument: str = ""


def _neutral(controls: Controls, _: str) -> str:
    controls.set_neutral()
    return "Your current face is now the neutral one."


def _undo_neutral(controls: Controls, _: str) -> str:
    controls.undo_neutral()
    return "The neutral face is the one before again."


def _panic(controls: Controls, _: str) -> str:
    resting = controls.snapshot()["show"] == "rest"
    (controls.resume if resting else controls.panic)()
    return "The target follows you again." if resting else "The target rests; the same goes on."


def _freeze(controls: Controls, _: str) -> str:
    frozen = controls.snapshot()["show"] == "frozen"
    (controls.resume if frozen else controls.freeze)()
    return "The target follows you again." if frozen else "The picture is frozen; the same goes on."


def _mirror(controls: Controls, _: str) -> str:
    return "Mirrored." if controls.mirror() else "Not mirrored."


def _record(controls: Controls, microphone: str) -> str:
    if controls.recording is None:
        named = {"": None, "usual": ""}.get(microphone, microphone)
        return f"Recording to {controls.start_recording(microphone=named)}."
    return f"Recorded: {controls.stop_recording()}"


def _motion(controls: Controls, _: str) -> str:
    controls.play_motion()
    return "A motion is played."


def _emotion(controls: Controls, emotion: str) -> str:
    controls.show_emotion(emotion)
    return "The target follows you again." if emotion == "actor" else f"{emotion.title()}."


def _intensity(controls: Controls, step: str) -> str:
    drive = controls.session.settings.drive
    try:
        wanted = drive.intensity + float(step)
    except ValueError:
        raise ConfigError(f"intensity={step}: give a number, such as intensity=+0.1.") from None
    controls.set_intensity(round(min(max(wanted, 0.0), 2.0), 2))
    return f"Intensity {drive.intensity:.1f}."


def _target(controls: Controls, name: str) -> str:
    controls.switch_target(name)
    return f"{name} is shown."


def _preset(controls: Controls, name: str) -> str:
    controls.load_preset(name)
    return f"{name} is in use."


def _output(controls: Controls, text: str) -> str:
    if text in {one["name"] for one in controls.outputs()}:
        controls.remove_output(text)
        return f"{text} is off."
    controls.add_output(text)
    return f"{text} is on."


def _stop(controls: Controls, _: str) -> str:
    controls.stop()
    return "The session ends."


ACTIONS: Final[Mapping[str, Action]] = {
    "neutral": Action("set neutral face", _neutral),
    "undo": Action("undo that", _undo_neutral),
    "rest": Action("rest, and go on", _panic),
    "freeze": Action("freeze, and go on", _freeze),
    "mirror": Action("mirror", _mirror),
    "record": Action("record, and stop", _record, "MICROPHONE"),
    "motion": Action("play a motion", _motion),
    "emotion": Action("show an emotion", _emotion, "|".join(get_args(Emotion))),
    "intensity": Action("more or less expression", _intensity, "+0.1"),
    "target": Action("change to a target", _target, "NAME"),
    "preset": Action("use a preset", _preset, "NAME"),
    "output": Action("switch an output", _output, "camera"),
    "stop": Action("end the session", _stop),
}


def act(controls: Controls, text: str) -> str:
    """Do what is named; return what to tell the user.

    Args:
        controls: of the session.
        text: a name of `ACTIONS`, with "=" and its argument if it takes one.

    Raises:
        ReenactError: there is no such action, or it failed; the message says why.
    """
    name, _, argument = text.strip().partition("=")
    check(text)
    return ACTIONS[name].do(controls, argument)


def check(text: str) -> None:
    """Raise ConfigError if this is not the name of an action."""
    name = text.strip().partition("=")[0]
    if name not in ACTIONS:
        raise ConfigError(f"There is no action {name}; known: {', '.join(ACTIONS)}.")


def turn(controls: Controls, name: str, share: float) -> None:
    """Turn a live setting, as a knob does.

    Args:
        controls: of the session.
        name: such as "drive.intensity".
        share: 0 to 1, from its lowest to its highest value, or through its choices.

    Raises:
        ConfigError: there is no such setting that is live and has a range.
    """
    for one in walk(controls.session.settings):
        if one.name == name and one.live:
            controls.update(one.section, one.key, _value(one, min(max(share, 0.0), 1.0)))
            return
    raise ConfigError(f"There is no setting {name} that can be turned while live.")


def _value(setting: Setting, share: float) -> bool | int | float | str:
    told = setting.schema
    if "enum" in told:
        choices: list[str] = told["enum"]
        return choices[min(int(share * len(choices)), len(choices) - 1)]
    if told.get("type") == "boolean":
        return share >= 0.5
    low, high = setting.range
    if low is None or high is None:
        raise ConfigError(f"{setting.name} has no range to turn it through.")
    value = low + max(share, 1e-3 if "exclusiveMinimum" in told else 0.0) * (high - low)
    return round(value) if told["type"] == "integer" else value


def bindings(text: str) -> dict[str, str]:
    """Return what follows each name in a text such as "ctrl+alt+f: freeze; ctrl+alt+n: neutral".

    Raises:
        ConfigError: a part has no colon.
    """
    bound = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, colon, action = part.partition(":")
        if not colon or not action.strip():
            raise ConfigError(f"{part!r} binds nothing; write it as NAME: ACTION.")
        bound[" ".join(name.lower().split())] = action.strip()
    return bound
