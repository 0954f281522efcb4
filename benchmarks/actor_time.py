"""Time what knowing the actor costs for each frame, on one core.

    OMP_NUM_THREADS=1 python benchmarks/actor_time.py

Somebody drawn from the face model speaks for a minute; processor time is measured, so that other
programs on the machine hardly count.
"""

from __future__ import annotations

import time

import numpy as np

from reenact.expression.actor_identity import ActorIdentity
from reenact.expression.face_model import face_model
from reenact.expression.target_face import TargetFace, proportional_change
from reenact.face.geometry import canonical_face
from reenact.face.regions import lid_closure
from reenact.types import Pose

FRAMES = 1800
FPS = 30.0


def main() -> None:
    """Print the median and the 95th percentile of both parts, ms a frame."""
    rng = np.random.default_rng(0)
    model = face_model()
    face = (model.mean + rng.normal(size=len(model.identity)) @ model.identity).reshape(-1, 3)
    corners = rng.normal(size=(FRAMES // 8 + 2, len(model.expression)))
    steps = np.arange(FRAMES) / 8
    weights = np.stack([np.interp(steps, range(len(corners)), one) for one in corners.T], axis=1)
    shapes = (face.reshape(-1) + model.expression_mean + weights @ model.expression).astype("f4")
    pose = Pose(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), 90.0)
    identity, target = ActorIdentity(), TargetFace(canonical_face())
    gains = np.ones(3, np.float32)
    identity_ms, target_ms = [], []
    for number, shape in enumerate(shapes.reshape(FRAMES, -1, 3)):
        start = time.thread_time()
        neutral = identity.observe(shape, pose, number / FPS)
        middle = time.thread_time()
        deviation = shape - neutral.shape
        wanted = proportional_change(neutral.shape, deviation, gains)
        target.place(deviation, wanted, lid_closure(shape, neutral.shape))
        identity_ms.append(1e3 * (middle - start))
        target_ms.append(1e3 * (time.thread_time() - middle))
    for name, spent in (("neutral", identity_ms), ("proportions and limits", target_ms)):
        p50, p95 = np.percentile(spent, [50, 95])
        print(f"{name}: median {p50:.2f}, 95th percentile {p95:.2f}, mean {np.mean(spent):.2f} ms")


if __name__ == "__main__":
    main()
