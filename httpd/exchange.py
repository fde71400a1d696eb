"""A request that is wholly here, and its answer in one piece: an ASGI extension of our protocol.

Nearly every callback comes in one segment. To await its body under a deadline, and to answer in two
messages whose every field is looked through again, takes as long as the bare server does.
"""

import weakref
from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

#: Its name in `scope["extensions"]`.
EXCHANGE = "smshook.exchange"


class Exchange:
    """What an app may ask beside `receive` and `send`, and instead of them."""

    __slots__ = ("_found",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        # Weak, since the cycle holds the scope that holds this: else only the collector frees them.
        self._found = weakref.ref(cycle)

    def body(self) -> bytes | None:
        """All of it; None where it has to be waited for, by `receive`."""
        cycle = self._found()
        if cycle is None or cycle.more_body or cycle.disconnected or cycle.waiting_for_100_continue:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        cycle.message_event.clear()
        return body

    def answer(self, status: int, fields: Sequence[tuple[bytes, bytes]], body: bytes) -> bool:
        """Write it all; False where that has to be waited for, by `send`.

        The fields are ours: they have a length, and none is looked through.
        """
        cycle = self._found()
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
        self._end(cycle)
        return True

    @staticmethod
    def _end(cycle: RequestResponseCycle) -> None:
        cycle.waiting_for_100_continue = False
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
