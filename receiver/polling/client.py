"""Asks a provider what its poll wants to know, at the pace that it bears.

async with open_client(source) as client:
    async for item in client.poll(known, since=…, now=…):
        Found: to be accepted; Listed, Ended, Balance: for orders and account; last the Summary
"""

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Protocol

import httpx
import msgspec

from .options import PollingSettings
from .questions import (
    Ask,
    BadKey,
    Balance,
    Busy,
    Ended,
    FoundMessage,
    Known,
    ListedOrder,
    Notice,
    Poll,
    PollMemory,
    ProviderAnswer,
    Switch,
    Unreadable,
)

#: Of one answer: 100 rows of history are a tenth of it.
MOST_READ = 1024 * 1024
#: A larger answer is read in a thread: a megabyte of JSON takes a second if it must be mended.
LARGE = 32 * 1024
#: Steps of a poll, after which others have their turn: an answer may list thousands of rows.
TURN = 100
#: For one call, in seconds.
PATIENCE = 20.0
#: Waits in seconds after an answer that says: not now. Then the poll ends; the next is soon.
WAITS = (5.0, 15.0, 45.0)
#: A longer Retry-After ends the poll, too.
LONGEST_WAIT = 120.0

# They write URLs and headers, and there is a key in each.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A call that brought nothing."""

    command: str
    #: `bad_key`, `busy` or `unreadable`.
    kind: str
    #: In our words, without a value.
    detail: str
    #: Seconds, where the provider said how long to leave it alone.
    retry_after: float | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a poll."""

    #: Calls answered or not, those that were made again included.
    asked: int
    found: int
    errors: tuple[Trouble, ...]
    notices: tuple[Notice, ...]
    #: All was asked and understood: the next poll need not look further back than this one began.
    complete: bool


class Pollable(Protocol):
    """What a PollingClient needs of a source."""

    def polling_settings(self) -> PollingSettings: ...

    def poll(
        self, known: Sequence[Known], *, since: datetime, now: datetime, memory: PollMemory | None
    ) -> Poll: ...


class PollingClient:
    """One for each source: what it asks, whoever wants it, keeps the source's pace."""

    def __init__(
        self,
        source: Pollable,
        http: httpx.AsyncClient,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        patience: float,
    ) -> None:
        self._source, self._http = source, http
        self._clock, self._sleep, self._patience = clock, sleep, patience
        settings = source.polling_settings()
        self._api, self._interval = settings.api, settings.min_interval
        self._next = float("-inf")
        self._turn = asyncio.Lock()
        self._asked = 0
        self._memory = PollMemory()

    @property
    def asked(self) -> int:
        """Calls since it was made, answered or not."""
        return self._asked

    async def poll(
        self, known: Sequence[Known], *, since: datetime, now: datetime
    ) -> AsyncIterator[FoundMessage | ListedOrder | Ended | Balance | Summary]:
        """What is found, as it comes; then a Summary, also where the provider was never reached."""
        steps: Poll = self._source.poll(known, since=since, now=now, memory=self._memory)
        asked, found = self._asked, 0
        errors: list[Trouble] = []
        notices: list[Notice] = []
        answer: Any = None
        for taken in itertools.count(1):
            if taken % TURN == 0:
                await asyncio.sleep(0)
            try:
                step = steps.send(answer)
            except StopIteration:
                break
            answer = None
            if isinstance(step, FoundMessage):
                found += len(step.happenings)
                yield step
            elif isinstance(step, Notice):
                notices.append(step)
            elif isinstance(step, ListedOrder | Ended | Balance):
                yield step
            else:
                if step.api is not self._api:
                    raise ValueError(f"{step.command}: not declared by the provider of this source")
                answer, trouble = await self._tried(step)
                errors += [trouble] if trouble else []
                # Where the key is bad or the provider is unwell, the rest would fare no better.
                if trouble is not None and trouble.kind != "unreadable":
                    break
        yield Summary(
            asked=self._asked - asked,
            found=found,
            errors=tuple(errors),
            notices=tuple(notices),
            complete=not errors,
        )

    async def _tried(self, ask: Ask | Switch) -> tuple[Any, Trouble | None]:
        try:
            return await self._patiently(ask), None
        except BadKey:
            detail = "the provider does not take the key of backfill.api_key"
            return None, Trouble(command=ask.command, kind="bad_key", detail=detail)
        except Unreadable as exc:
            return None, Trouble(command=ask.command, kind="unreadable", detail=exc.detail)
        except Busy as exc:
            wait = exc.retry_after
            trouble = Trouble(command=ask.command, kind="busy", detail=exc.word, retry_after=wait)
            return None, trouble

    async def _patiently(self, ask: Ask | Switch) -> Any:
        """Raises what `Ask.read` does; Busy only after all its waits."""
        for wait in WAITS:
            try:
                return await self._once(ask)
            except Busy as exc:
                asked_for = exc.retry_after or 0.0
                if asked_for > LONGEST_WAIT:
                    raise
                await self._sleep(max(wait, asked_for))
        return await self._once(ask)

    async def _once(self, ask: Ask | Switch) -> Any:
        async with self._turn:
            await self._pace()
            self._asked += 1
            try:
                answer = await self._got(ask)
            finally:
                self._next = self._clock() + self._interval
        if len(answer.body) > LARGE:
            return await asyncio.to_thread(ask.read, answer)
        return ask.read(answer)

    async def _pace(self) -> None:
        """From the end of one call to the beginning of the next."""
        left = self._next - self._clock()
        if left > 0:
            await self._sleep(left)

    async def _got(self, ask: Ask | Switch) -> ProviderAnswer:
        try:
            async with (
                asyncio.timeout(self._patience),
                self._http.stream("GET", ask.url.reveal()) as response,
            ):
                headers = {name.lower(): value for name, value in response.headers.items()}
                body = await _body(response, ask.command)
                return ProviderAnswer(status=response.status_code, headers=headers, body=body)
        except (TimeoutError, httpx.TimeoutException):
            word = "timeout"
        except httpx.TransportError:
            word = "not reachable"
        except httpx.InvalidURL:
            word = "backfill.api_url is no URL"
        # Behind the handlers: a failure must not carry the library's, which holds the whole URL.
        raise Busy(word)


async def _body(response: httpx.Response, command: str) -> bytes:
    """As it is sent: nothing small may unpack into something large."""
    if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise Unreadable(command, "compressed, though that was not asked for")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MOST_READ:
            raise Unreadable(command, f"more than {MOST_READ // 1024} KiB")
    return bytes(body)


@asynccontextmanager
async def open_client(
    source: Pollable,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    patience: float = PATIENCE,
) -> AsyncIterator[PollingClient]:
    """The client of one source. Raises ValueError where it has no `backfill`."""
    async with httpx.AsyncClient(
        headers={"accept-encoding": "identity", "user-agent": "smshook"},
        timeout=patience,
        follow_redirects=False,
        trust_env=False,
    ) as http:
        yield PollingClient(source, http, clock=clock, sleep=sleep, patience=patience)
