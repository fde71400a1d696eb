"""Standard Webhooks signatures, version 1: who receives an event can tell that we sent it.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import binascii
from collections.abc import Callable, Iterable

from journal.keyed import keyed
from journal.quantity import Secret

_PREFIX = "whsec_"
#: Bytes of a key: fewer are guessed, and more are not what receivers expect.
_SHORTEST, _LONGEST = 24, 64
_WRONG = (
    f"not {_PREFIX} and base64 of {_SHORTEST} to {_LONGEST} bytes: "
    f"echo {_PREFIX}$(openssl rand -base64 32)"
)

#: Event id, unix seconds of the attempt, body as it is sent -> the header `webhook-signature`.
Sign = Callable[[str, int, bytes], str]


def signing(secrets: Iterable[Secret]) -> Sign:
    """Signs with each: while they are rotated a receiver knows one of them.

    Raises ValueError for what is no secret, as `key_of` does.
    """
    hashes = [keyed(key_of(secret)) for secret in secrets]

    def sign(event_id: str, timestamp: int, body: bytes) -> str:
        signed = f"{event_id}.{timestamp}.".encode() + body
        return " ".join([f"v1,{base64.b64encode(hash_(signed)).decode()}" for hash_ in hashes])

    return sign


def key_of(secret: Secret) -> bytes:
    """The bytes in `whsec_…`. Raises ValueError that says what would do, without the value."""
    text = secret.reveal()
    try:
        key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(_WRONG) from None
    if not text.startswith(_PREFIX) or not _SHORTEST <= len(key) <= _LONGEST:
        raise ValueError(_WRONG)
    return key
