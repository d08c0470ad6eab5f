"""The promotion ledger: which version held which alias, when and why. Append-only; the intent comes before the deed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from retrainer.domain.values import Micros


class Act(StrEnum):
    """What a row says."""

    INTENDED = "intended"
    VERIFIED = "verified"
    UNDONE = "undone"
    EXTERNAL = "external"
    """A person moved the alias; it was adopted."""


@dataclass(frozen=True, kw_only=True)
class LedgerRow:
    """One row. `of` is the number of the intent that a later row verifies or undoes."""

    model: str
    alias: str
    act: Act
    version: str | None
    previous: str | None
    reason: str
    effective_from: Micros | None
    """Event time from which the version's outcomes count."""
    written_at: Micros
    """Wall time."""
    job_id: str | None = None
    of: int | None = None
    number: int = 0


@dataclass(frozen=True, kw_only=True)
class Reign:
    """Who holds an alias, as the ledger says, and since when in event time (None: from the beginning)."""

    version: str | None
    effective_from: Micros | None
    written_at: Micros | None = None
    job_id: str | None = None


def open_intents(rows: Sequence[LedgerRow]) -> list[LedgerRow]:
    """Intents that nothing has verified or undone: what an interruption left."""
    settled = {row.of for row in rows}
    return [row for row in rows if row.act is Act.INTENDED and row.number not in settled]


def reign(rows: Sequence[LedgerRow]) -> Reign | None:
    """The holder of the alias by the newest settled row; None where the ledger says nothing yet."""
    settled = [row for row in rows if row.act in {Act.VERIFIED, Act.EXTERNAL}]
    if not settled:
        return None
    intents = {row.number: row for row in rows if row.act is Act.INTENDED}
    last = settled[-1]
    newest = last if last.of is None else intents.get(last.of, last)
    return Reign(
        version=newest.version,
        effective_from=newest.effective_from,
        written_at=newest.written_at,
        job_id=newest.job_id,
    )
