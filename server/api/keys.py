"""Who asks, and what their key may do and see."""

import hmac
from collections.abc import Iterable, Mapping

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard

from receiver.proof import digest, digest_of
from routes.match import Predicate, compile_when

from ..options import ApiKey
from .problems import Problem

#: What comes with a scope beside itself; `admin` comes with all.
_IMPLIED = {"codes:read": ("events:read",)}


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What the key of a request may do and see."""

    scopes: frozenset[str]
    #: Over an event as plain JSON values, before anything is masked; None: it sees all.
    sees: Predicate | None

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes


#: A request behind the guards: `request.auth` is what its key may.
Asking = Request[None, Access, State]
_Connection = ASGIConnection[BaseRouteHandler, None, Access, State]


class Keys:
    """All keys of the configuration, as digests."""

    def __init__(self, keys: Mapping[str, ApiKey]) -> None:
        self._known = tuple((digest_of(key.key), _access(name, key)) for name, key in keys.items())

    def access(self, headers: Iterable[tuple[bytes, bytes]]) -> Access:
        """Raises Problem where no key of ours was sent. All are compared, whichever it is."""
        sent = digest(_bearer(headers))
        found = [access for known, access in self._known if hmac.compare_digest(known, sent)]
        if not found:
            raise _unauthorized("unknown key")
        return found[0]


def authenticated(keys: Keys) -> Guard:
    """Nobody without a key comes further."""

    def guard(connection: _Connection, _handler: BaseRouteHandler) -> None:
        connection.scope["auth"] = keys.access(connection.scope["headers"])

    return guard


def needs(scope: str, *, whole: bool = False) -> Guard:
    """Only keys with that scope; `whole`: and none that sees some events only."""

    def guard(connection: _Connection, _handler: BaseRouteHandler) -> None:
        access = connection.auth
        if not access.may(scope):
            raise missing(scope)
        if whole and access.sees is not None:
            raise Problem(
                403, "key_filtered", "it tells of all events; this key's `when` hides some"
            )

    return guard


def missing(scope: str) -> Problem:
    return Problem(403, "missing_scope", f"the key needs the scope {scope}")


def _access(name: str, key: ApiKey) -> Access:
    scopes = {implied for scope in key.scopes for implied in (scope, *_IMPLIED.get(scope, ()))}
    when = None if key.when is None else compile_when(key.when, f"api.keys.{name}.when")
    return Access(scopes=frozenset(scopes), sees=when)


def _bearer(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    sent = [value for name, value in headers if name == b"authorization"]
    if not sent:
        raise _unauthorized("no key; send the header Authorization: Bearer KEY")
    scheme, _, key = sent[0].partition(b" ")
    if len(sent) > 1 or scheme.lower() != b"bearer":
        raise _unauthorized("write one header Authorization: Bearer KEY")
    return key.strip()


def _unauthorized(detail: str) -> Problem:
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
