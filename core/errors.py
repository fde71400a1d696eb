"""Errors that several rooms handle."""


class Unavailable(Exception):
    """A batch could not be made durable; the next batch tries again."""


class Broken(Unavailable):
    """The state on disk is unknown: nothing may be written until a restart."""


class InvalidRow(Exception):
    """One row of the batch cannot be stored; its neighbours can."""
