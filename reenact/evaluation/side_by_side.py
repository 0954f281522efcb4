"""Writes videos that show the true run of a clip beside each renderer's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from reenact.errors import SinkError
from reenact.evaluation.clips import CLIP_FPS
from reenact.evaluation.contact_sheet import SheetRow, compose
from reenact.sinks.video_file import FileSink
from reenact.types import Frame, Image

_CRF: Final = 14
"""Better than that of recordings, so that the encoder blurs nothing that matters."""


def prepare_folder(folder: Path) -> None:
    """Make the folder if it is missing, and check that videos can be written there.

    Raises:
        SinkError: it is a file, or nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(
            f"{folder} cannot be used as the folder of the videos (--ab): {error.strerror}."
        ) from error
    FileSink(folder / "check.mp4")


def write_side_by_side(folder: Path, name: str, runs: Mapping[str, Sequence[Image]]) -> Path | None:
    """Write runs of pictures side by side at the clips' frame rate, labelled with the time.

    Args:
        folder: of the video, NAME.mp4.
        name: of the clip.
        runs: uint8 (S, S, 3) RGB pictures by column heading, all of one length.

    Returns:
        The file; None if the runs are empty.

    Raises:
        ValueError: the runs differ in length.
        SinkError: the file cannot be written.
    """
    path = folder / f"{name}.mp4"
    frames = list(zip(*runs.values(), strict=True))
    if not frames:
        return None
    with FileSink(path, crf=_CRF) as sink:
        for number, pictures in enumerate(frames):
            row = SheetRow(f"{name}, {number / CLIP_FPS:.2f} s", pictures)
            picture = compose(list(runs), [row])[0]
            if number == 0:
                sink.open((picture.shape[1], picture.shape[0]), CLIP_FPS)
            sink.write(Frame(picture, number / CLIP_FPS, number))
    return path
