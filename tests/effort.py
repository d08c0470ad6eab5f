"""How much the tests do that could do any amount: property tests, and simulations with fixed seeds.

RETRAINER_EFFORT is `quick` (`make quick`), `usual` (`make test`) or `slow` (`make test-slow`).
"""

from __future__ import annotations

import os
from typing import Final

EFFORT: Final = os.environ.get("RETRAINER_EFFORT", "usual")
_TIMES: Final = 4


def much(usual: int, *, slow: int | None = None) -> int:
    """How many examples or runs: a quarter of the usual number in `quick`, four times as many in `slow`.

    Args:
        slow: the number in `slow`, if it is another one.
    """
    match EFFORT:
        case "quick":
            return max(1, usual // _TIMES)
        case "usual":
            return usual
        case "slow":
            return usual * _TIMES if slow is None else slow
        case _:
            raise ValueError(f"expected RETRAINER_EFFORT quick, usual or slow, got {EFFORT}")
