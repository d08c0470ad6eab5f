"""Rounds of deciding: what is new about every model, what each decider makes of it, all of it stored at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retrainer.domain.deciding.jobs import Job
from retrainer.domain.deciding.ledger import Reign
from retrainer.domain.values import Micros, Slot
from retrainer.ports.manifest.decisions import DecisionState, Request, SlotRange
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.manifest.progress import StoredProgress
from retrainer.service.control.deciding import Decider, DecisionRound, News
from retrainer.service.control.drift_watch import DriftWatch
from retrainer.service.policy import ModelPolicy


@dataclass(frozen=True, kw_only=True)
class Present:
    """What is known when a round begins: the champions that are known, each model's progress, and what people ask."""

    now: Micros
    reigns: Mapping[str, Reign]
    progress: Mapping[str, StoredProgress]
    requests: Sequence[Request]

    def first_open(self, name: str) -> Slot | None:
        """The first slot of a model that is still open; None of one that nothing is known of."""
        return self.progress[name].progress.first_open if name in self.progress else None

    def is_behind(self, name: str) -> bool:
        """Whether what is known of a model is far behind the end of its topics."""
        return name in self.progress and self.progress[name].catching_up


class Rounds:
    """Decides about every model whose champion is known."""

    def __init__(
        self, models: Mapping[str, ModelPolicy], state: DecisionState, lease: Lease, drift: DriftWatch | None
    ) -> None:
        self._models = models
        self._state = state
        self._lease = lease
        self._drift = drift
        self._deciders: dict[str, Decider] = {}

    def run_once(self, present: Present) -> Mapping[str, DecisionRound]:
        """One round; what it came to, by model, is stored in one transaction.

        Raises:
            Unreachable: nothing of it is stored; the next round makes it anew.
            Fenced: another controller is active now.
        """
        # Put back only once the round is stored; a decider knows too much otherwise, and is made from what is stored.
        known, self._deciders = self._deciders, {}
        deciders = {name: known.get(name) or self._made(name) for name in present.reigns}
        wanted = self._wanted(deciders, present)
        news = self._news(wanted, present)
        rounds = {name: decider.deliberate(news[name]) for name, decider in deciders.items()}
        self._state.store_steps([step for _, step in rounds.values() if step is not None])
        for decider in deciders.values():
            decider.stored()
        self._deciders = deciders
        return {name: found for name, (found, _) in rounds.items()}

    def job_changed(self, job: Job) -> None:
        """A job has taken a step; the guards of its model look at it."""
        if job.model in self._deciders:
            self._deciders[job.model].job_changed(job)

    def outcomes(self, name: str) -> int:
        """How many outcomes of a model are known; 0 during a round. Jobs ask from threads of their own."""
        decider = self._deciders.get(name)  # looked up once: a round may empty the mapping at any moment
        return decider.memory.total if decider is not None else 0

    def _made(self, name: str) -> Decider:
        return Decider(self._models[name], self._state, self._lease, self._drift)

    def _wanted(self, deciders: Mapping[str, Decider], present: Present) -> Mapping[str, SlotRange]:
        """The slots that each decider wants to see, of those that want any."""
        wanted: dict[str, SlotRange] = {}
        for name, decider in deciders.items():
            slots = decider.wants(present.reigns[name], present.first_open(name), catching_up=present.is_behind(name))
            if slots is not None:
                wanted[name] = slots
        return wanted

    def _news(self, wanted: Mapping[str, SlotRange], present: Present) -> Mapping[str, News]:
        tallies, asked = self._state.news(wanted), _by_model(present.requests)
        return {
            name: News(
                reign=reign,
                now=present.now,
                slots=wanted.get(name),
                tallies=tallies.get(name, ()),
                requests=asked.get(name, ()),
                catching_up=present.is_behind(name),
            )
            for name, reign in present.reigns.items()
        }


def _by_model(requests: Sequence[Request]) -> Mapping[str, list[Request]]:
    found: dict[str, list[Request]] = {}
    for request in requests:
        found.setdefault(request.model, []).append(request)
    return found
