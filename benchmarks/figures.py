"""What the figures of a whole run are named, measured or not."""

from .cases import CASES


def known(name: str) -> bool:
    """A page or a goal may name it: a run can have it."""
    return any(case.finds(name) for case in CASES)
