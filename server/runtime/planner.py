"""Turns happenings into events, and plans their deliveries."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from core.clock import rfc3339
from core.event import Event
from core.order import Order
from journal.records import Planned
from receiver.callback import Happening
from routes.index import FilterIndex
from routes.table import CompiledRoute, plan
from sinks.sink import Sink
from sinks.worker import Worker

from .identity import Identity
from .subscriptions import LiveSubscriptions


def no_entries(_at: float) -> Sequence[bytes]:
    """Return one empty key, for a journal with dedupe keys that need no key file."""
    return (b"",)


class Planner:
    """Turns happenings into events, and plans their deliveries."""

    def __init__(
        self,
        *,
        identity: Identity,
        routes: Sequence[CompiledRoute],
        workers: Mapping[str, Worker],
        subscriptions: LiveSubscriptions | None,
        entries: Callable[[float], Sequence[bytes]] = no_entries,
    ) -> None:
        """`entries` returns the keys of dedupe keys at a time: the one to store first."""
        self._entries = entries
        self._identity, self._workers, self._subscriptions = identity, workers, subscriptions
        self.use(routes)

    def use(self, routes: Sequence[CompiledRoute], sinks: Iterable[Sink] = ()) -> None:
        """Plan by these routes from now on. `sinks`: the options that workers will soon have."""
        self._routes = FilterIndex((route.when, route) for route in routes)
        ordered = any(worker.is_ordered for worker in self._workers.values()) or any(
            sink.ordered_by is not None for sink in sinks
        )
        self._reads_data = ordered or any(route.reads_data for route in routes)

    def plan(
        self,
        source: str,
        happening: Happening,
        at: float,
        *,
        order: str | None = None,
        taken: tuple[str, ...] = (),
        named_order: Order | None = None,
        sinks: tuple[str, ...] = (),
    ) -> Planned:
        """Return the event of a happening at `at`, with its deliveries.

        `order` is the id of its order, `taken` the fields that come from that order. `named_order`
        is an order that the event itself makes known. `sinks` get it beside those of the routes.
        """
        recordedtime = rfc3339(at)
        now, *before = self._entries(at)
        keys = tuple([self._identity.dedupe_key(key, now) for key in happening.keys])
        older: tuple[bytes, ...] = ()
        if before:
            older = tuple(
                [self._identity.dedupe_key(k, key) for key in before for k in happening.keys]
            )
        event = Event(
            id=self._identity.event_id(at),
            source=source,
            type=happening.data.type,
            subject=happening.subject,
            time=happening.time or recordedtime,
            recordedtime=recordedtime,
            dedupekey=keys[0].hex(),
            data=happening.data,
        )
        # The attributes alone are a quarter of the work.
        subscriptions = self._subscriptions or None
        whole = self._reads_data or subscriptions
        read = msgspec.to_builtins if whole else msgspec.structs.asdict
        fields: Mapping[str, object] = read(event)
        routed = plan(self._routes, fields)
        names = dict.fromkeys((*routed.sinks, *sinks)) if sinks else routed.sinks
        owed = [self._workers[name].plan_delivery(fields) for name in names] if names else []
        if subscriptions is not None:
            owed += subscriptions.plan(fields)
        return Planned(
            event=event,
            at=at,
            body=msgspec.json.encode(event),
            keys=keys,
            older_keys=older,
            copy=happening.copy,
            order=order,
            taken=taken,
            named_order=named_order,
            routes=routed.routes,
            owed=tuple(owed),
        )
