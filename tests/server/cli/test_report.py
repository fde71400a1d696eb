"""`smshook report`, with a real service."""

import json
import os
import pty
import re
import subprocess
import sys
from datetime import datetime
from xml.etree import ElementTree as ET

import httpx
import live
import prompt
import pytest
from prompt import cells, printed, run

OTHERS = "".join(
    f'  {name}: {{provider: tellabot, tokens: ["t0ken-of-{name}-0123456789"]}}\n'
    for name in ("overtaken", "since", "picture", "pages")
)
CONFIG = live.CONFIG.replace("sources:\n", f"sources:\n{OTHERS}")
pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A service with orders of two sources; reports count all of them."""
    with live.Live(tmp_path_factory.mktemp("reported")) as running:
        two_sources(running)
        yield running


def register(service, /, **order):
    answer = service.api("/orders", method="POST", json={"source": "tellabot", **order})
    assert answer.status_code == 201
    return answer.json()


def ended(service):
    return live.eventually(lambda: service.api("/orders?state=expired").json()["data"])


def read(*arguments):
    return prompt.read("report", *arguments)


def two_sources(service):
    """TellABot: two codes and an expired order; the dialect: a waiting order."""
    google = {"service": "Google", "country": "US"}
    for number, price in ((1, "1.20"), (2, "1.30")):
        money = {"amount": price, "currency": "USD"}
        register(service, request_id=f"{10_000_000 + number}", price=money, **google)
        service.post(live.sms(number))
    register(service, request_id="10000003", expires="200ms", **google)
    register(service, source="smsactivate", activation_id="5")
    register(service, request_id="10000004", **google)
    [cancelled] = service.api("/orders?request_id=10000004").json()["data"]
    service.api(f"/orders/{cancelled['id']}", method="DELETE")
    ended(service)


def test_orders_are_reported_for_people(reported, monkeypatch):
    """Mutant: no line for all."""
    monkeypatch.chdir(reported.folder)

    header, *lines = cells(printed("report"))

    assert header == [
        *("provider", "service", "country", "codes", "expired", "waiting"),
        *("median", "never came", "price"),
    ]
    medians = [line.pop(-3) if line[0] != "sms_activate" else None for line in lines]
    assert lines == [
        ["tellabot", "google", "US", "2", "1", "0", "33% (1 of 3)", "1.25 USD"],
        ["sms_activate", "-", "-", "0", "0", "1", "-", "-", "-"],
        ["all", "2", "1", "1", "33% (1 of 3)", "1.25 USD"],
    ]
    assert all(re.fullmatch(r"\d+\.\d s", it) for it in (medians[0], medians[2]))


def test_orders_are_reported_for_programs(reported, monkeypatch):
    """Mutant: a repeated field groups twice."""
    monkeypatch.chdir(reported.folder)

    answer = read("--by", "source", "--by", "service", "--by", "source", "--since", "1h")

    [one, other] = answer["groups"]
    taken = [
        (at(order["received_at"]) - at(order["created_at"])).total_seconds()
        for order in reported.api("/orders?state=received").json()["data"]
    ]
    figures = {
        "received": 2,
        "expired": 1,
        "waiting": 0,
        "median_seconds": round(sum(taken) / 2, 3),
        "never_came": 1 / 3,
        "costs": [{"currency": "USD", "codes": 2, "total": "2.50", "price_a_code": "1.25"}],
    }
    assert answer["by"] == ["source", "service"]
    assert one == {"of": {"source": "tellabot", "service": "google"}, **figures}
    assert (other["of"], other["waiting"], other["costs"]) == (
        {"source": "smsactivate", "service": None},
        1,
        [],
    )
    assert answer["all"] == {"of": {}, **figures, "waiting": 1}


def at(text):
    return datetime.fromisoformat(text)


def test_sms_before_its_order_took_no_time(service):
    """Mutant: a negative time."""
    url = f"{service.url}/in/overtaken/t0ken-of-overtaken-0123456789"
    assert httpx.post(url, content=live.sms(1), trust_env=False).status_code == 200
    register(service, source="overtaken", request_id="10000001")

    assert read("--source", "overtaken")["all"]["median_seconds"] == 0.0


def test_source_and_since_select_orders(service):
    """Mutants: the oldest first; orders of other sources."""
    orders = [register(service, source="since", request_id=f"{n}") for n in range(1, 5)]
    register(service, source="smsactivate", activation_id="5")

    since = read("--since", orders[2]["created_at"], "--source", "since")
    none = run("report", "--since", "2099-01-01T00:00:00Z")

    assert (since["since"], since["all"]["waiting"]) == (orders[2]["created_at"], 2)
    assert (none.exit_code, none.stdout, none.stderr) == (0, "", "no orders\n")


def test_picture_is_written_to_a_file_or_printed(service):
    register(service, source="picture", request_id="1", service="Google")
    drawn = ("report", "--output", "svg", "--by", "service", "--source", "picture")

    nothing = printed(*drawn, "--file", "report.svg")
    text = printed(*drawn)

    written = (service.folder / "report.svg").read_text()
    assert nothing == ""
    for picture in (text, written):
        root = ET.fromstring(picture)  # noqa: S314 - our own
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "google: no code came; none has ended." in picture


#: The command with small pages, and progress after every tenth order.
PAGED = """
import sys
from server.cli.client import ApiClient
from server.cli.main import main
from server.cli import report
ApiClient.page_size, report._LOOK = 20, 10
main()
"""


def test_report_counts_every_page_and_shows_progress(service):
    """The line is erased at the end. Mutants: only the first page; progress in a pipe."""
    for number in range(51):
        register(service, source="pages", request_id=str(number + 1))

    quiet = paged(service, stderr=subprocess.PIPE)
    watched, shown = on_a_terminal(service)

    assert json.loads(quiet.stdout)["all"]["waiting"] == 51
    assert quiet.stderr == b""
    assert json.loads(watched)["all"] == json.loads(quiet.stdout)["all"]
    lines = shown.split("\r\x1b[K")
    assert [lines[0], lines[-1]] == ["", ""]
    assert [int(line.split()[0]) for line in lines[1:-1]] == list(range(1, 52, 10))
    assert all(re.fullmatch(r"\d+ orders, back to \d{4}-[-\d:T]+Z", line) for line in lines[1:-1])


def paged(service, *, stderr):
    return subprocess.run(
        [sys.executable, "-c", PAGED, "report", "--source", "pages", "--output", "json"],
        cwd=service.folder,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=service.environment(),
        check=True,
        timeout=30,
    )


def on_a_terminal(service):
    """Its stdout, and its stderr on a terminal."""
    ours, theirs = pty.openpty()
    try:
        return paged(service, stderr=theirs).stdout, os.read(ours, 4096).decode()
    finally:
        os.close(theirs)
        os.close(ours)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "soon"), "or how long ago"),
        (("--by", "price"), "'price' is not one of"),
        (("--output", "png"), "'png' is not one of"),
        (("--file", "senseless.svg"), "--file needs a picture: add --output svg"),
        (("--source", ""), "source: empty"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_option_is_a_usage_error(service, arguments, said):
    result = run("report", *arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert not (service.folder / "senseless.svg").exists()


def test_unwritable_file_is_a_failure():
    result = run("report", "--output", "svg", "--file", "none/report.svg")

    assert (result.exit_code, result.stderr) == (1, "none/report.svg: No such file or directory\n")
