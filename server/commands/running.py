"""Commands that run the service, ask whether it is ready, and send it samples."""

import io
import os
import random
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click
import structlog

from journal.lock import Holder
from journal.plain import plain
from receiver.door import SAMPLE_HEADER
from receiver.source import Sample, Source
from sinks.sink import Unusable

from ..addresses import callback_url
from ..client import Client, Problem
from ..config import Config, journal_of, load
from ..identity import Identity
from ..log import LEVELS, configure, forward_stderr, say
from ..process import become_service
from ..welcome import program, welcome
from .command import Choice, Command, Failure, Wrong, config_path, unknown
from .completion import configured_names
from .service import http_url, running, settings

#: Seconds; what looks after containers asks every few.
_READY_TIMEOUT = 3.0
#: Samples are told apart by their number.
_NUMBERS = 100_000_000
_HINTS = {
    403: ": allow_from of this source does not name this machine",
    404: ": the service does not know this source or token; it reads its configuration at start",
}


@click.command(cls=Command, example="serve --listen 127.0.0.1:9000")
@click.option("--listen", metavar="HOST:PORT", help="Address for callbacks (server.listen).")
@click.option(
    "--admin-listen", metavar="HOST:PORT", help="Address for the API (server.admin_listen)."
)
@click.option(
    "--log-level",
    type=Choice(list(LEVELS)),
    default="info",
    show_default=True,
    help="Log from this level on.",
)
def serve(listen: str | None, admin_listen: str | None, log_level: str) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    The first signal stops it in order, within 10 seconds; a second stops it at once. On a
    terminal it prints where everything is, then one line for each event. Otherwise it logs JSON.
    """
    ending = become_service()
    # The framework takes a third of a second to import, which every other command does without.
    from ..service import PortTaken  # noqa: PLC0415
    from ..service import serve as run  # noqa: PLC0415

    flags = {"server.listen": listen, "server.admin_listen": admin_listen}
    given = {place: text for place, text in flags.items() if text is not None}
    loaded = load(config_path(), environ=os.environ, flags=given)
    people = sys.stdout.isatty()
    out = io.FileIO(sys.stdout.fileno(), "w", closefd=False)
    configure(out, people=people, level=log_level, now=time.time)
    forward_stderr()
    for warning in loaded.warnings:
        structlog.get_logger().warning("config.warning", warning=warning)

    def started(holder: Holder) -> None:
        if people:
            say(_welcome(loaded.config, holder))

    try:
        run(loaded.config, ending, started)
    except PortTaken as exc:
        raise Failure(_taken(str(exc), loaded.config)) from None
    except Unusable:
        raise Failure(
            "no thread or file descriptor is left for the HTTP client of the sinks; "
            "raise the limits (ulimit -n, ulimit -u, pids.max), then start again"
        ) from None


def _taken(said: str, config: Config) -> str:
    """What would do, beside what is wrong."""
    admin = said.startswith(f"cannot listen on {config.server.admin_listen}:")
    option, variable = ("--admin-listen", "ADMIN_LISTEN") if admin else ("--listen", "LISTEN")
    free = "127.0.0.1:9001" if admin else "127.0.0.1:9000"
    return f"{said}; choose another: {option} {free}, or make run {variable}={free}"


def _welcome(config: Config, holder: Holder) -> str:
    return welcome(config, holder, config_path=config_path(), smshook=program())


@click.command(cls=Command, example="healthcheck")
@click.option(
    "--url",
    envvar="SMSHOOK_URL",
    type=http_url,
    metavar="URL",
    show_envvar=True,
    help="Address of the service.  Default: the one that runs here.",
)
def healthcheck(url: str | None) -> None:
    """Exit 0 if the service is ready, else 1.

    For containers, whose images have no curl. Of the configuration only the journal's path is
    read: a configuration that was broken since the start does not make the service unhealthy.
    """
    where = url or str(running(journal_of(config_path(), os.environ), noted=False).url)
    with Client(where, timeout=_READY_TIMEOUT) as client:
        response = client.send("GET", "/readyz")
    if not response.is_success:
        raise Failure(f"not ready: {response.status_code}")
    click.echo("ready")


@click.command(cls=Command, example="send tellabot sms --times 3")
@click.argument("source", shell_complete=configured_names("sources"))
@click.argument("kind", required=False)
@click.option(
    "--encoding",
    type=Choice(["form", "multipart", "json"]),
    help="Encoding of the callback.  Default: form if the provider uses it, else JSON.",
)
@click.option(
    "--times", type=click.IntRange(min=1), default=1, help="Send this many different callbacks."
)
@click.option("--duplicate", is_flag=True, help="Send each twice, as a provider's retry.")
@click.option(
    "--url",
    type=http_url,
    metavar="URL",
    help="Address for callbacks.  Default: the service that runs here.",
)
def send(
    source: str,
    kind: str | None,
    encoding: str | None,
    times: int,
    url: str | None,
    *,
    duplicate: bool,
) -> None:
    """Send a realistic sample callback, as the provider would.

    SOURCE is a name in the configuration. KIND is sms, rental-sms, billing, renewal,
    renewal-failed or assigned for TellABot; sms or rent for the SMS-Activate dialect. The events
    are marked: their data.sample is true.
    """
    known = settings()
    kept = known.source(source)
    if kept.calls_nobody:
        raise Failure(f"{source} has no callbacks: smshook asks its provider (backfill)")
    sampling = _Sampling(kept, _kind(kept, kind), _encoding(kept, encoding))
    path = callback_url("", source, kept)
    if path is None:
        raise Failure(f"{source} has only sha256 tokens; sending needs one in clear")
    identity = Identity(known.secret, os.urandom)
    first = random.randrange(_NUMBERS)
    understood = True
    with Client(url or str(running(known.journal).url)) as client:
        for number in range(first, first + times):
            sample = sampling.sample(number)
            signature = identity.sample_signature(source, sample.body)
            headers = {"content-type": sample.content_type, SAMPLE_HEADER: signature}
            for _ in range(2 if duplicate else 1):
                understood &= _say(_sent(client, path, sample.body, headers))
    if not understood:
        raise Failure("quarantined; `smshook quarantine show ID` shows why")


class _Sampling(NamedTuple):
    source: Source
    kind: str
    encoding: str

    def sample(self, number: int) -> Sample:
        return self.source.sample(self.kind, self.encoding, number=number, now=datetime.now(UTC))


def _kind(source: Source, kind: str | None) -> str:
    if kind is not None and kind not in source.kinds:
        raise unknown("kind", kind, source.kinds)
    return kind or source.kinds[0]


def _encoding(source: Source, encoding: str | None) -> str:
    if encoding is not None and encoding not in source.encodings:
        may = ", ".join(sorted(source.encodings))
        raise Wrong(f"--encoding: this provider uses {may}, not {encoding}")
    return encoding or source.usual_encoding


def _sent(client: Client, path: str, body: bytes, headers: Mapping[str, str]) -> Any:
    try:
        return client.post(path, content=body, headers=headers)
    except Problem as exc:
        raise Failure(f"{exc.status} {exc.code}{_HINTS.get(exc.status, '')}") from None


def _say(answer: Mapping[str, Any]) -> bool:
    """Print what the door says; whether it was understood."""
    if answer["status"] == "quarantined":
        click.echo(plain(f"quarantined {answer['id']} {answer['reason']}"))
        return False
    click.echo(plain(" ".join((answer["status"], *answer["events"]))))
    return True
