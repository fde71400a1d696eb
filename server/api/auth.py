"""Keys: their scopes, and the events that they may see."""

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
from routes.match import Part, Predicate, compile_filter

from .. import __version__
from ..config.options import ApiKey
from ..runtime.subscriptions import KeyRights
from .errors import Problem

#: The scopes that a scope includes; `admin` includes all.
_IMPLIED = {"codes:read": ("events:read",)}


class KeyFilter(msgspec.Struct, frozen=True, kw_only=True):
    """The compiled `when` of a key."""

    #: The same for keys with the same `when`.
    digest: str
    #: Takes an event as plain JSON values, before anything is masked.
    holds: Predicate
    #: The same, for an index.
    part: Part


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """The rights of a key."""

    #: The key's name: what it makes belongs to this name.
    name: str
    scopes: frozenset[str]
    #: The filter of the events that it sees; None: it sees all.
    sees: KeyFilter | None

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes


#: A request that passed the guards: `request.auth` has the rights of its key.
ApiRequest = Request[None, Access, State]
_Connection = ASGIConnection[BaseRouteHandler, None, Access, State]


class Keys:
    """All keys of the configuration, as digests."""

    def __init__(self, keys: Mapping[str, ApiKey]) -> None:
        self._known = tuple(
            (
                digest_of(key.key),
                Access(
                    name=name,
                    scopes=frozenset(
                        included
                        for scope in key.scopes
                        for included in (scope, *_IMPLIED.get(scope, ()))
                    ),
                    sees=_filter(name, key),
                ),
            )
            for name, key in keys.items()
        )
        self._named = {access.name: access for _, access in self._known}

    def access(self, headers: Iterable[tuple[bytes, bytes]]) -> Access:
        """Return the rights of the key that was sent. Raise Problem if there is no such key."""
        sent = [value for name, value in headers if name == b"authorization"]
        if not sent:
            raise _unauthorized("no key; send the header Authorization: Bearer KEY")
        scheme, _, key = sent[0].partition(b" ")
        if len(sent) > 1 or scheme.lower() != b"bearer":
            raise _unauthorized("write one header Authorization: Bearer KEY")
        hashed = digest(key.strip())
        # All are compared, so that the time does not depend on the key.
        found = [access for known, access in self._known if hmac.compare_digest(known, hashed)]
        if not found:
            raise _unauthorized("unknown key")
        return found[0]

    def rights(self, name: str) -> KeyRights | None:
        """Return the rights that a subscription has from its key.

        None: no key has that name, or it may not subscribe.
        """
        access = self._named.get(name)
        if access is None or not access.may("subscriptions:write"):
            return None
        sees = None if access.sees is None else access.sees.holds
        return KeyRights(sees=sees, reads_codes=access.may("codes:read"))


def key_filters(keys: Mapping[str, ApiKey]) -> Filters:
    """Return the filters of all keys that have a `when`, by digest."""
    filters = [_filter(name, key) for name, key in keys.items()]
    return {one.digest: one.holds for one in filters if one is not None}


def authenticated(keys: Keys) -> Guard:
    """Return a guard that refuses requests without a valid key."""

    def guard(connection: _Connection, _handler: BaseRouteHandler) -> None:
        connection.scope["auth"] = keys.access(connection.scope["headers"])

    return guard


def needs(scope: str, *, whole: bool = False) -> Guard:
    """Return a guard that requires the scope. `whole` also refuses keys with a `when`."""

    def guard(connection: _Connection, _handler: BaseRouteHandler) -> None:
        access = connection.auth
        if not access.may(scope):
            raise missing(scope)
        if whole and access.sees is not None:
            raise Problem(403, "key_filtered", "it shows all events; this key's `when` hides some")

    return guard


def missing(scope: str) -> Problem:
    return Problem(403, "missing_scope", f"the key needs the scope {scope}")


def _filter(name: str, key: ApiKey) -> KeyFilter | None:
    if key.when is None:
        return None
    part = compile_filter(key.when, f"api.keys.{name}.when")
    # Another version may read the same `when` differently: services may be renamed.
    written = f"{__version__} {json.dumps(key.when, sort_keys=True)}"
    return KeyFilter(
        digest=hashlib.sha256(written.encode()).hexdigest(), holds=part.holds, part=part
    )


def _unauthorized(detail: str) -> Problem:
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": "Bearer"})
