"""Promises of every call of the API. A new call must be added to `CALLS`."""

import asyncio
import base64
import re
import tempfile
from pathlib import Path

import pytest
from examples import examples
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from litestar.routes import HTTPRoute
from services import key

from core.secret import Secret
from journal.records import SealedSecret, StoredSubscription
from journal.writes import CreateSubscription, IndexVisible
from server.api.app import create_api
from server.config.options import Api
from sinks.sink import Receipt

ABSENT = "01931c5e-0000-7000-8000-000000000000"
EVENT_FILTERS = (
    {},
    {"order": "desc"},
    {"type": "sms.received"},
    {"source": "tellabot"},
    {"source": "herosms"},
    {"service": "google"},
    {"number": "18505554729"},
    {"code": "true"},
    {"since": "1h"},
    {"type": "sms.received", "order": "desc"},
)
STREAM = "/v1/events/stream"
SUBSCRIPTION = "/v1/subscriptions/{subscription_id}"
SCOPES = ("codes:read", "deliveries:write", "subscriptions:write")


GROWTH = {"data.labels.team": "growth"}
KEYS = {
    "admin": key("admin", "admin"),
    "growth": key("growth", *SCOPES, when=GROWTH),
    "boss": key("boss", "admin", when=GROWTH),
    "masked": key("masked", "events:read", "deliveries:write", "subscriptions:write"),
}


class World:
    """A service with messages that the keys `growth` and `boss` see, and others."""

    def __init__(self, service):
        self.service = service
        #: Of all messages. Those that are left out have the id of no event.
        self.events, self.deliveries, self.orders = [], [], []
        #: One of each key, in the order of `KEYS`.
        self.subscriptions = []
        #: Visible events, in their order.
        self.mine = []
        self.quarantined = ABSENT
        #: A replay of another key.
        self.replay = ABSENT
        #: The place of the first visible event.
        self.cursor = None

    async def fill(self, messages, *, with_hidden):
        """Store messages: True is a visible one. Deliver them to a sink that repeats them."""
        service = self.service
        for key_name in KEYS:
            await self.subscribe(key_name)
        await service.parts.subscriptions.load({})
        for number, is_mine in enumerate(messages):
            code = f"{'5551' if is_mine else '9990'}{number:02d}"
            text = f"Your code is {code}, see https://x.example/{code}"
            id_ = f"{8_675_000 + number}"
            if is_mine:
                event = await service.sms(id=id_, reply=text, pin=code, timestamp=1_789_990_000)
                self.mine.append(event)
                body = {"source": "tellabot", "request_id": id_, "reference": f"mine-{number}"}
            elif with_hidden:
                event = await service.hero(activationId=id_, text=text, code=code, phone="1")
                body = {"source": "herosms", "activation_id": id_, "reference": f"other-{number}"}
            else:
                self.events.append(ABSENT)
                self.deliveries.append("0" * 32)
                self.orders.append(ABSENT)
                continue
            self.events.append(event)
            order = await service.ask("/v1/orders", method="POST", json=body)
            self.orders.append(order.json()["id"])
            [delivery] = await service.data("/v1/deliveries", event=event, sink="log")
            self.deliveries.append(delivery["id"])
        if with_hidden:
            entry = await service.post(b'{"text": "hidden 999000"}', "herosms")
            self.quarantined = entry["id"]
            started = await service.ask("/v1/replays", method="POST", json={"sinks": ["log"]})
            self.replay = started.json()["id"]
            await service.post(b"", "herosms", token="wrong-token-0123456789")

        page = await service.ask("/v1/events", "growth", params={"limit": 1})
        self.cursor = page.json()["next_cursor"]

        async def echo(outgoing):
            return Receipt(status=200, answer=bytes(outgoing.body))

        await service.settled(echo)

    async def subscribe(self, key_name):
        """Store a subscription of that key. It is owed events, and nothing is sent to it."""
        identity, at = self.service.identity, self.service.now
        id_ = identity.event_id(at)
        stored = StoredSubscription(
            id=id_,
            key=key_name,
            url="https://app.example.com/hook",
            filter='{"type": "sms.received"}',
            format="json",
            secrets=(SealedSecret(sealed=identity.seal_secret(id_, Secret("whsec_AAAA"))),),
            created_at=at,
        )
        await self.service.journal.submit(CreateSubscription(stored))
        self.subscriptions.append(id_)

    async def answers(self, key_name):
        """Make every call with that key; return the answers by call, comparable between worlds."""
        return {
            (*call, number): await self.answer(call[0], path, key_name, sent)
            for call, requests in CALLS.items()
            for number, (path, sent) in enumerate(requests(self))
        }

    async def answer(self, method, path, key_name, sent):
        """Return status and text of an answer, for a list those of all its pages."""
        if path == STREAM:
            return [await self.streamed(key_name)]
        headers, pages = {"X-Request-Id": "same"}, []
        while True:
            answer = await self.service.ask(path, key_name, method=method, headers=headers, **sent)
            pages.append(f"{answer.status_code} {answer.text}")
            page = answer.json() if path == "/v1/events" else {}
            if path != "/v1/events" or not page.get("has_more"):
                return pages
            sent = {"params": {**sent["params"], "after": page["next_cursor"]}}

    async def streamed(self, key_name):
        """Return the events that a stream shows from the beginning."""
        async with self.service.call(f"{STREAM}?after=start", key_name) as call:
            await call.begun()
            await self.service.waiting()
            parts = []
            while not call._sent.empty():
                parts.append(call._sent.get_nowait()["body"].decode())
        return "".join([f"{call.status} ", *parts])

    def comparable(self, text):
        """Return an answer without the parts that differ by chance."""
        for number, event in enumerate(self.mine):
            text = text.replace(event, f"EVENT {number}")
        text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", text)
        text = re.sub(r'"[A-Za-z0-9_-]{64}"', '"CURSOR"', text)
        text = re.sub(r"whsec_[A-Za-z0-9+/=]+", "SECRET", text)
        text = re.sub("(?m)^id: [A-Za-z0-9_-]{64}$", "id: CURSOR", text)
        text = re.sub(r'"[0-9a-f]{32}"', '"DELIVERY"', text)
        text = re.sub(r'"took_ms":[0-9.e-]+', '"took_ms":0', text)
        return re.sub(r'"rate_left":[0-9]+', '"rate_left":0', text)


def plain(*paths, **sent):
    return [(path, sent) for path in paths]


#: The requests of each call: with every message, and with every filter of events.
CALLS = {
    ("GET", "/v1/events"): lambda _: [
        ("/v1/events", {"params": {**wanted, "limit": limit}})
        for wanted in EVENT_FILTERS
        for limit in (1, 2, 100)
    ],
    ("GET", "/v1/events/{event_id}"): lambda world: [
        (f"/v1/events/{id_}", {"params": params})
        for id_ in world.events
        for params in ({}, {"raw": "true"})
    ],
    ("POST", "/v1/events/{event_id}/replay"): lambda world: [
        (f"/v1/events/{id_}/replay", {"json": body})
        for id_ in world.events
        for body in ({"sinks": ["log"]}, {"sinks": ["none"]}, {"sinks": "999000"})
    ],
    ("GET", "/v1/events/{event_id}/preview"): lambda world: plain(
        *(
            f"/v1/events/{id_}/preview?sink={sink}"
            for id_ in world.events
            for sink in ("log", "none")
        )
    ),
    ("POST", "/v1/events/{event_id}/reveal"): lambda world: [
        (f"/v1/events/{id_}/reveal", {"json": {"reason": reason}})
        for id_ in world.events
        for reason in ("ticket 4711", 5)
    ],
    ("GET", "/v1/audit/who/{event_id}"): lambda world: plain(
        *(f"/v1/audit/who/{id_}" for id_ in world.events)
    ),
    ("GET", "/v1/events/{event_id}/why"): lambda world: plain(
        *(f"/v1/events/{id_}/why" for id_ in world.events)
    ),
    ("POST", "/v1/replays"): lambda _: [
        ("/v1/replays", {"json": body})
        for body in (
            {},
            {"sinks": ["log"], "since": "1h"},
            {"sinks": ["none"]},
            *({"dry_run": True, "source": source} for source in ("tellabot", "herosms")),
        )
    ],
    ("GET", "/v1/replays/{replay_id}"): lambda world: plain(f"/v1/replays/{world.replay}"),
    ("DELETE", "/v1/replays/{replay_id}"): lambda world: plain(f"/v1/replays/{world.replay}"),
    ("GET", STREAM): lambda _: plain(STREAM),
    ("GET", "/v1/events/wait"): lambda _: [
        ("/v1/events/wait", {"params": {"since": "1h", **wanted, "timeout": "0"}})
        for wanted in EVENT_FILTERS
        if "order" not in wanted
    ],
    ("GET", "/v1/consumers/{name}/events"): lambda _: [
        ("/v1/consumers/crm/events", {"params": {"limit": limit}}) for limit in (1, 100)
    ],
    ("POST", "/v1/consumers/{name}/commit"): lambda world: plain(
        "/v1/consumers/crm/commit", json={"cursor": world.cursor}
    ),
    ("GET", "/v1/consumers"): lambda _: plain("/v1/consumers"),
    ("POST", "/v1/consumers/{name}/seek"): lambda _: plain(
        "/v1/consumers/crm/seek", json={"time": "1h"}
    ),
    ("DELETE", "/v1/consumers/{name}"): lambda _: plain("/v1/consumers/crm"),
    ("GET", "/v1/deliveries"): lambda _: plain("/v1/deliveries"),
    ("GET", "/v1/deliveries/{delivery_id}"): lambda world: plain(
        *(f"/v1/deliveries/{id_}" for id_ in world.deliveries)
    ),
    ("POST", "/v1/deliveries/retry"): lambda world: plain(
        "/v1/deliveries/retry", json={"ids": world.deliveries}
    ),
    ("POST", "/v1/sinks/{name}/send"): lambda world: plain(
        *(f"/v1/sinks/sub:{id_}/send" for id_ in world.subscriptions[:2]), json={"to": "log"}
    ),
    ("POST", "/v1/deliveries/{delivery_id}/retry"): lambda world: plain(
        *(f"/v1/deliveries/{id_}/retry" for id_ in world.deliveries)
    ),
    ("GET", "/v1/orders"): lambda _: plain("/v1/orders"),
    ("POST", "/v1/orders"): lambda world: [
        (
            "/v1/orders",
            {"json": {"source": "herosms", "activation_id": f"{8_675_000 + number}", "price": "7"}},
        )
        for number in range(len(world.events))
    ],
    ("GET", "/v1/orders/{order_id}"): lambda world: plain(
        *(f"/v1/orders/{id_}" for id_ in world.orders)
    ),
    ("DELETE", "/v1/orders/{order_id}"): lambda world: plain(
        *(f"/v1/orders/{id_}" for id_ in world.orders)
    ),
    ("GET", "/v1/subscriptions"): lambda _: plain("/v1/subscriptions"),
    ("POST", "/v1/subscriptions"): lambda _: [
        ("/v1/subscriptions", {"json": {"url": "https://127.0.0.1/hook", "when": when}})
        for when in ({"data.to": "18505554729"}, {"data.code": "999000"}, {"unknown": 1})
    ],
    ("GET", SUBSCRIPTION): lambda world: plain(
        *(f"/v1/subscriptions/{id_}" for id_ in world.subscriptions)
    ),
    ("PATCH", SUBSCRIPTION): lambda world: plain(
        *(f"/v1/subscriptions/{id_}" for id_ in world.subscriptions), json={"format": "standard"}
    ),
    ("POST", f"{SUBSCRIPTION}/rotate"): lambda world: plain(
        *(f"/v1/subscriptions/{id_}/rotate" for id_ in world.subscriptions)
    ),
    ("POST", f"{SUBSCRIPTION}/resume"): lambda world: plain(
        *(f"/v1/subscriptions/{id_}/resume" for id_ in world.subscriptions)
    ),
    ("DELETE", SUBSCRIPTION): lambda world: plain(
        *(f"/v1/subscriptions/{id_}" for id_ in world.subscriptions[:2])
    ),
    ("GET", "/v1/sinks"): lambda _: plain("/v1/sinks"),
    ("GET", "/v1/sinks/{name}"): lambda _: plain("/v1/sinks/log"),
    ("POST", "/v1/sinks/{name}/test"): lambda _: plain("/v1/sinks/log/test"),
    ("POST", "/v1/sinks/{name}/pause"): lambda _: plain("/v1/sinks/log/pause"),
    ("POST", "/v1/sinks/{name}/resume"): lambda _: plain("/v1/sinks/log/resume"),
    ("GET", "/v1/stats"): lambda _: plain("/v1/stats"),
    ("GET", "/v1/history"): lambda _: plain("/v1/history"),
    ("GET", "/v1/quarantine"): lambda _: plain("/v1/quarantine"),
    ("GET", "/v1/quarantine/{quarantine_id}"): lambda world: plain(
        f"/v1/quarantine/{world.quarantined}"
    ),
    ("GET", "/v1/quarantine/explain"): lambda _: plain("/v1/quarantine/explain"),
    ("GET", "/v1/quarantine/{quarantine_id}/explain"): lambda world: plain(
        f"/v1/quarantine/{world.quarantined}/explain"
    ),
    ("POST", "/v1/quarantine/{quarantine_id}/replay"): lambda world: plain(
        f"/v1/quarantine/{world.quarantined}/replay"
    ),
    ("DELETE", "/v1/quarantine/{quarantine_id}"): lambda world: plain(
        f"/v1/quarantine/{world.quarantined}"
    ),
    ("GET", "/v1/rejections"): lambda _: plain("/v1/rejections"),
    ("GET", "/v1/rejections/recent"): lambda _: plain("/v1/rejections/recent"),
    ("GET", "/v1/sources"): lambda _: plain("/v1/sources"),
    ("POST", "/v1/sources/{name}/backfill"): lambda _: plain("/v1/sources/herosms/backfill"),
    ("POST", "/v1/sources/{name}/sample"): lambda _: plain("/v1/sources/herosms/sample"),
    ("POST", "/v1/sources/{name}/url"): lambda _: plain("/v1/sources/herosms/url"),
    ("GET", "/v1/routes"): lambda _: plain("/v1/routes"),
    ("GET", "/v1/me"): lambda _: plain("/v1/me"),
    ("GET", "/v1/keys"): lambda _: plain("/v1/keys"),
    ("POST", "/v1/keys"): lambda _: plain(
        "/v1/keys", json={"name": "new", "scopes": ["codes:read"]}
    ),
    ("DELETE", "/v1/keys/{key}"): lambda _: plain("/v1/keys/new"),
    ("POST", "/v1/reload"): lambda _: plain("/v1/reload"),
    ("GET", "/v1/audit"): lambda _: plain("/v1/audit"),
    ("GET", "/v1/audit/state"): lambda _: plain("/v1/audit/state"),
    ("POST", "/v1/audit/verify"): lambda _: plain("/v1/audit/verify"),
    ("GET", "/v1/audit/lines/{line}/proof"): lambda _: plain("/v1/audit/lines/0/proof"),
    ("GET", "/v1/audit/export"): lambda _: plain("/v1/audit/export", "/v1/audit/export?form=cef"),
    ("GET", "/v1/audit/log/checkpoint"): lambda _: plain("/v1/audit/log/checkpoint"),
    ("GET", "/v1/audit/log/checkpoints"): lambda _: plain("/v1/audit/log/checkpoints"),
    ("GET", "/v1/audit/log/pruned"): lambda _: plain("/v1/audit/log/pruned"),
    ("POST", "/v1/audit/lines/{line}/erase"): lambda _: plain(
        "/v1/audit/lines/999999/erase", json={"reason": "a test"}
    ),
    ("POST", "/v1/audit/acts"): lambda _: plain(
        "/v1/audit/acts", json={"do": "audit.exported", "size": 1}
    ),
    ("GET", "/v1/audit/log/tile/{tile}"): lambda _: plain("/v1/audit/log/tile/entries/000.p/1"),
    ("POST", "/v1/backups"): lambda _: plain("/v1/backups", json={"path": "smshook.backup"}),
    ("DELETE", "/v1/events/{event_id}/content"): lambda world: plain(
        *(f"/v1/events/{id_}/content" for id_ in world.events[:2])
    ),
    ("POST", "/v1/erasures"): lambda _: plain("/v1/erasures", json={"number": "18505554729"}),
    ("GET", "/v1/retention"): lambda _: plain("/v1/retention"),
    ("POST", "/v1/retention/prune"): lambda _: plain("/v1/retention/prune", json={"dry_run": True}),
    ("GET", "/v1/seal"): lambda _: plain("/v1/seal"),
    ("GET", "/v1/seal/rows"): lambda _: plain("/v1/seal/rows"),
    ("POST", "/v1/seal/migrate"): lambda _: plain("/v1/seal/migrate"),
    ("GET", "/v1/alerts"): lambda _: plain("/v1/alerts"),
    ("GET", "/v1/alerts/recent"): lambda _: plain("/v1/alerts/recent"),
    ("POST", "/v1/alerts/{name}/test"): lambda _: plain(
        "/v1/alerts/sink_failing/test", "/v1/alerts/none/test"
    ),
}


async def test_every_call_is_in_the_table(service):
    """The tests below hold for the calls of the table."""
    there = {
        (method, route.path_format)
        for route in create_api(service.parts).routes
        if route.path_format.startswith("/v1")
        for method in (route.methods if isinstance(route, HTTPRoute) else ["GET"])
        if method != "OPTIONS"
    }

    assert there == set(CALLS)


#: A code of these messages. The digits of ids stand in longer words.
CODE = re.compile(r"\b(5551|9990)[0-9]{2}\b")
MESSAGES = st.lists(st.booleans(), min_size=1, max_size=6)
NOT_FOR_EACH = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@pytest.mark.uncounted
@settings(max_examples=examples(1), suppress_health_check=NOT_FOR_EACH)
@given(messages=MESSAGES, is_indexed=st.booleans(), name=st.sampled_from(["growth", "boss"]))
@example(messages=[False, True, False, True, False], is_indexed=True, name="growth")
@example(messages=[False, True, False, True, False], is_indexed=False, name="growth")
@example(messages=[False, False], is_indexed=False, name="boss")
def test_key_with_a_when_cannot_notice_hidden_events(run, messages, is_indexed, name):
    """All answers are the same as without the hidden events.

    Mutants: a list, a count, an event, a replay or a retry without the key's `when`.
    """

    async def asked(*, with_hidden):
        with tempfile.TemporaryDirectory() as folder:
            async with run(Path(folder), api=Api(keys=KEYS)) as service:
                world = World(service)
                await world.fill(messages, with_hidden=with_hidden)
                while is_indexed and await service.journal.submit(IndexVisible()):
                    pass
                found = await world.answers(name)
                return {
                    call: [world.comparable(text) for text in texts]
                    for call, texts in found.items()
                }

    everything = asyncio.run(asked(with_hidden=True))
    alone = asyncio.run(asked(with_hidden=False))

    assert everything == alone
    assert not [text for texts in everything.values() for text in texts if "9990" in text]


@pytest.mark.uncounted
@settings(max_examples=examples(2), suppress_health_check=NOT_FOR_EACH)
@given(messages=MESSAGES)
def test_masked_key_learns_no_code(run, capfd, messages):
    """Neither by an answer nor by a line of the log.

    The sink repeats the event in its answer. Mutants: an order's events, or the answer of a sink,
    in clear; `raw` for every key.
    """

    async def asked():
        with tempfile.TemporaryDirectory() as folder:
            async with run(Path(folder), api=Api(keys=KEYS)) as service:
                world = World(service)
                await world.fill(messages, with_hidden=True)
                clear = await world.answers("admin")
                return clear, await world.answers("masked")

    clear, masked = asyncio.run(asked())

    def shown(found):
        return {
            call[:2]
            for call, texts in found.items()
            for text in texts
            if CODE.search(f"{text} {callback_in(text)}")
        }

    assert shown(masked) == set()
    assert {("GET", "/v1/events"), ("GET", STREAM), ("GET", "/v1/events/wait")} <= shown(clear)
    assert ("GET", "/v1/deliveries/{delivery_id}") in shown(clear)
    assert not CODE.search("".join(capfd.readouterr()))


def callback_in(text):
    """Return the body of the callback in an answer, which has it in base64."""
    found = re.search('"body":"([^"]*)"', text)
    return base64.b64decode(found[1]).decode() if found else ""


async def test_every_post_takes_an_idempotency_key(service):
    """It refuses a wrong one, so it reads it. Mutant: a call without `calls.begin`."""
    world = World(service)
    await world.fill([True, False], with_hidden=True)

    for method, path in CALLS:
        if method == "POST":
            filled, sent = CALLS[method, path](world)[0]
            headers = {"Idempotency-Key": "two words"}
            answer = await service.ask(filled, method=method, headers=headers, **sent)

            assert (answer.status_code, answer.json()["code"]) == (400, "bad_idempotency_key"), path


async def test_every_call_refuses_a_parameter_that_it_does_not_have(service):
    """Mutant: a call without parameters ignores them."""
    world = World(service)
    await world.fill([True, False], with_hidden=True)

    for (method, path), requests in CALLS.items():
        filled, sent = requests(world)[0]
        wrong = {**sent, "params": {**sent.get("params", {}), "limti": "1"}}
        answer = await service.ask(filled, method=method, **wrong)

        assert (answer.status_code, answer.json()["code"]) == (400, "bad_parameter"), path
        assert answer.json()["detail"].startswith("limti: no such parameter"), path
