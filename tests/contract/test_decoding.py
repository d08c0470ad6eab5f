"""What every decoder promises: documents, or columns of the very same values; and what JSON is to us."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.adapters.decoding import JsonDecoder
from retrainer.domain.mapping.mapping import LONGEST_REASON, Unusable
from tests.domain.making import quick, thorough
from tests.domain.mapping.records import ODDITIES, written

DECODER = JsonDecoder()
NAMES = st.sampled_from(["a", "b", "", "ä", "\U0001f600", 'q"', "b\\", "\n", "\x7f", "$value", "type"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(".".join)
DOCUMENTS = st.recursive(
    ODDITIES, lambda within: st.dictionaries(NAMES, within, max_size=4) | st.lists(within, max_size=2), max_leaves=12
)


def at(document: object, path: str) -> object:
    """What a document has at a path; None where it has nothing."""
    found = document
    for name in path.split(".") if path else ():
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def read(paths: Sequence[str], *values: bytes | None) -> tuple[Mapping[str, list[object]], Collection[int]]:
    columns, unread = DECODER.columns(paths)(values)
    return {path: list(column) for path, column in columns.items()}, list(unread)


class TestColumns:
    @thorough
    @given(st.lists(PATHS, max_size=5), st.lists(DOCUMENTS.map(lambda one: written(one).encode()), max_size=5))
    def test_they_hold_what_is_in_the_documents(self, paths: list[str], values: list[bytes]) -> None:
        columns, unread = read(paths, *values)
        assert set(columns) == set(paths)
        assert all(len(column) == len(values) for column in columns.values())
        for row in set(range(len(values))) - set(unread):
            document = DECODER.decode(values[row])
            for path, column in columns.items():
                assert as_seen(column[row]) == as_seen(at(document, path))

    @quick
    @given(st.lists(PATHS, max_size=3), st.lists(st.binary(max_size=8) | st.none(), max_size=5))
    def test_what_is_no_document_is_never_read(self, paths: list[str], values: list[bytes | None]) -> None:
        unread = read(paths, *values)[1]
        for row, value in enumerate(values):
            if value is None or not is_json(value):
                assert row in unread

    def test_of_no_records(self) -> None:
        assert read(["a", "b.c"]) == ({"a": [], "b.c": []}, [])

    def test_of_no_paths(self) -> None:
        assert read([], b'{"a":1}', b"{") == ({}, [1])

    def test_a_path_that_leads_on_to_another(self) -> None:
        columns, unread = read(["a", "a.b", "a.b.c"], b'{"a":{"b":{"c":1}}}', b'{"a":{"b":2}}', b'{"a":3}', b"{}")
        assert columns["a"] == [{"b": {"c": 1}}, {"b": 2}, 3, None]
        assert columns["a.b"] == [{"c": 1}, 2, None, None]
        assert columns["a.b.c"] == [1, None, None, None]
        assert unread == []

    def test_an_object_that_is_null_or_absent(self) -> None:
        columns, unread = read(["a.b", "a.c"], b'{"a":{"b":1,"c":2}}', b'{"a":null}', b"{}", b'{"a":{"c":null}}')
        assert columns == {"a.b": [1, None, None, None], "a.c": [2, None, None, None]}
        assert unread == []

    def test_the_whole_of_a_document(self) -> None:
        columns, unread = read(["", "a"], b"1", b'"x"', b'{"a":2}', b"null", b"{", None)
        assert columns == {"": [1, "x", {"a": 2}, None, None, None], "a": [None, None, 2, None, None, None]}
        assert unread == [4, 5]

    def test_one_bad_record_does_not_spoil_its_neighbours(self) -> None:
        columns, unread = read(["a.b"], b'{"a":{"b":1}}', b'{"a":[]}', b"{", None, b'{"z":"\xff"}', b'{"a":{"b":2}}')
        assert columns["a.b"][0] == 1
        assert columns["a.b"][5] == 2
        assert unread == [1, 2, 3, 4]

    def test_a_name_that_comes_twice_has_its_last_value(self) -> None:
        assert read(["a", "b.c"], b'{"a":1,"b":{"c":1},"a":2,"b":{}}') == ({"a": [2], "b.c": [None]}, [])

    @pytest.mark.parametrize("value", [b'{"z":"\xff","a":1}', b'{"\xff":0,"a":1}', b'{"z":"\xed\xa0\x80","a":1}'])
    def test_text_that_is_not_utf8_is_refused_even_where_nobody_looks(self, value: bytes) -> None:
        assert read(["a"], value)[1] == [0]
        assert read(["a"], b'{"a":1}', value)[1] == [1]

    @pytest.mark.parametrize("text", ['"\\x"', '"\\ud800"', "01", "NaN", "[1,]", '"\n"', "{1:2}", "[" * 100_000])
    def test_what_is_not_json_is_refused_even_where_nobody_looks(self, text: str) -> None:
        assert read(["a"], f'{{"z":{text},"a":1}}'.encode())[1] == [0]


class TestDocuments:
    @pytest.mark.parametrize("number", ["1e400", "9" * 5000, "1e" + "9" * 300])
    @pytest.mark.parametrize("where", ["{}", ' {{"a":{}}}', "[1,{}]", '{{"b":"1e400","a":[{{"a":{}}}]}}'])
    @pytest.mark.parametrize("sign", [1, -1])
    def test_a_number_that_is_too_large_is_infinite(self, where: str, number: str, sign: int) -> None:
        value = where.format(number if sign > 0 else f"-{number}")
        found = DECODER.decode(value.encode())
        while isinstance(found, dict | list):
            found = found["a"] if isinstance(found, dict) else found[-1]
        assert found == sign * math.inf

    def test_large_numbers_are_exact(self) -> None:
        assert DECODER.decode(b"[18446744073709551617,-9223372036854775809]") == [2**64 + 1, -(2**63) - 1]

    def test_a_number_that_is_too_large_and_too_deep(self) -> None:
        with pytest.raises(Unusable, match="not JSON: "):
            DECODER.decode(b"[" * 500 + b"1e400" + b"]" * 500)

    @pytest.mark.parametrize(
        "value",
        [b"", b" ", b"{", b'{"a":', b"NaN", b"Infinity", b"-", b"\x00", b"\xff\xfe{}", b'\xef\xbb\xbf{"a":1}', b"{}{}",
         b"[" * 100_000, b'{"a":' * 100_000, b'{"a":1e400,"b":"\xff"}', b'{"a":1e400,"b":"\\ud800"}'],
    )  # fmt: skip
    def test_what_is_no_json_is_said_in_a_few_printable_words(self, value: bytes) -> None:
        with pytest.raises(Unusable, match="not JSON: ") as caught:
            DECODER.decode(value)
        assert_short(str(caught.value))

    @thorough
    @given(st.binary())
    def test_any_bytes_are_a_document_or_unusable(self, value: bytes) -> None:
        try:
            DECODER.decode(value)
        except Unusable as unusable:
            assert_short(str(unusable))
            assert not is_json(value)
        else:
            assert is_json(value)


def assert_short(reason: str) -> None:
    assert reason.isprintable()
    assert len(reason) <= LONGEST_REASON


def as_seen(value: object) -> str:
    """True is not 1, and 1.0 not either."""
    return repr(value)


def is_json(value: bytes) -> bool:
    """As another library has it, without what it tolerates."""
    try:
        json.loads(value.decode(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(text: str) -> Any:
    raise ValueError(text)
