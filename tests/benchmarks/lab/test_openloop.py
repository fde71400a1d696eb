"""A load on a schedule counts each pause of the server, and reports its own delays."""

import asyncio
import contextlib
import itertools
import math
import threading
import time
from collections import Counter
from datetime import UTC, datetime

import pytest

from benchmarks.lab import openloop
from benchmarks.lab.percentiles import percentile
from benchmarks.lab.processes import CaseFailed
from receiver.callback import Callback
from receiver.decode import decode
from receiver.providers.tellabot.callbacks import TellABot

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
LAST = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
BUSY = b"HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n"


class Server(asyncio.Protocol):
    """Answers each request with `said(number)`. After an empty answer it closes the connection."""

    def __init__(self, said, numbers, open_ones, hangs_up_after):
        self.said, self.numbers, self.open_ones = said, numbers, open_ones
        self.hangs_up_after = hangs_up_after

    def connection_made(self, transport):
        self.transport = transport
        self.open_ones.add(transport)
        self.idle_since = time.monotonic()

    def connection_lost(self, _exc):
        self.open_ones.discard(self.transport)

    def data_received(self, data):
        if time.monotonic() - self.idle_since > self.hangs_up_after:
            self.transport.abort()
            return
        self.idle_since = time.monotonic()
        for _ in range(data.count(b"POST ")):
            answer = self.said(next(self.numbers))
            self.transport.write(answer)
            if answer in (b"", LAST):
                self.transport.close()
                return


@contextlib.contextmanager
def serving(said, hangs_up_after=math.inf):
    """Yield the URL of a server. It aborts an idle connection when the next request comes."""
    loop = asyncio.new_event_loop()
    numbers, open_ones = itertools.count(), set()
    listening = loop.create_server(
        lambda: Server(said, numbers, open_ones, hangs_up_after), "127.0.0.1", 0, backlog=256
    )
    server = loop.run_until_complete(listening)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/in/tellabot/token"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for transport in open_ones:
            transport.abort()
        loop.run_until_complete(asyncio.sleep(0.01))
        loop.close()


@pytest.mark.usefixtures("patient")
def test_pause_of_the_server_counts_for_all_due_requests():
    """Mutant: latencies from the time of sending. Only requests in flight would have waited."""

    def stalls_once(number):
        if number == 300:
            time.sleep(1.0)
        return OK

    with serving(stalls_once) as url:
        result = openloop.offered(url, rate=600, seconds=3)

    waited = [one for one in result.latencies if one > 100]
    assert len(result.sent) == 1800
    assert 500 < len(waited) < 900  # 600 were due; those of the last tenth of a second wait less
    assert percentile(result.latencies, 90) > 400
    assert percentile(result.latencies, 50) < 100


@pytest.mark.usefixtures("patient")
def test_requests_are_sent_and_timed_when_due():
    """Mutant: a timer of whole milliseconds fires early: answers come before their request."""
    with serving(lambda _: OK) as url:
        result = openloop.offered(url, rate=50, seconds=1)

    assert min(result.latencies) > 0
    due = sorted(one.due for one in result.sent)
    apart = [after - before for before, after in itertools.pairwise(due)]
    assert apart == pytest.approx([0.02] * 49)


def test_late_load_generator_is_an_error():
    """Mutant: only requests with a free connection are checked, which are the first."""
    with serving(lambda _: OK) as url, pytest.raises(CaseFailed, match="ms late"):
        openloop.offered(url, rate=200_000, seconds=0.1)


def test_closed_connection_is_replaced():
    """Mutant: a waiting request is sent on a connection that is about to end."""

    def stalls_once(number):
        if number == 30:
            time.sleep(0.5)
        return LAST

    with serving(stalls_once) as url:
        result = loaded(url, rate=500, seconds=1)

    assert (len(result.sent), result.errors) == (500, {})


def test_idle_connection_is_replaced_before_it_is_used(monkeypatch):
    """The server closes it at that moment.

    Mutant: it is used again, and each request after the first is "closed".
    """
    monkeypatch.setattr(openloop, "IDLE", 0.2)

    with serving(lambda _: OK, hangs_up_after=0.4) as url:
        result = loaded(url, rate=1.25, seconds=4)

    assert (len(result.sent), result.errors) == (5, {})


def test_requests_without_a_2xx_answer_are_counted_by_cause():
    answers = {3: BUSY, 5: BUSY, 7: b""}

    with serving(lambda number: answers.get(number, OK)) as url:
        result = loaded(url, rate=100, seconds=0.2)

    assert result.errors == {"429": 2, "closed": 1}
    assert len(result.sent) == 17


def test_load_with_errors_is_an_error():
    with (
        serving(lambda _: BUSY) as url,
        pytest.raises(CaseFailed, match=r"not all were answered with 2xx: {'429': 10}"),
    ):
        openloop.offered(url, rate=100, seconds=0.1)


def test_each_callback_is_a_new_message_for_the_product():
    now = datetime.now(UTC)
    made = list(itertools.islice(openloop.callbacks(each=1, first=0), 1000))

    events = [_read(body, now) for _, body in made]

    assert [event.data.request_id for event in events] == [name for name, _ in made]
    for said in ("request_id", "to", "code"):
        assert len({getattr(event.data, said) for event in events}) == 1000
    ids = [int(name) for name, _ in made]
    assert ids == sorted(ids)


def test_copies_are_mixed_with_other_callbacks():
    made = list(itertools.islice(openloop.callbacks(each=8, first=0), 1024))

    assert set(Counter(made).values()) == {8}
    assert all(one != other for one, other in itertools.pairwise(made))


class Reconnecting(openloop.OpenLoad):
    """A load with slow connections, except the first."""

    async def _connected(self):
        if self._open:
            await asyncio.sleep(0.6)
        return await super()._connected()


def test_connection_opened_at_the_end_is_closed():
    """Mutant: only open connections are closed; one opens later, and the server keeps it."""
    kept = set()

    async def load():
        load = Reconnecting(url, rate=2, seconds=1.0, each=1, first=0)
        result = await load.run()
        await asyncio.sleep(0.5)
        kept.update(c for c in load._open if not c._transport.is_closing())
        return result

    answers = {0: LAST}
    with serving(lambda number: answers.get(number, OK)) as url:
        result = asyncio.run(load())

    assert (len(result.sent), kept) == (2, set())


def loaded(url, *, rate, seconds):
    """Return the result, also with errors."""

    async def load():
        return await openloop.OpenLoad(url, rate=rate, seconds=seconds, each=1, first=0).run()

    return asyncio.run(load())


def _read(body, now):
    fields = decode(body, content_encoding=None, encodings=TellABot.encodings)
    callback = Callback(headers=(), body=body, peer="192.0.2.7", received=now)
    (event,) = TellABot().normalize(fields, callback)
    return event
