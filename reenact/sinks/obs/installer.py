"""`reenact obs`: brings the source into OBS, tells how it stands, and takes it out again.

Nothing of the user's scenes is touched but the source of this program: one script in the list of
scripts, one source in the present scene.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

from reenact.errors import SinkError
from reenact.sinks.http_address import HttpAddress, load_address
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
"""What OBS's media source needs to show an MJPEG stream at once: the stream carries no times, and
FFmpeg would look at a second of it before it shows anything."""

MEDIA_PORT: Final = 8088
"""The port that is proposed for a media source, whose address should stay."""

_POLL_S: Final = 0.5

Tell = Callable[[str], None]


def install(wait_s: float = 120.0, tell: Tell = print) -> None:
    """Put the script into OBS and the source into its present scene.

    While OBS does not run, all of it is done in its files. OBS cannot be told from outside to load
    a script: where it runs and has not loaded it, the user is told the one click and waited for.

    Args:
        wait_s: for that click.
        tell: is given a line at a time of what is done.

    Raises:
        SinkError: OBS was never started, or it runs and cannot be reached.
    """
    files = _obs_files()
    running = files.is_running()
    remote = _remote(files) if running else None
    changed = files.put_script()
    if changed:
        tell(f"The script is in {files.script}.")
    if remote is None:
        path = files.collection()
        collection = read_collection(path)
        done = add_to_collection(collection, files.script, files.canvas())
        if done:
            write_collection(path, collection)
        _tell_all(done, tell)
        tell("Ready: start OBS, and `reenact live --sink obs`.")
    else:
        with closing(remote):
            _wait_for_script(remote, files, wait_s, tell)
            _tell_all(remote.add_source(), tell)
        if changed:
            tell("If OBS had an older script loaded, start it again to use this one.")
        tell("Ready: `reenact live --sink obs`.")
    if files.is_flatpak:
        tell(
            "OBS is a Flatpak, which sees no shared memory of other programs; allow it once: "
            f"`flatpak override --user --device=shm {FLATPAK}`, and start OBS again."
        )


def remove(tell: Tell = print) -> None:
    """Take out all that `install` brought, from all scenes and scene collections.

    Raises:
        SinkError: OBS runs and cannot be reached.
    """
    files = _obs_files()
    if files.is_running():
        with closing(_remote(files)) as remote:
            _tell_all(remote.remove_sources(), tell)
        tell(
            "OBS runs, so its list of scripts could not be changed: close it and do this again, "
            "or take the script out under Tools > Scripts."
        )
        return
    for path in files.collections():
        collection = read_collection(path)
        done = remove_from_collection(collection, files.script)
        if done:
            write_collection(path, collection)
        _tell_all([f"{path.stem}: {words}" for words in done], tell)
    files.delete_script()
    tell("OBS is as it was.")


def status(tell: Tell = print) -> None:
    """Tell how each part stands; nothing is changed, and no password is asked for."""
    files = find_obs_files()
    if files is None:
        tell("OBS         was never started here")
    else:
        running = files.is_running()
        tell(f"OBS         {'runs' if running else 'does not run'}; its settings: {files.folder}")
        tell(f"script      {_script_status(files)}")
        tell(f"scenes      {_scenes_status(files, running)}")
    tell(f"picture     {_picture_status()}")


def media_source(tell: Tell = print) -> None:
    """Tell how OBS's own media source shows the HTTP stream without delay."""
    address = load_address()
    if address is None:
        tell(f"No address was kept yet. Start a stream: reenact live --sink http:{MEDIA_PORT}")
        return
    tell("In OBS: Sources > + > Media Source, with")
    for name, value in media_source_fields(address):
        tell(f"  {name:<21} {value}")
    tell(f"The address stays as long as the stream is started with --sink http:{address.port}")


def media_source_fields(address: HttpAddress) -> list[tuple[str, str]]:
    """Return the fields of OBS's media source, as OBS calls them, and what belongs there."""
    return [
        ("Local File", "off"),
        ("Restart playback when source becomes active", "off"),
        ("Network Buffering", "0 MB"),
        ("Input", address.url("stream.mjpg")),
        ("Reconnect Delay", "1 s"),
        ("FFmpeg Options", FFMPEG_OPTIONS),
    ]


def media_source_settings(address: HttpAddress) -> dict[str, object]:
    """Return the settings of an input of the kind `ffmpeg_source` that shows the stream."""
    return {
        "is_local_file": False,
        "input": address.url("stream.mjpg"),
        "buffering_mb": 0,
        "reconnect_delay_sec": 1,
        "restart_on_activate": False,
        "ffmpeg_options": FFMPEG_OPTIONS,
    }


def _obs_files() -> ObsFiles:
    files = find_obs_files()
    if files is None or not files.collection().is_file():
        raise SinkError(
            "OBS was never started here: start it once, answer its first questions, close it, and "
            "try again. Run `reenact doctor` to see how to get OBS."
        )
    return files


def _remote(files: ObsFiles) -> ObsRemote:
    try:
        return ObsRemote(files.remote_control())
    except SinkError as error:
        raise SinkError(
            f"OBS runs; close it and try again. Or, to go on with it: {error}"
        ) from error


def _wait_for_script(remote: ObsRemote, files: ObsFiles, wait_s: float, tell: Tell) -> None:
    if remote.knows_source():
        return
    tell(f"One click is left to you, in OBS: Tools > Scripts > +, and choose {files.script}")
    deadline_s = time.monotonic() + wait_s
    while not remote.knows_source():
        if time.monotonic() > deadline_s:
            raise SinkError(
                "OBS has not loaded the script. Choose it in OBS, or close OBS; then do this again."
            )
        time.sleep(_POLL_S)


def _tell_all(done: list[str], tell: Tell) -> None:
    for words in done:
        tell(f"{words[0].upper()}{words[1:]}.")


def _script_status(files: ObsFiles) -> str:
    if files.has_this_script():
        return str(files.script)
    if files.script.exists():
        return "is of another version; `reenact obs install` brings this one"
    return "is not there; `reenact obs install` brings it"


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
            return "nobody writes; start `reenact live --sink obs`"
        time.sleep(_POLL_S)
        second = reader.newest()
    height, width = first.picture.shape[:2]
    moving = second is not None and second.number != first.number
    return f"{width} x {height} px, {'is being written' if moving else 'stands still'}"
