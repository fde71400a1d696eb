"""SMS-Activate, its successors, and their differences."""

import csv
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import Any, ClassVar

from ...fields.services import ListedService, listed_services
from ...polling.options import PollingApi
from ...polling.questions import Known, Poll, PollMemory
from .callbacks import SmsActivateDialect
from .poll import poll

_READS = frozenset(
    {
        "getActiveActivations",
        "getBalance",
        "getHistory",
        "getRentList",
        "getRentStatus",
        "getStatus",
        "getStatusV2",
    }
)
_RENTAL_URL = "rentals: pass the URL as `{}` with each order"


def _table(name: str, key: str, value: str) -> dict[str, str]:
    """Return two columns of a table in `receiver/fields/tables`."""
    with (resources.files("receiver.fields") / "tables" / name).open(encoding="utf-8") as file:
        return {row[key]: row[value] for row in csv.DictReader(file)}


def _polling_api(host: str, *reads: str) -> PollingApi:
    api_url = f"{host}/stubs/handler_api.php"
    return PollingApi(api_url=api_url, every=120.0, min_interval=1.0, reads=frozenset(reads))


_COUNTRIES = _table("sms_activate_countries.csv", "id", "iso2")
_BOWER_COUNTRIES = _table("smsbower_country_overrides.csv", "smsbower_id", "iso2")
_SERVICES = listed_services("sms_activate_services.csv")


class SmsActivate(SmsActivateDialect, tag="sms_activate", frozen=True, kw_only=True):
    """https://sms-activate.ae/api2 "Webhooks"; rentals: https://sms-activate.io/blog/wh-rps."""

    documented: ClassVar[tuple[str, ...]] = ("188.42.218.183", "142.91.156.119")
    paste_at: ClassVar[str] = f"profile settings, Webhooks; {_RENTAL_URL.format('url')}"
    countries: ClassVar[Mapping[str, str]] = _COUNTRIES
    services: ClassVar[Mapping[str, ListedService]] = _SERVICES
    polling_api: ClassVar[PollingApi | None] = _polling_api("https://api.sms-activate.ae", *_READS)

    def poll(
        self,
        known: Sequence[Known],
        *,
        since: datetime,
        now: datetime,
        memory: PollMemory | None = None,
    ) -> Poll:
        memory = PollMemory() if memory is None else memory
        return poll(self, known, since=since, now=now, memory=memory)


class SmsBower(SmsActivate, tag="smsbower", frozen=True, kw_only=True):
    """https://smsbower.page "Notification via Webhook": three attempts in six minutes."""

    documented: ClassVar[tuple[str, ...]] = ("167.235.198.205",)
    polling_api: ClassVar[PollingApi | None] = _polling_api(
        "https://smsbower.page", "getBalance", "getStatus"
    )
    paste_at: ClassVar[str] = "profile, Notification via Webhook"
    countries: ClassVar[Mapping[str, str]] = _COUNTRIES | _BOWER_COUNTRIES
    #: Ids with another meaning than in SMS-Activate's table.
    services: ClassVar[Mapping[str, ListedService]] = {
        **_SERVICES,
        "aws": ListedService(name="AWS"),
        "adf": ListedService(name="BCA Syariah"),
        "aev": ListedService(name="BankKaro"),
    }


class SmsOnline(SmsActivate, tag="sms_online", frozen=True, kw_only=True):
    """https://sms.online/help/api-docs/webhooks: it never retries."""

    documented: ClassVar[tuple[str, ...]] = ()
    paste_at: ClassVar[str] = f"profile, webhook URL; {_RENTAL_URL.format('uri')}"
    #: https://sms.online/help/api-docs.
    polling_api: ClassVar[PollingApi | None] = _polling_api(
        "https://api.sms.online", "getActiveActivations", "getBalance", "getStatus"
    )


class HeroSms(SmsActivate, tag="herosms", frozen=True, kw_only=True):
    """https://hero-sms.com/docs/v1/openapi.json `sms-incoming`: answers within three seconds."""

    documented: ClassVar[tuple[str, ...]] = ("84.32.223.53", "185.138.88.87")
    paste_at: ClassVar[str] = "account settings, webhook URLs (up to three; adding one takes 2FA)"
    countries: ClassVar[Mapping[str, str]] = _COUNTRIES | {"222": "RU"}
    message_field: ClassVar[str | None] = "id"
    #: Its schema does not say what `id` identifies.
    is_message_id_enough: ClassVar[bool] = False
    #: Its specification has no actions for rentals.
    polling_api: ClassVar[PollingApi | None] = _polling_api(
        "https://hero-sms.com", *(_READS - {"getRentList", "getRentStatus"})
    )
    pages: ClassVar[bool] = True
    page_size: ClassVar[str] = "size"
    repeats_code: ClassVar[bool] = False

    def sample_sms(self, number: int, now: datetime) -> dict[str, Any]:
        fields = super().sample_sms(number, now)
        at = f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        return fields | {"id": 70_001 + number, "phoneFrom": "22000", "receivedAt": at}


class GrizzlySms(SmsActivate, tag="grizzlysms", frozen=True, kw_only=True):
    """https://grizzlysms.com/docs: it documents no webhook, so poll it.

    A callback is read as one of the dialect.
    """

    documented: ClassVar[tuple[str, ...]] = ()
    paste_at: ClassVar[str] = "not documented: ask its support, or use backfill alone"
    #: The last two are only in its public clients. A command that the server lacks is skipped.
    polling_api: ClassVar[PollingApi | None] = _polling_api(
        "https://api.grizzlysms.com",
        "getBalance",
        "getStatus",
        "getStatusV2",
        "getActiveActivations",
    )


class DaisySms(SmsActivate, tag="daisysms", frozen=True, kw_only=True):
    """https://daisysms.com/docs/api: each message has an id."""

    documented: ClassVar[tuple[str, ...]] = ()
    paste_at: ClassVar[str] = "profile, webhook URL"
    message_field: ClassVar[str | None] = "messageId"
    sends_text: ClassVar[bool] = True
    polling_api: ClassVar[PollingApi | None] = _polling_api(
        "https://daisysms.com", "getBalance", "getStatus"
    )

    def sample_sms(self, number: int, now: datetime) -> dict[str, Any]:
        return super().sample_sms(number, now) | {"messageId": 90_001 + number}
