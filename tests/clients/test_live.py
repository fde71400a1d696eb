"""The Python client, with and without an event loop, on a running service."""

import asyncio
import contextlib
import io
import itertools
import re
import textwrap
from pathlib import Path

import live
import pytest
from both_clients import KINDS

from smshook_client import ApiError, Client, SmshookError

README = Path(__file__).parents[2] / "clients/python/README.md"
MASKED = "k3y-of-a-reader-0123456789"
CONFIG = live.CONFIG.replace(
    "scopes: [admin]}", f"scopes: [admin]}}, reader: {{key: {MASKED}, scopes: [events:read]}}"
)
numbers = itertools.count(1)


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with live.Live(tmp_path_factory.mktemp("service"), CONFIG) as running:
        yield running


@pytest.fixture(params=KINDS)
async def both(request, service):
    both = request.param(service.admin_url, live.KEY)
    yield both
    await both.ask(both.client.close)


def receive(service, number, text):
    """Send the callback of an SMS for the request with that number."""
    fields = {"id": str(20_000_000 + number), "pin": "", "reply": text}
    assert service.post(live.sms(number, **fields)).json()["status"] == "accepted"


async def test_order_waits_for_its_code_and_the_next(both, service):
    """Mutants: a code of another order; the first code again after "send again"."""
    number, other = next(numbers), next(numbers)
    taken = await both.ask(both.client.order, "tellabot", request_id=20_000_000 + number)

    waiting = asyncio.create_task(both.ask(taken.wait_for_code, 20))
    await asyncio.to_thread(receive, service, other, "111111 is your code")
    await asyncio.to_thread(receive, service, number, "482913 is your code")
    first = await waiting
    again = asyncio.create_task(both.ask(taken.wait_for_code, 20))
    await asyncio.to_thread(receive, service, number, "Welcome to Acme!")
    await asyncio.to_thread(receive, service, number, "771020 is your code")
    second = await again

    assert (first, second) == ("482913", "771020")
    assert first.event.subject == f"request/{20_000_000 + number}"


async def test_code_before_the_wait_is_there_at_once(both, service):
    number = next(numbers)
    await asyncio.to_thread(receive, service, number, "482913 is your code")

    taken = await both.ask(both.client.order, "tellabot", request_id=20_000_000 + number)
    code = await both.ask(taken.wait_for_code, 0)

    assert code == "482913"


async def test_stream_goes_on_after_a_cursor(both, service):
    """Mutants: an event again; the events between the two streams are lost."""
    mine = {"subject": [f"request/{20_000_000 + (number := next(numbers))}"]}
    for text in ("one", "two"):
        await asyncio.to_thread(receive, service, number, text)

    first, second = await both.read(both.client.stream, "start", most=2, **mine)
    await asyncio.to_thread(receive, service, number, "three")
    [third] = await both.read(both.client.stream, second.cursor, most=1, **mine)
    listed = await both.read(both.client.events, most=9, **mine)

    assert [it.event.text for it in (first, second, third)] == ["one", "two", "three"]
    assert listed == [first, second, third]
    assert await both.ask(both.client.event, first.event.id) == first.event


async def test_stream_from_now_begins_with_the_next_event(both, service):
    mine = {"subject": f"request/{20_000_000 + (number := next(numbers))}"}
    await asyncio.to_thread(receive, service, number, "before")

    reading = asyncio.create_task(both.read(both.client.stream, most=1, **mine))
    for text in itertools.count():
        await asyncio.to_thread(receive, service, number, f"after {text}")
        done, _ = await asyncio.wait([reading], timeout=0.1)
        if done:
            break

    [found] = await reading
    assert found.event.text.startswith("after")


async def test_consumer_continues_where_it_stopped(both, service):
    """Mutants: the place is that of the last event read, not handled; the oldest again."""
    number, name = next(numbers), f"reader-{type(both).__name__.lower()}"
    await asyncio.to_thread(receive, service, number, "the newest before")
    [newest] = await both.read(both.client.events, order="desc", most=1)
    await both.ask(both.client.consumer(name).seek, cursor=newest.cursor)
    texts = ["one", "two", "three"]
    for text in texts:
        await asyncio.to_thread(receive, service, number, text)

    crashed = await both.read(both.client.consumer(name).follow, 2, most=2)
    again = await both.read(both.client.consumer(name).follow, 2, most=3)
    rest = await both.ask(both.client.consumer(name).events)

    assert [[it.event.text for it in found] for found in (crashed, again, rest.items)] == [
        texts[:2],
        texts,
        texts[2:],
    ]


async def test_key_without_codes_gets_no_code(service):
    """Mutant: the mask as the code."""
    number = next(numbers)
    await asyncio.to_thread(receive, service, number, "482913 is your code")

    def wait():
        with Client(service.admin_url, MASKED) as client:
            client.wait_for_code(0, request_id=str(20_000_000 + number))

    with pytest.raises(SmshookError, match="needs the scope codes:read"):
        await asyncio.to_thread(wait)


def test_errors_have_the_codes_of_the_api(service):
    with Client(service.admin_url, "wrong") as client, pytest.raises(ApiError) as wrong:
        client.page("/v1/events")
    with Client(service.admin_url, live.KEY) as client:
        with pytest.raises(ApiError) as unbounded:
            client.wait_for_code(0, number="18505550123")
        with pytest.raises(ApiError) as unknown:
            client.order("tellabto", number="18505550123")

    assert [(it.value.status, it.value.code) for it in (wrong, unbounded, unknown)] == [
        (401, "unauthorized"),
        (400, "bad_parameter"),
        (422, "unknown_source"),
    ]
    assert wrong.value.request_id


# The page


def examples():
    return re.findall(r"(?ms)^```python\n(.*?)^```$", README.read_text())


@pytest.fixture
def environment(service, monkeypatch):
    monkeypatch.setenv("SMSHOOK_URL", service.admin_url)
    monkeypatch.setenv("SMSHOOK_API_KEY", live.KEY)


def printed(code):
    """Return what an example prints. One that goes on for ever ends after three events."""
    code = re.sub(r"(?m)^(\s+)(async )?for (.*):\n", r"\g<0>\1    count()\n", code)
    events = itertools.count(1)

    def count():
        if next(events) > 3:
            raise StopAsyncIteration

    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(StopAsyncIteration, RuntimeError):
        exec(textwrap.dedent(code), {"count": count, "__name__": "example"})  # noqa: S102
    return output.getvalue().splitlines()


@pytest.mark.usefixtures("environment")
async def test_examples_for_codes_print_them(service):
    """Mutants: an argument renamed in the code; a wrong scope of a wait."""
    order, filtered, *_ = examples()
    order = order.replace("herosms", "smsactivate")
    body = b'{"activationId":445001,"service":"go","text":"482913 is your code","code":"482913"}'
    json_ = {"Content-Type": "application/json"}

    service.post(body, source="smsactivate", headers=json_)
    assert await asyncio.to_thread(printed, order) == ["482913"]

    waiting = asyncio.create_task(asyncio.to_thread(printed, filtered))
    for text in itertools.count(100_000):
        await asyncio.to_thread(receive, service, next(numbers), f"{text} is your code")
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        if done:
            break
    first, second = await waiting
    assert first != second


@pytest.mark.usefixtures("environment")
async def test_examples_that_follow_events_print_them(service):
    for _ in range(3):
        await asyncio.to_thread(receive, service, next(numbers), "482913 is your code")

    found = [await asyncio.to_thread(printed, code) for code in examples()[2:]]

    streamed, consumed, patched = found
    assert (len(streamed), len(consumed), patched) == (3, 3, [])
    assert all(re.fullmatch(r"\S+ \+1850\d+ \S+", line) for line in streamed)
    assert all(line.endswith("{'amount': '1.20', 'currency': None}") for line in consumed)
