"""What is played: every row against a slow and obvious computation, and nothing before its time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from retrainer.domain.deciding.jobs import JobState
from retrainer.domain.values import SECOND, SLOT_WIDTH, slot_start
from retrainer.replay.options import TableOptions, Warm
from retrainer.replay.table import counting, engine
from retrainer.replay.table.engine import Played, play
from retrainer.replay.table.table import Table, load
from retrainer.service.policy import ModelPolicy
from retrainer.training.pipeline import build
from tests.replay.streams import policy, turning, written

KNN = "{estimator: sklearn.neighbors.KNeighborsClassifier, params: {n_neighbors: 1}, rows: all}"
EVERY_MINUTE = "    triggers: {beat: {schedule: {every: 3m}}}\n"


def table_of(folder: Path, frame: pd.DataFrame, **changes: object) -> Table:
    given = {"label": "label", "warm": Warm(share=None, rows=600), **changes}
    return load(TableOptions(path=written(folder, frame, "t.parquet"), **given))  # type: ignore[arg-type]  # given by name


def answered(played: Played) -> list[str]:
    texts = played.table.classes.texts
    return [texts[code] for code in played.served.answers[played.table.warm :]]


@pytest.fixture(scope="module", params=[(0, 0), (0, 400), (90, 0), (300, 150)], ids=str)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Played, int]:
    """A replay with this delay of the labels and length of a job, in seconds."""
    folder = tmp_path_factory.mktemp("case")
    delay, takes = request.param
    table = table_of(folder, turning(), label_delay=delay * SECOND)
    return play(policy(folder), table, takes * SECOND), takes * SECOND


def test_a_change_is_answered_by_a_promotion_that_pays(case: tuple[Played, int]) -> None:
    played, _ = case
    assert played.promotions
    newest = slice(len(played.table) - 1_000, None)
    assert (played.served.answers[newest] == played.table.labels[newest]).mean() > 0.8


def test_each_row_is_answered_by_the_model_that_stood_then(case: tuple[Played, int]) -> None:
    """Models are fitted anew on what the report says, with nothing but pandas, and asked row by row of the clock."""
    played, takes = case
    table, join = played.table, played.policy.ingest.join
    frame = table.features.assign(truth=[table.classes.texts[code] for code in table.labels])
    reigns = [(-1, frame[: table.warm][table.arrivals[: table.warm] <= table.times[table.warm]])]
    for ran in played.jobs:
        known_by = ran.job.known_by
        assert known_by == ran.job.decided_at <= ran.at - join.lateness
        if ran.job.state is not JobState.PROMOTED:
            continue
        delays = (table.arrivals - table.times)[table.arrivals < known_by]
        mature = np.sort(delays)[min(len(delays) - 1, int(0.95 * len(delays)))]
        usable = (table.arrivals < known_by) & (table.times <= known_by - mature)
        reigns.append((ran.at + takes, frame[usable].iloc[-600:]))
    for (begin, rows), (end, _) in zip(reigns, [*reigns[1:], (2**62, None)], strict=True):
        mine = (table.times > begin) & (table.times <= end) & (np.arange(len(table)) >= table.warm)
        learnt = rows.drop(columns="truth")
        fitted = build(played.policy.recipe, learnt).fit(learnt, rows["truth"].to_numpy(dtype=np.str_))
        wanted = fitted.predict(table.features[mine])
        found = [table.classes.texts[code] for code in played.served.answers[mine]]
        assert found == wanted.tolist()


def test_what_is_decided_looks_at_closed_slots_only(case: tuple[Played, int]) -> None:
    played, _ = case
    lateness = played.policy.ingest.join.lateness
    for decided in played.decisions:
        assert decided.decision.slot_end % SLOT_WIDTH == 0
        assert decided.decision.slot_end <= decided.at - lateness
        assert played.table.times[decided.row] <= decided.at


@pytest.mark.parametrize("end", [2_500, 3_500, 4_700])
@pytest.mark.parametrize("delay", [0, 300])
def test_what_comes_later_changes_nothing_before(tmp_path: Path, end: int, delay: int) -> None:
    """Features from a row on and every label that is not there yet are replaced by nonsense, with a new class."""
    frame = turning()
    options = {"label_delay": delay * SECOND}
    one = play(policy(tmp_path), table_of(tmp_path, frame, **options), 0)
    other = frame.copy()
    other.loc[end:, ["a", "b"]] = np.nan
    first_unknown = max(600, end - delay)
    other.loc[first_unknown:, "label"] = np.random.default_rng(1).choice(
        ["yes", "no", "maybe"], len(other) - first_unknown
    )
    two = play(policy(tmp_path), table_of(tmp_path, other, **options), 0)
    before = end - 600
    assert answered(one)[:before] == answered(two)[:before]
    now = int(one.table.times[end - 1])
    told = [[(d.decision.decision_id, d.row) for d in played.decisions if d.at < now] for played in (one, two)]
    assert told[0] == told[1]


def test_the_next_row_s_label_in_the_features_is_no_help(tmp_path: Path) -> None:
    """Labels are tosses of a coin. A model that is trained a row too far would know them."""
    coins = np.random.default_rng(2).choice(["yes", "no"], 6_000)
    frame = pd.DataFrame({"next": np.append(coins[1:], "no"), "label": coins})
    played = play(policy(tmp_path, more=EVERY_MINUTE), table_of(tmp_path, frame), 0)
    assert len(played.jobs) > 5
    assert (played.served.answers == played.table.labels)[600:].mean() == pytest.approx(0.5, abs=0.03)


def test_labels_that_have_not_arrived_cannot_be_looked_up(tmp_path: Path) -> None:
    """Every key comes a second time 1,000 rows later, with the same label. Where labels take 1,500 rows, the first
    one's is not known by then: a model that remembers keys does no better than chance. Without a delay it does."""
    random = np.random.default_rng(3)
    keys = np.concatenate([np.tile(random.random(1_000), 2) for _ in range(4)])
    labels = np.concatenate([np.tile(random.choice(["yes", "no"], 1_000), 2) for _ in range(4)])
    frame = pd.DataFrame({"key": keys, "label": labels})
    hits = []
    for delay in (0, 1_500):
        table = table_of(tmp_path, frame, label_delay=delay * SECOND, warm=Warm(share=None, rows=2_500))
        played = play(policy(tmp_path, training=KNN, more=EVERY_MINUTE), table, 0)
        assert played.jobs
        hits.append((played.served.answers == table.labels)[2_500:].mean())
    assert hits[0] > 0.56
    assert hits[1] == pytest.approx(0.5, abs=0.03)


def test_how_many_rows_are_looked_at_at_once_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of(tmp_path, turning(), label_delay=90 * SECOND)
    usual = play(policy(tmp_path), table, 60 * SECOND)
    monkeypatch.setattr(engine, "_SMALLEST_BLOCK", 7)
    monkeypatch.setattr(engine, "_LARGEST_BLOCK", 100)
    monkeypatch.setattr(counting, "_BLOCK", 50)
    monkeypatch.setattr(counting, "_WIDEST", 2)
    in_bits = play(policy(tmp_path), table, 60 * SECOND)
    assert usual.promotions
    assert usual.promotions == in_bits.promotions
    assert usual.decisions == in_bits.decisions
    assert (usual.served.answers == in_bits.served.answers).all()
    assert (usual.served.versions == in_bits.served.versions).all()


def test_a_replay_again_is_the_same(tmp_path: Path) -> None:
    first, again = (play(policy(tmp_path), table_of(tmp_path, turning()), 60 * SECOND) for _ in range(2))
    assert (first.served.answers == again.served.answers).all()
    assert first.decisions == again.decisions
    assert [ran.job.triggers for ran in first.jobs] == [ran.job.triggers for ran in again.jobs]
    assert first.promotions == again.promotions


def test_a_job_that_outlasts_the_rows_ends_nothing(tmp_path: Path) -> None:
    played = play(policy(tmp_path), table_of(tmp_path, turning()), 86_400 * SECOND)
    assert len(played.jobs) == 1
    assert not played.jobs[0].has_ended
    assert not played.promotions
    assert set(played.served.versions[600:]) == {1}


def with_more(folder: Path, more: str) -> ModelPolicy:
    return policy(folder, more=more)


def test_who_observes_trains_nothing(tmp_path: Path) -> None:
    played = play(with_more(tmp_path, "    observe: true\n"), table_of(tmp_path, turning()), 0)
    assert not played.jobs
    assert {decided.decision.reason for decided in played.decisions} >= {"observing"}


def test_who_only_registers_keeps_the_first_version(tmp_path: Path) -> None:
    played = play(with_more(tmp_path, "    promotion: {mode: register}\n"), table_of(tmp_path, turning()), 0)
    assert JobState.ACCEPTED in {ran.job.state for ran in played.jobs}
    assert not played.promotions
    assert set(played.served.versions[600:]) == {1}


def test_a_warm_part_whose_labels_have_not_come_cannot_be_learned_from(tmp_path: Path) -> None:
    table = table_of(tmp_path, turning(), label_delay=700 * SECOND)
    with pytest.raises(Exception, match="of the 600 rows of the warm part 0 had their label by then"):
        play(policy(tmp_path), table, 0)


def test_warm_rows_count_among_those_that_can_be_learned_from(tmp_path: Path) -> None:
    """`rows` of the first decision: every outcome known by then, those of the warm part too."""
    played = play(policy(tmp_path, training=KNN), table_of(tmp_path, turning(), label_delay=90 * SECOND), 0)
    decision = played.decisions[0].decision
    known = int((played.table.arrivals < slot_start(decision.slot_end // SLOT_WIDTH)).sum())
    assert decision.evidence["rows"] == known
