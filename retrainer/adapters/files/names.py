"""What the names of segment files say: who wrote them."""

from __future__ import annotations

import re


def is_written_by(name: str, prefix: str, epoch: int) -> bool:
    """Whether a writer with this prefix gave the name, under this epoch of its lease or an earlier one."""
    found = re.match(rf"{re.escape(prefix)}(\d+)-", name)
    return found is not None and int(found[1]) <= epoch
