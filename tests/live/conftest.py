from __future__ import annotations

import pytest

from support.simulation import SimulatedTime


@pytest.fixture
def time() -> SimulatedTime:
    return SimulatedTime()
