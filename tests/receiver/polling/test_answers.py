"""Polls report the orders, prices and balances in answers of providers."""

import json
from datetime import UTC, datetime

import pytest
from answers.recorded import BY_TAG, FoundOne, driven, ok, shown, source_of

from core.event import Price
from core.secret import Secret
from receiver.polling.questions import (
    BadKey,
    Balance,
    Busy,
    Ended,
    Known,
    ListedOrder,
    Notice,
    PollMemory,
    Switch,
    Unreadable,
)

NOW = datetime(2026, 11, 30, 8, 0, tzinfo=UTC)
SINCE = datetime(2026, 11, 28, 8, 0, tzinfo=UTC)
DIALECT = ("sms_activate", "herosms", "smsbower", "sms_online", "daisysms", "grizzlysms")
NONE_ACTIVE = '{"status":"success","data":[],"activeActivations":{"rows":[]}}'
NOT_FOUND = [404, '{"title":"NOT_FOUND","details":"Activation Not Found"}']
PINS = '{"success": true, "message": null, "data": %s}'
TELEPHONES = PINS % '[{"telephone_id": "23354", "telephone": "2123451356"}]'
NO_ROWS = PINS % "[]"
#: The answers of SMSPins with one telephone and no news.
SMSPINS = {"bulk_sms/telephones": TELEPHONES, "*": NO_ROWS}


def asked(provider, answers, *orders, source=None, memory=None, headers=None, now=NOW):
    """Return the reports of a round, and the commands it sent.

    `answers` has a body, or a list of status and body, for each command. `*`: for all others.
    """

    def answer(ask):
        said = answers.get(ask.command, answers.get("*", "BAD_ACTION"))
        status, body = said if isinstance(said, list) else (200, said)
        return ok(body, status, **(headers or {}))

    polled = source_of(provider, source).poll(orders, since=SINCE, now=now, memory=memory)
    came, asks = driven(polled, answer)
    return came, [ask.command for ask in asks]


def kinds(came, *types):
    return [one for one in came if isinstance(one, types)]


def codes(came):
    return [(one.happening.data.code, one.happening.data.text) for one in kinds(came, FoundOne)]


def ended(kind, name, reason):
    return Ended(kind=kind, name=name, reason=reason)


# Words that end an order


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STATUS_CANCEL", "cancelled"),
        ("'STATUS_CANCEL'", "cancelled"),
        ("ACCESS_CANCEL", "cancelled"),
        ('{"status": "STATUS_CANCEL"}', "cancelled"),
        ('{"verificationType": "sms", "status": "CANCELED"}', "cancelled"),
        ('{"id": 77, "status": "timeout", "sms": []}', "expired"),
        ('{"title": "ACTIVATION_CANCELED", "details": ""}', "cancelled"),
        ('{"status": "error", "message": "STATUS_CANCEL"}', "cancelled"),
        ("STATUS_FINISH", "finished"),
        ("STATUS_REVOKE", "revoked"),
        ("STATUS_TIMEOUT", "expired"),
        ("STATUS_EXPIRED", "expired"),
        ("STATUS_REJECTED", "rejected"),
        ("STATUS_FAILED", "failed"),
        ("NO_ACTIVATION", "finished"),
        ("WRONG_ACTIVATION_ID", "finished"),
        ("ACTIVATION_NOT_FOUND", "finished"),
        ('{"status": "error", "message": "Activation not found"}', "finished"),
        ('{"error": "invalid activation"}', "finished"),
    ],
)
@pytest.mark.parametrize("provider", ["sms_activate", "herosms", "smsbower"])
def test_end_word_ends_an_activation(provider, word, reason):
    """Mutant: STATUS_CANCEL read as nothing, so that the order waits to its end."""
    order = Known(activation_id="77", number="+447700900123")
    answers = {"getStatus": word, "getStatusV2": word, "*": NONE_ACTIVE}

    came, _ = asked(provider, answers, order)

    assert kinds(came, FoundOne, Ended, Unreadable) == [ended("activation_id", "77", reason)]


@pytest.mark.parametrize("status", [404, 409, 410])
def test_activation_unknown_to_herosms_ends_without_error(status):
    answers = {
        "getActiveActivations": NONE_ACTIVE,
        "getHistory": "[]",
        "getStatusV2": [status, NOT_FOUND[1]],
    }

    came, _ = asked("herosms", answers, Known(activation_id="77"))

    assert kinds(came, FoundOne, Ended, Unreadable) == [ended("activation_id", "77", "finished")]


def test_message_beside_an_end_word_is_found():
    """Mutant: an object with a status of its own is read as its status alone."""
    v2 = '{"status": "STATUS_FINISH", "sms": {"code": "1234", "text": "it is 1234"}}'

    came, _ = asked("herosms", {"getStatusV2": v2, "*": NONE_ACTIVE}, Known(activation_id="77"))

    assert codes(came) == [("1234", "it is 1234")]
    assert kinds(came, Ended) == [ended("activation_id", "77", "finished")]


def test_end_of_activation_follows_its_history():
    """An order with an SMS in the same round must not expire first.

    Mutant: `Ended` yielded as soon as the status is read.
    """
    answers = {
        "getActiveActivations": "NO_ACTIVATIONS",
        "getStatusV2": "NO_ACTIVATION",
        "getHistory": '[{"id": 77, "phone": "447700900123", "sms": "[\\"1234\\"]", "cost": 3}]',
        "*": "NO_NUMBERS",
    }

    came, _ = asked("sms_activate", answers, Known(activation_id="77"))

    assert [type(one) for one in kinds(came, FoundOne, Ended)] == [FoundOne, Ended]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STATUS_FINISH", "finished"),
        ("STATUS_CANCEL", "cancelled"),
        ("STATUS_REVOKE", "revoked"),
        ("RENT_DIE", "expired"),
        ("INVALID_PHONE", "finished"),
    ],
)
def test_end_word_ends_a_rental(word, reason):
    answers = {"getRentStatus": json.dumps({"status": "error", "message": word}), "*": "[]"}

    came, _ = asked("sms_activate", answers, Known(rental_id="1049"))

    assert kinds(came, Ended, Unreadable) == [ended("rental_id", "1049", reason)]


@pytest.mark.parametrize(
    "word", ["STATUS_WAIT_CODE", "STATUS_WAIT_RESEND", "STATUS_WAIT_RETRY:60", "STATUS_WAIT_RETRY"]
)
def test_waiting_activation_does_not_end(word):
    came, _ = asked("smsbower", {"getStatus": word}, Known(activation_id="77"))

    assert kinds(came, FoundOne, Ended, Unreadable) == []


def request_status(**fields):
    row = {"id": "10000001", "mdn": "12125550123", "service": "Amazon", "state": ""}
    row |= {"markup": 0, "carrier": "", "till_expiration": 0} | fields
    return json.dumps({"status": "ok", "message": [row]})


TELLABOT_NONE = '{"status": "error", "message": "No messages"}'
TELLABOT_ORDER = Known(request_id="10000001", number="+12125550123")


@pytest.mark.parametrize(
    ("status", "reports"),
    [
        ("Timed Out", [ended("request_id", "10000001", "expired")]),
        ("timed out", [ended("request_id", "10000001", "expired")]),
        ("Cancelled", [ended("request_id", "10000001", "cancelled")]),
        ("Rejected", [ended("request_id", "10000001", "rejected")]),
        # Its SMS exists, and `read_sms` returns it in the next round.
        ("Completed", []),
        (
            "Reserved",
            [
                ListedOrder(
                    kind="request_id",
                    name="10000001",
                    number="+12125550123",
                    service="Amazon",
                    country="US",
                )
            ],
        ),
    ],
)
def test_silent_tellabot_request_is_asked_for_its_status(status, reports):
    """Mutants: only requests without a number are asked for; `Completed` ends it unread."""
    answers = {"read_sms": TELLABOT_NONE, "request_status": request_status(status=status)}

    came, commands = asked("tellabot", answers, TELLABOT_ORDER)

    assert commands == ["read_sms", "request_status", "balance"]
    assert kinds(came, Ended, ListedOrder) == reports


def test_tellabot_request_with_a_message_is_not_asked():
    row = {"timestamp": "1600108956", "from": "22000", "to": "12125550123", "reply": "1234 code"}
    answers = {"read_sms": json.dumps({"status": "ok", "message": [row]})}

    _, commands = asked("tellabot", answers, TELLABOT_ORDER)

    assert commands == ["read_sms", "balance"]


def test_tellabot_request_with_unread_messages_does_not_end():
    """Mutant: an unreadable `read_sms` taken for one without messages."""
    answers = {"read_sms": "<html>", "request_status": request_status(status="Timed Out")}

    came, _ = asked("tellabot", answers, Known(request_id="10000001"))

    assert kinds(came, Ended) == []


@pytest.mark.parametrize(
    ("order", "command", "message", "report"),
    [
        (
            TELLABOT_ORDER,
            "request_status",
            "Invalid request ID",
            ended("request_id", "10000001", "finished"),
        ),
        (
            Known(rental_id="7"),
            "read_sms",
            "Invalid rental ID",
            ended("rental_id", "7", "finished"),
        ),
    ],
)
def test_order_unknown_to_tellabot_ends(order, command, message, report):
    error = json.dumps({"status": "error", "message": message})
    answers = {"read_sms": TELLABOT_NONE} | {command: error}

    came, _ = asked("tellabot", answers, order)

    assert kinds(came, Ended, Unreadable) == [report, *kinds(came, Unreadable)]


def check(request, status, smses=None, telephone="2123451356"):
    row = {"request_id": request, "telephone": telephone, "smses": smses, "status": status}
    return PINS % json.dumps(row)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("FAIL", "failed"),
        ("CANCELED", "cancelled"),
        ("REMOVED", "cancelled"),
        ("SUCCESS", "finished"),
        ("PENDING", None),
        ("STARTED", None),
    ],
)
def test_smspins_check_without_messages_has_a_status(status, reason):
    answers = SMSPINS | {"bulk_sms/status": check("15682", status)}

    came, _ = asked("smspins", answers, Known(request_id="15682"))

    expected = [ended("request_id", "15682", reason)] if reason else []
    assert kinds(came, FoundOne, Ended, Unreadable) == expected


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"request_id": "44444", "status": "FAILED"}, "failed"),
        ({"request_id": "44444", "status": "CANCELED"}, "cancelled"),
        ({"request_id": "44444", "status": "PENDING"}, None),
        ({"request_id": "55555", "status": "FAILED"}, "finished"),
    ],
)
def test_request_that_is_no_check_ends_as_number_change(row, reason):
    """Ids of checks and changes overlap: only an id without a check may be a change.

    Mutant: any row of `nc/requests` ends the check with its number.
    """
    gone = '{"success": false, "message": "Unable to find request", "data": null}'
    answers = SMSPINS | {"bulk_sms/status": gone, "nc/requests": PINS % json.dumps([row])}

    came, _ = asked("smspins", answers, Known(request_id="44444"))

    expected = [ended("request_id", "44444", reason)] if reason else []
    assert kinds(came, Ended) == expected


def test_failed_change_does_not_end_a_check_with_its_number():
    answers = SMSPINS | {"bulk_sms/status": check("15682", "STARTED")}
    answers |= {"nc/requests": PINS % '[{"request_id": "15682", "status": "FAILED"}]'}

    came, _ = asked("smspins", answers, Known(request_id="15682"))

    assert kinds(came, Ended) == []


# Bans and waits with an end


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ([403, '{"title":"BANNED","details":"x","info":{"retry_after_seconds":600}}'], 600.0),
        ('{"title":"BANNED","info":{"retry_after_seconds":600}}', 600.0),
        # In Moscow's time, as all its times without an offset.
        ("BANNED:2026-11-30 12:00:00", 3600.0),
        ("BANNED:'2026-11-30 12-00-00'", 3600.0),
        ("BANNED:2026-11-30T12:00:00Z", 14400.0),
        ('{"status": "error", "message": "BANNED:2026-11-30 12:00:00"}', 3600.0),
        ("BANNED:600", 600.0),
        # Without an end, or with a past one: an hour.
        ("BANNED", 3600.0),
        ("BANNED:2026-11-30 10:00:00", 3600.0),
        ("ACCOUNT_INACTIVE", 3600.0),
        ("RATE_LIMIT:45", 45.0),
        ('{"title":"RATE_LIMIT","details":"5 s"}', 5.0),
        ([429, '{"title":"RATE_LIMIT","info":{"retry_after_seconds":9}}'], 9.0),
        ([429, '{"error":{"retry_after_ms":9000}}'], 9.0),
        ([400, '{"title":"WHATEVER","info":{"retry_after_seconds":9}}'], 9.0),
        ("ERROR_SQL", None),
    ],
)
@pytest.mark.parametrize("provider", ["herosms", "smsbower"])
def test_dialect_answer_with_an_end_is_busy_until_then(provider, said, seconds):
    """Mutant: BANNED is read as a bad key, so that polling stops until a restart."""
    came, commands = asked(provider, {"*": said}, Known(activation_id="77"))

    assert type(came[0]) is Busy
    assert came[0].retry_after == seconds
    assert commands[0] in ("getActiveActivations", "getStatus")


@pytest.mark.parametrize("provider", sorted(BY_TAG))
def test_forbidden_with_retry_after_is_busy_until_then(provider):
    came, _ = asked(
        provider,
        {"*": [403, "<html>"]},
        Known(activation_id="77"),
        TELLABOT_ORDER,
        headers={"retry-after": "120"},
    )

    assert type(came[0]) is Busy
    assert came[0].retry_after == 120.0


def test_forbidden_until_a_date_is_busy_until_then():
    """Without `Date` in the answer, our clock counts."""
    headers = {"retry-after": "Mon, 30 Nov 2026 08:02:00 GMT"}

    came, _ = asked("herosms", {"*": [403, "<html>"]}, headers=headers)

    assert (type(came[0]), came[0].retry_after) == (Busy, 120.0)


@pytest.mark.parametrize(
    ("provider", "message", "seconds"),
    [
        ("tellabot", "Too many requests, try again in 10 minutes", 600.0),
        ("tellabot", "Your account is banned until 2026-11-30 04:00:00", 3600.0),
        ("tellabot", "Your account is suspended", 3600.0),
        ("smspins", "Too many requests, wait 30 seconds", 30.0),
        ("smspins", "Account blocked", 3600.0),
    ],
)
def test_message_with_an_end_is_busy_until_then(provider, message, seconds):
    """Both write times of New York."""
    error = {"status": "error", "success": False, "message": message}

    came, _ = asked(provider, {"*": json.dumps(error)}, TELLABOT_ORDER)

    assert type(came[0]) is Busy
    assert came[0].retry_after == seconds


# Missing commands


@pytest.mark.parametrize(
    "missing",
    [
        "BAD_ACTION",
        "NO_ACTION",
        "WRONG_METHOD",
        '{"status": "error", "message": "BAD_ACTION"}',
        '{"status": "error", "message": "Unknown action"}',
        [404, "<html>"],
        [404, '{"message": "Not Found"}'],
        [405, ""],
        [501, ""],
    ],
)
def test_clone_with_get_status_only_is_polled(missing):
    """Mutants: sent again in each round; a notice in each round."""
    answers = {"getStatus": "STATUS_OK:58213", "*": missing}
    order, memory = Known(activation_id="77"), PollMemory()

    came, commands = asked("sms_activate", answers, order, memory=memory)
    again, then = asked("sms_activate", answers, order, memory=memory)

    absent = ["getActiveActivations", "getStatusV2", "getHistory", "getRentList", "getBalance"]
    assert codes(came) == codes(again) == [("58213", None)]
    assert [one.about for one in kinds(came, Notice)] == absent
    assert {one.word for one in kinds(came, Notice)} == {"missing_command"}
    assert commands == [*absent[:2], "getStatus", *absent[2:]]
    assert (kinds(again, Notice), then) == ([], ["getStatus"])
    assert kinds([*came, *again], Unreadable, Ended) == []


def test_server_without_get_status_is_reported():
    """`api_url` must be wrong: without an error it would look like no messages."""
    came, _ = asked("sms_activate", {"*": [404, "<html>"]}, Known(activation_id="77"))

    [error] = kinds(came, Unreadable)
    assert (error.command, "api_url" in error.detail) == ("getStatus", True)


def test_missing_get_rent_status_is_skipped():
    answers = {"getStatus": "NO_ACTIVATION", "*": "BAD_ACTION"}

    came, commands = asked("sms_activate", answers, Known(rental_id="1"), Known(rental_id="2"))

    assert commands.count("getRentStatus") == 1
    assert kinds(came, Ended, Unreadable) == []


@pytest.mark.parametrize(
    ("said", "code", "text"),
    [
        ('{"status": "STATUS_OK", "code": "1234"}', "1234", None),
        (
            '{"status": "STATUS_OK", "sms": {"code": "1234", "text": "it is 1234"}}',
            "1234",
            "it is 1234",
        ),
        ("STATUS_OK:1234", "1234", None),
        ("STATUS_OK: 'Your code is 1234'", "1234", "Your code is 1234"),
    ],
)
def test_get_status_of_a_clone_may_be_json_or_a_sentence(said, code, text):
    answers = {"getStatus": said, "*": "BAD_ACTION"}

    came, _ = asked("sms_activate", answers, Known(activation_id="77"))

    assert codes(came) == [(code, text)]


# Texts, codes and prices


def active(**fields):
    row = {"activationId": "77", "serviceCode": "go", "phoneNumber": "79180000000"}
    row |= {"smsCode": [], "smsText": None, "countryCode": "2"} | fields
    return json.dumps({"status": "success", "activeActivations": [row]})


def test_sentence_in_list_of_codes_is_the_text():
    said = active(smsCode=["Your code is 2222"])

    came, _ = asked("sms_online", {"getActiveActivations": said})

    assert codes(came) == [("2222", "Your code is 2222")]


@pytest.mark.parametrize(
    "text", [r'["\ud800 code 2222"]', "[" * 100 + "code 2222", "[NaN, code 2222]"]
)
def test_message_that_is_broken_json_stays_as_sent(text):
    """Anybody may send such an SMS. With half a character, no event of the poll was stored.

    Mutants: `json.loads`; Malformed is not caught.
    """
    came, _ = asked("sms_online", {"getActiveActivations": active(smsCode=text)})

    assert codes(came) == [("2222", text)]


def test_sentence_in_get_status_v2_is_the_text():
    v2 = json.dumps({"sms": {"dateTime": "2026-11-30 10:00:00", "code": "Your code is 2222"}})
    answers = {"getStatusV2": v2, "getActiveActivations": active(smsCode=["Your code is 2222"])}

    came, _ = asked("sms_activate", answers | {"*": "NO_NUMBERS"})

    assert codes(came) == [("2222", "Your code is 2222")]


@pytest.mark.parametrize(
    ("currency", "configured", "said"),
    [
        (840, None, "USD"),
        (643, None, "RUB"),
        ("978", "USD", "EUR"),
        ("USD", None, "USD"),
        (999, "USD", None),
        (None, "USD", "USD"),
        (None, None, None),
    ],
)
def test_price_and_currency_of_the_list_are_taken(currency, configured, said):
    body = json.loads(active(smsCode=["2222"], smsText="Your code 2222", currency=currency))
    text = json.dumps(body).replace('"smsCode"', '"activationCost": 12.50, "smsCode"')
    answers = {"getActiveActivations": text, "getHistory": "[]", "getStatusV2": "STATUS_WAIT_CODE"}

    came, _ = asked("sms_activate", answers | {"*": "[]"}, source={"currency": configured})

    price = Price(amount="12.50", currency=said)
    assert [one.happening.data.price for one in kinds(came, FoundOne)] == [price]
    assert kinds(came, ListedOrder) == [
        ListedOrder(
            kind="activation_id",
            name="77",
            number="+79180000000",
            service="go",
            country="KZ",
            price=price,
        )
    ]


@pytest.mark.parametrize("cost", ["0", "0.00", "-1", "free", None])
def test_missing_price_is_null(cost):
    """The history has a cost of 0 for an active activation."""
    row = {"id": "77", "phone": "447700900123", "sms": "[1234]", "cost": cost}
    answers = {"getHistory": json.dumps([row]), "*": "NO_NUMBERS"}

    came, _ = asked("sms_activate", answers)

    assert [one.happening.data.price for one in kinds(came, FoundOne)] == [None]


def test_each_listed_activation_and_rental_is_reported():
    """Also a waiting one: its events then have number and price without a registration."""
    rentals = {"status": "success", "values": {"0": {"id": "1049", "phone": "79181234567"}}}
    answers = {"getActiveActivations": active(), "getRentList": json.dumps(rentals), "*": "[]"}

    came, _ = asked("sms_activate", answers)

    assert [(one.kind, one.name, one.number) for one in kinds(came, ListedOrder)] == [
        ("activation_id", "77", "+79180000000"),
        ("rental_id", "1049", "+79181234567"),
    ]


def test_daisysms_is_asked_for_the_text():
    """Mutant: the text in the key, so that a code without its text is a second event."""
    order = Known(activation_id="77")
    url = []

    def answer(ask):
        url.append(shown(ask))
        return ok("STATUS_OK:482913", **{"x-text": "Your code is 482 913"})

    came, _ = driven(source_of("daisysms").poll([order], since=SINCE, now=NOW), answer)
    without, _ = asked("daisysms", {"getStatus": "STATUS_OK:482913"}, order)

    assert url[0] == "id=77&text=1"
    assert codes(came) == [("482913", "Your code is 482 913")]
    assert came[0].happening.keys == without[0].happening.keys


# The balance


@pytest.mark.parametrize("provider", DIALECT)
@pytest.mark.parametrize(
    ("said", "amount"),
    [
        ("ACCESS_BALANCE:12.50", "12.50"),
        ("ACCESS_BALANCE: '0.00'", "0.00"),
        ("ACCESS_BALANCE:-3", "-3"),
        ('{"balance": 12.50}', "12.50"),
        ('{"status": "success", "balance": "12.50", "currency": 840}', "12.50"),
        ("12.5", "12.5"),
        ("ACCESS_BALANCE:much", None),
        ("ERROR", None),
        ("ERROR_SQL", None),
        ("STATUS_OK:4711", None),
    ],
)
def test_balance_is_asked_for_once_a_round(provider, said, amount):
    """An unreadable balance does not fail a round that asked for something else.

    Mutant: the balance counts as the only question.
    """
    answers = {"getBalance": said, "getStatus": "NO_ACTIVATION", "*": "NO_NUMBERS"}
    order = Known(activation_id="77")

    came, commands = asked(provider, answers, order, source={"currency": "USD"})

    assert commands.count("getBalance") == 1
    expected = [Balance(amount=amount, currency="USD")] if amount else []
    assert kinds(came, Balance, Unreadable, Busy) == expected


@pytest.mark.parametrize(
    ("said", "amount"),
    [
        ('{"status": "ok", "message": "10.00"}', "10.00"),
        ('{"status": "ok", "message": 10.00}', "10.00"),
        ('{"status": "ok", "message": "much"}', None),
        ('{"status": "error", "message": "Whatever"}', None),
        ('{"status": "error", "message": "Too many requests"}', None),
        ("<html>", None),
    ],
)
def test_balance_of_tellabot_is_asked_for_once_a_round(said, amount):
    came, commands = asked("tellabot", {"balance": said, "*": TELLABOT_NONE}, TELLABOT_ORDER)

    assert commands.count("balance") == 1
    expected = [Balance(amount=amount)] if amount else []
    assert kinds(came, Balance, Unreadable, Busy) == expected


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ([503, ""], Busy),
        ([200, "<html>"], Unreadable),
        ([200, '{"status": "error", "message": "Too many requests"}'], Busy),
        ([200, '{"status": "ok", "message": "10.00"}'], Balance),
    ],
)
def test_balance_that_is_the_only_question_fails_the_round(said, error):
    """TellABot without known orders. Mutant: the failed round counts as complete."""
    came, commands = asked("tellabot", {"balance": said})

    assert (commands, [type(one) for one in came]) == (["balance"], [error])


@pytest.mark.parametrize(
    ("said", "error"), [([503, ""], Busy), ([200, "ERROR"], Unreadable), ([200, "12.5"], Balance)]
)
@pytest.mark.parametrize("provider", ["smsbower", "daisysms", "sms_activate"])
def test_balance_of_a_dialect_without_lists_fails_the_round(provider, said, error):
    """SMSBower and DaisySMS have no lists. Those of SMS-Activate were missing in an earlier round.

    Mutant: the failed round counts as complete.
    """
    memory = PollMemory()
    asked(provider, {"getBalance": "ACCESS_BALANCE:1"}, memory=memory)

    came, commands = asked(provider, {"getBalance": said}, memory=memory)

    assert (commands, [type(one) for one in came]) == (["getBalance"], [error])


@pytest.mark.parametrize("said", ["RATE_LIMIT:45", "BAD_KEY"])
def test_balance_with_a_wait_or_refused_key_is_raised(said):
    came, _ = asked("smsbower", {"getBalance": said})

    assert [type(one) for one in came] == [Busy if "LIMIT" in said else BadKey]


# SMSPins


def test_smspins_account_without_telephones_is_polled():
    """Mutant: the result of `not found` is read as rows, which raises TypeError."""
    gone = '{"success": false, "message": "Not found", "data": null}'

    came, commands = asked("smspins", SMSPINS | {"bulk_sms/telephones": gone})

    assert (came, commands) == ([], ["bulk_sms/telephones", "nc/requests"])


def test_check_of_a_changed_number_is_found():
    """Its subject is the number, as that of `number.changed`. Mutant: dropped without a notice."""
    status = check("11183", "SUCCESS", "Test SMS 4|Test SMS 5", "9171234567")
    answers = SMSPINS | {"bulk_sms/status": status}

    came, _ = asked("smspins", answers, Known(request_id="11183"))

    said = [
        (one.happening.subject, one.happening.data.text, one.happening.data.telephone_id)
        for one in kinds(came, FoundOne)
    ]
    assert said == [
        ("number/+19171234567", "Test SMS 4", None),
        ("number/+19171234567", "Test SMS 5", None),
    ]


def test_check_listed_later_is_the_same_event():
    """Mutant: the telephone or the number in every key."""
    status = check("11183", "SUCCESS", "Test SMS 4", "9171234567")
    row = {"request_id": "11183", "smses": "Test SMS 4", "telephone": "9171234567"}
    alone = SMSPINS | {"bulk_sms/status": status}
    listed = alone | {"bulk_sms/smses_by_tid": PINS % json.dumps([row])}
    order = Known(request_id="11183")

    [first] = kinds(asked("smspins", alone, order)[0], FoundOne)
    later = kinds(asked("smspins", listed, order)[0], FoundOne)

    assert {one.happening.subject for one in later} == {"telephone/23354"}
    assert all(set(first.happening.keys) & set(one.happening.keys) for one in later)
    assert len({one.happening.keys for one in later}) == 1


def at(*date):
    return datetime(*date, tzinfo=UTC)


def test_auto_check_is_switched_on_after_new_york_midnight():
    """Mutants: each round; by UTC's days; just at midnight, when the provider switches it off."""
    memory = PollMemory()
    moments = [
        at(2026, 11, 30, 8),
        at(2026, 11, 30, 23),
        at(2026, 12, 1, 4, 59),
        at(2026, 12, 1, 5, 1),
        at(2026, 12, 1, 5, 6),
        at(2026, 12, 1, 12),
    ]

    sent = [
        asked("smspins", SMSPINS, source={"auto_check": True}, memory=memory, now=moment)[1]
        for moment in moments
    ]

    assert [commands.count("bulk_sms/autocheck") for commands in sent] == [1, 0, 0, 0, 1, 0]
    assert all(commands[-1:] == ["bulk_sms/autocheck"] for commands in sent[:1])


def test_auto_check_is_only_ever_enabled():
    polled = source_of("smspins", {"auto_check": True}).poll([], since=SINCE, now=NOW)

    _, asks = driven(polled, lambda ask: ok(SMSPINS.get(ask.command, NO_ROWS)))

    assert [shown(ask) for ask in asks if isinstance(ask, Switch)] == ["23354/enable"]


def test_auto_check_is_not_switched_on_unless_configured():
    """Mutant: `auto_check` true by default."""
    _, commands = asked("smspins", SMSPINS)

    assert set(commands) <= BY_TAG["smspins"].polling_api.reads


def test_failed_auto_check_is_retried_and_refused_is_not():
    memory = PollMemory()
    refused = '{"success": false, "message": "Unable to find Telephone ID", "data": null}'
    source = {"auto_check": True}

    sent = []
    for said in ("<html>", refused, refused):
        said_so = SMSPINS | {"bulk_sms/autocheck": said}
        came, commands = asked("smspins", said_so, source=source, memory=memory)
        notices = [one.word for one in kinds(came, Notice) if "refused" in one.word]
        sent.append((commands.count("bulk_sms/autocheck"), notices))

    assert sent == [(1, []), (1, ["auto_check_refused"]), (0, [])]


@pytest.mark.parametrize("tag", sorted(BY_TAG))
def test_switch_cannot_be_made_of_another_command(tag):
    """Mutant: `bulk_sms/request` among the switches of SMSPins."""
    api = BY_TAG[tag].polling_api

    assert api.switches.isdisjoint(api.reads)
    for command in ("bulk_sms/request", "nc/request", "setStatus", "getStatus"):
        with pytest.raises(ValueError, match="switch"):
            Switch(api=api, command=command, url=Secret("https://example.com"), read=ok)
