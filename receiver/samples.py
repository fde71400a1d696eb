"""Builds the samples of all providers."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from .callback import Sample


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
