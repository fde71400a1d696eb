"""Make the journal of an old commit: run its service, send it callbacks, kill it, and print SQL.

Each `mNNN.sql` beside this file was made once, by the commit that its first line names:

    git archive COMMIT | tar -x -C FOLDER
    python make.py FOLDER COMMIT > mNNN.sql

They are never made again: `tests/test_old_journals.py` opens them with today's code. With `--keys
FILE` the journal is sealed, and its key file is written there.

A sink for each state of a delivery: `log` succeeds, `later` fails and is tried again, `never` is
dead after one attempt, `soon` expires, `slow` is being sent to when the service is killed.
"""

import contextlib
import http.server
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

import httpx

TOKEN, OTHER, KEY = "token-of-tellabot-01", "token-of-the-other-01", "admin-key-0123456789"
#: `tests/services.py` has the same.
SECRET = "the secret of a service that is only tested"
ROOT = "the root key of the old journals, 0123456789"
AT = 1_795_000_000
CONFIG = f"""
sources:
  tellabot: {{provider: tellabot, tokens: ["{TOKEN}"], labels: {{team: growth}}}}
  smsactivate: {{provider: sms_activate, tokens: ["{OTHER}"]}}
sinks:
  log: {{type: file, path: events.jsonl, ordered_by: data.to}}
  later: {{type: file, path: missing/later.jsonl}}
  never: {{type: file, path: missing/never.jsonl, retry: {{schedule: [0s]}}}}
  soon: {{type: file, path: missing/soon.jsonl, expire_after: 1s}}
  HTTP
routes:
  everything: {{to: [log, later]}}
  google: {{when: {{data.service.key: google}}, to: [never, soonALSO]}}
server: {{secret: "{SECRET}", listen: "127.0.0.1:0", admin_listen: "127.0.0.1:0"}}
journal: {{url: "sqlite:///smshook.db"}}
api:
  keys:
    admin: {{key: "{KEY}", scopes: [admin]}}
"""
#: Numbers and texts: plain, two and four bytes a letter, no code, a link.
MESSAGES = (
    ("18505550101", "G-918273 is your Google verification code.", "Google", "918273"),
    ("18505550102", "Ваш код: 918274, никому", "Telegram", "918274"),
    ("18505550103", "🔑 918275 🔑", "WhatsApp", "918275"),
    ("18505550104", "Your parcel has arrived", "DHL", ""),
    ("18505550101", "G-918276 is it: https://g.example/v?c=918276", "Google", "918276"),
)


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Repeats what it is sent; `/crm` with 500 for all but the first. `/slow` never answers."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/slow":
            time.sleep(600)
        self.server.seen += self.path == "/crm"
        self.send_response(500 if self.path == "/crm" and self.server.seen > 1 else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


def config(port, *, subscribes, sealed):
    sinks = (
        f'crm: {{type: http, url: "http://127.0.0.1:{port}/crm"}}\n'
        f'  slow: {{type: http, url: "http://127.0.0.1:{port}/slow", timeout: 60s}}'
    )
    text = CONFIG.replace("HTTP", sinks if port else "").replace(
        "ALSO", ", crm, slow" if port else ""
    )
    text += "subscriptions: {allow_networks: [127.0.0.0/8]}\n" if subscribes else ""
    return text + (f'seal: {{root: ["{ROOT}"], period: 1h}}\n' if sealed else "")


class Service:
    """The service of the old commit, in a folder."""

    def __init__(self, code, folder):
        program = "import sys; from server.cli import main; main()"
        if (code / "server/cli/main.py").exists():
            program = "import sys; from server.cli.main import main; main()"
        log = folder / "stdout.log"
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, "serve"],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(code)},
                stdout=out,
            )
        while b"service.started" not in log.read_bytes():
            assert self.process.poll() is None, log.read_text()
            time.sleep(0.05)
        time.sleep(0.5)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        [started] = [line for line in lines if line["event"] == "service.started"]
        self.client = httpx.Client(trust_env=False, timeout=10)
        self.url, self.admin_url = started["url"], started["admin_url"]

    def call(self, path, body=None, *, method="POST"):
        """Call the API, and return its JSON. A version without that route says so on stderr."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        return self.send(f"{self.admin_url}/v1{path}", data, headers, method=method)

    def send(self, url, data, headers, *, method="POST"):
        answer = self.client.request(method, url, content=data, headers=headers)
        if not answer.is_success:
            sys.stderr.write(f"{answer.status_code} {method} {url}\n")
            return {}
        return answer.json() if answer.content else {}

    def sms(self, number, message):
        to, text, name, code = message
        form = {
            "event": "incoming_message",
            "id": str(10_000_000 + number),
            "timestamp": str(AT + number),
            "from": "22000",
            "to": to,
            "service": name,
            "reply": text,
            "pin": code,
            "price": "1.20",
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urllib.parse.urlencode(form).encode()
        return self.send(f"{self.url}/in/tellabot/{TOKEN}", body, headers)


def use(service, port):
    """Do everything that leaves rows behind. At that port an endpoint can be subscribed."""
    ordered = {"source": "tellabot", "number": "+18505550102", "reference": "job-7"}
    service.call("/orders", {**ordered, "labels": {"shop": "a"}})
    service.call("/orders", {"source": "tellabot", "request_id": "10000003", "service": "DHL"})
    ended = service.call("/orders", {"source": "tellabot", "number": "+18505550109"})
    service.call(f"/orders/{ended.get('id')}", method="DELETE")
    ids = [service.sms(n, message)["events"][0] for n, message in enumerate(MESSAGES)]
    service.sms(0, MESSAGES[0])  # a duplicate
    rent = {"activationId": 635468024, "service": "go", "text": "918277 is it", "code": "918277"}
    rent |= {"country": 0, "receivedAt": "2026-11-18 11:24:20"}
    headers = {"Content-Type": "application/json"}
    service.send(f"{service.url}/in/smsactivate/{OTHER}", json.dumps(rent).encode(), headers)
    for body in (b'{"what": "918278"}', b"918279"):  # quarantined
        service.send(f"{service.url}/in/tellabot/{TOKEN}", body, headers)
    service.send(f"{service.url}/in/tellabot/no-token", b"{}", headers)
    time.sleep(2.5)
    service.call("/keys", {"name": "reader", "scopes": ["events:read"]})
    page = service.call("/events?limit=2", method="GET")
    service.call("/consumers/crm/commit", {"cursor": page.get("next_cursor")})
    endpoint = f"http://127.0.0.1:{port}/hook"
    service.call("/subscriptions", {"url": endpoint, "when": {"data.service.key": "google"}})
    service.call("/replays", {"since": "1h", "sinks": ["log"]})
    service.call(f"/events/{ids[3]}/replay", {"sinks": ["log"]})
    service.call("/sinks/later/pause")
    service.call(f"/events/{ids[4]}/content", method="DELETE")
    time.sleep(1)


def main():
    code, commit, *rest = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint) as server:
            server.seen, server.daemon_threads = 0, True
            threading.Thread(target=server.serve_forever, daemon=True).start()
            has_http = any((Path(code) / "sinks").glob("http*"))
            port = server.server_port if has_http else None
            written = folder / "smshook.yaml"
            subscribes = (Path(code) / "server/api/subscriptions.py").exists()
            written.write_text(config(port, subscribes=subscribes, sealed=bool(rest)))
            written.chmod(0o600)
            service = Service(Path(code).resolve(), folder)
            use(service, port)
            service.process.send_signal(signal.SIGKILL)
            service.process.wait()
        with contextlib.closing(sqlite3.connect(folder / "smshook.db")) as conn:
            sys.stdout.write(f"-- A journal of {commit}, killed while it ran; made by make.py.\n")
            sys.stdout.writelines(f"{line}\n" for line in conn.iterdump())
        if rest:
            shutil.copyfile(folder / "smshook.keys", rest[1])


if __name__ == "__main__":
    main()
