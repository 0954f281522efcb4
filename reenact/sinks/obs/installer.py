"""`reenact obs`: adds the source to OBS, reports its state, and removes it again.

It changes only this program's own entries: a script in the list of scripts, and a source in the
current scene.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import Final

from reenact.errors import SinkError
from reenact.sinks.http_address import load_address
from reenact.sinks.obs.config_files import FLATPAK, ObsFiles, find_obs_files
from reenact.sinks.obs.ring import RingReader
from reenact.sinks.obs.scene_collection import (
    add_to_collection,
    has_script,
    read_collection,
    remove_from_collection,
    scenes_with_source,
    write_collection,
)
from reenact.sinks.obs.websocket import ObsRemote

FFMPEG_OPTIONS: Final = (
    "use_wallclock_as_timestamps=1 fflags=nobuffer flags=low_delay probesize=32 analyzeduration=0"
)
"""Options with which OBS's media source shows an MJPEG stream at once. The stream has no
timestamps, so FFmpeg would otherwise examine a second of it first."""

MEDIA_PORT: Final = 8088
"""The proposed port for a media source, whose address should not change."""

_POLL_S: Final = 0.5


def install(wait_s: float = 120.0) -> None:
    """Add the script to OBS and the source to its current scene; print what was done.

    If OBS is not running, its files are changed. A running OBS cannot be made to load a script, so
    the user is asked to do that, for up to `wait_s`. Raises SinkError if OBS was never started, or
    is running and cannot be reached.
    """
    files = _obs_files()
    running = files.is_running()
    remote = _remote(files) if running else None
    changed = files.put_script()
    if changed:
        print(f"The script is in {files.script}.")
    if remote is None:
        path = files.collection()
        collection = read_collection(path)
        done = add_to_collection(collection, files.script, files.canvas())
        if done:
            write_collection(path, collection)
        _print_all(done)
        print("Ready: start OBS, and `reenact live --sink obs`.")
    else:
        with closing(remote):
            _wait_for_script(remote, files, wait_s)
            _print_all(remote.add_source())
        if changed:
            print("If OBS had loaded an older script, restart it to use the new one.")
        print("Ready: `reenact live --sink obs`.")
    if files.is_flatpak:
        print(
            "OBS is a Flatpak, which cannot see other programs' shared memory. Allow it once with "
            f"`flatpak override --user --device=shm {FLATPAK}`, and restart OBS."
        )


def remove() -> None:
    """Remove everything that `install` added, from all scenes and scene collections.

    Raises SinkError if OBS is running and cannot be reached.
    """
    files = find_obs_files()
    if files is None:
        print("OBS was never started, so there is nothing to remove.")
        return
    if files.is_running():
        with closing(_remote(files)) as remote:
            _print_all(remote.remove_sources())
        print(
            "OBS is running, so its list of scripts was not changed: close it and run this again, "
            "or remove the script under Tools > Scripts."
        )
        return
    for path in files.collections():
        collection = read_collection(path)
        done = remove_from_collection(collection, files.script)
        if done:
            write_collection(path, collection)
        _print_all([f"{path.stem}: {words}" for words in done])
    files.delete_script()
    print("Everything that this program added to OBS is removed.")


def status() -> None:
    """Report the state of each part; changes nothing and asks for no password."""
    files = find_obs_files()
    if files is None:
        print("OBS         was never started")
    else:
        running = files.is_running()
        state = "is running" if running else "is not running"
        print(f"OBS         {state}; its settings: {files.folder}")
        print(f"script      {_script_status(files)}")
        print(f"scenes      {_scenes_status(files, running)}")
    print(f"picture     {_picture_status()}")


def delay_microphones(delay_ms: int) -> list[str]:
    """Delay the microphones of a running OBS; return their names.

    Raises SinkError if OBS is not running, needs a password to be typed, or has no microphone.
    """
    files = _obs_files()
    if not files.is_running():
        raise SinkError("OBS is not running; start it first.")
    with closing(ObsRemote(files.remote_control(), ask=str)) as remote:
        names = remote.delay_microphones(delay_ms)
    if not names:
        raise SinkError("OBS has no microphone; add one under Settings > Audio.")
    return names


def media_source() -> None:
    """Explain how to show the HTTP stream in OBS's media source without delay."""
    address = load_address()
    if address is None:
        print(f"No address is stored yet. Start a stream: reenact live --sink http:{MEDIA_PORT}")
        return
    print("In OBS: Sources > + > Media Source, with")
    for name, value in (
        ("Local File", "off"),
        ("Restart playback when source becomes active", "off"),
        ("Network Buffering", "0 MB"),
        ("Input", address.url("stream.mjpg")),
        ("Reconnect Delay", "1 s"),
        ("FFmpeg Options", FFMPEG_OPTIONS),
    ):
        print(f"  {name:<21} {value}")
    print(f"The address stays the same for streams started with --sink http:{address.port}")


def _obs_files() -> ObsFiles:
    files = find_obs_files()
    if files is None or not files.collection().is_file():
        raise SinkError(
            "OBS was never started: start it once, answer its first questions, close it, and try "
            "again. `reenact doctor` says how to get OBS."
        )
    return files


def _remote(files: ObsFiles) -> ObsRemote:
    try:
        return ObsRemote(files.remote_control())
    except SinkError as error:
        raise SinkError(
            f"OBS is running; close it and try again. Or, to keep it running: {error}"
        ) from error


def _wait_for_script(remote: ObsRemote, files: ObsFiles, wait_s: float) -> None:
    if remote.knows_source():
        return
    print(f"One step is left for you, in OBS: Tools > Scripts > +, and choose {files.script}")
    deadline_s = time.monotonic() + wait_s
    while not remote.knows_source():
        if time.monotonic() > deadline_s:
            raise SinkError(
                "OBS has not loaded the script; choose it in OBS or close OBS, and try again."
            )
        time.sleep(_POLL_S)


def _print_all(done: list[str]) -> None:
    for words in done:
        print(f"{words[0].upper()}{words[1:]}.")


def _script_status(files: ObsFiles) -> str:
    if files.has_this_script():
        return str(files.script)
    if files.script.exists():
        return "is of another version; `reenact obs install` updates it"
    return "is missing; `reenact obs install` adds it"


def _scenes_status(files: ObsFiles, running: bool) -> str:
    if running:
        try:
            with closing(ObsRemote(files.remote_control(), ask=str)) as remote:
                if not remote.knows_source():
                    return "OBS has not loaded the script"
                found = remote.sources()
                return f"OBS has the source: {', '.join(found)}" if found else "no source in OBS"
        except SinkError as error:
            return str(error)
    lines = []
    for path in files.collections():
        collection = read_collection(path)
        if has_script(collection, files.script):
            shown = ", ".join(scenes_with_source(collection)) or "no scene"
            lines.append(f"{path.stem}: in {shown}")
    return "; ".join(lines) or "the script is in no scene collection"


def _picture_status() -> str:
    with RingReader() as reader:
        first = reader.newest()
        if first is None:
            return "is not being written; start `reenact live --sink obs`"
        time.sleep(_POLL_S)
        second = reader.newest()
    height, width = first.picture.shape[:2]
    moving = second is not None and second.number != first.number
    return f"{width} x {height} px, {'is being written' if moving else 'is not changing'}"
