"""Maps HDR pictures, PQ or HLG in the primaries of BT.2020, to sRGB."""

from __future__ import annotations

from functools import cache
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from reenact.types import Array, Image

Curve = Literal["pq", "hlg"]
"""How light is coded: SMPTE ST 2084, or the hybrid log-gamma of ITU-R BT.2100."""

_WHITE_NITS: Final = 203.0
"""Brightness of a white sheet of paper in HDR (ITU-R BT.2408); it becomes the white of sRGB."""

_KNEE: Final = 0.8
"""Above this share of white, highlights are compressed."""

_TO_BT709: Final = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]],
    np.float32,
)
"""Linear light from the primaries of BT.2020 to those of sRGB (ITU-R BT.2407)."""

_LUMINANCE: Final = np.array([[0.2627, 0.678, 0.0593]], np.float32)
"""Of linear light in the primaries of BT.2020."""

_STEPS_TO_WHITE: Final = 13_000
_STEPS: Final = 65_535
"""Linear light in whole numbers; the largest is 5.04 times white, or 1023 nits."""


def to_sdr(picture: NDArray[np.uint16], curve: Curve) -> Image:
    """Map uint16 (H, W, 3) RGB, to sRGB, uint8 (H, W, 3)."""
    light = np.take(_light(curve), picture >> 6)
    if curve == "hlg":  # ITU-R BT.2100, table 5, for a screen of 1000 nits
        luminance = cv2.transform(light, _LUMINANCE / (1000 / _WHITE_NITS * _STEPS_TO_WHITE))
        light *= cv2.pow(luminance, 0.2)[..., None]
    light = np.asarray(cv2.transform(light, _TO_BT709), np.float32)
    steps = np.clip(light, 0, _STEPS, out=light).astype(np.uint16)
    return np.take(_srgb(), steps)


@cache
def _light(curve: Curve) -> Array:
    """Return linear light of the codes of 10 bits: on a screen, or for HLG in the scene."""
    code = np.linspace(0, 1, 1024)
    nits = _pq_nits(code) if curve == "pq" else 1000 * _hlg_scene(code)
    return np.asarray(nits * _STEPS_TO_WHITE / _WHITE_NITS, np.float32)


def _pq_nits(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084, eq. 4.1."""
    power = code ** (32 / 2523)
    share = np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)
    return np.asarray(10000 * share ** (8192 / 1305))


def _hlg_scene(code: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the light of the scene, 0 to 1 (ITU-R BT.2100, table 5)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.asarray(np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12))


@cache
def _srgb() -> Image:
    """Return the code of sRGB of linear light from 0 to `_STEPS`, with highlights compressed."""
    linear = np.arange(_STEPS + 1) / _STEPS_TO_WHITE
    above = np.maximum(linear - _KNEE, 0) / (1 - _KNEE)
    light = np.minimum(linear, _KNEE) + (1 - _KNEE) * above / (1 + above)
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * code), np.uint8)
