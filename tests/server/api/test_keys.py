import asyncio
from hashlib import sha256

from journals import shell
from services import indexed

import server.runtime.keys
from core.secret import Secret
from journal.reads import EventFilter
from journal.sqlite import paging
from server.api.events import walk
from server.api.paging import PageRequest
from server.config.options import Api, ApiKey
from server.runtime.keys import key_filters

ANY = EventFilter()
GROWTH = b"growth-key-0123456789"
KEY = {"key": Secret("team-key-0123456789"), "when": {"data.labels.team": "growth"}}

#: Calls of readers, and their answers to a key with the scope.
READING = {
    ("GET", "/v1/events/stream?after=no-cursor"): 400,
    ("GET", "/v1/events/wait"): 400,
    ("GET", "/v1/consumers"): 200,
    ("GET", "/v1/consumers/crm/events"): 200,
    ("POST", "/v1/consumers/crm/commit"): 400,
    ("POST", "/v1/consumers/crm/seek"): 400,
    ("DELETE", "/v1/consumers/crm"): 404,
}
CALLS = [
    *READING,
    ("GET", "/v1/events"),
    ("GET", "/v1/events/00000000-0000-7000-8000-000000000000"),
    ("POST", "/v1/events/00000000-0000-7000-8000-000000000000/replay"),
    ("GET", "/v1/deliveries"),
    ("GET", "/v1/deliveries/none"),
    ("POST", "/v1/deliveries/none/retry"),
    ("POST", "/v1/deliveries/retry"),
    ("POST", "/v1/sinks/none/send"),
    ("GET", "/v1/events/00000000-0000-7000-8000-000000000000/why"),
    ("POST", "/v1/events/00000000-0000-7000-8000-000000000000/reveal"),
    ("GET", "/v1/events/00000000-0000-7000-8000-000000000000/preview?sink=log"),
    ("GET", "/v1/audit/who/00000000-0000-7000-8000-000000000000"),
    ("POST", "/v1/replays"),
    ("GET", "/v1/replays/none"),
    ("DELETE", "/v1/replays/none"),
    ("GET", "/v1/orders"),
    ("POST", "/v1/orders"),
    ("GET", "/v1/orders/none"),
    ("DELETE", "/v1/orders/none"),
    ("GET", "/v1/sinks"),
    ("GET", "/v1/sinks/none"),
    ("POST", "/v1/sinks/none/test"),
    ("POST", "/v1/sinks/none/pause"),
    ("POST", "/v1/sinks/none/resume"),
    ("GET", "/v1/stats"),
    ("GET", "/v1/history"),
    ("GET", "/v1/quarantine"),
    ("GET", "/v1/quarantine/none"),
    ("GET", "/v1/quarantine/explain"),
    ("GET", "/v1/quarantine/none/explain"),
    ("POST", "/v1/quarantine/none/replay"),
    ("DELETE", "/v1/quarantine/none"),
    ("GET", "/v1/rejections"),
    ("GET", "/v1/rejections/recent"),
    ("GET", "/v1/sources"),
    ("POST", "/v1/sources/none/sample"),
    ("POST", "/v1/sources/none/url"),
    ("GET", "/v1/routes"),
    ("GET", "/v1/me"),
    ("GET", "/v1/keys"),
    ("POST", "/v1/keys"),
    ("DELETE", "/v1/keys/none"),
    ("DELETE", "/v1/events/00000000-0000-7000-8000-000000000000/content"),
    ("POST", "/v1/erasures"),
    ("GET", "/v1/retention"),
    ("POST", "/v1/retention/prune"),
    ("GET", "/v1/seal"),
    ("GET", "/v1/seal/rows"),
    ("POST", "/v1/seal/migrate"),
    ("GET", "/v1/alerts"),
    ("GET", "/v1/alerts/recent"),
    ("POST", "/v1/alerts/none/test"),
    ("POST", "/v1/backups"),
    ("GET", "/v1/audit"),
    ("GET", "/v1/audit/log/checkpoints"),
    ("GET", "/v1/audit/log/pruned"),
    ("GET", "/v1/audit/log/tile/none"),
    ("GET", "/v1/audit/state"),
    ("POST", "/v1/audit/verify"),
    ("GET", "/v1/audit/lines/none/proof"),
    ("GET", "/v1/audit/export"),
    ("POST", "/v1/audit/lines/7/erase"),
    ("POST", "/v1/audit/acts"),
]
#: Unknown paths, wrong methods, and calls of later versions.
NO_CALLS = [
    ("GET", "/v1"),
    ("GET", "/v1/"),
    ("GET", "/v1/nothing"),
    ("GET", "/v1/you"),
    ("POST", "/v1/events"),
    ("PUT", "/v1/stats"),
    ("PATCH", "/v1/events"),
    ("OPTIONS", "/v1/events"),
]
ADMINS = (
    "/v1/quarantine",
    "/v1/rejections",
    "/v1/keys",
    "/v1/erasures",
    "/v1/retention",
    "/v1/seal",
    "/v1/backups",
    "/v1/audit",
    "/v1/sources/none/url",
)
WRITERS = ("/replay", "/retry", "/send", "/test", "/pause", "/resume", "/sample")


NO_KEYS = [
    None,
    "",
    "Bearer",
    "Bearer ",
    "Bearer wrong-key-0123456789",
    "Bearer admin-key-012345678",
    "Bearer admin-key-0123456789x",
    "Basic admin-key-0123456789",
    "admin-key-0123456789",
]


async def test_call_without_a_key_is_401(service):
    """Also for unknown calls. Mutant: a call outside the guarded router."""
    for authorization in NO_KEYS:
        headers = {"X-Request-Id": "same"}
        headers |= {} if authorization is None else {"Authorization": authorization}

        answers = [
            await service.ask(path, None, method=method, headers=headers)
            for method, path in CALLS + NO_CALLS
        ]

        answers = {
            (answer.status_code, answer.headers["www-authenticate"], answer.text)
            for answer in answers
        }
        assert len(answers) == 1, authorization
        (status, challenge, text), *_ = answers
        assert (status, challenge) == (401, "Bearer")
        assert '"code":"unauthorized"' in text
        assert "key-0123" not in text


async def test_two_authorization_headers_are_refused(service):
    answer = await service.admin.get(
        "/v1/stats", headers=[("Authorization", "Bearer admin-key-0123456789")] * 2
    )

    assert answer.status_code == 401


async def test_scheme_is_case_insensitive(service):
    for written in ("Bearer  ", "bearer ", "BEARER "):
        answer = await service.ask(
            "/v1/stats", None, headers={"Authorization": f"{written}admin-key-0123456789"}
        )

        assert answer.status_code == 200, written


async def test_key_can_be_configured_as_a_digest(run, tmp_path):
    """The digest itself is no key."""
    digest = f"sha256:{sha256(b'in-clear-elsewhere').hexdigest()}"
    keys = {"hidden": ApiKey(key=Secret(digest), scopes=("admin",))}
    async with run(tmp_path, api=Api(keys=keys)) as service:
        answers = [
            (
                await service.ask("/v1/stats", None, headers={"Authorization": f"Bearer {sent}"})
            ).status_code
            for sent in ("in-clear-elsewhere", digest)
        ]

    assert answers == [200, 401]


async def test_without_configured_keys_every_call_is_401(run, tmp_path):
    async with run(tmp_path, api=Api()) as service:
        answer = await service.ask("/v1/stats", None, headers={"Authorization": "Bearer "})

    assert answer.status_code == 401


async def test_key_needs_the_scope_of_the_call(service):
    """Mutants: a call without a guard; a guard with another scope."""
    statuses = {
        (method, path): {
            name: (await service.ask(path, name, method=method)).status_code
            for name in ("admin", "reader", "coder", "writer")
        }
        for method, path in CALLS
    }

    assert statuses == {call: expected(*call) for call in CALLS}


def expected(method, path):
    if (method, path) in READING:
        return dict.fromkeys(("admin", "reader", "coder"), READING[method, path]) | {"writer": 403}
    found = 404 if "none" in path or "0000-" in path else 200
    if path in {"/v1/deliveries/retry", "/v1/sinks/none/send"}:
        found = 400  # the body is missing
    previews = "/preview" in path  # it needs both scopes
    if previews or (method == "POST" and path.endswith(WRITERS) and not path.startswith(ADMINS)):
        writes = 403 if previews or path.startswith("/v1/alerts") else found
        return {"admin": found, "reader": 403, "coder": 403, "writer": writes}
    if path.startswith("/v1/orders") and method != "GET":
        made = 400 if method == "POST" else 404  # the answer shows nothing of it
        return {"admin": made, "reader": 403, "coder": 403, "writer": made}
    if path.startswith("/v1/replays"):
        found = 400 if method == "POST" else 404
        reads, writes = (found, 403) if method == "GET" else (403, found)
        return {"admin": found, "reader": reads, "coder": reads, "writer": writes}
    # The body of the others is missing.
    made = {
        "/v1/keys": 400,
        "/v1/erasures": 400,
        "/v1/retention/prune": 202,
        "/v1/seal/migrate": 409,
        "/v1/backups": 400,
        "/v1/audit/verify": 202,
        "/v1/audit/acts": 400,
        "/v1/audit/lines/7/erase": 400,
    }
    if method == "POST":
        found = made.get(path, found)
    if path.endswith("/reveal"):
        return {"admin": found, "reader": 403, "coder": found, "writer": 403}
    is_for_admin = path.startswith(ADMINS) and path != "/v1/rejections/recent"
    reads = 403 if is_for_admin or path.endswith("/content") else found
    return {"admin": found, "reader": reads, "coder": reads, "writer": 403}


MISSING_SCOPES = [
    (("GET", "/v1/stats"), "writer", "events:read"),
    (("GET", "/v1/history"), "writer", "events:read"),
    (("GET", "/v1/deliveries"), "writer", "events:read"),
    (("POST", "/v1/deliveries/1/retry"), "coder", "deliveries:write"),
    (("POST", "/v1/sinks/log/pause"), "reader", "deliveries:write"),
]


async def test_missing_scope_is_named(service):
    for (method, path), key, scope in MISSING_SCOPES:
        answer = await service.ask(path, key, method=method)

        assert (answer.status_code, answer.json()["code"]) == (403, "missing_scope")
        assert answer.json()["detail"] == f"the key needs the scope {scope}"


async def test_admin_reads_codes(service):
    event_id = await service.sms(pin="4711")

    answer = await service.ask(f"/v1/events/{event_id}?raw=true")

    assert answer.json()["event"]["data"]["code"] == "4711"


async def test_unknown_call_is_404_only_with_a_key(service):
    """Calls of later versions answer 404, and their methods 405."""
    answers = {
        (method, path): await service.ask(path, "writer", method=method)
        for method, path in NO_CALLS
    }

    assert {
        call: (answer.status_code, answer.json()["code"])
        for call, answer in answers.items()
        if answer.content
    } == {
        (method, path): (404, "not_found") if method == "GET" else (405, "method_not_allowed")
        for method, path in NO_CALLS
        if method != "OPTIONS"
    }
    assert {
        answer.headers.get("allow") for (method, _), answer in answers.items() if method != "GET"
    } == {"GET, OPTIONS"}


# Keys with a `when`


async def test_key_sees_events_that_match_its_when(service):
    """Mutants: `when` filters only the list, or only the single event."""
    mine, other = await service.sms(), await service.hero()

    listed = await service.data("/v1/events", "growth")
    statuses = [
        (await service.ask(f"/v1/events/{id_}", "growth")).status_code for id_ in (mine, other)
    ]

    by_id = await service.data("/v1/events", "growth", id=[mine, other])

    assert [item["event"]["id"] for item in listed] == [mine]
    assert by_id == listed
    assert statuses == [200, 404]


async def test_hidden_event_is_answered_like_a_missing_one(service):
    hidden = await service.hero()

    answers = [
        await service.ask(f"/v1/events/{id_}{query}", "growth", headers={"X-Request-Id": "same"})
        for id_ in (hidden, "01931c5e-0000-7000-8000-000000000000")
        for query in ("", "?raw=true")
    ]

    assert {(answer.status_code, answer.content) for answer in answers} == {
        (404, answers[0].content)
    }


async def test_when_is_matched_before_masking(service):
    seen, _hidden = await service.sms(pin="7712"), await service.sms(pin="8812")

    listed = await service.data("/v1/events", "guesser")

    assert [(item["event"]["id"], item["event"]["data"]["code"]) for item in listed] == [
        (seen, "***")
    ]


async def test_calls_about_all_events_refuse_filtered_keys(service):
    answers = [
        await service.ask(path, "boss", method=method)
        for method, path in CALLS
        if not path.startswith(("/v1/events", "/v1/consumers", "/v1/me", "/v1/replays"))
    ]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {
        (403, "key_filtered")
    }


def pages(service, *, desc, limit, wanted=ANY, **bounds):
    """Return all pages of the key `growth` while it has no index, as places of events."""
    access = service.parts.keys.find(GROWTH)

    async def rest(after):
        asked = PageRequest(limit=limit, desc=desc, after=after)
        page = await walk(service.journal, access, wanted, asked, None, **bounds)
        found = [seq for seq, _ in page.items]
        return [found, *(await rest(page.next_seq) if page.has_more else [])]

    return rest(None)


async def test_pages_skip_hidden_events(service):
    """Also where the journal is read in several pieces, and a page ends inside one."""
    mine = [3, 4, 5, 10, 11]
    for place in range(1, 15):
        await (service.sms() if place in mine else service.hero())

    for desc in (False, True):
        found = {
            (limit, at_once): await pages(service, desc=desc, limit=limit, at_once=at_once)
            for limit in (1, 2, 3, 5, 10)
            for at_once in (1, 3, 4, 14, 100)
        }

        ordered = mine[::-1] if desc else mine
        assert found == {
            (limit, at_once): [ordered[i : i + limit] for i in range(0, 5, limit)]
            for limit, at_once in found
        }


async def test_page_until_a_time_passes_none_that_it_leaves_out(service):
    """The clock was corrected. Mutant: the cursor is that of the last event."""
    begun, access = service.now, service.parts.keys.find(GROWTH)
    for at in (0, 100, 50):
        service.now = begun + at
        await service.sms()

    asked = PageRequest(limit=9, desc=False, after=None)
    wanted = EventFilter(until=begun + 60)
    page = await walk(service.journal, access, wanted, asked, None)

    assert ([seq for seq, _ in page.items], page.next_seq) == ([1, 3], 1)


async def test_full_page_until_a_time_says_what_it_leaves_out(service):
    """Mutants: only the last page says it; a piece of a page after it forgets it."""
    begun, access = service.now, service.parts.keys.find(GROWTH)
    for at in (0, 100, 50, 51, 52):
        service.now = begun + at
        await service.sms()

    asked = PageRequest(limit=2, desc=False, after=None)
    wanted = EventFilter(until=begun + 60)
    found = [
        await walk(service.journal, access, wanted, asked, None, at_once=at_once)
        for at_once in (1, 9)
    ]

    assert {(page.next_seq, page.has_more, page.again) for page in found} == {(3, True, 1)}


async def test_page_stops_searching_and_returns_a_cursor(service):
    """Mutant: no limit: a key that sees one event of a million reads them all at once."""
    for place in range(1, 11):
        await (service.sms() if place in {1, 10} else service.hero())

    for desc in (False, True):
        found = await pages(service, desc=desc, limit=100, at_once=2, most=4)

        assert found == ([[10], [], [1]] if desc else [[1], [], [10]])


async def test_page_stops_where_the_journal_stopped(service, monkeypatch):
    """Without an index, the journal searches a limited number of events, once for each page.

    Mutant: 25 searches for a page, each of 50,000 events.
    """
    monkeypatch.setattr(paging, "WINDOW", 2)
    for _ in range(5):
        await service.sms(pin="", reply="no code")

    found = await pages(service, desc=False, limit=100, wanted=EventFilter(code=True))

    assert found == [[], [], []]


async def test_new_events_follow_an_all_hidden_page(service):
    await service.hero()
    cursor = (await service.ask("/v1/events", "growth")).json()["next_cursor"]
    await asyncio.gather(service.hero(), service.hero())
    mine = await service.sms()

    found = await service.data("/v1/events", "growth", after=cursor)

    assert [item["event"]["id"] for item in found] == [mine]


# The index of the events that a key sees


async def test_many_hidden_events_do_not_make_a_page(run, tmp_path):
    """Mutant: the search without an index, whose page is empty after 5,000 events."""
    async with run(tmp_path) as service:
        first, hidden = await service.sms(), await service.hero()
    with shell(tmp_path / "smshook.db") as conn:
        conn.execute(
            "with recursive n(n) as (select 1 union all select n + 1 from n where n < 20000)"
            " insert into events (id, source, type, subject, recorded_at, callback, routes, body)"
            " select id || n, source, type, subject, recorded_at, callback, routes, body"
            " from events, n where id = ?",
            (hidden,),
        )
    async with run(tmp_path) as service:
        last = await service.sms(id=1, reply="Your code is 4711", pin="4711")
        answers = {
            order: await one_by_one(service, order=order, type="sms.received")
            for order in ("asc", "desc")
        }

    assert answers == {
        "asc": [(first, True), (last, False)],
        "desc": [(last, True), (first, False)],
    }


async def one_by_one(service, **asked):
    """Return pages of one event for the key `growth`, as (event's id, has_more)."""
    found, more = [], True
    while more:
        page = (await service.ask("/v1/events", "growth", params={"limit": 1, **asked})).json()
        [item] = page["data"]
        more = page["has_more"]
        found.append((item["event"]["id"], more))
        assert page["next_cursor"] == item["cursor"]
        asked["after"] = page["next_cursor"]
    return found


async def test_events_are_the_same_before_and_after_indexing(run, tmp_path):
    """A new key finds them by a search until its index is complete."""
    mine = []
    async with run(tmp_path, api=Api()) as service:
        for _ in range(3):
            mine.append(await service.sms())
            other = await service.hero()
    async with run(tmp_path) as service:
        walked = await service.data("/v1/events", "growth", limit=2)
        statuses = [await seen_by_growth(service, id_) for id_ in (mine[0], other)]
        await indexed(service)
        found = await service.data("/v1/events", "growth", limit=2)
        statuses += [await seen_by_growth(service, id_) for id_ in (mine[0], other)]

    assert [item["event"]["id"] for item in found] == mine[:2]
    assert found == walked, "with the same cursors"
    assert statuses == [200, 404] * 2


async def seen_by_growth(service, event_id):
    return (await service.ask(f"/v1/events/{event_id}", "growth")).status_code


async def test_hidden_event_is_not_read(run, tmp_path):
    """Reading it takes longer than finding no event, and in this test it fails.

    Mutant: the condition is checked after the event was read.
    """
    keys = {"team": ApiKey(**{**KEY, "scopes": ("codes:read", "deliveries:write")})}
    async with run(tmp_path, api=Api(keys=keys)) as service:
        await service.sms()
        hidden = await service.hero()
    with shell(tmp_path / "smshook.db") as conn:
        conn.execute("update events set body = '{' where id = ?", (hidden,))

    async with run(tmp_path, api=Api(keys=keys)) as service:
        statuses = [
            (await service.ask(path, "team", method=method)).status_code
            for method, path in (
                ("GET", f"/v1/events/{hidden}"),
                ("GET", f"/v1/events/{hidden}?raw=true"),
                ("POST", f"/v1/events/{hidden}/replay"),
                ("GET", "/v1/events"),
                ("GET", "/v1/events?type=sms.received"),
            )
        ]

    assert statuses == [404, 404, 404, 200, 200]


async def test_cursor_of_another_key_works_and_shows_nothing_hidden(service):
    """The cursor points to an event that this key does not see."""
    await service.sms()
    await service.hero()
    last = await service.sms()
    [_, hidden, _] = await service.data("/v1/events")

    up = (await service.ask("/v1/events", "growth", params={"after": hidden["cursor"]})).json()
    down = await service.data("/v1/events", "growth", after=hidden["cursor"], order="desc")

    assert [item["event"]["id"] for item in up["data"]] == [last]
    assert up["next_cursor"] == up["data"][0]["cursor"]
    assert len(down) == 1


def filter_of(when):
    key = ApiKey(key=Secret("any-key-0123456789"), scopes=("events:read",), when=when)
    return set(key_filters({"any": key}))


def test_keys_with_the_same_condition_share_a_filter():
    """Mutant: a digest of the text in the file."""
    one = {"type": "sms.received", "data.code": {"$startsWith": "7", "$ne": None}}
    same = {"data.code": {"$ne": None, "$startsWith": "7"}, "type": "sms.received"}

    assert filter_of(one) == filter_of(same)
    assert len({*filter_of(one), *filter_of({**one, "type": "call.received"})}) == 2
    assert len({*filter_of({"data.text": 1}), *filter_of({"data.text": "1"})}) == 2
    assert filter_of(None) == set()


def test_filter_of_another_version_is_another(monkeypatch):
    """Its services may have other names. Mutant: an index that another version filled is used."""
    before = filter_of({"data.service.key": "google"})
    monkeypatch.setattr(server.runtime.keys, "__version__", "0.0.1")

    assert filter_of({"data.service.key": "google"}) != before
