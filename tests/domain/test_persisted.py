"""Everything that is stored or handed to another process comes back as it was."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrainer.domain.deciding import memory as deciding_memory
from retrainer.domain.deciding.decisions import Decision, DecisionAnswer
from retrainer.domain.deciding.jobs import Job, JobState
from retrainer.domain.deciding.memory import ModelMemory
from retrainer.domain.judging import order as training
from retrainer.domain.judging.challenge import Differences, RowLoss
from retrainer.domain.judging.order import Recipe, RowRange, RowsPolicy, TrainingResult, TrainingSpec
from retrainer.domain.judging.verdicts import Gate, JudgePolicy, Verdict
from retrainer.domain.metrics.registry import Estimate
from retrainer.domain.triggers.base import Level, Reading
from tests.domain.making import quick, restored

finite = st.floats(allow_nan=False, allow_infinity=False)
words = st.text(max_size=8)
times = st.integers(-(2**55), 2**62)
evidence = st.dictionaries(
    words,
    st.recursive(
        st.none() | st.booleans() | times | finite | words,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
        max_leaves=4,
    ),
    max_size=3,
)
readings = st.dictionaries(words, st.builds(Reading, level=st.sampled_from(Level), evidence=evidence), max_size=2)
triggers = st.lists(words, max_size=2).map(tuple)
verdicts = st.builds(
    Verdict,
    gates=st.lists(
        st.builds(Gate, name=words, passed=st.booleans(), reason=words, evidence=evidence, undecided=st.booleans()),
        max_size=2,
    ).map(tuple),
)
ranges = st.none() | st.builds(RowRange, rows=st.integers(0, 2**40), first=times, last=times)
scores = st.dictionaries(words, finite, max_size=2)
estimates = st.dictionaries(
    words,
    st.builds(Estimate, metric=words, value=finite, n=times, low=st.none() | finite, high=st.none() | finite),
    max_size=2,
)
row_losses = st.none() | st.builds(
    RowLoss, kind=st.sampled_from(["wrong", "absolute"]), scale=finite, weights=scores, exact=st.booleans()
)
results = st.builds(
    TrainingResult,
    job_id=words,
    verdict=st.none() | verdicts,
    error=st.none() | words,
    candidate=scores,
    champion=scores,
    champion_by=st.sampled_from(["model", "events", "none"]),
    trained_on=ranges,
    held_out=ranges,
    refitted_on=ranges,
    rows_chosen=words,
    evaluation=estimates,
    classes=triggers,
    row_loss=row_losses,
    compared=st.none() | st.builds(Differences, values=st.lists(finite, max_size=3).map(tuple)),
    seconds=finite,
)
rows = st.builds(
    RowsPolicy,
    kind=st.sampled_from(["last", "all", "auto", "since_change"]),
    count=st.none() | st.integers(1, 10**9),
    span=st.none() | times,
)
specs = st.builds(
    TrainingSpec,
    job_id=words,
    model=words,
    task=st.sampled_from(["classification", "regression"]),
    metrics=triggers,
    positive=st.none() | words,
    recipe=st.builds(Recipe, estimator=words, params=evidence, rows=rows, holdout=finite, refit=st.booleans()),
    judge=st.builds(
        JudgePolicy,
        min_rows=st.integers(1, 10**6),
        improvement=finite,
        confidence=st.floats(0.5, 0.999),
        floors=scores,
        max_slice_loss=st.none() | finite,
    ),
    judgement=st.integers(1, 99),
    champion_version=st.none() | words,
    dataset_digest=words,
    cpus=st.integers(1, 64),
    purpose=st.sampled_from(["train", "judge"]),
    began=st.none() | times,
    champion_trained_to=st.none() | times,
    row_loss=row_losses,
    slices=st.dictionaries(words, st.none() | words, max_size=2),
)
memories = st.builds(
    ModelMemory,
    champion=st.none() | words,
    known=st.booleans(),
    since=st.none() | times,
    evaluated_until=st.none() | times,
    seen=times,
    total=times,
    triggers=st.dictionaries(words, evidence, max_size=2),
    readings=readings,
    metrics=estimates,
    metric_window=words,
    beat=times,
    latched=readings,
    fired_at=st.dictionaries(words, times, max_size=2),
    paused=st.none() | words,
    last_decision=words,
)
decisions = st.builds(
    Decision,
    decision_id=words,
    model=words,
    slot_end=times,
    outcome=st.sampled_from(DecisionAnswer),
    triggers=triggers,
    reason=words,
    message=words,
    champion=st.none() | words,
    request=st.none() | words,
    decided_at=times,
    evidence=evidence,
)
jobs = st.builds(
    Job,
    job_id=words,
    decision_id=words,
    model=words,
    triggers=triggers,
    reason=words,
    decided_at=times,
    known_by=times,
    champion=st.none() | words,
    judgement=st.integers(1, 99),
    created_at=times,
    state=st.sampled_from(JobState),
    attempts=st.integers(0, 9),
    dataset_digest=words,
    result=st.none() | results,
    run_id=words,
    version=words,
    error=words,
    ended_at=st.none() | times,
    began=st.none() | times,
)


class TestRoundTrips:
    """Through JSON, as the manifest and the job folder keep them."""

    @quick
    @given(memories)
    def test_memory(self, memory: ModelMemory) -> None:
        assert restored(memory) == memory

    @quick
    @given(decisions)
    def test_decision(self, decision: Decision) -> None:
        assert restored(decision) == decision
        assert restored(decision).fingerprint == decision.fingerprint

    @quick
    @given(jobs)
    def test_job(self, job: Job) -> None:
        assert restored(job) == job
        assert restored(job).past == job.past

    @quick
    @given(specs)
    def test_training_spec(self, spec: TrainingSpec) -> None:
        assert restored(spec) == spec

    @quick
    @given(results)
    def test_training_result(self, result: TrainingResult) -> None:
        assert restored(result) == result


class TestFormats:
    def test_what_is_stored_says_in_which_format(self) -> None:
        assert msgspec.json.decode(msgspec.json.encode(ModelMemory()))["format"] == deciding_memory.FORMAT
        failed = TrainingResult(job_id="j", verdict=None, error="no rows")
        assert msgspec.json.decode(msgspec.json.encode(failed))["format"] == training.FORMAT

    def test_a_memory_from_before_a_field_was_added_is_read_with_its_default(self) -> None:
        assert msgspec.json.decode(b'{"champion": "3", "known": true}', type=ModelMemory) == ModelMemory(
            champion="3", known=True
        )

    @pytest.mark.parametrize(
        ("body", "as_type"),
        [
            (b'{"seen": "many"}', ModelMemory),
            (b'{"readings": {"low": {"level": "shouting"}}}', ModelMemory),
            (b'{"decision_id": "m"}', Decision),
            (b'{"job_id": "j", "state": "lost"}', Job),
        ],
    )
    def test_what_is_no_such_thing_is_refused(self, body: bytes, as_type: type) -> None:
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(body, type=as_type)
