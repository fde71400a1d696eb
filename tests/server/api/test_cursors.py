"""Cursors after the journal was replaced, restored or configured differently."""

import shutil
import sqlite3

import pytest

from server.api.paging import Cursors


async def pages(service, name, **params):
    return (await service.ask(f"/v1/{name}", params=params)).json()


async def sms(service, number):
    """Send the message with that number, so that no two are the same."""
    service.sent = 1000 + number
    return await service.sms()


async def answered(service, name, cursor):
    answer = await service.ask(f"/v1/{name}", params={"after": cursor})
    return answer.status_code, answer.json().get("code")


@pytest.fixture
async def before(run, tmp_path):
    """Return a copy of the journal with one event, and the cursor of that event."""
    async with run(tmp_path) as service:
        await sms(service, 1)
        cursor = (await service.data("/v1/events"))[0]["cursor"]
    shutil.copy(tmp_path / "smshook.db", tmp_path / "copy")
    return tmp_path / "copy", cursor


async def test_cursor_beyond_the_newest_event_is_gone(run, tmp_path, before):
    """The file was put back by hand. Mutant: a later event is skipped."""
    copy, _ = before
    async with run(tmp_path) as service:
        await sms(service, 2)
        cursor = (await service.data("/v1/events"))[1]["cursor"]
    shutil.copy(copy, tmp_path / "smshook.db")

    async with run(tmp_path) as service:
        beyond = await answered(service, "events", cursor)
        await service.hero()
        another = await answered(service, "events", cursor)

    # Mutant: only the place is compared, though another event is there now.
    assert [beyond, another] == [(410, "cursor_gone")] * 2


async def test_cursor_of_a_stored_event_is_valid(run, tmp_path, before):
    copy, cursor = before
    shutil.copy(copy, tmp_path / "smshook.db")

    async with run(tmp_path) as service:
        event_id = await sms(service, 3)
        found = await service.data("/v1/events", after=cursor)

    assert [item["event"]["id"] for item in found] == [event_id]


async def test_cursor_of_other_deliveries_is_gone(run, tmp_path, before):
    copy, _ = before
    async with run(tmp_path) as service:
        await sms(service, 4)
        cursor = (await pages(service, "deliveries"))["next_cursor"]
    shutil.copy(copy, tmp_path / "smshook.db")

    async with run(tmp_path) as service:
        service.now += 1
        await sms(service, 5)
        assert await answered(service, "deliveries", cursor) == (410, "cursor_gone")


async def test_deliveries_are_retried_page_by_page(run, tmp_path):
    """Mutant: the cursor depends on `accepted_at`, which a retry changes."""
    async with run(tmp_path) as service:
        for number in range(3):
            await sms(service, number)
        service.now += 1
        retried, after = [], {}
        while len(retried) < 3:
            page = await pages(service, "deliveries", limit=1, **after)
            [one] = page["data"]
            path = f"/v1/deliveries/{one['id']}/retry"
            assert (await service.ask(path, method="POST")).status_code == 200
            retried.append(one["id"])
            after = {"after": page["next_cursor"]}

    assert len(set(retried)) == 3


async def test_consumers_are_deleted_page_by_page(run, tmp_path):
    """The last one of the page stays. Mutant: the cursor counts the items before its own."""
    async with run(tmp_path) as service:
        cursor = (await pages(service, "events"))["next_cursor"]
        for name in "abcd":
            path = f"/v1/consumers/{name}/commit"
            await service.ask(path, method="POST", json={"cursor": cursor})
        first = await pages(service, "consumers", limit=2)
        await service.ask("/v1/consumers/a", method="DELETE")

        rest = await pages(service, "consumers", after=first["next_cursor"])
        await service.ask("/v1/consumers/b", method="DELETE")
        gone = await answered(service, "consumers", first["next_cursor"])

    assert [one["name"] for one in rest["data"]] == ["c", "d"]
    assert gone == (410, "cursor_gone")


async def test_cursor_of_renamed_routes_is_gone(run, tmp_path):
    """Mutant: a place in a list whose configuration has changed."""
    async with run(tmp_path) as service:
        cursor = (await pages(service, "routes", limit=1))["next_cursor"]
        routes = service.config.routes
    others = {"other": routes["google"], "amazon": routes["amazon"]}
    async with run(tmp_path, routes=others) as service:
        renamed = await answered(service, "routes", cursor)
    async with run(tmp_path, routes={}) as service:
        none = await answered(service, "routes", cursor)
    async with run(tmp_path) as service:
        same = await pages(service, "routes", after=cursor)

    assert [renamed, none] == [(410, "cursor_gone")] * 2
    assert [route["name"] for route in same["data"]] == ["amazon"]


async def test_quarantine_can_be_emptied_page_by_page(service):
    """The callback at the cursor has left quarantine. Mutant: 410 for every missing row."""
    for number in range(5):
        await service.post(b"event=kind_%d" % number)

    left, cursor = [], {}
    while True:
        page = await pages(service, "quarantine", limit=2, **cursor)
        for item in page["data"]:
            await service.ask(f"/v1/quarantine/{item['id']}", method="DELETE")
            left.append(item["id"])
        cursor = {"after": page["next_cursor"]}
        if not page["has_more"]:
            break
    new = (await service.post(b"event=kind_9"))["id"]

    assert len(set(left)) == 5
    assert [item["id"] for item in (await pages(service, "quarantine", **cursor))["data"]] == [new]


async def test_page_continues_after_missing_events(run, tmp_path, before):
    """Mutant: an empty next_cursor, which starts the list again for ever."""
    _, first = before
    async with run(tmp_path) as service:
        for number in (6, 7, 8):
            await sms(service, number)
        cursor = (await service.data("/v1/events"))[2]["cursor"]
    with sqlite3.connect(tmp_path / "smshook.db") as conn:
        conn.execute("delete from events where seq in (1, 3)")
    conn.close()

    async with run(tmp_path) as service:
        assert await answered(service, "events", first) == (410, "cursor_gone")
        assert await answered(service, "events", cursor) == (410, "cursor_gone")
        down = await pages(service, "events", order="desc")
        [asked] = await service_cursors(service, [3], desc=False)
        found = await service.data("/v1/events", after=asked)

    assert len(down["data"]) == 2
    assert len(found) == 1


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_hidden_events_do_not_move_a_cursor(service, order):
    """Mutant: `next_cursor` is the end of the journal, which moves with hidden events."""
    asked = {"order": order}
    answers = []
    for _ in range(3):
        answers.append((await service.ask("/v1/events", "growth", params=asked)).json())
        await service.hero()
    seen = await service.sms()
    after = {"after": answers[0]["next_cursor"]}
    found = (await service.ask("/v1/events", "growth", params=after)).json()

    assert answers == [{"data": [], "next_cursor": after["after"], "has_more": False}] * 3
    assert [item["event"]["id"] for item in found["data"]] == [seen]
    assert found["next_cursor"] == found["data"][0]["cursor"]


async def service_cursors(service, places, *, desc):
    """Return cursors of the list of events for those places."""
    return await Cursors(service.identity, service.journal, "events").at(places, desc=desc)
