"""Builds drives: of a single picture, at rest, blended; and a tracker for known landmarks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from reenact.expression.driving import Addition
from reenact.face.action_units import mirrored_units
from reenact.face.geometry import mirrored_deviation
from reenact.face.topology import ACTION_UNITS, N_LANDMARKS
from reenact.types import Array, Drive, Expression, Frame, Landmarks, Pose


def still_expression() -> Expression:
    """Return the expression of an actor at rest who looks straight ahead."""
    return Expression(
        deviation=np.zeros((N_LANDMARKS, 3), np.float32),
        pose=Pose(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), 1.0),
        action_units=np.zeros(len(ACTION_UNITS), np.float32),
    )


def landmark_drive(landmarks: Array) -> Drive:
    """Return the drive of a single picture with these (478, 3) landmarks, crop px."""
    return Drive(landmarks, still_expression())


def resting_drive(neutral: Array) -> Drive:
    """Return the drive of a target at rest, from its (478, 3) neutral, crop px."""
    return Drive(neutral, still_expression(), intensity=0.0)


def mirrored(expression: Expression) -> Expression:
    """Swap the sides of an expression; its pose is kept."""
    return Expression(
        mirrored_deviation(expression.deviation),
        expression.pose,
        mirrored_units(expression.action_units),
        expression.tongue,
    )


def between(idle: Expression, acted: Expression, share: np.float32) -> Expression:
    """Interpolate between the idle (share 0) and the acted (share 1) expression."""
    return Expression(
        idle.deviation + share * (acted.deviation - idle.deviation),
        acted.pose,
        idle.action_units + share * (acted.action_units - idle.action_units),
        float(share) * acted.tongue,
    )


def with_addition(drive: Drive, addition: Addition) -> Drive:
    """Add what a key, a file or a hand adds to a drive whose landmarks already include it."""
    expression = drive.expression
    return replace(
        drive,
        expression=Expression(
            addition.kept() * expression.deviation + addition.deviation,
            expression.pose,
            addition.mixed_units(expression.action_units),
            min(expression.tongue + addition.tongue, 1.0),
        ),
        emotion=addition.emotion(expression.action_units),
        intensity=addition.intensity,
    )


class KnownLandmarks:
    """Returns the landmarks that a frame carries; satisfies `reenact.types.Tracker`."""

    faces_seen = 1

    def track(self, frame: Frame) -> Landmarks | None:
        """Return the frame's landmarks."""
        return None if frame.performance is None else frame.performance.landmarks

    def reset(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
