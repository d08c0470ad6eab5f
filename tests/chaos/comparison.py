"""The manifest beside the oracle: every difference in words, and how much was lost or doubled."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.chaos.manifest import Manifest
from tests.chaos.oracle import Expected
from tests.chaos.plan import MODELS, STRAGGLER

K = TypeVar("K", bound=Hashable)
_SHOWN = 12
_MERGED = "c"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the comparison came to. Lost and double count records of the log and outcomes, whichever differ."""

    differences: tuple[str, ...]
    compared: int
    lost: int
    double: int


def compare(manifest: Manifest, right: Expected) -> Verdict:
    """Everything that the manifest says, beside what it has to say."""
    figures: list[tuple[str, Mapping[Any, int], Mapping[Any, int]]] = [
        ("position", manifest.positions(), right.ends),
        ("watermark", manifest.watermarks(), right.watermarks),
        ("count", manifest.counts(), right.counts),
        ("outcomes", _unslotted(manifest.tallies()), _unslotted(right.tallies)),
        ("outcomes of slot", _slotted(manifest.tallies()), _slotted(right.tallies)),
    ]
    differences = [line for name, held, wanted in figures for line in _differences(name, held, wanted)]
    differences += _quarantine(manifest, right)
    differences += _segments(manifest, right)
    off = [_off(held, wanted) for name, held, wanted in figures if name not in ("watermark", "outcomes of slot")]
    return Verdict(
        differences=tuple(differences),
        compared=sum(len(held.keys() | wanted.keys()) for _, held, wanted in figures) + len(right.quarantined),
        lost=sum(lost for lost, _ in off),
        double=sum(double for _, double in off),
    )


def _differences(name: str, held: Mapping[K, int], wanted: Mapping[K, int]) -> Iterator[str]:
    wrong = [key for key in held.keys() | wanted.keys() if held.get(key, 0) != wanted.get(key, 0)]
    for key in sorted(wrong, key=str)[:_SHOWN]:
        yield f"{name} {key}: {held.get(key, 0)}, must be {wanted.get(key, 0)}"
    if len(wrong) > _SHOWN:
        yield f"{name}: {len(wrong) - _SHOWN} more differ"


def _off(held: Mapping[K, int], wanted: Mapping[K, int]) -> tuple[int, int]:
    by = [held.get(key, 0) - wanted.get(key, 0) for key in held.keys() | wanted.keys()]
    return -sum(n for n in by if n < 0), sum(n for n in by if n > 0)


def _unslotted(tallies: Mapping[tuple[str, int, str, str, str], int]) -> Counter[tuple[str, str, str, str]]:
    """By model, version, truth and answer, whenever they became known."""
    merged: Counter[tuple[str, str, str, str]] = Counter()
    for (model, _, version, truth, answer), n in tallies.items():
        merged[model, version, truth, answer] += n
    return merged


def _slotted(tallies: Mapping[tuple[str, int, str, str, str], int]) -> dict[tuple[str, int, str, str, str], int]:
    """Without stragglers, which enter whichever slot is the oldest that is open when they come."""
    return {key: n for key, n in tallies.items() if key[2] != STRAGGLER}


def _quarantine(manifest: Manifest, right: Expected) -> Iterator[str]:
    held = {(topic, number, offset): (key, value) for topic, number, offset, key, value in manifest.quarantined()}
    wrong = [at for at in held.keys() | right.quarantined.keys() if held.get(at) != right.quarantined.get(at)]
    for at in sorted(wrong)[:_SHOWN]:
        words = (
            "is not there" if at not in held else "is too many" if at not in right.quarantined else "has other bytes"
        )
        yield f"quarantined record {at} {words}"
    if len(wrong) > _SHOWN:
        yield f"quarantined: {len(wrong) - _SHOWN} more differ"


def _segments(manifest: Manifest, right: Expected) -> Iterator[str]:
    """Segments hold each record once, and no owner wrote after its successor did."""
    reached: Counter[tuple[str, int]] = Counter()
    records: Counter[str] = Counter()
    last = ""
    by_partition: dict[tuple[str, int], list[tuple[int, int]]] = defaultdict(list)
    for name, n, ranges in manifest.segments():
        epoch = name.split("-")[0]
        if epoch != _MERGED:  # by the controller, whose epochs are its own
            if epoch < last:
                yield f"segment {name} was written by an owner that another had succeeded ({last})"
            last = max(last, epoch)
        records["in segments"] += n
        for topic, number, start, end in json.loads(ranges):
            by_partition[topic, number].append((start, end))
    for at, spans in sorted(by_partition.items()):
        for start, end in sorted(spans):
            if start != reached[at]:
                yield f"segments of {at} go on at {start} after {reached[at]}"
            reached[at] = max(reached[at], end)
    yield from _differences("segments reach", reached, right.ends)
    yield from _differences("records", records, {"in segments": right.ends.total()})


def models_in(status: Mapping[str, Any]) -> Counter[tuple[str, str, str]]:
    """The counts that `retrainer status --json` shows, in the oracle's form."""
    return Counter({
        (model, side, name): n
        for model in MODELS
        for side, counts in status[model]["counts"].items()
        for name, n in counts.items()
        if n
    })  # fmt: skip
