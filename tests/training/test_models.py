"""Other people's models as champions: whatever they declare and answer, each row gets its canonical class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import pandas as pd
import pytest
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier

from retrainer.training.models import LoadedModel, _column_of


class TestAnswers:
    @pytest.mark.parametrize(
        ("answers", "expected"),
        [
            (np.array(["a", "b"]), ["a", "b"]),
            (np.array([1, 2]), [1, 2]),
            (np.array([True, False]), [True, False]),
            (np.array([["a"], ["b"]]), ["a", "b"]),
            (pd.Series(["a", "b"]), ["a", "b"]),
            (pd.DataFrame({"answer": [1.0, 2.0]}), [1.0, 2.0]),
            (["a", 1, True], ["a", 1, True]),
        ],
    )
    def test_one_for_each_row(self, answers: Any, expected: list[Any]) -> None:
        found = _column_of(answers)
        assert found == expected
        assert not any(isinstance(answer, np.generic) for answer in found)

    def test_a_table_of_scores_is_no_answer(self) -> None:
        with pytest.raises(ValueError, match=r"with the shape \(2, 2\)"):
            _column_of(np.array([[0.1, 0.9], [0.7, 0.3]]))


def declared(folder: Path, types: dict[str, DataType], classes: Any) -> LoadedModel:
    """A tree that says the second class where the first feature is above 5; the others are declared, not used."""
    first = next(iter(types))
    tree = DecisionTreeClassifier().fit(np.array([[1.0], [9.0]]), classes)
    mlflow.sklearn.save_model(
        make_pipeline(FunctionTransformer(_first), tree),
        str(folder),
        serialization_format="cloudpickle",
        signature=ModelSignature(inputs=Schema([ColSpec(kind, name) for name, kind in types.items()])),
        pip_requirements=["scikit-learn"],
    )
    assert first == "x"
    return LoadedModel(folder)


def _first(rows: pd.DataFrame) -> np.ndarray[Any, Any]:
    return rows[["x"]].to_numpy(dtype=float)


@pytest.mark.parametrize("kind", [DataType.integer, DataType.long, DataType.float, DataType.double])
def test_features_are_handed_over_in_the_types_that_were_declared(tmp_path: Path, kind: DataType) -> None:
    """MLflow itself refuses a double where it expects a float, and a long where it expects a double."""
    model = declared(tmp_path / "model", {"x": kind, "text": DataType.string}, [0, 1])
    whole = pd.DataFrame({"unknown": ["?"] * 3, "text": ["a", None, "b"], "x": [1, 7, 9]})
    assert model.answers(whole) == ["0", "1", "1"]
    assert model.answers(whole.assign(x=[1.0, 7.0, 9.0])) == ["0", "1", "1"]


def test_features_that_are_missing_are_missing_values(tmp_path: Path) -> None:
    types = {"x": DataType.double, "text": DataType.string, "number": DataType.double}
    model = declared(tmp_path / "model", types, [False, True])
    assert model.answers(pd.DataFrame({"x": [1, 7], "text": [np.nan, np.nan]})) == ["false", "true"]


def test_a_fraction_is_not_made_whole(tmp_path: Path) -> None:
    model = declared(tmp_path / "model", {"x": DataType.long}, ["a", "b"])
    with pytest.raises(Exception, match="x"):
        model.answers(pd.DataFrame({"x": [1.5, 7.0]}))
