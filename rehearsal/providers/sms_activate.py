"""SMS-Activate's dialect: https://sms-activate.ae/api2, and its successors."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from urllib.parse import quote
from zoneinfo import ZoneInfo

import msgspec

from ..account import Account, Message, SimulatedOrder
from ..exchange import JSON, Answer, OutgoingCallback, Request, json_answer, plain_answer
from ..provider import Simulated
from ..schedule import Schedule

#: The providers do not document it; their successor's examples are in Moscow's.
_MOSCOW = ZoneInfo("Europe/Moscow")
_PATH = "/stubs/handler_api.php"
#: The time of a missing SMS or call.
_NO_TIME = "0000-00-00 00:00:00"
#: The status of every activation in a list.
_STATUS = "4"
#: ISO 4217.
_USD = 840
#: "dates are limited to 30 days"
_BACK = timedelta(days=30)
_ROWS = 50
_MOST_ROWS = 100
#: "displays only the last 10 numbers"
_RENTALS = 10
_PAGE = 10
#: The words for the status of an ended rental, in place of its messages.
_ENDED = {
    "finished": "STATUS_FINISH",
    "cancelled": "STATUS_CANCEL",
    "revoked": "STATUS_REVOKE",
}
_READS = frozenset(
    {
        "getBalance",
        "getBalanceAndCashBack",
        "getNumbersStatus",
        "getTopCountriesByService",
        "getListOfTopCountriesByService",
        "getOperators",
        "getActiveActivations",
        "getStatus",
        "getStatusV2",
        "getHistory",
        "getIncomingCallStatus",
        "getPrices",
        "getPricesV2",
        "getPricesV3",
        "getPricesVerification",
        "getCountries",
        "getServicesList",
        "getRentServicesAndCountries",
        "getRentStatus",
        "getRentList",
        "getContinueRentPriceNumber",
        "checkExtraActivation",
        "getAllSms",
    }
)


class SimulatedSmsActivate(Simulated):
    """Simulates activations and rentals."""

    name: ClassVar[str] = "sms_activate"
    kinds: ClassVar[tuple[str, ...]] = ("activation", "rental")
    reads: ClassVar[frozenset[str]] = _READS
    #: The spacing is not documented. Here: evenly over two hours.
    schedule: ClassVar[Schedule | None] = Schedule(
        waits=((1020.0, 1020.0),) * 7,
        description="at most 8 times within 2 hours; their spacing is unknown, 17 minutes here",
    )
    service: ClassVar[str] = "go"
    country: ClassVar[str] = "16"
    path: ClassVar[str] = _PATH
    first_id: ClassVar[int] = 4_450_751_126

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._commands = {
            "getActiveActivations": self.active_activations,
            "getBalance": self.balance,
            "getStatus": self.status,
            "getStatusV2": self.status_v2,
            "getHistory": self.history,
            "getRentList": self.rent_list,
            "getRentStatus": self.rent_status,
        }

    def command(self, request: Request) -> str | None:
        return request.parameters.get("action", "") if request.path == _PATH else None

    def has_key(self, request: Request) -> bool:
        return request.parameters.get("api_key") == self.account.key

    def answer(self, command: str, request: Request) -> Answer:
        answer = self._commands.get(command)
        return answer(request.parameters) if answer else self.refused()

    def wrong_key(self) -> Answer:
        return plain_answer("BAD_KEY")

    def refused(self) -> Answer:
        return plain_answer("BAD_ACTION")

    def busy(self) -> Answer:
        """Return plain text where JSON is expected: "sql-server error"."""
        return plain_answer("ERROR_SQL")

    def garbled(self, answer: Answer) -> Answer:
        r"""Return its documentation's broken JSON: `"sms": "sms":"["Your code"]"`, extra commas."""
        body = answer.body.replace(b'"sms":"[\\"', b'"sms": "sms":"["').replace(b'\\"]"', b'"]"')
        if body == answer.body and body.endswith(b"}"):
            body = body[:-1] + b",}"
        return msgspec.structs.replace(answer, body=body)

    def balance(self, _given: Mapping[str, str]) -> Answer:
        return plain_answer(f"ACCESS_BALANCE:{self.account.balance}")

    # Activations

    def active_activations(self, _given: Mapping[str, str]) -> Answer:
        rows = self._active_rows()
        if not rows:
            return plain_answer("NO_ACTIVATIONS")
        return json_answer({"status": "success", "activeActivations": rows})

    def _active_rows(self) -> list[dict[str, Any]]:
        rows = []
        for order in self.account.newest("activation"):
            if order.status not in {"active", "retry", "resend"}:
                continue
            if not self.account.until(order.ends_at):
                continue
            messages = [it for it in self.account.received(order.id) if not it.is_call]
            row = {
                "activationId": order.id,
                "serviceCode": order.service,
                "phoneNumber": order.number,
                "activationCost": order.price,
                "activationStatus": _STATUS,
                "smsCode": [message.code for message in messages],
                "smsText": messages[-1].text if messages else "",
                "activationTime": _naive(order.made_at),
                "discount": "0.00",
                "repeated": "0",
                "countryCode": order.country,
                "countryName": "Russia" if order.country == "0" else "United Kingdom",
                "canGetAnotherSms": "1",
                "currency": _USD,
            }
            rows.append(row)
        return rows

    def _activation(self, given: Mapping[str, str]) -> SimulatedOrder | None:
        order = self.account.orders.get(given.get("id", ""))
        return order if order is not None and order.kind == "activation" else None

    def status(self, given: Mapping[str, str]) -> Answer:
        order = self._activation(given)
        if order is None:
            return self._no_activation()
        codes = [message.code for message in self.account.received(order.id)]
        return plain_answer(self._status_of(order, codes[-1] if codes else None))

    def _status_of(self, order: SimulatedOrder, code: str | None) -> str:
        """Return the status word; `code` is the last one received."""
        if order.status == "cancelled":
            return "STATUS_CANCEL"
        if order.status == "resend":
            return "STATUS_WAIT_RESEND"
        if code is None:
            return "STATUS_WAIT_CODE"
        return f"STATUS_WAIT_RETRY:{code}" if order.status == "retry" else f"STATUS_OK:{code}"

    def _no_activation(self) -> Answer:
        return plain_answer("NO_ACTIVATION")

    def status_v2(self, given: Mapping[str, str]) -> Answer:
        """Return the last SMS and the last call; a missing one has a time of zeros."""
        order = self._activation(given)
        if order is None:
            return self._no_activation()
        if order.status == "cancelled":
            return plain_answer("STATUS_CANCEL")
        newest_first = self.account.received(order.id)[::-1]
        sms = next((it for it in newest_first if not it.is_call), None)
        call = next((it for it in newest_first if it.is_call), None)
        return json_answer(
            {
                "verificationType": 2,
                "sms": {
                    "dateTime": _naive(sms.at) if sms else _NO_TIME,
                    "code": sms.code if sms else "",
                    "text": sms.text if sms else "",
                },
                "call": {
                    "from": call.from_ if call else "",
                    "text": call.text if call else "",
                    "code": call.code if call else "",
                    "dateTime": _naive(call.at) if call else _NO_TIME,
                    "url": "",
                    "parsingCount": 1 if call else 0,
                },
            }
        )

    #: The parameter of `getHistory` for the number of rows.
    rows_parameter: ClassVar[str] = "limit"

    def history(self, given: Mapping[str, str]) -> Answer:
        span = self._span(given)
        if span is None:
            return plain_answer("WRONG_DATE")
        first, last = span
        rows = []
        for order in self.account.newest("activation"):
            if not first <= order.made_at <= last:
                continue
            texts = [it.text for it in self.account.received(order.id) if not it.is_call]
            row = {
                "id": _number(order.id),
                "date": _naive(order.made_at),
                "phone": order.number,
                # A list that is written as a text.
                "sms": msgspec.json.encode(texts).decode(),
                # The documented sample has 0 for active ones.
                "cost": order.price if order.status == "finished" else 0,
                "status": _STATUS,
                "currency": _USD,
            }
            rows.append(row)
        start = _whole(given.get("offset"), 0)
        count = min(_whole(given.get(self.rows_parameter), _ROWS), _MOST_ROWS)
        return json_answer(rows[start : start + count])

    def _span(self, given: Mapping[str, str]) -> tuple[datetime, datetime] | None:
        """Return `start` and `end`; None if one is no timestamp, or too long ago."""
        now = self.account.now()
        texts = [given.get("start", ""), given.get("end", "")]
        if any(text and not (text.isascii() and text.isdecimal()) for text in texts):
            return None
        try:
            first, last = (
                datetime.fromtimestamp(int(text), UTC) if text else None for text in texts
            )
        except (ValueError, OverflowError, OSError):
            return None
        first, last = first or now - _BACK, last or now
        return (first, last) if min(first, last) >= now - _BACK else None

    # Rentals

    def rent_list(self, _given: Mapping[str, str]) -> Answer:
        rentals = [it for it in self.account.newest("rental") if it.status == "active"]
        if not rentals:
            return _rental_error("NO_NUMBERS")
        rows = [{"id": order.id, "phone": order.number} for order in rentals[:_RENTALS]]
        return json_answer({"status": "success", "values": _numbered(rows)})

    def rent_status(self, given: Mapping[str, str]) -> Answer:
        if "id" not in given:
            return _rental_error("NO_ID_RENT")
        order = self.account.orders.get(given["id"])
        if order is None or order.kind != "rental":
            return _rental_error("INVALID_PHONE")
        if order.status in _ENDED:
            return _rental_error(_ENDED[order.status])
        messages = self.account.received(order.id)[::-1]
        if not messages:
            return _rental_error("STATUS_WAIT_CODE")
        # Older documents count pages from 0, newer ones from 1.
        first = 1 if self.account.goes_wrong("pages_from_1", "getRentStatus") else 0
        size = max(1, _whole(given.get("size"), _PAGE))
        start = (max(first, _whole(given.get("page"), first)) - first) * size
        rows = [
            {
                "phoneFrom": message.from_,
                "text": message.text,
                "service": order.service,
                "date": _naive(message.at),
            }
            for message in messages[start : start + size]
        ]
        return json_answer(
            {"status": "success", "quantity": str(len(messages)), "values": _numbered(rows)}
        )

    # Callbacks

    #: Whether the callbacks of rentals have numbers where SMS-Activate's have texts.
    has_numeric_rentals: ClassVar[bool] = False

    def callback(self, order: SimulatedOrder, message: Message) -> OutgoingCallback | None:
        if order.kind != "rental":
            return _json(self._fields(order, message))
        written = _number if self.has_numeric_rentals else str
        sms = {
            "phoneFrom": written(message.from_),
            "text": message.text,
            "date": _naive(message.at),
        }
        return _json({"rentId": written(order.id), "sms": sms})

    def _fields(self, order: SimulatedOrder, message: Message) -> dict[str, Any]:
        return {
            "activationId": _number(order.id),
            "service": order.service,
            "text": message.text,
            # "may be null" without a recognized code
            "code": message.code or None,
            "country": _number(order.country),
            "receivedAt": _naive(message.at),
        }

    def number(self) -> str:
        """Return a number that is never assigned: 07700 900000 to 900999."""
        return f"447700900{self.account.chance.randrange(1000):03d}"


class SimulatedSmsBower(SimulatedSmsActivate):
    """Simulates SMSBower. Its documents have `getStatus` and no lists."""

    name: ClassVar[str] = "smsbower"
    kinds: ClassVar[tuple[str, ...]] = ("activation",)
    schedule: ClassVar[Schedule | None] = Schedule(
        waits=((60.0, 60.0), (300.0, 300.0)),
        description="2 more times: after 1 minute, then after 5 minutes",
    )

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        self._commands = {"getBalance": self.balance, "getStatus": self.status}

    def _status_of(self, order: SimulatedOrder, code: str | None) -> str:
        """Return the status of an activation.

        While the activation waits for another code, the status leaves the last code out.
        """
        waits = order.status == "retry"
        return "STATUS_WAIT_RESEND" if waits else super()._status_of(order, code)


class SimulatedSmsOnline(SimulatedSmsActivate):
    """Simulates https://sms.online/help/api-docs/webhooks with SMS-Activate's polling commands."""

    name: ClassVar[str] = "sms_online"
    schedule: ClassVar[Schedule | None] = Schedule(
        waits=(), description="once; it will not attempt to resend"
    )
    has_numeric_rentals: ClassVar[bool] = True


class SimulatedDaisySms(SimulatedSmsActivate):
    """Simulates DaisySMS with SMS-Activate's polling commands."""

    name: ClassVar[str] = "daisysms"
    kinds: ClassVar[tuple[str, ...]] = ("activation",)
    schedule: ClassVar[Schedule | None] = Schedule(
        waits=(), description="unknown whether it tries again: once here"
    )

    def status(self, given: Mapping[str, str]) -> Answer:
        """Return the status; with `text=1`, the text is in the header `X-Text`."""
        answer = super().status(given)
        messages = self.account.received(given.get("id", ""))
        if given.get("text") != "1" or not messages or not answer.body.startswith(b"STATUS_OK"):
            return answer
        header = ("x-text", quote(messages[-1].text, safe=" "))
        return msgspec.structs.replace(answer, headers=(header,))

    def _fields(self, order: SimulatedOrder, message: Message) -> dict[str, Any]:
        return super()._fields(order, message) | {"messageId": message.id}


class SimulatedGrizzlySms(SimulatedSmsActivate):
    """Simulates GrizzlySMS. Its documents have no callbacks, no history and no rentals."""

    name: ClassVar[str] = "grizzlysms"
    kinds: ClassVar[tuple[str, ...]] = ("activation",)
    schedule: ClassVar[Schedule | None] = Schedule(
        waits=(), description="it documents no callbacks: once here"
    )

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        for command in ("getHistory", "getRentList", "getRentStatus"):
            del self._commands[command]


class SimulatedHeroSms(SimulatedSmsActivate):
    """Simulates https://hero-sms.com/docs/v1/openapi.json: other shapes, errors with a status."""

    name: ClassVar[str] = "herosms"
    kinds: ClassVar[tuple[str, ...]] = ("activation",)
    #: 20 to 30 seconds apart, over at least three minutes: 26 s is the shortest wait for both.
    schedule: ClassVar[Schedule | None] = Schedule(
        waits=((26.0, 30.0),) * 7,
        timeout=3.0,
        description="3 s for an answer; 7 more times, 20 to 30 s apart, over 3 minutes at least",
    )
    rows_parameter: ClassVar[str] = "size"

    def __init__(self, account: Account) -> None:
        super().__init__(account)
        # Rentals are not in its documents.
        del self._commands["getRentList"], self._commands["getRentStatus"]
        self._commands["getAllSms"] = self.all_sms

    def wrong_key(self) -> Answer:
        return _problem(401, "BAD_KEY", "invalid API key")

    def too_many(self) -> Answer:
        return _problem(429, "RATE_LIMIT", "too many requests")

    def _no_activation(self) -> Answer:
        return _problem(404, "NO_ACTIVATION", "activation id does not exist")

    def active_activations(self, given: Mapping[str, str]) -> Answer:
        """Return rows under `data`; `activeActivations` is an object with `rows`."""
        rows = self._active_rows()
        if not rows:
            return plain_answer("NO_ACTIVATIONS")
        start = _whole(given.get("start"), 0)
        limit = min(_whole(given.get("limit"), _MOST_ROWS), _MOST_ROWS)
        page = rows[start : start + limit]
        return json_answer({"status": "success", "data": page, "activeActivations": {"rows": page}})

    def status_v2(self, given: Mapping[str, str]) -> Answer:
        """Return the last call, or the last SMS if no call came."""
        order = self._activation(given)
        if order is None:
            return self._no_activation()
        if order.status == "cancelled":
            return plain_answer("STATUS_CANCEL")
        messages = self.account.received(order.id)
        if not messages:
            return plain_answer("STATUS_WAIT_CODE")
        data = _hero_row(order, next((it for it in messages[::-1] if it.is_call), messages[-1]))
        return json_answer({"verificationType": data["type"], "data": data})

    def all_sms(self, given: Mapping[str, str]) -> Answer:
        """Return the messages of an active activation; pages are counted from 1, undocumented."""
        order = self._activation(given)
        if order is None:
            return self._no_activation()
        if order.status in {"finished", "cancelled"}:
            return _problem(409, "ACTIVATION_NOT_ACTIVE", "activation is not active")
        size = max(1, _whole(given.get("size"), _PAGE))
        start = (max(1, _whole(given.get("page"), 1)) - 1) * size
        messages = self.account.received(order.id)[::-1][start : start + size]
        return json_answer({"data": [_hero_row(order, message) for message in messages]})

    def _fields(self, order: SimulatedOrder, message: Message) -> dict[str, Any]:
        added = {"phoneFrom": message.from_, "receivedAt": _zoned(message.at)}
        return {"id": message.id} | super()._fields(order, message) | added


def _naive(at: datetime) -> str:
    return f"{at.astimezone(_MOSCOW):%Y-%m-%d %H:%M:%S}"


def _zoned(at: datetime) -> str:
    return at.astimezone(_MOSCOW).isoformat(timespec="seconds")


def _whole(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdecimal() else default


def _hero_row(order: SimulatedOrder, message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "phoneFrom": message.from_,
        "code": message.code,
        "text": message.text,
        "service": order.service,
        "date": _zoned(message.at),
        "type": "call" if message.is_call else "sms",
    }


def _number(text: str) -> int | str:
    """Return digits as the number that the provider sends; any other text stays a text."""
    return int(text) if text.isascii() and text.isdecimal() else text


def _numbered(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {str(place): row for place, row in enumerate(rows)}


def _rental_error(message: str) -> Answer:
    return json_answer({"status": "error", "message": message})


def _problem(status: int, title: str, details: str) -> Answer:
    return json_answer({"title": title, "details": details, "info": None}, status)


def _json(fields: Mapping[str, Any]) -> OutgoingCallback:
    return OutgoingCallback(content_type=JSON, body=msgspec.json.encode(fields))
