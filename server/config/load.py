"""`smshook.yaml`: read once, checked whole, every complaint with its place."""

import hashlib
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from core.secret import Secret, digest_of
from receiver.providers import PROVIDERS
from receiver.source import Source
from routes.match import Invalid, compile_when
from routes.table import Route
from sinks import SINKS
from sinks.sink import Sink

from .cautions import cautions
from .clauses import impossible_clauses
from .complaints import Complaint, Complaints, dotted, nearest
from .convert import Choices, Conversion
from .environment import PREFIX, override
from .files import ConfiguredFiles, missing_folders
from .options import (
    DEFAULT_LISTEN,
    Api,
    ApiKey,
    Config,
    JournalOptions,
    Options,
    Server,
    hard_to_guess,
    host_and_port,
    network,
)
from .schema import schema_of
from .service_spellings import former_spellings
from .show import as_yaml
from .variables import replace
from .yaml import MAX_BYTES, parse
from .yaml import Path as Place

__all__ = [
    "Api",
    "ApiKey",
    "Config",
    "ConfigError",
    "JournalOptions",
    "Loaded",
    "Server",
    "Settings",
    "host_and_port",
    "journal_of",
    "load",
    "schema",
    "shown",
]

#: What stands for a source or a sink, by its tag.
CHOICES: Choices = {Source: PROVIDERS, Sink: SINKS}


_T = TypeVar("_T")

#: Of `low_balance`: digits, as amounts of events are written.
_AMOUNT = re.compile(r"[0-9]{1,15}(\.[0-9]{1,30})?")
_JOURNAL_URL = re.compile(r"(?m)^[^#\n]*\burl: *[\"']?(sqlite:///[^\s\"'#,}]+)")


class ConfigError(Exception):
    """The configuration cannot be meant; nothing was started or written."""

    def __init__(self, complaints: Iterable[str]) -> None:
        self.complaints = tuple(complaints)
        super().__init__("\n".join(self.complaints))


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    config: Config
    #: What can be meant and probably is not; each with its place.
    warnings: tuple[str, ...]


def load(path: Path, *, environ: Mapping[str, str], flags: Mapping[str, str] = {}) -> Loaded:
    """Defaults, the file, the environment, `flags` by dotted path (`server.listen`): in this order.

    Raises ConfigError with every complaint.
    """
    reading = Complaints(str(path))
    values = _read(reading, path, environ, flags)
    if reading.complaints:
        raise ConfigError(reading.told())
    config = Config(**values, path=path.absolute(), digest=reading.digest)
    return Loaded(config=config, warnings=tuple(_warnings(reading, config)))


class Settings:
    """What a command needs of a configuration, whatever is wrong in the rest of it.

    A command that talks to the service needs a key and a token, not the secrets of sinks: a
    variable that is not set there is no error. Each property raises ConfigError with what is wrong
    in the options that it reads.
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
        """Those that are right."""
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
    def listen(self) -> str:
        return self._server("listen") or DEFAULT_LISTEN

    @property
    def public_url(self) -> str | None:
        return self._server("public_url")

    def _server(self, option: str) -> str | None:
        # Without a secret there is no Server; its addresses are written all the same.
        self._need(("server", option))
        server: Server | None = self._values.get("server")
        found = self._reading.at(("server", option)) if server is None else getattr(server, option)
        return None if found is None else str(found)

    def names(self, section: str) -> list[str]:
        """As written, right or wrong."""
        written = self._reading.at((section,))
        return list(written) if isinstance(written, dict) else []

    def source(self, name: str) -> Source | None:
        """With its tokens; None if there is none of that name."""
        found: Source | None = self._values.get("sources", {}).get(name)
        for option in ("provider", "tokens") if found else ("",):
            self._need(("sources", name, option) if option else ("sources", name))
        return found

    def complaints(self, path: Place) -> tuple[str, ...]:
        """What is wrong at the path, below it, or with the whole file."""
        return self._reading.told(lambda complaint: _concerns(complaint, path))

    def _need(self, path: Place) -> None:
        if found := self.complaints(path):
            raise ConfigError(found)


def _concerns(complaint: Complaint, path: Place) -> bool:
    at = complaint.path
    if complaint.where.startswith(PREFIX):
        # A variable without a place in the file: its name says where it belongs.
        name = complaint.where.removeprefix(PREFIX).lower().partition("__")[0]
        return bool(path) and path[0] == name
    if not path:
        return not at
    size = min(len(at), len(path))
    return at[:size] == path[:size]


def shown(path: Path, environ: Mapping[str, str]) -> str:
    """The effective configuration as YAML, without its secrets; of an invalid file what is read.

    What is wrong follows as comments.
    """
    reading = Complaints(str(path))
    read = _read(reading, path, environ, {})
    complaints = "".join(f"# {complaint}\n" for complaint in reading.told())
    return (as_yaml(reading, Options, CHOICES) if read else "") + complaints


def journal_of(path: Path, environ: Mapping[str, str]) -> Path:
    """Where the journal is, whatever else is wrong: as far as can be told, else the default."""
    reading = Complaints(str(path))
    folder = path.absolute().parent
    if not _parse(reading, path):
        reading.value = _journal_in(path)
    override(reading, Options, CHOICES, environ=environ, flags={})
    replace(reading, environ, folder)
    # A service that runs began with a right one: what is wrong now, it does not use.
    written = {"journal": reading.at(("journal",)) or {}}
    options = Conversion(reading, CHOICES).options((), _JournalOnly, written)
    journal: JournalOptions = options.get("journal", JournalOptions())
    return journal.under(folder).path


def digest_of_file(data: bytes) -> str:
    """What tells one version of a file from another; nothing of its text can be told from it.

    Half a SHA-256, and kept only where the file's owner alone can read it.
    """
    return hashlib.sha256(data).hexdigest()[:32]


class _JournalOnly(msgspec.Struct, frozen=True):
    journal: JournalOptions = JournalOptions()


def _journal_in(path: Path) -> dict[str, Any]:
    """What a file that is no YAML seems to say of it."""
    try:
        found = _JOURNAL_URL.search(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return {}
    return {"journal": {"url": found[1]}} if found else {}


def schema() -> dict[str, Any]:
    """The file's JSON Schema, for editors."""
    return schema_of(Options, CHOICES)


def _read(
    reading: Complaints, path: Path, environ: Mapping[str, str], flags: Mapping[str, str]
) -> dict[str, Any]:
    """What is right in the configuration; what is wrong is in the reading."""
    if not _parse(reading, path):
        return {}
    folder = path.absolute().parent
    override(reading, Options, CHOICES, environ=environ, flags=flags)
    replace(reading, environ, folder)
    conversion = Conversion(reading, CHOICES)
    values = conversion.options((), Options, reading.value)
    sinks = values.get("sinks", {})
    values["sinks"] = {name: sink.under(folder) for name, sink in sinks.items()}
    values["journal"] = values.get("journal", JournalOptions()).under(folder)
    _Checks(reading).all(values, conversion.untagged)
    ConfiguredFiles(reading, path.absolute(), values["journal"], values["sinks"]).check()
    return values


def _parse(reading: Complaints, path: Path) -> bool:
    """Whether there is something to go on with."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        reading.complain((), "no such file; `smshook init` writes one")
        return False
    except OSError as exc:
        reading.complain((), f"cannot be read: {exc.strerror}")
        return False
    reading.digest = digest_of_file(data)
    written = parse(data)
    reading.places.update({at: f"{reading.file}:{line}" for at, line in written.lines.items()})
    for line, at, text in written.complaints:
        # A path may have two lines: a key given twice.
        reading.complain_in(f"{reading.file}:{line}", at, text)
    # An empty file is fine where the environment says all.
    value = {} if written.value is None else written.value
    if not isinstance(value, dict):
        reading.complain((), "expected a mapping, such as `sources:` and `sinks:`")
        return False
    reading.value = value
    return bool(written.lines) or not written.complaints


class _Checks:
    """What one option alone cannot tell."""

    def __init__(self, reading: Complaints) -> None:
        self.reading = reading

    def all(self, values: Mapping[str, Any], untagged: Mapping[Place, msgspec.Struct]) -> None:
        for name, source in values.get("sources", {}).items():
            self.source(("sources", name), source)
        for path, some in untagged.items():
            if isinstance(some, Source):
                self.source(path, some)
        self.routes(values.get("routes", {}))
        self.keys(values.get("api", Api()).keys)
        for path in _filters(self.reading):
            self.when(path)
        if "server" in values:
            self.server(values["server"])

    def source(self, path: Place, source: Source) -> None:
        tokens = (*path, "tokens")
        backfill = (*path, "backfill")
        if source.sends_no_callbacks and source.backfill is None and self.reading.fine(backfill):
            self.reading.complain(backfill, "none; it sends no callbacks: ask it")
        if source.backfill is not None and source.polling_api is None:
            self.reading.complain(backfill, "this provider cannot be asked; leave it out")
        self.low_balance((*path, "low_balance"), source)
        if self.reading.fine(tokens) and not source.tokens and not source.sends_no_callbacks:
            self.reading.complain(tokens, "empty; a callback URL needs one: `openssl rand -hex 16`")
        self.tokens(tokens, source.tokens)
        self.allow_from((*path, "allow_from"), source)

    def low_balance(self, path: Place, source: Source) -> None:
        if source.low_balance is None or not self.reading.fine(path):
            return
        if not _AMOUNT.fullmatch(source.low_balance):
            self.reading.complain(path, 'not an amount; write digits in quotes, such as "5"')
        elif source.backfill is None:
            self.reading.complain(path, "needs a `backfill`, which asks for the balance")

    def placed(self, path: Place, items: Sequence[_T]) -> list[tuple[int, _T]]:
        """The items with their places in what was written: what is wrong there is left out."""
        written = self.reading.at(path)
        size = len(written) if isinstance(written, list) else len(items)
        fine = (i for i in range(size) if self.reading.fine((*path, i)))
        return list(zip(fine, items, strict=False))

    def tokens(self, path: Place, tokens: Sequence[Secret]) -> None:
        digests: dict[bytes, int] = {}
        for i, token in self.placed(path, tokens):
            try:
                hard_to_guess(token)
            except ValueError as exc:
                self.reading.complain((*path, i), str(exc))
            digest = self.digest((*path, i), token)
            if digest is not None and digests.setdefault(digest, i) != i:
                self.reading.complain((*path, i), f"the same as tokens[{digests[digest]}]")

    def digest(self, path: Place, secret: Secret) -> bytes | None:
        try:
            return digest_of(secret)
        except ValueError as exc:
            self.reading.complain(path, str(exc))
            return None

    def allow_from(self, path: Place, source: Source) -> None:
        for i, entry in self.placed(path, source.allow_from):
            if entry == "documented":
                # Of a provider that is not known nobody knows what it documents.
                if not source.documented and type(source) is not Source:
                    text = "this provider documents no addresses; write them, or leave it empty"
                    self.reading.complain((*path, i), text)
                continue
            try:
                network(entry)
            except ValueError as exc:
                self.reading.complain((*path, i), str(exc))

    def routes(self, routes: Mapping[str, Route]) -> None:
        # Those that are wrong themselves are there all the same.
        sinks = self.reading.value.get("sinks")
        names = list(sinks) if isinstance(sinks, dict) else []
        for name, route in routes.items():
            to = ("routes", name, "to")
            for i, sink in self.placed(to, route.to):
                if sink not in names:
                    self.no_sink((*to, i), sink, names)

    def no_sink(self, path: Place, sink: str, names: list[str]) -> None:
        quoted = self.reading.quoted(path, sink)
        known = f"sinks: {', '.join(names)}" if names else "there are no sinks"
        self.reading.complain(path, f"no sink is named {quoted}; {known}{nearest(sink, names)}")

    def keys(self, keys: Mapping[str, ApiKey]) -> None:
        digests: dict[bytes, str] = {}
        for name, key in keys.items():
            first = digests.setdefault(digest_of(key.key), name)
            if first != name:
                path = ("api", "keys", name, "key")
                self.reading.complain(path, f"the same as api.keys.{first}.key; whose is it?")

    def when(self, path: Place) -> None:
        # A variable that is not set left a null, which an operator may not take.
        before = {complaint.place for complaint in self.reading.complaints}
        try:
            compile_when(self.reading.at(path), dotted(path))
        except Invalid as exc:
            for place, text in exc.complaints:
                if place not in before:
                    self.reading.complain_at(place, text)

    def server(self, server: Server) -> None:
        taken = server.listen == server.admin_listen and host_and_port(server.listen)[1] != 0
        if taken:
            self.reading.complain(
                ("server", "admin_listen"), "the same as server.listen; write `same` for one port"
            )


def _warnings(reading: Complaints, config: Config) -> Iterable[str]:
    try:
        mode = stat.S_IMODE(config.path.stat().st_mode)
    except OSError:
        mode = 0
    if mode & 0o077:
        yield reading.warning((), f"others can read it, secrets included; chmod 600 {reading.file}")
    for place, text in reading.notes:
        yield reading.warning(place, text)
    yield from missing_folders(reading, config.sinks)
    used = {sink for route in config.routes.values() for sink in route.to}
    for name in config.sinks:
        if name not in used:
            yield reading.warning(("sinks", name), "no route names it: it gets no events")
    for name, route in config.routes.items():
        if not route.to:
            yield reading.warning(("routes", name, "to"), "empty: its events are sent nowhere")
    for path in _filters(reading):
        # A key may look at events of a source that is gone.
        sources = list(config.sources) if path[0] == "routes" else None
        yield from impossible_clauses(reading, path, sources)
        yield from former_spellings(reading, path)
    yield from cautions(reading, config)


def _filters(reading: Complaints) -> Iterator[Place]:
    """Where a `when` is written, whether what stands around it is right or not."""
    for section in (("routes",), ("api", "keys")):
        named = reading.at(section)
        for name in named if isinstance(named, dict) else ():
            path = (*section, name, "when")
            if isinstance(reading.at(path), dict):
                yield path
