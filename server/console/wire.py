"""A request of a browser before it is known who asks, and the answer as it leaves."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from httpd.own_host import Receive, Scope, Send, is_loopback

from ..api.errors import Problem, late_body
from .api import ApiCalls
from .page import POLLED
from .sessions import Session

#: Bytes of a form.
MOST_BODY = 256 << 10
#: Fields of a form, or parameters of a query.
_MOST_FIELDS = 2_000
HTML = "text/html; charset=utf-8"
SVG = "image/svg+xml"
#: The names of the cookie. A browser keeps the first for this host alone, and over HTTPS only.
_COOKIE, _LOOPBACK_COOKIE = "__Host-smshook", "smshook"

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_SVG_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
_HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class Asked(msgspec.Struct, kw_only=True):
    """A request, before it is known who asks."""

    scope: Scope
    receive: Receive
    send: Send
    method: str
    #: Below `/console`.
    path: str
    headers: Mapping[str, str]
    #: The address of the connection, and that of the browser behind trusted proxies.
    client: str
    peer: str
    request_id: str
    token: str = ""
    session: Session | None = None
    #: The API with its rights, as soon as it was used.
    api: ApiCalls | None = None
    #: More headers of the answer: cookies.
    more: list[tuple[str, str]] = []

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.method in ("GET", "HEAD")

    @property
    def wants_json(self) -> bool:
        return "application/json" in self.headers.get("accept", "")

    @property
    def is_polled(self) -> bool:
        """Whether an open page sends this request on its own, without a click."""
        return self.path in POLLED or self.path.endswith(".svg")


def refuse_other_sites(asked: Asked) -> None:
    """Raise Problem unless a page of the console sends the request."""
    site, origin_ = asked.headers.get("sec-fetch-site"), asked.headers.get("origin", "")
    authority = origin_.partition("://")[2]
    if site == "same-origin" or (site is None and authority == asked.headers.get("host")):
        return
    text = "the request comes from another site"
    if site is None and origin_ in ("", "null"):
        # Browsers send neither header to an address that they do not trust.
        text = (
            "your browser does not send the site that the request comes from; reach the console by "
            "HTTPS, or on this machine: ssh -L 8081:127.0.0.1:8081 HOST"
        )
    raise Problem(403, "other_site", text)


def cookie(asked: Asked) -> str:
    name = _cookie_name(asked)
    sent = [text.decode("latin-1") for key, text in asked.scope["headers"] if key == b"cookie"]
    pairs = [part.strip().partition("=") for text in sent for part in text.split(";")]
    return next((text for key, _, text in pairs if key == name), "")


def _cookie_name(asked: Asked) -> str:
    return _LOOPBACK_COOKIE if is_loopback(asked.headers.get("host", "")) else _COOKIE


def new_cookie(asked: Asked, token: str) -> str:
    name = _cookie_name(asked)
    secure = "; Secure" if name == _COOKIE else ""
    ended = "" if token else "; Max-Age=0"
    return f"{name}={token}; Path=/; HttpOnly; SameSite=Strict{secure}{ended}"


def read_pairs(query: bytes) -> Sequence[tuple[str, str]]:
    """Return the fields of a query or a form that are not empty. Raise Problem."""
    try:
        text = query.decode()
        return parse_qsl(text, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        text = f"not UTF-8, or more than {_MOST_FIELDS} fields"
        raise Problem(400, "bad_parameter", text) from None


async def read_form(asked: Asked) -> Sequence[tuple[str, str]]:
    """Return the fields of the body, if it is a form. Raise Problem."""
    body = bytearray()
    more = True
    while more:
        message = await asked.receive()
        if message["type"] == "http.disconnect":
            raise late_body()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MOST_BODY:
            text = f"the body is larger than {MOST_BODY // 1024} KiB"
            raise Problem(413, "too_large", text, headers={"Connection": "close"})
    media_type = asked.headers.get("content-type", "").partition(";")[0].strip().lower()
    return read_pairs(bytes(body)) if media_type == "application/x-www-form-urlencoded" else ()


def head(asked: Asked, status: int, headers: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the message of ASGI that begins an answer, with the headers that all answers have."""
    is_svg = headers["Content-Type"] == SVG
    whole = {
        "Content-Security-Policy": _SVG_POLICY if is_svg else _POLICY,
        "Cache-Control": "no-store",
        **_HEADERS,
        "X-Request-Id": asked.request_id,
        **headers,
    }
    fields = [(name.lower().encode(), text.encode("latin-1")) for name, text in whole.items()]
    fields += [(name.lower().encode(), text.encode()) for name, text in asked.more]
    return {"type": "http.response.start", "status": status, "headers": fields}


async def send_answer(asked: Asked, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Send a whole answer."""
    await asked.send({**head(asked, status, {**headers, "Content-Length": str(len(body))})})
    await asked.send({"type": "http.response.body", "body": body})
