"""The tools: each is a Struct of its arguments, and calls the API with the key of the caller."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote

import msgspec
from msgspec import UNSET, Meta, UnsetType

from smshook_client import AsyncClient, SmshookError, WaitTimeout

#: Reports the progress of a wait: the seconds passed, and the seconds in all.
Progress = Callable[[float, float], Awaitable[None]]

_EVENTS = "/v1/events"
_MOST_EVENTS = 100
#: Seconds of the longest wait, and between two reports of it.
_LONGEST, _EACH = 600, 2.0

Text = Annotated[str, Meta(min_length=1, max_length=255)]
Id = Text | int


class Tool(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The arguments of a tool. The docstring of each subclass is its description."""

    tool: ClassVar[str]
    title: ClassVar[str]
    is_read_only: ClassVar[bool] = True

    async def call(self, client: AsyncClient, progress: Progress) -> dict[str, Any]:
        """Return the result. Raise SmshookError with a text for the caller."""
        raise NotImplementedError

    def given(self, *without: str) -> dict[str, Any]:
        """Return the arguments that were given, by name."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return {n: value for n, value in values.items() if value is not UNSET and n not in without}


class OrderTool(Tool, frozen=True, kw_only=True):
    """Register a phone number that was taken at an SMS provider, before a form sends a code to it.

    Give the source and exactly one of request_id, activation_id and rental_id, or only the number.
    Registering the same order again is harmless. The result has the order, and in `wait` the
    arguments for wait_for_code. smshook does not buy numbers. Needs the scope subscriptions:write.
    """

    tool = "register_order"
    title = "Register an order"
    is_read_only = False

    source: Annotated[Text, Meta(description="Name of the source in smshook, such as tellabot.")]
    request_id: Annotated[Id | UnsetType, Meta(description="Id of a request (TellABot).")] = UNSET
    activation_id: Annotated[
        Id | UnsetType, Meta(description="Id of an activation (HeroSMS and its dialect).")
    ] = UNSET
    rental_id: Annotated[Id | UnsetType, Meta(description="Id of a rental.")] = UNSET
    number: Annotated[
        Text | UnsetType, Meta(description="The number with its country's code: +18503814729.")
    ] = UNSET
    service: Annotated[
        Text | UnsetType, Meta(description="The service that will send the code, such as Google.")
    ] = UNSET
    country: Annotated[Text | UnsetType, Meta(description="Two letters, such as US.")] = UNSET
    reference: Annotated[
        Text | UnsetType, Meta(description="Your own name for the order, to find its events by.")
    ] = UNSET
    labels: Annotated[
        dict[str, str] | UnsetType, Meta(description="Labels that routes can match.")
    ] = UNSET
    expires: Annotated[
        Text | UnsetType, Meta(description="RFC 3339, or how long from now, such as 30m.")
    ] = UNSET

    async def call(self, client: AsyncClient, progress: Progress) -> dict[str, Any]:  # noqa: ARG002 - of all tools
        order = await client.order(**self.given())
        after = {} if order.cursor is None else {"after": order.cursor}
        return {"order": order.record, "wait": {**order.filters, **after}}


class EventTool(Tool, frozen=True, kw_only=True):
    """The filters of events that tools share."""

    source: Annotated[Text | UnsetType, Meta(description="Name of a source.")] = UNSET
    number: Annotated[
        Text | UnsetType, Meta(description="The number that receives, with its country's code.")
    ] = UNSET
    service: Annotated[
        Text | UnsetType, Meta(description="Key, name or provider's id of the sending service.")
    ] = UNSET
    subject: Annotated[
        Text | UnsetType, Meta(description="Subject of events, such as request/10000001.")
    ] = UNSET
    request_id: Annotated[Id | UnsetType, Meta(description="Id of a request (TellABot).")] = UNSET
    activation_id: Annotated[
        Id | UnsetType, Meta(description="Id of an activation (HeroSMS and its dialect).")
    ] = UNSET
    rental_id: Annotated[Id | UnsetType, Meta(description="Id of a rental.")] = UNSET
    reference: Annotated[
        Text | UnsetType, Meta(description="Reference of the order, as it was registered.")
    ] = UNSET
    since: Annotated[
        Text | UnsetType,
        Meta(description="Accepted since: RFC 3339, or a duration ago, such as 2m."),
    ] = UNSET
    after: Annotated[
        Text | UnsetType, Meta(description="A cursor: only events after this place.")
    ] = UNSET


class CodeTool(EventTool, frozen=True, kw_only=True):
    """Wait for an SMS code, and return it as soon as it is there.

    The arguments are those in `wait` of register_order. Otherwise name an id, a subject or a
    reference, or give since or after, so that no old code is returned. Without `after` it returns
    the newest matching code, at once if it is there. After "send again", pass the cursor of the
    last result as `after`: then it returns the next code. Needs the scope codes:read.
    """

    tool = "wait_for_code"
    title = "Wait for a code"

    timeout: Annotated[
        float, Meta(ge=0, le=_LONGEST, description="Seconds to wait, at most 600.")
    ] = 50.0

    async def call(self, client: AsyncClient, progress: Progress) -> dict[str, Any]:
        try:
            async with _reporting(progress, self.timeout):
                code = await client.wait_for_code(self.timeout, **self.given("timeout"))
        except WaitTimeout:
            raise SmshookError(
                f"no code came within {self.timeout:g} s; to keep waiting, call wait_for_code "
                "again with the same arguments; list_events shows the events that came"
            ) from None
        event = code.event
        return {
            "code": str(code),
            "text": event.text,
            "number": event.number,
            "service": event.data.get("service"),
            "event_id": event.id,
            "recordedtime": event.body["recordedtime"],
            "cursor": code.cursor,
        }


class ListTool(EventTool, frozen=True, kw_only=True):
    """List events: received SMS, calls, rentals and orders, the newest first.

    Texts and codes are masked (***) without the scope codes:read. To continue, pass next_cursor as
    `after` with the same filters and order, while has_more is true.
    """

    tool = "list_events"
    title = "List events"

    type: Annotated[
        Text | UnsetType, Meta(description="Type of the events, such as sms.received.")
    ] = UNSET
    code: Annotated[bool | UnsetType, Meta(description="True: only events with a code.")] = UNSET
    until: Annotated[
        Text | UnsetType, Meta(description="Accepted before: RFC 3339, or a duration ago.")
    ] = UNSET
    order: Annotated[
        Literal["asc", "desc"], Meta(description="Oldest first (asc) or newest first (desc).")
    ] = "desc"
    limit: Annotated[
        int, Meta(ge=1, le=_MOST_EVENTS, description="Most events to return, at most 100.")
    ] = 20

    async def call(self, client: AsyncClient, progress: Progress) -> dict[str, Any]:  # noqa: ARG002 - of all tools
        page = await client.page(_EVENTS, self.given())
        return {
            "events": list(page.data),
            "next_cursor": page.next_cursor,
            "has_more": page.has_more,
        }


class WhyTool(Tool, frozen=True, kw_only=True):
    """Explain what happened to one event: use it when an event did not arrive where it should.

    The result has the arrival of the event, its copies, each route and subscription with the first
    clause that fails, and each delivery with the reason of its wait and its last error. If there is
    no event at all, list_events shows the events that came.
    """

    tool = "why"
    title = "Why an event did not arrive"

    event_id: Annotated[Text, Meta(description="Id of the event, as list_events shows it.")]

    async def call(self, client: AsyncClient, progress: Progress) -> dict[str, Any]:  # noqa: ARG002 - of all tools
        path = f"{_EVENTS}/{quote(self.event_id, safe='')}/why"
        found: dict[str, Any] = await client.get(path)
        return found


@asynccontextmanager
async def _reporting(progress: Progress, total: float) -> AsyncIterator[None]:
    """Report the time that passes, so that the program does not give up on the call."""
    now = asyncio.get_running_loop().time

    async def report() -> None:
        began = now()
        while True:
            await progress(now() - began, total)
            await asyncio.sleep(_EACH)

    reporting = asyncio.create_task(report())
    # A program that is gone gets no report. The end of its call is noticed elsewhere.
    reporting.add_done_callback(lambda task: task.cancelled() or task.exception())
    try:
        yield
    finally:
        reporting.cancel()


TOOLS: tuple[type[Tool], ...] = (OrderTool, CodeTool, ListTool, WhyTool)


def input_schema(tool: type[Tool]) -> dict[str, Any]:
    """Return the JSON Schema of the arguments, in one piece."""
    _, components = msgspec.json.schema_components([tool])
    schema = dict(components[tool.__name__])
    # Its own title and description are those of the tool.
    del schema["title"], schema["description"]
    return schema


def read_arguments(tool: type[Tool], arguments: Mapping[str, Any]) -> Tool:
    """Return the arguments, checked. Raise msgspec.ValidationError, which repeats no value.

    Some programs send null for a missing argument, and numbers as texts.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    return msgspec.convert(given, tool, strict=False)
