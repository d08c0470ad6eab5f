"""Plants each bug of `bugs.py` in a copy of the source and runs the test that has to find it.

    python -m tests.proof.plant [--todays-fifth | NAME ...]

Without names all of them, and first the machine without any bug, which must pass; or a fifth of them, another one each
day. Exits with 1 if a bug survives, or if its text does not stand in the source any more.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.proof.bugs import BUGS, MACHINE, Bug

ROOT: Final = Path(__file__).parents[2]
_COPIED: Final = ("retrainer", "tests", "configs", "pyproject.toml")
_AT_ONCE: Final = 2
_LIMIT_SECONDS: Final = 1200
_PASSED, _FAILED = 0, 1
"""What pytest exits with; the rest means that it could not even begin."""
_HUNG: Final = -1
_FIFTH: Final = "--todays-fifth"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of one bug."""

    name: str
    word: str
    seconds: float
    evidence: str

    @property
    def is_good(self) -> bool:
        return self.word in {"found", "passes"}


def main(names: Sequence[str]) -> int:
    """Plant these bugs, or all; the exit status."""
    if list(names) == [_FIFTH]:
        names = [bug.name for bug in BUGS[datetime.now(tz=UTC).toordinal() % 5 :: 5]]
    unknown = set(names) - {bug.name for bug in BUGS}
    if unknown:
        print(f"no such bugs: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    bugs: list[Bug | None] = [bug for bug in BUGS if not names or bug.name in names]
    answers: list[Answer] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for answer in pool.map(_try, bugs if names else [None, *bugs]):
            print(f"{answer.word:9} {answer.name:50} {answer.seconds:5.0f} s  {answer.evidence}", flush=True)
            answers.append(answer)
    bad = [answer.name for answer in answers if not answer.is_good]
    print(
        f"{len(answers) - len(bad)} of {len(answers)} as they should be" + (f"; not: {', '.join(bad)}" if bad else "")
    )
    return 1 if bad else 0


def _try(bug: Bug | None) -> Answer:
    """Without a bug the machine must pass."""
    started = time.monotonic()
    word, evidence = _run(bug)
    name = bug.name if bug else "(no bug)"
    return Answer(name=name, word=word, seconds=time.monotonic() - started, evidence=evidence)


def _run(bug: Bug | None) -> tuple[str, str]:
    with TemporaryDirectory(prefix="planted-") as folder:
        copy = Path(folder)
        _copy(copy)
        if bug is not None and not plant(bug, copy):
            return "GONE", f"its text does not stand once in {bug.file}"
        ended = _test(bug.found_by if bug else MACHINE, copy)
    output = ended.stdout + ended.stderr
    if ended.returncode not in {_PASSED, _FAILED}:
        return "BROKEN", output.strip().splitlines()[-1]
    failed = ended.returncode == _FAILED
    if bug is None:
        return ("FAILS", _evidence(output)) if failed else ("passes", "")
    return ("found", _evidence(output)) if failed else ("SURVIVED", f"{bug.found_by} passes")


def plant(bug: Bug, root: Path) -> bool:
    """Put a bug into the source under a folder; False if its text does not stand there exactly once."""
    path = root / bug.file
    source = path.read_text()
    if source.count(bug.old) != 1:
        return False
    path.write_text(source.replace(bug.old, bug.new))
    return True


def _copy(to: Path) -> None:
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, to / name)


def _test(which: str, root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", which]
    environment = {**os.environ, "PYTHONPATH": str(root), "RETRAINER_PROOF": "planted"}
    try:
        return subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=_LIMIT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, _HUNG, "", "it hangs")


def _evidence(output: str) -> str:
    """The first line of pytest's that says what was wrong."""
    said = (line[1:].strip() for line in output.splitlines() if line.startswith("E "))
    return next(said, "")[:160]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
