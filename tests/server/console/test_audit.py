"""The page of the audit log: its verdict, its lines, what it writes, and who may see it."""

import re
import sqlite3

import pytest
from consoles import ConsoleService, Parsed, text_of
from live import eventually

from journal.audit.lines import Fact
from journal.writes import RecordFacts


def rows(answer):
    """Return the texts of the list, one a row."""
    # The table of readers follows the list, once a reading is written.
    above = answer.text.partition('action="/console/audit/export')[0]
    body = above.partition("<tbody>")[2].partition("</tbody>")[0]
    return [" ".join(Parsed(row).text.split()) for row in body.split("<tr>")[1:]]


def verdict(person):
    return text_of(person.get("/audit"))


def test_page_needs_the_scope_of_the_log(person):
    """Mutant: the page, a file or a write has another scope."""
    answers = {
        name: [
            person(name).get("/audit").status_code,
            person(name).get("/audit/checkpoint").status_code,
            person(name).get("/audit/lines/0/proof").status_code,
            person(name).post("/audit/verify").status_code,
            person(name).post("/audit/export").status_code,
        ]
        for name in ("admin", "reader", "coder", "auditor")
    }

    assert answers["admin"] == [200, 200, 200, 303, 200]
    assert answers["reader"] == answers["coder"] == [403] * 5
    assert answers["auditor"] == answers["admin"]


def test_auditor_comes_to_the_page_after_signing_in(person):
    """Mutant: the inbox refuses the key."""
    answer = person("auditor").get("/")

    assert (303, "/console/audit") == (answer.status_code, answer.headers["location"])


def test_auditor_sees_lines_without_links_to_events(person, service):
    """And not who read codes, which needs `events:read`."""
    page = person("auditor").get(f"/audit?since=all&q={service.events['plain']}")

    assert rows(page)
    assert f"/events/{service.events['plain']}" not in page.text
    assert "Codes read" not in page.text
    assert "Codes read" in person("admin").get("/audit").text


def test_lines_are_found_by_event_actor_and_name(admin, service):
    """Mutants: an id is a text; an actor is one that begins so; `do` is one action only."""
    event = service.events["failing"]

    of_event = rows(admin.get(f"/audit?since=all&q={event.upper()}"))
    by = rows(admin.get("/audit?since=all&q=key/admin&do=session."))
    near = rows(admin.get("/audit?since=all&q=key/adm&do=session."))
    about = rows(admin.get("/audit?since=all&q=crm&do=delivery.attempted&do=sink."))

    assert near == []  # an actor is a whole one
    assert of_event
    assert all(event in row for row in of_event)
    assert by
    assert all(" key admin session." in row for row in by)
    assert about
    assert all(" sink crm " in row or "crm" in row for row in about)
    assert {"delivery.attempted"} == {re.search(r"delivery\.\w+", row)[0] for row in about}


def test_page_says_how_far_it_looked(tmp_path):
    """Mutant: a page that found nothing in 5,000 lines says that there is nothing."""
    many = tuple(Fact("key.refused", {"by": f"key/{n}"}) for n in range(3_000))

    async def add(service):
        await service.parts.journal.submit(RecordFacts(many))

    # A service of its own: these lines would hide those of other tests.
    with ConsoleService(tmp_path) as service:
        admin = service.browser("admin")
        for _ in range(2):
            service.run(add(service))
        page = admin.get("/audit?since=all&do=service.started")
        [older] = [its for its in Parsed(page.text).all("a") if its.get("rel") == "next"]
        oldest = admin.get(older["href"])

    assert rows(page) == []
    assert "The search stopped after about 5,000 lines, at" in page.text
    assert [row.split()[-1] for row in rows(oldest)]


def test_export_checkpoint_and_proof_are_files(admin):
    """Mutants: the export has all lines; it is a page."""
    exported = admin.post("/audit/export?do=service.started&since=all", {"form": "jsonl"})
    as_cef = admin.post("/audit/export?do=service.started&since=all", {"form": "cef"})
    checkpoint, proof = admin.get("/audit/checkpoint"), admin.get("/audit/lines/0/proof")

    [line] = exported.text.splitlines()
    assert '"do":"service.started"' in line
    assert as_cef.text.startswith("CEF:0|")
    assert proof.text.startswith("c2sp.org/tlog-proof@v1\nindex 0\n")
    assert checkpoint.text in proof.text
    names = [
        answer.headers["content-disposition"] for answer in (exported, as_cef, checkpoint, proof)
    ]
    assert names == [
        f'attachment; filename="{name}"'
        for name in ("audit.jsonl", "audit.cef", "checkpoint", "line-0.tlog-proof")
    ]
    assert admin.post("/audit/export", {"form": "xml"}).status_code == 400


# A log of its own: it is changed


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    with ConsoleService(tmp_path_factory.mktemp("alone")) as service:
        yield service


def test_change_is_shown_on_every_page_to_those_who_may_read_the_log(alone):
    """Mutants: only the page of the log says so; everybody sees it; it needs a restart."""
    one, reader = alone.browser("admin"), alone.browser("reader")
    eventually(lambda: "Unchanged up to line" in verdict(one))
    assert "The audit log was changed" not in one.get("/").text

    said = one.post("/audit/verify")
    assert (said.status_code, said.headers["location"]) == (303, "/console/audit")
    assert "The service checks all lines again." in one.get("/audit").text
    eventually(lambda: [leaf["by"] for leaf in alone.leaves("audit.verified")] == ["key/admin"])
    with sqlite3.connect(alone.config.journal.path) as conn:
        conn.execute(
            "update audit set lines = cast(replace(cast(lines as text), ?, ?) as blob)",
            ("sha256", "sha255"),
        )
    conn.close()
    one.post("/audit/verify")

    eventually(lambda: "Changed: lines 0 to" in verdict(one))
    for path in ("/", "/audit", "/nothing"):
        alarm = one.get(path).text
        assert 'class="alarm" role="alert">The audit log was changed: lines 0 to' in alarm
    assert "The audit log was changed" not in reader.get("/").text
