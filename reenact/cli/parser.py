"""The argument parser of the program and of its commands, except target, train and evaluate."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version

from reenact.cli import commands
from reenact.cli.arguments import (
    COUNT,
    SIZES_PX,
    Adder,
    add_assignments,
    add_device,
    add_size,
    number,
)
from reenact.cli.live import keys_help
from reenact.cli.panel import add_address, panel
from reenact.cli.target_parser import add_target
from reenact.cli.training_parser import TRAIN_PREPARE, add_evaluate, add_train
from reenact.storage import expanded


def parse_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Parse the words typed after `reenact`; `run` of the result is the command's function.

    Without a command the panel opens; it takes the options.

    Raises SystemExit, with code 0 after --help or --version and 2 after a mistake.
    """
    if list(words[:2]) == ["train", "prepare"]:
        words = [TRAIN_PREPARE, *words[2:]]
    first = words[0] if words else "-"
    if first.startswith("-") and first not in ("-h", "--help", "--version"):
        words = ["panel", *words]
    return build_parser().parse_args(words)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="reenact",
        description="Put another face on a live video, driven by your own expression.",
        epilog="`reenact COMMAND --help` describes a command.",
    )
    parser.add_argument("--version", action="version", version=f"reenact {version('reenact')}")
    adder = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_demo(adder)
    _add_live(adder)
    _add_panel(adder)
    add_target(adder)
    add_train(adder)
    add_evaluate(adder)
    _add_bench(adder)
    _add_export(adder)
    _add_lists(adder)
    _add_obs(adder)
    return parser


def _add_demo(adder: Adder[argparse.ArgumentParser]) -> None:
    parser = adder.add_parser(
        "demo",
        help="show what the program does, without a camera, GPU, driver or download",
        description="Drive a portrait with an actor's video, and print the path of the result.",
    )
    parser.add_argument(
        "--out",
        type=expanded,
        default=commands.DEMO_FILE,
        metavar="FILE",
        help="the video to write (default: %(default)s)",
    )
    add_assignments(parser)
    parser.set_defaults(run=commands.demo)


class _HelpWithSettings(argparse.Action):
    """Prints the help with all settings. This imports every part, so it is done on demand only."""

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
    lines.append('"(live)": can change during a run, in the panel (--panel).')
    return "\n".join(lines)


def _add_live(adder: Adder[argparse.ArgumentParser]) -> None:
    parser = adder.add_parser(
        "live",
        help="drive a target's face with a webcam or a video",
        description=(
            "Run until the source ends or you press Ctrl-C. Every frame of a video is rendered.\n"
            f"Keys in a terminal: {keys_help()}."
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    parser.add_argument(
        "-h", "--help", action=_HelpWithSettings, help="show this help and all settings, and exit"
    )
    parser.add_argument(
        "config", nargs="?", type=expanded, metavar="CONFIG", help="a TOML file with settings"
    )
    parser.add_argument(
        "--source",
        default="webcam:0",
        metavar="KIND[:ARG]",
        help="webcam:NUMBER, webcam:NAME, video:PATH, video:URL, image:PATH, landmarks:FILE (a "
        "stored performance) or pattern (default: %(default)s)",
    )
    parser.add_argument(
        "--target",
        metavar="NAME|PATH",
        help="the face to show: the name of a target, or the path of a photo or video",
    )
    parser.add_argument(
        "--sink",
        action="append",
        metavar="KIND[:ARG]",
        help="camera, obs, window, http, file:PATH, landmarks:FILE (stores the performance "
        "without a picture) or null; may be repeated (default: window). In a terminal the program "
        "asks before it replaces a file, unless output.overwrite is set",
    )
    add_assignments(parser)
    parser.add_argument(
        "--report", type=expanded, metavar="FILE.json", help="write the run's figures to a file"
    )
    parser.add_argument(
        "--panel", action="store_true", help="open the control panel in the browser as well"
    )
    add_address(parser)
    parser.set_defaults(run=commands.live)


def _add_panel(adder: Adder[argparse.ArgumentParser]) -> None:
    parser = adder.add_parser(
        "panel", help="open the control panel in the browser; so does reenact without a command"
    )
    add_assignments(parser)
    add_address(parser)
    parser.set_defaults(run=panel, config=None, source="", target="", sink=None, report=None)


def _add_bench(adder: Adder[argparse.ArgumentParser]) -> None:
    parser = adder.add_parser(
        "bench",
        help="measure the speed of each step and of the whole run",
        description="Measure the packaged video at full speed and at a camera's rate. A side of "
        "--compare is a list of words in quotes: section.key=value changes a setting, the path of "
        "an environment's python or of a folder of installed packages selects another version, and "
        "`this` is the version that runs.",
    )
    add_device(parser)
    parser.add_argument(
        "--size",
        type=int,
        action="append",
        choices=SIZES_PX,
        help="side of the generated crop in px; may be repeated (default: renderer.size)",
    )
    parser.add_argument(
        "--seconds",
        type=number(float, 0.5, 3600),
        metavar="SECONDS",
        help="length of each run (default: 10)",
    )
    add_assignments(parser)
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help='alternate between two sides, such as "this" and "renderer.engine=torch"',
    )
    parser.add_argument(
        "--rounds",
        type=COUNT,
        default=5,
        help="how often each side of --compare is measured (default: %(default)s)",
    )
    parser.add_argument(
        "--glass-to-glass",
        metavar="SINK",
        help="send numbered pictures through `camera` or `obs` and read them back",
    )
    parser.add_argument("--json", type=expanded, metavar="FILE", help="write the figures to a file")
    parser.set_defaults(run=commands.bench)


def _add_export(adder: Adder[argparse.ArgumentParser]) -> None:
    parser = adder.add_parser(
        "export",
        help="export the generator to ONNX or OpenVINO",
        description="Write the generator's networks and export.json, which describes their inputs "
        "and outputs. Each network is read back and compared with the original.",
    )
    parser.add_argument("folder", type=expanded, metavar="FOLDER", help="where to write the files")
    parser.add_argument(
        "--renderer",
        metavar="NAME",
        help="the generator to export (default: the target's, else the default one)",
    )
    parser.add_argument(
        "--format", choices=("onnx", "openvino"), default="onnx", help="(default: %(default)s)"
    )
    parser.add_argument("--target", metavar="NAME", help="use the weights trained on this target")
    parser.add_argument(
        "--weights",
        type=expanded,
        metavar="FILE",
        help="use these weights (default: the shipped ones)",
    )
    add_size(parser, "pictures")
    parser.set_defaults(run=commands.export)


def _add_lists(adder: Adder[argparse.ArgumentParser]) -> None:
    adder.add_parser(
        "plugins",
        help="list the available sources, trackers, renderers, sinks, motions and remote controls",
    ).set_defaults(run=commands.plugins)
    adder.add_parser("cameras", help="list the webcams of this machine").set_defaults(
        run=commands.cameras
    )
    verify = adder.add_parser(
        "verify",
        help="say whether a picture or video was made with reenact, by its watermark",
        description="Every picture that reenact shows has an invisible watermark, which stays in "
        "what a call or a stream makes of it. The exit code is 0 if it is found, 1 if not.",
    )
    verify.add_argument("file", type=expanded, metavar="FILE", help="a picture or a video")
    verify.set_defaults(run=commands.verify)
    doctor = adder.add_parser(
        "doctor", help="check what is missing on this machine and say how to get it"
    )
    doctor.add_argument(
        "--obs",
        action="store_true",
        help="also test the way into OBS; if OBS runs, in a scene that is not on air",
    )
    doctor.set_defaults(run=commands.doctor)


def _add_obs(adder: Adder[argparse.ArgumentParser]) -> None:
    parser = adder.add_parser("obs", help="add the Reenact source to OBS, or remove it")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    install = actions.add_parser(
        "install",
        help="add the source to the current scene of OBS",
        description="If OBS is not running, its files are changed. If it is running, its WebSocket "
        "server is used. The password comes from REENACT_OBS_PASSWORD or from the settings of "
        "OBS; otherwise you are asked for it. It is not stored.",
    )
    install.add_argument(
        "--wait",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="how long to wait until the script is loaded in a running OBS (default: %(default)s)",
    )
    install.set_defaults(run=commands.obs_install)

    status = actions.add_parser(
        "status", help="report whether OBS has the source and what it shows"
    )
    status.add_argument(
        "--media-source",
        action="store_true",
        help="print the settings for an OBS media source that shows the HTTP stream without delay",
    )
    status.set_defaults(run=commands.obs_status)

    remove = actions.add_parser("remove", help="remove the source from OBS")
    remove.set_defaults(run=commands.obs_remove)
