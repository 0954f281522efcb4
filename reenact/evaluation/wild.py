"""The wild protocol: fused landmarks of runs that do not start calmly.

Each clip's actor drives a target (the next person in the folder, as in that clip's first frame)
by landmarks alone; nothing is rendered. Runs begin at the clip's calmest, first and worst frames,
stay on its worst quarter for some seconds (sobbing, shouting, laughing), hold one frame for half a
minute, or follow another actor. In further runs the real tracker sees a hand or a card over mouth
or eye (`evaluation.covered`). The ground truth is the same run with the actor's neutral known from
the whole clip (`measures.resting_shape`).

Figures over the six `measures.MEASURES`, in the units of `target_face.proportions`:

- `correlation`, `correlation_5s`: correlation of the fused signal with the true one, after one
  second and after five, averaged over the measures that move; `gain` and `gain_LIDS…`: the slope
  against the true signal.
- `actor_gain_…`: slope of the true fused signal against the actor's own: the fusion's gain.
- `offset`: mean absolute difference from the true signal after one second.
- `beyond`: share of frames in which the target is outside the limits of a face.
- `right_after_s`: time from which the neutral stays within .02 iod (RMS) of the true one.
- `jump`: largest change of the neutral between consecutive frames, iod (RMS).
- `step`, `step_open`: largest change of the covered part between consecutive frames while it is
  covered and for a second after, iod (RMS), with the cover and in the same run without it (people
  move there too); `excess` is the difference.
- `stray`: how far the fully covered part's measures leave the range between the held state and
  rest, in the units of `proportions`.
- `trust`: trust in the covered part meanwhile, 0 to 1; `limits`: share of all frames in which a
  limit applied with the cover but not without it; `limits_covered`, `limits_open`: share with the
  cover and without it.
- `kept`, `moved`: for held expressions, the deviation in the last five seconds relative to that in
  the five seconds after the first, and how far the neutral has moved meanwhile, iod (RMS).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reenact.config import ActorSettings, FusionSettings, SmoothingSettings, TrackingSettings
from reenact.errors import SourceError
from reenact.evaluation.clips import CLIP_FPS, read_clip, read_landmarks, there_and_back
from reenact.evaluation.covered import COVERS, Cover, CoveredRun, track_covered
from reenact.evaluation.metrics import Figures, correlation, mean_figures
from reenact.expression.actor_identity import ActorIdentity, Neutral
from reenact.expression.fusion import Fusion
from reenact.expression.measures import (
    LID_LEFT,
    LID_RIGHT,
    MEASURES,
    MOUTH_OPEN,
    MOUTH_WIDTH,
    measure,
    resting_shape,
)
from reenact.expression.target_face import TargetFace, proportions
from reenact.face.geometry import estimate_pose, to_face_frame, to_face_frames
from reenact.face.regions import part_weights
from reenact.progress import progress_bar
from reenact.registry import load
from reenact.targets.clip_files import person_of
from reenact.types import Array, Landmarks, Pose

PROTOCOL: Final = "wild"
RUN_S: Final = 10.0
HELD_S: Final = 30.0
DWELL_S: Final = 6.0
"""Duration for which only the worst quarter of a clip's frames is shown, s."""

_HELD_MEAN_S: Final = 5
"""Averaging time of a held expression, s: over 1 s, camera noise moves a faint one by 7 %."""

BEFORE_S: Final = 6.0
"""Duration for which the other actor is shown before the measured one."""

CAMERA_NOISE: Final = 0.003
"""Standard deviation of a held frame's landmarks, iod."""

RIGHT: Final = 0.02
MOVES: Final = np.array([0.03, 0.03, 0.015, 0.02, 0.006, 0.006])
"""Minimum standard deviation of a measure that counts as moving, in the units of `proportions`."""

_GROUPS: Final = {
    "lids": (LID_RIGHT, LID_LEFT),
    "mouth_open": (MOUTH_OPEN,),
    "mouth_width": (MOUTH_WIDTH,),
    "brows": (MEASURES.index("brow_right"), MEASURES.index("brow_left")),
}
_WORST: Final[dict[str, Callable[..., float]]] = {
    **dict.fromkeys(("correlation", "correlation_5s", "kept"), min),
    **dict.fromkeys(("beyond", "right_after_s", "jump", "moved"), max),
    **dict.fromkeys(("excess", "stray", "limits"), max),
}
_SIZE: Final = (256, 256)


@dataclass(frozen=True, slots=True)
class Performance:
    """One clip's landmarks.

    Attributes:
        name: name of the clip; the part before `__` names the person.
        points: (F, 478, 3) px; frames without a face are left out.
        measures: (F, 6) in the face frame, iod.
        angles: (F,) angle between head and camera, rad.
        neutral: the true neutral.
    """

    name: str
    points: Array
    measures: Array
    angles: Array
    neutral: Neutral


class KnownActor(ActorIdentity):
    """An actor whose neutral is known and never changes: the ground truth."""

    def __init__(self, neutral: Neutral) -> None:
        super().__init__()
        self._known = neutral

    def observe(self, shape: Array, pose: Pose, time_s: float, trust: float = 1.0) -> Neutral:
        """Return the known neutral."""
        return self._known

    def disagrees(self) -> bool:
        """Return False: the neutral is known."""
        return False


def run(
    videos: Sequence[Path], settings: FusionSettings, tracking: TrackingSettings
) -> dict[str, Figures]:
    """Return the figures by run, "CLIP RUN", and the means of each kind of run, "all RUN".

    The means come with the figures of the worst run, `worst_…`.

    Raises:
        SourceError: a clip has no landmarks, or the folder shows only one person.
        PluginError: the tracker is unknown.
    """
    clips = [read_performance(video) for video in videos]
    figures: dict[str, Figures] = {}
    kinds: dict[str, list[Figures]] = {}
    with closing(load("trackers", tracking.name).make(tracking)) as tracker:
        for number, clip in enumerate(progress_bar(clips, desc="clips", unit="clip")):
            other = next_person(clips, number)
            stage = Stage(clip, other.points[0], settings)
            for kind, order in orders(clip).items():
                before = other if kind == "second" else None
                found = stage.figures(kind, order, before)
                figures[f"{clip.name} {kind}"] = found
                kinds.setdefault(kind, []).append(found)
            for cover in COVERS if videos[number].stat().st_size else ():
                run = track_covered(read_clip(videos[number]), cover, tracker)
                if run is not None:
                    found = stage.covered(run, cover)
                    figures[f"{clip.name} {cover}"] = found
                    kinds.setdefault(cover, []).append(found)
    return figures | {
        f"all {kind}": mean_figures(found) | _worst(found) for kind, found in kinds.items()
    }


def _worst(runs: Sequence[Figures]) -> Figures:
    seen = {name: [one[name] for one in runs if one.get(name) is not None] for name in _WORST}
    return {f"worst_{name}": _WORST[name](values) for name, values in seen.items() if values}


def read_performance(video: Path) -> Performance:
    """Read the landmarks stored beside a clip.

    Raises:
        SourceError: there are none, or they are damaged.
    """
    landmarks, usable = read_landmarks(video)
    points = landmarks[usable]
    shapes, turns = to_face_frames(points)
    angles = np.linalg.norm(turns, axis=1)
    calmest = estimate_pose(points[angles.argmin()])
    neutral = Neutral(resting_shape(shapes, angles), calmest)
    return Performance(video.stem, points, measure(shapes), angles, neutral)


def next_person(clips: Sequence[Performance], number: int) -> Performance:
    """Return the next clip of another person.

    Raises:
        SourceError: there is none.
    """
    person = person_of(clips[number].name)
    for other in (*clips[number + 1 :], *clips[:number]):
        if person_of(other.name) != person:
            return other
    raise SourceError(
        "--protocol wild needs clips of two people; the part of a clip's name before __ names the "
        "person."
    )


def orders(clip: Performance) -> dict[str, NDArray[np.intp]]:
    """Return the frame order of each run, played forwards and backwards to its length."""
    lids = clip.measures[:, [LID_RIGHT, LID_LEFT]].mean(axis=1)
    opening = clip.measures[:, MOUTH_OPEN]
    smile = clip.measures[:, MOUTH_WIDTH] - 0.3 * np.maximum(opening, 0)
    rest = measure(clip.neutral.shape)
    calm = np.abs(clip.measures - rest).sum(axis=1) + np.maximum(clip.angles - 0.2, 0)
    starts = {
        "calm": int(calm.argmin()),
        "first": 0,
        "shut": int(lids.argmin()),
        "open": int(opening.argmax()),
        "smile": int(smile.argmax()),
        "turned": int(clip.angles.argmax()),
    }
    frames = there_and_back(len(clip.points))
    steps = np.arange(round(RUN_S * CLIP_FPS))
    result = {kind: frames[(start + steps) % len(frames)] for kind, start in starts.items()}
    for kind, worst in (("sobbing", -lids), ("shouting", opening), ("laughing", smile)):
        quarter = np.flatnonzero(worst >= np.percentile(worst, 75))
        dwelling = np.resize(np.concatenate([quarter, quarter[::-1]]), round(DWELL_S * CLIP_FPS))
        result[kind] = np.concatenate([dwelling, result["first"]])
    for kind in ("shut", "open", "smile"):
        result[f"held_{kind}"] = np.full(round(HELD_S * CLIP_FPS), starts[kind])
    return result | {"second": result["first"]}


@dataclass(frozen=True, slots=True)
class _Track:
    """The signals of one run, from its first frame on.

    Attributes:
        shares: (F, 6) measures of the target, in the units of `proportions`.
        neutrals: (F, 478, 3) neutrals of the actor.
        beyond: (F,) True where the target is outside the limits of a face.
        shapes: (F, 478, 3) shapes of the target, iod.
        trust: (F, 6) trust in the parts of the actor's face.
        limited: (F,) True where a limit applied.
    """

    shares: Array
    neutrals: Array
    beyond: NDArray[np.bool_]
    shapes: Array
    trust: Array
    limited: NDArray[np.bool_]


class Stage:
    """One actor who drives one target.

    Args:
        clip: the actor's clip.
        target: (478, 3) px landmarks of the target's photo.
        settings: settings of the fusion.
    """

    def __init__(self, clip: Performance, target: Array, settings: FusionSettings) -> None:
        self._clip = clip
        self._target = target
        self._settings = settings
        face = TargetFace(to_face_frame(target, estimate_pose(target)), settings.mode)
        self._sizes = proportions(face.base)[: len(MEASURES)]
        self._rest = self._shares(face.base)

    def figures(
        self, kind: str, order: NDArray[np.intp], before: Performance | None = None
    ) -> Figures:
        """Return the figures of one run; `before` is an actor who is shown first."""
        points = self._clip.points[order]
        if kind.startswith("held"):
            noise = np.random.default_rng(0).normal(0, CAMERA_NOISE, points.shape)
            points = points + (noise * self._clip.neutral.pose.scale).astype(np.float32)
        found = self._track(points, None, before)
        error = np.sqrt(((found.neutrals - self._clip.neutral.shape) ** 2).mean(axis=(1, 2)))
        steps = np.sqrt((np.diff(found.neutrals, axis=0) ** 2).mean(axis=(1, 2)))
        wrong = np.flatnonzero(error > RIGHT)
        figures: Figures = {
            "beyond": float(found.beyond.mean()),
            "right_after_s": float(wrong[-1] + 1) / CLIP_FPS if len(wrong) else 0.0,
            "jump": float(steps.max()),
        }
        second = round(CLIP_FPS)
        if kind.startswith("held"):
            return figures | _held(found, second, self._rest)
        true = self._track(points, self._clip.neutral, None)
        sizes = proportions(self._clip.neutral.shape)[: len(MEASURES)]
        acted = self._clip.measures[order] / sizes
        return figures | _followed(found.shares, true.shares, acted, second)

    def covered(self, run: CoveredRun, cover: Cover) -> Figures:
        """Return the figures of a run in which part of the face is covered."""
        found, free = (self._track(points, None, None) for points in (run.covered, run.open))
        part = 1 if cover == "hand_eye" else 0
        near = part_weights()[part] ** 2
        steps = [
            np.sqrt((np.diff(track.shapes, axis=0) ** 2).sum(axis=2) @ near / near.sum())
            for track in (found, free)
        ]
        during = run.share[1:] > 0
        during[np.flatnonzero(during)[-1] :][: round(CLIP_FPS)] = True
        whole = np.flatnonzero(run.share >= 1)[round(0.2 * CLIP_FPS) :]
        rows = [LID_RIGHT] if part else [MOUTH_OPEN, MOUTH_WIDTH]
        before = found.shares[int(np.argmax(run.share > 0)) - round(0.2 * CLIP_FPS), rows]
        low, high = np.minimum(before, self._rest[rows]), np.maximum(before, self._rest[rows])
        seen = found.shares[whole][:, rows]
        stray = np.maximum(low - seen, seen - high).max(initial=0.0)
        step, step_open = (float(track[during].max()) for track in steps)
        return {
            "step": step,
            "step_open": step_open,
            "excess": step - step_open,
            "stray": float(stray),
            "trust": float(found.trust[whole, part].mean()),
            "limits": float((found.limited & ~free.limited).mean()),
            "limits_covered": float(found.limited.mean()),
            "limits_open": float(free.limited.mean()),
            "beyond": float(found.beyond.mean()),
        }

    def _shares(self, shapes: Array) -> Array:
        return np.asarray(measure(shapes) / self._sizes)

    def _track(self, points: Array, known: Neutral | None, before: Performance | None) -> _Track:
        identity = ActorIdentity() if known is None else KnownActor(known)
        fusion = Fusion(
            self._settings,
            SmoothingSettings(),
            self._target,
            ActorSettings(neutral="fresh"),
            identity,
        )
        shapes, neutrals, beyond, trust, limited = [], [], [], [], []
        start_s = 0.0
        if before is not None:
            for time_s, one in _timed(before.points[: round(BEFORE_S * CLIP_FPS)], 0.0):
                fusion.fuse(fusion.express(Landmarks(one, 1.0, _SIZE), time_s))
                start_s = time_s + 1.0
            fusion.reset()
        for time_s, one in _timed(points, start_s):
            fused = fusion.fuse(fusion.express(Landmarks(one, 1.0, _SIZE), time_s))
            shape = to_face_frame(fused, estimate_pose(fused, fusion.target.base))
            assert fusion.actor_neutral is not None
            shapes.append(shape)
            neutrals.append(fusion.actor_neutral)
            beyond.append(fusion.target.beyond(shape))
            trust.append(fusion.trust)
            limited.append(bool(fusion.limited.any()))
        return _Track(
            self._shares(np.stack(shapes)),
            np.stack(neutrals),
            np.array(beyond),
            np.stack(shapes),
            np.stack(trust),
            np.array(limited),
        )


def _timed(points: Array, start_s: float) -> Iterator[tuple[float, Array]]:
    for number, one in enumerate(points):
        yield start_s + number / CLIP_FPS, one


def _held(found: _Track, second: int, rest: Array) -> Figures:
    """Return how much of a held expression remains."""
    window = _HELD_MEAN_S * second
    early = np.abs(found.shares[second : second + window].mean(axis=0) - rest)
    late = np.abs(found.shares[-window:].mean(axis=0) - rest)
    shown = early > MOVES
    moved = found.neutrals[-1] - found.neutrals[second]
    return {
        "kept": float(late[shown].sum() / early[shown].sum()) if shown.any() else None,
        "moved": float(np.sqrt((moved**2).mean())),
    }


def _followed(found: Array, true: Array, acted: Array, second: int) -> Figures:
    """Compare (F, 6) found signals with the true ones, and the true ones with the actor's own."""
    figures: Figures = {
        "correlation": _mean_correlation(found[second:], true[second:]),
        "correlation_5s": _mean_correlation(found[5 * second :], true[5 * second :]),
        "offset": float(np.abs(found[second:] - true[second:]).mean()),
    }
    gains: list[float] = []
    for name, rows in _GROUPS.items():
        moving = [row for row in rows if true[second:, row].std() > MOVES[row]]
        if not moving:
            continue
        own = [_slope(true[second:, row], found[second:, row]) for row in moving]
        gains += own
        figures[f"gain_{name}"] = float(np.mean(own))
        actor = [_slope(acted[second:, row], true[second:, row]) for row in moving]
        figures[f"actor_gain_{name}"] = float(np.mean(actor))
    figures["gain"] = float(np.mean(gains)) if gains else None
    return figures


def _mean_correlation(found: Array, true: Array) -> float | None:
    if len(true) < 2:
        return None
    moving = np.flatnonzero(true.std(axis=0) > MOVES)
    if not len(moving):
        return None
    return float(np.mean([correlation(found[:, row], true[:, row]) for row in moving]))


def _slope(x: Array, y: Array) -> float:
    return float(np.polyfit(x, y, 1)[0])
