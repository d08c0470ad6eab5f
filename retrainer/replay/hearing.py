"""What estimators warn of and print while a replay runs: other people's code, in this process."""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Final

_OUT: Final = 1
_ERROR: Final = 2


@contextmanager
def heard() -> Iterator[Counter[str]]:
    """Warnings are counted instead of shown, and what is printed goes to standard error: the other is the answer's.

    Gives each warning in a line, with how often it came.
    """
    found: Counter[str] = Counter()

    def count(message: Warning | str, category: type[Warning], *_where: object) -> None:
        found[f"{category.__name__}: {(str(message).splitlines() or [''])[0]}"] += 1

    with warnings.catch_warnings(), redirect_stdout(sys.stderr), _beneath_python():
        warnings.showwarning = count  # type: ignore[assignment]  # it is called with all of them in their order
        yield found


@contextmanager
def _beneath_python() -> Iterator[None]:
    """Libraries in C write to the descriptor itself."""
    kept = os.dup(_OUT)
    os.dup2(_ERROR, _OUT)
    try:
        yield
    finally:
        os.dup2(kept, _OUT)
        os.close(kept)
