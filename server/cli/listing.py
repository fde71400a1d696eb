"""What commands that list things share: how many, which page, and where the list goes on."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote

import click
from click.core import ParameterSource

from ..config.load import ConfigError
from .client import ApiClient, ApiProblem
from .command import Choice, config_path, unknown
from .connection import settings
from .welcome import program, with_config

F = TypeVar("F", bound=Callable[..., Any])

#: Names of sources or sinks that are looked through.
_NAMES = 10_000

limit_option = click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="List at most this many.",
)


def paging_options(command: F) -> F:
    """`--order`, `--after` and `--limit`."""
    for option in (
        limit_option,
        click.option("--after", metavar="CURSOR", help="Continue after this place in the list."),
        click.option(
            "--order",
            type=Choice(["asc", "desc"]),
            help="Oldest first (asc), or newest first (desc).",
        ),
    ):
        command = option(command)
    return command


def segment(text: str) -> str:
    """A name as one segment of a path."""
    if not text.strip("."):
        raise click.BadParameter("write a name, as the list shows it")
    return quote(text, safe="")


def newest(
    client: ApiClient,
    path: str,
    params: Mapping[str, Any],
    limit: int,
    *,
    order: str | None = None,
    after: str | None = None,
) -> Sequence[Mapping[str, Any]]:
    """Items of a list: the newest, in the order of the list, unless order or after say otherwise.

    If there are more, the command's last line says how to list them.
    """
    latest = order is None and after is None
    direction = order or ("desc" if latest else "asc")
    place = {"order": direction} | ({} if after is None else {"after": after})
    found = client.listing(path, {**params, **place}, limit=limit)
    if found.more:
        which = f"the newest {limit}" if latest else f"{limit} of more"
        text = f"showing {which}; next: {_again(order=direction, after=found.next_cursor)}"
        # When the command ends, so that it stands below the table.
        click.get_current_context().call_on_close(lambda: click.echo(text, err=True))
    return found.items[::-1] if latest else found.items


def _again(**changes: str) -> str:
    """Write the command as it was typed, with other options and without the key."""
    context = click.get_current_context()
    words = context.command_path.split()[1:]
    options = {p.name: p for p in context.command.params if isinstance(p, click.Option) and p.name}
    for name, option in options.items():
        typed = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if typed and name in context.params and name not in changes and name != "key":
            words += _typed(option, context.params[name])
    for name, value in changes.items():
        words += [options[name].opts[0], value]
    return f"{with_config(program(), config_path())} {shlex.join(words)}"


def _typed(option: click.Option, value: Any) -> list[str]:
    if option.is_flag:
        return [option.opts[0]]
    values = value if option.multiple else [value]
    return [word for each in values for word in (option.opts[0], str(each))]


def names_of(client: ApiClient, path: str) -> list[str] | None:
    """The names that a list of the API has.

    A key that may not read it gets those of the configuration; None if there is none.
    """
    try:
        return [str(item["name"]) for item in client.pages(path, {}, limit=_NAMES)]
    except ApiProblem as exc:
        if exc.status not in (401, 403):
            raise
    try:
        return settings().names(path.rpartition("/")[2])
    except ConfigError:
        return None


def check_names(
    client: ApiClient, kind: str, given: Sequence[str], *, among: str, holding: str
) -> None:
    """Raise Wrong for a filter on a name that nothing has: it would list nothing.

    `among` lists what is configured. `holding` is the list to be filtered: it may have items of a
    name that is not configured any more.
    """
    known = names_of(client, among) if given else None
    if known is None:
        return
    for name in given:
        if name not in known and not client.listing(holding, {kind: name}, limit=1).items:
            raise unknown(kind, name, known)


def named(client: ApiClient, kind: str, name: str, among: str, act: Callable[[], Any]) -> Any:
    """Do it; raise Wrong with the names that there are if the API knows no such name."""
    try:
        return act()
    except ApiProblem as exc:
        known = names_of(client, among) if exc.status == 404 else None  # noqa: PLR2004 - Not Found
        if known is None or name in known:
            raise
        raise unknown(kind, name, known) from None


def second(at: str) -> str:
    """Without its fraction: `2026-09-14T18:42:37Z`."""
    whole, dot, _ = at.partition(".")
    return f"{whole}Z" if dot else at
