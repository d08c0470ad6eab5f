"""Guesses at what a misspelt key was meant to be."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(key: str, known: Iterable[str]) -> str:
    """The end of a message: `; did you mean cooldown?`, or nothing where no known key is close."""
    close = get_close_matches(key, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
