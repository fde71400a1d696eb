"""The callback door: authenticates, decodes, normalizes and stores a callback, and answers it."""

import asyncio
import re
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import structlog

from core.errors import InvalidRow, Unavailable
from core.log_sampler import LogSampler
from httpd.exchange import EXCHANGE, Exchange

from .addresses import Peers
from .callback import Callback, Happening, Malformed
from .decode import decode
from .intake import Caller, Intake
from .source_state import SourceState
from .tokens import Tokens

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Respond = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]
App = Callable[[Scope, Receive, Respond], Awaitable[None]]

#: Seconds for the whole body, after the headers.
BODY_DEADLINE = 8.0
#: Seconds after which a provider may retry. All providers that retry wait longer anyway.
RETRY_AFTER = 5
#: Marks a callback that `smshook send` made.
SAMPLE_HEADER = "smshook-sample"

#: A caller's request id that may be written to the log.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_CLOSE: Headers = ((b"connection", b"close"),)
_TITLES = {
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    429: "Too Many Requests",
    503: "Service Unavailable",
}
_BY_GET = Malformed("method", "GET: this source expects POST; a replay reads the query")

log = structlog.get_logger()


class Rejected(Exception):
    """A request is answered with an error."""

    def __init__(
        self, status: int, code: str, *, reason: str | None = None, headers: Headers = ()
    ) -> None:
        """The request is counted under `reason`; None: it is not counted."""
        super().__init__(code)
        self.status, self.code, self.reason, self.headers = status, code, reason, headers


class Disconnected(Exception):
    """The client closed the connection."""


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    method: str
    #: Source and token, each decoded once; None: the path is not `/in/SOURCE/TOKEN`.
    path: tuple[bytes, bytes] | None
    headers: tuple[tuple[str, str], ...]
    peer: str
    id: str
    #: Path and query as sent, with the token.
    target: str
    #: Without its `?`.
    query: bytes
    receive: Receive
    #: None where the server does not have the extension.
    exchange: Exchange | None

    def header(self, name: str) -> str | None:
        for key, value in self.headers:
            if key == name:
                return value
        return None

    async def body(self, limit: int) -> bytes:
        """Return the whole body. Raises Rejected if it is too large or too late."""
        if int(self.header("content-length") or 0) > limit:
            raise _too_large()
        complete = self.exchange.body() if self.exchange else None
        if complete is not None:
            return complete
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_DEADLINE):
                while True:
                    message = await self.receive()
                    if message["type"] == "http.disconnect":
                        raise Disconnected
                    body += message.get("body", b"")
                    if len(body) > limit:
                        raise _too_large()
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise Rejected(408, "body_timeout", reason="timeout", headers=_CLOSE) from None


class Door:
    """ASGI app that answers `/in/...` and passes everything else to the app behind it.

    It is in front of the framework. A route there would cost half the rate, decode paths twice and
    have no limits (docs/decisions/0001-architecture.md).
    """

    def __init__(
        self,
        states: Sequence[SourceState],
        intake: Intake,
        *,
        peers: Peers,
        max_body: int,
        behind: App,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._states: Mapping[bytes, SourceState] = {state.name.encode(): state for state in states}
        self._no_tokens = Tokens(())
        self._intake, self._peers, self._max_body = intake, peers, max_body
        self._behind, self._now = behind, now
        self._sampler = LogSampler(time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, respond: Respond) -> None:
        # Each segment is decoded once: `/%69n` is ours, too, and `/in%2F` is not.
        first = scope["raw_path"][1:].partition(b"/")[0] if scope["type"] == "http" else b""
        if first != b"in" and (b"%" not in first or urllib.parse.unquote_to_bytes(first) != b"in"):
            await self._behind(scope, receive, respond)
            return
        request = self._request(scope, receive)
        try:
            status, headers, body = await self._answer(request)
        except Rejected as exc:
            status, headers, body = self._reject(request, exc)
        except Disconnected:
            return
        fields = [
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request.id.encode()),
            (b"cache-control", b"no-store"),
            *headers,
        ]
        if b"content-type" not in dict(headers):
            fields.append((b"content-type", b"application/json"))
        if self._intake.draining() and _CLOSE[0] not in fields:
            fields.append(_CLOSE[0])
        if request.exchange is not None and request.exchange.answer(status, fields, body):
            return
        await respond({"type": "http.response.start", "status": status, "headers": fields})
        await respond({"type": "http.response.body", "body": body})

    def _request(self, scope: Scope, receive: Receive) -> _Request:
        headers = tuple([(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]])
        forwarded = [value for name, value in headers if name == "x-forwarded-for"]
        client, query = scope["client"], scope.get("query_string", b"")
        target = scope["raw_path"] + (b"?" + query if query else b"")
        segments = scope["raw_path"].split(b"/")[2:]
        if b"%" in scope["raw_path"]:
            segments = [urllib.parse.unquote_to_bytes(segment) for segment in segments]
        path: tuple[bytes, bytes] | None = None
        match segments:
            case [source, token] | [source, token, b""] if source and token:
                path = (source, token)
        return _Request(
            method=scope["method"],
            path=path,
            headers=headers,
            peer=self._peers.peer(client[0] if client else "", forwarded),
            id=callers_request_id(scope["headers"]) or self._intake.request_id(),
            target=target.decode("latin-1"),
            query=query,
            receive=receive,
            exchange=scope.get("extensions", {}).get(EXCHANGE),
        )

    async def _answer(self, request: _Request) -> tuple[int, Headers, bytes]:
        if request.path is None:
            raise _not_found("path")
        if request.method not in ("GET", "HEAD", "POST"):
            allow = ((b"allow", b"GET, HEAD, POST"),)
            raise Rejected(405, "method_not_allowed", reason="method", headers=allow)
        name, token = request.path
        state = self._states.get(name)
        # An unknown source costs the same work, so that the time does not show which exist.
        index = (state.tokens if state else self._no_tokens).find(token)
        if state is None or index is None:
            raise _not_found("token")
        if request.method != "POST" and not (request.method == "GET" and request.query):
            return 200, (), b'{"status":"ready"}'  # for a person who opens the URL
        if self._intake.closed():
            raise _unavailable()
        if wait := state.wait():
            retry_after = ((b"retry-after", str(int(wait) + 1).encode()),)
            raise Rejected(429, "too_many", reason="rate", headers=retry_after)
        body = await request.body(self._max_body) if request.method == "POST" else request.query
        if len(body) > self._max_body:
            raise _too_large()
        caller = Caller(
            source=state.name, token=state.tokens.fingerprint(index), request_id=request.id
        )
        callback = Callback(
            headers=request.headers,
            body=body,
            peer=request.peer,
            received=self._now(),
            sample=self._intake.is_sample(state.name, body, request.header(SAMPLE_HEADER)),
        )
        try:
            answer = await self._store(state, caller, callback, request)
        except Unavailable:
            raise _unavailable() from None
        reply = state.source.answer or state.source.default_answer
        if reply is None or callback.sample:
            return 200, (), answer
        return 200, ((b"content-type", reply.content_type.encode()),), reply.body.encode()

    async def _store(
        self, state: SourceState, caller: Caller, callback: Callback, request: _Request
    ) -> bytes:
        """Store a callback and return our JSON answer."""
        # Our own signature authenticates a sample: we do not have the provider's secret.
        authentic = callback.sample or state.source.verify(callback, request.target)
        callback = self._intake.hide_credentials(state.name, callback)
        if not state.allowed.permits(callback.peer):
            # A replay from quarantine would not check the signature again.
            if authentic:
                address = Malformed("address", "the peer is not in allow_from")
                await self._intake.quarantine(caller, callback, address)
            raise Rejected(403, "address_not_allowed", reason="address")
        if not authentic:
            raise _not_found("signature")
        if request.method == "GET" and not state.source.sends_by_get():
            return await self._quarantine(caller, callback, _BY_GET)
        try:
            happenings = read_happenings(state, callback)
            accepted = await self._intake.accept(caller, callback, happenings)
        except Malformed as exc:
            return await self._quarantine(caller, callback, exc)
        except Unavailable:
            raise
        except Exception as exc:  # noqa: BLE001 - the bytes are stored after any error
            return await self._quarantine(caller, callback, _report_bug(state, exc))
        return msgspec.json.encode(accepted)

    async def _quarantine(self, caller: Caller, callback: Callback, exc: Malformed) -> bytes:
        try:
            id_ = await self._intake.quarantine(caller, callback, exc)
        except InvalidRow:
            raise _unavailable() from None
        return msgspec.json.encode({"status": "quarantined", "id": id_, "reason": exc.reason})

    def _reject(self, request: _Request, exc: Rejected) -> tuple[int, Headers, bytes]:
        """Count or log a rejection, and return its answer: a problem (RFC 9457)."""
        name = request.path[0] if request.path else b""
        # Only names of sources are stored: a stranger chooses the path.
        source = name.decode() if name in self._states else ""
        if exc.reason is not None:
            self._intake.reject(exc.reason, source, request.peer, request.id)
        # Sampled, because a full disk rejects thousands of callbacks a second.
        elif (unlogged := self._sampler.take("unavailable")) is not None:
            log.warning(
                "callback.unavailable",
                request_id=request.id,
                source=source or None,
                peer=request.peer,
                unlogged=unlogged or None,
            )
        problem = {
            "type": "about:blank",
            "title": _TITLES[exc.status],
            "status": exc.status,
            "code": exc.code,
        }
        if exc.status != 404:  # noqa: PLR2004 - every 404 has the same bytes, to hide what exists
            problem["request_id"] = request.id
        headers = ((b"content-type", b"application/problem+json"), *exc.headers)
        return exc.status, headers, msgspec.json.encode(problem)


def read_happenings(state: SourceState, callback: Callback) -> Sequence[Happening]:
    """Decode and normalize a callback. Raises Malformed, also for an error in our own code."""
    try:
        fields = decode(
            callback.body,
            content_encoding=callback.joined("content-encoding"),
            encodings=state.source.encodings,
            lists=state.source.takes_lists,
        )
        return state.source.normalize(fields, callback)
    except Malformed:
        raise
    except Exception as exc:
        raise _report_bug(state, exc) from exc


def callers_request_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the caller's `X-Request-Id`, if it may be written to the log."""
    for name, value in headers:
        if name == b"x-request-id":
            return value.decode() if _REQUEST_ID.fullmatch(value) else None
    return None


def _report_bug(state: SourceState, exc: Exception) -> Malformed:
    """Log an error of our code; the callback is quarantined, and can be replayed."""
    error = type(exc).__name__
    log.error("callback.fault", source=state.name, error=error)
    return Malformed("error", error)


def _not_found(reason: str) -> Rejected:
    return Rejected(404, "not_found", reason=reason)


def _too_large() -> Rejected:
    return Rejected(413, "too_large", reason="too_large", headers=_CLOSE)


def _unavailable() -> Rejected:
    return Rejected(503, "unavailable", headers=((b"retry-after", str(RETRY_AFTER).encode()),))
