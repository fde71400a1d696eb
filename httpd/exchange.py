"""A request that a door answers, without ASGI: one head, one body, one answer."""

import asyncio
import logging
import re
import traceback
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Any, ClassVar, Protocol, TypeVar

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from .fields import FieldNames

#: A caller's request id that may be written to the log.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


class _ExceptionFilter(logging.Filter):
    """Logs an exception's type and place only: its text and its locals may contain a secret."""

    def filter(self, record: logging.LogRecord) -> bool:
        exc = record.exc_info[1] if record.exc_info else None
        if isinstance(exc, asyncio.CancelledError):
            return False  # a listener that ends cancels the tasks that are left
        if exc is not None:
            while exc.__cause__ is not None:  # Litestar wraps what fails within an answer
                exc = exc.__cause__
            last = traceback.extract_tb(exc.__traceback__)[-1]
            error, where = type(exc).__name__, f"{last.filename}:{last.lineno}"
            record.__dict__.update(error=error, where=where)  # as by the argument `extra`
            record.msg, record.args = "app.failed %s at %s", (error, where)
            record.exc_info = record.exc_text = None
        return True


log = logging.getLogger(__name__)
log.addFilter(_ExceptionFilter())


class Head(msgspec.Struct, frozen=True):
    """A request without its body, as it was sent."""

    method: str
    path: bytes
    #: Without its `?`.
    query: bytes
    names: FieldNames
    #: One for each of the names.
    values: Sequence[bytes]
    #: Address of the client; empty if unknown.
    client: str


class Response(msgspec.Struct, frozen=True):
    """A response, after which the connection closes if `close`.

    The lines of its fields are written unchecked and must have a content-length.
    """

    status: int
    fields: bytes
    body: bytes
    close: bool = False


class AdmittedRequest(Protocol):
    """A request that the door admitted: it reads the body."""

    @property
    def max_body(self) -> int:
        """Bytes of the largest body that it takes."""
        ...


Admitted = TypeVar("Admitted", bound=AdmittedRequest)


class RequestHandler(Protocol[Admitted]):
    """Answers some requests of a connection, each in its turn."""

    def serves(self, path: bytes) -> bool:
        """Whether requests for that raw path are the door's; all others are the app's."""
        ...

    def admit(self, head: Head) -> Admitted | Response:
        """Decide on a request by its head. An answer ends it, read or not."""
        ...

    def take(self, admission: Admitted, body: bytes, answer: Callable[[Response], None]) -> None:
        """Take the whole body, and call `answer` once, now or later."""
        ...

    def refuse(self, admission: Admitted, status: int) -> Response:
        """Answer a request with a body that is too late (408) or too large (413)."""
        ...


class Exchange:
    """One request of a connection, in steps. It has the attributes of uvicorn's cycles."""

    __slots__ = (
        "_admission",
        "_door",
        "_head",
        "_taken",
        "answer",
        "body",
        "disconnected",
        "expects",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
    )

    #: uvicorn sets it for each part of a body. Nothing waits for it.
    message_event: ClassVar = asyncio.Event()

    def __init__(
        self,
        door: RequestHandler[Any] | None = None,
        head: Head | None = None,
        *,
        keep_alive: bool = False,
        expects: bool = False,
        answer: Response | None = None,
    ) -> None:
        """`expects`: the client waits for a 100. With an `answer`, no door is asked."""
        self._door, self._head, self._taken = door, head, False
        self._admission: Any = None
        self.keep_alive, self.expects, self.answer = keep_alive, expects, answer
        self.body, self.more_body = bytearray(), True
        self.disconnected = self.response_started = self.response_complete = False

    def step(self, answered: Callable[[], None], *, late: bool) -> None:
        """Have the door admit the head, and take the body once it is complete.

        `answered` is called when the door has answered a body. `late`: the body is late.
        """
        if self._taken or self._door is None or self._head is None:
            return
        try:
            if self._admission is None:
                outcome = self._door.admit(self._head)
                if isinstance(outcome, Response):
                    self.answer = outcome
                    return
                self._admission = outcome
            if late or len(self.body) > self._admission.max_body:
                self.answer = self._door.refuse(self._admission, 408 if late else 413)
            elif not self.more_body:
                self._taken = True
                body = bytes(self.body)
                self.body.clear()

                def answer(answer: Response) -> None:
                    self.answer = answer
                    answered()

                self._door.take(self._admission, body, answer)
        except Exception:
            log.exception("")  # the filter writes the line
            self.answer = plain_answer(HTTPStatus.INTERNAL_SERVER_ERROR)

    def response(self, answer: Response) -> bytes:
        """Return the bytes of the answer, after which the exchange is complete."""
        self.response_started = self.response_complete = True
        self.keep_alive = self.keep_alive and not answer.close
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        body = b"" if self._head is not None and self._head.method == "HEAD" else answer.body
        return b"".join((STATUS_LINE[answer.status], answer.fields, end, body))


def callers_request_id(value: bytes | None) -> str | None:
    """Return the value of a caller's `X-Request-Id`, if it may be written to the log."""
    return value.decode() if value is not None and _REQUEST_ID.fullmatch(value) else None


def sent_request_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return that of these headers, as ASGI has them."""
    return callers_request_id(
        next((value for name, value in headers if name == b"x-request-id"), None)
    )


def plain_answer(status: int) -> Response:
    """Return an answer in plain text, after which the connection closes."""
    body = f"{status} {HTTPStatus(status).phrase}\n".encode()
    fields = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n" % len(body)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        fields += b"retry-after: 5\r\n"
    return Response(status, fields, body, close=True)
