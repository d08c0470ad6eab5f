"""Structured logs: one JSON object a line on standard error, with a stable dotted event name and facts beside it.

`EVENTS` names every event there is. `docs/log-events.md` is generated from it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, MutableMapping
from types import MappingProxyType
from typing import Any, Final, Literal, TextIO

import structlog

EVENTS: Final[Mapping[str, str]] = MappingProxyType({
    # The service
    "service.started": "A role is ready to work: `role`, `pid`, and the models or topics that it serves.",
    "service.stopped": "A role has ended in order: `role`.",
    "service.crashed": "A role ended by an error nobody expected: `role`, `exception` with the traceback.",
    "service.refused": "A role refuses to go on, and why: `role`, `reason`. A person has to decide.",
    "role.restarted": "The supervisor starts a role again that has ended: `role`, `exit_code`, `in_seconds`.",
    "role.hung": "A role gave no sign of life and is killed: `role`, `seconds` of silence, `cpu_seconds` used in them.",
    "role.killed": "A role did not end in time after a stop and was killed: `role`.",
    "dependency.lost": "Something outside cannot be reached: `dependency`, `error`. It is tried again and again.",
    "dependency.recovered": "It can be reached again: `dependency`, `after_seconds`.",
    "state.network_filesystem": "SQLite's locks and WAL need a local disk: `folder` lies on one of `kind`.",
    "disk.low": "The disk under the state is nearly full; reading pauses: `free` and `needed` bytes.",
    "disk.reserve_released": "A write failed on a full disk; the reserve is given up so that it can succeed: `free`.",
    "disk.recovered": "There is space again and reading goes on: `free`, `after_seconds`, whether `reserved` again.",
    "manifest.migrated": "The manifest's tables were brought up to date: `database`, `from`, `to`, `seconds`.",
    "library.logged": "A warning of a library: `logger`, `message`.",
    # Ingest
    "shard.assigned": "The worker owns these partitions now: `positions`, `epoch`, `replayed` segments.",
    "shard.revoked": "Another worker owns them; what was not committed is dropped: `reason`.",
    "partitions.added": "A topic has grown: `partitions`. Keys may have moved to other partitions.",
    "flush.committed": "One commit: `records`, `quarantined`, `positions`, `seconds`; and per model `watermarks`.",
    "event.quarantined": "A record could not be used: `topic`, `partition`, `offset`, `reason`. Its bytes are kept.",
    "topic.halted": "Too many records in a row cannot be used; the topic is not read on: `topic`, `records`, `reason`.",
    "offsets.gap": "A position lies outside what its partition holds; the service refuses to skip: `positions`.",
    "snapshot.taken": "What is remembered was saved: `name`, `bytes`, ids `remembered` per model, `seconds`.",
    "snapshot.failed": "It could not be saved, which only lengthens the next start: `error`. It is tried again.",
    "snapshot.unreadable": "A snapshot is passed over: `name`, `error`. An older one or the segments serve instead.",
    "snapshots.swept": "Files of snapshots that were never registered were removed: `names`.",
    "partitions.held": "These `partitions` wait: they are far ahead of the slowest, or halted.",
    "catch_up.began": "Far behind the end of the topics: records `behind`. Decisions are held meanwhile.",
    "catch_up.ended": "The end of the topics is near again: records `behind`.",
    "memory.short": "`used_mib` is more than `limit_mib`; only the slowest partitions are read: ids `remembered`.",
    "memory.recovered": "Enough memory again: `used_mib`, `limit_mib`.",
    "segments.compacted": "Small segments became one file: `name`, `segments`, `records`, `bytes`, `bytes_before`.",
    "segments.removed": "Segments beyond the retention are forgotten: `segments`, `records`, `bytes`, `older_than`.",
    "segments.unreadable": "A segment cannot be read, so that it is not merged with others: `name`, `error`.",
    "segments.swept": "Files that an interrupted write left behind were removed: `names`.",
    "model.backfilled": "A new or changed model was computed from the stored segments: `model`, `segments`.",
    "predictions.stalled": "None came for longer than `expect_every`: `model`, `seconds`, `last`; all in wall time.",
    "predictions.resumed": "Predictions come again: `model`, `seconds` of silence, `expect_every`, `last` before it.",
    "labels.stalled": "None came for longer than `expect_every`: `model`, `seconds`, `last`; all in wall time.",
    "labels.resumed": "Labels come again: `model`, `seconds` of silence, `expect_every`, `last` before it.",
    # Deciding
    "metric.updated": "A metric over its window: `model`, `version`, `metric`, `value`, `low`, `high`, `n`.",
    "trigger.warned": "A trigger is close to firing: `model`, `trigger`, `kind` and its evidence.",
    "trigger.fired": "A trigger has fired: `model`, `trigger`, `kind` and its evidence.",
    "trigger.cleared": "A trigger that warned or fired is quiet again: `model`, `trigger`, `kind`.",
    "trigger.failed": "A trigger of your own failed and counts as quiet; told once: `model`, `trigger`, `error`.",
    "retrain.decided": "A retraining is launched: `model`, `decision_id`, `job_id`, `triggers`, `reason`, `evidence`.",
    "retrain.held": "A retraining is asked for but held back: `model`, `decision_id`, `triggers`, `reason`, `message`.",
    "model.paused": "A person stopped deciding for a model: `model`, `reason`.",
    "model.resumed": "A person let deciding go on: `model`, `reason`.",
    "request.unknown": "A request of a kind that this version does not know is not carried out: `model`, `kind`.",
    # Jobs
    "job.queued": "A job waits for its turn: `model`, `job_id`, `decision_id`.",
    "job.started": "Training begins: `model`, `job_id`, `rows`, `dataset`, `first`, `last`, `champion`.",
    "job.trained": "The training process has answered: `model`, `job_id`, `seconds`, `rows_chosen`.",
    "rows.suspicious": "Training rows look broken: `model`, `job_id`, `features` with `what` and `words`, `on`.",
    "job.failed": "A job ended without a verdict: `model`, `job_id`, `error`.",
    "job.requeued": "A job ended by a stop or a crash goes back to the queue: `model`, `job_id`, `why`.",
    "candidate.judged": "The verdict: `model`, `job_id`, `accepted`, `reason`, `candidate`, `champion`, `gates`.",
    "candidate.rejected": "The candidate is not taken: `model`, `job_id`, `reason`.",
    "challenger.kept": "Too little speaks for a candidate yet; it is judged on: `model`, `version`, `reason`.",
    "challenger.judged": "New labels were looked at: `model`, `job_id`, `version`, `answer`, `rows`, `reason`.",
    "challenger.unjudged": "A look at a challenger failed and is made again with the next labels: `version`, `error`.",
    "challenger.dropped": "A challenger is given up: `model`, `job_id`, `version`, `reason`.",
    "candidate.registered": "A new version in the registry: `model`, `job_id`, `version`, `run_id`.",
    "champion.unavailable": "The champion's model cannot be had; its live predictions stand in: `version`, `error`.",
    "model.promoted": "The alias names the new version: `model`, `job_id`, `version`, `previous`, `effective_from`.",
    "alias.adopted": "A person moved the alias; the service follows: `model`, `alias`, `version`, `previous`.",
    "alias.repaired": "A promotion was undone, as the alias had been moved meanwhile: `model`, `version`, `act`.",
})  # fmt: skip
"""Every log event with its meaning and facts."""

Level = Literal["debug", "info", "warning", "error"]
Logger = structlog.typing.FilteringBoundLogger


def configure(renderer: Literal["json", "console"], level: Level, stream: TextIO | None = None) -> None:
    """Set up logging for this process, once, at its start. Other libraries' warnings join as `library.logged`."""
    render: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if renderer == "console"
        else structlog.processors.JSONRenderer(default=str)
    )
    exceptions = [] if renderer == "console" else [structlog.processors.format_exc_info]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *exceptions,
    ]
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    _join_libraries(shared, render, stream or sys.stderr)


def _join_libraries(shared: list[Any], render: Any, stream: TextIO) -> None:
    """Warnings of kafka, mlflow and others become lines of the same form, so that every line is one JSON object."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _as_library_event, render],
        )
    )
    # What it says of an outage, many times a second, the service says once as `dependency.lost`.
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)


def _as_library_event(_: object, __: str, entry: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {**entry, "event": "library.logged", "message": str(entry.get("event", ""))}


def is_configured() -> bool:
    """Whether this process logs. Commands that only answer a person do not."""
    return structlog.is_configured()


def logger(**facts: object) -> Logger:
    """A logger with facts bound to every entry."""
    bound: Logger = structlog.get_logger(**facts)
    return bound
