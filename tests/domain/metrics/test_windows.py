"""Windows against brute force over everything that ever happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.metrics.registry import CLASSIFICATION, correct, estimate, value
from retrainer.domain.metrics.windows import CountWindow, History, TimeWindow, View, Window
from retrainer.domain.values import Slot, slot_start
from tests.domain.making import MINUTE, quick, thorough
from tests.domain.metrics.measuring import erring

Cells = Counter[tuple[str, str]]
Closed = tuple[Slot, Cells]

count_windows = st.builds(CountWindow, outcomes=st.integers(1, 25))
time_windows = st.builds(lambda minutes: TimeWindow(span=minutes * MINUTE), st.integers(1, 25))
rows = st.tuples(st.sampled_from("xy"), st.sampled_from("xy"))


@st.composite
def stories(draw: st.DrawFn) -> list[Closed]:
    """Closed slots in order, some far apart; none of them empty."""
    slot, closed = draw(st.integers(-50, 50)), []
    for found in draw(st.lists(st.lists(rows, min_size=1, max_size=8), min_size=1, max_size=20)):
        slot += draw(st.integers(1, 4))
        closed.append((slot, Cells(found)))
    return closed


def history(longest: Window, closed: Sequence[Closed]) -> History:
    found = History(longest)
    for slot, cells in closed:
        found.add(slot, cells)
    return found


def brute_force(window: Window, closed: Sequence[Closed]) -> View | None:
    newest = closed[-1][0]
    if isinstance(window, CountWindow):
        sizes = [sum(cells.total() for _, cells in closed[-k:]) for k in range(1, len(closed) + 1)]
        enough = [k for k, n in enumerate(sizes, start=1) if n >= window.outcomes]
        if not enough:
            return None
        chosen = list(closed[-enough[0] :])
    else:
        begin = slot_start(newest + 1) - window.span
        chosen = [(slot, cells) for slot, cells in closed if slot_start(slot) >= begin]
    cells = sum((cells for _, cells in chosen), Cells())
    return View(cells=cells, n=cells.total(), first=chosen[0][0], end=slot_start(newest + 1))


class TestView:
    @thorough
    @given(stories(), count_windows | time_windows)
    def test_holds_the_newest_whole_slots_that_the_window_asks_for(self, closed: list[Closed], window: Window) -> None:
        for n in range(1, len(closed) + 1):
            assert history(window, closed[:n]).view(window) == brute_force(window, closed[:n])

    @thorough
    @given(stories(), st.tuples(count_windows, count_windows) | st.tuples(time_windows, time_windows))
    def test_is_the_same_whatever_was_forgotten(self, closed: list[Closed], windows: tuple[Window, Window]) -> None:
        short, long = sorted(windows, key=lambda w: w.outcomes if isinstance(w, CountWindow) else w.span)
        assert history(long, closed).view(short) == brute_force(short, closed)

    def test_of_a_count_window_is_at_least_as_large_and_says_how_large(self) -> None:
        closed = [(slot, Cells({("x", "x"): n})) for slot, n in ((1, 9), (2, 4), (3, 7))]
        view = history(CountWindow(outcomes=10), closed).view(CountWindow(outcomes=10))
        assert view is not None
        assert (view.n, view.first) == (11, 2)
        assert view.evidence == {"n": 11, "from": "1970-01-01T00:02:00+00:00", "to": "1970-01-01T00:04:00+00:00"}

    def test_of_nothing_is_none(self) -> None:
        assert History(CountWindow(outcomes=1)).view(CountWindow(outcomes=1)) is None
        assert History(TimeWindow(span=MINUTE)).view(TimeWindow(span=MINUTE)) is None

    def test_nothing_is_remembered_beyond_the_longest_window(self) -> None:
        counted, timed = History(CountWindow(outcomes=10)), History(TimeWindow(span=10 * MINUTE))
        for slot in range(100):
            counted.add(slot, Cells({("x", "x"): 2}))
            timed.add(slot, Cells({("x", "x"): 2}))
        assert len(counted._slots) == 5
        assert len(timed._slots) == 10
        assert counted.seen == timed.seen == 200

    def test_the_newest_slot_is_told(self) -> None:
        assert history(CountWindow(outcomes=1), [(3, Cells([("x", "y")])), (9, Cells([("x", "x")]))]).newest == (
            9,
            {("x", "x"): 1},
        )


class TestCorrections:
    """A correction takes back an outcome that the window may not hold any more."""

    CORRECTED = Cells({("x", "y"): -1, ("y", "y"): 1})

    def test_of_an_outcome_within_the_window_replaces_it(self) -> None:
        closed = [(1, Cells({("x", "y"): 3})), (2, self.CORRECTED)]
        view = history(TimeWindow(span=5 * MINUTE), closed).view(TimeWindow(span=5 * MINUTE))
        assert view is not None
        assert (view.cells, view.n) == ({("x", "y"): 2, ("y", "y"): 1}, 3)

    def test_of_an_older_one_leaves_no_negative_count(self) -> None:
        closed = [(1, Cells({("x", "y"): 1})), (9, self.CORRECTED + Cells({("x", "x"): 4}))]
        closed[1][1]["x", "y"] = -1
        view = history(TimeWindow(span=2 * MINUTE), closed).view(TimeWindow(span=2 * MINUTE))
        assert view is not None
        assert (view.cells, view.n) == ({("x", "x"): 4, ("y", "y"): 1}, 5)
        found = estimate("accuracy", view.cells)
        assert found is not None
        assert (found.value, found.n, found.high) == (1.0, 5, 1.0)

    def test_of_errors_within_the_window_is_exact(self) -> None:
        window, right, wrong = CountWindow(outcomes=3), erring([5.0, 7.0, 9.0], [5.5, 8.0, 7.0]), erring([5.0], [4.0])
        corrected = Cells(wrong)
        corrected.subtract(erring([5.0], [5.5]))
        view = history(CountWindow(outcomes=4), [(1, Cells(right)), (2, corrected), (3, wrong)]).view(window)
        assert view is not None
        assert view.n == 4
        assert value("mae", view.cells) == (1 + 1 + 2 + 1) / 4

    def test_of_an_error_from_before_the_window_leaves_a_view_of_nothing(self) -> None:
        taken = Cells()
        taken.subtract(erring([5.0], [5.5]))
        view = history(TimeWindow(span=MINUTE), [(1, taken)]).view(TimeWindow(span=MINUTE))
        assert view is not None
        assert view.n == 0
        assert estimate("mae", view.cells) is None

    @quick
    @given(
        st.lists(st.dictionaries(rows, st.integers(-3, 5), min_size=1), min_size=1, max_size=12),
        count_windows | time_windows,
    )
    def test_whatever_is_taken_back_every_metric_has_a_sane_value(
        self, changes: list[dict[tuple[str, str], int]], window: Window
    ) -> None:
        view = history(window, [(slot, Cells(cells)) for slot, cells in enumerate(changes)]).view(window)
        if view is None:
            return
        assert all(n > 0 for n in view.cells.values())
        assert correct(view.cells) <= view.n == sum(view.cells.values())
        for metric in CLASSIFICATION:
            found = estimate(metric, view.cells)
            assert found is None or 0 <= found.value <= 1


class TestBeat:
    @pytest.mark.parametrize(("seen", "beat"), [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (99, 9), (100, 10)])
    def test_a_count_window_beats_at_every_tenth_of_its_outcomes(self, seen: int, beat: int) -> None:
        found = History(CountWindow(outcomes=100))
        if seen:
            found.add(0, Cells({("x", "x"): seen}))
        assert found.beat(CountWindow(outcomes=100)) == beat

    def test_a_time_window_beats_at_every_tenth_of_its_span(self) -> None:
        window = TimeWindow(span=50 * MINUTE)
        found = History(window)
        beats = []
        for slot in range(20):
            found.add(slot, Cells([("x", "x")]))
            beats.append(found.beat(window))
        assert [slot for slot in range(1, 20) if beats[slot] != beats[slot - 1]] == [4, 9, 14, 19]

    def test_before_anything_has_closed_it_stands(self) -> None:
        assert History(TimeWindow(span=MINUTE)).beat(TimeWindow(span=MINUTE)) == 0

    def test_what_is_only_remembered_was_counted_before(self) -> None:
        window = CountWindow(outcomes=10)
        found = History(window, seen=40)
        found.add(1, Cells({("x", "x"): 10}), remembered=True)
        assert (found.seen, found.beat(window)) == (40, 40)
        assert found.view(window) is not None
        found.add(2, Cells({("x", "x"): 3}))
        assert (found.seen, found.beat(window)) == (43, 43)


def test_a_window_is_told_in_words() -> None:
    assert str(CountWindow(outcomes=2000)) == "2000 outcomes"
    assert str(TimeWindow(span=90 * MINUTE)) == "90m"
