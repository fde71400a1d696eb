"""Sinks: list with their state, test, pause, resume."""

from collections.abc import Mapping
from functools import partial

import msgspec
from litestar import get, post
from litestar.params import FromPath

from sinks.health import Pause
from sinks.worker import Worker

from ..runtime.audit import AuditFacts
from ..runtime.samples import NoSampleSource, SampleEvents
from ..runtime.subscriptions import PREFIX, LiveSubscriptions
from .auth import ApiRequest, needs
from .deliveries import shown_answer, shown_error
from .errors import Problem, not_found
from .idempotency import Calls, MadeId
from .operation import Operation
from .paging import Cursors, PageAnswer, named_list
from .router import ApiRouter
from .shown_sinks import ShownSink, ShownSinks, WholeSink


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
    shown: ShownSinks,
    workers: Mapping[str, Worker],
    subscriptions: LiveSubscriptions,
    cursors: Cursors,
    calls: Calls,
    samples: SampleEvents,
    facts: AuditFacts,
) -> ApiRouter:
    @get("/{name:str}", guards=[needs("events:read", whole=True)], operation=Operation())
    async def one(request: ApiRequest, name: FromPath[str]) -> WholeSink:
        """Get a sink.

        With its options, and what its attempts ended with since the start of the service. Secrets
        are masked.
        """
        found = await shown.whole(request.auth, name)
        if found is None:
            raise not_found("sink")
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
        worker = _known(workers, name)
        async with calls.begin(request, reread=True) as call:
            if call.made is None:
                await worker.resume(guard=call.guard(partial(_changed, name)))
        return (await shown(request.auth, name))[name]

    listed = named_list(cursors, shown, text="List sinks.", answer=PageAnswer[ShownSink])
    return ApiRouter("/sinks", route_handlers=[listed, one, test, pause, resume])


def _known(workers: Mapping[str, Worker], name: str) -> Worker:
    if name not in workers:
        raise not_found("sink")
    return workers[name]


def _changed(name: str, _: object) -> MadeId:
    return MadeId(name)
