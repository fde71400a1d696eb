"""Run the service with simulated providers, without a configuration of the user's."""

import asyncio
import contextlib
import io
import json
import os
import secrets
import shlex
import socket
import sys
import time
from pathlib import Path

import click
import msgspec

from core.printable import plain
from journal.lock import Holder
from rehearsal.providers import SIMULATED
from rehearsal.web.beside import Beside

from ..config.load import Loaded, load
from ..config.options import Config
from ..config.shapes import tag_of
from ..config.starter import NAME, write
from ..config.urls import callback_url, first_clear, url_at
from ..durable import make_folder, write_new
from ..log.setup import configure, forward_stderr, say
from ..machine import become_service
from .command import Command, Failure, FiniteRange, Wrong, typed_config
from .dev_page import Log, beside, console_of, with_key
from .output import output_option
from .simulate import API_KEY, bound, signing, skipped
from .welcome import program

#: The folder of all files, which is easy to inspect, to ignore in a repository and to delete. It is
#: kept: the key and the cursors of a client stay valid after a restart.
_FOLDER = Path(".smshook-dev")
#: Variables with this prefix configure the real service; `dev` must not touch its journal.
_OURS = "SMSHOOK_"
_TEXT = """\
# Written by `smshook dev`, and read at its start: change it as you like. Delete the folder to
# start over.
sources:
{sources}
sinks:
  log: {{type: file, path: events.jsonl}}
  # Your own service. Then name it in the route: {{to: [log, mine]}}
  # mine: {{type: http, url: "http://127.0.0.1:3000/hooks/sms"}}
routes:
  everything: {{to: [log]}}
server: {{secret: "{secret}"}}
journal: {{url: "sqlite:///smshook-dev.db"}}
# Encrypted, as that of a real service.
seal: {{root: ["${{file:smshook.root}}"]}}
api: {{keys: {{admin: {{key: "{key}", scopes: [admin]}}}}}}
"""


@click.command(cls=Command, example="dev")
@click.option("--listen", metavar="HOST:PORT", help="Address for callbacks.")
@click.option("--admin-listen", metavar="HOST:PORT", help="Address of the API.")
@click.option(
    "--providers-listen",
    default="127.0.0.1:8090",
    metavar="HOST:PORT",
    show_default=True,
    help="Address of the simulated providers and their pages.",
)
@click.option(
    "--speed",
    type=FiniteRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Retry this many times as fast: 60 makes a minute a second.",
)
@output_option
def dev(
    listen: str | None,
    admin_listen: str | None,
    providers_listen: str,
    speed: float,
    output: str,
) -> None:
    """Run the service and simulated providers, with nothing configured.

    Use it to write and test a program that reads events. It needs no account and no money. Take
    numbers and send messages on its page. All files are in .smshook-dev, which you may delete.
    Its smshook.yaml is read again at the next start, and by `smshook reload`; the simulated
    providers keep their first configuration. Runs until Ctrl-C.
    """
    # The framework takes a third of a second to import, which every other command does without.
    from ..process import PortTaken, serve  # noqa: PLC0415

    if typed_config() is not None:
        raise Wrong(
            f"--config: dev has a configuration of its own, {_FOLDER / NAME}; "
            "with another, run serve and simulate"
        )
    signals = become_service()
    flags = {"server.listen": listen, "server.admin_listen": admin_listen}
    given = {place: text for place, text in flags.items() if text is not None}
    loaded = _loaded(given)
    for warning in loaded.warnings:
        click.echo(plain(f"warning: {warning}"), err=True)
    people = output == "table"
    with bound(providers_listen, "--providers-listen") as sock:
        out = io.FileIO(sys.stdout.fileno(), "w", closefd=False)
        configure(out, people=people, level="info", now=time.time)
        forward_stderr()
        log, page_key = Log(time.time), secrets.token_urlsafe(16)

        def here(config: Config) -> Config:
            return with_key(_asked_here(config, sock), page_key)

        config = here(loaded.config)

        def again() -> Loaded:
            read = _loaded(given)
            return msgspec.structs.replace(read, config=here(read.config))

        # The loop of the service keeps no reference to its tasks; its end cancels them.
        tasks = []

        def started(holder: Holder) -> None:
            around = beside(config, holder.admin_url or "", page_key, log)
            begin = holder.url or ""
            tasks.append(asyncio.create_task(_simulate(config, begin, sock, speed, around)))
            _report(loaded.config, holder, sock, people=people)

        try:
            serve(config, signals, started, load=again)
        except PortTaken as exc:
            raise Failure(f"{exc}; choose another: --listen, --admin-listen") from None


def _loaded(flags: dict[str, str]) -> Loaded:
    """Load the configuration; write a first one if there is none. Raise ConfigError."""
    sources = []
    for provider, simulated in SIMULATED.items():
        tokens, every = f'tokens: ["{secrets.token_urlsafe(16)}"], ', ""
        if simulated.schedule is None:  # it sends no callbacks
            tokens, every = "", ", every: 5s"
        backfill = f"{{user: me, api_key: {API_KEY}, min_interval: 0s{every}}}"
        sources.append(f"  {provider}: {{provider: {provider}, {tokens}backfill: {backfill}}}")
    first = _TEXT.format(
        sources="\n".join(sources), secret=secrets.token_urlsafe(32), key=secrets.token_urlsafe(16)
    )
    make_folder(_FOLDER, mode=0o700)
    with contextlib.suppress(FileExistsError):
        write_new(_FOLDER / ".gitignore", "*\n")
    if not (_FOLDER / NAME).exists():
        write(_FOLDER / NAME, first)
    environ = {name: text for name, text in os.environ.items() if not name.startswith(_OURS)}
    return load(_FOLDER / NAME, environ=environ, flags=flags)


def _asked_here(config: Config, sock: socket.socket) -> Config:
    """Return the configuration with the current addresses of the simulated providers."""
    begin = url_at(*sock.getsockname()[:2])
    sources = dict(config.sources)
    for name, source in config.sources.items():
        simulated = SIMULATED.get(tag_of(type(source)))
        if simulated is not None and source.backfill is not None:
            url = f"{begin}/{name}{simulated.path}"
            backfill = msgspec.structs.replace(source.backfill, api_url=url)
            sources[name] = msgspec.structs.replace(source, backfill=backfill)
    return msgspec.structs.replace(config, sources=sources)


async def _simulate(
    config: Config, begin: str, sock: socket.socket, speed: float, around: Beside
) -> None:
    """Run the simulated providers of the configured sources; their callbacks go to `begin`."""
    from rehearsal.server import Setting, run_providers  # noqa: PLC0415

    settings = {
        name: Setting(
            provider=tag_of(type(source)),
            key=API_KEY,
            callback=callback_url(begin, name, source),
            speed=speed,
            skipped=skipped(),
            signed=signing(config, name),
        )
        for name, source in config.sources.items()
        if tag_of(type(source)) in SIMULATED
    }
    async with run_providers(settings, sock, around):
        await asyncio.Event().wait()


def _report(config: Config, holder: Holder, sock: socket.socket, *, people: bool) -> None:
    """Print the addresses and the key: as text for people, else as JSON."""
    page = f"{url_at(*sock.getsockname()[:2])}/"
    api = holder.admin_url or ""
    key = first_clear(key.key.reveal() for key in config.api.keys.values())
    header = shlex.quote(f"Authorization: Bearer {key or 'YOUR_KEY'}")
    console = console_of(config, api)
    curl = f"curl -s -H {header} {api}/v1/events"
    if not people:
        fields = {"page": page, "api": api, "key": key, "curl": curl, "folder": str(_FOLDER)}
        fields["console"] = console
        say(json.dumps(fields, indent=2))
        return
    own = f"{program()} --config {_FOLDER / NAME}"
    lines = (
        f"Runs until Ctrl-C. All it writes is in {_FOLDER}, which you may delete.\n",
        f"  Take a number, send it a message:  {page}",
        f"  API:                               {api}",
        f"  Its key:                           {key or '(none in clear)'}",
        *([f"  Web console:                       {console}"] if console else []),
        *([f"\n  The console, signed in:\n    {own} console"] if console else []),
        "\n  The events, in another terminal:",
        f"    {curl}",
        f"    {own} events list\n",
    )
    say("\n".join(plain(part) for line in lines for part in line.split("\n")))
