"""Shell completion of names in the configuration; secrets are not read."""

from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

from ..config.pipes import read_file
from ..config.yaml import MAX_BYTES, parse
from .command import config_path

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def configured_names(section: str) -> Complete:
    """Complete the names below `sources:` or `sinks:`; nothing if the file cannot be read.

    Variables and secret files are not read.
    """

    def complete(
        ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        try:
            value = parse(read_file(config_path(ctx), MAX_BYTES + 1)).value
        except OSError:
            return []
        names = value.get(section) if isinstance(value, dict) else None
        typed = ctx.params.values()
        return [
            CompletionItem(name)
            for name in (names if isinstance(names, dict) else ())
            if name.startswith(incomplete)
            and not any(isinstance(given, tuple) and name in given for given in typed)
        ]

    return complete
