"""What a case is, and what it has measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Of one repetition: figures by name, and series of (x, y) for plots."""

    values: Mapping[str, float]
    series: Mapping[str, Sequence[tuple[float, float]]] = {}


class Case(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def what(self) -> str:
        """One sentence."""
        ...

    @property
    def once(self) -> bool:
        """It is run once, at the end, and not in each repetition."""
        ...

    def run(self, folder: Path, *, quick: bool) -> Measured:
        """One repetition, in an empty folder on the disk that is measured."""
        ...
