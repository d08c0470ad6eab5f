"""Which rows a candidate learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from retrainer.domain.judging.order import RowsPolicy
from retrainer.domain.values import SECOND
from retrainer.training.dataset import TrainingRows
from retrainer.training.order import CannotTrain
from retrainer.training.selection import Choice, Split, contest, known_before, select, split
from tests.training.orders import SPEC


def rows_of(count: int, *, seconds_apart: int = 10) -> TrainingRows:
    """Rows whose label is `a` for the first half and `b` from then on, alternating with `c`."""
    numbers = np.arange(count)
    frame = pd.DataFrame(
        {
            "$id": [str(number) for number in numbers],
            "$predicted_at": numbers * seconds_apart * SECOND,
            "$known_at": numbers * seconds_apart * SECOND,
            "$label": np.where(numbers % 2, "c", np.where(numbers < count // 2, "a", "b")),
            "number": numbers,
        }
    )
    return TrainingRows(frame)


def numbers(rows: TrainingRows) -> list[int]:
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

    @pytest.mark.parametrize("kind", ["all", "auto", "since_change"])
    def test_all_that_were_handed_over(self, kind: str) -> None:
        chosen, told = select(rows_of(50), RowsPolicy(kind=kind))  # type: ignore[arg-type]  # parametrised text
        assert (len(chosen), told) == (50, "all 50")

    def test_none_are_refused(self) -> None:
        with pytest.raises(CannotTrain, match="no rows"):
            select(rows_of(0), RowsPolicy(kind="all"))


class TestSplit:
    """1000 rows ten seconds apart; a judgement needs 100, and a quarter is held out."""

    @staticmethod
    def of(
        kind: str = "all", began_at_row: int | None = None, rows: int = 1_000, **policy: Any
    ) -> tuple[TrainingRows, Split]:
        recipe = replace(SPEC.recipe, rows=RowsPolicy(kind=kind, **policy))  # type: ignore[arg-type]  # its words
        began = None if began_at_row is None else began_at_row * 10 * SECOND
        return split(replace(SPEC, recipe=recipe, began=began), rows_of(rows))

    def test_without_a_change_the_newest_share_is_held_out(self) -> None:
        _, parts = self.of()
        assert (numbers(parts.older)[-1], numbers(parts.held)[0], len(parts.held)) == (749, 750, 250)
        assert (parts.first, parts.change, parts.words + parts.note) == (0, None, "all 1000")

    @pytest.mark.parametrize(("began", "held"), [(800, 100), (700, 100), (400, 150), (0, 250)])
    def test_after_a_change_the_holdout_lies_after_it_and_as_much_to_learn_from(self, began: int, held: int) -> None:
        _, parts = self.of(began_at_row=began)
        assert (len(parts.held), parts.change) == (held, began)
        assert len(parts.older) - began >= held

    def test_a_change_between_two_rows_leaves_the_first_one_out(self) -> None:
        recipe = replace(SPEC.recipe, rows=RowsPolicy(kind="all"))
        _, parts = split(replace(SPEC, recipe=recipe, began=7_995 * SECOND), rows_of(1_000))
        assert parts.change == 800

    def test_too_few_rows_after_a_change_are_split_as_without_one_and_that_is_said(self) -> None:
        for kind in ("all", "since_change"):
            _, parts = self.of(kind, began_at_row=801)
            assert (len(parts.held), parts.change, parts.first) == (250, None, 0)
            assert parts.words + parts.note == (
                "all 1000; the 199 rows since the change at 1970-01-01T02:13:30+00:00 are fewer than 200"
            )

    def test_since_the_change_learns_from_nothing_before_it(self) -> None:
        chosen, parts = self.of("since_change", began_at_row=600)
        assert numbers(chosen.since(parts.first))[0] == 600
        assert (len(parts.held), parts.words) == (100, "since the change (400)")

    def test_without_a_change_since_the_change_is_everything(self) -> None:
        _, parts = self.of("since_change")
        assert (parts.first, parts.words + parts.note) == (0, "all 1000; no change is known")

    def test_a_change_before_the_newest_rows_of_the_policy_is_one_of_all_of_them(self) -> None:
        chosen, parts = self.of("last", began_at_row=100, count=500)
        assert (len(chosen), len(parts.held), parts.change) == (500, 125, 0)

    def test_too_few_rows_are_refused(self) -> None:
        with pytest.raises(CannotTrain, match="too few"):
            self.of(rows=1)


class TestKnownBefore:
    """What was not known when the later rows were predicted is not learnt from."""

    @staticmethod
    def rows(delay: int) -> TrainingRows:
        frame = rows_of(100).frame
        return TrainingRows(frame.assign(**{"$known_at": frame["$predicted_at"] + delay * SECOND}))

    @pytest.mark.parametrize(("delay", "left"), [(0, 80), (10, 80), (11, 79), (100, 71), (390, 42), (411, 80)])
    def test_unless_that_were_most(self, delay: int, left: int) -> None:
        """80 rows before row 80; each ten seconds of delay are one row. Where it would be more than half, all stay."""
        rows = self.rows(delay)
        found = known_before(rows.before(80), rows.since(80))
        assert numbers(found) == list(range(left))

    def test_nor_most_of_what_came_after_a_change(self) -> None:
        rows = self.rows(100)
        older, held = rows.before(80), rows.since(80)
        assert numbers(known_before(older, held, change=60)) == list(range(71))
        assert numbers(known_before(older, held, change=65)) == list(range(80))
        assert numbers(known_before(older, held, change=-5)) == list(range(71))


@dataclass
class Game:
    """A contest whose windows score what `values` says of their first row; differences have the standard error."""

    values: Mapping[int, float | None]
    standard_error: float = 0.0
    higher: bool = True
    asked: list[tuple[int, int, int, int]] = field(default_factory=list)

    def answer(self, window: TrainingRows, validation: TrainingRows) -> list[str]:
        learnt, shown = numbers(window), numbers(validation)
        self.asked.append((learnt[0], learnt[-1], shown[0], shown[-1]))
        return [str(learnt[0])]

    def value(self, validation: TrainingRows, answers: Sequence[str]) -> float | None:
        return self.values.get(int(answers[0]), 0.5)

    def better_by(self, ours: float, theirs: float) -> float:
        return ours - theirs if self.higher else theirs - ours

    def error(self, validation: TrainingRows, ours: Sequence[str], theirs: Sequence[str]) -> float:
        return 0.0 if ours == theirs else self.standard_error

    def play(self, rows: TrainingRows, change: int | None = None) -> Choice:
        return contest(rows, change, self.answer, self)


class TestContest:
    """8000 rows: 6000 before the validation; half of them begin at 3000, a quarter at 4500, an eighth at 5250."""

    VALUES: ClassVar = {0: 0.7, 3_000: 0.8, 4_500: 0.9, 5_250: 0.6}

    def test_the_best_window_wins_and_keeps_its_beginning(self) -> None:
        game = Game(self.VALUES)
        choice = game.play(rows_of(8_000))
        assert game.asked == [(start, 5_999, 6_000, 7_999) for start in (0, 3_000, 4_500, 5_250)]
        assert choice.first == 4_500
        assert choice.words == (
            "last 3500, the winner of auto (all 8000: 0.7, last 5000: 0.8, last 3500: 0.9, last 2750: 0.6)"
        )

    def test_the_least_error_wins_where_that_is_the_metric(self) -> None:
        assert Game(self.VALUES, higher=False).play(rows_of(8_000)).first == 5_250

    @pytest.mark.parametrize(("error", "first"), [(0.09, 4_500), (0.11, 3_000), (0.21, 0)])
    def test_a_larger_window_within_a_standard_error_is_as_good(self, error: float, first: int) -> None:
        choice = Game(self.VALUES, standard_error=error).play(rows_of(8_000))
        assert choice.first == first
        assert ("as good as the winner" in choice.words) is (first != 4_500)

    def test_of_equals_the_one_with_more_rows_wins(self) -> None:
        assert Game({}).play(rows_of(8_000)).first == 0
        assert Game({0: 0.4}).play(rows_of(8_000)).first == 3_000

    def test_the_rows_since_a_change_are_a_window_and_are_scored_after_it(self) -> None:
        """1000 rows after it: half of them are the validation rows, the other half learns."""
        game = Game({7_000: 0.9})
        choice = game.play(rows_of(8_000), change=7_000)
        assert game.asked[-1] == (7_000, 7_499, 7_500, 7_999)
        assert all(shown == (7_500, 7_999) for *_, shown in (((0, 0), asked[2:]) for asked in game.asked))
        assert choice.first == 7_000
        assert choice.words.startswith("since the change 1000, the winner of auto (all 8000: 0.5, ")

    def test_the_rows_since_a_change_need_not_be_ahead_by_a_standard_error(self) -> None:
        """The trigger that found the change has shown it; a smaller window than that has only luck to show."""
        assert Game({7_000: 0.51}, standard_error=0.1).play(rows_of(8_000), change=7_000).first == 7_000
        assert Game({7_000: 0.49}, standard_error=0.1).play(rows_of(8_000), change=7_000).first == 0
        assert Game({1_000: 0.51, 5_250: 0.6}, standard_error=0.1).play(rows_of(8_000), change=1_000).first == 1_000
        assert Game({1_000: 0.51, 5_250: 0.7}, standard_error=0.1).play(rows_of(8_000), change=1_000).first == 5_250

    def test_few_rows_since_a_change_take_part_but_not_a_handful(self) -> None:
        game = Game({})
        game.play(rows_of(8_000), change=7_900)
        assert game.asked[-1] == (7_900, 7_949, 7_950, 7_999)
        game = Game({})
        game.play(rows_of(8_000), change=7_902)
        assert game.asked[-1][0] != 7_902

    def test_small_windows_do_not_take_part(self) -> None:
        """1600 rows: windows of 1200, 600 and 300, and one of 150, which is too small."""
        game = Game({})
        game.play(rows_of(1_600))
        assert [1_200 - asked[0] for asked in game.asked] == [1_200, 600, 300]

    def test_without_a_contestant_all_rows_are_taken(self) -> None:
        choice = Game({}).play(rows_of(400))
        assert (choice.first, choice.words) == (0, "all 400, too few for a contest of windows")

    def test_a_window_of_one_class_and_one_without_a_score_do_not_take_part(self) -> None:
        rows = rows_of(8_000)
        rows.frame.loc[4_500:5_999, "$label"] = "a"
        game = Game({3_000: None})
        choice = game.play(rows)
        assert [asked[0] for asked in game.asked] == [0, 3_000]
        assert choice.first == 0

    def test_labels_that_came_after_the_validation_began_are_not_learnt_from(self) -> None:
        rows = rows_of(8_000)
        rows.frame["$known_at"] += 100 * SECOND
        game = Game({})
        game.play(rows)
        assert {asked[1] for asked in game.asked} == {5_990}
