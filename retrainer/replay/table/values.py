"""Labels and answers by number: each text once, in the form in which predictions are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from retrainer.domain.answers import answer_of
from retrainer.domain.tally.arrivals import NO_SCORE, ArrivalPolicy
from retrainer.domain.tally.measures import Cell
from retrainer.domain.values import canonical
from retrainer.replay.table.table import MISSING, Codes, Table
from retrainer.service.policy import ModelPolicy
from retrainer.training.form import Form


class LabelCodes:
    """The labels of a table and what a policy's models answer to its rows, both as codes.

    The first codes are the labels' own (`Table.classes`). Where models answer with scores or numbers there are others,
    and ever more.
    """

    def __init__(self, form: Form, table: Table) -> None:
        self.form = form
        self.texts = list(table.classes.texts)
        self._table = table
        self._is_plain = self.form.task == "classification" and self.form.scores == "none"
        self._sorted = np.asarray(self.texts, dtype=np.str_)
        self._codes = {} if self._is_plain else {text: code for code, text in enumerate(self.texts)}
        self._classes = dict(self._codes)
        self._arriving = ArrivalPolicy(width=1, positive=form.positive, task=form.task)
        self._chosen = np.arange(len(self.texts), dtype=np.int32)
        self._bins = np.full(len(self.texts), NO_SCORE, np.int8)

    def codes_of(self, answers: Iterable[object]) -> Codes:
        """The code of each text.

        Raises:
            ValueError: one is no class of the table. A model answers with classes that it has learnt.
        """
        if self._is_plain:
            given = np.asarray(answers, dtype=np.str_)
            places = np.minimum(np.searchsorted(self._sorted, given), len(self._sorted) - 1).astype(np.int32)
            unknown = given[self._sorted[places] != given]
            if len(unknown):
                raise ValueError(f"it answers with {str(unknown[0])!r}, which is no class of the table")
            return places
        codes, texts = self._codes, self.texts
        found = []
        for answer in answers:
            text = str(answer)
            code = codes.get(text)
            if code is None:
                code = codes[text] = len(texts)
                texts.append(text)
            found.append(code)
        self._learn(texts[len(self._chosen) :])
        return np.array(found, dtype=np.int32)

    def texts_of(self, codes: Codes) -> list[str]:
        texts = self.texts
        return [texts[code] for code in codes.tolist()]

    def chosen(self, codes: Codes) -> Codes:
        """The code of the class that each says, without its score; of a regression the same."""
        return codes if self._is_plain else self._chosen[codes]

    def bins(self, codes: Codes) -> npt.NDArray[np.int8]:
        """The bin of each one's confidence, as arrivals count it."""
        return self._bins[codes]

    def is_right(self, truth: Codes, codes: Codes) -> npt.NDArray[np.bool_]:
        """Whether each is counted as a hit; where there is no right or wrong all are."""
        if self.form.task == "regression":
            return np.ones(len(codes), np.bool_)
        return np.asarray(self.chosen(codes) == truth)

    def certain(self, labels: Codes) -> Codes:
        """Labels as answers that leave no doubt."""
        if self._is_plain:
            return labels
        known = np.unique(labels)
        answers = np.full(len(self.texts) + 1, MISSING, np.int32)
        answers[known] = self.codes_of([self.form.certain(self.texts[code]) for code in known.tolist()])
        return answers[labels]

    def usual(self, labels: Codes) -> Codes:
        """What one would say of every row, as a code: the commonest label, or of numbers their mean."""
        if self.form.task == "regression":
            return self.codes_of([canonical(float(np.mean([float(text) for text in self.texts_of(labels)])))])
        return np.array([np.bincount(labels).argmax()], dtype=np.int32)

    def cells(self, labels: Codes, answers: Codes) -> Mapping[Cell, int]:
        """The tally of the rows that have both."""
        known = (labels != MISSING) & (answers != MISSING)
        pairs, counts = np.unique(labels[known].astype(np.int64) * len(self.texts) + answers[known], return_counts=True)
        truths, values = np.divmod(pairs, len(self.texts))
        return self.expanded(zip(truths.tolist(), values.tolist(), counts.tolist(), strict=True))

    def expanded(self, counted: Iterable[Sequence[int]]) -> Mapping[Cell, int]:
        """The cells of (label, answer, how many)."""
        expand, texts = self.form.expand, self.texts
        cells = Counter[Cell]()
        for truth, answer, n in counted:
            if expand is None:
                cells[texts[truth], texts[answer]] += n
                continue
            for cell, weight in expand(texts[truth], texts[answer]):
                cells[cell] += n * weight
        return cells

    def labels_for_training(self, codes: Codes) -> Any:
        """As the column of a dataset."""
        return self._column(codes)

    def answers_for_training(self, codes: Codes) -> Any:
        """As the column of a dataset, which has no scores."""
        return self._column(np.where(codes == MISSING, MISSING, self.chosen(codes)).astype(np.int32))

    def as_labels(self, codes: Codes) -> pa.Array:
        """Answers in the type of the label's column; numbers as they were answered."""
        if self.form.task == "regression":
            numbers = [None if code == MISSING else float(self.texts[code]) for code in codes.tolist()]
            return pa.array(numbers, pa.float64())
        return self._table.classes.column(self.chosen(codes))

    def _column(self, codes: Codes) -> Any:
        if self.form.task == "classification":
            return pd.Categorical.from_codes(codes, pd.Index(list(self._table.classes.texts)))
        return np.array([None if code == MISSING else self.texts[code] for code in codes.tolist()], dtype=object)

    def _learn(self, new: Sequence[str]) -> None:
        """What is asked again and again of texts that are new."""
        if not new:
            return
        start = len(self._chosen)
        if self.form.task == "regression":
            chosen = np.arange(start, start + len(new), dtype=np.int32)
        else:
            chosen = np.array([self._classes[answer_of(text)] for text in new], dtype=np.int32)
        self._chosen = np.concatenate([self._chosen, chosen])
        bins = np.array([self._arriving.bin_of(text) for text in new], dtype=np.int8)
        self._bins = np.concatenate([self._bins, bins])


def form_for(policy: ModelPolicy) -> Form:
    """What metrics and triggers need of an answer, as the mapping of the service's events has it."""
    exact = policy.task == "classification" and policy.ingest.predictions.scores == "exact"
    return Form(task=policy.task, positive=policy.watch.positive, scores="if_given" if exact else "none")
