"""The real service in a process of its own, with its default settings."""

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec

from journal import lock

from .prefill import ROUTE, SINK, SOURCE

#: Seconds until it has to be ready.
READY_WITHIN = 60.0
#: Seconds that its end may take: what is being sent is waited for.
STOP_WITHIN = 60.0


class NotReady(Exception):
    """It ended, or did not become ready in time; says what it said last."""


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """A service that is ready."""

    #: Where callbacks of `source` are sent.
    callback_urls: dict[str, str]
    api_url: str
    client: httpx.Client
    pid: int
    journal: Path
    #: Its log, JSON lines.
    log: Path
    #: Seconds from its exec until /readyz answered 200.
    ready_after: float

    def get(self, path: str) -> Any:
        """What the API answers, decoded."""
        answer = self.client.get(f"{self.api_url}{path}")
        answer.raise_for_status()
        return msgspec.json.decode(answer.content)

    def memory(self) -> int:
        """Bytes of it that are in memory now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise LookupError(f"/proc/{self.pid}/status has no VmRSS")


@contextlib.contextmanager
def running(folder: Path, *, sink_url: str, journal: Path | None = None) -> Iterator[Product]:
    """Start it with one http sink; its journal is made in `folder` unless it is another's."""
    journal = journal or folder / "smshook.db"
    tokens = {name: secrets.token_hex(16) for name in (SOURCE, "herosms")}
    key = secrets.token_hex(16)
    config = folder / "smshook.yaml"
    config.touch(mode=0o600)
    config.write_bytes(msgspec.json.encode(_config(journal, sink_url, tokens, key)))
    began = time.monotonic()
    with (folder / "log.jsonl").open("ab") as log, (folder / "errors.log").open("ab") as errors:
        process = subprocess.Popen(  # noqa: S603 - the words are ours
            [_command(), "serve"], cwd=folder, stdout=log, stderr=errors, env=_environment()
        )
    try:
        holder = _await_ready(process, journal, folder / "errors.log")
        ready_after = time.monotonic() - began
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(headers=headers, trust_env=False, timeout=60) as client:
            yield Product(
                callback_urls={name: f"{holder.url}/in/{name}/{tokens[name]}" for name in tokens},
                api_url=f"{holder.admin_url}/v1",
                client=client,
                pid=process.pid,
                journal=journal,
                log=folder / "log.jsonl",
                ready_after=ready_after,
            )
    finally:
        _end(process)


def _config(journal: Path, sink_url: str, tokens: dict[str, str], key: str) -> dict[str, Any]:
    """As YAML, of which JSON is a part."""
    return {
        "sources": {
            SOURCE: {"provider": "tellabot", "tokens": [tokens[SOURCE]]},
            "herosms": {"provider": "herosms", "tokens": [tokens["herosms"]]},
        },
        "sinks": {SINK: {"type": "http", "url": sink_url}},
        "routes": {ROUTE: {"to": [SINK]}},
        "server": {
            "secret": secrets.token_hex(32),
            "listen": "127.0.0.1:0",
            "admin_listen": "127.0.0.1:0",
        },
        "journal": {"url": f"sqlite:///{journal.absolute()}"},
        "api": {"keys": {"admin": {"key": key, "scopes": ["admin"]}}},
    }


def _command() -> str:
    """The installed command, as a user has it."""
    beside = Path(sys.executable).with_name("smshook")
    return str(beside) if beside.exists() else str(shutil.which("smshook"))


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if "SMSHOOK" not in name}


def _await_ready(process: subprocess.Popen[bytes], journal: Path, errors: Path) -> lock.Holder:
    until = time.monotonic() + READY_WITHIN
    while time.monotonic() < until:
        if process.poll() is not None:
            raise NotReady(f"exit {process.returncode}: {errors.read_text()[-500:]}")
        holder = lock.holder(journal)
        if holder is not None and holder.url and holder.pid == process.pid and _is_ready(holder):
            return holder
        time.sleep(0.01)
    raise NotReady(f"not ready within {READY_WITHIN:.0f} s: {errors.read_text()[-500:]}")


def _is_ready(holder: lock.Holder) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{holder.url}/readyz", trust_env=False).is_success
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
