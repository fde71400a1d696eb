"""Commands that list or show what the API has: each is declared, and run in one place."""

import inspect
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import click
from click.core import ParameterSource

from core.printable import plain

from ..config.load import ConfigError
from .client import ApiClient, ApiProblem
from .command import Choice, Command, Failure, config_path, unknown
from .completion import configured_names
from .connection import connect, connection_options, settings
from .ids import resolve, typed_id
from .output import output_option, print_items, print_json
from .table import Column, Item
from .welcome import program, with_config

#: Names of sources or sinks to compare with.
_NAMES = 10_000

_LIMIT = click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="List at most this many.",
)
#: In the order of the help.
_PAGING = (
    click.option(
        "--order",
        type=Choice(["asc", "desc"]),
        help="Oldest first (asc), or newest first (desc).",
    ),
    click.option("--after", metavar="CURSOR", help="Continue after this place in the list."),
    _LIMIT,
)


class Filter(NamedTuple):
    """An option of a list, passed on as the query parameter of that name."""

    #: As it is typed: `request-id`.
    name: str
    help: str
    metavar: str | None = None
    type: Any = None
    #: `sources` or `sinks`: it takes one of their names, which shells complete.
    names: str | None = None
    #: `event`: it takes the id of one, or the end of an id.
    ids: str | None = None
    is_flag: bool = False
    #: Several values may be given: any of them matches.
    multiple: bool = True

    def option(self) -> Callable[[Any], Any]:
        more: dict[str, Any] = {"metavar": self.metavar, "multiple": self.multiple}
        if self.is_flag:
            more = {"is_flag": True, "default": None}
        if self.names is not None:
            more["shell_complete"] = configured_names(self.names)
        return click.option(
            f"--{self.name}", help=self.help, type=typed_id if self.ids else self.type, **more
        )

    def checked(self, client: ApiClient, path: str, given: Any) -> Any:
        """Return the values for the API. Raise Wrong for unknown names and ids."""
        if self.names is not None:
            kind, among = self.name, f"/v1/{self.names}"
            check_names(client, kind, given, among=among, holding=path)
        if self.ids is not None:
            return [resolve(client, self.ids, f"/v1/{self.ids}s", typed) for typed in given]
        return given


def list_command(  # noqa: PLR0913 - a declaration
    name: str,
    *,
    path: str,
    columns: Sequence[Column],
    none: str,
    example: str,
    help: str,  # noqa: A002 - click's word
    scope: str = "events:read",
    whole: bool = True,
    filters: Sequence[Filter] = (),
    paged: bool = True,
    pick: Callable[[Item], Item] = lambda item: item,
    warning: Column | None = None,
) -> click.Command:
    """Return a command that lists an endpoint of the API as a table or as JSON.

    `none` is printed for an empty table. `whole`: keys with a `when` may not list it. `paged`:
    the list is long, so that it has `--order`, `--after` and shows its newest items. `pick` returns
    the part of an item that `columns` show. `warning` is the text to print below the table.
    """

    def run(
        url: str | None,
        key: str | None,
        output: str,
        limit: int,
        order: str | None = None,
        after: str | None = None,
        **given: Any,
    ) -> None:
        with connect(url, key, scope, whole=whole) as client:
            asked = {}
            for each in filters:
                option = each.name.replace("-", "_")
                if given[option]:
                    asked[option] = each.checked(client, path, given[option])
            if paged:
                items = newest(client, path, asked, limit, order=order, after=after)
            else:
                items = list(client.pages(path, asked, limit=limit))
        if output == "json":
            print_json(items)
            return
        print_items(columns, [pick(item) for item in items], none=none)
        for item in items:
            if warning is not None and (text := warning.of(item)):
                click.echo(plain(f"warning: {item['name']}: {text}"), err=True)

    options = (
        *(each.option() for each in filters),
        *(_PAGING if paged else (_LIMIT,)),
        output_option,
        connection_options,
    )
    return _command(name, run, options, example=example, help=help)


def show_command(
    group: click.Group,
    noun: str,
    *,
    path: str,
    example: str,
    scope: str = "events:read",
    whole: bool = True,
    flag: Filter | None = None,
    flag_scope: str | None = None,
) -> Callable[[Callable[[Any], None]], click.Command]:
    """Decorate a function that prints one item of a list: add `show ID` to the group.

    The docstring is the help. If the user gives `flag`, the request includes more and needs
    `flag_scope`.
    """
    options = (
        click.argument("typed", metavar="ID", type=typed_id),
        *([flag.option()] if flag else []),
        output_option,
        connection_options,
    )

    def decorate(print_item: Callable[[Any], None]) -> click.Command:
        def run(url: str | None, key: str | None, output: str, typed: str, **given: bool) -> None:
            flags = [name for name, value in given.items() if value]
            needed = flag_scope if flags and flag_scope else scope
            with connect(url, key, needed, whole=whole) as client:
                id_ = resolve(client, noun, path, typed)
                item = client.get(f"{path}/{id_}", dict.fromkeys(flags, "true"))
            if output == "json":
                print_json(item)
            else:
                print_item(item)

        help_ = print_item.__doc__ or ""
        command = _command("show", run, options, example=example, help=help_)
        group.add_command(command)
        return command

    return decorate


def _command(
    name: str,
    run: Callable[..., None],
    options: Sequence[Callable[[Any], Any]],
    *,
    example: str,
    help: str,  # noqa: A002 - click's word
) -> click.Command:
    for option in reversed(options):
        run = option(run)
    return click.command(name, cls=Command, example=example, help=inspect.cleandoc(help))(run)


def segment(text: str) -> str:
    """Return a name as a segment of a URL's path."""
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
) -> Sequence[Item]:
    """Return the newest items in the order of the list, unless `order` or `after` is given.

    If there are more, the command's last line says how to list them.
    """
    latest = order is None and after is None
    direction = order or ("desc" if latest else "asc")
    place = {"order": direction} | ({} if after is None else {"after": after})
    found = client.listing(path, {**params, **place}, limit=limit)
    if found.more:
        which = f"the newest {limit}" if latest else f"{limit} of more"
        text = f"showing {which}; next: {_again(order=direction, after=found.next_cursor)}"
        # Printed when the command ends, below the table.
        click.get_current_context().call_on_close(lambda: click.echo(text, err=True))
    return found.items[::-1] if latest else found.items


def _again(**changes: str) -> str:
    """Return the typed command with changed options and without the key."""
    context = click.get_current_context()
    words = context.command_path.split()[1:]
    options = {p.name: p for p in context.command.params if isinstance(p, click.Option) and p.name}
    for name, option in options.items():
        typed = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not typed or name not in context.params or name in changes or name == "key":
            continue
        value = context.params[name]
        if option.is_flag:
            words.append(option.opts[0])
        else:
            for each in value if option.multiple else [value]:
                words += [option.opts[0], str(each)]
    for name, value in changes.items():
        words += [options[name].opts[0], value]
    return f"{with_config(program(), config_path())} {shlex.join(words)}"


def names_of(client: ApiClient, path: str) -> list[str] | None:
    """Return the names in a list of the API.

    If the key may not read it, return those of the configuration; None without one.
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
    """Raise Wrong for a filter on an unknown name, which would list nothing.

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
    """Call `act`; raise Wrong with the known names if the API knows no such name."""
    try:
        return act()
    except ApiProblem as exc:
        known = names_of(client, among) if exc.status == 404 else None  # noqa: PLR2004 - Not Found
        if known is None or name in known:
            raise
        raise unknown(kind, name, known) from None


def second(at: str) -> str:
    """Return a time without its fraction: `2026-09-14T18:42:37Z`."""
    whole, dot, _ = at.partition(".")
    return f"{whole}Z" if dot else at


def each(ids: Sequence[str], act: Callable[[str], str], *, missed: Collection[int]) -> None:
    """Call `act` for each id and print what it returns.

    API errors with a status of `missed` are collected and raised together at the end; another
    error ends the command at once.
    """
    failed = []
    for id_ in ids:
        try:
            click.echo(plain(act(id_)))
        except ApiProblem as exc:
            if exc.status not in missed:
                raise
            failed.append(f"{id_}: {exc.status} {exc.code}: {exc.detail}")
    if failed:
        raise Failure(*failed)
