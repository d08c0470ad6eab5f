"""The twin of the disk, as full as a test wants it."""

from __future__ import annotations


class MemoryDisk:
    """`Disk` of a size, filled by hand."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0
        self.reserved = 0

    def free(self) -> int:
        return max(0, self.size - self.used - self.reserved)

    def total(self) -> int:
        return self.size

    def reserve(self, size: int) -> bool:
        if self.reserved < size:
            self.reserved = 0
            if self.free() < size:
                return False
            self.reserved = size
        return True

    def release(self) -> bool:
        there, self.reserved = self.reserved > 0, 0
        return there
