"""A topic that brings nothing but records that cannot be used."""

from __future__ import annotations

from tests.service.world import LABELLED, World


def test_case_22_a_topic_of_nothing_but_poison_is_halted_and_the_others_go_on(world: World) -> None:
    worker = world.worker()
    world.settle(worker)
    for _ in range(1500):
        world.write(LABELLED, b"poison")
    worker.run_once()
    for key in range(10):
        world.write(LABELLED, b"more poison")
        world.predict(key, 0)
        world.flush(worker)
    told = world.entries.one("topic.halted")
    assert (told["log_level"], told["topic"]) == ("error", "labels")
    assert told["records"] >= 1000
    assert "not JSON" in told["reason"]
    assert world.counts()["predictions.consumed"] == 10
    passed = world.positions()["labels-0"]
    assert 1000 <= passed == len(world.quarantined()) < 1510  # what was passed is kept, the rest is not passed
    assert worker.assigned


def test_case_22_a_new_start_tries_a_halted_topic_again_and_skips_nothing(world: World) -> None:
    for _ in range(1500):
        world.write(LABELLED, b"poison")
    world.flush(world.worker())
    world.label("f1", 5)
    world.predict("f1", 0)
    for _ in range(3):
        worker = world.worker()
        for _ in range(5):
            world.flush(worker)
    assert world.positions()["labels-0"] == 1501
    assert world.counts()["labels.quarantined"] == len(world.quarantined()) == 1500
    assert world.tallies() == {("1", 5, "late", "late"): 1}


def test_case_22_a_good_record_now_and_then_keeps_a_topic_going(world: World) -> None:
    world.batch = 100
    worker = world.worker()
    for number in range(3000):
        if number % 50:
            world.write(LABELLED, b"poison")
        else:
            world.label(number, 5)
    world.settle(worker)
    assert "topic.halted" not in world.entries.events
    assert world.counts()["labels.consumed"] == 3000
