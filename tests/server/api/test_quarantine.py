import base64
import sqlite3
from urllib.parse import urlencode

import pytest
import structlog

from journal.writes import RecordFacts
from server.api.explain import field_names

#: Its code has letters that no id has.
UNKNOWN = b"event=new_kind&id=7&reply=ZQ7-4711"
UNDERSTOOD = urlencode(
    {"event": "incoming_message", "id": 7, "from": "22000", "to": "18505554729", "reply": "a 4711"}
).encode()


@pytest.fixture
async def kept(service):
    """Put a callback into quarantine; return its id."""
    return (await service.post(UNKNOWN, headers={"X-Odd": "1"}))["id"]


async def refused_once(service):
    """Put a valid callback into quarantine: its address is not allowed."""
    gate = service.sources["tellabot"]
    allowed, gate.allowed = gate.allowed, type(gate.allowed)(("198.51.100.1",), ())
    await service.post(UNDERSTOOD)
    gate.allowed = allowed
    return (await service.data("/v1/quarantine"))[0]["id"]


def listed(id_, **changed):
    return {
        "id": id_,
        "source": "tellabot",
        "reason": "unknown_event",
        "detail": "event, status: unknown or missing",
        "peer": "192.0.2.7",
        "at": "2026-09-21T14:13:20.250000Z",
        "count": 1,
        "last_at": "2026-09-21T14:13:20.250000Z",
    } | changed


async def test_list_of_quarantine_has_no_bodies(service, kept):
    service.now += 1
    await service.post(UNKNOWN)

    answer = await service.ask("/v1/quarantine")

    assert answer.json()["data"] == [listed(kept, count=2, last_at="2026-09-21T14:13:21.250000Z")]
    assert "ZQ7" not in answer.text


async def test_quarantined_callback_is_shown_byte_for_byte(service, kept):
    answer = (await service.ask(f"/v1/quarantine/{kept}")).json()

    assert base64.b64decode(answer.pop("body")) == UNKNOWN
    assert ["x-odd", "1"] in answer.pop("headers")
    assert answer == listed(kept)


async def test_pages_of_quarantine_end(service):
    made = [(await service.post(b"event=kind_%d" % n))["id"] for n in range(5)]

    for order in ("asc", "desc"):
        found, params = [], {"limit": 2, "order": order}
        while True:
            answer = (await service.ask("/v1/quarantine", params=params)).json()
            found.append([item["id"] for item in answer["data"]])
            params["after"] = answer["next_cursor"]
            if not answer["has_more"]:
                break

        ordered = made if order == "asc" else made[::-1]
        assert found == [ordered[:2], ordered[2:4], ordered[4:]]


@pytest.mark.usefixtures("kept")
async def test_last_cursor_of_quarantine_continues(service):
    """Mutant: an empty page starts the list again."""
    end = (await service.ask("/v1/quarantine")).json()["next_cursor"]
    empty = (await service.ask("/v1/quarantine", params={"after": end})).json()
    more = (await service.post(b"event=other"))["id"]

    found = await service.data("/v1/quarantine", after=empty["next_cursor"])

    assert empty == {"data": [], "next_cursor": end, "has_more": False}
    assert [item["id"] for item in found] == [more]


async def test_replayed_callback_becomes_an_event(service):
    kept = await refused_once(service)

    answer = await service.ask(f"/v1/quarantine/{kept}/replay", method="POST")

    events = await service.data("/v1/events")
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "accepted", "events": [events[0]["event"]["id"]]},
    )
    assert await service.data("/v1/quarantine") == []


async def test_replay_is_logged_with_its_own_request_id(service):
    kept = await refused_once(service)

    with structlog.testing.capture_logs() as lines:
        headers = {"X-Request-Id": "mine"}
        await service.ask(f"/v1/quarantine/{kept}/replay", method="POST", headers=headers)

    assert [(line["event"], line["request_id"]) for line in lines] == [
        ("callback.accepted", "mine")
    ]


async def test_replay_of_a_known_event_is_a_duplicate(service):
    kept = await refused_once(service)
    (event_id,) = (await service.post(UNDERSTOOD))["events"]

    answer = await service.ask(f"/v1/quarantine/{kept}/replay", method="POST")

    assert answer.json() == {"status": "duplicate", "events": [event_id]}
    assert await service.data("/v1/quarantine") == []


async def test_callback_still_not_understood_stays(service, kept):
    answer = await service.ask(f"/v1/quarantine/{kept}/replay", method="POST")

    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "quarantined", "id": kept, "reason": "unknown_event"},
    )
    assert await service.data("/v1/quarantine") == [listed(kept)]


async def test_callback_of_a_removed_source_stays(run, tmp_path):
    async with run(tmp_path) as service:
        kept = (await service.post(UNKNOWN))["id"]
    async with run(tmp_path, sources={}) as service:
        answer = await service.ask(f"/v1/quarantine/{kept}/replay", method="POST")
        left = await service.data("/v1/quarantine")

    assert (answer.status_code, answer.json()["code"]) == (409, "source_gone")
    assert left == [listed(kept)]


async def test_deleted_callback_is_gone(service, kept):
    first = await service.ask(f"/v1/quarantine/{kept}", method="DELETE")
    second = await service.ask(f"/v1/quarantine/{kept}", method="DELETE")

    assert (first.status_code, first.content) == (204, b"")
    assert (second.status_code, second.json()["code"]) == (404, "not_found")
    assert (await service.ask("/v1/stats")).json()["quarantine"] == 0


async def test_missing_callback_is_not_found(service):
    missing = (404, "no such callback in quarantine")
    for method, below in (("GET", ""), ("DELETE", ""), ("POST", "/replay")):
        answer = await service.ask(f"/v1/quarantine/none{below}", method=method)

        assert (answer.status_code, answer.json()["detail"]) == missing


async def explained(service, id_):
    return (await service.ask(f"/v1/quarantine/{id_}/explain")).json()


async def test_explained_callback_shows_why_it_is_not_understood(service, kept):
    """Mutants: a value of the body or of an odd header is shown."""
    answer = await service.ask(f"/v1/quarantine/{kept}/explain")

    found = answer.json()
    assert {"x-odd": "***"}.items() <= dict(found.pop("headers")).items()
    assert found == listed(kept) | {
        "bytes": len(UNKNOWN),
        "encoding": "form",
        "fields": ["event", "id", "reply"],
        "becomes": None,
        "why": "unknown_event",
        "why_detail": "event, status: unknown or missing",
    }
    assert "ZQ7" not in answer.text


async def test_explained_callback_shows_what_it_would_become(service):
    """Nothing is changed. Mutant: it is recorded."""
    gate = service.sources["tellabot"]
    gate.allowed = type(gate.allowed)(("198.51.100.1",), ())
    await service.post(UNDERSTOOD + b"&service=Google")
    kept = (await service.data("/v1/quarantine"))[0]["id"]
    before = await service.ask("/v1/stats")

    found = await explained(service, kept)

    assert found["becomes"] == [
        {"type": "sms.received", "service": "google", "routes": ["google"], "sinks": ["log"]}
    ]
    assert (found["why"], found["why_detail"]) == (None, None)
    await service.journal.submit(RecordFacts(()))  # all before it is written, too
    assert (await service.ask("/v1/stats")).json() == before.json()


async def test_page_of_callbacks_is_explained_by_one_call(service):
    """Mutants: sealed bytes stay closed; the filter or the cursor is dropped; more than 100."""
    ids = [(await service.post(b"event=new_kind&id=%d" % n))["id"] for n in range(3)]
    await service.post(b"{", "herosms")
    asked = {"source": "tellabot", "reason": "unknown_event", "limit": 2}

    first = (await service.ask("/v1/quarantine/explain", params=asked)).json()
    asked |= {"after": first["next_cursor"]}
    rest = (await service.ask("/v1/quarantine/explain", params=asked)).json()

    single = [await explained(service, id_) for id_ in ids]
    assert single == [*first["data"], *rest["data"]]
    assert [19, 19, 19] == [one["bytes"] for one in single]
    assert (True, False) == (first["has_more"], rest["has_more"])
    refused = await service.ask("/v1/quarantine/explain", params={"limit": 101})
    assert (400, "limit: write a number from 1 to 100") == (
        refused.status_code,
        refused.json()["detail"],
    )


async def test_explained_callback_of_a_removed_source_says_so(run, tmp_path):
    async with run(tmp_path) as service:
        kept = (await service.post(UNKNOWN))["id"]
    async with run(tmp_path, sources={}) as service:
        found = await explained(service, kept)

    assert (found["becomes"], found["why"]) == (None, "source_gone")


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"code=483920&from=G", ["code", "from"]),
        (b"483920", []),
        (b"ABCDEF", []),
        (b"ABCDEF=", []),
        (b"483920=1&a%3Cb=2", []),
        (b'{"code": "483920", "x.y": 1}', ["code", "x.y"]),
        (b'{"code": ', []),
        (b"", []),
    ],
)
def test_names_of_fields_are_no_values(body, names):
    """A message that is sent without a name is read as a name. Mutant: such names are shown."""
    assert names == [*field_names(body)]


async def test_list_of_quarantine_by_source_and_reason(service):
    """Mutants: a filter is not applied; the cursor leaves the filter."""
    made = [(await service.post(b"event=kind_%d" % n))["id"] for n in range(3)]
    broken = (await service.post(b"{", "herosms"))["id"]

    async def found(**asked):
        return [item["id"] for item in await service.data("/v1/quarantine", **asked)]

    assert await found(source="herosms") == [broken]
    assert await found(reason="unknown_event", order="desc") == made[::-1]
    assert await found(source="tellabot", reason="malformed") == []
    params = {"source": "tellabot", "reason": "unknown_event", "limit": 2}
    page = (await service.ask("/v1/quarantine", params=params)).json()
    assert await found(**params, after=page["next_cursor"]) == made[2:]


async def test_filters_of_quarantine_have_an_index(service):
    """Mutant: an index is left out of the migration."""
    path = service.config.journal.path
    with sqlite3.connect(path) as conn:
        for where in ("source = 'a'", "reason = 'b'", "source = 'a' and reason = 'b'"):
            for order in ("", " and seq < 9", " and seq > 9"):
                query = f"explain query plan select id from quarantine where {where}{order}"  # noqa: S608 - our words
                [(*_, plan)] = conn.execute(f"{query} order by seq desc limit 9").fetchall()
                assert "USING INDEX quarantine_by_" in plan
    conn.close()
