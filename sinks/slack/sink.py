"""Post events to a Slack channel through an incoming webhook."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from core.paths import Path as EventPath
from core.secret import Secret
from core.units import Rate

from ..http.answer import confirmed
from ..http.client import Tls, check_url, host_of, masked_url, posting, start_runtime
from ..sink import Outgoing, Receipt, Send, Sink, checked
from ..template import paths_of
from .message import compile_payload

_HEADERS: Final = {"content-type": "application/json"}


class Slack(Sink, tag="slack", frozen=True, kw_only=True):
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
    #: Certificates of your own, where a proxy opens TLS.
    tls: Tls | None = None
    #: Connect through this HTTP proxy: `http://proxy.example.com:3128`. Proxies of the environment
    #: are not used.
    proxy: Secret | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checked("url", check_url, self.url.reveal())
        if self.proxy is not None:
            checked("proxy", check_url, self.proxy.reveal())
        if self.message is not None:
            checked("message", compile_payload, self.message)

    async def prepare(self) -> None:
        await start_runtime()

    def under(self, folder: Path) -> "Slack":
        if self.tls is None:
            return self
        return msgspec.structs.replace(self, tls=self.tls.under(folder))

    def place(self, _folder: Path) -> str:
        return f"slack {host_of(self.url.reveal())}"

    def read_files(self) -> Mapping[tuple[str, ...], Path]:
        return {} if self.tls is None else self.tls.files()

    def urls(self) -> Mapping[str, Secret]:
        return {"url": self.url} | ({} if self.proxy is None else {"proxy": self.proxy})

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
        async with posting(
            self.url.reveal(),
            tls=self.tls,
            proxy=None if self.proxy is None else self.proxy.reveal(),
            connections=self.concurrency,
            within=self.timeout,
        ) as post:

            async def send(outgoing: Outgoing) -> Receipt:
                event = msgspec.json.decode(outgoing.body, type=dict[str, object])
                answer = await post(_HEADERS, msgspec.json.encode(payload(event)))
                return confirmed(answer, now=outgoing.at)

            yield send
