"""The callback door: authenticate, decode, normalize, accept, answer."""

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
from httpd.exchange import EXCHANGE, Exchange

from .addresses import Peers
from .callback import Callback, Happening, Malformed
from .decode import decode
from .intake import Caller, Intake
from .sample_ids import Sampled
from .source import Source
from .source_state import SourceState
from .tokens import Tokens

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Respond = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]
App = Callable[[Scope, Receive, Respond], Awaitable[None]]

#: Seconds for the whole body, from the first look at it.
BODY_DEADLINE = 8.0
#: Seconds after which a provider may try again: of those that retry, none does sooner by itself.
RETRY_AFTER = 5
#: Marks a callback that `smshook send` made.
SAMPLE_HEADER = "smshook-sample"

#: What a caller may have written into our logs.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")

log = structlog.get_logger()


class Rejected(Exception):
    """Turned away: the answer is an error."""

    def __init__(
        self, status: int, code: str, *, reason: str | None = None, headers: Headers = ()
    ) -> None:
        super().__init__(code)
        self.status, self.code, self.reason, self.headers = status, code, reason, headers


class Gone(Exception):
    """The caller hung up."""


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    method: str
    #: Name of the source and token as sent, each decoded once; None: the path is not exactly that.
    path: tuple[bytes, bytes] | None
    headers: tuple[tuple[str, str], ...]
    peer: str
    id: str
    #: Path and query as sent: the token is in it.
    target: str
    #: Without its `?`.
    query: bytes
    receive: Receive
    #: Where the server has it.
    exchange: Exchange | None

    def header(self, name: str) -> str | None:
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Door:
    """ASGI: answers `/in/...` itself and hands everything else to what stands behind it.

    It stands in front of the framework because a route there costs half the rate, decodes paths
    twice and knows no limits (docs/decisions/0001-architecture.md).
    """

    def __init__(
        self,
        gates: Sequence[SourceState],
        desk: Intake,
        *,
        peers: Peers,
        max_body: int,
        behind: App,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._gates: Mapping[bytes, SourceState] = {gate.name.encode(): gate for gate in gates}
        self._nobody = Tokens(())
        self._desk, self._peers, self._max_body = desk, peers, max_body
        self._behind, self._now = behind, now
        self._sampled = Sampled(time.monotonic)

    async def __call__(self, scope: Scope, receive: Receive, respond: Respond) -> None:
        if scope["type"] != "http" or not _is_ours(scope["raw_path"]):
            await self._behind(scope, receive, respond)
            return
        request = self._request(scope, receive)
        try:
            status, headers, body = await self._answer(request)
        except Rejected as exc:
            status, headers, body = self._turned(request, exc)
        except Gone:
            return
        await self._respond(request, respond, status, headers, body)

    def _request(self, scope: Scope, receive: Receive) -> _Request:
        headers = tuple([(k.decode("latin-1"), v.decode("latin-1")) for k, v in scope["headers"]])
        forwarded = [value for name, value in headers if name == "x-forwarded-for"]
        client, query = scope["client"], scope.get("query_string", b"")
        target = scope["raw_path"] + (b"?" + query if query else b"")
        return _Request(
            method=scope["method"],
            path=_path(scope["raw_path"]),
            headers=headers,
            peer=self._peers.peer(client[0] if client else "", forwarded),
            id=callers_request_id(scope["headers"]) or self._desk.request_id(),
            target=target.decode("latin-1"),
            query=query,
            receive=receive,
            exchange=scope.get("extensions", {}).get(EXCHANGE),
        )

    async def _answer(self, request: _Request) -> tuple[int, Headers, bytes]:
        if request.path is None:
            raise _not_found("path")
        if request.method not in ("GET", "HEAD", "POST"):
            raise Rejected(
                405,
                "method_not_allowed",
                reason="method",
                headers=((b"allow", b"GET, HEAD, POST"),),
            )
        gate, token = self._authenticated(request.path)
        if request.method != "POST" and not (request.method == "GET" and request.query):
            return 200, (), b'{"status":"ready"}'  # somebody looks whether the URL is right
        if self._desk.closed():
            raise _unavailable()
        wait = gate.wait()
        if wait:
            seconds = str(int(wait) + 1).encode()
            raise Rejected(429, "too_many", reason="rate", headers=((b"retry-after", seconds),))
        body = await self._body(request) if request.method == "POST" else self._query(request)
        caller = Caller(
            source=gate.name, token=gate.tokens.fingerprint(token), request_id=request.id
        )
        callback = Callback(
            headers=request.headers,
            body=body,
            peer=request.peer,
            received=self._now(),
            sample=self._desk.is_sample(gate.name, body, request.header(SAMPLE_HEADER)),
        )
        try:
            kept = await self._kept(gate, caller, callback, request)
        except Unavailable:
            raise _unavailable() from None
        return _answered(gate.source, kept, callback)

    def _authenticated(self, path: tuple[bytes, bytes]) -> tuple[SourceState, int]:
        """The same work for a source that is there and one that is not."""
        name, token = path
        gate = self._gates.get(name)
        index = (gate.tokens if gate else self._nobody).which(token)
        if gate is None or index is None:
            raise _not_found("token")
        return gate, index

    def _query(self, request: _Request) -> bytes:
        if len(request.query) > self._max_body:
            raise _too_large()
        return request.query

    async def _body(self, request: _Request) -> bytes:
        if int(request.header("content-length") or 0) > self._max_body:
            raise _too_large()
        at_once = request.exchange.body() if request.exchange else None
        if at_once is not None:
            if len(at_once) > self._max_body:
                raise _too_large()
            return at_once
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_DEADLINE):
                while True:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise Gone
                    body += message.get("body", b"")
                    if len(body) > self._max_body:
                        raise _too_large()
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise Rejected(408, "body_timeout", reason="timeout", headers=_CLOSE) from None

    async def _kept(
        self, gate: SourceState, caller: Caller, callback: Callback, request: _Request
    ) -> bytes:
        authentic = _is_authentic(gate, callback, request.target)
        # From here on nobody needs the secrets that came with it.
        callback = self._desk.without_credentials(gate.name, callback)
        if not gate.allowed.permits(callback.peer):
            # What is in quarantine can be read again, and nobody would ask its signature then.
            if authentic:
                address = Malformed("address", "the peer is not in allow_from")
                await self._desk.quarantine(caller, callback, address)
            raise Rejected(403, "address_not_allowed", reason="address")
        if not authentic:
            raise _not_found("signature")
        if request.method == "GET" and not gate.source.sends_by_get():
            return await self._quarantined(caller, callback, _BY_GET)
        try:
            accepted = await self._desk.accept(caller, callback, understood(gate, callback))
        except Malformed as exc:
            return await self._quarantined(caller, callback, exc)
        except Unavailable:
            raise
        except Exception as exc:  # noqa: BLE001 - whatever it is, the bytes are kept
            return await self._quarantined(caller, callback, _fault(gate, exc))
        return msgspec.json.encode(accepted)

    async def _quarantined(self, caller: Caller, callback: Callback, exc: Malformed) -> bytes:
        try:
            kept = await self._desk.quarantine(caller, callback, exc)
        except InvalidRow:
            raise _unavailable() from None
        return msgspec.json.encode({"status": "quarantined", "id": kept, "reason": exc.reason})

    def _turned(self, request: _Request, exc: Rejected) -> tuple[int, Headers, bytes]:
        name = request.path[0] if request.path else b""
        # Only our own names are kept: what a stranger calls a source is not.
        source = name.decode() if name in self._gates else ""
        if exc.reason is not None:
            self._desk.reject(exc.reason, source, request.peer, request.id)
        else:
            self._say_unavailable(request, source)
        headers = ((b"content-type", b"application/problem+json"), *exc.headers)
        return exc.status, headers, _problem(exc, request.id)

    def _say_unavailable(self, request: _Request, source: str) -> None:
        """Sampled: a full disk refuses thousands of callbacks a second."""
        unlogged = self._sampled.take("unavailable")
        if unlogged is not None:
            log.warning(
                "callback.unavailable",
                request_id=request.id,
                source=source or None,
                peer=request.peer,
                unlogged=unlogged or None,
            )

    async def _respond(
        self, request: _Request, respond: Respond, status: int, headers: Headers, body: bytes
    ) -> None:
        fields = [
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request.id.encode()),
            (b"cache-control", b"no-store"),
            *headers,
        ]
        if b"content-type" not in dict(headers):
            fields.append((b"content-type", b"application/json"))
        if self._desk.draining() and _CLOSE[0] not in fields:
            fields.append(_CLOSE[0])
        if request.exchange is not None and request.exchange.answer(status, fields, body):
            return
        await respond({"type": "http.response.start", "status": status, "headers": fields})
        await respond({"type": "http.response.body", "body": body})


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


def _answered(source: Source, kept: bytes, callback: Callback) -> tuple[int, Headers, bytes]:
    """What a provider wants to hear; `smshook send` reads our JSON."""
    answer = source.answer or source.default_answer
    if answer is None or callback.sample:
        return 200, (), kept
    return 200, ((b"content-type", answer.content_type.encode()),), answer.body.encode()


def _is_authentic(gate: SourceState, callback: Callback, target: str) -> bool:
    """A sample of ours is proven by our own signature: we have not the provider's secret."""
    return callback.sample or gate.source.verify(callback, target)


def understood(gate: SourceState, callback: Callback) -> Sequence[Happening]:
    """Its bytes in our words. Raises Malformed, whatever is wrong with them."""
    try:
        fields = decode(
            callback.body,
            content_encoding=callback.joined("content-encoding"),
            encodings=gate.source.encodings,
            lists=gate.source.takes_lists,
        )
        return gate.source.normalize(fields, callback)
    except Malformed:
        raise
    except Exception as exc:
        raise _fault(gate, exc) from exc


def _fault(gate: SourceState, exc: Exception) -> Malformed:
    """A fault of ours must not cost a code: the bytes are kept, and can be read again."""
    what = type(exc).__name__
    log.error("callback.fault", source=gate.name, error=what)
    return Malformed("error", what)


def callers_request_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Its `X-Request-Id`, if it is fit for a log."""
    for name, value in headers:
        if name == b"x-request-id":
            return value.decode() if _REQUEST_ID.fullmatch(value) else None
    return None


def _is_ours(raw_path: bytes) -> bool:
    """`/in` and what is below it, each segment decoded once: `/%69n` too, `/in%2F` not."""
    first = raw_path[1:].partition(b"/")[0]
    return first == b"in" or (b"%" in first and urllib.parse.unquote_to_bytes(first) == b"in")


def _path(raw: bytes) -> tuple[bytes, bytes] | None:
    """Source and token of exactly `/in/{source}/{token}`, with or without one slash behind."""
    match raw.split(b"/")[2:]:
        case [source, token] | [source, token, b""] if source and token:
            return _unescaped(source), _unescaped(token)
    return None


def _unescaped(segment: bytes) -> bytes:
    return urllib.parse.unquote_to_bytes(segment) if b"%" in segment else segment


def _not_found(reason: str) -> Rejected:
    return Rejected(404, "not_found", reason=reason)


def _too_large() -> Rejected:
    return Rejected(413, "too_large", reason="too_large", headers=_CLOSE)


def _unavailable() -> Rejected:
    return Rejected(503, "unavailable", headers=((b"retry-after", str(RETRY_AFTER).encode()),))


def _problem(exc: Rejected, request_id: str) -> bytes:
    """RFC 9457. A 404 is the same bytes for everybody: it must not tell what exists."""
    problem = {
        "type": "about:blank",
        "title": _TITLES[exc.status],
        "status": exc.status,
        "code": exc.code,
    }
    if exc.status != 404:  # noqa: PLR2004 - Not Found
        problem["request_id"] = request_id
    return msgspec.json.encode(problem)
