"""Records go to every model, live and in a replay alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from retrainer.domain.batches import RecordBatch
from retrainer.domain.events import Record
from retrainer.domain.join.ingest import ModelIngest
from retrainer.domain.mapping.mapping import Envelope, Unusable
from retrainer.ports.decoder import Decoder, Decoders


class Intake:
    """Decodes what the models need of each record, once for all of them, and hands it to them."""

    def __init__(self, decoders: Decoders, models: Sequence[ModelIngest]) -> None:
        self._decoders = decoders
        self._models = models
        topics = {topic for model in models for topic in model.policy.topics}
        self._readers = {
            topic: decoders.of(topic).columns(sorted(frozenset().union(*(model.paths(topic) for model in models))))
            for topic in topics
        }

    def ingest(self, batch: RecordBatch) -> Mapping[int, str]:
        """Hand records to the models; row to reason of those that have to be quarantined, in order."""
        reader = self._readers.get(batch.partition.topic)
        if reader is None:
            return {}
        columns, unread = reader(batch.values)
        envelope = _envelopes(batch, self._decoders.of(batch.partition.topic))
        reasons: dict[int, list[str]] = {}
        for model in self._models:
            for row, reason in model.ingest(batch, columns, unread, envelope).items():
                reasons.setdefault(row, []).append(reason)
        return {row: "; ".join(dict.fromkeys(reasons[row])) for row in sorted(reasons)}


def _envelopes(batch: RecordBatch, decoder: Decoder) -> Callable[[int], Envelope]:
    """Decodes single records, each at most once."""
    held: dict[int, Envelope | Unusable] = {}

    def envelope(row: int) -> Envelope:
        if row not in held:
            record = batch.record(row)
            try:
                held[row] = Envelope(record=record, document=document_of(record, decoder))
            except Unusable as unusable:
                held[row] = unusable
        found = held[row]
        if isinstance(found, Unusable):
            raise found
        return found

    return envelope


def document_of(record: Record, decoder: Decoder) -> object:
    """The decoded value of a record; None for a tombstone, of which the mappings say what it means.

    Raises:
        Unusable: it cannot be decoded.
    """
    return None if record.value is None else decoder.decode(record.value)
