"""Callbacks of a source: the URL that its provider calls, and samples."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from journal.actor import ACTING
from journal.audit.lines import Fact
from receiver.intake import Accepted
from receiver.source_state import SourceState

from ..config.options import Config, host_and_port
from ..config.urls import callback_url, url_at
from ..runtime.audit import AuditFacts
from ..runtime.readers import clean_reason
from ..runtime.samples import NoSampleSource, SampleEvents
from .auth import ApiRequest, in_process, needs
from .errors import Problem, not_found
from .handlers import request_id
from .idempotency import Calls, MadeId
from .operation import Operation


class CallbackUrl(msgspec.Struct, frozen=True, kw_only=True):
    """The whole callback URL of a source."""

    #: Who has it can send callbacks.
    url: str


def callbacks(
    *,
    calls: Calls,
    states: Mapping[str, SourceState],
    samples: SampleEvents,
    facts: AuditFacts,
    config: Callable[[], Config],
) -> Sequence[HTTPRouteHandler]:
    """Declare the calls."""

    def known(name: str) -> SourceState:
        if name not in states:
            raise not_found("source")
        return states[name]

    @post(
        "/sources/{name:str}/sample",
        status_code=200,
        guards=[needs("deliveries:write", whole=True)],
        operation=Operation(errors=("no_source",)),
    )
    async def sample(request: ApiRequest, name: FromPath[str]) -> Accepted:
        """Send a sample of a source.

        It is recorded and delivered as a message of the provider; its `data.sample` is true.
        """
        state = known(name)
        async with calls.begin(request) as call:
            try:
                accepted = await samples.send(
                    state,
                    peer=ACTING.get().peer or "",
                    request_id=request_id(request.scope),
                    guard=call.guard(Accepted.of),
                )
            except NoSampleSource:
                raise Problem(409, "no_source", f"sources.{name} has no samples") from None
            facts.add("source.tested", {"source": name})
        return accepted

    @post(
        "/sources/{name:str}/url",
        status_code=200,
        guards=[needs("admin", whole=True)],
        operation=Operation(errors=("no_url",)),
    )
    async def url(request: ApiRequest, name: FromPath[str]) -> CallbackUrl:
        """Get the callback URL of a source.

        It has the current token. The audit log keeps who read it.
        """
        state, server = known(name), config().server
        begin = server.public_url or url_at(*host_and_port(server.listen))
        whole = callback_url(begin, name, state.source)
        if whole is None:
            raise Problem(409, "no_url", f"sources.{name} has only sha256 tokens, or none")
        async with calls.begin(request, reread=True) as call:
            inside = in_process(request.scope)
            why = {"reason": clean_reason(inside.reason)} if inside and inside.reason else {}
            its = {**ACTING.get().fields, "source": name, **why}
            await facts.record(Fact("source.url_read", its))
            if call.made is None:
                await call.keep(MadeId(name), 200)
        return CallbackUrl(url=whole)

    return sample, url
