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
            "oncall": File(path=str(folder / "alerts.jsonl")),
        },
        "routes": {
            "everything": Route(to=("log", "crm")),
            "oncall": Route(to=("oncall",), when={"type": {"$startsWith": "system."}}),
        },
        "alerts": Alerting(sink_failing=at_once, quiet=Duration(0)),
    }
    with ConsoleService(folder, **options) as service:
        service.alerts = folder / "alerts.jsonl"
        yield service


def alerts_of(service, type_):
    """Return the alerts of a type that reached the file."""
    lines = service.alerts.read_text().splitlines() if service.alerts.exists() else []
    return [alert for alert in map(json.loads, lines) if alert["type"] == type_]


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
    page, clicks = one.page, []

    def click(role, name, address=None):
        page.get_by_role(role, name=name).click()
        clicks.append(name)
        if address is not None:
            page.wait_for_url(address)
        assert one.overflow() == 0

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
    assert len(clicks) <= CLICKS
    assert time.monotonic() - began < SECONDS
