"""The manifest's tables and transactions, in memory; `memory_state` is the view that each role has of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, fields, replace
from threading import RLock
from typing import TypeVar

from retrainer.adapters.memory.segments import Boundary, no_crash
from retrainer.domain.deciding.ledger import LedgerRow
from retrainer.domain.events import Partition, RecordQuarantined
from retrainer.domain.join.rules import Status
from retrainer.domain.tally.tallies import TallyKey
from retrainer.domain.values import Micros
from retrainer.errors import Fenced, Refused, Unreachable
from retrainer.ports.manifest.decisions import Request
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.manifest.progress import StoredPosition, StoredProgress
from retrainer.ports.manifest.segments import StoredSegment
from retrainer.ports.manifest.snapshots import StoredSnapshot

_Key = TypeVar("_Key")
_Row = TypeVar("_Row")


@dataclass(frozen=True, kw_only=True)
class HeldSegment:
    """A registered segment and its size."""

    stored: StoredSegment
    size: int | None

    @property
    def first(self) -> int:
        return self.stored.parts[0].number

    @property
    def newest(self) -> Micros | None:
        return max((part.newest for part in self.stored.parts if part.newest is not None), default=None)

    @property
    def records(self) -> int:
        return sum(part.records for part in self.stored.parts)

    def after(self, number: int) -> StoredSegment:
        """For a reader that has had the parts up to a number."""
        skip = sum(part.records for part in self.stored.parts if part.number <= number)
        return replace(self.stored, skip=skip)


@dataclass
class Tables:
    """What a manifest holds. What stands in the dicts is never changed, so that a copy of them is a copy of all."""

    leases: dict[str, int] = field(default_factory=dict)
    positions: dict[Partition, StoredPosition] = field(default_factory=dict)
    ends: dict[Partition, int] = field(default_factory=dict)
    segments: dict[int, HeldSegment] = field(default_factory=dict)
    last_part: int = 0
    snapshots: dict[str, StoredSnapshot] = field(default_factory=dict)
    progress: dict[str, StoredProgress] = field(default_factory=dict)
    tallies: dict[tuple[str, TallyKey], int] = field(default_factory=dict)
    counts: dict[tuple[str, Status], int] = field(default_factory=dict)
    quarantine: dict[tuple[Partition, int], RecordQuarantined] = field(default_factory=dict)
    memories: dict[str, bytes] = field(default_factory=dict)
    decisions: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    jobs: dict[str, bytes] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    ledger: list[LedgerRow] = field(default_factory=list)

    def copy(self) -> Tables:
        return Tables(**{one.name: copy(getattr(self, one.name)) for one in fields(self)})

    def files(self) -> set[str]:
        return {held.stored.name for held in self.segments.values() if held.stored.content is None}

    def in_order(self) -> list[HeldSegment]:
        return [held for _, held in sorted(self.segments.items())]

    def counts_of(self, model: str) -> dict[Status, int]:
        return {status: n for (name, status), n in self.counts.items() if name == model}


class MemoryManifest:
    """One manifest in memory, for the worker's state and the controller's alike. May be used from several threads.

    Attributes:
        fail_at: called with `NAME.begin` before and `NAME.end` after each transaction became true, where NAME is
            claim, begin, commit, snapshot, take, put_job, append_ledger, ask, compact or remove; and with
            `commit.middle`.
    """

    def __init__(self, fail_at: Boundary = no_crash, identity: str | None = None) -> None:
        """A new manifest, told from others by its `identity`."""
        self.fail_at = fail_at
        self.identity = identity or secrets.token_hex(3)
        self._tables = Tables()
        self._lock = RLock()
        self._away = False

    def go_away(self) -> None:
        """From now on every call raises `Unreachable`."""
        self._away = True

    def come_back(self) -> None:
        """The outage is over; nothing was lost in it."""
        self._away = False

    @property
    def quarantined(self) -> Sequence[RecordQuarantined]:
        """Every record in quarantine, in order of topic, partition and offset."""
        return [one for _, one in sorted(self._tables.quarantine.items())]

    def reading(self) -> Tables:
        """What holds now. Not to be changed."""
        if self._away:
            raise Unreachable("the manifest in memory is away")
        return self._tables

    @contextmanager
    def writing(self, name: str, lease: Lease | None = None) -> Iterator[Tables]:
        """One transaction, refused unless the lease is held: all of it, or nothing."""
        with self._lock:
            tables = self.reading().copy()
            self.fail_at(f"{name}.begin")
            if lease is not None and tables.leases.get(lease.name) != lease.epoch:
                raise Fenced(f"{lease.name} is owned by a newer process than epoch {lease.epoch}")
            yield tables
            self._tables = tables
            self.fail_at(f"{name}.end")

    def claim(self, name: str) -> Lease:
        """Take a lease over."""
        with self.writing("claim") as tables:
            tables.leases[name] = tables.leases.get(name, 0) + 1
            return Lease(name=name, epoch=tables.leases[name], manifest=self.identity)

    def segments(self, after: int, reaching: Micros | None) -> Iterator[StoredSegment]:
        """The segments in order, each as it is when the reader comes to it."""
        end = self.reading().last_part
        while True:
            following = (held for held in self.reading().in_order() if held.stored.number > after and held.first <= end)
            held = next((one for one in following if _reaches(one, reaching)), None)
            if held is None:
                return
            yield held.after(after)
            after = held.stored.number


def add_row(table: dict[_Key, _Row], key: _Key, row: _Row, what: str) -> None:
    """Add a row; refused if there is one with the same key."""
    if key in table:
        raise Refused(f"the manifest holds this {what} already: {key}")
    table[key] = row


def _reaches(held: HeldSegment, reaching: Micros | None) -> bool:
    return reaching is None or (held.newest is not None and held.newest >= reaching)
