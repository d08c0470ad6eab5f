"""Which rows a candidate learns from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from retrainer.domain.training import RowsPolicy
from retrainer.domain.values import SECOND
from retrainer.training.dataset import Rows
from retrainer.training.order import CannotTrain
from retrainer.training.selection import contest, select


def rows_of(count: int, *, seconds_apart: int = 10) -> Rows:
    """Rows whose label is `a` for the first half and `b` from then on, alternating with `c`."""
    numbers = np.arange(count)
    frame = pd.DataFrame(
        {
            "$id": [str(number) for number in numbers],
            "$predicted_at": numbers * seconds_apart * SECOND,
            "$label": np.where(numbers % 2, "c", np.where(numbers < count // 2, "a", "b")),
            "number": numbers,
        }
    )
    return Rows(frame)


def numbers(rows: Rows) -> list[int]:
    return rows.features["number"].astype(int).tolist()


class TestPolicies:
    def test_the_newest_by_count(self) -> None:
        chosen, words = select(rows_of(100), RowsPolicy(kind="last", count=30))
        assert numbers(chosen) == list(range(70, 100))
        assert words == "last 30 rows"

    def test_fewer_than_asked_for_are_all(self) -> None:
        chosen, words = select(rows_of(20), RowsPolicy(kind="last", count=30))
        assert (len(chosen), words) == (20, "last 20 rows")

    def test_the_newest_by_time_of_prediction(self) -> None:
        """The newest row is at 990 s; one that is exactly a span older is left out."""
        chosen, words = select(rows_of(100), RowsPolicy(kind="last", span=100 * SECOND))
        assert numbers(chosen) == list(range(90, 100))
        assert words == "last 100s (10 rows)"

    @pytest.mark.parametrize(
        ("kind", "words"), [("all", "all 50"), ("since_change", "since the change (50)"), ("auto", "all 50")]
    )
    def test_all_that_were_handed_over(self, kind: str, words: str) -> None:
        chosen, told = select(rows_of(50), RowsPolicy(kind=kind))  # type: ignore[arg-type]  # parametrised text
        assert (len(chosen), told) == (50, words)

    def test_none_are_refused(self) -> None:
        with pytest.raises(CannotTrain, match="no rows"):
            select(rows_of(0), RowsPolicy(kind="all"))


class TestContest:
    def test_the_best_window_wins_and_keeps_its_beginning(self) -> None:
        """8000 rows: 6000 before the validation; half of them begin at 3000, a quarter at 4500, an eighth at 5250."""
        asked: list[tuple[int, int, int, int]] = []

        def score(window: Rows, validation: Rows) -> float:
            asked.append((numbers(window)[0], numbers(window)[-1], numbers(validation)[0], numbers(validation)[-1]))
            return {6_000: 0.7, 3_000: 0.8, 1_500: 0.9, 750: 0.6}[len(window)]

        choice = contest(rows_of(8_000), score)
        assert asked == [(start, 5_999, 6_000, 7_999) for start in (0, 3_000, 4_500, 5_250)]
        assert choice.first == 4_500
        assert choice.words == (
            "last 3500, the winner of auto (all 8000: 0.7000, last 5000: 0.8000, last 3500: 0.9000, last 2750: 0.6000)"
        )

    def test_of_equals_the_one_with_more_rows_wins(self) -> None:
        assert contest(rows_of(8_000), lambda window, _: 0.5).first == 0
        scores = {6_000: 0.4, 3_000: 0.5, 1_500: 0.5, 750: 0.5}
        assert contest(rows_of(8_000), lambda window, _: scores[len(window)]).first == 3_000

    def test_small_windows_do_not_take_part(self) -> None:
        """1600 rows: windows of 1200, 600 and 300, and one of 150, which is too small."""
        seen: list[int] = []

        def score(window: Rows, _: Rows) -> float:
            seen.append(len(window))
            return 0.5

        contest(rows_of(1_600), score)
        assert seen == [1_200, 600, 300]

    def test_without_a_contestant_all_rows_are_taken(self) -> None:
        choice = contest(rows_of(400), lambda *_: 0.5)
        assert (choice.first, choice.words) == (0, "all 400, too few for a contest of windows")

    def test_a_window_of_one_class_and_one_without_a_score_do_not_take_part(self) -> None:
        rows = rows_of(8_000)
        rows.frame.loc[4_500:5_999, "$label"] = "a"
        seen: list[int] = []

        def score(window: Rows, validation: Rows) -> float | None:
            seen.append(len(window))
            return None if len(window) == 3_000 else 0.5

        choice = contest(rows, score)
        assert seen == [6_000, 3_000]
        assert choice.first == 0
