"""Making the next state from a frozen one, cheaply: this happens a dozen times in every slot of every model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

__all__ = ["changed"]

_Frozen = TypeVar("_Frozen")

if TYPE_CHECKING:
    # The same, and known to mypy, which looks at each field's name and type where it is called.
    from dataclasses import replace as changed
else:

    def changed(one: _Frozen, **changes: Any) -> _Frozen:
        """What `dataclasses.replace` makes, at a tenth of its cost: for dataclasses without slots and `__post_init__`.

        Raises:
            TypeError: there is no such field.
        """
        made = object.__new__(type(one))
        made.__dict__.update(one.__dict__)
        if not changes.keys() <= made.__dict__.keys():
            raise TypeError(f"{type(one).__name__} has no {', '.join(changes.keys() - made.__dict__.keys())}")
        made.__dict__.update(changes)
        return made
