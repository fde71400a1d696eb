"""How a command is declared, how it fails, and what it prints."""

import errno
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from core.errors import Unavailable
from core.printable import plain
from journal.lock import Held
from journal.sqlite.schema import WrongJournal

from ..config.complaints import nearest
from ..config.load import ConfigError
from .client import ApiProblem, Garbled, Unreachable
from .terminal import no_color_option

_CONFIG = "config"
DEFAULT_CONFIG = Path("smshook.yaml")


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


class CommandGroup(click.Group):
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
        case ApiProblem():
            refuse(exc)
        case OSError() if exc.errno != errno.EPIPE:  # whoever read us has enough: no failure
            raise Failure(": ".join(str(it) for it in (exc.filename, exc.strerror) if it)) from None


def refuse(problem: ApiProblem) -> NoReturn:
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
        except ApiProblem as exc:
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
