"""`smshook`: the list of its commands, each imported when it is needed."""

import contextlib
import importlib
import io
import os
import platform
import signal
import sqlite3
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, TextIO, cast

import click

from .. import __version__
from .command import Command, CommandGroup, failure_of

#: Each command, in the order of the help, and the module of this package that has it.
_MODULES = {
    "init": "config",
    "check": "config",
    "serve": "serve",
    "send": "send",
    "simulate": "simulate",
    "dev": "dev",
    "sources": "sources",
    "events": "events",
    "routes": "routes",
    "deliveries": "deliveries",
    "sinks": "sinks",
    "quarantine": "quarantine",
    "rejections": "quarantine",
    "backfill": "backfill",
    "replay": "replay",
    "why": "why",
    "prune": "prune",
    "erase": "erase",
    "console": "console",
    "consumers": "consumers",
    "listen": "listen",
    "mcp": "mcp",
    "orders": "orders",
    "subscriptions": "subscriptions",
    "keys": "keys",
    "report": "report",
    "reload": "reload",
    "backup": "backup",
    "restore": "backup",
    "seal": "seal",
    "audit": "audit",
    "alerts": "alerts",
    "config": "config",
    "healthcheck": "serve",
    "migrate": "config",
    "version": "main",
}


@contextlib.contextmanager
def _written() -> Iterator[None]:
    """Fail if the output cannot be written, as on a full disk.

    If its reader is gone, end by SIGPIPE and print nothing, as other programs do. Exit code 0 would
    be wrong: a check may have failed, or a backup may be incomplete. Before that, the signal stays
    ignored, because a closed socket would end the service.
    """
    try:
        try:
            try:
                yield
            finally:
                sys.stdout.flush()
        except OSError as exc:
            failure = failure_of(exc)
            if failure is None:  # the reader is gone
                raise
            _discard(sys.stdout)
            raise failure from None
    except* BrokenPipeError:  # `mcp` raises it in a group
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGPIPE})
        signal.raise_signal(signal.SIGPIPE)


def _discard(stream: TextIO) -> None:
    """Discard what could not be written. The interpreter would try again, and exit with 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class LazyGroup(CommandGroup):
    """The commands of `_MODULES`: `smshook version` must not wait for the imports of `serve`.

    Source: https://click.palletsprojects.com/en/stable/complex/#lazily-loading-subcommands
    """

    def make_context(self, *args: Any, **named: Any) -> click.Context:
        with _written():
            return super().make_context(*args, **named)

    def invoke(self, ctx: click.Context) -> Any:
        with _written():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _MODULES:
            return None
        module = importlib.import_module(f"{__package__}.{_MODULES[cmd_name]}")
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List every command in full, such as `events list`."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.get_short_help_str(80)) for name, command in commands(self, ctx)]
            )


def commands(
    group: click.Group, ctx: click.Context, path: str = ""
) -> Iterator[tuple[str, click.Command]]:
    """Yield every command of the group and of the groups in it, with its full name."""
    for name in group.commands or group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from commands(command, ctx, f"{path}{name} ")
        elif command is not None:
            yield f"{path}{name}", command


@click.group(
    "smshook",
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`smshook COMMAND --help` shows the options of a command and an example.",
)
@click.version_option(__version__, message="smshook %(version)s", help="Print the version.")
def smshook() -> None:
    """Receive the callbacks of SMS-number providers, store them, and deliver them."""


@click.command(cls=Command, example="version")
def version() -> None:
    """Print the versions of smshook, Python and SQLite."""
    click.echo(f"smshook {__version__}")
    click.echo(f"Python {platform.python_version()}")
    click.echo(f"SQLite {sqlite3.sqlite_version}")


def main() -> None:
    """Run the installed command `smshook`."""
    fill_standard_streams()
    # structlog and httpx import it if it is there, and smshook uses nothing of it. That would take
    # a sixth of the start of a command.
    sys.modules.setdefault("rich", cast("ModuleType", None))
    # A parent may have blocked them, and a child inherits that: Ctrl-C would do nothing.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal of another encoding gets `\u2192` for `→`, and no traceback.
            stream.reconfigure(errors="backslashreplace")
    try:
        smshook(prog_name="smshook")
    except OSError:
        # Not even the message of an error could be written.
        _discard(sys.stderr)
        sys.exit(1)


def fill_standard_streams() -> None:
    """Open /dev/null in place of each standard stream that is closed (`smshook serve >&-`).

    Otherwise the next opened file, for example the journal, becomes descriptor 1, and all output is
    written into it. Call it before any file is opened.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The system takes the lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(descriptor, True)
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - for as long as the process lives
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
