from server.runtime.disk import Disk


async def test_history_sums_its_points(service):
    await service.parts.history.count()
    await service.sms()
    service.now += 10
    await service.parts.history.count()

    answer = (await service.ask("/v1/history?span=3h", "reader")).json()

    nothing = {"p50": None, "p95": None, "p99": None}
    (point,) = answer.pop("points")
    sinks = point.pop("sinks")
    assert point == {
        "at": "2026-09-21T14:13:30Z",
        "seconds": 10.0,
        "accepted": 1,
        "lag": nothing,
    }
    counted = {"delivered": 0, "ended": 0, "failed": 0, "owed": 1}
    assert [one for one in sinks.values() if one["owed"]] == [counted]
    sums = answer.pop("sinks")
    assert [one for one in sums.values() if one["owed"]] == [counted | {"lag": nothing}]
    assert answer == {
        "span": "3h",
        "accepted": 1,
        "lag": nothing,
        "orders": {"received": 0, "expired": 0, "seconds": nothing},
        "codes_read": [],
        "disk": None,
    }


async def test_history_has_the_disk_and_its_days_left(service):
    """At the pace of the last day. Mutants: days after less than five hours; seconds as days."""
    disk, begin, answers = service.parts.disk, service.now, []
    for hour in range(7):
        service.now = begin + 3600 * hour
        disk.read = lambda _path, free=(48 - hour) << 30: Disk(free, 100 << 30, 3 << 30)
        await disk.look(service.config.journal.path)
        answers.append((await service.ask("/v1/history", "reader")).json()["disk"])

    assert answers[1] == {
        "free": 47 << 30,
        "total": 100 << 30,
        "journal": 3 << 30,
        "days_left": None,
    }
    assert answers[6]["days_left"] == round(42 / 24, 1)


async def test_codes_read_name_the_reader_and_the_way(service):
    await service.parts.history.count()
    event_id = await service.sms()
    await service.ask(f"/v1/events/{event_id}", "coder")
    service.now += 10
    await service.parts.history.count()

    answer = (await service.ask("/v1/history", "reader")).json()

    assert answer["codes_read"] == [{"by": "coder", "how": "event", "count": 1}]


async def test_orders_of_the_span_are_counted(service):
    """Mutant: received orders counted as expired."""
    await service.parts.history.count()
    order = {"source": "tellabot", "number": "+18503814729"}
    await service.ask("/v1/orders", "admin", method="POST", json=order)
    service.now += 8
    await service.sms(to="18503814729", timestamp=int(service.now))
    service.now += 2
    await service.parts.history.count()

    orders = (await service.ask("/v1/history", "reader")).json()["orders"]

    assert (orders["received"], orders["expired"]) == (1, 0)
    assert 5 < orders["seconds"]["p50"] <= 10


async def test_unknown_span_is_refused(service):
    answer = await service.ask("/v1/history?span=2h", "reader")

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_parameter")
