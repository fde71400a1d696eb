"""How many connections may be open, and which one makes room for the next."""

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Protocol

#: How many connections may still be saying goodbye, as a part of those that may be open.
_GOODBYES = 8


class Connection(Protocol):
    """What is asked of a connection. Each is its own hash."""

    def end_idle(self) -> None:
        """Close it, but keep what its client is sending at this moment."""
        ...

    def abort(self) -> None:
        """Close it now."""
        ...


class Connections:
    """The open connections of all listeners: `most` of them, half for one peer.

    A connection over the limit takes the place of the one that has been idle for longest; where
    none is idle it is refused. Every step takes the same time, however many there are.
    """

    def __init__(
        self,
        most: int,
        *,
        peer: Callable[[str], str | None],
        full: Callable[[], None] = lambda: None,
    ) -> None:
        """`peer` names what an address is counted as; None: as many as it likes.

        `full` is called each time that an idle connection is closed for a new one.
        """
        self.most = most
        self._share = max(1, most // 2)
        self._peer, self._full = peer, full
        self._open: dict[Connection, str | None] = {}
        self._counts: Counter[str] = Counter()
        #: Longest idle first, of all and of each peer.
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._idle_of: dict[str, OrderedDict[Connection, None]] = {}
        #: Closing, or being refused: their descriptors are still in use.
        self._leaving: OrderedDict[Connection, None] = OrderedDict()

    def __len__(self) -> int:
        """All that have a descriptor."""
        return len(self._open) + len(self._leaving)

    def opened(self, connection: Connection, address: str) -> bool:
        """A new one, idle for now; False: there is no room, refuse it."""
        peer = self._peer(address)
        if peer is not None and self._counts[peer] >= self._share:
            room = self._make_room(self._idle_of.get(peer))
        else:
            room = len(self._open) < self.most or self._make_room(self._idle)
        if not room:
            self._leave(connection)
            return False
        self._open[connection] = peer
        if peer is not None:
            self._counts[peer] += 1
        self.idle(connection)
        return True

    def busy(self, connection: Connection) -> None:
        """A request has begun on it."""
        if connection in self._idle:
            del self._idle[connection]
            peer = self._open[connection]
            if peer is not None:
                del self._idle_of[peer][connection]

    def idle(self, connection: Connection) -> None:
        """It waits for a request."""
        if connection in self._open:
            self._idle[connection] = None
            peer = self._open[connection]
            if peer is not None:
                self._idle_of.setdefault(peer, OrderedDict())[connection] = None

    def closed(self, connection: Connection) -> None:
        """Its descriptor is free."""
        self._leaving.pop(connection, None)
        self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        if connection not in self._open:
            return
        self.busy(connection)
        peer = self._open.pop(connection)
        if peer is not None:
            self._counts[peer] -= 1
            if not self._counts[peer]:
                del self._counts[peer]
                self._idle_of.pop(peer, None)

    def _make_room(self, idle: "OrderedDict[Connection, None] | None") -> bool:
        if not idle:
            return False
        longest = next(iter(idle))
        self._leave(longest)
        longest.end_idle()
        self._full()
        return True

    def _leave(self, connection: Connection) -> None:
        """A flood is not waited for: each goodbye keeps a descriptor for seconds."""
        self._forget(connection)
        if len(self._leaving) >= max(1, self.most // _GOODBYES):
            first, _ = self._leaving.popitem(last=False)
            first.abort()
        self._leaving[connection] = None
