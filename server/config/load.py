"""Loading of `smshook.yaml`. It is checked as a whole, and every complaint has its place."""

import hashlib
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from core.printable import is_utf8
from receiver.source import Source
from routes.table import Route

from .breaks import no_break
from .cautions import cautions
from .checks import check
from .clauses import clause_warnings
from .complaints import Complaints
from .convert import Conversion
from .environment import PREFIX, override
from .files import unwritable_files
from .options import (
    DEFAULT_LISTEN,
    ONLY_ACCESS,
    Api,
    ApiKey,
    Config,
    JournalOptions,
    Options,
    Retention,
    Sealing,
    Server,
    Tracing,
)
from .pipes import read_file
from .schema import schema_of
from .show import as_yaml
from .variables import replace
from .yaml import MAX_BYTES, Scalar, Style, parse
from .yaml import Path as Place

_JOURNAL_URL = re.compile(r"(?m)^[^#\n]*\burl: *[\"']?(sqlite:///[^\s\"'#,}]+)")


class ConfigError(Exception):
    """The configuration is wrong. Nothing was started or written."""

    def __init__(self, complaints: tuple[str, ...]) -> None:
        self.complaints = complaints
        super().__init__("\n".join(complaints))


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    config: Config
    #: Valid settings that are probably not intended, each with its place.
    warnings: tuple[str, ...]
    #: The file of each root key of `seal.root`; None: it comes from the environment.
    root_files: tuple[Path | None, ...] = ()


def load(
    path: Path,
    *,
    environ: Mapping[str, str],
    flags: Mapping[str, str] = {},
    rest: Callable[[], None] = no_break,
    now: Callable[[], float] = time.time,
) -> Loaded:
    """Combine defaults, the file, the environment, and `flags` by dotted path; the last one wins.

    `rest` is called often, and may take a break. Raises ConfigError with every complaint.
    """
    reading = Complaints(str(path), rest)
    values = _read(reading, path, environ, flags)
    if reading.complaints:
        raise ConfigError(reading.texts())
    config = Config(
        **values,
        path=path.absolute(),
        digest=reading.digest,
        retention_is_set="retention" in values,
    )
    return Loaded(
        config=config,
        root_files=tuple(_root_files(reading, config)),
        warnings=tuple(_warnings(reading, config, now())),
    )


class Settings:
    """The parts of a configuration that a command needs, even if other parts are wrong.

    A command that talks to the service needs a key and a token, not the secrets of sinks: an unset
    variable there is no error. Each property raises ConfigError with the complaints about the
    options that it reads.
    """

    def __init__(self, path: Path, *, environ: Mapping[str, str]) -> None:
        """Raises ConfigError if the file cannot be read at all."""
        self.path = path.absolute()
        self._reading = Complaints(str(path))
        self._values = _read(self._reading, path, environ, {})
        self._need(())

    @property
    def journal(self) -> Path:
        self._need(("journal",))
        journal: JournalOptions = self._values["journal"]
        return journal.path

    @property
    def keys(self) -> Mapping[str, ApiKey]:
        """The valid keys."""
        api: Api = self._values.get("api", Api())
        return api.keys

    @property
    def routes(self) -> Mapping[str, Route]:
        self._need(("routes",))
        return self._values.get("routes", {})  # type: ignore[no-any-return]

    @property
    def secret(self) -> str:
        self._need(("server", "secret"))
        server: Server = self._values["server"]
        return server.secret.reveal()

    @property
    def seal(self) -> Sealing:
        self._need(("seal",))
        seal: Sealing = self._values["seal"]
        return seal

    @property
    def key_file(self) -> Path:
        """The file of the wrapped keys. No root key is needed for its path."""
        self._need(("seal", "file"))
        seal: Sealing = self._values["seal"]
        return seal.path

    @property
    def retention(self) -> Retention:
        self._need(("retention",))
        retention: Retention = self._values.get("retention", Retention())
        return retention

    @property
    def listen(self) -> str:
        return self._server("listen") or DEFAULT_LISTEN

    @property
    def public_url(self) -> str | None:
        return self._server("public_url")

    def _server(self, option: str) -> str | None:
        self._need(("server", option))
        server: Server | None = self._values.get("server")
        if server is not None:
            found: str | None = getattr(server, option)
            return found
        # Without a secret there is no Server. Its addresses can be written all the same.
        written = self._reading.at(("server", option))
        return written.text if isinstance(written, Scalar) and not written.is_null else None

    def names(self, section: str) -> list[str]:
        """Return the names as written, right or wrong."""
        written = self._reading.at((section,))
        return list(written) if isinstance(written, dict) else []

    def source(self, name: str) -> Source | None:
        """Return the source with its tokens; None if no source has that name."""
        found: Source | None = self._values.get("sources", {}).get(name)
        for option in ("provider", "tokens") if found else ("",):
            self._need(("sources", name, option) if option else ("sources", name))
        return found

    def complaints(self, path: Place) -> tuple[str, ...]:
        """Return the complaints at the path, above it, below it, and about the whole file."""
        found = []
        for complaint in self._reading.in_order():
            at = complaint.path
            if complaint.where.startswith(PREFIX):
                # A variable may have no place in the file. Its name says where it belongs.
                at = (complaint.where.removeprefix(PREFIX).lower().partition("__")[0],)
            size = min(len(at), len(path))
            if at == path or (path and at[:size] == path[:size]):
                found.append(str(complaint))
        return tuple(found)

    def _need(self, path: Place) -> None:
        if found := self.complaints(path):
            raise ConfigError(found)


def shown(path: Path, environ: Mapping[str, str]) -> str:
    """Return the effective configuration as YAML, without its secrets, even of an invalid file.

    Complaints follow as comments.
    """
    reading = Complaints(str(path))
    read = _read(reading, path, environ, {})
    complaints = "".join(f"# {complaint}\n" for complaint in reading.texts())
    return (as_yaml(reading, Options) if read else "") + complaints


def schema() -> dict[str, Any]:
    """Return the file's JSON Schema, for editors."""
    return schema_of(Options)


class _JournalOnly(msgspec.Struct, frozen=True):
    journal: JournalOptions = JournalOptions()


def journal_of(path: Path, environ: Mapping[str, str]) -> Path:
    """Return the journal's path, even if the file is wrong; without a readable one, the default."""
    reading = Complaints(str(path))
    folder = path.absolute().parent
    if not _parse(reading, path):
        try:
            written = read_file(path, MAX_BYTES).decode(errors="replace")
            found = _JOURNAL_URL.search(written)
        except OSError:
            found = None
        reading.value = {"journal": {"url": Scalar(found[1], Style.QUOTED)}} if found else {}
    override(reading, Options, environ=environ, flags={})
    replace(reading, environ, folder)
    # A running service started with a valid file. Later mistakes do not change its journal.
    known = {"journal": reading.at(("journal",)) or {}}
    options = Conversion(reading).options((), _JournalOnly, known)
    journal: JournalOptions = options.get("journal", JournalOptions())
    return journal.under(folder).path


def digest_of_file(data: bytes) -> str:
    """Return the SHA-256 of the file in hex, as the audit log and `sha256sum` show it."""
    return hashlib.sha256(data).hexdigest()


def _read(
    reading: Complaints, path: Path, environ: Mapping[str, str], flags: Mapping[str, str]
) -> dict[str, Any]:
    """Return the valid options. The complaints about the others are in `reading`."""
    if not _parse(reading, path):
        return {}
    folder = path.absolute().parent
    override(reading, Options, environ=environ, flags=flags)
    replace(reading, environ, folder)
    conversion = Conversion(reading)
    values = conversion.options((), Options, reading.value)
    sinks = values.get("sinks", {})
    values["sinks"] = {name: sink.under(folder) for name, sink in sinks.items()}
    values["journal"] = values.get("journal", JournalOptions()).under(folder)
    values["seal"] = values.get("seal", Sealing()).under(folder)
    values["audit"] = values.get("audit", ONLY_ACCESS).under(folder)
    tracing: Tracing | None = values.pop("tracing", None)
    if tracing is not None:
        try:
            values["tracing"] = tracing.with_environment(environ)
        except ValueError as exc:
            reading.complain(("tracing",), str(exc))
    check(reading, values, conversion, path.absolute())
    return values


def _parse(reading: Complaints, path: Path) -> bool:
    """Return whether there is a mapping to continue with."""
    if not is_utf8(str(path.absolute())):
        # The address of the service, the audit log and answers have paths.
        reading.complain((), "its folder or its name is not UTF-8; rename it")
        return False
    try:
        data = read_file(path, MAX_BYTES + 1)
    except FileNotFoundError:
        reading.complain((), "no such file; `smshook init` writes one")
        return False
    except OSError as exc:
        reading.complain((), f"cannot be read: {exc.strerror}")
        return False
    reading.digest = digest_of_file(data)
    written = parse(data, reading.rest)
    reading.places.update({at: f"{reading.file}:{line}" for at, line in written.lines.items()})
    for line, at, text in written.complaints:
        # A path may have two lines: a key given twice.
        reading.complain_in(f"{reading.file}:{line}", at, text)
    # An empty file is right where the environment has everything.
    value = {} if written.value is None else written.value
    if not isinstance(value, dict):
        reading.complain((), "expected a mapping, such as `sources:` and `sinks:`")
        return False
    reading.value = value
    return bool(written.lines) or not written.complaints


def _root_files(reading: Complaints, config: Config) -> Iterator[Path | None]:
    """Yield the file that each root key was read from; None: it comes from the environment."""
    for i in range(len(config.seal.root)):
        at = ("seal", "root", i)
        written = reading.at(at)
        if isinstance(written, Scalar) and written.is_replaced:
            yield from reading.read_files.get(at, [None])
        else:
            yield config.path if reading.warning(at, "").startswith(reading.file) else None


def _warnings(reading: Complaints, config: Config, now: float) -> Iterator[str]:
    try:
        mode = stat.S_IMODE(config.path.stat().st_mode)
    except OSError:
        mode = 0
    if mode & 0o077:
        yield reading.warning((), f"others can read it, secrets included; chmod 600 {reading.file}")
    for place, text in reading.notes:
        yield reading.warning(place, text)
    yield from unwritable_files(reading, config.sinks, config.audit)
    used = {sink for route in config.routes.values() for sink in route.to}
    used |= {anchor.sink for anchor in config.audit.anchors.values() if anchor.sink is not None}
    for name in config.sinks:
        if name not in used:
            yield reading.warning(("sinks", name), "no route names it: it gets no events")
    for name, route in config.routes.items():
        if not route.to:
            yield reading.warning(("routes", name, "to"), "empty: its events are sent nowhere")
    filters: list[tuple[Place, Any, list[str] | None]] = [
        (("routes", name, "when"), route.when, list(config.sources))
        for name, route in config.routes.items()
    ]
    # A key may select events of a source that no longer exists.
    filters += [(("api", "keys", n, "when"), key.when, None) for n, key in config.api.keys.items()]
    for path, when, sources in filters:
        reading.rest()
        yield from clause_warnings(reading, path, when, sources)
    yield from cautions(reading, config, now)
