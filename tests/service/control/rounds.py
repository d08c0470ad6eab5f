"""Rounds of deciding, the worker's part played by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from retrainer.domain.deciding.decisions import Decision
from retrainer.domain.deciding.jobs import Job, JobState
from retrainer.domain.deciding.ledger import Reign
from retrainer.domain.join.ingest import ModelDelta, Progress
from retrainer.domain.tally.tallies import WHOLE, TallyKey
from retrainer.domain.values import Slot, slot_of, slot_start
from retrainer.ports.manifest.decisions import Request
from retrainer.ports.manifest.ingest import Flush
from retrainer.service.control.deciding import Decider, DecisionRound, News
from retrainer.service.policy import ModelPolicy
from tests.service.controlling import model
from tests.service.world import World, at

FIRST = slot_of(at(0))
CHAMPION = Reign(version="1", effective_from=None)


class Deciding:
    """A decider with the worker's part played by hand. `now` is wall time."""

    def __init__(self, policy: ModelPolicy | None = None, world: World | None = None) -> None:
        self.policy = policy or model()
        self.world = world or World()
        self.state = self.world.decisions
        self.reign = CHAMPION
        self.rounds: list[DecisionRound] = []
        self.first_open: Slot | None = None
        self.catching_up = False
        self._ingest = self.world.state.claim("ingest", "test", 0)
        self._known = False
        self.restart()

    def restart(self) -> None:
        """Another process goes on from what is stored."""
        self.lease = self.state.claim("controller", "test", 0)
        self.decider = Decider(self.policy, self.state, self.lease)

    def outcomes(self, minute: int, right: int = 0, wrong: int = 0, version: str = "1") -> None:
        """Outcomes that became known in a minute, which has closed since."""
        slot = FIRST + minute
        cells = {
            TallyKey(version, WHOLE, slot, "late", "late"): right,
            TallyKey(version, WHOLE, slot, "late", "on_time"): wrong,
        }
        self.store({key: n for key, n in cells.items() if n}, max(slot + 1, self.first_open or 0))

    def store(self, cells: Mapping[TallyKey, int], first_open: Slot) -> None:
        """What the worker commits."""
        self.first_open = first_open
        progress = Progress(watermark=slot_start(first_open), first_open=first_open)
        delta = ModelDelta(model=self.policy.name, progress=progress, tallies=cells, counts={})
        rebuilt = {} if self._known else {self.policy.name: "print"}
        self._known = True
        self.world.state.commit(
            Flush(lease=self._ingest, at=0, moves={}, segment=None, deltas=[delta], rebuilt=rebuilt)
        )

    def ask(self, kind: str = "retrain", reason: str = "because") -> Request:
        """A person asks."""
        number = len(self.state.requests(unanswered=False)) + 1
        request = Request(request_id=f"{kind}-{number}", model=self.policy.name, kind=kind, reason=reason, asked_at=0)
        self.state.ask(request)
        return request

    def round(self) -> DecisionRound:
        """One round, as the controller does it."""
        wanted = self.decider.wants(self.reign, self.first_open, catching_up=self.catching_up)
        news = News(
            reign=self.reign,
            now=self.world.clock.now(),
            slots=wanted,
            tallies=self.state.news({self.policy.name: wanted}).get(self.policy.name, ()) if wanted else (),
            requests=self.state.requests(self.policy.name),
            catching_up=self.catching_up,
        )
        done, step = self.decider.deliberate(news)
        self.state.store_steps([step] if step else [])
        self.decider.stored()
        self.rounds.append(done)
        return done

    def end_job(self, state: JobState = JobState.ACCEPTED, **changes: Any) -> Job:
        """The job under way ends."""
        (job,) = self.state.jobs(unfinished=True)
        ended = replace(job, state=state, ended_at=self.world.clock.now(), **changes)
        self.state.put_job(self.lease, ended)
        self.decider.job_changed(ended)
        return ended

    def bad(self, minute: int = 10) -> DecisionRound:
        """Ten outcomes of which too few are right, and a round."""
        self.outcomes(minute, right=5, wrong=5)
        return self.round()

    @property
    def decisions(self) -> Sequence[Decision]:
        return self.state.decisions(self.policy.name, 1000)

    @property
    def told(self) -> list[tuple[str, str]]:
        """Every decision's outcome and reason."""
        return [(decision.outcome.value, decision.reason) for decision in self.decisions]
