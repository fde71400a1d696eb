"""Erasure by request, retention, and the reasons of an unready service."""

import asyncio

import pytest

from core.errors import Unavailable
from journal.reads import CallbackOfEvent, EventById, EventsNaming
from journal.writes import EraseContent
from server.runtime import erasure
from server.runtime.erasure import ErasedIds
from sinks.sink import Receipt

CODE, NUMBER = "ZQ7-918273", "+18505550142"
SMS = {"to": NUMBER, "reply": f"{CODE} is it, see https://x.example/{CODE}", "pin": CODE}


def erased_ids(service):
    return ErasedIds(service.config.journal.path.with_name("smshook.erased")).read()


def in_files(service, *texts):
    folder = service.config.journal.path.parent
    return [
        file.name
        for file in folder.glob("smshook*")
        if any(text.encode() in file.read_bytes() for text in texts)
    ]


async def test_erased_event_keeps_the_rest_and_is_in_no_file(service, caplog):
    """Mutants: no checkpoint; the callback or an answer is left out; the id is not on disk."""

    async def echo(outgoing):
        return Receipt(status=200, answer=outgoing.body)

    event = await service.sms(**SMS)
    await service.settled(echo)

    answer = await service.ask(f"/v1/events/{event}/content", method="DELETE")
    shown = (await service.ask(f"/v1/events/{event}")).json()
    again = await service.ask(f"/v1/events/{event}/content", method="DELETE")

    data = shown["event"]["data"]
    assert (answer.status_code, again.status_code) == (200, 200)
    assert [data[name] for name in ("text", "code", "urls", "to", "from")] == [None] * 5
    assert data["service"]["key"] == "google"
    assert shown["event"]["erasedtime"].startswith("2026-09-21T")
    assert shown["deliveries"][0]["state"] == "delivered"
    assert await service.journal.ask(CallbackOfEvent(event)) is None
    assert set(erased_ids(service)) == {event}
    assert in_files(service, CODE, NUMBER.lstrip("+")) == []
    assert CODE not in caplog.text


async def test_pending_delivery_of_an_erased_event_expires(service):
    event = await service.sms(**SMS)

    await service.ask(f"/v1/events/{event}/content", method="DELETE")
    [delivery] = await service.data("/v1/deliveries", event=event)

    assert (delivery["state"], delivery["attempts"][0]["error"]) == ("expired", "erased")


async def test_number_is_erased_everywhere_and_named_nowhere(service, caplog, capsys):
    """Mutants: a dry run erases; an event with the number in its text stays; a log names it."""
    own = await service.sms(**SMS)
    text = await service.sms(reply=f"call {NUMBER.lstrip('+')}")
    other = await service.sms()
    order = await service.ask(
        "/v1/orders", method="POST", json={"source": "tellabot", "number": NUMBER}
    )
    await service.post(f"event=unknown&id=1&to={NUMBER.lstrip('+')}".encode())

    body = {"number": NUMBER.lstrip("+")}
    counted = await service.ask("/v1/erasures", method="POST", json=body | {"dry_run": True})
    kept = await service.ask(f"/v1/events/{own}")
    erased = await service.ask("/v1/erasures", method="POST", json=body)

    found = erased.json()
    listed = (own, text, order.json()["id"])  # and the callback in quarantine
    assert (counted.status_code, counted.json()["events"]) == (200, 2)
    assert (erased_ids(service)[:-1], len(erased_ids(service))) == (listed, 4)
    assert kept.json()["event"]["data"]["to"] == NUMBER
    assert erased.status_code == 202
    assert (found["events"], found["orders"], found["quarantine"]) == (2, 1, 1)
    left = await service.ask(f"/v1/events/{other}")
    assert left.json()["event"]["data"]["code"] is not None
    shown = (await service.ask(f"/v1/orders/{order.json()['id']}")).json()
    assert (shown["state"], shown["number"]) == ("cancelled", None)
    assert in_files(service, NUMBER.lstrip("+")) == []
    printed = caplog.text + capsys.readouterr().out
    assert NUMBER.lstrip("+") not in printed + erased.text


async def test_reader_gets_no_clear_copy_from_memory(service):
    """A stream that is behind reads the journal again. Mutant: the hub keeps the body."""
    async with service.call("/v1/events/stream?after=start") as call:
        await call.begun()
        await service.waiting()
        event = await service.sms(**SMS)
        [place] = service.hub.recent
        await service.ask(f"/v1/events/{event}/content", method="DELETE")
        assert place not in service.hub.recent
        assert CODE.encode() not in service.hub._newest[1]


async def test_unwritable_list_of_ids_erases_nothing(service, monkeypatch):
    """Mutant: the content goes first, and a restored backup brings it back."""
    event = await service.sms(**SMS)

    def fail(_self, _ids, **_named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(erasure.ErasedIds, "add", fail)
    answer = await service.ask(f"/v1/events/{event}/content", method="DELETE")
    shown = (await service.ask(f"/v1/events/{event}")).json()

    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.json()["detail"] == "smshook.erased cannot be written; nothing was erased"
    assert shown["event"]["data"]["code"] == CODE


@pytest.mark.parametrize(
    ("fails", "said"),
    [
        (EventById, "nothing was changed"),
        (EventsNaming, "nothing was changed"),
        (EraseContent, "the erasure may be unfinished, so send it again"),
    ],
)
async def test_failed_erasure_says_what_is_true_of_it(service, monkeypatch, fails, said):
    """Mutants: a search that fails may have changed something; a listed erasure is not done."""
    event = await service.sms(**SMS)

    def failing(call):
        def called(operation, *given, **named):
            if isinstance(operation, fails):
                raise Unavailable("SQLITE_BUSY")
            return call(operation, *given, **named)

        return called

    for name in ("ask", "submit"):
        monkeypatch.setattr(service.journal, name, failing(getattr(service.journal, name)))
    if fails is EventsNaming:
        answer = await service.ask("/v1/erasures", method="POST", json={"number": NUMBER})
    else:
        answer = await service.ask(f"/v1/events/{event}/content", method="DELETE")

    listed = fails is EraseContent
    assert (answer.status_code, event in erased_ids(service)) == (503, listed)
    assert answer.json()["detail"] == f"the journal is not available; {said}"


async def test_listed_ids_are_erased_at_the_next_start(service):
    """A crash between the list and the journal, or a restored backup. Mutant: not at a start."""
    event = await service.sms(**SMS)
    service.parts.erasures._ids.add(["half a li", event])

    await service.parts.erasures.run()

    shown = (await service.ask(f"/v1/events/{event}")).json()
    assert shown["event"]["data"]["code"] is None
    assert in_files(service, CODE) == []


def test_ids_follow_half_a_line_of_a_power_cut(tmp_path):
    """Mutant: the first new id joins the half one, and is lost."""
    ids = ErasedIds(tmp_path / "smshook.erased")
    ids.add(["a" * 36])
    with ids._path.open("ab") as file:
        file.write(b"b" * 10)

    ids.add(["c" * 36])

    assert ids.read() == ("a" * 36, "b" * 10, "c" * 36)
    assert ids._path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", [None, "", "x", 7, "+123456789012345678"])
async def test_bad_number_is_refused_and_not_repeated(service, number):
    answer = await service.ask("/v1/erasures", method="POST", json={"number": number})

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_body")
    assert answer.json()["detail"].startswith("number: ")
    assert "123456789012345678" not in answer.text


async def test_unknown_event_is_404(service):
    path = "/v1/events/01931c5e-0000-7000-8000-000000000000/content"

    assert (await service.ask(path, method="DELETE")).status_code == 404
    assert erased_ids(service) == ()


# --- retention -------------------------------------------------------------------------------


async def test_old_data_is_counted_and_then_pruned_on_request(service):
    await service.sms(**SMS)
    await service.post(b"?")
    service.now += 200 * 86_400

    counted = await service.ask("/v1/retention/prune", method="POST", json={"dry_run": True})
    started = await service.ask("/v1/retention/prune", method="POST")
    pruning = asyncio.create_task(service.parts.pruner.run())
    async with asyncio.timeout(30):
        while (await service.ask("/v1/retention")).json()["state"] != "done":  # noqa: ASYNC110 - as a command does
            await asyncio.sleep(0.01)
    done = (await service.ask("/v1/retention")).json()
    pruning.cancel()

    # The delivery is pending, so its event stays.
    assert counted.json()["counts"] == done["counts"]
    assert (done["counts"]["raw"], done["counts"]["quarantine"]) == (1, 1)
    assert done["counts"]["events"] == 0
    assert (started.status_code, counted.status_code) == (202, 200)


async def test_cursor_of_a_removed_event_is_gone_and_consumers_go_on(service):
    """Mutant: the consumer's place is an error, or it reads nothing any more."""

    async def works(_outgoing):
        return Receipt()

    await service.sms()
    old = (await service.ask("/v1/events")).json()["next_cursor"]
    await service.ask("/v1/consumers/crm/commit", method="POST", json={"cursor": old})
    await service.settled(works)
    service.now += 91 * 86_400
    await service.parts.pruner.prune(gently=False)
    event = await service.sms()

    gone = await service.ask("/v1/events", params={"after": old})
    read = await service.ask("/v1/consumers/crm/events")
    shown = await service.data("/v1/consumers")

    assert (gone.status_code, gone.json()["code"]) == (410, "cursor_gone")
    assert [one["event"]["id"] for one in read.json()["data"]] == [event]
    assert shown[0]["behind"] == 1


@pytest.mark.parametrize("key", ["admin", "growth"])
@pytest.mark.parametrize("bound", ["", "&after={}"])
async def test_wait_has_a_valid_cursor_after_all_events_were_removed(service, key, bound):
    """Before its call, or during it. Mutants: the 204 has the cursor of the newest event, or the
    one that the call began with.
    """

    async def works(_outgoing):
        return Receipt()

    await service.sms()
    await service.settled(works)
    cursor = (await service.ask("/v1/events", key)).json()["next_cursor"]
    path = "/v1/events/wait?subject=request/none&timeout={}"
    async with service.call(path.format(9) + bound.format(cursor), key) as call:
        await service.waiting()
        service.now += 91 * 86_400
        await service.parts.pruner.prune(gently=False)
        [inbox] = service.hub._inboxes
        inbox.be_late()
        await call.answer()
    late = await service.ask(path.format(0), key)

    for answer in (call, late):
        again = await service.ask(f"{path.format(0)}&after={answer.headers['smshook-cursor']}", key)
        assert again.status_code == 204


# --- readiness -------------------------------------------------------------------------------


async def test_unready_service_says_why_on_a_line_each(service):
    """Mutant: the reasons of the journal name its file."""
    service.is_ready = False
    service.parts.intake.drain()
    service.parts.space.is_low = True

    plain = await service.public.get("/readyz")
    asked = await service.public.get("/readyz", headers={"Accept": "application/json"})

    assert plain.text.splitlines() == [
        "the service is stopping",
        "the disk of the journal has less free space than journal.min_free",
    ]
    assert asked.json() == {"status": "not_ready", "reasons": plain.text.splitlines()}
    assert (plain.status_code, asked.status_code) == (503, 503)
