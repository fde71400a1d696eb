"""Sinks: list with their state, test, pause, resume."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial

import msgspec
from litestar import post
from litestar.params import FromPath

from journal import Journal
from journal.reads import PendingBySink, SinkRecords
from journal.records import SinkRecord
from sinks.health import Pause
from sinks.worker import Worker

from ..runtime.audit import AuditFacts
from ..runtime.current import Current
from ..runtime.keys import Access
from ..runtime.samples import NoSampleSource, SampleEvents
from ..runtime.subscriptions import PREFIX, LiveSubscriptions
from .auth import ApiRequest, needs
from .deliveries import shown_answer, shown_error, utc
from .errors import Problem, not_found
from .idempotency import Calls, MadeId
from .operation import Operation
from .paging import Cursors, PageAnswer, named_list
from .parameters import NoParameters, read
from .router import ApiRouter


class ShownError(msgspec.Struct, frozen=True, kw_only=True):
    """The last attempt that failed or was refused."""

    at: datetime
    error: str | None
    status: int | None


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
    failing_since: datetime | None
    last_success_at: datetime | None
    last_error: ShownError | None


class ShownTest(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a sample sent to a sink."""

    outcome: str
    status: int | None
    error: str | None
    took_ms: float
    #: The request; the sink's own secrets are masked. Null in the repeated answer to a call with
    #: the same `Idempotency-Key`.
    request: str | None
    #: The beginning of the answer, for keys with codes:read.
    answer: str | None


def sinks(
    *,
    current: Current,
    workers: Mapping[str, Worker],
    subscriptions: LiveSubscriptions,
    journal: Journal,
    cursors: Cursors,
    calls: Calls,
    samples: SampleEvents,
    facts: AuditFacts,
) -> ApiRouter:
    async def shown(access: Access, *names: str) -> dict[str, ShownSink]:
        records, owed = await journal.ask(SinkRecords()), await journal.ask(PendingBySink())
        types = {
            name: str(sink.__struct_config__.tag) for name, sink in current.config.sinks.items()
        }
        types |= {live.name: "subscription" for live in subscriptions}
        gone = [name for name in owed if name not in types]
        found = {}
        for name in names or (*types, *gone):
            record = records.get(name) or SinkRecord(name=name)
            found[name] = _sink(
                record, types.get(name), workers.get(name), owed.get(name, 0), access
            )
        return found

    @post(
        "/{name:str}/test",
        status_code=200,
        guards=[needs("deliveries:write", whole=True)],
        operation=Operation(errors=("no_source",)),
    )
    async def test(request: ApiRequest, name: FromPath[str]) -> ShownTest:
        """Test a sink.

        It gets a sample at once.
        """
        read(request.scope, NoParameters)
        worker = _known(workers, name)
        async with calls.begin(request) as call:
            try:
                event_id, body = samples.make()
            except NoSampleSource:
                text = "no configured source has samples; configure one"
                raise Problem(409, "no_source", text) from None
            live = subscriptions.get(name.removeprefix(PREFIX))
            if live is None:
                tested = await worker.test(event_id, body)
            else:
                tested = await subscriptions.test(live, event_id, body)
            attempt = tested.attempt
            facts.add("sink.tested", {"sink": name, "outcome": attempt.outcome})
            result = ShownTest(
                outcome=attempt.outcome,
                status=attempt.status,
                error=shown_error(attempt.error, name, request.auth),
                took_ms=attempt.took_ms,
                request=tested.request,
                answer=shown_answer(attempt.answer, request.auth),
            )
            # The request is a message. The answer of the sink may repeat it.
            await call.keep(msgspec.structs.replace(result, request=None, answer=None), 200)
        return result

    @post(
        "/{name:str}/pause",
        status_code=200,
        guards=[needs("deliveries:write", whole=True)],
        operation=Operation(),
    )
    async def pause(request: ApiRequest, name: FromPath[str]) -> ShownSink:
        """Pause a sink.

        Its deliveries wait.
        """
        read(request.scope, NoParameters)
        worker = _known(workers, name)
        async with calls.begin(request, reread=True) as call:
            if call.made is None:
                await worker.pause(Pause.OPERATOR, call.guard(partial(_changed, name)))
        return (await shown(request.auth, name))[name]

    @post(
        "/{name:str}/resume",
        status_code=200,
        guards=[needs("deliveries:write", whole=True)],
        operation=Operation(),
    )
    async def resume(request: ApiRequest, name: FromPath[str]) -> ShownSink:
        """Resume a sink."""
        read(request.scope, NoParameters)
        worker = _known(workers, name)
        async with calls.begin(request, reread=True) as call:
            if call.made is None:
                await worker.resume(guard=call.guard(partial(_changed, name)))
        return (await shown(request.auth, name))[name]

    listed = named_list(cursors, shown, text="List sinks.", answer=PageAnswer[ShownSink])
    return ApiRouter("/sinks", route_handlers=[listed, test, pause, resume])


def _known(workers: Mapping[str, Worker], name: str) -> Worker:
    if name not in workers:
        raise not_found("sink")
    return workers[name]


def _changed(name: str, _: object) -> MadeId:
    return MadeId(name)


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


def _sink(
    record: SinkRecord, type_: str | None, worker: Worker | None, owed: int, access: Access
) -> ShownSink:
    return ShownSink(
        name=record.name,
        type=type_,
        state=state_of(worker),
        paused_by=record.paused,
        paused_at=utc(record.paused_at),
        owed=owed,
        failing_since=utc(record.failing_since),
        last_success_at=utc(record.last_success_at),
        last_error=last_error_of(record, access),
    )
