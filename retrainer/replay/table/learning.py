"""The rows that can be learned from at a time, and training on them in this process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from retrainer.domain.deciding.jobs import Job
from retrainer.domain.judging.order import DatasetColumn, RowsPolicy, TrainingResult
from retrainer.domain.lateness.coverage import mature_place
from retrainer.domain.values import Micros
from retrainer.errors import RetrainerError
from retrainer.replay.table.flow import known_outcomes, known_since, place_of
from retrainer.replay.table.models import Costs, Version
from retrainer.replay.table.table import MISSING, Codes, Table
from retrainer.replay.table.values import LabelCodes
from retrainer.service.jobs.order import order_to_train
from retrainer.service.policy import ModelPolicy
from retrainer.training.candidate import asking, classes_in, make_candidate
from retrainer.training.checks import profile
from retrainer.training.dataset import TrainingRows
from retrainer.training.fit import Fitter


@dataclass(frozen=True, kw_only=True)
class Served:
    """What was answered so far: the version's number and the answer's code of each row, MISSING before."""

    versions: Codes
    answers: Codes

    @classmethod
    def nothing(cls, rows: int) -> Served:
        return cls(versions=np.full(rows, MISSING, np.int32), answers=np.full(rows, MISSING, np.int32))


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A training's result, and the model where its candidate was accepted."""

    result: TrainingResult
    version: Version | None = None


@dataclass(frozen=True, kw_only=True)
class Usable:
    """Rows that can be learned from or judged on at a time; they matured at an age of `mature_after`."""

    rows: TrainingRows
    mature_after: Micros


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """Fits versions on the rows of a table that were known at the time."""

    policy: ModelPolicy
    table: Table
    values: LabelCodes
    costs: Costs

    def refit(self, known_by: Micros, served: Served) -> Version | None:
        """The recipe on the rows that its policy takes of those known by a time, no contest; None if it cannot."""
        usable = self.known(known_by, served)
        try:
            return None if usable is None else self._fit(usable.rows)
        except Exception:  # noqa: BLE001 - an estimator is other people's code
            return None

    def train(self, job: Job, champion: Version, served: Served) -> Trained:
        """Carry a job out as the training process would, but for saving the model."""
        with self.costs.of_training() as spent:
            trained = self._attempt(job, champion, served)
        return replace(trained, result=replace(trained.result, seconds=round(spent(), 3)))

    def known(self, known_by: Micros, served: Served, after: Micros | None = None) -> Usable | None:
        """The rows that the policy takes of those that have matured by a time; None without any.

        With `after`, all of them that were predicted from then on, whatever the policy for rows says.
        """
        join = self.policy.ingest.join
        begin = 0 if after is None else int(np.searchsorted(self.table.times, after - join.horizon))
        rows, truth = known_outcomes(self.table, join, known_by, begin)
        since = known_since(self.table, join, rows, known_by)
        times = self.table.times[place_of(rows)]
        mature_after = self._mature_after(since - times)
        if after is None:
            chosen = slice(*_chosen(self.policy.recipe.rows, times, known_by, mature_after))
        else:
            chosen = slice(*np.searchsorted(times, [after, known_by - mature_after + 1]).tolist())
        if not len(rows[chosen]):
            return None
        return Usable(rows=self.rows(rows[chosen], truth[chosen], since[chosen], served), mature_after=mature_after)

    def _mature_after(self, delays: npt.NDArray[np.int64]) -> Micros:
        """As the service has it: the age at which outcomes are mature. Leaves the delays in another order."""
        if self.policy.mature_after is not None:
            return self.policy.mature_after
        join = self.policy.ingest.join
        if not len(delays):
            return join.mature_after(None)
        place = mature_place(len(delays))
        delays.partition(place)  # in place: there are as many as the table has rows
        return join.mature_after(int(delays[place]))

    def _attempt(self, job: Job, champion: Version, served: Served) -> Trained:
        usable = self.known(job.known_by, served)
        if usable is None:
            return _failed(job, "there is no mature outcome to learn from")
        try:
            spec = order_to_train(job, self.policy, "", champion.result)
            candidate = make_candidate(spec, usable.rows, asking(champion.fitted, spec))
            result = candidate.result
            if result.verdict is None or result.verdict.answer == "reject":
                return Trained(result=result)
            fitted, refitted = candidate.final()
        except RetrainerError as error:
            return _failed(job, str(error))
        except Exception as error:  # noqa: BLE001 - an estimator is other people's code
            return _failed(job, f"{type(error).__name__}: {error}")
        if refitted is not None:
            classes = classes_in(candidate.spec, refitted)
            result = replace(result, refitted_on=refitted.range, classes=classes, profile=profile(refitted))
        return Trained(result=result, version=self.version("", fitted, result))

    def _fit(self, rows: TrainingRows) -> Version:
        with self.costs.of_training():
            fitter = Fitter(recipe=self.policy.recipe, cpus=self.policy.limits.cpus, form=self.values.form)
            fitted = fitter.fit(rows)
        return self.version("", fitted, TrainingResult(job_id="", verdict=None))

    def version(self, name: str, fitted: Pipeline, result: TrainingResult) -> Version:
        """A fitted pipeline as a version that answers rows of the table."""
        return Version(
            name=name,
            fitted=fitted,
            table=self.table,
            values=self.values,
            costs=self.costs,
            cpus=self.policy.limits.cpus,
            result=result,
        )

    def rows(
        self, rows: npt.NDArray[np.int64], truth: Codes, since: npt.NDArray[np.int64], served: Served
    ) -> TrainingRows:
        """Rows of the table as the training takes them. They share its memory where they follow each other."""
        features = self.table.features
        follow = len(rows) and rows[-1] - rows[0] == len(rows) - 1
        taken = features.iloc[rows[0] : rows[-1] + 1] if follow else features.take(rows)
        versions = served.versions[rows]
        names = pd.Index([str(number) for number in range(int(versions.max(initial=0)) + 1)])
        columns: dict[str, Any] = {
            DatasetColumn.ID: rows,
            DatasetColumn.PREDICTED_AT: self.table.times[rows],
            DatasetColumn.KNOWN_AT: since,
            DatasetColumn.LABEL: self.values.labels_for_training(truth),
            DatasetColumn.PREDICTION: self.values.answers_for_training(served.answers[rows]),
            DatasetColumn.VERSION: pd.Categorical.from_codes(versions, names),
        }
        return TrainingRows(pd.concat([taken, pd.DataFrame(columns, index=taken.index)], axis=1))


def _chosen(
    policy: RowsPolicy, times: npt.NDArray[np.int64], known_by: Micros, mature_after: Micros
) -> tuple[int, int]:
    """The first and the end of the rows, in time order, that a policy takes of those that have matured."""
    end = int(np.searchsorted(times, known_by - mature_after, side="right"))
    if policy.span is not None:
        return int(np.searchsorted(times, known_by - policy.span)), end
    return (max(0, end - policy.count) if policy.count is not None else 0), end


def _failed(job: Job, why: str) -> Trained:
    return Trained(result=TrainingResult(job_id=job.job_id, verdict=None, error=why))
