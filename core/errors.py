"""Errors that several rooms tell apart."""


class Unavailable(Exception):
    """It could not be made durable this time; the next batch tries again."""


class Broken(Unavailable):
    """What is on disk is not known any more: nothing may be written until a restart."""


class InvalidRow(Exception):
    """One row of the batch cannot be stored; its neighbours can."""
