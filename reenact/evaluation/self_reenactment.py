"""The self-reenactment protocol: a clip's first frame, driven by the landmarks of later frames.

Every fifth frame after the reference is rendered from its own true landmarks and compared with the
true frame: over the whole crop, over the face box (`face_`) and inside the face's oval (`mesh_`).
Most squared error in the face box comes from shoulders, hair and wall; the oval excludes those.

`consecutive_ssim` and `flicker` need neighbouring frames. For them the first 60 frames after the
reference are rendered in sequence with the smoothing of the live path, because the steadiness of a
picture depends on the steadiness of its landmarks.

In a set of separate pictures (RaFD, KDEF, …) each picture is drawn from the first, neutral one, and
the figures that need neighbouring frames are missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from reenact.config import FusionSettings, SmoothingSettings
from reenact.evaluation import metrics
from reenact.evaluation.clips import CLIP_FPS, Clip, first_frame_target
from reenact.evaluation.contact_sheet import SheetRow, error_map, spread_out
from reenact.evaluation.face_reader import FaceReader, median_shape, own_shape, units_of
from reenact.evaluation.metrics import Figures, mean_of
from reenact.expression.body_motion import BodyMotion
from reenact.expression.emotions import emotion_weights
from reenact.face.action_units import action_units
from reenact.face.body_tracker import BodyTracker
from reenact.face.filters import ExpressionFilter, PoseFilter
from reenact.face.geometry import estimate_pose, region_mask, to_face_frame, to_image
from reenact.face.shoulders import shoulder_points
from reenact.face.topology import ACTION_UNITS, OVAL
from reenact.imaging import resized_square
from reenact.rendering.temporal_filter import PictureFilter
from reenact.types import Array, Drive, Expression, Image, Renderer, SeenBody, Target

PROTOCOL: Final = "self-reenactment"
FLOORS: Final = ("copy", "warp")
"""Renderers that ignore the body."""

STRIDE: Final = 5
RUN_FRAMES: Final = 60
_MOUTH_OPEN: Final = ACTION_UNITS.index("mouth_open")
_VISIBLE: Final = 0.5
"""Minimum visibility, by the pose model, of a shoulder that is compared."""

SHEET_ROWS: Final = 4
"""Frames of each clip on the contact sheet."""


@dataclass(frozen=True, slots=True)
class PreparedClip:
    """A clip and the analysis of its true frames; shared by all renderers.

    Attributes:
        clip: its frames and landmarks.
        reference: index of the frame that the renderers get as the reference.
        scored: indices of the compared frames.
        run: consecutive indices, for the figures that compare neighbouring frames.
        neutral: (478, 3) median shape of the person in the face frame, iod.
        tracked: (478, 3) px landmarks tracked on each scored true frame; None without a face.
        descriptor: identity of the face in the reference; None without the optional dependency.
        bodies: torso and hair in each frame with a face; empty if the body is not measured.
        shoulders: `shoulder_points` of each scored true frame; empty if not measured.
    """

    clip: Clip
    reference: int
    scored: tuple[int, ...]
    run: tuple[int, ...]
    neutral: Array
    tracked: tuple[Array | None, ...]
    descriptor: Array | None
    bodies: Mapping[int, SeenBody] = field(default_factory=dict)
    shoulders: tuple[Array | None, ...] = ()

    def true_run(self) -> list[Image]:
        """Return the true pictures of the run."""
        return [np.asarray(self.clip.images[i]) for i in self.run]


@dataclass(frozen=True, slots=True)
class RenderedClip:
    """A renderer's pictures of a clip, uint8 (S, S, 3) RGB.

    Attributes:
        scored: pictures of the scored frames.
        run: pictures of the run.
    """

    scored: list[Image]
    run: list[Image]


def prepare_clip(
    clip: Clip,
    reader: FaceReader,
    frames: int | None = None,
    first: int | None = None,
    body: bool = False,
) -> PreparedClip:
    """Choose the frames of a clip and read the faces of the true frames.

    Args:
        clip: at least two frames with landmarks.
        reader: reads the true frames.
        frames: maximum number of scored frames and of frames in the run; None: the protocol's.
        first: index of the first frame to score; None: `STRIDE` after the reference.
        body: also track torso and hair, and find the shoulders.
    """
    reference = int(clip.usable[0])
    usable = set(clip.usable.tolist())
    stride = 1 if clip.unrelated else STRIDE
    begin = reference + stride if first is None else first
    scored = [i for i in range(begin, len(clip.images), stride) if i in usable]
    scored = (scored or [int(clip.usable[-1])])[:frames]
    run: list[int] = []
    begin = reference + 1 if first is None else first
    for i in range(begin, min(begin + (frames or RUN_FRAMES), len(clip.images))):
        if i not in usable or clip.unrelated:
            break
        run.append(i)
    shown = clip.images[reference]
    seen = reader.track(shown)
    return PreparedClip(
        clip=clip,
        reference=reference,
        scored=tuple(scored),
        run=tuple(run),
        neutral=median_shape(clip.landmarks[clip.usable]),
        tracked=tuple(reader.track(clip.images[i]) for i in scored),
        descriptor=None if seen is None else reader.describe(shown, seen),
        bodies=_bodies(clip) if body else {},
        shoulders=tuple(shoulder_points(clip.images[i] for i in scored)) if body else (),
    )


def _bodies(clip: Clip) -> dict[int, SeenBody]:
    """Track torso and hair from the first frame with a face, like the live path."""
    tracker, bodies = BodyTracker(), {}
    for i in clip.usable.tolist():
        points = np.ascontiguousarray(clip.landmarks[i])
        bodies[i] = tracker.track(np.ascontiguousarray(clip.images[i]), points)
    return bodies


def with_and_without(name: str, prepared: PreparedClip) -> dict[str, PreparedClip]:
    """Return the clip by table row: without the body, and as `NAME (body)` with it."""
    found = {name: replace(prepared, bodies={})}
    if prepared.bodies and name not in FLOORS:
        found[f"{name} (body)"] = prepared
    return found


def render_frames(
    prepared: PreparedClip,
    renderer: Renderer,
    frames: Sequence[int],
    smoothing: SmoothingSettings | None = None,
) -> list[Image]:
    """Render frames of a clip from their own true landmarks, action units and emotions.

    Args:
        prepared: the clip.
        renderer: prepared with the clip's target; it is reset first.
        frames: indices in ascending order.
        smoothing: filters landmarks and pictures as the live path does; None: no filter.

    Returns:
        uint8 (S, S, 3) RGB pictures at the clip's size.
    """
    pose_filter, shape_filter, picture_filter = PoseFilter(), ExpressionFilter(), PictureFilter()
    clip, filters = prepared.clip, smoothing or SmoothingSettings(enabled=False)
    motion = BodyMotion(first_frame_target(clip, ""), FusionSettings(translation=1.0), filters)
    reference = clip.landmarks[prepared.reference]
    neutral = to_face_frame(reference, estimate_pose(reference))
    renderer.reset()
    pictures: list[Image] = []
    if not frames:
        return pictures
    seen_s = drawn_s = min([*prepared.bodies, *frames]) / CLIP_FPS
    # The body is tracked through all frames, including those that are not drawn.
    for i in sorted({*prepared.bodies, *frames}):
        if i > frames[-1]:
            break
        points = np.ascontiguousarray(clip.landmarks[i])
        pose = estimate_pose(points, neutral)
        shape = to_face_frame(points, pose)
        time_s = i / CLIP_FPS
        if smoothing is not None:
            pose = pose_filter.step(pose, time_s - seen_s, smoothing)
            shape = shape_filter.step(shape, time_s - seen_s, smoothing)
            points = to_image(shape, pose)
        motion.follow(prepared.bodies.get(i, SeenBody()), points, points, time_s - seen_s)
        seen_s = time_s
        if i not in frames:
            continue
        units = action_units(shape, neutral)
        drive = Drive(
            landmarks=points,
            expression=Expression(shape - neutral, pose, units),
            emotion=emotion_weights(units),
            time_s=time_s,
            dt_s=time_s - drawn_s if pictures else 0.0,
            body=motion.body(1.0, points),
        )
        picture = renderer.render(drive)
        if smoothing is not None:
            picture = picture_filter.step(picture, drive.dt_s, smoothing)
        pictures.append(resized_square(picture, clip.images.shape[1]))
        drawn_s = time_s
    return pictures


def score(
    prepared: PreparedClip,
    name: str,
    renderer: Renderer,
    reader: FaceReader,
    target: Target | None = None,
) -> tuple[Figures, RenderedClip]:
    """Render a clip and compare it with the true frames.

    Args:
        prepared: the clip.
        name: name of the renderer.
        renderer: the renderer; this function prepares it with the target.
        reader: reads the rendered faces.
        target: None: a one-shot target of the clip's first frame.

    Returns:
        The figures, and the pictures they were computed from.
    """
    renderer.prepare(first_frame_target(prepared.clip, name) if target is None else target)
    pictures = render_frames(prepared, renderer, prepared.scored)
    figures = compare_pictures(prepared, pictures)
    figures |= tracked_figures(prepared, pictures, reader)
    if prepared.shoulders:
        figures["shoulder_px"] = shoulder_distance(prepared.shoulders, pictures)
    true_run = prepared.true_run()
    run = render_frames(prepared, renderer, prepared.run, SmoothingSettings())
    figures["consecutive_ssim"] = metrics.consecutive_ssim(run)
    figures["consecutive_ssim_true"] = metrics.consecutive_ssim(true_run)
    figures["flicker"] = metrics.flicker(true_run, run)
    return figures, RenderedClip(pictures, run)


def compare_pictures(prepared: PreparedClip, pictures: Sequence[Image]) -> Figures:
    """Compare the pictures of the scored frames with the true ones, pixel by pixel."""
    names = ("psnr", "ssim", "face_psnr", "face_ssim", "mesh_psnr", "sharpness", "face_sharpness")
    values: dict[str, list[float]] = {name: [] for name in names}
    for i, rendered in zip(prepared.scored, pictures, strict=True):
        true = np.asarray(prepared.clip.images[i])
        values["psnr"].append(metrics.psnr(true, rendered))
        values["ssim"].append(metrics.ssim(true, rendered))
        values["sharpness"].append(metrics.sharpness(true, rendered))
        points = prepared.clip.landmarks[i]
        box = metrics.face_box(points, (true.shape[1], true.shape[0]))
        if box is not None:
            values["face_psnr"].append(metrics.psnr(true[box], rendered[box]))
            values["face_ssim"].append(metrics.ssim(true[box], rendered[box]))
            values["face_sharpness"].append(metrics.sharpness(true[box], rendered[box]))
        oval = region_mask(points, OVAL, true.shape[0]) > 127
        if oval.any():
            values["mesh_psnr"].append(metrics.psnr(true[oval], rendered[oval]))
    return {name: mean_of(of_name) for name, of_name in values.items()}


def tracked_figures(
    prepared: PreparedClip, pictures: Sequence[Image], reader: FaceReader
) -> Figures:
    """Compare the faces read from the rendered frames with those of the true frames.

    `tracked` is the share of the frames with a true face in which a rendered face is found.
    """
    units, openings, distances, identities, found = [], [], [], [], []
    for i, truth, rendered in zip(prepared.scored, prepared.tracked, pictures, strict=True):
        points = reader.track(rendered)
        seen = prepared.clip.landmarks[i] if points is None else points
        identity = reader.identity(prepared.descriptor, rendered, seen)
        if identity is not None:
            identities.append(identity)
        if truth is None:
            continue
        found.append(points is not None)
        if points is not None:
            distances.append(metrics.landmark_distance(points, truth))
            error = np.abs(units_of(points, prepared.neutral) - units_of(truth, prepared.neutral))
            units.append(float(error.mean()))
            openings.append(float(error[_MOUTH_OPEN]))
    return {
        "au_error": mean_of(units),
        "mouth_open_error": mean_of(openings),
        "akd_px": mean_of(distances),
        "tracked": mean_of(found),
        "identity": mean_of(identities),
    }


def shoulder_distance(truth: Sequence[Array | None], pictures: Sequence[Image]) -> float | None:
    """Return the mean distance, px, of the shoulders from the true ones; None if none is found.

    Shoulders that are hidden in the true picture are left out.
    """
    distances = []
    for true, found in zip(truth, shoulder_points(pictures), strict=True):
        if true is not None and found is not None:
            apart = np.linalg.norm(found[:, :2] - true[:, :2], axis=1)
            distances.extend(apart[true[:, 2] > _VISIBLE].tolist())
    return mean_of(distances)


def sheet_rows(prepared: PreparedClip, rendered: Sequence[RenderedClip]) -> list[SheetRow]:
    """Return the frames with the most different expressions: reference, true, drawn, errors.

    Args:
        prepared: the clip.
        rendered: the pictures of each renderer.
    """
    points = prepared.clip.landmarks
    shown = (prepared.reference, *prepared.scored)
    shapes = [own_shape(points[i], prepared.neutral) for i in shown]
    rows = []
    for choice in spread_out(np.stack(shapes), SHEET_ROWS):
        frame = prepared.scored[choice - 1]
        true = np.asarray(prepared.clip.images[frame])
        pictures = [of_renderer.scored[choice - 1] for of_renderer in rendered]
        errors = [error_map(true, picture) for picture in pictures]
        reference = np.asarray(prepared.clip.images[prepared.reference])
        label = f"{prepared.clip.name}, frame {frame}"
        rows.append(SheetRow(label, [reference, true, *pictures, *errors]))
    return rows


def sheet_columns(names: Sequence[str]) -> list[str]:
    """Return the column headings of `sheet_rows`."""
    return ["reference", "true", *names, *(f"error of {name}" for name in names)]


def run_columns(
    prepared: PreparedClip, rendered: Mapping[str, RenderedClip]
) -> dict[str, Sequence[Image]]:
    """Return the runs of a side-by-side video by column: reference, true, each renderer."""
    reference = np.asarray(prepared.clip.images[prepared.reference])
    runs = {name: of_renderer.run for name, of_renderer in rendered.items()}
    return {"reference": [reference] * len(prepared.run), "true": prepared.true_run(), **runs}
