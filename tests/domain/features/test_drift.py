"""Drift: what differs is named, and what does not is not, however many features there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy import stats

from retrainer.domain.features.drift import (
    DriftView,
    FeatureDrift,
    chi_square,
    chi_square_p,
    compared,
    drifted,
    holm,
    jensen_shannon,
    kolmogorov_smirnov,
    shares_p,
    stability_index,
)
from retrainer.domain.features.profiles import FeatureValues, Profile, profile_of, values_of
from retrainer.domain.metrics.windows import CountWindow, History
from retrainer.domain.triggers.base import Level, Reading, Scene, State
from retrainer.domain.triggers.drift import Drift, words
from retrainer.domain.values import iso
from tests.domain.making import MINUTE
from tests.plain import plain_drift

Rows = dict[str, FeatureValues]


FEATURES = 10
"""Of each shape."""


def traffic(random: np.random.Generator, n: int, **changed: Callable[[Any], Any]) -> Rows:
    """Rows with numbers of several shapes, categories and missing values; `changed` features by name."""
    rows: dict[str, Any] = {}
    for k in range(FEATURES):
        rows[f"normal{k}"] = random.normal(k, 1 + k, n)
        rows[f"skewed{k}"] = random.lognormal(0, 1.5, n)
        rows[f"count{k}"] = random.poisson(0.3 + k, n).astype(float)
        rows[f"text{k}"] = random.choice(list("abcdefghij"), n, p=np.arange(1, 11) / 55)
    for name, change in changed.items():
        rows[name] = change(rows[name])
    return {name: values(held) for name, held in rows.items()}


def values(held: Any) -> FeatureValues:
    """As `values_of`, at the speed of arrays."""
    if held.dtype.kind == "U":
        return FeatureValues(kind="text", missing=0, texts=dict(zip(*np.unique(held, return_counts=True), strict=True)))
    present = held[np.isfinite(held)]
    return FeatureValues(kind="number", missing=len(held) - len(present), numbers=present)


def drifts(before: Rows, now: Rows, n: int, m: int) -> Mapping[str, FeatureDrift]:
    reference = profile_of(before, n)
    return {name: compared(reference, name, counts) for name, counts in reference.binned(now, m).items()}


class TestStatistics:
    @pytest.mark.parametrize("freedom", [1, 2, 5, 20, 60])
    @pytest.mark.parametrize("statistic", [0.01, 0.5, 3.0, 15.0, 60.0, 200.0])
    def test_chi_square_is_that_of_scipy(self, statistic: float, freedom: int) -> None:
        assert chi_square_p(statistic, freedom) == pytest.approx(stats.chi2.sf(statistic, freedom), rel=1e-8, abs=1e-12)

    def test_the_test_of_categories_is_that_of_scipy(self) -> None:
        before, now = np.array([50, 30, 80, 0]), np.array([20, 40, 60, 0])
        statistic, p = chi_square(before, now)
        expected = stats.chi2_contingency([before[:3], now[:3]], correction=False)
        assert statistic == pytest.approx(expected.statistic)
        assert p == pytest.approx(expected.pvalue)

    def test_kolmogorov_and_smirnov_find_on_bins_what_scipy_finds_on_values(self) -> None:
        random = np.random.default_rng(3)
        before, now = random.integers(0, 8, 400), random.integers(0, 8, 300) + (random.random(300) < 0.2)
        counts = [np.bincount(values, minlength=9) for values in (before, now)]
        statistic, p = kolmogorov_smirnov(*counts)
        expected = stats.ks_2samp(before, now, method="asymp")
        assert statistic == pytest.approx(expected.statistic)
        assert p == pytest.approx(expected.pvalue, rel=0.2)

    def test_shares_are_compared_as_chi_square_does(self) -> None:
        expected = stats.chi2_contingency([[30, 170], [17, 193]], correction=False)
        assert shares_p(30, 200, 17, 210) == pytest.approx(expected.pvalue)
        assert shares_p(0, 10, 0, 10) == shares_p(3, 0, 1, 10) == 1.0

    def test_holm_is_at_least_each_chance_and_keeps_their_order(self) -> None:
        chances = {("a", "values"): 0.01, ("b", "values"): 0.04, ("c", "values"): 0.03, ("d", "values"): 0.005}
        assert holm(chances) == pytest.approx(  # type: ignore[arg-type]  # approx has no types for this
            {("d", "values"): 0.02, ("a", "values"): 0.03, ("c", "values"): 0.06, ("b", "values"): 0.06}
        )

    def test_distances_are_nothing_for_the_same_and_most_for_what_has_nothing_in_common(self) -> None:
        one, other = np.array([100, 200, 0]), np.array([0, 0, 300])
        assert (jensen_shannon(one, one), stability_index(one, one)) == (0.0, 0.0)
        assert jensen_shannon(one, other) == pytest.approx(1.0)
        assert stability_index(one, other) > 5

    def test_the_index_of_small_samples_is_not_taken_for_drift(self) -> None:
        random = np.random.default_rng(5)
        found = [stability_index(*random.multinomial(60, [0.05] * 20, size=2)) for _ in range(200)]
        assert np.mean(found) < 0.1, "without the correction it would be 0.67"


class TestFalseAlarms:
    def test_hardly_any_evaluation_names_a_feature_that_did_not_change(self) -> None:
        """240 evaluations of 40 features each, over independent rows; 12 of them might err."""
        random = np.random.default_rng(11)
        alarms = 0
        for _ in range(80):
            reference = traffic(random, 1500)
            alarms += sum(bool(drifted(drifts(reference, traffic(random, m), 1500, m), 0.95)) for m in (100, 300, 1000))
        assert alarms <= 2

    def test_neither_does_one_where_rows_come_in_bursts(self) -> None:
        """Each row four times over: a test that takes them for independent errs in most evaluations, effects do not."""
        random = np.random.default_rng(12)
        alarms = significant = 0
        for _ in range(50):
            sides = [{str(k): values(np.repeat(random.normal(0, 1, 750), 4)) for k in range(30)} for _ in range(2)]
            found = drifts(sides[0], sides[1], 3000, 3000)
            alarms += bool(drifted(found, 0.95))
            significant += min(one.p or 1 for one in found.values()) < 0.05 / 60
        assert significant > 20
        assert alarms == 0


class TestWhatIsFound:
    CHANGES: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
        "a shift": ("normal0", lambda held: held + 0.7),
        "a unit": ("skewed1", lambda held: held * 60),
        "a count": ("count2", lambda held: held + 1.5),
        "a category": ("text3", lambda held: np.where(held == "j", "a", held)),
        "a new category": ("text4", lambda held: np.where(np.arange(len(held)) % 5 == 0, "new", held)),
        "missing values": ("normal5", lambda held: np.where(np.arange(len(held)) % 6 == 0, np.nan, held)),
        "another type": ("normal6", lambda held: np.array(list(map(str, held)))),
    }

    @pytest.mark.parametrize("change", CHANGES)
    def test_a_change_is_named_and_no_other_feature(self, change: str) -> None:
        name, apply = self.CHANGES[change]
        random = np.random.default_rng(21)
        found = drifted(drifts(traffic(random, 4000), traffic(random, 1000, **{name: apply}), 4000, 1000), 0.95)
        assert [one.feature for one in found] == [name]
        assert found[0].what == (("missing",) if change in ("missing values", "another type") else ("values",))

    def test_significance_alone_is_not_enough(self) -> None:
        random = np.random.default_rng(22)
        found = drifts(traffic(random, 50_000), traffic(random, 50_000, normal0=lambda x: x + 0.1), 50_000, 50_000)
        assert (found["normal0"].p or 0) < 1e-9
        assert drifted(found, 0.95) == []

    def test_only_the_features_that_are_watched_are_tested(self) -> None:
        random = np.random.default_rng(23)
        found = drifts(traffic(random, 2000), traffic(random, 1000, normal0=lambda x: x + 3), 2000, 1000)
        assert drifted(found, 0.95, ["normal1"]) == []
        assert [one.feature for one in drifted(found, 0.95, ["normal0"])] == ["normal0"]

    def test_too_few_values_say_nothing(self) -> None:
        found = drifts({"x": values_of(range(1000))}, {"x": values_of([10**6] * 40)}, 1000, 40)
        assert (found["x"].psi, drifted(found, 0.95)) == (None, [])


REFERENCE = profile_of({"hour": values_of([n % 24 for n in range(2000)]), "tail": values_of(["x", "y"] * 1000)}, 2000)
WINDOW = CountWindow(outcomes=1000)


def view(end: int, tenth: int, hours: list[object], reference: Profile = REFERENCE) -> DriftView:
    columns = {"hour": values_of(hours), "tail": values_of((["x", "y"] * len(hours))[: len(hours)])}
    return DriftView(
        reference=reference,
        source="the rows that the champion learnt from",
        counts=reference.binned(columns, len(hours)),
        n=len(hours),
        first=0,
        end=end * MINUTE,
        tenth=tenth * MINUTE,
    )


SAME: list[object] = [n % 24 for n in range(1000)]
NIGHT: list[object] = [n % 6 for n in range(1000)]
GONE: list[object] = [None if n % 2 else n % 24 for n in range(1000)]


class TestTrigger:
    def say(self, trigger: Drift, *views: DriftView | None) -> list[Reading]:
        state: State = {}
        said = []
        for seen in views:
            scene = Scene(history=History(WINDOW), drift={} if seen is None else {str(WINDOW): seen})
            state, reading = trigger.evaluate(msgspec.json.decode(msgspec.json.encode(state)), scene)
            said.append(reading)
        return said

    def test_it_warns_and_fires_only_if_told_to(self) -> None:
        seen = view(100, 90, NIGHT)
        assert self.say(plain_drift(newest=WINDOW), seen)[0].level is Level.WARNED
        assert self.say(plain_drift(newest=WINDOW, launches=True), seen)[0].level is Level.FIRED
        assert self.say(plain_drift(newest=WINDOW), view(100, 90, SAME))[0].level is Level.QUIET

    def test_it_looks_again_when_a_tenth_of_the_window_is_new(self) -> None:
        said = self.say(plain_drift(newest=WINDOW), view(100, 90, SAME), view(109, 99, NIGHT), view(110, 100, NIGHT))
        assert [reading.level for reading in said] == [Level.QUIET, Level.QUIET, Level.WARNED]

    def test_without_a_view_the_last_answer_stands(self) -> None:
        said = self.say(plain_drift(newest=WINDOW), None, view(100, 90, NIGHT), None)
        assert [reading.level for reading in said] == [Level.QUIET, Level.WARNED, Level.WARNED]

    def test_another_window_is_not_its_own(self) -> None:
        assert self.say(plain_drift(newest=CountWindow(outcomes=50)), view(100, 90, NIGHT))[0].evidence == {}

    def test_the_evidence_tells_a_colleague(self) -> None:
        (reading,) = self.say(plain_drift(newest=WINDOW), view(100, 90, GONE))
        told = words(msgspec.json.decode(msgspec.json.encode(reading.evidence)))
        assert told == (
            "1 of 2 features over the newest 1000 predictions looks different from the rows that the champion learnt "
            "from: hour (missing in 50.0%, before in 0.0%)"
        )
        assert reading.evidence["window"] == "1000 predictions"
        assert reading.evidence["to"] == iso(100 * MINUTE)
        (quiet,) = self.say(plain_drift(newest=WINDOW, features=("tail",)), view(100, 90, GONE))
        assert words(quiet.evidence).startswith("none of 1 features over the newest 1000 predictions looks different")
        assert words({}) == "too few predictions so far to compare their features"
