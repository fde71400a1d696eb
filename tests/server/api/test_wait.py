"""`GET /v1/events/wait`."""

import asyncio
import gc
import socket
import tracemalloc

import pytest

from core.errors import Unavailable
from httpd.listener import Listener
from httpd.protocol import make_protocol


async def test_wait_answers_when_the_event_comes(service):
    async with service.call("/v1/events/wait?since=1s&service=google") as call:
        await service.waiting()
        event_id = await service.sms()
        status, answer = await call.answer()

    listed = (await service.ask("/v1/events")).json()["data"]
    assert (status, answer) == (200, listed[0])
    assert answer["event"]["id"] == event_id
    assert call.headers["smshook-cursor"] == answer["cursor"]
    assert call.headers["cache-control"] == "no-store"
    assert service.hub.waits == 0


async def test_resend_gets_the_second_code(service):
    """Mutant: the oldest match is answered."""
    await service.sms(id=7, pin="1111")
    path = "/v1/events/wait?request_id=7"
    first = (await service.ask(path)).json()
    second = await service.sms(id=7, pin="2222", reply="again")
    third = await service.sms(id=7, pin="3333", reply="and again")

    newest = (await service.ask(path)).json()["event"]["id"]
    after = (await service.ask(f"{path}&after={first['cursor']}")).json()["event"]["id"]

    assert (after, newest) == (second, third)


async def test_second_wait_waits_for_the_second_code(service):
    await service.sms(id=7, pin="1111")
    path = "/v1/events/wait?request_id=7"
    first = (await service.ask(path)).json()
    async with service.call(f"{path}&after={first['cursor']}") as call:
        await service.waiting()
        await service.sms(id=8, pin="9999")
        second = await service.sms(id=7, pin="2222", reply="again")
        _, answer = await call.answer()

    assert answer["event"]["id"] == second


@pytest.mark.parametrize(("bound", "place"), [("after={}", 0), ("since=0s", -1)])
async def test_one_of_two_events_that_come_at_once_is_the_answer(service, bound, place):
    """With `after` the first, with `since` the newest. Mutant: always the newest."""
    await service.sms()
    service.now += 60
    cursor = (await service.ask("/v1/events")).json()["next_cursor"]
    async with service.call(f"/v1/events/wait?{bound.format(cursor)}") as call:
        await service.waiting()
        await asyncio.gather(service.sms(), service.sms(), service.sms())
        _, answer = await call.answer()

    assert answer == (await service.ask("/v1/events")).json()["data"][1:][place]


async def test_wait_needs_a_bound(service):
    for query in ("", "?service=google", "?type=sms.received&code=true"):
        answer = await service.ask(f"/v1/events/wait{query}")

        assert (answer.status_code, answer.json()["code"]) == (400, "bad_parameter")


async def test_wait_ends_without_an_event(service):
    await service.sms()
    newest = (await service.ask("/v1/events")).json()["next_cursor"]

    answer = await service.ask("/v1/events/wait?subject=request/1&timeout=0.05")

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["smshook-cursor"] == newest


async def register(service):
    """Give the event of request 7 the reference `signup-1`."""
    order = {"source": "tellabot", "request_id": "7", "reference": "signup-1"}
    assert (await service.ask("/v1/orders", method="POST", json=order)).status_code == 201


async def test_wait_answers_when_a_stored_event_begins_to_match(service):
    """Its order comes after it. Mutants: the change is not announced, or wakes no wait."""
    async with service.call("/v1/events/wait?reference=signup-1") as call:
        await service.waiting()
        event_id = await service.sms(id=7)
        await service.sms(id=8)
        await register(service)
        status, answer = await call.answer()

    assert (status, answer["event"]["id"]) == (200, event_id)
    assert answer["event"]["data"]["reference"] == "signup-1"


@pytest.mark.parametrize("bound", ["", "&since=0s", "&after={}"])
async def test_cursor_of_a_204_passes_no_event_that_matches_later(service, bound):
    """Mutant: it is that of the newest event."""
    await service.sms()
    service.now += 60
    cursor = (await service.ask("/v1/events")).json()["next_cursor"]
    path = "/v1/events/wait?reference=signup-1"
    async with service.call(f"{path}{bound.format(cursor)}") as call:
        await service.waiting()
        event_id = await service.sms(id=7)
        [inbox] = service.hub._inboxes
        inbox.be_late()
        status, _ = await call.answer()
    await register(service)

    again = await service.ask(f"{path}&timeout=0&after={call.headers['smshook-cursor']}")

    assert (status, again.status_code) == (204, 200)
    assert again.json()["event"]["id"] == event_id
    assert call.headers["smshook-cursor"] == cursor


async def test_wait_of_a_filtered_key_shows_nothing_of_hidden_events(service):
    """Mutants: the cursor is that of the newest event; the `when` is not used for new events."""
    path = "/v1/events/wait?since=1h&timeout=0.05&code=true&service=whatsapp"
    await service.sms()
    before = await service.ask(path, "growth")
    await service.hero(service="wa", code="4711")
    after = await service.ask(path, "growth")
    service.now += 60
    async with service.call("/v1/events/wait?since=0s", "growth") as call:
        await service.waiting()
        await service.hero()
        shown = await service.sms()
        _, answer = await call.answer()

    listed = await service.ask("/v1/events", "growth")
    assert (before.status_code, after.status_code) == (204, 204)
    assert before.headers["smshook-cursor"] == after.headers["smshook-cursor"]
    assert answer == listed.json()["data"][-1]
    assert answer["event"]["id"] == shown


async def test_waits_in_a_row_miss_nothing(service):
    """Each goes on from the header of the one before."""
    await service.sms()
    path = "/v1/events/wait?source=herosms&timeout=0.02"
    first = await service.ask(f"{path}&since=1h")
    await service.sms()
    second = await service.ask(f"{path}&after={first.headers['smshook-cursor']}")
    event_id = await service.hero()
    third = await service.ask(f"{path}&after={second.headers['smshook-cursor']}")

    assert (first.status_code, second.status_code) == (204, 204)
    assert third.json()["event"]["id"] == event_id


async def test_wait_ends_with_its_client(service):
    async with service.call("/v1/events/wait?since=1h") as call:
        await service.waiting()
        call.cut()
        await call.task

    assert (service.hub.waits, service.hub._inboxes) == (0, set())


async def test_wait_that_the_end_cuts_loses_no_event(service):
    """The event came, and the wait did not look at it any more.

    Mutant: the cursor is that of the newest event at the end.
    """
    await service.sms()
    async with service.call("/v1/events/wait?request_id=7") as call:
        await service.waiting()
        with service.journal.listen(lambda _committed: service.hub.close()):
            event_id = await service.sms(id=7)
        status, problem = await call.answer()

    after = {"after": call.headers["smshook-cursor"]}
    missed = await service.data("/v1/events", **after)
    assert (status, problem["code"]) == (503, "reader_ended")
    assert [item["event"]["id"] for item in missed] == [event_id]


async def test_more_waits_than_allowed_are_refused(service):
    """Mutant: a refused wait is counted."""
    service.hub._most["wait"] = 2
    path = "/v1/events/wait?since=1h"
    async with service.call(path), service.call(path, "coder"):
        await service.waiting(2)
        own, all_ = await service.ask(path), await service.ask(path, "reader")
    again = await service.ask(f"{path}&timeout=0")

    assert [(answer.status_code, answer.json()["code"]) for answer in (own, all_)] == [
        (429, "too_many_waits"),
        (503, "too_many_waits"),
    ]
    assert own.headers["retry-after"] == all_.headers["retry-after"] == "5"
    assert again.status_code == 204
    assert own.headers["smshook-cursor"] == again.headers["smshook-cursor"]
    assert all_.headers["smshook-cursor"] == again.headers["smshook-cursor"]


async def test_event_that_is_there_needs_no_free_wait(service):
    """Mutant: it is refused. Mutant: the oldest match is answered."""
    service.hub._most["wait"] = 2
    for_another = "/v1/events/wait?reference=another"
    async with service.call(for_another), service.call(for_another, "coder"):
        await service.waiting(2)
        await service.sms()
        newest = await service.sms()
        found = await service.ask("/v1/events/wait?since=1h")
        hidden = await service.ask("/v1/events/wait?since=1h&source=herosms")

    assert (found.status_code, found.json()["event"]["id"]) == (200, newest)
    assert hidden.status_code == 429


async def refused_by_rate(service, path, monkeypatch):
    monkeypatch.setattr(service.parts.keys, "take", lambda _: 7.0)
    return await service.ask(path)


async def refused_by_the_end(service, path, _monkeypatch):
    service.hub.close()
    return await service.ask(path)


async def refused_by_the_journal(service, path, monkeypatch):
    async def ask(_read):
        raise Unavailable("stalled")

    monkeypatch.setattr(service.journal, "ask", ask)
    return await service.ask(path)


@pytest.mark.parametrize(
    ("refuse", "said"),
    [
        (refused_by_rate, (429, "too_many")),
        (refused_by_the_end, (503, "reader_ended")),
        (refused_by_the_journal, (503, "unavailable")),
    ],
)
async def test_refused_wait_goes_on_from_its_own_cursor(service, refuse, said, monkeypatch):
    """Without `after` there is no such cursor: the newest one would skip events, and the first
    one would bring an old code.

    Mutants: only answers of the handler have it; a text that is no cursor is repeated; after a
    restore, no cursor is known.
    """
    monkeypatch.setattr(service.journal, "generation", "ab" * 16)  # a restore begins one
    await service.sms()
    cursor = (await service.ask("/v1/events")).json()["next_cursor"]
    await service.sms()
    await service.hub.begin()
    answer = await refuse(service, f"/v1/events/wait?after={cursor}", monkeypatch)
    without = await service.ask("/v1/events/wait?since=1h")
    wrong = await service.ask("/v1/events/wait?after=a%0d%0ab:c")

    assert (answer.status_code, answer.json()["code"]) == said
    assert answer.headers["smshook-cursor"] == cursor
    assert "smshook-cursor" not in {**without.headers, **wrong.headers}


async def test_senseless_timeout_is_refused(service):
    for seconds in ("56", "-1", "1e1", "", "ten", "5.0001"):
        answer = await service.ask("/v1/events/wait", params={"since": "1h", "timeout": seconds})

        assert (answer.status_code, answer.json()["detail"]) == (
            400,
            "timeout: write seconds from 0 to 55",
        )


@pytest.mark.nightly  # the measurement of coverage takes memory, too
async def test_wait_takes_little_memory(service):
    """Thousands wait at the same time.

    Mutants: the protocol has no `__slots__`; uvicorn's deque stays; uvicorn's event stays; the
    timer of the head stays.
    """
    key = service.config.api.keys["admin"].key.reveal()
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    listener = Listener(service.api, make_protocol(lambda _status, _peer: None))
    await listener.start(listening)
    clients = [socket.socket() for _ in range(120)]

    async def wait(number, client):
        client.connect(listening.getsockname())
        path = f"/v1/events/wait?since=1h&timeout=50&number=1850555{number:04d}"
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n"
        client.sendall(head.encode())
        await service.waiting(number + 1)

    for number, client in enumerate(clients[:20]):  # fill the caches
        await wait(number, client)
    gc.collect()
    tracemalloc.start()
    try:
        for number, client in enumerate(clients[20:], 20):
            await wait(number, client)
        gc.collect()
        size = tracemalloc.get_traced_memory()[0] / 100
    finally:
        tracemalloc.stop()
        for client in clients:
            client.close()
        await listener.finish(1)
    # With CPython 3.11 and the event loop of the standard library, whose connections take more.
    assert size < 15_000
