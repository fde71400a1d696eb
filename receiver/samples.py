"""What the samples of all providers are made of."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from .callback import Sample

_Fields = Mapping[str, Any]


def code_of(number: int) -> str:
    """Six digits, others for each of a million numbers."""
    return f"{(number * 7919 + 104729) % 1_000_000:06d}"


def encoded(fields: Mapping[str, Any], encoding: str, *, number: int) -> Sample:
    """As a `form`, `multipart` or `json`; `number` makes the boundary of its parts."""
    return _ENCODERS[encoding](fields, number)


def _as_form(fields: _Fields, _number: int) -> Sample:
    return Sample(content_type="application/x-www-form-urlencoded", body=urlencode(fields).encode())


def _as_multipart(fields: _Fields, number: int) -> Sample:
    """As PHP's curl sends an array of fields."""
    boundary = f"{'-' * 24}{number:016x}"
    parts = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    return Sample(
        content_type=f"multipart/form-data; boundary={boundary}",
        body=f"{parts}--{boundary}--\r\n".encode(),
    )


def _as_json(fields: _Fields, _number: int) -> Sample:
    return Sample(content_type="application/json", body=msgspec.json.encode(fields))


_ENCODERS = {"form": _as_form, "multipart": _as_multipart, "json": _as_json}
