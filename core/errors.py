"""Errors that several rooms handle."""


class Unavailable(Exception):
    """A write or a read failed. A later one may succeed."""


class Broken(Unavailable):
    """The state on disk is unknown. Nothing may be written until a restart."""


class InvalidRow(Exception):
    """A row of the batch cannot be stored. The other rows can."""


class AlreadyMade(Exception):
    """An earlier write with the same `Idempotency-Key` is stored. Nothing was changed."""
