import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from core.secret import Secret
from core.units import Duration
from journal.writes import RecordFacts
from receiver.providers.tellabot.callbacks import TellABot
from server.config.options import Server

SMS = {
    "event": "incoming_message",
    "id": 10_000_001,
    "timestamp": 1_789_990_000,
    "from": "22000",
    "to": "18505554729",
    "service": "Google",
    "reply": "Your code is 4001",
}


def fingerprints(service, source=0):
    gate = list(service.sources.values())[source]
    return [gate.tokens.fingerprint(i) for i in range(len(gate.source.tokens))]


async def test_source_is_waiting_until_its_first_callback(service):
    first, second = fingerprints(service)

    data = await service.data("/v1/sources", "reader")

    assert data[0] == {
        "name": "tellabot",
        "provider": "tellabot",
        "state": "waiting",
        "labels": {"team": "growth"},
        "last_callback_at": None,
        "expect_every": None,
        "silent_since": None,
        "clock": {"offset": None, "measured": 0, "timezone": None, "warning": None},
        "backfill": None,
        "balance": None,
        "tokens": [
            {"fingerprint": first, "current": True, "last_used_at": None},
            {"fingerprint": second, "current": False, "last_used_at": None},
        ],
        "rejected": [],
    }
    assert [source["name"] for source in data] == ["tellabot", "herosms"]
    assert [source["provider"] for source in data] == ["tellabot", "herosms"]


async def test_source_shows_which_token_is_used(service):
    await service.sms()
    service.now += 5
    await service.post(b"event=new", token="tellabot-token-00")

    source = (await service.data("/v1/sources"))[0]

    assert (source["state"], source["last_callback_at"]) == (
        "receiving",
        "2026-09-21T14:13:25.250000Z",
    )
    assert [(token["current"], token["last_used_at"]) for token in source["tokens"]] == [
        (True, "2026-09-21T14:13:20.250000Z"),
        (False, "2026-09-21T14:13:25.250000Z"),
    ]


async def test_callback_with_a_removed_token_counts(run, tmp_path):
    async with run(tmp_path) as service:
        await service.post(b"event=new", token="tellabot-token-00")
        tokens = service.sources["tellabot"].source.tokens
    async with run(tmp_path, sources={"tellabot": TellABot(tokens=tokens[:1])}) as service:
        (source,) = await service.data("/v1/sources")

    assert (source["state"], [token["last_used_at"] for token in source["tokens"]]) == (
        "receiving",
        [None],
    )


async def test_shared_token_is_counted_for_each_source(run, tmp_path):
    token = Secret("the-token-of-both-1")
    both = {name: TellABot(tokens=(token,)) for name in ("one", "two")}
    async with run(tmp_path, sources=both) as service:
        await service.post(b"event=new", "one", token=token.reveal())
        data = await service.data("/v1/sources")

    assert [(source["state"], source["tokens"][0]["last_used_at"]) for source in data] == [
        ("receiving", "2026-09-21T14:13:20.250000Z"),
        ("waiting", None),
    ]


async def test_tokens_are_not_shown(service):
    answer = await service.ask("/v1/sources")

    assert "-token-" not in answer.text


async def test_routes_are_listed_as_configured(service):
    data = await service.data("/v1/routes", "reader")

    assert data == [
        {"name": "google", "to": ["log"], "when": {"data.service.key": "google"}},
        {"name": "amazon", "to": ["log"], "when": {"data.service.key": "amazon"}},
    ]


async def test_configured_items_are_listed_in_pages(service):
    lists = {"sources": ["tellabot", "herosms"], "routes": ["google", "amazon"]}
    for name, order in itertools.product(lists, ("asc", "desc")):
        first = (await service.ask(f"/v1/{name}?limit=1&order={order}")).json()
        params = {"limit": 1, "order": order, "after": first["next_cursor"]}
        second = (await service.ask(f"/v1/{name}", params=params)).json()
        rest = await service.data(f"/v1/{name}", order=order, after=second["next_cursor"])

        found = [item["name"] for item in first["data"] + second["data"] + rest]
        assert found == (lists[name] if order == "asc" else lists[name][::-1])
        assert [first["has_more"], second["has_more"]] == [True, False]


async def test_overdue_source_is_silent(run, tmp_path):
    """Mutant: without the last callback, the source is silent from the start."""
    expecting = {
        "tellabot": TellABot(
            tokens=(Secret("the-token-of-one-01"),), expect_every=Duration(60), labels={}
        )
    }
    async with run(tmp_path, sources=expecting) as service:
        service.now += 50
        await service.post(urlencode(SMS).encode(), token="the-token-of-one-01")
        service.now += 60
        (listed,) = await service.data("/v1/sources")
        service.now += 1
        (silent,) = await service.data("/v1/sources")

    assert (listed["state"], listed["silent_since"]) == ("receiving", None)
    assert (silent["state"], silent["silent_since"]) == ("silent", "2026-09-21T14:14:10.250000Z")


async def test_source_shows_the_offset_of_its_clock(service):
    """Mutant: the largest offset, which is that of a retry."""
    for late in (2.25, 3600.25, 1.75):
        service.now += 10_000
        await service.sms(timestamp=int(service.now - late))

    source = (await service.data("/v1/sources"))[0]

    assert source["clock"] == {"offset": 2.25, "measured": 3, "timezone": None, "warning": None}


async def test_wrong_timezone_is_warned_of(service):
    for number in range(5):
        service.now += 60
        shown = datetime.fromtimestamp(service.now - 1, UTC) + timedelta(hours=8)
        await service.hero(receivedAt=f"{shown:%Y-%m-%d %H:%M:%S}", text=f"code {number}")

    source = (await service.data("/v1/sources"))[1]

    assert source["clock"]["timezone"] == "Europe/Moscow"
    assert source["clock"]["warning"] == (
        "timezone: Europe/Moscow cannot be right: its times are 5 h ahead of their arrival; "
        "its clock shows UTC+08:00"
    )


def rejected(source):
    return [(one["reason"], one["count"], one["peer"]) for one in source["rejected"]]


async def test_source_shows_what_was_rejected_in_the_last_day(service):
    """Mutants: older ones are counted; those of other sources; peers for keys without `admin`."""
    counter = service.parts.rejections
    counter.add("rate", "tellabot", "192.0.2.1", "r")
    service.now += 20 * 3600
    for peer in ("192.0.2.7", "192.0.2.7"):
        counter.add("address", "tellabot", peer, "r")
    service.now += 4 * 3600
    counter.add("token", "tellabot", "192.0.2.7", "r")
    counter.add("token", "tellabot", "192.0.2.8", "r")
    counter.add("token", "tellabot", "192.0.2.8", "r")
    counter.add("method", "herosms", "192.0.2.7", "r")

    first, second = await service.data("/v1/sources", "admin")
    masked, _ = await service.data("/v1/sources", "reader")

    assert [("token", 3, None), ("address", 2, "192.0.2.7")] == rejected(first)
    assert [("method", 1, "192.0.2.7")] == rejected(second)
    assert [("token", 3, None), ("address", 2, None)] == rejected(masked)
    assert "2026-09-22T14:13:20.250000Z" == first["rejected"][0]["last_at"]


async def test_url_of_a_source_is_recorded_before_it_is_shown(service):
    """Mutants: it is shown first; the line is left out, or has the token."""
    ask = service.ask("/v1/sources/tellabot/url", method="POST")
    answer = await asyncio.create_task(ask)
    lines = (await service.ask("/v1/audit", params={"do": "source.url_read"})).json()["data"]

    assert answer.json() == {"url": "http://127.0.0.1:8080/in/tellabot/tellabot-token-01"}
    [leaf] = [line["leaf"] for line in lines]
    assert (leaf["by"], leaf["source"]) == ("key/admin", "tellabot")
    assert "tellabot-token" not in str(lines)


async def test_url_of_a_source_begins_with_the_public_url(run, tmp_path):
    digest = Secret("sha256:" + "0" * 64)
    server = Server(secret=Secret("0123456789abcdef"), public_url="https://hooks.example.com")
    sources = {
        "clear": TellABot(tokens=(Secret("a/token-0123456789"),)),
        "hidden": TellABot(tokens=(digest,)),
    }
    async with run(tmp_path, sources=sources, server=server) as service:
        clear, hidden, unknown = [
            await service.ask(f"/v1/sources/{name}/url", method="POST")
            for name in ("clear", "hidden", "nothing")
        ]

    assert clear.json() == {"url": "https://hooks.example.com/in/clear/a%2Ftoken-0123456789"}
    assert (hidden.status_code, hidden.json()["code"]) == (409, "no_url")
    assert unknown.status_code == 404


async def test_sample_of_a_source_is_recorded_as_one(service):
    """Mutants: it is not marked; a replay of its callback would not be; another source sends it."""
    answer = await service.ask("/v1/sources/herosms/sample", "writer", method="POST")

    [id_] = answer.json()["events"]
    event = (await service.ask(f"/v1/events/{id_}?raw=true", "coder")).json()
    assert answer.json()["status"] == "accepted"
    assert (event["event"]["source"], event["event"]["data"]["sample"]) == ("herosms", True)
    assert "smshook-sample" in dict(event["raw"]["headers"])
    await service.journal.submit(RecordFacts(()))
    lines = (await service.ask("/v1/audit", params={"do": "source.tested"})).json()["data"]
    assert [line["leaf"]["source"] for line in lines] == ["herosms"]


async def test_source_without_samples_sends_none(run, tmp_path):
    async with run(tmp_path, sources={"bare": TellABot(tokens=())}) as service:
        answer = await service.ask("/v1/sources/bare/sample", method="POST")

    assert (answer.status_code, answer.json()["code"]) == (409, "no_source")
