"""Signatures of the samples that smshook sends itself: the door marks their events."""

import hashlib
import hmac

from core.keyed import derived_key


class SampleSigner:
    """Sign samples with a key derived from the service's secret."""

    def __init__(self, secret: str) -> None:
        self._key = derived_key(secret, "sample")

    def sign(self, source: str, body: bytes) -> str:
        """Return the signature of a sample for that source, in hexadecimal digits."""
        return hmac.new(self._key, source.encode() + b"\0" + body, hashlib.sha256).hexdigest()

    def verify(self, source: str, body: bytes, signature: str | None) -> bool:
        if signature is None:
            return False
        return hmac.compare_digest(self.sign(source, body).encode(), signature.encode())
