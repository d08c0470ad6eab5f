"""Where nobody measures."""

from __future__ import annotations

from retrainer.ports.telemetry import Happening


class NoTelemetry:
    """Hears everything, and keeps nothing."""

    def tell(self, _happening: Happening, /) -> None:
        """Nobody listens."""
