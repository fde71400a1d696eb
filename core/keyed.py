"""HMAC-SHA-256 under a key that stays."""

import hmac
from collections.abc import Callable


def keyed(key: bytes) -> Callable[[bytes], bytes]:
    """The function from a message to its 32 bytes.

    `hmac.digest` begins with the key each time and lets the interpreter's other threads go first:
    beside a busy thread that takes ten times as long as the hash of a message of ours.
    """
    begun = hmac.new(key, digestmod="sha256")

    def digest(message: bytes) -> bytes:
        this = begun.copy()
        this.update(message)
        return this.digest()

    return digest
