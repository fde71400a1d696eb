"""Keyed hashes, and the keys and signatures of Standard Webhooks.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable

from .secret import Secret

_PREFIX = "whsec_"
#: Bytes of a key: a shorter one can be guessed, and receivers expect no longer one.
_SHORTEST, _LONGEST = 24, 64
_WRONG = (
    f"not {_PREFIX} and base64 of {_SHORTEST} to {_LONGEST} bytes: "
    f"echo {_PREFIX}$(openssl rand -base64 32)"
)
#: RFC 2104: the bytes of a block, and the translations of a key for the inner and outer hash.
_BLOCK = 64
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))
#: Takes an event's id, the unix seconds of the attempt and the body as it is sent. Returns the
#: value of the header `webhook-signature`.
Sign = Callable[[str, int, bytes], str]


def make_hmac(key: bytes) -> Callable[[bytes], bytes]:
    """Return a function that returns the HMAC-SHA-256 of a message: 32 bytes.

    `hmac.digest` would hash the key again for each message and release the interpreter's lock.
    While another thread is busy, that takes ten times as long as the hash itself. A copy of an
    `hmac.new` costs twice as much as the copies of its two hashes.
    """
    key = hashlib.sha256(key).digest() if len(key) > _BLOCK else key
    key = key.ljust(_BLOCK, b"\0")
    inner, outer = hashlib.sha256(key.translate(_INNER)), hashlib.sha256(key.translate(_OUTER))

    def digest(message: bytes) -> bytes:
        first, second = inner.copy(), outer.copy()
        first.update(message)
        second.update(first.digest())
        return second.digest()

    return digest


def hmac_once(key: bytes, message: bytes) -> bytes:
    """Return the HMAC-SHA-256 of a message, for a key of at most 64 bytes that is used once.

    It takes half the time of `make_hmac`, which hashes the key and the message apart.
    """
    key = key.ljust(_BLOCK, b"\0")
    inner = hashlib.sha256(key.translate(_INNER) + message).digest()
    return hashlib.sha256(key.translate(_OUTER) + inner).digest()


def decode_key(secret: Secret) -> bytes:
    """Return the bytes in `whsec_…`.

    Raises ValueError, which says how to make a secret and does not repeat this one.
    """
    text = secret.reveal()
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(_WRONG) from None
    if not text.startswith(_PREFIX) or not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(_WRONG)
    return key


def encode_key(key: bytes) -> Secret:
    """Return a key as `whsec_…`. Give 32 random bytes for a new secret."""
    return Secret(f"{_PREFIX}{base64.b64encode(key).decode()}")


def make_signer(secrets: Iterable[Secret]) -> Sign:
    """Return a function that signs with each secret, so that a receiver can rotate them.

    Raises ValueError as `decode_key` does.
    """
    hashes = [make_hmac(decode_key(secret)) for secret in secrets]

    def sign(event_id: str, timestamp: int, body: bytes) -> str:
        signed = f"{event_id}.{timestamp}.".encode() + body
        return " ".join([f"v1,{base64.b64encode(hash_(signed)).decode()}" for hash_ in hashes])

    return sign
