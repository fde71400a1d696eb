"""`X-Request-Id` comes in and goes out."""

import secrets

from litestar.types import Message, Scope

from receiver.door import callers_request_id


def request_id(scope: Scope) -> str:
    """The caller's own, if it is fit for a log, else one of ours; the same for one request."""
    state = scope["state"]
    if "request_id" not in state:
        state["request_id"] = callers_request_id(scope["headers"]) or secrets.token_hex(8)
    return str(state["request_id"])


async def stamp(message: Message, scope: Scope) -> None:
    """On every answer: its request id, and that it is for this caller only."""
    if message["type"] == "http.response.start":
        message["headers"] = [
            *message["headers"],
            (b"x-request-id", request_id(scope).encode()),
            (b"cache-control", b"no-store"),
        ]
