"""Append events to a file, one JSON object a line."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import msgspec

from core.json_lines import on_one_line

from ..sink import Outgoing, Receipt, Send, Sink
from .rotation import Rotate
from .writer import appending


class File(Sink, tag="file", frozen=True, kw_only=True):
    """One JSON object a line. A delivery is complete when its line is on disk (fsync).

    A missing folder, a full disk or a wrong owner fails deliveries. They are retried, and the
    service starts all the same.
    """

    #: The file to append to. A missing file is made with mode 0600, but not its folder. An existing
    #: file keeps its mode.
    path: str
    #: Set the file aside by size or age, such as `{size: 64MiB, every: 1d}`. Unset: it grows. A
    #: tool such as logrotate may rename it at any time.
    rotate: Rotate | None = None
    #: Lines that may share one fsync.
    concurrency: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if "\0" in self.path or self.path.rpartition("/")[2] in ("", ".", ".."):
            raise ValueError("path must be that of a file, such as events.jsonl")

    def under(self, folder: Path) -> Self:
        return msgspec.structs.replace(self, path=os.path.normpath(folder / self.path))

    def place(self, folder: Path) -> str:
        path = Path(self.path)
        return f"file {path.relative_to(folder) if path.is_relative_to(folder) else path}"

    def written_files(self) -> Mapping[str, Path]:
        return {"path": Path(self.path)}

    def sets_aside(self, path: Path, name: str) -> bool:
        return self.rotate is not None and self.rotate.makes(path, name)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        async with appending(self.path, self.rotate) as append:

            async def send(outgoing: Outgoing) -> Receipt:
                await append(on_one_line(outgoing.body) + b"\n")
                return Receipt()

            yield send
