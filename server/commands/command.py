"""How a command is declared, how it fails, and what it prints."""

import errno
import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from journal.commit import Unavailable
from journal.lock import Held
from journal.plain import is_unseen, plain
from journal.sqlite import WrongJournal

from ..client import Garbled, Problem, Unreachable
from ..config import ConfigError
from ..reading import nearest
from .table import Cell, Column, as_cell, echo_lines, table_lines, width_of
from .terminal import no_color_option, screen

_CONFIG = "config"
DEFAULT_CONFIG = Path("smshook.yaml")
#: Characters of a cell in a list.
_LONGEST_CELL = 60


class Failure(click.ClickException):
    """It failed."""

    exit_code = 1

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(plain(line) for line in lines))

    def show(self, file: Any = None) -> None:
        """The lines alone: a complaint begins with its place, so that editors find it."""
        click.echo(self.format_message(), file=file, err=file is None)


class Wrong(Failure):
    """The command line or the configuration is wrong; nothing was started or written."""

    exit_code = 2


def _remember(ctx: click.Context, _option: click.Parameter, value: Path | None) -> None:
    # The one behind the command's name is read last, and wins.
    if value is not None:
        ctx.find_root().meta[_CONFIG] = value


def config_option() -> click.Option:
    return click.Option(
        ["--config"],
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=_remember,
        metavar="PATH",
        help="Configuration file.  [default: $SMSHOOK_CONFIG, else smshook.yaml]",
    )


def config_path() -> Path:
    """Of the configuration that is meant."""
    return Path(typed_config() or os.environ.get("SMSHOOK_CONFIG") or DEFAULT_CONFIG)


def typed_config() -> Path | None:
    """What `--config` says."""
    return config_of(click.get_current_context())


def config_of(ctx: click.Context) -> Path | None:
    path: Path | None = ctx.find_root().meta.get(_CONFIG)
    return path


class Command(click.Command):
    """Takes `--config` behind its name too, and shows how it is typed."""

    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        kwargs["epilog"] = f"\b\nExample:\n  smshook {example}"
        super().__init__(*args, **kwargs)
        self.params += [config_option(), no_color_option()]

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as exc:
            _told(exc)
            raise


class Group(click.Group):
    """Commands of one subject."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [config_option(), no_color_option()]


def _told(exc: Exception) -> None:
    """What can be foreseen is said in a line or a few, and gives the exit code."""
    match exc:
        case ConfigError():
            raise Wrong(*exc.complaints) from None
        case WrongJournal():
            raise Wrong(str(exc)) from None
        case Held() | Unavailable() | Unreachable() | Garbled():
            raise Failure(str(exc)) from None
        case Problem():
            refuse(exc)
        case OSError() if exc.errno != errno.EPIPE:  # whoever read us has enough: no failure
            raise Failure(": ".join(str(it) for it in (exc.filename, exc.strerror) if it)) from None


def refuse(problem: Problem) -> NoReturn:
    """400 says that the command line makes no sense; every other answer that it failed."""
    said = f"{problem.status} {problem.code}"
    line = f"{said}: {problem.detail}" if problem.detail else said
    if problem.status == 400:  # noqa: PLR2004 - Bad Request
        raise Wrong(line) from None
    if problem.status in (401, 403):
        line += "; another key: --key, or SMSHOOK_API_KEY"
    raise Failure(line) from None


def each(ids: Sequence[str], act: Callable[[str], str], *, missed: Collection[int]) -> None:
    """Do it to each of several, and say what came of it, whatever became of the one before.

    An answer with a status of `missed` is told in the end, as a Failure; another ends it.
    """
    failed = []
    for id_ in ids:
        try:
            said = act(id_)
        except Problem as exc:
            if exc.status not in missed:
                refuse(exc)
            failed.append(f"{id_}: {exc.status} {exc.code}: {exc.detail}")
        else:
            click.echo(plain(said))
    if failed:
        raise Failure(*failed)


def unknown(kind: str, name: str, names: Sequence[str]) -> Wrong:
    """`no source is named 'tellabto'; sources: tellabot; did you mean 'tellabot'?`."""
    known = f"{kind}s: {', '.join(names)}" if names else f"there are no {kind}s"
    return Wrong(f"no {kind} is named {name!r}; {known}{nearest(name, names)}")


class Choice(click.Choice[str]):
    """One of some words; an error suggests the nearest."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        words = [str(choice) for choice in self.choices]
        return super().get_invalid_choice_message(value, ctx).rstrip(".") + nearest(
            str(value), words
        )


class Named(click.ParamType[str]):
    """One of some words that are too many for a help text."""

    name = "text"

    def __init__(self, kind: str, names: Callable[[], Sequence[str]]) -> None:
        self.kind, self.names = kind, names

    def convert(
        self, value: Any, _param: click.Parameter | None, _ctx: click.Context | None
    ) -> str:
        """Raises Wrong, which lists them and suggests the nearest."""
        if value not in (known := self.names()):
            raise unknown(self.kind, value, known)
        return str(value)

    def shell_complete(
        self, _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(name) for name in self.names() if name.startswith(incomplete)]


output_option = click.option(
    "--output",
    type=Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="A table for people, or JSON for programs.",
)


def print_json(value: Any) -> None:
    """As it is read, but for what could drive the terminal: that is escaped."""
    text = _json(value, is_unseen)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        # On a terminal of another encoding it would become `\xe9`, which is no JSON.
        text = _json(value, lambda char: is_unseen(char) or not char.isascii())
    click.echo(text)


def _json(value: Any, is_escaped: Callable[[str], bool]) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    # The line ends of the layout stay; those of texts are escaped by now.
    return "".join(_escape(char) if char != "\n" and is_escaped(char) else char for char in text)


def _escape(char: str) -> str:
    r"""`\u001b`; two of them for what 16 bits do not hold."""
    # A surrogate may be alone.
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def print_table(
    headers: Sequence[str | Column],
    rows: Sequence[Sequence[Any]],
    *,
    none: str,
    whole: bool = False,
) -> None:
    """Print rows of values or Cells, one line each; on a terminal no line is wider than it.

    An empty table prints `none` to stderr instead: a program that counts lines finds none. In a
    pipe long cells are cut to 60 characters, unless `whole` is set.
    """
    if not rows:
        click.echo(none, err=True)
        return
    columns = [header if isinstance(header, Column) else Column(header, 8) for header in headers]
    show = cell if whole else _short
    cells = [[as_cell(value, show(value)) for value in row] for row in rows]
    on = screen()
    echo_lines(table_lines(columns, cells, on), on)


def _short(value: Any) -> str:
    if isinstance(value, Cell):
        return value.text
    if isinstance(value, list | tuple):
        # Each item is cut separately: the last use of a second token is what a rotation needs.
        return ", ".join(_short(item) for item in value) or "-"
    text = cell(value)
    return text if len(text) <= _LONGEST_CELL else f"{text[: _LONGEST_CELL - 1]}…"


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print one line for each field, the names in one column."""
    widest = max(map(width_of, fields), default=0)
    for name, value in fields.items():
        click.echo(f"{name}{' ' * (widest - width_of(name))}  {cell(value)}".rstrip())


def flat(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each field with its dotted name, such as `price.amount`; an empty object is None."""
    for name, item in value.items():
        if isinstance(item, dict) and item:
            yield from flat(item, f"{path}{name}.")
        else:
            yield f"{path}{name}", item or None if isinstance(item, dict) else item


def cell(value: Any) -> str:
    """Any value of the API in one line that a terminal may be shown."""
    match value:
        case None:
            return "-"
        case str():
            return plain(value)
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(cell(item) for item in value) or "-"
        case dict():
            return plain(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return plain(str(value))
