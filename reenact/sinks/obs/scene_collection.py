"""Changes the scripts and sources in OBS's scene collections on disk.

OBS reads a collection when it starts and writes it when it ends, so changes made while it runs are
lost.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from reenact.errors import SinkError
from reenact.storage import atomic_write

KIND: Final = "reenact"
"""The id of the source type that the script registers."""

SOURCE_NAME: Final = "Reenact"

_SCALE_TO_BOUNDS: Final = 2
_ALIGN_TOP_LEFT: Final = 5
_ALIGN_CENTRE: Final = 0

Json = dict[str, Any]


def read_collection(path: Path) -> Json:
    """Read a scene collection. Raises SinkError if it cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("not an object")
    except (OSError, ValueError) as error:
        raise SinkError(
            f"The scene collection {path} cannot be read ({error}); start OBS once, close it, and "
            "try again."
        ) from error
    return found


def write_collection(path: Path, collection: Json) -> None:
    """Write a scene collection atomically. Raises SinkError."""
    text = json.dumps(collection, ensure_ascii=False, indent=4)
    with atomic_write(path, parents=True) as partial:
        partial.write_text(text, encoding="utf-8")


def has_script(collection: Json, script: Path) -> bool:
    """Return True if OBS loads the script with this collection."""
    return any(entry.get("path") == script.as_posix() for entry in _scripts(collection))


def scenes_with_source(collection: Json) -> list[str]:
    """Return the names of the scenes and groups that show one of the script's sources."""
    ours = _own_names(collection)
    return [
        scene["name"]
        for scene in _scenes(collection)
        if any(item.get("name") in ours for item in scene["settings"].get("items", []))
    ]


def add_to_collection(collection: Json, script: Path, canvas: tuple[int, int]) -> list[str]:
    """Add the script, and its source to the current scene, if missing; return what was done.

    The collection is changed in place; the source is fitted into a canvas of (width, height) px.
    """
    done = []
    if not has_script(collection, script):
        modules = collection.setdefault("modules", {})
        # OBS writes paths with slashes on every system.
        modules.setdefault("scripts-tool", []).append({"path": script.as_posix(), "settings": {}})
        done.append("the script is registered")
    scene = _current_scene(collection)
    if scene is None or scenes_with_source(collection):
        return done
    taken = {source.get("name") for source in collection["sources"]}
    own = sorted(_own_names(collection))
    name = own[0] if own else free_name(taken)
    if not own:
        collection["sources"].append(
            {"id": KIND, "versioned_id": KIND, "name": name, "enabled": True, "settings": {}}
        )
    settings = scene["settings"]
    number = int(settings.get("id_counter", 0)) + 1
    settings["id_counter"] = number
    settings.setdefault("items", []).append(
        {
            "name": name,
            "id": number,
            "visible": True,
            "align": _ALIGN_TOP_LEFT,
            "pos": {"x": 0.0, "y": 0.0},
            "bounds_type": _SCALE_TO_BOUNDS,
            "bounds_align": _ALIGN_CENTRE,
            "bounds": {"x": float(canvas[0]), "y": float(canvas[1])},
        }
    )
    done.append(f"the source {name} is in the scene {scene['name']}")
    return done


def remove_from_collection(collection: Json, script: Path) -> list[str]:
    """Remove the script, its sources, and the items that show them; return what was done."""
    done = []
    ours = _own_names(collection)
    for scene in _scenes(collection):
        items = scene["settings"].get("items", [])
        kept = [item for item in items if item.get("name") not in ours]
        if len(kept) < len(items):
            scene["settings"]["items"] = kept
            done.append(f"the source is out of the scene {scene['name']}")
    collection["sources"] = [
        source for source in collection.get("sources", []) if source.get("name") not in ours
    ]
    if has_script(collection, script):
        modules = collection["modules"]
        modules["scripts-tool"] = [
            entry for entry in _scripts(collection) if entry.get("path") != script.as_posix()
        ]
        done.append("the script is no longer registered")
    return done


def free_name(taken: set[Any]) -> str:
    """Return an unused name for a source."""
    name, number = SOURCE_NAME, 2
    while name in taken:
        name, number = f"{SOURCE_NAME} {number}", number + 1
    return name


def _scripts(collection: Json) -> list[Json]:
    found = collection.get("modules", {}).get("scripts-tool", [])
    return found if isinstance(found, list) else []


def _scenes(collection: Json) -> list[Json]:
    """Return the scenes and groups, which are sources with items."""
    sources = [*collection.get("sources", []), *collection.get("groups", [])]
    return [
        source
        for source in sources
        if isinstance(source.get("settings"), dict) and source.get("id") in ("scene", "group")
    ]


def _current_scene(collection: Json) -> Json | None:
    scenes = [scene for scene in _scenes(collection) if scene["id"] == "scene"]
    wanted = collection.get("current_scene")
    return next((scene for scene in scenes if scene.get("name") == wanted), None) or next(
        iter(scenes), None
    )


def _own_names(collection: Json) -> set[str]:
    return {s["name"] for s in collection.get("sources", []) if s.get("id") == KIND}
