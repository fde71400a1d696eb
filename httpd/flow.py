"""Parts of a connection that take little memory: thousands of clients wait at the same time."""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class CycleTransport(asyncio.Transport):
    """The transport that request cycles see: the protocol decides how to close it."""

    def __init__(self, wire: asyncio.Transport, close: Callable[[], None]) -> None:
        super().__init__()
        self._wire, self._close = wire, close
        self.closing = False

    def write(self, data: Any) -> None:
        if not (self.closing or self._wire.is_closing()):
            self._wire.write(data)

    def close(self) -> None:
        self._close()

    def release(self) -> None:
        """Drop the reference to the protocol, once the connection is over."""
        self._close = lambda: None

    def is_closing(self) -> bool:
        return self.closing or self._wire.is_closing()

    def pause_reading(self) -> None:
        self._wire.pause_reading()

    def resume_reading(self) -> None:
        self._wire.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._wire.get_extra_info(name, default)


class SmallEvent:
    """An `asyncio.Event` that takes little memory until something waits for it."""

    __slots__ = ("_event", "_is_set")

    def __init__(self, *, is_set: bool) -> None:
        self._event: asyncio.Event | None = None
        self._is_set = is_set

    def set(self) -> None:
        self._is_set = True
        if self._event is not None:
            self._event.set()

    def clear(self) -> None:
        self._is_set = False
        if self._event is not None:
            self._event.clear()

    async def wait(self) -> None:
        if not self._is_set:
            self._event = self._event or asyncio.Event()
            await self._event.wait()


class UnframedCycle(RequestResponseCycle):
    """A request over HTTP/1.0. Its client cannot read chunks (RFC 9112, section 6.1).

    The end of the connection ends an answer without a length.
    """

    _is_unframed = False

    async def send(self, message: Any) -> None:
        if not self.response_started:
            names = {name.lower() for name, _ in message.get("headers", ())}
            if b"content-length" not in names:
                self._is_unframed, self.chunked_encoding = True, False
        elif self._is_unframed:
            # uvicorn compares it with each part.
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


def prepare(cycle: RequestResponseCycle) -> None:
    """Change a request that uvicorn has made, before the app sees it."""
    cycle.message_event = SmallEvent(is_set=False)  # type: ignore[assignment]
    if cycle.scope["http_version"] == "1.0":
        cycle.__class__ = UnframedCycle


class Flow(FlowControl):
    """The flow of one connection."""

    def __init__(self, transport: asyncio.Transport) -> None:  # not uvicorn's, which makes an event
        self._transport = transport
        self.read_paused = self.write_paused = False
        self._is_writable_event = SmallEvent(is_set=True)  # type: ignore[assignment]


class Pipeline(list[tuple[Any, ASGI3Application]]):
    """The requests of one connection that wait, the first one last. A deque takes 700 bytes."""

    __slots__ = ()

    def appendleft(self, request: tuple[Any, ASGI3Application]) -> None:
        self.insert(0, request)
