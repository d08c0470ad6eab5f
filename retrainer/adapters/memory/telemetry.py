"""Everything that has happened, kept in order."""

from __future__ import annotations

from typing import TypeVar

from retrainer.ports.telemetry import Happening

T = TypeVar("T", bound=Happening)


class MemoryTelemetry:
    """`happenings` is all that was told."""

    def __init__(self) -> None:
        self.happenings: list[Happening] = []

    def tell(self, happening: Happening, /) -> None:
        self.happenings.append(happening)

    def of(self, kind: type[T]) -> list[T]:
        """Those of one kind."""
        return [one for one in self.happenings if isinstance(one, kind)]
