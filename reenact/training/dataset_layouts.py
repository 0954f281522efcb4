"""Finds videos, sequences of pictures and photos in a folder of raw material, and whom they show.

Three layouts are known:

- CK+, `S005/001/S005_001_00000011.png`: sequences that begin neutral, with labels in `Emotion`.
- RaFD, `Rafd090_01_Caucasian_female_angry_frontal.jpg`: 8 expressions, 5 angles, 3 gazes.
- Any other folder: each direct subfolder holds one person.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from reenact.errors import SourceError
from reenact.expression.emotions import EMOTIONS

Layout = Literal["auto", "folders", "ckplus", "rafd"]
Kind = Literal["video", "sequence", "set", "photo"]

VIDEOS: Final = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})
PICTURES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})

_CK_PLUS: Final = re.compile(r"^(S\d{3})_(\d{3})_(\d{8})$")
_RAFD: Final = re.compile(
    r"^Rafd(?P<angle>\d{3})_(?P<person>\d+)_[A-Za-z]+_[a-z]+_(?P<emotion>[a-z]+)_"
    r"(?P<gaze>frontal|left|right)$"
)


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to prepare.

    Attributes:
        name: of the result: the identity, or the identity, `__` and more.
        kind: a video, a sequence of consecutive pictures, a set of pictures of one person from one
            angle, or a single photo.
        files: the video or photo, or the pictures in order, the neutral one first.
        emotions: an index into `EMOTIONS` for each picture, -1 if unknown; empty for videos and
            photos.
    """

    name: str
    kind: Kind
    files: tuple[Path, ...]
    emotions: tuple[int, ...] = ()

    @property
    def identity(self) -> str:
        """Name of the person."""
        return self.name.split("__")[0]


def find_items(source: Path, layout: Layout = "auto") -> list[Item]:
    """Find everything to prepare, sorted by name.

    Raises:
        SourceError: there is nothing, or nothing of that layout.
    """
    if not source.exists():
        raise SourceError(f"There is no folder {source}; check the path.")
    files = [source] if source.is_file() else sorted(f for f in source.rglob("*") if f.is_file())
    pictures = [file for file in files if file.suffix.lower() in PICTURES]
    chosen = _recognise(pictures) if layout == "auto" else layout
    if chosen == "ckplus":
        items = _ck_plus(source, pictures)
    elif chosen == "rafd":
        items = _rafd(pictures)
    else:
        items = _folders(source, files)
    if not items:
        wanted = {"ckplus": "CK+ sequences", "rafd": "RaFD pictures"}.get(
            chosen, "video or picture"
        )
        raise SourceError(f"{source} holds no {wanted}.")
    return sorted(items, key=lambda item: item.name)


def held_out_people(identities: Iterable[str], share: float) -> set[str]:
    """Choose about that share of the people for validation, at least one.

    The choice depends on the names alone, so that nobody moves when more people are added.
    """
    places = {
        name: int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48
        for name in identities
    }
    chosen = {name for name, place in places.items() if place < share}
    return chosen or {min(places, key=places.__getitem__)}


def _recognise(pictures: list[Path]) -> Layout:
    if any(_RAFD.match(file.stem) for file in pictures):
        return "rafd"
    return "ckplus" if any(_CK_PLUS.match(file.stem) for file in pictures) else "folders"


def _ck_plus(source: Path, pictures: list[Path]) -> list[Item]:
    sequences: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for file in pictures:
        if match := _CK_PLUS.match(file.stem):
            sequences[match[1], match[2]].append(file)
    labels = {file.name[:8]: file for file in sorted(source.rglob("S*_*_*_emotion.txt"))}
    return [
        Item(
            f"{person}__{number}",
            "sequence",
            tuple(files),
            _labelled(files, person, number, labels),
        )
        for (person, number), files in sequences.items()
    ]


def _labelled(
    files: list[Path], person: str, number: str, labels: dict[str, Path]
) -> tuple[int, ...]:
    """Return the emotions of a sequence: neutral first, and a label for the peak only."""
    peak = -1
    if label := labels.get(f"{person}_{number}"):
        text = label.read_text(encoding="ascii", errors="replace").strip()
        try:
            peak = round(float(text))
        except ValueError as error:
            raise SourceError(f"{label} holds no number of an emotion, but {text!r}.") from error
    peak = peak if 0 <= peak < len(EMOTIONS) else -1
    return (0, *[-1] * (len(files) - 2), peak)[: len(files)]


def _rafd(pictures: list[Path]) -> list[Item]:
    sets: dict[tuple[str, str, str], list[tuple[int, Path]]] = defaultdict(list)
    for file in pictures:
        match = _RAFD.match(file.stem)
        if match and match["emotion"] in EMOTIONS:
            key = match["person"], match["angle"], match["gaze"]
            sets[key].append((EMOTIONS.index(match["emotion"]), file))
    items = []
    for (person, angle, gaze), found in sets.items():
        in_order = sorted(found)
        items.append(
            Item(
                f"rafd{person}__{angle}_{gaze}",
                "set",
                tuple(file for _, file in in_order),
                tuple(emotion for emotion, _ in in_order),
            )
        )
    return items


def _folders(source: Path, files: list[Path]) -> list[Item]:
    items: dict[str, Item] = {}
    root = source.parent if source.is_file() else source
    for file in files:
        ending = file.suffix.lower()
        if ending not in VIDEOS | PICTURES:
            continue
        parts = file.relative_to(root).with_suffix("").parts
        if any(part.startswith(".") for part in parts):
            continue
        rest = "-".join(parts[1:]) if len(parts) > 1 else ""
        name = f"{parts[0]}__{rest}" if rest else parts[0]
        if name in items:  # the same name with another ending
            name += f"-{ending[1:]}"
        items[name] = Item(name, "video" if ending in VIDEOS else "photo", (file,))
    return list(items.values())
