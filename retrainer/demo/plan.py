"""What the demo plans: who runs when, and what goes wrong. Event times are New York's wall clock."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

MODEL: Final = "flights"

CHAMPION_LEARNS_UNTIL: Final = datetime(2013, 3, 1, tzinfo=UTC)
APPLICATION_BEGINS: Final = datetime(2013, 4, 5, tzinfo=UTC)

UPSTREAM_CHANGE: Final = datetime(2013, 4, 15, tzinfo=UTC)
"""From then on `dep_delay` comes in seconds instead of minutes, and nobody tells the model."""

DAYS_PER_SECOND: Final = 1.4
"""A training of about eight seconds then takes eleven days, and April's storms are over when its model takes over."""

LIMIT_SECONDS: Final = 180.0
"""After which the demo gives up. It usually takes a fifth of that."""
