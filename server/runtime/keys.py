"""API keys: those of the configuration, and those that were made while the service ran."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from weakref import WeakSet

import msgspec
import structlog

from core.bucket import Bucket
from core.errors import Unavailable
from core.event import SYSTEM, has_code
from core.secret import digest, digest_of
from core.units import Rate, rate
from journal import Filters, Journal
from journal.actor import ACTING
from journal.reads import KeyUses, StoredKeys
from journal.records import StoredKey
from journal.seal import Kind, Opening, Reason, kinds_at
from journal.writes import CreateKey, Guard, LineNumber, NoteKeyUses, RevokeKey, unguarded
from routes.match import Part, Predicate, compile_filter, paths_of

from .. import __version__
from ..config.options import ApiKey
from .identity import Identity
from .subscriptions import KeyRights

#: The scopes that a scope includes; `admin` includes all.
_IMPLIED = {"codes:read": ("events:read",), "codes:reveal": ("events:read",)}
#: The limit of codes that a console shows, unless its key has a limit.
_REVEALS = Rate(60, 3600)
#: All users of a proxy, where readers are counted: their names come from outside.
USERS = "user:*"
#: Seconds between two writes of last uses.
USES_EVERY = 60.0
#: The name of the key of commands on this machine. No other key may have a colon.
_LOCAL = "command:local"

log = structlog.get_logger()


class KeyFilter(msgspec.Struct, frozen=True, kw_only=True):
    """The compiled `when` of a key."""

    #: The same for keys with the same `when`.
    digest: str
    #: Takes an event as plain JSON values, before anything is masked.
    holds: Predicate
    #: The same, for an index.
    part: Part
    #: The sealed kinds that it reads.
    kinds: frozenset[Kind] = frozenset()


class Access(msgspec.Struct, frozen=True, kw_only=True, eq=False, weakref=True):
    """A key with its rights. Each key has one as long as it is in force."""

    #: The id of a key that was made, or the name of a configured one.
    id: str
    #: The key's name. Its consumers and subscriptions belong to this name.
    name: str
    #: The scopes of the key, and those that they include.
    scopes: frozenset[str]
    #: The filter of the events that it sees; None: it sees all.
    sees: KeyFilter | None
    #: The scopes and the `when` as written.
    granted: tuple[str, ...] = ()
    when: Mapping[str, Any] | None = None
    #: Seconds since the epoch; None: it does not expire.
    expires_at: float | None = None
    #: The limit of its requests; None: no limit.
    rate: Rate | None = None
    #: The limit of the events that it gets in clear; None: no limit.
    reads_rate: Rate | None = None
    #: Whether it must give a reason to reveal a code.
    needs_reason: bool = False
    #: When it was created; None: it is configured.
    created_at: float | None = None
    #: The codes that it read since the start, by the kind of call.
    codes_read: dict[str, int] = {}
    #: Whether it is that of a session of the console. All codes are masked in it, and those who may
    #: see them reveal one at a time.
    is_console: bool = False
    #: Whether its session goes on; None: it is a key.
    goes_on: Callable[[], bool] | None = None

    def may(self, scope: str) -> bool:
        if self.is_console and scope == "codes:read":
            return False
        return scope in self.scopes or "admin" in self.scopes

    def opening(self, why: Reason) -> Opening:
        """Return the kinds that it sees in clear: numbers always, codes with `codes:read`.

        With `Reason.REVEAL`, codes of any key: check its scope.
        """
        codes = (Kind.CODES,) if self.may("codes:read") or why is Reason.REVEAL else ()
        return Opening((Kind.PEOPLE, *codes), why)

    def opening_to_match(self, why: Reason) -> Opening:
        """Return the same with the kinds that its `when` reads. Mask those before you show them."""
        own = frozenset(self.opening(why).kinds)
        kinds = own if self.sees is None else own | self.sees.kinds
        return Opening(kinds, why if kinds == own else Reason.FILTER)

    def reads(self, body: bytes, how: str) -> bool:
        """Return whether it gets this event in clear, and count its code if it has one."""
        if not self.may("codes:read"):
            return False
        self.count_read(body, how)
        return True

    def count_read(self, body: bytes, how: str) -> None:
        """Count the code of an event that it gets in clear, if the event has one."""
        self.count_codes(has_code(body), how)

    def count_codes(self, count: int, how: str) -> None:
        """Count codes that it gets in clear."""
        if count:
            self.codes_read[how] = self.codes_read.get(how, 0) + count


class KnownKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is listed."""

    access: Access
    #: `active`, `expired`, or `shadowed`: a configured key has its name.
    state: str
    last_used_at: float | None


def codes_read(
    readers: Mapping[str, Mapping[str, int]], sent: Mapping[str, int]
) -> Mapping[tuple[str, str], int]:
    """Return the codes that were read since the start, by the name of the reader and the way.

    `readers` are those of `Keys.readers`. `sent` are the codes that sinks got in clear.
    """
    read = {(name, how): n for name, counts in readers.items() for how, n in counts.items()}
    return read | {(name, "sink"): count for name, count in sent.items()}


class NameTaken(Exception):
    """Another key has that name."""


class Configured(Exception):
    """The key is configured, so it cannot be revoked."""


class Keys:
    """All keys by their digests. The keys themselves are stored nowhere.

    `now` returns seconds since the epoch, `ticks` seconds that only go forward.
    """

    def __init__(
        self,
        journal: Journal,
        identity: Identity,
        *,
        now: Callable[[], float],
        ticks: Callable[[], float],
    ) -> None:
        self._journal, self._identity = journal, identity
        self._now, self._ticks = now, ticks
        #: The key of commands on this machine, which may reload and nothing else. The lock file
        #: has it, and it is in force until the process ends.
        self.local_key = identity.api_key()
        self._local_digest = digest(self.local_key.encode())
        self.local = Access(id=_LOCAL, name=_LOCAL, scopes=frozenset(), sees=None)
        self._options: Mapping[str, ApiKey] = {}
        self._configured: dict[str, tuple[bytes, Access]] = {}
        #: By id, in the order in which they were made.
        self._made: dict[str, tuple[bytes, Access]] = {}
        self._in_force: dict[bytes, Access] = {}
        self._named: dict[str, Access] = {}
        self._buckets: dict[str, Bucket] = {}
        #: The last use of each key by name, and the names with a use that is not stored.
        self._used: dict[str, float] = {}
        self._unwritten: set[str] = set()
        self._listeners: list[Callable[[Access], None]] = []
        #: The codes that users of a proxy read since the start, by the kind of call.
        self.users_read: dict[str, int] = {}
        #: Keys that ended and were announced.
        self._announced: WeakSet[Access] = WeakSet()
        #: Set when a key was made or revoked: filters are to be indexed or removed.
        self.changed = asyncio.Event()

    async def load(self) -> None:
        """Read the stored keys and uses. Raises Unavailable."""
        for stored in await self._journal.ask(StoredKeys()):
            self._add(stored)
        uses = await self._journal.ask(KeyUses())
        self._used = {**uses, **self._used}

    # --- requests -------------------------------------------------------------------------

    def find(self, key: bytes) -> Access | None:
        """Return the rights of a key; None: there is no such key. See `is_expired`, too."""
        # The digest hides the key: the time of the search shows nothing of it.
        sent = digest(key)
        return self.local if sent == self._local_digest else self._in_force.get(sent)

    def with_id(self, id_: str) -> Access | None:
        """Return the rights of the key with that `Access.id`; None: no such key is in force."""
        found = (access for access in self._in_force.values() if access.id == id_)
        return next((access for access in found if not self.is_expired(access)), None)

    def is_expired(self, access: Access) -> bool:
        return access.expires_at is not None and self._now() >= access.expires_at

    def is_in_force(self, access: Access) -> bool:
        """Return whether it was neither revoked nor has expired, or its session goes on."""
        if access.goes_on is not None:
            return access.goes_on()
        return self._named.get(access.name) is access and not self.is_expired(access)

    def take(self, access: Access) -> float:
        """Count a request. Return 0.0, or the seconds until the key's rate allows it."""
        if access.name not in self._named:
            return 0.0  # of a command on this machine, or of a user of the console
        self._used[access.name] = self._now()
        self._unwritten.add(access.name)
        bucket = self._bucket(access)
        return 0.0 if bucket is None else bucket.take()

    def left(self, access: Access) -> int | None:
        """Return the requests that the key's rate allows now; None: it has no limit."""
        bucket = self._bucket(access)
        return None if bucket is None else bucket.left()

    def _bucket(self, access: Access) -> Bucket | None:
        if access.rate is None:
            return None
        if access.id not in self._buckets:
            self._buckets[access.id] = Bucket(access.rate, self._ticks)
        return self._buckets[access.id]

    def rights(self, name: str) -> KeyRights | None:
        """Return the rights that a subscription has from its key.

        None: no key of that name is in force, or it may not subscribe.
        """
        access = self._named.get(name)
        if access is None or self.is_expired(access) or not access.may("subscriptions:write"):
            return None
        sees = None if access.sees is None else access.sees.holds
        return KeyRights(sees=sees, reads_codes=access.may("codes:read"))

    @property
    def filters(self) -> Filters:
        """The filters of all keys that have a `when`, by digest."""
        found = (known.access.sees for known in self.known())
        return {sees.digest: sees.holds for sees in found if sees is not None}

    # --- configure, create and revoke -----------------------------------------------------

    def use(self, configured: Mapping[str, ApiKey]) -> None:
        """Replace the configured keys. Those that are removed or changed end."""
        before = set(self._in_force.values())
        self._configured = {
            name: self._configured[name]
            if self._options.get(name) == key
            else (digest_of(key.key), _configured(name, key))
            for name, key in configured.items()
        }
        self._options = configured
        self._in_force = dict(self._configured.values())
        self._named = {access.name: access for access in self._in_force.values()}
        for id_, (digest_, access) in self._made.items():
            if access.name not in configured:
                self._enforce(digest_, access)
            elif access in before:
                log.warning("key.shadowed", key=access.name, key_id=id_)
        for access in before - set(self._in_force.values()):
            self._buckets.pop(access.id, None)
            self._announce(access)
        self.changed.set()

    def readers(self) -> Mapping[str, Mapping[str, int]]:
        """Return the codes that each reader read, by its name and the kind of call."""
        read: dict[str, Counter[str]] = {}
        for one in self.known():
            # A key of the configuration may have the name of another.
            read.setdefault(one.access.name, Counter()).update(one.access.codes_read)
        return read | {USERS: self.users_read} if self.users_read else read

    def known(self) -> Sequence[KnownKey]:
        """Return all keys: the configured ones, then the others in the order of their making."""
        return [
            KnownKey(
                access=access,
                state="shadowed"
                if access.created_at is not None and access.name in self._configured
                else "expired"
                if self.is_expired(access)
                else "active",
                last_used_at=self._used.get(access.name),
            )
            for _, access in (*self._configured.values(), *self._made.values())
        ]

    async def create(
        self,
        *,
        name: str,
        scopes: tuple[str, ...],
        when: Mapping[str, Any] | None,
        expires_at: float | None,
        rate: str | None,
        reads: str | None = None,
        reason: str | None = None,
        guard: Guard = unguarded,
    ) -> tuple[Access, str]:
        """Make a key; return its rights and the key, which is stored nowhere.

        `rate`, `reads` and `reason` are written as in the configuration. Raises NameTaken,
        routes.match.Invalid for the `when`, and Unavailable.
        """
        at = round(self._now(), 6)
        key = self._identity.api_key()
        stored = StoredKey(
            id=self._identity.event_id(at),
            name=name,
            digest=digest(key.encode()),
            scopes=scopes,
            filter=None if when is None else json.dumps(when),
            expires_at=expires_at,
            rate=rate,
            created_at=at,
            reads=reads,
            reason=reason,
        )
        access = _stored(stored)
        if name in self._configured:
            raise NameTaken

        # The key is in force even if the caller is gone.
        def then(outcome: object) -> None:
            if outcome == stored.id:
                log.info("key.created", key=name, key_id=stored.id, by=by, leaf=line.n)
                self._used.pop(name, None)  # of an earlier key with that name
                self._add(stored)
                self.changed.set()

        by, line, sees = ACTING.get().name, LineNumber(), access.sees
        write = CreateKey(stored, None if sees is None else (sees.digest, sees.holds))
        if await self._journal.submit(guard(write), then=then, line=line) is None:
            raise NameTaken
        return access, key

    async def revoke(self, id_or_name: str) -> bool:
        """Remove a key, and end its streams and waits; False: there is no such key.

        Raises Configured and Unavailable.
        """
        found = self._made.get(id_or_name)
        if found is None and id_or_name in self._configured:
            raise Configured
        if found is None:
            named = [one for one in self._made.values() if one[1].name == id_or_name]
            found = named[0] if named else None
        if found is None:
            return False
        key, access = found

        def then(outcome: object) -> None:
            if outcome is not True or self._made.pop(access.id, None) is None:
                return
            log.info("key.revoked", key=access.name, key_id=access.id, by=by, leaf=line.n)
            if self._in_force.get(key) is access:
                del self._in_force[key]
                del self._named[access.name]
            self._buckets.pop(access.id, None)
            if access.name not in self._configured:
                self._used.pop(access.name, None)
                self._unwritten.discard(access.name)
            self._announce(access)
            self.changed.set()

        sees = access.sees
        filter_ = None if sees is None else (sees.digest, self._has_filter(sees.digest))
        by, line = ACTING.get().name, LineNumber()
        return await self._journal.submit(RevokeKey(access.id, filter_), then=then, line=line)

    def _has_filter(self, wanted: str) -> Callable[[Sequence[StoredKey]], bool]:
        """Return a function that says whether a configured or a stored key has this filter."""
        configured = {one.sees.digest for _, one in self._configured.values() if one.sees}

        def is_used(stored: Sequence[StoredKey]) -> bool:
            written = [json.loads(one.filter) for one in stored if one.filter is not None]
            return wanted in {*configured, *map(_filter_digest, written)}

        return is_used

    def _add(self, stored: StoredKey) -> None:
        access = _stored(stored)
        self._made[stored.id] = (stored.digest, access)
        if stored.name in self._configured:
            log.warning("key.shadowed", key=stored.name, key_id=stored.id)
        else:
            self._enforce(stored.digest, access)

    def _enforce(self, digest_: bytes, access: Access) -> None:
        self._in_force.setdefault(digest_, access)
        self._named[access.name] = access
        # A configured key may have had its name for a while: its next end is announced, too.
        self._announced.discard(access)

    # --- the end of a key -----------------------------------------------------------------

    def listen(self, callback: Callable[[Access], None]) -> None:
        """Call `callback` once for each key that is revoked or expires, from now on.

        It gets the same object that `find` returned: compare with `is`.
        """
        self._listeners.append(callback)

    def _announce(self, access: Access) -> None:
        if access not in self._announced:
            self._announced.add(access)
            for callback in self._listeners:
                callback(access)

    def announce_expired(self) -> None:
        """Call the listeners for the keys that expired since the last call."""
        for access in tuple(self._in_force.values()):
            if self.is_expired(access):
                self._announce(access)
            else:
                # The clock was set back: its next end is announced, too.
                self._announced.discard(access)

    async def run(self) -> None:
        """Announce expired keys and store last uses, until cancelled."""
        write_at = self._ticks() + USES_EVERY
        while True:
            # Each second, because the wall clock may jump over the end of a key.
            await asyncio.sleep(1.0)
            self.announce_expired()
            if self._ticks() >= write_at:
                await self.write_uses()
                write_at = self._ticks() + USES_EVERY

    async def write_uses(self) -> None:
        """Store the last uses. They are kept if the journal is unavailable."""
        names, self._unwritten = self._unwritten, set()
        uses = tuple((name, self._used[name]) for name in names)
        if uses:
            try:
                await self._journal.submit(NoteKeyUses(uses))
            except Unavailable:
                self._unwritten |= names & self._used.keys()


def key_filters(configured: Mapping[str, ApiKey], stored: Sequence[StoredKey] = ()) -> Filters:
    """Return the filters of all keys that have a `when`, by digest."""
    keys = [_configured(name, key) for name, key in configured.items()]
    keys += [_stored(key) for key in stored]
    return {key.sees.digest: key.sees.holds for key in keys if key.sees is not None}


def _configured(name: str, key: ApiKey) -> Access:
    return Access(
        id=name,
        name=name,
        scopes=_included(key.scopes),
        sees=_filter(key.when, f"api.keys.{name}.when"),
        granted=tuple(key.scopes),
        when=key.when,
        expires_at=key.expires_at,
        rate=key.rate,
        reads_rate=key.reads_rate,
        needs_reason=key.reason is not None,
    )


def _stored(key: StoredKey) -> Access:
    when = None if key.filter is None else json.loads(key.filter)
    return Access(
        id=key.id,
        name=key.name,
        scopes=_included(key.scopes),
        sees=_filter(when, "when"),
        granted=key.scopes,
        when=when,
        expires_at=key.expires_at,
        rate=None if key.rate is None else rate(key.rate),
        reads_rate=None if key.reads is None else rate(key.reads),
        needs_reason=key.reason is not None,
        created_at=key.created_at,
    )


def in_console(key: Access, goes_on: Callable[[], bool]) -> Access:
    """Return the rights of a session of the console that was begun with a key."""
    reveals = {"codes:reveal"} if key.may("codes:read") else set()
    return msgspec.structs.replace(
        key,
        scopes=key.scopes | reveals,
        reads_rate=key.reads_rate or _REVEALS,
        is_console=True,
        goes_on=goes_on,
    )


def in_clear(session: Access) -> Access:
    """Return the rights of a session for a call that reveals something, if its key may see it."""
    return msgspec.structs.replace(session, is_console=False)


def user_of_console(
    name: str, scopes: Sequence[str], goes_on: Callable[[], bool], *, codes_read: dict[str, int]
) -> Access:
    """Return the rights of a session of a user that a proxy has signed in.

    It counts the codes that it reads in `codes_read`.
    """
    # No key has a colon in its name.
    own = f"user:{name}"
    key = Access(
        id=own,
        name=own,
        scopes=_included(scopes),
        sees=None,
        granted=tuple(scopes),
        codes_read=codes_read,
    )
    return in_console(key, goes_on)


def _included(scopes: Sequence[str]) -> frozenset[str]:
    return frozenset(included for scope in scopes for included in (scope, *_IMPLIED.get(scope, ())))


def _filter(when: Mapping[str, Any] | None, where: str) -> KeyFilter | None:
    if when is None:
        return None
    part = compile_filter(when, where)

    def holds(event: Mapping[str, object]) -> bool:
        # Events about the service itself are never for a key that sees only some events.
        return not str(event["type"]).startswith(SYSTEM) and part.holds(event)

    return KeyFilter(
        digest=_filter_digest(when),
        holds=holds,
        part=part,
        kinds=frozenset(kind for path in paths_of(part) for kind in kinds_at(path)),
    )


def _filter_digest(when: Mapping[str, Any]) -> str:
    # Another version may read the same `when` differently: services may be renamed.
    written = f"{__version__} {json.dumps(when, sort_keys=True)}"
    return hashlib.sha256(written.encode()).hexdigest()
