"""What a training process is told of the change that its rows may have gone through."""

from __future__ import annotations

import pytest

from retrainer.domain.judging.order import TrainingResult
from retrainer.service.jobs.order import order_to_train
from tests.domain.making import a_job
from tests.service.controlling import model


@pytest.mark.parametrize(("asked", "before", "told"), [(5, 3, 5), (None, 3, 3), (None, None, None)])
def test_what_is_older_than_the_last_change_stays_out_of_date(
    asked: int | None, before: int | None, told: int | None
) -> None:
    """A later candidate hears of the change that its champion was made after, unless a newer one has asked for it."""
    champion = TrainingResult(job_id="c", verdict=None, began=before)
    assert order_to_train(a_job(began=asked), model(), "", champion).began == told
    assert order_to_train(a_job(began=asked), model(), "", None).began == asked
