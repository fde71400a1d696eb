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


class _Idle:
    """Connections that wait for a request, the longest idle first."""

    def __init__(self) -> None:
        self._silent: OrderedDict[Connection, None] = OrderedDict()
        self._used: OrderedDict[Connection, None] = OrderedDict()

    def add(self, connection: Connection, *, silent: bool) -> None:
        self.remove(connection)
        (self._silent if silent else self._used)[connection] = None

    def remove(self, connection: Connection) -> None:
        self._silent.pop(connection, None)
        self._used.pop(connection, None)

    def first(self) -> Connection | None:
        """The one to close; None where none is idle."""
        return next(iter(self._silent or self._used), None)


class Connections:
    """The open connections of all listeners: `most` of them, half for one peer.

    A connection over the limit takes the place of the one that has been idle for longest: first of
    those that never sent a request, so that a stranger's silent ones never cost a proxy its own.
    Where none is idle it is refused. Every step takes the same time, however many there are.
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
        #: Of all and of each peer.
        self._idle = _Idle()
        self._idle_of: dict[str, _Idle] = {}
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
        self._wait(connection, silent=True)
        return True

    def busy(self, connection: Connection) -> None:
        """A request has begun on it."""
        peer = self._open.get(connection)
        self._idle.remove(connection)
        if peer is not None and peer in self._idle_of:
            self._idle_of[peer].remove(connection)

    def idle(self, connection: Connection) -> None:
        """It waits for its next request."""
        self._wait(connection, silent=False)

    def _wait(self, connection: Connection, *, silent: bool) -> None:
        if connection in self._open:
            self._idle.add(connection, silent=silent)
            peer = self._open[connection]
            if peer is not None:
                self._idle_of.setdefault(peer, _Idle()).add(connection, silent=silent)

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

    def _make_room(self, idle: "_Idle | None") -> bool:
        longest = idle.first() if idle else None
        if longest is None:
            return False
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
