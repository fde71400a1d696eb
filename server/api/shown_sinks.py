"""The sinks as the API shows them: their states, what they are owed, their options."""

import ipaddress
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from core.clock import utc
from core.erasure import CODES
from core.secret import MASK, Secret
from journal import Journal
from journal.reads import Counters, OldestPending, SinkRecords
from journal.records import SinkRecord, owed_in
from sinks.sink import Sink
from sinks.worker import Worker

from ..config.show import plain as written
from ..runtime.current import Current
from ..runtime.identity import Identity
from ..runtime.keys import Access
from ..runtime.subscriptions import LiveSubscriptions
from .deliveries import shown_error

_PRIVATE_NAMES = (".localhost", ".local", ".internal", ".lan", ".home.arpa")


class ShownError(msgspec.Struct, frozen=True, kw_only=True):
    """The last attempt that failed or was refused."""

    at: datetime
    error: str | None
    status: int | None


class OldestOwed(msgspec.Struct, frozen=True, kw_only=True):
    """The pending delivery that was accepted first."""

    delivery: str
    accepted_at: datetime


class ShownSink(msgspec.Struct, frozen=True, kw_only=True):
    """A sink as it is listed."""

    name: str
    #: Null if no sink of that name is configured: its deliveries wait.
    type: str | None
    #: `active`, `failing` (nothing succeeded since its last failure), `paused`, or `gone`.
    state: str
    #: `operator`, or `failing`: by its own `pause_after`. Subscriptions also: `gone` and `key`.
    paused_by: str | None
    paused_at: datetime | None
    #: Deliveries that are pending or being sent.
    owed: int
    #: Null: nothing is owed.
    oldest: OldestOwed | None
    #: `clear` or `masked`: codes in what it gets. Null if it is not configured.
    codes: str | None
    #: Whether its URL names a host that is neither loopback nor private. Null: it has no URL.
    is_public: bool | None
    failing_since: datetime | None
    last_success_at: datetime | None
    last_error: ShownError | None


class CountedAttempts(msgspec.Struct, frozen=True, kw_only=True):
    """Attempts that ended in the same way."""

    outcome: str
    error: str | None
    count: int


class WholeSink(ShownSink, frozen=True, kw_only=True):
    """A sink with its options and counts."""

    #: With defaults; secrets, URLs and bodies are `***`. Null if it is not configured, and for
    #: subscriptions.
    options: Mapping[str, Any] | None
    #: Attempts since the start of the service.
    attempts: Sequence[CountedAttempts]
    #: Their answers, by status.
    statuses: Mapping[str, int]


class ShownSinks:
    """The sinks with their states: configured ones, subscriptions, and removed ones with debts."""

    def __init__(
        self,
        *,
        current: Current,
        workers: Mapping[str, Worker],
        subscriptions: LiveSubscriptions,
        journal: Journal,
        identity: Identity,
    ) -> None:
        self._current, self._workers, self._subscriptions = current, workers, subscriptions
        self._journal, self._identity = journal, identity

    async def __call__(self, access: Access, *names: str) -> dict[str, ShownSink]:
        """Return the sinks by name: those with these names, or all."""
        records = await self._journal.ask(SinkRecords())
        owed = owed_in(await self._journal.ask(Counters()))
        configured = self._current.config.sinks
        types = {name: str(sink.__struct_config__.tag) for name, sink in configured.items()}
        types |= {live.name: "subscription" for live in self._subscriptions}
        gone = [name for name in sorted(owed) if name not in types]
        shown_names = names or (*types, *gone)
        oldest = await self._journal.ask(
            OldestPending(tuple(name for name in shown_names if name in owed))
        )
        found = {}
        for name in shown_names:
            record = records.get(name) or SinkRecord(name=name)
            worker = self._workers.get(name)
            first = oldest.get(name)
            found[name] = ShownSink(
                name=name,
                type=types.get(name),
                state=state_of(worker),
                paused_by=record.paused,
                paused_at=utc(record.paused_at),
                owed=owed.get(name, 0),
                oldest=None
                if first is None
                else OldestOwed(
                    delivery=self._identity.delivery_id(first.id),
                    accepted_at=utc(first.accepted_at),
                ),
                codes=None if worker is None else _codes(worker),
                is_public=is_public(configured[name]) if name in configured else None,
                failing_since=utc(record.failing_since),
                last_success_at=utc(record.last_success_at),
                last_error=last_error_of(record, access),
            )
        return found

    async def whole(self, access: Access, name: str) -> WholeSink | None:
        """Return a sink with its options; None: there is no such sink."""
        found = (await self(access)).get(name)
        if found is None:
            return None
        sink, worker = self._current.config.sinks.get(name), self._workers.get(name)
        counted = {} if worker is None else worker.meters.attempts
        statuses = {} if worker is None else worker.meters.statuses
        return WholeSink(
            **msgspec.structs.asdict(found),
            options=None if sink is None else masked_options(sink),
            attempts=[
                CountedAttempts(
                    outcome=outcome, error=shown_error(error or None, name, access), count=count
                )
                for (outcome, error), count in counted.items()
            ],
            statuses={str(status): count for status, count in sorted(statuses.items())},
        )


def state_of(worker: Worker | None) -> str:
    """Return the state of a sink; None: it has no worker, as it is not configured."""
    if worker is None:
        return "gone"
    if worker.paused:
        return "paused"
    return "failing" if worker.is_failing else "active"


def last_error_of(record: SinkRecord, access: Access) -> ShownError | None:
    if record.last_error_at is None:
        return None
    at = utc(record.last_error_at)
    error = shown_error(record.last_error, record.name, access)
    return ShownError(at=at, error=error, status=record.last_status)


def _codes(worker: Worker) -> str:
    return "clear" if worker.needs(CODES) else "masked"


def is_public(sink: Sink) -> bool | None:
    """Return whether a URL of a sink leads out of the networks that are private; None: no URL.

    A name without a dot is one of a private network, as those of containers are.
    """
    hosts = [urlsplit(url.reveal()).hostname or "" for url in sink.urls().values()]
    return any(map(_is_outside, hosts)) if hosts else None


def _is_outside(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.lower().endswith(_PRIVATE_NAMES)


def masked_options(sink: Sink) -> Mapping[str, Any]:
    """Return the options of a sink, as they are written. Secrets and bodies are `***`."""

    def masked(value: Any) -> Any:
        if isinstance(value, Secret):
            return MASK
        if isinstance(value, Mapping):
            return {key: masked(one) for key, one in value.items()}
        return [masked(one) for one in value] if isinstance(value, list) else value

    # A body of one's own may hold a secret without being one.
    return {
        name: MASK if name == "json" and value is not None else masked(value)
        for name, value in written(sink).items()
    }
