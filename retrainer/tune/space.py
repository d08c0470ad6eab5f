"""Which settings are searched, and the values that each may take: few and tidy, as a person would write them.

A point is one place for each knob. What a knob means to nobody there, as the confidence of a trigger that is off, is as
the configuration has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import inf, isfinite
from typing import Any, Final

from retrainer.config.model import ModelSettings
from retrainer.config.quantities import parse_duration
from retrainer.config.triggers import DropSettings, ThresholdSettings
from retrainer.domain.values import Micros, duration
from retrainer.tune.launching import Launching, launching_of

Point = tuple[int, ...]
"""The place of each knob's value among its choices."""

TRIGGERS: Final = "triggers"
"""The knob that says which of the two triggers may launch."""
ROWS: Final = "training.rows"


@dataclass(frozen=True, kw_only=True)
class Knob:
    """A setting that is searched.

    Attributes:
        key: where it stands within the model, with dots.
        choices: its values as the configuration writes them, the present one among them.
        present: the place of that one.
        ordered: whether they are in order; a search then looks near what was good.
        trigger: the one whose number it is, if it is `shift` or `trial`.
    """

    key: str
    choices: tuple[Any, ...]
    present: int
    ordered: bool = True
    trigger: str = ""


@dataclass(frozen=True, kw_only=True)
class TableFacts:
    """What a table says about the values that are worth a try.

    Attributes:
        warm: rows that version 1 learns from; rows: those after them.
        span: how long the latter take.
        loss: the metric that judges over some of them, where it is a loss.
    """

    warm: int
    rows: int
    span: Micros
    loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """Every knob that has a choice."""

    knobs: tuple[Knob, ...]
    launching: Launching

    @property
    def present(self) -> Point:
        """What the configuration says."""
        return tuple(knob.present for knob in self.knobs)

    def values(self, point: Point) -> dict[str, Any]:
        """Key to value."""
        return {knob.key: knob.choices[place] for knob, place in zip(self.knobs, point, strict=True)}

    def changed(self, point: Point) -> dict[str, Any]:
        """Key to value of what is not as it is now."""
        now = self.values(self.present)
        return {key: value for key, value in self.values(point).items() if value != now[key]}

    def put_back(self, point: Point, key: str) -> Point:
        """The same point with one value as it is now."""
        return self.normal(
            tuple(knob.present if knob.key == key else place for knob, place in zip(self.knobs, point, strict=True))
        )

    def normal(self, point: Point) -> Point:
        """The point that says the same with as few changes as possible."""
        on = self.on(point)
        return tuple(
            place if not knob.trigger or knob.trigger in on else knob.present
            for knob, place in zip(self.knobs, point, strict=True)
        )

    def fitting(self, point: Point) -> Point:
        """The same point with as many more rows to learn from as can be held out and judged on."""
        values = self.values(point)
        number = next((at for at, knob in enumerate(self.knobs) if knob.key == ROWS), None)
        if number is None or _fits(values, values[ROWS]):
            return point
        knob = self.knobs[number]
        more = [at for at, rows in enumerate(knob.choices) if _fits(values, rows) and _last(rows) > _last(values[ROWS])]
        best = min(more, key=lambda at: _last(knob.choices[at]), default=knob.present)
        return (*point[:number], best, *point[number + 1 :])

    def on(self, point: Point) -> Sequence[str]:
        """Which of the two triggers may launch."""
        return [*self.values(point).get(TRIGGERS, self.launching.on)]


def _last(rows: Any) -> float:
    """How many are learnt from, where that is a number."""
    found = rows.get("last") if isinstance(rows, dict) else None
    return found if isinstance(found, int) else inf


def _fits(values: Mapping[str, Any], rows: Any) -> bool:
    return bool(_last(rows) * values.get("training.holdout", 1) >= values.get("judge.min_rows", 1))


# Key, values, whether they are in order; those of the history are made below.
_FIXED: Final[tuple[tuple[str, tuple[Any, ...]], ...]] = (
    ("judge.confidence", (0.5, 0.8, 0.9, 0.95, 0.99)),
    ("training.holdout", (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)),
)
_CONFIDENCES: Final = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
_TIMES: Final = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
_COOLDOWNS: Final = (
    "0s",
    "1m",
    "5m",
    "15m",
    "30m",
    "1h",
    "3h",
    "6h",
    "12h",
    "1d",
    "2d",
    "4d",
    "7d",
    "14d",
    "30d",
    "90d",
)
_MIN_ROWS: Final = (30, 50, 100, 200, 300, 500, 1000, 2000, 5000)
_IMPROVEMENTS: Final = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05)
"""Of a score in its unit, of a loss as shares of what it is."""
_OF_WARM: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
"""How many rows to learn from, of those that version 1 learnt from."""
_FACTORS: Final = (0.5, 0.7, 1.0, 1.4, 2.0)
"""Lines of triggers of the user's own, nearer and further away."""


def space_of(model: ModelSettings, history: TableFacts) -> SearchSpace:
    """What can be searched of a model's settings."""
    launching = launching_of(model)
    found = [*_of_triggers(model, launching), *_of_history(model, history)]
    found += [_ordered(model, key, choices) for key, choices in _FIXED]
    return SearchSpace(knobs=tuple(knob for knob in found if len(knob.choices) > 1), launching=launching)


def _of_triggers(model: ModelSettings, launching: Launching) -> Iterable[Knob]:
    sets = launching.choices
    yield Knob(key=TRIGGERS, choices=sets, present=sets.index(launching.on), ordered=False)
    shift, trial = launching.shift, launching.trial
    if shift:
        yield _sorted(f"triggers.{shift}.change.confidence", launching.confidence, _CONFIDENCES, trigger=shift)
    if trial:
        yield _sorted(f"triggers.{trial}.trial.times", launching.times, _TIMES, trigger=trial)
    for name, trigger in model.triggers.items():
        key = f"triggers.{name}.{trigger.kind}"
        match trigger.settings:
            case DropSettings() as drop:
                yield _sorted(f"{key}.by", drop.by, [tidy(drop.by * factor, 3) for factor in _FACTORS])
            case ThresholdSettings(below=float(line)):
                yield _sorted(f"{key}.below", line, _lines(line))
            case ThresholdSettings(above=float(line)):
                yield _sorted(f"{key}.above", line, [tidy(line * factor, 3) for factor in _FACTORS])
            case _:
                pass


def _lines(line: float) -> list[float]:
    """Scores that leave more or less to 1; none where the score is not one of those."""
    return [tidy(1 - (1 - line) * factor, 3) for factor in _FACTORS] if 0 < line < 1 else []


def _of_history(model: ModelSettings, history: TableFacts) -> Iterable[Knob]:
    cooldowns = [text for text in _COOLDOWNS if duration(parse_duration(text)) <= history.span]
    now = model.guards.model_dump()["cooldown"]
    yield _sorted("guards.cooldown", now, cooldowns, by=_length)
    scale = 1.0 if history.loss is None else history.loss
    steps = [tidy(step * scale, 1) for step in _IMPROVEMENTS] if isfinite(scale) else []
    yield _sorted("judge.improvement", model.judge.improvement, steps)
    least = [number for number in _MIN_ROWS if number <= max(history.rows // 4, _MIN_ROWS[0])]
    yield _sorted("judge.min_rows", model.judge.min_rows, least)
    fewest = 2 * min(_MIN_ROWS[0], model.judge.min_rows)
    last = [{"last": number} for share in _OF_WARM if (number := int(tidy(share * history.warm, 2))) >= fewest]
    rows = model.training.model_dump()["rows"]
    choices = _each_once([rows, "auto", "all", *last])
    yield Knob(key=ROWS, choices=choices, present=0, ordered=False)


def _ordered(model: ModelSettings, key: str, choices: Sequence[Any]) -> Knob:
    section, _, name = key.partition(".")
    return _sorted(key, getattr(getattr(model, section), name), choices)


def _sorted(key: str, present: Any, choices: Iterable[Any], *, by: Any = None, trigger: str = "") -> Knob:
    """The present value in its place among the others."""
    lengths = {by(choice) if by else choice: choice for choice in choices}
    lengths[by(present) if by else present] = present
    inorder = tuple(lengths[length] for length in sorted(lengths))
    return Knob(key=key, choices=inorder, present=inorder.index(present), trigger=trigger)


def _length(text: str) -> timedelta:
    return parse_duration(text)


def _each_once(values: Iterable[Any]) -> tuple[Any, ...]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return tuple(found)


def tidy(number: float, digits: int) -> float:
    """Rounded to so many digits that count."""
    return float(f"{number:.{digits}g}")


def told(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of knobs as people and reports have them: which triggers launch in one word or two."""
    return {key: " and ".join(value) or "none" if key == TRIGGERS else value for key, value in values.items()}
