"""Presets: settings as a TOML file to keep or share.

`reenact live CONFIG` reads such a file, too. The ones that are saved here hold all live settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reenact.config import Settings, as_toml
from reenact.errors import ConfigError
from reenact.live.settings import given_names, load_settings, walk
from reenact.storage import atomic_write, data_folder
from reenact.targets.store import checked_name

SUFFIX = ".toml"


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
    sections: dict[str, list[str]] = {}
    for name, value in live_settings(settings).items():
        section, _, key = name.rpartition(".")
        sections.setdefault(section, []).append(f"{key} = {as_toml(value)}")
    text = "\n\n".join("\n".join([f"[{name}]", *lines]) for name, lines in sections.items())
    with atomic_write(path, error=ConfigError, parents=True) as partial:
        partial.write_text(f"{text}\n", encoding="utf-8")


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
    if settings.output.show_raw_camera:  # a preset may be somebody else's
        raise ConfigError(
            f"The preset {name} would show your own camera picture (output.show_raw_camera); "
            "remove that line. If you want it, set it under Settings."
        )
    given = set(given_names(settings))
    return {one.name: one.value for one in walk(settings) if one.name in given}


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
