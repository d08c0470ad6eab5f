"""The promotion ledger against a tiny model of the alias that it speaks of."""

from __future__ import annotations

from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.deciding.ledger import Act, LedgerRow, Reign, open_intents, reign
from tests.domain.making import thorough


def row(act: Act, version: str | None, *, number: int, of: int | None = None) -> LedgerRow:
    return LedgerRow(
        model="m",
        alias="champion",
        act=act,
        version=version,
        previous=None,
        reason="",
        effective_from=number * 10,
        written_at=number,
        job_id=f"job-{number}",
        of=of,
        number=number,
    )


def test_an_empty_ledger_says_nothing() -> None:
    assert reign([]) is None
    assert open_intents([]) == []


def test_an_intent_alone_changes_nothing_and_is_open() -> None:
    intent = row(Act.INTENDED, "1", number=1)
    assert reign([intent]) is None
    assert open_intents([intent]) == [intent]


def test_a_verified_one_holds_the_alias_with_its_own_facts() -> None:
    rows = [row(Act.INTENDED, "1", number=1), row(Act.VERIFIED, "1", number=2, of=1)]
    assert reign(rows) == Reign(version="1", effective_from=10, written_at=1, job_id="job-1")
    assert open_intents(rows) == []


def test_one_undone_leaves_it_where_it_was() -> None:
    rows = [
        row(Act.INTENDED, "1", number=1),
        row(Act.VERIFIED, "1", number=2, of=1),
        row(Act.INTENDED, "2", number=3),
        row(Act.UNDONE, "2", number=4, of=3),
    ]
    held = reign(rows)
    assert held is not None
    assert held.version == "1"
    assert open_intents(rows) == []


def test_a_person_may_take_the_alias_away() -> None:
    rows = [row(Act.EXTERNAL, "7", number=1), row(Act.EXTERNAL, None, number=2)]
    assert reign(rows) == Reign(version=None, effective_from=20, written_at=2, job_id="job-2")


Step = tuple[Literal["intend", "verify", "undo", "external"], str | None, int]
steps: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(
        st.sampled_from(["intend", "verify", "undo", "external"]),
        st.none() | st.sampled_from(["1", "2", "3"]),
        st.integers(0, 5),
    ),
    max_size=20,
)


@thorough
@given(steps)
def test_the_reign_follows_the_alias_through_any_history(history: list[Step]) -> None:
    rows: list[LedgerRow] = []
    alias, ever, waiting = None, False, dict[int, str | None]()
    for number, (what, version, which) in enumerate(history, start=1):
        if what == "intend":
            waiting[number] = version
            rows.append(row(Act.INTENDED, version, number=number))
        elif what == "external":
            alias, ever = version, True
            rows.append(row(Act.EXTERNAL, version, number=number))
        elif waiting:
            of = sorted(waiting)[which % len(waiting)]
            meant = waiting.pop(of)
            rows.append(row(Act.VERIFIED if what == "verify" else Act.UNDONE, meant, number=number, of=of))
            if what == "verify":
                alias, ever = meant, True
        held = reign(rows)
        assert (held is not None) is ever
        assert held is None or held.version == alias
        assert [intent.number for intent in open_intents(rows)] == sorted(waiting)
