"""The page about orders shows the answers of the service."""

import json
import re
import shlex
from datetime import datetime

import live
import pytest
from pages import DOCS, blocks

from core.order import GRACE, REMEMBERED
from journal.sqlite.look_up import LOOKED_THROUGH
from journal.sqlite.orders import SHOWN

CONFIG = live.CONFIG.replace("smsactivate: {provider: sms_activate", "herosms: {provider: herosms")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture
def service(tmp_path):
    with live.Live(tmp_path, CONFIG) as running:
        yield running


def typed(block):
    """Return the words of each command in the block."""
    return [shlex.split(line) for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def test_order_of_the_page_gets_the_response_it_shows(service):
    """The same order again gets the same response. Mutant: another default end."""
    [curl] = [block for block in blocks("orders.md", "") if "curl" in block]
    [shown] = [json.loads(block) for block in blocks("orders.md", "json")]
    [body] = re.findall(r"(?s)--data '\n(.*?)'", curl)

    answers = [service.api("/orders", method="POST", content=body) for _ in range(2)]

    first, again = (answer.json() for answer in answers)
    assert [answer.status_code for answer in answers] == [201, 200]
    assert again == first
    minted = {"id", "created_at", "expires"}
    assert list(first) == list(shown)
    assert [first[name] for name in shown if name not in minted] == [
        shown[name] for name in shown if name not in minted
    ]
    assert all(TIME.fullmatch(order[name]) for order in (first, shown) for name in minted - {"id"})
    assert lasts(first) == lasts(shown) == 20 * 60


def lasts(order):
    ends = [datetime.fromisoformat(order[name]) for name in ("created_at", "expires")]
    return (ends[1] - ends[0]).total_seconds()


def test_commands_of_the_page_manage_the_order(service):
    [block] = [block for block in blocks("orders.md", "") if "orders add" in block]
    add, list_, show, cancel = (arguments[1:] for arguments in typed(block))
    body = '{"source": "herosms", "activation_id": "445001", "reference": "signup-1"}'
    known = service.api("/orders", method="POST", content=body).json()["id"]

    added = json.loads(service.run(*add, "--output", "json").stdout)
    waiting = service.run(*list_).stdout
    shown = service.run(*show[:-1], known).stdout
    cancelled = service.run(*cancel[:-1], known).stdout

    assert (added["id"], added["labels"]) == (known, {"team": "growth"})
    assert known in waiting
    assert "signup-1" in shown
    assert cancelled == f"{known} is cancelled\n"
    assert service.run(*list_).stdout == ""


def test_bounds_of_the_page_are_those_of_the_code():
    """Mutant: another grace period."""
    page = (DOCS / "orders.md").read_text()

    assert (GRACE, REMEMBERED, LOOKED_THROUGH, SHOWN) == (600, 2 * 86400, 5_000, 100)
    assert page.count("ten minutes") == 3
    assert all(word in page for word in ("last 5,000 events", "for two days", "newest hundred"))


def test_report_of_the_page_is_that_of_such_orders(tmp_path):
    """The time is left out. Mutant: another heading."""
    [command] = [block for block in blocks("orders.md", "") if "report" in block]
    [shown] = blocks("orders.md", "text")
    dollars = [{"amount": amount, "currency": "USD"} for amount in ("0.20", "0.25", "0.25")]
    prices = [*dollars, {"amount": "0.20", "currency": "USD"}]
    with live.Live(tmp_path, CONFIG) as service:
        for number, price in enumerate(prices, start=1):
            order = {"source": "herosms", "activation_id": number, "price": price}
            order |= {"service": "go", "country": "GB"} | ({"expires": "1s"} if number == 4 else {})
            service.api("/orders", method="POST", json=order)
        for number in (1, 2, 3):
            sms = {"activationId": number, "service": "go", "text": f"code 471{number}"}
            service.post(json.dumps(sms), source="herosms")
        live.eventually(lambda: service.api("/orders?state=expired").json()["data"])

        [arguments] = typed(command)
        printed = service.run(*arguments[1:]).stdout

    assert cells(printed) == cells(shown)


def cells(table):
    lines = [re.split(r"  +", line.strip()) for line in table.splitlines()]
    return [[re.sub(r"\d+\.\d s", "… s", cell) for cell in line] for line in lines]
