"""Codes: small numbers in place of values, given away once nobody needs the values any more."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.join.codes import Codes


def test_each_value_has_one_number() -> None:
    codes = Codes(["b", "a", "b"])
    assert codes.values == ("b", "a")
    assert codes.column(["a", "c", "b", "c"]).tolist() == [1, 2, 0, 2]
    assert [codes[code] for code in range(len(codes))] == ["b", "a", "c"]


@given(st.lists(st.text(max_size=2)), st.data())
def test_what_is_kept_can_be_read_by_its_new_number(values: list[str], data: st.DataObject) -> None:
    codes = Codes(values)
    old = codes.values
    used = [data.draw(st.booleans()) for _ in old]
    renamed = codes.keep(np.array(used, np.bool_))
    assert codes.generation == 1
    assert codes.values == tuple(value for value, kept in zip(old, used, strict=True) if kept)
    for value, kept, code in zip(old, used, renamed.tolist(), strict=True):
        assert codes[code] == value if kept else code == -1
    assert codes.of("a new one") == len(codes) - 1
