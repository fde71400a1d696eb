"""The console on a large journal: processor time of each page, and when a browser shows it."""

import contextlib
import http.client
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from ..case import Case, Measured
from ..lab import journals
from ..lab.processes import Bench, CaseFailed, Product
from ..lab.processor import used
from ..peers.peer import NotMeasured
from .delivering import CONNECTIONS, to
from .delivering import http as http_sinks

_QUICK, _MILLION, _TEN_MILLION = 20_000, 1_000_000, 10_000_000
#: Pending deliveries: one for this number of events, and the most of them.
_PENDING_SHARE, _PENDING = 5, 100_000
#: The number of times that each page is measured, after one time that does not count.
_ASKED = 9
#: Nothing listens there. The sink is paused, so nothing is sent.
_NOWHERE = "http://127.0.0.1:9"
_CHROMIUMS = ("/usr/bin/chromium-headless-shell", "/usr/bin/chromium")
_FLAGS = ("--no-sandbox", "--disable-gpu")
#: The driver evaluates this function: the policy of the pages forbids evaluating a text.
_PAINT = """() => new Promise((done) => new PerformanceObserver((list) => {
  const [paint] = list.getEntriesByName("first-contentful-paint");
  if (paint) done(paint.startTime);
}).observe({ type: "paint", buffered: true }))"""


class _Signed(NamedTuple):
    """A running product, and the cookie of a session in its console."""

    product: Product
    cookie: str
    events: int

    def get(self, path: str) -> bytes:
        """Return a page. Raises CaseFailed."""
        connection = http.client.HTTPConnection("127.0.0.1", self.product.admin_port, timeout=60)
        with contextlib.closing(connection):
            connection.request("GET", f"/console{path}", headers={"Cookie": self.cookie})
            answer = connection.getresponse()
            body = answer.read()
        if answer.status != http.client.OK:
            raise CaseFailed(f"{path} was answered with {answer.status}")
        return body


@contextlib.contextmanager
def _signed_in(bench: Bench) -> Iterator[_Signed]:
    """Run the product on the largest journal that fits on the disk, with its sink paused."""
    with bench.scratch() as folder:
        events, journal = _filled(bench, folder)
        pending = min(events // _PENDING_SHARE, _PENDING)
        journals.make_pending(journal, pending)
        journals.make_failing(journal, pending // 2)
        try:
            with bench.product(
                sinks=http_sinks({journals.SINK: _NOWHERE}),
                routes=to(journals.SINK),
                journal=journal,
                audit="{record: all}",
            ) as product:
                # Lines of the audit log, and figures of the last minutes.
                bench.load(product.callback(), connections=CONNECTIONS)
                yield _Signed(product, _sign_in(product), events)
        finally:
            journals.make_delivered(journal)


def _filled(bench: Bench, folder: Path) -> tuple[int, Path]:
    if bench.quick:
        path = folder / "filled.db"
        journals.fill(path, _QUICK)
        return _QUICK, path
    try:
        return _TEN_MILLION, journals.journal(_TEN_MILLION)
    except journals.NoRoom:
        return _MILLION, journals.journal(_MILLION)


def _sign_in(product: Product) -> str:
    """Sign in with the key; return the cookie. Raises CaseFailed."""
    connection = http.client.HTTPConnection("127.0.0.1", product.admin_port, timeout=60)
    with contextlib.closing(connection):
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Sec-Fetch-Site": "same-origin",
        }
        connection.request("POST", "/console/login", urlencode({"key": product.key}), headers)
        answer = connection.getresponse()
        answer.read()
    cookie, _, _ = (answer.getheader("set-cookie") or "").partition(";")
    if not cookie:
        raise CaseFailed(f"signing in was answered with {answer.status}")
    return cookie


def _pages(product: Product, events: int) -> Mapping[str, str]:
    """Return the address of each page below `/console` by its name, also with slow filters."""
    rare, none = journals.RARE_SOURCE, "since=all&q=%2B12000000001"
    middle = journals.FIRST_REQUEST + events // 2
    [message] = product.ask(f"/events?subject=request/{middle}")["data"]
    [order] = product.ask("/orders?order=desc&state=received&limit=1")["data"]
    [callback] = product.ask("/quarantine?order=desc&limit=1")["data"]
    return {
        "inbox": "/",
        "inbox, rare service": "/?since=all&q=telegram",
        "inbox, unknown service": "/?since=all&q=nobody",
        "inbox, rare source": f"/?since=all&source={rare}",
        "inbox, service not of that source": f"/?since=all&q=google&source={rare}",
        "inbox, unknown number": f"/?{none}",
        "inbox, without a code": "/?since=all&with=none",
        "event": f"/events/{message['event']['id']}",
        "deliveries": "/deliveries",
        "deliveries, any": "/deliveries?state=any",
        "deliveries, pending of a sink": f"/deliveries?state=pending&sink={journals.SINK}",
        "deliveries, dead or failing of a source": (
            f"/deliveries?state=dead&state=failing&source={rare}"
        ),
        "deliveries, dead of no source": "/deliveries?state=dead&source=nobody",
        "deliveries, delivered of a source": f"/deliveries?state=delivered&source={rare}",
        "deliveries, retry of all": f"/deliveries/retry?state=dead&source={rare}",
        "sinks": "/sinks",
        "sink": f"/sinks/{journals.SINK}",
        "sources": "/sources",
        "orders": "/orders",
        "orders, waiting": "/orders?state=waiting",
        "orders, cancelled": "/orders?state=cancelled",
        "orders, cancelled of a source": f"/orders?state=cancelled&source={rare}",
        "order": f"/orders/{order['id']}",
        "quarantine": "/quarantine",
        "quarantine, by reason": "/quarantine?reason=malformed",
        "quarantined callback": f"/quarantine/{callback['id']}",
        "audit": "/audit",
        "audit, by key": "/audit?since=all&q=key/bench",
        "audit, about nothing": "/audit?since=all&q=nothing",
        "overview": "/overview",
        "overview, 7 days": "/overview?span=7d",
    }


def _processor(bench: Bench) -> Measured:
    """Return the processor time of each page, the median in milliseconds, and the largest.

    Mutant: the page after signing out is measured, which is a redirect.
    """
    with _signed_in(bench) as signed:
        found = {
            f"console/page/{name}": _spent(signed, path)
            for name, path in _pages(signed.product, signed.events).items()
        }
    return Measured(
        values={"console/most": max(found.values()), "console/events": signed.events, **found}
    )


def _spent(signed: _Signed, path: str) -> float:
    signed.get(path)
    spent = []
    for _ in range(_ASKED):
        before = used(signed.product.pid).whole
        signed.get(path)
        spent.append((used(signed.product.pid).whole - before) * 1000)
    return statistics.median(spent)


def _paint(bench: Bench) -> Measured:
    """Return milliseconds from the request of each page to its first contentful paint."""
    chromium = next((path for path in _CHROMIUMS if Path(path).exists()), None)
    if chromium is None:
        raise NotMeasured("Chromium is not installed: apt install chromium")
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - of the development
    except ImportError:
        raise NotMeasured("playwright is not installed: pip install playwright") from None
    with _signed_in(bench) as signed, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        url = f"http://127.0.0.1:{signed.product.admin_port}"
        name, _, token = signed.cookie.partition("=")
        context.add_cookies([{"name": name, "value": token, "url": url}])
        page = context.new_page()
        found = {}
        for title, path in _pages(signed.product, signed.events).items():
            times = []
            for _ in range(_ASKED + 1):
                page.goto(f"{url}/console{path}", wait_until="load")
                times.append(float(page.evaluate(_PAINT)))
            found[f"paint/page/{title}"] = statistics.median(times[1:])
        browser.close()
    return Measured(values={"paint/most": max(found.values()), **found})


CASES = (
    Case(
        name="console",
        what="processor time of a page of the console, whole process, median of nine",
        unit="ms",
        whats={
            "console/most": "the largest of these",
            "console/events": "events in the journal of these pages",
        },
        units={"console/events": ""},
        figures=("console/most", "console/events", "console/page/"),
        seconds=20,
        run=_processor,
        most=1,
    ),
    Case(
        name="paint",
        what="first contentful paint of a page of the console, median of nine",
        unit="ms",
        whats={"paint/most": "the largest of these"},
        figures=("paint/most", "paint/page/"),
        seconds=40,
        run=_paint,
        most=1,
        quick=False,
    ),
)
