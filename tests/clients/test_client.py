"""The Python client on a server with scripted answers: retries, cuts, errors, secrets."""

import asyncio
import copy
import inspect
import json
import logging
import ssl
import traceback
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
import trustme
from both_clients import KINDS
from endpoint import endpoint, hang, reply, reset, server_tls

import smshook_client
from smshook_client import (
    ApiError,
    AsyncClient,
    Client,
    ConfigurationError,
    InvalidAnswer,
    SmshookError,
    Unreachable,
    WaitTimeout,
)
from smshook_client.api import Api
from smshook_client.binding import Blocking, call
from smshook_client.records import Code, Event, Item, Page

KEY = "k3y-of-the-client"
SECRETS = (KEY, "482913", "18505550123", "s3cret")


@pytest.fixture
async def end():
    async with endpoint() as end:
        yield end


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
async def both(kind, end, monkeypatch):
    """A client of the endpoint that waits a thousandth of its time between two tries."""
    monkeypatch.setattr(Api, "_pause", lambda *_: 0.001)
    both = kind(end.url, KEY, timeout=5)
    yield both
    await both.ask(both.client.close)


def event(number, **data):
    return {
        "specversion": "1.0",
        "id": f"event-{number}",
        "source": "tellabot",
        "type": "sms.received",
        "subject": f"request/{number}",
        "time": "2026-09-14T18:42:36Z",
        "recordedtime": "2026-09-14T18:42:37.123456Z",
        "dedupekey": "x",
        "data": {"to": "+18505550123", "code": "482913", "text": "482913 s3cret"} | data,
    }


def answered(body, status=200, **headers):
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return reply(status, json.dumps(body).encode(), headers=fields)


def item(number, **data):
    return answered({"cursor": f"at-{number}", "event": event(number, **data)})


def up(cursor):
    """The answer of a wait that is over."""
    return reply(204, b"", headers={"Smshook-Cursor": cursor})


def problem(status, code, **more):
    return answered({"status": status, "code": code, "detail": "why", **more}, status)


def queries(end):
    return [dict(parse_qsl(urlsplit(request.target).query)) for request in end.requests]


def stream(*parts, then=None):
    """A stream that sends these bytes and then ends, or does what an answer does."""

    async def answer(request, connection):
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        connection.write(b"Connection: close\r\n\r\n")
        for part in parts:
            connection.write(part)
            await connection.drain()
        if then is not None:
            await then(request, connection)
        connection.writer.close()

    return answer


def frame(number, **data):
    body = json.dumps(event(number, **data), ensure_ascii=False)
    return f"id: at-{number}\nevent: sms.received\ndata: {body}\n\n".encode()


# Retries


async def test_get_is_sent_again_after_a_passing_failure(both, end):
    """Mutants: one try only; 503 counts as final."""
    end.says(reset, problem(503, "unavailable"), problem(429, "rate"), item(1))

    found = await both.ask(both.client.event, "event-1")

    assert found.id == "event-1"
    assert len(end.requests) == 4


async def test_get_gives_up_after_its_retries(both, end):
    """Mutant: retries without end."""
    end.usual = problem(503, "unavailable")

    with pytest.raises(ApiError) as raised:
        await both.ask(both.client.event, "event-1")

    assert (raised.value.code, len(end.requests)) == ("unavailable", 6)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422])
async def test_final_error_is_raised_at_once(both, end, status):
    """Mutant: 4xx is tried again."""
    end.usual = problem(status, "not_found", request_id="r-1")

    with pytest.raises(ApiError) as raised:
        await both.ask(both.client.event, "event-1")

    error = raised.value
    assert (error.status, error.code, error.detail, error.request_id, str(error)) == (
        *(status, "not_found", "why", "r-1", f"{status} not_found: why"),
    )
    assert len(end.requests) == 1


async def test_post_is_sent_once(both, end):
    """It may have been done. Mutant: a POST that is tried again."""
    end.usual = reset

    with pytest.raises(Unreachable):
        await both.ask(both.client.post, "/v1/events/event-1/replay")

    assert len(end.requests) == 1


def test_pauses_grow_to_a_limit_and_obey_retry_after():
    """Mutants: a constant pause; no jitter; Retry-After ignored."""
    most = Api("http://a", "", None, timeout=1, retries=3, chance=lambda: 1.0)
    least = Api("http://a", "", None, timeout=1, retries=3, chance=lambda: 0.0)
    late = ApiError(503, "unavailable", retry_after=9.0)

    assert [most._pause(failures, None) for failures in (1, 2, 3, 9, 10_000)] == [
        *(0.25, 0.5, 1.0, 15.0, 15.0)
    ]
    assert least._pause(1, None) == 0.125
    assert most._pause(1, late) == 9.0


# Waits


async def test_long_wait_is_cut_into_parts_without_a_gap(both, end, monkeypatch):
    """Mutants: the second part begins at `since` again, or without a place."""
    monkeypatch.setattr("smshook_client.api.POLL", 0.2)
    end.says(up("at-7"), up("at-8"), item(9))

    found = await both.ask(both.client.wait, 5, number="18505550123", since=timedelta(minutes=1))

    first, second, third = queries(end)
    assert found.cursor == "at-9"
    assert first == {"number": "18505550123", "since": "60000ms", "timeout": "0.200"}
    assert [asked.get("after") for asked in (second, third)] == ["at-7", "at-8"]
    assert "since" not in second


async def test_wait_survives_a_restart_of_the_service(both, end):
    """Mutants: the retries of a GET end it; the place of the 503 is lost."""
    stopping = {"status": 503, "code": "stopping"}
    end.says(answered(stopping, 503, Smshook_Cursor="at-7"), *[reset] * 6, item(9))

    found = await both.ask(both.client.wait, 5, since="1m")

    assert found.event.id == "event-9"
    assert {asked.get("after") for asked in queries(end)[1:]} == {"at-7"}


async def test_wait_survives_a_lost_first_connection(kind, end):
    """Mutant: only an answer counts as reached."""
    both = kind(end.url, KEY, retries=0)
    end.says(reset, item(9))

    found = await both.ask(both.client.wait, 5, since="1m")

    assert found.event.id == "event-9"
    await both.ask(both.client.close)


async def test_wait_that_is_up_raises_a_timeout(both, end):
    end.usual = up("at-7")

    with pytest.raises(WaitTimeout, match=r"^no matching event came within 0 s$") as raised:
        await both.ask(both.client.wait_for_code, 0, reference="signup-1")

    assert isinstance(raised.value, TimeoutError)
    [asked] = queries(end)
    assert asked == {"reference": "signup-1", "code": "true", "timeout": "0.000"}


async def test_wait_that_never_reached_the_service_says_so(both, end):
    """Mutant: a WaitTimeout, as if no code had come."""
    end.usual = reset

    with pytest.raises(Unreachable):
        await both.ask(both.client.wait, 0.05, since="1m")


async def test_masked_code_is_an_error(both, end):
    """Mutant: `***` is typed into the form."""
    end.usual = item(1, code="***")

    with pytest.raises(SmshookError, match="needs the scope codes:read"):
        await both.ask(both.client.wait_for_code, reference="signup-1")


# Orders


def order(status=201, **fields):
    record = {
        "id": "01931c5e-7b2a-7c3d-9e4f-0123456789ab",
        "request_id": None,
        "activation_id": None,
        "rental_id": None,
        "number": "+18505550123",
        "created_at": "2026-09-14T18:42:36Z",
    }
    return answered(record | fields, status)


async def test_second_wait_of_an_order_goes_on_after_the_first(both, end):
    """Mutant: the second wait asks for the newest code again."""
    end.says(order(activation_id="445001"), item(1), item(2))

    taken = await both.ask(both.client.order, "herosms", activation_id=445001)
    codes = [await both.ask(taken.wait_for_code, 5) for _ in range(2)]

    _, first, second = queries(end)
    assert json.loads(end.requests[0].body) == {"source": "herosms", "activation_id": 445001}
    assert (taken.number, codes) == ("+18505550123", ["482913", "482913"])
    assert {name: first[name] for name in ("source", "activation_id", "code")} == {
        "source": "herosms",
        "activation_id": "445001",
        "code": "true",
    }
    assert "after" not in first
    assert second["after"] == "at-1"


async def test_order_of_a_rental_skips_the_codes_before_it(both, end):
    """Mutant: the code of yesterday's sign-up."""
    listed = {"data": [{"cursor": "at-4", "event": event(4)}], "next_cursor": "x", "has_more": True}
    end.says(order(200, rental_id="7"), answered(listed), item(5))

    taken = await both.ask(both.client.order, "tellabot", rental_id=7)
    await both.ask(taken.wait_for_code, 5)

    _, search, wait = queries(end)
    assert (search["order"], search["limit"], search["rental_id"]) == ("desc", "1", "7")
    assert wait["after"] == "at-4"


async def test_order_of_a_number_waits_since_it_was_made(both, end):
    """A number has earlier owners. Mutant: without `since`."""
    end.says(order(), item(1), item(2))

    taken = await both.ask(both.client.order, "tellabot", number="18505550123")
    for _ in range(2):
        await both.ask(taken.wait_for_code, 5)

    _, first, second = queries(end)
    assert (first["number"], first["since"]) == ("+18505550123", "2026-09-14T18:42:36Z")
    assert ("since" in second, second["after"]) == (False, "at-1")


async def test_times_are_sent_as_the_api_reads_them(both, end):
    """Mutants: `0:30:00`; the local time of a naive one."""
    end.says(order())
    at = datetime(2026, 9, 14, 18, 42, tzinfo=UTC)

    await both.ask(both.client.order, "a", number="1", expires=timedelta(minutes=30), labels={})
    end.says(up("x"))
    with pytest.raises(WaitTimeout):
        await both.ask(both.client.wait, 0, since=at)
    with pytest.raises(ValueError, match="since: give the time a zone"):
        await both.ask(both.client.wait, 0, since=at.replace(tzinfo=None))

    sent = json.loads(end.requests[0].body)
    assert sent == {"source": "a", "number": "1", "expires": "1800000ms", "labels": {}}
    assert queries(end)[1]["since"] == "2026-09-14T18:42:00+00:00"


async def test_order_is_cancelled(both, end):
    end.says(order(), reply(204, b""))
    taken = await both.ask(both.client.order, "tellabot", number="18505550123")

    await both.ask(taken.cancel)

    assert (end.requests[1].method, end.requests[1].target) == ("DELETE", f"/v1/orders/{taken.id}")


# Streams


async def test_cut_stream_continues_behind_its_last_event(both, end):
    """Mutants: it continues at its beginning; an event that was cut off is yielded."""
    end.says(
        stream(b":\n\n", frame(1), frame(2)[:-10]),
        reset,
        stream(frame(2), frame(3), then=reset),
        problem(503, "stopping"),
        stream(frame(4), then=hang),
    )

    found = await both.read(both.client.stream, "at-0", type=["sms.received"], most=4)

    assert [cursor for cursor, _ in found] == ["at-1", "at-2", "at-3", "at-4"]
    assert [asked["after"] for asked in queries(end)] == ["at-0", "at-1", "at-1", "at-3", "at-3"]
    assert {asked["type"] for asked in queries(end)} == {"sms.received"}


@pytest.mark.parametrize(("data", "place"), [([], "start"), ([event(7)], "at-7")])
async def test_stream_from_now_has_a_place_before_its_first_event(both, end, data, place):
    """Mutant: a cut before the first event loses the events until the next connection."""
    items = [{"cursor": "at-7", "event": it} for it in data]
    end.says(
        answered({"data": items, "next_cursor": "x", "has_more": False}),
        stream(b":\n\n"),
        stream(frame(8)),
    )

    [found] = await both.read(both.client.stream, most=1)

    assert found.event.id == "event-8"
    assert [asked.get("after") for asked in queries(end)] == [None, place, place]


@pytest.mark.parametrize("type_", ["system.disk_low", ["sms.received", "system.disk_low"], None])
async def test_stream_of_alerts_from_now_begins_after_old_ones(both, end, type_):
    """Without their type they are not listed. Mutants: any type is asked for; no type is."""
    page = answered({"data": [], "next_cursor": "x", "has_more": False})
    end.says(page, stream(frame(8)))

    await both.read(both.client.stream, most=1, type=type_)

    query = parse_qsl(urlsplit(end.requests[0].target).query)
    asked = [value for name, value in query if name == "type"]
    named = [type_] if isinstance(type_, str) else type_
    assert asked == ([*named, "sms.received"] if named else [])


async def test_filter_without_a_value_is_refused(both, end):
    """Mutant: it is left out, and the code of any number is returned."""
    with pytest.raises(ValueError, match="number: empty; give a value, or leave it out"):
        await both.ask(both.client.wait_for_code, 1, number=[], since="1m")

    assert end.requests == []


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
async def test_code_can_be_copied(both, end, copied):
    """Mutant: without its event, as a text is."""
    end.says(item(1))
    code = await both.ask(both.client.wait_for_code, 1, request_id="1")

    again = copied(code)

    assert (again, again.cursor, again.event) == ("482913", code.cursor, code.event)


async def test_calls_of_one_client_do_not_wait_for_each_other(both, end):
    """Mutant: the limits of httpx. The last calls then wait until another one has its answer."""
    count, all_are_here = 101, asyncio.Event()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(count))

    async def answer(request, connection):
        if len(end.requests) == count:
            all_are_here.set()
        await all_are_here.wait()
        await answered({})(request, connection)

    end.usual = answer

    calls = [both.ask(both.client.get, "/v1/me") for _ in range(count)]

    assert await asyncio.gather(*calls) == [{}] * count
    assert len(end.requests) == count  # none was late, and sent again


async def test_text_with_other_line_ends_stays_one_event(both, end):
    """Mutant: `iter_lines` of httpx, which splits a line at U+2028."""
    text = "a\u2028b\u0085c\x0bd"
    parts = frame(1, text=text)
    end.says(stream(*(parts[at : at + 1] for at in range(len(parts)))))

    [found] = await both.read(both.client.stream, "start", most=1)

    assert found.event.text == text


async def test_silent_stream_is_opened_again(both, end, monkeypatch):
    """Mutant: no time limit, so that a lost connection is a stream without events."""
    monkeypatch.setattr("smshook_client.api.SILENCE", 0.1)
    end.says(stream(frame(1), then=hang), stream(frame(2)))

    found = await both.read(both.client.stream, "start", most=2)

    assert [it.event.id for it in found] == ["event-1", "event-2"]


async def test_refused_stream_raises(both, end):
    """Mutants: a 410 is tried for ever; so is an address where smshook never answered."""
    end.says(problem(410, "cursor_gone"))
    with pytest.raises(ApiError) as raised:
        await both.read(both.client.stream, "at-0", most=1)
    assert raised.value.code == "cursor_gone"

    end.usual = reset
    with pytest.raises(Unreachable):
        await both.read(both.client.stream, "at-0", most=1)
    assert len(end.requests) == 1 + 6


async def test_stream_without_reconnect_ends_with_its_connection(both, end):
    """The command line finds the service again itself. Mutant: it reconnects."""
    end.says(stream(frame(1)), stream(then=reset))

    found = await both.read(both.client.stream, "start", reconnect=False, most=9)
    with pytest.raises(Unreachable):
        await both.read(both.client.stream, "start", reconnect=False, most=9)

    assert len(found) == 1
    assert len(end.requests) == 2


# Consumers


def batch(*numbers):
    items = [{"cursor": f"at-{it}", "event": event(it)} for it in numbers]
    cursor = f"at-{numbers[-1] if numbers else 0}"
    return answered({"data": items, "next_cursor": cursor, "has_more": False})


def asked(end):
    return [
        (request.method, urlsplit(request.target).path.rpartition("/")[2], request.body)
        for request in end.requests
    ]


async def test_consumer_commits_a_batch_when_all_of_it_is_handled(both, end):
    """Mutants: a commit before the events are handled; one for an empty batch."""
    end.says(batch(1, 2), answered({}), batch(), batch(3, 4))
    consumer = both.client.consumer("billing/eu")

    found = await both.read(consumer.follow, 2, most=3)

    reading = ("GET", "events", b"")
    assert [it.cursor for it in found] == ["at-1", "at-2", "at-3"]
    assert asked(end) == [reading, ("POST", "commit", b'{"cursor":"at-2"}'), reading, reading]
    assert "/v1/consumers/billing%2Feu/events" in end.requests[0].target
    assert queries(end)[0] == {"limit": "2", "wait": "25.000"}


async def test_consumer_goes_on_after_an_outage(both, end):
    """Mutants: the retries of a GET end it; a commit that failed is left out."""
    end.says(batch(1), *[reset] * 8, answered({}), *[reset] * 8, batch(2))

    found = await both.read(both.client.consumer("billing").follow, most=2)

    assert [it.cursor for it in found] == ["at-1", "at-2"]


async def test_consumer_passes_an_empty_batch_that_is_not_the_last(both, end):
    """Mutant: only a batch with events moves the place, and the same part is searched for ever."""
    none = answered({"data": [], "next_cursor": "at-5000", "has_more": True})
    end.says(none, answered({}), batch(5001), answered({}))

    found = await both.read(both.client.consumer("billing").follow, most=1)

    assert [it.event.id for it in found] == ["event-5001"]
    assert json.loads(end.requests[1].body) == {"cursor": "at-5000"}


async def test_consumer_does_single_steps(both, end):
    at = datetime(2026, 9, 14, 18, 42, tzinfo=UTC)
    end.says(batch(1), *[answered({})] * 3)
    consumer = both.client.consumer("billing")

    found = await both.ask(consumer.events, limit=7, wait=2)
    await both.ask(consumer.commit, found.cursor)
    await both.ask(consumer.seek, cursor="at-0")
    await both.ask(consumer.seek, time=at)

    assert [it.event.id for it in found.items] == ["event-1"]
    assert asked(end) == [
        ("GET", "events", b""),
        ("POST", "commit", b'{"cursor":"at-1"}'),
        ("POST", "seek", b'{"cursor":"at-0"}'),
        ("POST", "seek", b'{"time":"2026-09-14T18:42:00+00:00"}'),
    ]


async def test_subscription_is_changed_by_patch(both, end):
    """It may have been done, so it is sent once. Mutants: a POST; it is tried again."""
    end.says(answered({"id": "1", "format": "standard"}), reply(503))
    path = "/v1/subscriptions/1"

    changed = await both.ask(both.client.patch, path, json={"format": "standard"})
    with pytest.raises(ApiError):
        await both.ask(both.client.patch, path, json={"format": "json"})

    assert changed == {"id": "1", "format": "standard"}
    assert [(it.method, it.target, it.body) for it in end.requests] == [
        ("PATCH", path, b'{"format":"standard"}'),
        ("PATCH", path, b'{"format":"json"}'),
    ]


# Lists


async def test_pages_are_followed_up_to_a_limit(both, end):
    """Mutants: an empty page ends the list; a page too many."""

    def page(*numbers, more=True):
        items = [{"cursor": f"at-{it}", "event": event(it)} for it in numbers]
        return answered({"data": items, "next_cursor": f"c{numbers}", "has_more": more})

    end.says(page(1, 2), page(), page(3), page(4, more=False))
    every = await both.read(both.client.events, code=True, most=100)
    end.says(page(1, 2))
    some = await both.read(both.client.events, limit=2, order="desc", most=100)

    assert [it.event.id for it in every] == [f"event-{number}" for number in (1, 2, 3, 4)]
    assert len(some) == 2
    assert queries(end)[1:3] == [
        {"code": "true", "order": "asc", "after": after, "limit": "1000"}
        for after in ("c(1, 2)", "c()")
    ]
    assert queries(end)[4] == {"order": "desc", "limit": "2"}


# Configuration and foreign servers


def test_environment_configures_a_client(monkeypatch):
    """Mutant: an argument that is overridden by the environment."""
    monkeypatch.setenv("SMSHOOK_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("SMSHOOK_API_KEY", "k3y\n")

    with Client() as found, Client("http://127.0.0.1:8", "other") as given:
        pass

    assert [repr(found), repr(given)] == [
        *("<Client http://127.0.0.1:9>", "<Client http://127.0.0.1:8>")
    ]
    assert found._api._headers[-1] == (b"authorization", b"Bearer k3y")
    assert given._api._headers[-1] == (b"authorization", b"Bearer other")


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    ("url", "key", "said"),
    [
        (None, "k", "no URL of smshook: set SMSHOOK_URL, or give url"),
        ("http://a", None, "no API key: set SMSHOOK_API_KEY, or give key"),
        ("a.example", "k", "the URL must begin with http:// or https:// and a host"),
        ("http://a:b", "k", "the URL must begin with http:// or https:// and a host"),
        ("http://a", "k\nx", "the API key has a character that no HTTP header may hold"),
    ],
)
def test_unusable_configuration_is_explained(kind, url, key, said, monkeypatch):
    for name in ("SMSHOOK_URL", "SMSHOOK_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(ConfigurationError) as raised:
        kind(url, key)

    assert str(raised.value) == said


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"data": 1}', b'{"cursor": "x"}', b"null"])
async def test_foreign_server_is_recognized(both, end, body):
    end.usual = reply(200, body)
    client, said = both.client, f"the server at {end.url} is not the API of smshook"

    for reading in (
        both.ask(client.wait, 1, since="1m"),
        both.ask(client.event, "event-1"),
        both.ask(client.consumer("a").events),
        both.ask(client.page, "/v1/events"),
        both.ask(client.order, "a", number="1"),
        both.read(client.stream, "start", most=1),
    ):
        with pytest.raises(InvalidAnswer) as raised:
            await reading
        assert str(raised.value) == said


async def test_empty_wait_of_a_foreign_server_is_recognized(both, end):
    end.usual = reply(204, b"")

    with pytest.raises(InvalidAnswer):
        await both.ask(both.client.wait, 1, since="1m")


async def test_slow_answer_is_unreachable(kind, end):
    end.usual = hang
    both = kind(end.url, KEY, timeout=0.1, retries=0)

    with pytest.raises(Unreachable, match=rf"^no answer from {end.url} in time$"):
        await both.ask(both.client.event, "event-1")

    await both.ask(both.client.close)


async def test_own_certificates_are_trusted(kind):
    authority = trustme.CA()
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)

    async with endpoint(tls=server_tls(authority)) as end:
        end.usual = item(1)
        stranger = kind(end.url, KEY, retries=0)
        with pytest.raises(Unreachable):
            await stranger.ask(stranger.client.event, "event-1")
        both = kind(end.url, KEY, verify=trusted)
        found = await both.ask(both.client.event, "event-1")
        for it in (stranger, both):
            await it.ask(it.client.close)

    assert found.id == "event-1"


# Secrets


async def test_secrets_are_in_no_repr_log_or_error(both, end, caplog):
    """Mutants: a client of httpx, which logs each URL; the library's error as the cause."""
    caplog.set_level(logging.INFO)
    end.says(item(1), order(number="+18505550123"))
    shown = [
        found := await both.ask(both.client.wait, 5, number="18505550123", since="1m"),
        both.client,
        found.event,
        Code("482913", "at-1", found.event),
        Page([event(1)], "x", has_more=False),
        await both.ask(both.client.order, "tellabot", number="18505550123"),
        both.client.consumer("a"),
    ]
    end.usual = reset
    errors = []
    for failing in (
        both.ask(both.client.wait, 0, number="18505550123", since="1m"),
        both.ask(both.client.post, "/v1/orders", json={"number": "18505550123"}),
    ):
        with pytest.raises(Unreachable) as raised:
            await failing
        errors += traceback.format_exception_only(raised.value)
        assert (raised.value.__cause__, raised.value.__suppress_context__) == (None, True)

    said = "\n".join([*map(repr, shown), *errors, caplog.text])
    assert [secret for secret in SECRETS if secret in said] == []


async def test_password_of_the_url_is_in_no_repr_or_error(kind, end):
    url = end.url.replace("://", "://me:s3cret@") + "/s3cret"
    end.usual = reset
    both = kind(url, KEY, retries=0)

    with pytest.raises(Unreachable) as raised:
        await both.ask(both.client.event, "event-1")

    assert "s3cret" not in f"{both.client!r} {raised.value}"
    await both.ask(both.client.close)


async def test_environment_does_not_choose_a_proxy(both, end, monkeypatch):
    """Mutant: `trust_env`, by which a proxy sees the key."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    end.usual = item(1)

    assert (await both.ask(both.client.event, "event-1")).id == "event-1"
    assert end.requests[0].headers["authorization"] == f"Bearer {KEY}"


# One implementation


def test_both_clients_have_the_same_methods():
    """Mutant: a method that only one of them has."""

    def methods(kind):
        return {
            name: str(inspect.signature(getattr(kind, name)))
            for name in dir(kind)
            if not name.startswith("_") and callable(getattr(kind, name)) and name != "consumer"
        }

    for blocking, waiting in (
        (smshook_client.Client, smshook_client.AsyncClient),
        (smshook_client.Order, smshook_client.AsyncOrder),
        (smshook_client.Consumer, smshook_client.AsyncConsumer),
    ):
        assert methods(blocking) == methods(waiting)


async def test_blocking_client_works_inside_an_event_loop(end):
    """A test or a notebook may run one."""
    end.usual = item(1)

    def ask():
        async def inside():
            with Client(end.url, KEY) as client:
                return client.event("event-1")

        return asyncio.run(inside())

    assert (await asyncio.to_thread(ask)).id == "event-1"


def test_blocking_method_cannot_wait_for_an_event_loop():
    """Mutant: the method returns None, half done."""

    class Sleeper(Blocking):
        @call
        async def sleep(self):
            await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="a blocking client cannot await an event loop"):
        Sleeper().sleep()


def test_records_read_an_event():
    found = Event.parse(event(1, reference="signup-1"))

    assert found.recorded_at == datetime(2026, 9, 14, 18, 42, 37, 123456, UTC)
    assert (found.code, found.number, found.reference) == ("482913", "+18505550123", "signup-1")
    assert Item("x", found).event.body["dedupekey"] == "x"
