"""The settings of polling: a provider's declaration, and a source's configuration."""

import re

import msgspec

from core.secret import Secret
from core.units import Duration

_URL = re.compile(r"https?://[^/?#\\\s]+(/[^?#\s]*)?", re.IGNORECASE)


class Backfill(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings for polling the provider. Only commands that read are sent."""

    #: The user name or email that the key belongs to, for providers that require it.
    user: str | None = None
    #: The provider's API key.
    api_key: Secret
    #: Time between two polls; a source is also polled at start and after a gap. Unset: the
    #: provider's default.
    every: Duration | None = None
    #: Shortest time between two calls. Unset: the provider's default.
    min_interval: Duration | None = None
    #: The URL of its API, without a query. Unset: the provider's own.
    api_url: str | None = None

    def __post_init__(self) -> None:
        if self.api_url is not None and not _URL.fullmatch(self.api_url):
            raise ValueError("api_url: not a URL; write https://, a host and a path, no query")


class PollingApi(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's API for polling, and the defaults of a source's `backfill`."""

    api_url: str
    #: Seconds.
    every: float
    #: Seconds.
    min_interval: float
    #: The commands that only read. An `Ask` can send no other command.
    reads: frozenset[str]
    #: The commands that change a setting at the provider. An option of the source must allow each.
    switches: frozenset[str] = frozenset()
    #: Whether `backfill.user` is required.
    requires_user: bool = False


class PollingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings for polling one source."""

    api: PollingApi
    api_url: str
    user: str | None
    api_key: Secret
    #: Seconds.
    every: float
    #: Seconds.
    min_interval: float


def polling_settings(api: PollingApi, backfill: Backfill) -> PollingSettings:
    """Return the settings of a source, with the provider's defaults for unset options."""
    return PollingSettings(
        api=api,
        api_url=backfill.api_url or api.api_url,
        user=backfill.user,
        api_key=backfill.api_key,
        every=api.every if backfill.every is None else backfill.every,
        min_interval=api.min_interval if backfill.min_interval is None else backfill.min_interval,
    )
