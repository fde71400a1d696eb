"""Sample callbacks of TellABot."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ...fields.times import NEW_YORK
from ...samples import sample_code

Fields = Mapping[str, Any]


def _number(number: int) -> str:
    """Return a number that is not in use: 555-0100 to 555-0199."""
    return f"1850555{100 + number % 100:04d}"


def sms(number: int, now: datetime) -> Fields:
    code = sample_code(number)
    return {
        "event": "incoming_message",
        "id": str(10_000_001 + number),
        "timestamp": str(int(now.timestamp())),
        "date_time": f"{now.astimezone(NEW_YORK):%Y-%m-%d %H:%M:%S %Z}",
        "from": "22000",
        "to": _number(number),
        "service": "Google",
        "reply": f"G-{code} is your Google verification code.",
        "pin": f"G-{code}",
        "price": 1.25,
    }


def rental_sms(number: int, now: datetime) -> Fields:
    fields = dict(sms(number, now))
    del fields["id"]
    return fields | {"ltr_id": str(2_000_001 + number), "first_ltr_id": "2000001"}


def billing(number: int, now: datetime) -> Fields:
    fields = dict(rental_sms(number, now))
    del fields["pin"]
    return fields | {
        "from": "Billing",
        "reply": f"Subscription, period {number % 1000}",
        "price": 9.75,
    }


def renewal(number: int, now: datetime) -> Fields:
    return {
        "event": "ltr_renewal",
        "status": "ok",
        "new_ltr_id": str(2_000_002 + number),
        "previous_ltr_id": str(2_000_001 + number),
        "mdn": _number(number),
        "service": "Google",
        "price": 9.75,
        "expires": f"{now.replace(year=now.year + 1, day=1):%Y-%m-%d} 23:59:59",
    }


def renewal_failed(number: int, _now: datetime) -> Fields:
    return {
        "event": "ltr_renewal",
        "status": "error",
        "message": "Low balance",
        "previous_ltr_id": str(2_000_001 + number),
        "mdn": _number(number),
        "service": "Google",
    }


def assigned(number: int, _now: datetime) -> Fields:
    return {
        "event": "priority_request",
        "status": "ok",
        "id": str(10_000_001 + number),
        "mdn": _number(number),
        "service": "Amazon",
        "price": 0.75,
    }


#: By kind: a function of the sample's number and the time.
SAMPLES: Mapping[str, Callable[[int, datetime], Fields]] = {
    "sms": sms,
    "rental-sms": rental_sms,
    "billing": billing,
    "renewal": renewal,
    "renewal-failed": renewal_failed,
    "assigned": assigned,
}
