"""An application that subscribes itself, on a real service: kill -9, replays, commands.

The application is outside the process. It has the code of the how-to page, which verifies with the
library of Standard Webhooks and works on each event once.
"""

import contextlib
import sqlite3
import threading

import live
import pytest
from pages import blocks
from prompt import be_in, cells, printed, read, run
from serving import Handler, serving

KEYS = """
api:
  keys:
    admin: {key: "%s", scopes: [admin]}
    app: {key: "app-key-0123456789", scopes: ["subscriptions:write", "codes:read"]}
subscriptions: {allow_networks: ["127.0.0.0/8"]}
"""
CONFIG = live.CONFIG.partition("api:")[0] + KEYS % live.KEY


class Application:
    """A web application with the code of the how-to page."""

    def __init__(self):
        self.secret, self.status = None, 200
        #: The ids of all events that arrived, and the answers other than 2xx.
        self.arrived, self.refused = [], []
        self._page, self._lock = {}, threading.Lock()
        [code] = blocks("how-to/subscribe-an-endpoint.md", "python")
        exec(code, self._page)  # noqa: S102 - readers run this code
        self._db = sqlite3.connect(":memory:", check_same_thread=False)
        self._db.executescript(
            "create table handled (id text primary key); create table codes (number, code);"
        )

    def answer(self, headers, body):
        """Return the status and the body of the answer to a POST."""
        is_event = b"subscription.challenge" not in body
        if is_event and self.status != 200:
            return self.status, b""
        with self._lock:
            status, text = self._page["receive"](self._db, self.secret, headers, body)
        if status >= 300:
            self.refused.append(status)
        elif is_event:
            self.arrived.append(headers["webhook-id"])
        return status, text.encode()

    def close(self):
        with self._lock:
            self._db.close()

    @property
    def codes(self):
        """The codes that it has worked on, in their order."""
        with self._lock:
            return [code for (code,) in self._db.execute("select code from codes")]


@contextlib.contextmanager
def application():
    app = Application()

    class Answers(Handler):
        def respond(self, body):
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.answer(*app.answer(headers, body))

    with contextlib.closing(app), serving(Answers) as server:
        app.url = f"{server.url}/hook"
        yield app


def subscribe(service, app, **fields):
    answer = service.api(
        "/subscriptions",
        method="POST",
        key="app-key-0123456789",
        json={"url": app.url} | fields,
    )
    assert answer.status_code == 201, answer.text
    app.secret = answer.json()["secret"]
    return answer.json()


def test_application_subscribes_verifies_and_stays_idempotent(tmp_path):
    """Killed right after the 201, and again with an event that it owes.

    Mutant: the answer comes before the subscription is on disk. Mutant: the secret is lost.
    """
    service = live.Live(tmp_path, CONFIG)
    with application() as app, service:
        made = subscribe(service, app)
        service.kill()
        service.start()
        first = service.accept(1)
        live.eventually(lambda: app.codes)

        app.status = 503
        second = service.accept(2)
        service.kill()
        app.status = 200
        service.start()
        live.eventually(lambda: second in app.arrived)
        assert app.codes == [live.code(1), live.code(2)]

        path = f"/events/{first}/replay"
        replayed = service.api(path, method="POST", json={"sinks": [f"sub:{made['id']}"]})
        assert replayed.status_code == 200
        live.eventually(lambda: app.arrived.count(first) == 2)
        assert (len(app.codes), app.refused) == (2, [])

        lines = service.log.read_text()
        assert made["secret"].removeprefix("whsec_") not in lines
        assert "/hook" not in lines
        sinks = {line.get("sink") for line in service.logged()}
        assert f"sub:{made['id']}" in sinks


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with live.Live(tmp_path_factory.mktemp("service"), CONFIG) as service:
        yield service


@pytest.fixture
def here(service, monkeypatch):
    be_in(service.folder, monkeypatch)
    return service


def test_each_event_after_the_201_is_owed(service):
    """Also while events are accepted. Mutant: the planner learns of it a moment later."""
    with application() as app:
        for number in range(10, 20):
            made = subscribe(service, app, when={"data.request_id": str(10_000_000 + number)})
            event_id = service.accept(number)
            deliveries = service.api(f"/events/{event_id}").json()["deliveries"]
            assert f"sub:{made['id']}" in [each["sink"] for each in deliveries]


@pytest.mark.usefixtures("here")
def test_commands_create_show_rotate_and_delete():
    """Mutant: a command prints nothing of the secret, or a list shows it."""
    with application() as app:
        made = read("subscriptions", "create", app.url, "--when", '{"data.country": "DE"}')
        app.secret = made["secret"]
        end = made["id"][-12:]
        shown = read("subscriptions", "show", end)
        assert (shown["url"], shown["when"]) == (app.url, {"data.country": "DE"})
        listed = cells(printed("subscriptions", "list"))
        assert app.url.split("/")[2] in [row[0] for row in listed]
        assert made["secret"] not in str(listed)

        rotated = read("subscriptions", "rotate", end)
        assert rotated["id"] == made["id"]
        assert rotated["secret"] != made["secret"]
        resumed = printed("subscriptions", "resume", end)
        assert resumed == f"{made['id']} is active, 0 pending\n"
        assert printed("subscriptions", "delete", end) == f"{made['id']} is deleted\n"
        gone = run("subscriptions", "show", made["id"])
        assert (gone.exit_code, "404 not_found" in gone.stderr) == (1, True)


@pytest.mark.usefixtures("here")
def test_create_reports_an_endpoint_that_returns_no_challenge():
    with application() as app:
        app.answer = lambda *_: (200, b"ok")
        refused = run("subscriptions", "create", app.url)
    assert refused.exit_code == 1
    assert "422 challenge_failed: url: the body of its answer" in refused.stderr
    wrong = run("subscriptions", "create", app.url, "--when", "{")
    assert (wrong.exit_code, "--when: not JSON" in wrong.stderr) == (2, True)
