"""At three in the morning: from an alert to its cause and its end, in the console alone."""

import contextlib
import json
import re
import time
from pathlib import Path

import live
import pytest
from consoles import ConsoleService
from serving import Handler, serving

from core.secret import Secret
from core.units import Duration
from routes.table import Route
from server.config.alerting import Alerting, FailingSinks
from sinks.file.sink import File
from sinks.http.sink import Http
from sinks.retry import Retry

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[3]
CAUSE = "the disk of crm-db-2 is full"
#: The most clicks and seconds that this may take.
CLICKS, SECONDS = 8, 120


class Crm:
    """An endpoint that answers with an error, until it is fixed."""

    def __init__(self):
        self.works = False

    @contextlib.contextmanager
    def running(self):
        crm = self

        class Answers(Handler):
            def respond(self, _body):
                self.answer(200 if crm.works else 503, b"" if crm.works else CAUSE.encode())

        with serving(Answers) as server:
            self.url = f"{server.url}/hooks/sms"
            yield self


@pytest.fixture(scope="module")
def crm():
    with Crm().running() as crm:
        yield crm


@pytest.fixture(scope="module")
def service(tmp_path_factory, crm):
    """A service that sends alerts to a file."""
    folder = tmp_path_factory.mktemp("operator")
    retry = Retry(schedule=(Duration(0), Duration(3600)))
    at_once = FailingSinks(after=Duration(0), clear=Duration(0))
    options = {
        "sinks": {
            "log": File(path=str(folder / "events.jsonl")),
            "crm": Http(url=Secret(crm.url), retry=retry),
            # It gives up at the first failure.
            "shop": Http(url=Secret(crm.url), retry=Retry(schedule=(Duration(0),))),
            "oncall": File(path=str(folder / "alerts.jsonl")),
        },
        "routes": {
            "google": Route(to=("log", "crm"), when={"data.service.key": "google"}),
            "telegram": Route(to=("log", "shop"), when={"data.service.key": "telegram"}),
            "oncall": Route(to=("oncall",), when={"type": {"$startsWith": "system."}}),
        },
        "alerts": Alerting(sink_failing=at_once, quiet=Duration(0)),
    }
    with ConsoleService(folder, **options) as service:
        service.alerts = folder / "alerts.jsonl"
        yield service


def alerts_of(service, type_, sink="crm"):
    """Return the alerts of a type about a sink that reached the file."""
    lines = service.alerts.read_text().splitlines() if service.alerts.exists() else []
    found = [alert for alert in map(json.loads, lines) if alert["type"] == type_]
    return [alert for alert in found if alert["subject"] == f"sink/{sink}"]


class Clicks:
    """The clicks of a person in a tab. After each, the page is as wide as the screen."""

    def __init__(self, tab):
        self._tab, self.count = tab, 0

    def __call__(self, role, name, address=None, *, within="body"):
        page = self._tab.page
        page.locator(within).get_by_role(role, name=name).first.click()
        self.count += 1
        if address is not None:
            page.wait_for_url(address)
        assert self._tab.overflow() == 0


@pytest.mark.parametrize("phone", [False, True], ids=["screen", "phone"])
def test_operator_finds_the_cause_and_retries(tab, service, crm, phone):
    """Mutants: the alert's page does not lead to the sink; the list after the retry is another."""
    crm.works, known = False, len(alerts_of(service, "system.sink_failing"))
    numbers = [701, 702, 703] if phone else [711, 712, 713]
    for number in numbers:
        service.sms(number)
    live.eventually(lambda: len(alerts_of(service, "system.sink_failing")) > known, within=30)
    alert = alerts_of(service, "system.sink_failing")[-1]
    page_of_runbook, _, heading = alert["data"]["runbook"].partition("#")
    assert f"\n### {heading}\n" in (ROOT / page_of_runbook).read_text()

    one, began = tab(phone=phone), time.monotonic()
    page, click = one.page, Clicks(one)

    # Its id is in the alert.
    page.get_by_label("Number, order, service").fill(alert["id"])
    click("button", "Show", "**/events/*")
    page.get_by_text("no delivery to the sink crm succeeds (status 503)").first.wait_for()
    click("link", "sink/crm", "**/sinks/crm")
    page.get_by_text("failing for").wait_for()
    page.get_by_text("smshook sends its pending deliveries").wait_for()
    click("link", "Its event", "**/events/*")
    click("button", "Answer of crm")
    page.get_by_text(CAUSE).first.wait_for()
    page.go_back()
    click("link", re.compile("^3 pending$"), "**/deliveries?state=owed&sink=crm")
    assert page.get_by_label("State").input_value() == "owed"
    click("link", "Retry all that match…", "**/retry?*")
    # One may be on its way, as the probe.
    page.get_by_text(re.compile("This makes [23] deliveries due now: [23] to crm")).wait_for()
    click("button", "Retry", "**/deliveries?sink=crm")
    crm.works = True
    page.get_by_text(re.compile("[23] made due")).wait_for()

    def is_over():
        page.goto("/console/")
        waiting = page.locator("#rows .state:not(.ok), header .count").count()
        return page.locator("#rows .state.ok").count() >= len(numbers) and not waiting

    live.eventually(is_over, within=30)
    live.eventually(lambda: len(alerts_of(service, "system.sink_recovered")) > known, within=30)
    assert click.count <= CLICKS
    assert time.monotonic() - began < SECONDS


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_operator_retries_the_dead(tab, service, crm, width):
    """A code did not arrive: by clicks only, from the alert to the cause to the retry.

    Mutants: the alert does not lead to the sink; the sink does not lead to its dead deliveries; the
    page of the event leads back to another list; the list after the retry is that of the dead.
    """
    crm.works, known = False, len(alerts_of(service, "system.sink_failing", "shop"))
    for number in range(3):
        service.sms(width + number, service="Telegram")
    live.eventually(
        lambda: len(alerts_of(service, "system.sink_failing", "shop")) > known, within=30
    )
    live.eventually(lambda: service.api("/stats").json()["deliveries"]["dead"] == 3)

    one, began = tab(), time.monotonic()
    page, click = one.page, Clicks(one)
    page.set_viewport_size({"width": width, "height": 800})

    click("link", "Overview", "**/overview", within="nav")
    click("link", "sink/shop", "**/sinks/shop", within="main")
    page.get_by_text(re.compile(", since [0-9]")).wait_for()
    page.get_by_text("Only dead ones need a retry.").wait_for()
    click("link", "Dead or failing deliveries", "**/deliveries?sink=shop")
    assert page.get_by_text("dead, 503").count() == 3
    assert page.get_by_text("dead, 503").first.bounding_box()["x"] < width / 2
    click("link", "Telegram to", "**/events/*", within="main")
    assert page.get_by_label("Send again to").input_value() == "shop"
    click("button", "Answer of shop")
    page.get_by_text(CAUSE).first.wait_for()
    crm.works = True
    click("link", "Deliveries", "**/deliveries?sink=shop#*", within="main")
    click("link", "Retry all that match…", "**/retry?*")
    page.get_by_text("This makes 3 deliveries due now: 3 to shop.").wait_for()
    click("button", "Retry", "**/deliveries?sink=shop")
    page.get_by_text("3 made due. Show updates the list.").wait_for()

    def is_over():
        page.get_by_role("button", name="Show").click()
        return page.get_by_text("No delivery is dead or failing").count()

    live.eventually(is_over, within=30)
    assert page.locator("td .state:not(.ok)").count() == 0
    # Else the next failure would be the same alert.
    live.eventually(
        lambda: len(alerts_of(service, "system.sink_recovered", "shop")) > known, within=30
    )
    assert click.count <= CLICKS
    assert time.monotonic() - began < SECONDS
