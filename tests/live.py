"""A running service for tests: a real process, real sockets, real files."""

import base64
import contextlib
import functools
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import canary
import forked
import httpx

from journal import lock
from journal.reads import EventFilter

TOKEN = "t0ken-of-tellabot-0123456789"
DIALECT_TOKEN = "t0ken-of-the-dialect-0123456789"
KEY = "k3y-of-the-admin-0123456789"
SECRET = "a secret of the tests that is long enough, 0123456789"
#: Seals the journal, so that no file has a code.
SEAL = 'seal: {root: ["the-root-key-of-the-tests-0123456789"]}\n'

CONFIG = f"""
sources:
  tellabot: {{provider: tellabot, tokens: ["{TOKEN}"]}}
  smsactivate: {{provider: sms_activate, tokens: ["{DIALECT_TOKEN}"]}}
sinks:
  log: {{type: file, path: events.jsonl}}
routes:
  everything: {{to: [log]}}
server: {{secret: "{SECRET}", listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0"}}
journal: {{url: "sqlite:///smshook.db"}}
{SEAL}api: {{keys: {{admin: {{key: "{KEY}", scopes: [admin]}}}}}}
"""


#: The services that run, and those that ended in the test that runs.
SERVICES = []


@functools.cache
def client():
    """Return a client for all requests. Each new one would make a TLS context.

    It keeps no connection, because services end.
    """
    return httpx.Client(
        trust_env=False,
        limits=httpx.Limits(max_keepalive_connections=0),
        event_hooks={"response": [canary.check_problem]},
    )


def command():
    """Return the path of the installed command."""
    found = Path(sys.executable).with_name("smshook")
    return str(found) if found.exists() else shutil.which("smshook")


class Live:
    """One folder with a configuration, and the service that runs on it.

    When it ends, its files are searched for codes and numbers. `in_clear` is the reason why its
    journal has some in clear.
    """

    def __init__(self, folder, config=CONFIG, *, level="info", program=None, in_clear=None):
        assert in_clear or re.search('seal"?:', config), "seal the journal, or say why not"
        self.folder, self.in_clear = Path(folder), in_clear
        self.level, self.program = level, program or [command()]
        self.process = self.url = self.admin_url = None
        self.has_ended = False
        self.log = self.folder / "stdout.log"
        self.errors = self.folder / "stderr.log"
        (self.folder / "smshook.yaml").write_text(config)
        (self.folder / "smshook.yaml").chmod(0o600)

    def __enter__(self):
        SERVICES.append(self)
        self.has_ended = False
        running = self.process is not None and self.process.poll() is None
        return self if running else self.start()

    def __exit__(self, *_exc):
        self.has_ended = True
        metrics = b""
        if self.process is not None:
            if self.process.poll() is None:
                with contextlib.suppress(httpx.HTTPError):
                    metrics = self.metrics()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        said = [path.read_bytes() for path in (self.log, self.errors) if path.exists()]
        canary.search(self.folder, in_clear=self.in_clear, more=[metrics, *said])

    def start_unready(self):
        """Start it where it cannot be ready, and wait until it answers 503."""
        return self.start(expecting=503)

    def start(self, *, within=60.0, stdout=None, expecting=200):
        """Start it and wait until it is ready."""
        # A process that was killed left its address.
        killed = lock.holder(self.folder / "smshook.db")
        self.process = self._process(stdout)
        until = time.monotonic() + within
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise AssertionError(f"exit {self.process.returncode}: {self.errors.read_text()}")
            holder = lock.holder(self.folder / "smshook.db")
            is_new = holder is not None and (killed is None or holder.pid != killed.pid)
            if is_new and holder.url and self._answers(holder.url, expecting):
                self.url, self.admin_url = holder.url, holder.admin_url
                return self
            time.sleep(0.02)
        raise AssertionError("not ready in time")

    def _process(self, stdout):
        arguments = [*self.program, "serve", "--log-level", self.level]
        if stdout is None and forked.can_fork(self.program):
            return forked.Forked(arguments, self.folder, self.environment(), self.log, self.errors)
        with self.log.open("ab") as out, self.errors.open("ab") as errors:
            return subprocess.Popen(
                arguments,
                cwd=self.folder,
                stdout=stdout or out,
                stderr=errors,
                env=self.environment(),
                # A wrapper and the product it starts must end together.
                start_new_session=True,
            )

    @staticmethod
    def _answers(url, expecting):
        # httpx would make a TLS context for each question.
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc, timeout=5)
        with (
            contextlib.closing(connection),
            contextlib.suppress(OSError, http.client.HTTPException),
        ):
            connection.request("GET", "/readyz")
            return connection.getresponse().status == expecting
        return False

    def environment(self):
        # No width of a terminal: a pipe has none.
        kept = {n: v for n, v in os.environ.items() if "SMSHOOK" not in n and n != "COLUMNS"}
        return kept | {"PYTHONUNBUFFERED": "1"}

    def stop(self, *, within=30.0):
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def run(self, *arguments, check=True):
        """A command on this folder, as an operator types it."""
        done = forked.run([command(), *arguments], self.folder, self.environment())
        canary.check_complaint(done.stderr)
        if check:
            done.check_returncode()
        return done

    # --- talking to it --------------------------------------------------------------------

    def callback_url(self, source="tellabot"):
        token = TOKEN if source == "tellabot" else DIALECT_TOKEN
        return f"{self.url}/in/{source}/{token}"

    def post(self, body, *, source="tellabot", headers=None, **named):
        headers = {"Content-Type": "application/x-www-form-urlencoded"} | (headers or {})
        return client().post(self.callback_url(source), content=body, headers=headers, **named)

    def api(self, path, *, method="GET", key=KEY, headers=None, **named):
        return client().request(
            method,
            f"{self.admin_url}/v1{path}",
            headers={"Authorization": f"Bearer {key}", **(headers or {})},
            timeout=10,
            **named,
        )

    def metrics(self):
        headers = {"Authorization": f"Bearer {KEY}"}
        return client().get(f"{self.admin_url}/metrics", headers=headers, timeout=5).content

    def stats(self):
        return self.api("/stats").json()

    def address(self):
        parts = urllib.parse.urlsplit(self.url)
        return parts.hostname, parts.port

    def delivered(self, name="events.jsonl"):
        """The events in the file sink, whole lines only."""
        path = self.folder / name
        if not path.exists():
            return []
        return [
            json.loads(line)
            for line in path.read_bytes().splitlines(keepends=True)
            if line.endswith(b"\n")
        ]

    def last_said(self):
        """Return the end of its log and of its stderr, for the report of a test that failed."""
        paths = [path for path in (self.log, self.errors) if path.exists()]
        return "".join(path.read_text(errors="replace")[-4_000:] for path in paths)

    def logged(self, event=None):
        """Return the lines of its log, or those of one event."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if event in (None, line["event"])]

    def accept(self, number, **fields):
        """Post an SMS of TellABot; return the id of its event, which is new."""
        answer = self.post(sms(number, **fields)).json()
        assert answer["status"] == "accepted", answer
        return answer["events"][0]

    def descriptors(self):
        """Return the number of its open files and sockets."""
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))


@functools.cache
def sent_at(number):  # noqa: ARG001 - the key of the cache
    """Return when that message was sent, in seconds: the same all through a test."""
    return int(time.time())


def sms(number, *, at=None, text=None, to=None, **over):
    """Return TellABot's callback for an SMS. Each `number` is another message."""
    fields = {
        "event": "incoming_message",
        "id": str(10_000_000 + number),
        "timestamp": str(sent_at(number) if at is None else at),
        "from": "22000",
        "to": to or f"{canary.NUMBER}{number % 10_000:04d}",
        "service": "Google",
        "reply": text or f"{code(number)} is your Google verification code.",
        "pin": code(number),
        "price": "1.20",
    }
    return urllib.parse.urlencode(fields | over).encode()


def code(number):
    """Return the code of that message."""
    return f"{canary.CODE}{number:06d}"


def eventually(check, *, within=5.0):
    """Wait until it holds; its value."""
    until = time.monotonic() + within
    while True:
        value = check()
        if value or time.monotonic() > until:
            assert value
            return value
        time.sleep(0.05)


def exchange(address, request, *, timeout=12.0):
    """Send bytes, read until the end; what came back."""
    with socket.create_connection(address, timeout) as sock:
        sock.sendall(request)
        answer = b""
        while part := sock.recv(65536):
            answer += part
        return answer


def encoded(body):
    return base64.b64encode(body).decode()


def any_event():
    return EventFilter()


def holder_of(folder):
    """Return the process that serves this folder; None until it listens."""
    found = lock.holder(Path(folder) / "smshook.db")
    return found if found is not None and found.url else None
