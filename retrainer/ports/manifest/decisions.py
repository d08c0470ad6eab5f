"""What the controller keeps: decisions, jobs, the promotion ledger, and what people ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from retrainer.domain.deciding.decisions import Decision
from retrainer.domain.deciding.jobs import Job
from retrainer.domain.deciding.ledger import LedgerRow
from retrainer.domain.events import Side
from retrainer.domain.tally.arrivals import ArrivalKey
from retrainer.domain.tally.tallies import TallyKey
from retrainer.domain.values import Micros, Slot
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.manifest.progress import StoredProgress
from retrainer.ports.manifest.segments import StoredSegment


class RequestKind(StrEnum):
    """What people may ask for."""

    RETRAIN = "retrain"
    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asked for. `answer` is empty until it has been taken up.

    Attributes:
        kind: as it is stored; another version may have stored one that is no `RequestKind` of this one.
    """

    request_id: str
    model: str
    kind: str
    reason: str
    asked_at: Micros
    answer: str = ""


class SlotRange(NamedTuple):
    """Slots from `first` (inclusive; None: from the beginning) to `before` (exclusive)."""

    first: Slot | None
    before: Slot


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one round of deciding about a model makes true, or nothing of it."""

    lease: Lease
    model: str
    memory: bytes
    """The controller's memory of the model, as JSON."""
    decisions: Sequence[Decision] = ()
    jobs: Sequence[Job] = ()
    answers: Mapping[str, str] = field(default_factory=dict)
    """Request id to the id of the decision that answered it."""


class DecisionState(Protocol):
    """What the controller keeps: decisions, jobs, the promotion ledger. Any call may raise `Unreachable`."""

    def claim(self, name: str, owner: str, now: Micros) -> Lease: ...
    def model_progress(self) -> Mapping[str, StoredProgress]: ...
    def tallies(
        self, model: str, first: Slot | None, before: Slot, *, whole: bool = False
    ) -> Sequence[tuple[TallyKey, int]]:
        """The tallies of slots from `first` (inclusive; None: all) to `before` (exclusive); `whole`: of no slice."""
        ...

    def memory(self, model: str) -> bytes | None:
        """What the last step of the model left."""
        ...

    def arrivals(self, model: str, first: Slot | None, before: Slot) -> Sequence[tuple[ArrivalKey, int]]: ...

    def news(self, wanted: Mapping[str, SlotRange]) -> Mapping[str, Sequence[tuple[TallyKey, int]]]:
        """Outcomes and arrivals of several models, without slices, by slot; a model that has none is left out."""
        ...

    def side_counts(self) -> Mapping[str, Mapping[Side, int]]:
        """Each model's usable events: those that belong to it and are not in quarantine."""
        ...

    def store_steps(self, steps: Sequence[Step]) -> None:
        """All of them in one transaction; they have one lease.

        Raises:
            Fenced: another controller is active now.
        """
        ...

    def decisions(self, model: str, last: int) -> Sequence[Decision]:
        """The newest decisions, oldest of them first."""
        ...

    def jobs(self, model: str | None = None, *, unfinished: bool = False) -> Sequence[Job]:
        """Jobs in the order of their making."""
        ...

    def put_job(self, lease: Lease, job: Job) -> None:
        """Store a job's next state.

        Raises:
            Fenced: another controller is active now.
        """
        ...

    def append_ledger(self, lease: Lease, row: LedgerRow) -> LedgerRow:
        """Append a row; answers with its number filled in.

        Raises:
            Fenced: another controller is active now.
        """
        ...

    def ledger(self, model: str) -> Sequence[LedgerRow]: ...

    def ask(self, request: Request) -> None: ...

    def requests(self, model: str | None = None, *, unanswered: bool = True) -> Sequence[Request]: ...

    def segments(self, *, after: int = 0, reaching: Micros | None = None) -> Iterator[StoredSegment]: ...
