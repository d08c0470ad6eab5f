"""The list of planted bugs stays true: each can be planted where it says, and its test is there."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.proof.bugs import BUGS, Bug
from tests.proof.plant import ROOT


def test_each_has_a_name_of_its_own() -> None:
    assert max(Counter(bug.name for bug in BUGS).values()) == 1


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_its_text_stands_once_in_the_source(bug: Bug) -> None:
    assert (ROOT / bug.file).read_text().count(bug.old) == 1, "adapt the bug to the source, or find another like it"
    file, _, name = bug.found_by.partition("::")
    assert f"def {name}(" in (ROOT / file).read_text() if name else (ROOT / file).exists()
