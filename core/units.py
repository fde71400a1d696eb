"""Durations, sizes and rates, as people write them in a configuration."""

import re
from typing import Any

import msgspec

from .secret import Secret, secret

# [0-9], because \d matches the digits of every script.
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"([0-9]+)(B|KiB|MiB|GiB)?")
_BYTES = {None: 1, "B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)/(s|m|h)")


class Duration(float):
    """Seconds; written `200ms`, `30s`, `5m`, `3h` or `7d`."""

    __slots__ = ()


class Size(int):
    """Bytes; written `64KiB`, `10MiB`, `1GiB` or a plain number."""

    __slots__ = ()


class Rate(msgspec.Struct, frozen=True):
    """A count per second on average, and as many at once; written `10/s`, `100/m` or `1000/h`."""

    count: float
    #: Seconds for which the count is allowed.
    per: float


def duration(text: object) -> Duration:
    """Read `30s` as 30.0. Raises ValueError, which says how to write a duration."""
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("not a duration; write 200ms, 30s, 5m, 3h or 7d")
    return Duration(float(match[1]) * _SECONDS[match[2]])


def size(text: object) -> Size:
    """Read `64KiB` as 65536. Raises ValueError, which says how to write a size."""
    match = _SIZE.fullmatch(str(text)) if isinstance(text, str | int) else None
    if match is None:
        raise ValueError("not a size; write 65536, 64KiB, 10MiB or 1GiB")
    return Size(int(match[1]) * _BYTES[match[2]])


def rate(text: object) -> Rate:
    """Read `10/s` as Rate(10, 1). Raises ValueError, which says how to write a rate."""
    match = _RATE.fullmatch(text) if isinstance(text, str) else None
    if match is None or float(match[1]) == 0:
        raise ValueError("not a rate; write 10/s, 100/m or 1000/h")
    return Rate(float(match[1]), _SECONDS[match[2]])


_READERS: dict[type, Any] = {Duration: duration, Size: size, Rate: rate, Secret: secret}


def from_written(type_: type, written: object) -> object:
    """Convert a written value to one of these types. Use it as msgspec's `dec_hook`."""
    reader = _READERS.get(type_)
    if reader is None:
        raise NotImplementedError(f"no way to read {type_.__name__}")
    return reader(written)
