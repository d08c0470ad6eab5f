"""The demo's own processes: started, listened to, and ended without leaving anybody behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

Entry = Mapping[str, Any]
"""One line of JSON that a process wrote."""

Tell = Callable[[Entry], object]

_KILLED_AFTER_SECONDS: Final = 12.0
"""Seconds; the service promises to stop within ten."""

# The shell asks the process to stop when its own standard input ends: when we close it, or when the kernel closes
# what we leave behind, whatever killed us.
_LIFELINE: Final = """
exec 3<&0 </dev/null
"$0" "$@" 3<&- &
child=$!
{ read _ <&3; kill -TERM $child; } 2>/dev/null &
watcher=$!
exec 3<&-
wait $child
code=$?
kill $watcher 2>/dev/null
exit $code
"""


class Child:
    """A process whose output goes to a file, and whose lines of JSON are also told as they come."""

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str], tell: Tell
    ) -> None:
        """Start it in `folder`, where `NAME.log` gets what it says; `tell` is called on a thread of this child."""
        self.name = name
        self.log = folder / f"{name}.log"
        self._process = subprocess.Popen(  # noqa: S603 - our own programs
            ["/bin/sh", "-c", _LIFELINE, *command],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C on the terminal is for us; we then ask in order
        )
        self._listener = threading.Thread(target=self._listen, args=(tell,), name=name, daemon=True)
        self._listener.start()

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Its exit code, once all that it said has been told."""
        code = self._process.wait()
        self._listener.join()
        self.ask_to_stop()  # nobody is there any more; it closes the pipe
        return code

    def ask_to_stop(self) -> None:
        """Send it SIGTERM; fine if it has ended."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def stop(self) -> int:
        """Ask it, wait, and kill it in the end; its exit code."""
        self.ask_to_stop()
        try:
            self._process.wait(_KILLED_AFTER_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        return self.wait()

    def kill(self) -> None:
        """End it at once; the service's own processes notice, and end too."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def last_words(self, lines: int = 5) -> str:
        """The end of its output."""
        return "\n".join(self.log.read_text("utf-8", errors="replace").splitlines()[-lines:])

    def _listen(self, tell: Tell) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines, self.log.open("ab", buffering=0) as log:
            for line in lines:
                log.write(line)
                entry = parsed(line)
                if entry is not None:
                    tell(entry)


def say(event: str, **facts: object) -> None:
    """What a child calls to tell something: one line of JSON."""
    print(json.dumps({"event": event, **facts}, default=str), flush=True)


def parsed(line: bytes | str) -> Entry | None:
    """The JSON object with an `event` that a line holds; None for any other line."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and isinstance(entry.get("event"), str) else None


def stop_all(children: Sequence[Child]) -> None:
    """Ask all at once, then wait for each: later ones need not wait for earlier ones."""
    for child in children:
        child.ask_to_stop()
    for child in children:
        child.stop()
