"""The pages about alerts: a runbook for each, and sinks that send them."""

import json
import re
from urllib.parse import unquote, urlsplit

import pytest
from endpoint import endpoint
from msgspec import json as msgspec_json
from msgspec.structs import replace
from pages import DOCS, ENVIRONMENT, REST, blocks
from receiving_apis import is_text

from core.event import SOURCE, Event, kinds
from core.secret import Secret
from routes.table import compile_table
from server.conditions import Severity
from server.config.load import load
from server.runtime.alert_kinds import KINDS
from sinks.sink import Outgoing

pytestmark = pytest.mark.uncounted

PAGE = "how-to/send-alerts.md"
CONSOLE = DOCS.parent / "server/console"
KIND = KINDS["sink_failing"]
SINCE = 1_790_000_000.0


def event(data):
    at = "2026-09-21T17:01:00.000000Z"
    return Event(
        id="01a0c4e9-ece0-7000-875f-f8c5b2a4c5c2",
        source=SOURCE,
        type=data.type,
        subject=KIND.subject,
        time=at,
        recordedtime=at,
        dedupekey="0" * 40,
        data=data,
    )


RAISED = event(
    KIND.make(
        KIND.subject, KIND.sample, severity=Severity.WARNING, since=SINCE, now=SINCE, labels={}
    )
)
CLEARED = event(
    KIND.make_end(
        KIND.subject,
        KIND.sample,
        severity=Severity.WARNING,
        since=SINCE,
        ended=SINCE + 600,
        raised_by=RAISED.id,
        labels={},
    )
)


@pytest.mark.parametrize("page", ["alerts.md", "console.md"])
def test_steps_name_what_the_console_has(page):
    """The bold words of numbered steps. Mutant: a button has another name."""
    steps = re.findall(r"^\d\. .*(?:\n   .*)*", (DOCS / page).read_text(), re.MULTILINE)
    names = set(re.findall(r"\*\*(.+?)\*\*", "\n".join(steps)))
    files = [CONSOLE / "pages.py", *CONSOLE.glob("templates/*.html")]
    text = "\n".join(file.read_text() for file in files)

    assert {"Answer", "Dead or failing deliveries", "Retry"} <= names
    assert [] == [name for name in names if not re.search(f'[>"]{re.escape(name)}[<"]', text)]


async def sent(number, one, folder):
    """The target and the body of each request by the routes and sinks of a block."""
    file = folder / "smshook.yaml"
    file.write_text(REST["server"] + blocks(PAGE, "yaml")[number])
    file.chmod(0o600)
    config = load(file, environ=ENVIRONMENT).config
    body = msgspec_json.encode(one)
    routes = [
        route for route in compile_table(config.routes) if route.matches(msgspec_json.decode(body))
    ]
    outgoing = Outgoing(event_id=one.id, body=body, attempt=1, at=SINCE)
    async with endpoint() as end:
        for name in [name for route in routes for name in route.to]:
            url = urlsplit(config.sinks[name].url.reveal())
            sink = replace(config.sinks[name], url=Secret(f"{end.url}{url.path}"))
            async with sink.open() as send:
                await send(outgoing)
        return [(request.target, json.loads(request.body)) for request in end.requests]


async def test_slack_gets_title_and_summary(tmp_path):
    [(_, body)] = await sent(0, RAISED, tmp_path)

    header, section, _ = body["blocks"]
    assert header["text"]["text"] == "WARNING: sink failing (sink/crm)"
    assert section["text"]["text"] == RAISED.data.summary


async def test_pagerduty_incident_is_raised_and_resolved(tmp_path):
    """Mutants, on the page: the id as dedup_key; both routes take both."""
    [(target, raised)] = await sent(1, RAISED, tmp_path)
    [(_, cleared)] = await sent(1, CLEARED, tmp_path)

    assert target == "/v2/enqueue"
    assert (raised["event_action"], cleared["event_action"]) == ("trigger", "resolve")
    assert raised["dedup_key"] == cleared["dedup_key"]
    assert raised["payload"]["severity"] == "warning"
    assert is_text(raised["dedup_key"], 255)


async def test_opsgenie_alert_is_raised_and_closed(tmp_path):
    """As docs.opsgenie.com/docs/alert-api: POST /v2/alerts, POST /v2/alerts/{alias}/close.

    Mutants: the alias as it is in the URL (a slash ends it); on the page: both routes take both.
    """
    [(target, raised)] = await sent(2, RAISED, tmp_path)
    [(closing, closed)] = await sent(2, CLEARED, tmp_path)

    assert target == "/v2/alerts"
    assert (raised["alias"], raised["message"]) == (RAISED.data.dedup, RAISED.data.summary)
    assert is_text(raised["alias"], 512)
    url = urlsplit(closing)
    empty, version, alerts, alias, verb = url.path.split("/")
    assert (empty, version, alerts, verb) == ("", "v2", "alerts", "close")
    assert (unquote(alias), url.query) == (raised["alias"], "identifierType=alias")
    assert closed == {"source": "smshook/sink/crm", "note": CLEARED.data.summary}


@pytest.mark.parametrize("one", [RAISED, CLEARED], ids=["raised", "cleared"])
async def test_phone_and_mail_get_the_summary(one, tmp_path):
    [(_, phone)] = await sent(3, one, tmp_path)
    [(_, mail)] = await sent(4, one, tmp_path)

    assert (phone["title"], phone["message"]) == ("warning: sink/crm", one.data.summary)
    assert mail["subject"] == "smshook: warning: sink/crm"
    assert mail["content"][0]["value"].startswith(one.data.summary)


def test_each_kind_has_a_runbook():
    """Mutants: a kind without a heading; a type without a kind on the page."""
    page = (DOCS / "alerts.md").read_text()
    headings = re.findall(r"(?m)^### (\w+)$", page)
    types = {kind.type for kind in kinds() if kind.type.startswith("system.")}

    assert headings == [*dict.fromkeys(headings)]
    assert set(headings) == {*KINDS}
    assert set(re.findall(r"`(system\.\w+)`", page)) == types
