"""The HTTP API: `/v1` for keys, health for everybody."""

from collections.abc import Callable, Sequence
from functools import partial

from litestar import Litestar
from litestar.types import ControllerRouterHandler, Guard, Scope

from ..runtime.delivery_states import DeliveryStates
from ..runtime.keys import Keys
from ..runtime.parts import Parts
from ..runtime.redelivery import Redelivery
from .acts import acts
from .alerts import ShownAlert, alerts, shown_alerts
from .audit import audit
from .audit_state import audit_state
from .auth import authenticate, authenticated, needs
from .backups import backups
from .callbacks import callbacks
from .consumers import consumers
from .deliveries import deliveries
from .erasures import erasures
from .events import events
from .explain import explain
from .handlers import MOST_BODY, RefusedKey, handlers, stamp
from .history import history
from .idempotency import Calls
from .index import index
from .keys import keys as api_keys
from .keys import me
from .mcp import mcp
from .metrics import metrics
from .operation import refuse_parameters
from .orders import orders
from .paging import Cursors
from .preview import preview
from .quarantine import quarantine, rejections
from .reload import reload
from .replays import replays
from .retention import retention
from .retries import retries
from .reveal import reveal
from .router import ApiRouter
from .routes import routes
from .schema import schema
from .seal import seal
from .send import send
from .shown_sinks import ShownSinks
from .sinks import sinks
from .sources import sources
from .status import health, stats
from .stream import stream
from .subscriptions import subscriptions
from .wait import wait
from .who import Who, who_saw
from .why import why


def create_api(parts: Parts) -> Litestar:
    """Return `/v1`, health, the description at `/schema` and the page at `/`.

    Each call of `/v1` needs a key and has a guard of its own.
    """
    current, journal, identity = parts.current, parts.journal, parts.identity
    now = parts.clock.now
    keys = parts.keys
    redelivery = Redelivery(journal, parts.workers, parts.subscriptions, now)
    states = DeliveryStates(parts.workers)
    calls = Calls(journal, identity, now)
    readers = parts.readers
    who = Who(journal, readers, current, parts.subscriptions, keys, states)

    def cursors(kind: str) -> Cursors:
        return Cursors(identity, journal, kind)

    v1 = ApiRouter(
        "/v1",
        guards=[authenticated(keys)],
        before_request=refuse_parameters,
        route_handlers=[
            events(
                journal=journal,
                cursors=cursors("events"),
                calls=calls,
                current=current,
                redelivery=redelivery,
                headers=parts.credentials.stored,
                identity=identity,
                states=states,
                subscriptions=parts.subscriptions,
                readers=readers,
                who=who,
                tracer=parts.tracer,
                now=now,
            ),
            *(
                call(
                    journal=journal,
                    hub=parts.hub,
                    cursors=cursors("events"),
                    readers=readers,
                    now=now,
                )
                for call in (stream, partial(wait, tracer=parts.tracer))
            ),
            consumers(
                journal=journal,
                hub=parts.hub,
                cursors=cursors("events"),
                list_cursors=cursors("consumers"),
                calls=calls,
                readers=readers,
                tracer=parts.tracer,
                now=now,
            ),
            deliveries(
                journal=journal,
                cursors=cursors("deliveries"),
                calls=calls,
                redelivery=redelivery,
                identity=identity,
                states=states,
                readers=readers,
                now=now,
            ),
            retries(
                journal=journal,
                calls=calls,
                redelivery=redelivery,
                identity=identity,
                states=states,
                now=now,
            ),
            send(
                journal=journal,
                calls=calls,
                redelivery=redelivery,
                workers=parts.workers,
                now=now,
            ),
            why(
                journal=journal,
                current=current,
                subscriptions=parts.subscriptions,
                states=states,
                identity=identity,
                readers=readers,
            ),
            replays(
                replays=parts.replays,
                journal=journal,
                calls=calls,
                identity=identity,
                now=now,
            ),
            sinks(
                shown=ShownSinks(
                    current=current,
                    workers=parts.workers,
                    subscriptions=parts.subscriptions,
                    journal=journal,
                    identity=identity,
                ),
                workers=parts.workers,
                subscriptions=parts.subscriptions,
                cursors=cursors("sinks"),
                calls=calls,
                samples=parts.samples,
                facts=parts.facts,
            ),
            orders(
                orders=parts.orders,
                journal=journal,
                cursors=cursors("orders"),
                calls=calls,
                identity=identity,
                readers=readers,
                sources=parts.sources,
                now=now,
            ),
            subscriptions(
                subscriptions=parts.subscriptions,
                journal=journal,
                cursors=cursors("subscriptions"),
                calls=calls,
            ),
            stats(journal=journal, states=states),
            history(parts.history, parts.disk),
            quarantine(
                journal=journal,
                cursors=cursors("quarantine"),
                calls=calls,
                keeper=parts.quarantine,
                readers=readers,
                credentials=parts.credentials,
            ),
            *explain(journal=journal, cursors=cursors("quarantine"), keeper=parts.quarantine),
            rejections(journal=journal, cursors=cursors("rejections"), counter=parts.rejections),
            sources(
                journal=journal,
                cursors=cursors("sources"),
                calls=calls,
                states=parts.sources,
                backfills=parts.backfills,
                balances=parts.balances,
                monitor=parts.source_monitor,
                rejections=parts.rejections,
                now=now,
            ),
            *callbacks(
                calls=calls,
                states=parts.sources,
                samples=parts.samples,
                facts=parts.facts,
                config=lambda: current.config,
            ),
            routes(current=current, cursors=cursors("routes")),
            alerts(alerts=parts.alerts, cursors=cursors("alerts"), calls=calls),
            *erasures(erasures=parts.erasures, calls=calls, identity=identity),
            retention(pruner=parts.pruner, calls=calls),
            seal(row_sealer=parts.row_sealer, journal=journal, calls=calls),
            api_keys(keys=keys, cursors=cursors("keys"), calls=calls, now=now),
            me(keys),
            reveal(journal=journal, readers=readers, calls=calls),
            preview(journal=journal, current=current, workers=parts.workers),
            who_saw(journal, who),
            reload(reloads=parts.reloads, keys=keys, calls=calls),
            audit(
                journal=journal,
                keeper=parts.audit,
                cursors=cursors("audit"),
                calls=calls,
                now=now,
            ),
            acts(journal=journal, keys=keys, calls=calls),
            audit_state(
                journal=journal,
                verifier=parts.audit_verifier,
                anchors=parts.anchors,
                facts=parts.facts,
                cursors=cursors("audit"),
                calls=calls,
                now=now,
            ),
            backups(config=lambda: current.config, facts=parts.facts, calls=calls),
        ],
    )
    sees_all = needs("events:read", whole=True)

    def raised(scope: Scope) -> Sequence[ShownAlert]:
        sees_all.check(authenticate(keys, scope))
        return shown_alerts(parts.alerts)

    guards: list[Guard] = []
    if current.config.server.admin_listen == "same":
        guards = [authenticated(keys), sees_all]
    scrape = metrics(parts, guards=guards)
    return _app(
        [
            v1,
            *mcp(keys),
            health(parts.ready, parts.not_ready, raised),
            scrape,
            schema(),
            index(console=current.config.console.enabled),
        ],
        keys,
        partial(parts.facts.count, "key.refused"),
    )


def create_health(
    ready: Callable[[], bool], not_ready: Callable[[], Sequence[str]] = lambda: ()
) -> Litestar:
    """Return the app behind the door of the world: health, else 404."""
    return _app([health(ready, not_ready)], None)


def _app(
    routers: Sequence[ControllerRouterHandler],
    keys: Keys | None,
    refused_key: RefusedKey = lambda _code, _name, _peer: None,
) -> Litestar:
    return Litestar(
        list(routers),
        openapi_config=None,
        exception_handlers=handlers(keys, refused_key),
        before_send=[stamp],
        request_max_body_size=MOST_BODY,
        logging_config=None,
        # Otherwise Litestar reads both from the environment. Either shows values to callers.
        debug=False,
        pdb_on_exception=False,
    )
