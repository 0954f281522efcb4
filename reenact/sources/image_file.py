"""Still pictures from files, rotated upright and converted to uint8 RGB."""

from __future__ import annotations

import io
import mimetypes
import warnings
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageCms, ImageOps

from reenact.errors import NotAPictureError, SourceError
from reenact.imaging import limited, on_white
from reenact.registry import SourceSpec
from reenact.sources.clocked import ClockedSettings, ClockedSource
from reenact.storage import expanded
from reenact.types import Image, Source

MAX_SIDE_PX: Final = 8192
"""A picture with a longer side is scaled down to this."""

# Only formats that Pillow decodes itself: its EPS reader, for example, starts Ghostscript.
_FORMATS: Final = (
    "AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP"
)  # fmt: skip
_HEIC_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")

# They are TIFF files, of which Pillow would read a small preview.
_RAW_SUFFIXES: Final = (".arw", ".cr2", ".dng", ".nef", ".nrw", ".orf", ".pef", ".rw2", ".srw")

# Pillow rejects pictures of more than 179 million pixels and warns from half of that on.
warnings.filterwarnings("ignore", category=PIL.Image.DecompressionBombWarning)
# It warns of damage to what stands beside the picture, such as its EXIF data, too.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


class CutOut(NamedTuple):
    """A picture with the alpha channel of its file.

    Attributes:
        image: uint8 (H, W, 3) RGB, composited on white.
        alpha: uint8 (H, W), 255 opaque; None: it is opaque everywhere.
    """

    image: Image
    alpha: NDArray[np.uint8] | None = None


def read_image(path: str | Path) -> Image:
    """Read a picture as uint8 (H, W, 3) RGB.

    Formats are JPEG, PNG, WebP, AVIF, HEIC, GIF, TIFF, BMP, JPEG 2000 and PPM. The picture is
    turned upright by its EXIF orientation, if that can be read. Colours with an ICC profile, such
    as Display P3, become sRGB; the profile of a palette, and of grey with 16 bits or alpha, is
    ignored. Grey and palette pictures become RGB, and 16 bits become 8. Transparent parts are
    composited on white. An animation gives its first frame. A picture with a side over
    `MAX_SIDE_PX` is scaled down to it. Any thread may call.

    Raises:
        NotAPictureError: the file is not a picture.
        SourceError: the file is missing, empty, damaged, of an unsupported format, or has too many
            pixels, which is known before they are decoded.
    """
    return read_cut_out(path).image


def read_cut_out(path: str | Path) -> CutOut:
    """Read a picture like `read_image`, and its alpha channel."""
    path = expanded(path)
    check_file(path, "picture")
    if path.suffix.lower() in _RAW_SUFFIXES:
        raise SourceError(f"{path.name} is a camera's raw picture; export it as JPEG first.")
    try:
        file = path.open("rb")
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        image, alpha = _decoded(file, path)
    return CutOut(
        limited(image, MAX_SIDE_PX), None if alpha is None else limited(alpha, MAX_SIDE_PX)
    )


def check_file(path: Path, kind: str) -> None:
    """Check that a file exists and is not empty; `kind` says in messages what it should be.

    Raises SourceError if there is no such file, it is a folder, it is empty, or a picture is a pipe
    or a device.
    """
    if not path.exists():
        raise SourceError(f"There is no file {path}; check the path.")
    if path.is_dir():
        raise SourceError(f"{path} is a folder; name a {kind} in it.")
    if kind == "picture" and not path.is_file():  # a video may come through a pipe
        raise SourceError(f"{path} is a pipe or a device; name a file.")
    if path.is_file() and path.stat().st_size == 0:
        raise SourceError(f"{path.name} is empty; it may not have been copied completely.")


def _decoded(file: BinaryIO, path: Path) -> CutOut:
    try:
        with _opened(file, path) as stored:
            return _to_rgb(_to_srgb(_upright(stored)))
    except PIL.Image.DecompressionBombError as error:
        raise SourceError(
            f"{path.name} has more than 179 million pixels; scale it down in another program first."
        ) from error
    except PIL.UnidentifiedImageError as error:
        raise _why_not_a_picture(path) from error
    except SourceError:
        raise
    except Exception as error:  # a damaged file can make a reader raise anything
        raise SourceError(f"{path.name} is damaged; use another copy of the picture.") from error


def _opened(file: BinaryIO, path: Path) -> PIL.Image.Image:
    try:
        return PIL.Image.open(file, formats=_FORMATS)
    except PIL.UnidentifiedImageError:
        file.seek(0)
        head = file.read(12)
        if head[4:8] != b"ftyp" or head[8:] not in _HEIC_BRANDS:
            raise
    import pi_heif

    pi_heif.register_heif_opener(thumbnails=False)
    file.seek(0)
    try:
        picture = PIL.Image.open(file, formats=("HEIF",))
        picture.load()
    except PIL.Image.DecompressionBombError:
        raise
    except Exception as error:
        raise SourceError(
            f"{path.name} is a HEIC picture that is damaged or of a rare kind; save it as JPEG or "
            "PNG first."
        ) from error
    return picture


def _upright(stored: PIL.Image.Image) -> PIL.Image.Image:
    stored.load()
    try:
        return ImageOps.exif_transpose(stored)
    except Exception:  # the EXIF data are damaged, not the picture
        return stored


def _why_not_a_picture(path: Path) -> SourceError:
    if (mimetypes.guess_type(path.name)[0] or "").startswith("video/"):
        return NotAPictureError(
            f"{path.name} is a video, not a picture; use a picture, or as a source video:{path}."
        )
    return NotAPictureError(f"{path.name} is not a picture, or is damaged; use a JPEG or PNG.")


def _to_srgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Convert colours by the picture's ICC profile; without one that fits, return it as it is."""
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "RGBA", "CMYK", "L"):
        return picture
    # The conversion would forget which colour is transparent.
    coloured = picture.convert("RGBA") if picture.has_transparency_data else picture
    try:
        transform = ImageCms.buildTransform(
            io.BytesIO(profile),
            ImageCms.createProfile("sRGB"),
            coloured.mode,
            "RGBA" if coloured.mode == "RGBA" else "RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except ImageCms.PyCMSError:
        return picture
    return transform.apply(coloured)


def _to_rgb(picture: PIL.Image.Image) -> CutOut:
    if picture.mode == "F":  # 0 to 1
        levels: NDArray[Any] = np.nan_to_num(np.asarray(picture)).clip(0, 1) * 255
    elif picture.mode.startswith("I"):  # 16 bits, whether stored as such or in 32
        levels = np.asarray(picture).clip(0, 65535) / 257
    elif picture.has_transparency_data:
        rgba = np.asarray(picture.convert("RGBA"))
        alpha = np.ascontiguousarray(rgba[..., 3])
        return CutOut(on_white(rgba), alpha if alpha.min(initial=255) < 255 else None)
    else:
        return CutOut(np.array(picture.convert("RGB")))
    return CutOut(np.repeat(np.rint(levels).astype(np.uint8)[..., None], 3, axis=2))


class ImageSource(ClockedSource):
    """A still picture as a video; see `ClockedSource` for when it is live.

    All its frames share one array: do not write into it.
    """

    def __init__(self, path: str | Path, fps: float, frames: int) -> None:
        """Read the picture, see `read_image`; `frames` is their number, 0: no end."""
        self._image = read_image(path)
        height, width = self._image.shape[:2]
        super().__init__(Path(path).name, (width, height), fps, frames)

    def _picture(self, index: int) -> Image:
        return self._image


def _build_image(argument: str, settings: ClockedSettings) -> Source:
    if not argument:
        raise SourceError("Name the picture: image:PATH.")
    return ImageSource(argument, settings.fps, settings.frames)


IMAGE: Final = SourceSpec(
    name="image",
    summary="a still picture, shown as if by a camera",
    build=_build_image,
    settings=ClockedSettings,
    argument="PATH",
    still=True,
)
