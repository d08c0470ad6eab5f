"""The rows that a candidate learns from: mature outcomes known by the decision's slot, read back from segments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from retrainer.domain.events import Side
from retrainer.domain.ingest import IngestPolicy
from retrainer.domain.join import Entry, known_at, outcome_label, with_label, with_prediction
from retrainer.domain.mapping import Envelope, Unusable, features_of, label_of, matches, prediction_of
from retrainer.domain.training import RowsPolicy
from retrainer.domain.values import SLOT_WIDTH, Micros
from retrainer.ports import DatasetRow, Datasets, Decoder, Segments
from retrainer.service.intake import document_of
from retrainer.service.policy import ModelPolicy
from retrainer.stores import DecisionState

_USUAL_SHARE = 0.95
"""Outcomes count as mature at the age by which this share of the labels seen has come."""


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
    decoder: Decoder
    datasets: Datasets

    def build(self, policy: ModelPolicy, known_by: Micros, path: Path) -> Dataset | None:
        """Write the dataset of a decision; None if there is not a single row."""
        entries, features = self._collect(policy, known_by)
        rows = list(_outcomes(policy.ingest, entries, features))
        mature_after = policy.mature_after if policy.mature_after is not None else _usual_delay(policy.ingest, entries)
        chosen = select(policy.recipe.rows, rows, known_by, mature_after)
        if not chosen:
            return None
        return Dataset(
            rows=len(chosen),
            digest=self.datasets.write(path, chosen),
            first=chosen[0].predicted_at,
            last=chosen[-1].predicted_at,
            mature_after=mature_after,
        )

    def _collect(
        self, policy: ModelPolicy, known_by: Micros
    ) -> tuple[dict[str, Entry], dict[str, Mapping[str, object]]]:
        entries: dict[str, Entry] = {}
        features: dict[str, Mapping[str, object]] = {}
        for envelope in self._envelopes(policy, known_by):
            for side in policy.ingest.sides_of(envelope.record.partition.topic):
                try:
                    _add(policy.ingest, side, envelope, known_by, entries, features)
                except Unusable:
                    continue  # it is in quarantine
        return entries, features

    def _envelopes(self, policy: ModelPolicy, known_by: Micros) -> Iterator[Envelope]:
        for segment in self.state.segments(reaching=_oldest_needed(policy, known_by)):
            content = segment.content if segment.content is not None else self.segments.read(segment.name)
            for record in self.segments.unpack(content):
                try:
                    yield Envelope(record=record, document=document_of(record, self.decoder))
                except Unusable:
                    continue  # it is in quarantine


def select(
    policy: RowsPolicy, rows: Sequence[DatasetRow], known_by: Micros, mature_after: Micros
) -> list[DatasetRow]:
    """The rows that the policy takes of those that have matured, in time order."""
    mature = sorted(
        (row for row in rows if row.predicted_at <= known_by - mature_after), key=lambda row: (row.predicted_at, row.id)
    )
    if policy.span is not None:
        return [row for row in mature if row.predicted_at >= known_by - policy.span]
    return mature[-policy.count :] if policy.count is not None else mature


def _add(
    policy: IngestPolicy,
    side: Side,
    envelope: Envelope,
    known_by: Micros,
    entries: dict[str, Entry],
    features: dict[str, Mapping[str, object]],
) -> None:
    if side is Side.PREDICTIONS:
        if matches(policy.predictions, envelope):
            prediction = prediction_of(policy.predictions, envelope)
            entry = with_prediction(entries.get(prediction.id, Entry()), prediction)
            if entry.prediction is prediction:
                features[prediction.id] = features_of(policy.predictions, envelope)
            entries[prediction.id] = entry
    elif matches(policy.labels, envelope):
        label = label_of(policy.labels, envelope)
        if label.time < known_by:
            entries[label.id] = with_label(entries.get(label.id, Entry()), label)


def _outcomes(
    policy: IngestPolicy, entries: Mapping[str, Entry], features: Mapping[str, Mapping[str, object]]
) -> Iterator[DatasetRow]:
    for key, entry in entries.items():
        label = outcome_label(policy.join, entry)
        if label is None or entry.prediction is None:
            continue
        yield DatasetRow(
            id=key,
            predicted_at=entry.prediction.time,
            known_at=known_at(entry.prediction, label),
            label=label.value,
            prediction=entry.prediction.value,
            version=entry.prediction.version,
            features=features[key],
        )


def _usual_delay(policy: IngestPolicy, entries: Mapping[str, Entry]) -> Micros:
    """The delay within which most labels have come, never longer than the longest that joins."""
    delays = sorted(
        max(0, label.time - entry.prediction.time)
        for entry in entries.values()
        if entry.prediction is not None and (label := outcome_label(policy.join, entry)) is not None
    )
    if not delays:
        return 0
    return min(delays[min(len(delays) - 1, int(_USUAL_SHARE * len(delays)))], policy.join.max_delay)


def _oldest_needed(policy: ModelPolicy, known_by: Micros) -> Micros | None:
    """Segments whose newest event is older hold nothing that the policy for rows would take."""
    span = policy.recipe.rows.span
    return None if span is None else known_by - span - SLOT_WIDTH
