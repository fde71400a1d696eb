"""The news of each commit, for all listeners."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from core.delivery import Delivery, Turn


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one commit."""

    #: (place, body) of each new event.
    events: Sequence[tuple[int, bytes]] = ()
    #: New deliveries that are due, by sink, in the order of their ids. Their owner is this start.
    #: Replays are left out: a million of them must not pass through memory.
    deliveries: Mapping[str, Sequence[Delivery]] = {}
    #: When the first of the other changed deliveries is due.
    due: Mapping[tuple[str, Turn], float] = {}
    #: The sum of the clock jumps since the start. All these instants include it.
    jumped: float = 0.0


class CommitFeed:
    """The listeners of a journal."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Committed], None]] = []

    @contextlib.contextmanager
    def listen(self, callback: Callable[[Committed], None]) -> Iterator[None]:
        self._listeners.append(callback)
        try:
            yield
        finally:
            self._listeners.remove(callback)

    def announce(self, committed: Committed) -> None:
        for callback in tuple(self._listeners):
            try:
                callback(committed)
            except Exception as exc:  # noqa: BLE001 - its fault must not reach other listeners
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "a listener of the journal failed", "exception": exc}
                )
