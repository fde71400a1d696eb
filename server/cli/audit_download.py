"""Copies the audit log of a service into a folder, in the form of an export."""

import time
from pathlib import Path

import httpx

from core.printable import plain
from journal.audit.export import CHECKPOINT, CHECKPOINTS, ENTRIES, PRUNED, Beginning, tile_path
from journal.audit.note import Checkpoint, Note, split_notes
from journal.audit.tree import TILE_WIDTH

from .command import Failure
from .connection import Address

#: Seconds for one answer.
_WITHIN = 30.0
#: Bytes of a length in a bundle (c2sp.org/tlog-tiles).
_LENGTH = 2
_TOO_MANY, _OK = 429, 200


def download(address: Address, folder: Path) -> int:
    """Copy the log up to its newest checkpoint; return the number of its lines.

    Nothing is checked: `audit_verify` does that. Raises Failure.
    """
    headers = {"Authorization": f"Bearer {address.key}"}
    with httpx.Client(
        base_url=address.url, headers=headers, timeout=_WITHIN, trust_env=False
    ) as client:
        note = _get(client, CHECKPOINT).decode()
        pruned = _get(client, "pruned")
        try:
            end = Checkpoint.parse(Note.parse(note).text).size
            begin = Beginning.read(pruned).size
            kept = _until(_get(client, CHECKPOINTS).decode(), end)
        except (ArithmeticError, LookupError, TypeError, ValueError) as exc:
            raise Failure(f"{address.url} is not an audit log: {exc}") from None
        (folder / CHECKPOINT).write_text(note, encoding="utf-8")
        (folder / CHECKPOINTS).write_text(kept, encoding="utf-8")
        (folder / PRUNED).write_bytes(pruned)
        with (folder / ENTRIES).open("xb") as file:
            for number in range(begin // TILE_WIDTH, -(-end // TILE_WIDTH)):
                width = min(TILE_WIDTH, end - number * TILE_WIDTH)
                data = _get(client, tile_path(None, number, width))
                while data:
                    size = _LENGTH + int.from_bytes(data[:_LENGTH])
                    file.write(data[_LENGTH:size] + b"\n")
                    data = data[size:]
    return end


def _get(client: httpx.Client, path: str) -> bytes:
    try:
        answer = client.get(f"/v1/audit/log/{path}")
        while answer.status_code == _TOO_MANY:
            time.sleep(float(answer.headers.get("retry-after", "1")))
            answer = client.get(f"/v1/audit/log/{path}")
    except httpx.HTTPError as exc:
        raise Failure(f"{client.base_url}: {type(exc).__name__}") from None
    if answer.status_code != _OK:
        raise Failure(plain(f"{answer.status_code} for {path}: {answer.text[:500]}"))
    return answer.content


def _until(notes: str, size: int) -> str:
    """Return the notes of a log with at most so many lines: newer ones came meanwhile."""
    found = split_notes(notes)
    return "".join(one for one in found if Checkpoint.parse(Note.parse(one).text).size <= size)
