"""Post events to a Slack channel through an incoming webhook."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from core.paths import Path as EventPath
from core.secret import Secret
from core.units import Rate

from ..http.answer import confirmed
from ..http.client import host_of, masked_url
from ..http.url_sink import UrlSink
from ..sink import Outgoing, Receipt, Send, checked
from ..template import paths_of
from .message import compile_payload

_HEADERS: Final = {"content-type": "application/json"}


class Slack(UrlSink, tag="slack", frozen=True, kw_only=True):
    """A Slack message for each event, through an incoming webhook.

    The event's values are shown as plain text: mentions, links and formats in them have no effect.
    Invisible text (control characters, reversed text) is written out.
    """

    #: The incoming webhook's URL, as Slack shows it. Anyone who has it can post to the channel.
    url: Secret
    #: The message, with paths of the event in braces: `{data.service.name}: {data.code}`. Unset:
    #: one that reads well for each type of event.
    message: str | None = None
    #: Slack takes one message a second for each webhook.
    rate: Rate | None = Rate(1, 1)
    #: Messages sent at the same time.
    concurrency: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.message is not None:
            checked("message", compile_payload, self.message)

    def place(self, _folder: Path) -> str:
        return f"slack {host_of(self.url.reveal())}"

    def used_paths(self) -> tuple[EventPath, ...] | None:
        return None if self.message is None else paths_of(self.message)

    def request(self, outgoing: Outgoing) -> str:
        event = msgspec.json.decode(outgoing.body, type=dict[str, object])
        payload = msgspec.json.encode(compile_payload(self.message)(event))
        shown = msgspec.json.format(payload, indent=2).decode()
        return f"POST {masked_url(self.url.reveal())}\n\n{shown}"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Send]:
        payload = compile_payload(self.message)
        async with self._posting(headers=_HEADERS) as post:

            async def send(outgoing: Outgoing) -> Receipt:
                event = msgspec.json.decode(outgoing.body, type=dict[str, object])
                answer = await post({}, msgspec.json.encode(payload(event)))
                return confirmed(answer, now=outgoing.at)

            yield send
