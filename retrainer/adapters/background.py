"""Work beside the caller's: in a thread, or, as its twin, at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from retrainer.errors import RetrainerError


class ThreadBackground:
    """`Background` in a thread of its own."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "background")
        self._work: Future[None] | None = None

    @property
    def is_begun(self) -> bool:
        return self._work is not None

    @property
    def is_done(self) -> bool:
        return self._work is not None and self._work.done()

    def start(self, work: Callable[[], None], /) -> None:
        assert self._work is None
        self._work = self._pool.submit(work)

    def finish(self) -> None:
        assert self._work is not None
        work, self._work = self._work, None
        work.result()

    def close(self) -> None:
        try:
            if self._work is not None:
                with suppress(RetrainerError):
                    self.finish()
        finally:
            self._pool.shutdown()


class InlineBackground:
    """`Background` that does its work when it is begun, and tells of its failure when it is finished."""

    def __init__(self) -> None:
        self._error: BaseException | None = None
        self.is_begun = False

    @property
    def is_done(self) -> bool:
        return self.is_begun

    def start(self, work: Callable[[], None], /) -> None:
        assert not self.is_begun
        self.is_begun, self._error = True, None
        try:
            work()
        except RetrainerError as error:
            self._error = error

    def finish(self) -> None:
        assert self.is_begun
        self.is_begun = False
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        self.is_begun = False
