"""Measures the live path with the webcams and rooms that people have.

    python benchmarks/bad_webcams.py CLIP ... [--scene NAME ...] [--target NAME] [--keep DIR]

The person of each clip is put into a room of 640x360 px, and the picture is spoiled: see `scenes`.
The second person of a scene is that of the next clip. A run is compared with that of the same
frames in a good picture. The figures are of the fused landmarks, in a picture of 512 px:

    lost     share of the frames with a visible actor in which no face is followed
    other    share of those in which what is followed is not where the actor's face is
    lids ... correlation and slope of the measures against the good picture
    error    RMS difference of the measures, iod
    lag      of the mouth's opening, ms
    jump     largest step between two frames, RMS px, and that of the good picture
    wrong    time after a disturbance until no measure is off by .04 iod any more, s
    still    RMS step between frames of the head, the mouth's opening and the lids while one frame
             of the clip is held: what the camera alone moves, px
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from reenact.config import Settings
from reenact.expression.measures import MEASURES, measure
from reenact.face.geometry import estimate_pose, face_box, to_face_frame
from reenact.face.segmentation import person_masks
from reenact.face.topology import N_SKIN
from reenact.live.pipeline import open_reenactor
from reenact.stats import StepTimer
from reenact.targets.library import open_target
from reenact.types import Array, Frame, Image

WIDTH, HEIGHT, FPS = 640, 360, 25.0
FRAMES: Final = 150
HELD: Final = 75
BEGIN, END = 60, 100
"""Frames between which a scene disturbs, if it does not throughout."""

RIGHT_IOD: Final = 0.04
STEADY: Final = 8
"""Frames for which the measures must be so near to those of the good picture to be right again."""


@dataclass
class People:
    """A clip's frames and where the person is in them."""

    images: list[Image]
    masks: list[Array]

    def place(self, picture: Image, number: int, affine: Array) -> Image:
        """Return the picture with the person of one frame in it."""
        size, number = picture.shape[1::-1], number % len(self.images)
        person = cv2.warpAffine(self.images[number], affine, size, flags=cv2.INTER_AREA)
        alpha = cv2.warpAffine(self.masks[number], affine, size)[..., None]
        return np.asarray(picture + alpha * (person - picture.astype(np.float32)), np.uint8)


@dataclass(frozen=True)
class Shot:
    """A picture of a scene; `affine` brings the clip's frame to it, None: the actor is hidden."""

    image: Image
    time_s: float
    number: int
    affine: Array | None


Camera = Callable[[Image, Array], Image]
"""Spoils a picture, given the actor's mask in it."""


def room() -> Image:
    """Return the wall behind the actor: a shelf, a lamp and a door."""
    across = np.linspace(170, 120, WIDTH, dtype=np.float32)
    wall = np.repeat(across[None], HEIGHT, 0)[..., None] * np.array([1, 0.95, 0.88], np.float32)
    picture = wall.astype(np.uint8)
    cv2.rectangle(picture, (40, 60), (180, 74), (90, 70, 50), -1)
    for left in range(46, 170, 17):
        cv2.rectangle(picture, (left, 14), (left + 11, 60), (left, 255 - left, 90), -1)
    cv2.rectangle(picture, (520, 40), (620, 360), (100, 85, 75), -1)
    cv2.circle(picture, (460, 60), 26, (235, 225, 190), -1)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 2), np.uint8)


def shift(zoom: float = 1.0, across: float = 0.0, down: float = 0.0) -> Array:
    """Return the affine of a zoom about the middle of the lower edge, and a shift, px."""
    middle, low = WIDTH / 2, float(HEIGHT)
    return np.array(
        [[zoom, 0, middle * (1 - zoom) + across], [0, zoom, low * (1 - zoom) + down]], np.float32
    )


def after(first: Array, then: Array) -> Array:
    """Return the affine that applies one after the other."""
    square = np.vstack([first, [0, 0, 1]])
    return np.asarray(then @ square, np.float32)


def read_people(path: Path) -> People:
    """Return the first frames of a clip at 25 a second."""
    video = cv2.VideoCapture(str(path))
    rate, number = video.get(cv2.CAP_PROP_FPS), 0
    images: list[Image] = []
    while len(images) < FRAMES:
        more, image = video.read()
        if not more:
            break
        if number >= len(images) * rate / FPS:
            images.append(np.ascontiguousarray(image[..., ::-1]))
        number += 1
    height, width = images[0].shape[:2]
    if height > HEIGHT:
        zoom = HEIGHT / height
        size = round(width * zoom), HEIGHT
        images = [np.asarray(cv2.resize(i, size, interpolation=cv2.INTER_AREA)) for i in images]
    return People(images, list(person_masks(images)))


def usual(people: People) -> Array:
    """Return where the clip stands in the room: in the middle of the lower edge."""
    height, width = people.images[0].shape[:2]
    return np.array([[1, 0, (WIDTH - width) / 2], [0, 1, HEIGHT - height]], np.float32)


# What spoils the picture


def dark(image: Image, rng: np.random.Generator, photons: float, read: float) -> Image:
    """Return what a camera shows of a dark room: few photons, much gain, its blur and JPEG."""
    linear = (image / np.float32(255)) ** 2.2
    seen = rng.poisson(linear * photons) + rng.normal(0, read, image.shape)
    seen = np.clip(seen / photons, 0, 1).astype(np.float32)
    levels = 255 * (seen ** (1 / 2.2)) * 0.8
    return jpeg(np.asarray(cv2.GaussianBlur(levels, (0, 0), 0.7), np.uint8), 60)


def jpeg(image: Image, quality: int) -> Image:
    """Return the picture after a JPEG."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def cheap(image: Image, rng: np.random.Generator) -> Image:
    """Return what a noisy camera of half the size with strong JPEG shows."""
    small = np.asarray(cv2.resize(image, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA))
    noisy = np.clip(small + rng.normal(0, 6, small.shape), 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(jpeg(noisy, 40), (WIDTH, HEIGHT)), np.uint8)


class Flashes:
    """The light of a game on the face: its colour jumps, and it fades across the face."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._left = 0
        self._light = np.ones(3, np.float32)

    def lit(self, image: Image, mask: Array) -> Image:
        """Return the picture in the next light."""
        if not self._left:
            self._left = int(self._rng.integers(2, 20))
            self._light = self._rng.uniform(0.25, 1.4, 3).astype(np.float32)
        self._left -= 1
        side = np.linspace(0.3, 1.3, image.shape[1], dtype=np.float32)[None, :, None]
        light = 1 + mask[..., None] * (side * self._light + (1 - side) * 0.5 - 1)
        return np.clip(image * np.clip(light, 0.1, 1.6), 0, 255).astype(np.uint8)


def backlit(image: Image, mask: Array, rng: np.random.Generator) -> Image:
    """Return the actor before a bright window: dark, veiled and noisy."""
    alpha = mask[..., None]
    levels = alpha * (image * np.float32(0.16)) + (1 - alpha) * 250
    levels = 0.94 * levels + 0.06 * cv2.GaussianBlur(levels, (0, 0), 40)
    return jpeg(np.clip(levels + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8), 70)


def cup(image: Image, mouth: Array, size: float, share: float) -> Image:
    """Return the picture with a cup that has come to the mouth by a share."""
    result = image.copy()
    x, y = mouth[0], mouth[1] + (1 - share) * 3.5 * size + 0.35 * size
    left, right = round(x - 0.45 * size), round(x + 0.45 * size)
    top, bottom = round(y - 0.5 * size), round(y + 0.7 * size)
    cv2.rectangle(result, (left, top), (right, bottom), (40, 70, 150), -1)
    cv2.ellipse(result, (round(x), top), (right - round(x), 6), 0, 0, 360, (70, 100, 180), -1)
    for finger in range(4):
        place = right, round(top + (finger + 1) * (bottom - top) / 5)
        cv2.ellipse(
            result, place, (round(0.3 * size), round(0.1 * size)), 0, 0, 360, (205, 150, 125), -1
        )
    return result


def microphone(image: Image, mouth: Array, size: float) -> Image:
    """Return the picture with a large microphone before chin and lower lip."""
    result = image.copy()
    place = round(mouth[0] + 0.15 * size), round(mouth[1] + 0.75 * size)
    cv2.circle(result, place, round(0.5 * size), (35, 35, 38), -1)
    cv2.line(result, place, (place[0] + round(size), HEIGHT), (25, 25, 28), round(0.2 * size))
    return result


# Scenes


def cameras(seed: int = 1) -> dict[str, Camera]:
    """Return what spoils every picture alike."""
    rng, flashes = np.random.default_rng(seed), Flashes(np.random.default_rng(seed))
    return {
        "dark room": lambda image, _: dark(image, rng, 60, 1.0),
        "very dark room": lambda image, _: dark(image, rng, 15, 1.0),
        "cheap camera": lambda image, _: cheap(image, rng),
        "game's light": flashes.lit,
        "backlight": lambda image, mask: backlit(image, mask, rng),
    }


def filmed(people: People, camera: Camera, held: int | None = None) -> Iterator[Shot]:
    """Yield the clip, or one held frame of it, seen by a camera."""
    wall, at = room(), usual(people)
    for number in range(len(people.images) if held is None else HELD):
        shown = number if held is None else held
        mask = np.asarray(cv2.warpAffine(people.masks[shown], at, (WIDTH, HEIGHT)), np.float32)
        image = camera(people.place(wall, shown, at), mask)
        yield Shot(image, number / FPS, shown, at)


def blurred(people: People) -> Iterator[Shot]:
    """Yield 12.5 pictures a second, each with the motion blur of its exposure."""
    wall, at = room(), usual(people)
    for number in range(1, len(people.images), 2):
        two = [people.place(wall, one, at) for one in (number - 1, number)]
        mean = np.asarray(np.mean(two, axis=0), np.uint8)
        yield Shot(mean, number / FPS, number, at)


def irregular(people: People, rng: np.random.Generator) -> Iterator[Shot]:
    """Yield pictures that come early, late, twice or not at all."""
    wall, at = room(), usual(people)
    for number in range(len(people.images)):
        chance = float(rng.uniform())
        if chance < 0.15:
            continue
        late_s = float(rng.uniform(0, 0.02))
        yield Shot(people.place(wall, number, at), number / FPS + late_s, number, at)
        if chance > 0.85:
            yield Shot(people.place(wall, number, at), number / FPS + late_s + 0.015, number, at)


def ramped(number: int, begin: int = BEGIN, end: int = END, slope: int = 15) -> float:
    """Return how far a disturbance has come: 0 outside, 1 between the two frames."""
    return float(np.clip(min(number - begin + slope, end + slope - number) / slope, 0, 1))


def placed(people: People, where: Callable[[int], Array]) -> Iterator[Shot]:
    """Yield the clip, moved in each frame."""
    wall, at = room(), usual(people)
    for number in range(len(people.images)):
        affine = after(at, where(number))
        yield Shot(people.place(wall, number, affine), number / FPS, number, affine)


def absent(people: People) -> Iterator[Shot]:
    """Yield an actor who goes away for 1.6 s and comes back elsewhere."""
    wall, at = room(), usual(people)
    for number in range(len(people.images)):
        way = 420 * ramped(number)
        back = number > (BEGIN + END) / 2
        affine = after(at, shift(0.85, -way + 120) if back else shift(1, -way))
        seen = None if way > 300 else affine
        yield Shot(people.place(wall, number, affine), number / FPS, number, seen)


def joined(
    people: People, other: People, where: Callable[[int], Array], *, before: bool
) -> Iterator[Shot]:
    """Yield a scene with a second person before or behind the actor."""
    wall, at = room(), usual(people)
    for number in range(len(people.images)):
        picture, theirs = wall, after(usual(other), where(number))
        if not before:
            picture = other.place(picture, number, theirs)
        picture = people.place(picture, number, at)
        if before:
            picture = other.place(picture, number, theirs)
        yield Shot(picture, number / FPS, number, at)


def handled(people: People, points: Array, *, mic: bool) -> Iterator[Shot]:
    """Yield an actor who drinks, or who speaks into a microphone throughout."""
    for shot in placed(people, lambda _: shift()):
        face, share = points[shot.number], ramped(shot.number)
        image = shot.image
        if np.isfinite(face).all() and (mic or share):
            mouth, width = face[[13, 14], :2].mean(axis=0), face_box(face)
            size = 0.55 * (width[2] - width[0])
            image = microphone(image, mouth, size) if mic else cup(image, mouth, size, share)
        yield Shot(image, shot.time_s, shot.number, shot.affine)


def scenes(people: People, other: People, points: Array) -> dict[str, Iterator[Shot]]:
    """Return all scenes; `points` are the actor's landmarks in the good picture."""
    found = {name: filmed(people, camera) for name, camera in cameras().items()}
    crossing = (HEIGHT, -420, 420)
    return found | {
        "12.5 a second": blurred(people),
        "irregular": irregular(people, np.random.default_rng(1)),
        "far away": placed(people, lambda _: shift(0.5)),
        "very near": placed(people, lambda n: shift(1 + 1.1 * ramped(n))),
        "cut by the edge": placed(people, lambda n: shift(1, 290 * ramped(n))),
        "leans in": placed(people, lambda n: shift(1 + 0.5 * ramped(n))),
        "goes away": absent(people),
        "passes behind": joined(
            people, other, lambda n: shift(0.75, crossing[1] + 10 * (n - 30), -60), before=False
        ),
        "passes before": joined(
            people, other, lambda n: shift(1.3, crossing[1] + 14 * (n - 30), 40), before=True
        ),
        "looks over the shoulder": joined(
            people, other, lambda n: shift(0.8, 330 - 200 * ramped(n), -70), before=False
        ),
        "joins cheek to cheek": joined(
            people, other, lambda n: shift(1, 330 - 180 * ramped(n), -10), before=True
        ),
        "drinks": handled(people, points, mic=False),
        "microphone": handled(people, points, mic=True),
    }


# Runs and figures


@dataclass(frozen=True)
class Run:
    """What the live path made of a scene; NaN: no face."""

    shots: list[Shot]
    tracked: Array
    fused: Array
    measures: Array


def perform(shots: Iterator[Shot], target: str) -> Run:
    """Run the live path on a scene; the pictures of the target are not needed."""
    settings = Settings()
    settings.renderer.name, settings.renderer.size = "copy", 512
    settings.tracking.body = False  # moves no landmark of the face
    opened = open_target(target, 512)
    reenactor = open_reenactor(settings, opened, StepTimer(), recorded=True)
    kept, played = [], []
    for index, shot in enumerate(shots):
        made = reenactor.step(Frame(np.ascontiguousarray(shot.image), shot.time_s, index))
        assert made.performance is not None
        kept.append(shot)
        played.append(made.performance)
    reenactor.close()
    empty = np.full((478, 3), np.nan, np.float32)
    tracked = np.stack([empty if p.landmarks is None else p.landmarks.points for p in played])
    fused = np.stack([empty if p.fused is None else p.fused for p in played])
    measures = np.full((len(fused), len(MEASURES)), np.nan, np.float32)
    for number, points in enumerate(fused):
        if np.isfinite(points).all():
            measures[number] = measure(to_face_frame(points, estimate_pose(points)))
    return Run(kept, tracked, fused, measures)


def calm_frame(good: Run) -> int:
    """Return the frame to hold: still, with open eyes."""
    change = np.abs(np.diff(good.measures, axis=0)).sum(axis=1)
    lids = good.measures[:-1, :2].mean(axis=1)
    change[~(lids >= np.nanmedian(lids))] = np.inf
    change[~np.isfinite(change)] = np.inf
    return int(np.argmin(change[10:])) + 10


def still(run: Run) -> str:
    """Return the RMS steps of the head, the mouth and the lids after the first second, px."""
    fused = run.fused[25:]
    fused = fused[np.isfinite(fused[:, 0, 0])]
    poses = [estimate_pose(points) for points in fused]
    head = np.stack([pose.translation[:2] + 60 * pose.rotation[:2, 2] for pose in poses])
    shapes = [to_face_frame(points, pose) for points, pose in zip(fused, poses, strict=True)]
    moved = np.diff(measure(np.stack(shapes)), axis=0) * poses[0].scale
    steps = np.diff(head, axis=0), moved[:, 2], moved[:, :2]
    return " ".join(f"{np.sqrt((step**2).mean()):.2f}" for step in steps)


def followed(good: Run, run: Run, at: Array) -> tuple[Array, Array]:
    """Return for each frame whether the actor is lost, and whether another face is followed."""
    back = np.asarray(cv2.invertAffineTransform(at), np.float32)
    lost, other = np.zeros(len(run.shots), bool), np.zeros(len(run.shots), bool)
    for number, shot in enumerate(run.shots):
        found, true = run.tracked[number], good.tracked[shot.number]
        if shot.affine is None or not np.isfinite(true).all():
            continue
        lost[number] = not np.isfinite(found).all()
        if not lost[number]:
            affine = after(back, shot.affine)
            centre = affine[:, :2] @ true[:N_SKIN, :2].mean(axis=0) + affine[:, 2]
            size = abs(affine[0, 0]) * np.ptp(true[:N_SKIN, 1])
            off = np.linalg.norm(found[:N_SKIN, :2].mean(axis=0) - centre)
            other[number] = off > 0.4 * size
    return lost, other


def compared(good: Run, run: Run, at: Array) -> dict[str, float]:
    """Return the figures of a scene against the good picture."""
    numbers = [shot.number for shot in run.shots]
    lost, other = followed(good, run, at)
    true, seen = good.measures[numbers], run.measures
    both = np.isfinite(true[:, 0]) & np.isfinite(seen[:, 0])
    both[:10] = False
    figures = {"lost": float(lost.mean()), "other": float(other.mean())}
    groups = {"lids": [0, 1], "mouth": [2], "width": [3], "brows": [4, 5]}
    for name, columns in groups.items():
        one, two = (m[both][:, columns].mean(axis=1) for m in (true, seen))
        figures[f"{name} r"] = float(np.corrcoef(one, two)[0, 1])
        figures[f"{name} slope"] = float(np.polyfit(one, two, 1)[0])
    figures["error"] = float(np.sqrt(((seen - true)[both] ** 2).mean()))
    figures["lag ms"] = lag_ms(good, run)
    for name, one in (("jump", run), ("good jump", good)):
        steps = np.sqrt((np.diff(one.fused[:, :N_SKIN, :2], axis=0) ** 2).sum(-1).mean(-1))
        figures[name] = float(np.nanmax(steps))
    off = np.nan_to_num(np.abs(seen - true), nan=1.0).max(axis=1) > RIGHT_IOD
    late = [n for n in range(len(off)) if numbers[n] > END + 15 and off[n : n + STEADY].any()]
    figures["wrong s"] = (numbers[late[-1]] - END - 15) / FPS if late else 0.0
    return figures


def lag_ms(good: Run, run: Run) -> float:
    """Return the delay at which the mouth's opening correlates best with the good picture's."""
    grid = np.arange(0.6, len(good.shots) / FPS - 0.6, 0.01)

    def course(one: Run, late_s: float) -> Array:
        times = np.array([shot.time_s for shot in one.shots])
        fine = np.isfinite(one.measures[:, 2])
        return np.interp(grid + late_s, times[fine], one.measures[fine, 2])

    lags = np.arange(-0.1, 0.21, 0.01)
    base = course(good, 0.0)
    return float(1000 * lags[np.argmax([np.corrcoef(base, course(run, s))[0, 1] for s in lags])])


def save_sheet(path: Path, run: Run, columns: int = 12) -> None:
    """Save every n-th picture of a scene with the tracked points."""
    cells = []
    for number in np.linspace(0, len(run.shots) - 1, columns).astype(int):
        image = run.shots[number].image.copy()
        if np.isfinite(run.tracked[number]).all():
            for x, y in run.tracked[number, :N_SKIN:3, :2]:
                cv2.circle(image, (round(float(x)), round(float(y))), 1, (0, 255, 0), -1)
        cells.append(cv2.resize(image, (320, 180), interpolation=cv2.INTER_AREA))
    rows = [np.hstack(cells[n : n + 4]) for n in range(0, columns, 4)]
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])


def main() -> None:
    """Print the figures of each clip and scene."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--scene", action="append", help="only these")
    parser.add_argument("--target", default="astronaut", help="that is driven")
    parser.add_argument("--keep", type=Path, help="folder for contact sheets of the scenes")
    given = parser.parse_args()
    crowd = [read_people(path) for path in given.clips]
    for place, people in enumerate(crowd):
        name, at = given.clips[place].stem, usual(people)
        good = perform(placed(people, lambda _: shift()), given.target)
        held = calm_frame(good)
        all_scenes = scenes(people, crowd[(place + 1) % len(crowd)], good.tracked)
        for scene, shots in all_scenes.items():
            if given.scene and scene not in given.scene:
                continue
            run = perform(shots, given.target)
            words = [f"{key} {value:.3f}" for key, value in compared(good, run, at).items()]
            if camera := cameras().get(scene):
                shown = perform(filmed(people, camera, held), given.target)
                words.append(f"still {still(shown)}")
            print(f"{name} | {scene} | {', '.join(words)}", flush=True)
            if given.keep:
                given.keep.mkdir(parents=True, exist_ok=True)
                save_sheet(given.keep / f"{name} {scene}.png", run)


if __name__ == "__main__":
    main()
