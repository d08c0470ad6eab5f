"""What the service has stored of one model: tallies, who was champion, decisions, jobs and what people asked for."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from retrainer.domain.deciding.decisions import Decision
from retrainer.domain.deciding.jobs import Job
from retrainer.domain.deciding.ledger import Act, LedgerRow, Reign, reign
from retrainer.domain.tally.arrivals import PREDICTED
from retrainer.domain.tally.tallies import ARRIVALS, WHOLE, TallyKey
from retrainer.domain.values import Micros, Slot, slot_of, slot_start
from retrainer.errors import Refused
from retrainer.ports.manifest.decisions import DecisionState, Request, SlotRange
from retrainer.service.policy import ModelPolicy

Tallied = Sequence[tuple[TallyKey, int]]

_ALL = 1_000_000_000
"""More decisions than there are."""


@dataclass(frozen=True, kw_only=True)
class AliasMove:
    """Another version took the alias once the slots before `at` had been looked at; None: before all of them."""

    at: Slot | None
    reign: Reign


@dataclass(frozen=True, kw_only=True)
class Recording:
    """Everything of one model, each part in order.

    Attributes:
        source: what it was read from, in words.
        slots: what became known in each slot that held anything, without slices.
        first_open: slots before this one have closed.
        cuts: the first open slot as it was each time that the worker stored something.
        predicted: how many predictions had been made by the end of each of `slots`.
        changes: of champion.
    """

    model: str
    source: str
    slots: tuple[tuple[Slot, Tallied], ...]
    first_open: Slot
    cuts: tuple[Slot, ...]
    lateness: Micros
    predicted: tuple[int, ...]
    changes: tuple[AliasMove, ...]
    decisions: tuple[Decision, ...]
    jobs: tuple[Job, ...]
    requests: tuple[Request, ...]

    @classmethod
    def of(
        cls,
        state: DecisionState,
        policy: ModelPolicy,
        changes: Callable[[Recording], Iterable[AliasMove]] | None = None,
    ) -> Recording:
        """Read it. `policy` is the service's own.

        Args:
            changes: who was champion, where no ledger says so.

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
        ledger = tuple(_changes(state.ledger(name), policy.promotion.takes_effect))
        found = cls(
            model=name,
            source="what the service has stored",
            slots=slots,
            first_open=first_open,
            cuts=tuple(sorted({*_cuts(state, name), first_open})),
            lateness=policy.ingest.join.lateness,
            predicted=tuple(_running(slots)),
            changes=ledger,
            decisions=tuple(state.decisions(name, _ALL)),
            jobs=tuple(state.jobs(name)),
            requests=tuple(state.requests(name, unanswered=False)),
        )
        found = found if changes is None else replace(found, changes=tuple(changes(found)))
        if not found.changes:
            raise Refused(f"nothing tells who the champion of {name} was")
        return found

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
        end, known = slot_start(first_open), self.decisions
        at = bisect_right([one.slot_end for one in known], end)
        if not at:
            return min([end + self.lateness, *(one.decided_at for one in known[:1])])
        last, following = known[at - 1], known[at] if at < len(known) else None
        if following is None:
            return last.decided_at + end - last.slot_end
        share = (end - last.slot_end) / (following.slot_end - last.slot_end)
        return last.decided_at + round(share * (following.decided_at - last.decided_at))

    def slot_at(self, wall: Micros) -> Slot:
        """The first slot that was open in the round at that time or the next one, as near as decisions tell it.

        What the worker stores at a time is what a round of the controller gets to see.
        """
        known = self.decisions
        at = bisect_right([one.decided_at for one in known], wall)
        last, following = known[at - 1] if at else None, known[at] if at < len(known) else None
        if last is None:
            plain = float(wall - self.lateness)
        elif following is None:
            plain = last.slot_end + wall - last.decided_at
        else:
            share = (wall - last.decided_at) / (following.decided_at - last.decided_at)
            plain = last.slot_end + share * (following.slot_end - last.slot_end)
        slot = slot_of(int(plain))
        cut = bisect_left(self.cuts, slot)
        return self.cuts[cut] if cut < len(self.cuts) else slot

    def taken_up(self, request: Request) -> Slot:
        """The first slot that was open when the controller took up what a person asked for."""
        answers = [one.slot_end for one in self.decisions if one.request == request.request_id]
        return slot_of(answers[0]) if answers else self.slot_at(request.asked_at)

    def was_catching_up(self, first_open: Slot) -> bool:
        """Whether reading was far behind the end of the topics, as far as a decision says so."""
        at = bisect_right([one.slot_end for one in self.decisions], slot_start(first_open))
        return bool(at) and self.decisions[at - 1].reason == "catching_up"


def _cuts(state: DecisionState, model: str) -> Iterator[Slot]:
    for segment in state.segments():
        yield from (slot_of(part.watermarks[model]) for part in segment.parts if model in part.watermarks)


def _changes(rows: Sequence[LedgerRow], takes_effect: Micros) -> Iterator[AliasMove]:
    """Each reign of the ledger. A promotion counts from some time after the watermark at which it was made."""
    for end, row in enumerate(rows, start=1):
        if row.act not in (Act.VERIFIED, Act.EXTERNAL):
            continue
        held = reign(rows[:end])
        if held is None:
            continue
        effective = held.effective_from
        delay = 0 if row.act is Act.EXTERNAL else takes_effect
        yield AliasMove(at=None if effective is None else slot_of(effective - delay), reign=held)


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
