"""Whether a callback is signed as its provider signs: over the bytes as they came.

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
#: A name in another script stands in a URL as `xn--…`.
_PRINTED = re.compile(r"[!-~]+")
_UNIX = re.compile(r"[0-9]{1,11}|[0-9]{13}")
#: Digits of a time in milliseconds.
_MILLISECONDS = 13
_PART = re.compile(r"[A-Za-z0-9_-]{1,32}")
_OF_HEADER = "header."
_PORT = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*):([0-9]+)")
_DEFAULT_PORTS = {"https": 443, "http": 80}
#: Of a form that is looked through before anything is known of it.
_MOST_FIELDS = 256


class Hmac(msgspec.Struct, frozen=True, kw_only=True):
    """A hash of the body under a secret that only the provider and you know, in a header."""

    #: The secret, as the provider shows it. Several while it is rotated: each will do.
    secrets: tuple[Secret, ...]
    #: The header that the signature comes in, in any case.
    header: str = "X-Signature"
    #: The hash.
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    #: How its bytes are written.
    encoding: Literal["hex", "base64"] = "hex"
    #: What stands before the signature in the header, such as `sha256=`.
    prefix: str = ""
    #: What is hashed: `{body}` and, in braces, headers that are signed with it, such as
    #: `{body}{X-Timestamp}` or `v0:{X-Time}:{body}`.
    signed: str = _BODY
    #: Set it for a header that is a list such as `t=1800000000,v1=5257a8…` (as Stripe signs): the
    #: name of the signatures in it, `v1`. Each of them is tried. `{header.t}` in `signed` is then
    #: the value of `t`.
    part: str | None = None
    #: Where the time of the signature is: a header, or `header.t`. It must be in `signed`, and
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
        """Return whether the header holds a signature that one of the secrets gives."""
        sent = callback.header(self.header.lower())
        if sent is None:
            return False
        parts = _parts(sent) if self.part is not None else {}
        filled = _Filled(callback, parts)
        if self.time is not None and not _is_recent(filled.at(self.time), callback):
            return False
        message = self._message(filled)
        digests = [
            hmac.digest(secret.reveal().encode(), message, self.algorithm)
            for secret in self.secrets
        ]
        signatures = [sent] if self.part is None else parts.get(self.part, [])
        return _any_of(digests, [self._signature(one) for one in signatures])

    def _signature(self, sent: str) -> bytes | None:
        if not sent.startswith(self.prefix):
            return None
        return _decoded(sent.removeprefix(self.prefix), self.encoding)

    def _message(self, filled: "_Filled") -> bytes:
        before, _, after = self.signed.partition(_BODY)
        return filled.text(before) + filled.callback.body + filled.text(after)


class HeaderSecret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret that comes in a header of its own with each callback."""

    #: The header, such as `X-Webhook-Token`, in any case.
    name: str
    #: Its value. Several while it is rotated: each will do.
    secrets: tuple[Secret, ...]

    def __post_init__(self) -> None:
        if not _HEADER.fullmatch(self.name):
            raise ValueError("name: no name of a header; write X-Webhook-Token")
        if not self.secrets:
            raise ValueError("secrets: none; without one anybody can call")

    def verifies(self, callback: Callback) -> bool:
        """Return whether the header holds one of the secrets."""
        sent = callback.header(self.name.lower())
        if sent is None:
            return False
        # Headers are latin-1 here; a secret is UTF-8 on the wire.
        known = [hashlib.sha256(secret.reveal().encode()).digest() for secret in self.secrets]
        return _any(known, hashlib.sha256(sent.encode("latin-1")).digest())


class Basic(msgspec.Struct, frozen=True, kw_only=True):
    """A name and a password that come with each callback (RFC 7617)."""

    #: The name.
    user: str
    #: The password.
    password: Secret

    def __post_init__(self) -> None:
        if ":" in self.user:
            raise ValueError("user: a name with a colon cannot be sent")

    def verifies(self, callback: Callback) -> bool:
        scheme, _, credentials = (callback.header("authorization") or "").partition(" ")
        told = _decoded(credentials.strip(), "base64")
        expected = f"{self.user}:{self.password.reveal()}".encode()
        if scheme.lower() != "basic" or told is None:
            return False
        # Their digests, because to compare lengths takes less time than to compare texts.
        return _any([hashlib.sha256(expected).digest()], hashlib.sha256(told).digest())


class Twilio(msgspec.Struct, frozen=True, kw_only=True):
    """Twilio's `X-Twilio-Signature`: https://www.twilio.com/docs/usage/security."""

    #: The account's Auth Token. Several while it is rotated: each will do.
    auth_tokens: tuple[Secret, ...]
    #: What the callback URL begins with at Twilio, before `/in/`, such as
    #: `https://hooks.example.com`. It is signed, and a service behind a proxy does not see it.
    url: str

    def __post_init__(self) -> None:
        if not self.auth_tokens:
            raise ValueError("auth_tokens: none; without one anybody can sign")
        if not _is_beginning(self.url):
            raise ValueError("url: not the beginning of a URL; write https://hooks.example.com")

    def verifies(self, callback: Callback, target: str) -> bool:
        signature = _decoded(callback.header("x-twilio-signature") or "", "base64")
        if signature is None:
            return False
        # Twilio signs a URL now with its port, now without; its own libraries try both.
        begin = self.url.rstrip("/")
        urls = (with_port(begin) + target, without_port(begin) + target)
        messages = [_of_twilio(url, callback) for url in urls]
        digests = [
            hmac.digest(token.reveal().encode(), message, "sha1")
            for token in self.auth_tokens
            for message in messages
            if message is not None
        ]
        return _any(digests, signature)


def with_port(url: str) -> str:
    """`https://hooks.example.com` -> `https://hooks.example.com:443`."""
    if _port(url) is not None:
        return url
    scheme, _, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    return f"{scheme}://{netloc}:{_DEFAULT_PORTS[scheme]}{slash}{path}"


def without_port(url: str) -> str:
    """`https://hooks.example.com:8443` -> `https://hooks.example.com`."""
    port = _port(url)
    if port is None:
        return url
    scheme, _, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    return f"{scheme}://{netloc.removesuffix(f':{port}')}{slash}{path}"


def _port(url: str) -> str | None:
    match = _PORT.fullmatch(urlsplit(url).netloc)
    return match[1] if match else None


def standard(secrets: Sequence[Secret], callback: Callback, *, prefix: str = "webhook") -> bool:
    """Return whether `webhook-signature` is that of one of the secrets (`whsec_…`), and not old.

    `prefix` is what the three headers begin with in place of `webhook`, such as `svix`.
    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    id_, at = callback.header(f"{prefix}-id"), callback.header(f"{prefix}-timestamp")
    if id_ is None or at is None or not _is_recent(at, callback):
        return False
    message = f"{id_}.{at}.".encode("latin-1") + callback.body
    digests = [hmac.digest(decode_key(secret), message, "sha256") for secret in secrets]
    sent = (callback.header(f"{prefix}-signature") or "").split(" ")
    signatures = [_decoded(one.removeprefix("v1,"), "base64") for one in sent if one[:3] == "v1,"]
    return _any_of(digests, signatures)


def _is_recent(at: str | None, callback: Callback) -> bool:
    """Return whether `at`, in seconds or milliseconds since 1970, is within TOLERANCE of now."""
    if at is None or not _UNIX.fullmatch(at):
        return False
    seconds = int(at) / (1000 if len(at) == _MILLISECONDS else 1)
    return abs(callback.received.timestamp() - seconds) <= TOLERANCE


def _parts(header: str) -> dict[str, list[str]]:
    """`t=1,v1=a,v1=b` -> `{"t": ["1"], "v1": ["a", "b"]}`."""
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
    if not parts and any(place.startswith(_OF_HEADER) for place in places):
        raise ValueError("signed: {header.…} needs `part`")


class _Filled:
    """What stands in the braces of `signed`. What did not come is empty: no signature holds."""

    def __init__(self, callback: Callback, parts: Mapping[str, list[str]]) -> None:
        self.callback, self._header_parts = callback, parts

    def at(self, place: str) -> str | None:
        if not place.startswith(_OF_HEADER):
            return self.callback.header(place.lower())
        values = self._header_parts.get(place.removeprefix(_OF_HEADER), [])
        return values[0] if len(values) == 1 else None

    def text(self, text: str) -> bytes:
        filled = [
            (self.at(part) or "").encode("latin-1") if index % 2 else part.encode()
            for index, part in enumerate(_PLACE.split(text))
        ]
        return b"".join(filled)


def _decoded(text: str, encoding: str) -> bytes | None:
    try:
        if encoding == "hex":
            return binascii.unhexlify(text)
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _any(digests: Sequence[bytes], signature: bytes) -> bool:
    """Each is compared, whichever it is."""
    return any([hmac.compare_digest(digest, signature) for digest in digests])  # noqa: C419 - not lazily


def _any_of(digests: Sequence[bytes], signatures: Sequence[bytes | None]) -> bool:
    """Each of the signatures that could be read is compared with each digest."""
    return any([_any(digests, one) for one in signatures if one is not None])  # noqa: C419 - not lazily


def _is_beginning(url: str) -> bool:
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


def _of_twilio(url: str, callback: Callback) -> bytes | None:
    """The URL, with the parameters of a form sorted and joined; JSON has its hash in the URL."""
    hashed = dict(parse_qsl(urlsplit(url).query)).get("bodySHA256")
    if hashed is not None:
        same = hmac.compare_digest(
            hashlib.sha256(callback.body).hexdigest().encode(), hashed.encode()
        )
        return url.encode("latin-1") if same else None
    # By GET the parameters are in the URL.
    form = b"" if _query_of(url) == callback.body else callback.body
    parameters = _parameters(form)
    return None if parameters is None else url.encode("latin-1") + parameters


def _parameters(form: bytes) -> bytes | None:
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
    return joined.encode("utf-8", "surrogateescape")


def _query_of(url: str) -> bytes:
    return url.partition("?")[2].encode("latin-1")
