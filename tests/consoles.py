"""A whole service with a console in a thread of this process: real sockets, sinks and files.

Coverage counts it, and browsers and clients can use it. `with seeded(folder) as service:` has
events, deliveries in all states, orders and a quarantine.
"""

import asyncio
import contextlib
import html.parser
import json
import re
import threading
import time
import urllib.parse

import canary
import live
from journals import prepared
from services import clock_of, configured, identity_of, key, keys_of, loading
from serving import Handler, serving

from core.secret import Secret
from core.units import Duration
from receiver.providers.sms_activate.profiles import HeroSms
from receiver.providers.tellabot.callbacks import TellABot
from routes.table import Route
from server.config.options import Api, Auditing, ConsoleOptions, Sealing, Server
from server.process import _listen, _stop, bind
from server.runtime.supervisor import Supervisor
from server.service import audit_options, open_journal, restore, run_parts
from sinks.file.sink import File
from sinks.http.sink import Http
from sinks.retry import Retry

HOSTILE = '"><img src=x onerror=alert(1)>\u202etxt.exe\u2066\x1b[31m{{7*7}}=1+1'
SAME_SITE = {"Sec-Fetch-Site": "same-origin"}


KEYS = {
    "admin": key("admin", "admin"),
    "reader": key("reader", "events:read"),
    "support": key("support", "codes:reveal"),
    "coder": key("coder", "codes:read"),
    "writer": key("writer", "events:read", "deliveries:write"),
    "auditor": key("auditor", "audit:read"),
    "growth": key("growth", "codes:reveal", when={"data.labels.team": "growth"}),
    "nothing": key("nothing", "subscriptions:write"),
}

#: An address of each page, below `/console`. `{NAME}` is the id of the event with that name in
#: `service.events`.
PAGES = [
    "/",
    "/?q=google&since=all&with=code",
    "/?q=nothing-has-this-name",
    "/events/{plain}",
    "/events/{hostile}",
    "/events/{failing}",
    "/events/{failing}/again?sink=crm",
    "/events/{plain}/again?sink=log",
    "/events/{plain}/erase",
    "/orders",
    "/orders?state=expired&state=cancelled",
    "/orders?reference=nobody-has-this",
    "/audit",
    "/audit?since=all&do=key.&do=session.opened&q=key/admin",
    "/audit?since=all&q=nothing-has-this-name",
    "/overview",
    "/overview?span=7d",
    "/overview/events?span=1h",
    "/overview/owed",
    "/deliveries",
    "/deliveries?state=any&sink=crm&source=tellabot&since=24h",
    "/deliveries?state=delivered&sink=crm",
    "/deliveries/retry?state=dead&state=failing",
    "/sinks",
    "/sinks/crm",
    "/sinks/log",
    "/sinks/crm/send?to=log",
    "/sources",
    "/quarantine",
    "/quarantine?source=tellabot&reason=address",
    "/quarantine/{quarantined}",
    "/quarantine/again?source=tellabot&reason=unknown_event",
    "/login",
]


class Answers(Handler):
    """An endpoint of sinks: the path is the status that it answers."""

    def respond(self, _body):
        self.answer(int(self.path.strip("/")), f"said by the sink {HOSTILE}".encode())


@contextlib.contextmanager
def endpoint():
    """Yield the URL of an endpoint."""
    with serving(Answers) as server:
        yield server.url


class ConsoleService:
    """A service that runs in a thread. `moved` seconds are added to its monotonic clock."""

    def __init__(self, folder, **options):
        sources = {
            "tellabot": TellABot(
                tokens=(Secret(live.TOKEN),), labels={"team": "growth", "note": HOSTILE}
            ),
            "smsactivate": HeroSms(tokens=(Secret(live.DIALECT_TOKEN),)),
        }
        self.config = configured(
            folder,
            **{
                "sources": sources,
                "sinks": {"log": File(path=str(folder / "events.jsonl"))},
                "routes": {"everything": Route(to=("log",))},
                "server": Server(
                    secret=Secret(live.SECRET), listen="127.0.0.1:0", admin_listen="127.0.0.1:0"
                ),
                "seal": Sealing(
                    root=(Secret("the root key of a console that is tested"),),
                    file=str(folder / "smshook.keys"),
                ),
                "audit": Auditing(),
                "api": Api(keys=KEYS),
                "console": ConsoleOptions(),
            }
            | options,
        )
        self.moved = 0.0
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._failure = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        assert self._started.wait(60)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *_exc):
        self._loop.call_soon_threadsafe(self._ends.set)
        self._thread.join(60)
        assert not self._thread.is_alive()
        canary.search(self.config.path.parent)

    def _run(self):
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as exc:  # noqa: BLE001 - the test raises it
            self._failure = exc
        finally:
            self._started.set()
            self._loop.close()

    async def _serve(self):
        config, self._ends = self.config, asyncio.Event()
        clock = clock_of(time.time, lambda: time.monotonic() + self.moved)
        identity, keys = identity_of(config), keys_of(config, now=clock.now())
        audit = audit_options(config, identity, clock, keys)
        prepared(config.journal.path)
        journal = await open_journal(config, identity, now=clock.now(), keys=keys, audit=audit)
        self.parts = await restore(
            *(config, journal, identity),
            clock=clock,
            load=loading(config),
            period_keys=keys,
            audit=audit,
        )
        await self.parts.audit.begin(config)
        supervisor = Supervisor(self._ends.set)
        run_parts(self.parts, supervisor)
        sockets = [bind("127.0.0.1:0"), bind("127.0.0.1:0")]
        self.url, self.admin_url = (f"http://127.0.0.1:{sock.getsockname()[1]}" for sock in sockets)
        listeners = await _listen(self.parts, sockets)
        self._started.set()
        await self._ends.wait()
        await _stop(self.parts, listeners, supervisor.tasks)
        for sock in sockets:
            sock.close()

    def run(self, coroutine):
        """Run a coroutine in the loop of the service; return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    # --- talking to it --------------------------------------------------------------------

    def post(self, body, source="tellabot", token=None):
        """Send a callback."""
        token = token or {"tellabot": live.TOKEN}.get(source, live.DIALECT_TOKEN)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return (
            live.client()
            .post(f"{self.url}/in/{source}/{token}", content=body, headers=headers)
            .json()
        )

    def sms(self, number, **fields):
        """Send a message; return the id of its event."""
        return self.post(live.sms(number, **fields))["events"][0]

    def api(self, path, key="admin", *, method="GET", **named):
        headers = {"Authorization": f"Bearer {KEYS[key].key.reveal()}"}
        return live.client().request(
            method, f"{self.admin_url}/v1{path}", headers=headers, timeout=10, **named
        )

    def browser(self, key=None):
        """Return a person who is signed in with a key; None: nobody is."""
        person = Person(self)
        if key is not None:
            answer = person.sign_in(key)
            assert answer.status_code == 303, answer.text
        return person

    def leaves(self, do=None):
        """Return the lines of the audit log."""
        found = self.api("/audit?limit=1000&order=desc").json()["data"]
        return [one["leaf"] for one in found if do is None or one["leaf"]["do"] == do]


class Person:
    """A browser without JavaScript: it keeps cookies, and follows no redirect."""

    def __init__(self, service):
        self.service = service
        self.cookies = {}
        self.csrf = ""

    def sign_in(self, key, **named):
        text = KEYS[key].key.reveal() if key in KEYS else key
        answer = self.post("/login", {"key": text}, **named)
        if answer.status_code == 303:
            self.get("/" if key != "auditor" else "/login")
        return answer

    def request(self, method, path, *, headers=(), **named):
        live.client().cookies.clear()
        sent = dict(headers)
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={text}" for name, text in self.cookies.items())
        path = path if path.startswith("/console") else f"/console{path}"
        url = f"{self.service.admin_url}{path}"
        answer = live.client().request(method, url, headers=sent, timeout=20, **named)
        for line in answer.headers.get_list("set-cookie"):
            name, _, text = line.partition(";")[0].partition("=")
            self.cookies[name] = text
            if not text:
                del self.cookies[name]
        found = re.search(r'data-csrf="([0-9a-f]+)"', answer.text)
        if found:
            self.csrf = found[1]
        return answer

    def get(self, path, **named):
        return self.request("GET", path, **named)

    def post(self, path, form=(), *, headers=SAME_SITE, csrf=None, **named):
        sent = dict(form) | {"csrf": self.csrf if csrf is None else csrf}
        return self.request("POST", path, headers=headers, data=sent, **named)


@contextlib.contextmanager
def stream(person, query, **headers):
    """Yield the answer, and a function that reads its next row: (id, row)."""
    cookies = "; ".join(f"{name}={text}" for name, text in person.cookies.items())
    url = f"{person.service.admin_url}/console/stream?{query}"
    sent = {"Cookie": cookies, **headers}
    with live.client().stream("GET", url, headers=sent, timeout=10) as answer:
        lines = answer.iter_lines()

        def row():
            fields = {}
            for line in lines:
                if line.startswith(":") or (not line and not fields):
                    continue
                if not line:
                    assert "row" == fields["event"]
                    return fields["id"], json.loads(fields["data"])
                name, _, fields[name] = line.partition(": ")
            return None

        yield answer, row


class Parsed(html.parser.HTMLParser):
    """A page: its elements as (tag, attributes), in order, and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self._labels = [], "", 0
        #: The fields within a label.
        self.labelled = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        self._labels += tag == "label"
        if self._labels and tag in ("input", "select", "textarea"):
            self.labelled.append(attributes)

    def handle_endtag(self, tag):
        self._labels -= tag == "label"

    def handle_data(self, data):
        self.text += data

    def all(self, *tags):
        return [attributes for tag, attributes in self.elements if tag in tags]


@contextlib.contextmanager
def seeded(folder, **options):
    """Yield a service with events, deliveries in all states, orders and a quarantine.

    `events` are the ids of some of them, by what is special about each.
    """
    with endpoint() as url:
        once = Retry(schedule=(Duration(0), Duration(3600)))
        sinks = {
            "log": File(path=str(folder / "events.jsonl")),
            "crm": Http(url=Secret(f"{url}/503"), retry=once),
            "old": Http(url=Secret(f"{url}/410")),
            "late": Http(url=Secret(f"{url}/500"), expire_after=Duration(1), retry=once),
        }
        to_some = {"data.service.key": "telegram"}
        routes = {
            "everything": Route(to=("log",), when={"data.service.key": {"$ne": "nobody"}}),
            "telegram": Route(to=("crm", "old", "late"), when=to_some),
        }
        with ConsoleService(folder, sinks=sinks, routes=routes, **options) as service:
            service.events = _seed(service)
            yield service


def _seed(service):
    now = int(time.time())
    events = {
        "plain": service.sms(1, at=now),
        "failing": service.sms(2, service="Telegram"),
        "unrouted": service.sms(3, service="Nobody"),
        "without code": service.sms(4, text="Hello there", pin=""),
        "hostile": service.sms(
            5, service=HOSTILE, text=f"{HOSTILE} {live.code(5)}", **{"from": f"from {HOSTILE}"}
        ),
    }
    service.post(live.sms(1, at=now))  # a duplicate
    events["quarantined"] = service.post(b"event=order.refund&id=7")["id"]
    service.post(b"{not json", source="smsactivate")
    for number, reference in ((6, "signup-42"), (7, HOSTILE.partition("\u202e")[0])):
        order = {
            "source": "tellabot",
            "request_id": str(10_000_000 + number),
            "number": f"+{canary.NUMBER}{number:04d}",
            "service": "google",
            "reference": reference,
        }
        answer = service.api("/orders", method="POST", content=json.dumps(order))
        assert answer.status_code in (200, 201), answer.text
    events["ordered"] = service.sms(6)

    def are_settled():
        found = service.api(f"/deliveries?event={events['failing']}").json()["data"]
        states = {one["sink"]: one["state"] for one in found}
        tried = all(one["attempts"] for one in found)
        return tried and states == {
            "log": "delivered",
            "crm": "pending",
            "old": "dead",
            "late": "expired",
        }

    live.eventually(are_settled, within=20)
    return events


def query_of(address):
    """Return the parameters of an address."""
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(address).query))


def text_of(answer):
    """Return the text of a page, with single blanks."""
    return " ".join(Parsed(answer.text).text.split())
