"""Samples: callbacks that smshook sends to itself, and the signature that marks them."""

import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from .callback import Sample


class SampleSigner:
    """Signs samples and recognizes them. `secret` is the service's own."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"smshook sample", "sha256")

    def sign(self, source: str, body: bytes) -> str:
        """Return the value of `smshook-sample` for a sample."""
        return hmac.digest(self._key, source.encode() + b"\0" + body, "sha256").hex()

    def is_sample(self, source: str, body: bytes, signature: str | None) -> bool:
        """Return whether a callback with that `smshook-sample` is a sample."""
        if signature is None:
            return False
        return hmac.compare_digest(self.sign(source, body).encode(), signature.encode())


def sample_code(number: int) -> str:
    """Return six digits, different for each of a million numbers."""
    return f"{(number * 7919 + 104729) % 1_000_000:06d}"


def encode_sample(fields: Mapping[str, Any], encoding: str, *, number: int) -> Sample:
    """Encode as `form`, `multipart` or `json`; `number` makes the boundary of the parts."""
    if encoding == "form":
        content_type = "application/x-www-form-urlencoded"
        return Sample(content_type=content_type, body=urlencode(fields).encode())
    if encoding == "json":
        return Sample(content_type="application/json", body=msgspec.json.encode(fields))
    # As PHP's curl sends an array of fields.
    boundary = f"{'-' * 24}{number:016x}"
    parts = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    return Sample(
        content_type=f"multipart/form-data; boundary={boundary}",
        body=f"{parts}--{boundary}--\r\n".encode(),
    )
