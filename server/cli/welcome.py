"""The welcome of `serve` on a terminal: addresses, callback URLs, next commands."""

import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from journal.lock import Holder

from .. import __version__
from ..config.options import Config
from ..config.urls import callback_url
from .command import DEFAULT_CONFIG


def welcome(config: Config, holder: Holder, *, config_path: Path, smshook: str) -> str:
    """Return the welcome. It contains tokens: print it on a terminal only.

    `smshook` is the command to show, as `program` returns it.
    """
    local = holder.url or ""
    begin = config.server.public_url or local
    parts = [
        f"smshook {__version__} is running; Ctrl-C stops it.\n",
        f"  API  {holder.admin_url}\n",
    ]
    if config.sources:
        parts.append("  Callback URLs, each with its secret token, and where to paste them:\n")
    else:
        parts.append("  No sources yet: add one to the configuration, and start again.\n")
    for name, source in config.sources.items():
        if not source.sends_no_callbacks:
            url = callback_url(begin, name, source) or "(its tokens are here as sha256 only)"
            parts.append(f"    {name}\n      {url}\n      {source.paste_at}\n")
    if config.sources and config.server.public_url is None:
        address = local.partition("://")[2]
        parts.append(
            "  They cannot be reached from the internet yet. A tunnel, in another terminal:\n"
            f"    ssh -R 80:{address} nokey@localhost.run\n"
            "  Put the https address that it prints into server.public_url, and start again.\n"
        )
    command = with_config(smshook, config_path)
    if config.console.enabled:
        parts.append(f"  The web console, signed in, in a browser:\n    {command} console\n")
    ready = [name for name, source in config.sources.items() if callback_url("", name, source)]
    if ready:
        parts.append(f"  A first event, in another terminal:\n    {command} send {ready[0]}\n")
    else:
        parts.append(f"  Next, in another terminal:\n    {command} check\n")
    return "\n".join(parts)


def program(argv0: str = sys.argv[0], which: Callable[[str], str | None] = shutil.which) -> str:
    """Return the command to type for this program: `smshook`, or its path if needed."""
    path = Path(argv0)
    if path.name != "smshook":
        return "smshook"
    found = which("smshook")
    if found is not None and Path(found).resolve() == path.resolve():
        return "smshook"
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def with_config(smshook: str, path: Path) -> str:
    """Add `--config` to the command unless the path is the default."""
    if path == DEFAULT_CONFIG:
        return smshook
    return f"{smshook} --config {shlex.quote(str(path))}"
