"""The options of `smshook.yaml`: default, check, and a reason to change each."""

import base64
import binascii
import hashlib
import ipaddress
import os
import re
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

import msgspec

from core.instants import parse_rfc3339
from core.secret import Secret, digest_of
from core.units import Duration, Rate, Size
from receiver.source import Source
from routes.table import Route
from sinks.file.rotation import Rotate
from sinks.http.client import check_url
from sinks.http.guard import PRIVATE
from sinks.http.sink import check_headers
from sinks.sink import Sink

from .alerting import Alerting, Heartbeat
from .shapes import Check

_LISTEN = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>\d{1,5})")
_SHORTEST_SECRET = 32
_SHORTEST_ROOT = 32
#: Seconds: a shorter period makes many keys, a longer one erases less exactly.
_SHORTEST_PERIOD, _LONGEST_PERIOD = 10 * 60, 24 * 3600
# Callback URLs are on the internet: attackers find a shorter token by trying.
_SHORTEST_TOKEN = 16
_SQLITE = "sqlite:///"
#: Bytes of the key of a cosignature: its type, 0x04, and a key of Ed25519.
_WITNESS_KEY = 1 + 32
DEFAULT_LISTEN = "127.0.0.1:8080"


def host_and_port(listen: str) -> tuple[str, int]:
    """`[::1]:8080` -> ("::1", 8080). Raises ValueError for anything else."""
    match = _LISTEN.fullmatch(listen)
    if match is None or int(match["port"]) > 65535:  # noqa: PLR2004 -- the last port
        raise ValueError("write host:port, such as 127.0.0.1:8080 or [::1]:8080")
    host = match["v6"] or match["host"]
    if match["v6"] or re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.ip_address(host)
        except ValueError:
            text = "not an address; write one such as 127.0.0.1:8080 or [::1]:8080"
            raise ValueError(text) from None
    return host, int(match["port"])


def _listen(*words: str) -> Check:
    """Return a check of `host:port`, which lets the words pass."""

    def check(text: str) -> str:
        if text not in words:
            host_and_port(text)
        return text

    return Check(check)


def network(text: str) -> str:
    """Return an address or a network as written. Raises ValueError for anything else."""
    try:
        ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise ValueError(
            "neither an address nor a network; write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"
        ) from None
    return text


def _public_url(text: str) -> str:
    wrong = ValueError("write http:// or https://, a host and maybe a path, and nothing after it")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise wrong from None
    plain = text.isprintable() and not {"?", "#", "@", " ", "\\"} & set(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not plain:
        raise wrong
    # `/in/…` follows it, and the door accepts no empty segment.
    return text.rstrip("/")


def _one_or_more(remedy: str) -> Check:
    """Return a check of a number, or of the length of a list."""

    def check(value: Any) -> Any:
        if (len(value) if isinstance(value, tuple) else value) < 1:
            raise ValueError(remedy)
        return value

    return Check(check)


def _matching(pattern: str, remedy: str) -> Check:
    """Return a check of a whole text."""

    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(remedy)
        return text

    return Check(check)


def _server_secret(secret: Secret) -> Secret:
    if len(secret.reveal().encode()) < _SHORTEST_SECRET:
        raise ValueError(
            f"shorter than {_SHORTEST_SECRET} bytes, so it can be guessed; `openssl rand -hex 32`"
        )
    return secret


def root_key(secret: Secret) -> Secret:
    """Return a root key without the white space and the byte order mark around it.

    Raises ValueError if it is short enough to guess, or has several lines.
    """
    text = secret.reveal().strip(f"{string.whitespace}\ufeff")
    if len(text.splitlines()) > 1:
        raise ValueError("has several lines; write one root key an entry")
    if len(text) < _SHORTEST_ROOT:
        raise ValueError(
            f"shorter than {_SHORTEST_ROOT} characters, so it can be guessed; "
            "`openssl rand -base64 32`"
        )
    return Secret(text)


def _period(seconds: Duration) -> Duration:
    if not _SHORTEST_PERIOD <= seconds <= _LONGEST_PERIOD or seconds % 60:
        raise ValueError("write whole minutes from 10m to 1d")
    return seconds


def _epoch(seconds: Duration) -> Duration:
    if not seconds >= _SHORTEST_PERIOD or seconds % 60:
        raise ValueError("write whole minutes, 10m or more")
    return seconds


def _witness_url(text: str) -> str:
    check_url(text)
    if not text.isprintable() or {"?", "#", "@"} & set(text):
        raise ValueError("write http:// or https://, a host and maybe a path, and nothing after it")
    return text.rstrip("/")


def _witness_key(text: str) -> str:
    # Not by journal.audit: its cryptography takes long to import, and every command reads options.
    name, id_, encoded = [*text.split("+", 2), "", ""][:3]
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    digest = hashlib.sha256(f"{name}\n".encode() + key).hexdigest()
    named = name and not re.search(r"\s", name)
    if not named or len(key) != _WITNESS_KEY or key[:1] != b"\x04" or digest[:8] != id_:
        raise ValueError("not the key of a witness; write it as the witness shows it: name+id+key")
    return text


def _file_path(text: str) -> str:
    if "\0" in text or text.rpartition("/")[2] in ("", ".", ".."):
        raise ValueError("write the path of a file, such as audit.jsonl")
    return text


def _api_key(secret: Secret) -> Secret:
    digest_of(secret)
    text = secret.reveal()
    if text.startswith("sha256:"):
        return secret
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError(
            "has a space, a control or a character beyond ASCII, which HTTP headers cannot hold; "
            "`openssl rand -hex 16`"
        )
    return hard_to_guess(secret)


def _instant(text: str) -> str:
    try:
        instant = parse_rfc3339(text)
    except ValueError:
        instant = None
    if instant is None:
        raise ValueError("write a time such as 2027-01-01T00:00:00Z")
    return text


def hard_to_guess(secret: Secret) -> Secret:
    """Return a token or API key. Raises ValueError if it is short enough to guess."""
    text = secret.reveal()
    if not text.startswith("sha256:") and len(text) < _SHORTEST_TOKEN:
        raise ValueError(
            f"shorter than {_SHORTEST_TOKEN} characters, so it can be guessed; "
            "`openssl rand -hex 16`"
        )
    return secret


Network = Annotated[str, Check(network)]
HostName = Annotated[
    str,
    _matching(
        r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*",
        "write a name without a port, such as smshook.example.com",
    ),
]
Scope = Literal[
    "events:read",
    "codes:read",
    "codes:reveal",
    "deliveries:write",
    "subscriptions:write",
    "audit:read",
    "admin",
]


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: Address for callbacks: `/in` and health, nothing else. Change it to be reachable from
    #: outside (`0.0.0.0:8080` in a container); `:0` takes any free port.
    listen: Annotated[str, _listen()] = DEFAULT_LISTEN
    #: Address of the API, and of health. `same` uses `listen`, if you have only one port; the API
    #: is then as reachable as the callbacks.
    admin_listen: Annotated[str, _listen("same")] = "127.0.0.1:8081"
    #: More names for the `Host` of requests to an `admin_listen` on this machine alone. It accepts
    #: addresses, names without a dot and the name of `public_url`; otherwise a web page could reach
    #: it through your browser. Set it for a proxy that passes its own name on.
    admin_hosts: tuple[HostName, ...] = ()
    #: The start of printed callback URLs, such as `https://hooks.example.com`: set it to the name
    #: that providers use. Your proxy must strip a path in it.
    public_url: Annotated[str, Check(_public_url)] | None = None
    #: Addresses or networks of your own proxies. Their `X-Forwarded-For` is trusted. Without it,
    #: every callback seems to come from the proxy.
    trusted_proxies: tuple[Network, ...] = ()
    #: Larger callbacks get 413. Change it for a provider that sends more.
    max_body: Annotated[Size, _one_or_more("write more than 0, such as 64KiB")] = Size(64 * 1024)
    #: Time to keep an idle connection. It must be longer than at your proxy or tunnel, which could
    #: otherwise send a callback into a closing connection.
    keep_alive: Annotated[
        Duration, _one_or_more("write 1s or more; proxies keep connections for a minute or two")
    ] = Duration(180)
    #: Limit of open connections. Unset: half of the limit of open files, at most 20,000. One peer
    #: may hold half of them, your own machine and `trusted_proxies` any number.
    connections: Annotated[int, _one_or_more("write 1 or more, or leave it out")] | None = None
    #: Any random text of 32 bytes or more. It keys dedupe keys and cursors. Do not change it: the
    #: service does not open its journal with another.
    secret: Annotated[Secret, Check(_server_secret)]

    @property
    def own_names(self) -> Sequence[str]:
        """The names of the service: `admin_hosts`, and that of `public_url`."""
        public_name = urlsplit(self.public_url).hostname if self.public_url else None
        return [*self.admin_hosts, *([public_name] if public_name else [])]


class JournalOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: `sqlite:///` and a path relative to the folder of this file, or `sqlite:////` and an absolute
    #: path. Change it to keep the journal on another local disk.
    url: Annotated[
        str,
        _matching(
            r"(?s)(?!postgres(?:ql)?:).*",
            "PostgreSQL is not yet supported; write sqlite:///smshook.db",
        ),
        _matching(
            r"sqlite:///(?!:memory:\Z)[^\0]*[^\0/]",
            "write sqlite:///smshook.db, or sqlite:////var/lib/smshook.db",
        ),
    ] = "sqlite:///smshook.db"
    #: Callbacks get 503 while less than this is free on the disk of the journal, such as `1GiB`.
    #: Set it if other programs need the disk, too: a full disk fails them all. 0: off.
    min_free: Size = Size(0)

    @property
    def path(self) -> Path:
        return Path(self.url.removeprefix(_SQLITE))

    def under(self, folder: Path) -> "JournalOptions":
        """Return the same options with an absolute path."""
        return msgspec.structs.replace(self, url=f"{_SQLITE}{folder / self.path}")


#: How long something is kept; None: for ever.
Kept = Annotated[Duration, _one_or_more("write 1s or more, such as 30d, or null to keep it")] | None


class Retention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long stored data is kept, counted from its acceptance; null keeps it."""

    #: Whole events. Those with a pending delivery or an open order stay. Dedupe keys stay 31 days
    #: longer.
    events: Kept = Duration(90 * 86400)
    #: Texts, codes and links. Set it: a code is of no use after minutes. A delivery
    #: that still waits then, and needs them, expires.
    codes: Kept = None
    #: Phone numbers. Set it if you may keep personal data for a limited time only.
    people: Kept = None
    #: Callbacks as they arrived. They hold codes and numbers, so they are erased no later than
    #: `codes` and `people`.
    raw: Kept = Duration(7 * 86400)
    #: Attempts of deliveries, with the beginning of the sink's answer.
    attempts: Kept = Duration(30 * 86400)
    #: Callbacks that were not understood. They may hold codes.
    quarantine: Kept = Duration(30 * 86400)

    @property
    def callbacks(self) -> Duration | None:
        """How long callbacks are kept: no longer than the codes and numbers that they hold."""
        kept = [one for one in (self.codes, self.people, self.raw) if one is not None]
        return min(kept, default=None)


class Sealing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: The root keys: any random texts of 32 characters or more, such as the output of
    #: `openssl rand -base64 32`. The first one wraps the keys of `file`, all of them unwrap. Add a
    #: new one before the old one to change it. Unset, and without `command`: the journal is in
    #: clear.
    root: tuple[Annotated[Secret, Check(root_key)], ...] = ()
    #: A program and its arguments, in place of `root`: it prints the root keys, one a line. It runs
    #: once at the start, for at most 10 seconds, in the folder of this file. Set it for a vault.
    command: tuple[str, ...] | None = None
    #: The file of the keys, wrapped with a root key. Without it, nothing that they sealed can be
    #: opened. Change it to keep it on another local disk.
    file: str = "smshook.keys"
    #: The time after which texts, codes and callbacks get another key, from `10m` to `1d`: a code
    #: is erased at most this much too late. Keys of numbers and quarantine are of a day.
    period: Annotated[Duration, Check(_period)] = Duration(3600)

    @property
    def is_on(self) -> bool:
        return bool(self.root or self.command)

    @property
    def path(self) -> Path:
        return Path(self.file)

    def under(self, folder: Path) -> "Sealing":
        """Return the same options with an absolute path."""
        return msgspec.structs.replace(self, file=str(folder / self.file))


FilePath = Annotated[str, Check(_file_path)]


class Anchor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place for signed states of the audit log. It has a `file`, a `sink` or a `command`."""

    #: A file to append them to. Put it on a disk that this machine cannot write again, or that you
    #: take away.
    file: FilePath | None = None
    #: A sink that gets them as `system.audit_checkpoint` events, whatever the routes say.
    sink: str | None = None
    #: A program and its arguments. It gets the signed state on its stdin, and must end with exit
    #: code 0 within 30 seconds. It runs in the folder of this file.
    command: Annotated[tuple[str, ...], _one_or_more("empty; name a program")] | None = None
    #: The time between two of them. Unset: `1h`; for a file, each checkpoint that has new lines.
    every: Annotated[Duration, _one_or_more("write 1s or more")] | None = None

    def __post_init__(self) -> None:
        if sum(one is not None for one in (self.file, self.sink, self.command)) != 1:
            raise ValueError("write one of file, sink and command")


class Witness(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A witness of the audit log: it signs only states that continue those that it has seen."""

    #: Its submission prefix: `/add-checkpoint` is added to it (c2sp.org/tlog-witness).
    url: Annotated[str, Check(_witness_url)]
    #: Its verifier key, `name+id+key`. Signatures of other keys are ignored.
    key: Annotated[str, Check(_witness_key)]


class Auditing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log of who did what. It shows every later change to it."""

    #: `all`, or `access`: without callbacks and deliveries, only acts of people, keys and the
    #: service. Use `access` on a small disk: `all` has several lines for each event.
    record: Literal["all", "access"] = "all"
    #: The time after which the log is signed again. An attacker on the machine can change lines
    #: that are not signed yet.
    checkpoint: Annotated[Duration, _one_or_more("write 1s or more")] = Duration(60)
    #: The time after which the signing key is replaced and destroyed. Then earlier lines cannot be
    #: signed again, even with everything on the machine.
    epoch: Annotated[Duration, Check(_epoch)] = Duration(86400)
    #: How long lines are kept. PCI DSS 10.5.1 asks for one year.
    keep: Kept = Duration(400 * 86400)
    #: A file that gets the same lines, such as `audit.jsonl`. Set it for Loki, Splunk or Elastic.
    file: FilePath | None = None
    #: Rotate `file` by size or age, such as `{size: 64MiB, every: 1d}`. Unset: it grows.
    rotate: Rotate | None = None
    #: Places that keep signed states of the log, by name. They show if an attacker on the machine
    #: cuts off the end of today's log, or rewrites its lines.
    anchors: Mapping[str, Anchor] = {}
    #: Servers of other organizations that sign the states of the log, by name. They refuse a log
    #: that was changed.
    witnesses: Mapping[str, Witness] = {}

    def under(self, folder: Path) -> "Auditing":
        """Return the same options with absolute paths."""

        def absolute(path: str | None) -> str | None:
            return None if path is None else os.path.normpath(folder / path)

        anchors = {
            name: msgspec.structs.replace(anchor, file=absolute(anchor.file))
            for name, anchor in self.anchors.items()
        }
        return msgspec.structs.replace(self, file=absolute(self.file), anchors=anchors)


#: Without a section `audit`.
ONLY_ACCESS = Auditing(record="access")


def _fraction(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError("write a number from 0 to 1, such as 0.1")
    return value


class Tracing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Traces of events for an OpenTelemetry collector: OTLP over HTTP."""

    #: The URL of the collector, such as `http://127.0.0.1:4318`. `/v1/traces` is added to it.
    #: Unset: `OTEL_EXPORTER_OTLP_ENDPOINT`.
    endpoint: Annotated[str, Check(_witness_url)] | None = None
    #: The part of the events that is traced, from 0 to 1. Lower it if the collector is busy. Events
    #: with a failed delivery are traced, too. Unset: `OTEL_TRACES_SAMPLER_ARG`, or 0.1.
    sample: Annotated[float, Check(_fraction)] | None = None
    #: Headers for the collector, such as `{Authorization: "Bearer ${TOKEN}"}`; their values are
    #: masked. Unset: `OTEL_EXPORTER_OTLP_HEADERS`.
    headers: Mapping[str, Secret] = {}
    #: The name of this service in the traces. Set it if several run. Unset: `OTEL_SERVICE_NAME`, or
    #: `smshook`.
    service_name: str | None = None

    def __post_init__(self) -> None:
        check_headers(self.headers)

    @property
    def traces_url(self) -> str:
        return f"{self.endpoint}/v1/traces"

    @property
    def fraction(self) -> float:
        return 0.1 if self.sample is None else self.sample

    @property
    def name(self) -> str:
        return self.service_name or "smshook"

    def with_environment(self, environ: Mapping[str, str]) -> "Tracing":
        """Return the same with the variables of OpenTelemetry, where nothing is written.

        Raises ValueError for one that is wrong.
        """
        found: dict[str, Any] = {}
        endpoint = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
        if self.endpoint is None and endpoint:
            found["endpoint"] = _of_variable("OTEL_EXPORTER_OTLP_ENDPOINT", _witness_url, endpoint)
        sample = environ.get("OTEL_TRACES_SAMPLER_ARG")
        if self.sample is None and sample:
            found["sample"] = _of_variable(
                "OTEL_TRACES_SAMPLER_ARG", lambda text: _fraction(float(text)), sample
            )
        if not self.headers:
            # Like W3C Baggage: NAME=VALUE, separated by commas, and the values are escaped.
            pairs = environ.get("OTEL_EXPORTER_OTLP_HEADERS", "").split(",")
            found["headers"] = {
                name.strip(): Secret(unquote(value.strip()))
                for name, equals, value in (pair.partition("=") for pair in pairs)
                if equals
            }
        service = environ.get("OTEL_SERVICE_NAME")
        if self.service_name is None and service:
            found["service_name"] = service
        return msgspec.structs.replace(self, **found)


def _of_variable(name: str, read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except ValueError as exc:
        raise ValueError(f"{name}: {exc}") from None


class Reads(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many events a key gets in clear."""

    #: Events in a time, such as `600/h`.
    rate: Rate


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key of the API, and its permissions."""

    #: The text that clients send as `Authorization: Bearer`, 16 characters or more. Or `sha256:`
    #: and its hex digest, so that this file alone gives no access; commands then need
    #: `SMSHOOK_API_KEY`.
    key: Annotated[Secret, Check(_api_key)]
    #: `events:read` (texts and codes masked), `codes:read` (in clear), `codes:reveal` (masked, and
    #: one event at a time in clear), `deliveries:write` (retry, replay, pause),
    #: `subscriptions:write` (orders and subscriptions), `audit:read` (the audit log) and `admin`
    #: (all). Grant as little as possible.
    scopes: Annotated[
        tuple[Scope, ...],
        _one_or_more("empty, so the key allows nothing; name a scope, or leave the key out"),
    ]
    #: Conditions as in routes. All other events are hidden from this key. Unset: it sees all.
    when: Mapping[str, Any] | None = None
    #: When the key stops working, such as `2027-01-01T00:00:00Z`. Set it for temporary access, for
    #: example of a contractor. Unset: never.
    expires: Annotated[str, Check(_instant)] | None = None
    #: Limit of its requests, such as `600/m`: further ones get 429 until the rate allows them. Set
    #: it if a faulty client could keep the service busy. Unset: no limit.
    rate: Rate | None = None
    #: How many events it gets in clear, such as `600/h`: further calls get 429.
    #: Set it to limit what a stolen key shows. Unset: no limit.
    reads: Rate | Reads | None = None
    #: `required`: it must give a reason to reveal a code. The audit log keeps the reason.
    reason: Literal["required"] | None = None

    @property
    def reads_rate(self) -> Rate | None:
        """Return the limit of `reads`."""
        return self.reads.rate if isinstance(self.reads, Reads) else self.reads

    @property
    def expires_at(self) -> float | None:
        """Return `expires` in seconds since the epoch."""
        return None if self.expires is None else parse_rfc3339(self.expires)


class Api(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: Keys by name. Without a key the API refuses every request.
    keys: Mapping[str, ApiKey] = {}
    #: Limit of open event streams. One key may have half of them. Streams and waits together take
    #: at most three quarters of `server.connections`: callbacks need the rest.
    streams: Annotated[int, _one_or_more("write 1 or more")] = 2000
    #: Limit of calls that wait for an event at the same time. One key may have half of them.
    waits: Annotated[int, _one_or_more("write 1 or more")] = 20_000


def private_network(text: str) -> str:
    """Return an address or a network as written. Raises ValueError if it is not private."""
    wanted = ipaddress.ip_network(network(text).strip(), strict=False)
    if not any(
        wanted.version == private.version and wanted.overlaps(private) for private in PRIVATE
    ):
        raise ValueError("not a private network; write one such as 10.20.0.0/16 or fd00::/8")
    return text


PrivateNetwork = Annotated[str, Check(private_network)]


class Subscribing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: Private networks that may be subscribed, such as `10.20.0.0/16`: name those of your own
    #: services. Unset: only endpoints on the public internet. Link-local and metadata addresses
    #: are never allowed.
    allow_networks: tuple[PrivateNetwork, ...] = ()
    #: The most subscriptions that one API key may have.
    per_key: Annotated[int, _one_or_more("write 1 or more")] = 100


_SHORT_TIME = _one_or_more("write 1s or more")


class SessionTimes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long a sign-in to the console lasts."""

    #: Without a request for this long, the session ends.
    idle: Annotated[Duration, _SHORT_TIME] = Duration(1800)
    #: After this long it ends in any case.
    longest: Annotated[Duration, _SHORT_TIME] = Duration(43_200)


class ConsoleOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The web console, at `/console` of the address of the API."""

    #: `false` removes it: then `/console` is 404.
    enabled: bool = True
    #: How long a sign-in lasts. Shorten it on machines that several people use.
    session: SessionTimes = SessionTimes()
    #: More names by which browsers reach the console. It answers to addresses, names without a dot,
    #: the name of `public_url` and `server.admin_hosts`. Others get 421: a web page of an attacker
    #: could have such a name.
    hosts: tuple[HostName, ...] = ()
    #: A header in which a proxy of `server.trusted_proxies` sends the name of the user that it has
    #: signed in, such as `X-Forwarded-User`. Set it if your proxy knows your people: they need no
    #: key. Unset: everybody signs in with a key.
    user_header: (
        Annotated[str, _matching(r"[A-Za-z0-9-]+", "write the name of a header")] | None
    ) = None
    #: What such users may do, as the `scopes` of a key. The console always masks codes until
    #: somebody reveals one.
    user_scopes: Annotated[
        tuple[Scope, ...], _one_or_more("empty, so users may see nothing; name a scope")
    ] = ("events:read", "codes:reveal")
    #: Whether the console asks for the reason of each reveal. The audit log keeps it.
    ask_reason: bool = False


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of the file."""

    #: The accounts that callbacks come from, by name.
    sources: Mapping[str, Source] = {}
    #: The destinations of events, by name. Deliveries belong to the name.
    sinks: Mapping[str, Sink] = {}
    #: Which events go where, by name. Every route is evaluated. Events without a route are
    #: stored.
    routes: Mapping[str, Route] = {}
    #: Addresses and limits of the service.
    server: Server
    #: The store of events and deliveries.
    journal: JournalOptions = JournalOptions()
    #: How long stored data is kept.
    retention: Retention = Retention()
    #: Encryption of texts, codes and numbers in the journal.
    seal: Sealing = Sealing()
    #: The audit log. Without this section it records `access`.
    audit: Auditing = ONLY_ACCESS
    #: Traces of events. Unset: none.
    tracing: Tracing | None = None
    #: The keys of the API.
    api: Api = Api()
    #: Limits of the endpoints that services subscribe by the API.
    subscriptions: Subscribing = Subscribing()
    #: The web console.
    console: ConsoleOptions = ConsoleOptions()
    #: The conditions that smshook reports of itself, as events `system.*`.
    alerts: Alerting = Alerting()
    #: A sign of life for a service that reports its absence.
    heartbeat: Heartbeat = Heartbeat()


class Config(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The checked options of the file, with absolute paths."""

    #: The file itself, absolute.
    path: Path
    #: Identifies this version of the file; empty if there was no file.
    digest: str = ""
    #: Whether `retention` was written, and is not the default.
    retention_is_set: bool = False

    @property
    def folder(self) -> Path:
        return self.path.parent
