import pytest

from journal.quantity import Secret
from receiver.providers import TellABot


def fingerprints(service, source=0):
    gate = service.gates[source]
    return [gate.tokens.fingerprint(i) for i in range(len(gate.source.tokens))]


async def test_a_source_waits_until_its_first_callback(service):
    first, second = fingerprints(service)

    data = await service.data("/v1/sources", "reader")

    assert data[0] == {
        "name": "tellabot",
        "provider": "tellabot",
        "state": "waiting",
        "labels": {"team": "growth"},
        "last_callback_at": None,
        "tokens": [
            {"fingerprint": first, "current": True, "last_used_at": None},
            {"fingerprint": second, "current": False, "last_used_at": None},
        ],
    }
    assert [source["name"] for source in data] == ["tellabot", "herosms"]
    assert [source["provider"] for source in data] == ["tellabot", "herosms"]


async def test_a_source_tells_which_token_its_provider_uses(service):
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


async def test_what_came_with_a_token_that_is_gone_still_came(run, tmp_path):
    async with run(tmp_path) as service:
        await service.post(b"event=new", token="tellabot-token-00")
        tokens = service.gates[0].source.tokens
    async with run(tmp_path, sources={"tellabot": TellABot(tokens=tokens[:1])}) as service:
        (source,) = await service.data("/v1/sources")

    assert (source["state"], [token["last_used_at"] for token in source["tokens"]]) == (
        "receiving",
        [None],
    )


async def test_one_token_of_two_sources_is_used_by_each_for_itself(run, tmp_path):
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


async def test_routes_are_shown_as_they_are_configured(service):
    data = await service.data("/v1/routes", "reader")

    assert data == [
        {"name": "google", "to": ["log"], "when": {"data.service.key": "google"}},
        {"name": "amazon", "to": ["log"], "when": {"data.service.key": "amazon"}},
    ]


@pytest.mark.parametrize(
    ("name", "names"), [("sources", ["tellabot", "herosms"]), ("routes", ["google", "amazon"])]
)
@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_what_is_configured_is_a_list_like_any_other(service, name, names, order):
    first = (await service.ask(f"/v1/{name}?limit=1&order={order}")).json()
    params = {"limit": 1, "order": order, "after": first["next_cursor"]}
    second = (await service.ask(f"/v1/{name}", params=params)).json()
    rest = await service.data(f"/v1/{name}", order=order, after=second["next_cursor"])

    found = [item["name"] for item in first["data"] + second["data"] + rest]
    assert found == (names if order == "asc" else names[::-1])
    assert [first["has_more"], second["has_more"]] == [True, False]
