"""Who holds the alias: intent before deed before confirmation, and whatever happens in between is put right."""

from __future__ import annotations

from dataclasses import replace

import pytest

from retrainer.domain.deciding.ledger import Act, LedgerRow, Reign
from retrainer.domain.values import iso
from retrainer.errors import Fenced, Unreachable
from tests.plain import plain_promotion
from tests.service.controlling import REGISTERED, Control
from tests.service.world import MINUTE, Crash, at

BOUNDARIES = [
    ("append_ledger.begin", 1),
    ("append_ledger.end", 1),
    ("version_at.begin", 1),
    ("point.begin", 1),
    ("point.end", 1),
    ("version_at.begin", 2),
    ("append_ledger.begin", 2),
    ("append_ledger.end", 2),
]
"""Every place between two steps of a promotion; the number says which time it is that it is reached, from 1."""


@pytest.fixture
def control(control: Control) -> Control:
    """The champion is version 1, adopted; version 2 waits."""
    control.registry.seed(versions=3)
    control.promotions().reconcile(at(0))
    control.entries.clear()
    control.registry.moves.clear()
    return control


def rows(control: Control) -> list[tuple[str, str | None, str | None]]:
    """What the ledger says since the first look."""
    return [(row.act.value, row.version, row.previous) for row in control.state.ledger("flights")[1:]]


def promote(control: Control, version: str = "2") -> bool:
    return control.promotions().promote("job-1", version, "better", control.watermark)


# The order of things


def test_the_intent_comes_first_then_the_alias_then_the_confirmation(control: Control) -> None:
    control.watch_acts()
    assert promote(control)
    assert control.acts == ["intended", "point.begin", "point.end", "verified"]


def test_a_promotion_leaves_an_intent_and_its_confirmation(control: Control) -> None:
    promotions = control.promotions()
    control.clock.advance(7)
    assert promotions.promote("job-1", "2", "better", at(60))
    intent, verified = control.state.ledger("flights")[1:]
    assert intent == LedgerRow(
        model="flights",
        alias="champion",
        act=Act.INTENDED,
        version="2",
        previous="1",
        reason="better",
        effective_from=at(65),
        written_at=control.clock.now(),
        job_id="job-1",
        number=intent.number,
    )
    assert (verified.act, verified.of, verified.version, verified.effective_from) == (
        Act.VERIFIED,
        intent.number,
        "2",
        at(65),
    )
    assert control.registry.champion == "2"
    assert control.registry.moves == [(REGISTERED, "champion", "2")]
    assert promotions.reign is not None
    assert (promotions.reign.version, promotions.reign.effective_from) == ("2", at(65))
    told = control.entries.one("model.promoted")
    assert (told["version"], told["previous"], told["job_id"]) == ("2", "1", "job-1")
    assert told["effective_from"] == iso(at(65))


def test_without_a_watermark_the_version_counts_from_the_beginning(control: Control) -> None:
    assert control.promotions().promote("job-1", "2", "better", None)
    assert control.state.ledger("flights")[-1].effective_from is None


def test_a_promotion_that_is_repeated_is_made_once(control: Control) -> None:
    assert promote(control)
    assert promote(control)
    assert rows(control) == [("intended", "2", "1"), ("verified", "2", "1")]
    assert len(control.registry.moves) == 1
    control.entries.one("model.promoted")


def test_the_first_champion_needs_no_predecessor(control: Control) -> None:
    control.registry.move_by_hand(None)
    control.promotions().reconcile(at(0))
    assert promote(control)
    assert control.registry.champion == "2"


def test_a_registry_that_does_as_if_is_not_believed(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control.registry, "point", lambda *_: None)
    assert not promote(control)
    assert rows(control) == [("intended", "2", "1"), ("undone", "2", "1")]


# Crashes


@pytest.mark.parametrize(("place", "nth"), BOUNDARIES)
@pytest.mark.parametrize("repaired_by", ["the start", "the job"])
def test_a_crash_between_any_two_steps_is_put_right(control: Control, place: str, nth: int, repaired_by: str) -> None:
    control.crasher.arm(place, nth)
    with pytest.raises(Crash):
        promote(control)
    control.claim()
    if repaired_by == "the start":
        control.promotions().reconcile(control.watermark)
    assert promote(control)
    assert control.registry.champion == "2"
    assert rows(control) == [("intended", "2", "1"), ("verified", "2", "1")]
    assert control.registry.moves == [(REGISTERED, "champion", "2")]


@pytest.mark.parametrize(("place", "nth"), BOUNDARIES[1:])
def test_a_start_alone_finishes_what_was_intended(control: Control, place: str, nth: int) -> None:
    control.crasher.arm(place, nth)
    with pytest.raises(Crash):
        promote(control)
    control.claim()
    reign = control.promotions().reconcile(control.watermark)
    assert reign.version == control.registry.champion == "2"
    assert reign.effective_from == at(65)
    assert [act for act, *_ in rows(control)] == ["intended", "verified"]


def test_an_alias_is_never_moved_without_an_intent_on_record(control: Control) -> None:
    control.crasher.arm("append_ledger.begin")
    with pytest.raises(Crash):
        promote(control)
    assert control.registry.moves == []
    assert rows(control) == []


# People


@pytest.mark.parametrize("version", ["3", None])
@pytest.mark.parametrize(("place", "nth"), BOUNDARIES[1:4])
def test_whoever_moves_the_alias_in_the_midst_of_a_promotion_wins(
    control: Control, place: str, nth: int, version: str | None
) -> None:
    control.crasher.arm(place, nth)
    with pytest.raises(Crash):
        promote(control)
    control.registry.move_by_hand(version)
    control.claim()
    promotions = control.promotions()
    assert promotions.reconcile(control.watermark).version == version
    assert control.registry.champion == version
    assert rows(control) == [("intended", "2", "1"), ("undone", "2", "1"), ("external", version, "1")]
    assert not promotions.promote("job-1", "2", "better", control.watermark)
    assert control.registry.champion == version
    assert control.entries.one("alias.repaired")["act"] == "undone"
    assert control.entries.one("alias.adopted")["version"] == version
    assert control.entries.of("model.promoted") == []


def test_an_alias_that_a_person_has_just_moved_is_left_alone(control: Control) -> None:
    control.registry.move_by_hand("3")
    promotions = control.promotions()
    assert not promotions.promote("job-1", "2", "better", at(60))
    assert control.registry.champion == "3"
    assert control.registry.moves == []
    assert promotions.reconcile(at(61)).version == "3"


def test_a_person_who_moves_the_alias_to_the_candidate_has_promoted_it(control: Control) -> None:
    control.registry.move_by_hand("2")
    assert promote(control)
    assert rows(control) == [("intended", "2", "1"), ("verified", "2", "1")]


def test_the_first_look_is_adopted_from_the_beginning(control: Control) -> None:
    (first,) = control.state.ledger("flights")
    assert (first.act, first.version, first.previous, first.effective_from) == (Act.EXTERNAL, "1", None, None)
    assert first.reason == "found at the first look"


def test_an_alias_moved_by_a_person_is_followed_once(control: Control) -> None:
    control.registry.move_by_hand("3")
    promotions = control.promotions()
    for _ in range(3):
        reign = promotions.reconcile(at(70))
        assert (reign.version, reign.effective_from) == ("3", at(70))
    assert rows(control) == [("external", "3", "1")]
    told = control.entries.one("alias.adopted")
    assert (told["version"], told["previous"], told["reason"]) == ("3", "1", "moved by a person")


def test_an_alias_removed_by_a_person_leaves_no_champion(control: Control) -> None:
    control.registry.move_by_hand(None)
    reign = control.promotions().reconcile(at(70))
    assert reign.version is None
    assert control.promotions().reconcile(at(71)).version is None
    assert rows(control) == [("external", None, "1")]


def test_a_model_without_a_champion_is_nothing_to_adopt(control: Control) -> None:
    control.policy = replace(control.policy, name="hotels", promotion=plain_promotion(registered_model="hotels-model"))
    promotions = control.promotions()
    assert promotions.reconcile(at(0)) == promotions.reign == Reign(version=None, effective_from=None)
    assert list(control.state.ledger("hotels")) == []


# Outages and owners


@pytest.mark.parametrize("away", ["registry", "manifest"])
def test_an_outage_moves_nothing_and_may_be_tried_again(control: Control, away: str) -> None:
    outside = control.registry if away == "registry" else control.world.manifest
    outside.go_away()
    with pytest.raises(Unreachable):
        promote(control)
    outside.come_back()
    assert control.registry.moves == []
    assert promote(control)
    assert rows(control) == [("intended", "2", "1"), ("verified", "2", "1")]


def test_the_reign_known_before_stands_while_the_registry_is_away(control: Control) -> None:
    promotions = control.promotions()
    promotions.reconcile(at(0))
    control.registry.go_away()
    with pytest.raises(Unreachable):
        promotions.reconcile(at(1))
    assert promotions.reign is not None
    assert promotions.reign.version == "1"


def test_a_controller_that_was_succeeded_moves_nothing(control: Control) -> None:
    old = control.promotions()
    control.claim()
    with pytest.raises(Fenced):
        old.promote("job-1", "2", "better", at(60))
    assert control.registry.moves == []


def test_a_controller_that_was_succeeded_adopts_nothing(control: Control) -> None:
    old = control.promotions()
    control.claim()
    control.registry.move_by_hand("3")
    with pytest.raises(Fenced):
        old.reconcile(at(60))
    assert rows(control) == []


def test_takes_effect_is_counted_from_the_watermark(control: Control) -> None:
    assert control.policy.promotion.takes_effect == 5 * MINUTE
    control.promotions().promote("job-1", "2", "better", at(100))
    assert control.state.ledger("flights")[-1].effective_from == at(105)
