"""Simulate a provider."""

import asyncio
import re
import signal
import socket
import time
from collections.abc import Callable, Mapping

import click
import httpx
import msgspec

from receiver.door import SAMPLE_HEADER
from receiver.samples import SampleSigner
from rehearsal.providers import SIMULATED
from rehearsal.web.beside import Beside

from ..config.options import Config, host_and_port
from ..config.urls import url_at
from ..machine import open_socket
from .command import Choice, Command, Failure, FiniteRange, Wrong, config_path
from .connection import configured, http_url
from .dev_page import style
from .output import output_option, print_json

#: The API key of a simulated provider: no secret.
API_KEY = "rehearsal"
#: Additional headers for a body.
Signed = Callable[[bytes], Mapping[str, str]]
#: 2026 in UTC: ids count from here to be short.
_BEGAN = 1_767_225_600
#: `/in/NAME/TOKEN`, as the door has it.
_CALLBACK = re.compile(r"/in/([a-z0-9][a-z0-9_-]*)/[^/]+/?")


@click.command(
    cls=Command,
    example="simulate tellabot --callback http://127.0.0.1:8080/in/tellabot/TOKEN --speed 60",
)
@click.argument("provider", type=Choice(list(SIMULATED)), metavar="PROVIDER")
@click.option(
    "--callback",
    type=http_url,
    metavar="URL",
    help="Send callbacks to this URL.  Default: send none.",
)
@click.option(
    "--listen",
    default="127.0.0.1:8090",
    metavar="HOST:PORT",
    show_default=True,
    help="Address of its API and its page.",
)
@click.option(
    "--speed",
    type=FiniteRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="Retry this many times as fast: 60 makes a minute a second.",
)
@click.option("--key", default=API_KEY, show_default=True, help="API key that it accepts.")
@output_option
def simulate(
    provider: str, callback: str | None, listen: str, speed: float, key: str, output: str
) -> None:
    """Simulate a provider: send callbacks, retry them as documented, answer polls.

    It needs no account and no money. Take numbers and send messages on its page, or by its JSON API
    under /rehearsal/; the provider's own commands cannot do that. If --callback names a source of
    the configuration, its events are marked: their data.sample is true. Runs until Ctrl-C.
    """
    # The import of the servers takes a tenth of a second. Other commands do not need it.
    from rehearsal.server import Setting, run_provider  # noqa: PLC0415

    setting = Setting(
        provider=provider,
        key=key,
        callback=callback,
        speed=speed,
        skipped=skipped(),
    )
    named = _CALLBACK.search(httpx.URL(callback).path) if callback else None
    if named and config_path().exists():
        config = configured()
        if named[1] in config.sources:
            setting = msgspec.structs.replace(setting, signed=signing(config, named[1]))
    with bound(listen) as sock:
        address = url_at(*sock.getsockname()[:2])

        async def run() -> None:
            stop = asyncio.Event()
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
            async with run_provider(setting, sock, Beside(style=style())):
                _report(provider, address, key, callback, speed, output)
                await stop.wait()

        asyncio.run(run())


def _report(
    provider: str, url: str, key: str, callback: str | None, speed: float, output: str
) -> None:
    """Print the addresses and the schedule, without the token of the callback URL."""
    if callback:
        whole = httpx.URL(callback)
        match = _CALLBACK.search(whole.path)
        callback = f"{whole.scheme}://{whole.netloc.decode()}"
        callback += f"/in/{match[1]}/***" if match else ""
    simulated = SIMULATED[provider]
    retries = simulated.schedule.description if simulated.schedule else "it sends no callbacks"
    page, api_url = f"{url}/rehearsal/", url + simulated.path
    if output == "json":
        fields = {"provider": provider, "url": url, "key": key, "callback": callback}
        more = {"speed": speed, "retries": retries, "page": page, "api_url": api_url}
        print_json(fields | more)
        return
    click.echo(f"{provider} is simulated at {url}; Ctrl-C stops it.")
    click.echo(f"  page       {page}")
    click.echo(f"  API        {api_url}")
    click.echo(f"  API key    {key}")
    click.echo(f"  callbacks  {callback or 'nowhere: give --callback'}")
    faster = "" if speed == 1 else f"; {speed:g} times as fast"
    click.echo(f"  retries    {retries}{faster}")


def signing(config: Config, source: str) -> Signed:
    """Return a function from a body to the header that marks it as a sample."""
    signer = SampleSigner(config.server.secret.reveal())
    return lambda body: {SAMPLE_HEADER: signer.sign(source, body)}


def skipped() -> int:
    """Return the first message id: larger than in earlier runs, so no message is a duplicate."""
    return int(time.time()) - _BEGAN


def bound(listen: str, option: str = "--listen") -> socket.socket:
    """Return a listening socket. Raise Wrong or Failure, which name the option."""
    try:
        host, port = host_and_port(listen)
    except ValueError as exc:
        raise Wrong(f"{option}: {exc}") from None
    try:
        return open_socket(host, port)
    except OSError as exc:
        raise Failure(
            f"cannot listen on {listen}: {exc.strerror}; choose another: {option} 127.0.0.1:8091"
        ) from None
