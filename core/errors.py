"""Errors that several rooms handle."""

import traceback


class Unavailable(Exception):
    """A write or a read failed. A later one may succeed."""

    #: The answer to a request for a change, in words for its sender.
    said = "the journal is not available; the change may or may not be stored"


class Unchanged(Unavailable):
    """Nothing was written."""

    said = "the journal is not available; nothing was changed"


class Broken(Unavailable):
    """The state on disk is unknown. Nothing may be written until a restart."""


class InvalidRow(Exception):
    """A row of the batch cannot be stored. The other rows can."""


class AlreadyMade(Exception):
    """An earlier write with the same `Idempotency-Key` is stored. Nothing was changed."""


def origin(exc: BaseException) -> str:
    """Return the file and the line that raised an error. A whole traceback shows values."""
    raised = traceback.extract_tb(exc.__traceback__)
    return f"{raised[-1].filename}:{raised[-1].lineno}" if raised else "unknown"
