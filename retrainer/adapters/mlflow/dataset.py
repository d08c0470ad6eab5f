"""A dataset as MLflow shows it: name, digest, where it is, its columns and its size.

Read from the Parquet file's footer alone, so that describing a dataset takes no memory, however many rows it has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput
    from mlflow.types import DataType

_LONGEST_DIGEST: Final = 36
_NOT_A_FEATURE: Final = "$"


def describe(path: Path, *, name: str, digest: str, uri: str) -> DatasetInput:
    """The Parquet file at `path` as an input of a run; `uri` says where a reader will find it.

    MLflow keeps 36 characters of a digest; the whole of it is in the input's tag `retrainer.digest`.
    """
    import pyarrow.parquet as pq
    from mlflow.entities import Dataset, DatasetInput, InputTag

    with pq.ParquetFile(path) as file:
        columns, footer = file.schema_arrow, file.metadata
    nulls = _nulls(footer)
    source_type, source = _source(uri)
    dataset = Dataset(
        name=name,
        digest=digest[:_LONGEST_DIGEST],
        source_type=source_type,
        source=json.dumps(source),
        schema=json.dumps({"mlflow_colspec": _column_specs(columns, nulls)}),
        profile=json.dumps(_profile(columns, footer.num_rows, nulls)),
    )
    tags = [InputTag("mlflow.data.context", "training"), InputTag("retrainer.digest", digest)]
    return DatasetInput(dataset, tags)


def _source(uri: str) -> tuple[str, dict[str, str]]:
    """The kind of source, and its facts, as `mlflow.data.get_source` reads them back."""
    scheme = urlsplit(uri).scheme
    if scheme in {"http", "https"}:
        return "http", {"url": uri}
    return ("local" if scheme in {"", "file"} else scheme), {"uri": uri}


def _nulls(footer: Any) -> dict[str, int]:
    """How many values each column lacks; a column whose writer kept no statistics is left out."""
    counts: dict[str, int] = {}
    for group in range(footer.num_row_groups):
        for index in range(footer.num_columns):
            column = footer.row_group(group).column(index)
            if column.is_stats_set and column.statistics.has_null_count:
                name = column.path_in_schema
                counts[name] = counts.get(name, 0) + column.statistics.null_count
    return counts


def _column_specs(columns: Any, nulls: Mapping[str, int]) -> list[dict[str, Any]]:
    from mlflow.types import ColSpec, Schema

    # What is not known to be complete is not promised to be.
    return Schema(
        [ColSpec(_type_of(column.type), column.name, required=nulls.get(column.name) == 0) for column in columns]
    ).to_dict()


def _profile(columns: Any, rows: int, nulls: Mapping[str, int]) -> dict[str, Any]:
    return {
        "num_rows": rows,
        "num_elements": rows * len(columns),
        "num_features": sum(not name.startswith(_NOT_A_FEATURE) for name in columns.names),
        "num_nulls": {name: count for name, count in nulls.items() if count},
    }


def _type_of(arrow: Any) -> DataType:
    """The nearest of MLflow's types; what it has no type for is shown as text."""
    from mlflow.types import DataType
    from pyarrow import types

    if types.is_integer(arrow):
        return DataType.long if arrow.bit_width > 32 or arrow == "uint32" else DataType.integer
    if types.is_floating(arrow):
        return DataType.double if arrow.bit_width > 32 else DataType.float
    for holds, kind in (
        (types.is_boolean, DataType.boolean),
        (types.is_temporal, DataType.datetime),
        (types.is_binary, DataType.binary),
    ):
        if holds(arrow):
            return kind
    return DataType.string
