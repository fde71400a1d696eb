"""Keys that are made, expire, are limited and are revoked while the service runs."""

import asyncio
import contextlib
import json
import sqlite3

import pytest
from services import indexed

from core.secret import Secret
from core.units import Rate
from server.config.options import Api, ApiKey
from server.runtime import keys as runtime

BEGIN = 1_790_000_000.25


async def make(service, name="crm", scopes=("events:read",), **fields):
    body = {"name": name, "scopes": list(scopes), **fields}
    answer = await service.ask("/v1/keys", method="POST", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def status(service, key, path="/v1/me", method="GET"):
    headers = {"Authorization": f"Bearer {key}"}
    return (await service.ask(path, None, method=method, headers=headers)).status_code


async def listed(service):
    return {item["name"]: item for item in await service.data("/v1/keys")}


async def test_made_key_works_at_once_and_is_shown_once(service):
    made = await make(service, scopes=["codes:read"], expires="30d", rate="600/m")

    key = made.pop("key")
    assert key.startswith("smsk_")
    assert len(key) == len("smsk_") + 64, "256 random bits"
    assert made == {
        "id": made["id"],
        "name": "crm",
        "scopes": ["codes:read"],
        "when": None,
        "expires": "2026-10-21T14:13:20.250000Z",
        "rate": "600/m",
        "reads": None,
        "reason": None,
        "origin": "made",
        "state": "active",
        "created_at": "2026-09-21T14:13:20.250000Z",
        "last_used_at": None,
    }
    assert await status(service, key) == 200
    assert (await listed(service))["crm"] == {**made, "last_used_at": made["created_at"]}


async def test_made_key_is_stored_as_a_digest_only(service, tmp_path):
    """Mutant: the key in clear in the table."""
    key = (await make(service))["key"]

    files = [path.read_bytes() for path in tmp_path.iterdir() if path.is_file()]
    assert files
    assert not any(key.encode() in content or key[5:].encode() in content for content in files)
    assert not any(bytes.fromhex(key[5:]) in content for content in files)


async def test_keys_survive_a_restart_with_their_rights(run, tmp_path):
    async with run(tmp_path) as service:
        when = {"data.labels.team": "growth"}
        kept = await make(service, scopes=["events:read"], when=when, rate="2/h", expires="1h")
        gone = await make(service, "gone")
        assert await status(service, kept["key"]) == 200
        await service.ask("/v1/keys/gone", method="DELETE")
        await service.parts.keys.write_uses()
    async with run(tmp_path) as service:
        mine, _ = await service.sms(), await service.hero()
        headers = {"Authorization": f"Bearer {kept['key']}"}
        events = await service.ask("/v1/events", None, headers=headers)
        found = (await listed(service))["crm"]

        assert [item["event"]["id"] for item in events.json()["data"]] == [mine]
        assert found["when"] == when
        assert [await status(service, kept["key"]) for _ in range(2)] == [200, 429]
        assert await status(service, gone["key"]) == 401
        service.now += 3600
        assert await status(service, kept["key"]) == 401


async def test_revoked_key_is_refused_from_the_next_request(service):
    """By id or name. Mutant: a revoked key works until a restart."""
    one, two = await make(service, "one"), await make(service, "two")

    before = [await status(service, made["key"]) for made in (one, two)]
    answers = [
        await service.ask(f"/v1/keys/{it}", method="DELETE") for it in (one["id"], "two", "two")
    ]

    assert before == [200, 200]
    assert [answer.status_code for answer in answers] == [204, 204, 404]
    assert [await status(service, made["key"]) for made in (one, two)] == [401, 401]
    assert not {"one", "two"} & (await listed(service)).keys()


async def test_readers_of_a_key_end_when_it_is_revoked_or_expires(service):
    """Mutant: only a revoked key is announced."""
    keys = service.parts.keys
    ended = []
    one = await make(service, "one", expires="10m")
    two = await make(service, "two")
    accesses = [keys.find(made["key"].encode()) for made in (one, two)]
    keys.listen(ended.append)
    await service.ask("/v1/keys/two", method="DELETE")
    service.now += 600
    for _ in range(2):
        keys.announce_expired()
    both = list(ended)
    await service.ask("/v1/keys/one", method="DELETE")

    assert [access.name for access in both] == ["two", "one"]
    assert both == ended == accesses[::-1], "the same objects, once"


async def test_streams_and_waits_of_a_revoked_key_end(service):
    """Mutant: the hub does not listen to the keys."""
    headers = {"Authorization": f"Bearer {(await make(service))['key']}"}
    paths = ("/v1/events/stream", "/v1/events/wait?since=1h")

    async with contextlib.AsyncExitStack() as stack:
        calls = [
            await stack.enter_async_context(service.call(path, None, headers=headers))
            for path in paths
        ]
        other = await stack.enter_async_context(service.call(paths[0], "reader"))
        await service.waiting(3)
        await service.ask("/v1/keys/crm", method="DELETE")
        await asyncio.wait([call.task for call in calls], timeout=10)

        assert [call.task.done() for call in (*calls, other)] == [True, True, False]


async def test_key_whose_end_is_undone_reads_again(service):
    """The clock was wrong. Mutants: the hub remembers the key; its next end is not announced."""
    headers = {"Authorization": f"Bearer {(await make(service, expires='10m'))['key']}"}
    for step in (600, -600):
        service.now += step
        service.parts.keys.announce_expired()

    async with service.call("/v1/events/stream", None, headers=headers) as call:
        await service.waiting()
        service.now += 600
        service.parts.keys.announce_expired()
        await asyncio.wait([call.task], timeout=10)

        assert call.task.done()


async def test_name_of_another_key_is_409(service):
    """Keys of the configuration and made ones share their names."""
    await make(service)

    answers = [
        await service.ask("/v1/keys", method="POST", json={"name": name, "scopes": ["events:read"]})
        for name in ("crm", "reader")
    ]

    assert [(one.status_code, one.json()["code"]) for one in answers] == [(409, "name_taken")] * 2


async def test_simultaneous_keys_of_one_name_are_one(service):
    body = {"name": "crm", "scopes": ["events:read"]}

    answers = await asyncio.gather(
        *(service.ask("/v1/keys", method="POST", json=body) for _ in range(5))
    )

    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]


async def test_configured_key_is_not_revoked(service):
    answer = await service.ask("/v1/keys/reader", method="DELETE")

    assert (answer.status_code, answer.json()["code"]) == (409, "configured_key")


async def test_configured_name_shadows_a_made_key(run, tmp_path):
    """Its consumers and subscriptions belong to the name, so only one may have it.

    Mutant: both keys work.
    """
    async with run(tmp_path) as service:
        made = await make(service)
    configured = ApiKey(key=Secret("crm-key-0123456789"), scopes=("admin",))
    async with run(tmp_path, api=Api(keys={"crm": configured})) as service:
        states = {item["origin"]: item["state"] for item in await service.data("/v1/keys", "crm")}

        assert states == {"config": "active", "made": "shadowed"}
        assert await status(service, made["key"]) == 401
        removed = await service.ask(f"/v1/keys/{made['id']}", "crm", method="DELETE")
        assert removed.status_code == 204


WRONG_FIELDS = [
    ({"name": "Crm"}, "name"),
    ({"name": "a" * 64}, "name"),
    ({"name": None}, "name"),
    ({"name": "01931c5e-7b2a-7c3d-9e4f-0123456789ab"}, "name"),
    ({"scopes": []}, "scopes"),
    ({"scopes": ["everything"]}, "scopes"),
    ({"when": {"data.code": {"$like": "1"}}}, "when.data.code.$like"),
    ({"when": "growth"}, "when"),
    ({"when": {"type": "sms.received"}, "scopes": ["audit:read"]}, "when"),
    ({"reason": "required", "scopes": ["codes:read"]}, "reason"),  # as in the configuration
    ({"when": {"data.text": "x" * 20_000}}, "when"),
    ({"expires": "2020-01-01T00:00:00Z"}, "expires"),
    ({"expires": "soon"}, "expires"),
    ({"rate": "many"}, "rate"),
    ({"rate": "0/s"}, "rate"),
    ({"reads": "many"}, "reads"),
    ({"reason": "ticket 7"}, "reason"),
    ({"key": "a-key-of-my-own-0123"}, "key"),
]


async def test_wrong_field_of_a_key_is_400(service):
    """No key is made, and the answer repeats no value."""
    for fields, field in WRONG_FIELDS:
        body = {"name": "crm", "scopes": ["events:read"], **fields}

        answer = await service.ask("/v1/keys", method="POST", json=body)

        assert (answer.status_code, answer.json()["code"]) == (400, "bad_body")
        assert answer.json()["detail"].startswith(f"{field}: ")
        assert "crm" not in await listed(service)


async def test_made_key_has_limits_as_a_configured_one(run, tmp_path):
    """Also after a restart. Mutants: a limit is not stored; `reads` limits requests."""
    async with run(tmp_path) as service:
        limited = await make(service, name="slow", scopes=["codes:read"], reads="1/h")
        asked = await make(service, name="clerk", scopes=["codes:reveal"], reason="required")
        event = await service.sms()
    assert [(one["reads"], one["reason"]) for one in (limited, asked)] == [
        ("1/h", None),
        (None, "required"),
    ]

    async with run(tmp_path) as service:

        async def ask(made, path, **sent):
            headers = {"Authorization": f"Bearer {made['key']}"}
            return await service.ask(path, None, headers=headers, **sent)

        reads = [await ask(limited, f"/v1/events/{event}") for _ in range(2)]
        revealed = [
            await ask(asked, f"/v1/events/{event}/reveal", method="POST", json=body)
            for body in ({}, {"reason": "ticket 7"})
        ]
        me = (await ask(limited, "/v1/me")).json()
        known = await listed(service)

    assert [one.status_code for one in (*reads, *revealed)] == [200, 429, 422, 200]
    assert (reads[1].json()["code"], revealed[0].json()["code"]) == (
        "reads_limited",
        "reason_required",
    )
    assert (me["reads"], me["reason"], me["rate"]) == ("1/h", None, None)
    assert (known["slow"]["reads"], known["clerk"]["reason"]) == ("1/h", "required")


# Expiry and rate of configured keys


async def test_expired_key_is_401(run, tmp_path):
    """Mutant: an expired key works."""
    key = ApiKey(
        key=Secret("lent-key-0123456789"), scopes=("admin",), expires="2026-09-21T15:13:20Z"
    )
    async with run(tmp_path, api=Api(keys={"lent": key})) as service:
        before = await service.ask("/v1/me", "lent")
        service.now = BEGIN + 3600
        after = await service.ask("/v1/me", "lent")

    assert before.json()["expires"] == "2026-09-21T15:13:20Z"
    assert (after.status_code, after.json()["code"]) == (401, "unauthorized")
    assert after.json()["detail"] == "the key has expired"


async def test_request_over_the_rate_of_its_key_is_429(run, tmp_path):
    """Also an unknown call. Mutants: a limit for all keys together; a limit a call."""
    limited = {"key": Secret("slow-key-0123456789"), "scopes": ("events:read",)}
    keys = {
        "slow": ApiKey(**limited, rate=Rate(3, 60)),
        "fast": ApiKey(key=Secret("fast-key-0123456789"), scopes=("events:read",)),
    }
    async with run(tmp_path, api=Api(keys=keys)) as service:
        paths = ("/v1/me", "/v1/events", "/v1/nothing", "/v1/stats")
        answers = [await service.ask(path, "slow") for path in paths]
        other = await service.ask("/v1/stats", "fast")

    assert [answer.status_code for answer in answers] == [200, 200, 404, 429]
    assert answers[0].json()["rate_left"] == 2
    assert answers[0].json()["rate"] == "3/m"
    assert answers[3].json()["code"] == "too_many"
    assert 1 <= int(answers[3].headers["retry-after"]) <= 20
    assert other.status_code == 200


async def test_me_shows_the_rights_of_the_key(service):
    answers = [(await service.ask("/v1/me", name)).json() for name in ("reader", "growth")]

    assert answers == [
        {
            "name": "reader",
            "scopes": ["events:read"],
            "when": None,
            "expires": None,
            "rate": None,
            "rate_left": None,
            "reads": None,
            "reason": None,
            "codes": False,
        },
        {
            "name": "growth",
            "scopes": ["codes:read"],
            "when": {"data.labels.team": "growth"},
            "expires": None,
            "rate": None,
            "rate_left": None,
            "reads": None,
            "reason": None,
            "codes": True,
        },
    ]


# Last use


async def test_last_use_is_stored_rarely_and_kept(run, tmp_path):
    """Mutant: a commit for each request."""
    async with run(tmp_path) as service:
        writes = []
        submit = service.journal.submit
        service.journal.submit = lambda write: writes.append(write) or submit(write)
        for _ in range(20):
            await service.ask("/v1/me", "reader")
        during = list(writes)
        service.now += 7
        await service.ask("/v1/me", "reader")
        await service.parts.keys.write_uses()
        await service.parts.keys.write_uses()
    async with run(tmp_path) as service:
        found = (await listed(service))["reader"]["last_used_at"]

    assert during == []
    assert [type(write).__name__ for write in writes] == ["NoteKeyUses"]
    assert found == "2026-09-21T14:13:27.250000Z"


async def test_last_uses_are_written_each_minute(service, monkeypatch):
    monkeypatch.setattr(runtime, "USES_EVERY", 0.0)
    await service.ask("/v1/me", "reader")

    running = asyncio.create_task(service.parts.keys.run())
    async with asyncio.timeout(30):
        while service.parts.keys._unwritten:  # noqa: ASYNC110 - the disk has no event
            await asyncio.sleep(0.05)
    running.cancel()


async def test_new_key_has_no_use_of_an_earlier_one(service):
    for _ in range(2):
        made = await make(service)
        assert (await listed(service))["crm"]["last_used_at"] is None
        assert await status(service, made["key"]) == 200
        await service.parts.keys.write_uses()
        await service.ask("/v1/keys/crm", method="DELETE")


# The index of the events that a made key sees


def filters(tmp_path):
    with sqlite3.connect(tmp_path / "smshook.db") as conn:
        rows = conn.execute("select digest is not null, unseen from visible_filters").fetchall()
    conn.close()
    return rows


async def seen(service, key):
    answer = await service.ask("/v1/events", None, headers={"Authorization": f"Bearer {key}"})
    return [item["event"]["id"] for item in answer.json()["data"]]


async def test_made_key_sees_old_and_new_events_by_its_index(run, tmp_path):
    """Before the index is complete, and after a restart too.

    Mutants: the filter is not added to the running journal; its index starts over at each start.
    """
    when = {"type": "sms.received", "data.service.key": "amazon"}
    async with run(tmp_path, api=Api(keys={"admin": admin()})) as service:
        mine = [await service.sms(service="Amazon"), await service.sms(service="Amazon")]
        await service.sms()
        made = await make(service, when=when)
        found = [await seen(service, made["key"])]
        mine.append(await service.sms(service="Amazon"))
        await service.sms()
        found.append(await seen(service, made["key"]))
        await indexed(service)
        found.append(await seen(service, made["key"]))
        complete = filters(tmp_path)
    async with run(tmp_path, api=Api(keys={"admin": admin()})) as service:
        restarted = filters(tmp_path)
        service.sent = 100
        mine.append(await service.sms(service="Amazon"))
        await service.sms()
        found.append(await seen(service, made["key"]))

    assert found == [mine[:2], mine[:3], mine[:3], mine]
    assert complete == restarted == [(1, 0)]


async def test_index_of_a_revoked_key_is_removed(run, tmp_path):
    """Not while another key has the same `when`. Mutant: removed with the first of them."""
    when = {"type": "sms.received"}
    async with run(tmp_path, api=Api(keys={"admin": admin()})) as service:
        await make(service, "one", when=when)
        await make(service, "two", when=when)
        await service.sms()
        await indexed(service)
        await service.ask("/v1/keys/one", method="DELETE")
        one_left = filters(tmp_path)
        await service.ask("/v1/keys/two", method="DELETE")
        await indexed(service)

        assert one_left == [(1, 0)]
        assert filters(tmp_path) == []
        assert service.parts.keys.changed.is_set()


@pytest.mark.parametrize("order", [1, -1])
async def test_key_that_is_created_meanwhile_keeps_the_index(run, tmp_path, order):
    """Mutant: it is decided before the commit whether another key has the same `when`."""
    when = {"type": "sms.received"}
    new = {"scopes": ("events:read",), "when": when, "expires_at": None, "rate": None}
    async with run(tmp_path, api=Api(keys={"admin": admin()})) as service:
        await make(service, "one", when=when)
        await service.sms()
        await indexed(service)
        keys = service.parts.keys
        changes = [keys.create(name="two", **new), keys.revoke("one")]
        await asyncio.gather(*changes[::order])

        assert filters(tmp_path) == [(1, 0)]


def admin():
    return ApiKey(key=Secret("admin-key-0123456789"), scopes=("admin",))


async def test_key_is_in_no_log_line_and_no_error(service, capsys):
    made = await make(service)
    await service.ask(f"/v1/keys/{made['key']}", method="DELETE")
    await service.ask("/v1/keys/crm", method="DELETE")

    output = "".join(capsys.readouterr())
    assert made["key"] not in output
    assert json.dumps(made["key"])[1:-1] not in output
