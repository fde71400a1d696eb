"""The fields of a request: what their names say without the values."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import msgspec

_HOST, _LENGTH, _CODING = b"host", b"content-length", b"transfer-encoding"
_EXPECT, _CONTINUE = b"expect", b"100-continue"


class FieldNames(msgspec.Struct, frozen=True):
    """The names of the fields of a request, in lower case and in the order received."""

    names: tuple[bytes, ...]
    #: The same as text, latin-1 as HTTP has them.
    texts: tuple[str, ...]
    #: The place of the first field of each name.
    places: Mapping[bytes, int]
    #: Whether there is one Host, one Content-Length at most, and no Transfer-Encoding.
    are_plain: bool

    def are_well_framed(self, values: Sequence[bytes], version: str) -> bool:
        """Whether all servers read this as the same request (RFC 9112, sections 3.2 and 6)."""
        if self.are_plain:
            return True  # nearly all
        hosts, lengths, codings = map(self.names.count, (_HOST, _LENGTH, _CODING))
        coding = values[self.places[_CODING]] if codings else b""
        return (
            (hosts == 1 or (hosts == 0 and version == "1.0"))
            and lengths + codings <= 1
            and (not codings or (coding.strip(b" \t").lower() == b"chunked" and version == "1.1"))
        )

    def expect_continue(self, values: Sequence[bytes]) -> bool:
        """Whether the client waits for a 100 before it sends the body."""
        return _EXPECT in self.places and any(
            name == _EXPECT and value.lower() == _CONTINUE
            for name, value in zip(self.names, values, strict=True)
        )


@lru_cache(maxsize=256)
def field_names(written: tuple[bytes, ...]) -> FieldNames:
    """Read the names of fields. Clients send the same ones again and again, so it is cached."""
    names = tuple([name.lower() for name in written])
    return FieldNames(
        names=names,
        texts=tuple([name.decode("latin-1") for name in names]),
        places={name: names.index(name) for name in names},
        are_plain=names.count(_HOST) == 1 and names.count(_LENGTH) <= 1 and _CODING not in names,
    )
