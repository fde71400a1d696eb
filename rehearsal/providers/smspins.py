"""SMSPins: https://smspins.com, "Bulk SMS - API". It is asked only, and sends nothing.

Its documents print Python, not what is on the wire; here that is JSON.
"""

from datetime import datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import msgspec

from ..account import Account, Change, Message, SimulatedOrder
from ..exchange import Answer, OutgoingCallback, Request, json_answer
from ..provider import Simulated
from ..schedule import Schedule

#: "All dates are in Eastern Standard Time (EST or EDT)"
_EASTERN = ZoneInfo("America/New_York")
_BEGIN = "apiv2"
#: `nc/requests` are those "made within last 48 hours".
_BACK = timedelta(hours=48)
#: `/apiv2/KEY/bulk_sms/status/15682`, with what follows the command.
_PARTS = 4


class SimulatedSmsPins(Simulated):
    """Telephones; what one received is found by SMS checks."""

    name: ClassVar[str] = "smspins"
    kinds: ClassVar[tuple[str, ...]] = ("telephone",)
    reads: ClassVar[frozenset[str]] = frozenset(
        {
            "bulk_sms/telephones",
            "bulk_sms/smses_by_tid",
            "bulk_sms/status",
            "nc/requests",
            "nc/status",
        }
    )
    schedule: ClassVar[Schedule | None] = None
    service: ClassVar[str] = ""
    country: ClassVar[str] = "US"
    path: ClassVar[str] = f"/{_BEGIN}"
    first_id: ClassVar[int] = 23_354
    life: ClassVar[timedelta] = timedelta(days=27)

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._answers = {
            "bulk_sms/telephones": self._telephones,
            "bulk_sms/smses_by_tid": self._messages,
            "bulk_sms/status": self._check,
            "bulk_sms/autocheck": self._auto_check,
            "nc/requests": self._changes,
        }

    def command(self, request: Request) -> str | None:
        parts = request.path.strip("/").split("/")
        return "/".join(parts[2:4]) if len(parts) >= _PARTS and parts[0] == _BEGIN else None

    def has_key(self, request: Request) -> bool:
        """It stands in the path."""
        return request.path.strip("/").split("/")[1] == self.account.key

    def answer(self, command: str, request: Request) -> Answer:
        answer = self._answers.get(command)
        argument = "/".join(request.path.strip("/").split("/")[_PARTS:])
        return answer(argument) if answer else self.refused()

    def wrong_key(self) -> Answer:
        """Its words are not documented; its way to say an error is."""
        return _said(None, success=False, message="Invalid API Key")

    def refused(self) -> Answer:
        return _said(None, success=False, message="Not simulated")

    def garbled(self, answer: Answer) -> Answer:
        """As its own samples are printed: Python's words for null, true and false."""
        body = answer.body
        for json, python in ((b"null", b"None"), (b"true", b"True"), (b"false", b"False")):
            body = body.replace(b":" + json, b":" + python)
        return msgspec.structs.replace(answer, body=body)

    def _telephones(self, _argument: str) -> Answer:
        rows = [
            {
                "telephone_id": order.id,
                "telephone": order.number,
                "added_at": f"{order.made_at.astimezone(_EASTERN):%Y-%m-%d}",
                "expired_at": f"{order.ends_at.astimezone(_EASTERN):%Y-%m-%d}",
            }
            for order in self.account.newest("telephone")
        ]
        return _said(rows)

    def _messages(self, telephone_id: str) -> Answer:
        if telephone_id not in self.account.orders:
            return _said(None, success=False, message="Unable to find Telephone ID")
        rows = [
            {
                "request_id": found[0].check_id,
                "telephone_id": telephone_id,
                "smses": _joined(found),
                "telephone": found[0].to,
                "updated_at": _written(found[-1].at),
            }
            for found in self._checks(telephone_id)
        ]
        return _said(rows)

    def _checks(self, telephone_id: str) -> list[list[Message]]:
        """What each check found, the newest check first."""
        checks: dict[str, list[Message]] = {}
        for message in self.account.received(telephone_id):
            checks.setdefault(message.check_id, []).append(message)
        return list(checks.values())[::-1]

    def _check(self, request_id: str) -> Answer:
        found = [it for it in self.account.messages if it.check_id == request_id]
        if not found:
            return _said(None, success=False, message="Unable to find request")
        first, last = _written(found[0].at), _written(found[-1].at)
        return _said(
            {
                "request_id": request_id,
                "agent_name": None,
                "telephone": found[0].to,
                "smses": _joined(found),
                "status": "SUCCESS",
                "updated_at": last,
                "queued_at": first,
                "acquired_at": first,
                "started_at": first,
                "ended_at": last,
                "canceled_at": None,
            }
        )

    def _changes(self, _argument: str) -> Answer:
        since = self.account.now() - _BACK
        return _said([_change(it) for it in reversed(self.account.changes) if it.at >= since])

    def _auto_check(self, argument: str) -> Answer:
        """It changes nothing here: what a telephone receives is always found."""
        telephone, _, action = argument.partition("/")
        if telephone not in self.account.orders or action not in ("enable", "disable"):
            return _said(None, success=False, message="Unable to find Telephone ID")
        return _said(None)

    def callback(self, _order: SimulatedOrder, _message: Message) -> OutgoingCallback | None:
        return None

    def number(self) -> str:
        """555-0100 to 555-0199 belong to nobody."""
        return f"212555{self.account.chance.randrange(100, 200):04d}"


def _change(change: Change) -> dict[str, Any]:
    """Its sample lacks the `status` that its table has."""
    return {
        "request_id": change.id,
        "last_telephone": change.before,
        "telephone": change.after,
        "status": change.status,
        "updated_at": _written(change.at),
        "submitted_at": _written(change.at),
        "canceled_at": _written(change.at) if change.status == "CANCELED" else None,
    }


def _joined(messages: list[Message]) -> str:
    """Separated "via | (pipe)", which is not escaped where it is part of one."""
    return "|".join(message.text for message in messages)


def _written(at: datetime) -> str:
    return f"{at.astimezone(_EASTERN):%Y-%m-%d %H:%M:%S}"


def _said(data: Any, *, success: bool = True, message: str | None = None) -> Answer:
    return json_answer({"success": success, "message": message, "data": data})
