"""The next state of a frozen one is what `dataclasses.replace` makes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from retrainer.domain.deciding.memory import ModelMemory
from retrainer.domain.frozen import changed


def test_it_makes_what_replace_makes_and_leaves_the_first_alone() -> None:
    first = ModelMemory(champion="1", seen=3)
    assert changed(first, seen=4, latched={}) == replace(first, seen=4, latched={})
    assert first == ModelMemory(champion="1", seen=3)


def test_a_field_that_is_none_is_refused() -> None:
    with pytest.raises(TypeError, match="ModelMemory has no sen"):
        changed(ModelMemory(), sen=4)  # type: ignore[call-arg]  # mypy refuses it, too
