"""Estimators that tests name in an order by their dotted path."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier


class Spy(HistGradientBoostingClassifier):  # type: ignore[misc]
    """Writes down the last numeric feature of the rows that it is fitted on and asked about."""

    def __init__(
        self,
        log: str = "",
        max_iter: int = 20,
        max_bins: int = 255,
        categorical_features: Any = None,
        random_state: int | None = None,
    ) -> None:
        super().__init__(
            max_iter=max_iter, max_bins=max_bins, categorical_features=categorical_features, random_state=random_state
        )
        self.log = log

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803 - scikit-learn's names
        self._note("fit", X)
        super().fit(X, y)
        return self

    def predict(self, X: Any) -> Any:  # noqa: N803
        self._note("predict", X)
        return super().predict(X)

    def _note(self, what: str, rows: Any) -> None:
        with Path(self.log).open("a", encoding="utf-8") as log:
            log.write(json.dumps([what, np.asarray(rows)[:, -1].astype(int).tolist()]) + "\n")


class Failing(DummyClassifier):  # type: ignore[misc]
    """Cannot be fitted."""

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        raise RuntimeError("the moon is in the wrong phase")


class Exiting(DummyClassifier):  # type: ignore[misc]
    """Ends the process in the middle of fitting."""

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        sys.exit(0)


class Unskopable(DecisionTreeClassifier):  # type: ignore[misc]
    """Holds what skops cannot write."""

    def fit(self, X: Any, y: Any) -> Self:  # noqa: N803
        super().fit(X, y)
        self.helper_ = lambda: None
        return self


class Mute(LinearSVC):  # type: ignore[misc]
    """Gives no probabilities."""


class Forgetful(DecisionTreeClassifier):  # type: ignore[misc]
    """Answers otherwise once it was saved and loaded."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.constant_answer_ = True

    def predict(self, X: Any) -> Any:  # noqa: N803
        return np.full(len(X), "nothing") if hasattr(self, "constant_answer_") else super().predict(X)
