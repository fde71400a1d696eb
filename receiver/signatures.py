"""Verifies the signatures of callbacks, over the bytes as received.

All comparisons take the same time, wherever two signatures differ.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec

from core.secret import Secret
from core.signing import decode_key

from .callback import Callback

#: RFC 9110, 5.6.2.
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PLACE = re.compile(r"\{([^{}]*)\}")
_BODY = "{body}"
#: Seconds that a signed time may differ from ours (Standard Webhooks leave it to the receiver).
TOLERANCE = 300
#: A host name in another script is written `xn--…` in a URL.
_PRINTED = re.compile(r"[!-~]+")
_UNIX = re.compile(r"[0-9]{1,11}|[0-9]{13}")
#: Digits of a time in milliseconds.
_MILLISECONDS = 13
_PART = re.compile(r"[A-Za-z0-9_-]{1,32}")
_HEADER_PART = "header."
_PORT = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*):([0-9]+)")
_DEFAULT_PORTS = {"https": 443, "http": 80}
#: Fields of a form that is parsed before it is authenticated.
_MOST_FIELDS = 256


class Hmac(msgspec.Struct, frozen=True, kw_only=True):
    """A hash of the body under a secret that only the provider and you know, in a header."""

    #: The secret, as the provider shows it. Several during a rotation: any of them is enough.
    secrets: tuple[Secret, ...]
    #: The header with the signature, in any case.
    header: str = "X-Signature"
    #: The hash.
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    #: The notation of the hash.
    encoding: Literal["hex", "base64"] = "hex"
    #: The text before the signature in the header, such as `sha256=`.
    prefix: str = ""
    #: The text that is hashed: `{body}` and, in braces, headers that are signed with it, such as
    #: `{body}{X-Timestamp}` or `v0:{X-Time}:{body}`.
    signed: str = _BODY
    #: For a header that is a list such as `t=1800000000,v1=5257a8…` (as Stripe signs): the name of
    #: the signatures in it, `v1`. Each of them is tried. `{header.t}` in `signed` is then the
    #: value of `t`.
    part: str | None = None
    #: The place of the time of the signature: a header, or `header.t`. It must be in `signed`, and
    #: within five minutes of now. Unset: no time is checked.
    time: str | None = None

    def __post_init__(self) -> None:
        if not self.secrets:
            raise ValueError("secrets: none; without one anybody can sign")
        if not _HEADER.fullmatch(self.header):
            raise ValueError("header: no name of a header; write X-Signature")
        if self.part is not None and not _PART.fullmatch(self.part):
            raise ValueError("part: no name of a part; write v1")
        _check_signed(self.signed, parts=self.part is not None)
        if self.time is not None and f"{{{self.time}}}" not in self.signed:
            raise ValueError("time: not signed; write it in braces in `signed`, too")

    def verifies(self, callback: Callback) -> bool:
        """Whether the header has a signature made with one of the secrets."""
        sent = callback.header(self.header.lower())
        if sent is None:
            return False
        parts = _split_parts(sent) if self.part is not None else {}
        filled = _Filled(callback, parts)
        if self.time is not None and not _is_recent(filled.at(self.time), callback):
            return False
        before, _, after = self.signed.partition(_BODY)
        message = filled.text(before) + callback.body + filled.text(after)
        digests = [
            hmac.digest(secret.reveal().encode(), message, self.algorithm)
            for secret in self.secrets
        ]
        signatures = [
            _decode(one.removeprefix(self.prefix), self.encoding)
            for one in ([sent] if self.part is None else parts.get(self.part, []))
            if one.startswith(self.prefix)
        ]
        return _any_equal(digests, signatures)


class HeaderSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret in a header of each callback."""

    #: The header, such as `X-Webhook-Token`, in any case.
    name: str
    #: Its value. Several during a rotation: any of them is enough.
    secrets: tuple[Secret, ...]

    def __post_init__(self) -> None:
        if not _HEADER.fullmatch(self.name):
            raise ValueError("name: no name of a header; write X-Webhook-Token")
        if not self.secrets:
            raise ValueError("secrets: none; without one anybody can call")

    def verifies(self, callback: Callback) -> bool:
        """Whether the header has one of the secrets."""
        sent = callback.header(self.name.lower())
        if sent is None:
            return False
        # Headers are latin-1 here; a secret is UTF-8 on the wire.
        known = [hashlib.sha256(secret.reveal().encode()).digest() for secret in self.secrets]
        return _any_is(known, hashlib.sha256(sent.encode("latin-1")).digest())


class Basic(msgspec.Struct, frozen=True, kw_only=True):
    """A name and a password with each callback (RFC 7617)."""

    #: The name.
    user: str
    #: The password.
    password: Secret

    def __post_init__(self) -> None:
        if ":" in self.user:
            raise ValueError("user: a name with a colon cannot be sent")

    def verifies(self, callback: Callback) -> bool:
        scheme, _, credentials = (callback.header("authorization") or "").partition(" ")
        sent = _decode(credentials.strip(), "base64")
        expected = f"{self.user}:{self.password.reveal()}".encode()
        if scheme.lower() != "basic" or sent is None:
            return False
        # Digests have one length, so that the time does not show the length of the secret.
        return _any_is([hashlib.sha256(expected).digest()], hashlib.sha256(sent).digest())


class Twilio(msgspec.Struct, frozen=True, kw_only=True):
    """Twilio's `X-Twilio-Signature`: https://www.twilio.com/docs/usage/security."""

    #: The account's Auth Token. Several during a rotation: any of them is enough.
    auth_tokens: tuple[Secret, ...]
    #: The beginning of the callback URL at Twilio, before `/in/`, such as
    #: `https://hooks.example.com`. It is signed, and a service behind a proxy cannot see it.
    url: str

    def __post_init__(self) -> None:
        if not self.auth_tokens:
            raise ValueError("auth_tokens: none; without one anybody can sign")
        if not _is_base_url(self.url):
            raise ValueError("url: not the beginning of a URL; write https://hooks.example.com")

    def verifies(self, callback: Callback, target: str) -> bool:
        signature = _decode(callback.header("x-twilio-signature") or "", "base64")
        if signature is None:
            return False
        # Twilio signs some URLs with their port and some without; its own libraries try both.
        begin = self.url.rstrip("/")
        urls = (with_port(begin) + target, without_port(begin) + target)
        messages = [_twilio_message(url, callback) for url in urls]
        digests = [
            hmac.digest(token.reveal().encode(), message, "sha1")
            for token in self.auth_tokens
            for message in messages
            if message is not None
        ]
        return _any_is(digests, signature)


def with_port(url: str) -> str:
    """Return `https://hooks.example.com:443` for `https://hooks.example.com`."""
    if _port(url) is not None:
        return url
    scheme, _, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    return f"{scheme}://{netloc}:{_DEFAULT_PORTS[scheme]}{slash}{path}"


def without_port(url: str) -> str:
    """Return `https://hooks.example.com` for `https://hooks.example.com:8443`."""
    port = _port(url)
    if port is None:
        return url
    scheme, _, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    return f"{scheme}://{netloc.removesuffix(f':{port}')}{slash}{path}"


def _port(url: str) -> str | None:
    match = _PORT.fullmatch(urlsplit(url).netloc)
    return match[1] if match else None


def verify_standard(
    secrets: Sequence[Secret], callback: Callback, *, prefix: str = "webhook"
) -> bool:
    """Whether `webhook-signature` is made with one of the secrets (`whsec_…`), and recent.

    `prefix` replaces `webhook` at the beginning of the three headers, such as `svix`.
    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    id_, at = callback.header(f"{prefix}-id"), callback.header(f"{prefix}-timestamp")
    if id_ is None or at is None or not _is_recent(at, callback):
        return False
    message = f"{id_}.{at}.".encode("latin-1") + callback.body
    digests = [hmac.digest(decode_key(secret), message, "sha256") for secret in secrets]
    sent = (callback.header(f"{prefix}-signature") or "").split(" ")
    signatures = [_decode(one.removeprefix("v1,"), "base64") for one in sent if one[:3] == "v1,"]
    return _any_equal(digests, signatures)


def _is_recent(at: str | None, callback: Callback) -> bool:
    """Whether `at`, in seconds or milliseconds since 1970, is within TOLERANCE of now."""
    if at is None or not _UNIX.fullmatch(at):
        return False
    seconds = int(at) / (1000 if len(at) == _MILLISECONDS else 1)
    return abs(callback.received.timestamp() - seconds) <= TOLERANCE


def _split_parts(header: str) -> dict[str, list[str]]:
    """Split `t=1,v1=a,v1=b` into `{"t": ["1"], "v1": ["a", "b"]}`."""
    parts: dict[str, list[str]] = {}
    for part in header.split(","):
        name, _, value = part.strip(" \t").partition("=")
        parts.setdefault(name, []).append(value)
    return parts


def _check_signed(signed: str, *, parts: bool) -> None:
    places = _PLACE.findall(signed)
    braces = signed.count("{") + signed.count("}")
    if signed.count(_BODY) != 1 or braces != 2 * len(places):
        raise ValueError("signed: {body} is wanted once; write {body} or {body}{X-Timestamp}")
    if not all(_HEADER.fullmatch(place) for place in places):
        raise ValueError("signed: between braces stands body or the name of a header")
    if not parts and any(place.startswith(_HEADER_PART) for place in places):
        raise ValueError("signed: {header.…} needs `part`")


class _Filled:
    """The values of the places in `signed`. A missing one is empty, so that no signature holds."""

    def __init__(self, callback: Callback, parts: Mapping[str, list[str]]) -> None:
        self.callback, self._header_parts = callback, parts

    def at(self, place: str) -> str | None:
        if not place.startswith(_HEADER_PART):
            return self.callback.header(place.lower())
        values = self._header_parts.get(place.removeprefix(_HEADER_PART), [])
        return values[0] if len(values) == 1 else None

    def text(self, text: str) -> bytes:
        filled = [
            (self.at(part) or "").encode("latin-1") if index % 2 else part.encode()
            for index, part in enumerate(_PLACE.split(text))
        ]
        return b"".join(filled)


def _decode(text: str, encoding: str) -> bytes | None:
    try:
        if encoding == "hex":
            return binascii.unhexlify(text)
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _any_is(digests: Sequence[bytes], signature: bytes) -> bool:
    """Whether any digest is the signature; all are compared in either case."""
    return any([hmac.compare_digest(digest, signature) for digest in digests])  # noqa: C419 - not lazily


def _any_equal(digests: Sequence[bytes], signatures: Sequence[bytes | None]) -> bool:
    """Whether any digest is any of the signatures; all are compared in either case."""
    return any([_any_is(digests, one) for one in signatures if one is not None])  # noqa: C419 - not lazily


def _is_base_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    plain = not (parts.query or parts.fragment or parts.username)
    return (
        parts.scheme in ("http", "https")
        and bool(parts.netloc)
        and plain
        and _PRINTED.fullmatch(url) is not None
    )


def _twilio_message(url: str, callback: Callback) -> bytes | None:
    """Return what Twilio signs: the URL, and the sorted parameters of a form.

    JSON has its hash in the URL instead. None if that hash or the form is wrong.
    """
    hashed = dict(parse_qsl(urlsplit(url).query)).get("bodySHA256")
    if hashed is not None:
        same = hmac.compare_digest(
            hashlib.sha256(callback.body).hexdigest().encode(), hashed.encode()
        )
        return url.encode("latin-1") if same else None
    # The parameters of a GET are in the URL already.
    form = b"" if url.partition("?")[2].encode("latin-1") == callback.body else callback.body
    try:
        pairs = parse_qsl(
            form.decode("ascii"),
            keep_blank_values=True,
            errors="surrogateescape",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        return None
    joined = "".join(name + value for name, value in sorted(set(pairs)))
    return url.encode("latin-1") + joined.encode("utf-8", "surrogateescape")
