"""Valid settings that are probably not intended, and that can leak data.

Each warning names the risk and a remedy. No warning repeats a secret.
"""

import hashlib
import ipaddress
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import fields

from core.secret import Secret

from .complaints import Complaints, dotted
from .files import BESIDE_JOURNAL
from .options import Config, host_and_port
from .yaml import Path as Place

#: A prefix of this length or shorter is not a network of your own.
_WIDEST = 7
#: Shortest secret without a warning.
_SHORTEST = 16
#: Fewest different characters of a strong secret: 16 random hex digits have about ten.
_FEWEST_DIFFERENT = 8
_HEADERS = "headers"


class Caution(NamedTuple):
    """A secret and its place."""

    at: Place
    secret: Secret
    #: A token, a key, `server.secret`, or a secret that signs. Providers and receivers issue the
    #: others, and may use one in several places.
    ours: bool


def cautions(reading: Complaints, config: Config) -> Iterator[str]:
    """Yield every warning about a configuration, with its place."""
    found = list(_secrets((), config))
    for place, text in (
        *_in_clear(config),
        *_proxies(config),
        *_admin(config),
        *_keys(config),
        *_weak(found),
        *_shared(found),
        *_certificates(config),
    ):
        yield reading.warning(place, text)
    yield from _readable(reading, config)


# Plain http


def _in_clear(config: Config) -> Iterator[tuple[Place, str]]:
    for name, sink in config.sinks.items():
        for option, secret in sink.urls().items():
            at, address = ("sinks", name, option), secret.reveal()
            if not _is_remote_http(address):
                continue
            if option != "proxy":
                yield at, "http:// sends texts and codes in clear to another host; use https://"
            elif urlsplit(address).password:
                yield at, "http:// sends the proxy's password in clear; use https://"
    for name, source in config.sources.items():
        url = source.backfill.api_url if source.backfill else None
        if url is not None and _is_remote_http(url):
            text = "http:// sends the provider's API key in clear to another host; use https://"
            yield ("sources", name, "backfill", "api_url"), text
    public = config.server.public_url
    if public is not None and _is_remote_http(public):
        text = "http:// sends tokens and codes in clear over the internet; use https://"
        yield ("server", "public_url"), text


def _is_remote_http(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme.lower() == "http" and not _is_loopback(parts.hostname or "")


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# Listeners and proxies


def _proxies(config: Config) -> Iterator[tuple[Place, str]]:
    for i, written in enumerate(config.server.trusted_proxies):
        if ipaddress.ip_network(written.strip(), strict=False).prefixlen > _WIDEST:
            continue
        text = "trusts X-Forwarded-For from the whole internet; name only your own proxies"
        limited = [name for name, source in config.sources.items() if source.allow_from]
        if limited:
            text += f" (anybody can pass the allow_from of {', '.join(limited)})"
        yield ("server", "trusted_proxies", i), text


def _admin(config: Config) -> Iterator[tuple[Place, str]]:
    server = config.server
    same = server.admin_listen == "same"
    host, _ = host_and_port(server.listen if same else server.admin_listen)
    if not _is_loopback(host):
        text = (
            "the API, with texts and codes, is reachable from other machines without TLS; "
            "listen on 127.0.0.1, or let only your own network reach it"
        )
        yield ("server", "admin_listen"), text


def _keys(config: Config) -> Iterator[tuple[Place, str]]:
    for name, key in config.api.keys.items():
        if key.when and "admin" in key.scopes:
            text = "calls that need the scope admin refuse a key with a `when`; write other scopes"
            yield ("api", "keys", name, "scopes"), text


# Secrets


def _secrets(at: Place, value: Any) -> Iterator[Caution]:
    """Every secret of a configuration, in the order of the file."""
    if isinstance(value, Secret):
        yield Caution(at, value, ours=_is_ours(at))
    elif isinstance(value, msgspec.Struct):
        for field in fields(value):
            yield from _secrets((*at, field.encode_name), getattr(value, field.name))
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _secrets((*at, name), item)
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from _secrets((*at, i), item)


def _is_ours(at: Place) -> bool:
    match at:
        case ("server", "secret") | ("api", "keys", _, "key") | ("sources", _, "tokens", _):
            return True
        case ("sinks", _, "secrets", _) | ("sources", _, "basic", "password"):
            return True
    return False


def _is_url(at: Place) -> bool:
    return at[-1] in ("url", "proxy")


def _weak(found: list[Caution]) -> Iterator[tuple[Place, str]]:
    for at, secret, ours in found:
        text = secret.reveal()
        if text != text.strip():
            yield at, "begins or ends with a blank or a line end; is that part of the secret?"
        elif not text.isprintable():
            yield at, "has a line end or another control character; is that part of the secret?"
        elif " " in text and not _is_url(at) and _HEADERS not in at and at != ("server", "secret"):
            yield at, "has a blank; is that part of the secret?"
        if not ours or text.startswith("sha256:"):
            continue
        if len(text) < _SHORTEST:
            yield at, f"shorter than {_SHORTEST} characters; `openssl rand -hex 16` makes another"
        elif _is_guessable(text):
            yield at, "is easy to guess; `openssl rand -hex 32` makes another"


def _is_guessable(text: str) -> bool:
    """Whether it has few different characters, or repeats a short piece."""
    text = text.removeprefix("whsec_")
    if len(set(text)) < _FEWEST_DIFFERENT:
        return True
    return re.fullmatch(r"(.{1,16}?)\1{2,}.{0,16}", text, re.DOTALL) is not None


def _shared(found: list[Caution]) -> Iterator[tuple[Place, str]]:
    """Yield secrets with two uses: a leak at one place gives access to the other."""
    first: dict[bytes, Caution] = {}
    for each in found:
        if _is_url(each.at):
            continue
        other = first.setdefault(_digest(each.secret), each)
        same_list = each.at[:-1] == other.at[:-1]
        # One provider or one receiver can have issued the same secret for both.
        issued_for_both = not (each.ours or other.ours) or each.at[0] == other.at[0] == "sinks"
        if same_list or issued_for_both:
            continue
        yield each.at, f"the same as {dotted(other.at)}; give each its own"


def _digest(secret: Secret) -> bytes:
    text = secret.reveal()
    digest = re.fullmatch(r"sha256:([0-9a-fA-F]{64})", text)
    return bytes.fromhex(digest[1]) if digest else hashlib.sha256(text.encode()).digest()


# Files


def _certificates(config: Config) -> Iterator[tuple[Place, str]]:
    for name, sink in config.sinks.items():
        for option, path in sink.read_files().items():
            at = ("sinks", name, *option)
            if not os.path.isfile(path):  # noqa: PTH113 - raises nothing
                yield at, "there is no such file: deliveries wait until you make it"
            elif option[-1] == "key_file" and _mode(path) & 0o077:
                yield at, "others can read this key; chmod 600"


def _readable(reading: Complaints, config: Config) -> Iterator[str]:
    journal = config.journal.path
    for path in (journal, *(journal.with_name(journal.name + end) for end in BESIDE_JOURNAL)):
        if _mode(path) & 0o077:
            text = f"others can read {path.name}, which belongs to the journal; chmod 600 {path}"
            yield reading.warning(("journal", "url"), text)
    if _others_may_replace(journal.parent):
        text = f"others can replace files in {journal.parent}; chmod go-w {journal.parent}"
        yield reading.warning(("journal", "url"), text)
    for name, sink in config.sinks.items():
        for option, path in sink.written_files().items():
            at = ("sinks", name, option)
            if _mode(path) & 0o077:
                yield reading.warning(at, f"others can read this file; chmod 600 {path}")
            if path.parent != journal.parent and _others_may_replace(path.parent):
                text = f"others can replace files in {path.parent}; chmod go-w {path.parent}"
                yield reading.warning(at, text)


def _mode(path: Path) -> int:
    """Return the mode of a regular file; 0 if there is no such file."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return 0
    return stat.S_IMODE(found.st_mode) if stat.S_ISREG(found.st_mode) else 0


def _others_may_replace(folder: Path) -> bool:
    """Whether everybody can write to a folder without the sticky bit of /tmp."""
    try:
        mode = folder.stat().st_mode
    except (OSError, ValueError):
        return False
    return bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX
