import asyncio
import contextlib

import msgspec
import pytest

from core.delivery import State
from core.secret import Secret
from journal.reads import Deliveries
from journal.writes import IndexVisible, StartReplay
from server.config.options import Api, ApiKey
from server.runtime import replays as module

from .conftest import BEGIN, KEYS, until

PATH = "/v1/replays"


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    monkeypatch.setattr(module, "STEP", 3)
    monkeypatch.setattr(module, "BETWEEN", 0.0)


async def start(service, key="writer", **body):
    return await service.ask(PATH, key, method="POST", json=body)


@contextlib.asynccontextmanager
async def advancing(service):
    running = asyncio.create_task(service.parts.replays.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def ended(service, answer, key="admin"):
    """Let the replays go on until this one has ended; return it as it is then."""
    found = {}

    async def has_ended():
        found.update((await service.ask(f"{PATH}/{answer.json()['id']}", key)).json())
        return found["state"] != "running"

    async with advancing(service):
        await until(has_ended)
    return found


async def replayed(service):
    """Return (event, sink) of all deliveries that replays made, in their order."""
    page = await service.journal.ask(Deliveries(limit=1000))
    return [(kept.event_id, kept.sink) for _, kept in page.items if kept.replay]


async def test_replay_makes_a_new_delivery_of_each_event(service):
    """The sinks are those of the first deliveries: `hero` went nowhere, and 4 was replayed."""
    events = [await service.sms() for _ in range(7)]
    await service.hero(service="xx")
    await service.ask(f"/v1/events/{events[4]}/replay", method="POST")

    answer = await start(service, since="1h")
    done = await ended(service, answer)

    assert answer.status_code == 202
    began = answer.json()
    assert {**began, "id": None} == {
        "id": None,
        "state": "running",
        "matched": 8,
        "replayed": 0,
        "created": 0,
        "since": "2026-09-21T13:13:20.250000Z",
        "until": None,
        "source": [],
        "type": [],
        "sinks": None,
        "created_at": "2026-09-21T14:13:20.250000Z",
        "ended_at": None,
    }
    assert done == began | {
        "state": "done",
        "replayed": 8,
        "created": 7,
        "ended_at": "2026-09-21T14:13:20.250000Z",
    }
    assert await replayed(service) == [(one, "log") for one in (events[4], *events)]
    page = await service.journal.ask(Deliveries(limit=1000))
    assert {kept.state for _, kept in page.items} == {State.PENDING}


async def test_dry_run_counts_and_makes_nothing(service):
    """Mutant: a dry run is stored, and makes its deliveries."""
    for _ in range(4):
        await service.sms()

    answer = await start(service, since="1h", dry_run=True)
    async with advancing(service):
        await asyncio.sleep(0)

    counted = answer.json()
    assert answer.status_code == 200
    assert (counted["id"], counted["state"]) == (None, "dry_run")
    assert (counted["matched"], counted["created"]) == (4, 0)
    assert service.parts.replays._running == {}
    assert await replayed(service) == []


async def test_unknown_sink_is_422_and_nothing_is_made(service):
    await service.sms()

    answers = [
        await start(service, sinks=["log", "crm"]),
        await start(service, sinks=["crm"], dry_run=True),
    ]

    assert {(one.status_code, one.json()["code"]) for one in answers} == {(422, "unknown_sink")}
    assert service.parts.replays._running == {}


FILTERS = [
    ({}, [0, 1, 2, 3, 4]),
    ({"source": "herosms"}, [2]),
    ({"source": ["tellabot", "herosms"]}, [0, 1, 2, 3, 4]),
    ({"source": ["other"]}, []),
    ({"type": "rental.renewed"}, []),
    ({"type": ["sms.received", "rental.renewed"], "source": "tellabot"}, [0, 1, 3, 4]),
    ({"since": "2026-09-21T14:13:22.25Z"}, [2, 3, 4]),
    ({"until": "2026-09-21T14:13:22.25Z"}, [0, 1]),
    ({"since": "2s", "until": "1s"}, [3]),
    ({"since": "1h", "until": "1h"}, []),
]


async def test_replay_has_the_filters_of_lists(service):
    events, earlier = [], 0
    for number in range(5):
        service.now = BEGIN + number
        events.append(await (service.hero() if number == 2 else service.sms()))
    service.now = BEGIN + 5

    for filters, expected in FILTERS:
        counted = await start(service, dry_run=True, sinks=["log"], **filters)
        done = await ended(service, await start(service, sinks=["log"], **filters))

        assert counted.json()["matched"] == done["matched"] == done["created"] == len(expected)
        made = await replayed(service)
        assert made[earlier:] == [(events[number], "log") for number in expected], filters
        earlier = len(made)


async def test_event_after_the_start_is_not_replayed(service):
    """Its own delivery is still new. Mutant: the end of the journal is read at each step."""
    first = await service.sms()
    answer = await start(service, until="2030-01-01T00:00:00Z")
    for _ in range(5):
        await service.sms()

    done = await ended(service, answer)

    assert (done["matched"], done["replayed"]) == (1, 1)
    assert await replayed(service) == [(first, "log")]


async def test_cancelled_replay_keeps_what_it_made(service):
    for _ in range(7):
        await service.sms()
    answer = await start(service)
    place = f"{PATH}/{answer.json()['id']}"
    await service.parts.replays._advance(answer.json()["id"])

    cancelled = await service.ask(place, "writer", method="DELETE")
    async with advancing(service):
        await asyncio.sleep(0.05)
    again = await service.ask(place, "writer", method="DELETE")

    assert (cancelled.status_code, again.status_code) == (204, 204)
    shown = (await service.ask(place)).json()
    assert (shown["state"], shown["replayed"], shown["created"]) == ("cancelled", 3, 3)
    assert len(await replayed(service)) == 3


async def test_cancelling_a_finished_replay_changes_nothing(service):
    done = await ended(service, await start(service))

    answer = await service.ask(f"{PATH}/{done['id']}", "writer", method="DELETE")

    assert answer.status_code == 204
    assert (await service.ask(f"{PATH}/{done['id']}")).json() == done


async def test_replay_goes_on_after_a_restart(run, tmp_path):
    async with run(tmp_path) as service:
        events = [await service.sms() for _ in range(8)]
        answer = await start(service)
        await service.parts.replays._advance(answer.json()["id"])

    async with run(tmp_path) as service:
        await service.parts.replays.load()
        done = await ended(service, answer)
        made = await replayed(service)

    assert (done["state"], done["replayed"], done["created"]) == ("done", 8, 8)
    assert made == [(one, "log") for one in events]


async def test_repeated_call_starts_one_replay(service):
    """Mutant: the write of the replay has no guard."""
    await service.sms()
    headers = {"Idempotency-Key": "once"}

    one, two = [
        await service.ask(PATH, "writer", method="POST", json={}, headers=headers) for _ in range(2)
    ]
    done = await ended(service, one)

    assert (one.status_code, two.status_code) == (202, 202)
    assert two.json() == one.json()
    assert (done["created"], len(await replayed(service))) == (1, 1)


async def test_replay_begins_after_a_stall(service):
    """Its call got 503. Mutant: only the caller's task begins it."""
    event_id = await service.sms()

    answer = await service.stalled(StartReplay, start(service))

    async def is_replayed():
        return await replayed(service) == [(event_id, "log")]

    async with advancing(service):
        await until(is_replayed)
    assert answer.status_code == 503


async def test_two_replays_go_on_in_turn(service):
    """Mutant: a large replay holds up a small one."""
    for _ in range(30):
        await service.sms()
    large, small = await start(service), await start(service, until="2020-01-01T00:00:00Z")

    async with advancing(service):
        await until(lambda: is_done(service, small))
        is_large_done = await is_done(service, large)

    assert not is_large_done


async def is_done(service, answer):
    return (await service.ask(f"{PATH}/{answer.json()['id']}")).json()["state"] == "done"


# --- keys ---------------------------------------------------------------------------------------


async def test_filtered_key_replays_only_what_it_sees(run, tmp_path):
    """Mutants: the steps, or the count, read all events."""
    async with run(tmp_path) as service:
        seen = [await service.sms() for _ in range(2)]
        await service.hero(service="go")
        seen.append(await service.sms())
        while await service.journal.submit(IndexVisible()):
            pass

        counted = (await start(service, "boss", sinks=["log"], dry_run=True)).json()
        done = await ended(service, await start(service, "boss", sinks=["log"]), "boss")
        made = await replayed(service)

    assert counted["matched"] == done["matched"] == done["replayed"] == done["created"] == 3
    assert made == [(one, "log") for one in seen]


async def test_filtered_key_waits_for_its_index(run, tmp_path):
    """Mutant: while the index is built, the steps read all events."""
    keys = {name: key for name, key in KEYS.items() if name != "boss"}
    async with run(tmp_path, api=Api(keys=keys | {"growth": KEYS["admin"]})) as service:
        seen = await service.sms()
        await service.hero()
    async with run(tmp_path) as service:
        counted = await start(service, "boss", sinks=["log"])
        for _ in range(3):
            await service.parts.replays._advance(counted.json()["id"])
        before = await replayed(service)
        while await service.journal.submit(IndexVisible()):
            pass
        done = await ended(service, counted)
        after = await replayed(service)

    assert (counted.json()["matched"], done["created"]) == (1, 1)
    assert (before, after) == ([], [(seen, "log")])


async def test_replays_of_others_are_hidden_from_filtered_keys(service):
    """Their counts would show how many events are hidden. Mutant: any key may read them."""
    await service.sms()
    while await service.journal.submit(IndexVisible()):
        pass
    whole, own = await start(service, "writer"), await start(service, "boss")

    answers = [
        (await service.ask(f"{PATH}/{one.json()['id']}", key, method=method)).status_code
        for one, key in ((whole, "boss"), (own, "boss"), (own, "admin"), (whole, "admin"))
        for method in ("GET", "DELETE")
    ]

    assert answers == [404, 404, 200, 204, 200, 204, 200, 204]


async def test_replay_ends_with_the_right_to_replay(run, tmp_path):
    """Mutant: the scope is looked at only when it starts."""
    async with run(tmp_path) as service:
        await service.sms()
        answer = await start(service)
    reader = msgspec.structs.replace(KEYS["writer"], scopes=("events:read",))
    async with run(tmp_path, api=Api(keys=KEYS | {"writer": reader})) as service:
        await service.parts.replays.load()
        done = await ended(service, answer)
        made = await replayed(service)

    assert (done["state"], done["created"], made) == ("cancelled", 0, [])


async def test_another_key_of_its_name_does_not_continue_a_replay(service):
    """It does not see it, either: its `when` may hide some of the counted events.

    Mutants: the replay, or the right to see it, belongs to the name of the key.
    """
    headers = await new_key(service)
    await service.sms()
    answer = await service.ask(PATH, None, method="POST", json={"sinks": ["log"]}, headers=headers)
    await service.ask("/v1/keys/made", method="DELETE")
    headers = await new_key(service, when={"source": "herosms"})

    seen = await service.ask(f"{PATH}/{answer.json()['id']}", None, headers=headers)
    done = await ended(service, answer)

    assert (answer.status_code, seen.status_code) == (202, 404)
    assert (done["state"], await replayed(service)) == ("cancelled", [])


async def new_key(service, **fields):
    """Make the key `made`; return the header that sends it."""
    body = {"name": "made", "scopes": ["events:read", "deliveries:write"]} | fields
    answer = await service.ask("/v1/keys", method="POST", json=body)
    return {"Authorization": f"Bearer {answer.json()['key']}"}


async def test_replay_ends_with_its_key(run, tmp_path):
    temporary = ApiKey(key=Secret("for-one-day-0123456789"), scopes=("deliveries:write",))
    async with run(tmp_path, api=Api(keys=KEYS | {"temporary": temporary})) as service:
        await service.sms()
        answer = await start(service, "temporary")
    async with run(tmp_path) as service:
        await service.parts.replays.load()
        done = await ended(service, answer)
        made = await replayed(service)

    assert (done["state"], done["created"], made) == ("cancelled", 0, [])


# --- requests -----------------------------------------------------------------------------------


BAD_REQUESTS = [
    (b"", "a JSON object is expected, with since, until, source, type, sinks, dry_run"),
    (b"[]", "a JSON object is expected, with since, until, source, type, sinks, dry_run"),
    (b'{"sink": ["log"]}', "sink: no such field; did you mean sinks?"),
    (b'{"source": [1]}', "source: write a name, or a list of one or more"),
    (b'{"sinks": []}', "sinks: write a list of names, or leave it out"),
    (b'{"sinks": "log"}', "sinks: write a list of names, or leave it out"),
    (b'{"source": [""]}', "source: write a name, or a list of one or more"),
    (b'{"source": []}', "source: write a name, or a list of one or more"),
    (b'{"type": []}', "type: write a whole type, such as sms.received, or a list of one or more"),
    (b'{"type": "sms"}', "type: write a whole type, such as sms.received, or a list of one"),
    (b'{"since": "soon"}', "since: write a time such as 2020-09-14T18:42:36Z, or how long"),
    (b'{"since": "1h", "until": "2h"}', "until: before since, so nothing can match"),
    (b'{"dry_run": "yes"}', "dry_run: has the wrong type"),
]


async def test_bad_request_names_the_field(service):
    """Mutant: an empty list means any, and a program without sources replays all events."""
    for body, detail in BAD_REQUESTS:
        answer = await service.ask(PATH, "writer", method="POST", content=body)

        assert answer.status_code == 400, body
        assert answer.json()["detail"].startswith(detail)


async def test_unknown_replay_is_404(service):
    for replay_id in ("none", "01931c5e-7b2a-7c3d-9e4f-0123456789ab"):
        answers = [
            await service.ask(f"{PATH}/{replay_id}", method=method) for method in ("GET", "DELETE")
        ]

        assert [one.status_code for one in answers] == [404, 404]
        assert {one.json()["detail"] for one in answers} == {"no such replay"}
