"""What triggers saw, as a colleague would say it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from retrainer.domain.triggers import change, drift, drop, guarded, new_class, threshold, trial, volume
from retrainer.domain.triggers.base import Trigger

_Words = Callable[[Mapping[str, Any]], str]


def _schedule(evidence: Mapping[str, Any]) -> str:
    return f"its time came at {evidence['due']}"


_WORDS: Final[Mapping[str, _Words]] = MappingProxyType(
    {
        "change": change.words,
        "drift": drift.words,
        "drop": drop.words,
        "new_class": new_class.words,
        "schedule": _schedule,
        "threshold": threshold.words,
        "trial": trial.words,
        "volume": volume.words,
    }
)


def words_of(kind: str | None, evidence: Mapping[str, Any]) -> str:
    """One sentence about a trigger's evidence; fact by fact where its kind is not known here, or was once another."""
    try:
        return _WORDS.get(kind or "", guarded.words)(evidence)
    except (KeyError, TypeError, ValueError):  # stored by another version
        return guarded.words(evidence)


def told(trigger: Trigger | None, recorded: Mapping[str, Any]) -> str:
    """One sentence about what a decision recorded of a trigger: its kind, and its evidence.

    `trigger` is the one of that name now, if there is one; a user's own may have words of its own.
    """
    kind, evidence = recorded.get("kind"), {name: fact for name, fact in recorded.items() if name != "kind"}
    if isinstance(trigger, guarded.Guarded) and trigger.kind == kind:
        return trigger.words(evidence)
    return words_of(kind, evidence)
