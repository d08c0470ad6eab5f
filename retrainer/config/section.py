"""What all parts of a configuration have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from types import NoneType
from typing import Any, Final, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """A mapping with known keys. Null means the default, except where null itself is a value."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return {key: value for key, value in data.items() if value is not None or cls._keeps_null(key)}

    @classmethod
    def _keeps_null(cls, key: str) -> bool:
        field = cls.model_fields.get(key)
        return field is None or NoneType in get_args(field.annotation)


T = TypeVar("T", bound=Sized)


def _not_empty(value: T) -> T:
    if not value:
        raise ValueError("expected at least one")
    return value


NOT_EMPTY: Final = AfterValidator(_not_empty)
"""For lists and mappings that make no sense without an entry."""


class Misfit(PydanticCustomError):
    """Keys of one section that do not go together; the message is complete, `key` says which one to look at."""

    def __new__(cls, key: str, message: str) -> Misfit:
        return super().__new__(cls, "misfit", "{message}", {"message": message, "key": key})
