"""Bugs that the tests must find: each a small change of the source that loses, doubles or misplaces something.

Most are planted in the domain and the service and have to be found by the state machine. Where SQL does the work, the
same bug is planted in the twin for the machine, and in SQL for the contract that both fulfil.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MACHINE: Final = "tests/proof/test_machine.py"
INGEST: Final = "tests/contract/test_ingest_state.py"
SNAPSHOTS: Final = "tests/contract/test_snapshots_state.py"
HOUSEKEEPING: Final = "tests/contract/test_housekeeping_state.py"

_COLUMNS: Final = "retrainer/domain/join/columns.py"
_INDEX: Final = "retrainer/domain/join/table.py"
_JOIN: Final = "retrainer/domain/join/rules.py"
_ROWS: Final = "retrainer/domain/join/rows.py"
_HOUSEKEEPING: Final = "retrainer/service/control/housekeeping.py"
_REPLAY: Final = "retrainer/service/ingest/rebuild.py"
_SHARD: Final = "retrainer/service/ingest/shard.py"
_CUT: Final = "retrainer/service/ingest/cut.py"
_TWIN: Final = "retrainer/adapters/memory/manifest.py"
_TWIN_STATE: Final = "retrainer/adapters/memory/state.py"
_SQL: Final = "retrainer/adapters/manifest/database.py"
_SQL_INGEST: Final = "retrainer/adapters/manifest/ingest.py"


@dataclass(frozen=True, kw_only=True)
class Bug:
    """A replacement of one text, which stands once in its file, and the tests that must fail then."""

    name: str
    file: str
    old: str
    new: str
    found_by: str = MACHINE


BUGS: Final = (
    # What a commit makes true
    Bug(
        name="position-without-segment",
        file=_CUT,
        old="replace(self.flush, segment=self._segment(parts)) if self.batches else self.flush",
        new="self.flush",
    ),
    Bug(name="segment-without-position", file=_CUT, old="            moves=moves,\n", new="            moves={},\n"),
    Bug(name="quarantine-not-committed", file=_CUT, old="tuple(read.quarantined)", new="()"),
    Bug(
        name="records-kept-after-the-cut",
        file=_SHARD,
        old="            self._read = Unflushed()\n",
        new="            self._read = Unflushed(batches=[*self._read.batches])\n",
    ),
    Bug(
        name="segment-with-the-watermark-after-it",
        file=_CUT,
        old="for name, at in known.items() if",
        new="for name, at in self._progress.items() if",
    ),
    Bug(
        name="commit-of-a-dropped-shard-not-awaited",
        file="retrainer/service/ingest/worker.py",
        old="        if self.parts.background.is_begun:\n",
        new="        if False:\n",
    ),
    Bug(
        name="positions-not-compared (twin)",
        file=_TWIN_STATE,
        old="replace(_check_position(tables, at, before), position=after)",
        new="replace(tables.positions[at], position=after)",
    ),
    Bug(
        name="positions-not-compared (SQL)",
        file=_SQL_INGEST,
        old=", table.c.position == before)\n        if",
        new=")\n        if",
        found_by=f"{INGEST}::test_a_position_that_is_not_as_believed_fences",
    ),
    # Who may commit
    Bug(
        name="stale-epoch-accepted (twin)",
        file=_TWIN,
        old="tables.leases.get(lease.name) != lease.epoch",
        new="lease.name not in tables.leases",
    ),
    Bug(
        name="stale-epoch-accepted (SQL)",
        file=_SQL,
        old=".where(schema.leases.c.name == lease.name, schema.leases.c.epoch == lease.epoch)",
        new=".where(schema.leases.c.name == lease.name)",
        found_by=f"{INGEST}::test_whoever_lost_the_lease_writes_nothing",
    ),
    Bug(
        name="snapshot-of-a-zombie-registered (twin)",
        file=_TWIN_STATE,
        old='writing("snapshot", lease)',
        new='writing("snapshot")',
    ),
    Bug(
        name="snapshot-of-a-zombie-registered (SQL)",
        file=_SQL_INGEST,
        old="        with self._database.writing_as(lease) as connection:\n            _check_positions",
        new="        with self._database.writing() as connection:\n            _check_positions",
        found_by=f"{SNAPSHOTS}::test_whoever_lost_the_lease_registers_no_snapshot",
    ),
    # Corrections, retractions, absence
    Bug(
        name="correction-adds-only",
        file=_JOIN,
        old="for value, n in ((old.value, -1), (new.value, 1)):",
        new="for value, n in ((old.value, 0 if new.value else -1), (new.value, 1)):",
    ),
    Bug(
        name="retraction-applied-twice",
        file=_JOIN,
        old="for value, n in ((old.value, -1), (new.value, 1)):",
        new="for value, n in ((old.value, -1 if new.value else -2), (new.value, 1)):",
    ),
    Bug(
        name="corrections-first-ignored",
        file=_JOIN,
        old='not stands or policy.corrections == "last"',
        new="True",
    ),
    Bug(name="newest-redelivery-counts", file=_JOIN, old="first = min(held", new="first = max(held"),
    Bug(
        name="outcome-known-before-its-prediction",
        file=_JOIN,
        old="return max(prediction.time, label.time)",
        new="return label.time",
    ),
    Bug(
        name="redelivery-counted-as-prediction",
        file=_JOIN,
        old="duplicates=entry.duplicates + 1",
        new="duplicates=entry.duplicates",
    ),
    Bug(
        name="implied-label-not-undone",
        file=_INDEX,
        old="pending = self.rows.state[rows] == PREDICTED\n",
        new="pending = self.rows.state[rows] & (PREDICTED | LABELLED | EXTRA) == PREDICTED\n",
    ),
    # Early, late, forgotten
    Bug(
        name="early-label-dropped",
        file=_INDEX,
        old="        self._insert_labels(events.only(is_new))\n",
        new="        self._statuses[ORPHANED] += _count(is_new)\n",
    ),
    Bug(
        name="early-label-forgotten-after-one-horizon",
        file=_INDEX,
        old="return times + 2 * self.policy.horizon",
        new="return times + self.policy.horizon",
    ),
    Bug(
        name="late-event-in-a-closed-slot (one by one)",
        file=_INDEX,
        old="return cell._replace(slot=self.first_open)",
        new="return cell",
    ),
    Bug(
        name="late-event-in-a-closed-slot (columns)",
        file=_INDEX,
        old="        return np.maximum(slots, self.first_open), _count(",
        new="        return slots, _count(",
    ),
    Bug(
        name="prediction-after-its-label-never-arrives",
        file=_INDEX,
        old="        self._count_predictions(events)\n        self._statuses[WAITING] -= len(rows)\n",
        new="        self._statuses[WAITING] -= len(rows)\n",
    ),
    Bug(
        name="values-given-away-that-labels-have",
        file="retrainer/domain/join/rows.py",
        old="        used[truth[truth >= 0]] = True\n",
        new="",
    ),
    Bug(
        name="event-of-2099-believed",
        file=_COLUMNS,
        old="        fit &= times <= np.clip(",
        new="        times <= np.clip(",
    ),
    Bug(
        name="quarantined-event-moves-the-watermark",
        file="retrainer/domain/join/ingest.py",
        old="                reasons[row] = str(unusable)\n",
        new="                reasons[row] = str(unusable)\n"
        "                self.clock.saw(batch.partition, batch.timestamps[row] * 1000 + 10**12)\n",
    ),
    Bug(
        name="partition-with-more-to-read-not-waited-for",
        file="retrainer/domain/join/watermark.py",
        old="min([max(seen), *(time for time in behind if time is not None)])",
        new="max(seen)",
    ),
    # The table of ids
    Bug(name="forgotten-key-still-found", file=_ROWS, old="        self._table.remove(rows, self.keys)\n", new=""),
    Bug(
        name="free-row-given-out-twice",
        file=_ROWS,
        old="        self._free.append(rows)\n        self._free_rows += len(rows)\n",
        new="        self._free.extend([rows, rows])\n        self._free_rows += 2 * len(rows)\n",
    ),
    Bug(
        name="free-row-still-in-extra",
        file=_ROWS,
        old="                del self.extra[row]\n        self.state[rows] = 0\n",
        new="                pass\n        self.state[rows] &= EXTRA\n",
    ),
    Bug(
        name="grown-table-forgets-what-is-due",
        file=_ROWS,
        old="        blocks[: len(self._due_by)] = self._due_by\n",
        new="",
    ),
    Bug(
        name="removed-key-ends-the-search",
        file="retrainer/domain/join/keytable.py",
        old="going_on = ~ours & (rows != _EMPTY)",
        new="going_on = ~ours & (rows >= 0)",
    ),
    # Snapshots, and a start from them
    Bug(
        name="snapshot-of-more-than-was-committed",
        file=_SHARD,
        old="not (self._read.batches or self._commit.is_pending or self._cutter.rebuilt)\n"
        "        if self._snapshots.is_due(older_than) and is_committed:\n"
        "            self._snapshots.save(self._models, self._cutter.positions)\n",
        new="not self._cutter.rebuilt\n"
        "        if self._snapshots.is_due(older_than) and is_committed:\n"
        "            try:\n"
        "                stored = self._parts.state.positions()\n"
        "            except Exception:\n"
        "                return\n"
        "            at = {at: stored[at].position for at in self._cutter.positions}\n"
        "            self._snapshots.save(self._models, at)\n",
    ),
    Bug(
        name="snapshot-of-other-positions-registered (SQL)",
        file=_SQL_INGEST,
        old="            _check_positions(connection, snapshot.positions)\n",
        new="",
        found_by=f"{SNAPSHOTS}::test_a_snapshot_of_other_positions_fences",
    ),
    Bug(
        name="snapshot-with-extras-in-wrong-places",
        file=_ROWS,
        old="in zip(accumulate(used), rows, strict=True)}",
        new="in zip(rows, rows, strict=True)}",
    ),
    Bug(
        name="restored-rows-never-looked-at",
        file=_ROWS,
        old="np.full(len(rows.state) // _BLOCK, -NEVER, np.int64)",
        new="np.full(len(rows.state) // _BLOCK, NEVER, np.int64)",
    ),
    Bug(
        name="slices-lost-in-a-snapshot",
        file=_INDEX,
        old="Codes(dump.groups)",
        new="Codes([(version, ()) for version, _ in dump.groups])",
    ),
    Bug(
        name="start-skips-the-part-after-the-snapshot",
        file=_REPLAY,
        old="snapshot.name, snapshot.segment\n",
        new="snapshot.name, snapshot.segment + 1\n",
    ),
    Bug(
        name="start-takes-the-last-part-of-the-snapshot-twice",
        file=_REPLAY,
        old="snapshot.name, snapshot.segment\n",
        new="snapshot.name, max(0, snapshot.segment - 1)\n",
    ),
    Bug(
        name="snapshot-from-before-the-backfill-used",
        file=_REPLAY,
        old="                and snapshot.segment > self._stored[name].rebuilt_to  # else it may be older than that\n",
        new="",
    ),
    # A start from segments
    Bug(
        name="replayed-changes-not-drained",
        file=_REPLAY,
        old="        if model.policy.model not in self.rebuilt:\n            model.take_delta()\n",
        new="",
    ),
    Bug(
        name="replay-without-watermarks",
        file=_REPLAY,
        old="if part.number > self._rebuilt_to(model):",
        new="if part.number < 0:",
    ),
    Bug(
        name="changed-model-replayed-as-it-was",
        file=_REPLAY,
        old="else self._stored[name].rebuilt_to\n",
        new="else 0\n",
    ),
    # Merging and forgetting segments
    Bug(
        name="merge-deletes-before-it-registers",
        file=_HOUSEKEEPING,
        old="        self._parts.segments.write(name, content)\n",
        new="        self._parts.segments.write(name, content)\n"
        "        for one in run:\n"
        "            self._parts.segments.remove(one.name)\n",
    ),
    Bug(
        name="merged-parts-after-the-snapshot-skipped",
        file="retrainer/service/reading.py",
        old="if part.number > after and",
        new="if segment.parts[0].number > after and",
    ),
    Bug(
        name="cut-between-parts-loses-a-record",
        file="retrainer/domain/batches.py",
        old="batches.insert(0, first.slice(missing, None))",
        new="batches.insert(0, first.slice(missing + 1, None))",
    ),
    Bug(
        name="merge-keeps-the-last-part-only (twin)",
        file="retrainer/adapters/memory/housekeeping.py",
        old="content=None, parts=parts)",
        new="content=None, parts=parts[-1:])",
    ),
    Bug(
        name="needed-segments-forgotten",
        file=_HOUSEKEEPING,
        old="            needed.append(slot_start(progress.first_open) - reach)\n",
        new="            needed.append(progress.watermark)\n",
    ),
    Bug(
        name="start-sweeps-registered-files",
        file="retrainer/service/ingest/start.py",
        old="parts.segments.sweep(parts.state.segment_files(),",
        new="parts.segments.sweep((),",
    ),
    Bug(
        name="start-sweeps-nothing",
        file="retrainer/service/ingest/start.py",
        old="parts.segments.sweep(parts.state.segment_files(), epoch=lease.epoch)",
        new="parts.segments.sweep(parts.state.segment_files(), epoch=0)",
    ),
)
