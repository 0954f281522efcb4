"""Errors that a user can act on. Each message is one sentence or two and says what to do next."""

from __future__ import annotations


class ReenactError(Exception):
    """The user's mistake or a missing part: one sentence on stderr, exit code 2, no traceback."""


class SourceError(ReenactError):
    """A camera, video or image that cannot be opened or read."""


class NotAPictureError(SourceError):
    """A file whose content is that of no picture; it may be a video."""


class SinkError(ReenactError):
    """An output that cannot be opened or written."""


class TargetError(ReenactError):
    """A target that cannot be made, found, read or stored."""


class NameTakenError(TargetError):
    """A target's name that another target has already."""


class ModelError(ReenactError):
    """A model file that is missing, damaged or of another architecture."""


class NoWeightsError(ModelError):
    """A renderer that comes without weights and was given none."""


class ConfigError(ReenactError):
    """A setting that is unknown, out of range or of the wrong type."""


class PluginError(ReenactError):
    """A plugin that is unknown, or whose loading failed."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun, such as "1 frame" or "2 frames"; `plural`: if not by an s."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def quoted(word: str) -> str:
    """Return a name or path as it is typed in a command: in quotes if it has a space."""
    return f'"{word}"' if " " in word else word
