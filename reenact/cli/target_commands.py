"""What `reenact target` does. Each function takes the parsed arguments and returns the exit code.

Heavy modules are imported where they are used, so that `reenact --help` answers at once.
"""

from __future__ import annotations

import shlex
import tempfile
from argparse import Namespace
from contextlib import closing
from pathlib import Path

from reenact.cli.live import EXIT_INTERRUPTED, Interruption
from reenact.cli.prompts import ask_consent, confirm_removal
from reenact.lifecycle import quiet_native_libraries


def create(arguments: Namespace) -> int:
    """Create a target from pictures or videos, and choose the renderer that draws it best."""
    from reenact.evaluation.renderer_selection import FLOOR, choose_renderer
    from reenact.targets.library import TargetStore, create_target, still_tracker
    from reenact.targets.manual_landmarks import read_manual_landmarks

    store = TargetStore()
    store.check_free(arguments.name)
    landmarks = None if arguments.landmarks is None else read_manual_landmarks(arguments.landmarks)
    notes = {"consent": ask_consent(arguments.name, arguments.yes)}
    with quiet_native_libraries(), tempfile.TemporaryDirectory() as scratch:
        footage = Path(scratch) / "footage"
        with closing(still_tracker()) as tracker:
            target = create_target(
                arguments.name,
                arguments.sources,
                tracker,
                metadata=notes,
                landmarks=landmarks,
                footage=footage,
            )
        target = choose_renderer(target)
        store.create(target, footage=footage)
    count = len(target.references)
    print(f"{target.name} is ready, with {count} reference picture{'s' if count != 1 else ''}.")
    if target.renderer == FLOOR:
        print("The generator does not know such faces, so the mesh warp alone will draw it.")
    print(
        f"Try it: reenact live --source webcam:0 --target {shlex.quote(target.name)} --sink window"
    )
    return 0


def train(arguments: Namespace) -> int:
    """Train the generator on a target's own video; Ctrl-C ends it and keeps the best state."""
    from reenact.models.inference import choose_device
    from reenact.targets.library import TargetStore, still_tracker
    from reenact.targets.target_training import add_footage, summary, train_target

    store = TargetStore()
    device = choose_device(arguments.device)
    if arguments.sources:
        with quiet_native_libraries(), closing(still_tracker()) as tracker:
            add_footage(store, arguments.name, arguments.sources, tracker)

    def begun(preview: Path) -> None:
        print(f"Preview: {preview}\nCtrl-C ends the training and keeps the best state.")

    with Interruption() as interruption:
        outcome = train_target(
            store,
            arguments.name,
            minutes=arguments.minutes,
            device=device,
            renderer=arguments.renderer,
            resume=arguments.resume,
            stop=lambda: interruption.came,
            begun=begun,
        )
    print(summary(arguments.name, outcome))
    return EXIT_INTERRUPTED if outcome.stopped else 0


def list_targets(arguments: Namespace) -> int:
    """List the stored and the built-in targets."""
    from reenact.targets.library import BUILT_IN, TargetStore

    for name in TargetStore().list():
        print(name)
    for name in BUILT_IN:
        print(f"{name}  (built in)")
    return 0


def show(arguments: Namespace) -> int:
    """Describe a target."""
    from reenact.targets.library import TargetStore

    print(TargetStore().show(arguments.name))
    return 0


def export(arguments: Namespace) -> int:
    """Write a target to a file."""
    from reenact.targets.library import TargetStore

    path = TargetStore().export_file(arguments.name, arguments.file)
    print(f"{arguments.name} was written to {path}.")
    return 0


def import_file(arguments: Namespace) -> int:
    """Store a target from an exported file."""
    from reenact.targets.library import TargetStore

    name = TargetStore().import_file(arguments.file, arguments.name)
    print(f"{name} is ready.")
    return 0


def rename(arguments: Namespace) -> int:
    """Rename a target."""
    from reenact.targets.library import TargetStore

    TargetStore().rename(arguments.name, arguments.new)
    print(f"{arguments.name} is now called {arguments.new}.")
    return 0


def remove(arguments: Namespace) -> int:
    """Remove a target."""
    from reenact.targets.library import TargetStore

    store = TargetStore()
    confirm_removal(arguments.name, store.irreplaceable_parts(arguments.name), arguments.yes)
    store.remove(arguments.name)
    print(f"{arguments.name} was removed.")
    return 0
