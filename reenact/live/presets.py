"""Presets: settings as a TOML file to keep or share, and those that belong to a target.

`reenact live CONFIG` reads such a file, too. The ones that are saved here hold all live settings. A
target's own settings are a few of them, in a file in its folder. They apply while it is shown.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from reenact.config import BACKGROUNDS, Settings, as_toml, read_toml
from reenact.errors import ConfigError, ReenactError
from reenact.live.settings import Setting, change, given_names, load_settings, walk
from reenact.storage import atomic_write, checked_name, data_folder
from reenact.targets.backgrounds import check_background
from reenact.targets.serialization import SETTINGS
from reenact.targets.store import TargetStore

SUFFIX = ".toml"

_NEVER: Final = "fusion.voice"
"""What no preset changes: it may be somebody else's, and no microphone is opened unasked."""

_LABEL: Final = "output.label"
_BACKGROUND: Final = "output.background"

log = logging.getLogger(__name__)


def preset_path(name: str) -> Path:
    """Return the file of a preset. Raises TargetError if the name cannot be a file name."""
    return presets_folder() / f"{checked_name(name, 'preset')}{SUFFIX}"


def presets_folder() -> Path:
    """Return the folder of the user's presets."""
    return data_folder() / "presets"


def preset_names() -> list[str]:
    """Return the sorted names of the presets."""
    return sorted(path.stem for path in presets_folder().glob(f"[!.]*{SUFFIX}"))


def live_settings(settings: Settings) -> dict[str, Any]:
    """Return the live settings by `section.key`, including those of components."""
    return {one.name: one.value for one in walk(settings) if one.live}


def write_preset(path: Path, settings: Settings) -> None:
    """Write the live settings to a TOML file.

    Raises:
        ConfigError: the file cannot be written.
    """
    _write(path, {k: v for k, v in live_settings(settings).items() if k != _NEVER})


def _write(path: Path, values: Mapping[str, Any]) -> None:
    with atomic_write(path, error=ConfigError, parents=True) as partial:
        partial.write_text(_toml(values), encoding="utf-8")


def _toml(values: Mapping[str, Any]) -> str:
    sections: dict[str, list[str]] = {}
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        sections.setdefault(section, []).append(f"{key} = {as_toml(value)}")
    text = "\n\n".join("\n".join([f"[{name}]", *lines]) for name, lines in sections.items())
    return f"{text}\n"


def read_preset(name: str) -> dict[str, Any]:
    """Return the settings that a preset gives, by `section.key`, after checking all of it.

    Raises:
        ReenactError: there is no such preset, a key or value is not allowed, or it shows the actor.
    """
    path = preset_path(name)
    if not path.exists():
        known = ", ".join(preset_names()) or "none yet"
        raise ConfigError(f"There is no preset {name!r}; there is {known}.")
    settings = load_settings(path)
    _check_actor_hidden(settings, f"The preset {name}")
    return {one.name: one.value for one in _given(settings)}


def _check_actor_hidden(settings: Settings, what: str) -> None:
    """Raise ConfigError if settings that may be somebody else's show the actor."""
    if settings.output.show_raw_camera:
        raise ConfigError(
            f"{what} would show your own camera picture (output.show_raw_camera); remove that "
            "line. If you want it, set it under Settings."
        )


def _given(settings: Settings) -> list[Setting]:
    """Return the settings that were given and are no defaults."""
    given = set(given_names(settings)) - {_NEVER}
    return [one for one in walk(settings) if one.name in given]


def import_preset(name: str, toml: str) -> None:
    """Check a preset given as text, and store it.

    Raises:
        ReenactError: it is not a preset, or it cannot be stored.
    """
    with atomic_write(preset_path(name), error=ConfigError, parents=True) as partial:
        partial.write_text(toml, encoding="utf-8")
        try:
            load_settings(partial)
        except ConfigError as error:
            raise ConfigError(str(error).replace(str(partial), f"The preset {name}")) from error


def assigned(values: Mapping[str, Any]) -> list[str]:
    """Return settings, given by `section.key`, as they are typed: `section.key=value`."""
    return [f"{name}={as_toml(value)}" for name, value in values.items()]


def own_settings(store: TargetStore, target: str) -> dict[str, Any]:
    """Return the settings of its own that a target has, by `section.key`, after checking them.

    It is empty for a target that is not stored. Raises ReenactError if one is not allowed.
    """
    path = store.folder_of(target) / SETTINGS if target in store else None
    return {} if path is None or not path.exists() else _checked(load_settings(path), target)


def give_settings(
    store: TargetStore, target: str, assignments: Iterable[str], *, anew: bool = False
) -> dict[str, Any]:
    """Give a target settings of its own, as `section.key=value`; return all that it then has.

    `anew`: in place of those it has. Raises ReenactError if there is no such target, or a setting
    is unknown or cannot change live.
    """
    path = store.folder_of(target) / SETTINGS
    given = _checked(load_settings(None, assignments), target)
    values = given if anew else {**own_settings(store, target), **given}
    _write(path, values)
    return values


def allowed_settings(path: Path) -> str:
    """Return those settings in a file, an imported target's own, that it may have here, as TOML.

    The log names the others: those that no target can have or that this version does not know, the
    label, which is the user's to choose, and a background picture, which is not in the file.
    """
    values: dict[str, Any] = {}
    left_out: list[str] = []
    try:
        given = list(_leaves(read_toml(path)))
    except (ConfigError, RecursionError):
        log.warning("The settings of the imported target are damaged, and left out.")
        return ""
    for name, value in given:
        try:
            checked = _checked(load_settings(None, assigned({name: value})), "The imported target")
        except (ReenactError, TypeError):  # a date, for example
            checked = {}
        if _LABEL in checked or checked.get(_BACKGROUND, BACKGROUNDS[0]) not in BACKGROUNDS:
            checked = {}
        values |= checked
        left_out += [] if checked else [repr(name)]
    if left_out:
        log.warning("Left out of the imported target's settings: %s.", ", ".join(left_out))
    return _toml(values) if values else ""


def _leaves(values: Mapping[str, Any], section: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the names, `section.key`, and the values in nested sections."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{section}{key}.")
        else:
            yield section + key, value


def _checked(settings: Settings, target: str) -> dict[str, Any]:
    """Return the given ones of these settings, which become those of a target."""
    _check_actor_hidden(settings, target)
    check_background(settings.output.background)
    if _NEVER in given_names(settings):
        raise ConfigError(f"{_NEVER} may open a microphone, so it cannot belong to a target.")
    given = _given(settings)
    for one in given:
        if not one.live:
            raise ConfigError(
                f"{one.name} cannot be changed while running, so it cannot belong to a target; set "
                "it for the whole run."
            )
    return {one.name: one.value for one in given}


@dataclass(frozen=True, slots=True)
class Shown:
    """What a target changes while it is shown.

    Attributes:
        usual: all live settings, by `section.key`, without its own, from when it was chosen.
        own: its own.
    """

    usual: Mapping[str, Any] = field(default_factory=dict)
    own: Mapping[str, Any] = field(default_factory=dict)

    @property
    def replaced(self) -> dict[str, Any]:
        """The usual values of its own settings."""
        return {name: self.usual[name] for name in self.own}


class OwnSettings:
    """Applies the settings of targets' own while they are shown. One thread at a time may call.

    Args:
        store: the stored targets.
        assignments: settings typed for this run, as `section.key=value`; no target changes them.

    Attributes:
        shown: what the shown target changes.
    """

    def __init__(self, store: TargetStore, assignments: Iterable[str] = ()) -> None:
        self.shown = Shown()
        self._store = store
        self._fixed = frozenset(given_names(load_settings(None, assignments)))

    def begin(self, target: str, settings: Settings) -> None:
        """Apply the own settings of the first target to the settings of a run, in place."""
        changes, self.shown = self.changes(target, live_settings(settings))
        for name, value in changes.items():
            change(settings, name, value)

    def changes(self, target: str, now: Mapping[str, Any]) -> tuple[dict[str, Any], Shown]:
        """Return what changes if a target is shown, and what `shown` then is.

        A target whose own settings cannot be read is shown without them; the log tells why.

        Args:
            target: the target that is to be shown.
            now: the live settings.
        """
        try:
            own = own_settings(self._store, target)
        except ReenactError as error:
            log.warning("The own settings of %s are not used: %s", target, error)
            own = {}
        own = {name: own[name] for name in (own.keys() & now.keys()) - self._fixed}
        return {**self.shown.replaced, **own}, Shown(self.usual(now), own)

    def usual(self, now: Mapping[str, Any]) -> dict[str, Any]:
        """Return the live settings `now` without those of the shown target."""
        return {**now, **self.shown.replaced}

    def keep(self, target: str, now: Mapping[str, Any]) -> list[str]:
        """Make what differs from the usual settings the own settings of the shown target.

        Returns their names. Raises ReenactError if it is not stored, or one is not allowed.
        """
        usual = self.shown.usual or now
        own = {name: now[name] for name in now.keys() & usual.keys() if now[name] != usual[name]}
        own = {name: own[name] for name in sorted(own.keys() - self._fixed - {_NEVER})}
        give_settings(self._store, target, assigned(own), anew=True)
        self.shown = Shown(usual, own)
        return list(own)
