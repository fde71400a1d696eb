"""Protects an HTTP listener on a private machine against DNS rebinding.

A web page can give its own name our address (`rebound.example` is 127.0.0.1). For the browser it
then has the same origin as this service. Its requests have its name in `Host`. Other pages have
theirs in `Origin` (WHATWG Fetch, "Origin header").
"""

import ipaddress
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from .exchange import sent_request_id

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
#: An ASGI application.
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_AUTHORITY = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<name>[^:]*))(?::\d*)?")
#: These answers have no secrets, and probes send any host.
_HEALTH = frozenset({"/healthz", "/readyz"})


class OwnHost:
    """ASGI middleware that answers 403 to requests that a foreign web page may have made.

    Allowed hosts are:

    * addresses: no page can have one as its name;
    * names without a dot: they cannot be registered on the internet;
    * `names`.

    With `any_host` only `Origin` is checked. Use it for a listener that requires a key and that
    others reach by names of their own.
    """

    def __init__(self, app: App, *, names: Collection[str] = (), any_host: bool = False) -> None:
        self._app, self._any_host = app, any_host
        self.allow(names)

    def allow(self, names: Collection[str]) -> None:
        """Replace the allowed names."""
        self._names = frozenset(name.lower() for name in names)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        # Thousands of calls may wait, so each has one coroutine less.
        return (
            self._app(scope, receive, send) if refusal is None else _refuse(scope, send, *refusal)
        )

    def _refusal(self, scope: Scope) -> tuple[str, str] | None:
        """Return the code and the detail of a refusal, or None."""
        if scope["path"] in _HEALTH:
            return None
        headers = scope["headers"]
        hosts = [value.decode("latin-1") for name, value in headers if name == b"host"]
        origins = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        if not self._any_host and not all(is_own_host(host, self._names) for host in hosts):
            return "host_not_allowed", (
                "this listener does not answer to this host name; use an address or localhost, "
                "or add the name to server.admin_hosts"
            )
        own = [host.strip().lower() for host in hosts]
        for origin in origins:
            _, slashes, authority = origin.strip().lower().partition("://")
            is_own = authority in own or authority.partition(":")[0] in self._names
            # Without slashes it is `null`: a page that hides its origin.
            if not slashes or not is_own:
                return "origin_not_allowed", "web pages of another origin may not call the API"
        return None


def host_name(authority: str) -> str | None:
    """Return the name or address of a `Host` in lower case, without its port; None: it is none."""
    match = _AUTHORITY.fullmatch(authority.strip())
    if match is None:
        return None
    return (match["v6"] or match["name"] or "").lower().removesuffix(".")


def is_own_host(authority: str, names: Collection[str]) -> bool:
    """Return whether a `Host` is allowed. `names` are in lower case."""
    name = host_name(authority)
    if name is None:
        return False
    return (
        "." not in name or name.endswith(".localhost") or name in names or _parsed(name) is not None
    )


def is_loopback(authority: str) -> bool:
    """Return whether a `Host` is this machine for every browser."""
    name = host_name(authority)
    if name is None:
        return False
    address = _parsed(name)
    if address is None:
        return name == "localhost" or name.endswith(".localhost")
    return address.is_loopback


def _parsed(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


async def _refuse(scope: Scope, send: Send, code: str, detail: str) -> None:
    request_id = sent_request_id(scope["headers"]) or secrets.token_hex(8)
    problem = {"type": "about:blank", "title": "Forbidden", "status": 403, "code": code}
    body = json.dumps(problem | {"detail": detail, "request_id": request_id}).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"x-request-id", request_id.encode()),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
