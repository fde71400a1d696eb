"""Reads the configuration again while the service runs, and puts it in force."""

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec
import structlog

from core.errors import Unavailable
from core.event import Complaints
from journal import Journal
from journal.audit.lines import Action
from journal.facts import names_or_count
from journal.reads import SinkRecords
from journal.records import SinkRecord
from journal.writes import ChangeFilters
from routes.table import CompiledRoute, compile_table

from ..config.differences import Differences, find_differences, keep_fixed
from ..config.load import ConfigError, Loaded
from ..config.options import Config
from .alerts import Alerts
from .audit import AuditFacts, loaded_fields
from .configured_sinks import ConfiguredSinks, SinkOptions, prepare, read_options
from .current import Current
from .keys import Keys, key_filters

#: A dotted path of an option.
_PLACE = re.compile(r"[a-z_]+([.\[][\w.\[\]-]+)?")

log = structlog.get_logger()


class Reloaded(Differences, frozen=True, kw_only=True):
    """The result of a reload: the differences that are in force now."""

    #: Options that differ, and keep their old values until a restart.
    needs_restart: tuple[str, ...]
    #: Valid settings that are probably not intended, each with its place.
    warnings: tuple[str, ...]


class ServiceEnds(Exception):
    """The service stops, so it takes no other configuration."""


class NotReloaded(Exception):
    """Nothing was changed. There are `complaints` about the configuration, or an `error`."""

    def __init__(self, error: str, complaints: tuple[str, ...] = ()) -> None:
        super().__init__(error)
        self.error, self.complaints = error, complaints


class _Read(msgspec.Struct, frozen=True):
    """A configuration that is checked and compiled, but not in force."""

    loaded: Loaded
    config: Config
    needs_restart: tuple[str, ...]
    routes: tuple[CompiledRoute, ...]
    sinks: Mapping[str, SinkOptions]


class Reloads:
    """Reloads the configuration, one reload at a time.

    `load` reads it as at the start. `ends` returns whether the service stops.
    """

    def __init__(
        self,
        load: Callable[[], Loaded],
        *,
        current: Current,
        journal: Journal,
        keys: Keys,
        sinks: ConfiguredSinks,
        facts: AuditFacts,
        ends: Callable[[], bool],
        alerts: Alerts,
    ) -> None:
        self._load, self._current, self._journal, self._keys = load, current, journal, keys
        self._sinks, self._facts, self._ends = sinks, facts, ends
        self._alerts = alerts
        self._lock = asyncio.Lock()
        self._wanted = asyncio.Event()

    def request(self) -> None:
        """Reload soon. Several requests before it begins are one."""
        self._wanted.set()

    async def run(self) -> None:
        """Reload after each `request`, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            with contextlib.suppress(NotReloaded):  # the reason is logged
                await self.reload()

    async def reload(self) -> Reloaded:
        """Read the configuration, and put it in force as a whole. Raises NotReloaded."""
        async with self._lock:
            try:
                # Reading takes long: callbacks go on meanwhile.
                read = await asyncio.to_thread(self._read)
                records = await self._make_ready(read.config)
            except Exception as exc:
                rejected = _rejected(exc)
                # Complaints repeat values of the file.
                complaints = len(rejected.complaints)
                fields = {"reason": rejected.error, "complaints": complaints}
                await self._record("config.refused", fields, partial(_log_rejected, rejected))
                await self._alerts.report(
                    "config_rejected",
                    "service",
                    {"complaints": _said(rejected)},
                    quiet=self._current.config.alerts.quiet,
                )
                raise rejected from exc
            if self._ends():
                rejected = _rejected(ServiceEnds("the service stops"))
                _log_rejected(rejected, None)
                raise rejected
            before, filters = self._current.config, self._keys.filters
            found = _with_files(find_differences(before, read.config), self._sinks.options, read)
            # No step waits: the new configuration is in force for the next callback.
            self._sinks.use(read.sinks, records)
            self._current.replace(read.config, read.routes)
            changed = names_or_count((*found.added, *found.changed, *found.removed))
            loaded = {**loaded_fields(read.config), "changed": changed}
            reloaded = _result(found, read)
            await self._record("config.loaded", loaded, partial(_log_reloaded, reloaded))
            unused = tuple(filters.keys() - self._keys.filters.keys())
            if unused:
                with contextlib.suppress(Unavailable):  # they only take space until the next start
                    await self._journal.submit(ChangeFilters(removed=unused))
                self._keys.changed.set()
        return reloaded

    async def _record(
        self, do: Action, fields: Mapping[str, Any], log_it: Callable[[int | None], None]
    ) -> None:
        """Record a fact, and log it with the number of its line, even if the caller is gone."""
        logged = asyncio.Event()

        def then(leaf: int | None) -> None:
            log_it(leaf)
            logged.set()

        self._facts.add(do, fields, then)
        await logged.wait()

    async def _make_ready(self, config: Config) -> Mapping[str, SinkRecord]:
        """Prepare what the configuration needs, and return the stored states of sinks.

        Raises Unusable and Unavailable.
        """
        await prepare(config.sinks)
        known = self._keys.filters
        wanted = key_filters(config.api.keys)
        added = {digest: holds for digest, holds in wanted.items() if digest not in known}
        if added:
            # Before a key is in force, each new event is indexed for its filter.
            await self._journal.submit(ChangeFilters(added=added))
        return await self._journal.ask(SinkRecords())

    def _read(self) -> _Read:
        """Read and compile the configuration, in a thread. Raises ConfigError."""
        loaded = self._load()
        config, needs_restart = keep_fixed(self._current.config, loaded.config)
        return _Read(
            loaded, config, needs_restart, compile_table(config.routes), read_options(config.sinks)
        )


def _said(rejected: NotReloaded) -> Complaints:
    """Return the number of complaints and the place of the first, without values of the file."""
    if not rejected.complaints:
        return Complaints(count=0, first=rejected.error)
    where, _, rest = rejected.complaints[0].partition(": ")
    place = rest.partition(": ")[0]
    first = f"{where}: {place}" if _PLACE.fullmatch(place) else where
    return Complaints(count=len(rejected.complaints), first=first)


def _rejected(exc: Exception) -> NotReloaded:
    """Return the reason why nothing was changed."""
    if isinstance(exc, ConfigError):
        return NotReloaded("the configuration is wrong", exc.complaints)
    # The text of another error may have a value.
    return NotReloaded(
        str(exc) if isinstance(exc, Unavailable | ServiceEnds) else type(exc).__name__
    )


def _log_rejected(rejected: NotReloaded, leaf: int | None) -> None:
    if rejected.complaints:
        log.error("config.rejected", complaints=rejected.complaints, leaf=leaf)
    else:
        log.error("config.rejected", error=rejected.error, leaf=leaf)


def _with_files(found: Differences, before: Mapping[str, SinkOptions], read: _Read) -> Differences:
    """Add the options that name a file which was replaced."""
    replaced = tuple(
        ".".join(("sinks", name, *at))
        for name, wanted in read.sinks.items()
        if name in before and before[name].sink == wanted.sink
        for at, version in wanted.files.items()
        if before[name].files.get(at) != version
    )
    return msgspec.structs.replace(found, changed=(*found.changed, *replaced))


def _result(found: Differences, read: _Read) -> Reloaded:
    return Reloaded(
        **msgspec.structs.asdict(found),
        needs_restart=read.needs_restart,
        warnings=read.loaded.warnings,
    )


def _log_reloaded(reloaded: Reloaded, leaf: int | None) -> None:
    for warning in reloaded.warnings:
        log.warning("config.warning", warning=warning)
    fields = {
        name: list(paths)
        for name, paths in msgspec.structs.asdict(reloaded).items()
        if paths and name != "warnings"
    }
    if reloaded.needs_restart:
        log.warning("config.reloaded", **fields, leaf=leaf)
    else:
        log.info("config.reloaded", **fields, leaf=leaf)
