"""A connection to MLflow: quiet, soon to give up, opened once, and with errors that say what to do.

MLflow keeps much of its state for the whole process (the tracking URI, loggers, what it prints). This file leaves
the global URIs alone; what it does set is the environment and the log levels below, before MLflow is first imported.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from retrainer.errors import Refused, RetrainerError, Unreachable

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

_FIXED: Final = {
    # A POST that MLflow repeats by itself makes a second run or version; we repeat after looking for the first.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    # Standard output and error belong to the commands' answers and to JSON lines.
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_DEFAULTS: Final = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_CONNECT_TIMEOUT: Final = "5"

# The database layer logs whole tracebacks of errors that it also raises, and one line for each migration.
_LOG_LEVELS: Final = {
    "mlflow": logging.WARNING,
    "mlflow.store.db.utils": logging.CRITICAL,
    "alembic": logging.WARNING,
    "huey": logging.WARNING,
    "sqlalchemy.engine": logging.WARNING,
}

_TRANSIENT: Final = frozenset(
    {
        "ABORTED",
        "CANCELLED",
        "DEADLINE_EXCEEDED",
        "ENDPOINT_NOT_FOUND",  # a proxy answers while the server behind it is away
        "INTERNAL_ERROR",  # also what MLflow says when no connection can be made
        "REQUEST_LIMIT_EXCEEDED",
        "RESOURCE_EXHAUSTED",
        "TEMPORARILY_UNAVAILABLE",
    }
)
_DENIED: Final = frozenset({"CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED", "UNAUTHENTICATED"})
_OUTDATED: Final = "out-of-date database schema"
_STORAGE_CLIENTS: Final = frozenset({"azure", "boto3", "botocore", "google", "urllib3"})
_USER_INFO: Final = r"://[^/@:]*:(.+)@"
_LONGEST_REASON: Final = 500


class Connection:
    """One MLflow: a tracking server or database, and the model registry beside it.

    It is opened by the first use and kept. Safe to share between threads, as MLflow's client is.
    """

    def __init__(self, tracking_uri: str, registry_uri: str | None = None) -> None:
        self.tracking_uri = _impatient(tracking_uri)
        self.registry_uri = _impatient(registry_uri) if registry_uri else None
        self.name = masked(tracking_uri)
        self._opening = threading.Lock()
        self._client: MlflowClient | None = None

    @property
    def served(self) -> bool:
        """Whether a server stands between us and MLflow's database, and decides where artefacts go."""
        return not _is_database(self.tracking_uri)

    @contextmanager
    def to(self, purpose: str) -> Iterator[MlflowClient]:
        """The client, for a purpose that is named in errors.

        Raises:
            Unreachable: MLflow, its database or its artefacts cannot be reached right now.
            Refused: MLflow was reached and said no.
        """
        try:
            yield self._open()
        except RetrainerError:
            raise
        except Exception as error:
            kind = _kind_of(error)
            if kind is None:
                raise
            raise kind(f"MLflow at {self.name}: cannot {purpose}: {self._reason(error)}") from error

    def _open(self) -> MlflowClient:
        with self._opening:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> MlflowClient:
        client_type = _import_quietly()
        # Named explicitly, or MLFLOW_REGISTRY_URI would take its place; Databricks has a default of its own.
        registry = self.registry_uri or (None if self.tracking_uri.startswith("databricks") else self.tracking_uri)
        databases = sorted({uri for uri in (self.tracking_uri, registry) if uri and _is_database(uri)})
        with ExitStack() as stack:
            for uri in databases:
                stack.enter_context(_opened_alone(uri))
                _try_database(uri)
            client = client_type(self.tracking_uri, registry)
            if databases:
                client.search_registered_models(max_results=1)  # opens the registry's side of the store as well
        return client

    def _reason(self, error: Exception) -> str:
        text = " ".join(str(error).split()) or type(error).__name__
        for uri in filter(None, (self.tracking_uri, self.registry_uri)):
            password = re.search(_USER_INFO, uri)
            text = text.replace(password[1], "***") if password else text
        if getattr(error, "error_code", None) in _DENIED:
            text += " (check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN)"
        return text if len(text) <= _LONGEST_REASON else text[:_LONGEST_REASON] + " ..."


def masked(uri: str) -> str:
    """A URI as it may be shown: without the password."""
    password = re.search(_USER_INFO, uri)
    return uri[: password.start(1)] + "***" + uri[password.end(1) :] if password else uri


def _is_database(uri: str) -> bool:
    return re.match(r"(sqlite|postgresql|mysql|mssql)(\+\w+)?:", uri) is not None


def _impatient(uri: str) -> str:
    """The URI with a limit on how long connecting takes, where the database's own is minutes."""
    if not uri.startswith("postgresql") or "connect_timeout=" in uri:
        return uri
    return f"{uri}{'&' if '?' in uri else '?'}connect_timeout={_CONNECT_TIMEOUT}"


def _import_quietly() -> type[MlflowClient]:
    os.environ.update(_FIXED)
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    for name, level in _LOG_LEVELS.items():
        logger = logging.getLogger(name)
        if not logger.handlers:  # without any, Python writes warnings to standard error itself
            logger.addHandler(logging.NullHandler())
        if logger.level == logging.NOTSET:
            logger.setLevel(level)
    from mlflow import MlflowClient
    from mlflow.utils.logging_utils import MLFLOW_LOGGING_STREAM

    # What it prints to standard error, and its own handlers where something imported it before us.
    MLFLOW_LOGGING_STREAM.enabled = False
    return MlflowClient


@contextmanager
def _opened_alone(uri: str) -> Iterator[None]:
    """Holds other processes off while an SQLite store is opened: the first opening creates and migrates its tables."""
    from sqlalchemy.engine import make_url

    path = make_url(uri).database
    if not uri.startswith("sqlite") or not path or path == ":memory:":
        yield
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{path}.lock").open("ab") as handle:
        _lock(handle)
        yield


def _lock(handle: IO[bytes]) -> None:
    """Waits for an exclusive lock, which closing the file gives back."""
    if sys.platform == "win32":
        import msvcrt

        handle.seek(0)
        msvcrt.locking(handle.fileno(), msvcrt.LK_LOCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)


def _try_database(uri: str) -> None:
    """Connects once: MLflow would try ten times over more than a minute before it says that nobody answers."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    with create_engine(uri, poolclass=NullPool).connect():
        pass


def _kind_of(error: Exception) -> type[Unreachable | Refused] | None:
    """Whether trying again may help. None for what is neither: a mistake of ours."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
    from sqlalchemy.exc import TimeoutError as PoolTimeout

    if isinstance(error, MlflowException):
        return _kind_of_answer(error)
    if isinstance(error, SQLAlchemyError):
        return Unreachable if isinstance(error, OperationalError | InterfaceError | PoolTimeout) else Refused
    if isinstance(error, ModuleNotFoundError):  # a database driver or a storage client
        return Refused
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int):
        return Unreachable if status >= 500 or status in {408, 429} else Refused
    outside = isinstance(error, OSError) or type(error).__module__.split(".")[0] in _STORAGE_CLIENTS
    return Unreachable if outside else None


def _kind_of_answer(error: MlflowException) -> type[Unreachable | Refused]:
    return Unreachable if error.error_code in _TRANSIENT and _OUTDATED not in error.message else Refused
