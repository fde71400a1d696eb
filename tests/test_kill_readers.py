"""kill -9 while codes are read: the log names at least what the readers got."""

import asyncio
import json
import urllib.parse

import live
import load
import pytest
import streams
from journals import shell

APP = "k3y-of-the-app-0123456789"
CONFIG = live.CONFIG.replace(
    "scopes: [admin]}", f'scopes: [admin]}}, app: {{key: "{APP}", scopes: [codes:read]}}'
)
EVENTS = 40


class Killed:
    """Two streams and a wait that get codes, in a service that is killed at once."""

    def __init__(self, folder):
        self.service = live.Live(folder, CONFIG)
        self.ids = set()

    def run(self):
        with self.service as service:
            asyncio.run(self.read(service))
            service.kill()
            with service.start():
                return {id_: self.who(id_) for id_ in self.ids}

    async def read(self, service):
        admin = urllib.parse.urlsplit(service.admin_url)
        address = admin.hostname, admin.port
        readers = [streams.Reader(address, APP, one) for one in ("after=start", "")]
        path = service.callback_url().removeprefix(service.url)
        reading = [asyncio.create_task(reader.read()) for reader in readers]
        wait = "/events/wait?since=1h&timeout=9"
        waiting = asyncio.create_task(asyncio.to_thread(service.api, wait, key=APP))
        await asyncio.sleep(0.5)
        messages = ((n, live.sms(n, at=1_700_000_000 + n)) for n in range(1, EVENTS + 1))
        await load.send(service.address(), path, messages, clients=4)
        async with asyncio.timeout(30):
            while min(len(reader.ids) for reader in readers) < EVENTS // 2:  # noqa: ASYNC110 - another process sends them
                await asyncio.sleep(0.002)
        self.ids.add((await waiting).json()["event"]["id"])
        for task in reading:
            task.cancel()
        self.ids |= {id_ for reader in readers for id_ in reader.ids}

    def who(self, id_):
        readers = self.service.api(f"/audit/who/{id_}").json()["readers"]
        return {(one["by"], one["how"]) for one in readers}

    def lines(self):
        with shell(self.service.folder / "smshook.db") as conn:
            rows = conn.execute("select lines from audit order by n").fetchall()
        return [json.loads(line) for (run,) in rows for line in run.split(b"\n")]


@pytest.mark.timeout(120)
def test_log_names_what_killed_streams_gave(tmp_path):
    """What they gave since their last line is recorded by the next start.

    Mutants: the next start records nothing; it records what came after the newest event only.
    """
    killed = Killed(tmp_path)

    told = killed.run()

    assert len(told) >= EVENTS // 2
    assert [id_ for id_, by in told.items() if ("key/app", "stream") not in by] == []
    lines = [one for one in killed.lines() if one["do"] in ("service.gap", "code.read")]
    gap = next(n for n, one in enumerate(lines) if one["do"] == "service.gap")
    after = [one for one in lines[gap + 1 :] if one.get("at_most")]
    # If the kill came just after the lines of a second, no stream is in doubt.
    assert {one["how"] for one in after} - {"stream"} == {"wait"}
    assert not [one for one in lines[:gap] if one.get("at_most")]
