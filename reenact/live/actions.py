"""The named actions that a key, a button or a knob can trigger in a session.

The keys of the terminal and of the page, global hotkeys, MIDI devices and `POST /api/act` all use
the same names, such as "rest" or "target=anna".
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, get_args

from reenact.config import Emotion
from reenact.errors import ConfigError
from reenact.expression.driving import MAX_INTENSITY
from reenact.live.controls import Controls
from reenact.live.settings import Setting, walk

STEPS: Final[Mapping[str, int]] = {"next": 1, "previous": -1}
"""Arguments of the action "target" that name no target, and how far they go."""

_MAX_SHOWN_S: Final = 3600
"""Longest time for which an emotion can be shown, s."""


@dataclass(frozen=True, slots=True)
class Action:
    """One action.

    Attributes:
        help: what it does, in a few words.
        do: performs it and returns a message for the user; receives the text after "=".
        argument: placeholder of the argument in help texts; "": it takes none.
        slow: it may take seconds.
    """

    help: str
    do: Callable[[Controls, str], str]
    argument: str = ""
    slow: bool = False


def _neutral(controls: Controls, _: str) -> str:
    controls.set_neutral()
    return "Your current face is now the neutral face."


def _undo_neutral(controls: Controls, _: str) -> str:
    controls.undo_neutral()
    return "The last change of the neutral face is undone, if there was one."


def _panic(controls: Controls, _: str) -> str:
    resting = controls.snapshot()["show"] == "rest"
    (controls.resume if resting else controls.panic)()
    return "The target follows you again." if resting else "The target rests; repeat to go on."


def _freeze(controls: Controls, _: str) -> str:
    frozen = controls.snapshot()["show"] == "frozen"
    (controls.resume if frozen else controls.freeze)()
    return "The target follows you again." if frozen else "The picture is frozen; repeat to go on."


def _hold(controls: Controls, _: str) -> str:
    if controls.hold():
        return "Your expression is held; repeat to go on."
    return "The target follows you again."


def _tongue(controls: Controls, _: str) -> str:
    out = controls.session.settings.drive.units.tongue == 0
    controls.update("drive.units", "tongue", float(out))
    return "The tongue is out; repeat to draw it in." if out else "The tongue is in."


def _mirror(controls: Controls, _: str) -> str:
    return "Mirrored." if controls.mirror() else "Not mirrored."


def _record(controls: Controls, microphone: str) -> str:
    if controls.recording is None:
        named = {"": None, "default": ""}.get(microphone, microphone)
        return f"Recording to {controls.start_recording(microphone=named)}."
    return f"Recorded: {controls.stop_recording()}"


def _picture(controls: Controls, _: str) -> str:
    return f"Picture: {controls.take_picture()}"


def _motion(controls: Controls, _: str) -> str:
    controls.play_motion()
    return "A motion is playing."


def _emotion(controls: Controls, text: str) -> str:
    emotion, _, seconds = text.partition(" ")
    if seconds:
        controls.show_emotion(emotion, _seconds(text, seconds))
        return f"{emotion.title()} for {float(seconds):g} s."
    if emotion == controls.session.settings.drive.emotion:
        emotion = "actor"
    controls.show_emotion(emotion)
    return "The target follows you again." if emotion == "actor" else f"{emotion.title()}."


def _seconds(text: str, seconds: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(seconds) <= _MAX_SHOWN_S:
            return float(seconds)
    raise ConfigError(
        f"emotion={text}: give seconds between 0 and {_MAX_SHOWN_S}, such as emotion=happy 5."
    )


def _intensity(controls: Controls, step: str) -> str:
    drive = controls.session.settings.drive
    try:
        wanted = drive.intensity + float(step)
    except ValueError:
        raise ConfigError(f"intensity={step}: give a number, such as intensity=+0.1.") from None
    controls.update("drive", "intensity", round(min(max(wanted, 0.0), MAX_INTENSITY), 2))
    return f"Intensity {drive.intensity:.1f}."


def _target(controls: Controls, name: str) -> str:
    if name in STEPS:
        name, shown = controls.step_target(STEPS[name])
    else:
        shown = controls.switch_target(name)
    return f"{name} is shown." if shown else f"{name} gave way to a later choice."


def _preset(controls: Controls, name: str) -> str:
    waiting = controls.load_preset(name)
    if not waiting:
        return f"{name} is in use."
    them = "it" if len(waiting) == 1 else "them"
    listed = ", ".join(waiting)
    return f"{name} is in use. {listed} cannot be changed while running; restart with {them}."


def _output(controls: Controls, text: str) -> str:
    on = controls.switch_output(text)
    return f"{text} is being switched on." if on else f"{text} is off."


def _stop(controls: Controls, _: str) -> str:
    controls.stop()
    return "The session is ending."


ACTIONS: Final[Mapping[str, Action]] = {
    "neutral": Action("set neutral face", _neutral),
    "undo": Action("undo that", _undo_neutral),
    "rest": Action("show the target at rest, or go on", _panic),
    "freeze": Action("freeze the picture, or go on", _freeze),
    "hold": Action("hold your expression, or go on", _hold),
    "tongue": Action("put the tongue out, or draw it in", _tongue),
    "mirror": Action("mirror", _mirror),
    "record": Action("start or stop a recording", _record, "MICROPHONE"),
    "picture": Action("store the picture that is shown", _picture, slow=True),
    "motion": Action("play a motion", _motion),
    "emotion": Action(
        "show an emotion, for some seconds or until it is repeated",
        _emotion,
        "|".join(get_args(Emotion)) + "[ SECONDS]",
    ),
    "intensity": Action("more or less expression", _intensity, "+0.1"),
    "target": Action("switch to a target", _target, "NAME|next|previous", slow=True),
    "preset": Action("use a preset", _preset, "NAME", slow=True),
    "output": Action("switch an output on or off", _output, "camera"),
    "stop": Action("end the session", _stop),
}


def act(controls: Controls, text: str) -> str:
    """Perform an action; return a message for the user.

    Args:
        controls: controls of the session.
        text: a name of `ACTIONS`, followed by "=" and its argument if it takes one.

    Raises:
        ReenactError: the action is unknown, or it failed; the message says why.
    """
    name, _, argument = text.strip().partition("=")
    check(text)
    return ACTIONS[name].do(controls, argument)


def without_waiting(text: str, work: Callable[[], object]) -> None:
    """Do the work of an action; one that may take seconds has a thread of its own.

    So a key that must act at once, such as "rest", does not wait for a target.
    """
    action = ACTIONS.get(text.strip().partition("=")[0])
    if action is not None and action.slow:
        threading.Thread(target=work, name=text, daemon=True).start()
    else:
        work()


def is_setting(text: str) -> bool:
    """Return whether a text names a setting, such as "drive.intensity", and not an action."""
    return "." in text.partition("=")[0]


def check(text: str) -> None:
    """Raise ConfigError if this is not an action."""
    name = text.strip().partition("=")[0]
    if name not in ACTIONS:
        raise ConfigError(f"There is no action {name}; known actions: {', '.join(ACTIONS)}.")


def turn(controls: Controls, name: str, share: float) -> None:
    """Set a live setting by the position of a knob.

    Args:
        controls: controls of the session.
        name: name of the setting, such as "drive.intensity".
        share: 0 to 1, from the lowest to the highest value, or through the choices.

    Raises:
        ConfigError: no live setting of this name has a range.
    """
    one = live_setting(controls, name)
    controls.update(one.section, one.key, _value(one, min(max(share, 0.0), 1.0)))


def live_setting(controls: Controls, name: str) -> Setting:
    """Return a setting by its name. Raises ConfigError if there is none or it is not live."""
    for one in walk(controls.session.settings):
        if one.name == name and one.live:
            return one
    raise ConfigError(f"There is no setting {name} that can be changed while live.")


def _value(setting: Setting, share: float) -> bool | int | float | str:
    told = setting.schema
    if "enum" in told:
        choices: list[str] = told["enum"]
        return choices[min(int(share * len(choices)), len(choices) - 1)]
    if told.get("type") == "boolean":
        return share >= 0.5
    low, high = setting.range
    if low is None or high is None:
        raise ConfigError(f"{setting.name} has no range that a knob could cover.")
    value = low + max(share, 1e-3 if "exclusiveMinimum" in told else 0.0) * (high - low)
    return round(value) if told["type"] == "integer" else value


def bindings(text: str) -> dict[str, str]:
    """Parse a text such as "ctrl+alt+f: freeze; ctrl+alt+n: neutral" into actions by name.

    Raises:
        ConfigError: a part has no colon.
    """
    bound = {}
    for part in filter(None, (part.strip() for part in text.split(";"))):
        name, colon, action = part.partition(":")
        if not colon or not action.strip():
            raise ConfigError(f"{part!r} has no colon; write it as NAME: ACTION.")
        bound[" ".join(name.lower().split())] = action.strip()
    return bound
