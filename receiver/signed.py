"""Whether a callback is signed as its provider signs: over the bytes as they came.

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

from journal.quantity import Secret
from journal.whsec import key_of

from .source import Callback

#: RFC 9110, 5.6.2.
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PLACE = re.compile(r"\{([^{}]*)\}")
_BODY = "{body}"
#: Seconds that a signed time may differ from ours (Standard Webhooks leave it to the receiver).
TOLERANCE = 300
#: A name in another script stands in a URL as `xn--…`.
_PRINTED = re.compile(r"[!-~]+")
_UNIX = re.compile(r"[0-9]{1,11}")
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

    def __post_init__(self) -> None:
        if not self.secrets:
            raise ValueError("secrets: none; without one anybody can sign")
        if not _HEADER.fullmatch(self.header):
            raise ValueError("header: no name of a header; write X-Signature")
        _check_signed(self.signed)

    def verifies(self, callback: Callback) -> bool:
        """Whether the header holds one of the signatures that the secrets give."""
        told = callback.header(self.header.lower())
        if told is None or not told.startswith(self.prefix):
            return False
        signature = _decoded(told.removeprefix(self.prefix), self.encoding)
        if signature is None:
            return False
        message = self._message(callback)
        return _any(
            [
                hmac.digest(secret.reveal().encode(), message, self.algorithm)
                for secret in self.secrets
            ],
            signature,
        )

    def _message(self, callback: Callback) -> bytes:
        before, _, after = self.signed.partition(_BODY)
        return _filled(before, callback) + callback.body + _filled(after, callback)


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
        message = _of_twilio(self.url.rstrip("/") + target, callback)
        if signature is None or message is None:
            return False
        digests = [
            hmac.digest(token.reveal().encode(), message, "sha1") for token in self.auth_tokens
        ]
        return _any(digests, signature)


def standard(secrets: Sequence[Secret], callback: Callback) -> bool:
    """Whether `webhook-signature` is that of one of the secrets (`whsec_…`), and not old.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    """
    id_, at = callback.header("webhook-id"), callback.header("webhook-timestamp")
    if id_ is None or at is None or not _UNIX.fullmatch(at):
        return False
    if abs(callback.received.timestamp() - int(at)) > TOLERANCE:
        return False
    message = f"{id_}.{at}.".encode("latin-1") + callback.body
    digests = [hmac.digest(key_of(secret), message, "sha256") for secret in secrets]
    told = (callback.header("webhook-signature") or "").split(" ")
    signatures = [_decoded(one.removeprefix("v1,"), "base64") for one in told if one[:3] == "v1,"]
    return any([_any(digests, signature) for signature in signatures if signature is not None])  # noqa: C419 - each is compared


def _check_signed(signed: str) -> None:
    places = _PLACE.findall(signed)
    braces = signed.count("{") + signed.count("}")
    if signed.count(_BODY) != 1 or braces != 2 * len(places):
        raise ValueError("signed: {body} is wanted once; write {body} or {body}{X-Timestamp}")
    if not all(_HEADER.fullmatch(place) for place in places):
        raise ValueError("signed: between braces stands body or the name of a header")


def _filled(text: str, callback: Callback) -> bytes:
    """A header that did not come is empty: the signature is then another one."""
    parts = _PLACE.split(text)
    filled = [
        (callback.header(part.lower()) or "").encode("latin-1") if index % 2 else part.encode()
        for index, part in enumerate(parts)
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
