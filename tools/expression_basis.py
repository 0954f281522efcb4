"""Make `assets/expression_basis.npz`: how faces move, learned from the training clips.

    python -m tools.expression_basis --data ../shared/faces/train

The file holds, all float16:

- `basis` (17, 478, 3): the deviation of each action unit at activation 1, by ridge regression of
  the clips' deviations on their action units, with equal weight for each identity and every frame
  also mirrored. Each unit is limited to its region and scaled so that its measured activation is
  .97.
- `identity_modes` (K, 478, 3) and `expression_modes` (K, 478, 3): principal components of the
  identities' resting faces and of the deviations, each times its standard deviation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reenact.face.action_units import MIRRORED_UNITS, action_units, mirrored_units
from reenact.face.geometry import canonical_face, mirrored_deviation
from reenact.face.regions import apply_contact, region_weights
from reenact.face.topology import ACTION_UNITS
from reenact.training.deformation_transfer import Motion, load_motions
from reenact.types import Array
from tools import ASSETS

ASSET = ASSETS / "expression_basis.npz"
MODES = 16
RIDGE = 2.0

_BROW_UNITS = {"brow_raise_left", "brow_raise_right", "brow_lower"}
_EYE_UNITS = {"blink_left", "blink_right", "eye_wide"}


def fit(motions: list[Motion]) -> dict[str, Array]:
    """Return the arrays of the asset, float32."""
    deviations, units, weights = _samples(motions)
    basis = _ridge(units, deviations, weights).reshape(len(ACTION_UNITS), -1, 3)
    # The jaw opens the mouth. With both units the regression would split this one motion.
    jaw = ACTION_UNITS.index("jaw_drop")
    without_jaw = np.delete(units, jaw, axis=1)
    opening = ACTION_UNITS.index("mouth_open")
    basis[opening] = _ridge(without_jaw, deviations, weights)[opening].reshape(-1, 3)
    return {
        "basis": finish_basis(basis.astype(np.float32)),
        "identity_modes": _identity_modes(motions),
        "expression_modes": _modes(deviations * np.sqrt(weights)[:, None], weights.sum()),
    }


def finish_basis(basis: Array) -> Array:
    """Limit each unit to its region, make it symmetric, and scale it to a measured activation."""
    neutral = canonical_face()
    basis = basis * _masks()[..., None]
    basis = (basis + mirrored_deviation(basis[list(MIRRORED_UNITS)])) / 2
    for row, name in enumerate(ACTION_UNITS):
        low, high = 0.0, 8.0
        while high - low > 1e-3:
            scale = (low + high) / 2
            value = float(action_units(neutral + scale * basis[row], neutral)[row])
            low, high = (scale, high) if value < 0.97 else (low, scale)
        basis[row] *= high
        if name.startswith("blink"):
            basis[row] = apply_contact(neutral + basis[row], neutral, None) - neutral
    return basis


def _masks() -> Array:
    """Return weights (17, 478), 0 to 1: how far each unit may move each landmark."""
    mouth, eyes, brows = region_weights()
    face = canonical_face()
    lower_face = 1 / (1 + np.exp(-(face[:, 1] - 0.62) / 0.10))
    above_eyes = 1 / (1 + np.exp((face[:, 1] + 0.02) / 0.04))
    masks = np.empty((len(ACTION_UNITS), len(face)), np.float32)
    for row, name in enumerate(ACTION_UNITS):
        if name in _BROW_UNITS:
            masks[row] = np.maximum(brows, above_eyes * (1 - eyes))
        elif name in _EYE_UNITS:
            masks[row] = np.maximum(eyes, 0.5 * np.exp(-(((face[:, 1] - 0.15) / 0.2) ** 2)))
            masks[row, brows > 0.5] = 0
            if name != "eye_wide":
                sideways = face[:, 0] * (1 if name.endswith("left") else -1)
                masks[row] *= 1 / (1 + np.exp(-(sideways - 0.12) / 0.03))
        else:
            masks[row] = np.maximum(mouth, lower_face)
            masks[row, eyes + brows > 0.5] = 0
    return masks


def _samples(motions: list[Motion]) -> tuple[Array, Array, Array]:
    """Return centred deviations (N, 1434), centred units (N, 17) and weights (N,)."""
    frames = {
        name: sum(len(m.shapes) for m in motions if m.identity == name)
        for name in {m.identity for m in motions}
    }
    deviations, units, weights = [], [], []
    for motion in motions:
        deviation = motion.shapes - motion.rest
        unit = np.stack([action_units(shape, motion.rest) for shape in motion.shapes])
        for flipped in (False, True):
            d = mirrored_deviation(deviation) if flipped else deviation
            u = mirrored_units(unit) if flipped else unit
            deviations.append((d - d.mean(axis=0)).reshape(len(d), -1))
            units.append(u - u.mean(axis=0))
            weights.append(np.full(len(d), 1 / frames[motion.identity], np.float32))
    return np.concatenate(deviations), np.concatenate(units), np.concatenate(weights)


def _ridge(design: Array, result: Array, weights: Array) -> NDArray[np.float64]:
    scale = design.std(axis=0) + 1e-6
    x = (design / scale).astype(np.float64)
    weighted = x * weights[:, None]
    gram = weighted.T @ x + RIDGE * 0.01 * weights.sum() * np.eye(x.shape[1])
    return np.asarray(np.linalg.solve(gram, weighted.T @ result) / scale[:, None])


def _modes(samples: Array, count: float) -> Array:
    """Return principal directions (MODES, 478, 3) times their standard deviations."""
    values, vectors = np.linalg.eigh((samples.T @ samples) / np.float32(count))
    top = vectors[:, ::-1][:, :MODES] * np.sqrt(np.maximum(values[::-1][:MODES], 0))
    return np.ascontiguousarray(top.T.reshape(MODES, 478, 3), dtype=np.float32)


def _identity_modes(motions: list[Motion]) -> Array:
    people: dict[str, list[Array]] = {}
    for motion in motions:
        people.setdefault(motion.identity, []).append(motion.rest)
    rests = np.stack([np.mean(person, axis=0) for person in people.values()])
    difference = rests - canonical_face()
    both = np.concatenate([difference, mirrored_deviation(difference)])
    return _modes(both.reshape(len(both), -1), len(both))


def cross_talk(basis: Array) -> Array:
    """Return the units measured (columns) when one unit is applied alone (rows), (17, 17)."""
    neutral = canonical_face()
    return np.stack([action_units(neutral + unit, neutral) for unit in basis])


def main() -> None:
    """Write the asset and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of clips to learn from")
    parser.add_argument("--out", type=Path, default=ASSET)
    arguments = parser.parse_args()
    arrays = fit(load_motions(arguments.data, stride=2))
    np.savez_compressed(arguments.out, **{k: v.astype(np.float16) for k, v in arrays.items()})
    table = cross_talk(arrays["basis"])
    for row, name in enumerate(ACTION_UNITS):
        others = [
            f"{ACTION_UNITS[k]} {table[row, k]:.2f}"
            for k in range(len(ACTION_UNITS))
            if k != row and table[row, k] > 0.1
        ]
        print(f"{name:18s} {table[row, row]:.2f}   {', '.join(others)}")


if __name__ == "__main__":
    main()
