import asyncio


async def test_stats_include_an_event_at_once(service):
    await service.sms()
    await service.post(b"event=new")
    await service.post(b"event=new")

    answer = await service.ask("/v1/stats", "reader")

    assert answer.json() == {
        "events": 1,
        "duplicates": 1,
        "quarantine": 1,
        "deliveries": {"pending": 1, "sending": 0, "delivered": 0, "dead": 0, "expired": 0},
    }


async def test_rejection_is_listed_at_once(service):
    await service.post(b"", token="wrong-token-0001")
    service.now += 2
    await service.post(b"", token="wrong-token-0002")
    await service.public.get("/in/nobody/secret-token")

    data = await service.data("/v1/rejections")

    counted = {"reason": "token", "peer": "192.0.2.7"}
    assert data == [
        counted
        | {
            "source": "tellabot",
            "count": 2,
            "first_at": "2026-09-21T14:13:20.250000Z",
            "last_at": "2026-09-21T14:13:22.250000Z",
        },
        counted
        | {
            "source": None,
            "count": 1,
            "first_at": "2026-09-21T14:13:22.250000Z",
            "last_at": "2026-09-21T14:13:22.250000Z",
        },
    ]


async def test_list_waits_for_rejections_being_written(service, locked):
    """Mutant: a list with nothing to write does not wait for another write."""
    await service.post(b"", token="wrong-token-0001")
    with locked():
        writing = asyncio.create_task(service.rejections.write())
        await asyncio.sleep(0)
        asking = asyncio.create_task(service.data("/v1/rejections"))
        await asyncio.wait([asking], timeout=0.2)

    assert [item["count"] for item in await asking] == [1]
    await writing


async def test_rejections_are_listed_in_pages(service):
    for source in ("tellabot", "herosms", "nobody"):
        await service.post(b"", source, token="wrong")

    first = (await service.ask("/v1/rejections?limit=2")).json()
    second = (await service.ask("/v1/rejections", params={"after": first["next_cursor"]})).json()
    newest = await service.data("/v1/rejections", order="desc", limit=1)

    assert [item["source"] for item in first["data"]] == ["tellabot", "herosms"]
    assert [item["source"] for item in second["data"]] == [None]
    assert [first["has_more"], second["has_more"]] == [True, False]
    assert newest == second["data"]
