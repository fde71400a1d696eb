"""The processes of a case: the bare app, the product and the load generator."""

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import msgspec

from journal.sqlite.read_only import open_read_only

from ..peers.peer import AT_ONCE, POLITELY, free_port, listens, started

#: `scattered`: a callback of TellABot, with phone numbers in no order, as real ones are.
Form = Literal["tellabot", "scattered", "herosms"]

#: The checkout. Processes run in other folders and find this package here.
ROOT = Path(__file__).parents[2]
_CALLBACKS = Path(__file__).with_name("callbacks.lua")
_REQUESTS = re.compile(r"(\d+) requests in")
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")

#: Seconds between two questions to the product's API.
_POLL_EVERY = 0.02

#: Journals of millions of events are most of a year old: no case may lose them.
NO_RETENTION = "{events: null, raw: null, attempts: null, quarantine: null}"
#: The product's configuration. Nothing here is faster than the default, or less safe.
_CONFIG = """\
server:
  secret: {secret}
  listen: 127.0.0.1:{port}
  admin_listen: 127.0.0.1:{admin_port}
journal: {{url: "sqlite:///{journal}"}}
retention: {retention}
seal: {seal}
api: {{keys: {{bench: {{key: {key}, scopes: [admin]}}}}}}
sources:
  tellabot: {{provider: tellabot, tokens: [{token}]}}
  herosms: {{provider: herosms, tokens: [{token}]}}
sinks:
{sinks}
routes:
{routes}
{more}
"""


class CaseFailed(Exception):
    """A case measured something else than it says."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """The answers to a load of callbacks."""

    #: Requests answered with 2xx.
    answered: int
    #: Answers a second.
    rate: float
    #: Seconds of processor time that the generator used.
    processor: float = 0.0


class Growth(msgspec.Struct, frozen=True, kw_only=True):
    """The growth of the product's counters during a load."""

    events: int
    duplicates: int


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a run: folders, interpreter, seconds a load."""

    #: On the disk that is measured.
    folder: Path
    #: Kept between runs: installed peers and journals of millions of events.
    cache: Path
    quick: bool
    #: The interpreter of an environment with the product's dependencies alone.
    #: The product would import numpy where it finds it, and be slower.
    python: Path
    #: Of each load.
    seconds: float
    #: `server.secret` of each product: a journal opens only with its own.
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
        """Run the bare ASGI app; yield its URL and its pid."""
        port = free_port()
        words = (self.python, "-m", "benchmarks.lab.floor", str(port))
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
        retention: str = NO_RETENTION,
        sealed: bool = False,
        audit: str = "{record: access}",
        more: str = "",
    ) -> Iterator["Product"]:
        """Run `smshook serve` with these sinks and routes, in YAML.

        Without `journal` it starts on an empty one. `module` replaces the `smshook` command.
        `retention` and `audit` are in YAML. `sealed`: the journal is encrypted. `more`: further
        sections.
        """
        command = (self.python, "-m", module) if module else (self.python.with_name("smshook"),)
        with self.scratch() as folder:
            product = _configured(
                *(folder, sinks, routes, journal or folder / "smshook.db", self.secret, retention),
                sealed=sealed,
                more=f"audit: {audit}\n{more}",
            )
            began = time.monotonic()
            with started(
                (*command, "serve"),
                folder=folder,
                environment=_here(),
                ready=product.is_ready,
                # A journal in the scratch folder is deleted with it: kill, do not wait.
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
        """Send callbacks with wrk, as fast as they are answered. Raises CaseFailed.

        Numbers count from `first`. Each callback is sent `each` times, mixed with `among` others.
        With `each=0`, the same `among` callbacks are sent until the end.
        """
        server, _, path = url.removeprefix("http://").partition("/")
        lasting = seconds or self.seconds
        words = (
            # wrk itself counts whole seconds only; at SIGINT it reports what it has.
            *("timeout", "--signal=INT", f"{lasting}", "wrk", "--duration", f"{lasting + 1:.0f}s"),
            *("--threads", str(threads), "--connections", str(connections)),
            *("--script", str(_CALLBACKS)),
            *(f"http://{server}", "--", f"/{path}", form, str(first), str(each), str(among)),
        )
        return _sent_by(words)


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

    def callback(self, form: Form = "tellabot") -> str:
        """The callback URL of the source that gets this form."""
        source = "herosms" if form == "herosms" else "tellabot"
        return f"http://127.0.0.1:{self.port}/in/{source}/{self.token}"

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self._get(f"http://127.0.0.1:{self.port}/readyz"))
        return False

    def ask(self, path: str) -> Any:
        """Return the API's answer for a path below `/v1`."""
        return json.loads(self._get(f"http://127.0.0.1:{self.admin_port}/v1{path}"))

    def stats(self) -> dict[str, Any]:
        """`/v1/stats`."""
        found: dict[str, Any] = self.ask("/stats")
        return found

    def scrape(self) -> bytes:
        """`/metrics`."""
        return self._get(f"http://127.0.0.1:{self.admin_port}/metrics")

    def reload(self) -> None:
        """Make it read its configuration again."""
        self._get(f"http://127.0.0.1:{self.admin_port}/v1/reload", method="POST")

    def prune(self) -> None:
        """Make it remove old data at once, also if its journal was kept for hours."""
        self._get(f"http://127.0.0.1:{self.admin_port}/v1/retention/prune", method="POST")

    def back_up(self, program: Path, target: Path) -> None:
        """Run `smshook backup`; `program` is the command. Raises CaseFailed."""
        words = (program, "backup", target)
        done = subprocess.run(words, cwd=self.folder, capture_output=True, check=False)  # noqa: S603 - ours
        if done.returncode:
            raise CaseFailed(f"smshook backup said: {done.stderr.decode()[-300:]}")

    def audit_lines(self) -> int:
        """The number of lines in its audit log."""
        with contextlib.closing(open_read_only(self.journal)) as conn:
            (lines,) = conn.execute("select coalesce(sum(count), 0) from audit").fetchone()
        return int(lines)

    def memory(self) -> float:
        """Resident memory in megabytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
        raise CaseFailed(f"/proc/{self.pid}/status has no VmRSS")

    def check(self, load: Load, *, connections: int, before: int = 0) -> int:
        """Count the events accepted since there were `before`. Raises CaseFailed.

        Requests in flight at the load's end may count, or not.
        """
        accepted = int(self.at_rest()["events"]) - before
        if not load.answered <= accepted <= load.answered + connections:
            raise CaseFailed(
                f"{load.answered} callbacks were answered, {accepted} events are there"
            )
        return accepted

    def check_copies(self, answered: int, *, before: Mapping[str, Any], in_flight: int) -> Growth:
        """Count events and duplicates since `/v1/stats` returned `before`. Raises CaseFailed.

        Each answered callback is an event or a duplicate. Those in flight may count, or not.
        """
        now = self.stats()
        growth = Growth(
            events=now["events"] - before["events"],
            duplicates=now["duplicates"] - before["duplicates"],
        )
        if not answered <= growth.events + growth.duplicates <= answered + in_flight:
            raise CaseFailed(
                f"{answered} callbacks were answered; they became {growth.events} events and"
                f" {growth.duplicates} duplicates"
            )
        return growth

    def at_rest(self) -> dict[str, Any]:
        """Return `/v1/stats` once no more callbacks arrive. Raises CaseFailed."""
        pairs = itertools.pairwise(self._polls("callbacks still came", 10.0))
        return next(
            now
            for (_, before), (_, now) in pairs
            if all(now[name] == before[name] for name in ("events", "duplicates"))
        )

    def await_delivered(self, deliveries: int, *, within: float = 120.0) -> float:
        """Return when that many were delivered, by `time.monotonic`. Raises CaseFailed."""
        polls = self._polls(f"{deliveries} deliveries were not made", within)
        return next(at for at, now in polls if now["deliveries"]["delivered"] >= deliveries)

    def await_settled(self, *, within: float = 120.0) -> None:
        """Wait until no delivery is pending or being sent. Raises CaseFailed."""
        for _, now in self._polls("deliveries were still pending", within):
            if not now["deliveries"]["pending"] + now["deliveries"]["sending"]:
                return

    def _polls(self, otherwise: str, within: float) -> Iterator[tuple[float, dict[str, Any]]]:
        """Yield `time.monotonic` and `/v1/stats` until the caller stops. Raises CaseFailed."""
        until = time.monotonic() + within
        while (now := time.monotonic()) < until:
            yield now, self.stats()
            time.sleep(_POLL_EVERY)
        raise CaseFailed(f"{otherwise} within {within:.0f} s")

    def _get(self, url: str, *, method: str = "GET") -> bytes:
        headers = {"Authorization": f"Bearer {self.key}"}
        request = urllib.request.Request(url, headers=headers, method=method)  # noqa: S310 - http, ours
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - http, ours
            body: bytes = answer.read()
        return body


@contextlib.contextmanager
def meanwhile(work: Callable[[], object]) -> Iterator[Future[object]]:
    """Run `work` in a thread during the block, and wait for its end.

    An error of `work` is raised instead of the block's own error, which it most often caused.
    """
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        try:
            yield working
        finally:
            working.result()


def _configured(
    folder: Path,
    sinks: str,
    routes: str,
    journal: Path,
    secret: str,
    retention: str,
    *,
    sealed: bool,
    more: str,
) -> Product:
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
        retention=retention,
        seal=f"{{root: [{secrets.token_hex(32)}]}}" if sealed else "{}",
        port=product.port,
        admin_port=product.admin_port,
        key=product.key,
        token=product.token,
        sinks=_indented(sinks),
        routes=_indented(routes),
        more=more,
    )
    config = folder / "smshook.yaml"
    config.touch(mode=0o600)
    config.write_text(text)
    return product


def _indented(yaml: str) -> str:
    return "".join(f"  {line}\n" for line in yaml.strip().splitlines())


def _here() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT)}


def _sent_by(words: Sequence[str]) -> Load:
    """Run wrk and parse its output. Raises CaseFailed."""
    with subprocess.Popen(  # noqa: S603 - the words are ours
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        output = process.stdout.read() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    requests, rate = _REQUESTS.search(output), _RATE.search(output)
    if requests is None or rate is None:
        raise CaseFailed(f"wrk said: {output.strip() or 'nothing'}")
    if "Socket errors" in output or "Non-2xx" in output:
        errors = [line.strip() for line in output.splitlines() if "rrors" in line or "Non-" in line]
        raise CaseFailed(f"not all were answered with 2xx: {'; '.join(errors)}")
    processor = used.ru_utime + used.ru_stime
    return Load(answered=int(requests[1]), rate=float(rate[1]), processor=processor)
