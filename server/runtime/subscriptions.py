"""Keeps subscriptions: endpoints that services add by the API while smshook runs.

Rules that live here: a subscription gets each event that its filter matches and its API key sees;
both secrets sign for a day after a rotation; a subscription is paused when its key ends; no
attempt sends an event that its key does not see. A worker runs only while its subscription has
pending deliveries, and `IDLE_FOR` seconds after the last one.
"""

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, Final

import msgspec
import structlog
from cryptography.exceptions import InvalidTag

from core.erasure import CODES
from core.errors import Broken, Unavailable
from core.event import SYSTEM
from core.secret import Secret
from core.signing import encode_key
from journal import Journal
from journal.feed import Committed
from journal.reads import PendingBySink, Subscriptions
from journal.records import Owed, SealedSecret, SinkRecord, StoredSubscription
from journal.writes import (
    ChangeSubscription,
    Clamp,
    CreateSubscription,
    DeleteSubscription,
    EndDeliveries,
    Guard,
    LineNumber,
    unguarded,
)
from routes.index import FilterIndex, IndexEntry
from routes.match import Part, Predicate, compile_filter, paths_of
from routes.table import default_filter
from sinks.attempt import Clock
from sinks.health import Pause
from sinks.http.guard import AddressGuard
from sinks.http.subscription import SigningSecret, Subscription, challenge
from sinks.outcome import Tested
from sinks.retry import LONGEST_RETRY_AFTER
from sinks.sink import Failed, Refused, Sink
from sinks.worker import Worker

from ..config.options import Subscribing
from .identity import Identity
from .sink_runner import SinkRunner

#: The beginning of the names of their sinks. No configured name has a colon.
PREFIX: Final = "sub:"
#: Seconds for which a replaced secret still signs.
OVERLAP: Final = 86400.0
#: The most secrets that sign at the same time.
MOST_SECRETS: Final = 4
#: The word of a delivery that was pending when its subscription was deleted.
UNSUBSCRIBED: Final = "unsubscribed"
#: The words of an attempt at an event that its key does not see, and of one after its key ended.
HIDDEN: Final = "hidden"
NO_KEY: Final = "key"
#: Seconds between two looks at keys and idle workers, and after which an idle worker ends.
LOOK_EVERY = 1.0
IDLE_FOR = 30.0
#: The advice for a secret that cannot be opened.
_ROTATE: Final = "put the key file back, or: smshook subscriptions rotate"
#: The use of the key that encrypts their secrets.
_SECRETS: Final = "subscription secrets"

log = structlog.get_logger()


class KeyRights(msgspec.Struct, frozen=True, kw_only=True):
    """The rights that a subscription has from its API key."""

    #: Tests an event; None: the key sees all events.
    sees: Predicate | None
    reads_codes: bool


class TooManySubscriptions(Exception):
    """The key has as many subscriptions as it may have, or the subscription as many secrets."""


class KeyEnded(Exception):
    """The key is gone, or may not subscribe to this any more."""


class SecretMissing(Exception):
    """The secret of the subscription cannot be opened: its key is missing."""


class CodesHidden(Exception):
    """The filter reads text, code or urls, and the key does not have codes:read."""


class Live:
    """A subscription, its worker, and the worker's task while it runs."""

    def __init__(self, place: int, stored: StoredSubscription, sink: Subscription) -> None:
        self.place, self.sink = place, sink
        self.name = f"{PREFIX}{stored.id}"
        self.use(stored)
        self.worker: Worker
        #: Its filter in the index.
        self.entry: IndexEntry[Live]
        self.task: asyncio.Task[None] | None = None
        #: A commit or a person asked for the worker since it was last stopped.
        self.is_woken = False
        self.idle_since: float | None = None
        #: Its key ended. A new key of that name takes it over only by `resume`.
        self.has_lost_key = False
        #: One change at a time.
        self.changing = asyncio.Lock()

    def use(self, stored: StoredSubscription) -> None:
        """Take the fields of the stored subscription."""
        self.stored, self.filter = stored, _compile(stored.filter)
        self.reads_codes = reads_codes(self.filter)

    @property
    def can_sign(self) -> bool:
        """Whether all its secrets are there: some may need a key file that is missing."""
        return len(self.sink.signing) == len(self.stored.secrets)


class LiveSubscriptions:
    """All subscriptions.

    `workers` gets their workers, by the names of their sinks. `rights` returns the rights of a key
    by its name; None: it is gone, expired, or may not subscribe. `make_worker` makes the worker of
    a sink.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        identity: Identity,
        options: Subscribing,
        rights: Callable[[str], KeyRights | None],
        workers: MutableMapping[str, Worker],
        make_worker: Callable[[str, Sink, SinkRecord | None], Worker],
        clock: Clock,
    ) -> None:
        self._journal, self._identity = journal, identity
        self._rights, self._workers, self._make_worker = rights, workers, make_worker
        self._now, self._ticks = clock.now, clock.ticks
        self._options, self._guard = options, AddressGuard(options.allow_networks)
        self._by_id: dict[str, Live] = {}
        #: By the name of their key, then by id.
        self._by_key: dict[str, dict[str, Live]] = {}
        #: The rights of each key at the last look, by its name.
        self._known: dict[str, KeyRights | None] = {}
        #: Subscriptions that the next look pauses, because their key ended.
        self._orphans: set[Live] = set()
        #: Subscriptions with a worker that runs.
        self._running: set[Live] = set()
        self._index: FilterIndex[Live] = FilterIndex()
        #: Deleted subscriptions with deliveries that may be pending, by the name of their sink.
        self._deleted: dict[str, Live] = {}
        #: Creations under way, by key: they count for the limit.
        self._creating: Counter[str] = Counter()
        self._tasks: asyncio.TaskGroup | None = None
        self._give_up: Callable[[], None] = lambda: None

    def __iter__(self) -> Iterator[Live]:
        return iter(tuple(self._by_id.values()))

    def __bool__(self) -> bool:
        return bool(self._by_id)

    def get(self, id_: str) -> Live | None:
        return self._by_id.get(id_)

    async def load(self, records: Mapping[str, SinkRecord]) -> None:
        """Load the stored subscriptions; `records`: their sinks' states. Raises Unavailable."""
        pending = await self._journal.ask(PendingBySink())
        for place, stored in await self._journal.ask(Subscriptions()):
            live = self._add(place, stored, records.get(f"{PREFIX}{stored.id}"))
            if not live.can_sign:
                log.warning(
                    "subscription.secret_missing",
                    subscription=stored.id,
                    key=stored.key,
                    then=_ROTATE,
                )
        now = self._now()
        clamping = [
            self._journal.submit(
                Clamp(
                    live.name,
                    now=now,
                    longest=live.sink.retry.longest,
                    asked=LONGEST_RETRY_AFTER,
                )
            )
            for live in self
            if live.name in pending
        ]
        await asyncio.gather(*clamping)

    def _add(self, place: int, stored: StoredSubscription, record: SinkRecord | None) -> Live:
        live = Live(place, stored, self._sink(stored))
        live.worker = self._make_worker(live.name, live.sink, record)
        live.worker.on_resume(lambda: self.wake(live.name))
        self._by_id[stored.id] = self._by_key.setdefault(stored.key, {})[stored.id] = live
        live.entry = self._index.add(live.filter, live)
        self._workers[live.name] = live.worker
        return live

    def _sink(self, stored: StoredSubscription) -> Subscription:
        rights = self._rights(stored.key)
        signing = tuple(
            SigningSecret(secret=secret, until=one.until)
            for one in stored.secrets
            if (secret := self._unsealed(stored.id, one)) is not None
        )
        return Subscription(
            url=Secret(stored.url),
            format=stored.format,  # type: ignore[arg-type] # as it was checked
            redact=None if rights is not None and rights.reads_codes else "codes",
            signing=signing,
            guard=self._guard,
            allow=_Allow(self._allow, stored.key),
        )

    def _unsealed(self, id_: str, stored: SealedSecret) -> Secret | None:
        """Return a secret of a subscription; None: its key is missing, or the file has another."""
        key = self._journal.opener.derive(_SECRETS)
        with contextlib.suppress(InvalidTag):
            return self._identity.unseal(id_, stored.sealed, key)
        return None

    def _sealed(self, id_: str, secret: Secret) -> str:
        key = self._journal.opener.derive(_SECRETS)
        return self._identity.seal_secret(id_, secret, key)

    async def seal_secrets(self) -> None:
        """Encrypt secrets from before the key file with a key of it. Raises Unavailable."""
        for live in self:
            async with live.changing:
                secrets = tuple(self._resealed(live.stored.id, one) for one in live.stored.secrets)
                if secrets != live.stored.secrets:
                    stored = msgspec.structs.replace(live.stored, secrets=secrets)
                    # Its worker goes on: the secrets are the same.
                    if await self._journal.submit(ChangeSubscription(stored)):
                        live.use(stored)

    def _resealed(self, id_: str, stored: SealedSecret) -> SealedSecret:
        secret = None if self._identity.needs_key(stored.sealed) else self._unsealed(id_, stored)
        if secret is None:
            return stored
        return msgspec.structs.replace(stored, sealed=self._sealed(id_, secret))

    # --- planning -------------------------------------------------------------------------

    def plan(self, event: Mapping[str, object]) -> Sequence[Owed]:
        """Plan the deliveries of a new event, given as plain JSON values."""
        seen: dict[str, bool] = {}
        return [
            live.worker.plan_delivery(event)
            for live in self._index.matching(event)
            if self._sees(live, event, seen)
        ]

    def sees(self, sink: str, event: Mapping[str, object]) -> bool:
        """Return whether a sink may get an event that is replayed."""
        if not sink.startswith(PREFIX):
            return True
        live = self._by_id.get(sink.removeprefix(PREFIX))
        return live is not None and self._sees(live, event, {})

    def _sees(self, live: Live, event: Mapping[str, object], seen: dict[str, bool]) -> bool:
        """Return whether its key sees the event. `seen` remembers the answers by key."""
        if live.has_lost_key or live.worker.paused is Pause.KEY:
            return False
        # Events about the service itself are for filters that ask for a type.
        if str(event["type"]).startswith(SYSTEM) and ("type",) not in paths_of(live.filter):
            return False
        key = live.stored.key
        if key not in seen:
            rights = self._rights(key)
            seen[key] = rights is not None and (rights.sees is None or rights.sees(event))
        return seen[key]

    def _allow(self, key: str, body: bytes) -> None:
        """Raise Refused if the key does not see an event, and Failed if there is no such key.

        The event may be older than the key: the subscription was resumed, or smshook restarted.
        """
        rights = self._rights(key)
        if rights is None:
            raise Failed(NO_KEY)
        if rights.sees is not None and not rights.sees(msgspec.json.decode(body)):
            raise Refused(HIDDEN)

    def end_key(self, name: str) -> None:
        """Stop the subscriptions of a key that ended: begin no attempt, and cut those under way."""
        if self._rights(name) is not None:
            return  # another key has that name, and is in force
        for live in self._by_key.get(name, {}).values():
            live.has_lost_key = True
            self._orphans.add(live)
            if live.task is not None:
                live.task.cancel()

    def has_key(self, live: Live) -> bool:
        """Return whether its key is in force and may have this filter, and it can sign."""
        return live.can_sign and _allow_filter(self._rights(live.stored.key), live)

    # --- changes --------------------------------------------------------------------------

    def use(self, options: Subscribing) -> None:
        """Use other options, and the present rights of all keys.

        Workers with a sink that differs are cut at once, and run again.
        """
        if options.allow_networks != self._options.allow_networks:
            self._guard = AddressGuard(options.allow_networks)
        self._options = options
        for live in tuple(self._running):
            sink = self._sink(live.stored)
            if live.task is not None and sink != live.sink:
                live.sink, live.is_woken = sink, True
                live.task.cancel()

    async def create(
        self,
        key: str,
        url: str,
        when: Mapping[str, Any] | None,
        format_: str,
        guard: Callable[[str], Guard] = lambda _: unguarded,
    ) -> tuple[str, Secret]:
        """Add a subscription of the key; return its id and its secret.

        It is in force for the next event. `guard` takes its id. Raises TooManySubscriptions,
        KeyEnded, CodesHidden, routes' Invalid, Failed and ChallengeFailed (see `challenge`), and
        Unavailable.
        """
        written = _encode(when)
        self._check_filter(key, written)
        if self._creating[key] + len(self._by_key.get(key, ())) >= self._options.per_key:
            raise TooManySubscriptions
        self._creating[key] += 1
        try:
            await challenge(url, self._guard, now=self._now())
            at, secret = round(self._now(), 6), encode_key(secrets.token_bytes(32))
            id_ = self._identity.event_id(at)
            stored = StoredSubscription(
                id=id_,
                key=key,
                url=url,
                filter=written,
                format=format_,
                secrets=(SealedSecret(sealed=self._sealed(id_, secret)),),
                created_at=at,
            )

            # It is in force even if the caller is gone.
            def then(outcome: object) -> None:
                if isinstance(outcome, int):
                    live = self._add(outcome, stored, None)
                    if not self.has_key(live):  # its key ended meanwhile
                        self._orphans.add(live)

            line = LineNumber()
            write = guard(id_)(CreateSubscription(stored))
            await self._journal.submit(write, then=then, line=line)
        finally:
            self._creating[key] -= 1
        log.info("subscription.created", subscription=id_, key=key, leaf=line.n)
        return id_, secret

    async def change(
        self,
        live: Live,
        *,
        url: str | None,
        when: Mapping[str, Any] | msgspec.UnsetType | None,
        format_: str | None,
    ) -> None:
        """Change some fields of a subscription; None or UNSET keeps a field.

        `when` None: the default of routes. Raises as `create` does.
        """
        changes: dict[str, Any] = {} if format_ is None else {"format": format_}
        if when is not msgspec.UNSET:
            changes["filter"] = _encode(when)
            self._check_filter(live.stored.key, changes["filter"])
        if url is not None and url != live.stored.url:
            await challenge(url, self._guard, now=self._now())
            changes["url"] = url
        async with live.changing:
            leaf = await self._replace(live, msgspec.structs.replace(live.stored, **changes))
        id_, fields = live.stored.id, sorted(changes)
        log.info("subscription.changed", subscription=id_, fields=fields, leaf=leaf)

    async def rotate(self, live: Live, guard: Guard = unguarded) -> Secret:
        """Return a new secret. The present one also signs for `OVERLAP` seconds.

        Secrets that cannot be opened are dropped. Raises TooManySubscriptions and Unavailable.
        """
        async with live.changing:
            now, secret = self._now(), encode_key(secrets.token_bytes(32))
            old = [
                msgspec.structs.replace(
                    one, until=now + OVERLAP if one.until is None else one.until
                )
                for one in live.stored.secrets
                if one.until is None or one.until > now
                if self._unsealed(live.stored.id, one) is not None
            ]
            if len(old) >= MOST_SECRETS:
                raise TooManySubscriptions
            sealed = SealedSecret(sealed=self._sealed(live.stored.id, secret))
            stored = msgspec.structs.replace(live.stored, secrets=(sealed, *old))
            leaf = await self._replace(live, stored, guard)
        await live.worker.resume(Pause.SECRET)
        log.info("subscription.rotated", subscription=live.stored.id, leaf=leaf)
        return secret

    async def resume(self, live: Live, guard: Guard = unguarded) -> None:
        """Resume a paused subscription. Raises SecretMissing, KeyEnded and Unavailable."""
        if not live.can_sign:
            raise SecretMissing
        if not self.has_key(live):
            raise KeyEnded
        if live.has_lost_key:
            async with live.changing:
                await self._stop(live)
                live.has_lost_key = False
        await live.worker.resume(guard=guard)

    async def delete(self, live: Live) -> None:
        """Remove a subscription. Its pending deliveries become dead. Raises Unavailable."""

        # It is out of force even if the caller is gone.
        def then(outcome: object) -> None:
            if isinstance(outcome, bool):
                self._remove(live)
            else:
                self.wake(live.name)

        async with live.changing:
            await self._stop(live)
            if self._by_id.get(live.stored.id) is not live:
                return  # another call was faster
            write = DeleteSubscription(live.stored.id, live.name)
            line = LineNumber()
            await self._journal.submit(write, then=then, line=line)
            ended = await self._end_deliveries(live.name)
        log.info("subscription.deleted", subscription=live.stored.id, ended=ended, leaf=line.n)

    def _remove(self, live: Live) -> None:
        if self._by_id.pop(live.stored.id, None) is None:
            return
        del self._by_key[live.stored.key][live.stored.id]
        self._orphans.discard(live)
        self._index.remove(live.entry)
        del self._workers[live.name]
        # Events accepted before the commit may have added deliveries: end them, too.
        self._deleted[live.name] = live
        live.is_woken = False
        if live.task is not None:
            live.task.cancel()  # a commit woke it meanwhile

    async def test(self, live: Live, event_id: str, body: bytes) -> Tested:
        """Send a test event once, paused or not."""
        async with live.sink.open() as send:
            return await live.worker.test(event_id, body, send)

    def _check_filter(self, key: str, written: str | None) -> None:
        rights = self._rights(key)
        if rights is None:
            raise KeyEnded
        if reads_codes(_compile(written)) and not rights.reads_codes:
            raise CodesHidden

    async def _replace(
        self, live: Live, stored: StoredSubscription, guard: Guard = unguarded
    ) -> int | None:
        """Put other fields in force; return the number of the line about it."""

        # It is in force even if the caller is gone.
        def then(outcome: object) -> None:
            if outcome is not True or self._by_id.get(stored.id) is not live:
                return  # it was deleted meanwhile
            live.use(stored)
            self._index.remove(live.entry)
            live.entry = self._index.add(live.filter, live)
            live.sink = self._sink(stored)
            if live.task is None:
                live.worker.change(live.sink)
            else:
                live.is_woken = True  # it runs again, with the new fields
                live.task.cancel()

        line = LineNumber()
        await self._journal.submit(guard(ChangeSubscription(stored)), then=then, line=line)
        return line.n

    async def _end_deliveries(self, sink: str) -> int:
        ended = 0
        while True:
            write = EndDeliveries(sink, UNSUBSCRIBED, at=self._now())
            count = await self._journal.submit(write)
            ended += count
            if count < write.limit:
                self._deleted.pop(sink, None)
                return ended

    # --- workers --------------------------------------------------------------------------

    async def run(self, give_up: Callable[[], None]) -> None:
        """Deliver until cancelled. `give_up` is called if a worker's machinery stays broken."""
        self._give_up = give_up
        with self._journal.listen(self._committed):
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                try:
                    await self._keep()
                finally:
                    self._tasks = None  # no worker starts while they end

    async def _keep(self) -> None:
        is_started = False
        while True:
            try:
                if not is_started:
                    await self._begin()
                    is_started = True
                await self._look()
            except Broken:
                return  # the service ends
            except Unavailable:
                pass  # the next look tries again
            await asyncio.sleep(LOOK_EVERY)

    def wake(self, name: str) -> None:
        """Run the worker of a subscription, unless it is paused."""
        live = self._by_id.get(name.removeprefix(PREFIX))
        if live is None or live.worker.paused is not None or self._tasks is None:
            return
        if live.has_lost_key or not self.has_key(live):
            self._orphans.add(live)
            return
        live.is_woken, live.idle_since = True, None
        if live.task is None:
            live.sink = self._sink(live.stored)  # a new key may have other rights
            live.worker.change(live.sink)
            live.worker.look_again()  # it is not idle before it has read the journal
            runner = SinkRunner(live.sink, live.worker, ticks=self._ticks, give_up=self._give_up)
            live.task = self._tasks.create_task(runner.run())
            live.task.add_done_callback(lambda _: self._ended(live))
            self._running.add(live)

    def _ended(self, live: Live) -> None:
        """Use the present fields, and run the worker again if it was woken after it was stopped."""
        live.task = live.idle_since = None
        self._running.discard(live)
        live.worker.change(live.sink)
        if live.is_woken:
            self.wake(live.name)

    def _committed(self, committed: Committed) -> None:
        for sink in committed.sinks:
            if sink.startswith(PREFIX):
                self.wake(sink)

    async def _begin(self) -> None:
        """Start the workers with pending deliveries, and end those of deleted subscriptions.

        Those whose secret can be opened again are resumed.
        """
        for live in self:
            if live.worker.paused is Pause.SECRET and live.can_sign:
                await live.worker.resume(Pause.SECRET)
        for sink in await self._journal.ask(PendingBySink()):
            if sink in self._workers:
                self.wake(sink)
            elif sink.startswith(PREFIX):
                await self._end_deliveries(sink)

    async def _look(self) -> None:
        """Finish deletions, pause subscriptions without a key, and stop idle workers."""
        for live in tuple(self._deleted.values()):
            if not live.changing.locked():
                async with live.changing:
                    await self._end_deliveries(live.name)
        self._look_at_keys()
        while self._orphans:
            live = next(iter(self._orphans))
            if live.worker.paused is None and (live.has_lost_key or not self.has_key(live)):
                lost_key = live.has_lost_key or live.can_sign
                await live.worker.pause(Pause.KEY if lost_key else Pause.SECRET)
            self._orphans.discard(live)
        now = self._ticks()
        for live in tuple(self._running):
            if not live.worker.is_idle:
                live.idle_since = None
                continue
            if live.idle_since is None:
                live.idle_since = now
            is_over = live.worker.paused is not None or now - live.idle_since >= IDLE_FOR
            if is_over and not live.changing.locked():
                async with live.changing:
                    await self._stop(live)

    def _look_at_keys(self) -> None:
        """Find the subscriptions of keys with other rights. There may be a hundred thousand."""
        for key, lives in self._by_key.items():
            rights = self._rights(key)
            if key not in self._known or rights != self._known[key]:
                self._known[key] = rights
                self._orphans.update(
                    live
                    for live in lives.values()
                    if not (live.can_sign and _allow_filter(rights, live))
                )

    async def _stop(self, live: Live) -> None:
        """Stop the worker. Attempts under way are cut, and made again when it runs."""
        if live.task is None:
            return
        live.is_woken = False
        live.task.cancel()
        await asyncio.wait([live.task])


class _Allow(msgspec.Struct, frozen=True):
    """Checks whether a key may get an event. Those of one key are equal, and so are its sinks."""

    check: Callable[[str, bytes], None]
    key: str

    def __call__(self, body: bytes) -> None:
        self.check(self.key, body)


def _allow_filter(rights: KeyRights | None, live: Live) -> bool:
    return rights is not None and (rights.reads_codes or not live.reads_codes)


def reads_codes(part: Part) -> bool:
    """Return whether a filter reads the text, code or urls of events."""
    is_code = part.path is not None and part.path[:2] in CODES
    return is_code or any(map(reads_codes, part.parts))


def _compile(written: str | None) -> Part:
    """Compile a stored filter. Raises routes' Invalid."""
    return (
        default_filter("when")
        if written is None
        else compile_filter(msgspec.json.decode(written), "when")
    )


def _encode(when: Mapping[str, Any] | None) -> str | None:
    return None if when is None else msgspec.json.encode(when).decode()
