"""A user data folder for one measurement, so that the user's own is neither read nor changed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_VARIABLE: Final = "REENACT_DATA"


@contextmanager
def throwaway_user_data() -> Iterator[None]:
    """Let the whole process use an empty data folder, deleted at the end.

    A run finds its actor's neutral and stores it; a measurement must do neither with the user's.
    """
    before = os.environ.get(_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="reenact-") as folder:
        os.environ[_VARIABLE] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ[_VARIABLE]
            else:
                os.environ[_VARIABLE] = before
