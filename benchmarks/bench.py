"""What cases are made of: the floor, the product and a load, all of them real processes."""

import contextlib
import itertools
import json
import os
import re
import secrets
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from .peers.peer import AT_ONCE, POLITELY, free_port, listens, started

Form = Literal["tellabot", "herosms"]

#: Of the checkout: processes of this package are started elsewhere, and find it here.
ROOT = Path(__file__).parents[1]
_CALLBACKS = Path(__file__).with_name("callbacks.lua")
_REQUESTS = re.compile(r"(\d+) requests in")
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")

#: Seconds between two looks at what the product has done.
_LOOK_EVERY = 0.02

#: What the product is started with. Nothing here is faster than the default, or less safe.
_CONFIG = """\
server:
  secret: {secret}
  listen: 127.0.0.1:{port}
  admin_listen: 127.0.0.1:{admin_port}
journal: {{url: "sqlite:///{journal}"}}
api: {{keys: {{bench: {{key: {key}, scopes: [admin]}}}}}}
sources:
  tellabot: {{provider: tellabot, tokens: [{token}]}}
  herosms: {{provider: herosms, tokens: [{token}]}}
sinks:
{sinks}
routes:
{routes}
"""


class Failed(Exception):
    """A case did not measure what it says; why."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What a load of callbacks was answered."""

    #: With 2xx.
    answered: int
    #: A second.
    rate: float
    #: Seconds of processor that the generator used for it.
    processor: float = 0.0


class Grown(msgspec.Struct, frozen=True, kw_only=True):
    """By how much the product's counters grew while callbacks came."""

    events: int
    duplicates: int


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run works, and how long it looks at each thing."""

    #: On the disk that is measured.
    folder: Path
    #: What is kept between runs: peers that are installed, journals of millions of events.
    cache: Path
    quick: bool
    #: Of an environment that has what the product needs and nothing else: what the plots need
    #: would be imported where it is found, and weigh on the product.
    python: Path
    #: Of each load.
    seconds: float
    #: Of every product that is started: a journal knows the one that it was made with.
    secret: str

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder on the disk that is measured."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder)

    @contextlib.contextmanager
    def floor(self) -> Iterator[tuple[str, int]]:
        """The bare ASGI app: its url and its pid."""
        port = free_port()
        words = (self.python, "-m", "benchmarks.floor", str(port))
        with (
            self.scratch() as folder,
            started(words, folder=folder, environment=_here(), ready=lambda: listens(port)) as pid,
        ):
            yield f"http://127.0.0.1:{port}/in/tellabot/{secrets.token_hex(20)}", pid

    @contextlib.contextmanager
    def product(
        self,
        *,
        sinks: str,
        routes: str,
        journal: Path | None = None,
        module: str | None = None,
    ) -> Iterator["Product"]:
        """`smshook serve` on a configuration with these sinks and routes, as YAML.

        On an empty journal, unless another is named. A `module` of ours starts it another way.
        """
        command = (self.python, "-m", module) if module else (self.python.with_name("smshook"),)
        with self.scratch() as folder:
            product = _configured(
                folder, sinks, routes, journal or folder / "smshook.db", self.secret
            )
            began = time.monotonic()
            with started(
                (*command, "serve"),
                folder=folder,
                environment=_here(),
                ready=product.is_ready,
                # A journal that goes with its folder is not worth waiting for.
                ended=POLITELY if journal else AT_ONCE,
            ) as pid:
                took = time.monotonic() - began
                yield msgspec.structs.replace(product, pid=pid, ready_after=took)

    def load(
        self,
        url: str,
        *,
        connections: int,
        form: Form = "tellabot",
        first: int = 0,
        each: int = 1,
        among: int = 64,
        seconds: float | None = None,
        threads: int = 1,
    ) -> Load:
        """Callbacks from wrk, as fast as they are answered. Raises Failed.

        From number `first` on, each `each` times among so many others; 0: `among` of them for ever.
        """
        server, _, path = url.removeprefix("http://").partition("/")
        words = (
            *("wrk", "--threads", str(threads), "--connections", str(connections)),
            *("--duration", f"{seconds or self.seconds:.0f}s", "--script", str(_CALLBACKS)),
            *(f"http://{server}", "--", f"/{path}", form, str(first), str(each), str(among)),
        )
        return _told(*_run(words))


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """A running smshook."""

    folder: Path
    journal: Path
    port: int
    admin_port: int
    token: str
    key: str
    pid: int = 0
    #: Seconds from its start.
    ready_after: float = 0.0

    def callback(self, source: Form = "tellabot") -> str:
        """The url that its callbacks go to."""
        return f"http://127.0.0.1:{self.port}/in/{source}/{self.token}"

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self._get(f"http://127.0.0.1:{self.port}/readyz"))
        return False

    def ask(self, path: str) -> Any:
        """What the API answers to a path below `/v1`."""
        return json.loads(self._get(f"http://127.0.0.1:{self.admin_port}/v1{path}"))

    def stats(self) -> dict[str, Any]:
        """`/v1/stats`."""
        found: dict[str, Any] = self.ask("/stats")
        return found

    def memory(self) -> float:
        """Megabytes of it that are in memory now."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise Failed(f"/proc/{self.pid}/status has no VmRSS")

    def check(self, load: Load, *, connections: int, before: int = 0) -> int:
        """The events that it accepted since it had `before`. Raises Failed.

        They are what the load counted, and what was under way when it ended.
        """
        accepted = int(self.stats()["events"]) - before
        if not load.answered <= accepted <= load.answered + connections:
            raise Failed(f"{load.answered} callbacks were answered, {accepted} events are there")
        return accepted

    def check_copies(self, answered: int, *, before: Mapping[str, Any], under_way: int) -> Grown:
        """What copies and others became since `/v1/stats` said `before`. Raises Failed.

        Each that was answered is an event or a duplicate, and so may be what was under way.
        """
        now = self.stats()
        grown = Grown(
            events=now["events"] - before["events"],
            duplicates=now["duplicates"] - before["duplicates"],
        )
        if not answered <= grown.events + grown.duplicates <= answered + under_way:
            raise Failed(
                f"{answered} callbacks were answered, {grown.events} events and"
                f" {grown.duplicates} duplicates came of them"
            )
        return grown

    def at_rest(self, *, within: float = 10.0) -> dict[str, Any]:
        """`/v1/stats` once nothing that came is under way any more. Raises Failed."""
        looks = itertools.pairwise(self._looks("callbacks still came", within))
        return next(now for (_, before), (_, now) in looks if _came(now) == _came(before))

    def await_delivered(self, deliveries: int, *, within: float = 120.0) -> float:
        """When so many are, by `time.monotonic`. Raises Failed."""
        looks = self._looks(f"{deliveries} deliveries were not made", within)
        return next(at for at, now in looks if now["deliveries"]["delivered"] >= deliveries)

    def await_settled(self, *, within: float = 120.0) -> None:
        """Nothing is owed any more. Raises Failed."""
        looks = self._looks("deliveries were still owed", within)
        next(at for at, now in looks if not _owed(now))

    def _looks(self, else_: str, within: float) -> Iterator[tuple[float, dict[str, Any]]]:
        """Again and again when, by `time.monotonic`, and what `/v1/stats` said. Raises Failed."""
        until = time.monotonic() + within
        while (now := time.monotonic()) < until:
            yield now, self.stats()
            time.sleep(_LOOK_EVERY)
        raise Failed(f"{else_} within {within:.0f} s")

    def _get(self, url: str) -> bytes:
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self.key}"})  # noqa: S310 - http, ours
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - http, ours
            body: bytes = answer.read()
        return body


def _came(stats: Mapping[str, Any]) -> tuple[object, object]:
    return stats["events"], stats["duplicates"]


def _owed(stats: Mapping[str, Any]) -> int:
    return int(stats["deliveries"]["pending"] + stats["deliveries"]["sending"])


def _configured(folder: Path, sinks: str, routes: str, journal: Path, secret: str) -> Product:
    product = Product(
        folder=folder,
        journal=journal,
        port=free_port(),
        admin_port=free_port(),
        token=secrets.token_hex(20),
        key=secrets.token_hex(20),
    )
    text = _CONFIG.format(
        secret=secret,
        journal=journal.absolute(),
        port=product.port,
        admin_port=product.admin_port,
        key=product.key,
        token=product.token,
        sinks=_indented(sinks),
        routes=_indented(routes),
    )
    config = folder / "smshook.yaml"
    config.touch(mode=0o600)
    config.write_text(text)
    return product


def _indented(yaml: str) -> str:
    return "".join(f"  {line}\n" for line in yaml.strip().splitlines())


def _here() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT)}


def _run(words: Sequence[str]) -> tuple[str, float]:
    """What a program printed, and the seconds of processor that it alone used."""
    with subprocess.Popen(  # noqa: S603 - the words are ours
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        output = process.stdout.read() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return output, used.ru_utime + used.ru_stime


def _told(output: str, processor: float) -> Load:
    requests, rate = _REQUESTS.search(output), _RATE.search(output)
    if requests is None or rate is None:
        raise Failed(f"wrk said: {output.strip() or 'nothing'}")
    if "Socket errors" in output or "Non-2xx" in output:
        errors = [line.strip() for line in output.splitlines() if "rrors" in line or "Non-" in line]
        raise Failed(f"not all were answered with 2xx: {'; '.join(errors)}")
    return Load(answered=int(requests[1]), rate=float(rate[1]), processor=processor)
