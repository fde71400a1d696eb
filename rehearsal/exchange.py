"""What a simulated provider is asked over HTTP, and what it answers."""

from collections.abc import Mapping
from typing import Any

import msgspec

JSON = "application/json"
#: What PHP says where a script says nothing.
PLAIN = "text/html; charset=UTF-8"


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request, whole."""

    method: str
    #: Percent-decoded.
    path: str
    #: Of the query and of a urlencoded body; the last of two counts.
    parameters: Mapping[str, str]
    content_type: str = ""
    body: bytes = b""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, whole."""

    status: int = 200
    content_type: str = JSON
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class OutgoingCallback(msgspec.Struct, frozen=True, kw_only=True):
    """What a callback says."""

    content_type: str
    body: bytes


def json_answer(value: Any, status: int = 200) -> Answer:
    return Answer(status=status, body=msgspec.json.encode(value))


def plain_answer(text: str, status: int = 200) -> Answer:
    return Answer(status=status, content_type=PLAIN, body=text.encode())


def see(location: str) -> Answer:
    """It is there, which is told from here."""
    return Answer(status=303, content_type=PLAIN, body=b"", headers=(("location", location),))
