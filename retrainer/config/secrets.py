"""What must not be shown."""

from __future__ import annotations

import re
from typing import Final

from retrainer.config.document import KeyPath

MASK: Final = "********"

_SECRET_KEY: Final = re.compile(r"(^|_)(password|secret|token)$")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^/@\s]+@")


def is_secret(path: KeyPath) -> bool:
    """Whether a key holds a secret, by its name or by that of the mapping that it is in."""
    return bool(path) and (bool(_SECRET_KEY.search(str(path[-1]))) or path[-2:-1] in (("token",), ("headers",)))


def without_credentials(text: str) -> str:
    """Text without the user and password of a URL in it."""
    return _CREDENTIALS.sub(f"{MASK}@", text)
