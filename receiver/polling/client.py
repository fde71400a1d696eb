"""Polls a provider at the pace that its source allows.

async with open_client(source) as client:
    async for item in client.poll(known, since=…, now=…):
        FoundMessage, ListedOrder, Ended and Balance as they come; the Summary last
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

#: Bytes of one answer; 100 rows of history are a tenth of it.
MOST_READ = 1024 * 1024
#: Bytes. A larger answer is read in a thread: a megabyte of broken JSON takes a second.
LARGE = 32 * 1024
#: Steps of a poll before other tasks may run: an answer may list thousands of rows.
TURN = 100
#: Seconds for one call.
TIMEOUT = 20.0
#: Seconds to wait after the first, second and third answer that says "try later". Then the poll
#: ends; the next one comes soon.
WAITS = (5.0, 15.0, 45.0)
#: Seconds. A longer Retry-After also ends the poll.
LONGEST_WAIT = 120.0

# They log URLs and headers, which contain a key.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """A call that failed."""

    command: str
    #: `bad_key`, `busy` or `unreadable`.
    kind: str
    #: In our words, without values of the answer.
    detail: str
    #: The wait that the provider asked for, in seconds.
    retry_after: float | None = None


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a poll."""

    #: Calls, with repeated ones, answered or not.
    asked: int
    found: int
    errors: tuple[Trouble, ...]
    notices: tuple[Notice, ...]
    #: Whether all calls succeeded: then the next poll only looks back to the start of this one.
    complete: bool


class Pollable(Protocol):
    """A source as a PollingClient sees it."""

    def polling_settings(self) -> PollingSettings: ...

    def poll(
        self, known: Sequence[Known], *, since: datetime, now: datetime, memory: PollMemory | None
    ) -> Poll: ...


class PollingClient:
    """Polls one source. All polls of the source share one client, and so its pace."""

    def __init__(
        self,
        source: Pollable,
        http: httpx.AsyncClient,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        call_timeout: float,
    ) -> None:
        self._http = http
        self._clock, self._sleep, self._timeout = clock, sleep, call_timeout
        self.use(source)
        self._next = float("-inf")
        self._turn = asyncio.Lock()
        self._asked = 0

    def use(self, source: Pollable) -> None:
        """Poll by the options of this source from now on. No poll may be under way."""
        settings = source.polling_settings()
        self._source, self._memory = source, PollMemory()
        self._api, self._interval = settings.api, settings.min_interval

    @property
    def asked(self) -> int:
        """The number of calls so far, answered or not."""
        return self._asked

    async def poll(
        self, known: Sequence[Known], *, since: datetime, now: datetime
    ) -> AsyncIterator[FoundMessage | ListedOrder | Ended | Balance | Summary]:
        """Yield findings as they come; then a Summary, even if the provider was not reached."""
        steps: Poll = self._source.poll(known, since=since, now=now, memory=self._memory)
        asked, found = self._asked, 0
        errors: list[Trouble] = []
        notices: list[Notice] = []
        answer: Any = None
        for count in itertools.count(1):
            if count % TURN == 0:
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
                answer, trouble = await self._call(step)
                errors += [trouble] if trouble else []
                # With a bad key or an unavailable provider, the other calls would fail, too.
                if trouble is not None and trouble.kind != "unreadable":
                    break
        yield Summary(
            asked=self._asked - asked,
            found=found,
            errors=tuple(errors),
            notices=tuple(notices),
            complete=not errors,
        )

    async def _call(self, ask: Ask | Switch) -> tuple[Any, Trouble | None]:
        """Make a call, and repeat it after each wait while the provider is busy.

        Return the result of `ask.read`, or None and the reason of the failure.
        """
        waits = iter(WAITS)
        while True:
            try:
                answer = await self._get(ask)
                if len(answer.body) > LARGE:
                    return await asyncio.to_thread(ask.read, answer), None
                return ask.read(answer), None
            except BadKey:
                detail = "the provider refuses the key in backfill.api_key"
                return None, Trouble(command=ask.command, kind="bad_key", detail=detail)
            except Unreadable as exc:
                return None, Trouble(command=ask.command, kind="unreadable", detail=exc.detail)
            except Busy as exc:
                word, asked_for = exc.word, exc.retry_after
            wait = next(waits, None)
            if wait is None or (asked_for or 0.0) > LONGEST_WAIT:
                return None, Trouble(
                    command=ask.command, kind="busy", detail=word, retry_after=asked_for
                )
            await self._sleep(max(wait, asked_for or 0.0))

    async def _get(self, ask: Ask | Switch) -> ProviderAnswer:
        """Send a request when it is its turn. Raises Busy or Unreadable without an answer."""
        async with self._turn:
            # The interval is from the end of one call to the beginning of the next.
            left = self._next - self._clock()
            if left > 0:
                await self._sleep(left)
            self._asked += 1
            try:
                async with (
                    asyncio.timeout(self._timeout),
                    self._http.stream("GET", ask.url.reveal()) as response,
                ):
                    headers = {name.lower(): value for name, value in response.headers.items()}
                    # Nothing is decompressed: a small body could become very large.
                    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
                        raise Unreadable(
                            ask.command, "compressed, although smshook did not ask for it"
                        )
                    body = bytearray()
                    async for chunk in response.aiter_raw():
                        body += chunk
                        if len(body) > MOST_READ:
                            raise Unreadable(ask.command, f"more than {MOST_READ // 1024} KiB")
                    status = response.status_code
                    return ProviderAnswer(status=status, headers=headers, body=bytes(body))
            except (TimeoutError, httpx.TimeoutException):
                word = "timeout"
            except httpx.TransportError:
                word = "not reachable"
            except httpx.InvalidURL:
                word = "backfill.api_url is not a URL"
            finally:
                self._next = self._clock() + self._interval
        # Outside the handlers, so that it has no context: the library's error has the whole URL.
        raise Busy(word)


@asynccontextmanager
async def open_client(
    source: Pollable,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    call_timeout: float = TIMEOUT,
) -> AsyncIterator[PollingClient]:
    """Open the client of a source. Raises ValueError if the source has no `backfill`."""
    async with httpx.AsyncClient(
        headers={"accept-encoding": "identity", "user-agent": "smshook"},
        timeout=call_timeout,
        follow_redirects=False,
        trust_env=False,
    ) as http:
        yield PollingClient(source, http, clock=clock, sleep=sleep, call_timeout=call_timeout)
