"""A disk that can be made full, in two ways: a small file system in memory, where root may mount one, is made as small
as what lies on it; or the kernel lets one process write no further in any file, which no look at the disk foretells.
"""

from __future__ import annotations

import os
import resource
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_SIZE: Final = "4g"
_ROOM: Final = 64 * 1024
"""How far a limited process may write: its log has to go on, its commits must not."""


class Disk:
    """The disk of the state folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        mount = ("mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "chaos", str(folder))
        self.ways = [
            *(["tmpfs"] if os.geteuid() == 0 and _succeeds(*mount) else []),
            *(["RLIMIT_FSIZE"] if hasattr(resource, "prlimit") else []),
        ]
        """How it can be filled; empty where it cannot."""

    def fill(self, way: str, worker: int, log: Path) -> None:
        """From now on there is no room, in the second way for this worker process alone."""
        if way == "tmpfs":
            found = os.statvfs(self.folder)
            used = (found.f_blocks - found.f_bfree) * found.f_frsize
            # While files grow the size may be short of what is used by now: then it is refused.
            while not _succeeds("mount", "-o", f"remount,size={used}", str(self.folder)):
                used += 16 * _PAGE
        else:
            _limit(worker, log.stat().st_size + _ROOM)

    def free(self, way: str, worker: int) -> None:
        """There is room again."""
        if way == "tmpfs":
            _succeeds("mount", "-o", f"remount,size={_SIZE}", str(self.folder))
        else:
            _limit(worker, resource.RLIM_INFINITY)

    def close(self) -> None:
        """Give the mount back, with what lies in it."""
        if "tmpfs" in self.ways:
            _succeeds("umount", "--lazy", str(self.folder))


def _limit(process: int, size: int) -> None:
    with suppress(ProcessLookupError):
        resource.prlimit(process, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False
