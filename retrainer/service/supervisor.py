"""Keeps the roles of one machine running: starts them, starts them again when they end, and stops them in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retrainer.logs import Logger
from retrainer.ports import Clock, Role, Roles, Stopped

REFUSED = 3
"""The exit code of a role that refuses to go on; starting it again would not help."""

_LOOK_SECONDS = 0.1
_STOP_WITHIN = 8.5
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 30.0
_STEADY_AFTER = 60.0
"""A role that ran this long starts again at once."""


@dataclass
class _Kept:
    """One role that is kept running."""

    name: str
    role: Role | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    wait: float = _FIRST_WAIT


class Supervisor:
    """`run` is a loop over `run_once`."""

    def __init__(self, names: Sequence[str], roles: Roles, clock: Clock, log: Logger) -> None:
        self._kept = [_Kept(name) for name in names]
        self._roles = roles
        self._clock = clock
        self._log = log

    def run(self, stop: Stopped) -> int:
        """Keep the roles running until told to stop, or until one refuses to go on; the exit code."""
        refused = None
        while not stop.is_set() and refused is None:
            refused = self.run_once()
            stop.wait(_LOOK_SECONDS)
        self.stop()
        return 0 if refused is None else refused

    def run_once(self) -> int | None:
        """Start what does not run; the exit code of a role that refused to go on."""
        now = self._clock.monotonic()
        for kept in self._kept:
            code = kept.role.exit_code() if kept.role else None
            if code == REFUSED:
                return code
            if code is not None:
                self._ended(kept, code, now)
            if kept.role is None and now >= kept.start_at:
                kept.role, kept.started_at = self._roles.start(kept.name), now
        return None

    def stop(self) -> None:
        """Ask every role to stop, and kill what has not ended in time."""
        running = {kept.name: kept.role for kept in self._kept if kept.role and kept.role.exit_code() is None}
        for role in running.values():
            role.ask_to_stop()
        deadline = self._clock.monotonic() + _STOP_WITHIN
        for name, role in running.items():
            while role.exit_code() is None and self._clock.monotonic() < deadline:
                self._clock.sleep(_LOOK_SECONDS)
            if role.exit_code() is None:
                self._log.error("role.killed", role=name)
                role.kill()

    def _ended(self, kept: _Kept, code: int, now: float) -> None:
        if now - kept.started_at >= _STEADY_AFTER:
            kept.wait = _FIRST_WAIT
        kept.role, kept.start_at = None, now + kept.wait
        self._log.error("role.restarted", role=kept.name, exit_code=code, in_seconds=kept.wait)
        kept.wait = min(2 * kept.wait, _LONGEST_WAIT)
