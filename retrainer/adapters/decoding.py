"""From the bytes of a record to a document. JSON; other encodings come beside it."""

from __future__ import annotations

import msgspec

from retrainer.domain.mapping import Unusable


class JsonDecoder:
    """Decodes UTF-8 JSON."""

    def __init__(self) -> None:
        self._decode = msgspec.json.Decoder().decode

    def decode(self, value: bytes) -> object:
        try:
            return self._decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Unusable(f"not JSON: {error}") from None
