"""Valid settings that are probably not intended, and that can leak data.

Each warning names the risk and a remedy. No warning repeats a secret.
"""

import hashlib
import ipaddress
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from core.erasure import CODES, PEOPLE
from core.secret import Secret
from core.units import Duration
from sinks.erased import needed

from .complaints import Complaints, dotted
from .files import BESIDE_JOURNAL, written_files
from .options import Config, Retention, host_and_port
from .show import plain as written
from .yaml import Path as Place

#: A prefix of this length or shorter is not a network of your own.
_WIDEST = 7
#: Shortest secret without a warning.
_SHORTEST = 16
#: Fewest different characters of a strong secret: 16 random hex digits have about ten.
_FEWEST_DIFFERENT = 8
#: A short piece, three times or more.
_REPEATED = re.compile(r"(.{1,16}?)\1{2,}.{0,16}", re.DOTALL)
_HEADERS = "headers"
#: The data that http:// shows to others, by option.
_IN_CLEAR = {
    "proxy": "the proxy's password in clear",
    "api_url": "the provider's API key in clear to another host",
    "public_url": "tokens and codes in clear over the internet",
}


class Caution(NamedTuple):
    """A secret and its place."""

    at: Place
    secret: Secret
    #: Whether it is a token, a key, `server.secret` or a signing secret. Providers and receivers
    #: issue all others, and may use one in several places.
    ours: bool


def cautions(reading: Complaints, config: Config, now: float) -> Iterator[str]:
    """Yield every warning about a configuration, with its place."""
    secrets = list(_secrets((), config))
    for found in (
        _exposed(config),
        _weak(secrets),
        _shared(secrets),
        _expired(config, now),
        _files(config),
        _retained(config),
        _key_files(reading, config),
    ):
        reading.rest()
        for place, text in found:
            yield reading.warning(place, text)


# Network


def _exposed(config: Config) -> Iterator[tuple[Place, str]]:
    """Yield settings that show texts, codes or secrets to other machines."""
    server = config.server
    urls: list[tuple[Place, str | None]] = [
        *(
            (("sinks", name, option), secret.reveal())
            for name, sink in config.sinks.items()
            for option, secret in sink.urls().items()
        ),
        *(
            (("sources", name, "backfill", "api_url"), source.backfill.api_url)
            for name, source in config.sources.items()
            if source.backfill
        ),
        (("server", "public_url"), server.public_url),
    ]
    for place, url in urls:
        parts = urlsplit(url or "")
        is_remote = parts.scheme == "http" and not _is_loopback(parts.hostname or "")
        if is_remote and (place[-1] != "proxy" or parts.password):
            shown = _IN_CLEAR.get(str(place[-1]), "texts and codes in clear to another host")
            yield place, f"http:// sends {shown}; use https://"
    for i, proxy in enumerate(server.trusted_proxies):
        if ipaddress.ip_network(proxy.strip(), strict=False).prefixlen > _WIDEST:
            continue
        text = "trusts X-Forwarded-For from the whole internet; name only your own proxies"
        limited = [name for name, source in config.sources.items() if source.allow_from]
        if limited:
            text += f" (anyone can bypass allow_from of {', '.join(limited)})"
        yield ("server", "trusted_proxies", i), text
    same = server.admin_listen == "same"
    host, _ = host_and_port(server.listen if same else server.admin_listen)
    if not _is_loopback(host):
        text = (
            "the API, with texts and codes, is reachable from other machines without TLS; "
            "listen on 127.0.0.1, or let only your own network reach it"
        )
        yield ("server", "admin_listen"), text
    for name, key in config.api.keys.items():
        if key.when and "admin" in key.scopes:
            text = "calls that need the scope admin refuse a key with a `when`; write other scopes"
            yield ("api", "keys", name, "scopes"), text


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# Secrets


def _secrets(at: Place, value: Any) -> Iterator[Caution]:
    """Yield every secret of a configuration, in the order of the file."""
    if isinstance(value, Secret):
        match at:
            case ("server", "secret") | ("api", "keys", _, "key") | ("sources", _, "tokens", _):
                ours = True
            case (
                ("sinks", _, "secrets", _)
                | ("sources", _, "basic", "password")
                | ("seal", "root", _)
            ):
                ours = True
            case _:
                ours = False
        yield Caution(at, value, ours)
    elif isinstance(value, msgspec.Struct):
        for name, attribute in zip(
            value.__struct_encode_fields__, value.__struct_fields__, strict=True
        ):
            yield from _secrets((*at, name), getattr(value, attribute))
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _secrets((*at, name), item)
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from _secrets((*at, i), item)


def _is_url(at: Place) -> bool:
    return at[-1] in ("url", "proxy")


def _weak(found: list[Caution]) -> Iterator[tuple[Place, str]]:
    """Yield secrets with a blank or a line end, and our own secrets that are easy to guess."""
    for at, secret, ours in found:
        text = secret.reveal()
        if text != text.strip():
            yield at, "begins or ends with a space or a line end; is that part of the secret?"
        elif not text.isprintable():
            yield at, "has a line end or another control character; is that part of the secret?"
        elif " " in text and not _is_url(at) and _HEADERS not in at and at != ("server", "secret"):
            yield at, "has a space; is that part of the secret?"
        if not ours or text.startswith("sha256:"):
            continue
        random = text.removeprefix("whsec_")
        if len(text) < _SHORTEST:
            yield at, f"shorter than {_SHORTEST} characters; `openssl rand -hex 16` makes another"
        elif len(set(random)) < _FEWEST_DIFFERENT or _REPEATED.fullmatch(random):
            yield at, "is easy to guess; `openssl rand -hex 32` makes another"


def _shared(found: list[Caution]) -> Iterator[tuple[Place, str]]:
    """Yield secrets with two uses: a leak at one place gives access to the other."""
    first: dict[bytes, Caution] = {}
    for each in found:
        if _is_url(each.at):
            continue
        text = each.secret.reveal()
        # Not digest_of: a secret of another party may begin with `sha256:` and be no digest.
        written = re.fullmatch(r"sha256:([0-9a-fA-F]{64})", text)
        digest = bytes.fromhex(written[1]) if written else hashlib.sha256(text.encode()).digest()
        other = first.setdefault(digest, each)
        same_list = each.at[:-1] == other.at[:-1]
        # One provider or one receiver can have issued the same secret for both.
        issued_for_both = not (each.ours or other.ours) or each.at[0] == other.at[0] == "sinks"
        if not (same_list or issued_for_both):
            yield each.at, f"the same as {dotted(other.at)}; give each its own"


def _expired(config: Config, now: float) -> Iterator[tuple[Place, str]]:
    """Yield keys that no longer work."""
    for name, key in config.api.keys.items():
        if key.expires_at is not None and key.expires_at <= now:
            text = "is past, so the key is refused; write a later time, or remove the key"
            yield ("api", "keys", name, "expires"), text


# Retention


def _retained(config: Config) -> Iterator[tuple[Place, str]]:
    """Yield sinks that may still wait for a delivery when its content is erased."""
    retention = config.retention
    for kind, kept, content in (
        ("codes", retention.codes, CODES),
        ("people", retention.people, PEOPLE),
    ):
        for name, sink in config.sinks.items():
            if kept is None:
                continue
            lasts = min(sink.retry.lasts, sink.expire_after or math.inf)
            if lasts > kept and needed(sink, content):
                text = (
                    f"tries for {_rounded(lasts)} to deliver an event, and"
                    f" retention.{kind} erases it after {written(kept)}: what is not delivered by"
                    " then expires; shorten the retries, or mask the content (redact)"
                )
                yield ("sinks", name, "retry"), text
    codes, quarantine = retention.codes, retention.quarantine
    # The default of the quarantine is shown by `check`, and is no warning.
    is_default = quarantine == Retention().quarantine
    if codes is not None and not is_default and (quarantine is None or quarantine > codes):
        text = "longer than retention.codes, and callbacks in quarantine may hold codes"
        yield ("retention", "quarantine"), text


def _rounded(seconds: float) -> str:
    """Return `44h`: rounded up to the largest unit of which there are two or more."""
    unit = next((size for size in (3600, 60) if seconds >= 2 * size), 1)
    return str(written(Duration(math.ceil(seconds / unit) * unit)))


# Files


def _key_files(reading: Complaints, config: Config) -> Iterator[tuple[Place, str]]:
    """Yield files of keys and root keys that others can read."""
    found: list[tuple[Place, Path]] = [(("seal", "file"), config.seal.path)]
    for i in range(len(config.seal.root)):
        at: Place = ("seal", "root", i)
        found += [(at, path) for path in reading.read_files.get(at, ())]
    for place, path in found:
        if _mode(path) & 0o077:
            yield place, f"others can read {path.name}; chmod 600 {path}"


def _files(config: Config) -> Iterator[tuple[Place, str]]:
    """Yield certificates that are missing, and files that others can read or replace."""
    certificates = [
        (("sinks", name, *option), path)
        for name, sink in config.sinks.items()
        for option, path in sink.read_files().items()
    ]
    for at, path in certificates:
        if not os.path.isfile(path):  # noqa: PTH113 - raises nothing
            yield at, "there is no such file: deliveries wait until you make it"
        elif at[-1] == "key_file" and _mode(path) & 0o077:
            yield at, "others can read this key; chmod 600"
    journal = config.journal.path
    for path in (journal, *(journal.with_name(journal.name + end) for end in BESIDE_JOURNAL)):
        if _mode(path) & 0o077:
            text = f"others can read {path.name}, which belongs to the journal; chmod 600 {path}"
            yield ("journal", "url"), text
    replaceable = "others can replace files in {folder}; chmod go-w {folder}"
    if _others_may_replace(journal.parent):
        yield ("journal", "url"), replaceable.format(folder=journal.parent)
    for file in written_files(config.sinks, config.audit):
        path = file.path
        # An anchor has nothing secret: others may read it.
        if _mode(path) & 0o077 and "anchors" not in file.at:
            yield file.at, f"others can read this file; chmod 600 {path}"
        if path.parent != journal.parent and _others_may_replace(path.parent):
            yield file.at, replaceable.format(folder=path.parent)


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
