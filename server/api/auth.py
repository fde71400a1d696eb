"""The guards of the API: each request needs a key, and each call a scope."""

import math
from collections.abc import Iterable

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard, Scope

from journal.actor import ACTING, Actor

from ..runtime.keys import Access, Keys
from .errors import Problem

#: A request that passed the guards: `request.auth` has the rights of its key.
ApiRequest = Request[None, Access, State]
_Connection = ASGIConnection[BaseRouteHandler, None, Access, State]


#: The name of an InProcessCall in a scope. No request from the network can set it.
IN_PROCESS = "smshook.in_process"


class InProcessCall(msgspec.Struct, frozen=True, kw_only=True):
    """The rights of a call that the console makes, in place of a key."""

    access: Access
    actor: Actor
    #: Whether the rate of the key counts it.
    counts: bool = True
    #: Whether a reveal takes the code only.
    copies: bool = False
    #: The reason for showing a value in clear, for calls that have no parameter for it.
    reason: str = ""


def authenticate(keys: Keys, scope: Scope) -> Access:
    """Count a request, and return the rights of the key that was sent.

    Raise Problem if there is no such key, or if the key's rate does not allow the request yet.
    """
    inside = in_process(scope)
    if inside is None:
        access = _sent_key(keys, scope["headers"])
    else:
        access = inside.access
        if not keys.is_in_force(access):
            raise _unauthorized("the session has ended")
        if not inside.counts:
            return access
    wait = keys.take(access)
    if wait:
        headers_ = {"Retry-After": str(math.ceil(wait))}
        raise Problem(429, "too_many", "more requests than the rate of the key", headers=headers_)
    return access


def in_process(scope: Scope) -> InProcessCall | None:
    """Return the rights that the console gave to a call; None: it came from the network."""
    inside: InProcessCall | None = scope.get(IN_PROCESS)  # type: ignore[assignment]
    return inside


def _sent_key(keys: Keys, headers: Iterable[tuple[bytes, bytes]]) -> Access:
    sent = [value for name, value in headers if name == b"authorization"]
    if not sent:
        raise _unauthorized("no key; send the header Authorization: Bearer KEY")
    scheme, _, key = sent[0].partition(b" ")
    if len(sent) > 1 or scheme.lower() != b"bearer":
        raise _unauthorized("write one header Authorization: Bearer KEY")
    access = keys.find(key.strip())
    if access is None:
        raise _unauthorized("unknown key")
    if keys.is_expired(access):
        raise _unauthorized("the key has expired")
    return access


def authenticated(keys: Keys) -> Guard:
    """Return a guard that refuses requests without a valid key."""

    async def guard(connection: _Connection, _handler: BaseRouteHandler) -> None:
        access = authenticate(keys, connection.scope)
        connection.scope["auth"] = access
        # Each request has a task, and so a context, of its own.
        peer, inside = connection.client, in_process(connection.scope)
        actor = Actor(f"key/{access.name}", None if peer is None else peer.host)
        ACTING.set(actor if inside is None else inside.actor)

    return guard


class NeedsScope(msgspec.Struct, frozen=True):
    """A guard that requires one of the scopes. `whole` also refuses keys with a `when`."""

    scopes: tuple[str, ...]
    whole: bool = False

    # Litestar runs a plain function in a thread, which takes longer than the check.
    async def __call__(self, connection: _Connection, _handler: BaseRouteHandler) -> None:
        self.check(connection.auth)

    def check(self, access: Access) -> None:
        """Raise Problem if these rights are not enough."""
        if not any(map(access.may, self.scopes)):
            raise missing(*self.scopes)
        if self.whole and access.sees is not None:
            raise Problem(403, "key_filtered", "it shows all events; this key's `when` hides some")


class NeedsScopeOrCommand(NeedsScope, frozen=True, kw_only=True):
    """A guard that also lets the key of commands on this machine pass."""

    keys: Keys

    async def __call__(self, connection: _Connection, handler: BaseRouteHandler) -> None:
        if connection.auth is not self.keys.local:
            await super().__call__(connection, handler)


def needs(*scopes: str, whole: bool = False) -> NeedsScope:
    """Return a guard that requires one of the scopes."""
    return NeedsScope(scopes, whole)


def missing(*scopes: str) -> Problem:
    return Problem(403, "missing_scope", f"the key needs the scope {' or '.join(scopes)}")


def _unauthorized(detail: str) -> Problem:
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
