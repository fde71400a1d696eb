"""Reads the recorded callbacks. See README.md in this folder."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent


class Recorded(NamedTuple):
    #: `tellabot/incoming_message.form`
    name: str
    #: The provider's tag.
    provider: str
    #: The options of the source, except its provider.
    options: dict[str, Any]
    method: str
    #: With `{source}` and `{token}` to fill in.
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    received: datetime
    #: `type`, `subject`, `time` and `data` of each event.
    events: list[dict[str, Any]]


def recorded(path: Path) -> Recorded:
    head, _, body = path.read_bytes().partition(b"\r\n\r\n")
    request_line, *lines = head.decode("latin-1").split("\r\n")
    method, target, _version = request_line.split(" ")
    name = path.name.split(".")[0]
    becomes = json.loads(path.with_name(f"{name}.event.json").read_text())
    return Recorded(
        name=f"{path.parent.name}/{path.stem}",
        provider=path.parent.name,
        options=becomes.get("options", {}),
        method=method,
        path=target,
        headers=tuple(tuple(line.split(": ", 1)) for line in lines),
        body=body,
        received=datetime.fromisoformat(becomes["received"]),
        events=becomes["events"],
    )


RECORDED = [recorded(path) for path in sorted(HERE.glob("*/*.http"))]
