"""TellABot's callbacks become events; an invalid field becomes null and loses no event."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from normalizing import RECEIVED, VALUES, Normalizer

from core.event import NumberAssigned, Price, RentalBilled, Service, SmsReceived
from receiver.callback import Callback, Key, Malformed, Number
from receiver.providers.tellabot.callbacks import TellABot

TIMESTAMP = str(int(RECEIVED.timestamp()) - 60)
SMS = {
    "event": "incoming_message",
    "id": "10000001",
    "timestamp": TIMESTAMP,
    "from": "22000",
    "to": "18503814729",
    "service": "Google",
    "reply": "G-804036 is your Google verification code.",
}
RENTAL_SMS = {**SMS, "id": "", "ltr_id": "2"}
RENEWED = {"event": "ltr_renewal", "status": "ok", "new_ltr_id": "3", "previous_ltr_id": "2"}
RENEWAL_FAILED = {
    "event": "ltr_renewal",
    "status": "error",
    "previous_ltr_id": "2",
    "message": "Low balance",
}
ASSIGNED = {"event": "premium_request", "status": "ok", "id": "10000001", "mdn": "18503814729"}

SENSELESS = [True, [], {}, ["18503814729"], {"a": "1"}]


READ = Normalizer(TellABot())
happening, data, keys, refusal = READ.happening, READ.data, READ.keys, READ.refusal


# -- kinds and identity ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {**SMS, "event": "balance_low"},
        {**SMS, "event": ""},
        {**SMS, "event": None},
        {**SMS, "event": ["incoming_message"]},
        {**SMS, "event": "Incoming_Message"},
        {**RENEWED, "status": "pending"},
        {**RENEWED, "status": None},
        {**ASSIGNED, "status": "error"},
        {"activationId": Number("1"), "text": "1234"},
    ],
)
def test_unknown_event_is_malformed(fields):
    """Mutant: a failed bid (`error`) is reported as an assigned number."""
    assert refusal(fields) == "unknown_event"


@pytest.mark.parametrize(
    "id_",
    [
        *(None, "", "0", "00", "-1", "+0", " ", "a b", "a\n", "a\0", "x" * 65, True, [], {}),
        *(Number("0"), Number("-1"), Number("1.5"), Number("1e3"), "\u200b"),
    ],
)
@pytest.mark.parametrize(
    ("fields", "name"),
    [
        (SMS, "id"),
        (RENTAL_SMS, "ltr_id"),
        (RENEWED, "new_ltr_id"),
        (RENEWAL_FAILED, "previous_ltr_id"),
        (ASSIGNED, "id"),
    ],
)
def test_missing_identity_is_malformed(fields, name, id_):
    """Mutant: `0`, which a form sends instead of no id, makes all rentals one."""
    assert refusal({**fields, name: id_}) == "identity"


@pytest.mark.parametrize(
    "id_", ["10000001", "007", "a-1", "x" * 64, Number("18446744073709551615")]
)
def test_identity_is_a_positive_number_or_a_short_text(id_):
    got = happening({**SMS, "id": id_})

    assert (got.subject, got.data.request_id) == (f"request/{id_}", id_)
    assert type(got.data.request_id) is str


def test_rental_with_a_request_id_of_0_is_a_rental():
    got = happening({**RENTAL_SMS, "id": "0", "first_ltr_id": "1"})

    assert (got.subject, got.data.rental_id, got.data.first_rental_id) == ("rental/2", "2", "1")
    assert (got.data.request_id, got.data.warnings) == (None, ("id",))


@pytest.mark.parametrize(
    "nothing", [{"reply": ""}, {"reply": None, "pin": ""}, {"reply": "", "pin": " "}]
)
def test_message_without_text_and_code_is_malformed(nothing):
    assert refusal({**SMS, **nothing}) == "malformed"


def test_billing_entry_is_no_message_and_needs_no_text():
    """Mutant: the price of a rental is sent to a service that waits for a code."""
    billed = happening({**RENTAL_SMS, "from": "Billing", "reply": "", "price": "15.00"})

    assert isinstance(billed.data, RentalBilled)
    assert (billed.subject, billed.data.from_) == ("rental/2", "Billing")
    assert billed.data.price == Price(amount="15.00", currency=None)


def test_sender_with_a_similar_name_sends_messages():
    assert type(data({**SMS, "from": "billing"})) is SmsReceived


@pytest.mark.parametrize("event", ["premium_request", "priority_request"])
def test_both_names_of_a_won_bid_assign_a_number(event):
    assert type(data({**ASSIGNED, "event": event})) is NumberAssigned


# -- fields ---------------------------------------------------------------------------------------


def test_missing_field_is_null_without_a_warning():
    said = data({"event": "incoming_message", "id": "1", "pin": "1234", "to": "", "price": None})

    assert said == SmsReceived(
        provider="tellabot",
        channel="callback",
        labels={},
        sample=False,
        time_from="received",
        country="US",
        code="1234",
        request_id="1",
    )


@pytest.mark.parametrize("value", SENSELESS)
@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("from", "from_"),
        ("to", "to"),
        ("service", "service"),
        ("price", "price"),
        ("first_ltr_id", "first_rental_id"),
        ("ltr_id", "rental_id"),
    ],
)
def test_invalid_field_is_null_with_a_warning(name, attribute, value):
    """Mutant: `str(value)` of any value, so that the sender is `True`."""
    said = data({**SMS, name: value})

    assert getattr(said, attribute) is None
    assert said.warnings == (name,)


@pytest.mark.parametrize("to", ["<script>1</script>", "3814729", "٨", "Google", Number("1e10")])
def test_invalid_recipient_is_null(to):
    said = data({**SMS, "to": to})

    assert (said.to, said.warnings) == (None, ("to",))


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ("1.20", Price(amount="1.20", currency="USD")),
        (Number("1.20"), Price(amount="1.20", currency="USD")),
        ("0", Price(amount="0", currency="USD")),
        ("0.34999999999999998", Price(amount="0.34999999999999998", currency="USD")),
    ],
)
def test_price_has_the_digits_as_sent(price, expected):
    said = data({**SMS, "price": price}, source=TellABot(currency="USD"))

    assert (said.price, said.warnings) == (expected, ())


@pytest.mark.parametrize(
    "price", ["-1", "1,20", "$1", "1e3", Number("1e3"), "NaN", "٣", ".", "1." * 9, "9" * 99, " 1"]
)
def test_invalid_price_is_null(price):
    said = data({**SMS, "price": price})

    assert (said.price, said.warnings) == (None, ("price",))


@pytest.mark.parametrize(
    ("pin", "expected"),
    [
        ("G-804036", "G-804036"),
        ("１２３４", "１２３４"),  # noqa: RUF001 - as sent
        (Number("012345"), "012345"),
        ("1" * 30, "1" * 30),
        ("", "804036"),
        (None, "804036"),
        (" ", "804036"),
    ],
)
def test_code_is_as_sent_or_found_in_the_text(pin, expected):
    said = data({**SMS, "pin": pin, "reply": "Your code is 804036"})

    assert (said.code, said.warnings) == (expected, ())


def test_invalid_code_is_found_in_the_text():
    said = data({**SMS, "pin": ["1234"]})

    assert (said.code, said.warnings) == ("G-804036", ("pin",))


@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("Google", Service(id="Google", name="Google", key="google")),
        ("Any, other", Service(id="Any, other", name="Any, other", key="any")),
        ("Почта", Service(id="Почта", name="Почта", key=None)),
        (" ", None),
    ],
)
def test_service_is_sent_by_name(service, expected):
    assert data({**SMS, "service": service}).service == expected


def test_unknown_fields_are_ignored():
    assert happening({**SMS, "carrier": "tmo", "x": {"y": []}}) == happening(SMS)


def test_labels_and_sample_mark_are_copied():
    source = TellABot(labels={"team": "growth"})
    callback = Callback(headers=(), body=b"", peer="::1", received=RECEIVED, sample=True)

    (said,) = source.normalize(SMS, callback)

    assert (said.data.labels, said.data.sample) == ({"team": "growth"}, True)


# -- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("timestamp", "date_time", "time", "time_from", "warnings"),
    [
        ("1600108956", "", "2020-09-14T18:42:36Z", "provider", ()),
        (Number("1600108956"), None, "2020-09-14T18:42:36Z", "provider", ()),
        ("1600108956", "2021-01-01 00:00:00 EST", "2020-09-14T18:42:36Z", "provider", ()),
        ("", "2020-11-01 01:30:00 EDT", "2020-11-01T05:30:00Z", "provider", ()),
        ("", "2020-11-01 01:30:00 EST", "2020-11-01T06:30:00Z", "provider", ()),
        ("", "2020-11-01 01:30:00", "2020-11-01T05:30:00Z", "timezone", ()),
        ("yesterday", "2020-09-14 14:42:36", "2020-09-14T18:42:36Z", "timezone", ("timestamp",)),
        ("yesterday", "today", None, "received", ("timestamp", "date_time")),
        ("-1", None, None, "received", ("timestamp",)),
        ("9" * 20, None, None, "received", ("timestamp",)),
        ("1\u0667", None, None, "received", ("timestamp",)),
        ("0", None, None, "received", ("timestamp",)),
        ([], None, None, "received", ("timestamp",)),
        (str(int(RECEIVED.timestamp()) + 86400), None, "2026-11-22T12:00:00Z", "provider", ()),
        (str(int(RECEIVED.timestamp()) + 172801), None, None, "received", ("timestamp",)),
        ("", "", None, "received", ()),
        (None, None, None, "received", ()),
    ],
)
def test_time_is_the_timestamp_or_the_date(timestamp, date_time, time, time_from, warnings):
    """Mutants: `date_time` first; the repeated hour of autumn without its abbreviation."""
    said = happening({**SMS, "timestamp": timestamp, "date_time": date_time})

    assert (said.time, said.data.time_from, said.data.warnings) == (time, time_from, warnings)


@pytest.mark.parametrize(
    ("expires", "expected", "warnings"),
    [
        ("2100-12-31 23:59:59", "2101-01-01T04:59:59Z", ()),
        ("2026-07-01 10:00:00", "2026-07-01T14:00:00Z", ()),
        ("2026-12-01 10:00:00 EST", "2026-12-01T15:00:00Z", ()),
        ("2026-07-01 10:00:00 EDT", "2026-07-01T14:00:00Z", ()),
        ("", None, ()),
        ("0000-00-00 00:00:00", None, ("expires",)),
        ("1999-07-01 10:00:00", None, ("expires",)),
        ("soon", None, ("expires",)),
        (True, None, ("expires",)),
    ],
)
def test_rental_expires_in_new_york_time(expires, expected, warnings):
    said = data({**RENEWED, "expires": expires})

    assert (said.expires, said.warnings) == (expected, warnings)


# -- keys -----------------------------------------------------------------------------------------


def test_key_of_an_sms_has_only_polled_fields():
    """Mutant: `id` in the key; polled rows have no id, so that each SMS is two events."""
    expected = (
        Key(
            second=int(TIMESTAMP) - 946684800,
            parts=("sms", "18503814729", "22000", TIMESTAMP, SMS["reply"]),
        ),
    )

    assert keys(SMS) == expected
    assert keys({**SMS, "id": "2", "service": "x", "price": "3", "pin": "4"}) == expected
    assert keys({**SMS, "date_time": "2020-09-14 14:42:36 EDT"}) == expected
    assert keys({**SMS, "timestamp": Number(TIMESTAMP), "to": Number(SMS["to"])}) == expected
    assert keys({**SMS, "to": "+1 850 381-4729"}) == expected
    assert keys(RENTAL_SMS) == expected
    assert keys(SMS, received=RECEIVED + timedelta(days=3)) == expected


@pytest.mark.parametrize("name", ["from", "to", "timestamp", "reply"])
def test_another_message_has_another_key(name):
    assert set(keys(SMS)).isdisjoint(keys({**SMS, name: "1700000000"}))


def test_two_pins_without_a_text_are_two_messages():
    """With a text, a pin that is recognized later is not a second message."""
    silent = {**SMS, "reply": ""}

    assert keys({**silent, "pin": "1234"}) != keys({**silent, "pin": "5678"})
    assert keys({**SMS, "pin": "1234"}) == keys({**SMS, "pin": ""})


def test_timestamp_too_far_ahead_keeps_its_key():
    """The bound moves with our clock. Mutant: it is in the key, so that retries have others."""
    ahead = {**SMS, "timestamp": str(int(RECEIVED.timestamp()) + 4 * 86400)}

    assert happening(ahead).time is None
    assert keys(ahead) == keys(ahead, received=RECEIVED + timedelta(days=3))


def test_timestamp_with_a_fraction_has_the_same_key():
    whole = str(int(RECEIVED.timestamp()))

    said = happening({**SMS, "timestamp": f"{whole}.250"})

    assert said.time == "2026-11-21T12:00:00.250Z"
    assert said.keys == keys({**SMS, "timestamp": Number(f"{whole}.0")})
    assert said.keys == keys({**SMS, "timestamp": whole})


def test_key_without_a_timestamp_has_the_date():
    dated = {**SMS, "timestamp": "", "date_time": "2020-09-14 14:42:36"}

    (naive,) = keys(dated)
    (zoned,) = keys({**dated, "date_time": "2020-09-14 14:42:36 EDT"})

    assert naive.parts[3] == "2020-09-14 14:42:36"
    assert zoned.parts[3] == "1600108956"
    assert zoned.second - naive.second == 4 * 3600


@pytest.mark.parametrize("timestamp", ["", None, "yesterday", "9" * 20])
def test_sms_without_a_time_is_recognized_for_an_hour(timestamp):
    """Mutants: no window, so that the same text of another day is lost; no request in the key."""
    sms = {**SMS, "timestamp": timestamp}
    later = RECEIVED + timedelta(minutes=50)

    first = keys(sms)

    assert first == (
        Key(parts=(*windowless(timestamp), "request/10000001", "w0:249342")),
        Key(parts=(*windowless(timestamp), "request/10000001", "w1:249342")),
    )
    assert set(first) & set(keys(sms, received=later))
    assert set(first).isdisjoint(keys(sms, received=RECEIVED + timedelta(days=1)))
    assert set(first).isdisjoint(keys({**sms, "id": "2"}))


def windowless(timestamp):
    return ("sms", "18503814729", "22000", timestamp or "", SMS["reply"])


def test_billing_entry_is_one_event_with_any_subject():
    """The first key is that of journals of 0.1. Mutant: only keys with the subject are made."""
    billed = {**RENTAL_SMS, "from": "Billing"}

    first, plain = keys(billed)

    about = ("billing", SMS["to"], "Billing", TIMESTAMP, SMS["reply"])
    assert first.parts == (*about, "rental/2")
    assert plain.parts == about
    assert plain in keys({**billed, "ltr_id": "3"})


def test_message_in_another_spelling_shares_a_key():
    """Mutant: keys only from texts and numbers as sent."""
    sent = {**SMS, "reply": "Tom & Ann's code is 1234"}
    polled = {**sent, "reply": "Tom &amp; Ann&#39;s<br>code  is 1234\r\n", "to": "+18503814729"}

    assert len(keys(sent)) == 1
    assert set(keys(sent)) & set(keys(polled))
    assert set(keys(sent)).isdisjoint(keys({**sent, "reply": "Tom & Ann's code is 1235"}))


def test_unescaped_plus_is_part_of_the_number():
    """Mutant: the blank is dropped, and it is read as another country's number."""
    assert data({**SMS, "to": " 442079460958"}).to == "+442079460958"
    assert set(keys({**SMS, "to": " 442079460958"})) & set(keys({**SMS, "to": "+442079460958"}))


def test_bid_is_won_once_under_either_name():
    expected = (Key(parts=("bid", "10000001")),)

    assert keys(ASSIGNED) == keys({**ASSIGNED, "event": "priority_request"}) == expected
    assert keys({**ASSIGNED, "id": Number("10000001")}) == expected


def test_rental_is_renewed_once():
    expected = (Key(parts=("renewal", "ok", "2", "3")),)

    assert keys(RENEWED) == expected
    assert keys({**RENEWED, "previous_ltr_id": Number("2"), "price": "1"}) == expected


def test_failed_renewal_is_a_new_event_tomorrow():
    """Mutant: no windows, so that a low balance is reported once in a rental's life."""
    assert keys(RENEWAL_FAILED) == (
        Key(parts=("renewal", "error", "2", "Low balance", "w0:249342")),
        Key(parts=("renewal", "error", "2", "Low balance", "w1:249342")),
    )


# -- any input ------------------------------------------------------------------------------------


@pytest.mark.uncounted
@given(
    st.sampled_from([SMS, RENTAL_SMS, RENEWED, RENEWAL_FAILED, ASSIGNED]),
    st.dictionaries(
        st.sampled_from(
            [
                *SMS,
                *("ltr_id", "first_ltr_id", "date_time", "pin", "price", "status", "mdn"),
                *("new_ltr_id", "previous_ltr_id", "message", "expires"),
            ]
        )
        | st.text(),
        VALUES,
    ),
)
def test_any_fields_are_an_event_or_malformed(fields, strange):
    """Mutant: any other exception is a 500; the provider retries six times and gives up."""
    try:
        said = happening({**fields, **strange})
    except Malformed:
        return

    assert said.subject
    assert said.keys
    assert len(set(said.data.warnings)) == len(said.data.warnings)
    assert said == happening({**fields, **strange})
    assert msgspec.json.encode(said)
