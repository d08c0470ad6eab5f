"""A model whose values are scores or numbers, from the bytes of records to the tallies: exact, and small in memory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.adapters.decoding import TopicDecoders
from retrainer.domain.answers import Task
from retrainer.domain.batches import batches_of
from retrainer.domain.events import Partition, Record, Side
from retrainer.domain.join import table as index_module
from retrainer.domain.join.ingest import IngestPolicy, ModelIngest, Progress, Remembered
from retrainer.domain.join.rules import JoinPolicy
from retrainer.domain.mapping.mapping import EventMapping, Field
from retrainer.domain.mapping.scores import scored
from retrainer.domain.mapping.slices import SlicePolicy
from retrainer.domain.tally.arrivals import HIT, MISS, PREDICTED, ArrivalKey
from retrainer.domain.tally.measures import POSITIVES, SCORED, SUM, N, Scores, cells_from, expansion, sums
from retrainer.domain.tally.tallies import ARRIVALS, WHOLE, TallyKey
from retrainer.service.intake import Intake
from tests.domain.making import MINUTE, NOON, thorough
from tests.domain.oracle import nonzero, outcomes_in

PREDICTIONS, LABELS = Partition("predictions", 0), Partition("labels", 0)
JOIN = JoinPolicy(max_delay=10 * MINUTE, lateness=MINUTE)


def policy_of(scores: Scores = "none", positive: str | None = None, task: Task = "classification") -> IngestPolicy:
    labels = EventMapping(
        topic="labels",
        id=(Field(paths=("id",)),),
        time=Field(paths=("time",), unit="us"),
        value=Field(paths=("value",)),
        task=task,
    )
    predictions = replace(
        labels,
        topic="predictions",
        score=Field(paths=("score",)),
        scores=scores,
        positive=positive,
        slices=(SlicePolicy(name="carrier"),),
    )
    return IngestPolicy(model="m", predictions=predictions, labels=labels, join=JOIN)


class Fed:
    """A model that is fed records, and what it has stored."""

    def __init__(self, policy: IngestPolicy, remembered: Remembered | None = None) -> None:
        self.model = ModelIngest(policy, [PREDICTIONS, LABELS], Progress(), remembered)
        self.tallies: Counter[TallyKey] = Counter()
        self.counts: Counter[tuple[Side, str]] = Counter()
        self.reasons: list[str] = []
        self._intake = Intake(TopicDecoders(), [self.model])

    def take(self, records: Sequence[Record]) -> Fed:
        for batch in batches_of(records):
            self.reasons += self._intake.ingest(batch).values()
        return self

    def drain(self) -> Fed:
        delta = self.model.take_delta()
        self.tallies.update(delta.tallies)
        self.counts.update(delta.counts)
        return self

    @property
    def whole(self) -> Counter[tuple[str, str]]:
        """The cells of every outcome."""
        cells: Counter[tuple[str, str]] = Counter()
        for key, n in self.drain().tallies.items():
            if key.slice == WHOLE:
                cells[key.truth, key.answer] += n
        return nonzero(cells)


def record(at: Partition, offset: int, **document: Any) -> Record:
    return Record(at, offset, document["time"] // 1000, None, json.dumps(document).encode())


def prediction(key: int, value: object, score: object = None, *, minute: float = 0, **more: Any) -> Record:
    time = NOON + int(minute * MINUTE)
    return record(PREDICTIONS, key, id=key, time=time, value=value, score=score, **more)


def label(key: int, value: object, *, minute: float = 0) -> Record:
    return record(LABELS, key, id=key, time=NOON + int(minute * MINUTE), value=value)


CHANCES = st.floats(0, 1) | st.fixed_dictionaries({"a": st.floats(0, 1), "b": st.floats(0, 1)}) | st.none()
ROWS = st.lists(
    st.tuples(st.sampled_from("ab"), CHANCES, st.sampled_from("abc"), st.sampled_from(["AA", "UA", None])), max_size=12
)


@thorough
@given(ROWS, st.sampled_from(["binned", "exact"]), st.sampled_from([None, "a"]), st.data())
def test_its_tallies_are_those_of_the_rows(
    rows: list[tuple[str, Any, str, str | None]], scores: Scores, positive: str | None, data: st.DataObject
) -> None:
    """Whatever the order and the batches, and wherever it is drained in between; of each slice too."""
    expand = expansion("classification", scores=scores, positive=positive)
    events = [prediction(n, answer, score, carrier=part) for n, (answer, score, _, part) in enumerate(rows)]
    events += [label(n, truth) for n, (_, _, truth, _) in enumerate(rows)]
    events = data.draw(st.permutations(events))
    fed = Fed(policy_of(scores, positive))
    while events:
        size = data.draw(st.integers(1, 10))
        fed.take(events[:size])
        events = events[size:]
        if data.draw(st.booleans()):
            fed.drain()
    assert fed.reasons == []
    told = [scored(answer, score, scores, positive) for answer, score, _, _ in rows]
    assert fed.whole == nonzero(cells_from("classification", [truth for _, _, truth, _ in rows], told, expand))
    for part in ("AA", "UA"):
        own = [n for n, row in enumerate(rows) if row[3] == part]
        cells = cells_from("classification", [rows[n][2] for n in own], [told[n] for n in own], expand)
        found = {
            (key.truth, key.answer): n for key, n in nonzero(fed.tallies).items() if key.slice == f"carrier={part}"
        }
        assert found == nonzero(cells)


def test_what_is_no_score_is_an_outcome_without_one() -> None:
    unusable: list[object] = [None, "0.5", 1.5, -1, True, [], {}, {"a": "x"}]
    fed = Fed(policy_of("exact", "a"))
    fed.take([prediction(n, "a", score) for n, score in enumerate(unusable)])
    fed.take([prediction(len(unusable), "a", 0.75)])
    fed.take([label(n, "a") for n in range(len(unusable) + 1)])
    assert fed.reasons == []
    assert fed.whole["a", "a"] == len(unusable) + 1
    assert sums(fed.whole)[SCORED] == 1


def test_without_being_told_to_it_reads_no_scores() -> None:
    fed = Fed(policy_of("none", "a")).take([prediction(1, "a", 0.75), label(1, "a")])
    assert fed.whole == {("a", "a"): 1}


@pytest.mark.parametrize("value", ["\x1fsum", "a\x1f0.5"])
@pytest.mark.parametrize("scores", ["none", "binned", "exact"])
def test_no_class_can_be_taken_for_something_else(value: str, scores: Scores) -> None:
    fed = Fed(policy_of(scores)).take([prediction(1, value, 0.5), prediction(2, value), label(3, value)])
    assert [reason.partition(":")[0] for reason in fed.reasons] == ["prediction", "prediction", "label"]
    assert all("expected a class without the control character" in reason for reason in fed.reasons)


class TestNumbers:
    def test_numbers_and_texts_of_numbers_are_outcomes(self) -> None:
        fed = Fed(policy_of(task="regression"))
        fed.take([prediction(1, 3), prediction(2, "3.5"), prediction(3, -1e-7), prediction(4, "nan")])
        fed.take([label(1, "4.0"), label(2, 3.5), label(3, 0), label(5, True), label(6, "five"), label(7, None)])
        assert sums(fed.whole)[N] == 3
        assert sums(fed.whole)["e"] == pytest.approx(1 + 1e-7)
        assert sorted(fed.reasons) == [
            "label: expected a finite number, got 'five'",
            "label: expected a finite number, got 'true'",
            "label: nothing at value",
            "prediction: expected a finite number, got 'nan'",
        ]

    def test_they_are_in_slices_too(self) -> None:
        fed = Fed(policy_of(task="regression"))
        fed.take([prediction(1, 3, carrier="AA"), prediction(2, 3, carrier="UA"), label(1, 4), label(2, 5)]).drain()
        errors = {key.slice: n for key, n in fed.tallies.items() if (key.truth, key.answer) == (SUM, N)}
        assert errors == {WHOLE: 2, "carrier=AA": 1, "carrier=UA": 1}

    def test_predictions_and_labels_are_of_one_task(self) -> None:
        policy = policy_of(task="regression")
        with pytest.raises(ValueError, match="of one task"):
            replace(policy, labels=replace(policy.labels, task="classification"))


@pytest.mark.parametrize(
    ("policy", "draining"),
    [
        (policy_of("exact", "a"), True),
        (policy_of("exact", "a"), False),
        (policy_of(task="regression"), True),
        (policy_of(task="regression"), False),
    ],
    ids=["scores", "scores, never drained", "numbers", "numbers, never drained"],
)
def test_values_that_all_differ_do_not_pile_up(
    policy: IngestPolicy, draining: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long run: the codes stay few, the figures exact, whether or not a commit comes in between."""
    monkeypatch.setattr(index_module, "_SPARE_VALUES", 100)
    chance, fed = Random(7), Fed(policy)
    labels, values, most = [], [], 0
    for minute in range(0, 300, 5):
        keys = range(20 * minute, 20 * minute + 100)
        found = [(chance.choice("ab"), chance.random(), chance.choice("ab")) for _ in keys]
        if policy.task == "regression":
            found = [(str(score), score, str(chance.random())) for _, score, _ in found]
        fed.take([prediction(key, value, one, minute=minute) for key, (value, one, _) in zip(keys, found, strict=True)])
        fed.take([label(key, truth, minute=minute + 1) for key, (_, _, truth) in zip(keys, found, strict=True)])
        fed.model.advance_to(NOON + minute * MINUTE)
        if draining:
            fed.drain()
        most = max(most, len(fed.model.table.values))
        labels += [truth for _, _, truth in found]
        values += [
            scored(value, one, "exact", "a") if policy.task == "classification" else value for value, one, _ in found
        ]
    assert fed.reasons == []
    assert most < 2000 < len(values)
    assert fed.model.table.values.generation > 3
    assert fed.whole == nonzero(cells_from(policy.task, labels, values, policy.counting.expand))
    kinds: Counter[str] = Counter()
    for key, n in fed.tallies.items():
        if key.slice == ARRIVALS:
            kinds[ArrivalKey.of(key).kind] += n
    assert kinds[HIT] + kinds[MISS] == kinds[PREDICTED] == len(values)
    assert len(outcomes_in(fed.tallies)) < len(fed.tallies)


def test_it_goes_on_from_a_snapshot_of_few_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions made before and joined after; the codes in the snapshot are those that were left."""
    monkeypatch.setattr(index_module, "_SPARE_VALUES", 10)
    policy = policy_of("exact", "a")
    first = Fed(policy)
    first.take([prediction(n, "a", n / 1000) for n in range(100)]).model.advance_to(NOON + 20 * MINUTE)
    first.take([prediction(n, "a", n / 1000, minute=15) for n in range(100, 200)]).drain()
    remembered = first.model.remember()
    assert 100 <= len(remembered.table.values) < 150
    again = Fed(policy, remembered)
    again.take([label(n, "a", minute=16) for n in range(100, 200)])
    told = [scored("a", n / 1000, "exact", "a") for n in range(100, 200)]
    assert again.whole == nonzero(cells_from("classification", ["a"] * 100, told, policy.counting.expand))
    assert sum(n for cell, n in again.whole.items() if cell[0] == POSITIVES and not cell[1].startswith("c")) == 100
