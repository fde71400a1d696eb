"""Pictures of the console for the documentation, as PNG: `make docs`.

The script runs `smshook dev` in a folder of its own, with sinks of which some fail. It sends
messages through the simulated providers, and takes each page in light and dark. It needs Chromium.
A picture stays as it is if only figures and times of its page have changed.
"""

import contextlib
import hashlib
import http.server
import io
import json
import math
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
import yaml
from msgspec import msgpack
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Browser, Page, sync_playwright

from server.runtime.history import Figures, SinkFigures
from sinks.meters import LAG

_FOLDER = Path(__file__).parent
_SMSHOOK = Path(sys.executable).with_name("smshook")
#: So that the pictures can be taken beside a running service.
_ANY_PORT = "127.0.0.1:0"
_CONFIG = Path(".smshook-dev/smshook.yaml")
_JOURNAL = Path(".smshook-dev/smshook-dev.db")
#: The most seconds to wait for anything.
_PATIENCE = 30.0
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars")
_SCREEN, _PHONE = (1280, 800), (320, 740)
_COLOURS = 128
#: The metadata field of a picture that has the digest of its page.
_SAID = "smshook-page"
#: The texts that differ each time: ids, secrets, figures and their units.
_VARYING = re.compile(r"[\w-]*\d[\w:.,-]*(?: (?:ms|s|min|h)\b)?|[▁▂▃▄▅▆▇█]+")

#: The pages by the names of their pictures. `{failing}` and others are ids.
PAGES = {
    # Before the inbox opens streams, which are in the log.
    "audit": "/audit",
    "inbox": "/?since=all",
    "phone": "/?since=all",
    "event": "/events/{failing}",
    "deliveries": "/deliveries",
    "sinks": "/sinks",
    "sink": "/sinks/crm",
    "sources": "/sources",
    "quarantine": "/quarantine",
    "quarantined": "/quarantine/{quarantined}",
    "orders": "/orders",
    "overview": "/overview",
    "alert": "/events/{alert}",
}
SCHEMES: Sequence[Literal["light", "dark"]] = ("light", "dark")
#: Sinks and routes beside those of `dev`. `{url}` is an endpoint that answers the status in the
#: path.
_SINKS = """\
crm: {{type: http, url: "{url}/503", retry: {{schedule: [0s, 1s, 1h]}}}}
app: {{type: http, url: "{url}/200"}}
billing: {{type: http, url: "{url}/410"}}
old-crm: {{type: http, url: "{url}/500"}}
oncall: {{type: file, path: alerts.jsonl}}
"""
_ROUTES = """\
everything: {to: [log, app]}
google: {when: {data.service.key: google}, to: [crm]}
uber: {when: {data.service.key: uber}, to: [billing]}
discord: {when: {data.service.key: discord}, to: [old-crm]}
alerts: {when: {type: {$startsWith: system.}}, to: [oncall]}
"""
#: Orders and their messages: source, id, number, service, reference, sender, text.
_MESSAGES = (
    ("tellabot", "10000001", "18505550114", "Discord", "signup-38", "22395", "8841 is your code"),
    ("herosms", "635468010", "447700900127", "wa", "signup-39", "WhatsApp", "Code: 553-901"),
    ("tellabot", "10000008", "18505550122", "Uber", None, "+12065550142", "Your Uber code: 7712"),
    ("smsbower", "880012", "447700900163", "tg", "signup-40", "Telegram", "Login code: 27418"),
    (
        "tellabot",
        "10000015",
        "18505550131",
        "Google",
        "signup-41",
        "22000",
        "G-804036 is your code",
    ),
    ("sms_online", "770031", "447700900188", "go", "signup-42", "Google", "G-112904 is your code"),
    ("herosms", "635468024", "447700900109", "ig", None, "Instagram", "We saw a new login. Hello!"),
    (
        "tellabot",
        "10000022",
        "18505550147",
        "Google",
        "signup-43",
        "22000",
        "G-660172 is your code",
    ),
)


def main(folder: Path = _FOLDER, only: Iterable[str] = PAGES) -> None:
    """Take the pictures of these pages."""
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("chromium is not there: apt install chromium, then run make docs again")
    with (
        tempfile.TemporaryDirectory() as work,
        _endpoint() as url,
        sync_playwright() as playwright,
    ):
        with _developing(Path(work)):
            """It makes the journal."""
        _make_history(Path(work))
        with _developing(Path(work)) as dev:
            ids = _seed(dev, url)
            browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
            _take(dev, browser, {name: PAGES[name].format(**ids) for name in only}, folder)
            browser.close()


# The service


class Dev:
    """`smshook dev`, and the addresses and the key that it printed."""

    def __init__(
        self, folder: Path, door: str, said: Mapping[str, str], client: httpx.Client
    ) -> None:
        self.folder, self.url, self._door, self._said = folder, said["api"], door, said
        self._client = client

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Call the API with the key of the configuration."""
        headers = {"Authorization": f"Bearer {self._said['key']}"}
        return self._call(method, f"{self.url}/v1{path}", headers=headers, json=body)

    def simulate(self, source: str, what: str, **body: object) -> Any:
        """Do what a person does on the page of a simulated provider."""
        return self._call("POST", f"{self._said['page']}{source}/rehearsal/{what}", json=body)

    def _call(self, method: str, url: str, **named: Any) -> Any:
        return self._client.request(method, url, **named).raise_for_status().json()

    def post(self, path: str, **fields: str) -> Any:
        """Send a callback that no simulated provider sends; return the answer."""
        return self._client.post(f"http://{self._door}{path}", data=fields).json()

    def configure(self, sinks: Mapping[str, Any], routes: Mapping[str, Any]) -> None:
        """Configure these sinks, in addition to `log`, and these routes."""
        path = self.folder / _CONFIG
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        config["sinks"] = {"log": config["sinks"]["log"], **sinks}
        config["routes"] = dict(routes)
        # Both defaults are a minute.
        config["alerts"] = {"sink_failing": {"after": "12s"}, "delivery_dead": {"quiet": "1s"}}
        path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
        self.call("POST", "/reload")

    def link(self) -> str:
        """Return a link that opens the console, signed in."""
        words = (_SMSHOOK, "--config", _CONFIG, "console", "--print", "--url", self.url)
        done = subprocess.run(  # noqa: S603 - our own command
            words, cwd=self.folder, env=_environment(), check=True, capture_output=True, text=True
        )
        return done.stdout.strip()


@contextlib.contextmanager
def _developing(folder: Path) -> Iterator[Dev]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        door = f"127.0.0.1:{free.getsockname()[1]}"
    ports = (f"--{name}={_ANY_PORT}" for name in ("admin-listen", "providers-listen"))
    with subprocess.Popen(  # noqa: S603 - our own command
        [_SMSHOOK, "dev", f"--listen={door}", *ports, "--output", "json"],
        cwd=folder,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        lines = ""
        while not lines.endswith("}\n"):
            lines += next(process.stdout or iter(()))
        # Its log has to go somewhere.
        reader = threading.Thread(target=(process.stdout or io.StringIO()).read)
        reader.start()
        try:
            with httpx.Client(trust_env=False) as client:
                yield Dev(folder, door, json.loads(lines), client)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(_PATIENCE)
            reader.join(_PATIENCE)


def _environment() -> Mapping[str, str]:
    """Return that of this process, without variables that configure a real service."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("SMSHOOK_")}
    return kept | {"PYTHONUNBUFFERED": "1"}


class _Answers(http.server.BaseHTTPRequestHandler):
    """Answers the status in the path."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        status = int(self.path.strip("/"))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def _endpoint() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


# The data of the pages


def _make_history(folder: Path) -> None:
    """Write an hour of made-up figures to the journal, for the plots and the bars."""
    chance, now = random.Random(7), int(time.time()) // 60 * 60
    with contextlib.closing(sqlite3.connect(folder / _JOURNAL)) as journal, journal:
        for minute in range(60, 0, -1):
            accepted = round(40 + 25 * math.sin(minute / 9) + chance.uniform(-6, 6))
            # The app was slow for a while, and recovered.
            trouble = 9 if 18 < minute <= 22 else 0  # noqa: PLR2004
            slow = round(accepted * chance.uniform(0.02, 0.1)) + trouble
            lag = [0] * (len(LAG) + 1)
            lag[1], lag[2], lag[4] = accepted // 4, accepted - accepted // 4 - slow, slow
            sinks = {
                "log": SinkFigures(delivered=accepted, lag=lag),
                "app": SinkFigures(delivered=accepted, failed=trouble, owed=3 * trouble, lag=lag),
            }
            at = now - 60 * minute
            figures = Figures(at=at, seconds=60.0, accepted=accepted, sinks=sinks)
            journal.execute("insert into figures values (?, ?)", (at, msgpack.encode(figures)))


def _seed(dev: Dev, url: str) -> Mapping[str, str]:
    """Send messages and cause faults; return the ids in PAGES."""
    sinks, routes = yaml.safe_load(_SINKS.format(url=url)), yaml.safe_load(_ROUTES)
    dev.configure(sinks, routes)
    for number, message in enumerate(_MESSAGES):
        if number == 1:  # the first is owed to a sink that is removed
            eventually(lambda: dev.call("GET", "/deliveries?sink=old-crm")["data"])
            del sinks["old-crm"], routes["discord"]
            dev.configure(sinks, routes)
        _receive(dev, *message)
    # Without a callback: only a poll finds it.
    dev.simulate("smspins", "orders", id="23354", number="2125550117", service="Etsy")
    dev.simulate("smspins", "orders/23354/messages", text="Your Etsy code is 90417", callback=False)
    waits = {"source": "herosms", "activation_id": "635468031", "number": "447700900150"}
    dev.call("POST", "/orders", waits | {"service": "wa", "reference": "signup-44"})
    late = {"source": "smsbower", "activation_id": "880019", "number": "447700900171"}
    dev.call("POST", "/orders", late | {"service": "ub", "reference": "signup-37", "expires": "1s"})
    dev.simulate("daisysms", "faults", fault="bad_key")
    dev.call("POST", "/sources/daisysms/backfill", {})
    path = urlsplit(dev.call("POST", "/sources/tellabot/url")["url"]).path
    quarantined = dev.post(path, event="order.refund", id="10000001", amount="1.20")["id"]
    dev.post("/in/herosms/a-token-of-last-year", activationId="635468001")
    eventually(lambda: dev.call("GET", "/orders?state=expired")["data"])
    eventually(lambda: dev.call("GET", "/events?source=smspins")["data"])
    eventually(lambda: dev.call("GET", "/deliveries?state=dead")["data"])
    eventually(lambda: dev.call("GET", "/events?type=system.sink_failing")["data"])
    [read] = dev.call("GET", "/events?source=smsbower&type=sms.received")["data"]
    dev.call("POST", f"/events/{read['event']['id']}/reveal", {"reason": "ticket 4711"})

    def tried_again() -> Any:
        failing = dev.call("GET", "/deliveries?state=failing&sink=crm")["data"]
        return [one["event"] for one in failing if len(one["attempts"]) > 1]

    [alert] = dev.call("GET", "/events?type=system.sink_failing&limit=1")["data"]
    return {
        "failing": eventually(tried_again)[0],
        "quarantined": quarantined,
        "alert": alert["event"]["id"],
    }


def _receive(
    dev: Dev,
    source: str,
    order: str,
    number: str,
    service: str,
    reference: str | None,
    sender: str,
    text: str,
) -> None:
    """Take a number, register the order if it has a reference, and send the number a message."""
    dev.simulate(source, "orders", id=order, number=number, service=service)
    if reference is not None:
        named = "request_id" if source == "tellabot" else "activation_id"
        order_of = {"source": source, named: order, "number": number, "service": service}
        dev.call("POST", "/orders", order_of | {"reference": reference, "price": "0.40"})
    if reference == "signup-40":
        dev.simulate(source, "faults", fault="duplicate", times=1)
    dev.simulate(source, f"orders/{order}/messages", **{"text": text, "from": sender})

    def has_come() -> bool:
        found = dev.call("GET", f"/events?source={source}&limit=1000")["data"]
        return any(order in (one["event"]["subject"] or "") for one in found)

    eventually(has_come)


def eventually(found: Callable[[], Any]) -> Any:
    """Return the first result that is not empty. Raises TimeoutError."""
    ends = time.monotonic() + _PATIENCE
    while not (value := found()):
        if time.monotonic() > ends:
            raise TimeoutError("it did not happen")
        time.sleep(0.1)
    return value


def _take(dev: Dev, browser: Browser, addresses: Mapping[str, str], folder: Path) -> None:
    """Take pictures. `addresses`: paths below `/console`, by the names of the pictures."""
    context = browser.new_context(timezone_id="UTC")
    page = context.new_page()
    page.goto(dev.link())
    page.wait_for_url("**/console/")
    for name, address in addresses.items():
        width, height = _PHONE if name == "phone" else _SCREEN
        page.set_viewport_size({"width": width, "height": height})
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            page.goto(f"{dev.url}/console{address}", wait_until="load")
            if name in ("inbox", "phone"):
                page.get_by_text("● live").wait_for()
            keep(folder / f"console-{name}-{scheme}.png", page.screenshot(), _said(page))
    context.close()


def _said(page: Page) -> str:
    """Return a digest of what a page says and of how it looks."""
    style = page.locator("link[rel=stylesheet]").get_attribute("href") or ""
    said = style + _VARYING.sub("#", page.locator("body").inner_text())
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def keep(path: Path, picture: bytes, said: str) -> None:
    """Write a picture in few colours, unless text and style of its page are unchanged."""
    if path.exists():
        with Image.open(path) as before:
            if before.info.get(_SAID) == said:
                return
    info = PngInfo()
    info.add_text(_SAID, said)
    small = (
        Image.open(io.BytesIO(picture)).convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    )
    small.save(path, optimize=True, pnginfo=info)


if __name__ == "__main__":
    main()
