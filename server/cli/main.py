"""`smshook`: the commands, put together."""

import io
import signal
import sys
from collections.abc import Iterator

import click

from .. import __version__
from ..machine import fill_standard_streams
from .backfill import backfill
from .command import CommandGroup
from .config import check, config, init, migrate, version
from .deliveries import deliveries
from .dev import dev
from .events import events
from .orders import orders
from .quarantine import quarantine, rejections
from .report import report
from .routes import routes
from .send import send
from .serve import healthcheck, serve
from .simulate import simulate
from .sinks import sinks
from .sources import sources


class Commands(CommandGroup):
    """All commands in one list, each as it is typed."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click says so
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, command.get_short_help_str(80)) for name, command in _leaves(self)]
            )


def _leaves(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        typed = f"{path}{name}"
        if isinstance(command, click.Group):
            yield from _leaves(command, f"{typed} ")
        else:
            yield typed, command


@click.group(
    "smshook",
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`smshook COMMAND --help` shows the options of a command and an example.",
)
@click.version_option(__version__, message="smshook %(version)s", help="Print the version.")
def smshook() -> None:
    """Receive the callbacks of SMS-number providers, store them, and deliver them."""


for _command in (
    *(init, check, serve, send, simulate, dev),
    *(sources, events, routes, deliveries, sinks, quarantine, rejections),
    *(backfill, orders, report),
    *(config, healthcheck, migrate, version),
):
    smshook.add_command(_command)


def main() -> None:
    """Run the installed command `smshook`."""
    fill_standard_streams()
    # A parent may have blocked them, and a child inherits that: Ctrl-C would do nothing.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal of another encoding gets `\u2192` for `→`, and no traceback.
            stream.reconfigure(errors="backslashreplace")
    smshook(prog_name="smshook")
