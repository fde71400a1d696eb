"""The overview: figures of now, and plots with a table under each."""

import re

import pytest
from consoles import text_of

from server.runtime.disk import Disk
from server.runtime.watching import Watching


@pytest.fixture
def counted(service):
    """A service whose history has a point."""
    service.run(service.parts.history.count())
    return service


@pytest.mark.usefixtures("counted")
def test_picture_is_svg_that_runs_nothing(admin):
    answer = admin.get("/overview/events.svg?span=1h&at=1")

    assert answer.headers["content-type"] == "image/svg+xml"
    policy = answer.headers["content-security-policy"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; sandbox"
    assert "<script" not in answer.text


@pytest.mark.parametrize("path", ["/overview/nothing", "/overview/nothing.svg"])
def test_unknown_plot_is_404(admin, path):
    assert admin.get(path).status_code == 404


def test_unknown_span_is_refused(admin):
    assert admin.get("/overview?span=2y").status_code == 400


def test_key_with_a_when_has_no_overview(person):
    """It counts all events."""
    growth = person("growth")

    assert growth.get("/overview").status_code == 403
    assert "/console/overview" not in growth.get("/").text


def test_page_counts_what_wants_somebody(counted, admin):
    stats = counted.api("/stats").json()

    text = admin.get("/overview").text

    dead, quarantine = stats["deliveries"]["dead"], stats["quarantine"]
    assert f'<dd><a href="/console/deliveries?state=dead">{dead}</a></dd>' in text
    assert f'<dd><a href="/console/quarantine">{quarantine}</a></dd>' in text
    assert stats["deliveries"]["dead"]
    assert stats["quarantine"]


def test_figures_have_their_time(admin):
    """An open page goes on with its plots only. Mutant: no time."""
    assert re.search(r"Figures of\s+<time datetime=", admin.get("/overview").text)


def test_oldest_owed_delivery_is_linked(admin, service):
    """With its age and its sink. Mutant: the newest."""
    first = service.events["failing"]
    service.sms(41, service="Telegram")

    page = admin.get("/overview")

    assert f'<a href="/console/events/{first}">oldest <time' in page.text
    assert 'to <a href="/console/sinks/crm">crm</a>' in page.text


@pytest.mark.parametrize(
    ("days", "words"), [(None, "61 GB of 107 GB"), (210.4, "61 GB 210 days left")]
)
def test_disk_has_its_free_space_and_days_left(admin, service, monkeypatch, days, words):
    disk = Disk(free=61_000_000_000, total=107_000_000_000, journal=3 << 30)
    monkeypatch.setattr(service.parts.disk, "last", disk)
    monkeypatch.setattr(service.parts.disk, "days_left", lambda: days)

    assert f"Free disk space{words}" in text_of(admin.get("/overview")).replace("free ", "free")


def test_alerts_are_shown_with_links_to_their_events(admin, service):
    """Alerts that are raised, and the events about their begin and end.

    Mutants: what ended is raised; no link to the sink.
    """
    before = service.api("/alerts").json()["data"]
    service.api("/sinks/log/pause", method="POST")
    service.run(Watching(service.parts).look())
    raised = service.api("/alerts").json()["data"]
    [paused] = [one for one in raised if one["name"] == "sink_paused"]

    during = admin.get("/overview")
    service.api("/sinks/log/resume", method="POST")
    service.run(Watching(service.parts).look())
    after = admin.get("/overview")

    link = f'<a href="/console/events/{paused["event"]}">the sink log is paused (operator)'
    assert during.text.count(link) == 2
    assert during.text.count('<a href="/console/sinks/log">sink/log</a>') == 2
    assert "Alerts raised now" in during.text
    assert after.text.count(link) == 1
    assert ("Alerts raised now" in after.text) is bool(before)
    assert "the sink log was resumed after" in after.text
    assert "● ended" in text_of(after)
    assert admin.get(f"/events/{paused['event']}").status_code == 200
