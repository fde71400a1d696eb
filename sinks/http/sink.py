"""POST events to a URL."""

import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from core.paths import Path as EventPath
from core.secret import Secret
from core.signing import Sign, decode_key, make_signer

from ..sink import Outgoing, Receipt, Refused, Send, Sink, checked
from ..template import compile_json, compile_url_path, paths_of
from .answer import confirmed
from .client import Post, Tls, check_url, host_of, masked_url, posting, start_runtime

_MASK = "***"
#: RFC 9110, 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: Visible ASCII characters. Blanks and tabs only inside, not at the ends.
_VALUE = re.compile(r"[!-~](?:[ \t!-~]*[!-~])?")
_OURS = ("webhook-", "smshook-")
_OF_THE_CONNECTION = frozenset({"content-length", "host", "transfer-encoding", "connection"})

#: Takes an event to send; returns the headers of this request alone, and its body.
_Compose = Callable[[Outgoing], tuple[dict[str, str], bytes]]


class Http(Sink, tag="http", frozen=True, kw_only=True):
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
    #: Certificates of your own. Unset: the system's authorities, and no client certificate.
    tls: Tls | None = None
    #: Connect through this HTTP proxy, such as `http://proxy.example.com:3128`. Proxies of the
    #: environment are not used.
    proxy: Secret | None = None
    #: Requests at the same time.
    concurrency: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        checked("url", check_url, self.url.reveal())
        if self.proxy is not None:
            checked("proxy", check_url, self.proxy.reveal())
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

    async def prepare(self) -> None:
        await start_runtime()

    def under(self, folder: Path) -> "Http":
        if self.tls is None:
            return self
        return msgspec.structs.replace(self, tls=self.tls.under(folder))

    def place(self, _folder: Path) -> str:
        return f"http {host_of(self.url.reveal())}"

    def read_files(self) -> Mapping[tuple[str, ...], Path]:
        return {} if self.tls is None else self.tls.files()

    def urls(self) -> Mapping[str, Secret]:
        return {"url": self.url} | ({} if self.proxy is None else {"proxy": self.proxy})

    def used_paths(self) -> tuple[EventPath, ...] | None:
        if self.json is None:
            return None
        return (*paths_of(self.json), *paths_of(self.path or ""))

    def request(self, outgoing: Outgoing) -> str:
        headers, body = self._composing()(outgoing)
        content_type = self._fixed()["content-type"]
        own = dict.fromkeys(_lower(self.headers), _MASK)
        masked = {"content-type": content_type, **headers, **own}
        lines = [f"{name}: {value}" for name, value in masked.items()]
        url = masked_url(self.url.reveal())
        if self.path is not None:
            url += compile_url_path(self.path)(msgspec.json.decode(outgoing.body)) or self.path
        return "\n".join([f"POST {url}", *lines, "", body.decode()])

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        compose = self._composing()
        if self.path is not None:
            yield self._send_to(compile_url_path(self.path), compose)
            return
        async with self._posting() as post:

            async def send(outgoing: Outgoing) -> Receipt:
                headers, body = compose(outgoing)
                return confirmed(await post(headers, body), now=outgoing.at)

            yield send

    def _send_to(
        self, fill: Callable[[Mapping[str, object]], str | None], compose: _Compose
    ) -> Send:
        async def send(outgoing: Outgoing) -> Receipt:
            path = fill(msgspec.json.decode(outgoing.body))
            if path is None:
                raise Refused("path")
            headers, body = compose(outgoing)
            async with self._posting(path) as post:
                return confirmed(await post(headers, body), now=outgoing.at)

        return send

    def _posting(self, path: str = "") -> AbstractAsyncContextManager[Post]:
        return posting(
            self.url.reveal() + path,
            tls=self.tls,
            proxy=self.proxy.reveal() if self.proxy is not None else None,
            connections=self.concurrency,
            within=self.timeout,
            headers=self._fixed(),
        )

    def _signer(self) -> Sign | None:
        return make_signer(self.secrets) if self.secrets else None

    def _fixed(self) -> dict[str, str]:
        """Return the headers that are the same in each request."""
        is_cloudevents = self.format == "cloudevents"
        content_type = f"application/{'cloudevents+' if is_cloudevents else ''}json"
        extra = {name: value.reveal() for name, value in _lower(self.headers).items()}
        return {"content-type": content_type, **extra}

    def _composing(self) -> _Compose:
        """Return what makes the other headers of a request, and its body."""
        fill = None if self.json is None else compile_json(self.json)
        sign = self._signer()
        own_trace = "traceparent" in _lower(self.headers)

        def compose(outgoing: Outgoing) -> tuple[dict[str, str], bytes]:
            body = outgoing.body
            if fill is not None:
                body = msgspec.json.encode(fill(msgspec.json.decode(body)))
            elif self.format == "standard":
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
            return headers, body

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
