"""HDR video as it comes from phones."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorTrc
from numpy.typing import NDArray

from reenact.sources.video_file import VideoSource
from support.clips import write_yuv

Light = NDArray[np.float64]

TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.088, 0.8956]])
COLOURS = np.array([[20, 20, 20], [118, 118, 118], [200, 150, 120], [60, 90, 40], [110, 40, 35]])
"""Codes of sRGB: greys, skin, leaves and lips."""


def pq(nits: Light) -> Light:
    power = (nits / 10000) ** 0.1593017578125
    return np.asarray(((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375)


def hlg(nits: Light) -> Light:
    """With the brightness of the whole colour in the exponent, as the standard has it."""
    brightness = nits @ [0.2627, 0.678, 0.0593] / 1000
    scene = nits / 1000 * brightness[..., None] ** (1 / 1.2 - 1)
    high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)


def write_hdr(path: Path, code: Light, curve: ColorTrc) -> None:
    """Write one frame of RGB codes, (H, W, 3) from 0 to 1, without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", 25)
        stream.height, stream.width = code.shape[:2]
        stream.pix_fmt = "gbrp10le"
        stream.codec_context.color_trc = curve
        stream.codec_context.color_primaries = ColorPrimaries.BT2020
        levels = np.rint(code * 1023).astype(np.uint16)
        frame = av.VideoFrame.from_ndarray(levels, format="gbrp10le")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        container.mux([*stream.encode(frame), *stream.encode()])


@pytest.mark.parametrize(
    ("encode", "curve"), [(pq, ColorTrc.SMPTE2084), (hlg, ColorTrc.ARIB_STD_B67)]
)
def test_hdr_has_the_colours_of_sdr(
    encode: Callable[[Light], Light], curve: ColorTrc, tmp_path: Path
) -> None:
    share = COLOURS / 255
    light = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    code = encode(203 * light @ TO_BT2020.T)
    write_hdr(tmp_path / "phone.mkv", np.repeat(code[None], 16, axis=0).repeat(16, axis=1), curve)
    with VideoSource(tmp_path / "phone.mkv") as source:
        frame = source.read()
    assert frame is not None
    assert np.abs(frame.image[8, 8::16] - COLOURS).max() <= 2


@pytest.mark.parametrize("says", [9, 2])
def test_yuv_of_hdr_is_that_of_bt2020_even_if_the_file_does_not_say_so(
    says: int, tmp_path: Path
) -> None:
    share = COLOURS[:3] / 255
    light = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    path = tmp_path / "phone.mkv"
    write_yuv(
        path, pq(203 * light @ TO_BT2020.T), (0.2627, 0.0593), says=says, curve=ColorTrc.SMPTE2084
    )
    with VideoSource(path) as source:
        frame = source.read()
    assert frame is not None
    assert np.abs(frame.image[8, 8::16] - COLOURS[:3]).max() <= 3


def test_highlights_keep_their_differences(tmp_path: Path) -> None:
    nits = np.repeat([[203.0, 400.0, 1000.0]], 16, axis=0).repeat(16, axis=1)[..., None]
    write_hdr(tmp_path / "sun.mkv", pq(nits).repeat(3, axis=2), ColorTrc.SMPTE2084)
    with VideoSource(tmp_path / "sun.mkv") as source:
        frame = source.read()
    assert frame is not None
    white, bright, sun = frame.image[8, 8::16, 0].astype(int)
    assert 235 <= white < bright < sun
