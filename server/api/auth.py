"""Who asks, and what their key may do and see."""

import hashlib
import hmac
import json
from collections.abc import Iterable, Mapping

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard

from core.secret import digest, digest_of
from journal import Filters
from routes.match import Predicate, compile_when

from .. import __version__
from ..config.options import ApiKey
from .errors import Problem

#: What comes with a scope beside itself; `admin` comes with all.
_IMPLIED = {"codes:read": ("events:read",)}


class KeyFilter(msgspec.Struct, frozen=True, kw_only=True):
    """The `when` of a key."""

    #: The same for keys with the same `when`.
    digest: str
    #: Over an event as plain JSON values, before anything is masked.
    holds: Predicate


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """What the key of a request may do and see."""

    scopes: frozenset[str]
    #: The events that it sees; None: it sees all.
    sees: KeyFilter | None

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


def key_filters(keys: Mapping[str, ApiKey]) -> Filters:
    """Return the filters of all keys that have a `when`, by digest."""
    filters = [_filter(name, key) for name, key in keys.items()]
    return {one.digest: one.holds for one in filters if one is not None}


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
    return Access(scopes=frozenset(scopes), sees=_filter(name, key))


def _filter(name: str, key: ApiKey) -> KeyFilter | None:
    if key.when is None:
        return None
    holds = compile_when(key.when, f"api.keys.{name}.when")
    # Another version may read the same `when` otherwise: its services may have other names.
    written = f"{__version__} {json.dumps(key.when, sort_keys=True)}"
    return KeyFilter(digest=hashlib.sha256(written.encode()).hexdigest(), holds=holds)


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
