"""Keeps the roles of one machine running: starts them, again when they end or hang, and stops them in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from retrainer.errors import ExitCode
from retrainer.logs import Logger
from retrainer.ports.clock import Clock, Stopped
from retrainer.ports.process import Role, Roles

_LOOK_SECONDS = 0.1
_STOP_WITHIN_SECONDS = 8.5
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 30.0
_STEADY_AFTER_SECONDS = 60.0
"""A role that ran this long starts again at once."""
_SILENT_FOR_SECONDS = 60.0
"""Seconds without a heartbeat, after which a role that does not work either is hung."""
_WORKING_FOR_SECONDS = 900.0
"""Seconds without a heartbeat, after which even one that works is hung. A long computation takes minutes at most."""
_WORKING_SHARE = 0.1
"""A role works if it used this share of a processor. The threads of an idle Kafka client use about a hundredth."""
_LOOKED_AWAY_SECONDS = 10.0
"""Seconds without a look of our own (a container that was paused), after which silence says nothing."""


@dataclass
class _Kept:
    """One role that is kept running."""

    name: str
    role: Role | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    wait: float = _FIRST_WAIT_SECONDS
    beats: int = 0
    heard_at: float = 0.0
    heard_cpu: float = 0.0

    def hear(self, role: Role, now: float) -> None:
        """Something was heard of it, or nothing could have been."""
        self.beats, self.heard_at, self.heard_cpu = role.beats(), now, role.cpu_seconds()


class Supervisor:
    """`run` is a loop over `run_once`."""

    def __init__(self, names: Sequence[str], roles: Roles, clock: Clock, logger: Logger) -> None:
        self._kept = [_Kept(name) for name in names]
        self._roles = roles
        self._clock = clock
        self._logger = logger
        self._looked_at = clock.monotonic()

    def run(self, stop: Stopped) -> int:
        """Keep the roles running until told to stop, or until one refuses to go on; the exit code."""
        refused = None
        while not stop.is_set() and refused is None:
            refused = self.run_once()
            stop.wait(_LOOK_SECONDS)
        self.stop()
        return ExitCode.DONE if refused is None else refused

    def run_once(self) -> int | None:
        """Start what does not run; the exit code of a role that refused to go on."""
        now = self._clock.monotonic()
        looked_away = now - self._looked_at > _LOOKED_AWAY_SECONDS
        self._looked_at = now
        for kept in self._kept:
            if kept.role is not None:
                self._listen(kept, kept.role, now, looked_away=looked_away)
            code = kept.role.exit_code() if kept.role else None
            if code == ExitCode.OUTSIDE:
                return code
            if code is not None:
                self._ended(kept, code, now)
            if kept.role is None and now >= kept.start_at:
                self._start(kept, now)
        return None

    def stop(self) -> None:
        """Ask every role to stop, and kill what has not ended in time."""
        running = {kept.name: kept.role for kept in self._kept if kept.role and kept.role.exit_code() is None}
        for role in running.values():
            role.ask_to_stop()
        deadline = self._clock.monotonic() + _STOP_WITHIN_SECONDS
        for name, role in running.items():
            while role.exit_code() is None and self._clock.monotonic() < deadline:
                self._clock.sleep(_LOOK_SECONDS)
            if role.exit_code() is None:
                self._logger.error("role.killed", role=name)
                role.kill()

    def _start(self, kept: _Kept, now: float) -> None:
        kept.role, kept.started_at = self._roles.start(kept.name), now
        kept.hear(kept.role, now)

    def _listen(self, kept: _Kept, role: Role, now: float, *, looked_away: bool) -> None:
        """Kill a role that hangs: a client may wait for ever, threads for each other. It is then started again."""
        if looked_away or role.beats() != kept.beats:
            kept.hear(role, now)
        silent = now - kept.heard_at
        if silent < _SILENT_FOR_SECONDS or role.exit_code() is not None:
            return
        worked = role.cpu_seconds() - kept.heard_cpu
        if silent >= _WORKING_FOR_SECONDS or worked < _WORKING_SHARE * silent:
            self._logger.error("role.hung", role=kept.name, seconds=round(silent, 1), cpu_seconds=round(worked, 1))
            role.kill()
            kept.hear(role, now)  # so that one which the kernel holds is killed again later, not all the time

    def _ended(self, kept: _Kept, code: int, now: float) -> None:
        if now - kept.started_at >= _STEADY_AFTER_SECONDS:
            kept.wait = _FIRST_WAIT_SECONDS
        kept.role, kept.start_at = None, now + kept.wait
        self._logger.error("role.restarted", role=kept.name, exit_code=code, in_seconds=kept.wait)
        kept.wait = min(2 * kept.wait, _LONGEST_WAIT_SECONDS)
