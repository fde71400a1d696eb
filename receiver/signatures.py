"""Verifies the signatures of callbacks, over the bytes as received.

All comparisons take the same time, wherever two signatures differ.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
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
#: The most fields of a form, because it is parsed before it is authenticated.
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
            raise ValueError("secrets: empty; without a secret anybody can sign")
        if not _HEADER.fullmatch(self.header):
            raise ValueError("header: not the name of a header; write X-Signature")
        if self.part is not None and not _PART.fullmatch(self.part):
            raise ValueError("part: not the name of a part; write v1")
        places = _PLACE.findall(self.signed)
        braces = self.signed.count("{") + self.signed.count("}")
        if self.signed.count(_BODY) != 1 or braces != 2 * len(places):
            raise ValueError(
                "signed: {body} must be there once; write {body} or {body}{X-Timestamp}"
            )
        if not all(_HEADER.fullmatch(place) for place in places):
            raise ValueError("signed: only body or the name of a header may be in braces")
        if self.part is None and any(place.startswith(_HEADER_PART) for place in places):
            raise ValueError("signed: {header.…} needs `part`")
        if self.time is not None and f"{{{self.time}}}" not in self.signed:
            raise ValueError("time: not signed; add it to `signed`, in braces")

    def verifies(self, callback: Callback) -> bool:
        """Whether the header has a signature made with one of the secrets."""
        sent = callback.header(self.header.lower())
        if sent is None:
            return False
        places = _Places(callback, "" if self.part is None else sent)
        if self.time is not None and not _is_recent(places.value(self.time), callback):
            return False
        before, _, after = self.signed.partition(_BODY)
        message = places.fill(before) + callback.body + places.fill(after)
        digests = [
            hmac.digest(secret.reveal().encode(), message, self.algorithm)
            for secret in self.secrets
        ]
        signatures = [
            _decode(one.removeprefix(self.prefix), self.encoding)
            for one in ([sent] if self.part is None else places.parts.get(self.part, []))
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
            raise ValueError("name: not the name of a header; write X-Webhook-Token")
        if not self.secrets:
            raise ValueError("secrets: empty; without a secret anybody can call")

    def verifies(self, callback: Callback) -> bool:
        """Whether the header has one of the secrets."""
        sent = callback.header(self.name.lower())
        if sent is None:
            return False
        # Headers are latin-1 here; a secret is UTF-8 on the wire.
        known = [hashlib.sha256(secret.reveal().encode()).digest() for secret in self.secrets]
        return _any_equal(known, [hashlib.sha256(sent.encode("latin-1")).digest()])


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
        return _any_equal([hashlib.sha256(expected).digest()], [hashlib.sha256(sent).digest()])


class Twilio(msgspec.Struct, frozen=True, kw_only=True):
    """Twilio's `X-Twilio-Signature`: https://www.twilio.com/docs/usage/security."""

    #: The account's Auth Token. Several during a rotation: any of them is enough.
    auth_tokens: tuple[Secret, ...]
    #: The beginning of the callback URL at Twilio, before `/in/`, such as
    #: `https://hooks.example.com`. It is signed, and a service behind a proxy cannot see it.
    url: str

    def __post_init__(self) -> None:
        if not self.auth_tokens:
            raise ValueError("auth_tokens: empty; without a token anybody can sign")
        try:
            parts = urlsplit(self.url)
        except ValueError:
            parts = urlsplit("")  # has no scheme
        is_plain = not (parts.query or parts.fragment or parts.username)
        has_host = parts.scheme in _DEFAULT_PORTS and parts.netloc != ""
        if not (has_host and is_plain and _PRINTED.fullmatch(self.url)):
            raise ValueError("url: not the beginning of a URL; write https://hooks.example.com")

    def verifies(self, callback: Callback, target: str) -> bool:
        signature = _decode(callback.header("x-twilio-signature") or "", "base64")
        if signature is None:
            return False
        # Twilio signs some URLs with their port and some without; its own libraries try both.
        begins = with_and_without_port(self.url.rstrip("/"))
        messages = [_twilio_message(begin + target, callback) for begin in begins]
        digests = [
            hmac.digest(token.reveal().encode(), message, "sha1")
            for token in self.auth_tokens
            for message in messages
            if message is not None
        ]
        return _any_equal(digests, [signature])


def with_and_without_port(url: str) -> tuple[str, str]:
    """Return `https://h.example:443` and `https://h.example` for either of them."""
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    port = _PORT.fullmatch(host)
    if port is None:
        default = _DEFAULT_PORTS[scheme.lower()]
        return f"{scheme}://{host}:{default}{slash}{path}", url
    return url, f"{scheme}://{host[: port.start(1) - 1]}{slash}{path}"


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


class _Places:
    """The places in `signed`, and their values in a callback."""

    def __init__(self, callback: Callback, header: str) -> None:
        self._callback = callback
        #: `t=1,v1=a,v1=b` becomes `{"t": ["1"], "v1": ["a", "b"]}`.
        self.parts: dict[str, list[str]] = {}
        for part in header.split(","):
            name, _, value = part.strip(" \t").partition("=")
            self.parts.setdefault(name, []).append(value)

    def value(self, place: str) -> str | None:
        """Return the value of a header, or of a part that the header has once; else None."""
        if not place.startswith(_HEADER_PART):
            return self._callback.header(place.lower())
        values = self.parts.get(place.removeprefix(_HEADER_PART), [])
        return values[0] if len(values) == 1 else None

    def fill(self, text: str) -> bytes:
        """Replace the places in a text. A missing value is empty, so that no signature is valid."""
        filled = [
            (self.value(part) or "").encode("latin-1") if index % 2 else part.encode()
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


def _any_equal(digests: Sequence[bytes], signatures: Sequence[bytes | None]) -> bool:
    """Whether any digest is any of the signatures; all are compared in either case."""
    signed = [signature for signature in signatures if signature is not None]
    return any([hmac.compare_digest(one, other) for one in digests for other in signed])  # noqa: C419 - not lazily


def _twilio_message(url: str, callback: Callback) -> bytes | None:
    """Return the message that Twilio signs: the URL and the sorted parameters of a form.

    For JSON, the URL contains the hash of the body instead. None if that hash or the form is wrong.
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
