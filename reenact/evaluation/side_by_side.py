"""Writes videos that show the true run of a clip beside each renderer's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from reenact.errors import SinkError
from reenact.evaluation.clips import CLIP_FPS
from reenact.evaluation.contact_sheet import SheetRow, compose
from reenact.sinks.video_file import FileSink, write_video
from reenact.types import Image

_CRF: Final = 14  # better than that of recordings, to blur nothing that matters


def prepare_folder(folder: Path) -> None:
    """Make the folder if it is missing. Raises SinkError if no video can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(
            f"{folder} cannot be used as the folder of the videos (--ab): {error.strerror}."
        ) from error
    FileSink(folder / "check.mp4")


def write_side_by_side(folder: Path, name: str, runs: Mapping[str, Sequence[Image]]) -> None:
    """Write runs of pictures side by side as NAME.mp4, labelled with the time, if there are any.

    The runs are uint8 (S, S, 3) RGB pictures by column heading, all of one length.
    """
    frames = enumerate(zip(*runs.values(), strict=True))
    rows = (SheetRow(f"{name}, {number / CLIP_FPS:.2f} s", row) for number, row in frames)
    pictures = (compose(list(runs), [row])[0] for row in rows)
    write_video(folder / f"{name}.mp4", pictures, CLIP_FPS, _CRF)
