"""Measures the time per frame, on one core, of estimating the actor's neutral and expression.

    OMP_NUM_THREADS=1 python benchmarks/actor_time.py

A person sampled from the face model moves at random for a minute. CPU time is measured, so that
other programs on the machine hardly matter.
"""

from __future__ import annotations

import time

import numpy as np

from reenact.expression.actor_identity import ActorIdentity
from reenact.expression.face_model import face_model
from reenact.expression.target_face import TargetFace
from reenact.expression.tracker_trust import TrackerTrust
from reenact.face.geometry import canonical_face, to_image
from reenact.face.regions import lid_closure
from reenact.types import Landmarks, Pose

FRAMES = 1800
FPS = 30.0


def main() -> None:
    """Print the median, the 95th percentile and the mean of each part, ms per frame."""
    rng = np.random.default_rng(0)
    model = face_model()
    face = (model.mean + rng.normal(size=len(model.identity)) @ model.identity).reshape(-1, 3)
    corners = rng.normal(size=(FRAMES // 8 + 2, len(model.expression)))
    steps = np.arange(FRAMES) / 8
    weights = np.stack([np.interp(steps, range(len(corners)), one) for one in corners.T], axis=1)
    shapes = (face.reshape(-1) + model.expression_mean + weights @ model.expression).astype("f4")
    pose = Pose(np.eye(3, dtype=np.float32), np.full(3, 128, np.float32), 60.0)
    identity, target = ActorIdentity(), TargetFace(canonical_face())
    gains = np.ones(3, np.float32)
    trust = TrackerTrust()
    spent: dict[str, list[float]] = {}
    for number, shape in enumerate(shapes.reshape(FRAMES, -1, 3)):
        seen = Landmarks(to_image(shape, pose), 1.0, (256, 256))
        times = [time.thread_time()]
        neutral = identity.observe(shape, pose, number / FPS)
        times.append(time.thread_time())
        deviation = shape - neutral.shape
        trust.judge(deviation, pose, seen, 1 / FPS)
        trust.believe(deviation, 1 / FPS)
        times.append(time.thread_time())
        wanted, _ = target.wanted(neutral.shape, deviation, gains)
        target.place(deviation, wanted, lid_closure(shape, neutral.shape))
        times.append(time.thread_time())
        parts = [*np.diff(times), times[-1] - times[0]]
        for name, part in zip(("neutral", "trust", "limits", "together"), parts, strict=True):
            spent.setdefault(name, []).append(1e3 * part)
    for name, ms in spent.items():
        p50, p95 = np.percentile(ms, [50, 95])
        print(f"{name}: median {p50:.2f}, 95th percentile {p95:.2f}, mean {np.mean(ms):.2f} ms")


if __name__ == "__main__":
    main()
