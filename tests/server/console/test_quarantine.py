"""The pages of quarantine: masked, revealed, read again, deleted."""

import contextlib

import live
import pytest
from consoles import HOSTILE, Parsed, query_of

from server.console.api import ApiCalls
from server.console.quarantine import PAGES, dump, groups, outcome, shown, summary

SMS = {"type": "sms.received", "service": "google", "routes": ["a"], "sinks": []}
OTHER = SMS | {"service": None}


def entry(**changed):
    return {"becomes": None, "why": "malformed", "why_detail": "body: no JSON"} | changed


@pytest.mark.parametrize(
    ("explained", "reads", "words"),
    [
        (entry(), False, "body: no JSON."),
        (entry(why="error", why_detail=""), False, "error."),
        (entry(becomes=[]), True, "It would become no event."),
        (entry(becomes=[SMS]), True, "It would become sms.received, google, for no sink."),
        (
            entry(becomes=[OTHER | {"sinks": ["log", "crm"]}, OTHER]),
            True,
            "It would become sms.received, for log and crm; sms.received, for no sink.",
        ),
        (
            entry(becomes=[SMS | {"sinks": ["a", "b", "c"]}]),
            True,
            "It would become sms.received, google, for a, b and c.",
        ),
    ],
)
def test_outcome_of_a_replay_in_words(explained, reads, words):
    found = outcome(explained)

    assert (reads, words) == (found["reads"], found["words"])


def test_bytes_as_hex():
    """Mutant: a byte that is no character is written as it is."""
    lines = [*dump(b"event=\x00\xff<b>" + b"x" * 8)]

    assert [
        "00000000  65 76 65 6e 74 3d 00 ff 3c 62 3e 78 78 78 78 78  event=..<b>xxxxx",
        "00000010  78 78 78                                         xxx",
    ] == lines


def test_long_bodies_are_cut():
    found = shown([("x", "a\x1bb")], b"\xff" + b"a" * 20_000)

    assert (r"x: a\u{1b}b", 20_001 - 16_384, 20_001 - 4_096) == (
        found["headers"],
        found["more_text"],
        found["more_hex"],
    )
    assert found["text"].startswith(r"\xff")


def test_reasons_that_several_callbacks_have():
    """Mutant: a single callback is a group."""
    rows = [{"source": source, "reason": "address"} for source in ("a", "b", "a")]

    [group] = groups(rows)

    assert ("a", "address") == (group["source"], group["reason"])
    assert {"source": "a", "reason": "address"} == query_of(group["address"])


def test_summary_of_many():
    counts = {"accepted": 2, "duplicate": 0, "quarantined": 1, "gone": 0}

    assert "Read again: new events: 2, still not understood: 1" == summary(counts)


# On a service


@contextlib.contextmanager
def refused(service):
    """Callbacks from here come from an address that is not allowed."""
    gate = service.parts.sources["tellabot"]
    allowed, gate.allowed = gate.allowed, type(gate.allowed)(("198.51.100.1",), ())
    yield
    gate.allowed = allowed


def refuse(service, *numbers):
    """Put messages into quarantine; return the ids of the entries."""
    with refused(service):
        for number in numbers:
            service.post(live.sms(number))
    found = service.api("/quarantine?reason=address&order=desc&limit=1000").json()["data"]
    return [one["id"] for one in found[: len(numbers)]][::-1]


def is_kept(service, id_):
    return service.api(f"/quarantine/{id_}/explain").status_code == 200


def test_bytes_are_masked_until_they_are_revealed(admin, service):
    """Mutants: a page shows a value; no line is written; it stays."""
    body = f"event=new.kind&id=8&text={live.code(8)} {HOSTILE}".encode()
    id_ = service.post(body)["id"]
    lists = admin.get("/quarantine").text + admin.get(f"/quarantine/{id_}").text
    lines = len(service.leaves("code.read"))

    answer = admin.post(f"/quarantine/{id_}/reveal")

    assert live.code(8) not in lists
    assert "new.kind" not in lists
    assert "text: ••••••" in lists
    parsed = Parsed(answer.text)
    assert live.code(8) in parsed.text
    assert "onerror=alert(1)" in parsed.text
    assert r"\u{202e}txt.exe" in parsed.text
    assert [] == parsed.all("img")
    assert "65 76 65 6e 74 3d 6e 65" in parsed.text
    assert f"60; url=/console/quarantine/{id_}" == answer.headers["refresh"]
    leaf, *older = service.leaves("code.read")
    assert (lines, "quarantine", id_, "key/admin") == (
        len(older),
        leaf["how"],
        leaf["quarantine"],
        leaf["by"],
    )


def test_callback_that_is_understood_now_becomes_an_event(admin, service):
    [id_] = refuse(service, 201)
    page = admin.get(f"/quarantine/{id_}").text

    answer = admin.post(f"/quarantine/{id_}/again")

    assert "It would become sms.received, google, for log." in page
    assert answer.headers["location"].startswith("/console/events/")
    assert "it became this event" in admin.get(answer.headers["location"]).text
    assert not is_kept(service, id_)


def test_known_message_is_read_as_a_copy(admin, service):
    id_ = service.sms(202)
    [kept] = refuse(service, 202)

    answer = admin.post(f"/quarantine/{kept}/again")

    assert f"/console/events/{id_}" == answer.headers["location"]
    assert "the event was known" in admin.get(answer.headers["location"]).text


def test_callback_that_is_still_not_understood_stays(admin, service):
    """Mutant: a button that changes nothing."""
    id_ = service.post(b"event=new.kind&id=9")["id"]
    page = admin.get(f"/quarantine/{id_}")

    answer = admin.post(f"/quarantine/{id_}/again")

    actions = [its.get("action", "") for its in Parsed(page.text).all("form")]
    assert [] == [action for action in actions if action.endswith("/again")]
    assert f"/console/quarantine/{id_}" == answer.headers["location"]
    assert "Still not understood: unknown_event" in admin.get(answer.headers["location"]).text


def test_all_of_a_reason_are_read_again_as_shown(admin, service):
    """One that comes after the page was shown stays. Mutants: the reason is read again, whatever
    came since; only the first is read; those of other reasons, too."""
    ids = refuse(service, 203, 204, 205)
    other = service.post(b"event=new.kind&id=10")["id"]
    assert "Read all of tellabot, address again" in admin.get("/quarantine").text
    page = admin.get("/quarantine/again?source=tellabot&reason=address")
    later = refuse(service, 206)
    sent = [its["value"] for its in Parsed(page.text).all("input") if its.get("name") == "id"]

    answer = admin.post("/quarantine/again", {"id": sent})

    assert set(ids) <= set(sent)
    assert f"This reads {len(sent)} of {len(sent)} callbacks again" in page.text
    assert f"Read again: new events: {len(sent)}<" in admin.get(answer.headers["location"]).text
    assert [False, False, False, True, True] == [
        is_kept(service, id_) for id_ in (*ids, *later, other)
    ]


def test_callbacks_after_many_that_are_not_understood_can_be_read_again(
    admin, service, monkeypatch
):
    """Mutant: the page always begins at the oldest callback."""
    monkeypatch.setattr("server.console.quarantine.AT_ONCE", 2)
    for number in (31, 32):
        service.post(b"event=new.kind&id=%d" % number)
    last = service.post(b"event=new.kind&id=33")["id"]
    address = "/quarantine/again?source=tellabot&reason=unknown_event"

    pages = []
    while address is not None:
        pages.append(Parsed(admin.get(address).text).all("a"))
        following = [its["href"] for its in pages[-1] if its.get("rel") == "next"]
        address = following[0].removeprefix("/console") if following else None

    *earlier, end = [[its.get("href", "") for its in page] for page in pages]
    assert f"/console/quarantine/{last}" in end
    assert not any(f"/console/quarantine/{last}" in links for links in earlier)
    assert earlier


def test_preview_of_many_is_one_call(admin, service, monkeypatch):
    """Mutant: a call for each callback."""
    for number in range(3):
        service.post(b"event=new.kind&id=2%d" % number)
    call, paths = ApiCalls.call, []

    async def noted(api, method, path, *args, **named):
        paths.append(path)
        return await call(api, method, path, *args, **named)

    monkeypatch.setattr(ApiCalls, "call", noted)

    page = admin.get("/quarantine/again?source=tellabot&reason=unknown_event")

    assert page.text.count("still not understood:") >= 3
    assert ["/v1/quarantine/explain"] == [path for path in paths if "/quarantine" in path]


def test_callbacks_that_left_meanwhile_are_named(admin, service):
    first, second = refuse(service, 207, 208)
    service.api(f"/quarantine/{first}", method="DELETE")

    answer = admin.post("/quarantine/again", {"id": [first, second]})

    said = admin.get(answer.headers["location"]).text
    assert "Read again: new events: 1, no longer there: 1" in said


@pytest.mark.parametrize("ids", [[], [f"{n}" for n in range(101)]])
def test_many_are_bounded(admin, ids):
    """Mutant: no limit."""
    assert 400 == admin.post("/quarantine/again", {"id": ids}).status_code


def test_all_needs_a_source_and_a_reason(admin):
    """Mutant: no filter means all."""
    assert 400 == admin.get("/quarantine/again?source=tellabot").status_code


def test_deleted_callback_is_gone(admin, service):
    id_ = service.post(b"event=new.kind&id=11")["id"]

    answer = admin.post(f"/quarantine/{id_}/delete")

    assert "/console/quarantine" == answer.headers["location"]
    assert "Deleted: 1 callback" in admin.get("/quarantine").text
    assert not is_kept(service, id_)
    assert 404 == admin.post(f"/quarantine/{id_}/delete").status_code


def test_list_is_filtered(admin):
    """Mutants: the filter is dropped by the list; an empty list does not say why."""
    found = admin.get("/quarantine?source=smsactivate")
    none = admin.get("/quarantine?source=smsactivate&reason=address")

    rows = [
        its for its in Parsed(found.text).all("a") if its.get("aria-label", "").startswith("Open")
    ]
    assert 1 == len(rows)
    assert "No callback in quarantine matches." in none.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/again?source=a&reason=b"),
        ("POST", "/again"),
        ("GET", "/ID"),
        ("POST", "/ID/reveal"),
        ("POST", "/ID/again"),
        ("POST", "/ID/delete"),
    ],
)
def test_quarantine_is_for_admins(person, service, method, path):
    """Mutant: a form without the rights of its session."""
    one = person("support")
    to = f"/quarantine{path.replace('ID', service.events['quarantined'])}"

    answer = one.get(to) if method == "GET" else one.post(to)

    assert 403 == answer.status_code
    links = [its.get("href") for its in Parsed(one.get("/").text).all("a")]
    assert "/console/" in links
    assert "/console/quarantine" not in links


def test_each_page_is_for_admins_who_see_all():
    """The API refuses others, too. Mutant: a page with another scope."""
    assert {(("admin",), True)} == {(page.scopes, page.whole) for page in PAGES}


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_what_is_shown_for_a_minute_is_accessible(tab, service):
    one = tab("admin", phone=True)
    page = one.goto(f"/quarantine/{service.events['quarantined']}")
    page.get_by_role("button", name="Reveal").click()
    page.get_by_text("Body as hex").wait_for()
    assert ([], 0) == (one.findings(), one.overflow())

    one.goto("/sources")
    page.get_by_role("button", name="Callback URL of tellabot").click()
    page.get_by_text("Who has it can send callbacks").wait_for()
    assert ([], 0) == (one.findings(), one.overflow())
