"""What can be typed: the parsers of all commands."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from reenact.cli import commands

TRAIN_PREPARE: Final = "train-prepare"
"""`train prepare` as one word."""

_SIZES_PX: Final = (128, 256, 512)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="reenact",
        description="Put another face on a live video, moved by your own expression.",
        epilog="`reenact COMMAND --help` tells more of each.",
    )
    parser.add_argument("--version", action="version", version=f"reenact {version('reenact')}")
    adder = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(adder)
    _add_live(adder)
    _add_target(adder)
    _add_train(adder)
    _add_evaluate(adder)
    _add_bench(adder)
    _add_export(adder)
    _add_lists(adder)
    _add_obs(adder)
    return parser


_Adder = argparse._SubParsersAction  # the type of add_subparsers has no public name


def _add_demo(adder: _Adder[argparse.ArgumentParser]) -> None:
    parser = adder.add_parser(
        "demo",
        help="show what it does, without a camera, GPU, driver or download",
        description="An actor's video moves the face of a portrait. Prints where the result is.",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("reenact-demo.mp4"),
        metavar="FILE",
        help="the video to write (default: %(default)s)",
    )
    _add_assignments(parser)
    parser.set_defaults(run=commands.demo)


def _add_live(adder: _Adder[argparse.ArgumentParser]) -> None:
    parser = adder.add_parser(
        "live",
        help="move a target's face by a webcam or a video",
        description=(
            "Runs until the source ends or Ctrl-C. Of a video every frame is rendered. In a "
            "terminal: n takes your present face as neutral, p prints figures, q quits."
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument(
        "-h", "--help", action=_HelpWithSettings, help="show this help and all settings, and exit"
    )
    parser.add_argument(
        "config", nargs="?", type=Path, metavar="CONFIG", help="a TOML file of settings"
    )
    parser.add_argument(
        "--source",
        default="webcam:0",
        metavar="KIND[:ARG]",
        help="webcam:0 (number or name), video:PATH or URL, image:PATH, pattern "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--target", metavar="NAME|PATH", help="whose face: a stored target's name, or a picture"
    )
    parser.add_argument(
        "--sink",
        action="append",
        metavar="KIND[:ARG]",
        help="camera, obs, window, http, file:PATH, null; may be given several times "
        "(default: window)",
    )
    _add_assignments(parser)
    parser.add_argument(
        "--report", type=Path, metavar="FILE.json", help="write the run's figures there at its end"
    )
    parser.set_defaults(run=commands.live)


def _add_target(adder: _Adder[argparse.ArgumentParser]) -> None:
    parser = adder.add_parser("target", help="make, list, show, hand on, rename and remove targets")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    _add_target_create(actions)
    _add_target_train(actions)

    listing = actions.add_parser("list", help="list the stored targets")
    listing.set_defaults(run=commands.target_list)

    show = actions.add_parser("show", help="tell what is known of a target")
    show.add_argument("name", metavar="NAME")
    show.set_defaults(run=commands.target_show)

    export = actions.add_parser("export", help="write a target to one file")
    export.add_argument("name", metavar="NAME")
    export.add_argument("file", type=Path, metavar="FILE")
    export.set_defaults(run=commands.target_export)

    importing = actions.add_parser("import", help="store a target from such a file")
    importing.add_argument("file", type=Path, metavar="FILE")
    importing.add_argument(
        "--name", metavar="NAME", help="what to call it (default: the name it was exported with)"
    )
    importing.set_defaults(run=commands.target_import)

    rename = actions.add_parser("rename", help="give a target another name")
    rename.add_argument("name", metavar="OLD")
    rename.add_argument("new", metavar="NEW")
    rename.set_defaults(run=commands.target_rename)

    remove = actions.add_parser("remove", help="delete a target")
    remove.add_argument("name", metavar="NAME")
    remove.add_argument(
        "--yes",
        action="store_true",
        help="do not ask (default: asks in a terminal, for one with trained weights or footage)",
    )
    remove.set_defaults(run=commands.target_remove)


def _add_target_create(actions: _Adder[argparse.ArgumentParser]) -> None:
    create = actions.add_parser("create", help="make a target from a photo, several, or a video")
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
        help="where the face of the one photo is, for drawings and animals that the tracker does "
        "not know: TOML or JSON with points such as left_eye_outer = [135, 105] in px (eight are "
        "enough; their names are told where some are missing), or all 478",
    )
    create.add_argument(
        "--yes", action="store_true", help="you may use this face; do not ask (default: asks once)"
    )
    create.set_defaults(run=commands.target_create)


def _add_target_train(actions: _Adder[argparse.ArgumentParser]) -> None:
    train = actions.add_parser(
        "train",
        help="let the generator learn a target from its own video, in minutes",
        description=(
            "Begins with the weights in use, learns from the video that the target was made of, "
            "and keeps what it learned only if that is better on frames that were held back. "
            "Half a minute of speaking, blinking and turning the head is enough. It ends by itself "
            "when it has seen every frame often enough; Ctrl-C ends it with the best state kept."
        ),
    )
    train.add_argument("name", metavar="NAME")
    train.add_argument(
        "--minutes",
        type=_minutes,
        default=10.0,
        metavar="M",
        help="how long at most (default: %(default)s)",
    )
    train.add_argument(
        "--from",
        dest="sources",
        nargs="+",
        type=Path,
        default=[],
        metavar="VIDEO",
        help="more videos of the same face; they are kept with the target, each in place of an "
        "earlier one of its name",
    )
    train.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="(default: %(default)s, CUDA where there is one)",
    )
    train.add_argument(
        "--resume", action="store_true", help="go on where Ctrl-C ended it (default: a new round)"
    )
    train.set_defaults(run=commands.target_train)


def _add_train(adder: _Adder[argparse.ArgumentParser]) -> None:
    parser = adder.add_parser(
        "train",
        help="train a network by a recipe; `train prepare` makes clips of raw videos",
        epilog="`reenact train prepare --help`: make clips of raw videos and pictures.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a file of configs/train")
    parser.add_argument(
        "--resume", action="store_true", help="go on from the last checkpoint (default: from new)"
    )
    parser.add_argument(
        "--measure",
        type=Path,
        metavar="WEIGHTS",
        help="do not train: print what the recipe finds of these weights on the people held back",
    )
    _add_assignments(parser)
    parser.set_defaults(run=commands.train)

    # Typed `train prepare`; `main` puts the two words together.
    prepare = adder.add_parser(
        TRAIN_PREPARE,
        prog="reenact train prepare",
        description="Track and crop raw videos and pictures into clips to train with: NAME.mp4 "
        "with NAME.npz. What is done already is not done again.",
    )
    prepare.add_argument("source", type=Path, metavar="SOURCE", help="a folder, or one file")
    prepare.add_argument("out", type=Path, metavar="OUT", help="receives the clips")
    prepare.add_argument(
        "--layout",
        choices=("auto", "folders", "ckplus", "rafd"),
        default="auto",
        help="how the source is laid out: CK+ and RaFD as they are given out, or any folders, of "
        "which each holds one person (default: %(default)s, by the names in it)",
    )
    prepare.add_argument(
        "--size",
        type=int,
        choices=_SIZES_PX,
        default=256,
        help="side of the crops in px (default: %(default)s)",
    )
    prepare.add_argument(
        "--jobs", type=_count, metavar="N", help="processes (default: one for each core)"
    )
    prepare.add_argument(
        "--val-share",
        type=_share,
        metavar="S",
        help="put about this share of the people into OUT/val and the others into OUT/train "
        "(default: all into OUT)",
    )
    prepare.set_defaults(run=commands.train_prepare)


def _add_evaluate(adder: _Adder[argparse.ArgumentParser]) -> None:
    parser = adder.add_parser(
        "evaluate",
        help="measure renderers on a folder of clips",
        description="The floors `copy` and `warp` are always in the table.",
    )
    parser.add_argument(
        "--renderer",
        action="append",
        required=True,
        metavar="NAME[=WEIGHTS]",
        help="a registered renderer, and its weights where not its own; may be given several times",
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="clips NAME.mp4 with NAME.npz"
    )
    parser.add_argument(
        "--protocol",
        choices=("self", "cross"),
        default="self",
        help="self: each clip moves its own first frame; cross: one clip's actor moves another's "
        "face (default: %(default)s)",
    )
    parser.add_argument(
        "--target-training",
        type=_share,
        metavar="S",
        help="train warp_unet on the first share S of each clip, such as 0.6, and measure all on "
        "the rest; its trained self is the row `personal` (default: no training)",
    )
    parser.add_argument(
        "--training-minutes",
        type=_minutes,
        default=10.0,
        metavar="M",
        help="for each clip (default: %(default)s)",
    )
    parser.add_argument(
        "--size",
        type=int,
        choices=_SIZES_PX,
        help="side in px at which pictures are drawn and compared (default: that of the clips)",
    )
    parser.add_argument(
        "--lpips", type=Path, metavar="FILE.onnx", help="measure LPIPS with this network"
    )
    parser.add_argument(
        "--inception",
        type=Path,
        metavar="FILE.onnx",
        help="measure FID and Inception Score with this network",
    )
    parser.add_argument("--limit", type=_count, metavar="N", help="so many clips (default: all)")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="the report")
    parser.add_argument("--sheet", type=Path, metavar="FILE.png", help="pictures, side by side")
    parser.add_argument(
        "--ab", type=Path, metavar="FOLDER", help="a video of each clip, the true one and all drawn"
    )
    _add_assignments(parser)
    parser.set_defaults(run=commands.evaluate)


def _add_bench(adder: _Adder[argparse.ArgumentParser]) -> None:
    parser = adder.add_parser("bench", help="measure the speed of each step and of the whole path")
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="what the renderer runs on (default: %(default)s, CUDA where there is one)",
    )
    parser.add_argument(
        "--size",
        type=int,
        action="append",
        choices=_SIZES_PX,
        help="side of the generated crop in px; may be given several times (default: 256)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    parser.set_defaults(run=commands.bench)


def _add_export(adder: _Adder[argparse.ArgumentParser]) -> None:
    parser = adder.add_parser(
        "export",
        help="write the generator as ONNX or OpenVINO, for other programs",
        description="Writes two networks, one that encodes a reference and one that draws, and "
        "export.json, which tells their inputs and outputs. Both are read back and compared.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="receives the files")
    parser.add_argument(
        "--format",
        choices=("onnx", "openvino"),
        default="onnx",
        help="(default: %(default)s)",
    )
    parser.add_argument(
        "--target", metavar="NAME", help="the weights that this target was trained to"
    )
    parser.add_argument(
        "--weights", type=Path, metavar="FILE", help="these weights (default: the shipped ones)"
    )
    parser.add_argument(
        "--size",
        type=int,
        choices=_SIZES_PX,
        default=256,
        help="side of the pictures in px (default: %(default)s)",
    )
    parser.set_defaults(run=commands.export)


def _add_lists(adder: _Adder[argparse.ArgumentParser]) -> None:
    adder.add_parser(
        "plugins", help="list the sources, trackers, renderers and sinks there are"
    ).set_defaults(run=commands.plugins)
    adder.add_parser("cameras", help="list the webcams of this machine").set_defaults(
        run=commands.cameras
    )
    doctor = adder.add_parser(
        "doctor", help="tell what is missing on this machine and how to get it"
    )
    doctor.add_argument(
        "--obs", action="store_true", help="try the way into OBS, with OBS itself where it runs"
    )
    doctor.set_defaults(run=commands.doctor)


def _add_obs(adder: _Adder[argparse.ArgumentParser]) -> None:
    parser = adder.add_parser("obs", help="bring the source Reenact into OBS, or take it out")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    install = actions.add_parser(
        "install",
        help="put the source into OBS's present scene",
        description="While OBS does not run, its files are changed. Where it runs, its remote "
        "control is used; the password is that in REENACT_OBS_PASSWORD, or in OBS's own settings, "
        "or is asked for, and is kept nowhere.",
    )
    install.add_argument(
        "--wait",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="for the click in an OBS that runs (default: %(default)s)",
    )
    install.set_defaults(run=commands.obs_install)

    status = actions.add_parser("status", help="tell whether OBS has it, and what it is shown")
    status.add_argument(
        "--media-source",
        action="store_true",
        help="tell how OBS's media source shows the HTTP stream without its usual delay",
    )
    status.set_defaults(run=commands.obs_status)

    remove = actions.add_parser("remove", help="take it out of OBS again")
    remove.set_defaults(run=commands.obs_remove)


def _add_assignments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        dest="assignments",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting, such as fusion.intensity=1.2; may be given several times",
    )


class _HelpWithSettings(argparse.Action):
    """Prints the help with all settings, for which every part is imported: only when asked."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        parser.epilog = _settings_help()
        parser.print_help()
        parser.exit()


def _settings_help() -> str:
    from reenact.live.settings import describe

    lines = ["settings, for CONFIG and --set (type, default):"]
    for name, kind, default, text in describe():
        lines.append(f"  {name} ({kind}, {default!r})\n      {text}")
    lines.append('"(live)": Session.update of the Python package changes it while it runs.')
    return "\n".join(lines)


def _share(text: str) -> float:
    value = float(text)
    if not 0.1 <= value <= 0.9:
        raise argparse.ArgumentTypeError(f"{text} is not a share from 0.1 to 0.9")
    return value


def _minutes(text: str) -> float:
    value = float(text)
    if not 0 < value <= 24 * 60:
        raise argparse.ArgumentTypeError(f"{text} is not a number of minutes up to a day")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value
