"""The controller's part of the manifest: decisions, jobs, requests, the promotion ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace

import msgspec
from sqlalchemy import Connection, bindparam, case, func, insert, select, update

from retrainer.adapters.manifest import schema, segments
from retrainer.adapters.manifest.database import Database
from retrainer.adapters.manifest.ingest import counts, model_progress, positions
from retrainer.adapters.manifest.sqlite import upsert
from retrainer.domain.deciding.decisions import Decision, DecisionAnswer
from retrainer.domain.deciding.jobs import ENDED, Job
from retrainer.domain.deciding.ledger import Act, LedgerRow
from retrainer.domain.deciding.silence import USABLE
from retrainer.domain.events import Partition, Side
from retrainer.domain.tally.arrivals import ArrivalKey
from retrainer.domain.tally.tallies import ARRIVALS, WHOLE, TallyKey
from retrainer.domain.values import Micros, Slot
from retrainer.ports.manifest.decisions import Request, SlotRange, Step
from retrainer.ports.manifest.lease import Lease
from retrainer.ports.manifest.progress import StoredProgress
from retrainer.ports.manifest.segments import StoredSegment
from retrainer.ports.manifest.status import IngestView


class SqlDecisionState:
    """`DecisionState` and `StatusState` on SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, name: str, owner: str, now: Micros) -> Lease:
        return self._database.claim(name, owner, now)

    def model_progress(self) -> Mapping[str, StoredProgress]:
        with self._database.reading() as connection:
            return model_progress(connection)

    def tallies(
        self, model: str, first: Slot | None, before: Slot, *, whole: bool = False
    ) -> Sequence[tuple[TallyKey, int]]:
        table = schema.tallies
        # A cell that came and went again is a row of zero, or none if one flush saw both: neither is an outcome.
        wanted = select(table).where(table.c.model == model, table.c.slot < before, table.c.n != 0)
        if first is not None:
            wanted = wanted.where(table.c.slot >= first)
        wanted = wanted.where(table.c.slice == WHOLE if whole else table.c.slice != ARRIVALS)
        with self._database.reading() as connection:
            return [
                (TallyKey(row.version, row.slice, row.slot, row.truth, row.answer), row.n)
                for row in connection.execute(wanted.order_by(table.c.slot))
            ]

    def arrivals(self, model: str, first: Slot | None, before: Slot) -> Sequence[tuple[ArrivalKey, int]]:
        found = self.news({model: SlotRange(first, before)}).get(model, ())
        return [(ArrivalKey.of(key), n) for key, n in found if key.slice == ARRIVALS]

    def memory(self, model: str) -> bytes | None:
        with self._database.reading() as connection:
            return connection.scalar(select(schema.memories.c.body).where(schema.memories.c.model == model))

    def news(self, wanted: Mapping[str, SlotRange]) -> Mapping[str, Sequence[tuple[TallyKey, int]]]:
        if not wanted:
            return {}
        with self._database.reading() as connection:
            found = {model: _news(connection, model, slots) for model, slots in wanted.items()}
        return {model: tallies for model, tallies in found.items() if tallies}

    def side_counts(self) -> Mapping[str, Mapping[Side, int]]:
        table = schema.counts
        sign = case((table.c.status == "consumed", table.c.n), else_=-table.c.n)
        summed = select(table.c.model, table.c.side, func.sum(sign)).group_by(table.c.model, table.c.side)
        found: dict[str, dict[Side, int]] = {}
        with self._database.reading() as connection:
            for model, side, n in connection.execute(summed.where(table.c.status.in_(USABLE))):
                found.setdefault(model, {})[Side(side)] = int(n)
        return found

    def store_steps(self, steps: Sequence[Step]) -> None:
        if not steps:
            return
        with self._database.writing_as(steps[0].lease) as connection:
            for step in steps:
                for decision in step.decisions:
                    _insert_decision(connection, decision)
                for job in step.jobs:
                    connection.execute(insert(schema.jobs), _job_row(job))
                for request_id, answer in step.answers.items():
                    answered = update(schema.requests).where(schema.requests.c.request_id == request_id)
                    connection.execute(answered.values(answer=answer))
            kept = upsert(schema.memories)
            kept = kept.on_conflict_do_update(index_elements=["model"], set_={"body": kept.excluded.body})
            connection.execute(kept, [{"model": step.model, "body": step.memory} for step in steps])

    def decisions(self, model: str, last: int) -> Sequence[Decision]:
        table = schema.decisions
        newest = select(table.c.body).where(table.c.model == model).order_by(table.c.number.desc()).limit(last)
        with self._database.reading() as connection:
            bodies = list(connection.scalars(newest))
        return [msgspec.json.decode(body, type=Decision) for body in reversed(bodies)]

    def jobs(self, model: str | None = None, *, unfinished: bool = False) -> Sequence[Job]:
        table = schema.jobs
        wanted = select(table.c.body).order_by(table.c.number)
        if model is not None:
            wanted = wanted.where(table.c.model == model)
        if unfinished:
            wanted = wanted.where(table.c.state.not_in([state.value for state in ENDED]))
        with self._database.reading() as connection:
            return [msgspec.json.decode(body, type=Job) for body in connection.scalars(wanted)]

    def put_job(self, lease: Lease, job: Job) -> None:
        with self._database.writing_as(lease) as connection:
            connection.execute(update(schema.jobs).where(schema.jobs.c.job_id == job.job_id).values(**_job_row(job)))

    def append_ledger(self, lease: Lease, row: LedgerRow) -> LedgerRow:
        facts = {name: fact for name, fact in asdict(row).items() if name != "number"}
        with self._database.writing_as(lease) as connection:
            added = connection.execute(insert(schema.ledger).returning(schema.ledger.c.number), facts)
            return replace(row, number=added.scalar_one())

    def ledger(self, model: str) -> Sequence[LedgerRow]:
        table = schema.ledger
        with self._database.reading() as connection:
            rows = connection.execute(select(table).where(table.c.model == model).order_by(table.c.number))
            return [LedgerRow(**{**row, "act": Act(row["act"])}) for row in rows.mappings()]

    def ask(self, request: Request) -> None:
        with self._database.writing() as connection:
            connection.execute(insert(schema.requests), asdict(request))

    def requests(self, model: str | None = None, *, unanswered: bool = True) -> Sequence[Request]:
        table = schema.requests
        wanted = select(table).order_by(table.c.number)
        if model is not None:
            wanted = wanted.where(table.c.model == model)
        if unanswered:
            wanted = wanted.where(table.c.answer == "")
        with self._database.reading() as connection:
            rows = connection.execute(wanted).mappings()
            return [Request(**{name: fact for name, fact in row.items() if name != "number"}) for row in rows]

    def segments(self, *, after: int = 0, reaching: Micros | None = None) -> Iterator[StoredSegment]:
        return segments.read(self._database, after, reaching)

    def ingest_view(self) -> IngestView:
        with self._database.reading() as connection:
            table = schema.positions
            ends = {
                Partition(row.topic, row.partition): row.end
                for row in connection.execute(select(table).where(table.c.end.is_not(None)))
            }
            quarantined = connection.scalar(select(func.count()).select_from(schema.quarantine)) or 0
            return IngestView(
                counts=counts(connection),
                positions=positions(connection),
                ends=ends,
                quarantined=quarantined,
                moved={model: stored.moved for model, stored in model_progress(connection).items()},
            )


_NEWS = select(schema.tallies).where(
    schema.tallies.c.model == bindparam("model"),
    schema.tallies.c.slot >= bindparam("first"),
    schema.tallies.c.slot < bindparam("before"),
    schema.tallies.c.slice.in_((WHOLE, ARRIVALS)),
    schema.tallies.c.n != 0,
)
_FIRST_EVER = -(2**62)


def _news(connection: Connection, model: str, slots: SlotRange) -> list[tuple[TallyKey, int]]:
    first = _FIRST_EVER if slots.first is None else slots.first
    rows = connection.execute(_NEWS, {"model": model, "first": first, "before": slots.before})
    # By position: there are a thousand models in a round. The primary key is in the order of slots.
    return [(TallyKey(version, part, slot, truth, answer), n) for _, slot, version, part, truth, answer, n in rows]


def _insert_decision(connection: Connection, decision: Decision) -> None:
    """A hold that was recorded already stays as it is; a second decision to retrain would break the unique key."""
    row = {"decision_id": decision.decision_id, "model": decision.model, "body": msgspec.json.encode(decision)}
    if decision.outcome is DecisionAnswer.HOLD:
        connection.execute(upsert(schema.decisions).on_conflict_do_nothing(), row)
    else:
        connection.execute(insert(schema.decisions), row)


def _job_row(job: Job) -> dict[str, object]:
    return {"job_id": job.job_id, "model": job.model, "state": job.state.value, "body": msgspec.json.encode(job)}
