"""The limit on open connections, and the choice of one to close for the next."""

from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Protocol

#: One closing connection is allowed for each 8 that may be open.
_CLOSING_SHARE = 8


class Connection(Protocol):
    """A connection as Connections sees it. It is hashed by identity."""

    def end_idle(self) -> None:
        """Close it, but read what its client is sending at this moment."""
        ...

    def abort(self) -> None:
        """Close it now."""
        ...


class _Idle:
    """Connections that wait for a request, the longest idle one first."""

    def __init__(self) -> None:
        self._silent: OrderedDict[Connection, None] = OrderedDict()
        self._used: OrderedDict[Connection, None] = OrderedDict()

    def add(self, connection: Connection, *, silent: bool) -> None:
        self._silent.pop(connection, None)
        self._used.pop(connection, None)
        (self._silent if silent else self._used)[connection] = None

    def remove(self, connection: Connection) -> None:
        self._silent.pop(connection, None)
        self._used.pop(connection, None)

    def first(self) -> Connection | None:
        """Return the one to close, or None if no connection is idle."""
        return next(iter(self._silent or self._used), None)


class Connections:
    """The open connections of all listeners: at most `most`, and half of them for one peer.

    A connection over the limit replaces the one that has been idle for longest. Connections that
    never sent a request go first, so that a stranger's silent ones never replace a proxy's. If no
    connection is idle, the new one is refused. Every step takes constant time.
    """

    def __init__(
        self,
        most: int,
        *,
        peer: Callable[[str], str | None],
        full: Callable[[], None] = lambda: None,
    ) -> None:
        """`peer` returns the peer of an address; None: the address has no limit of its own.

        `full` is called each time an idle connection is closed for a new one.
        """
        self.limit(most, peer=peer)
        self._full = full
        self._open: dict[Connection, str | None] = {}
        self._counts: Counter[str] = Counter()
        #: Idle connections of all, and of each peer.
        self._idle = _Idle()
        self._idle_of: dict[str, _Idle] = {}
        #: Connections that are closing or refused: their descriptors are still in use.
        self._leaving: OrderedDict[Connection, None] = OrderedDict()

    def limit(self, most: int, *, peer: Callable[[str], str | None]) -> None:
        """Change the limit, and the peers of later connections. Open connections stay."""
        self.most = most
        self._share = max(1, most // 2)
        self._peer = peer

    def __len__(self) -> int:
        """Return the number of descriptors in use."""
        return len(self._open) + len(self._leaving)

    def opened(self, connection: Connection, address: str) -> bool:
        """Add a new connection, idle at first. Return False if it must be refused."""
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
        self.idle(connection, silent=True)
        return True

    def busy(self, connection: Connection) -> None:
        """Report that a request has begun on it."""
        peer = self._open.get(connection)
        self._idle.remove(connection)
        if peer is not None and peer in self._idle_of:
            self._idle_of[peer].remove(connection)

    def idle(self, connection: Connection, *, silent: bool = False) -> None:
        """Report that it waits for its next request; `silent`: it never sent one."""
        if connection in self._open:
            self._idle.add(connection, silent=silent)
            peer = self._open[connection]
            if peer is not None:
                self._idle_of.setdefault(peer, _Idle()).add(connection, silent=silent)

    def closed(self, connection: Connection) -> None:
        """Report that its descriptor is free."""
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
        """Count it as closing. Abort the oldest if too many are, as each keeps a descriptor."""
        self._forget(connection)
        if len(self._leaving) >= max(1, self.most // _CLOSING_SHARE):
            first, _ = self._leaving.popitem(last=False)
            first.abort()
        self._leaving[connection] = None
