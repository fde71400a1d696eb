"""The clients: one set of calls, for programs with and without an event loop."""

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Self, Unpack
from urllib.parse import quote

from .api import EVENTS, POLL, Api, query
from .binding import Blocking, Waiting, call, iteration, opening
from .errors import ConfigurationError, SmshookError
from .records import Batch, Code, Event, Filters, Item, Page
from .transport import AsyncioTransport, BlockingTransport, Transport, Verify

#: Seconds for an answer: the disk of the service may be busy.
TIMEOUT = 30.0
_ORDERS = "/v1/orders"
_MASKED = "***"
#: Items of a page: as many as the API gives.
_PAGE = 1000


async def _code(api: Api, filters: Mapping[str, Any], *, after: str | None, timeout: float) -> Code:
    found = await api.wait({**filters, "code": True}, after=after, timeout=timeout)
    if found.event.code == _MASKED:
        raise SmshookError("the code is masked: the API key needs the scope codes:read")
    return Code(found.event.code or "", found.cursor, found.event)


@dataclass(repr=False)
class _OpenOrder:
    """An order, and how far its codes were read."""

    api: Api
    record: Mapping[str, Any]
    filters: Mapping[str, Any]
    after: str | None


class _OrderCalls:
    """A number that was taken. `record` is the order as the API shows it."""

    def __init__(self, opened: _OpenOrder) -> None:
        self._opened = opened
        self.record = opened.record

    @property
    def id(self) -> str:
        return str(self.record["id"])

    @property
    def number(self) -> str | None:
        """The number in E.164, if it is known."""
        number: str | None = self.record["number"]
        return number

    @property
    def filters(self) -> Mapping[str, Any]:
        """The filters that select its events."""
        return self._opened.filters

    @property
    def cursor(self) -> str | None:
        """The place of the last code. Codes up to it are not returned again."""
        return self._opened.after

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    @call
    async def wait_for_code(self, timeout: float = 60) -> Code:
        """Return the next code of the order, at once if it is there. Raise WaitTimeout.

        The first call returns the newest code. Each further call returns the one after it: use it
        after "send again". `timeout` is in seconds.
        """
        opened = self._opened
        code = await _code(opened.api, opened.filters, after=opened.after, timeout=timeout)
        opened.after = code.cursor
        return code

    @call
    async def cancel(self) -> None:
        """End the order in smshook, without an event. Its provider is not notified."""
        await self._opened.api.send("DELETE", f"{_ORDERS}/{self.id}")


class Order(_OrderCalls, Blocking):
    """A number that was taken, of a `Client`."""


class AsyncOrder(_OrderCalls, Waiting):
    """A number that was taken, of an `AsyncClient`."""


class _ConsumerCalls:
    """A named reader. smshook keeps its place; a new one begins at the oldest event."""

    def __init__(self, api: Api, name: str) -> None:
        self._api, self.name = api, name
        self._path = f"/v1/consumers/{quote(name, safe='')}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    @call
    async def events(self, limit: int = 100, wait: float = 0) -> Batch:
        """Return the events after the place of the consumer, which stays.

        Without an event, wait for one, at most `wait` seconds.
        """
        return await self._batch(limit, wait)

    @call
    async def commit(self, cursor: str) -> None:
        """Move the place: the events up to the cursor are handled."""
        await self._commit(cursor)

    @call
    async def seek(self, *, cursor: str | None = None, time: datetime | str | None = None) -> None:
        """Move the place, forwards or backwards, to a cursor or a time."""
        given = time.isoformat() if isinstance(time, datetime) else time
        body = {"cursor": cursor, "time": given}
        body = {name: value for name, value in body.items() if value is not None}
        await self._api.send("POST", f"{self._path}/seek", json=body)

    @iteration
    async def follow(self, limit: int = 100) -> AsyncGenerator[Item, None]:
        """Yield the events without end, at least once each.

        The place moves when a batch of at most `limit` is handled: when its last event was yielded
        and the next one is asked for. After a crash, the batch comes again.
        """
        batch = await self._batch(limit, POLL)
        while True:
            for item in batch.items:
                yield item
            # An empty batch may not be the last: the service searches a part at a time.
            if batch.items or batch.has_more:
                await self._api.repeat(partial(self._commit, batch.cursor), reached=True)
            batch = await self._api.repeat(partial(self._batch, limit, POLL), reached=True)

    async def _batch(self, limit: int, wait: float) -> Batch:
        params = {"limit": limit, "wait": f"{wait:.3f}"}
        response = await self._api.get(f"{self._path}/events", params, longer=wait)
        answer = self._api.decoded(response)
        try:
            items = [self._api.item(item) for item in answer["data"]]
            return Batch(items, str(answer["next_cursor"]), bool(answer["has_more"]))
        except (KeyError, TypeError):
            raise self._api.garbled() from None

    async def _commit(self, cursor: str) -> None:
        await self._api.send("POST", f"{self._path}/commit", json={"cursor": cursor})


class Consumer(_ConsumerCalls, Blocking):
    """A named reader, of a `Client`."""


class AsyncConsumer(_ConsumerCalls, Waiting):
    """A named reader, of an `AsyncClient`."""


class _Calls:
    """The calls of a client. All times are in seconds."""

    _transport: ClassVar[type[BlockingTransport | AsyncioTransport]]

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        timeout: float = TIMEOUT,
        retries: int = 5,
        verify: Verify = True,
        transport: Transport | None = None,
    ) -> None:
        """Without `url` and `key`, take `SMSHOOK_URL` and `SMSHOOK_API_KEY`.

        An empty key means no key. `timeout` is for an answer. A GET that failed is sent again
        `retries` times. `verify` is a context with the certificates to trust. `transport` replaces
        the network.
        """
        url = os.environ.get("SMSHOOK_URL") if url is None else url
        key = os.environ.get("SMSHOOK_API_KEY") if key is None else key
        if not url:
            raise ConfigurationError("no URL of smshook: set SMSHOOK_URL, or give url")
        if key is None:
            raise ConfigurationError("no API key: set SMSHOOK_API_KEY, or give key")
        # A variable that was read from a file may end its line.
        key = key.rstrip("\r\n")
        transport = transport or self._transport(verify)
        self._api = Api(url, key, transport, timeout=timeout, retries=retries)

    @call
    async def close(self) -> None:
        await self._api.transport.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._api.place}>"

    @opening(Order, AsyncOrder)
    async def order(  # noqa: PLR0913 - an order has these fields
        self,
        source: str,
        *,
        request_id: str | int | None = None,
        activation_id: str | int | None = None,
        rental_id: str | int | None = None,
        number: str | None = None,
        service: str | None = None,
        country: str | None = None,
        price: Mapping[str, Any] | str | None = None,
        reference: str | None = None,
        labels: Mapping[str, str] | None = None,
        expires: datetime | timedelta | str | None = None,
    ) -> _OpenOrder:
        """Register a number that you took from the provider of a source.

        Give exactly one id, or only the number. Registering it again returns the same order.
        """
        given = {
            "source": source,
            "request_id": request_id,
            "activation_id": activation_id,
            "rental_id": rental_id,
            "number": number,
            "service": service,
            "country": country,
            "price": price,
            "reference": reference,
            "labels": labels,
            "expires": expires,
        }
        record = self._api.decoded(await self._api.send("POST", _ORDERS, json=query(given)))
        try:
            named = [name for name in ("request_id", "activation_id", "rental_id") if record[name]]
            filters = {"source": source, **{name: record[name] for name in named}}
            if not named:
                filters |= {"number": record["number"], "since": record["created_at"]}
        except (KeyError, TypeError):
            raise self._api.garbled() from None
        # A rental receives many codes: skip those that came before.
        after = await self._api.newest({**filters, "code": True}) if rental_id else None
        return _OpenOrder(self._api, record, filters, after)

    @call
    async def wait(
        self, timeout: float = 60, *, after: str | None = None, **filters: Unpack[Filters]
    ) -> Item:
        """Return the first match after a cursor, or without one the newest since `since`.

        Give `after`, `since`, `subject`, an id of an order or a `reference`. Raise WaitTimeout.
        """
        return await self._api.wait(filters, after=after, timeout=timeout)

    @call
    async def wait_for_code(
        self, timeout: float = 60, *, after: str | None = None, **filters: Unpack[Filters]
    ) -> Code:
        """Return the code of the event that `wait` would return.

        To get the next code after "send again", pass `after=code.cursor`.
        """
        return await _code(self._api, filters, after=after, timeout=timeout)

    @iteration
    async def stream(
        self, after: str | None = None, *, reconnect: bool = True, **filters: Unpack[Filters]
    ) -> AsyncGenerator[Item, None]:
        """Yield matching events as they come, without end.

        `after` is a cursor, or `start` for the oldest; without it, the stream begins now. After a
        cut it continues behind the last event, without gap or repeat; without `reconnect` it ends.
        """
        items = self._api.stream(filters, after=after, reconnect=reconnect)
        async with aclosing(items):
            async for item in items:
                yield item

    @iteration
    async def events(
        self,
        *,
        after: str | None = None,
        order: str = "asc",
        limit: int | None = None,
        **filters: Unpack[Filters],
    ) -> AsyncGenerator[Item, None]:
        """Yield the stored events, in the order of acceptance or (`desc`) the newest first."""
        params = query({**filters, "order": order, "after": after})
        async with aclosing(self._api.pages(EVENTS, params, limit=limit, size=_PAGE)) as items:
            async for item in items:
                yield self._api.item(item)

    @call
    async def event(self, event_id: str) -> Event:
        """Return one event. Raise ApiError (`not_found`)."""
        answer = self._api.decoded(await self._api.get(f"{EVENTS}/{quote(event_id, safe='')}"))
        return self._api.item(answer, cursor="").event

    # Any other call of the API

    @call
    async def get(self, path: str, params: Mapping[str, Any] = {}) -> Any:
        """Return the JSON of an answer. `path` begins with `/`."""
        return self._api.decoded(await self._api.get(path, params))

    @call
    async def post(
        self,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] = {},
    ) -> Any:
        """Send a body, as JSON or as it is, and return the JSON of the answer."""
        answer = await self._api.send("POST", path, headers=headers, json=json, content=content)
        return self._api.decoded(answer)

    @call
    async def patch(self, path: str, *, json: Any) -> Any:
        """Send the fields to change, as JSON, and return the JSON of the answer."""
        return self._api.decoded(await self._api.send("PATCH", path, json=json))

    @call
    async def delete(self, path: str) -> Any:
        return self._api.decoded(await self._api.send("DELETE", path))

    @call
    async def page(self, path: str, params: Mapping[str, Any] = {}) -> Page:
        """Return a page of a list."""
        return await self._api.page(path, params)

    @iteration
    async def pages(
        self,
        path: str,
        params: Mapping[str, Any] = {},
        *,
        limit: int | None = None,
        size: int = _PAGE,
    ) -> AsyncGenerator[Any, None]:
        """Yield the items of a list, at most `limit`; a page has `size`."""
        async with aclosing(self._api.pages(path, params, limit=limit, size=size)) as items:
            async for item in items:
                yield item


class Client(_Calls, Blocking):
    """A client for programs without an event loop; use it in `with`."""

    _transport = BlockingTransport

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def consumer(self, name: str) -> Consumer:
        """Return a named reader. Its name belongs to the key."""
        return Consumer(self._api, name)


class AsyncClient(_Calls, Waiting):
    """A client for asyncio; use it in `async with`. Its methods are those of `Client`, awaited."""

    _transport = AsyncioTransport

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()

    def consumer(self, name: str) -> AsyncConsumer:
        """Return a named reader. Its name belongs to the key."""
        return AsyncConsumer(self._api, name)
