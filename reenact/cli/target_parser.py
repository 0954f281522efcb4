"""The parser of `reenact target`."""

from __future__ import annotations

import argparse
from pathlib import Path

from reenact.cli import target_commands
from reenact.cli.arguments import Adder, add_device, minutes


def add_target(adder: Adder[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    parser = adder.add_parser(
        "target", help="create, train, list, show, export, import, rename and remove targets"
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    _add_create(actions)
    _add_train(actions)

    listing = actions.add_parser("list", help="list the stored and built-in targets")
    listing.set_defaults(run=target_commands.list_targets)

    show = actions.add_parser("show", help="describe a target")
    show.add_argument("name", metavar="NAME")
    show.set_defaults(run=target_commands.show)

    export = actions.add_parser("export", help="write a target to a file")
    export.add_argument("name", metavar="NAME")
    export.add_argument("file", type=Path, metavar="FILE")
    export.set_defaults(run=target_commands.export)

    importing = actions.add_parser("import", help="store a target from an exported file")
    importing.add_argument("file", type=Path, metavar="FILE")
    importing.add_argument(
        "--name", metavar="NAME", help="the name of the target (default: its name when exported)"
    )
    importing.set_defaults(run=target_commands.import_file)

    rename = actions.add_parser("rename", help="rename a target")
    rename.add_argument("name", metavar="OLD")
    rename.add_argument("new", metavar="NEW")
    rename.set_defaults(run=target_commands.rename)

    remove = actions.add_parser("remove", help="remove a target")
    remove.add_argument("name", metavar="NAME")
    remove.add_argument(
        "--yes",
        action="store_true",
        help="do not ask (default: ask in a terminal if trained weights or footage would be lost)",
    )
    remove.set_defaults(run=target_commands.remove)


def _add_create(actions: Adder[argparse.ArgumentParser]) -> None:
    create = actions.add_parser("create", help="create a target from photos or a video")
    create.add_argument("name", metavar="NAME")
    create.add_argument(
        "--from",
        dest="sources",
        nargs="+",
        type=Path,
        required=True,
        metavar="PATH",
        help="photos or videos of one face",
    )
    create.add_argument(
        "--landmarks",
        type=Path,
        metavar="FILE",
        help="the landmarks of a single photo, for drawings and animals that the tracker does not "
        "recognise: a TOML or JSON file with points such as left_eye_outer = [135, 105] in px. "
        "Eight points are enough, and a message names those that are missing; all 478 work too",
    )
    create.add_argument(
        "--yes",
        action="store_true",
        help="confirm that you may use this face (default: ask in a terminal)",
    )
    create.set_defaults(run=target_commands.create)


def _add_train(actions: Adder[argparse.ArgumentParser]) -> None:
    train = actions.add_parser(
        "train",
        help="train the generator on a target's own video for some minutes",
        description=(
            "Training starts from the current weights and uses the video that the target was "
            "created from. The result is kept only if it is better on held-out frames. Half a "
            "minute of speaking, blinking and turning the head is enough. Training ends by itself "
            "once every frame was seen often enough. Ctrl-C ends it earlier and keeps the best "
            "state."
        ),
    )
    train.add_argument("name", metavar="NAME")
    train.add_argument(
        "--minutes",
        type=minutes,
        default=10.0,
        metavar="M",
        help="the longest time it may take (default: %(default)s)",
    )
    train.add_argument(
        "--from",
        dest="sources",
        nargs="+",
        type=Path,
        default=[],
        metavar="VIDEO",
        help="more videos of the same face; they are stored with the target, and replace those "
        "with the same name",
    )
    train.add_argument(
        "--renderer",
        metavar="NAME",
        help="the renderer to train (default: the one that draws the target, if it can be trained)",
    )
    add_device(train)
    train.add_argument(
        "--resume",
        action="store_true",
        help="continue where Ctrl-C ended the training (default: start again)",
    )
    train.set_defaults(run=target_commands.train)
