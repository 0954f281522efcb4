"""Settings of recipes, and who is trained on: people are split by folder, or by folds of a file.

A file of folds is `{"folds": [["name", ...], ...]}`: people who are held out together.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol, TypeVar, cast

from pydantic import (
    BeforeValidator,
    ConfigDict,
    NonNegativeInt,
    PositiveInt,
    TypeAdapter,
    ValidationError,
)
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import dataclass_transform

from reenact.config import Share, UserPath, first_problem
from reenact.errors import ConfigError, ReenactError, counted
from reenact.training.augmentation import AUGMENTATIONS, Augmentation

Settings = TypeVar("Settings")


@dataclass_transform(frozen_default=True)
def recipe_settings(kind: type[Settings]) -> type[Settings]:
    """Make a class a frozen dataclass for `read_settings`, which refuses unknown settings."""
    # As in `Section`, a folder may be named by digits.
    config = ConfigDict(extra="forbid", coerce_numbers_to_str=True)
    decorate = pydantic_dataclass(frozen=True, config=config)
    return cast("type[Settings]", decorate(kind))


@recipe_settings
class PeopleData:
    """The people to train on and the people to validate on.

    Attributes:
        train: folder of clips.
        val: folder of other people's clips for validation; not read if `folds` is given.
        folds: JSON file whose "folds" are lists of identities in `train`; "": validate on `val`.
        held_out_fold: index of the fold that is held out of training and used for validation.
        test_fold: index of a fold that is held out of both, for the reported figures; "" is None.
    """

    train: UserPath
    val: UserPath = ""
    folds: UserPath = ""
    held_out_fold: NonNegativeInt = 0
    test_fold: Annotated[
        NonNegativeInt | None, BeforeValidator(lambda n: None if n == "" else n)
    ] = None

    @property
    def held_out_folder(self) -> Path:
        """The folder with the clips of the people to validate on."""
        return Path(self.train if self.folds else self.val)


@recipe_settings
class PictureData(PeopleData):
    """`PeopleData` and what picture generators need in addition.

    Attributes:
        stills: folders of photos.
        cache: folder for decoded clips.
        still_share: share of the pairs that come from photos.
        validation_frames: number of frames of each held-out clip.
        augmentation: augmentations of the training pairs.
    """

    stills: tuple[UserPath, ...] = ()
    cache: UserPath = "runs/cache"
    still_share: Share = 0.25
    validation_frames: PositiveInt = 4
    augmentation: tuple[Augmentation, ...] = AUGMENTATIONS


class _Identified(Protocol):
    @property
    def identity(self) -> str: ...


Item = TypeVar("Item", bound=_Identified)


def read_settings(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Check the `[settings]` of a training file. Raises ConfigError if a value is not allowed."""
    try:
        return TypeAdapter(kind).validate_python(dict(values))
    except ValidationError as error:
        raise ConfigError(first_problem(error, "settings.")) from error


def split_people(
    data: PeopleData, load: Callable[[Path], list[Item]]
) -> tuple[list[Item], list[Item]]:
    """Load the training data and the held-out data; `load` reads one folder.

    Raises ReenactError if a folder is missing, empty or damaged, a fold does not exist or is to
    validate and to report, or train and val share people.
    """
    _check_folders(data)
    fold, test = _folds(data)
    items = load(Path(data.train))
    if data.folds:
        train = [item for item in items if item.identity not in fold | test]
        held_out = [item for item in items if item.identity in fold]
        if not train or not held_out:
            raise ReenactError(
                f"Fold {data.held_out_fold} of {data.folds} leaves nobody of {data.train} to "
                f"{'validate' if train else 'train'} on."
            )
        return train, held_out
    held_out = load(data.held_out_folder)
    shared = {item.identity for item in items} & {item.identity for item in held_out}
    if shared:
        raise ReenactError(f"train and val share people: {', '.join(sorted(shared))}.")
    return items, held_out


def unseen_people(data: PeopleData, held_out: Iterable[_Identified]) -> set[str]:
    """Return who must not be trained on: the people of `held_out`, and of folds that are held out.

    A person of a fold may be in photos alone, without a clip.
    """
    fold, test = _folds(data)
    return {item.identity for item in held_out} | fold | test


def _folds(data: PeopleData) -> tuple[set[str], set[str]]:
    """Return the people of the fold to validate on and of the test fold; nobody without folds."""
    if not data.folds:
        if data.test_fold is not None:
            raise ConfigError(
                "settings.test_fold is a fold of settings.folds, which is missing; add "
                "--set settings.test_fold= for none."
            )
        return set(), set()
    fold = read_fold(Path(data.folds), data.held_out_fold)
    if data.test_fold is None:
        return fold, set()
    test = read_fold(Path(data.folds), data.test_fold)
    if fold & test:
        raise ConfigError(
            "settings.held_out_fold and settings.test_fold share people: weights that were chosen "
            "on them say nothing about new people. Name two folds without common people."
        )
    return fold, test


def _check_folders(data: PeopleData) -> None:
    named = {"train": [data.train]}
    if not data.folds:
        named["val"] = [data.val]
    if isinstance(data, PictureData):
        named["stills"] = list(data.stills)
    folders = [(key, path) for key, paths in named.items() for path in paths]
    missing = [(key, path) for key, path in folders if not (path and Path(path).is_dir())]
    if not missing:
        if data.folds and not Path(data.folds).is_file():
            raise ConfigError(
                f"There is no file {data.folds}; set settings.folds to one of your own, or add "
                "--set settings.folds= to validate on the people of settings.val."
            )
        return
    first, path = missing[0]
    keys = dict.fromkeys(f"settings.{key}" for key, _ in missing)
    raise ConfigError(
        f"{f'There is no folder {path}' if path else f'settings.{first} is missing'}; set "
        f"{', '.join(keys)} to folders of your own, as in --set settings.{first}=clips/{first}"
        f"{' (settings.stills=[]: no photos)' if 'settings.stills' in keys else ''}. "
        'docs/training.md, "Your own material", says how to make them.'
    )


def describe(train: Sequence[_Identified], data: PeopleData) -> str:
    """Return a description of the training data for the header of the weights."""
    people = len({item.identity for item in train})
    held_out = f"fold {data.held_out_fold} held out" if data.folds else "no one of them in val"
    if data.test_fold is not None:
        held_out = f"folds {data.held_out_fold} and {data.test_fold} held out"
    return f"{counted(len(train), 'clip')} of {counted(people, 'person', 'people')}, {held_out}"


def read_folds(path: Path) -> list[set[str]]:
    """Return the people of each fold. Raises ReenactError if the file is missing or another."""
    try:
        return [set(fold) for fold in json.loads(path.read_text(encoding="utf-8"))["folds"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReenactError(f"{path} is not a file of folds: {error}.") from error


def read_fold(path: Path, number: int) -> set[str]:
    """Return the people of one fold. Raises ReenactError if the file or the fold is missing."""
    folds = read_folds(path)
    if not 0 <= number < len(folds):
        last = f"the last one is {len(folds) - 1}"
        raise ReenactError(f"{path} has {counted(len(folds), 'fold')} from 0; {last}.")
    return folds[number]
