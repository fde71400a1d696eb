"""`GET /v1/events/wait`."""

import pytest


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


@pytest.mark.parametrize("query", ["", "?service=google", "?type=sms.received&code=true"])
async def test_wait_needs_a_bound(service, query):
    answer = await service.ask(f"/v1/events/wait{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_parameter")


async def test_wait_ends_without_an_event(service):
    await service.sms()
    newest = (await service.ask("/v1/events")).json()["next_cursor"]

    answer = await service.ask("/v1/events/wait?subject=request/1&timeout=0.05")

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["smshook-cursor"] == newest
