"""POST events to a URL."""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from core.paths import Path as EventPath
from core.secret import Secret
from core.signing import Sign, decode_key, make_signer

from ..sink import Outgoing, Receipt, Refused, Send, checked
from ..template import compile_json, compile_url_path, paths_of
from .answer import confirmed
from .client import host_of, masked_url
from .url_sink import UrlSink

_MASK = "***"
#: RFC 9110, 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Visible ASCII characters. Blanks and tabs only inside, not at the ends.
_VALUE = re.compile(r"[!-~](?:[ \t!-~]*[!-~])?")
_OURS = ("webhook-", "smshook-")
_OF_THE_CONNECTION = frozenset({"content-length", "host", "transfer-encoding", "connection"})

#: Takes an event to send; returns the filled `path`, the headers of this request alone, and its
#: body. The path is None if the event lacks a value of it.
_Compose = Callable[[Outgoing], tuple[str | None, dict[str, str], bytes]]


class Http(UrlSink, tag="http", frozen=True, kw_only=True):
    """One POST for each event. A delivery is complete when it is answered 2xx.

    410 is a refusal: the delivery is dead at once. After any other answer, 3xx and 4xx too, it is
    retried. No redirect is followed.
    """

    #: POST events to this URL, http or https. It is used as written. It may hold a secret, so it
    #: is masked wherever it is shown.
    url: Secret
    #: Sign with these (Standard Webhooks): `whsec_` and base64 of 24 to 64 bytes. Each of them
    #: signs: give two during a rotation. Empty: unsigned.
    secrets: tuple[Secret, ...] = ()
    #: The body: `json` (the event, as application/json), `cloudevents` (the same bytes, as
    #: application/cloudevents+json) or `standard` (type, timestamp and data, as in Standard
    #: Webhooks).
    format: Literal["json", "cloudevents", "standard"] = "json"
    #: A body of your own in place of `format`, such as `{text: "{data.code}"}`. A path in braces
    #: is replaced by the event's value. The body is not masked: keep secrets in url or headers.
    json: Any = None
    #: Append this to `url` for each event, such as `/{data.dedup}/close`. A path in braces is
    #: replaced by the event's value, percent-encoded. Each delivery has a connection of its own.
    path: str | None = None
    #: Further headers, such as `{Authorization: "Bearer ${TOKEN}"}`; their values are masked.
    headers: Mapping[str, Secret] = {}
    #: Requests at the same time.
    concurrency: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        for secret in self.secrets:
            checked("secrets", decode_key, secret)
        check_headers(self.headers)
        if self.path is not None:
            _check_path(self.url.reveal(), self.path)
        if self.json is not None:
            try:
                compile_json(self.json)
            except ValueError as error:  # it begins with the place, such as `json.blocks[0]`
                text = str(error).removeprefix("json").lstrip(".: ")
                raise ValueError(f"json: {text}") from None
            if self.format != "json":
                raise ValueError("json and format exclude each other; leave one out")

    def place(self, _folder: Path) -> str:
        return f"http {host_of(self.url.reveal())}"

    def used_paths(self) -> tuple[EventPath, ...] | None:
        if self.json is None:
            return None
        return (*paths_of(self.json), *paths_of(self.path or ""))

    def request(self, outgoing: Outgoing) -> str:
        path, headers, body = self._composing()(outgoing)
        content_type = self._fixed()["content-type"]
        own = dict.fromkeys(_lower(self.headers), _MASK)
        masked = {"content-type": content_type, **headers, **own}
        lines = [f"{name}: {value}" for name, value in masked.items()]
        url = masked_url(self.url.reveal()) + (path or self.path or "")
        return "\n".join([f"POST {url}", *lines, "", body.decode()])

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        compose, fixed = self._composing(), self._fixed()
        if self.path is None:
            async with self._posting(headers=fixed) as post:

                async def send(outgoing: Outgoing) -> Receipt:
                    _, headers, body = compose(outgoing)
                    return confirmed(await post(headers, body), now=outgoing.at)

                yield send
            return

        async def send_to_path(outgoing: Outgoing) -> Receipt:
            path, headers, body = compose(outgoing)
            if path is None:
                raise Refused("path")
            async with self._posting(path, fixed) as post:
                return confirmed(await post(headers, body), now=outgoing.at)

        yield send_to_path

    def _signer(self) -> Sign | None:
        return make_signer(self.secrets) if self.secrets else None

    def _fixed(self) -> dict[str, str]:
        """Return the headers that are the same in each request."""
        is_cloudevents = self.format == "cloudevents"
        content_type = f"application/{'cloudevents+' if is_cloudevents else ''}json"
        extra = {name: value.reveal() for name, value in _lower(self.headers).items()}
        return {"content-type": content_type, **extra}

    def _composing(self) -> _Compose:
        """Return what makes the path, the other headers and the body of a request."""
        fill = None if self.json is None else compile_json(self.json)
        fill_path = None if self.path is None else compile_url_path(self.path)
        sign = self._signer()
        own_trace = "traceparent" in _lower(self.headers)

        def compose(outgoing: Outgoing) -> tuple[str | None, dict[str, str], bytes]:
            body, path = outgoing.body, None
            if fill is not None or fill_path is not None:
                event = msgspec.json.decode(body)
                path = None if fill_path is None else fill_path(event)
                body = body if fill is None else msgspec.json.encode(fill(event))
            if self.format == "standard":
                head = msgspec.json.decode(body, type=_EventHead)
                fields = {"type": head.type, "timestamp": head.time, "data": head.data}
                body = msgspec.json.encode(fields)
            timestamp = int(outgoing.at)
            headers = {
                "webhook-id": outgoing.event_id,
                "webhook-timestamp": str(timestamp),
                "smshook-attempt": str(outgoing.attempt),
            }
            if outgoing.replay:
                headers["smshook-replay"] = "true"
            if outgoing.traceparent is not None and not own_trace:
                headers["traceparent"] = outgoing.traceparent
            if sign is not None:
                headers["webhook-signature"] = sign(outgoing.event_id, timestamp, body)
            return path, headers, body

        return compose


class _EventHead(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of an event that the format `standard` has."""

    type: str
    time: str
    data: msgspec.Raw


def _lower(headers: Mapping[str, Secret]) -> dict[str, Secret]:
    return {name.lower(): value for name, value in headers.items()}


def _check_path(url: str, path: str) -> None:
    if not re.fullmatch(r"/[!-~]*", path) or "#" in path:
        raise ValueError(
            "path: begin it with /, and percent-encode spaces, # and characters beyond ASCII"
        )
    if "?" in url or "#" in url:
        raise ValueError("path: url has a query or a #; move it to the end of path")
    try:
        compile_url_path(path)
    except ValueError as error:
        raise ValueError(f"path: {error}") from None


def check_headers(headers: Mapping[str, Secret]) -> None:
    """Raise ValueError for a header that cannot be sent as written, or that smshook sets."""
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError(f"headers: {name!r} is not a header name; write one such as X-Api-Key")
        if name.lower().startswith(_OURS) or name.lower() in _OF_THE_CONNECTION:
            raise ValueError(f"headers: {name} is written by smshook itself; leave it out")
        if not _VALUE.fullmatch(value.reveal()):
            raise ValueError(
                f"headers: the value of {name} has a newline, a space at its ends or a character "
                "beyond ASCII; percent-encode it, or leave it out"
            )
    if len(_lower(headers)) != len(headers):
        raise ValueError("headers: a name is given twice, in upper and lower case; keep one")
