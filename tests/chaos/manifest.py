"""The manifest as SQLite itself shows it, and nothing of retrainer in between."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any


class Manifest:
    """Reads one manifest. What cannot be read at this moment is as good as empty."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(query).fetchall()

    def committed(self) -> int:
        """How many records every commit so far has consumed together."""
        try:
            return int(self.rows("select coalesce(sum(position), 0) from positions")[0][0])
        except sqlite3.OperationalError:
            return 0

    def positions(self) -> dict[tuple[str, int], int]:
        return {
            (topic, number): n for topic, number, n in self.rows("select topic, partition, position from positions")
        }

    def watermarks(self) -> dict[str, int]:
        found = self.rows("select model, watermark from progress")
        return {model: watermark for model, watermark in found if watermark is not None}

    def counts(self) -> Counter[tuple[str, str, str]]:
        return Counter({(m, side, status): n for m, side, status, n in self.rows("select * from counts") if n})

    def tallies(self) -> Counter[tuple[str, int, str, str, str]]:
        """By model, slot, version, truth and answer, over all rows; without the sums of scores beside them."""
        query = (
            "select model, slot, version, truth, answer, n from tallies where slice = '' and "
            "substr(truth, 1, 1) <> char(31)"
        )
        return Counter({(m, slot, v, truth, answer): n for m, slot, v, truth, answer, n in self.rows(query) if n})

    def quarantined(self) -> list[tuple[Any, ...]]:
        """Topic, partition, offset, key and value of each."""
        return self.rows('select topic, partition, "offset", key, value from quarantine')

    def segments(self) -> list[tuple[Any, ...]]:
        """Name, number of records and ranges (JSON) of each, in the order of the commits."""
        return self.rows("select name, records, ranges from segments order by number")
