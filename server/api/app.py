"""The HTTP API: what a key may read and steer, and health for everybody."""

import time
from collections.abc import Callable, Mapping, Sequence

from litestar import Litestar, Router

from journal import Journal
from receiver.source_state import SourceState
from sinks.worker import Worker

from ..config.options import Config
from ..runtime.accept import Pipeline
from ..runtime.backfill import Backfilling
from ..runtime.balances import Balances
from ..runtime.delivery_states import DeliveryStates
from ..runtime.identity import Identity
from ..runtime.orders import Orders
from ..runtime.redelivery import Redelivery
from ..runtime.silence import Watching
from .auth import Keys, authenticated, key_filters
from .deliveries import deliveries
from .events import events
from .handlers import handlers, stamp
from .index import index
from .order_body import OrderReading
from .orders import orders as order_calls
from .paging import Cursors
from .quarantine import quarantine, rejections
from .routes import routes
from .sinks import sinks
from .sources import sources
from .status import health, stats

__all__ = ["create_api", "create_health", "key_filters"]


def create_api(  # noqa: PLR0913 - what the calls need, each by its name
    *,
    config: Config,
    gates: Sequence[SourceState],
    workers: Mapping[str, Worker],
    journal: Journal,
    pipeline: Pipeline,
    orders: Orders,
    backfilling: Backfilling,
    balances: Balances,
    watching: Watching,
    identity: Identity,
    ready: Callable[[], bool],
    now: Callable[[], float] = time.time,
) -> Litestar:
    """`/v1`, health and the page at `/`. Each call of `/v1` needs a key and has its own guard."""
    keys = Keys(config.api.keys)
    redelivery = Redelivery(journal, workers, now)
    states = DeliveryStates(workers)

    def cursors(kind: str) -> Cursors:
        return Cursors(identity, journal, kind)

    v1 = Router(
        "/v1",
        guards=[authenticated(keys)],
        route_handlers=[
            events(
                journal=journal,
                cursors=cursors("events"),
                routes=tuple(config.routes),
                redelivery=redelivery,
                headers=pipeline.stored_headers,
                identity=identity,
                states=states,
                now=now,
            ),
            deliveries(
                journal=journal,
                cursors=cursors("deliveries"),
                redelivery=redelivery,
                identity=identity,
                states=states,
            ),
            sinks(
                configured=config.sinks,
                workers=workers,
                journal=journal,
                cursors=cursors("sinks"),
                sample=pipeline.sample,
            ),
            order_calls(
                orders=orders,
                journal=journal,
                cursors=cursors("orders"),
                reading=OrderReading(gates, identity, now),
                gates=gates,
            ),
            stats(journal=journal, states=states),
            quarantine(journal=journal, cursors=cursors("quarantine"), pipeline=pipeline),
            rejections(journal=journal, cursors=cursors("rejections"), pipeline=pipeline),
            sources(
                journal=journal,
                cursors=cursors("sources"),
                gates=gates,
                backfilling=backfilling,
                balances=balances,
                watching=watching,
                now=now,
            ),
            routes(table=config.routes, cursors=cursors("routes")),
        ],
    )
    return _app([v1, health(ready), index()], keys)


def create_health(ready: Callable[[], bool]) -> Litestar:
    """What a listener that is open to the world answers behind the door: health, else 404."""
    return _app([health(ready)], None)


def _app(routers: Sequence[Router], keys: Keys | None) -> Litestar:
    return Litestar(
        list(routers),
        openapi_config=None,
        exception_handlers=handlers(keys),
        before_send=[stamp],
        logging_config=None,
        # Litestar would read both from the environment; either shows values to callers.
        debug=False,
        pdb_on_exception=False,
    )
