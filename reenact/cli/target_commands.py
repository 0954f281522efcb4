"""What `reenact target` does. Each function takes the parsed arguments.

Heavy modules are imported where they are used, so that `reenact --help` answers at once.
"""

from __future__ import annotations

from argparse import Namespace
from contextlib import closing
from itertools import chain, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from reenact.cli.live import EXIT_INTERRUPTED, SAVING, Interruption
from reenact.cli.prompts import ask_consent, confirm_export, confirm_removal
from reenact.errors import TargetError, counted, quoted
from reenact.lifecycle import quiet_native_libraries

if TYPE_CHECKING:
    from reenact.targets.store import TargetStore


def create(arguments: Namespace) -> None:
    """Create a target from pictures or videos, and choose the renderer that draws it best."""
    from reenact.evaluation.renderer_selection import FLOOR, choose_renderer
    from reenact.sources.image_file import check_file
    from reenact.targets.library import create_target, still_tracker
    from reenact.targets.manual_landmarks import read_manual_landmarks

    store = _store()
    store.check_free(arguments.name)
    for source in arguments.sources:
        check_file(source, "photo or video")
    landmarks = None
    if arguments.landmarks is not None:
        if arguments.face != "largest":
            raise TargetError("The landmarks say which face it is; leave --face out.")
        landmarks = read_manual_landmarks(arguments.landmarks)
    notes = {"consent": ask_consent(arguments.name, arguments.yes)}
    with quiet_native_libraries(), store.scratch() as scratch:
        footage = scratch / "footage"
        sources = _with_take(arguments, scratch)
        with closing(still_tracker()) as tracker:
            target = create_target(
                arguments.name,
                sources,
                tracker,
                face=arguments.face,
                metadata=notes,
                landmarks=landmarks,
                footage=footage,
            )
        target = choose_renderer(target)
        store.create(target, footage=footage)
    count, files = len(target.references), len(sources)
    chosen = f", chosen from {files} files" if files > count else ""
    print(f"{target.name} is ready, with {counted(count, 'reference picture')}{chosen}.")
    if target.metadata["expressions"] == "absolute":
        print(
            "The face in its picture is not at rest. A calm actor still gives a calm face "
            "(fusion.mode=absolute)."
        )
    if target.renderer == FLOOR:
        print("The generators do not suit this kind of face, so the mesh warp alone will draw it.")
    print(f"Try it: reenact live --source webcam:0 --target {quoted(target.name)} --sink window")


def add(arguments: Namespace) -> None:
    """Add videos of the same face to a target, as reference pictures and to train on."""
    from reenact.targets.additions import add_videos, summary
    from reenact.targets.library import still_tracker

    store = _store()
    store.check_idle(arguments.name)  # before the camera records
    with quiet_native_libraries(), store.scratch() as scratch:
        videos = _with_take(arguments, scratch)
        with closing(still_tracker()) as tracker:
            added = add_videos(store, arguments.name, videos, tracker, face=arguments.face)
    print(summary(arguments.name, added))
    if added:
        print("Where it is shown, choose it again.")


def train(arguments: Namespace) -> int:
    """Train the generator on a target's own video; Ctrl-C ends it and keeps the best state."""
    from reenact.models.inference import choose_device
    from reenact.targets.target_training import summary, train_target

    store = _store()
    device = choose_device(arguments.device)

    def begun(preview: Path) -> None:
        print(f"Preview, if the generator draws one: {preview}")
        print("Ctrl-C ends the training and keeps the best state.")

    with Interruption(SAVING) as interruption:
        outcome = train_target(
            store,
            arguments.name,
            minutes=arguments.minutes,
            device=device,
            renderer=arguments.renderer,
            stop=lambda: interruption.came,
            begun=begun,
        )
    print(summary(arguments.name, outcome))
    return EXIT_INTERRUPTED if outcome.stopped else 0


def _with_take(arguments: Namespace, folder: Path) -> list[Path]:
    """Return the given videos and photos, and a recording of the camera if one is wanted."""
    from reenact.config import Settings
    from reenact.progress import progress_bar
    from reenact.targets.camera_take import camera_frames, record_take, take_name

    if arguments.camera is None:
        return list(arguments.sources)
    path = folder / take_name()
    with closing(camera_frames(arguments.camera, Settings().source)) as frames:
        first = next(frames)
        print(
            f"You are recorded for {arguments.seconds:g} s. Look calmly into the camera first. "
            "Then speak, smile, blink, and turn your head slowly. Ctrl-C ends it earlier."
        )
        bar = progress_bar(total=arguments.seconds, bar_format="{l_bar}{bar}| {n:.0f} s")
        with Interruption() as interruption, bar:
            record_take(
                takewhile(lambda _: not interruption.came, chain([first], frames)),
                path,
                arguments.seconds,
                lambda length_s: bar.update(length_s - bar.n),
            )
    return [*arguments.sources, path]


def list_targets(arguments: Namespace) -> None:
    """List the stored and the built-in targets."""
    from reenact.targets.library import BUILT_IN

    for name in _store().list():
        print(name)
    for name in BUILT_IN:
        print(f"{name}  (built in)")


def show(arguments: Namespace) -> None:
    """Describe a target."""
    print(_store().show(arguments.name))


def settings(arguments: Namespace) -> None:
    """Give a target settings of its own, and print all that it has."""
    from reenact.live.presets import assigned, give_settings, own_settings

    store, name = _store(), arguments.name
    store.folder_of(name)
    if arguments.reset or arguments.assignments:
        give_settings(store, name, arguments.assignments, anew=arguments.reset)
    for line in assigned(own_settings(store, name)):
        print(line)


def export(arguments: Namespace) -> None:
    """Write a target to a file."""
    path = _store().export_path(arguments.name, arguments.file)
    confirm_export(path, arguments.yes)
    path = _store().export_file(arguments.name, arguments.file)
    print(f"{arguments.name} was written to {path}.")


def import_file(arguments: Namespace) -> None:
    """Store a target from an exported file."""
    from reenact.live.presets import allowed_settings

    name = _store().import_file(arguments.file, arguments.name, allowed_settings)
    print(f"{name} is ready.")


def rename(arguments: Namespace) -> None:
    """Rename a target."""
    _store().rename(arguments.name, arguments.new)
    print(f"{arguments.name} is now called {arguments.new}.")


def remove(arguments: Namespace) -> None:
    """Remove a target."""
    store = _store()
    confirm_removal(arguments.name, store.irreplaceable_parts(arguments.name), arguments.yes)
    store.remove(arguments.name)
    print(f"{arguments.name} was removed.")


def _store() -> TargetStore:
    from reenact.targets.store import TargetStore

    return TargetStore()
