"""Options of a source that can be asked."""

import re

import msgspec

from core.secret import Secret
from core.units import Duration

#: All that is ever sent: commands that read. None that buys, rents, cancels, finishes, requests or
#: answers is in here, and an `Ask` of any other cannot be made.
READ_ONLY = frozenset(
    {
        # TellABot
        "balance",
        "read_sms",
        "request_status",
        # SMS-Activate's dialect
        "getActiveActivations",
        "getBalance",
        "getHistory",
        "getRentList",
        "getRentStatus",
        "getStatus",
        "getStatusV2",
        # SMSPins
        "bulk_sms/telephones",
        "bulk_sms/smses_by_tid",
        "bulk_sms/status",
        "nc/requests",
    }
)


#: Commands that change something at the provider, and that an option of the source must allow.
#: SMSPins: `auto_check`. A `Switch` of any other cannot be made.
ON_REQUEST = frozenset({"bulk_sms/autocheck"})


_URL = re.compile(r"https?://[^/?#\\\s]+(/[^?#\s]*)?", re.IGNORECASE)


_ID = re.compile(r"[^\s/?#&%]{1,64}")


class Backfill(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the provider is asked for what was missed. Only commands that read are ever sent."""

    #: The user name or email that the key belongs to. TellABot wants it, the others do not.
    user: str | None = None
    #: The provider's API key.
    api_key: Secret
    #: How often it is asked, besides at start and after a gap. Unset: 5m for TellABot, 30s for
    #: SMSPins, 2m else.
    every: Duration | None = None
    #: At least so long between two calls. Unset: 15s for TellABot, as it asks for, 1s else.
    min_interval: Duration | None = None
    #: Where its API is, without a query. Unset: the provider's own.
    api_url: str | None = None

    def __post_init__(self) -> None:
        if self.api_url is not None and not _URL.fullmatch(self.api_url):
            raise ValueError("api_url: not a URL; write https://, a host and a path, no query")


class Polled(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider is asked if its source does not say."""

    api_url: str
    every: float
    min_interval: float

    def asking(self, backfill: Backfill) -> "Asking":
        return Asking(
            api_url=backfill.api_url or self.api_url,
            user=backfill.user,
            api_key=backfill.api_key,
            every=self.every if backfill.every is None else backfill.every,
            min_interval=(
                self.min_interval if backfill.min_interval is None else backfill.min_interval
            ),
        )


class Asking(msgspec.Struct, frozen=True, kw_only=True):
    """How one source is asked."""

    api_url: str
    user: str | None
    api_key: Secret
    #: Seconds.
    every: float
    #: Seconds.
    min_interval: float
