"""Measures and shows open mouths that are drawn from a photo with a closed or an open mouth.

    python benchmarks/open_mouths.py ../shared/faces/train OUT.png --first v101
    python benchmarks/open_mouths.py ../shared/faces/train OUT.png --open

The photo of each person is the frame with the smallest gap between the lips. It is driven by the
landmarks of frames with a hardly, slightly, clearly and widely open mouth, and of the broadest
smile with parted lips. With `--open` it is an open mouth, from which a narrower, a wider and a much
wider one are drawn, and the broadest smile. People without such frames are left out. The figures
are means over people, for the luma inside the lips:

    psnr         dB
    correlation  with the ground truth, both blurred by a pixel; shows if the teeth are in place
    contrast     standard deviation relative to that of the ground truth
    detail       mean gradient relative to that of the ground truth
    bright       mean, 0 to 255, minus that of the ground truth
    brightest    the same for the 95th percentile
    red, blue    minus luma, the same for the px that are brighter than the 85th percentile
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.config import Settings
from reenact.evaluation import metrics
from reenact.evaluation.clips import Clip, crop_target, find_clips, read_clip
from reenact.evaluation.contact_sheet import SheetRow, compose
from reenact.evaluation.metrics import Figures
from reenact.face.geometry import region_mask
from reenact.face.topology import IRIS_LEFT, IRIS_RIGHT, LIPS_INNER, LIPS_OUTER, MOUTH_CORNERS
from reenact.imaging import LUMA
from reenact.live.drives import landmark_drive
from reenact.registry import load
from reenact.storage import write_png
from reenact.targets.clip_files import person_of
from reenact.types import Array, Image

CLOSED_IOD: Final = 0.04
"""Maximum gap between the lips of a photo."""
OPENINGS_IOD: Final = {
    "hardly": (0.03, 0.1),
    "slightly": (0.1, 0.2),
    "clearly": (0.2, 0.35),
    "widely": (0.35, 1.0),
}
SMILE_IOD: Final = (0.06, 0.35)
"""Gaps between the lips of a smile that shows teeth."""
SMILE_WIDTH: Final = 1.08
"""Minimum width of the mouth in a smile, relative to the photo's."""
OPEN_IOD, MIN_OPEN_IOD, MAX_OPEN_IOD = 0.15, 0.1, 0.45
"""Wanted, minimum and maximum gap between the lips of an open photo."""
CHANGE_IOD, MUCH_IOD = 0.07, 0.15
"""Minimum differences of the gap of a narrower or wider, and of a much wider mouth."""
MIN_PX: Final = 12
"""Minimum number of px inside the lips."""
NO_LUMA: Final = np.eye(3) - LUMA[:, None]
"""Maps an RGB colour to its difference from its luma."""
TILE_PX: Final = 192


Mouths = tuple[str, dict[str, tuple[Image, Image, Array]]]
"""A person's name; true picture, drawn picture and landmarks, by opening."""


def openings(points: Array) -> Array:
    """Return the gaps between the lips of (F, 478, 3) faces, (F,), in distances of the irises."""
    return distances(points, (13, 14))


def distances(points: Array, pair: tuple[int, int]) -> Array:
    """Return the distances of two landmarks of (F, 478, 3) faces, (F,), in those of the irises."""
    first, second, right, left = (points[:, i] for i in (*pair, IRIS_RIGHT[0], IRIS_LEFT[0]))
    lengths = (np.linalg.norm(a - b, axis=-1) for a, b in ((first, second), (right, left)))
    return np.asarray(np.divide(*lengths))


def middles_of(frames: Mapping[str, NDArray[np.intp]]) -> dict[str, int]:
    """Return the middle one of each kind of frames that occurs."""
    return {name: int(at[len(at) // 2]) for name, at in frames.items() if len(at)}


def broadest_smile(clip: Clip, gaps: Array, widths: Array, photo_width: float) -> dict[str, int]:
    """Return the frame of the broadest smile with parted lips, if it is broader than the photo's.

    Gaps and widths are those of the clip's usable frames.
    """
    parted = (gaps > SMILE_IOD[0]) & (gaps < SMILE_IOD[1])
    smile = int(np.where(parted, widths, 0).argmax())
    broad = parted[smile] and widths[smile] > SMILE_WIDTH * photo_width
    return {"smiling": int(clip.usable[smile])} if broad else {}


def chosen_frames(clip: Clip) -> tuple[int, dict[str, int]]:
    """Return the frame with the smallest gap, and a frame for each of `OPENINGS_IOD` that occurs.

    The broadest smile comes last. If the lips never close, there are no such frames.
    """
    points = clip.landmarks[clip.usable]
    gaps, widths = openings(points), distances(points, MOUTH_CORNERS)
    reference = int(clip.usable[gaps.argmin()])
    if gaps.min() > CLOSED_IOD:
        return reference, {}
    frames = {
        name: clip.usable[(gaps >= low) & (gaps < high)]
        for name, (low, high) in OPENINGS_IOD.items()
    }
    smile = broadest_smile(clip, gaps, widths, widths[gaps.argmin()])
    return reference, middles_of(frames) | smile


def chosen_open_frames(clip: Clip) -> tuple[int, dict[str, int]]:
    """Return the frame of an open mouth, and frames of narrower, wider and smiling ones."""
    points = clip.landmarks[clip.usable]
    gaps, widths = openings(points), distances(points, MOUTH_CORNERS)
    reference = int(np.abs(gaps - OPEN_IOD).argmin())
    gap = gaps[reference]
    if not MIN_OPEN_IOD < gap < MAX_OPEN_IOD:
        return int(clip.usable[reference]), {}
    wider = gap + CHANGE_IOD, gap + MUCH_IOD
    frames = {
        "narrower": (gaps > MIN_OPEN_IOD / 2) & (gaps < gap - CHANGE_IOD),
        "wider": (gaps > wider[0]) & (gaps <= wider[1]),
        "much wider": gaps > wider[1],
    }
    chosen = middles_of({name: clip.usable[at] for name, at in frames.items()})
    smile = broadest_smile(clip, gaps, widths, widths[reference])
    return int(clip.usable[reference]), chosen | smile


def compare_insides(true: Image, drawn: Image, points: Array) -> Figures | None:
    """Return the figures of one mouth; None if its inside has fewer px than `MIN_PX`."""
    inside = region_mask(points, LIPS_INNER, len(true)) > 250
    if np.count_nonzero(inside) < MIN_PX:
        return None
    lumas = [metrics.luma(picture).astype(np.float32) for picture in (true, drawn)]
    truth, result = (luma[inside] for luma in lumas)
    blurred = [np.asarray(cv2.GaussianBlur(luma, (0, 0), 1), np.float32)[inside] for luma in lumas]
    slopes = [np.hypot(*np.gradient(luma))[inside].mean() for luma in lumas]
    tints = [
        picture[inside][luma >= np.percentile(luma, 85)].mean(axis=0) @ NO_LUMA
        for picture, luma in ((true, truth), (drawn, result))
    ]
    return {
        "psnr": float(10 * np.log10(255**2 / max(np.square(truth - result).mean(), 1e-6))),
        "correlation": metrics.correlation(blurred[0], blurred[1]),
        "contrast": float(result.std() / max(truth.std(), 1)),
        "detail": float(slopes[1] / max(slopes[0], 1)),
        "bright": float(result.mean() - truth.mean()),
        "brightest": float(np.percentile(result, 95) - np.percentile(truth, 95)),
        "red": float(tints[1][0] - tints[0][0]),
        "blue": float(tints[1][2] - tints[0][2]),
    }


def mouth_of(picture: Image, points: Array) -> Image:
    """Return the crop of a mouth, uint8 (TILE_PX, TILE_PX, 3)."""
    lips = points[list(LIPS_OUTER), :2]
    middle = lips.mean(axis=0)
    half = int(0.75 * np.ptp(lips, axis=0).max()) + 4
    padded = np.pad(picture, ((half, half), (half, half), (0, 0)), "edge")
    x, y = middle.astype(int)
    crop = padded[max(y, 0) : y + 2 * half, max(x, 0) : x + 2 * half]
    return np.asarray(cv2.resize(crop, (TILE_PX, TILE_PX), interpolation=cv2.INTER_CUBIC), np.uint8)


def drawn_mouths(
    videos: list[Path], weights: str, choose: Callable[[Clip], tuple[int, dict[str, int]]]
) -> Iterator[Mouths]:
    """Yield each person's true and drawn pictures with their landmarks, by opening."""
    settings = Settings().renderer.model_copy(update={"weights": weights})
    renderer = load("renderers", "warp_unet").make(settings)
    done = set()
    for video in videos:
        person = person_of(video.stem)
        clip = read_clip(video)
        reference, frames = choose(clip)
        if person in done or not frames:
            continue
        done.add(person)
        photo = clip.images[reference], clip.landmarks[reference]
        renderer.prepare(crop_target(clip.name, *photo, "warp_unet"))
        rows = {}
        for opening, frame in frames.items():
            renderer.reset()
            points = clip.landmarks[frame]
            drawn = renderer.render(landmark_drive(points))
            rows[opening] = clip.images[frame], drawn, points
        yield person, rows


def print_figures(drawn: Sequence[Mouths]) -> None:
    """Print the means over people, with their standard errors."""
    figures: dict[str, list[Figures]] = {}
    for _, rows in drawn:
        for opening, mouth in rows.items():
            compared = compare_insides(*mouth)
            if compared is not None:
                figures.setdefault(opening, []).append(compared)
    for opening, mouths in figures.items():
        print(f"{opening}, {len(mouths)} people")
        for name in mouths[0]:
            values = np.array([mouth[name] for mouth in mouths if mouth[name] is not None], float)
            print(
                f"  {name:12} {values.mean():6.2f} ± {values.std(ddof=1) / len(values) ** 0.5:.2f}"
            )


def main(arguments: argparse.Namespace) -> None:
    """Print the figures, and write the contact sheet."""
    videos = [video for video in find_clips(arguments.data) if video.stem >= arguments.first]
    choose = chosen_open_frames if arguments.open else chosen_frames
    drawn = list(drawn_mouths(videos, arguments.weights, choose))
    print_figures(drawn)
    tiles = [
        (person, mouth_of(true, points), mouth_of(picture, points))
        for person, rows in drawn
        for true, picture, points in rows.values()
    ]
    across = 5
    sheet = [
        SheetRow(
            " ".join(person for person, *_ in tiles[start : start + across]),
            [tile for _, *pair in tiles[start : start + across] for tile in pair],
        )
        for start in range(0, len(tiles) - across + 1, across)
    ]
    write_png(arguments.out, compose(["true", "drawn"] * across, sheet)[0])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of clips")
    parser.add_argument("out", type=Path, help="contact sheet to write, PNG")
    parser.add_argument("--first", default="", help="name of the first clip to use")
    parser.add_argument("--open", action="store_true", help="draw from photos of open mouths")
    parser.add_argument("--weights", default="", help="weight file (default: shipped weights)")
    main(parser.parse_args())
