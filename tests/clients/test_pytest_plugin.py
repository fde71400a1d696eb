"""The pytest fixture `sms`: simulated numbers, and numbers of a running service."""

import json

import live
import pytest
from pages import blocks

import smshook_client
import smshook_client.pytest_plugin as plugin

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True, scope="module")
def all_imported():
    """Import now what a client imports late: pytester forgets the imports of a run."""
    smshook_client.Client("http://127.0.0.1:9", "").close()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("SMSHOOK_URL", "SMSHOOK_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    # Each run would import all plugins that are installed here.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with live.Live(tmp_path_factory.mktemp("service")) as running:
        yield running


def passed(run, count):
    run.assert_outcomes(passed=count)


def started(pytester, *arguments):
    return pytester.runpytest_inprocess("-p", plugin.__name__, *arguments)


SIMULATED = """
import json, re, urllib.request
import pytest

def test_given_number_gets_no_made_up_code(sms):
    order = sms.order(service="acme", source="tellabot", request_id=7, number="18505550107")
    with pytest.raises(TimeoutError):
        order.wait_for_code(timeout=0)

def test_code_is_made_up(sms):
    order = sms.order(service="acme")
    first, second = (order.wait_for_code(timeout=30) for _ in range(2))

    assert sms.is_simulated
    assert re.fullmatch(r"\\+18505550\\d{3}", order.number)
    assert re.fullmatch(r"\\d{6}", first)
    assert first.event.data["service"]["key"] == "acme"
    assert first.event.data["sample"]
    assert first.event.id != second.event.id

def test_sent_text_brings_the_code(sms):
    order, other = sms.order(service="acme"), sms.order()
    sms.send(order.number, "482913 is your Acme code")
    assert order.wait_for_code(timeout=30) == "482913"
    sms.send(order.number, "771020 is your Acme code")
    assert order.wait_for_code(timeout=30) == "771020"
    with pytest.raises(TimeoutError):
        other.wait_for_code(timeout=0)

def test_application_sends_to_the_gateway(sms):
    order = sms.order(service="acme", reference="signup-1")
    body = json.dumps({"to": order.number, "text": "482913 is your code"}).encode()
    urllib.request.urlopen(urllib.request.Request(
        sms.gateway(), data=body, headers={"Content-Type": "application/json"}))
    code = order.wait_for_code(timeout=30)
    assert (code, code.event.reference) == ("482913", "signup-1")

def test_number_is_in_no_repr(sms):
    order = sms.order()
    assert order.number not in repr(order) + repr(sms)
"""


def test_simulated_number_gets_codes(pytester):
    """Mutants: a made-up code beside the application's; the first code again; another number."""
    pytester.makepyfile(SIMULATED)

    run = started(pytester)

    passed(run, 5)


REAL = """
import pytest

def test_waiting_order_is_used(sms):
    order = sms.order(service="GOOGLE")
    assert (sms.is_simulated, sms.gateway()) == (False, None)
    request = order.order.record["request_id"]
    assert order.number == f"+1850555000{request}"
    assert order.wait_for_code(timeout=30) == f"48291{request}"

def test_order_is_used_once(sms):
    with pytest.raises(LookupError, match="no order for google waits for an SMS"):
        sms.order(service="google")

def test_given_number_is_registered(sms):
    order = sms.order(service="acme", source="tellabot", request_id=7, number="18505550107")
    assert (order.number, order.order.record["service"]) == ("+18505550107", "acme")

def test_real_number_gets_no_simulated_text(sms):
    with pytest.raises(RuntimeError, match="the numbers are real"):
        sms.send("+18505550107", "482913")
"""


@pytest.mark.parametrize("place", ["option", "variable"])
def test_real_service_gives_its_waiting_orders(pytester, service, monkeypatch, place):
    """Mutants: an order that has its code; one order for two tests; `SMSHOOK_URL` ignored."""
    request = {"option": "1", "variable": "2"}[place]
    fields = {"source": "tellabot", "request_id": request, "number": f"1850555000{request}"}
    body = fields | {"service": "Google"}
    service.api("/orders", method="POST", json=body).raise_for_status()
    monkeypatch.setenv("SMSHOOK_API_KEY", live.KEY)
    arguments = ["--smshook-url", service.admin_url] if place == "option" else []
    if place == "variable":
        monkeypatch.setenv("SMSHOOK_URL", service.admin_url)
    text = {"id": request, "reply": f"48291{request} is your code", "pin": f"48291{request}"}
    url, sent = service.callback_url(), json.dumps(live.sms(1, **text).decode())
    pytester.makeconftest(f"""
import threading, urllib.request
def pytest_runtest_call(item):
    if item.name == "test_waiting_order_is_used":
        data = {sent}.encode()
        threading.Timer(0.1, urllib.request.urlopen, [{url!r}, data]).start()
""")
    pytester.makepyfile(REAL)

    run = started(pytester, *arguments)

    passed(run, 4)


PROVIDER = """
from types import SimpleNamespace
bought = SimpleNamespace(id=99, number="447700900123")
my_provider = SimpleNamespace(buy=lambda service: bought)
"""
TAKEN = """
def test_number_is_taken(sms):
    order = sms.order(service="acme")
    assert order.order.record["activation_id"] == "99"
    assert order.number == "+447700900123"
"""


def test_own_function_takes_a_real_number(pytester, service, monkeypatch):
    """The example of docs/how-to/test-a-sign-up.md. Mutant: `take_number` is not used."""
    monkeypatch.setenv("SMSHOOK_URL", service.admin_url)
    monkeypatch.setenv("SMSHOOK_API_KEY", live.KEY)
    *_, example = blocks("how-to/test-a-sign-up.md", "python")
    pytester.makeconftest(PROVIDER + example.replace("herosms", "smsactivate"))
    pytester.makepyfile(TAKEN)

    run = started(pytester)

    passed(run, 1)


def test_rental_is_used_again_without_its_old_code(pytester, service, monkeypatch):
    """Mutants: a rental with a code is no free number; the code of the test before."""
    rental = {"source": "tellabot", "rental_id": "5", "number": "18505550150", "service": "Rented"}
    service.api("/orders", method="POST", json=rental).raise_for_status()
    received = live.sms(3, ltr_id="5", id="5", to="18505550150")
    assert service.post(received).is_success
    monkeypatch.setenv("SMSHOOK_API_KEY", live.KEY)
    pytester.makepyfile("""
import pytest
def test_old_code_is_skipped(sms):
    for _ in range(2):
        with pytest.raises(TimeoutError):
            sms.order(service="Rented").wait_for_code(timeout=0)
""")

    run = started(pytester, "--smshook-url", service.admin_url)

    passed(run, 1)


def test_missing_command_is_explained(pytester, monkeypatch):
    """Mutant: FileNotFoundError."""
    monkeypatch.setattr(plugin.shutil, "which", lambda _name: None)
    monkeypatch.setattr(plugin.sys, "executable", str(pytester.path / "python"))
    pytester.makepyfile("def test_it(sms): pass")

    run = started(pytester)

    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines(["*no command smshook on PATH, to simulate numbers: install smshook*"])


def test_failed_start_is_explained(pytester, monkeypatch):
    """Mutant: a wait without end."""
    command = pytester.path / "smshook"
    command.write_text("#!/bin/sh\necho 'no port is free' >&2\nexit 1\n")
    command.chmod(0o755)
    monkeypatch.setattr(plugin.sys, "executable", str(pytester.path / "python"))
    pytester.makepyfile("def test_it(sms): pass")

    run = started(pytester)

    run.assert_outcomes(errors=1)
    run.stdout.fnmatch_lines(["*smshook dev did not start: no port is free*"])
