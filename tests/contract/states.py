"""The kinds of manifest that the contract holds for, and the facts that its tests store."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

from sqlalchemy import select

from retrainer.adapters.manifest import schema
from retrainer.adapters.manifest.database import Database
from retrainer.adapters.manifest.decisions import SqlDecisionState
from retrainer.adapters.manifest.housekeeping import SqlHousekeepingState
from retrainer.adapters.manifest.ingest import SqlIngestState
from retrainer.adapters.memory.housekeeping import MemoryHousekeepingState
from retrainer.adapters.memory.manifest import MemoryManifest
from retrainer.adapters.memory.state import MemoryDecisionState, MemoryIngestState
from retrainer.domain.deciding.decisions import Decision, DecisionAnswer
from retrainer.domain.deciding.ledger import Act, LedgerRow
from retrainer.domain.events import Partition, Record, RecordQuarantined, Side
from retrainer.domain.join.ingest import ModelDelta, Progress
from retrainer.domain.join.rules import Status
from retrainer.domain.tally.tallies import WHOLE, TallyKey
from retrainer.domain.values import SECOND, Micros
from retrainer.ports.manifest.decisions import Request, Step
from retrainer.ports.manifest.housekeeping import HousekeepingState
from retrainer.ports.manifest.ingest import Flush, IngestState
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.manifest.progress import StoredPosition
from retrainer.ports.manifest.segments import NewSegment
from retrainer.service.people.status import ReadableState

AT = Partition("predictions", 0)
OTHER = Partition("labels", 0)
NOW: Micros = 1_700_000_000 * SECOND


class Rig(ABC):
    """One manifest, as the worker, the controller and an operator see it."""

    ingest: IngestState
    decisions: ReadableState
    housekeeping: HousekeepingState

    @abstractmethod
    def quarantined(self) -> Sequence[RecordQuarantined]:
        """What is in quarantine, in order of topic, partition and offset."""


class MemoryRig(Rig):
    def __init__(self) -> None:
        self.manifest = MemoryManifest()
        self.ingest = MemoryIngestState(self.manifest)
        self.decisions = MemoryDecisionState(self.manifest)
        self.housekeeping = MemoryHousekeepingState(self.manifest)

    def quarantined(self) -> Sequence[RecordQuarantined]:
        return self.manifest.quarantined


class SqlRig(Rig):
    """SQLite's. `close_all` closes every one that was opened since."""

    opened: ClassVar[list[SqlRig]] = []

    def __init__(self, path: Path, **settings: Any) -> None:
        self.database = Database(f"sqlite:///{path}", **settings)
        self.opened.append(self)
        self.ingest = SqlIngestState(self.database)
        self.decisions = SqlDecisionState(self.database)
        self.housekeeping = SqlHousekeepingState(self.database)

    def quarantined(self) -> Sequence[RecordQuarantined]:
        table = schema.quarantine
        with self.database.reading() as connection:
            rows = connection.execute(select(table).order_by(table.c.topic, table.c.partition, table.c.offset))
            return [RecordQuarantined(record=_record(row), reason=row.reason) for row in rows]

    @classmethod
    def close_all(cls) -> None:
        while cls.opened:
            cls.opened.pop().database.close()


def _record(row: Any) -> Record:
    headers = tuple((name, base64.b64decode(value)) for name, value in row.headers)
    return Record(Partition(row.topic, row.partition), row.offset, row.timestamp, row.key, row.value, headers)


def pragma(path: Path, name: str) -> object:
    """What a new connection of somebody else finds in force."""
    import sqlite3

    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]


# Facts to store


def begun(state: IngestState, *partitions: Partition) -> Lease:
    """The lease of a worker that has registered these partitions at position 0."""
    lease = state.claim("ingest", "here/1", NOW)
    state.begin(lease, {at: StoredPosition(position=0, topic_id="id-1") for at in partitions or (AT,)})
    return lease


def flush(lease: Lease, **changes: Any) -> Flush:
    """A commit that changes nothing but what is named."""
    return Flush(**{"lease": lease, "at": NOW, "moves": {}, "segment": None, "deltas": (), **changes})


def segment(name: str, **changes: Any) -> NewSegment:
    """A segment of one record, kept inline."""
    facts = {"inline": b"PAR1", "ranges": {AT: (0, 1)}, "records": 1, "newest": NOW, "watermarks": {"flights": NOW}}
    return NewSegment(name=name, **{**facts, **changes})


def key(slot: int = 10, truth: str = "late", answer: str = "late", version: str = "1", part: str = WHOLE) -> TallyKey:
    """A cell of a tally."""
    return TallyKey(version, part, slot, truth, answer)


def delta(
    model: str = "flights",
    tallies: Mapping[TallyKey, int] | None = None,
    counts: Mapping[Status, int] | None = None,
    progress: Progress | None = None,
) -> ModelDelta:
    """What some records changed for a model."""
    return ModelDelta(model=model, progress=progress or Progress(), tallies=tallies or {}, counts=counts or {})


def joined(n: int) -> dict[Status, int]:
    """Counts in balance: so many predictions have their label."""
    return {
        (Side.PREDICTIONS, "consumed"): n,
        (Side.PREDICTIONS, "joined"): n,
        (Side.LABELS, "consumed"): n,
        (Side.LABELS, "applied"): n,
    }


def decision(name: str = "flights@1", outcome: DecisionAnswer = DecisionAnswer.RETRAIN, **changes: Any) -> Decision:
    """A decision about flights."""
    facts = {
        "model": "flights",
        "slot_end": NOW,
        "triggers": ("drop",),
        "reason": "fired",
        "message": "drop asked for it",
        "champion": "3",
        "evidence": {"labels": 500, "triggers": {"drop": {"value": 0.25, "low": None, "classes": ["a", "b"]}}},
    }
    return Decision(**{"decision_id": name, "outcome": outcome, **facts, **changes})


def step(lease: Lease, **changes: Any) -> Step:
    """A round of deciding that found nothing but what is named."""
    return Step(**{"lease": lease, "model": "flights", "memory": b"{}", **changes})


def request(name: str = "retrain-1", **changes: Any) -> Request:
    """What a person asked for."""
    facts = {"model": "flights", "kind": "retrain", "reason": "new data", "asked_at": NOW}
    return Request(**{"request_id": name, **facts, **changes})


def ledger_row(act: Act = Act.INTENDED, **changes: Any) -> LedgerRow:
    """A row about flights' champion."""
    facts = {
        "model": "flights",
        "alias": "champion",
        "version": "4",
        "previous": "3",
        "reason": "better",
        "effective_from": NOW,
        "written_at": NOW + 1,
        "job_id": "job-1",
    }
    return LedgerRow(**{"act": act, **facts, **changes})
