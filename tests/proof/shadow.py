"""What the manifest must hold, followed commit by commit with the slow join, and told from the events alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from retrainer.adapters.memory.manifest import Tables
from retrainer.domain.events import Label, Origin, Partition, Prediction, Record, Side
from retrainer.domain.join.fingerprints import fingerprint
from retrainer.domain.join.ingest import IngestPolicy, imbalance
from retrainer.domain.join.rules import Status
from retrainer.domain.tally.arrivals import DELAY, HIT, MISS, PREDICTED, ArrivalKey
from retrainer.domain.tally.tallies import ARRIVALS, WHOLE, TallyKey
from retrainer.domain.values import Micros, slot_of
from tests.domain.join.reference import ReferenceIndex
from tests.domain.oracle import expected, nonzero, outcomes_in, unslotted
from tests.proof.events import PATIENT, Event

Place = tuple[Partition, int]
"""Where a record stands: partition and offset."""


class Followed:
    """One model's share, event by event through the reference join: never restarted, nothing skipped."""

    def __init__(self, policy: IngestPolicy) -> None:
        self.policy = policy
        self.index = ReferenceIndex(policy.join, counting=policy.counting)
        self.counts: Counter[Status] = Counter()
        self.tallies: Counter[TallyKey] = Counter()
        self.facts: list[Prediction | Label] = []
        self.newest: dict[Partition, Micros] = {}
        self.watermark: Micros | None = None
        self.punctual = True
        """Whether nothing came for a slot that was closed."""

    def take(self, event: Event, origin: Origin) -> bool:
        """Take a record in; False if it cannot be used."""
        self.counts[event.side, "consumed"] += 1
        fact = event.fact(self.policy, origin)
        if isinstance(fact, str):
            self.counts[event.side, fact] += 1
            return fact != "quarantined"
        self.facts.append(fact)
        if self.index.first_open is not None and slot_of(fact.time) < self.index.first_open:
            self.punctual = False
        if isinstance(fact, Prediction):
            self.index.add_prediction(fact)
        else:
            self.index.add_label(fact)
        if event.tells_time:
            self.newest[event.partition] = max(fact.time, self.newest.get(event.partition, fact.time))
        return True

    def advance(self, watermark: Micros | None) -> None:
        if watermark is None or (self.watermark is not None and watermark <= self.watermark):
            return
        self.index.close_before(slot_of(watermark))
        self.watermark = watermark

    def sum_up(self) -> None:
        drained = self.index.drain()
        for status, n in drained.statuses.items():
            self.counts[status] += n
        for cell, n in drained.cells.items():
            self.tallies[cell] += n

    def farthest(self, behind: Sequence[Partition]) -> Micros | None:
        """How far the watermark may be, with more to read of some partitions."""
        if not self.newest or any(at not in self.newest for at in behind):
            return None
        return min([max(self.newest.values()), *(self.newest[at] for at in behind)]) - self.policy.join.lateness


class Shadow:
    """Sees every commit as it becomes true, and knows what each record meant."""

    def __init__(self) -> None:
        self.events: dict[Place, Event] = {}
        self.parts: dict[int, Sequence[Place]] = {}
        self.newest: dict[int, Micros] = {}
        """The newest event time of each part, to the models that there were when it was read."""
        self.models: dict[str, Followed] = {}
        self.quarantined: set[Place] = set()
        self.commits = 0
        self.is_over = False
        """Whether what comes now is so late that the patient models forget the story."""
        self._before = Tables()

    def see(self, tables: Tables, records: Mapping[int, Sequence[Record]], models: Sequence[IngestPolicy]) -> None:
        """One commit by a worker with these models; `records` are those of the new parts."""
        self.commits += 1
        assert len(records) <= 1, "one commit has one segment"
        new = [(one.partition, one.offset) for part in records.values() for one in part]
        for policy in models:
            stored, before = tables.progress[policy.model], self._before.progress.get(policy.model)
            assert stored.fingerprint == fingerprint(policy), "what is stored was computed with another mapping"
            if before is None or before.fingerprint != stored.fingerprint:
                self._begin(policy)
            for part in (part for held in tables.in_order() for part in held.stored.parts if part.number in records):
                mark = self.models[policy.model].watermark
                assert part.watermarks.get(policy.model) == mark, f"{policy.model}: the watermark while it was read"
            self._follow(policy.model, new, tables)
        for number in records:
            self.parts[number], self.newest[number] = new, self._newest_of(new, models)
        self._before = tables

    def _begin(self, policy: IngestPolicy) -> None:
        """Computed anew from every segment, as if everything had come in time."""
        held = self.models.get(policy.model)
        followed = self.models[policy.model] = Followed(policy)
        for _, part in sorted(self.parts.items()):
            for place in part:
                followed.take(self.events[place], _origin(place))
        followed.advance(held.watermark if held else None)

    def _follow(self, model: str, new: Sequence[Place], tables: Tables) -> None:
        followed = self.models[model]
        for place in new:
            if not followed.take(self.events[place], _origin(place)):
                self.quarantined.add(place)
        behind = [at for at, stored in tables.positions.items() if stored.position < tables.ends.get(at, 0)]
        limit, mark = followed.farthest(behind), tables.progress[model].progress.watermark
        known = [one for one in (limit, followed.watermark) if one is not None]
        assert mark is None or (known and mark <= max(known)), f"{model}: the watermark is ahead of the events"
        assert followed.watermark is None or (mark is not None and mark >= followed.watermark), "it went back"
        followed.advance(mark)
        followed.sum_up()

    def compare(self, tables: Tables) -> None:
        """Assert that the manifest holds exactly what the commits come to."""
        assert set(tables.quarantine) == self.quarantined, "quarantine"
        for name, followed in self.models.items():
            counts, tallies = nonzero(tables.counts_of(name)), _tallies(tables, name)
            assert not imbalance(counts), f"{name}: conservation"
            _same(f"{name}: counts", counts, followed.counts)
            _same(f"{name}: tallies", tallies, followed.tallies)
            stored = tables.progress[name]
            assert not (followed.punctual and stored.moved), f"{name}: outcomes moved to an open slot"
            assert stored.progress.first_open == followed.index.first_open, f"{name}: closed slots"
            _check_sums(name, counts, tallies, followed.facts)
            _check_arrivals(name, counts, tallies)
            if name in PATIENT and not self.is_over:
                self._compare_ideal(name, counts, outcomes_in(tallies))

    def _compare_ideal(self, name: str, counts: Counter[Status], tallies: Counter[TallyKey]) -> None:
        """Against the oracle that knows neither commits nor order."""
        followed = self.models[name]
        ideal = expected(followed.policy.join, followed.facts, first_open=followed.index.first_open)
        _same(f"{name}: counts by the set of events", counts, _with_unused(ideal.counts, followed.counts))
        _same(f"{name}: tallies by the set of events", unslotted(tallies), unslotted(ideal.tallies))
        if followed.punctual:
            _same(f"{name}: tallies by slot by the set of events", tallies, ideal.tallies)

    def compare_forgotten(self, tables: Tables, lasting: Sequence[str]) -> None:
        """Assert it of the patient models once every horizon has passed, but for some ids that came last."""
        for name in PATIENT & self.models.keys():
            followed = self.models[name]
            gone = [fact for fact in followed.facts if fact.id not in lasting]
            last = [fact for fact in followed.facts if fact.id in lasting]
            ideal = expected(followed.policy.join, gone, forgotten=True)
            now = expected(followed.policy.join, last, first_open=followed.index.first_open)
            counts = _with_unused(ideal.counts + now.counts, followed.counts)
            tallies = unslotted(ideal.tallies) + unslotted(now.tallies)
            _same(f"{name}: counts when all is forgotten", nonzero(tables.counts_of(name)), counts)
            _same(f"{name}: tallies when all is forgotten", unslotted(outcomes_in(_tallies(tables, name))), tallies)

    def _newest_of(self, part: Sequence[Place], models: Sequence[IngestPolicy]) -> Micros:
        """The newest event time of a part that any of the models can use; 0 if there is none."""
        facts = [self.events[place].fact(policy, _origin(place)) for place in part for policy in models]
        return max((fact.time for fact in facts if not isinstance(fact, str)), default=0)

    def forget(self, up_to: int) -> None:
        """Parts before this one are gone from the manifest."""
        self.parts = {number: part for number, part in self.parts.items() if number >= up_to}


def _check_sums(
    name: str, counts: Counter[Status], tallies: Counter[TallyKey], facts: Sequence[Prediction | Label]
) -> None:
    """What holds whatever was late or forgotten."""
    known = counts[Side.PREDICTIONS, "joined"] + counts[Side.PREDICTIONS, "implied"]
    assert sum(n for key, n in tallies.items() if key.slice == WHOLE) == known, f"{name}: each outcome once"
    assert known <= sum(isinstance(fact, Prediction) for fact in facts), f"{name}: more outcomes than predictions"
    assert all(n >= 0 for n in counts.values()), f"{name}: a count below zero"
    assert all(n >= 0 for n in unslotted(tallies).values()), f"{name}: a tally below zero"


def _check_arrivals(name: str, counts: Counter[Status], tallies: Counter[TallyKey]) -> None:
    """Each prediction has arrived once, each outcome too."""
    kinds: Counter[str] = Counter()
    for key, n in tallies.items():
        if key.slice == ARRIVALS:
            kinds[ArrivalKey.of(key).kind] += n
    known = counts[Side.PREDICTIONS, "joined"] + counts[Side.PREDICTIONS, "implied"]
    unknown = counts[Side.PREDICTIONS, "pending"] + counts[Side.PREDICTIONS, "unlabelled"]
    assert kinds[HIT] + kinds[MISS] == kinds[DELAY] == known, f"{name}: each outcome arrives once"
    assert kinds[PREDICTED] == known + unknown, f"{name}: each prediction arrives once"


def _tallies(tables: Tables, model: str) -> Counter[TallyKey]:
    return nonzero({key: n for (name, key), n in tables.tallies.items() if name == model})


def _with_unused(counts: Counter[Status], known: Mapping[Status, int]) -> Counter[Status]:
    """With the records that never became events."""
    unused = Counter({status: n for status, n in known.items() if status[1] in {"filtered", "quarantined"}})
    consumed: Counter[Status] = Counter()
    for (side, _), n in unused.items():
        consumed[side, "consumed"] += n
    return nonzero(counts + unused + consumed)


def _same(what: str, found: Counter[Any], wanted: Counter[Any]) -> None:
    off = {key: (found[key], wanted[key]) for key in {*found, *wanted} if found[key] != wanted[key]}
    assert not off, f"{what} (found, wanted): {off}"


def _origin(place: Place) -> Origin:
    (topic, number), offset = place
    return Origin(topic, number, offset)
