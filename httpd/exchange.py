"""An ASGI extension that reads a complete request and writes its answer in one piece.

Nearly every callback comes in one segment. ASGI's way is to await its body under a deadline, and to
answer in two messages with every field checked again. This would take as long as all the rest of
the server.
"""

import weakref
from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

#: The name of the extension in `scope["extensions"]`.
EXCHANGE = "smshook.exchange"


class Exchange:
    """Replaces `receive` and `send` for an app that knows it."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        # Weak, because the cycle has the scope that has this: only the collector would free them.
        self._cycle = weakref.ref(cycle)

    def body(self) -> bytes | None:
        """Return the whole body, or None if it is incomplete: use `receive` then."""
        cycle = self._cycle()
        if cycle is None or cycle.more_body or cycle.disconnected or cycle.waiting_for_100_continue:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        cycle.message_event.clear()
        return body

    def answer(self, status: int, fields: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Write the whole answer, or return False where it must wait: use `send` then.

        The fields are written unchecked and must have a content-length.
        """
        cycle = self._cycle()
        if cycle is None or cycle.disconnected:
            return True
        if cycle.flow.write_paused or cycle.response_started or cycle.scope["method"] == "HEAD":
            return False
        lines = [b"%s: %s\r\n" % field for field in fields]
        if (b"connection", b"close") in fields:
            cycle.keep_alive = False
        elif not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        cycle.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))
        cycle.waiting_for_100_continue = False
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True
