"""SMSPins: https://smspins.com, "Bulk SMS - API". It sends no callbacks.

Its documents print Python; on the wire there is JSON.
"""

from datetime import datetime, timedelta
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import msgspec

from ..account import Account, Message, SimulatedOrder
from ..exchange import Answer, OutgoingCallback, Request, json_answer
from ..provider import Simulated
from ..schedule import Schedule

#: "All dates are in Eastern Standard Time (EST or EDT)"
_EASTERN = ZoneInfo("America/New_York")
_BEGIN = "apiv2"
#: `nc/requests` are those "made within last 48 hours".
_BACK = timedelta(hours=48)
#: The parts of `/apiv2/KEY/bulk_sms/status/15682` before the argument.
_PARTS = 4


class SimulatedSmsPins(Simulated):
    """Simulates telephones. SMS checks find their messages."""

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
        self._commands = {
            "bulk_sms/telephones": self.telephones,
            "bulk_sms/smses_by_tid": self.smses_by_tid,
            "bulk_sms/status": self.status,
            "bulk_sms/autocheck": self.auto_check,
            "nc/requests": self.changes,
        }

    def command(self, request: Request) -> str | None:
        parts = request.path.strip("/").split("/")
        return "/".join(parts[2:4]) if len(parts) >= _PARTS and parts[0] == _BEGIN else None

    def has_key(self, request: Request) -> bool:
        """Whether the path has the key."""
        return request.path.strip("/").split("/")[1] == self.account.key

    def answer(self, command: str, request: Request) -> Answer:
        answer = self._commands.get(command)
        argument = "/".join(request.path.strip("/").split("/")[_PARTS:])
        return answer(argument) if answer else self.refused()

    def wrong_key(self) -> Answer:
        """Return an error in the documented form; the words are not documented."""
        return _answer(None, success=False, message="Invalid API Key")

    def refused(self) -> Answer:
        return _answer(None, success=False, message="Not simulated")

    def garbled(self, answer: Answer) -> Answer:
        """Return its documentation's form: Python's words for null, true and false."""
        body = answer.body
        for json, python in ((b"null", b"None"), (b"true", b"True"), (b"false", b"False")):
            body = body.replace(b":" + json, b":" + python)
        return msgspec.structs.replace(answer, body=body)

    def telephones(self, _argument: str) -> Answer:
        rows = [
            {
                "telephone_id": order.id,
                "telephone": order.number,
                "added_at": f"{order.made_at.astimezone(_EASTERN):%Y-%m-%d}",
                "expired_at": f"{order.ends_at.astimezone(_EASTERN):%Y-%m-%d}",
            }
            for order in self.account.newest("telephone")
        ]
        return _answer(rows)

    def smses_by_tid(self, telephone_id: str) -> Answer:
        if telephone_id not in self.account.orders:
            return _answer(None, success=False, message="Unable to find Telephone ID")
        checks: dict[str, list[Message]] = {}
        for message in self.account.received(telephone_id):
            checks.setdefault(message.check_id, []).append(message)
        rows = [
            {
                "request_id": found[0].check_id,
                "telephone_id": telephone_id,
                "smses": _join(found),
                "telephone": found[0].to,
                "updated_at": _format(found[-1].at),
            }
            for found in reversed(checks.values())
        ]
        return _answer(rows)

    def status(self, request_id: str) -> Answer:
        found = [it for it in self.account.messages if it.check_id == request_id]
        if not found:
            return _answer(None, success=False, message="Unable to find request")
        first, last = _format(found[0].at), _format(found[-1].at)
        return _answer(
            {
                "request_id": request_id,
                "agent_name": None,
                "telephone": found[0].to,
                "smses": _join(found),
                "status": "SUCCESS",
                "updated_at": last,
                "queued_at": first,
                "acquired_at": first,
                "started_at": first,
                "ended_at": last,
                "canceled_at": None,
            }
        )

    def changes(self, _argument: str) -> Answer:
        # The documented sample lacks the `status` that the documented table has.
        since = self.account.now() - _BACK
        rows = [
            {
                "request_id": change.id,
                "last_telephone": change.before,
                "telephone": change.after,
                "status": change.status,
                "updated_at": _format(change.at),
                "submitted_at": _format(change.at),
                "canceled_at": _format(change.at) if change.status == "CANCELED" else None,
            }
            for change in reversed(self.account.changes)
            if change.at >= since
        ]
        return _answer(rows)

    def auto_check(self, argument: str) -> Answer:
        """Accept a switch, which has no effect: all messages of a telephone are always found."""
        telephone, _, action = argument.partition("/")
        if telephone not in self.account.orders or action not in ("enable", "disable"):
            return _answer(None, success=False, message="Unable to find Telephone ID")
        return _answer(None)

    def callback(self, _order: SimulatedOrder, _message: Message) -> OutgoingCallback | None:
        return None

    def number(self) -> str:
        """Return a number that is never assigned: 555-0100 to 555-0199."""
        return f"212555{self.account.chance.randrange(100, 200):04d}"


def _join(messages: list[Message]) -> str:
    """Join texts "via | (pipe)", which is not escaped in a text."""
    return "|".join(message.text for message in messages)


def _format(at: datetime) -> str:
    return f"{at.astimezone(_EASTERN):%Y-%m-%d %H:%M:%S}"


def _answer(data: Any, *, success: bool = True, message: str | None = None) -> Answer:
    return json_answer({"success": success, "message": message, "data": data})
