"""The disk under the state."""

from __future__ import annotations

from typing import Protocol


class Disk(Protocol):
    """The disk under the state, and a reserve on it that can be given up when it is full. Raises nothing."""

    def free(self) -> int:
        """Bytes that this process may still write; a lot where nobody can say."""
        ...

    def total(self) -> int:
        """The size of the disk in bytes; 0 where nobody can say."""
        ...

    def reserve(self, size: int) -> bool:
        """Put so many bytes aside, if they are not yet; whether they are now."""
        ...

    def release(self) -> bool:
        """Give up what was put aside; whether there was anything."""
        ...
