"""Run the service; check whether it is ready."""

import io
import os
import sys
import time
from functools import partial

import click
import structlog

from journal.lock import Holder
from sinks.sink import Unusable

from ..config.breaks import Breaks
from ..config.load import journal_of, load
from ..log.setup import LEVELS, configure, forward_stderr, say
from ..machine import become_service
from .client import ApiClient, ApiProblem
from .command import Choice, Command, Failure, config_path
from .connection import http_url, running
from .promises import IN_CLEAR
from .welcome import program, welcome

#: Seconds: container managers check every few.
_READY_TIMEOUT = 3.0


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

    The first signal stops it in order, within 10 seconds. A second one stops it at once. SIGHUP
    reloads the configuration. On a terminal it prints addresses and URLs, then one line for each
    event. Otherwise it logs JSON.
    """
    signals = become_service()
    # The framework takes a third of a second to import, which every other command does without.
    from ..process import PortTaken  # noqa: PLC0415
    from ..process import serve as run  # noqa: PLC0415

    flags = {"server.listen": listen, "server.admin_listen": admin_listen}
    given = {place: text for place, text in flags.items() if text is not None}
    read = partial(load, config_path(), environ=os.environ, flags=given)
    loaded = read()
    people = sys.stdout.isatty()
    out = io.FileIO(sys.stdout.fileno(), "w", closefd=False)
    configure(out, people=people, level=log_level, now=time.time)
    forward_stderr()
    for warning in loaded.warnings:
        structlog.get_logger().warning("config.warning", warning=warning)

    def started(holder: Holder) -> None:
        if people:
            say(welcome(loaded.config, holder, config_path=config_path(), smshook=program()))
        if not loaded.config.seal.is_on:
            structlog.get_logger().warning("config.warning", warning=IN_CLEAR)

    try:
        run(loaded.config, signals, started, load=lambda: read(rest=Breaks()))
    except PortTaken as exc:
        server = loaded.config.server
        option, variable, free = "--listen", "LISTEN", "127.0.0.1:9000"
        if str(exc).startswith(f"cannot listen on {server.admin_listen}:"):
            option, variable, free = "--admin-listen", "ADMIN_LISTEN", "127.0.0.1:9001"
        raise Failure(
            f"{exc}; choose another: {option} {free}, or make run {variable}={free}"
        ) from None
    except Unusable:
        raise Failure(
            "no thread or file descriptor is left for the HTTP client of the sinks; "
            "raise the limits (ulimit -n, ulimit -u, pids.max), then start again"
        ) from None


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

    For containers: their images have no curl. It reads only the journal's path from the
    configuration. So a configuration that is broken later does not make a running service
    unhealthy.
    """
    where = url or str(running(journal_of(config_path(), os.environ), noted=False).url)
    with ApiClient(where, timeout=_READY_TIMEOUT) as client:
        try:
            client.get("/readyz")
        except ApiProblem as exc:
            raise Failure(f"not ready: {exc.status}") from None
    click.echo("ready")
