"""Judging a challenger on: one look compares it with the champion on rows that neither has seen."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from retrainer.domain.deciding.jobs import Challenge, Job
from retrainer.domain.deciding.ledger import Reign
from retrainer.domain.judging.order import (
    CHALLENGER_FOLDER,
    CHAMPION_FOLDER,
    DATASET_FILE,
    TrainingResult,
    TrainingSpec,
)
from retrainer.domain.values import SLOT_WIDTH, Micros, span_text
from retrainer.logs import Logger
from retrainer.ports.training import TrainingEnded
from retrainer.service.jobs.order import order_to_judge
from retrainer.service.jobs.parts import JobParts
from retrainer.service.policy import ModelPolicy

FEWEST_ROWS = 30
"""A look at fewer new rows is not worth a process."""


WORTH_WAITING_FOR = 10
"""So many times the rows that a judgement needs a challenger is compared on before it may expire: at 300 rows and a
tenth of them answered differently, two points of accuracy are then told (z = 3.5)."""


def is_due(job: Job, policy: ModelPolicy, outcomes: int) -> bool:
    """Whether a challenger is to be looked at again: a tenth more rows than it has been judged on, and not too few."""
    challenge = job.challenge
    if challenge is None:
        return False
    needed = max(FEWEST_ROWS, policy.judge.min_rows // 3, challenge.test.rows // 10)
    return outcomes - challenge.outcomes >= needed


def expired(challenge: Challenge, policy: ModelPolicy, watermark: Micros) -> str | None:
    """Why a challenger that is still undecided is given up; None as long as it is not.

    Its time must be over, and it must have been compared on rows enough to tell differences that matter: where few
    come in a week, a week would end it unheard.
    """
    enough = WORTH_WAITING_FOR * policy.judge.min_rows
    if watermark - challenge.begun <= policy.promotion.expires or challenge.test.rows < enough:
        return None
    return f"undecided after {span_text(watermark - challenge.begun)}: {challenge.test.words}"


@dataclass(frozen=True, kw_only=True)
class Look:
    """An order to compare both models; it takes in every row that was predicted before `judged_to`."""

    spec: TrainingSpec
    judged_to: Micros


@dataclass(frozen=True, kw_only=True)
class ChallengerLook:
    """One look at a challenger."""

    job: Job
    policy: ModelPolicy
    parts: JobParts
    logger: Logger

    @property
    def challenge(self) -> Challenge:
        assert self.job.challenge is not None
        return self.job.challenge

    def over(self, watermark: Micros | None, reign: Reign | None) -> str | None:
        """Why the challenge is over without an answer; None while it goes on."""
        if reign is not None and reign.version != self.job.champion:
            return f"the champion is version {reign.version} now; it challenged version {self.job.champion}"
        newer = [job for job in self.parts.state.jobs(self.job.model) if job.created_at > self.job.created_at]
        if newer:
            return f"job {newer[-1].job_id} has been launched, with newer rows"
        return None if watermark is None else expired(self.challenge, self.policy, watermark)

    def prepare(self, folder: Path, watermark: Micros | None) -> Look | None:
        """The order to compare both on the rows that have matured since the last look; None if there are too few."""
        result = self.job.result
        if watermark is None or result is None:
            return None
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        known_by = watermark - watermark % SLOT_WIDTH
        path = folder / DATASET_FILE
        dataset = self.parts.datasets.build(self.policy, known_by, path, after=self.challenge.judged_to)
        if dataset is None or dataset.rows < FEWEST_ROWS:
            return None
        models = {CHALLENGER_FOLDER: self.job.version, CHAMPION_FOLDER: self.job.champion}
        for name, version in models.items():
            if version is not None:
                self.parts.registry.fetch_model(self.policy.promotion.registered_model, version, folder / name)
        spec = order_to_judge(self.job, self.policy, dataset.digest, result.row_loss)
        return Look(spec=spec, judged_to=known_by - dataset.mature_after + 1)

    def judged(self, look: Look, result: TrainingResult | None, ended: TrainingEnded, outcomes: int) -> Job:
        """The job after a look; one that failed is repeated with the next labels."""
        compared = result.compared if result else None
        if compared is None:
            why = result.error if result else f"exit code {ended.exit_code}; {ended.last_words}"
            self.logger.warning("challenger.unjudged", version=self.job.version, error=why)
        return replace(self.job, challenge=self.challenge.after(compared, look.judged_to, outcomes))
