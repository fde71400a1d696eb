"""Look up the addresses of a host, each in a thread of its own."""

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any

from ..sink import Unusable

#: As `socket.getaddrinfo` returns them.
Addresses = list[tuple[Any, ...]]


def numeric(host: str, port: int) -> Addresses:
    """Return the address that is written as the host. Raises OSError for a name."""
    return _resolve(host, port, socket.AI_NUMERICHOST)


def look_up(host: str, port: int) -> "asyncio.Future[Addresses]":
    """Return a future of the addresses of a name, which may be empty. Raises Unusable.

    A resolver may hang. In a thread of its own it delays no other sink and no end of the process.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[Addresses] = loop.create_future()

    def ask() -> None:
        addresses: Addresses = []
        with suppress(OSError):
            addresses = _resolve(host, port)
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(found.set_result, addresses)

    try:
        threading.Thread(target=ask, name="dns", daemon=True).start()
    except RuntimeError:
        raise Unusable from None
    return found


def _resolve(host: str, port: int, flags: int = 0) -> Addresses:
    # As bytes: for a text, Python may have to load its IDNA tables from disk.
    return [*socket.getaddrinfo(host.encode(), port, type=socket.SOCK_STREAM, flags=flags)]
