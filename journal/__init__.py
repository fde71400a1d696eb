"""The journal's interface: a durable store of events and their deliveries."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Protocol

from .commit import CommitMeters
from .feed import Committed
from .reads import Answer, Read
from .seal import Opener, Sealer
from .writes import LineNumber, Result, Write

#: The filters of API keys: by digest, a predicate over an event as plain JSON values. The digest
#: changes with the predicate.
Filters = Mapping[str, Callable[[Mapping[str, Any]], bool]]


class JournalHealth(StrEnum):
    """Whether a journal can be written."""

    WORKING = "working"
    #: The last write failed; the next may succeed.
    FAILING = "failing"
    #: A commit takes too long: the disk does not answer.
    STALLED = "stalled"
    #: Nothing can be written until a restart.
    BROKEN = "broken"


class Journal(Protocol):
    """A durable store of events and deliveries. Each kind passes `contracts/journal.py`."""

    #: Unique to each journal. It stays when the journal is restored from a backup.
    identity: str
    #: A restore changes it. A cursor is valid only in the generation that returned it.
    generation: str
    #: Opens the sealed parts of its rows.
    opener: Opener
    #: The same, if new rows are sealed; None: they are stored in clear.
    sealer: Sealer | None
    #: Whether its dedupe keys need keys of the sealer. An older journal keeps its own.
    seals_dedupe: bool

    @property
    def waiting(self) -> int:
        """Writes that are not yet in a transaction."""
        ...

    @property
    def meters(self) -> CommitMeters:
        """The commits since the start."""
        ...

    @property
    def health(self) -> JournalHealth: ...

    @property
    def failure(self) -> str | None:
        """The reason why nothing can be written until a restart; None: writing is possible."""
        ...

    def submit(
        self,
        write: Write[Result],
        then: Callable[[Result | Exception], None] | None = None,
        *,
        line: LineNumber | None = None,
    ) -> "asyncio.Future[Result]":
        """Put a write into the next transaction; the future is done when it is durable.

        The future fails with `Unavailable` (try again later), `Broken` (the process must end) or
        `InvalidRow`. Cancelling the future does not cancel the write. `then` is called once with
        the outcome, in the order of results, even if the future was cancelled. A stalled journal
        answers Unavailable. It still calls `then` with the true outcome. `line` is set before.
        """
        ...

    def put(
        self,
        write: Write[Result],
        answer: Callable[[Result | Exception], None],
        then: Callable[[Result | Exception], None] | None = None,
    ) -> None:
        """Submit a write without a future: `answer` is called once with the outcome.

        `then` is called as for `submit`, before `answer`. Callbacks take this way, because a
        future needs a task that waits for it.
        """
        ...

    async def ask(self, read: Read[Answer]) -> Answer:
        """Answer a read from committed data.

        Raises Unavailable, also after the read's time limit, and Broken.
        """
        ...

    def listen(
        self, callback: Callable[[Committed], None], *, sink: str | None = None
    ) -> "contextlib.AbstractContextManager[None]":
        """Call `callback` on the event loop after each commit, while the context is open.

        It is called once for each batch. By then the results of the batch are set and the answers
        of `put` were called, but callers that await a result have not continued. With `sink`, it is
        called only after commits that changed deliveries of that sink.
        """
        ...

    async def empty_log(self) -> None:
        """Leave no page of an earlier time in the log: it could hold erased content.

        Raises Unavailable, also while another process reads the journal, and Broken.
        """
        ...

    async def close(self) -> None:
        """Write the waiting operations, then close the file."""
        ...
