"""The parsers of `reenact train`, `reenact train prepare` and `reenact evaluate`."""

from __future__ import annotations

import argparse
from typing import Final

from reenact.cli import commands
from reenact.cli.arguments import (
    COUNT,
    MINUTES,
    SHARE,
    SIZES_PX,
    Adder,
    add_assignments,
    add_size,
)
from reenact.storage import expanded

TRAIN_PREPARE: Final = "train-prepare"
"""The internal name of `train prepare`: with a subcommand, `train` could not take a file."""


def add_train(adder: Adder[argparse.ArgumentParser]) -> None:
    """Add `train` and `train prepare`."""
    parser = adder.add_parser(
        "train",
        help="train a network by a recipe; `train prepare` makes clips from raw videos",
        epilog="`reenact train prepare --help` describes how to make clips from raw videos.",
    )
    parser.add_argument("config", type=expanded, metavar="CONFIG", help="a training file (TOML)")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue from the last checkpoint (default: a folder with an earlier training is "
        "refused)",
    )
    parser.add_argument(
        "--measure",
        type=expanded,
        metavar="WEIGHTS",
        help="do not train; print the validation figures of these weights",
    )
    add_assignments(parser, "steps=2000 or settings.train=FOLDER")
    parser.set_defaults(run=commands.train)

    prepare = adder.add_parser(
        TRAIN_PREPARE,
        prog="reenact train prepare",
        description="Track and crop raw videos and pictures into clips for training: NAME.mp4 "
        "with NAME.npz. Clips that exist already are made again only if the size, the colours or "
        "the shares differ.",
    )
    prepare.add_argument("source", type=expanded, metavar="SOURCE", help="a folder or a file")
    prepare.add_argument("out", type=expanded, metavar="OUT", help="where to write the clips")
    prepare.add_argument(
        "--layout",
        choices=(
            *("auto", "folders", "rafd", "ckplus", "kdef", "bosphorus", "mug", "oulu", "cfee"),
            "emotionet",
        ),
        default="auto",
        help="the layout of the source: that of a data set as distributed, or folders that hold "
        "one person each; auto: recognised by the file names, except CFEE and EmotionNet "
        "(default: %(default)s)",
    )
    add_size(prepare, "crops")
    prepare.add_argument(
        "--jobs", type=COUNT, metavar="N", help="number of processes (default: one per core)"
    )
    prepare.add_argument(
        "--grey", action="store_true", help="make all pictures grey, as Fan 2023 does with CK+"
    )
    prepare.add_argument(
        "--val-share",
        type=SHARE,
        metavar="S",
        help="put about this share of the people into OUT/val and the rest into OUT/train "
        "(default: everything into OUT)",
    )
    prepare.add_argument(
        "--test-share", type=SHARE, metavar="S", help="the same for OUT/test (default: nobody)"
    )
    prepare.set_defaults(run=commands.train_prepare)


def add_evaluate(adder: Adder[argparse.ArgumentParser]) -> None:
    """Add `evaluate`."""
    parser = adder.add_parser(
        "evaluate",
        help="measure renderers on a folder of clips",
        description="The baselines `copy` and `warp` are always in the table.",
    )
    parser.add_argument(
        "--renderer",
        action="append",
        default=[],
        metavar="NAME[=WEIGHTS]",
        help="a renderer, and weights to use in place of its own; may be repeated; "
        "--protocol wild needs none",
    )
    parser.add_argument(
        "--data",
        type=expanded,
        required=True,
        metavar="DIR",
        help="a folder of clips, NAME.mp4 with NAME.npz (emotions: also of pictures)",
    )
    parser.add_argument(
        "--protocol",
        choices=("self", "transfer", "cross", "emotions", "wild"),
        default="self",
        help="self: each clip drives its own first frame; transfer: one person's expression on "
        "another, compared with the other's own picture of it; cross: the actor of one clip drives "
        "the face of another; emotions: each clip's first frame, or picture, shows each emotion; "
        "wild: landmarks only, in runs that start at the worst frames of each clip (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--target-training",
        type=SHARE,
        metavar="S",
        help="train the renderers that can be trained on a target on the first share S of each "
        "clip, such as 0.6, and measure all on the rest; a trained one is the row `NAME (trained)` "
        "(default: no training)",
    )
    parser.add_argument(
        "--training-minutes",
        type=MINUTES,
        default=10.0,
        metavar="M",
        help="training time per clip (default: %(default)s)",
    )
    parser.add_argument(
        "--size",
        type=int,
        choices=SIZES_PX,
        help="side in px at which pictures are rendered and compared (default: that of the clips)",
    )
    parser.add_argument(
        "--body",
        action="store_true",
        help="also measure each renderer with shoulders and hair that follow the actor's, as the "
        "row `NAME (body)`",
    )
    parser.add_argument(
        "--clips",
        default="*",
        metavar="PATTERN",
        help="only clips with matching names, such as '*__090_frontal' for RaFD from the front "
        "(default: all)",
    )
    parser.add_argument("--limit", type=COUNT, metavar="N", help="number of clips (default: all)")
    _add_figures(parser)
    add_assignments(parser)
    parser.set_defaults(run=commands.evaluate)


def _add_figures(parser: argparse.ArgumentParser) -> None:
    """Add the networks that `evaluate` measures with, and the files that it writes."""
    parser.add_argument(
        "--lpips", type=expanded, metavar="FILE.onnx", help="measure LPIPS with this network"
    )
    parser.add_argument(
        "--inception",
        type=expanded,
        metavar="FILE.onnx",
        help="measure FID and Inception Score with this network",
    )
    parser.add_argument("--json", type=expanded, required=True, metavar="FILE", help="the report")
    parser.add_argument(
        "--sheet", type=expanded, metavar="FILE.png", help="a contact sheet of the pictures"
    )
    parser.add_argument(
        "--ab",
        type=expanded,
        metavar="FOLDER",
        help="for --protocol self: a video of each clip, the true and all rendered pictures side "
        "by side",
    )
    parser.add_argument(
        "--rating",
        type=expanded,
        metavar="FILE.html",
        help="for --protocol emotions: a page on which people rate the pictures blindly",
    )
    parser.add_argument(
        "--labelled",
        type=expanded,
        metavar="FOLDER",
        help="for --protocol emotions: the pictures as labelled clips, to train with",
    )
