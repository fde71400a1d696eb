"""What `smshook.yaml` may say: each option, its default, its check, why to change it."""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from core.secret import Secret, digest_of
from core.units import Duration, Size
from receiver.source import Source
from routes.table import Route
from sinks.sink import Sink

from .shapes import Check

_LISTEN = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>\d{1,5})")
_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_SHORTEST_SECRET = 32
# Callback URLs are on the internet: a shorter token is found by trying.
_SHORTEST_TOKEN = 16
_SQLITE = "sqlite:///"
DEFAULT_LISTEN = "127.0.0.1:8080"


def host_and_port(listen: str) -> tuple[str, int]:
    """`[::1]:8080` -> ("::1", 8080). Raises ValueError for what is no address to listen on."""
    match = _LISTEN.fullmatch(listen)
    if match is None or int(match["port"]) > 65535:  # noqa: PLR2004 -- the last port
        raise ValueError("write host:port, such as 127.0.0.1:8080 or [::1]:8080")
    host = match["v6"] or match["host"]
    if match["v6"] or re.fullmatch(r"[0-9.]+", host):
        _address(host)
    return host, int(match["port"])


def _address(host: str) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError("not an address; write one such as 127.0.0.1:8080 or [::1]:8080") from None


def _listen(text: str) -> str:
    host_and_port(text)
    return text


def _admin_listen(text: str) -> str:
    return text if text == "same" else _listen(text)


def network(text: str) -> str:
    """An address or a network, as written. Raises ValueError for anything else."""
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
    # `/in/…` is put behind it, and the door knows no empty segment.
    return text.rstrip("/")


def _host_name(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError("write a name without a port, such as smshook.example.com")
    return text.lower()


def _max_body(size: Size) -> Size:
    if size <= 0:
        raise ValueError("write more than 0, such as 64KiB")
    return size


def _keep_alive(duration: Duration) -> Duration:
    if duration < 1:
        raise ValueError("write 1s or more; proxies keep connections for a minute or two")
    return duration


def _connections(count: int) -> int:
    if count < 1:
        raise ValueError("write 1 or more, or leave it out")
    return count


def _server_secret(secret: Secret) -> Secret:
    if len(secret.reveal().encode()) < _SHORTEST_SECRET:
        raise ValueError(
            f"shorter than {_SHORTEST_SECRET} bytes, so it can be guessed; `openssl rand -hex 32`"
        )
    return secret


def _api_key(secret: Secret) -> Secret:
    digest_of(secret)
    text = secret.reveal()
    if text.startswith("sha256:"):
        return secret
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError(
            "has a blank, a control or a character beyond ASCII, which no HTTP header holds; "
            "`openssl rand -hex 16`"
        )
    return hard_to_guess(secret)


def hard_to_guess(secret: Secret) -> Secret:
    """A token or API key. Raises ValueError for one that is found by trying."""
    text = secret.reveal()
    if not text.startswith("sha256:") and len(text) < _SHORTEST_TOKEN:
        raise ValueError(
            f"shorter than {_SHORTEST_TOKEN} characters, so it can be guessed; "
            "`openssl rand -hex 16`"
        )
    return secret


def _journal_url(text: str) -> str:
    if text.startswith(("postgresql:", "postgres:")):
        raise ValueError("not yet: PostgreSQL comes later; write sqlite:///smshook.db")
    file = text.removeprefix(_SQLITE)
    if file == text or not file or file.endswith("/") or "\0" in file or file == ":memory:":
        raise ValueError("write sqlite:///smshook.db, or sqlite:////var/lib/smshook.db")
    return text


def _scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    if not scopes:
        raise ValueError("names no scope, and so opens nothing; leave the key out")
    return scopes


Network = Annotated[str, Check(network)]
Scope = Literal["events:read", "codes:read", "deliveries:write", "subscriptions:write", "admin"]


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: Where callbacks come in: `/in` and health, nothing else. Change it to be reachable from
    #: outside (`0.0.0.0:8080` in a container); `:0` takes any free port.
    listen: Annotated[str, Check(_listen)] = DEFAULT_LISTEN
    #: Where the API is, and health too. `same`: on `listen`, when one port is all
    #: there is; the API is then as reachable as the callbacks.
    admin_listen: Annotated[str, Check(_admin_listen)] = "127.0.0.1:8081"
    #: Further names in the `Host` of requests to an `admin_listen` on this machine alone. It
    #: answers to addresses, to names without a dot and to the name of `public_url`; else a web page
    #: could reach it through your browser. Set it for a proxy that passes its own name on.
    admin_hosts: tuple[Annotated[str, Check(_host_name)], ...] = ()
    #: What printed callback URLs begin with, such as `https://hooks.example.com`: set it to the
    #: name that providers reach you by. A path in it is stripped by your proxy.
    public_url: Annotated[str, Check(_public_url)] | None = None
    #: Addresses or networks of your own proxies, whose `X-Forwarded-For` is believed: set it
    #: behind one, or every callback seems to come from the proxy.
    trusted_proxies: tuple[Network, ...] = ()
    #: Larger callbacks are answered 413. Change it for a provider that sends more.
    max_body: Annotated[Size, Check(_max_body)] = Size(64 * 1024)
    #: How long an idle connection is kept. Longer than your proxy or tunnel keeps it, or it sends a
    #: callback into one that is being closed. Change it for a proxy that waits longer.
    keep_alive: Annotated[Duration, Check(_keep_alive)] = Duration(180)
    #: Open connections, at most. Unset: half of what the limit of open files allows, at most
    #: 20,000. One peer may hold half of them, your own machine and `trusted_proxies` any number.
    connections: Annotated[int, Check(_connections)] | None = None
    #: Any random text of 32 bytes or more; it keys dedupe keys and cursors. Do not change it: the
    #: journal belongs to it, and with another the service does not start.
    secret: Annotated[Secret, Check(_server_secret)]


class JournalOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: `sqlite:///` and a path, relative to the folder of this file; `sqlite:////` and an absolute
    #: one. Change it to keep the journal on another disk (a local one: SQLite needs its locks).
    url: Annotated[str, Check(_journal_url)] = "sqlite:///smshook.db"

    @property
    def path(self) -> Path:
        return Path(self.url.removeprefix(_SQLITE))

    def under(self, folder: Path) -> "JournalOptions":
        """The same with an absolute path."""
        return JournalOptions(url=f"{_SQLITE}{folder / self.path}")


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may use the API, and for what."""

    #: What is sent as `Authorization: Bearer`, 16 characters or more; or `sha256:` and the hex
    #: digest of it, so that this file opens nothing. (Commands then need `SMSHOOK_API_KEY`.)
    key: Annotated[Secret, Check(_api_key)]
    #: Of `events:read` (texts and codes masked), `codes:read` (in clear), `deliveries:write`
    #: (retry, replay, pause), `subscriptions:write` and `admin` (all): as little as will do.
    scopes: Annotated[tuple[Scope, ...], Check(_scopes)]
    #: Conditions as in routes: all other events are hidden from this key. Unset: it sees all.
    when: Mapping[str, Any] | None = None


class Api(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: By name. Without one the API answers nobody.
    keys: Mapping[str, ApiKey] = {}


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file says."""

    #: The accounts that callbacks come from, by name.
    sources: Mapping[str, Source] = {}
    #: Where events go, by name: deliveries are owed to the name.
    sinks: Mapping[str, Sink] = {}
    #: Which events go where, by name; all are evaluated. An event that none takes is kept.
    routes: Mapping[str, Route] = {}
    #: Where the service listens, and what it believes.
    server: Server
    #: Where events and deliveries are kept.
    journal: JournalOptions = JournalOptions()
    #: Who may read and steer.
    api: Api = Api()


class Config(Options, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file's options, checked, its paths made absolute."""

    #: The file itself, absolute.
    path: Path
    #: Tells the file as it was read from a later edit; empty where there was no file.
    digest: str = ""

    @property
    def folder(self) -> Path:
        return self.path.parent
