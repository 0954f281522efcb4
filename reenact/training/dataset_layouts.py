"""Finds videos, picture sequences and photos in a folder of raw material, and names the people.

`LAYOUTS` describes the usual data sets by path patterns. EmotionNet is a CSV file of pictures with
action units. In any other folder, each direct subfolder holds one person.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np

from reenact.errors import SourceError
from reenact.expression.emotions import EMOTIONS, emotion_weights
from reenact.face.topology import ACTION_UNITS
from reenact.targets.clip_files import person_of

Layout = Literal[
    "auto", "folders", "rafd", "ckplus", "kdef", "bosphorus", "mug", "oulu", "cfee", "emotionet"
]
Kind = Literal["video", "sequence", "set", "photo"]

VIDEOS: Final = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})
PICTURES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


@dataclass(frozen=True, slots=True)
class Pattern:
    """The layout of one data set.

    Attributes:
        path: regular expression for the end of a picture's path without its suffix. Its groups
            are `person`, `emotion`, for sequences `frame`, and any others that distinguish clips.
        kind: kind of the items.
        prefix: prefix of the people's names.
        share: share of a sequence that is used; MUG goes to the peak and back.
    """

    path: re.Pattern[str]
    kind: Kind
    prefix: str = ""
    share: float = 1.0


def _pattern(path: str, kind: Kind, prefix: str = "", share: float = 1.0) -> Pattern:
    return Pattern(re.compile(rf"(?:^|/){path}$"), kind, prefix, share)


LAYOUTS: Final[dict[Layout, Pattern]] = {
    "rafd": _pattern(
        r"Rafd(?P<angle>\d{3})_(?P<person>\d+)_[A-Za-z]+_[a-z]+_(?P<emotion>[a-z]+)_"
        r"(?P<gaze>frontal|left|right)",
        "set",
        "rafd",
    ),
    "ckplus": _pattern(r"(?P<person>S\d{3})_(?P<number>\d{3})_(?P<frame>\d{8})", "sequence"),
    "kdef": _pattern(
        r"(?P<session>[AB])(?P<person>[FM]\d\d)(?P<emotion>AF|AN|DI|HA|NE|SA|SU)"
        r"(?P<angle>S|FL|FR|HL|HR)",
        "set",
        "kdef",
    ),
    "bosphorus": _pattern(r"(?P<person>bs\d{3})_(?P<emotion>E_[A-Z]+|N_N)_\d+", "set"),
    "mug": _pattern(
        r"(?P<person>\d{3})/(?P<emotion>[a-z]+)/(?P<take>take\d+)/(?P<frame>img_\d+)",
        "sequence",
        "mug",
        share=0.5,
    ),
    "oulu": _pattern(
        r"(?P<camera>VL|NI)/(?P<light>Strong|Weak|Dark)/(?P<person>P\d{3})/(?P<emotion>[A-Z][a-z]+)/"
        r"(?P<frame>\d{3})",
        "sequence",
        "oulu",
    ),
    "cfee": _pattern(r"(?P<emotion>[a-z]+)/(?P<person>[^/]+)", "set", "cfee"),
}
"""The data sets by name: RaFD, CK+, KDEF, Bosphorus, MUG, Oulu-CASIA and CFEE (a folder for each
emotion, without its compound emotions)."""

_RECOGNISED: Final[tuple[Layout, ...]] = ("rafd", "ckplus", "kdef", "bosphorus", "mug", "oulu")
"""The layouts whose file names are unique to them, so that `auto` can recognise them."""

_NAMES: Final = {
    "neutral": ("ne", "n_n"),
    "angry": ("an", "anger", "e_anger"),
    "contemptuous": ("contempt",),
    "disgusted": ("di", "disgust", "e_disgust"),
    "fearful": ("af", "afraid", "fear", "e_fear"),
    "happy": ("ha", "happiness", "e_happy"),
    "sad": ("sa", "sadness", "e_sadness"),
    "surprised": ("su", "surprise", "e_surprise"),
}
_NUMBER: Final = {
    name: number for number, emotion in enumerate(EMOTIONS) for name in (emotion, *_NAMES[emotion])
}

_FACS: Final = {
    1: ("brow_raise_left", "brow_raise_right"),
    2: ("brow_raise_left", "brow_raise_right"),
    4: ("brow_lower",),
    5: ("eye_wide",),
    9: ("upper_lip_raise",),
    10: ("upper_lip_raise",),
    12: ("smile_left", "smile_right"),
    15: ("frown",),
    16: ("lower_lip_depress",),
    18: ("pucker",),
    20: ("stretch",),
    25: ("mouth_open",),
    26: ("mouth_open", "jaw_drop"),
}
"""The `topology.ACTION_UNITS` that correspond to a FACS unit."""

_SHOT_NUMBER: Final = re.compile(r"\+(?=\d+$)")
"""The sign before the number at the end of a `shot_name`; names of items never end so."""

_MAX_PART_BYTES: Final = 110
"""Maximum length of either part of an item's name. With what is added to it, a file of that name
has up to 255 bytes."""

_FACS_COLUMN: Final = re.compile(r"\s*'?AU ?(\d+)'?\s*")


@dataclass(frozen=True, slots=True)
class Item:
    """One item to prepare.

    Attributes:
        name: name of the result: the identity, or the identity, `__` and more.
        kind: a video, a sequence of consecutive pictures, a set of pictures of one person from one
            angle, or a single photo.
        files: the video or photo, or the pictures in order, the neutral one first.
        emotions: an index into `EMOTIONS` for each picture, -1 if unknown; empty if none is known.
    """

    name: str
    kind: Kind
    files: tuple[Path, ...]
    emotions: tuple[int, ...] = ()

    @property
    def identity(self) -> str:
        """Name of the person."""
        return person_of(self.name)


def find_items(source: Path, layout: Layout = "auto") -> list[Item]:
    """Find all items to prepare, sorted by name; links to folders are followed.

    Raises:
        SourceError: there are none, or none of that layout.
    """
    if not source.exists():
        raise SourceError(f"There is no folder {source}; check the path.")
    files = [source] if source.is_file() else _files_below(source)
    pictures = [file for file in files if file.suffix.lower() in PICTURES]
    chosen = _recognise(source, pictures) if layout == "auto" else layout
    if chosen == "emotionet":
        items = _emotionet(files, pictures)
    elif chosen in LAYOUTS:
        items = _of_pattern(source, files, pictures, LAYOUTS[chosen])
    else:
        items = _folders(source, files)
    if not items:
        wanted = "video or picture" if chosen in ("auto", "folders") else f"picture of {chosen}"
        raise SourceError(f"{source} has no {wanted}.")
    named = (replace(item, name=_file_name(item.name)) for item in items)
    return sorted(named, key=lambda item: item.name)


def _files_below(folder: Path) -> list[Path]:
    files: list[Path] = []
    seen: set[str] = set()
    for place, below, names in os.walk(folder, followlinks=True):
        here = os.path.realpath(place)
        if here in seen:  # a link to a folder above it, for example
            below.clear()
            continue
        seen.add(here)
        below.sort(key=lambda name: (Path(place, name).is_symlink(), name))
        files += [Path(place, name) for name in names]
    return sorted(file for file in files if file.is_file())


def _file_name(name: str) -> str:
    """Return an item's name as that of a file: text of a length that every disk takes."""
    person, sign, rest = name.partition("__")
    return f"{_part(person)}{sign}{_part(rest)}"


def _part(text: str) -> str:
    content = os.fsencode(text)
    try:
        content.decode()
    except UnicodeDecodeError:  # unpacked from an old archive
        content = content.decode("latin-1").encode()
    if len(content) <= _MAX_PART_BYTES:
        return content.decode()
    digest = hashlib.sha256(content).hexdigest()[:8]
    return f"{content[: _MAX_PART_BYTES - 9].decode(errors='ignore')}-{digest}"


def shot_name(name: str, number: int) -> str:
    """Return the name of one of several shots of the video `name`, which no item has."""
    return f"{name}{'' if '__' in name else '__'}+{number:02d}"


def held_out_people(identities: Iterable[str], share: float, after: float = 0.0) -> set[str]:
    """Choose about that share of the people, at least one unless the share is 0.

    The choice depends only on the names, so that adding people moves nobody. `after` is the share
    already given to another split.
    """
    places = {
        name: int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big") / 2**48
        for name in identities
    }
    if not share or not places:
        return set()
    chosen = {name for name, place in places.items() if after <= place < after + share}
    return chosen or {min(places, key=lambda name: (places[name] < after, places[name]))}


def _recognise(source: Path, pictures: list[Path]) -> Layout:
    for layout in _RECOGNISED:
        path = LAYOUTS[layout].path
        if any(path.search(_place(source, file)) for file in pictures):
            return layout
    return "folders"


def _place(source: Path, file: Path) -> str:
    """Return the text that patterns match: the path, including the source's own name."""
    return file.relative_to(source.parent).with_suffix("").as_posix()


def _of_pattern(
    source: Path, files: list[Path], pictures: list[Path], pattern: Pattern
) -> list[Item]:
    found: dict[str, list[tuple[str | int, Path, int]]] = defaultdict(list)
    for file in pictures:
        match = pattern.path.search(_place(source, file))
        if match is None:
            continue
        groups = match.groupdict()
        person, frame = groups.pop("person"), groups.pop("frame", "")
        named = groups.pop("emotion", "") if pattern.kind == "set" else groups.get("emotion", "")
        number = _NUMBER.get(named.lower(), -1)
        if named and number < 0:
            continue
        name = f"{pattern.prefix}{person}" + "".join(
            ("__" if at == 0 else "_") + text for at, text in enumerate(groups.values())
        )
        found[name].append((frame or number, file, number))
    if pattern.kind == "set":
        return [
            Item(name, "set", tuple(f for _, f, _ in kept), tuple(n for _, _, n in kept))
            for name, kept in ((name, sorted(rows)) for name, rows in found.items())
        ]
    labels = {file.name[:8]: file for file in files if file.match("S*_*_*_emotion.txt")}
    items = []
    for name, rows in found.items():
        rows.sort()
        frames = tuple(file for _, file, _ in rows)[: max(round(len(rows) * pattern.share), 1)]
        peak = rows[0][2]
        if peak < 0 and (label := labels.get(name.replace("__", "_"))):
            peak = _read_label(label)
        items.append(
            Item(name, "sequence", frames, (0, *[-1] * (len(frames) - 2), peak)[: len(frames)])
        )
    return items


def _read_label(label: Path) -> int:
    """Return the emotion in a CK+ label file, -1 if it is not one of `EMOTIONS`."""
    text = label.read_text(encoding="ascii", errors="replace").strip()
    try:
        number = round(float(text))
    except ValueError as error:
        raise SourceError(f"{label} should hold the number of an emotion, not {text!r}.") from error
    return number if 0 <= number < len(EMOTIONS) else -1


def _emotionet(files: list[Path], pictures: list[Path]) -> list[Item]:
    """Read pictures that a CSV file labels with FACS action units; 1: present, 999: unknown.

    Every picture counts as a separate person. The emotion follows from the action units by the
    paper's table (`emotions.emotion_weights`).
    """
    by_name = {file.name: file for file in pictures}
    items: dict[str, Item] = {}
    for table in (file for file in files if file.suffix == ".csv"):
        for row in _rows(table):
            texts = [str(value).strip().strip("'\"") for value in row.values()]
            file = next(
                (by_name[n] for n in (t.split("/")[-1] for t in texts) if n in by_name), None
            )
            if file is not None:
                name = _own_name(file.stem, file, items)
                items[name] = Item(name, "photo", (file,), (_emotion_of_facs(row),))
    return list(items.values())


def _rows(table: Path) -> list[dict[str, str]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as handle:
            return list(csv.DictReader(handle, skipinitialspace=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{table} is not a CSV file in UTF-8; save it as one.") from error


def _emotion_of_facs(row: dict[str, str]) -> int:
    units = np.zeros(len(ACTION_UNITS), np.float32)
    for column, value in row.items():
        match = _FACS_COLUMN.fullmatch(column or "")
        if match and str(value).strip() == "1":
            for unit in _FACS.get(int(match[1]), ()):
                units[ACTION_UNITS.index(unit)] = 0.8
    return int(emotion_weights(units).argmax())


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
        name = _SHOT_NUMBER.sub("-", f"{parts[0]}__{rest}" if rest else parts[0])
        name = _own_name(name, file, items)
        items[name] = Item(name, "video" if ending in VIDEOS else "photo", (file,))
    return list(items.values())


def _own_name(name: str, file: Path, items: Mapping[str, Item]) -> str:
    """Return the name, with the file's suffix if another file has it, such as another format."""
    while name in items and items[name].files != (file,):
        name += f"{'-' if '__' in name else '__'}{file.suffix[1:].lower()}"
    return name
