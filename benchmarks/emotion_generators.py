"""Measures the generators driven by emotions or action units, for the tables in `papers.md`.

    python benchmarks/emotion_generators.py --data ../shared/faces/val --sheet emotions.png
    python benchmarks/emotion_generators.py --data ../shared/faces/train \
        --folds ../shared/faces/folds.json --fold 0
    python benchmarks/emotion_generators.py --speed       # time alone, on an idle machine

Each renderer draws seven emotions on the first frame of each clip, with its own weights or those of
NAME=PATH; with a fold, one clip per person is used. `recognised` is the share that is recognised as
requested. Identity is the distance to other frames of the person. Expressions increase it, so it is
compared with that of the unchanged picture (`copy`) and of real expressions: the frames that show
an emotion most clearly, with the head turned less than 15 degrees, against frames at least half a
second away. The time is the CPU time per frame over all threads. With `--speed` each frame shows
another emotion; for `held`, all frames show the same one.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from reenact.config import RendererSettings
from reenact.errors import SourceError
from reenact.evaluation import emotions
from reenact.evaluation.clips import CLIP_FPS, Clip, find_clips, read_clip
from reenact.evaluation.contact_sheet import write_sheets
from reenact.evaluation.face_reader import FaceReader
from reenact.evaluation.perceptual import PerceptualMetrics
from reenact.evaluation.recognition import clear_labels, read_expressions
from reenact.expression.emotions import EMOTIONS, emotion_intensity
from reenact.registry import load
from reenact.targets.clip_files import person_of
from reenact.testing.portrait import portrait_target
from reenact.training.people import read_fold
from reenact.types import Renderer

RENDERERS: Final = (
    "copy", "warp", "warp_unet", "pixel_regression", "ganimation", "lgp_gan", "attention_cgan",
    "stargan", "attgan", "exprgan", "texture_gan",
)  # fmt: skip
SIZE_PX: Final = 256
ROUNDS: Final = 60
MAX_TURN: Final = 15.0
OTHERS: Final = 5
"""Number of other frames that a frame's identity is compared with."""


def portraits(data: Path, folds: Path | None, number: int) -> list[Path]:
    """Return the clips of a folder; with folds, the first clip of each person in one fold."""
    clips = find_clips(data)
    if folds is None:
        return clips
    people = read_fold(folds, number)
    first: dict[str, Path] = {}
    for clip in clips:
        first.setdefault(person_of(clip.stem), clip)
    found = [clip for person, clip in first.items() if person in people]
    if not found:
        raise SourceError(f"{data} has no clips of the people in fold {number} of {folds}.")
    return found


def to_person(clip: Clip, frame: int, reader: FaceReader) -> float | None:
    """Return the identity distance of a frame from the mean of others of its clip.

    None: there are no other frames, or no face was found.
    """
    away = clip.usable[np.abs(clip.usable - frame) >= CLIP_FPS / 2]
    chosen = np.unique(away[np.linspace(0, len(away) - 1, OTHERS).astype(int)]) if len(away) else []
    person = reader.person((clip.images[i], clip.landmarks[i]) for i in chosen)
    return reader.identity(person, clip.images[frame], clip.landmarks[frame])


def chosen_frames(video: Path) -> dict[str, int]:
    """Return the clip's calmest frame and the clearest frame of each emotion that it shows."""
    clip = read_expressions(video.with_suffix(".npz"))
    if clip is None:
        return {}
    frontal = np.flatnonzero(np.abs(clip.turns).max(axis=1) < MAX_TURN)
    if not len(frontal):
        return {}
    calmest = frontal[emotion_intensity(clip.units[frontal]).argmin()]
    frames = {EMOTIONS[0]: int(clip.frames[calmest])}
    labels = clear_labels(clip.weights)
    for number, emotion in enumerate(EMOTIONS[1:], start=1):
        rows = frontal[labels[frontal] == number]
        if len(rows):
            frames[emotion] = int(clip.frames[rows[clip.weights[rows, number].argmax()]])
    return frames


def own_frames(clips: Sequence[Path], reader: FaceReader) -> float:
    """Print the identity distances of real expressions; return their mean over emotions."""
    distances: dict[str, list[float]] = {name: [] for name in EMOTIONS}
    for video in clips:
        clip = read_clip(video)
        for name, frame in chosen_frames(video).items():
            distance = to_person(clip, frame, reader)
            distances[name] += [] if distance is None else [distance]
    print("| the person's own frame | distance to the person | clips |\n|---|---:|---:|")
    for name, found in distances.items():
        print(f"| {name} | {np.mean(found) if found else np.nan:.3f} | {len(found)} |")
    return float(np.mean([np.mean(distances[name]) for name in EMOTIONS[1:] if distances[name]]))


def speed(renderer: Renderer, shown: Sequence[str] = EMOTIONS[1:]) -> tuple[float, float]:
    """Return the CPU time per frame over all threads, ms, and the frames per second.

    The frames show these emotions in turn.
    """
    target = portrait_target(SIZE_PX)
    renderer.prepare(target)
    drives = [emotions.emotion_drive(target, emotion, 0.8) for emotion in shown]
    renderer.render(drives[0])
    started, start = time.perf_counter(), time.process_time()
    for number in range(ROUNDS):
        renderer.render(drives[number % len(drives)])
    cpu_s, wall_s = time.process_time() - start, time.perf_counter() - started
    return 1000 * cpu_s / ROUNDS, ROUNDS / wall_s


def trained(renderer: Renderer) -> str:
    """Return the steps and minutes of the weights that a renderer has loaded."""
    header = getattr(renderer, "header", None)
    if not header:
        return "–"
    minutes = float(header.get("minutes", "nan"))
    size = json.loads(header.get("config", "{}")).get("size_px", "")
    return f"{header.get('steps', '')} steps, {minutes:.0f} min, {size} px"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="folder of clips")
    source.add_argument("--speed", action="store_true", help="measure only the time per frame")
    parser.add_argument("--folds", type=Path, help="JSON file of people's folds")
    parser.add_argument("--fold", type=int, default=0, help="fold to measure")
    parser.add_argument("--sheet", type=Path, help="contact sheet to write, PNG")
    parser.add_argument("--renderer", action="append", metavar="NAME[=WEIGHTS]")
    options = parser.parse_args()
    renderers = {}
    for text in options.renderer or RENDERERS:
        name, _, weights = text.partition("=")
        if name in renderers:
            parser.error(f"{name} is named twice; measure one of its weights at a time")
        settings = RendererSettings(name=name, weights=weights, size=SIZE_PX)
        renderers[name] = load("renderers", name).make(settings)
    if options.speed:
        print("| renderer | CPU time per frame, ms | frames/s | held, ms | frames/s |")
        print("|---|---:|---:|---:|---:|")
        for name, renderer in renderers.items():
            ms, rate = speed(renderer)
            held_ms, held_rate = speed(renderer, ["surprised"])
            times = f"{ms:.1f} | {rate:.0f} | {held_ms:.1f} | {held_rate:.0f}"
            print(f"| {name} | {times} |", flush=True)
        return
    clips = portraits(options.data, options.folds, options.fold)
    with FaceReader() as reader:
        no_metrics = PerceptualMetrics(None, None, list(renderers))
        figures, rows = emotions.run(renderers, clips, SIZE_PX, reader, no_metrics)
        real = own_frames(clips, reader)

    def mean(name: str, figure: str) -> float:
        return float(np.nanmean(np.array([row[figure] for row in figures[name].values()], float)))

    copied = mean("copy", "identity") if "copy" in renderers else float("nan")
    print(f"{len(clips)} faces, {7 * len(clips)} emotions")
    print(f"The person's own expressions: identity {real:.3f}, {real / copied - 1:+.0%} to copy")
    columns = (
        "recognised | at half | identity | to copy | to own expressions | ms per frame | trained"
    )
    print(f"| renderer | {columns} |\n|---|---:|---:|---:|---:|---:|---:|---|")
    for name, renderer in renderers.items():
        identity = mean(name, "identity")
        cells = [f"{mean(name, 'recognised'):.2f}", f"{mean(name, 'recognised_half'):.2f}"]
        cells += [f"{identity:.3f}", f"{identity / copied - 1:+.0%}", f"{identity / real - 1:+.0%}"]
        cells += [f"{speed(renderer)[0]:.1f}", trained(renderer)]
        print(f"| {name} | {' | '.join(cells)} |")
    if options.sheet:
        write_sheets(options.sheet, emotions.sheet_columns(), rows)


if __name__ == "__main__":
    main()
