"""The page of sources: what it shows, callback URLs, samples, and asking the provider."""

import live
import pytest
from consoles import Parsed

from server.console.sources import PAGES, away, backfill, delay, state

RUN = {"finished_at": "2026-12-01T10:00:00Z", "new": 3, "error": None}


def actions(answer):
    """Return the last words of the addresses that the forms of a page post to."""
    found = [its["action"] for its in Parsed(answer.text).all("form") if "action" in its]
    return {one.rpartition("/")[2] for one in found if "/sources/" in one}


@pytest.mark.parametrize(
    ("polling", "kind", "words"),
    [
        ({"state": "stopped", "run": RUN}, "bad", "stopped: key refused"),
        ({"state": "running", "run": RUN}, "wait", "polling now"),
        ({"state": "waiting", "run": None}, "off", "not polled yet"),
        ({"state": "waiting", "run": RUN | {"error": "busy"}}, "bad", "provider busy"),
        ({"state": "waiting", "run": RUN}, "ok", "3 new"),
    ],
)
def test_words_of_a_backfill(polling, kind, words):
    found = backfill(polling)

    assert (kind, words) == (found["kind"], found["words"])


@pytest.mark.parametrize(
    ("word", "kind"),
    [("receiving", "ok"), ("polled", "ok"), ("silent", "wait"), ("waiting", "off")],
)
def test_state_of_a_source(word, kind):
    assert kind == state({"state": word, "expect_every": None})["kind"]


def test_silent_source_says_what_was_expected():
    found = state({"state": "silent", "expect_every": 21_600.0})

    assert found == {"kind": "wait", "words": "silent, expected every 6 h"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.42, "+0.4 s"), (-3, "-3.0 s"), (7200.4, "+2 h"), (-90, "-2 min")]
)
def test_delay_has_its_sign(seconds, text):
    assert text == delay(seconds)


@pytest.mark.parametrize(
    ("reason", "peer", "hint", "is_kept"),
    [
        ("address", "172.18.0.1", "server.trusted_proxies", True),
        ("address", "fd00::1", "server.trusted_proxies", True),
        ("address", "203.0.114.9", "allow_from", True),
        ("address", None, "allow_from", True),
        ("address", "no address", "allow_from", True),
        ("token", "172.18.0.1", "callback URL", False),
        ("of a later version", None, "", False),
    ],
)
def test_hint_for_rejected_callbacks(reason, peer, hint, is_kept):
    """Mutants: a public address counts as a proxy; each reason leads to quarantine."""
    one = {"reason": reason, "peer": peer, "count": 2, "last_at": "2026-12-01T10:00:00Z"}

    found = away(one | {"source": "tellabot"})

    assert hint in found["hint"]
    assert ("server.trusted_proxies" == hint) == ("trusted_proxies" in found["hint"])
    kept = "/console/quarantine?source=tellabot&reason=address" if is_kept else None
    assert kept == found["quarantine"]


def test_page_has_the_buttons_that_the_key_may_use(person):
    """Mutants: a button without its scope; the page for keys that may not see all."""
    shown = {key: actions(person(key).get("/sources")) for key in ("reader", "writer", "admin")}

    assert {"reader": set(), "writer": {"sample"}, "admin": {"url", "sample"}} == shown
    assert 403 == person("growth").get("/sources").status_code


@pytest.mark.parametrize(
    ("call", "allowed"), [("url", {"admin"}), ("sample", {"admin", "writer"}), ("ask", {"admin"})]
)
def test_write_needs_its_scope(person, call, allowed):
    """Mutant: a call of the API without its guard."""
    answers = {
        key: person(key).post(f"/sources/nothing/{call}").status_code
        for key in ("admin", "writer", "support", "growth")
    }

    assert {key: 404 if key in allowed else 403 for key in answers} == answers


def test_each_page_needs_its_scope_itself():
    """The API refuses others, too. Mutant: a write with the scope of the page."""
    assert {"": "events:read", "/url": "admin", "/sample": "deliveries:write", "/ask": "admin"} == {
        page.path.removeprefix("/sources").removeprefix("/{name}"): page.scopes[0] for page in PAGES
    }
    assert all(page.whole for page in PAGES)


def test_callback_url_is_recorded_and_shown_for_a_minute(admin, service):
    """Mutants: the page has it before; it stays; no line is written."""
    path = f"/in/tellabot/{live.TOKEN}"
    before = admin.get("/sources").text
    lines = len(service.leaves("source.url_read"))

    answer = admin.post("/sources/tellabot/url")

    assert path not in before
    assert path in answer.text
    assert "works only on the machine of the service" in answer.text
    assert "60; url=/console/sources" == answer.headers["refresh"]
    leaf, *older = service.leaves("source.url_read")
    assert (lines, "tellabot", "key/admin") == (len(older), leaf["source"], leaf["by"])
    assert "no-store" == answer.headers["cache-control"]


def test_sample_becomes_an_event(person, service):
    writer = person("writer")

    answer = writer.post("/sources/smsactivate/sample")

    to = answer.headers["location"]
    event = service.api(f"/events/{to.rpartition('/')[2]}").json()["event"]
    assert (303, "smsactivate", True) == (
        answer.status_code,
        event["source"],
        event["data"]["sample"],
    )
    assert "Sent: a sample of smsactivate" in writer.get(to).text


class Asked:
    """A backfill that notes what it is asked."""

    left_until = next_at = None
    stopped = running = False
    runs = 0

    def start(self, _why, _since):
        self.runs += 1
        return self.runs

    def shown(self):
        return None


def test_provider_is_asked(admin, service, monkeypatch):
    """A source without `backfill` has no button, and says so. Mutant: nothing is started."""
    refused = admin.post("/sources/tellabot/ask")
    asked = Asked()
    monkeypatch.setattr(service.parts.backfills, "of", lambda _name: asked)

    page = admin.get("/sources")
    answer = admin.post("/sources/tellabot/ask")

    assert (409, True) == (refused.status_code, "has no `backfill`" in refused.text)
    assert "ask" in actions(page)
    assert (303, "/console/sources", 1) == (
        answer.status_code,
        answer.headers["location"],
        asked.runs,
    )


def test_page_lists_rejections(admin, person, service):
    """Also what named no source: its list has it last. Mutants: keys without `admin` see addresses;
    only configured sources are asked for."""
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for path in ("/in/tellabot/wrong-token-01234", "/in/removed/wrong-token-01234", "/in/wp-login"):
        live.client().post(f"{service.url}{path}", content=b"", headers=headers)

    shown, masked = admin.get("/sources").text, person("reader").get("/sources").text

    assert "wrong token from <code>127.0.0.1</code>" in shown
    assert " wrong token, last" in masked
    assert "<li>No source: 1 " in shown
    assert " no such source from <code>127.0.0.1</code>" in shown
    assert " not a callback URL from <code>127.0.0.1</code>" in shown
    assert "127.0.0.1" not in masked
