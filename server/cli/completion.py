"""Shell completion of names in the configuration; secrets are not read."""

import os
from collections.abc import Callable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from ..config.yaml import MAX_BYTES, parse
from .command import DEFAULT_CONFIG, config_of

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def configured_names(section: str) -> Complete:
    """Complete the names below `sources:` or `sinks:`; nothing if the file cannot be read.

    Variables and secret files are not read.
    """

    def complete(
        ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        path = Path(config_of(ctx) or os.environ.get("SMSHOOK_CONFIG") or DEFAULT_CONFIG)
        typed = ctx.params.values()
        return [
            CompletionItem(name)
            for name in _names(path, section)
            if name.startswith(incomplete)
            and not any(isinstance(given, tuple) and name in given for given in typed)
        ]

    return complete


def _names(path: Path, section: str) -> list[str]:
    try:
        with path.open("rb") as file:
            value = parse(file.read(MAX_BYTES + 1)).value
    except OSError:
        return []
    found = value.get(section) if isinstance(value, dict) else None
    return list(found) if isinstance(found, dict) else []
