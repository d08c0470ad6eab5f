"""The folder in which the demo leaves everything; it removes nothing that it did not make itself."""

from __future__ import annotations

import fcntl
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, Self

from retrainer.errors import Refused

_MARK: Final = ".retrainer-demo"
_LOGS: Final = ("retrainer.log", "application.log", "champion.log", "broker.log")
_MADE: Final = ("flights.yaml", "state", "accuracy.png", *_LOGS)


@dataclass(frozen=True)
class DemoFolder:
    """Where each thing is."""

    path: Path
    _mark: IO[str]

    @classmethod
    def prepare(cls, path: Path) -> Self:
        """The folder, without what an earlier demo left in it, and for this demo alone.

        Raises:
            Refused: it holds something else, or another demo runs in it.
        """
        path = path.absolute()
        mark = path / _MARK
        if path.exists() and not (path.is_dir() and (mark.exists() or not any(path.iterdir()))):
            raise Refused(f"{path} is not a folder of the demo; choose another with --folder")
        path.mkdir(parents=True, exist_ok=True)
        folder = cls(path, _locked(mark))
        for name in _MADE:
            _remove(path / name)
        # Git need not be told by whoever runs the demo inside a checkout.
        (path / ".gitignore").write_text("*\n")
        (path / "state").mkdir()
        return folder

    @property
    def config(self) -> Path:
        return self.path / "flights.yaml"

    @property
    def log(self) -> Path:
        return self.path / "retrainer.log"

    @property
    def plot(self) -> Path:
        return self.path / "accuracy.png"

    @property
    def database(self) -> Path:
        """MLflow's, where the configuration file has it."""
        return self.path / "state" / "mlflow.db"

    @property
    def tracking_uri(self) -> str:
        return f"sqlite:///{self.database}"

    def close(self) -> None:
        """Let others have it."""
        self._mark.close()


def _locked(mark: Path) -> IO[str]:
    file = mark.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise Refused(f"another demo runs in {mark.parent}; choose another with --folder") from None
    return file


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
