"""Files that are there as a whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

from retrainer.errors import Unreachable

_UNFINISHED: Final = ".part"


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A new file: its bytes are on the disk before it has its name, and the folder's entry before this ends.

    After any failure what was written is thrown away: once an fsync has failed, nobody knows what is on the disk.

    Raises:
        Unreachable: the disk does not take it.
    """
    unfinished = path.with_name(path.name + _UNFINISHED)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):  # a disk that is away takes nothing back either
            unfinished.unlink(missing_ok=True)
        raise Unreachable(f"{path} cannot be written: {error}") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
