"""The disk under the state, with a reserve on it: a file of zeros that is removed when a write finds no space."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

_UNKNOWN: Final = 2**62
_CHUNK: Final = 2**20
RESERVE: Final = "reserve"
"""The name of the file in the state folder."""


class LocalDisk:
    """`Disk` under a folder; where other folders lie on other disks, the fullest of them counts."""

    def __init__(self, folder: Path, *others: Path) -> None:
        """The folders need not exist yet. The reserve lies in the first."""
        self._folders = (folder, *others)
        self._path = folder / RESERVE

    def free(self) -> int:
        return min((found.f_bavail * found.f_frsize for found in self._disks()), default=_UNKNOWN)

    def total(self) -> int:
        """Of the fullest disk."""
        fullest = min(self._disks(), key=lambda found: found.f_bavail * found.f_frsize, default=None)
        return fullest.f_blocks * fullest.f_frsize if fullest else 0

    def reserve(self, size: int) -> bool:
        try:
            if self._path.exists() and self._path.stat().st_size >= size:
                return True
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("wb") as file:
                _allocate(file.fileno(), size)
        except OSError:
            self.release()  # half a reserve only takes space away
            return False
        return True

    def release(self) -> bool:
        with suppress(OSError):
            there = self._path.exists()
            self._path.unlink(missing_ok=True)
            return there
        return False

    def _disks(self) -> list[os.statvfs_result]:
        found = []
        for folder in self._folders:
            existing = next((one for one in (folder, *folder.parents) if one.exists()), folder)
            with suppress(OSError):
                found.append(os.statvfs(existing))
        return found


def _allocate(descriptor: int, size: int) -> None:
    """Real blocks: a file of holes would reserve nothing."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    for start in range(0, size, _CHUNK):
        os.write(descriptor, bytes(min(_CHUNK, size - start)))
    os.fsync(descriptor)
