"""Load on a fixed schedule, which counts the time a request waits to be sent.

python -m benchmarks.lab.openloop URL RATE SECONDS EACH FIRST

A closed loop sends its next request after the last answer. While a server stands still it sends
nothing, so a pause is one slow answer among many (coordinated omission). Here a latency starts when
its request was due.
"""

import asyncio
import math
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from typing import cast
from urllib.parse import urlsplit

import httptools
import msgspec
import uvloop

from .percentiles import percentile
from .processes import ROOT, CaseFailed

#: Most requests in flight; at a low rate, the requests of one second. Others wait, and their
#: latency grows.
CONNECTIONS = 128
#: Seconds after the last request in which answers still count.
PATIENCE = 30.0
#: Milliseconds. A generator later than this, at the 99th percentile, measures itself.
LATE = 5.0
#: Seconds after which an idle connection is replaced. Servers close those idle for five, as the
#: product does, and a request sent at that moment gets no answer.
IDLE = 4.0
#: The part of IDLE after which a connection may be replaced.
_NEARLY = 0.75
#: Seconds by which a timer of the loop may be wrong.
_TICK = 0.001
#: Up to this rate, there is time to turn the loop until the exact moment.
_SPARSE = 100
#: Other callbacks between two copies of one.
_AMONG = 64
_TEXT = (
    "event=incoming_message&id={id}&timestamp={now}&from=22000&to=1850{number:07d}&service=Google"
    "&reply=G-{code:06d}+is+your+Google+verification+code.&pin=G-{code:06d}&price=1.25"
)


class AnsweredRequest(msgspec.Struct, frozen=True, array_like=True):
    """One request with a 2xx answer."""

    request_id: str
    #: By `time.monotonic`.
    due: float
    #: From then until its answer.
    milliseconds: float


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """The answers to one load."""

    sent: tuple[AnsweredRequest, ...]
    #: Requests without a 2xx answer, counted by what happened.
    errors: dict[str, int]
    #: Milliseconds by which the generator was late, the 99th percentile. The wait for a free
    #: connection is not in it: that is the server's.
    late: float

    @property
    def latencies(self) -> list[float]:
        """Milliseconds, in order."""
        return sorted(one.milliseconds for one in self.sent)


def callbacks(each: int, first: int) -> Iterator[tuple[str, bytes]]:
    """Yield request ids and forms as TellABot sends them, each `each` times, among others."""
    block = first
    while True:
        now = int(time.time())
        made = []
        for number in range(block, block + _AMONG):
            request_id, code = str(10_000_001 + number), number * 7919 % 1_000_000
            text = _TEXT.format(id=request_id, now=now, number=number % 10_000_000, code=code)
            made.append((request_id, text.encode()))
        for _ in range(each):
            yield from made
        block += _AMONG


class LoadConnection(asyncio.Protocol):
    """Sends one request at a time, and reports its answer to the load."""

    def __init__(self, load: "OpenLoad") -> None:
        self._load = load
        self._parser = httptools.HttpResponseParser(self)
        self._in_flight: tuple[str, float] | None = None
        #: By `time.monotonic`.
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._in_flight is not None:
            self._load.failed(type(exc).__name__ if exc else "closed")
        self._load.lost(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def close(self) -> None:
        self._transport.close()

    def send(self, request_id: str, due: float, request: bytes) -> None:
        self._in_flight = request_id, due
        self._transport.write(request)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        if self._in_flight is None:
            return  # an answer without a request
        request_id, due = self._in_flight
        self._in_flight = None
        status = self._parser.get_status_code()
        if status // 100 == 2:  # noqa: PLR2004 - the class of success
            self._load.answered(request_id, due)
        else:
            self._load.failed(str(status))
        if self._parser.should_keep_alive():
            self._load.free(self)
        else:
            self._transport.close()  # the server will too: nothing more may be sent on it


class OpenLoad:
    """One load. A request that is due is sent on a free connection, or waits for one."""

    def __init__(self, url: str, *, rate: float, seconds: float, each: int, first: int) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), int(parts.port or 80)
        self._head = (
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: provider/1.0\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: "
        ).encode()
        self._rate, self._whole = rate, round(rate * seconds)
        self._callbacks = callbacks(each, first)
        self._open: set[LoadConnection] = set()
        #: The last used one is at the right.
        self._idle: deque[LoadConnection] = deque()
        self._waiting: deque[tuple[str, float, bytes]] = deque()
        self._sent: list[AnsweredRequest] = []
        self._errors: Counter[str] = Counter()
        self._late: list[float] = []
        self._reconnecting: set[asyncio.Task[None]] = set()
        self._ended = asyncio.Event()

    async def run(self) -> LoadResult:
        self._loop = asyncio.get_running_loop()
        for _ in range(min(CONNECTIONS, math.ceil(self._rate))):
            self.free(await self._connected())
        began = time.monotonic()
        for number in range(self._whole):
            due = began + number / self._rate
            request_id, body = next(self._callbacks)
            await self._until(due)
            self._late.append((time.monotonic() - due) * 1000)
            self._waiting.append((request_id, due, body))
            self._send_waiting()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._ended.wait()
        except TimeoutError:
            self._errors["no answer"] += self._whole - self._done
            self._ended.set()
        # Close all connections, also those that are still connecting.
        for task in self._reconnecting:
            task.cancel()
        await asyncio.gather(*self._reconnecting, return_exceptions=True)
        for connection in self._open:
            connection.close()
        return LoadResult(
            sent=tuple(self._sent),
            errors=dict(self._errors),
            late=percentile(self._late, 99),
        )

    # Called by connections

    def answered(self, request_id: str, due: float) -> None:
        self._sent.append(AnsweredRequest(request_id, due, (time.monotonic() - due) * 1000))

    def failed(self, why: str) -> None:
        self._errors[why] += 1

    def free(self, connection: LoadConnection) -> None:
        connection.idle_since = time.monotonic()
        self._idle.append(connection)
        self._send_waiting()
        self._end_if_done()

    def lost(self, connection: LoadConnection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._end_if_done()
        if not self._ended.is_set():
            task = self._loop.create_task(self._reconnect())
            self._reconnecting.add(task)  # the loop holds its tasks weakly
            task.add_done_callback(self._reconnecting.discard)

    async def _reconnect(self) -> None:
        try:
            self.free(await self._connected())
        except OSError:
            return  # the waiting requests are counted as `no answer`

    # The schedule

    async def _until(self, due: float) -> None:
        """Sleep until `due`, never less: an early request would shorten its latency.

        Timers of the loop have whole milliseconds. The loop turns at least once, so that a late
        generator reads answers too.
        """
        wait = due - time.monotonic()
        if self._rate > _SPARSE:
            # Turning would take processor time from the server. Some requests leave together.
            await asyncio.sleep(wait + _TICK if wait > 0 else 0)
            return
        while wait > 0:
            await asyncio.sleep(max(0, wait - _TICK))
            wait = due - time.monotonic()

    @property
    def _done(self) -> int:
        return len(self._sent) + sum(self._errors.values())

    def _end_if_done(self) -> None:
        if self._done >= self._whole:
            self._ended.set()

    def _send_waiting(self) -> None:
        self._replace_idle()
        while self._waiting and self._idle:
            request_id, due, body = self._waiting.popleft()
            request = b"%b%d\r\n\r\n%b" % (self._head, len(body), body)
            self._idle.pop().send(request_id, due, request)

    def _replace_idle(self) -> None:
        """Close idle connections before the server does, as careful clients do.

        It closes all connections that were idle for longer than IDLE, and one that nearly was. So
        connections that were opened together do not expire together.
        """
        limit = _NEARLY * IDLE
        while self._idle and time.monotonic() - self._idle[0].idle_since > limit:
            self._idle.popleft().close()  # `lost` replaces it
            limit = IDLE

    async def _connected(self) -> LoadConnection:
        connecting = self._loop.create_connection(
            lambda: LoadConnection(self), self._host, self._port
        )
        connection = (await connecting)[1]
        self._open.add(connection)
        return connection


def offered(url: str, *, rate: float, seconds: float, each: int = 1, first: int = 0) -> LoadResult:
    """Run such a load in its own process. Raises CaseFailed if it says nothing about the server."""
    words = [str(word) for word in (url, rate, seconds, each, first)]
    done = subprocess.run(  # noqa: S603 - the words are ours
        [sys.executable, "-m", "benchmarks.lab.openloop", *words],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise CaseFailed(f"the open loop ended: {done.stderr.decode()[-300:]}")
    result = msgspec.json.decode(done.stdout, type=LoadResult)
    if result.errors:
        raise CaseFailed(f"at {rate:.0f}/s not all were answered with 2xx: {result.errors}")
    if result.late > LATE:
        raise CaseFailed(f"the open loop was {result.late:.1f} ms late at {rate:.0f}/s: offer less")
    return result


if __name__ == "__main__":
    URL, RATE, SECONDS, EACH, FIRST = sys.argv[1:]
    LOAD = OpenLoad(URL, rate=float(RATE), seconds=float(SECONDS), each=int(EACH), first=int(FIRST))
    RESULT = msgspec.json.encode(uvloop.run(LOAD.run()))
    # With PYTHONUNBUFFERED, `sys.stdout.buffer` may write a part only, and does not say so.
    with open(sys.stdout.fileno(), "wb", closefd=False) as OUT:
        OUT.write(RESULT)
