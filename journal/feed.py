"""The news of each commit, for all listeners."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from core.delivery import Delivery, Turn


class Committed(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one commit."""

    #: (place, body) of each new event.
    events: Sequence[tuple[int, bytes]] = ()
    #: The same of each stored event that changed: an order joined it, or a copy filled a gap.
    changed: Sequence[tuple[int, bytes]] = ()
    #: New deliveries that are due, by sink, in the order of their ids. Their owner is this start.
    #: Replays are left out: a million of them must not pass through memory.
    deliveries: Mapping[str, Sequence[Delivery]] = {}
    #: When the first of the other changed deliveries is due.
    due: Mapping[tuple[str, Turn], float] = {}
    #: The sum of the clock jumps since the start. All these instants include it.
    jumped: float = 0.0

    @property
    def sinks(self) -> Sequence[str]:
        """The sinks with new or changed deliveries, each once."""
        return tuple(dict.fromkeys((*self.deliveries, *(sink for sink, _ in self.due))))


_Listener = Callable[[Committed], None]


class CommitFeed:
    """The listeners of a journal."""

    def __init__(self) -> None:
        #: By sink; None: listeners of every commit.
        self._listeners: dict[str | None, list[_Listener]] = defaultdict(list)

    @contextlib.contextmanager
    def listen(self, callback: "_Listener", *, sink: str | None = None) -> Iterator[None]:
        """Call `callback` after each commit; with `sink`, after those with deliveries of it."""
        self._listeners[sink].append(callback)
        try:
            yield
        finally:
            self._listeners[sink].remove(callback)
            if not self._listeners[sink]:
                del self._listeners[sink]

    def announce(self, committed: Committed) -> None:
        # There may be thousands of sinks, and a commit concerns few of them.
        called = [
            callback
            for sink in (None, *committed.sinks)
            for callback in self._listeners.get(sink, ())
        ]
        for callback in called:
            try:
                callback(committed)
            except Exception as exc:  # noqa: BLE001 - its fault must not reach other listeners
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "a listener of the journal failed", "exception": exc}
                )
