"""What looks broken about the rows that a candidate learns from; `checks` finds it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from retrainer.domain.values import Micros

What = Literal["gone", "missing", "type", "constant", "unseen", "level", "scale", "range"]
"""No value at all, another share of missing ones, another type, all the same, unknown categories, another middle,
another unit, values beyond all that was known."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something about a feature that looks broken, with a sentence about it.

    Attributes:
        since: the event time from which on it does; None where it does beside the champion's rows.
    """

    feature: str
    what: What
    words: str
    since: Micros | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)
