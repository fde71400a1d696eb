"""The client against a real server: pace, timeouts, limits, and no leaked secrets."""

import asyncio
import logging
import re
import threading
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
import pytest
from answers.recorded import KEY, source_of

from core.secret import Secret
from receiver.polling.client import LARGE, MOST_READ, TURN, Summary, Trouble, open_client
from receiver.polling.options import Backfill
from receiver.polling.questions import Ask, Balance, FoundMessage, Known, ListedOrder, Notice
from receiver.polling.rows import with_query
from receiver.providers.sms_activate.profiles import SmsBower

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SINCE = datetime(2026, 11, 19, 12, 0, tzinfo=UTC)
ORDERS = [Known(activation_id="1"), Known(activation_id="2"), Known(activation_id="3")]


class Clock:
    """A clock that moves only during a sleep."""

    def __init__(self):
        self.at, self.slept = 1000.0, []

    def __call__(self):
        return self.at

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.at += seconds


class Provider:
    """Answers each request with the next of its answers, and repeats the last one.

    getBalance, which ends each round, is answered with a balance.
    """

    def __init__(self, clock, *answers):
        self.clock, self.answers = clock, list(answers)
        self.requests, self.times = [], []
        self.tasks = set()

    async def serve(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests.append(head.decode())
                self.times.append(self.clock())
                answer = self.next(head.decode())
                if answer is None:
                    await asyncio.sleep(30)
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client, or the test, is over
        finally:
            writer.close()

    def next(self, request):
        if "action=getBalance" in request and self.answers[0].startswith(b"HTTP/1.1 200"):
            return http(200, "ACCESS_BALANCE:12.50")
        return self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)


def http(status, body="", *headers):
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers, "", body]
    return "\r\n".join(lines).encode()


@asynccontextmanager
async def serving(*answers):
    clock = Clock()
    provider = Provider(clock, *answers)
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield provider, clock, f"http://127.0.0.1:{port}/stubs/handler_api.php"
    finally:
        server.close()
        for task in provider.tasks:
            task.cancel()
        await asyncio.gather(*provider.tasks)


async def polled(url, clock, *, known=ORDERS, patience=20.0, times=1, **options):
    """Return all findings but the balance, which ends each round."""
    source = source_of("smsbower", api_url=url, **options)
    came = []
    async with open_client(source, clock=clock, sleep=clock.sleep, call_timeout=patience) as client:
        for _ in range(times):
            came += [one async for one in client.poll(known, since=SINCE, now=NOW)]
    return [one for one in came if not isinstance(one, Balance)]


async def test_findings_are_yielded_one_by_one_with_a_summary_last():
    async with serving(http(200, "STATUS_OK:4711")) as (provider, clock, url):
        *found, summary = await polled(url, clock)

    assert [one.happenings[0].subject for one in found] == [
        "activation/1",
        "activation/2",
        "activation/3",
    ]
    assert all(isinstance(one, FoundMessage) for one in found)
    assert summary == Summary(asked=4, found=3, errors=(), notices=(), complete=True)
    assert all(request.startswith("GET /stubs/handler_api.php?") for request in provider.requests)


async def test_interval_separates_all_calls_of_a_source():
    """Mutant: the pace kept within one poll only."""
    async with serving(http(200, "STATUS_WAIT_CODE")) as (provider, clock, url):
        await polled(url, clock, min_interval=15.0, times=2)

    gaps = [b - a for a, b in zip(provider.times, provider.times[1:], strict=False)]
    assert gaps == [15.0] * 7


async def test_simultaneous_polls_share_the_pace():
    """Mutant: no lock around the wait for a turn."""
    async with serving(http(200, "STATUS_WAIT_CODE")) as (provider, clock, url):
        source = source_of("smsbower", api_url=url, min_interval=15.0)
        async with open_client(source, clock=clock, sleep=clock.sleep) as client:

            async def all_of_it():
                return [one async for one in client.poll(ORDERS, since=SINCE, now=NOW)]

            await asyncio.gather(all_of_it(), all_of_it())

    gaps = [b - a for a, b in zip(provider.times, provider.times[1:], strict=False)]
    assert gaps == [15.0] * 7


async def test_interval_of_zero_is_obeyed():
    async with serving(http(200, "STATUS_WAIT_CODE")) as (_provider, clock, url):
        await polled(url, clock, min_interval=0.0)

    assert clock.slept == []


async def test_too_many_requests_wait_as_the_provider_asks():
    """Mutant: Retry-After ignored."""
    busy = http(429, "", "retry-after: 30")
    async with serving(busy, http(200, "STATUS_OK:4711")) as (provider, clock, url):
        *found, summary = await polled(url, clock, known=ORDERS[:1], min_interval=0.0)

    assert [one.happenings[0].data.code for one in found] == ["4711"]
    assert clock.slept == [30.0]
    assert len(provider.requests) == 3
    assert summary == Summary(asked=3, found=1, errors=(), notices=(), complete=True)


async def test_provider_that_stays_busy_ends_the_poll():
    async with serving(http(503)) as (provider, clock, url):
        (summary,) = await polled(url, clock, min_interval=0.0)

    trouble = Trouble(command="getStatus", kind="busy", detail="503")
    assert summary == Summary(asked=4, found=0, errors=(trouble,), notices=(), complete=False)
    assert clock.slept == [5.0, 15.0, 45.0]
    assert len(provider.requests) == 4


async def test_wait_of_hours_ends_the_poll_at_once():
    async with serving(http(429, "", "retry-after: 7200")) as (_provider, clock, url):
        (summary,) = await polled(url, clock)

    trouble = Trouble(command="getStatus", kind="busy", detail="429", retry_after=7200.0)
    assert summary.errors == (trouble,)
    assert clock.slept == []


async def test_bad_key_ends_the_poll_at_once():
    """Mutant: the poll continues with the next order, until the account is locked."""
    async with serving(http(200, "BAD_KEY")) as (provider, clock, url):
        (summary,) = await polled(url, clock)

    assert [(one.kind, one.command) for one in summary.errors] == [("bad_key", "getStatus")]
    assert not summary.complete
    assert len(provider.requests) == 1


async def test_unreadable_answer_loses_only_that_answer():
    answers = http(200, "<html>"), http(200, "STATUS_OK:4711")
    async with serving(*answers) as (_provider, clock, url):
        *found, summary = await polled(url, clock)

    assert len(found) == 2
    assert [one.kind for one in summary.errors] == ["unreadable"]
    assert not summary.complete


@pytest.mark.parametrize("chunked", [False, True])
async def test_endless_answer_is_not_read(chunked):
    body = "a" * (MOST_READ + 100_000)
    answer = http(200, body)
    if chunked:
        head = "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n"
        answer = f"{head}{len(body):x}\r\n{body}\r\n0\r\n\r\n".encode()
    async with serving(answer, http(200, "STATUS_OK:4711")) as (_provider, clock, url):
        *found, summary = await polled(url, clock)

    assert [one.detail for one in summary.errors] == ["more than 1024 KiB"]
    assert len(found) == 2


async def test_compressed_answer_is_not_unpacked():
    answer = http(200, "STATUS_OK:4711", "content-encoding: gzip")
    async with serving(answer) as (provider, clock, url):
        (summary,) = await polled(url, clock, known=ORDERS[:1])

    assert [one.kind for one in summary.errors] == ["unreadable"]
    assert "accept-encoding: identity" in provider.requests[0].lower()


async def test_redirect_is_not_followed_with_the_key():
    """Mutant: follow_redirects=True."""
    async with serving(http(200, "STATUS_OK:4711")) as (elsewhere, _clock, there):
        moved = http(302, "", f"location: {there}")
        async with serving(moved) as (_provider, clock, url):
            (summary,) = await polled(url, clock, known=ORDERS[:1])

    assert [one.kind for one in summary.errors] == ["unreadable"]
    assert elsewhere.requests == []


async def test_slow_provider_is_busy():
    async with serving(None) as (_provider, clock, url):
        (summary,) = await polled(url, clock, known=ORDERS[:1], patience=0.1)

    assert [(one.kind, one.detail) for one in summary.errors] == [("busy", "timeout")]


async def test_unreachable_provider_is_busy():
    async with serving(http(200)) as (_provider, clock, url):
        pass
    (summary,) = await polled(url, clock)

    assert [(one.kind, one.detail) for one in summary.errors] == [("busy", "not reachable")]


async def test_key_is_in_no_log_and_no_summary(caplog):
    """Mutant: httpx logs each URL at INFO."""
    caplog.set_level(logging.DEBUG)
    answers = http(200, f"error {KEY}"), http(302, "", f"location: /{KEY}"), http(503)
    async with serving(*answers) as (provider, clock, url):
        (summary,) = await polled(url, clock)

    assert any(KEY in request for request in provider.requests)
    assert KEY not in caplog.text
    assert KEY not in repr(summary)


async def test_abandoned_poll_ends():
    async with serving(http(200, "STATUS_OK:4711")) as (provider, clock, url):
        source = source_of("smsbower", api_url=url)
        async with open_client(source, clock=clock, sleep=clock.sleep) as client:
            poll = client.poll(ORDERS, since=SINCE, now=NOW)
            await anext(poll)
            await poll.aclose()

    assert len(provider.requests) == 1


async def test_ban_with_an_end_ends_the_poll_until_then():
    """Mutant: read as a bad key, so that polling stops until a restart."""
    banned = '{"title":"BANNED","details":"x","info":{"retry_after_seconds":600}}'
    async with serving(http(403, banned)) as (provider, clock, url):
        (summary,) = await polled(url, clock)

    trouble = Trouble(
        command="getStatus", kind="busy", detail="the account is banned", retry_after=600.0
    )
    assert summary.errors == (trouble,)
    assert (len(provider.requests), clock.slept) == (1, [])


async def test_missing_command_is_sent_once_by_a_client():
    """Mutant: a poll does not remember for the next one."""
    answers = [http(200, "BAD_ACTION"), *[http(200, "STATUS_WAIT_CODE")] * 3]
    async with serving(*answers) as (provider, clock, url):
        source = source_of("sms_online", api_url=url)
        notices = []
        async with open_client(source, clock=clock, sleep=clock.sleep) as client:
            for _ in range(2):
                came = [one async for one in client.poll(ORDERS[:1], since=SINCE, now=NOW)]
                notices.append([(one.word, one.about) for one in came[-1].notices])

    asked = [re.search(r"action=(\w+)", request)[1] for request in provider.requests]
    assert asked == ["getActiveActivations", "getStatus", "getBalance", "getStatus", "getBalance"]
    assert notices == [[("missing_command", "getActiveActivations")], []]


async def test_long_list_lets_other_tasks_run():
    """Mutant: a thousand rows in one turn of the event loop."""
    rows = ",".join(f'{{"activationId":"{number}"}}' for number in range(1000))
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with serving(http(200, f"[{rows}]")) as (_provider, clock, url):
        source = source_of("sms_online", api_url=url)
        async with open_client(source, clock=clock, sleep=clock.sleep) as client:
            came, task = [], None
            async for one in client.poll((), since=SINCE, now=NOW):
                task = task or asyncio.create_task(others())
                came.append((type(one), turns))
            task.cancel()

    listed = [turn for kind, turn in came if kind is ListedOrder]
    assert len(listed) == 1000
    assert listed[-1] - listed[0] >= 1000 // TURN - 1


class Reading(SmsBower, frozen=True):
    """Reports the thread that reads its answers."""

    def poll(self, known, *, since, now, memory=None):  # noqa: ARG002 - one question is enough
        settings = self.polling_settings()
        url = with_query(settings.api_url, action="getStatus")
        thread = yield Ask(
            api=settings.api, command="getStatus", url=url, read=lambda _: threading.get_ident()
        )
        yield Notice(word="read", about=str(thread))


@pytest.mark.parametrize(("size", "here"), [(LARGE, True), (LARGE + 1, False)])
async def test_large_answer_is_read_beside_the_event_loop(size, here):
    """A megabyte of broken JSON takes a second, and a callback would wait.

    Mutant: read in the loop, even if it is large.
    """
    async with serving(http(200, "a" * size)) as (_provider, clock, url):
        source = Reading(backfill=Backfill(api_key=Secret(KEY), api_url=url))
        async with open_client(source, clock=clock, sleep=clock.sleep) as client:
            [summary] = [one async for one in client.poll((), since=SINCE, now=NOW)]

    assert (summary.notices[0].about == str(threading.get_ident())) is here


class Writing(SmsBower, frozen=True):
    """Declares a command that the provider does not declare."""

    def poll(self, known, *, since, now, memory=None):  # noqa: ARG002 - one question is enough
        settings = self.polling_settings()
        own = msgspec.structs.replace(settings.api, reads=frozenset({"setStatus"}))
        url = with_query(settings.api_url, action="setStatus")
        yield Ask(api=own, command="setStatus", url=url, read=lambda _: None)


async def test_undeclared_command_is_not_sent():
    """Mutant: the client sends every `Ask`."""
    async with serving(http(200, "ACCESS_CANCEL")) as (provider, clock, url):
        source = Writing(backfill=Backfill(api_key=Secret(KEY), api_url=url))
        async with open_client(source, clock=clock, sleep=clock.sleep) as client:
            with pytest.raises(ValueError, match="not declared"):
                [one async for one in client.poll((), since=SINCE, now=NOW)]

    assert provider.requests == []
