"""Tokens of callback URLs, compared in constant time."""

import hashlib
import hmac
from collections.abc import Sequence
from itertools import repeat

from core.secret import Secret, digest, digest_of

#: The least number of digests that are compared. A caller cannot measure whether a source exists,
#: or how many tokens it has.
_COMPARED = 4
#: A digest that no token has.
_UNUSED = bytes(32)


class Tokens:
    """The tokens of one source. `Tokens(())` takes the same time and finds nothing."""

    __slots__ = ("_count", "_digests", "_fingerprints")

    def __init__(self, written: Sequence[Secret]) -> None:
        """Raises ValueError as `digest_of` does, with the token's place in the list."""
        digests = []
        for index, secret in enumerate(written):
            try:
                digests.append(digest_of(secret))
            except ValueError as exc:
                raise ValueError(f"[{index}]: {exc}") from None
        self._count = len(digests)
        self._digests = (*digests, *[_UNUSED] * (_COMPARED - len(digests)))
        self._fingerprints = [
            hashlib.sha256(b"fingerprint\0" + known).hexdigest()[:12] for known in digests
        ]

    def find(self, candidate: bytes) -> int | None:
        """Return the index of the token, or None. All tokens are compared in either case."""
        sent = digest(candidate)
        same = [*map(hmac.compare_digest, repeat(sent), self._digests)]
        return same.index(True) if True in same[: self._count] else None

    def fingerprint(self, index: int) -> str:
        """Return a short text that distinguishes tokens and does not help to guess them."""
        return self._fingerprints[index]
