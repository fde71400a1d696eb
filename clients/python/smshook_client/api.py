"""The API of smshook over a transport: requests, retries, lists, waits and streams."""

import json
import random
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from contextlib import aclosing, contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import httpx

from .errors import (
    ApiError,
    ConfigurationError,
    InvalidAnswer,
    SmshookError,
    Unreachable,
    WaitTimeout,
)
from .records import Event, Item, Page
from .sse import Frame, frames
from .transport import Transport

T = TypeVar("T")

#: Seconds of one wait at the service. A longer wait is several: proxies often cut at 30.
POLL = 25.0
#: Seconds of silence after which a stream is opened again. Its heartbeat comes each 15.
SILENCE = 40.0
EVENTS = "/v1/events"
#: Seconds before the first retry, and the most. Each pause is twice as long as the one before.
_PAUSE, _LONGEST = 0.25, 15.0
_NO_CONTENT = 204


class Api:
    """Sends requests with a key, and reads the answers. It raises the errors of this package."""

    def __init__(
        self,
        url: str,
        key: str,
        transport: Transport,
        *,
        timeout: float,
        retries: int,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`timeout` is in seconds, for an answer. A GET is sent again `retries` times."""
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            parsed = httpx.URL("")
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ConfigurationError("the URL must begin with http:// or https:// and a host")
        if not key.isprintable():
            raise ConfigurationError("the API key has a character that no HTTP header may hold")
        #: The scheme, host and port: the path and the user may be secret.
        self.place = f"{parsed.scheme}://{parsed.netloc.decode()}"
        self.transport, self._url = transport, url.rstrip("/")
        # UTF-8, as the service hashes keys; httpx only accepts ASCII.
        self._headers = [(b"user-agent", b"smshook-client"), (b"accept", b"application/json, */*")]
        if key:
            self._headers.append((b"authorization", b"Bearer " + key.encode()))
        self._timeout, self._retries = timeout, retries
        self._clock, self._chance = clock, chance

    # Requests

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] = {},
        longer: float = 0.0,
        **content: Any,
    ) -> httpx.Response:
        """Return a successful answer, which may take `longer` seconds more than usual."""
        request = self._request(method, path, headers, self._timeout + longer, content)
        response = await self._answer(request, stream=False)
        _check(response, response.content)
        return response

    async def get(
        self, path: str, params: Mapping[str, Any] = {}, *, longer: float = 0.0
    ) -> httpx.Response:
        """Return the answer to a GET, which may be sent again."""
        return await self.repeat(partial(self.send, "GET", path, params=params, longer=longer))

    async def repeat(
        self, ask: Callable[[], Coroutine[Any, Any, T]], *, reached: bool = False
    ) -> T:
        """Return the result of a call, which is made again after a failure that may pass.

        `reached`: the service was reached before, so it is tried until it is back.
        """
        failures = 0
        while True:
            try:
                return await ask()
            except SmshookError as exc:
                failures += 1
                if self._is_final(exc, failures, reached=reached):
                    raise
                await self.transport.sleep(self._pause(failures, exc))

    async def page(self, path: str, params: Mapping[str, Any]) -> Page:
        answer = self.decoded(await self.get(path, params))
        try:
            return Page(list(answer["data"]), str(answer["next_cursor"]), bool(answer["has_more"]))
        except (KeyError, TypeError):
            raise self.garbled() from None

    async def pages(
        self, path: str, params: Mapping[str, Any], *, limit: int | None, size: int
    ) -> AsyncGenerator[Any, None]:
        """Yield the items of a list, at most `limit`, `size` at a time."""
        after: Mapping[str, Any] = {}
        while limit is None or limit > 0:
            most = size if limit is None else min(limit, size)
            page = await self.page(path, {**params, **after, "limit": most})
            for item in page.data:
                yield item
            if not page.has_more:
                return
            # An empty page may not be the last: the service searches a part at a time.
            after = {"after": page.next_cursor}
            limit = None if limit is None else limit - len(page.data)

    def decoded(self, response: httpx.Response) -> Any:
        """Return the JSON of an answer; None for an empty one."""
        return self._json(response.text) if response.content else None

    def _json(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            raise self.garbled() from None

    def _request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        read: float,
        content: Mapping[str, Any],
    ) -> httpx.Request:
        timeout = httpx.Timeout(self._timeout, read=read)
        return httpx.Request(
            method,
            self._url + path,
            headers=[*self._headers, *((n.encode(), v.encode()) for n, v in headers.items())],
            extensions={"timeout": timeout.as_dict()},
            **content,
        )

    async def _answer(self, request: httpx.Request, *, stream: bool) -> httpx.Response:
        with self._network_errors():
            return await self.transport.send(request, stream=stream)

    @contextmanager
    def _network_errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as exc:
            connected = not isinstance(exc, httpx.ConnectTimeout)
            text = f"no answer from {self.place} in time"
            raise Unreachable(text, connected=connected) from None
        except httpx.ConnectError:
            # The library's message may quote a header, and the key in it.
            raise Unreachable(f"cannot connect to {self.place}", connected=False) from None
        except httpx.RequestError:
            raise Unreachable(f"lost the connection to {self.place}", connected=True) from None

    # Events

    def item(self, answer: Any, *, cursor: str | None = None) -> Item:
        try:
            place = str(answer["cursor"]) if cursor is None else cursor
            return Item(place, Event.parse(answer["event"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self.garbled() from None

    async def newest(self, filters: Mapping[str, Any]) -> str | None:
        """Return the place of the newest match; None without one."""
        params = query(filters) | {"order": "desc"}
        async with aclosing(self.pages(EVENTS, params, limit=1, size=1)) as found:
            async for item in found:
                return self.item(item).cursor
        return None

    async def wait(self, filters: Mapping[str, Any], *, after: str | None, timeout: float) -> Item:
        """Return the first match after a cursor, or without one the newest match.

        Once the service was reached, a failure that may pass does not end the wait before its time.
        Raise WaitTimeout.
        """
        asked, end = query(filters), self._clock() + timeout
        failures, reached = 0, False
        while True:
            if after is not None:
                asked = {name: it for name, it in asked.items() if name != "since"}
                asked["after"] = after
            left = max(0.0, min(end - self._clock(), POLL))
            params = {**asked, "timeout": f"{left:.3f}"}
            try:
                response = await self.send("GET", f"{EVENTS}/wait", params=params, longer=left)
            except SmshookError as exc:
                failures += 1
                reached = reached or isinstance(exc, ApiError) or getattr(exc, "connected", False)
                pause = self._pause(failures, exc)
                if self._is_final(exc, failures, reached=reached) or self._clock() + pause > end:
                    raise
                after = exc.cursor or after
                await self.transport.sleep(pause)
                continue
            if response.status_code != _NO_CONTENT:
                return self.item(self.decoded(response))
            if self._clock() >= end:
                raise WaitTimeout(f"no matching event came within {timeout:g} s")
            # The next part begins at the cursor of this one, so that it misses nothing.
            failures, reached, after = 0, True, response.headers.get("smshook-cursor")
            if after is None:
                raise self.garbled()

    async def stream(
        self, filters: Mapping[str, Any], *, after: str | None, reconnect: bool
    ) -> AsyncGenerator[Item, None]:
        """Yield the matches after a cursor, or from now on, until the connection ends.

        With `reconnect` go on behind the last event then. Raise an error if the service was never
        reached, or if it refuses.
        """
        asked = query(filters)
        # With a place from the beginning, a cut before the first event loses nothing.
        place = (await self.newest(around(asked)) or "start") if after is None else after
        failures, reached = 0, False
        while True:
            cause: SmshookError | None = None
            try:
                async with aclosing(self._frames({**asked, "after": place})) as received:
                    async for frame in received:
                        failures, reached = 0, True
                        if frame is not None:
                            yield self.item({"event": self._json(frame.data)}, cursor=frame.id)
                            place = frame.id
            except SmshookError as exc:
                cause, reached = exc, reached or isinstance(exc, ApiError)
                if not reconnect or self._is_final(exc, failures + 1, reached=reached):
                    raise
            if not reconnect:
                return
            failures += 1
            await self.transport.sleep(self._pause(failures, cause))

    async def _frames(self, params: Mapping[str, Any]) -> AsyncGenerator[Frame | None, None]:
        """Yield the frames of one connection."""
        request = self._request("GET", f"{EVENTS}/stream", {}, SILENCE, {"params": params})
        response = await self._answer(request, stream=True)
        try:
            with self._network_errors():
                chunks = self.transport.chunks(response)
                if not response.is_success:
                    _check(response, b"".join([chunk async for chunk in chunks]))
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    raise self.garbled()
                async for frame in frames(chunks):
                    yield frame
        finally:
            await self.transport.release(response)

    # Failures

    def _is_final(self, exc: SmshookError, failures: int, *, reached: bool) -> bool:
        """Return whether a retry cannot help. A service that was reached once will be back."""
        return not exc.is_temporary or (not reached and failures > self._retries)

    def _pause(self, failures: int, exc: SmshookError | None) -> float:
        """Return the seconds until the next try: as the service said, or longer each time."""
        pause = min(_PAUSE * 2.0 ** min(failures - 1, 10), _LONGEST) * (0.5 + self._chance() / 2)
        return max(pause, exc.retry_after or 0.0) if exc else pause

    def garbled(self) -> InvalidAnswer:
        return InvalidAnswer(f"the server at {self.place} is not the API of smshook")


def _check(response: httpx.Response, body: bytes) -> None:
    """Raise the problem that an error response describes."""
    if response.is_success:
        return
    after = response.headers.get("retry-after", "")
    try:
        problem = json.loads(body)
        code, detail = str(problem["code"]), str(problem.get("detail") or "")
        request_id = problem.get("request_id")
    except (ValueError, KeyError, TypeError, AttributeError):
        code, detail, request_id, problem = response.reason_phrase, "", None, {}
    raise ApiError(
        response.status_code,
        code,
        detail,
        request_id=request_id,
        retry_after=float(after) if after.isdecimal() else None,
        cursor=response.headers.get("smshook-cursor"),
        problem=problem,
    )


def query(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Return filters as parameters of a query; None is no filter."""
    return {name: _parameter(name, it) for name, it in filters.items() if it is not None}


def around(filters: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the filters of the newest event, before the first one of a reader that begins now."""
    types = filters.get("type", ())
    types = [types] if isinstance(types, str) else types
    if not any(one.startswith("system.") for one in types):
        return {}
    # Lists have such events only by their type. With a common one beside it, a page is enough.
    return {"type": [*types, "sms.received"]}


def _parameter(name: str, value: Any) -> Any:
    match value:
        case timedelta():
            return f"{value // timedelta(milliseconds=1)}ms"
        case datetime() if value.tzinfo is None:
            raise ValueError(f"{name}: give the time a zone, such as datetime.now(UTC)")
        case datetime():
            return value.isoformat()
        case bool() | str() | int() | float() | Mapping():
            return value
    values = list(value)
    if not values:
        # Without a value there would be no filter, and all events would match.
        raise ValueError(f"{name}: empty; give a value, or leave it out")
    return values
