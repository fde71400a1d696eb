"""The examples of the document are answers of the service: `make docs` writes them again."""

import json
import os
import re
from itertools import count
from pathlib import Path

import jsonschema_rs
import pytest

from core.delivery import State
from core.secret import Secret
from journal.audit.note import Algorithm, Checkpoint, SigningKey
from journal.keyring import Keyring
from journal.records import Owed
from journal.writes import ReplayEvent, SignCheckpoint
from receiver.polling.options import Backfill
from receiver.providers.tellabot.callbacks import TellABot
from server.api import openapi
from server.runtime import samples
from server.runtime import subscriptions as live_subscriptions
from server.runtime.disk import Disk
from server.runtime.watching import Watching
from sinks.sink import Failed, Receipt

FILE = Path(openapi.__file__).with_name("examples.json")
#: A real cursor holds the identity of its journal, which is another each time.
CURSOR = "qpM2cJm9hJ1c0XQf8Yb2m3n5u7w1y4A6C8E0G2I4K6M8O0Q2S4U6W8Y0a2c4e6g8"


class Recorder:
    """Makes calls of a service, and keeps the first of each answer as an example."""

    def __init__(self, service):
        self.service, self.examples = service, {}
        self._described = service.described

    async def __call__(self, method, path, body=None):
        sent = {} if body is None else {"json": body}
        answer = await self.service.ask(path, method=method, **sent)
        assert answer.is_success, answer.text
        query = dict(answer.request.url.params)
        self.keep(method, path.partition("?")[0], query, body, answer.status_code, answer.text)
        is_json = answer.content[:1] in (b"{", b"[")
        return answer.json() if is_json else None

    def keep(self, method, path, query, body, status, text):
        named = self._described.named(path)
        operation = self._described.document["paths"][named][method.lower()]
        pattern = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", named)
        parameters = re.fullmatch(pattern, path).groupdict() | query
        example = self.examples.setdefault(operation["operationId"], {})
        if parameters:
            example.setdefault("parameters", parameters)
        if body is not None:
            example.setdefault("body", body)
        shown = json.loads(text) if text[:1] == "{" else text
        example.setdefault("answers", {}).setdefault(str(status), shown)

    def text(self):
        """Return the file, with one cursor for all, and one folder and size for all backups."""
        text = json.dumps(self.examples, indent=1, ensure_ascii=False, sort_keys=True)
        text = text.replace(str(self.service.config.journal.path.parent), "/var/lib/smshook")
        text = re.sub(r"smshook/[0-9a-f]{16,32}\b", "smshook/7f3a9c52e1d04b6c", text)
        text = re.sub(r'"bytes": \d{5,}', '"bytes": 262144', text)
        # Lines about readings are written later, so their number varies.
        text = re.sub(r'"lines": \d\d,', '"lines": 48120,', text)
        return re.sub(r"[\w-]{64}(?=[\"\\])", CURSOR, text) + "\n"


@pytest.fixture
async def recorder(run, tmp_path, monkeypatch):
    """Each call of the API was made on a service with events, orders and a broken sink."""
    monkeypatch.setattr(samples.secrets, "randbelow", lambda below: below // 3)
    numbers = count(1)
    polled = Backfill(user="me@example.com", api_key=Secret("key-of-the-provider"))
    tellabot = TellABot(
        tokens=(Secret("tellabot-token-01"),), labels={"team": "growth"}, backfill=polled
    )
    async with run(
        tmp_path,
        chance=lambda size: next(numbers).to_bytes(size),
        in_clear="`dedupekey` is the same each time",
        sources={"tellabot": tellabot},
    ) as service:
        service.number = "18503814729"  # as the pages of the documentation
        record = Recorder(service)
        await orders(record)
        await events(service, record)
        await deliveries(service, record)
        await quarantine(record)
        await readers(service, record)
        await metrics(service, record)
        await replays(record)
        service.parts.disk.last = Disk(free=61 << 30, total=100 << 30, journal=3 << 30)
        for path in (
            "/v1/stats",
            "/v1/history",
            "/v1/sources",
            "/v1/routes",
            "/healthz",
            "/readyz",
        ):
            await record("GET", path)
        await record("POST", "/v1/sources/tellabot/backfill", {"since": "2h"})
        await record("POST", "/v1/sources/tellabot/url")
        await subscriptions(record, monkeypatch)
        await keys(record)
        await record("POST", "/v1/reload")
        await retention(record)
        await alerts(service, record)
        await record("GET", "/v1/seal")
        await record("GET", "/v1/seal/rows")
        await sealing(record, run, tmp_path)
        await record("POST", "/v1/backups", {"path": "smshook.backup"})
        await audit(service, record)
        sample = await record("POST", "/v1/sources/tellabot/sample")
        write = ReplayEvent(sample["events"][0], (Owed(sink="old"),), at=service.now)
        await service.journal.submit(write)
        await record("POST", "/v1/sinks/old/send", {"to": "log", "dry_run": True})
        yield record


async def orders(record):
    order = await record(
        "POST",
        "/v1/orders",
        {
            "source": "tellabot",
            "request_id": "10000001",
            "number": "+18503814729",
            "service": "Google",
            "price": "1.20",
            "reference": "signup-4711",
            "expires": "30m",
        },
    )
    other = await record("POST", "/v1/orders", {"source": "tellabot", "number": "+18503810000"})
    await record("DELETE", f"/v1/orders/{other['id']}")
    await record("GET", f"/v1/orders?reference={order['reference']}")
    record.order = order["id"]


async def events(service, record):
    record.event = await service.sms(reply="G-804036 is your Google code.", pin="G-804036")
    headers = {"Accept-Encoding": "gzip", "User-Agent": "TellABot"}
    await service.post(b"event=new_kind&id=7", headers=headers)
    await service.public.post("/in/tellabot/wrong", content=b"")
    await record("GET", f"/v1/orders/{record.order}")
    await record("GET", "/v1/events?type=sms.received&since=1h")


async def deliveries(service, record):
    async def fails(_outgoing):
        raise Failed("refused", status=503)

    async def works(_outgoing):
        return Receipt()

    [first] = await service.data("/v1/deliveries")
    await service.settled(fails)
    await record("GET", f"/v1/events/{record.event}")
    await record("GET", f"/v1/deliveries/{first['id']}")
    await record("POST", "/v1/sinks/log/pause")
    await record("POST", "/v1/sinks/log/resume")
    await record("POST", f"/v1/deliveries/{first['id']}/retry")
    await record("POST", "/v1/deliveries/retry", {"state": ["dead", "failing"], "dry_run": True})
    again = await record("POST", f"/v1/events/{record.event}/replay", {"sinks": ["log"]})
    async with service.delivering(works):
        for id_ in (first["id"], *again["deliveries"]):
            await service.became(service.identity.delivery_number(id_), State.DELIVERED)
        await record("POST", "/v1/sinks/log/test")
    await record("GET", "/v1/deliveries?state=delivered")
    await record("GET", "/v1/sinks")
    await record("GET", "/v1/sinks/log")


async def alerts(service, record):
    await record("POST", "/v1/sinks/log/pause")
    await Watching(service.parts).look()
    await record("GET", "/v1/alerts")
    await record("GET", "/v1/alerts/recent")
    await record("POST", "/v1/alerts/sink_failing/test")


async def retention(record):
    await record("GET", "/v1/retention")
    await record("POST", "/v1/retention/prune", {"dry_run": True})
    await record("POST", "/v1/erasures", {"number": "+18503814729", "dry_run": True})
    await record("POST", "/v1/erasures", {"number": "+18503814729"})
    await record("DELETE", f"/v1/events/{record.event}/content")


async def sealing(record, run, tmp_path):
    """The other calls were made on a service without `seal`, which cannot seal rows."""
    (tmp_path / "sealed").mkdir()
    root = Secret("the root key of this test, 0123456789")
    keys = Keyring(tmp_path / "smshook.keys", (root,), period=3600.0, now=1_790_000_000.25)
    async with run(tmp_path / "sealed", keys=keys) as service:
        answer = await service.ask("/v1/seal/migrate", method="POST")
    record.keep("POST", "/v1/seal/migrate", {}, None, answer.status_code, answer.text)


async def audit(service, record):
    key = SigningKey("smshook/7f3a9c52e1d04b6c", Algorithm.ED25519, bytes(32))

    # Its own state depends on the folder of the test.
    shown = Checkpoint(key.verifier.name, 3000, bytes(range(32)))

    def sign(_state, at):
        return str(shown.sign([key], at))

    await record("GET", "/v1/audit/state")
    await record("POST", "/v1/audit/verify")
    await service.journal.submit(SignCheckpoint(sign))
    await record("GET", "/v1/audit?do=sink.&limit=1")
    await record("GET", "/v1/audit/log/checkpoint")
    # The root of its log is another each time.
    proof = {
        "parameters": {"line": "0"},
        "answers": {"200": "c2sp.org/tlog-proof@v1\nindex 0\n..."},
    }
    record.examples["get_proof_of_line_of_audit_log"] = proof
    await record("GET", "/v1/audit/export?do=sink.&form=cef")
    await record("GET", "/v1/audit/log/checkpoints")
    await record("GET", "/v1/audit/log/pruned")
    await record("POST", "/v1/audit/lines/0/erase", {"reason": "request of a person"})
    await record("POST", "/v1/audit/acts", {"do": "backup.made", "file": "/mnt/smshook.db"})
    # Its answer is no text.
    answer = await service.ask("/v1/audit/log/tile/entries/000.p/1")
    tile = {"parameters": {"tile": "entries/000.p/1"}, "answers": {str(answer.status_code): "..."}}
    record.examples["get_tile_of_audit_log"] = tile


async def quarantine(record):
    [kept] = await record_list(record, "/v1/quarantine")
    await record("GET", f"/v1/quarantine/{kept['id']}")
    await record("GET", "/v1/quarantine/explain")
    await record("GET", f"/v1/quarantine/{kept['id']}/explain")
    await record("POST", f"/v1/quarantine/{kept['id']}/replay")
    await record("DELETE", f"/v1/quarantine/{kept['id']}")
    await record("GET", "/v1/rejections")
    await record("GET", "/v1/rejections/recent")


async def record_list(record, path):
    return (await record("GET", path))["data"]


async def readers(service, record):
    [item] = await service.data("/v1/events")
    path = "/v1/events/stream"
    async with service.call(f"{path}?after=start") as call:
        await call.begun()
        while (frame := await call.frame()).startswith(b":"):
            pass
        record.keep("GET", path, {"after": "start"}, None, 200, f"{frame.decode()}\n\n")
    await record("GET", "/v1/events/wait?reference=signup-4711&timeout=30")
    await record("GET", f"/v1/events/wait?after={item['cursor']}&timeout=0")
    await record("GET", "/v1/consumers/crm/events?limit=10&wait=30")
    await record("POST", "/v1/consumers/crm/commit", {"cursor": item["cursor"]})
    await record("POST", "/v1/consumers/crm/seek", {"time": "2026-09-21T14:00:00Z"})
    await record("GET", "/v1/consumers")
    await record("DELETE", "/v1/consumers/crm")


async def replays(record):
    wanted = {"since": "1h", "type": "sms.received", "sinks": ["log"]}
    await record("GET", f"/v1/events/{record.event}/why")
    await record("GET", f"/v1/events/{record.event}/preview?sink=log")
    await record("POST", f"/v1/events/{record.event}/reveal", {"reason": "ticket 4711"})
    await record("GET", f"/v1/audit/who/{record.event}")
    await record("POST", "/v1/replays", wanted | {"dry_run": True})
    replay = await record("POST", "/v1/replays", wanted)
    await record("GET", f"/v1/replays/{replay['id']}")
    await record("DELETE", f"/v1/replays/{replay['id']}")


async def metrics(service, record):
    text = (await service.ask("/metrics", None)).text
    # Other figures are those of the machine.
    lines = [line for line in text.splitlines(keepends=True) if "smshook_ready" in line]
    record.keep("GET", "/metrics", {}, None, 200, "".join(lines))


async def subscriptions(record, monkeypatch):
    async def echoes(*_args, **_options):
        """Answer the challenge: no endpoint of an example exists."""

    secrets = map("whsec_{}".format, ("qpM2cJm9hJ1c0XQf8Yb2m3n5u7w1y4A6C8E0G2I4K6M=", "b3RoZXI="))
    monkeypatch.setattr(live_subscriptions, "challenge", echoes)
    monkeypatch.setattr(live_subscriptions, "encode_key", lambda _key: Secret(next(secrets)))
    body = {
        "url": "https://app.example.com/sms",
        "when": {"data.service.key": "google"},
        "format": "standard",
    }
    made = await record("POST", "/v1/subscriptions", body)
    path = f"/v1/subscriptions/{made['id']}"
    await record("GET", "/v1/subscriptions")
    await record("GET", path)
    await record("PATCH", path, {"when": {"data.service.key": ["google", "amazon"]}})
    await record("POST", f"{path}/rotate")
    await record("POST", f"{path}/resume")
    await record("DELETE", path)


async def keys(record):
    await record(
        "POST",
        "/v1/keys",
        {
            "name": "reporting",
            "scopes": ["codes:read"],
            "when": {"data.labels.team": "growth"},
            "rate": "600/m",
        },
    )
    await record("GET", "/v1/keys")
    await record("GET", "/v1/me")
    await record("DELETE", "/v1/keys/reporting")


async def test_examples_are_answers_of_the_service(recorder):
    """Mutant: a field added without `make docs`."""
    if os.environ.get("SMSHOOK_EXAMPLES") == "write":
        FILE.write_text(recorder.text())

    assert FILE.read_text() == recorder.text(), "examples.json: make docs"


async def test_each_call_has_examples(recorder):
    """Mutant: a call that the recorder does not make."""
    document = recorder.service.described.document
    for methods in document["paths"].values():
        for operation in methods.values():
            example = recorder.examples[operation["operationId"]]
            assert example["answers"]
            assert ("body" in example) == ("requestBody" in operation)


async def test_bodies_follow_their_schemas(recorder):
    document = recorder.service.described.document
    for methods in document["paths"].values():
        for operation in methods.values():
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                whole = schema | {"components": document["components"]}
                body = recorder.examples[operation["operationId"]]["body"]
                jsonschema_rs.validate(whole, body)
