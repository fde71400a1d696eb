"""The figures of the service over time, for plots."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec
from litestar import get

from core.clock import utc
from core.meters import percentile
from sinks.meters import LAG

from ..runtime.code_times import CODE_SECONDS
from ..runtime.disk import DiskMonitor
from ..runtime.history import Figures, History, SinkFigures
from .auth import ApiRequest, needs
from .operation import Operation
from .parameters import read
from .router import ApiRouter

_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class HistoryParameters(msgspec.Struct, frozen=True, kw_only=True):
    """The span of the figures."""

    #: How far back: `1h`, `3h`, `24h` or `7d`.
    span: Literal["1h", "3h", "24h", "7d"] = "1h"


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds within which a half, 95 % and 99 % of all were done. null: none was."""

    p50: float | None
    p95: float | None
    p99: float | None


class SinkHistory(msgspec.Struct, frozen=True, kw_only=True):
    """What a sink did; `subscriptions` are all subscriptions together."""

    delivered: int
    #: Deliveries that ended without success: dead and expired.
    ended: int
    #: Attempts that did not deliver.
    failed: int
    #: Pending deliveries at the end.
    owed: int


class SinkTotal(SinkHistory, frozen=True, kw_only=True):
    """What a sink did in the whole span."""

    lag: Lag


class HistoryPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of some seconds."""

    #: The end of these seconds.
    at: datetime
    seconds: float
    #: New events.
    accepted: int
    #: From acceptance to delivery.
    lag: Lag
    sinks: Mapping[str, SinkHistory]


class OrderHistory(msgspec.Struct, frozen=True, kw_only=True):
    """What became of orders."""

    #: Orders that got their first message.
    received: int
    #: Orders whose time was up before a message came.
    expired: int
    #: Seconds from orders to their first messages. null: no message came.
    seconds: Lag


class CodesRead(msgspec.Struct, frozen=True, kw_only=True):
    """Events whose codes somebody read in clear."""

    #: The name of the key or of the sink. `user:*`: all users that a proxy has signed in.
    by: str
    #: As in the label `how` of `smshook_codes_read_total`.
    how: str
    count: int


class ShownDisk(msgspec.Struct, frozen=True, kw_only=True):
    """The disk of the journal now, in bytes."""

    free: int
    total: int
    #: The journal with its write-ahead log.
    journal: int
    #: Days until it is full, at the pace of the last day. null: less than five hours are measured,
    #: or the free space does not shrink.
    days_left: float | None


class HistoryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Figures over a span of time."""

    span: str
    #: In order of time. A point without the service is missing.
    points: Sequence[HistoryPoint]
    #: New events of all points.
    accepted: int
    #: From acceptance to delivery.
    lag: Lag
    #: The figures of all points.
    sinks: Mapping[str, SinkTotal]
    orders: OrderHistory
    #: Most first.
    codes_read: Sequence[CodesRead]
    #: null: not measured yet.
    disk: ShownDisk | None


def history(figures: History, disk: DiskMonitor) -> ApiRouter:
    @get(
        "/", guards=[needs("events:read", whole=True)], operation=Operation(query=HistoryParameters)
    )
    async def counted(request: ApiRequest) -> HistoryAnswer:
        """Get figures over time.

        How many events came, how fast they were delivered, and who read codes, in about 120 points.
        The figures reach back seven days.
        """
        span = read(request.scope, HistoryParameters).span
        points = figures.points(span)
        whole = Figures(at=0, seconds=0)
        for point in points:
            whole.add(point)
        read_by = sorted(whole.read.items(), key=lambda one: -one[1])
        return HistoryAnswer(
            span=span,
            points=[
                HistoryPoint(
                    at=utc(point.at),
                    seconds=point.seconds,
                    accepted=point.accepted,
                    lag=_lag(point.lag),
                    sinks={name: SinkHistory(**_counts(one)) for name, one in point.sinks.items()},
                )
                for point in points
            ],
            accepted=whole.accepted,
            lag=_lag(whole.lag),
            sinks={
                name: SinkTotal(**_counts(one), lag=_lag(one.lag))
                for name, one in whole.sinks.items()
            },
            orders=OrderHistory(
                received=whole.orders.get("received", 0),
                expired=whole.orders.get("expired", 0),
                seconds=_lag(whole.took, CODE_SECONDS),
            ),
            codes_read=[
                CodesRead(by=name.partition("/")[2], how=name.partition("/")[0], count=count)
                for name, count in read_by
            ],
            disk=_disk(disk),
        )

    return ApiRouter("/history", route_handlers=[counted])


def _disk(monitor: DiskMonitor) -> ShownDisk | None:
    disk, days = monitor.last, monitor.days_left()
    if disk is None:
        return None
    return ShownDisk(
        free=disk.free,
        total=disk.total,
        journal=disk.journal,
        days_left=None if days is None else round(days, 1),
    )


def _counts(sink: SinkFigures) -> dict[str, int]:
    return {
        "delivered": sink.delivered,
        "ended": sink.ended,
        "failed": sink.failed,
        "owed": sink.owed,
    }


def _lag(counts: Sequence[int], bounds: Sequence[float] = LAG) -> Lag:
    return Lag(**{name: percentile(bounds, counts, share) for name, share in _PERCENTILES.items()})
