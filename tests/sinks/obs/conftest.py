"""A ring of frames for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.obs.rings import ring_name


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a ring that only this test uses."""
    with ring_name() as chosen:
        yield chosen
