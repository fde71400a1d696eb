"""Filters of events on the command line, and events over restarts of the service."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any

from core.event import kinds
from smshook_client import AsyncClient, Item
from smshook_client.api import around

from .client import ApiClient, ApiProblem, api_failures
from .command import Failure, Named
from .connection import Address
from .lists import Filter

#: The filters of events, as of `events list`.
FILTERS = (
    Filter(
        "type",
        "Of this type, such as sms.received.",
        "TYPE",
        type=Named("type", [kind.type for kind in kinds()]),
    ),
    Filter("source", "From this source.", "NAME", names="sources"),
    Filter("subject", "About this subject, such as request/10000001.", "TEXT"),
    Filter("service", "For this service: its key, name or the provider's id.", "TEXT"),
    Filter("number", "To this phone number, with its country's code.", "NUMBER"),
    Filter("request-id", "Of this request (TellABot).", "ID"),
    Filter("activation-id", "Of this activation (SMS-Activate's dialect).", "ID"),
    Filter("rental-id", "Of this rental.", "ID"),
    Filter("reference", "Of the order with this reference.", "TEXT"),
    Filter("code", "With a code.", is_flag=True),
)
_EVENTS = "/v1/events"
#: Seconds between two tries to reach the service.
_AGAIN = 1.0
#: Answers after which another try may succeed.
_BUSY = frozenset({429, 502, 503, 504})


def filter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add an option for each filter of events."""
    for each in reversed(FILTERS):
        command = each.option()(command)
    return command


def asked(client: ApiClient, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the query parameters of the typed filters."""
    parameters: dict[str, Any] = {}
    for each in FILTERS:
        name = each.name.replace("-", "_")
        if given[name]:
            parameters[name] = each.checked(client, _EVENTS, given[name])
    return parameters


def newest_place(client: ApiClient, filters: Mapping[str, Any]) -> str:
    """Return the cursor of the newest event: from there, a restart of the service loses nothing.

    No event that the filters select comes before it.
    """
    params = {**around(filters), "order": "desc", "limit": 1}
    return str(client.get(_EVENTS, params)["next_cursor"])


async def follow(
    find: Callable[[], Address], filters: Mapping[str, Any], after: str
) -> AsyncIterator[Item]:
    """Yield the matches after a cursor; connect again whenever the connection is lost.

    `find` returns the current address of the service, or raises Failure. Raise ApiProblem if the
    service refuses.
    """
    while True:
        try:
            with api_failures():
                async with (
                    AsyncClient(*find(), retries=0) as client,
                    aclosing(client.stream(after, reconnect=False, **filters)) as items,
                ):
                    async for item in items:
                        after = item.cursor
                        yield item
        except ApiProblem as exc:
            if exc.status not in _BUSY:
                raise
        except Failure:
            pass
        await asyncio.sleep(_AGAIN)
