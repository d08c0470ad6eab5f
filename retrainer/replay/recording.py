"""What the service has stored of one model: tallies, who was champion, decisions, jobs and what people asked for."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from retrainer.domain.arrivals import PREDICTED
from retrainer.domain.decisions import Decision
from retrainer.domain.jobs import Job
from retrainer.domain.ledger import Act, LedgerRow, Reign, reign
from retrainer.domain.tallies import ARRIVALS, WHOLE, TallyKey
from retrainer.domain.values import Micros, Slot, slot_of, slot_start
from retrainer.errors import Refused
from retrainer.service.policy import ModelPolicy
from retrainer.stores import DecisionState, Request, SlotRange

Tallied = Sequence[tuple[TallyKey, int]]

_ALL = 1_000_000_000
"""More decisions than there are."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """Another version took the alias once the slots before `at` had been looked at; None: before all of them."""

    at: Slot | None
    reign: Reign


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Everything of one model, each part in order.

    Attributes:
        slots: what became known in each slot that held anything, without slices.
        first_open: slots before this one have closed.
        predicted: how many predictions had been made by the end of each of `slots`.
        changes: of champion.
    """

    model: str
    slots: tuple[tuple[Slot, Tallied], ...]
    first_open: Slot
    lateness: Micros
    predicted: tuple[int, ...]
    changes: tuple[Change, ...]
    decisions: tuple[Decision, ...]
    jobs: tuple[Job, ...]
    requests: tuple[Request, ...]

    @classmethod
    def of(cls, state: DecisionState, policy: ModelPolicy) -> Recording:
        """Read it. `policy` is the service's own.

        Raises:
            Unreachable: the database is away.
            Refused: nothing has been stored of the model, or nobody has looked yet who its champion is.
        """
        name = policy.name
        progress = state.model_progress().get(name)
        first_open = progress.progress.first_open if progress else None
        if first_open is None:
            raise Refused(f"nothing of {name} has been stored that could be replayed")
        news = state.news({name: SlotRange(None, first_open)}).get(name, ())
        slots = tuple((slot, tuple(held)) for slot, held in groupby(news, key=lambda tally: tally[0].slot))
        changes = tuple(_changes(state.ledger(name), policy.promotion.takes_effect))
        if not changes:
            raise Refused(f"nothing of {name} has been decided yet: its champion has not been looked up")
        return cls(
            model=name,
            slots=slots,
            first_open=first_open,
            lateness=policy.ingest.join.lateness,
            predicted=tuple(_running(slots)),
            changes=changes,
            decisions=tuple(state.decisions(name, _ALL)),
            jobs=tuple(state.jobs(name)),
            requests=tuple(state.requests(name, unanswered=False)),
        )

    @property
    def manifest(self) -> str:
        """What the ids of its jobs end with; empty where there is none."""
        for job in self.jobs:
            decided = "".join(c if c.isalnum() or c in "-_" else "-" for c in job.decision_id)
            if job.job_id.startswith(f"{decided}-"):
                return job.job_id[len(decided) + 1 :]
        return ""

    def tallies(self, first: Slot | None, before: Slot) -> list[tuple[TallyKey, int]]:
        """Those of the slots of a span."""
        numbers = [slot for slot, _ in self.slots]
        begin = 0 if first is None else bisect_left(numbers, first)
        return [tally for _, held in self.slots[begin : bisect_left(numbers, before)] for tally in held]

    def row_at(self, first_open: Slot) -> int:
        """The newest prediction that had been made before a slot, numbered from 0; -1: there was none."""
        at = bisect_left([slot for slot, _ in self.slots], first_open)
        return self.predicted[at - 1] - 1 if at else -1

    def wall(self, first_open: Slot) -> Micros:
        """When the slots before this one had closed, by the clock of the controller: as near as decisions tell it."""
        end, ends = slot_start(first_open), [one.slot_end for one in self.decisions]
        at = bisect_right(ends, end)
        if not at:
            plain = end + self.lateness
            return min(plain, self.decisions[0].decided_at) if self.decisions else plain
        last = self.decisions[at - 1]
        plain = last.decided_at + end - last.slot_end
        return min(plain, self.decisions[at].decided_at) if at < len(self.decisions) else plain

    def slot_at(self, wall: Micros) -> Slot:
        """The first slot that was open at a time by that clock, as near as decisions tell it."""
        known = [one for one in self.decisions if one.decided_at <= wall]
        later = [one.slot_end for one in self.decisions if one.decided_at > wall]
        plain = known[-1].slot_end + wall - known[-1].decided_at if known else wall - self.lateness
        return slot_of(min([plain, *later[:1]]))

    def taken_up(self, request: Request) -> Slot:
        """The first slot that was open when the controller took up what a person asked for."""
        answers = [one.slot_end for one in self.decisions if one.request == request.request_id]
        return slot_of(answers[0]) if answers else self.slot_at(request.asked_at)

    def was_catching_up(self, first_open: Slot) -> bool:
        """Whether reading was far behind the end of the topics, as far as a decision says so."""
        at = bisect_right([one.slot_end for one in self.decisions], slot_start(first_open))
        return bool(at) and self.decisions[at - 1].reason == "catching_up"


def _changes(rows: Sequence[LedgerRow], takes_effect: Micros) -> Iterator[Change]:
    """Each reign of the ledger. A promotion counts from some time after the watermark at which it was made."""
    for end, row in enumerate(rows, start=1):
        if row.act not in (Act.VERIFIED, Act.EXTERNAL):
            continue
        held = reign(rows[:end])
        if held is None:
            continue
        effective = held.effective_from
        delay = 0 if row.act is Act.EXTERNAL else takes_effect
        yield Change(at=None if effective is None else slot_of(effective - delay), reign=held)


def _running(slots: Sequence[tuple[Slot, Tallied]]) -> Iterator[int]:
    """Predictions up to the end of each slot; where nobody counted them, outcomes."""
    made = [sum(n for key, n in held if key.slice == ARRIVALS and key.truth == PREDICTED) for _, held in slots]
    if not any(made):
        made = [sum(n for key, n in held if key.slice == WHOLE) for _, held in slots]
    total = 0
    for n in made:
        total += n
        yield total


@dataclass(frozen=True)
class RecordedState:
    """What a decider reads of the state, as it was before anything was decided."""

    recording: Recording

    def memory(self, _: str) -> bytes | None:
        return None

    def jobs(self, _: str | None = None, *, unfinished: bool = False) -> Sequence[Job]:  # noqa: ARG002
        return ()

    def news(self, wanted: Mapping[str, SlotRange]) -> Mapping[str, Tallied]:
        return {name: self.recording.tallies(*span) for name, span in wanted.items()}
