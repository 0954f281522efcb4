from __future__ import annotations

import numpy as np
import pytest

from reenact.config import Settings
from reenact.sinks.label import write_label


@pytest.mark.parametrize("size", [(720, 1280), (256, 256), (1920, 1080)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_label_is_legible_on_any_picture(size: tuple[int, int], level: int) -> None:
    picture = np.full((*size, 3), level, np.uint8)
    write_label(picture, None, "AI")
    rows, columns = np.nonzero((picture != level).any(axis=2))
    height, width = size
    assert rows.min() > 0.8 * height
    assert columns.max() < 0.3 * width
    plate = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1, 0]
    assert plate.max() > 240
    assert np.median(plate) < 110


def test_a_label_is_opaque_where_the_picture_is_not() -> None:
    picture, alpha = np.zeros((256, 256, 3), np.uint8), np.zeros((256, 256), np.uint8)
    write_label(picture, alpha, "AI")
    assert alpha[picture[..., 0] > 200].min() > 200
    assert not alpha[:128].any()


@pytest.mark.parametrize("text", ["Synthetic video", "x" * 60, " "])
@pytest.mark.parametrize("size", [(128, 128), (16, 300), (12, 8)])
def test_a_long_label_is_made_smaller(text: str, size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 200, np.uint8)
    write_label(picture, None, text)
    assert (picture != 200).any()


@pytest.mark.parametrize(
    "text", ["Généré par IA", "Wygenerowane przez SI: ąęłńóśźż", "Τεχνητό", "Изкуствено", "Ελλάς"]
)
def test_the_letters_of_every_language_of_the_european_union_are_drawn(text: str) -> None:
    assert Settings.model_validate({"output": {"label": text}}).output.label == text
    for letter in set(text) - {" "}:
        drawn, missing = (np.zeros((256, 256, 3), np.uint8) for _ in range(2))
        write_label(drawn, None, letter)
        write_label(missing, None, "\uffff")
        assert (drawn != missing).any(), letter
