"""The right to write."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to write for a shard (or as the controller). Whoever claims it next has a higher epoch.

    `manifest` tells one manifest from another, so that jobs of a new one are never taken for those of an old one.
    """

    name: str
    epoch: int
    manifest: str = ""
