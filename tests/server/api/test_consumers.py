"""Consumers: named readers with a place."""

PATH = "/v1/consumers/crm"


async def events(service, key="admin", **params):
    answer = await service.ask(f"{PATH}/events", key, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def post(service, verb, key="admin", **body):
    return await service.ask(f"{PATH}/{verb}", key, method="POST", json=body)


def ids(page):
    return [item["event"]["id"] for item in page["data"]]


async def test_consumer_begins_at_the_oldest_and_keeps_its_place(service):
    """Mutant: reading moves the place."""
    sent = [await service.sms() for _ in range(5)]

    first = await events(service, limit=2)
    again = await events(service, limit=2)
    done = await post(service, "commit", cursor=first["next_cursor"])
    rest = await events(service)

    assert (ids(first), first["has_more"], again) == (sent[:2], True, first)
    assert (ids(rest), rest["has_more"]) == (sent[2:], False)
    assert done.json()["cursor"] == first["data"][-1]["cursor"]
    assert done.json()["behind"] == 3


async def test_place_survives_a_restart(run, tmp_path):
    async with run(tmp_path) as service:
        sent = [await service.sms() for _ in range(3)]
        page = await events(service)
        await post(service, "commit", cursor=page["data"][1]["cursor"])

    async with run(tmp_path) as service:
        assert ids(await events(service)) == sent[2:]


async def test_late_commit_does_not_go_back(service):
    """Mutant: `max` is missing in the statement."""
    sent = [await service.sms() for _ in range(3)]
    page = await events(service)
    first, second = page["data"][0]["cursor"], page["data"][1]["cursor"]

    await post(service, "commit", cursor=second)
    late = await post(service, "commit", cursor=first)

    assert (late.status_code, late.json()["cursor"]) == (200, second)
    assert ids(await events(service)) == sent[2:]


async def test_seek_goes_back_and_to_a_time(service):
    sent, times = [], []
    for _ in range(3):
        times.append(service.now)
        sent.append(await service.sms())
        service.now += 60
    page = await events(service)
    await post(service, "commit", cursor=page["next_cursor"])
    nothing = await events(service)

    await post(service, "seek", cursor=page["data"][0]["cursor"])
    after_first = await events(service)
    answer = await post(service, "seek", time="2m")
    since = await events(service)
    await post(service, "seek", time="2020-01-01T00:00:00Z")
    every = await events(service)
    await post(service, "seek", time="0s")
    none = await events(service)

    assert nothing["data"] == none["data"] == []
    assert answer.status_code == 200
    assert (ids(after_first), ids(since), ids(every)) == (sent[1:], sent[1:], sent)


async def test_seek_by_time_shows_nothing_of_hidden_events(service):
    """Mutant: the place before the first event of all that are not older."""
    await service.sms()
    service.now += 60
    before = (await post(service, "seek", "growth", time="0s")).json()
    await service.hero()
    service.now += 60

    after = [(await post(service, "seek", "growth", time=ago)).json() for ago in ("0s", "90s")]

    assert {one["cursor"] for one in after} == {before["cursor"]}
    assert {one["behind"] for one in (before, *after)} == {None}


async def test_consumer_waits_for_its_next_event(service):
    await service.sms()
    page = await events(service)
    await post(service, "commit", cursor=page["next_cursor"])

    async with service.call(f"{PATH}/events?wait=20&service=google") as call:
        await service.waiting()
        await service.sms(service="Amazon")
        event_id = await service.sms()
        _, answer = await call.answer()
    nothing = await events(service, wait="0.05", source="herosms")

    newest = (await service.ask("/v1/events")).json()["next_cursor"]
    assert ids(answer) == [event_id]
    assert (nothing["data"], nothing["next_cursor"]) == ([], newest)


async def test_consumer_belongs_to_its_key(service):
    """Mutant: the key is left out of the table's key."""
    sent = [await service.sms(), await service.hero()]
    page = await events(service)
    await post(service, "commit", cursor=page["next_cursor"])

    others = await events(service, "growth")
    listed = [await service.data("/v1/consumers", key) for key in ("admin", "growth")]
    deleted = await service.ask(PATH, "growth", method="DELETE")

    assert ids(others) == sent[:1]
    assert [[one["name"] for one in page] for page in listed] == [["crm"], []]
    assert deleted.status_code == 404


async def test_deleted_consumer_begins_at_the_oldest(service):
    sent = [await service.sms()]
    await post(service, "commit", cursor=(await events(service))["next_cursor"])

    answers = [await service.ask(PATH, method="DELETE") for _ in range(2)]

    assert [answer.status_code for answer in answers] == [204, 404]
    assert ids(await events(service)) == sent


async def test_consumers_of_a_key_are_limited(service, monkeypatch):
    monkeypatch.setattr("server.api.consumers.MOST", 2)
    cursor = (await events(service))["next_cursor"]
    answers = [
        await service.ask(f"/v1/consumers/{name}/commit", method="POST", json={"cursor": cursor})
        for name in ("a", "b", "c", "b")
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 409, 200]
    assert answers[2].json()["code"] == "too_many_consumers"


WRONG = [
    ("crm/commit", {}, "cursor: missing; write the cursor of the last event that is done"),
    ("crm/commit", {"cursor": "x"}, "cursor: not a cursor of this list"),
    ("crm/seek", {}, "cursor: give either cursor or time"),
    ("crm/seek", {"cursor": "x", "time": "1m"}, "cursor: give either cursor or time"),
    ("crm/seek", {"time": "yesterday"}, "time: write a time such as 2020-09-14T18:42:36Z"),
    ("crm/seek", {"tim": "1m"}, "tim: no such field; did you mean time?"),
    ("CRM/seek", {"time": "1m"}, "name: write at most 63 of a-z"),
    ("crm/commit", {"cursor": 5}, "cursor: write a text"),  # mutant: a Text without a title
    ("crm/commit", {"cursor": ""}, "cursor: empty"),
]


async def test_wrong_commit_or_seek_is_refused(service):
    for path, body, detail in WRONG:
        answer = await service.ask(f"/v1/consumers/{path}", method="POST", json=body)

        assert (answer.status_code, answer.json()["detail"][: len(detail)]) == (400, detail)
