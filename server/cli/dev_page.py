"""What the page of simulated providers shows of the service: its looks, its events, its log."""

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import httpx
import msgspec
import structlog

from core.secret import Secret
from rehearsal.web.beside import Beside, Seen, SeenDelivery, SeenEvent

from ..config.options import ApiKey, Config
from ..console.assets import FOLDER
from ..log.people import Fields, Readable

#: The name of the key with which the page reads events. It is in no file, and sees no codes.
KEY_NAME = "dev-page"
#: Events, and lines of the log, on the page.
_EVENTS, _LINES = 8, 30
#: Seconds for an answer of the API.
_TIMEOUT = 5.0
_KINDS = {"delivered": "ok", "dead": "bad", "expired": "bad"}


class Log:
    """The last lines of the log, as people read them.

    What the command prints at its start, with a key, is not in it.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        """Add it to the configured log."""
        self.lines: deque[str] = deque(maxlen=_LINES)
        self._render = Readable(now)
        *others, last = structlog.get_config()["processors"]
        structlog.configure(processors=[*others, self._keep, last])

    def _keep(self, logger: Any, method: str, fields: Fields) -> Fields:
        line = self._render(logger, method, fields).decode().rstrip("\n")
        if line:
            self.lines.append(line)
        return fields


def style() -> str:
    """Return the style sheet of the console."""
    return (FOLDER / "console.css").read_text()


def console_of(config: Config, api: str) -> str | None:
    """Return the address of the console; None if it is off."""
    return f"{api}/console/" if config.console.enabled else None


def with_key(config: Config, key: str) -> Config:
    """Return the configuration with a key that reads events, masked."""
    keys = {**config.api.keys, KEY_NAME: ApiKey(key=Secret(key), scopes=("events:read",))}
    return msgspec.structs.replace(config, api=msgspec.structs.replace(config.api, keys=keys))


def beside(config: Config, api: str, key: str, log: Log) -> Beside:
    """Return the surroundings of the page. `api` is the address of the API."""
    console = console_of(config, api)
    return Beside(style=style(), console=console, seen=partial(_seen, api, key, console, log))


async def _seen(api: str, key: str, console: str | None, log: Log, source: str) -> Seen:
    """Return the newest events of a source, each with its deliveries."""
    headers = {"Authorization": f"Bearer {key}"}
    try:
        async with httpx.AsyncClient(
            base_url=api, headers=headers, timeout=_TIMEOUT, trust_env=False
        ) as client:
            asked = {"source": source, "order": "desc", "limit": _EVENTS}
            events = [item["event"] for item in await _data(client, "/v1/events", asked)]
            wanted = {"event": [event["id"] for event in events], "limit": 1000}
            owed = await _data(client, "/v1/deliveries", wanted) if events else []
    except httpx.HTTPError as exc:
        return Seen(log=[f"the API does not answer: {type(exc).__name__}", *reversed(log.lines)])
    return Seen(
        events=[
            SeenEvent(
                at=event["recordedtime"],
                words=_words(event),
                url=console and f"{console}events/{event['id']}",
                deliveries=[_delivery(one) for one in owed if one["event"] == event["id"]],
            )
            for event in events
        ],
        log=[*reversed(log.lines)],
    )


async def _data(client: httpx.AsyncClient, path: str, asked: Mapping[str, Any]) -> Any:
    answer = await client.get(path, params=asked)
    return answer.raise_for_status().json()["data"]


def _words(event: Mapping[str, Any]) -> str:
    data = event["data"]
    service = data.get("service") or {}
    words = (event["type"], service.get("name") or service.get("id"), data.get("to"))
    return " ".join(word for word in words if word)


def _delivery(one: Mapping[str, Any]) -> SeenDelivery:
    return SeenDelivery(
        kind=_KINDS.get(one["state"], "wait"), words=f"{one['sink']} {one['state']}"
    )
