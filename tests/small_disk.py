"""A file system of a few megabytes that really fills up."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[1]


def on_a_small_disk(script: str, folder: Path, size: str) -> None:
    """Run a script, with `FOLDER` on a file system of this size that goes with it; skips where none can be mounted."""
    if shutil.which("unshare") is None:
        pytest.skip("no file system can be mounted here")
    mount = f"mount -t tmpfs -o size={size} small {folder}"
    tried = subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no file system can be mounted here: {tried.stderr}")
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{mount} && exec {sys.executable} -"],
        input=f"FOLDER = {str(folder)!r}\n{script}",
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        cwd=_ROOT,
    )
    assert done.returncode == 0, done.stderr
