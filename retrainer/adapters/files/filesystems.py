"""Which file system a folder lies on. SQLite's locks and its WAL cannot be trusted on one of a network."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_MOUNTS: Final = Path("/proc/mounts")
_NETWORK: Final = frozenset({
    *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "gfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs"),
    *("nfs", "nfs3", "nfs4", "ocfs2", "orangefs", "panfs", "smb2", "smb3", "smbfs", "virtiofs", "wekafs"),
})  # fmt: skip
_NETWORK_IN_USER_SPACE: Final = frozenset({
    *("ceph", "cephfs", "davfs", "gcsfuse", "glusterfs", "goofys", "juicefs", "rclone", "s3fs", "seaweedfs", "sshfs"),
})  # fmt: skip
"""By the part after `fuse.`."""


def network_filesystem(folder: Path) -> str | None:
    """The kind of the network file system that a folder lies on, such as `nfs4`; None where it is local, or unknown.

    The folder need not exist yet. Known on Linux only.
    """
    try:
        mounts = _MOUNTS.read_text(errors="surrogateescape")
    except OSError:
        return None
    kind = kind_of(folder.resolve(), mounts)
    return kind if kind is not None and is_network(kind) else None


def kind_of(folder: Path, mounts: str) -> str | None:
    """The kind of file system at a folder (absolute, without links), by a text as `/proc/mounts` has it."""
    found = None
    deepest = -1
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        place = Path(_unescaped(fields[1]))
        if (
            folder.is_relative_to(place) and len(place.parts) >= deepest
        ):  # of two at one place the later hides the other
            found, deepest = fields[2], len(place.parts)
    return found


def is_network(kind: str) -> bool:
    """Whether a kind of file system keeps its files on another machine."""
    return kind in _NETWORK or kind.removeprefix("fuse.") in _NETWORK_IN_USER_SPACE


def _unescaped(place: str) -> str:
    """The kernel writes spaces, tabs, line ends and backslashes in octal."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), place)
