"""Errors as problem documents (RFC 9457), each with a stable code."""

import http
from collections.abc import Mapping
from types import MappingProxyType

import msgspec
from litestar import Response

from receiver.door import RETRY_AFTER

#: The headers of an answer after which the caller may try again.
AGAIN: Mapping[str, str] = MappingProxyType({"Retry-After": str(RETRY_AFTER)})


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
    ) -> None:
        """`id` is of the thing that the error is about, for programs."""
        super().__init__(code)
        self.status, self.code, self.detail, self.headers = status, code, detail, headers
        self.id = id

    def response(self, request_id: str) -> Response[bytes]:
        document = Document(
            title=http.HTTPStatus(self.status).phrase,
            status=self.status,
            code=self.code,
            detail=self.detail,
            request_id=request_id,
            id=self.id,
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


def not_found(noun: str) -> Problem:
    """Return the answer for things that do not exist or that the key may not see."""
    return Problem(404, "not_found", f"no such {noun}")


def bad_parameter(name: str, why: str) -> Problem:
    return Problem(400, "bad_parameter", f"{name}: {why}")


def bad_body(field: str, why: str) -> Problem:
    return Problem(400, "bad_body", f"{field}: {why}")


def reader_ended(headers: Mapping[str, str] = AGAIN) -> Problem:
    """Return the answer to a call that waited when the service stopped or its key was revoked."""
    text = "the service stops, or the key is no longer valid; try again"
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
