"""Converts a target to and from the named byte strings that its folder and exchange file hold.

    target.json            name, renderer, notes
    reference_0.png ...    the crops
    plate.png              the whole picture
    landmarks.safetensors  landmarks, neutral, crop_to_plate
    weights.safetensors    the target's own weights, if it has any
    settings.toml          its own settings, if it has any (`live.presets`)

The pictures of a target with an alpha are RGBA. Their colours lie on white, so that a version of
the program that does not read the alpha shows them as before. Nothing is unpickled, and every size
is checked before memory is allocated for it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from reenact.errors import TargetError, counted
from reenact.face.geometry import estimate_pose
from reenact.face.topology import N_LANDMARKS
from reenact.imaging import encoded
from reenact.targets.builder import MAX_PLATE_SIDE_PX
from reenact.targets.reference_selection import MAX_REFERENCES
from reenact.types import Array, Image, Target

DESCRIPTION: Final = "target.json"
PLATE: Final = "plate.png"
LANDMARKS: Final = "landmarks.safetensors"
WEIGHTS: Final = "weights.safetensors"
SETTINGS: Final = "settings.toml"

MAX_WEIGHTS_BYTES: Final = 1 << 30

_MAX_SETTINGS_BYTES: Final = 1 << 14

_FORMAT: Final = 1

_MIN_CROP_PX: Final = 32
_MAX_CROP_PX: Final = 1024
_MAX_BOX_SHARE: Final = 16.0
"""Maximum side of the crop's square in the plate, as a multiple of the plate's longer side."""

_MIN_IOD_PX: Final = 0.5
"""Minimum distance of a face's eyes."""

_MAX_NOTES: Final = 64
"""Maximum number of a target's `metadata`; further ones are not stored."""

_RGBA: Final = 6
"""The colour type of a PNG with an alpha channel."""

_PNG_START: Final = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"

Read = Callable[[str, int], bytes]
"""Takes the name of a piece and its maximum size in bytes, and returns its content. Raises
DamagedError if it is missing or longer."""


class DamagedError(Exception):
    """A piece is damaged; the message is a sentence to which the caller adds the target's name."""


class _Version(BaseModel):
    """What `target.json` holds in every format."""

    format: int = _FORMAT


class Description(BaseModel):
    """The content of `target.json`."""

    model_config = ConfigDict(extra="forbid")

    format: Literal[1] = 1
    name: str = Field(min_length=1, max_length=64)
    references: int = Field(ge=1, le=MAX_REFERENCES)
    renderer: str = Field(max_length=64)
    weights: Literal["weights.safetensors"] | None = None
    metadata: dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=4096)]] = (
        Field(default_factory=dict, max_length=_MAX_NOTES)
    )


def bounded(data: bytes, piece: str, max_bytes: int) -> bytes:
    """Return the content of a piece. Raises DamagedError if it is longer than allowed."""
    if len(data) > max_bytes:
        raise DamagedError(f"{piece} is too long.")
    return data


def reference_name(number: int) -> str:
    """Return the name of the piece that holds a reference."""
    return f"reference_{number}.png"


def max_bytes() -> dict[str, int]:
    """Return the maximum size in bytes of every possible piece, by name."""
    limits = {DESCRIPTION: 1 << 20, LANDMARKS: 1 << 20, WEIGHTS: MAX_WEIGHTS_BYTES}
    limits[SETTINGS] = _MAX_SETTINGS_BYTES
    limits[PLATE] = MAX_PLATE_SIDE_PX**2 * 4
    for number in range(MAX_REFERENCES):
        limits[reference_name(number)] = _MAX_CROP_PX**2 * 4
    return limits


def pack(target: Target) -> dict[str, bytes]:
    """Return a target's pieces without weights. Raises DamagedError for what `unpack` refuses."""
    pieces = pack_face(target) | {PLATE: _png(target.plate, target.plate_alpha)}
    for number, picture in enumerate(target.references):
        alpha = None if target.alphas is None else target.alphas[number]
        pieces[reference_name(number)] = _png(picture, alpha)
    return pieces


def _png(picture: Image, alpha: NDArray[np.uint8] | None) -> bytes:
    return encoded(picture if alpha is None else np.dstack([picture, alpha]), ".png")


def pack_face(target: Target) -> dict[str, bytes]:
    """Return the pieces of `pack` that are no pictures: landmarks and description."""
    _check(target)
    notes = list(target.metadata.items())[:_MAX_NOTES]
    description = Description(
        name=target.name,
        references=len(target.references),
        renderer=target.renderer,
        weights=WEIGHTS if target.weights else None,
        metadata={key[:64]: value[:4096] for key, value in notes},
    )
    arrays = {
        "landmarks": target.landmarks,
        "neutral": target.neutral,
        "crop_to_plate": target.crop_to_plate,
    }
    return {
        LANDMARKS: save_tensors(
            {key: np.ascontiguousarray(array, np.float32) for key, array in arrays.items()}
        ),
        DESCRIPTION: description.model_dump_json(indent=1).encode(),
    }


def unpack(read: Read) -> Target:
    """Build a target from its pieces. Raises DamagedError if one is damaged or does not fit.

    Landmarks beyond the number of references belong to pictures that are just being added.
    """
    limits = max_bytes()
    description = read_description(read)
    landmarks, neutral, crop_to_plate = _arrays(read(LANDMARKS, limits[LANDMARKS]))
    if len(landmarks) < description.references:
        raise DamagedError(
            f"{LANDMARKS} has landmarks for {counted(len(landmarks), 'picture')}; there are "
            f"{description.references}."
        )
    references: list[NDArray[np.uint8]] = []
    for number in range(description.references):
        picture = _reference(read, number)
        if references and picture.shape != references[0].shape:
            raise DamagedError(f"{reference_name(number)} has another size than the first.")
        references.append(picture)
    plate = _from_png(read(PLATE, limits[PLATE]), PLATE, MAX_PLATE_SIDE_PX)
    pictures = np.stack(references)
    has_alpha = pictures.shape[-1] == plate.shape[-1] == 4
    target = Target(
        name=description.name,
        references=np.ascontiguousarray(pictures[..., :3]),
        landmarks=landmarks[: description.references],
        neutral=neutral,
        plate=np.ascontiguousarray(plate[..., :3]),
        crop_to_plate=crop_to_plate,
        renderer=description.renderer,
        weights=description.weights,
        metadata=description.metadata,
        alphas=np.ascontiguousarray(pictures[..., 3]) if has_alpha else None,
        plate_alpha=np.ascontiguousarray(plate[..., 3]) if has_alpha else None,
    )
    _check(target)
    return target


def read_picture(read: Read) -> Image:
    """Read a target's first reference alone. Raises DamagedError if it is missing or damaged."""
    return np.ascontiguousarray(_reference(read, 0)[..., :3])


def _reference(read: Read, number: int) -> NDArray[np.uint8]:
    name = reference_name(number)
    return _from_png(read(name, max_bytes()[name]), name, _MAX_CROP_PX)


def read_description(read: Read) -> Description:
    """Read `target.json` alone.

    Raises:
        DamagedError: it is missing or damaged.
        TargetError: a newer version of the program has written it.
    """
    data = read(DESCRIPTION, max_bytes()[DESCRIPTION])
    try:
        if _Version.model_validate_json(data).format > _FORMAT:
            raise TargetError(
                "A newer version of reenact has made this target; update reenact to use it."
            )
        return Description.model_validate_json(data)
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise DamagedError(f"{DESCRIPTION}: {place}: {problem['msg']}.") from error


def _arrays(data: bytes) -> tuple[Array, Array, Array]:
    try:
        found = load_tensors(data)
    except (SafetensorError, ValueError, KeyError) as error:
        raise DamagedError(f"{LANDMARKS} is not a safetensors file.") from error
    count = found["landmarks"].shape[:1] if "landmarks" in found else ()
    shapes = {
        "landmarks": (*count, N_LANDMARKS, 3),
        "neutral": (N_LANDMARKS, 3),
        "crop_to_plate": (2, 3),
    }
    for key, shape in shapes.items():
        array = found.get(key)
        if array is None or array.dtype != np.float32 or array.shape != shape:
            raise DamagedError(f"{LANDMARKS} holds no {key} of the expected shape.")
    return found["landmarks"], found["neutral"], found["crop_to_plate"]


def _check(target: Target) -> None:
    """Raise DamagedError for implausible values, or if pasting would allocate too much memory."""
    height, width = target.references.shape[1:3]
    if height != width or not _MIN_CROP_PX <= width <= _MAX_CROP_PX:
        raise DamagedError(
            f"The references are {width} x {height} px; squares of {_MIN_CROP_PX} to "
            f"{_MAX_CROP_PX} px are expected."
        )
    arrays = (target.landmarks, target.neutral, target.crop_to_plate)
    if not all(np.isfinite(array).all() and np.abs(array).max() < 1e6 for array in arrays):
        raise DamagedError("The landmarks are out of range.")
    (scale_x, skew_x, _), (skew_y, scale_y, _) = target.crop_to_plate.tolist()
    box_px = scale_x * width
    if max(abs(skew_x), abs(skew_y), abs(scale_x - scale_y)) > 1e-4 * abs(
        scale_x
    ) or not 1 <= box_px <= _MAX_BOX_SHARE * max(target.plate.shape[:2]):
        raise DamagedError("The crop does not fit the plate.")
    if min(estimate_pose(face).scale for face in (*target.landmarks, target.neutral)) < _MIN_IOD_PX:
        raise DamagedError("The landmarks do not form a face.")


def _from_png(data: bytes, name: str, max_side_px: int) -> NDArray[np.uint8]:
    """Decode an 8-bit PNG to RGB or RGBA, after checking the size that its header declares."""
    if not data.startswith(_PNG_START) or len(data) < 33:
        raise DamagedError(f"{name} is not a PNG picture.")
    width, height, depth, colours = struct.unpack(">IIBB", data[16:26])
    if not (1 <= width <= max_side_px and 1 <= height <= max_side_px and depth == 8):
        raise DamagedError(
            f"{name} has {width} x {height} px of {depth} bits; at most {max_side_px} px a side "
            "of 8 bits are allowed."
        )
    try:
        way = cv2.IMREAD_UNCHANGED if colours == _RGBA else cv2.IMREAD_COLOR
        image = cv2.imdecode(np.frombuffer(data, np.uint8), way)
    except cv2.error as error:
        raise DamagedError(f"{name} is damaged.") from error
    if image is None or image.shape != (height, width, 4 if colours == _RGBA else 3):
        raise DamagedError(f"{name} is damaged.")
    swapped = cv2.COLOR_BGRA2RGBA if colours == _RGBA else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(image, swapped), dtype=np.uint8)


def check_weights(path: Path) -> None:
    """Raise DamagedError if a file is not safetensors; its tensors are not loaded."""
    try:
        with safe_open(path, framework="numpy"):
            pass
    except (SafetensorError, OSError) as error:
        raise DamagedError(f"{path.name} is not a safetensors file.") from error
