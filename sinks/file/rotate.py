"""When a file is set aside."""

import msgspec

from core.units import Duration, Size


class Rotate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a file is set aside as `PATH.1`, and how many are kept."""

    #: Before it would grow beyond this. Only lines that were written together and are larger
    #: than this by themselves make a larger file.
    size: Size = Size(64 * 1024**2)
    #: When its first event is older than this, at the next event. Unset: by size alone.
    every: Duration | None = None
    #: So many beside the current one; `PATH.1` is the newest, what falls off the end is deleted.
    keep: int = 10
    #: Keep them as `PATH.1.gz`. Deliveries to this sink wait while one is compressed.
    compress: bool = False

    def __post_init__(self) -> None:
        if self.size <= 0:
            raise ValueError("size must be larger than 0")
        if self.every is not None and self.every <= 0:
            raise ValueError("every must be longer than 0s")
        if self.keep < 1:
            raise ValueError("keep must be 1 or more")
