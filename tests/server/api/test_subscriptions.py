"""Subscriptions over the API, delivered to a real endpoint on loopback."""

import asyncio
import contextlib
import json
from base64 import b64decode

import msgspec
import pytest
from endpoint import endpoint, reply
from period_keys import MemoryKeys
from services import key
from structlog.testing import capture_logs

from core.secret import Secret
from core.signing import make_signer
from journal.keyring import Keyring
from journal.reads import Counters, PendingBySink, SinkRecords, Subscriptions
from journal.records import StoredSubscription
from journal.writes import (
    ChangeSubscription,
    CreateSubscription,
    DeleteSubscription,
    ResumeSink,
)
from server.config.options import Api, Subscribing
from server.config.shapes import NAME
from server.runtime import subscriptions as module
from server.runtime.subscriptions import KeyRights
from sinks import recovery
from sinks.http.guard import AddressGuard

DAY = 86400.0


KEYS = {
    "admin": key("admin", "admin"),
    "reader": key("reader", "events:read"),
    "retrier": key("retrier", "deliveries:write"),
    "writer": key("writer", "subscriptions:write"),
    "coder": key("coder", "subscriptions:write", "codes:read"),
    "growth": key(
        "growth", "subscriptions:write", "codes:read", when={"data.labels.team": "growth"}
    ),
}
CHANGED = {"api": Api(keys=KEYS), "subscriptions": Subscribing(allow_networks=("127.0.0.1",))}


class Receiver:
    """An endpoint that returns challenges, and answers events by `status`."""

    def __init__(self, end):
        self.end, self.status, self.events, self.challenges = end, 200, [], 0
        self.url = f"{end.url}/hook"
        end.usual = self._answer

    async def _answer(self, request, connection):
        body = json.loads(request.body)
        if body.get("type") == "subscription.challenge":
            self.challenges += 1
            await reply(200, body["challenge"].encode())(request, connection)
            return
        self.events.append(request)
        await reply(self.status)(request, connection)

    async def got(self, count):
        """Wait for that many events; return their JSON."""
        async with asyncio.timeout(10):
            while len(self.events) < count:  # noqa: ASYNC110 - an endpoint has no event of its own
                await asyncio.sleep(0.005)
        return [json.loads(request.body) for request in self.events]


@pytest.fixture
async def receiver():
    async with endpoint() as end:
        yield Receiver(end)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)


@contextlib.asynccontextmanager
async def working(service):
    """Run the subscriptions of a service, as at its start."""
    await service.parts.subscriptions.load(await service.journal.ask(SinkRecords()))
    async with running(service):
        yield service


@contextlib.asynccontextmanager
async def running(service):
    """Run the subscriptions that are loaded or made."""
    task = asyncio.create_task(service.parts.subscriptions.run(lambda: None))
    try:
        yield service
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def service(tmp_path, run):
    async with run(tmp_path, **CHANGED) as service, working(service):
        yield service


async def subscribe(service, receiver, name="coder", headers=(), **fields):
    body = {"url": receiver.url} | fields
    return await service.ask("/v1/subscriptions", name, method="POST", json=body, headers=headers)


async def subscribed(service, receiver, name="coder", **fields):
    answer = await subscribe(service, receiver, name, **fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


async def shown(service, made, name="admin"):
    return (await service.ask(f"/v1/subscriptions/{made['id']}", name)).json()


async def until(check):
    async with asyncio.timeout(10):
        while not await check():  # noqa: ASYNC110 - the other side has no event
            await asyncio.sleep(0.01)


async def became(service, made, **expected):
    """Wait until the subscription has these fields; return it."""

    async def has_them():
        item = await shown(service, made)
        return {name: item[name] for name in expected} == expected

    await until(has_them)
    return await shown(service, made)


# Adding


async def test_new_subscription_gets_the_next_event(service, receiver):
    """Mutant: it is in force after a restart only."""
    answer = await subscribe(service, receiver)
    event_id = await service.sms()

    made = answer.json()
    assert (answer.status_code, list(made)) == (201, ["id", "secret"])
    assert len(b64decode(made["secret"].removeprefix("whsec_"))) == 32
    [event] = await receiver.got(1)
    assert (event["id"], event["data"]["code"]) == (event_id, "4001")
    [request] = receiver.events
    at, sign = int(request.headers["webhook-timestamp"]), make_signer([Secret(made["secret"])])
    assert request.headers["webhook-signature"] == sign(event_id, at, request.body)


async def test_secret_is_shown_once_and_stored_encrypted(service, receiver, tmp_path):
    """Mutant: the secret is stored as it is."""
    made = await subscribed(service, receiver)
    secret = made["secret"].removeprefix("whsec_")

    answers = [
        (await service.ask(path)).text
        for path in ("/v1/subscriptions", f"/v1/subscriptions/{made['id']}", "/v1/sinks")
    ]
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("smshook.db*"))
    assert not any(secret in answer for answer in answers)
    assert secret.encode() not in stored
    assert b64decode(secret) not in stored


async def test_shown_subscription_has_these_fields(service, receiver):
    when = {"data.service.key": ["google", "amazon"], "data.price.amount": {"$gte": 1.5}}
    made = await subscribed(service, receiver, when=when, format="standard")
    item = await shown(service, made)
    assert item == {
        "id": made["id"],
        "sink": f"sub:{made['id']}",
        "key": "coder",
        "url": receiver.url,
        "when": when,
        "format": "standard",
        "masked": False,
        "tried_always": False,
        "state": "active",
        "paused_by": None,
        "paused_at": None,
        "owed": 0,
        "failing_since": None,
        "last_success_at": None,
        "last_error": None,
        "created_at": "2026-09-21T14:13:20.250000Z",
    }


async def test_codes_of_a_subscription_are_counted_for_its_key(service, receiver):
    """Mutant: for its sink, of which there may be thousands."""
    for name in ("coder", "coder", "writer"):
        await subscribed(service, receiver, name)
    await service.sms()
    await receiver.got(3)

    async def read():
        text = (await service.admin.get("/metrics")).text
        return [line for line in text.splitlines() if line.startswith("smshook_codes_read_total{")]

    async def both():
        return await read() == ['smshook_codes_read_total{key="coder",how="sink"} 2']

    await until(both)


async def test_filter_decides(service, receiver):
    await subscribed(service, receiver, when={"data.service.key": "amazon"})
    await service.sms()
    event_id = await service.sms(service="Amazon")
    assert [event["id"] for event in await receiver.got(1)] == [event_id]


async def test_alerts_go_to_filters_that_name_a_type(service, receiver):
    """Mutant: a filter on the source is enough."""
    await subscribed(service, receiver, when={"source": {"$in": ["smshook", "tellabot"]}})
    await subscribed(service, receiver, "growth", when={"type": {"$startsWith": "system."}})
    made = await subscribed(service, receiver, when={"type": {"$startsWith": "system."}})
    planned = await service.parts.alerts.test("disk_low")
    await service.sms()

    types = sorted(event["type"] for event in await receiver.got(2))
    assert [owed.sink for owed in planned.owed] == [f"sub:{made['id']}"]
    assert types == ["sms.received", "system.disk_low"]


async def test_key_without_codes_read_gets_masked_events(service, receiver):
    """Mutant: the mask is left out."""
    made = await subscribed(service, receiver, "writer")
    await service.sms()
    [event] = await receiver.got(1)
    assert (event["data"]["text"], event["data"]["code"]) == ("***", "***")
    assert (await shown(service, made))["masked"] is True


async def test_key_with_when_never_gets_a_hidden_event(service, receiver):
    """Mutant: the subscription is owed all that its own filter matches."""
    await subscribed(service, receiver, "growth", when={"type": "sms.received"})
    await service.hero()
    event_id = await service.sms()
    assert [event["id"] for event in await receiver.got(1)] == [event_id]


async def test_filter_on_codes_needs_codes_read(service, receiver):
    """Mutant: only the uppermost paths are looked at."""
    filters = [
        {"data.code": "1234"},
        {"data.text": {"$regex": "^G-"}},
        {"$or": [{"type": "sms.received"}, {"$not": {"data.urls": {"$exists": True}}}]},
    ]
    refused = [await subscribe(service, receiver, "writer", when=when) for when in filters]
    assert [answer.status_code for answer in refused] == [403, 403, 403]
    assert {answer.json()["code"] for answer in refused} == {"missing_scope"}
    assert receiver.challenges == 0
    allowed = [await subscribe(service, receiver, "coder", when=when) for when in filters]
    assert [answer.status_code for answer in allowed] == [201, 201, 201]


# Refusals


WRONG = {
    "url: missing": {},
    "url: not a URL": {"url": "ftp://a.example/"},
    "url: has a user": {"url": "http://u:p@a.example/"},
    "when: write paths": {"when": []},
    "when.data.kode: ": {"when": {"data.kode": 1}},
    "RE2": {"when": {"data.code": {"$regex": "(?=a)"}}},
    "longer than 4096": {"when": {"subject": "x" * 4096}},
    # Mutant: a filter is compiled before its patterns are counted. RE2 refuses these.
    "more than 4 $regex": {"when": {"$or": [{"source": {"$regex": "(?=a)"}}] * 5}},
    "format: write one of": {"format": "xml"},
    "uri: no such field": {"uri": 1},
}


async def test_wrong_body_is_400(service):
    for said, body in WRONG.items():
        body = body and {"url": "http://a.example/"} | body  # noqa: PLW2901 - whole
        answer = await service.ask("/v1/subscriptions", method="POST", json=body)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_body"), said
        assert said in answer.json()["detail"]


LONG = "x" * 3_000


@pytest.mark.parametrize(
    "when",
    [
        {LONG: 1},
        {f"data.service.key{LONG}": 1},
        {f"data.service.{LONG}": 1},
        {f"data.code.{LONG}..x": 1},
        {"data.code": {LONG: 1}},
        {"data.code": {f"${LONG}": 1}},
        {f"data.labels.{LONG}": {"$gt": None}},
        {f"data.\x00{LONG}": 1},
    ],
)
async def test_error_of_a_filter_repeats_no_long_name(service, when):
    """Mutants: the name, or the place, is repeated as it was sent."""
    body = {"url": "http://a.example/", "when": when}
    answer = await service.ask("/v1/subscriptions", method="POST", json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_body")
    assert answer.json()["detail"].startswith("when.")
    assert "x" * 161 not in answer.json()["detail"]
    assert len(answer.text) < 1_000


async def test_private_endpoint_is_422(tmp_path, run, receiver):
    """Mutant: only deliveries are guarded."""
    async with run(tmp_path, api=Api(keys=KEYS)) as service, working(service):
        answer = await subscribe(service, receiver)
        stored = await service.journal.ask(Subscriptions())
    assert (answer.status_code, answer.json()["code"]) == (422, "url_blocked")
    assert (receiver.end.connections, list(stored)) == (0, [])


ADDRESSES = {"internal.example": ["10.0.0.1"], "unknown.example": []}


async def test_unknown_host_is_answered_as_a_blocked_one(service, monkeypatch):
    """Another answer would reveal which internal names there are. Only `admin` gets it.

    Mutants: `dns` has an answer of its own; `admin` gets no reason.
    """

    async def resolve(host, _port):
        return ADDRESSES[host]

    monkeypatch.setattr(service.parts.subscriptions, "_guard", AddressGuard(resolve=resolve))
    answers = {}
    for name in ("coder", "admin"):
        for host in ADDRESSES:
            body = {"url": f"https://{host}/hook"}
            answer = await service.ask("/v1/subscriptions", name, method="POST", json=body)
            said = answer.json()
            answers[name, host] = (answer.status_code, said["code"], said["detail"])

    internal, unknown = (answers["coder", host] for host in ADDRESSES)
    assert internal == unknown
    assert internal[:2] == (422, "url_blocked")
    assert answers["admin", "internal.example"][1] == "url_blocked"
    assert answers["admin", "unknown.example"][1:] == (
        "challenge_failed",
        "url: its host has no address",
    )


async def test_name_that_is_lost_looks_like_a_blocked_one(service, receiver, monkeypatch):
    """Its owner may lead it to internal names. Mutant: one of the answers shows `dns`."""
    addresses = ["127.0.0.1"]

    async def resolve(_host, _port):
        return tuple(addresses)

    guard = AddressGuard(["127.0.0.1"], resolve=resolve)
    monkeypatch.setattr(service.parts.subscriptions, "_guard", guard)
    made = await subscribed(service, receiver, url=f"http://hook.example:{receiver.end.port}/")
    addresses.clear()
    event_id = await service.sms()
    await became(service, made, state="failing")

    sink = f"sub:{made['id']}"
    paths = (
        f"/v1/subscriptions/{made['id']}",
        "/v1/subscriptions",
        "/v1/sinks",
        f"/v1/deliveries?sink={sink}",
        f"/v1/events/{event_id}",
        f"/v1/events/{event_id}/why",
    )
    for path in paths:
        mine, all_ = [(await service.ask(path, name)).text for name in ("coder", "admin")]
        assert ('"blocked"' in mine, '"dns"' in mine) == (True, False), path
        assert ('"blocked"' in all_, '"dns"' in all_) == (False, True), path


async def test_key_with_when_sees_no_delivery_of_another_subscription(service, receiver):
    """Mutants: the rows are shown by an event, or by `why`; a key loses its own, too."""
    mine = await subscribed(service, receiver, "growth")
    other = await subscribed(service, receiver, "coder")
    event_id = await service.sms()
    await receiver.got(2)

    for end in ("", "/why"):
        path = f"/v1/events/{event_id}{end}"
        seen, whole = [(await service.ask(path, name)).json() for name in ("growth", "reader")]
        assert {one["sink"] for one in seen["deliveries"]} == {"log", f"sub:{mine['id']}"}
        assert len(whole["deliveries"]) == 3
        assert other["id"] not in str(seen)


async def test_endpoint_without_the_challenge_is_422(service, receiver):
    receiver.end.usual = reply(200, b"ok")
    answer = await subscribe(service, receiver)
    assert (answer.status_code, answer.json()["code"]) == (422, "challenge_failed")
    assert list(await service.journal.ask(Subscriptions())) == []


async def test_subscriptions_of_a_key_are_limited(tmp_path, run, receiver):
    """Also those that are being made. Mutant: only stored ones count."""
    limits = Subscribing(allow_networks=("127.0.0.1",), per_key=2)
    options = {"api": Api(keys=KEYS), "subscriptions": limits}
    async with run(tmp_path, **options) as service, working(service):
        answers = await asyncio.gather(*(subscribe(service, receiver) for _ in range(3)))
        other = await subscribe(service, receiver, "growth")
    assert sorted(answer.status_code for answer in answers) == [201, 201, 409]
    assert other.status_code == 201


async def test_key_that_reads_sees_only_its_subscriptions(service, receiver):
    """Mutants: reading needs the scope of writing; it shows those of other keys."""
    made = await subscribed(service, receiver)
    listed = await service.ask("/v1/subscriptions", "reader")
    other = await service.ask(f"/v1/subscriptions/{made['id']}", "reader")
    assert (listed.status_code, listed.json()["data"], other.status_code) == (200, [], 404)
    unread = await service.ask("/v1/subscriptions", "retrier")
    assert unread.json()["detail"] == "the key needs the scope events:read or subscriptions:write"


async def test_scope_is_needed(service, receiver):
    made = await subscribed(service, receiver)
    for method, path in (
        ("POST", ""),
        ("PATCH", f"/{made['id']}"),
        ("DELETE", f"/{made['id']}"),
        ("POST", f"/{made['id']}/rotate"),
        ("POST", f"/{made['id']}/resume"),
    ):
        answer = await service.ask(f"/v1/subscriptions{path}", "reader", method=method)
        assert answer.status_code == 403, (method, path)


async def test_key_sees_its_own_and_admin_sees_all(service, receiver):
    """Mutant: each key sees all. Another key's is 404 in every call."""
    mine, other = await subscribed(service, receiver), await subscribed(service, receiver, "growth")

    async def ids(name):
        return [item["id"] for item in await service.data("/v1/subscriptions", name)]

    assert await ids("coder") == [mine["id"]]
    assert await ids("growth") == [other["id"]]
    assert await ids("admin") == [mine["id"], other["id"]]
    path = f"/v1/subscriptions/{other['id']}"
    for method, more in (
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/rotate"),
        ("POST", "/resume"),
    ):
        answer = await service.ask(f"{path}{more}", "coder", method=method, json={})
        assert answer.status_code == 404, (method, more)


async def test_list_is_read_page_by_page(service, receiver):
    """One of the list goes between two pages. Mutant: its cursor is gone, too."""
    made = [(await subscribed(service, receiver))["id"] for _ in range(4)]

    async def page(**params):
        return (await service.ask("/v1/subscriptions", "coder", params=params)).json()

    first = await page(limit=2)
    await service.ask(f"/v1/subscriptions/{made[1]}", "coder", method="DELETE")
    second = await page(limit=2, after=first["next_cursor"])
    newest = await page(limit=2, order="desc")
    found = [[item["id"] for item in each["data"]] for each in (first, second, newest)]
    assert found == [made[:2], made[2:], [made[3], made[2]]]
    assert [each["has_more"] for each in (first, second, newest)] == [True, False, True]


# Changing


async def change(service, made, **fields):
    path = f"/v1/subscriptions/{made['id']}"
    return await service.ask(path, "coder", method="PATCH", json=fields)


async def test_changed_filter_is_in_force_at_once(service, receiver):
    made = await subscribed(service, receiver, when={"data.service.key": "amazon"})
    await change(service, made, when={"data.service.key": "google"}, format="cloudevents")
    event_id = await service.sms()
    assert [event["id"] for event in await receiver.got(1)] == [event_id]
    assert receiver.events[0].headers["content-type"] == "application/cloudevents+json"
    assert receiver.challenges == 1


async def test_null_filter_becomes_the_default(service, receiver):
    """Mutant: null is the same as missing."""
    made = await subscribed(service, receiver, when={"data.service.key": "amazon"})
    assert (await change(service, made, format="json")).json()["when"] is not None
    nulled = (await change(service, made, when=None)).json()
    assert (nulled["when"], nulled["tried_always"]) == (None, True)
    await service.sms()
    await receiver.got(1)


async def test_changed_url_is_challenged(service, receiver):
    """Mutant: only the first URL is challenged."""
    made = await subscribed(service, receiver)
    async with endpoint() as end:
        answer = await change(service, made, url=end.url)
        assert (answer.status_code, answer.json()["code"]) == (422, "challenge_failed")
        assert (await shown(service, made))["url"] == receiver.url

        other = Receiver(end)
        assert (await change(service, made, url=other.url)).status_code == 200
        await service.sms()
        await other.got(1)
    assert (receiver.events, other.challenges) == ([], 1)


async def test_both_secrets_sign_for_a_day(service, receiver):
    """Mutant: the old secret stops at the rotation. Mutant: it never stops."""
    made = await subscribed(service, receiver)
    path = f"/v1/subscriptions/{made['id']}/rotate"
    rotated = (await service.ask(path, "coder", method="POST")).json()
    assert rotated["id"] == made["id"] != rotated["secret"]

    await service.sms()
    await receiver.got(1)
    service.now += DAY + 1
    await service.sms()
    await receiver.got(2)
    signers = [make_signer([Secret(each["secret"])]) for each in (rotated, made)]
    for request, count in zip(receiver.events, (2, 1), strict=True):
        about = (request.headers["webhook-id"], int(request.headers["webhook-timestamp"]))
        signed = [sign(*about, request.body) for sign in signers[:count]]
        assert request.headers["webhook-signature"].split() == signed


async def test_fifth_secret_within_a_day_is_409(service, receiver):
    made = await subscribed(service, receiver)
    path = f"/v1/subscriptions/{made['id']}/rotate"
    answers = [await service.ask(path, "coder", method="POST") for _ in range(4)]
    service.now += DAY
    answers.append(await service.ask(path, "coder", method="POST"))
    assert [answer.status_code for answer in answers] == [200, 200, 200, 409, 200]


# Failing


async def test_410_pauses_at_once_until_it_is_resumed(service, receiver):
    """Mutant: a 410 refuses one delivery only."""
    made = await subscribed(service, receiver)
    receiver.status = 410
    await service.sms()
    paused = await became(service, made, state="paused")
    assert (paused["paused_by"], paused["last_error"]["status"]) == ("gone", 410)

    kept = await service.sms()
    await became(service, made, owed=1)
    receiver.status = 200
    path = f"/v1/subscriptions/{made['id']}/resume"
    resumed = await service.ask(path, "coder", method="POST")
    assert (resumed.status_code, resumed.json()["state"]) == (200, "active")
    assert (await receiver.got(2))[1]["id"] == kept


async def test_pending_deliveries_are_counted_without_reading_them(service, receiver, monkeypatch):
    """There may be a million. Mutant: the list asks for PendingBySink."""
    made = await subscribed(service, receiver)
    receiver.status = 500
    await service.sms()
    await became(service, made, state="failing", owed=1)
    asked, ask = [], service.journal.ask

    async def noted(read):
        asked.append(type(read))
        return await ask(read)

    monkeypatch.setattr(service.journal, "ask", noted)
    [listed] = await service.data("/v1/subscriptions")

    assert listed["owed"] == 1
    assert Counters in asked
    assert PendingBySink not in asked


async def test_five_days_of_failures_pause_it(service, receiver, monkeypatch):
    """No probe resumes it. Mutant: it is probed like a configured sink."""
    monkeypatch.setattr(recovery, "PROBE_EVERY", 0.001)
    monkeypatch.setattr(module, "LOOK_EVERY", 3600.0)  # its worker runs on
    made = await subscribed(service, receiver)
    receiver.status = 500
    await service.sms()
    failing = await became(service, made, state="failing")
    assert failing["failing_since"] is not None
    service.now += 5 * DAY
    await service.sms()
    paused = await became(service, made, state="paused", paused_by="failing")
    assert paused["owed"] == 2

    tried, receiver.status = len(receiver.events), 200
    service.now += DAY
    await asyncio.sleep(0.1)  # a hundred probes of a configured sink
    assert len(receiver.events) == tried
    path = f"/v1/subscriptions/{made['id']}/resume"
    await service.ask(path, "coder", method="POST")
    await became(service, made, owed=0, state="active")


async def test_deleted_subscription_ends_what_it_is_owed(service, receiver):
    """Mutant: its deliveries stay pending for ever."""
    made = await subscribed(service, receiver)
    receiver.status = 500
    await service.sms()
    await became(service, made, state="failing", owed=1)

    path = f"/v1/subscriptions/{made['id']}"
    assert (await service.ask(path, "coder", method="DELETE")).status_code == 204
    assert (await service.ask(path, "coder")).status_code == 404
    sink = f"sub:{made['id']}"
    [kept] = await service.data("/v1/deliveries", sink=sink)
    last = kept["attempts"][-1]
    assert (kept["state"], last["outcome"], last["error"]) == ("dead", "refused", "unsubscribed")
    assert (await service.ask("/v1/stats")).json()["deliveries"]["dead"] == 1
    retried = await service.ask(f"/v1/deliveries/{kept['id']}/retry", method="POST")
    assert (retried.status_code, retried.json()["code"]) == (409, "unsubscribed")
    assert sink not in [each["name"] for each in await service.data("/v1/sinks")]


async def test_deliveries_of_a_gone_subscription_end_at_the_start(tmp_path, run, receiver):
    """The process ended between the two writes of a deletion."""
    async with run(tmp_path, **CHANGED) as service:
        async with working(service):
            made = await subscribed(service, receiver)
            receiver.status = 500
            await service.sms()
            await became(service, made, state="failing")
        await service.journal.submit(DeleteSubscription(made["id"], f"sub:{made['id']}"))
    async with run(tmp_path, **CHANGED) as service, working(service):
        await until(lambda: is_dead(service))


async def is_dead(service):
    answer = await service.ask("/v1/deliveries")
    # The list is recorded first, so a stalled journal refuses it.
    return answer.status_code == 200 and answer.json()["data"][-1]["state"] == "dead"


# Keys


async def test_subscription_ends_with_its_key(tmp_path, run, receiver):
    """Mutant: it keeps the rights of its key for ever."""
    async with run(tmp_path, **CHANGED) as service, working(service):
        made = await subscribed(service, receiver)
    left = {name: each for name, each in KEYS.items() if name != "coder"}
    async with run(tmp_path, **CHANGED | {"api": Api(keys=left)}) as service, working(service):
        await service.sms()
        paused = await became(service, made, state="paused", owed=0)
        path = f"/v1/subscriptions/{made['id']}/resume"
        refused = await service.ask(path, method="POST")
    assert paused["paused_by"] == "key"
    assert (refused.status_code, refused.json()["code"]) == (409, "key_ended")

    # Another key of that name does not revive it unasked.
    async with run(tmp_path, **CHANGED) as service, working(service):
        service.sent = 10
        await service.sms()
        assert (await shown(service, made))["owed"] == 0
        await service.ask(path, "coder", method="POST")
        await service.sms()
        await receiver.got(1)


async def test_filter_on_codes_ends_with_the_right_to_read_them(tmp_path, run, receiver):
    """Mutant: masked deliveries still reveal the code, by the filter that they match."""
    async with run(tmp_path, **CHANGED) as service, working(service):
        made = await subscribed(service, receiver, when={"data.code": {"$startsWith": "4"}})
    keys = KEYS | {"coder": key("coder", "subscriptions:write")}
    async with run(tmp_path, **CHANGED | {"api": Api(keys=keys)}) as service, working(service):
        await service.sms()
        assert (await became(service, made, state="paused"))["paused_by"] == "key"
    assert receiver.events == []


async def new_key(service, *scopes, **fields):
    """Make the key `made`; return the header that sends it."""
    body = {"name": "made", "scopes": ["subscriptions:write", *scopes]} | fields
    answer = await service.ask("/v1/keys", method="POST", json=body)
    return {"Authorization": f"Bearer {answer.json()['key']}"}


async def test_revoked_key_stops_its_subscriptions(service, receiver):
    """At once: no attempt begins. Mutants: `rights` or `end_key` without stored keys."""
    headers = await new_key(service, "codes:read")
    made = await subscribed(service, receiver, None, headers=headers)
    await service.sms()
    await receiver.got(1)
    await became(service, made, owed=0)  # its outcome is stored, so the key cuts no attempt

    await service.ask("/v1/keys/made", method="DELETE")
    await service.sms()

    paused = await became(service, made, state="paused", paused_by="key")
    assert (paused["owed"], len(receiver.events)) == (0, 1)


async def test_expired_key_gets_no_further_event(service, receiver):
    """Mutant: `rights` without the end of the key."""
    body = {"name": "made", "scopes": ["subscriptions:write"], "expires": "1h"}
    new = (await service.ask("/v1/keys", method="POST", json=body)).json()
    headers = {"Authorization": f"Bearer {new['key']}"}
    made = await subscribed(service, receiver, None, headers=headers)

    service.now += 3600
    await service.sms()

    paused = await became(service, made, state="paused", paused_by="key")
    assert (paused["owed"], receiver.events) == (0, [])


async def test_revoked_key_cuts_attempts_under_way(tmp_path, run, receiver, monkeypatch):
    """At once, not at the next look. Mutant: `end_key` without `cancel`."""
    monkeypatch.setattr(module, "LOOK_EVERY", 3600)
    async with run(tmp_path, **CHANGED) as service, working(service):
        headers = await new_key(service)
        made = await subscribed(service, receiver, None, headers=headers)
        await service.sms()
        await receiver.got(1)
        task = service.parts.subscriptions.get(made["id"]).task

        await service.ask("/v1/keys/made", method="DELETE")

        assert await asyncio.wait([task], timeout=10) == ({task}, set())


async def test_new_key_of_that_name_must_resume(tmp_path, run, receiver):
    """The events are masked as for the new key, also if it comes within one look.

    Mutants: `has_lost_key` is not set, or not looked at; `wake` keeps the rights of the old key.
    """
    async with run(tmp_path, **CHANGED) as service:
        headers = await new_key(service, "codes:read")
        made = await subscribed(service, receiver, None, headers=headers)
        await service.ask("/v1/keys/made", method="DELETE")
        headers = await new_key(service)
        await service.sms()
        async with running(service):
            await became(service, made, state="paused", paused_by="key", owed=0)

            path = f"/v1/subscriptions/{made['id']}/resume"
            resumed = await service.ask(path, None, method="POST", headers=headers)
            last = await service.sms()
            [event] = await receiver.got(1)
    assert (resumed.status_code, resumed.json()["masked"]) == (200, True)
    assert (event["id"], event["data"]["code"]) == (last, "***")


async def test_revoked_key_in_the_shadow_ends_nothing(tmp_path, run, receiver):
    """The subscriptions belong to the configured key of its name. Mutant: they are paused."""
    left = {name: each for name, each in KEYS.items() if name != "coder"}
    async with run(tmp_path, **CHANGED | {"api": Api(keys=left)}) as service:
        body = {"name": "coder", "scopes": ["events:read"]}
        old = (await service.ask("/v1/keys", method="POST", json=body)).json()
    async with run(tmp_path, **CHANGED) as service, working(service):
        await service.parts.keys.load()
        await subscribed(service, receiver)
        revoked = await service.ask(f"/v1/keys/{old['id']}", method="DELETE")
        await service.sms()
        await receiver.got(1)
    assert revoked.status_code == 204


class Read:
    """An attribute that keeps the objects that it was read of."""

    def __init__(self):
        self.of, self._values = [], {}

    def __get__(self, one, _type):
        self.of.append(one)
        return self._values[one]

    def __set__(self, one, value):
        self._values[one] = value


async def test_look_visits_subscriptions_of_changed_keys_only(tmp_path, run, monkeypatch):
    """With a hundred thousand, a look at each of them would hold up callbacks.

    Mutants: the rights of a key are read for each subscription; each one is visited each time.
    """
    keys = {name: key(name, "subscriptions:write") for name in ("a", "b")} | KEYS
    reads, asked = Read(), []
    monkeypatch.setattr(module.Live, "reads_codes", reads, raising=False)
    async with run(tmp_path, **CHANGED | {"api": Api(keys=keys)}) as service:
        subscriptions = service.parts.subscriptions
        for number in range(20):
            stored = StoredSubscription(
                id=f"{number:032x}",
                key="ab"[number % 2],
                url="https://app.example.com/hook",
                filter=None,
                format="json",
                secrets=(),
                created_at=service.now,
            )
            await service.journal.submit(CreateSubscription(stored))
        await subscriptions.load({})
        rights = {name: KeyRights(sees=None, reads_codes=False) for name in ("a", "b")}
        subscriptions._rights = lambda name: asked.append(name) or rights[name]
        counts = []
        for changed in ({}, {}, {"b": None}, {}):
            rights |= changed
            reads.of.clear()
            asked.clear()
            await subscriptions._look()
            counts.append((len(reads.of), len(asked)))
        states = {live.stored.key: live.worker.paused for live in subscriptions}

    first, second, third, last = counts
    assert first == (20, 2)
    assert second == last == (0, 2)
    assert third == (0, 2 + 10), "and one more look at each that is paused"
    assert states == {"a": None, "b": "key"}


# Hidden events


@pytest.fixture
def still(monkeypatch):
    """No look at the keys but the first one."""
    monkeypatch.setattr(module, "LOOK_EVERY", 3600.0)


async def deliveries(service, made):
    """Return (state, error of the last attempt, number of attempts) of each, by its event."""
    found = await service.data("/v1/deliveries", sink=f"sub:{made['id']}")
    return {
        item["event"]: (item["state"], item["attempts"][-1]["error"], len(item["attempts"]))
        for item in found
    }


async def test_restart_with_a_narrower_key_sends_no_hidden_event(tmp_path, run, receiver):
    """Nor does a retry. Mutant: an attempt does not look at the key."""
    async with run(tmp_path, **CHANGED) as service, working(service):
        made = await subscribed(service, receiver)
        sink = f"/v1/sinks/sub:{made['id']}"
        await service.ask(f"{sink}/pause", method="POST")
        hidden, seen = await service.hero(), await service.sms()
    keys = KEYS | {"coder": msgspec.structs.replace(KEYS["growth"], key=KEYS["coder"].key)}
    async with run(tmp_path, **CHANGED | {"api": Api(keys=keys)}) as service, working(service):
        await service.ask(f"{sink}/resume", method="POST")
        item = await became(service, made, owed=0)
        found = await deliveries(service, made)
        [dead] = await service.data("/v1/deliveries", state="dead")
        await service.ask(f"/v1/deliveries/{dead['id']}/retry", method="POST")
        await became(service, made, owed=0)
        retried = await deliveries(service, made)

    assert [event["id"] for event in await receiver.got(1)] == [seen]
    assert found == {hidden: ("dead", "hidden", 1), seen: ("delivered", None, 1)}
    assert item["last_error"]["error"] == "hidden"
    assert retried == found | {hidden: ("dead", "hidden", 2)}
    assert len(receiver.events) == 1


async def test_resume_with_a_narrower_key_sends_no_hidden_event(service, receiver):
    """Mutant: only the first attempt looks at the key."""
    headers = await new_key(service, "codes:read")
    made = await subscribed(service, receiver, None, headers=headers)
    receiver.status = 500
    hidden = await service.hero()
    await became(service, made, state="failing")
    await service.ask("/v1/keys/made", method="DELETE")
    await became(service, made, paused_by="key")
    headers = await new_key(service, "codes:read", when={"data.labels.team": "growth"})
    receiver.status, service.now = 200, service.now + DAY

    path = f"/v1/subscriptions/{made['id']}/resume"
    await service.ask(path, None, method="POST", headers=headers)
    await became(service, made, owed=0)

    assert await deliveries(service, made) == {hidden: ("dead", "hidden", 2)}
    assert len(receiver.events) == 1


@pytest.mark.usefixtures("still")
async def test_start_without_its_key_runs_no_worker(tmp_path, run, receiver, monkeypatch):
    """Mutant: pending deliveries are sent until the first look pauses the subscription."""
    async with run(tmp_path, **CHANGED) as service, working(service):
        made = await subscribed(service, receiver)
        receiver.status = 500
        await service.sms()
        await became(service, made, state="failing")
    started, runner = [], module.SinkRunner
    monkeypatch.setattr(module, "SinkRunner", lambda *a, **b: started.append(a) or runner(*a, **b))
    left = {name: each for name, each in KEYS.items() if name != "coder"}
    async with run(tmp_path, **CHANGED | {"api": Api(keys=left)}) as service, working(service):
        paused = await became(service, made, paused_by="key")

    assert (started, paused["owed"]) == ([], 1)


@pytest.mark.usefixtures("still")
async def test_attempt_after_the_end_of_its_key_fails(tmp_path, run, receiver):
    """The delivery stays pending. Mutants: it is sent; it is dead."""
    async with run(tmp_path, **CHANGED) as service, working(service):
        headers = await new_key(service, expires="1h")
        made = await subscribed(service, receiver, None, headers=headers)
        receiver.status = 500
        event_id = await service.sms()
        await became(service, made, state="failing")
        receiver.status, service.now = 200, service.now + 3600
        [live] = service.parts.subscriptions
        live.worker.look_again()

        async def is_tried():
            return (await deliveries(service, made))[event_id][2] > 1

        await until(is_tried)
        found = await deliveries(service, made)

    assert found == {event_id: ("pending", "key", 2)}
    assert len(receiver.events) == 1


# Calls that are cut off


async def test_change_is_in_force_after_a_stall(service, receiver):
    """Its call got 503. Mutant: only the caller's task changes the memory."""
    made = await subscribed(service, receiver)
    await service.sms()
    await receiver.got(1)

    changing = change(service, made, when={"data.service.key": "amazon"}, format="cloudevents")
    answer = await service.stalled(ChangeSubscription, changing)

    await became(service, made, format="cloudevents", tried_always=False)
    event_id = await service.sms(service="Amazon")
    assert answer.status_code == 503
    assert [event["id"] for event in (await receiver.got(2))[1:]] == [event_id]
    assert receiver.events[1].headers["content-type"] == "application/cloudevents+json"


async def test_deletion_is_finished_after_a_stall(service, receiver):
    """Its call got 503. Mutants: only the caller's task changes the memory, or ends deliveries."""
    made = await subscribed(service, receiver)
    receiver.status = 500
    await service.sms()
    await became(service, made, state="failing", owed=1)
    path = f"/v1/subscriptions/{made['id']}"

    answer = await service.stalled(DeleteSubscription, service.ask(path, "coder", method="DELETE"))

    await until(lambda: is_dead(service))
    assert answer.status_code == 503
    assert (await service.ask(path, "coder")).status_code == 404


async def test_resumed_subscription_delivers_after_a_stall(service, receiver):
    """Mutant: only the caller's task starts the worker."""
    made = await subscribed(service, receiver)
    sink = f"/v1/sinks/sub:{made['id']}"
    await service.ask(f"{sink}/pause", method="POST")
    await service.sms()

    answer = await service.stalled(ResumeSink, service.ask(f"{sink}/resume", method="POST"))

    await receiver.got(1)
    assert answer.status_code == 503


async def test_deleted_subscription_runs_no_worker(service, receiver):
    """A commit starts its worker while the deletion waits for the disk.

    Mutant: only a worker that ran before is stopped.
    """
    made = await subscribed(service, receiver)
    [live] = service.parts.subscriptions
    submit = service.journal.submit

    def woken(write, then=None):
        written = submit(write, then)
        if isinstance(write, DeleteSubscription):
            service.parts.subscriptions.wake(live.name)
            assert live.task is not None
        return written

    async def is_stopped():
        return live.task is None

    service.journal.submit = woken
    await service.ask(f"/v1/subscriptions/{made['id']}", "coder", method="DELETE")

    await until(is_stopped)


# Repeated calls


async def test_repeated_subscribing_subscribes_once(service, receiver):
    """Mutant: the write without its guard."""
    headers = {"Idempotency-Key": "one"}
    made = await subscribed(service, receiver, headers=headers)

    again = await subscribe(service, receiver, headers=headers)

    assert (again.status_code, again.json()["code"]) == (409, "already_made")
    assert again.json()["id"] == made["id"]
    assert [item["id"] for item in await service.data("/v1/subscriptions")] == [made["id"]]
    assert receiver.challenges == 1


async def test_repeated_rotation_rotates_once(service, receiver):
    """Mutant: the write without its guard."""
    made = await subscribed(service, receiver)
    path = f"/v1/subscriptions/{made['id']}/rotate"
    headers = {"Idempotency-Key": "one"}
    first = await service.ask(path, "coder", method="POST", headers=headers)
    again = await service.ask(path, "coder", method="POST", headers=headers)

    assert first.status_code == 200
    assert (again.status_code, again.json()["code"]) == (409, "already_made")
    assert again.json()["id"] == made["id"]
    [(_, stored)] = await service.journal.ask(Subscriptions())
    assert len(stored.secrets) == 2


async def test_repeated_resume_resumes_once(service, receiver):
    """A pause after it stays. Mutant: the write without its guard."""
    made = await subscribed(service, receiver)
    path, name = f"/v1/subscriptions/{made['id']}/resume", f"sub:{made['id']}"
    headers = {"Idempotency-Key": "one"}
    await service.ask(f"/v1/sinks/{name}/pause", method="POST")
    first = await service.ask(path, method="POST", headers=headers)
    await service.ask(f"/v1/sinks/{name}/pause", method="POST")
    again = await service.ask(path, method="POST", headers=headers)

    assert (first.status_code, first.json()["state"]) == (200, "active")
    assert (again.status_code, again.json()["state"]) == (200, "paused")


# Beside other sinks


async def test_operator_sees_and_steers_it_as_a_sink(service, receiver):
    made = await subscribed(service, receiver)
    name = f"sub:{made['id']}"
    tested = (await service.ask(f"/v1/sinks/{name}/test", method="POST")).json()
    assert tested["outcome"] == "delivered"
    assert receiver.url not in tested["request"]

    await service.ask(f"/v1/sinks/{name}/pause", method="POST")
    await service.sms()
    path = f"/v1/subscriptions/{made['id']}/resume"
    refused = await service.ask(path, "coder", method="POST")
    assert (refused.status_code, refused.json()["code"]) == (409, "paused_by_operator")
    [item] = [each for each in await service.data("/v1/sinks") if each["name"] == name]
    assert (item["type"], item["state"], item["owed"]) == ("subscription", "paused", 1)

    await service.ask(f"/v1/sinks/{name}/resume", method="POST")
    await receiver.got(2)  # the sample, then the event


async def test_sample_is_sent_whatever_the_key_sees(service, receiver):
    """Mutant: the key must see the sample."""
    headers = await new_key(service, when={"source": "herosms"})
    made = await subscribed(service, receiver, None, headers=headers)
    tested = await service.ask(f"/v1/sinks/sub:{made['id']}/test", method="POST")
    [event] = await receiver.got(1)
    assert (tested.json()["outcome"], event["source"]) == ("delivered", "tellabot")


async def test_replay_shows_it_no_hidden_event(service, receiver):
    """Mutant: any sink may get any event by a replay."""
    made = await subscribed(service, receiver, "growth")
    hidden, seen = await service.hero(), await service.sms()
    await receiver.got(1)

    async def replay(event_id):
        body = {"sinks": [f"sub:{made['id']}"]}
        return await service.ask(f"/v1/events/{event_id}/replay", method="POST", json=body)

    assert (await replay(hidden)).status_code == 422
    assert (await replay(seen)).status_code == 200
    assert [event["id"] for event in await receiver.got(2)] == [seen, seen]
    assert receiver.events[1].headers["smshook-replay"] == "true"


async def test_idle_worker_ends_and_wakes_with_the_next_event(service, receiver, monkeypatch):
    """Mutant: each subscription keeps its tasks for ever. Mutant: it does not wake."""
    made = await subscribed(service, receiver)
    [live] = service.parts.subscriptions
    assert live.task is None
    await service.sms()
    await receiver.got(1)
    assert live.task is not None
    monkeypatch.setattr(module, "IDLE_FOR", 0.0)

    async def is_stopped():
        return live.task is None

    await until(is_stopped)
    await service.sms()
    await receiver.got(2)
    await became(service, made, owed=0)


async def test_subscription_survives_a_start(tmp_path, run, receiver):
    async with run(tmp_path, **CHANGED) as service, working(service):
        made = await subscribed(service, receiver, when={"data.service.key": "google"})
        before = await shown(service, made)
    async with run(tmp_path, **CHANGED) as service, working(service):
        assert await shown(service, made) == before
        event_id = await service.sms()
        await receiver.got(1)
    [request] = receiver.events
    sign = make_signer([Secret(made["secret"])])
    about = (event_id, int(request.headers["webhook-timestamp"]), request.body)
    assert request.headers["webhook-signature"] == sign(*about)


def test_name_of_its_sink_is_no_configured_name():
    assert not NAME.fullmatch(f"{module.PREFIX}x")


async def test_why_shows_the_own_subscriptions(service, receiver):
    """Mutant: a key sees the subscriptions of another."""
    made = await subscribed(service, receiver, when={"data.service.key": "amazon"})
    event_id = await service.sms()

    shown = {
        name: (await service.ask(f"/v1/events/{event_id}/why", name)).json()["subscriptions"]
        for name in ("coder", "reader", "admin")
    }

    [reason] = shown["coder"]
    assert (reason["name"], reason["matched"], reason["matches"]) == (
        f"sub:{made['id']}",
        False,
        False,
    )
    assert reason["fails"]["clause"] == "data.service.key"
    assert shown["admin"] == shown["coder"]
    assert shown["reader"] == []


async def test_secret_of_a_sealed_journal_needs_the_key_file(tmp_path, run, receiver):
    """Without it nothing is sent: a subscription must not be delivered unsigned.

    Mutants: the secret is encrypted under `server.secret` alone; an empty signature is sent.
    """
    keys = MemoryKeys()
    async with run(tmp_path, keys=keys, **CHANGED) as service, working(service):
        made = await subscribed(service, receiver)
        await service.sms(id=1, reply="1", pin="1", timestamp=1_789_990_001)
        await receiver.got(1)
        [(_, stored)] = await service.journal.ask(Subscriptions())
    async with run(tmp_path, keys=keys, **CHANGED) as service, working(service):
        await service.sms(id=2, reply="2", pin="2", timestamp=1_789_990_002)
        await receiver.got(2)
    async with (
        run(tmp_path, in_clear="its key file is lost", **CHANGED) as service,
        working(service),
    ):
        await service.sms(id=3, reply="3", pin="3", timestamp=1_789_990_003)
        resumed = await service.ask(
            f"/v1/subscriptions/{made['id']}/resume", "coder", method="POST"
        )

    assert stored.secrets[0].sealed.startswith("key:")
    # A start may end before it has settled what it sent: the next one sends it again.
    assert len({json.loads(request.body)["id"] for request in receiver.events}) == 2
    assert (resumed.status_code, resumed.json()["code"]) == (409, "secret_missing")


@pytest.mark.parametrize("other", [None, b"another entry of a new key file!"])
async def test_missing_secret_is_visible_and_rotated(tmp_path, run, receiver, other):
    """The key file is missing, or was made anew. Mutants: the start fails; the subscription is
    paused as if its API key had ended; a rotation keeps the secret that nobody can open."""
    keys = MemoryKeys()
    async with run(tmp_path, keys=keys, **CHANGED) as service, working(service):
        made = await subscribed(service, receiver)
    keys._entries = {} if other is None else {"order": other}
    keys.is_new = True
    with capture_logs() as lines:
        async with run(tmp_path, keys=keys, **CHANGED) as service, working(service):
            paused = await became(service, made, state="paused")
            path = f"/v1/subscriptions/{made['id']}"
            refused = await service.ask(f"{path}/resume", "coder", method="POST")
            await service.sms(id=1, reply="1", pin="1", timestamp=1_789_990_001)
            waiting = (await shown(service, made))["owed"]
            rotated = await service.ask(f"{path}/rotate", "coder", method="POST")
            await receiver.got(1)
            await became(service, made, state="active", owed=0)

    assert (paused["paused_by"], waiting) == ("secret", 1)
    assert (refused.status_code, refused.json()["code"]) == (409, "secret_missing")
    assert rotated.status_code == 200
    [warned] = [line for line in lines if line["event"] == "subscription.secret_missing"]
    assert (warned["subscription"], warned["key"]) == (made["id"], "coder")


async def test_secret_that_opens_again_resumes_its_subscription(tmp_path, run, receiver):
    """Mutants: it stays paused; events of the time between are left out."""
    keys = MemoryKeys()
    async with run(tmp_path, keys=keys, **CHANGED) as service, working(service):
        made = await subscribed(service, receiver)
    entries, keys._entries = keys._entries, {}
    async with run(tmp_path, keys=keys, **CHANGED) as service, working(service):
        await became(service, made, paused_by="secret")
        await service.sms(id=1, reply="1", pin="1", timestamp=1_789_990_001)
    keys._entries = entries
    async with run(tmp_path, keys=keys, **CHANGED) as service, working(service):
        await receiver.got(1)
        await became(service, made, state="active", owed=0)


async def test_secret_from_before_the_key_file_is_sealed_with_the_rows(tmp_path, run, receiver):
    """Mutants: it stays under `server.secret` alone; another secret signs; an attempt is cut."""
    before = "it was made before"
    async with run(tmp_path, in_clear=before, **CHANGED) as service, working(service):
        made = await subscribed(service, receiver)
        await service.sms(id=1, reply="1", pin="1", timestamp=1_789_990_001)
        await receiver.got(1)
    root = Secret("the root key of this test, 0123456789")
    keys = Keyring(tmp_path / "smshook.keys", (root,), period=3600.0, now=service.now)
    async with run(tmp_path, keys=keys, **CHANGED) as service, working(service):
        await service.parts.row_sealer.seal(gently=False)
        [(_, stored)] = await service.journal.ask(Subscriptions())
        await service.sms(id=2, reply="2", pin="2", timestamp=1_789_990_002)
        await receiver.got(2)
        changed = await service.ask(
            f"/v1/subscriptions/{made['id']}", "coder", method="PATCH", json={"format": "json"}
        )
        [(_, again)] = await service.journal.ask(Subscriptions())

    assert stored.secrets[0].sealed.startswith("key:")
    assert changed.status_code == 200
    assert again.secrets == stored.secrets
    sign = make_signer([Secret(made["secret"])])
    for request in receiver.events:
        about = request.headers["webhook-id"], int(request.headers["webhook-timestamp"])
        assert request.headers["webhook-signature"] == sign(*about, request.body)
