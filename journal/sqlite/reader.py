"""Threads that answer reads, each with its own connection."""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from core.errors import Broken, Unavailable

from ..reads import Read
from .errors import error_name, judged
from .read_only import open_read_only

T = TypeVar("T")
#: Steps of SQLite's virtual machine between two checks of the time limit.
_LOOK_EVERY = 10_000
_THREADS = 2


class _Halted(Exception):
    """Reads must wait for a checkpoint."""


class Reader:
    """A few threads, each with its own read-only connection."""

    def __init__(
        self,
        path: Path,
        *,
        failed: Callable[[Broken], None] = lambda _exc: None,
    ) -> None:
        """`failed` is called on the event loop if the file is damaged."""
        self._path, self._failed = path, failed
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="journal-read")
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._closed = False
        #: Guards `_running` and `_halted`.
        self._counting = threading.Lock()
        self._running = 0
        self._halted = False
        self._resumed = asyncio.Event()
        self._resumed.set()

    async def ask(
        self, question: Callable[[sqlite3.Connection], T], *, within: float = Read.within
    ) -> T:
        """Answer a question in one of the threads.

        Raises Broken or Unavailable. `within`: seconds; without an answer by then, Unavailable.
        """
        if self._closed:
            raise Unavailable("the journal is closed")
        ends = time.monotonic() + within
        try:
            async with asyncio.timeout(within):
                return await self._answered(question, ends)
        except TimeoutError:
            raise Unavailable(f"no answer in {within:g} s") from None
        except sqlite3.Error as exc:
            verdict = judged(exc)
            if isinstance(verdict, Broken):
                self._failed(verdict)
                raise verdict from exc
            raise Unavailable(error_name(exc)) from exc

    async def _answered(self, question: Callable[[sqlite3.Connection], T], ends: float) -> T:
        loop = asyncio.get_running_loop()
        while True:
            await self._resumed.wait()
            try:
                return await loop.run_in_executor(self._threads, self._answer, question, ends)
            except _Halted:
                continue
            except sqlite3.OperationalError as exc:
                # Interrupted for a checkpoint: try again after it.
                if error_name(exc) != "SQLITE_INTERRUPT" or time.monotonic() >= ends:
                    raise

    @contextlib.asynccontextmanager
    async def halted(self, *, within: float) -> AsyncIterator[None]:
        """Answer no question while the context is open.

        A question that runs for more than `within` seconds is interrupted, and starts again later.
        """
        self._resumed.clear()
        with self._counting:
            self._halted = True
        try:
            if not await self._quiet(within):
                for conn in tuple(self._open):
                    conn.interrupt()
                await self._quiet(within)
            yield
        finally:
            with self._counting:
                self._halted = False
            self._resumed.set()

    async def _quiet(self, within: float) -> bool:
        ends = time.monotonic() + within
        while self._running and time.monotonic() < ends:  # noqa: ASYNC110 - threads change it
            await asyncio.sleep(0.005)
        return not self._running

    def close(self) -> None:
        self._closed = True
        self._threads.shutdown(cancel_futures=True)
        for conn in self._open:
            conn.close()

    def _answer(self, question: Callable[[sqlite3.Connection], T], ends: float) -> T:
        """Answer a read, in one of the threads. Its first read opens its connection."""
        with self._counting:
            if self._halted:
                raise _Halted
            self._running += 1
        try:
            local = self._local
            local.ends = ends
            conn: sqlite3.Connection | None = getattr(local, "conn", None)
            if conn is None:
                conn = local.conn = open_read_only(self._path)
                # Its caller does not wait any more, and an endless read lets the log grow.
                conn.set_progress_handler(lambda: time.monotonic() > local.ends, _LOOK_EVERY)
                self._open.append(conn)
            return question(conn)
        finally:
            with self._counting:
                self._running -= 1
