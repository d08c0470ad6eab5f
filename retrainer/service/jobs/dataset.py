"""The rows that a candidate learns from: mature outcomes known by the decision's slot, read back from segments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from retrainer.domain.answers import answer_of, score_of
from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import Prediction, Side
from retrainer.domain.join.ingest import IngestPolicy
from retrainer.domain.join.rules import Entry, outcome_of, with_label, with_prediction
from retrainer.domain.judging.order import RowsPolicy
from retrainer.domain.lateness.coverage import mature_place
from retrainer.domain.mapping.mapping import Envelope, Unusable, features_of, label_of, matches, prediction_of
from retrainer.domain.values import SLOT_WIDTH, Micros, slot_of
from retrainer.ports.decoder import Decoders
from retrainer.ports.manifest.decisions import DecisionState
from retrainer.ports.manifest.segments import StoredPart
from retrainer.ports.segments import Segments
from retrainer.ports.training import DatasetRow, Datasets
from retrainer.service.intake import document_of
from retrainer.service.policy import ModelPolicy
from retrainer.service.reading import read_parts


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A written dataset, and what a reader of the logs wants to know about it."""

    rows: int
    digest: str
    first: Micros
    last: Micros
    mature_after: Micros


@dataclass(frozen=True, kw_only=True)
class DatasetBuilder:
    """Reads segments back and joins them as the worker did, with features this time."""

    state: DecisionState
    segments: Segments
    decoders: Decoders
    datasets: Datasets

    def build(self, policy: ModelPolicy, known_by: Micros, path: Path, after: Micros | None = None) -> Dataset | None:
        """Write the dataset of a decision; None if there is not a single row.

        With `after`, all mature rows that were predicted from then on, whatever the policy for rows says.
        """
        collected = _Collected(policy.ingest, known_by)
        for envelope in self._envelopes(policy, known_by, after):
            collected.add(envelope)
        rows = [row for row in collected.outcomes() if after is None or row.predicted_at >= after]
        mature_after = policy.mature_after if policy.mature_after is not None else collected.mature_after()
        chosen = select(policy.recipe.rows if after is None else RowsPolicy(kind="all"), rows, known_by, mature_after)
        if not chosen:
            return None
        return Dataset(
            rows=len(chosen),
            digest=self.datasets.write(path, chosen),
            first=chosen[0].predicted_at,
            last=chosen[-1].predicted_at,
            mature_after=mature_after,
        )

    def _parts(self, policy: ModelPolicy, oldest: Micros | None) -> Iterator[tuple[StoredPart, Sequence[RecordBatch]]]:
        """The parts that may hold what is needed. Those that the model was rebuilt from were read before it knew them:
        how new they are was judged with other eyes, so they are all read."""
        stored = self.state.model_progress().get(policy.ingest.model)
        rebuilt_to = stored.rebuilt_to if stored else 0
        if rebuilt_to:
            whole = read_parts(self.state, self.segments)
            yield from takewhile(lambda found: found[0].number <= rebuilt_to, whole)
        yield from read_parts(self.state, self.segments, after=rebuilt_to, reaching=oldest)

    def _envelopes(self, policy: ModelPolicy, known_by: Micros, after: Micros | None) -> Iterator[Envelope]:
        oldest = _oldest_needed(policy, known_by) if after is None else after - policy.ingest.join.horizon
        for _, batches in self._parts(policy, oldest):
            for batch in batches:
                yield from self._usable(batch)

    def _usable(self, batch: RecordBatch) -> Iterator[Envelope]:
        decoder = self.decoders.of(batch.partition.topic)
        for record in batch.records():
            try:
                yield Envelope(record=record, document=document_of(record, decoder))
            except Unusable:
                continue  # it is in quarantine


def select(policy: RowsPolicy, rows: Sequence[DatasetRow], known_by: Micros, mature_after: Micros) -> list[DatasetRow]:
    """The rows that the policy takes of those that have matured, in time order."""
    mature = sorted(
        (row for row in rows if row.predicted_at <= known_by - mature_after), key=lambda row: (row.predicted_at, row.id)
    )
    if policy.span is not None:
        return [row for row in mature if row.predicted_at >= known_by - policy.span]
    return mature[-policy.count :] if policy.count is not None else mature


class _Collected:
    """Events by id, as they were known by a time, with the features of the prediction that counts."""

    def __init__(self, policy: IngestPolicy, known_by: Micros) -> None:
        self._policy = policy
        self._known_by = known_by
        self._entries: dict[str, Entry] = {}
        self._features: dict[str, Mapping[str, object]] = {}

    def add(self, envelope: Envelope) -> None:
        """Take in a record; one that cannot be used is in quarantine already."""
        for side in self._policy.sides_of(envelope.record.partition.topic):
            try:
                self._add_prediction(envelope) if side is Side.PREDICTIONS else self._add_label(envelope)
            except Unusable:
                continue

    def outcomes(self) -> Iterator[DatasetRow]:
        """Every prediction that has its label, be it an implied one."""
        for prediction, known_at, truth in self._joined():
            yield DatasetRow(
                id=prediction.id,
                predicted_at=prediction.time,
                known_at=known_at,
                label=truth,
                prediction=answer_of(prediction.value),
                score=score_of(prediction.value),
                version=prediction.version,
                features=self._features[prediction.id],
            )

    def mature_after(self) -> Micros:
        """The age at which outcomes are mature, by the delays of those that are known."""
        delays = sorted(known_at - prediction.time for prediction, known_at, _ in self._joined())
        return self._policy.join.mature_after(delays[mature_place(len(delays))] if delays else None)

    def _joined(self) -> Iterator[tuple[Prediction, Micros, str]]:
        for entry in self._entries.values():
            outcome = outcome_of(self._policy.join, entry, slot_of(self._known_by))
            if entry.prediction is not None and outcome is not None and outcome.value is not None:
                yield entry.prediction, outcome.known_at, outcome.value

    def _add_prediction(self, envelope: Envelope) -> None:
        mapping = self._policy.predictions
        if not matches(mapping, envelope):
            return
        prediction = prediction_of(mapping, envelope)
        if prediction.time >= self._known_by:
            return
        entry = with_prediction(self._entries.get(prediction.id, Entry()), prediction)
        if entry.prediction is prediction:
            self._features[prediction.id] = features_of(mapping, envelope)
        self._entries[prediction.id] = entry

    def _add_label(self, envelope: Envelope) -> None:
        if not matches(self._policy.labels, envelope):
            return
        label = label_of(self._policy.labels, envelope)
        if label.time < self._known_by:
            self._entries[label.id] = with_label(self._entries.get(label.id, Entry()), label)


def _oldest_needed(policy: ModelPolicy, known_by: Micros) -> Micros | None:
    """Segments whose newest event is older hold nothing that the policy for rows would take."""
    span = policy.recipe.rows.span
    return None if span is None else known_by - span - policy.ingest.join.max_delay - SLOT_WIDTH
