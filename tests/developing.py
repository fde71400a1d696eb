"""`smshook dev` as a process, for tests."""

import json
import os
import signal
from pathlib import Path

import canary
import httpx
import live
from piped import Piped, started

ANYWHERE = "127.0.0.1:0"
PORTS = ("--listen", ANYWHERE, "--admin-listen", ANYWHERE, "--providers-listen", ANYWHERE)
#: Without variables that configure a real service.
ENVIRONMENT = {name: text for name, text in os.environ.items() if "SMSHOOK" not in name} | {
    "PYTHONUNBUFFERED": "1"
}


class Developing:
    """The command in that folder, and the text that it prints at its start."""

    def __init__(self, folder, *arguments, environment=None, command=None):
        self.folder = Path(folder)
        start = Piped if command is None else started
        self.process = start(
            [command or live.command(), "dev", *PORTS, *arguments],
            folder,
            ENVIRONMENT | (environment or {}),
        )
        self.json = "json" in arguments

    def __enter__(self):
        try:
            self._read_start()
        except BaseException as exc:
            # Else a later test, whichever it is, fails for what this one left open.
            with self.process.stdout, self.process.stderr as stderr:
                self.process.kill()
                self.process.wait()
                exc.add_note(stderr.read())
            raise
        return self

    def _read_start(self):
        self.text = ""
        last = "}\n" if self.json else "events list"
        for line in self.process.stdout:
            self.text += line
            if (line == last) if self.json else (last in line):
                break
        self.said = json.loads(self.text) if self.json else None

    def __exit__(self, *_exc):
        with self.process.stdout as stdout, self.process.stderr as stderr:
            self.process.send_signal(signal.SIGINT)
            assert self.process.wait(15) == 0
            self.rest = stdout.read()
            assert stderr.read() == ""
        canary.search(self.folder)

    def post(self, path, **body):
        answer = httpx.post(f"{self.said['page']}{path}", json=body, trust_env=False)
        assert answer.status_code == 201
        return answer.json()

    def events(self):
        """Return the events, asked for as in the printed command."""
        answer = httpx.get(
            f"{self.said['api']}/v1/events",
            headers={"Authorization": f"Bearer {self.said['key']}"},
            trust_env=False,
        )
        return [item["event"] for item in answer.json()["data"]]
