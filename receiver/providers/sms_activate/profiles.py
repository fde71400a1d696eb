"""Successors of SMS-Activate and where they differ from it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from ...callback import Key
from ...fields.dedupe import SentTime
from ...fields.services import ListedService
from ...polling.options import Polled
from .callbacks import _ALL, _COUNTRIES, _RENTAL_URL, _SERVICES, SmsActivate, _polled, _table

_BOWER_COUNTRIES = _table("smsbower_country_overrides.csv", "smsbower_id", "iso2")


class SmsBower(SmsActivate, tag="smsbower", frozen=True, kw_only=True):
    """https://smsbower.page "Notification via Webhook": three attempts in six minutes."""

    documented: ClassVar[tuple[str, ...]] = ("167.235.198.205",)
    commands: ClassVar[frozenset[str]] = frozenset({"getBalance", "getStatus"})
    polled: ClassVar[Polled | None] = _polled("https://smsbower.page")
    paste_at: ClassVar[str] = "profile, Notification via Webhook"
    countries: ClassVar[Mapping[str, str]] = _COUNTRIES | _BOWER_COUNTRIES
    #: Ids that it uses in another sense than the others.
    services: ClassVar[Mapping[str, ListedService]] = {
        **_SERVICES,
        "aws": ListedService(name="AWS"),
        "adf": ListedService(name="BCA Syariah"),
        "aev": ListedService(name="BankKaro"),
    }


class SmsOnline(SmsActivate, tag="sms_online", frozen=True, kw_only=True):
    """https://sms.online/help/api-docs/webhooks: what it cannot deliver it never sends again."""

    documented: ClassVar[tuple[str, ...]] = ()
    paste_at: ClassVar[str] = f"profile, webhook URL; {_RENTAL_URL.format('uri')}"
    #: https://sms.online/help/api-docs.
    commands: ClassVar[frozenset[str]] = frozenset(
        {"getActiveActivations", "getBalance", "getStatus"}
    )
    polled: ClassVar[Polled | None] = _polled("https://api.sms.online")


class HeroSms(SmsActivate, tag="herosms", frozen=True, kw_only=True):
    """https://hero-sms.com/docs/v1/openapi.json `sms-incoming`: answers within three seconds."""

    documented: ClassVar[tuple[str, ...]] = ("84.32.223.53", "185.138.88.87")
    paste_at: ClassVar[str] = "account settings, webhook URLs (up to three; adding one takes 2FA)"
    countries: ClassVar[Mapping[str, str]] = _COUNTRIES | {"222": "RU"}
    message_field: ClassVar[str | None] = "id"
    #: Its specification has none of the actions for rentals.
    commands: ClassVar[frozenset[str]] = _ALL - {"getRentList", "getRentStatus"}
    pages: ClassVar[bool] = True
    page_size: ClassVar[str] = "size"
    repeats_code: ClassVar[bool] = False
    polled: ClassVar[Polled | None] = _polled("https://hero-sms.com")

    def _message_key(
        self, activation: str, message: str, words: tuple[str, str], when: SentTime, /
    ) -> Key:
        """Its schema requires `id` without saying of what: hence time, text and code beside it."""
        parts = ("act", activation, "id", message, *words)
        return Key(second=when.second or 0, parts=parts)

    def _sample_sms(self, number: int, now: datetime) -> dict[str, Any]:
        fields = super()._sample_sms(number, now)
        at = f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
        return fields | {"id": 70_001 + number, "phoneFrom": "22000", "receivedAt": at}


class GrizzlySms(SmsActivate, tag="grizzlysms", frozen=True, kw_only=True):
    """https://grizzlysms.com/docs: it documents no webhook, so polling is the way in.

    A callback that comes is read as the dialect's.
    """

    documented: ClassVar[tuple[str, ...]] = ()
    paste_at: ClassVar[str] = "not documented: ask its support, or use backfill alone"
    #: The last two are in its public clients only; one that is not there is left out.
    commands: ClassVar[frozenset[str]] = frozenset(
        {"getBalance", "getStatus", "getStatusV2", "getActiveActivations"}
    )
    polled: ClassVar[Polled | None] = _polled("https://api.grizzlysms.com")


class DaisySms(SmsActivate, tag="daisysms", frozen=True, kw_only=True):
    """https://daisysms.com/docs/api: an id for each message."""

    documented: ClassVar[tuple[str, ...]] = ()
    paste_at: ClassVar[str] = "profile, webhook URL"
    message_field: ClassVar[str | None] = "messageId"
    sends_text: ClassVar[bool] = True
    commands: ClassVar[frozenset[str]] = frozenset({"getBalance", "getStatus"})
    polled: ClassVar[Polled | None] = _polled("https://daisysms.com")

    def _sample_sms(self, number: int, now: datetime) -> dict[str, Any]:
        return super()._sample_sms(number, now) | {"messageId": 90_001 + number}
