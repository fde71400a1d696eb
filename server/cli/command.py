"""Commands, groups and their errors."""

import contextlib
import errno
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from core.printable import is_utf8, named, plain

from .terminal import no_color_option, remember

_CONFIG = "config"
DEFAULT_CONFIG = Path("smshook.yaml")


class Failure(click.ClickException):
    """The command failed; exit code 1."""

    exit_code = 1

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(plain(line) for line in lines))

    def show(self, file: Any = None) -> None:
        """Print the lines alone. A complaint begins with its place: editors open it."""
        click.echo(self.format_message(), file=file, err=file is None)


class Wrong(Failure):
    """The command line or the configuration is wrong, nothing was changed; exit code 2."""

    exit_code = 2


def config_option() -> click.Option:
    return click.Option(
        ["--config"],
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=remember(_CONFIG),
        metavar="PATH",
        help="Configuration file.  [default: $SMSHOOK_CONFIG, else smshook.yaml]",
    )


def config_path(ctx: click.Context | None = None) -> Path:
    """Return the path of the configuration to use."""
    return Path(typed_config(ctx) or os.environ.get("SMSHOOK_CONFIG") or DEFAULT_CONFIG)


def typed_config(ctx: click.Context | None = None) -> Path | None:
    """Return the path given with `--config`."""
    path: Path | None = (ctx or click.get_current_context()).find_root().meta.get(_CONFIG)
    return path


class Command(click.Command):
    """A command that also accepts `--config` after its name, with an example in its help."""

    def __init__(self, *args: Any, example: str, **kwargs: Any) -> None:
        kwargs["epilog"] = f"\b\nExample:\n  smshook {example}"
        super().__init__(*args, **kwargs)
        self.params += [config_option(), no_color_option()]

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as exc:
            failure = failure_of(exc)
            if failure is None:
                raise
            raise failure from None


def failure_of(exc: Exception) -> Failure | None:
    """Return the error of a command for an error of the service's parts; None: it is a fault."""
    # Imported here: a command that succeeds does not need SQLite and every provider.
    from core.errors import Unavailable  # noqa: PLC0415
    from journal.key_file import Damaged  # noqa: PLC0415
    from journal.keyring import UnknownRoot  # noqa: PLC0415
    from journal.lock import Held  # noqa: PLC0415
    from journal.sqlite.schema import WrongJournal  # noqa: PLC0415

    from ..config.load import ConfigError  # noqa: PLC0415
    from ..config.roots import NoRootKey  # noqa: PLC0415

    match exc:
        case Failure():
            return exc
        case ConfigError():
            return Wrong(*exc.complaints)
        case WrongJournal() | UnknownRoot():
            return Wrong(str(exc))
        case Held() | Unavailable() | Damaged() | NoRootKey():
            return Failure(str(exc))
        # EPIPE is no failure: the reader of the pipe has read enough.
        case OSError() if exc.errno != errno.EPIPE:
            return Failure(
                ": ".join(str(part) for part in (exc.filename, exc.strerror) if part) + _owner(exc)
            )
    return None


def _owner(exc: OSError) -> str:
    """Return who owns the file that this user may not use. It is empty for other errors."""
    if isinstance(exc, PermissionError) and exc.filename:
        with contextlib.suppress(OSError, KeyError):
            return f"; it belongs to the user {Path(exc.filename).owner()}"
    return ""


class CommandGroup(click.Group):
    """A group of commands."""

    command_class = Command

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [config_option(), no_color_option()]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # The API, the journal and the log have only UTF-8.
        wrong = next((argument for argument in args if not is_utf8(argument)), None)
        if wrong is not None:
            raise Wrong(f"{named(wrong)}: not UTF-8; write ordinary text")
        return super().parse_args(ctx, args)


def unknown(kind: str, name: str, names: Sequence[str]) -> Wrong:
    """Return `no source is named 'tellabto'; sources: tellabot; did you mean 'tellabot'?`."""
    from ..config.complaints import nearest  # noqa: PLC0415 - it imports a parser of YAML

    known = f"{kind}s: {', '.join(names)}" if names else f"there are no {kind}s"
    return Wrong(f"no {kind} is named {named(name)!r}; {known}{nearest(name, names)}")


class Choice(click.Choice[str]):
    """A choice whose error suggests the nearest word."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        from ..config.complaints import nearest  # noqa: PLC0415 - it imports a parser of YAML

        words = [str(choice) for choice in self.choices]
        return super().get_invalid_choice_message(value, ctx).rstrip(".") + nearest(
            str(value), words
        )


class FiniteRange(click.FloatRange):
    """A range of numbers, in which click would find `nan` and `inf`."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


class Named(click.ParamType[str]):
    """A choice of more words than a help text can list."""

    name = "text"

    def __init__(self, kind: str, names: Sequence[str]) -> None:
        self.kind, self.names = kind, names

    def convert(
        self, value: Any, _param: click.Parameter | None, _ctx: click.Context | None
    ) -> str:
        """Raise Wrong, which lists the words and suggests the nearest."""
        if value not in self.names:
            raise unknown(self.kind, value, self.names)
        return str(value)

    def shell_complete(
        self, _ctx: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(name) for name in self.names if name.startswith(incomplete)]
