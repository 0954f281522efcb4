"""The parser of `reenact target`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

from reenact.cli import target_commands as commands
from reenact.cli.arguments import MINUTES, SECONDS, Adder, add_assignments, add_device
from reenact.config import FACE
from reenact.storage import expanded


def add_target(adder: Adder[argparse.ArgumentParser]) -> None:
    """Add the command and its actions."""
    parser = adder.add_parser(
        "target",
        help="create, extend, train, list, show, export, import, rename and remove targets, and "
        "keep settings with them",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    _add_create(actions)
    _add_add(actions)
    _add_train(actions)

    _add_action(actions, "list", "list the stored and built-in targets", commands.list_targets)
    _add_action(actions, "show", "describe a target", commands.show, name="NAME")
    export = _add_action(
        actions, "export", "write a target to a file", commands.export, name="NAME"
    )
    export.add_argument("file", type=expanded, metavar="FILE")
    export.add_argument(
        "--yes",
        action="store_true",
        help="replace a file that exists (default: ask in a terminal, else refuse)",
    )
    importing = _add_action(actions, "import", "store a target from a file", commands.import_file)
    importing.add_argument("file", type=expanded, metavar="FILE")
    importing.add_argument(
        "--name", metavar="NAME", help="the name of the target (default: its name when exported)"
    )
    _add_action(actions, "rename", "rename a target", commands.rename, name="OLD", new="NEW")
    settings = _add_action(
        actions,
        "settings",
        "keep settings with a target, which apply while it is shown, or show them",
        commands.settings,
        name="NAME",
    )
    add_assignments(settings, "fusion.mouth=1.3")
    settings.add_argument("--reset", action="store_true", help="forget those it has first")
    remove = _add_action(actions, "remove", "remove a target", commands.remove, name="NAME")
    remove.add_argument(
        "--yes",
        action="store_true",
        help="do not ask (default: ask in a terminal if trained weights or footage would be lost)",
    )


def _add_action(
    actions: Adder[argparse.ArgumentParser],
    action: str,
    help_text: str,
    run: Callable[[argparse.Namespace], None],
    **names: str,
) -> argparse.ArgumentParser:
    """Add an action; `names` are its positional arguments, each with its metavar."""
    parser = actions.add_parser(action, help=help_text)
    for name, shown in names.items():
        parser.add_argument(name, metavar=shown)
    parser.set_defaults(run=run)
    return parser


def _add_create(actions: Adder[argparse.ArgumentParser]) -> None:
    create = _add_action(
        actions, "create", "create a target from photos or a video", commands.create, name="NAME"
    )
    # argparse would write NAME last, where --from takes it for a file.
    create.usage = (
        "%(prog)s [-h] NAME (--from PATH [PATH ...] | --camera [SOURCE]) [--seconds S] "
        "[--face N|largest|centre] [--landmarks FILE] [--yes]"
    )
    _add_material(
        create,
        "PATH",
        "photos or videos of one face",
        "record your own face, and make the target of it",
    )
    _add_face(create, "largest", "%(default)s")
    create.add_argument(
        "--landmarks",
        type=expanded,
        metavar="FILE",
        help="where the face of a single picture is, for drawings and animals: a TOML or JSON file "
        "with points such as left_eye_outer = [135, 105] in px. They correct the tracked face; if "
        "no face is found, eight are needed, which a message names. All 478 landmarks work too",
    )
    create.add_argument(
        "--yes",
        action="store_true",
        help="confirm that you may use this face (default: ask in a terminal)",
    )


def _add_add(actions: Adder[argparse.ArgumentParser]) -> None:
    add = _add_action(
        actions, "add", "add videos of the same face to a target", commands.add, name="NAME"
    )
    add.description = (
        "Frames that show what the target's pictures do not become references, from which it gains "
        "at once. It can also be trained on the videos."
    )
    add.usage = (
        "%(prog)s [-h] NAME (--from VIDEO [VIDEO ...] | --camera [SOURCE]) [--seconds S] "
        "[--face N|largest|centre]"
    )
    _add_material(
        add,
        "VIDEO",
        "videos, best in the light and place of its pictures; a video replaces one of the same "
        "name",
        "record more of the same face",
    )
    _add_face(add, None, "as the target was created")


def _add_material(
    parser: argparse.ArgumentParser, shown: str, of_files: str, of_camera: str
) -> None:
    """Add --from, whose files are `shown`, and --camera, of which one is required."""
    material = parser.add_mutually_exclusive_group(required=True)
    material.add_argument(
        "--from",
        dest="sources",
        action="extend",
        nargs="+",
        type=expanded,
        default=[],
        metavar=shown,
        help=of_files,
    )
    _add_camera(parser, material, of_camera)


def _add_camera(
    parser: argparse.ArgumentParser, group: argparse._ActionsContainer, what: str
) -> None:
    """Add --camera to a group, and --seconds."""
    group.add_argument(
        "--camera",
        nargs="?",
        const="webcam:0",
        metavar="SOURCE",
        help=f"{what}: webcam:NUMBER, webcam:NAME or video:URL (without a value: webcam:0)",
    )
    parser.add_argument(
        "--seconds",
        type=SECONDS,
        default=30.0,
        metavar="S",
        help="length of the recording (default: %(default)s)",
    )


def _add_face(parser: argparse.ArgumentParser, default: str | None, told: str) -> None:
    """Add --face; `told` says in the help what the default is."""
    parser.add_argument(
        "--face",
        type=_face,
        default=default,
        metavar="N|largest|centre",
        help="which face to take from a picture or video of several: largest, centre, or a number "
        f"counted from the left, from 0 (default: {told})",
    )


def _face(text: str) -> str:
    """Parse a choice among several faces, in the words of the setting `tracking.face`."""
    if not re.fullmatch(FACE, text):
        raise argparse.ArgumentTypeError(f"{text} is neither largest nor centre nor a number")
    return text


def _add_train(actions: Adder[argparse.ArgumentParser]) -> None:
    train = actions.add_parser(
        "train",
        help="train the generator on a target's own video for some minutes",
        description=(
            "Training starts from the current weights and uses the videos that the target was "
            "created from, and those that were added. The result is kept only if it is better on "
            "held-out frames. Half a minute of speaking, blinking and turning the head is enough. "
            "Training ends by itself when it has seen every frame often enough. Ctrl-C ends it "
            "earlier and keeps the best state; the same command then goes on."
        ),
    )
    train.add_argument("name", metavar="NAME")
    train.add_argument(
        "--minutes",
        type=MINUTES,
        default=10.0,
        metavar="M",
        help="maximum training time in minutes (default: %(default)s)",
    )
    train.add_argument(
        "--renderer",
        metavar="NAME",
        help="the renderer to train (default: the one that draws the target, if it can be trained)",
    )
    add_device(train)
    train.set_defaults(run=commands.train)
