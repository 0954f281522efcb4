"""Still pictures from files, turned upright and brought to uint8 RGB."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from reenact.config import SourceSettings
from reenact.errors import SourceError
from reenact.registry import Spec
from reenact.sources.clocked import DEFAULT_FPS, ClockedSource
from reenact.types import Image, Source

MAX_SIDE_PX: Final = 8192
"""A picture with a longer side is scaled down to it."""

# The only combination of flags with which OpenCV keeps alpha and 16 bits *and* turns the picture
# as its EXIF orientation says (IMREAD_UNCHANGED leaves it lying).
_AS_STORED_BUT_UPRIGHT: Final = cv2.IMREAD_COLOR | cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH

# HEIC stores a photo as tiles that FFmpeg hands out one by one: the first would pass for the whole.
_TILED_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")

_log = logging.getLogger(__name__)


def read_image(path: str | Path) -> Image:
    """Read a picture of any usual format (JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, ...).

    EXIF orientation is applied; grey and palette become RGB; 16 bits become 8; transparent parts
    lie on white; of an animation the first frame is taken. A side over `MAX_SIDE_PX` is scaled
    down to it, with a log message. May be called from any thread.

    Args:
        path: a file.

    Returns:
        uint8 (H, W, 3) RGB, contiguous.

    Raises:
        SourceError: there is no such file, or it is empty, damaged or not a picture.
    """
    path = Path(path).expanduser()
    data = _read_bytes(path)
    if data[4:8] == b"ftyp" and data[8:12] in _TILED_BRANDS:
        raise SourceError(f"{path} is a HEIC picture; save it as JPEG or PNG first.")
    try:
        stored = cv2.imdecode(np.frombuffer(data, np.uint8), _AS_STORED_BUT_UPRIGHT)
    except cv2.error as error:
        raise SourceError(
            f"{path} cannot be read: the picture is damaged or larger than 2^30 pixels."
        ) from error
    image = _from_opencv(stored) if stored is not None else _first_frame(path)
    return _limited(image, path)


def to_rgb(frame: VideoFrame, width_px: int, reformatter: VideoReformatter | None = None) -> Image:
    """Convert a decoded frame of any pixel format to RGB, upright, at another width.

    Args:
        frame: as it came from the decoder; its colour matrix is respected.
        width_px: width before turning, which differs from the stored one for pixels that are
            not square.
        reformatter: kept by the caller for a whole stream, it saves setting up the conversion
            for each frame; not to be shared between threads.

    Returns:
        uint8 (H, W, 3) RGB, contiguous; transparent parts lie on white.
    """
    has_alpha = any(component.is_alpha for component in frame.format.components)
    converted = (reformatter or VideoReformatter()).reformat(
        frame, width=width_px, height=frame.height, format="rgba" if has_alpha else "rgb24"
    )
    image = np.asarray(converted.to_ndarray(), dtype=np.uint8)
    if has_alpha:
        image = _on_white(image)
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    return image if matrix is None else _displayed(image, np.frombuffer(bytes(matrix), np.int32))


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise SourceError(f"There is no file {path}; check the path.") from error
    except IsADirectoryError as error:
        raise SourceError(f"{path} is a folder; name a file in it.") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from error
    if not data:
        raise SourceError(f"{path} is empty; it may not have been copied completely.")
    return data


def _from_opencv(stored: NDArray[Any]) -> Image:
    """Bring grey, BGR or BGRA of any depth to uint8 RGB."""
    if stored.dtype == np.uint8:
        bytes_ = stored
    elif np.issubdtype(stored.dtype, np.integer):
        bytes_ = np.rint(stored * (255 / np.iinfo(stored.dtype).max)).clip(0, 255).astype(np.uint8)
    else:
        bytes_ = np.rint(np.nan_to_num(stored).clip(0, 1) * 255).astype(np.uint8)
    if bytes_.ndim == 2:
        return np.asarray(cv2.cvtColor(bytes_, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
    if bytes_.shape[2] == 4:
        rgba = np.asarray(cv2.cvtColor(bytes_, cv2.COLOR_BGRA2RGBA), dtype=np.uint8)
        return _on_white(rgba)
    return np.asarray(cv2.cvtColor(bytes_, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def _first_frame(path: Path) -> Image:
    """Read what OpenCV does not know (GIF, AVIF) by PyAV; a video is not a picture."""
    try:
        with av.open(str(path)) as container:
            name = container.format.name
            if any(part in name for part in ("_pipe", "image2", "gif")) or "avif" in str(
                container.metadata.get("major_brand", "")
            ):
                for frame in container.decode(video=0):
                    return to_rgb(frame, frame.width)
            elif container.streams.video:
                raise SourceError(
                    f"{path} is a video, not a picture; as a source write video:{path}."
                )
    except (av.FFmpegError, IndexError) as error:
        raise SourceError(f"{path} is not a picture, or is damaged; use a JPEG or PNG.") from error
    raise SourceError(f"{path} is not a picture, or is damaged; use a JPEG or PNG.")


def _on_white(rgba: NDArray[np.uint8]) -> Image:
    alpha = rgba[..., 3:].astype(np.uint16)
    if alpha.size and alpha.min() == 255:
        return np.ascontiguousarray(rgba[..., :3])
    mixed = (rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return np.ascontiguousarray(mixed.astype(np.uint8))


def _displayed(image: Image, matrix: NDArray[np.int32]) -> Image:
    """Apply a display matrix (ISO 14496-12, row vectors: x' = ax + cy, y' = bx + dy).

    Quarter turns and mirrorings are exact; any other angle counts as the nearest of them.
    """
    a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        flip_x, flip_y = a < 0, d < 0
    else:
        image = np.asarray(cv2.transpose(image), dtype=np.uint8)
        flip_x, flip_y = c < 0, b < 0
    if flip_x or flip_y:
        code = -1 if flip_x and flip_y else (1 if flip_x else 0)
        image = np.asarray(cv2.flip(image, code), dtype=np.uint8)
    return image


def _limited(image: Image, path: Path) -> Image:
    height, width = image.shape[:2]
    longest = max(height, width)
    if longest <= MAX_SIDE_PX:
        return image
    scale = MAX_SIDE_PX / longest
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    _log.warning("%s is %d x %d px; it is scaled down to %d x %d.", path, width, height, *size)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


class ImageSource(ClockedSource):
    """A still picture as a video; see `ClockedSource` for when it is live.

    All its frames share one array: do not write into it.
    """

    def __init__(self, path: str | Path, fps: float = DEFAULT_FPS, frames: int = 0) -> None:
        """Read the picture.

        Args:
            path: a file that `read_image` takes.
            fps: frames/s.
            frames: how many there are; 0: no end.

        Raises:
            SourceError: see `read_image`.
        """
        self._image = read_image(path)
        height, width = self._image.shape[:2]
        super().__init__(Path(path).name, (width, height), fps, frames)

    def _picture(self, index: int) -> Image:
        return self._image


def _build_image(argument: str, settings: SourceSettings) -> Source:
    if not argument:
        raise SourceError("Say which picture: image:PATH.")
    return ImageSource(argument, settings.fps, settings.frames)


IMAGE: Final = Spec(
    name="image",
    summary="a still picture, shown as if it were a camera",
    build=_build_image,
    argument="PATH",
    still=True,
)
