"""Promise 6: canaries go through every path, at debug level; no log and no error has one.

Mutants, each tried: a log line with the callback's fields; a problem that quotes the parameter;
`detail` with the name of the field that was given twice; a 404 that repeats the path.
"""

import json
import re
import subprocess
import urllib.parse

import httpx
import live
import pytest

CODE = "739164"
TEXT = "canarytextqzx"
NUMBER = "18505559417"
SENDER = "18505558263"
CANARIES = (CODE, TEXT, NUMBER, NUMBER[1:], SENDER, live.TOKEN, live.DIALECT_TOKEN, live.KEY)
CANARIES += (live.SECRET, "wr0ng-canary-token", "wr0ng-canary-key")


def form(**over):
    fields = {
        "event": "incoming_message",
        "id": "1",
        "timestamp": "1700000000",
        "from": SENDER,
        "to": NUMBER,
        "reply": f"{TEXT} {CODE}",
        "pin": CODE,
    }
    return urllib.parse.urlencode(fields | over).encode()


FILE_PART = (
    f'--b\r\nContent-Disposition: form-data; name="a"; filename="{TEXT}"\r\n\r\n1\r\n--b--'
).encode()

#: Bodies that fail in every possible way, each with a canary in place of a value.
TELLABOT = [
    form(),
    form(),
    form(id="2", timestamp=CODE, price=CODE, date_time=TEXT),
    form(id="3", to=TEXT, **{"from": TEXT}),
    form(event=TEXT),
    form(id="", reply=CODE),
    form(reply="", pin=""),
    form() + b"&pin=" + CODE.encode(),
    f"{CODE}=1&{CODE}=2".encode(),
    f"{TEXT}={NUMBER}".encode(),
    b"&".join(f"k{n}={CODE}".encode() for n in range(70)),
    f'{{"event": "incoming_message", "id": "9", "reply": "{TEXT} {CODE}'.encode(),
    f'{{"{CODE}": 1, "{CODE}": 2}}'.encode(),
    f'--b\r\nContent-Disposition: form-data; name="{CODE}"\r\n\r\n{TEXT}'.encode(),
    FILE_PART,
    b"event=ltr_renewal&status=error&message=Low+balance&previous_ltr_id=7&mdn=" + NUMBER.encode(),
    b"event=premium_request&status=ok&id=8&mdn=" + NUMBER.encode(),
    form(id="4", **{"from": "Billing"}),
]
DIALECT = [
    json.dumps({"activationId": 1, "text": f"{TEXT} {CODE}", "code": CODE}).encode(),
    json.dumps({"rentId": 1, "sms": {"phoneFrom": SENDER, "text": f"{TEXT} {CODE}"}}).encode(),
    json.dumps({"rentId": 2, "sms": f"{TEXT} {CODE}"}).encode(),
    json.dumps({"activationId": {TEXT: CODE}, "text": TEXT}).encode(),
    f'{{"activationId": 3, "text": "{TEXT}", "code": {CODE}{"0" * 30}}}'.encode(),
    f"{TEXT} {CODE}".encode(),
]


def test_logs_and_errors_hold_no_canary_at_debug_level(tmp_path):
    config = live.CONFIG.replace("path: events.jsonl", "path: nowhere/events.jsonl")
    answers = []
    with live.Live(tmp_path, config, level="debug") as service:
        answers += [service.post(body) for body in TELLABOT]
        answers += [service.post(body, source="smsactivate") for body in DIALECT]
        answers += [service.post(body, headers={"Content-Encoding": "gzip"}) for body in TELLABOT]
        answers += list(turned_away(service))
        answers += list(asked_of_the_api(service))
        broken_on_the_wire(service)
        (tmp_path / "nowhere").mkdir()
        live.eventually(lambda: service.stats()["deliveries"]["pending"] == 0, within=20)
        service.stop()

    delivered = (tmp_path / "nowhere" / "events.jsonl").read_text()
    assert all(canary in delivered for canary in (CODE, TEXT, NUMBER))  # they were there to leak
    said = service.log.read_text() + service.errors.read_text()
    assert len(service.logged()) > len(TELLABOT) + len(DIALECT)
    assert found_in(said) == []
    assert found_in("".join(a.text + str(a.headers) for a in answers if a.status_code >= 400)) == []
    assert found_in("".join(a.text for a in answers[: len(TELLABOT) + len(DIALECT)])) == []


def found_in(text):
    return [canary for canary in CANARIES if canary in text]


def turned_away(service):
    wrong = f"{service.url}/in/tellabot/wr0ng-canary-token"
    yield httpx.post(wrong, content=form(), trust_env=False)
    yield httpx.put(service.callback_url(), content=form(), trust_env=False)
    yield httpx.post(f"{service.callback_url()}/more", content=form(), trust_env=False)
    yield httpx.post(f"{service.url}/{TEXT}?code={CODE}", content=form(), trust_env=False)
    yield service.post(form() + b"x" * 70_000)
    yield service.post(form(), headers={"X-Request-Id": f"{TEXT} {CODE}"})


def asked_of_the_api(service):
    yield service.api("/events", key="wr0ng-canary-key")
    yield service.api(f"/events?number={NUMBER}&nmber={CODE}")
    yield service.api(f"/events?since={CODE}x")
    yield service.api(f"/events?after={live.TOKEN}")
    yield service.api(f"/events/{TEXT}")
    yield service.api(f"/quarantine/{CODE}")
    yield service.api(f"/{TEXT}", method="POST", content=form())


def broken_on_the_wire(service):
    target = service.callback_url().removeprefix(service.url).encode()
    for request in (
        b"POST " + target + b" HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + form(),
        b"POST " + target + b" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST " + target + b" HTTP/1.1\r\nHost: a\r\nX: " + form() + b"\x00\r\n\r\n",
    ):
        assert not found_in(live.exchange(service.address(), request).decode("latin-1"))


def test_terminal_shows_masked_numbers_and_no_codes(tmp_path):
    """`script` gives the service a terminal, and records what it shows."""
    live.Live(tmp_path)
    shown = tmp_path / "shown"
    serve = f"{live.command()} serve"
    terminal = subprocess.Popen(
        ["script", "-qfec", serve, shown],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        holder = live.eventually(lambda: live.holder_of(tmp_path), within=20)
        url = f"{holder.url}/in/tellabot/{live.TOKEN}"
        live.eventually(lambda: "smshook send" in shown.read_text(), within=10)
        httpx.post(url, content=form(), trust_env=False)
        live.eventually(lambda: "log ok" in shown.read_text())
    finally:
        subprocess.run(["pkill", "-TERM", "-P", str(terminal.pid)], check=False)
        terminal.wait(15)

    [line] = [line for line in shown.read_text().splitlines() if "log ok" in line]
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d sms.received tellabot \+1850\*\*\*9417 → log ok \d+ ms\r?", line
    )
    assert CODE not in shown.read_text()


@pytest.mark.parametrize("canary", ["${SMSHOOK_CANARY}", "short-canary"])
def test_wrong_configuration_is_reported_without_secrets(tmp_path, canary):
    config = live.CONFIG.replace(live.TOKEN, canary).replace("type: file", "type: fiel")
    service = live.Live(tmp_path, config)

    for command in (("serve",), ("check",), ("config", "show")):
        run = service.run(*command, check=False)
        assert found_in(run.stdout + run.stderr) == []
        assert "short-canary" not in run.stdout + run.stderr
