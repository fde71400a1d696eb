"""Which service a command speaks with, and by which key."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import httpx

from journal.lock import Holder, holder

from ..addresses import first_clear, url_at
from ..client import Client
from ..config import Config, host_and_port, load
from ..welcome import program, with_config
from .command import Failure, Wrong, config_path

F = TypeVar("F", bound=Callable[..., Any])

#: Scopes that another one brings with it.
_BRINGS = {"codes:read": {"events:read"}}


def http_url(text: str) -> str:
    """A URL as click takes it; it is not repeated, it may hold a password."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise click.BadParameter("write http:// or https:// and a host")
    return text


def connection_options(command: F) -> F:
    """`--url` and `--key`."""
    for option in (
        click.option(
            "--key",
            envvar="SMSHOOK_API_KEY",
            show_envvar=True,
            help="Else the first key of the configuration that may.",
        ),
        click.option(
            "--url",
            envvar="SMSHOOK_URL",
            type=http_url,
            metavar="URL",
            show_envvar=True,
            help="Of the API; else the service that runs here.",
        ),
    ):
        command = option(command)
    return command


def configured() -> Config:
    """Raises ConfigError."""
    return load(config_path(), environ=os.environ).config


def connect(url: str | None, key: str | None, scope: str, *, whole: bool = False) -> Client:
    """The API. `whole`: keys with a `when` are not enough."""
    if key is not None and not key.isprintable():
        raise Wrong("the API key has a character that no HTTP header may hold")
    if url is not None and key is not None:
        return Client(url, key)
    if url is not None and not config_path().exists():
        raise Wrong(
            f"which key? there is no {config_path()} to take one from; "
            "put one into SMSHOOK_API_KEY, or give --key"
        )
    config = configured()
    key = key or _key(config, scope, whole=whole)
    return Client(url or str(running(config.journal.path).admin_url), key)


def _key(config: Config, scope: str, *, whole: bool) -> str:
    key = first_clear(
        key.key.reveal()
        for key in config.api.keys.values()
        if _opens(key.scopes, scope) and not (whole and key.when)
    )
    if key is None:
        raise Wrong(
            f"no key of the configuration is in clear and has the scope {scope}; "
            "put one into SMSHOOK_API_KEY"
        )
    return key


def _opens(scopes: tuple[str, ...], scope: str) -> bool:
    return any(has in (scope, "admin") or scope in _BRINGS.get(has, ()) for has in scopes)


def running(journal: Path) -> Holder:
    """The service that has the journal, wherever it was told to listen."""
    found = holder(journal)
    name = near(journal)
    if found is None:
        start = f"{with_config(program(), config_path())} serve"
        raise Failure(
            f"smshook is not running here (no process has {name}); start it with: {start}"
        )
    if found.url is None:
        raise Failure(f"process {found.pid} has {name} and does not listen (yet?); try again")
    return found


def near(path: Path) -> str:
    """As one would type it here."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def answers(config: Config) -> str:
    """Where callbacks come in: at the service that runs here, else where it would."""
    found = holder(config.journal.path)
    if found is not None and found.url is not None:
        return found.url
    host, port = host_and_port(config.server.listen)
    if port == 0:
        raise Failure("server.listen has port 0, any free one: start the service first")
    return url_at(host, port)
