"""Checks that need more than one option."""

from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

import msgspec

from core.event import SOURCE
from core.secret import Secret, digest_of
from receiver.fields.reader import AMOUNT
from receiver.source import Source
from routes.match import Invalid, compile_when
from routes.table import Route

from .complaints import Complaints, dotted, nearest
from .convert import Conversion
from .files import check_files
from .options import Api, Auditing, Sealing, Server, Tracing, hard_to_guess, host_and_port, network
from .yaml import Path


def check(
    reading: Complaints, values: Mapping[str, Any], conversion: Conversion, file: FilePath
) -> None:
    """Complain of options that are valid alone but not together."""
    checks = _Checks(reading)
    sources: dict[Path, msgspec.Struct] = {
        ("sources", name): source for name, source in values.get("sources", {}).items()
    }
    for path, source in (sources | conversion.untagged).items():
        if isinstance(source, Source):
            checks.source(path, source)
    checks.routes(values.get("routes", {}))
    api: Api = values.get("api", Api())
    _check_keys(reading, api)
    for path, value in conversion.free.items():
        if path[-1] == "when":
            checks.when(path, value)
    server: Server | None = values.get("server")
    if server and server.listen == server.admin_listen and host_and_port(server.listen)[1] != 0:
        text = "the same as server.listen; write `same` for one port"
        reading.complain(("server", "admin_listen"), text)
    seal: Sealing = values["seal"]
    if seal.root and seal.command:
        reading.complain(("seal", "command"), "`root` is also set; keep one of them")
    if seal.command == ():
        reading.complain(("seal", "command"), "empty; name a program, or leave it out")
    audit: Auditing = values["audit"]
    checks.anchors(audit)
    tracing: Tracing | None = values.get("tracing")
    at = ("tracing", "endpoint")
    if tracing is not None and tracing.endpoint is None and reading.is_right(at):
        text = "missing; write it here or in OTEL_EXPORTER_OTLP_ENDPOINT, or leave out `tracing`"
        reading.complain(at, text)
    check_files(reading, file, values["journal"], seal, values["sinks"], audit)


def _check_keys(reading: Complaints, api: Api) -> None:
    names: dict[bytes, str] = {}
    for name, key in api.keys.items():
        if "audit:read" in key.scopes and key.when is not None:
            text = "the audit log is about all events; leave out the scope audit:read, or `when`"
            reading.complain(("api", "keys", name, "when"), text)
        if key.reason is not None and "codes:reveal" not in key.scopes:
            text = "only the scope codes:reveal asks for a reason; add that scope, or omit reason"
            reading.complain(("api", "keys", name, "reason"), text)
        first = names.setdefault(digest_of(key.key), name)
        if first != name:
            text = f"the same as api.keys.{first}.key; give each its own"
            reading.complain(("api", "keys", name, "key"), text)


class _Checks:
    def __init__(self, reading: Complaints) -> None:
        self.reading = reading

    def source(self, path: Path, source: Source) -> None:
        if path[-1] == SOURCE:
            text = "reserved for events of the service itself; choose another name"
            self.reading.complain(path, text)
        tokens, backfill = (*path, "tokens"), (*path, "backfill")
        low_balance = (*path, "low_balance")
        complain, is_right = self.reading.complain, self.reading.is_right
        if source.sends_no_callbacks and source.backfill is None and is_right(backfill):
            complain(backfill, "missing; this provider sends no callbacks, so it must be polled")
        if source.backfill is not None and source.polling_api is None:
            complain(backfill, "this provider cannot be polled; leave it out")
        if source.low_balance is not None and is_right(low_balance):
            if not AMOUNT.fullmatch(source.low_balance):
                complain(low_balance, "not an amount; write digits, such as 5 or 0.50")
            elif source.backfill is None:
                complain(low_balance, "needs a `backfill`, which asks for the balance")
        if is_right(tokens) and not source.tokens and not source.sends_no_callbacks:
            complain(tokens, "empty; a callback URL needs one: `openssl rand -hex 16`")
        self.tokens(tokens, source.tokens)
        self.allow_from((*path, "allow_from"), source)

    def tokens(self, path: Path, tokens: Sequence[Secret]) -> None:
        places: dict[bytes, Path] = {}
        for at, token in self.reading.items(path, tokens):
            try:
                hard_to_guess(token)
            except ValueError as exc:
                self.reading.complain(at, str(exc))
            try:
                digest = digest_of(token)
            except ValueError as exc:
                self.reading.complain(at, str(exc))
                continue
            first = places.setdefault(digest, at)
            if first != at:
                self.reading.complain(at, f"the same as {dotted(('tokens', first[-1]))}")

    def allow_from(self, path: Path, source: Source) -> None:
        for at, entry in self.reading.items(path, source.allow_from):
            if entry == "documented":
                # An unknown provider may document addresses.
                if not source.documented and type(source) is not Source:
                    text = "this provider documents no addresses; write them, or leave it empty"
                    self.reading.complain(at, text)
                continue
            try:
                network(entry)
            except ValueError as exc:
                self.reading.complain(at, str(exc))

    def routes(self, routes: Mapping[str, Route]) -> None:
        for name, route in routes.items():
            for at, sink in self.reading.items(("routes", name, "to"), route.to):
                self.sink(at, sink)

    def anchors(self, audit: Auditing) -> None:
        for name, anchor in audit.anchors.items():
            if anchor.sink is not None:
                self.sink(("audit", "anchors", name, "sink"), anchor.sink)

    def sink(self, at: Path, sink: str) -> None:
        # A sink that is wrong itself still has its name.
        sinks = self.reading.value.get("sinks")
        names = list(sinks) if isinstance(sinks, dict) else []
        if sink not in names:
            known = f"sinks: {', '.join(names)}" if names else "there are no sinks"
            quoted = self.reading.quoted(at, sink)
            text = f"no sink is named {quoted}; {known}{nearest(sink, names)}"
            self.reading.complain(at, text)

    def when(self, path: Path, when: Mapping[str, Any]) -> None:
        # An unset variable left a null, which an operator may not accept.
        before = {complaint.place for complaint in self.reading.complaints}
        try:
            compile_when(when, dotted(path))
        except Invalid as exc:
            for place, text in exc.complaints:
                if place not in before:
                    self.reading.complain_at(place, text)
