"""Tokens of callback URLs, compared in constant time."""

import hashlib
import hmac
from collections.abc import Sequence

from core.secret import Secret, digest, digest_of

#: How many digests every source is compared with, at least: how many tokens it has, and whether
#: it exists, takes the same time.
_COMPARED = 4


_NOBODY = bytes(32)


class Tokens:
    """The tokens of one source. `Tokens(())` lets nobody in, in the same time."""

    __slots__ = ("_count", "_digests", "_fingerprints")

    def __init__(self, written: Sequence[Secret]) -> None:
        """Raises ValueError as `digest_of` does, with the token's place in the list."""
        digests = [_placed(index, secret) for index, secret in enumerate(written)]
        self._count = len(digests)
        self._digests = (*digests, *[_NOBODY] * (_COMPARED - len(digests)))
        self._fingerprints = [
            hashlib.sha256(b"fingerprint\0" + known).hexdigest()[:12] for known in digests
        ]

    def which(self, candidate: bytes) -> int | None:
        """The index of the token that this is. All are compared, whichever it is."""
        sent = digest(candidate)
        same = [hmac.compare_digest(sent, known) for known in self._digests]
        return same.index(True) if any(same[: self._count]) else None

    def fingerprint(self, index: int) -> str:
        """Tells tokens apart on a screen; nothing can be guessed from it but the token itself."""
        return self._fingerprints[index]


def _placed(index: int, secret: Secret) -> bytes:
    try:
        return digest_of(secret)
    except ValueError as exc:
        raise ValueError(f"[{index}]: {exc}") from None
