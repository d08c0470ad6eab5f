"""Judging on: a candidate whose verdict was open against the champion, as new labels come. As the service does."""

from __future__ import annotations

from dataclasses import dataclass, replace

from retrainer.domain.deciding.jobs import Job, JobState, after_look
from retrainer.domain.judging.challenge import Differences
from retrainer.domain.values import SLOT_WIDTH, Micros
from retrainer.replay.table.learning import Served, Trainer
from retrainer.replay.table.models import Version
from retrainer.service.jobs.challenger import FEWEST_ROWS, expired, is_due
from retrainer.service.jobs.order import order_to_judge
from retrainer.training.candidate import asking
from retrainer.training.challenger import compare
from retrainer.training.dataset import TrainingRows


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What is known at a time: everything before the watermark, and so many outcomes in the slots that have closed."""

    now: Micros
    watermark: Micros
    outcomes: int


def challenged(trainer: Trainer, job: Job, version: Version, at: Moment) -> Job:
    """The job from the moment on at which its candidate becomes the challenger."""
    return job.challenging(
        trainer.policy.judge,
        version.name,
        version.result.row_loss,
        at=at.watermark,
        now=at.now,
        outcomes=at.outcomes,
    )


@dataclass(frozen=True, kw_only=True)
class ReplayChallenger:
    """One challenger beside the champion that it challenges."""

    trainer: Trainer
    challenger: Version
    champion: Version

    def look(self, job: Job, at: Moment, served: Served) -> tuple[Job, str]:
        """The job after a look, if there is news about it, and why it has ended."""
        challenge = job.challenge
        assert challenge is not None
        if not is_due(job, self.trainer.policy, at.outcomes):
            return job, ""
        why = expired(challenge, self.trainer.policy, at.watermark)
        if why is not None:
            return dropped(job, at.now), why
        known_by = at.watermark - at.watermark % SLOT_WIDTH
        usable = self.trainer.known(known_by, served, after=challenge.judged_to)
        if usable is None or len(usable.rows) < FEWEST_ROWS:
            return job, ""
        compared = self._compared(job, usable.rows)
        challenge = challenge.after(compared, known_by - usable.mature_after + 1, at.outcomes)
        job = replace(job, challenge=challenge)
        ahead = after_look(challenge.test, self.trainer.policy.promotion.mode)
        return (job, "") if ahead is JobState.CHALLENGING else (job.end(ahead, at.now), challenge.test.words)

    def _compared(self, job: Job, rows: TrainingRows) -> Differences | None:
        """How both fared on new rows; None where one of them failed: they are looked at again with the next ones."""
        spec = order_to_judge(job, self.trainer.policy, "", self.challenger.result.row_loss)
        with self.trainer.costs.of_training():
            try:
                ours, theirs = asking(self.challenger.fitted, spec), asking(self.champion.fitted, spec)
                return compare(spec, rows, ours, theirs).compared
            except Exception:  # noqa: BLE001 - an estimator is other people's code
                return None


def dropped(job: Job, now: Micros) -> Job:
    """The challenger is given up."""
    return job.end(JobState.REJECTED, now)
