"""`retrainer replay --table` on what people have: each kind of table gives a right result, or says what is wrong."""

from __future__ import annotations

import bz2
import gzip
import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from retrainer.cli import main
from tests.replay.replaying import BAYES, RIDGE, Replayer, config, saved, stream


@pytest.fixture
def replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Replayer:
    return Replayer(tmp_path, capsys)


def of_labels(values: list[Any], kind: pa.DataType | None = None) -> pa.Table:
    """A table whose two classes are these values."""
    frame = stream()
    return pa.table({"a": frame["a"], "label": pa.array([values[place] for place in frame["label"]], kind)})


@pytest.mark.parametrize(
    "table",
    [
        of_labels([0, 1], pa.int8()),
        of_labels([2**63, 2**63 + 1], pa.uint64()),
        of_labels([2**53, 2**53 + 1], pa.int64()),
        of_labels([1.0, 2.0]),
        of_labels([False, True]),
        of_labels(["", "né té"]),
        of_labels(["lo", "hi"], pa.large_string()),
        of_labels([Decimal("1.0"), Decimal("2.5")]),
        of_labels([date(2026, 1, 1), date(2026, 1, 2)]),
        of_labels([datetime(2026, 1, 1), datetime(2026, 1, 2)], pa.timestamp("ns", "UTC")),  # noqa: DTZ001 - Arrow's zone
    ],
    ids=lambda table: str(table.schema.field("label").type),
)
def test_answers_are_in_the_labels_own_type(replay: Replayer, table: pa.Table) -> None:
    report = replay.report(table)
    assert report["metric"]["value"] > 0.8
    wanted = table.schema.field("label").type
    wanted = pa.string() if pa.types.is_large_string(wanted) else wanted
    found = replay.predictions()
    assert {found.schema.field(name).type for name in ("prediction", "label")} == {wanted}


def test_two_zeros_are_one_class(replay: Replayer) -> None:
    frame = stream()
    zeros = np.where(frame.index % 2 == 0, 0.0, -0.0)
    replay.report(frame.assign(label=np.where(frame["label"] == 1, 1.0, zeros)))
    assert set(replay.predictions()["prediction"].to_pylist()) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["a\x1fb", "c"], "without the control character U+001F"),
        (["a\x00", "b"], "without the control character U+0000"),
        (["a" * 201, "b"], "at most 200 characters, got 201"),
        ([float("inf"), 1.0], "expected a finite number, got inf"),
        ([b"a", b"b"], "holds bytes, or text that is not UTF-8: the label is a class or a number"),
        ([[1], [2]], "holds list<element: int64>: the label is a class"),
    ],
)
def test_labels_that_the_service_would_not_take(replay: Replayer, values: list[Any], told: str) -> None:
    code, said = replay.run(of_labels(values))
    assert (code, told in said) == (3, True), said


def test_a_number_that_no_tally_holds_is_no_label_of_a_regression(replay: Replayer) -> None:
    frame = stream()
    code, said = replay.run(frame.assign(label=frame["a"] * 1e80), estimator=RIDGE, task="regression")
    assert (code, "expected a number up to 1e+70" in said) == (3, True)


def as_csv(frame: pd.DataFrame, **how: Any) -> bytes:
    text: str = frame.to_csv(index=False, **how)
    return text.encode()


WRITTEN: dict[str, Callable[[pd.DataFrame], bytes]] = {
    "mark of the byte order": lambda frame: b"\xef\xbb\xbf" + as_csv(frame),
    "semicolons": lambda frame: as_csv(frame, sep=";"),
    "decimal commas": lambda frame: as_csv(frame, sep=";", decimal=","),
    "tabs": lambda frame: as_csv(frame, sep="\t"),
    "gzip": lambda frame: gzip.compress(as_csv(frame)),
    "bzip2": lambda frame: bz2.compress(as_csv(frame)),
    "lines of Windows": lambda frame: as_csv(frame).replace(b"\n", b"\r\n"),
    "everything quoted": lambda frame: as_csv(frame, quoting=1),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_a_csv_file_is_read_however_it_is_written(replay: Replayer, how: str) -> None:
    """Whatever its name says."""
    frame = stream().round(6)
    expected = replay.report(as_csv(frame))["metric"]
    assert replay.report(WRITTEN[how](frame))["metric"] == expected


def test_what_stands_for_a_missing_number_is_missing(replay: Replayer) -> None:
    frame = stream()
    texts = frame["b"].astype(str)
    texts[::7], texts[3::11] = "?", "Unknown"
    as_missing = replay.report(as_csv(frame.assign(b=frame["b"].where((texts != "?") & (texts != "Unknown")))))
    assert replay.report(as_csv(frame.assign(b=texts)))["metric"] == as_missing["metric"]


def test_a_column_that_is_almost_numbers_is_pointed_out(replay: Replayer) -> None:
    frame = stream()
    report = replay.report(as_csv(frame.assign(b=frame["b"].astype(str).where(frame.index % 10 > 0, "OFF"))))
    assert 'the column b is read as text: 90% of its values are numbers, but "OFF" is none' in report["notes"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (as_csv(stream()).decode().encode("utf-16"), "UTF-16"),
        (as_csv(stream().rename(columns={"a": "é"})).decode().encode("latin1"), "not UTF-8 text"),
        (as_csv(stream().assign(t="é")).decode().encode("latin1"), "column t holds bytes, or text that is not UTF-8"),
        (bytes(range(256)) * 9, "neither CSV nor Parquet"),
        (gzip.compress(as_csv(stream()))[:-200], "cannot be read"),
        (b"PAR1 but nothing of the kind", "cannot be read"),
        (b"\n", "cannot be read"),
    ],
)
def test_files_that_are_no_tables(replay: Replayer, content: bytes, told: str) -> None:
    code, said = replay.run(content)
    assert (code, told in said) == (3, True), said


def test_columns_that_cannot_be_features_can_be_dropped(replay: Replayer) -> None:
    frame = stream()
    table = pa.table({"a": frame["a"], "all": [[1, None]] * 300, "raw": [b"x"] * 300, "label": frame["label"]})
    code, said = replay.run(table)
    assert (code, "the column all holds list" in said and "--drop it" in said) == (3, True)
    replay.report(table, "--drop", "all, raw")


def test_the_names_of_columns_are_their_own_affair(replay: Replayer) -> None:
    names = {"a": "a.b c\n[1] <é>", "b": "id"}
    assert replay.report(stream().rename(columns=names))["metric"] == replay.report(stream())["metric"]
    for table in (
        pa.table([stream()["a"], stream()["b"], stream()["label"]], names=["a", "a", "label"]),
        stream().rename(columns={"a": "$label"}),
    ):
        assert replay.run(table)[0] == 3


def odd(frame: pd.DataFrame) -> pd.DataFrame:
    """Every kind of column that is no help."""
    random, rows = np.random.default_rng(1), len(frame)
    return frame.assign(
        gaps=frame["b"].where(random.random(rows) < 0.7),
        nothing=np.nan,
        never=pd.Series([None] * rows, dtype=object),
        same=3,
        later=frame["b"].where(np.arange(rows) > rows // 2),
        endless=np.where(random.random(rows) < 0.05, np.inf, frame["b"]),
        huge=np.where(random.random(rows) < 0.05, -1e300, frame["b"]),
        large=2**60 + np.arange(rows),
        flag=pd.Series(random.random(rows) < 0.5).astype("boolean").where(random.random(rows) < 0.9),
        kind=pd.Categorical(random.choice(["u", "v"], rows)),
        words=[f"nothing like row {row}" for row in range(rows)],
        day=pd.date_range("2026-01-01", periods=rows),
        took=pd.to_timedelta(np.arange(rows), unit="s"),
    )


@pytest.mark.parametrize(
    "estimator",
    [
        "sklearn.ensemble.HistGradientBoostingClassifier",
        "sklearn.ensemble.RandomForestClassifier",
        "sklearn.linear_model.LogisticRegression",
        "sklearn.linear_model.SGDClassifier",
        "sklearn.naive_bayes.MultinomialNB",
        BAYES,
    ],
)
def test_no_column_stops_an_estimator(replay: Replayer, estimator: str) -> None:
    replay.report(odd(stream()), estimator=estimator)


@pytest.mark.parametrize("estimator", [RIDGE, "sklearn.ensemble.HistGradientBoostingRegressor"])
def test_nor_one_of_numbers(replay: Replayer, estimator: str) -> None:
    frame = stream()
    heavy = np.random.default_rng(2).standard_cauchy(300) * 1e6
    replay.report(odd(frame).assign(label=frame["a"] * 1e6 + heavy), estimator=estimator, task="regression")


def test_free_text_is_no_noise(replay: Replayer) -> None:
    """Each value is new, so none of them says anything: the answers are as without the column."""
    frame = stream(600)
    plain = replay.report(frame)["metric"]
    assert replay.report(frame.assign(words=[f"row {row}" for row in range(600)]))["metric"] == plain


def test_many_columns_are_taken_without_a_word(replay: Replayer) -> None:
    random = np.random.default_rng(0)
    sensors = pd.DataFrame({f"s{place}": random.normal(size=300) for place in range(150)})
    replay.report(pd.concat([sensors, stream()], axis=1), estimator="sklearn.tree.DecisionTreeClassifier")


def test_times_finer_than_microseconds_and_delays_of_any_kind(replay: Replayer) -> None:
    frame = stream()
    at = pd.Timestamp("2026-01-01 00:00:00.123456789") + pd.to_timedelta(np.arange(300) * 10**12 + 1, unit="ns")
    spans = pa.array([timedelta(minutes=row % 9) for row in range(300)])
    table = pa.table({"a": frame["a"], "at": pa.array(at), "late": spans, "label": frame["label"]})
    expected = replay.report(table, "--time", "at", "--label-delay", "late")
    seconds = [row % 9 * 60.0 for row in range(300)]
    again = replay.report(table.set_column(2, "late", pa.array(seconds)), "--time", "at", "--label-delay", "late")
    assert again["metric"] == expected["metric"]
    never = [1e300 if row % 2 else 60.0 for row in range(300)]
    replay.report(table.set_column(2, "late", pa.array(never)), "--time", "at", "--label-delay", "late")


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (["--every", "99999999d"], 2, "--every: 300 rows 99999999d apart reach beyond the year 9999"),
        (["--label-delay", "5d"], 2, "5d is longer than labels.max_delay, which is 3d in config: no label would"),
        (["--label-delay", "100s"], 3, "the first label comes with row 100, so --warm has to be more"),
        (["--label-delay", "1h"], 3, "no label comes before the last row"),
        (["--drop", "label"], 2, "--drop: label is the label"),
        (["--time", "label"], 2, "--time: label is the label"),
        (["--label-delay", "label"], 2, "--label-delay: label is the label"),
        (["--time", "far"], 3, "far of row 0 is no time: -99999999999.0 is not of the years 1 to 9999"),
        (["--time", "words"], 3, 'words of row 0 is no time: "1/31/2026"; expected ISO-8601'),
    ],
)
def test_clocks_that_cannot_be_meant(replay: Replayer, options: list[str], code: int, told: str) -> None:
    table = stream().assign(far=-99_999_999_999.0 * np.ones(300), words="1/31/2026")
    found, said = replay.run(table, *options)
    assert (found, told in said) == (code, True), said


def test_why_nothing_was_retrained_is_said(replay: Replayer, tmp_path: Path) -> None:
    frame = stream()
    late = np.where(frame.index % 2 == 0, 86_400.0 * 4, 60.0)
    given = frame.assign(late=late, label=frame["label"].astype("Int64").where(frame.index < 290))
    notes = replay.report(given, "--label-delay", "late", "--every", "1m")["notes"]
    for told in (
        "145 of 290 labels come later than labels.max_delay (3 days) after their row, and are no outcomes",
        "10 of 270 rows have no label",
        "the rows cover 4.5 hours, and guards.cooldown is 6 hours: one retraining at the most",
        "nothing was retrained: no trigger asked for it in the 4.5 hours that the rows cover",
        "a retraining needs 1200 rows with their label (judge.min_rows in training.holdout); by the end 145 had theirs",
    ):
        assert any(told in note for note in notes), notes
    assert notes[0] in (tmp_path / "out" / "report.html").read_text()


def test_classes_that_a_configuration_and_a_table_do_not_share_are_named(tmp_path: Path) -> None:
    file = config(tmp_path, BAYES)
    file.write_text(file.read_text() + "    classes: ['1', '2']\n    positive: '2'\n")
    given = ["--table", str(saved(tmp_path, stream())), "--label", "label", "--out", str(tmp_path / "out")]
    assert main(["replay", str(file), *given]) == 0
    notes = json.loads((tmp_path / "out" / "report.json").read_text())["notes"]
    assert notes[0] == "positive is 2, which no label of the table is: they are 0, 1"
    assert "labels of the table are 0, which classes does not name" in notes[1]
