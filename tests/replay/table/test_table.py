"""Tables as streams: what is read of a file, and every file and option that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retrainer.domain.values import SECOND
from retrainer.errors import Refused
from retrainer.replay.options import TableOptions, Warm, WrongOption, delay_of, policies_of, warm_of
from retrainer.replay.table.table import MISSING, Table, load
from retrainer.replay.table.times import BEGINNING, NEVER

SMALL = "a,b,label\n1,x,0\n2,y,1\n3,x,0\n4,,1\n5,y,\n6,x,1\n"


def read(folder: Path, content: str, **changes: object) -> Table:
    path = folder / "table.csv"
    path.write_text(content)
    given = {"label": "label", "warm": Warm(share=None, rows=2), **changes}
    return load(TableOptions(path=path, **given))  # type: ignore[arg-type]  # the names are the options' own


def test_every_column_but_the_label_is_a_feature_and_rows_without_times_are_evenly_apart(tmp_path: Path) -> None:
    table = read(tmp_path, SMALL, every=2 * SECOND)
    assert list(table.features) == ["a", "b"]
    assert table.features["a"].tolist() == [1, 2, 3, 4, 5, 6]
    assert pd.isna(table.features["b"][3])
    assert table.times.tolist() == [BEGINNING + 2 * SECOND * row for row in range(6)]


def test_a_missing_label_never_arrives(tmp_path: Path) -> None:
    table = read(tmp_path, SMALL, label_delay=5 * SECOND)
    assert table.classes.texts == ("0", "1")
    assert table.labels.tolist() == [0, 1, 0, 1, MISSING, 1]
    assert table.arrivals.tolist() == [*(table.times[:4] + 5 * SECOND).tolist(), NEVER, table.times[5] + 5 * SECOND]


def test_dropped_columns_and_those_about_time_are_no_features(tmp_path: Path) -> None:
    content = "when,a,b,late,label\n" + "".join(f"2026-01-0{day},{day},{day},1.5,{day % 2}\n" for day in range(1, 7))
    table = read(tmp_path, content, time="when", label_delay="late", drop=("b",))
    assert list(table.features) == ["a"]
    assert (table.arrivals - table.times).tolist() == [1_500_000] * 6


@pytest.mark.parametrize(
    "values",
    [
        ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00:01Z"],
        ["1767225600", "1767225600", "1767225601"],
        ["1767225600.0", "1767225600.0", "1767225601.0"],
        ["1767225600000", "1767225600000", "1767225601000"],
        ["1767225600000000000", "1767225600000000000", "1767225601000000000"],
    ],
)
def test_times_are_read_as_those_of_events_are(tmp_path: Path, values: list[str]) -> None:
    content = "when,a,label\n" + "".join(f"{value},1,{row % 2}\n" for row, value in enumerate(values))
    table = read(tmp_path, content, time="when")
    assert table.times.tolist() == [1_767_225_600 * SECOND] * 2 + [1_767_225_601 * SECOND]


def test_eight_digits_are_a_date(tmp_path: Path) -> None:
    table = read(tmp_path, "when,a,label\n20260101,1,0\n20260102,1,1\n20260103,1,1\n", time="when")
    assert np.diff(table.times).tolist() == [86_400 * SECOND] * 2


def test_numbers_that_become_fractions_far_down_are_still_numbers(tmp_path: Path) -> None:
    rows = [f"{row},{row % 2}" for row in range(400_000)]
    table = read(tmp_path, "\n".join(["a,label", *rows, "1.5,0", ",1\n"]))
    assert table.features["a"].dtype == np.float64
    assert table.features["a"].iloc[-2] == 1.5


@pytest.mark.parametrize("values", [[True, False, True], [1.0, 2.5, 1.0], ["x", "é", "x"], [3, 10, 3]])
def test_classes_keep_the_values_and_the_type_of_the_file(tmp_path: Path, values: list[object]) -> None:
    path = tmp_path / "table.parquet"
    column = pa.array([*values, None])
    pq.write_table(pa.table({"a": [1, 2, 3, 4], "label": column}), path)
    table = load(TableOptions(path=path, label="label", warm=Warm(share=None, rows=3)))
    assert table.classes.column(table.labels).equals(column)


def test_features_are_as_events_would_bring_them(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    day = pd.Timestamp("2026-01-01", tz="UTC")
    frame = pd.DataFrame({"n": [1.0, np.inf, np.nan], "at": [day] * 3, "c": pd.Categorical(["u", "v", "u"])})
    frame.assign(label=[0, 1, 0]).to_parquet(path)
    features = load(TableOptions(path=path, label="label", warm=Warm(share=None, rows=2))).features
    assert features["n"].isna().tolist() == [False, True, True]
    assert all(isinstance(at, str) for at in features["at"])
    assert features["c"].tolist() == ["u", "v", "u"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "cannot be read"),
        ("a,label\n", "it has no rows"),
        ("a,a,label\n1,1,0\n", 'the column "a" is given twice'),
        ("a,label\n1,0\n2,0\n3,0\n", "one class only, 0"),
        ("a,label\n1,\n2,\n3,\n", "no value at all"),
        ("a,label\n1,0\n2,0\n3,1\n", "warm part have one class of label only, 0"),
        ("a,label\n1,0\n2,1\n3\n", "cannot be read"),
        ("a,label\n1,0\n2,1\nthree,0\n4,1\n", 'column a changes its type: numbers before row 2, then "three"'),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, content: str, told: str) -> None:
    with pytest.raises(Refused, match=r"table\.csv: .*" + told):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("when,a,label\n1,1,0\n3,1,1\n2,1,0\n", "not in time order: when of row 2: 1970-01-01T00:00:02"),
        ("when,a,label\n2026-01-01,1,0\nsoon,1,1\n2026-01-02,1,0\n", 'when of row 1 is no time: "soon"'),
        ("when,a,label\n2026-01-01,1,0\n,1,1\n2026-01-02,1,0\n", "row 1 has no time in when"),
        ("when,a,label\n1e30,1,0\n2e30,1,1\n3e30,1,0\n", "row 0 is no time"),
    ],
)
def test_times_that_cannot_be_used(tmp_path: Path, content: str, told: str) -> None:
    with pytest.raises(Refused, match=told):
        read(tmp_path, content, time="when")


def test_delays_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="delay of row 1 is below zero: late is -1"):
        read(tmp_path, "late,a,label\n1,1,0\n-1,1,1\n2,1,0\n", label_delay="late")
    with pytest.raises(Refused, match="late is no column of seconds"):
        read(tmp_path, "late,a,label\nx,1,0\ny,1,1\nz,1,0\n", label_delay="late")


def test_a_missing_file_and_a_column_that_is_no_feature(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"nothing\.csv: cannot be read: No such file"):
        load(TableOptions(path=tmp_path / "nothing.csv", label="label"))
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"a": [[1], [2]], "label": [0, 1]}), path)
    with pytest.raises(Refused, match="the column a holds list"):
        load(TableOptions(path=path, label="label"))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"label": "nope"}, '--label: .* has no column "nope"; it has a, b, label'),
        ({"drop": ("a", "c")}, '--drop: .* no column "c"'),
        ({"time": "when"}, '--time: .* no column "when"'),
        ({"label_delay": "late"}, '--label-delay: .* no column "late"'),
        ({"drop": ("a", "b")}, "no column that is a feature"),
        ({"warm": Warm(share=None, rows=6)}, "--warm: the warm part has 6 rows"),
    ],
)
def test_options_that_do_not_fit_the_table(tmp_path: Path, changes: dict[str, object], told: str) -> None:
    with pytest.raises(WrongOption, match=told):
        read(tmp_path, SMALL, **changes)


def test_too_few_rows_for_a_warm_part(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="its 6 rows leave none for the warm part"):
        read(tmp_path, SMALL, warm=Warm())


def test_the_warm_part_is_rounded_down_and_exact() -> None:
    assert warm_of("0.29").of(100) == 29  # 0.29 * 100 is 28.999... in doubles
    assert warm_of("0.1").of(19) == 1
    assert warm_of("250").of(1000) == 250


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1.0", "x", "1/0", ""])
def test_what_is_no_warm_part(text: str) -> None:
    with pytest.raises(WrongOption, match="--warm: expected a fraction"):
        warm_of(text)


def test_a_delay_is_a_duration_or_a_column() -> None:
    assert delay_of("1m30s") == 90 * SECOND
    assert delay_of("seconds") == "seconds"


@pytest.mark.parametrize("texts", [["a"], ["=f"], ["a="], ["a=f", "a=g"]])
def test_policies_are_names_with_files(texts: list[str]) -> None:
    with pytest.raises(WrongOption, match="--policy"):
        policies_of(texts)
