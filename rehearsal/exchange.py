"""HTTP requests to a simulated provider, its answers and its callbacks."""

from collections.abc import Mapping
from typing import Any

import msgspec

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
#: The default of PHP.
PLAIN = "text/html; charset=UTF-8"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A complete request."""

    method: str
    #: Percent-decoded.
    path: str
    #: From the query and a urlencoded body; the last value of a name counts.
    parameters: Mapping[str, str]
    content_type: str = ""
    body: bytes = b""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A complete answer."""

    status: int = 200
    content_type: str = JSON
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class OutgoingCallback(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a callback."""

    content_type: str
    body: bytes


def json_answer(value: Any, status: int = 200) -> Answer:
    return Answer(status=status, body=msgspec.json.encode(value))


def plain_answer(text: str, status: int = 200) -> Answer:
    return Answer(status=status, content_type=PLAIN, body=text.encode())


def redirect(location: str) -> Answer:
    """Redirect to a location, which may be relative."""
    return Answer(status=303, content_type=PLAIN, body=b"", headers=(("location", location),))
