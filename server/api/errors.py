"""Errors as problem documents (RFC 9457), each with a stable code."""

import http
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec
from litestar import Response

from core.printable import PLACE, named
from receiver.door import RETRY_AFTER
from routes.match import Invalid

#: The headers of an answer after which the caller may try again.
AGAIN: Mapping[str, str] = MappingProxyType({"Retry-After": str(RETRY_AFTER)})

#: Seconds in which a body must be complete.
BODY_TIME = 8.0

#: Each code with its statuses and its meaning. A code never changes.
CODES: Mapping[str, tuple[tuple[int, ...], str]] = MappingProxyType(
    {
        "bad_parameter": ((400,), "A parameter is unknown, missing or not valid."),
        "bad_body": ((400,), "The body is not valid, or a field in it."),
        "bad_request": ((400,), "The request is not valid for this API."),
        "unauthorized": ((401,), "No valid key was sent."),
        "missing_scope": ((403,), "The key does not have the scope."),
        "key_filtered": ((403,), "The call shows all events, and the key has a `when`."),
        "not_found": ((404,), "It does not exist, or the key may not see it."),
        "method_not_allowed": ((405,), "The call does not take this method; see the header Allow."),
        "bad_idempotency_key": ((400,), "The header Idempotency-Key is not valid."),
        "already_delivered": ((409,), "The sink has the event. A replay sends it again."),
        "already_made": ((409,), "The same call made it before. `id` names it."),
        "being_sent": ((409,), "An attempt is in progress. Try again in a moment."),
        "configured_key": ((409,), "The key is in the configuration; remove it there."),
        "in_progress": ((409,), "The same call is in progress. Try again."),
        "left_alone": ((409,), "The provider accepts no requests until a given time."),
        "line_needed": ((409,), "A verifier needs the line of the audit log."),
        "name_taken": ((409,), "Another key has that name."),
        "no_source": ((409,), "No configured source has samples."),
        "no_url": ((409,), "The source has no token in clear, so its URL is not known."),
        "not_signed": ((409,), "The line of the audit log is not signed yet. Try again."),
        "not_configured": ((409,), "The source has no `backfill`."),
        "not_sealed": ((409,), "The journal is stored in clear: `seal` is not configured."),
        "order_differs": ((409,), "The order is stored with other fields, which cannot change."),
        "source_gone": ((409,), "The source of the callback is no longer configured."),
        "too_many_consumers": ((409,), "The key has as many consumers as it may have."),
        "too_many_subscriptions": ((409,), "The key has as many subscriptions as it may have."),
        "too_many_secrets": ((409,), "Four secrets sign already; the oldest ends within a day."),
        "key_ended": ((409,), "The key of the subscription is gone or may no longer have it."),
        "secret_missing": ((409,), "The secret of the subscription cannot be opened. Rotate it."),
        "paused_by_operator": ((409,), "The operator paused it; it needs deliveries:write."),
        "unsubscribed": ((409,), "The subscription of the delivery was deleted."),
        "config_rejected": ((422,), "The configuration is wrong. `complaints` says where."),
        "cursor_gone": ((410,), "The place of the cursor is gone. Begin again without it."),
        "reason_required": ((422,), "The key must give a reason to reveal a code."),
        "body_timeout": ((408,), "The body was not complete in time."),
        "too_large": ((413,), "The body is too large."),
        "idempotency_key_reused": ((422,), "The Idempotency-Key was used for another request."),
        "url_blocked": ((422,), "The URL has an address that is not allowed."),
        "challenge_failed": ((422,), "The endpoint did not return the challenge."),
        "unusable_path": ((422,), "The file cannot be written, or is not a backup."),
        "unknown_sink": ((422,), "No sink has that name."),
        "unknown_source": ((422,), "No source has that name."),
        "too_many": ((429,), "More requests than the rate of the key allows."),
        "reads_limited": ((429,), "The key has read as many codes as its `reads` allows."),
        "too_many_streams": ((429, 503), "The key (503: all keys) may open no more streams."),
        "too_many_waits": ((429, 503), "The key (503: all keys) may open no more waits."),
        "internal": ((500,), "An internal error; the log has its request id."),
        "reader_ended": ((503,), "The service is stopping, or the key is no longer valid."),
        "unavailable": ((503,), "The journal is not available."),
    }
)


class Problem(Exception):
    """An error to answer with. `detail` names a field and its right form, never the sent value."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        id: str | msgspec.UnsetType = msgspec.UNSET,  # noqa: A002 - the field of the document
        complaints: Sequence[str] | msgspec.UnsetType = msgspec.UNSET,
    ) -> None:
        """`id` is of the thing that the error is about, for programs.

        `complaints` are about the configuration, each with its place.
        """
        super().__init__(code)
        self.status, self.code, self.detail, self.headers = status, code, detail, headers
        self.id, self.complaints = id, complaints

    def response(self, request_id: str) -> Response[bytes]:
        document = Document(
            title=http.HTTPStatus(self.status).phrase,
            status=self.status,
            code=self.code,
            detail=self.detail,
            request_id=request_id,
            id=self.id,
            complaints=self.complaints,
        )
        return _response(document, self.headers)


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """`application/problem+json`, as the door writes it too."""

    type: str = "about:blank"
    title: str
    status: int
    code: str
    detail: str | msgspec.UnsetType = msgspec.UNSET
    request_id: str | msgspec.UnsetType = msgspec.UNSET
    id: str | msgspec.UnsetType = msgspec.UNSET
    complaints: Sequence[str] | msgspec.UnsetType = msgspec.UNSET


def not_found(noun: str) -> Problem:
    """Return the answer for things that do not exist or that the key may not see."""
    return Problem(404, "not_found", f"no such {noun}")


def late_body() -> Problem:
    return Problem(408, "body_timeout", f"the body was not complete after {BODY_TIME:.0f} seconds")


def bad_parameter(name: str, why: str) -> Problem:
    return Problem(400, "bad_parameter", f"{name}: {why}")


def bad_body(field: str, why: str) -> Problem:
    return Problem(400, "bad_body", f"{field}: {why}")


def bad_filter(invalid: Invalid) -> Problem:
    """Return the answer to a `when` that does not compile: its first complaint."""
    place, text = invalid.complaints[0]
    return bad_body(named(place, PLACE), text)


def reader_ended(headers: Mapping[str, str] = AGAIN) -> Problem:
    """Return the answer to a call that waited when the service stopped or its key was revoked."""
    text = "the service is stopping, or the key is no longer valid; try again"
    return Problem(503, "reader_ended", text, headers=headers)


def unknown_path() -> Response[bytes]:
    """Return the same 404 as the door: it does not show a stranger whether the API is here."""
    return _response(Document(title="Not Found", status=404, code="not_found"), None)


def _response(document: Document, headers: Mapping[str, str] | None) -> Response[bytes]:
    return Response(
        msgspec.json.encode(document),
        status_code=document.status,
        media_type="application/problem+json",
        headers=dict(headers or {}),
    )
