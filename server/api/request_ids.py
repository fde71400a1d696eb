"""`X-Request-Id` comes in and goes out."""

import re
import secrets

from litestar.types import Message, Scope

# As at the door: what a caller may have written into our logs.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


def request_id(scope: Scope) -> str:
    """The caller's own, if it is fit for a log, else one of ours; the same for one request."""
    state = scope["state"]
    if "request_id" not in state:
        named = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        fit = _REQUEST_ID.fullmatch(named)
        state["request_id"] = named.decode() if fit else secrets.token_hex(8)
    return str(state["request_id"])


async def stamp(message: Message, scope: Scope) -> None:
    """On every answer: its request id, and that it is for this caller only."""
    if message["type"] == "http.response.start":
        message["headers"] = [
            *message["headers"],
            (b"x-request-id", request_id(scope).encode()),
            (b"cache-control", b"no-store"),
        ]
