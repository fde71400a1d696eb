"""What all sinks have that POST to one URL: the URL, certificates and a proxy."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Self

import msgspec

from core.secret import Secret

from ..sink import Sink, checked
from .client import Post, Tls, check_url, posting, start_runtime


class UrlSink(Sink, frozen=True, kw_only=True):
    """A sink that POSTs to a URL. Subclass, tag, and write `open`."""

    url: Secret
    #: Certificates of your own. Unset: the system's authorities, and no client certificate.
    tls: Tls | None = None
    #: Connect through this HTTP proxy, such as `http://proxy.example.com:3128`. Proxies of the
    #: environment are not used.
    proxy: Secret | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        checked("url", check_url, self.url.reveal())
        if self.proxy is not None:
            checked("proxy", check_url, self.proxy.reveal())

    async def prepare(self) -> None:
        await start_runtime()

    def under(self, folder: Path) -> Self:
        if self.tls is None:
            return self
        return msgspec.structs.replace(self, tls=self.tls.under(folder))

    def read_files(self) -> Mapping[tuple[str, ...], Path]:
        return {} if self.tls is None else self.tls.files()

    def urls(self) -> Mapping[str, Secret]:
        return {"url": self.url} | ({} if self.proxy is None else {"proxy": self.proxy})

    def _posting(
        self, path: str = "", headers: Mapping[str, str] = {}
    ) -> AbstractAsyncContextManager[Post]:
        """Post to the URL with `path` appended; `headers` go with each post, before its own."""
        return posting(
            self.url.reveal() + path,
            tls=self.tls,
            proxy=None if self.proxy is None else self.proxy.reveal(),
            connections=self.concurrency,
            within=self.timeout,
            headers=headers,
        )
