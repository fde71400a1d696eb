"""Turns exceptions into answers, and gives each answer its request id."""

import math
import secrets
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.types import ExceptionHandlersMap, Message, Scope

from core.errors import Unavailable, origin
from httpd.body_time import CUT_OFF
from httpd.exchange import sent_request_id

from ..runtime.hub import ReaderEnded, TooManyReaders
from ..runtime.keys import Keys
from ..runtime.readers import ReadsLimited
from .auth import authenticate
from .errors import AGAIN, Problem, late_body, not_found, reader_ended, unknown_path
from .idempotency import AnsweredBefore

AnyRequest = Request[Any, Any, Any]
#: Bytes of a body. The largest call has an order with 32 labels, each character written as `\u…`.
MOST_BODY = 256 << 10
#: The exceptions that refuse a call.
Refusal = Problem | Unavailable | ReaderEnded | TooManyReaders | ReadsLimited
REFUSALS = get_args(Refusal)

#: Takes a code, the name of a key and a peer.
RefusedKey = Callable[[str, str, str], None]
#: The statuses of answers that refuse a key.
_KEY_REFUSED = (401, 403)
#: The methods of requests that change nothing.
_READING = ("GET", "HEAD")

log = structlog.get_logger()


def handlers(keys: Keys | None, refused_key: RefusedKey) -> ExceptionHandlersMap:
    """Return the handlers. Without a valid key, answers do not show which calls exist.

    `keys` is None for a listener without the API. `refused_key` takes the code of each answer that
    refuses a key, the name of the key if it exists, and the peer.
    """
    answer = partial(_answer_to_key, refused_key)

    def no_such_path(request: AnyRequest, _exc: NotFoundException) -> Response[bytes]:
        if keys is None or not _is_api(request):
            return unknown_path()
        return answer(request, _denied(keys, request) or not_found("call"))

    def wrong_method(request: AnyRequest, exc: MethodNotAllowedException) -> Response[bytes]:
        # Litestar joins a set: the order differs each time.
        allowed = sorted((exc.headers or {}).get("allow", "").split(", "))
        text, headers = (
            "the call does not take this method; see the header Allow",
            {"Allow": ", ".join(allowed)},
        )
        denied = _denied(keys, request) if keys and _is_api(request) else None
        problem = denied or Problem(405, "method_not_allowed", text, headers=headers)
        return answer(request, problem)

    def refused_by_litestar(request: AnyRequest, exc: HTTPException) -> Response[bytes]:
        if request.scope["state"].get(CUT_OFF):
            return _answer(request, late_body())
        if exc.status_code >= 500:  # noqa: PLR2004 - a bug of smshook from here on
            return _fault(request, exc)
        if exc.status_code == 413:  # noqa: PLR2004 - Content Too Large: RFC 9110, 15.5.14
            text = f"the body is larger than {MOST_BODY // 1024} KiB"
            return _answer(request, Problem(413, "too_large", text))
        # Its own text may repeat the sent values.
        return _answer(
            request, Problem(exc.status_code, "bad_request", "not a valid request for this API")
        )

    def refused(request: AnyRequest, exc: Refusal) -> Response[bytes]:
        return answer(request, problem_of(exc, only_reads=request.method in _READING))

    def answered_before(_request: AnyRequest, exc: AnsweredBefore) -> Response[bytes]:
        return exc.response

    return {
        AnsweredBefore: answered_before,
        NotFoundException: no_such_path,
        MethodNotAllowedException: wrong_method,
        HTTPException: refused_by_litestar,
        **dict.fromkeys(REFUSALS, refused),
        Exception: _fault,
    }


def problem_of(exc: Refusal, *, only_reads: bool) -> Problem:
    """Return the problem to answer with. `only_reads`: the request changes nothing."""
    match exc:
        case Problem():
            return exc
        case ReadsLimited():
            headers = {"Retry-After": str(math.ceil(exc.wait))}
            text = "the key has read as many codes as its `reads` allows"
            return Problem(429, "reads_limited", text, headers=headers)
        case ReaderEnded():
            return reader_ended()
        case TooManyReaders():
            status, scope = (429, "of this key") if exc.own else (503, "of all keys")
            text = f"{exc.most} {exc.kind}s {scope} are open already; no more are allowed"
            return Problem(status, f"too_many_{exc.kind}s", text, headers=AGAIN)
    text = "the journal is not available" if only_reads else exc.said
    return Problem(503, "unavailable", text, headers=AGAIN)


def _is_api(request: AnyRequest) -> bool:
    return f"{request.scope['path']}/".startswith("/v1/")


def _denied(keys: Keys, request: AnyRequest) -> Problem | None:
    try:
        authenticate(keys, request.scope)
    except Problem as problem:
        return problem
    return None


def _answer_to_key(
    refused_key: RefusedKey, request: AnyRequest, problem: Problem
) -> Response[bytes]:
    if problem.status in _KEY_REFUSED:
        access, peer = request.scope.get("auth"), request.client
        name = "" if access is None else access.name
        refused_key(problem.code, name, "" if peer is None else peer.host)
    return _answer(request, problem)


def _answer(request: AnyRequest, problem: Problem) -> Response[bytes]:
    return problem.response(request_id(request.scope))


def _fault(request: AnyRequest, exc: Exception) -> Response[bytes]:
    log.error(
        "api.fault",
        request_id=request_id(request.scope),
        error=type(exc).__name__,
        where=origin(exc),
    )
    return _answer(request, Problem(500, "internal", "internal error; the log has its request id"))


def request_id(scope: Scope) -> str:
    """Return the caller's id if a log can hold it, else a random one; the same in each call."""
    state = scope["state"]
    if "request_id" not in state:
        state["request_id"] = sent_request_id(scope["headers"]) or secrets.token_hex(8)
    return str(state["request_id"])


async def stamp(message: Message, scope: Scope) -> None:
    """Add the request id and `no-store` to every answer."""
    if message["type"] == "http.response.start":
        message["headers"] = [
            *message["headers"],
            (b"x-request-id", request_id(scope).encode()),
            (b"cache-control", b"no-store"),
        ]
