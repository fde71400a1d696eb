import itertools
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from core.secret import Secret
from core.units import Duration
from receiver.providers.tellabot.callbacks import TellABot

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
        "silent_since": None,
        "clock": {"offset": None, "measured": 0, "timezone": None, "warning": None},
        "backfill": None,
        "balance": None,
        "tokens": [
            {"fingerprint": first, "current": True, "last_used_at": None},
            {"fingerprint": second, "current": False, "last_used_at": None},
        ],
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
