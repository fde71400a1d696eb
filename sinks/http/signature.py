"""Standard Webhooks signatures, version 1: who receives an event can tell that we sent it.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
from collections.abc import Callable, Iterable

from core.keyed import keyed
from core.secret import Secret
from core.signing import key_of

__all__ = ["Sign", "key_of", "signing"]

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
