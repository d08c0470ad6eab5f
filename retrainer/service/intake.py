"""One record goes to every model, live and in a replay alike."""

from __future__ import annotations

from collections.abc import Sequence

from retrainer.domain.events import Record
from retrainer.domain.ingest import ModelIngest
from retrainer.domain.mapping import Envelope, Unusable
from retrainer.ports import Decoder


def take_in(record: Record, decoder: Decoder, models: Sequence[ModelIngest]) -> str | None:
    """Hand a record to the models; the reason if it has to be quarantined."""
    try:
        envelope = Envelope(record=record, document=document_of(record, decoder))
    except Unusable as unusable:
        for model in models:
            model.refuse(record.partition.topic)
        return str(unusable)
    return "; ".join(reason for model in models if (reason := model.take(envelope))) or None


def document_of(record: Record, decoder: Decoder) -> object:
    """The decoded value of a record.

    Raises:
        Unusable: it has none, or it cannot be decoded.
    """
    if record.value is None:
        raise Unusable("a tombstone: it has no value")
    return decoder.decode(record.value)
