from __future__ import annotations

import subprocess
import sys

import pytest

import reenact


@pytest.mark.parametrize("name", reenact.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(reenact, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Sesion'"):
        reenact.Sesion  # noqa: B018
    assert reenact.__version__


def test_the_package_and_its_light_names_load_no_network_library() -> None:
    code = (
        "import sys, reenact; reenact.Settings; reenact.Session; reenact.SourceSpec; "
        "print(sorted({'torch', 'mediapipe', 'openvino'} & set(sys.modules)))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
