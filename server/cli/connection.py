"""Find the service and the API key for a command."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click
import httpx

from core.printable import plain
from journal.lock import Holder, holder
from receiver.source import Source

from ..config.load import Settings, digest_of_file, load
from ..config.options import Config, host_and_port
from ..config.pipes import read_file
from ..config.urls import first_clear, url_at
from ..config.variables import without_line_end
from ..config.yaml import MAX_BYTES
from .client import ApiClient
from .command import Failure, Wrong, config_path, unknown
from .welcome import program, with_config

F = TypeVar("F", bound=Callable[..., Any])

#: The scopes that a scope includes.
_INCLUDED = {"codes:read": {"events:read"}, "codes:reveal": {"events:read"}}


def http_url(text: str) -> str:
    """Check a URL option. Errors do not repeat the URL, which may contain a password."""
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise click.BadParameter("write http:// or https:// and a host")
    return text


def connection_options(command: F) -> F:
    """Add `--url` and `--key`."""
    key = click.option(
        "--key",
        envvar="SMSHOOK_API_KEY",
        show_envvar=True,
        help="API key.  Default: the first configured key with the required scope.",
    )
    url = click.option(
        "--url",
        envvar="SMSHOOK_URL",
        type=http_url,
        metavar="URL",
        show_envvar=True,
        help="Address of the API.  Default: the service that runs here.",
    )
    return url(key(command))


def configured() -> Config:
    """Return the whole configuration. Raise ConfigError."""
    return load(config_path(), environ=os.environ).config


class NamedSettings(Settings):
    """Settings that report a missing source or key as an error of the command line."""

    def source(self, name: str) -> Source:
        """Return the source, to send it callbacks.

        Raises Wrong with the known names if it is unknown, and Failure if it has no callbacks.
        """
        found = super().source(name)
        if found is None:
            raise unknown("source", name, self.names("sources"))
        if found.sends_no_callbacks:
            raise Failure(f"{name} has no callbacks: smshook asks its provider (backfill)")
        return found

    def key(self, scope: str, *, whole: bool) -> str:
        """Return a key in clear with the scope, not an expired one.

        `whole` skips keys with a `when`.
        """
        enough = {scope, "admin", *(has for has in _INCLUDED if scope in _INCLUDED[has])}
        found = first_clear(
            key.key.reveal()
            for key in self.keys.values()
            if not (whole and key.when)
            and enough.intersection(key.scopes)
            and not (key.expires_at is not None and key.expires_at <= time.time())
        )
        if found is None:
            raise Wrong(
                *self.complaints(("api",)),
                f"no API key in the configuration is in clear and has the scope {scope}; "
                "set SMSHOOK_API_KEY, or give --key",
            )
        return found


def settings() -> NamedSettings:
    """Return the settings for a command. Raise ConfigError if the file cannot be read."""
    return NamedSettings(config_path(), environ=os.environ)


class Address(NamedTuple):
    """Where the API is, and the key to use."""

    url: str
    key: str


def connect(
    url: str | None,
    key: str | None,
    scope: str,
    *,
    whole: bool = False,
    timeout: float | None = None,
) -> ApiClient:
    """Return a client of the API. `whole` skips keys with a `when`; `timeout` is in seconds."""
    found = find(url, key, scope, whole=whole)
    return ApiClient(*found) if timeout is None else ApiClient(*found, timeout=timeout)


def find(
    url: str | None, key: str | None, scope: str, *, whole: bool = False, noted: bool = True
) -> Address:
    """Return the address and the key for a command.

    `whole` skips keys with a `when`; `noted` is that of `running`. The configuration only needs a
    key and the journal's path.
    """
    key = None if key is None else without_line_end(key)
    if key is not None and not key.isprintable():
        raise Wrong("the API key has a character that no HTTP header may hold")
    if url is not None and key is not None:
        return Address(url, key)
    if url is not None and not config_path().exists():
        raise Wrong(
            f"no API key: there is no {config_path()} to take one from; "
            "set SMSHOOK_API_KEY, or give --key"
        )
    known = settings()
    key = key or known.key(scope, whole=whole)
    return Address(url or str(running(known.journal, noted=noted).admin_url), key)


def running(journal: Path, *, noted: bool = True) -> Holder:
    """Return the service that uses the journal; raise Failure if there is none.

    With `noted`, a note on stderr says if the configuration changed after it started.
    """
    found = holder(journal)
    name = near(journal)
    if found is None:
        start = f"{with_config(program(), config_path())} serve"
        raise Failure(
            f"smshook is not running here (no process has {name}); start it with: {start}"
        )
    if found.url is None:
        raise Failure(f"process {found.pid} has {name} but does not listen yet; try again")
    note = edited(found) if noted else None
    if note is not None:
        click.echo(plain(f"note: {note}"), err=True)
    return found


def command_client(found: Holder) -> ApiClient:
    """Return a client with the key that the service left for commands on this machine."""
    if found.key is None:
        raise Failure(
            f"process {found.pid} does not listen yet, or is of an older version; "
            "try again, or restart the service"
        )
    return ApiClient(str(found.admin_url), found.key)


def edited(found: Holder) -> str | None:
    """Return a note if the configuration changed after the service loaded it."""
    path = config_path()
    if found.digest is None or found.config != str(path.absolute()):
        return None
    try:
        same = digest_of_file(read_file(path, MAX_BYTES)) == found.digest
    except OSError:
        same = False
    if same:
        return None
    reload = f"{with_config(program(), path)} reload"
    return f"{path} changed after the service read it; apply this with: {reload}"


def near(path: Path) -> str:
    """Return the path relative to the current folder, if it is below it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def answers(known: Settings) -> str:
    """Return the URL for callbacks: of the running service, else of `server.listen`."""
    found = None
    with contextlib.suppress(PermissionError):
        found = holder(known.journal)
    if found is not None and found.url is not None:
        return found.url
    host, port = host_and_port(known.listen)
    if port == 0:
        raise Failure("server.listen has port 0, any free one: start the service first")
    return url_at(host, port)
