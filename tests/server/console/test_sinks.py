"""The pages of sinks: their states, and pause, resume and test."""

import re

import live
import pytest
from consoles import Parsed, text_of
from contracts.journal import owed

from core.clock import rfc3339
from journal.writes import ReplayEvent
from server.console.sinks import bars, state_of

NOW = 1_796_000_000.0


def point(ago, **sinks):
    """Return a point of the history that ended that many seconds ago."""
    counts = {name: {"delivered": count} for name, count in sinks.items()}
    return {"at": rfc3339(NOW - ago), "sinks": counts}


@pytest.mark.parametrize(
    ("sink", "kind", "words"),
    [
        ({"state": "active"}, "ok", "works"),
        ({"state": "failing", "failing_since": "2026-11-30T00:49:20Z"}, "bad", "failing for 4 min"),
        ({"state": "paused", "paused_by": "operator"}, "off", "paused: by hand"),
        ({"state": "paused", "paused_by": "failing"}, "bad", "paused: it failed for too long"),
        ({"state": "paused", "paused_by": "gone"}, "bad", "paused: it answered 410"),
        ({"state": "paused", "paused_by": "key"}, "bad", "paused: its API key has ended"),
        ({"state": "paused", "paused_by": "secret"}, "bad", "paused: its secret cannot be opened"),
        ({"state": "gone"}, "wait", "pending, not configured"),
    ],
)
def test_state_of_sink_is_in_words(sink, kind, words):
    """Mutants: a paused sink works; one that paused itself needs nobody."""
    assert state_of(sink, NOW) == (kind, words)


def test_bars_are_the_last_hour_in_parts_of_five_minutes():
    """Mutants: another sink's; points before the hour; a small figure is drawn as nothing."""
    points = [point(3700, log=9), point(3590, log=1), point(310, log=700, crm=5), point(0, log=70)]

    drawn = bars(points, "log", "delivered", NOW)
    nothing = bars(points, "old", "delivered", NOW)

    assert (drawn.drawn, drawn.total) == ("▂▁▁▁▁▁▁▁▁▁█▂", 771)
    assert (nothing.drawn, nothing.total) == ("▁" * 12, 0)


def test_sinks_are_shown_with_state_debts_and_codes(admin):
    """Mutants: codes in clear to a private host warn; a link to the deliveries of all sinks."""
    answer = admin.get("/sinks")
    rows = dict(
        re.findall(
            r"<tr[^>]*>\s*<td><a href=\"/console/sinks/(\w+)\">(.*?)</tr>", answer.text, re.DOTALL
        )
    )

    assert {"log", "crm", "old", "late"} <= set(rows)
    assert "● works" in " ".join(Parsed(rows["log"]).text.split())
    assert "▲ failing for" in " ".join(Parsed(rows["crm"]).text.split())
    assert "503" in rows["crm"]
    assert "state=owed&amp;sink=crm" in rows["crm"]
    assert "in clear" in rows["crm"]
    assert "state wait" not in rows["crm"]


def test_page_of_sink_shows_masked_options_and_the_oldest(admin, service):
    """Mutants: the URL in clear; the newest delivery in place of the oldest."""
    # A probe may be under way: it shows for some milliseconds as being sent.
    live.eventually(lambda: "failing, 503" in text_of(admin.get("/sinks/crm")))
    answer = admin.get("/sinks/crm")

    assert "/503" not in answer.text
    assert "url***" in text_of(answer)
    assert f"/console/events/{service.events['failing']}" in answer.text
    assert "Failed attempts" in text_of(answer)
    assert admin.get("/sinks/none").status_code == 404


def test_failing_sink_says_since_when_and_what_to_retry(admin, service):
    """The link is the first view: dead or failing. Mutants: no time; a time without a failure; the
    deliveries of all sinks; a link to the dead ones only.
    """
    since = service.api("/sinks/crm").json()["failing_since"]

    failing, works = admin.get("/sinks/crm"), admin.get("/sinks/log")

    times = [its["datetime"] for its in Parsed(failing.text).all("time")]
    assert f"{since[:19]}Z" == times[0]
    assert ", since " in text_of(failing)
    assert "Only dead ones need a retry." in text_of(failing)
    assert '<a href="/console/deliveries?sink=crm">Dead or failing deliveries</a>' in failing.text
    assert ", since " not in text_of(works)
    assert "need a retry" not in text_of(works)
    assert "sink=log" in works.text


def test_sink_that_is_not_configured_is_shown_with_its_debts(admin, service):
    """It cannot be steered. Mutants: it is left out; it has buttons that answer 404."""
    event = service.sms(40)
    write = ReplayEvent(event, (owed("removed"),), at=service.parts.clock.now())

    async def submit():
        return await service.parts.journal.submit(write)

    service.run(submit())

    listed, own = admin.get("/sinks"), admin.get("/sinks/removed")

    assert "◆ pending, not configured" in text_of(listed)
    assert "/console/sinks/removed/pause" not in listed.text + own.text
    assert "Its deliveries wait until you configure one again." in text_of(own)
    assert f"/console/events/{event}" in own.text


def owe(service, number, sink):
    """Owe a new event to a sink that was removed; return its id."""
    event = service.sms(number, service="Nobody")
    write = ReplayEvent(event, (owed(sink),), at=service.parts.clock.now())

    async def submit():
        return await service.parts.journal.submit(write)

    service.run(submit())
    return event


def fields_of(page):
    """Return the values of the inputs of a page, by their names."""
    return {its["name"]: its["value"] for its in Parsed(page.text).all("input") if "value" in its}


def test_pending_events_of_a_removed_sink_go_to_another(person, service):
    """Counted, then sent once; the old ones stay. Mutants: sent again; another button's key."""
    event, writer = owe(service, 43, "gone"), person("writer")

    def to_log():
        found = service.api(f"/deliveries?event={event}&sink=log").json()["data"]
        return len(found)

    link, asking = writer.get("/sinks").text, writer.get("/sinks/gone/send")
    before, preview = to_log(), writer.get("/sinks/gone/send?to=log")
    fields = fields_of(preview)
    between = to_log()
    sent = writer.post("/sinks/gone/send", {"to": fields["to"], "until": fields["until"]})
    shown = text_of(writer.get("/sinks/gone"))
    again = text_of(writer.get("/sinks/gone/send?to=log"))

    assert 'href="/console/sinks/gone/send"' in link
    assert 'value="crm"' in asking.text
    assert 'value="gone"' not in asking.text
    assert "log gets 1 event, each by a new delivery with the same event id" in text_of(preview)
    assert "until a sink has the name gone again" in text_of(preview)
    assert (before, between, to_log()) == (0, 0, 1)
    assert sent.headers["location"] == "/console/sinks/gone"
    assert "Sent to log: 1 event. 1 to gone still pending" in shown
    assert "log gets nothing: it already has a delivery of each" in again
    assert service.api("/sinks/gone").json()["owed"] == 1
    reader = person("reader")
    assert "/sinks/gone/send" not in reader.get("/sinks").text + reader.get("/sinks/gone").text
    assert reader.get("/sinks/gone/send?to=log").status_code == 403


def test_event_that_came_after_the_preview_is_not_sent(person, service):
    """Mutant: all that is owed by now."""
    shown, writer = owe(service, 44, "left"), person("writer")
    fields = fields_of(writer.get("/sinks/left/send?to=log"))
    late = owe(service, 45, "left")

    writer.post("/sinks/left/send", {"to": fields["to"], "until": fields["until"]})

    found = service.api("/deliveries", params={"sink": "log", "event": [shown, late]}).json()
    assert [one["event"] for one in found["data"]] == [shown]


def test_sink_is_paused_and_resumed(person, service):
    """Mutants: another sink is paused; the way back is another page."""
    writer = person("writer")

    def state():
        return service.api("/sinks/late").json()["state"]

    before = state()
    paused = writer.post("/sinks/late/pause", {"from": "list"})
    during, page = state(), writer.get("/sinks")
    resumed = writer.post("/sinks/late/resume")

    assert (before, during, state()) == ("failing", "paused", "active")
    assert [paused.headers["location"], resumed.headers["location"]] == [
        "/console/sinks",
        "/console/sinks/late",
    ]
    assert "Paused: late" in text_of(page)
    assert "○ paused: by hand" in text_of(page)
    assert "/console/sinks/late/resume" in page.text
    assert "Resumed: late" in text_of(writer.get("/sinks/late"))


@pytest.mark.parametrize(("key", "sees"), [("admin", True), ("writer", False)])
def test_test_shows_what_was_sent_and_answered(person, service, key, sees):
    """Mutants: an answer without codes:read; a sample that is stored."""

    def stored():
        # Meanwhile, alerts are delivered to other sinks.
        found = service.api("/deliveries?sink=old").json()["data"]
        return service.api("/stats").json()["events"], [one["id"] for one in found]

    before = stored()
    answer = person(key).post("/sinks/old/test")
    text = text_of(answer)

    assert answer.status_code == 200
    assert "Test: 1 sample was sent" in text
    assert "status 410, after" in text
    assert "smshook-attempt: 1" in text
    assert ("said by the sink" in text) is sees
    assert ("Only keys with codes:read can see answers" in text) is not sees
    assert stored() == before


@pytest.mark.parametrize(
    ("key", "page", "write"),
    [("reader", 200, 403), ("support", 200, 403), ("growth", 403, 403), ("auditor", 403, 403)],
)
def test_scopes_decide_who_sees_and_steers(person, service, key, page, write):
    """Behind the page, the API refuses too. Mutant: buttons without deliveries:write."""
    one = person(key)
    shown = [one.get(path) for path in ("/sinks", "/sinks/log")]
    written = [one.post(f"/sinks/log/{verb}") for verb in ("pause", "resume", "test")]

    assert [answer.status_code for answer in shown] == [page] * 2
    assert [answer.status_code for answer in written] == [write] * 3
    assert all("/console/sinks/log/pause" not in answer.text for answer in shown)
    assert service.api("/sinks/log").json()["state"] == "active"
