"""The one way in which devices are context managers."""

from __future__ import annotations

from types import TracebackType

from typing_extensions import Self


class ClosesOnExit:
    """A context manager whose end calls `close`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release everything."""
        raise NotImplementedError
