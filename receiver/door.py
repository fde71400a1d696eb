"""The callback door: authenticates, decodes, normalizes and stores a callback, and answers it."""

import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import structlog

from core.errors import Unavailable
from core.log_sampler import LogSampler
from httpd.exchange import Head, Response, callers_request_id

from .addresses import Peers
from .callback import Callback, Happening, Malformed
from .decode import decode
from .intake import Accepted, Caller, Intake, Stored
from .source_state import SourceState
from .tokens import Tokens

Respond = Callable[[Response], None]

#: Seconds after which a provider may retry. All providers that retry wait longer anyway.
RETRY_AFTER = 5
#: Marks a callback that `smshook send` made.
SAMPLE_HEADER, _SAMPLE = "smshook-sample", b"smshook-sample"

_TITLES = {
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    429: "Too Many Requests",
    503: "Service Unavailable",
}
#: The answers before the end of a body: it is not read, so the connection closes.
_UNREAD = (408, 413)
_JSON = "application/json"
_UNLISTED = Malformed("address", "the peer is not in allow_from")
_BY_GET = Malformed("method", "GET: this source expects POST; a replay reads the query")

log = structlog.get_logger()


class Rejected(Exception):
    """A request is answered with an error."""

    def __init__(
        self, status: int, code: str, *, reason: str | None = None, fields: str = ""
    ) -> None:
        """The request is counted under `reason`; None: it is not counted."""
        super().__init__(code)
        self.status, self.code, self.reason, self.fields = status, code, reason, fields


class _Request(msgspec.Struct, frozen=True):
    head: Head
    headers: tuple[tuple[str, str], ...]
    #: Source and token, each decoded once; None: the path is not `/in/SOURCE/TOKEN`.
    path: tuple[bytes, bytes] | None
    peer: str
    id: str

    @property
    def target(self) -> str:
        """Path and query as sent, with the token."""
        query = self.head.query
        return (self.head.path + (b"?" + query if query else b"")).decode("latin-1")


class Admission(msgspec.Struct, frozen=True):
    """A callback with a valid token, before its body is read."""

    request: _Request
    state: SourceState
    caller: Caller
    max_body: int


class Door:
    """Answers `/in/...`. See `httpd.exchange.RequestHandler`.

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
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._states: Mapping[bytes, SourceState] = {state.name.encode(): state for state in states}
        self._no_tokens = Tokens(())
        self._intake, self._peers, self._max_body = intake, peers, max_body
        self._now, self._sampler = now, LogSampler(time.monotonic)

    def serves(self, path: bytes) -> bool:
        # Each segment is decoded once: `/%69n` is ours, too, and `/in%2F` is not.
        first = path[1:].partition(b"/")[0]
        return first == b"in" or (b"%" in first and urllib.parse.unquote_to_bytes(first) == b"in")

    def admit(self, head: Head) -> Admission | Response:
        names, values = head.names, head.values
        headers = tuple(zip(names.texts, [v.decode("latin-1") for v in values], strict=True))
        is_forwarded = b"x-forwarded-for" in names.places
        forwarded = [v for k, v in headers if k == "x-forwarded-for"] if is_forwarded else ()
        place = names.places.get(b"x-request-id")
        id_ = None if place is None else callers_request_id(values[place])
        segments = head.path.split(b"/")[2:]
        if head.path.find(b"%") >= 0:  # cheaper than `in`, which first makes an exception
            segments = [urllib.parse.unquote_to_bytes(segment) for segment in segments]
        path: tuple[bytes, bytes] | None = None
        match segments:
            case [source, token] | [source, token, b""] if source and token:
                path = (source, token)
        request = _Request(
            head,
            headers,
            path,
            peer=self._peers.peer(head.client, forwarded),
            id=id_ or self._intake.request_id(),
        )
        try:
            return self._admitted(request)
        except Rejected as exc:
            return self._reject(request, exc)

    def _admitted(self, request: _Request) -> Admission | Response:
        if request.path is None:
            raise _not_found("path")
        head = request.head
        if head.method not in ("GET", "HEAD", "POST"):
            allow = "allow: GET, HEAD, POST\r\n"
            raise Rejected(405, "method_not_allowed", reason="method", fields=allow)
        name, token = request.path
        state = self._states.get(name)
        # An unknown source costs the same work, so that the time does not show which exist.
        index = (state.tokens if state else self._no_tokens).find(token)
        if state is None or index is None:
            raise _not_found("token")
        if head.method != "POST" and not (head.method == "GET" and head.query):
            # For a person who opens the URL.
            return self._answer(request, 200, b'{"status":"ready"}', _JSON)
        if self._intake.closed():
            raise _unavailable()
        if wait := state.wait():
            retry_after = f"retry-after: {int(wait) + 1}\r\n"
            raise Rejected(429, "too_many", reason="rate", fields=retry_after)
        place = head.names.places.get(b"content-length")
        length = 0 if place is None else int(head.values[place] or 0)
        if max(length, 0 if head.method == "POST" else len(head.query)) > self._max_body:
            raise _too_large()
        fingerprint = state.tokens.fingerprint(index)
        caller = Caller(source=state.name, token=fingerprint, request_id=request.id)
        return Admission(request, state, caller, self._max_body)

    def refuse(self, admission: Admission, status: int) -> Response:
        late = Rejected(408, "body_timeout", reason="timeout")
        return self._reject(admission.request, _too_large() if status == 413 else late)  # noqa: PLR2004

    def take(self, admission: Admission, body: bytes, answer: Respond) -> None:
        request, state = admission.request, admission.state
        callback = Callback(
            headers=request.headers,
            body=request.head.query if request.head.method == "GET" else body,
            peer=request.peer,
            received=self._now(),
        )
        signature = callback.header(SAMPLE_HEADER) if _SAMPLE in request.head.names.places else None
        if signature is not None and self._intake.is_sample(state.name, callback.body, signature):
            callback = msgspec.structs.replace(callback, sample=True)
        # Our own signature authenticates a sample: we do not have the provider's secret.
        signs = state.signs and not callback.sample
        authentic = not signs or state.source.verify(callback, request.target)
        callback = self._intake.hide_credentials(state, callback)
        if not state.allowed.permits(callback.peer):
            # A replay from quarantine would not check the signature again.
            if authentic:
                self._quarantine(admission, callback, _UNLISTED, answer)
            else:
                answer(self._reject(request, _unlisted()))
        elif not authentic:
            answer(self._reject(request, _not_found("signature")))
        elif request.head.method == "GET" and not state.source.sends_by_get():
            self._quarantine(admission, callback, _BY_GET, answer)
        else:
            self._accept(admission, callback, answer)

    def _accept(self, admission: Admission, callback: Callback, answer: Respond) -> None:
        def done(outcome: Stored | Exception) -> None:
            if isinstance(outcome, Unavailable):
                answer(self._reject(admission.request, _unavailable()))
            elif isinstance(outcome, Exception):
                bug = _report_bug(admission.state, outcome)
                self._quarantine(admission, callback, bug, answer)
            else:
                accepted = msgspec.json.encode(Accepted.of(outcome))
                answer(self._stored(admission, callback, accepted))

        try:
            happenings = read_happenings(admission.state, callback)
            self._intake.accept(admission.caller, callback, happenings, done)
        except Malformed as exc:
            self._quarantine(admission, callback, exc, answer)
        except Exception as exc:  # noqa: BLE001 - the bytes are stored after any error
            done(exc)

    def _quarantine(
        self, admission: Admission, callback: Callback, malformed: Malformed, answer: Respond
    ) -> None:
        def done(outcome: str | Exception) -> None:
            if isinstance(outcome, Exception):
                answer(self._reject(admission.request, _unavailable()))
            elif malformed is _UNLISTED:
                answer(self._reject(admission.request, _unlisted()))
            else:
                kept = {"status": "quarantined", "id": outcome, "reason": malformed.reason}
                answer(self._stored(admission, callback, msgspec.json.encode(kept)))

        self._intake.quarantine(admission.caller, callback, malformed, done)

    def _stored(self, admission: Admission, callback: Callback, body: bytes) -> Response:
        """Return our answer to a stored callback, or the one that its source wants."""
        reply = admission.state.reply
        if reply is None or callback.sample:
            return self._answer(admission.request, 200, body, _JSON)
        return self._answer(admission.request, 200, reply.body.encode(), reply.content_type)

    def _reject(self, request: _Request, exc: Rejected) -> Response:
        """Count or log a rejection, and return its answer: a problem (RFC 9457)."""
        name = request.path[0] if request.path else b""
        # Only names of sources are stored: a stranger chooses the path.
        source = name.decode() if name in self._states else ""
        if exc.reason is not None:
            self._intake.reject(exc.reason, source, request.peer, request.id)
            return self._rejection(request, exc)
        self._intake.count_unavailable(source)
        # Sampled, because a full disk rejects thousands of callbacks a second.
        unlogged = self._sampler.take("unavailable")
        if unlogged is not None:
            log.warning(
                "callback.unavailable",
                request_id=request.id,
                source=source or None,
                peer=request.peer,
                unlogged=unlogged or None,
            )
        return self._rejection(request, exc)

    def _rejection(self, request: _Request, exc: Rejected) -> Response:
        problem = {
            "type": "about:blank",
            "title": _TITLES[exc.status],
            "status": exc.status,
            "code": exc.code,
        }
        if exc.status != 404:  # noqa: PLR2004 - every 404 has the same bytes, to hide what exists
            problem["request_id"] = request.id
        body = msgspec.json.encode(problem)
        return self._answer(request, exc.status, body, "application/problem+json", exc.fields)

    def _answer(
        self, request: _Request, status: int, body: bytes, content_type: str, more: str = ""
    ) -> Response:
        fields = (
            f"content-length: {len(body)}\r\nx-request-id: {request.id}\r\n"
            f"cache-control: no-store\r\ncontent-type: {content_type}\r\n{more}"
        )
        close = status in _UNREAD or self._intake.draining()
        return Response(status, fields.encode(), body, close=close)


def read_happenings(state: SourceState, callback: Callback) -> Sequence[Happening]:
    """Decode and normalize a callback. Raises Malformed, also for an error in our own code."""
    try:
        fields = decode(
            callback.body,
            content_encoding=callback.joined("content-encoding"),
            encodings=state.source.encodings,
            lists=state.takes_lists,
        )
        return state.source.normalize(fields, callback)
    except Malformed:
        raise
    except Exception as exc:
        raise _report_bug(state, exc) from exc


def _report_bug(state: SourceState, exc: Exception) -> Malformed:
    """Log an error of our code; the callback is quarantined, and can be replayed."""
    error = type(exc).__name__
    log.error("callback.fault", source=state.name, error=error)
    return Malformed("error", error)


def _not_found(reason: str) -> Rejected:
    return Rejected(404, "not_found", reason=reason)


def _unlisted() -> Rejected:
    return Rejected(403, "address_not_allowed", reason="address")


def _too_large() -> Rejected:
    return Rejected(413, "too_large", reason="too_large")


def _unavailable() -> Rejected:
    return Rejected(503, "unavailable", fields=f"retry-after: {RETRY_AFTER}\r\n")
