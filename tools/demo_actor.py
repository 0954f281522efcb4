"""Make `assets/demo_actor.mp4`: the actor of `reenact demo`.

    python -m tools.demo_actor

The officer is invented: `demo_portrait` composes her from two portraits in the public domain. The
shipped generator animates her by a script of action units, head turns and blinks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from reenact import registry
from reenact.config import RendererSettings, SinkSettings, TrackingSettings
from reenact.face.action_units import action_unit_basis
from reenact.face.geometry import estimate_pose, rotation_matrix, to_face_frame, to_image
from reenact.face.mediapipe_tracker import MediaPipeTracker
from reenact.face.skull import turned_at_neck
from reenact.face.topology import ACTION_UNITS, IRIS_LEFT, IRIS_RIGHT
from reenact.imaging import smoothstep
from reenact.live.drives import still_expression
from reenact.rendering.compositing import Paster, whole_view
from reenact.sinks.video_file import FileSettings
from reenact.targets.library import resize_target, target_from_image
from reenact.targets.surroundings import with_surroundings
from reenact.types import Array, Drive, Frame, Renderer, Target
from tools import ASSETS
from tools.demo_portrait import composed_portrait

ASSET: Final = ASSETS / "demo_actor.mp4"
FPS: Final = 25
DURATION_S: Final = 12.0

Key = tuple[float, float]
"""(time in s, value)."""

_BROWS: Final[Sequence[Key]] = [
    (6.6, 0), (6.9, 0.9), (7.5, 0.9), (7.8, 0), (9.0, 0), (9.3, 0.8), (10.2, 0),
]  # fmt: skip

SCRIPT: Final[dict[str, Sequence[Key]]] = {
    "mouth_open": [
        (1.6, 0), (2.0, 0.45), (2.4, 0.1), (2.7, 0.5), (3.2, 0), (3.4, 0.35), (3.6, 0.1),
        (3.8, 0.4), (4.2, 0), (5.0, 0), (5.4, 0.6), (5.9, 0.6), (6.3, 0), (9.0, 0), (9.4, 0.7),
        (9.9, 0.7), (10.3, 0),
    ],
    "smile_left": [(4.4, 0), (4.9, 0.9), (5.9, 0.9), (6.4, 0)],
    "smile_right": [(4.4, 0), (4.9, 0.9), (5.9, 0.9), (6.4, 0)],
    "brow_raise_left": _BROWS,
    "brow_raise_right": _BROWS,
    "blink_left": [
        (1.2, 0), (1.28, 1), (1.36, 0), (4.0, 0), (4.08, 1), (4.2, 0), (7.9, 0), (8.1, 1),
        (8.5, 1), (8.7, 0), (10.6, 0), (10.68, 1), (10.8, 0),
    ],
    "blink_right": [
        (1.2, 0), (1.28, 1), (1.36, 0), (4.0, 0), (4.08, 1), (4.2, 0), (10.6, 0), (10.68, 1),
        (10.8, 0),
    ],
    "upper_lip_raise": [
        (5.0, 0), (5.4, 0.7), (5.9, 0.7), (6.3, 0), (9.0, 0), (9.4, 0.7), (9.9, 0.7), (10.3, 0),
    ],
    "pucker": [(3.0, 0), (3.3, 0.4), (3.6, 0), (10.9, 0), (11.2, 0.6), (11.5, 0)],
}  # fmt: skip

HEAD: Final[dict[str, Sequence[Key]]] = {
    "yaw": [
        (2.0, 0), (3.0, 9), (4.4, -7), (5.6, 0), (7.6, 0), (8.4, 8), (9.2, 0), (10.8, -5),
        (11.8, 0),
    ],
    "pitch": [(1.4, 0), (2.2, 4), (3.0, -2), (4.6, 0), (6.6, 0), (7.0, -4), (7.9, 0)],
    "roll": [(3.6, 0), (5.0, 6), (6.6, -3), (7.6, 0), (10.4, 0), (11.2, 4), (11.9, 0)],
    "gaze": [(5.0, 0), (5.3, 0.8), (6.0, -0.6), (6.4, 0), (8.2, 0.7), (9.0, 0)],
}  # fmt: skip
"""Degrees about the three axes; gaze in -1..1 of the eye's half width, to the image's right."""


def value_at(keys: Sequence[Key], time_s: float) -> float:
    """Interpolate keys with smooth steps; hold the value before the first and after the last."""
    times = [time for time, _ in keys]
    values = [value for _, value in keys]
    right = int(np.searchsorted(times, time_s))
    if right in {0, len(keys)}:
        return values[0] if right == 0 else values[-1]
    share = (time_s - times[right - 1]) / (times[right] - times[right - 1])
    return values[right - 1] + smoothstep(share) * (values[right] - values[right - 1])


def scripted_landmarks(neutral: Array, time_s: float) -> Array:
    """Return a neutral face's landmarks, (478, 3) px, moved to a time of the script."""
    pose = estimate_pose(neutral)
    shape = to_face_frame(neutral, pose)
    basis = action_unit_basis()
    for name, keys in SCRIPT.items():
        shape = shape + np.float32(value_at(keys, time_s)) * basis[ACTION_UNITS.index(name)]
    gaze = value_at(HEAD["gaze"], time_s) * 0.12
    shape[list(IRIS_RIGHT + IRIS_LEFT), 0] += np.float32(gaze)
    angles = [value_at(HEAD[axis], time_s) for axis in ("pitch", "yaw", "roll")]
    turn = rotation_matrix(np.radians(np.array(angles, np.float32)).astype(np.float32))
    sway = np.array([np.sin(time_s * 0.9) * 0.04, np.sin(time_s * 1.3) * 0.02, 0], np.float32)
    turned = turned_at_neck(pose, turn)
    swayed = turned.translation + sway * np.float32(pose.scale)
    return to_image(shape, replace(turned, translation=swayed))


def frames(target: Target, renderer: Renderer) -> Iterator[Frame]:
    """Yield the script's frames."""
    renderer.prepare(target)
    paster = Paster(target, whole_view(target, 512))
    for index in range(round(DURATION_S * FPS)):
        time_s = index / FPS
        drive = Drive(
            landmarks=scripted_landmarks(target.neutral, time_s),
            expression=still_expression(),
            time_s=time_s,
            dt_s=1 / FPS,
        )
        yield Frame(paster.paste(renderer.render(drive)), time_s, index)


def main() -> None:
    """Write the asset."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ASSET)
    parser.add_argument("--size", type=int, default=512, help="side of the generated crop, px")
    arguments = parser.parse_args()
    tracker = MediaPipeTracker(TrackingSettings(), static=True)
    target = target_from_image("demo actor", composed_portrait(tracker), tracker)
    target = with_surroundings(resize_target(target, arguments.size))
    renderer = registry.load("renderers", "warp_unet").make(RendererSettings(size=arguments.size))
    sink = registry.load("sinks", "file").make(
        str(arguments.out), SinkSettings(file=FileSettings(crf=23))
    )
    for frame in frames(target, renderer):
        if frame.index == 0:
            sink.open(frame.size, float(FPS))
        sink.write(frame)
    sink.close()
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
