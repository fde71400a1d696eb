"""Callbacks of SMS-Activate's dialect in six profiles become events."""

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from normalizing import RECEIVED, VALUES, Normalizer

from core.event import Service, SmsReceived
from receiver.callback import Callback, Key, Malformed, Number
from receiver.providers import PROVIDERS
from receiver.providers.sms_activate.profiles import (
    DaisySms,
    GrizzlySms,
    HeroSms,
    SmsActivate,
    SmsBower,
    SmsOnline,
)
from receiver.providers.tellabot.callbacks import TellABot

SMS = {
    "activationId": Number("123456"),
    "service": "go",
    "text": "Your code is 12345",
    "code": "12345",
    "country": Number("0"),
    "receivedAt": "2023-01-01 12:00:00",
}
RENT_SMS = {"phoneFrom": "SPORTMASTER", "text": "2792", "date": "2025-06-17 16:01:10"}
RENT = {"rentId": "26251422", "sms": RENT_SMS}

PROFILES = [SmsActivate, HeroSms, SmsBower, SmsOnline, DaisySms, GrizzlySms]


READ = Normalizer(SmsActivate())
happening, data, keys, refusal = READ.happening, READ.data, READ.keys, READ.refusal


# -- identity -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "id_", [None, "", "0", Number("0"), Number("-5"), "-5", True, {}, [1], "a b", "x" * 65]
)
def test_missing_identity_is_malformed(id_):
    assert refusal({**SMS, "activationId": id_}) == "identity"
    assert refusal({**RENT, "rentId": id_}) == "identity"


def test_number_and_its_digits_are_one_identity():
    """Mutant: the number is keyed as a number; HeroSMS sends both."""
    assert happening(SMS) == happening({**SMS, "activationId": "123456", "country": "0"})


@pytest.mark.parametrize(
    "nothing",
    [
        {"text": None, "code": None},
        {"text": "", "code": ""},
        {"text": [], "code": {}},
        {"text": "", "code": " "},
    ],
)
def test_message_without_text_and_code_is_malformed(nothing):
    assert refusal({**SMS, **nothing}) == "malformed"


@pytest.mark.parametrize("sms", [None, "2792", [], {}, {"text": ""}, {"text": {}}])
def test_rental_message_without_text_is_malformed(sms):
    assert refusal({**RENT, "sms": sms}) == "malformed"


# -- fields ---------------------------------------------------------------------------------------


def test_missing_field_is_null_without_a_warning():
    assert data({"activationId": "1", "code": Number("12345")}) == SmsReceived(
        provider="sms_activate",
        channel="callback",
        labels={},
        sample=False,
        time_from="received",
        code="12345",
        activation_id="1",
    )


@pytest.mark.parametrize("value", [True, [], {}, ["1"]])
@pytest.mark.parametrize(
    ("name", "attribute"),
    [("phoneFrom", "from_"), ("country", "country"), ("service", "service"), ("id", "message_id")],
)
def test_invalid_field_is_null_with_a_warning(name, attribute, value):
    said = data({**SMS, name: value}, source=HeroSms())

    assert getattr(said, attribute) is None
    assert said.warnings == (name,)


def test_warnings_of_a_rental_message_name_its_fields():
    said = data({**RENT, "sms": {**RENT_SMS, "date": "soon", "phoneFrom": {}}})

    assert said.warnings == ("date", "phoneFrom")


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        (Number("79991234567"), "+79991234567"),
        ("89854", "89854"),
        (Number("89854"), "89854"),
        ("SPORTMASTER", "SPORTMASTER"),
    ],
)
def test_sender_is_a_number_a_short_code_or_a_name(sender, expected):
    assert data({**RENT, "sms": {**RENT_SMS, "phoneFrom": sender}}).from_ == expected


@pytest.mark.parametrize(
    ("profile", "id_", "expected"),
    [
        (SmsActivate, Number("0"), "RU"),
        (SmsActivate, "187", "US"),
        (SmsActivate, Number("12"), "US"),
        (SmsActivate, Number("1001"), None),
        (SmsBower, Number("1001"), "JP"),
        (SmsBower, Number("1004"), "XK"),
        (SmsBower, Number("2"), "KZ"),
        (HeroSms, Number("222"), "RU"),
        (SmsActivate, Number("222"), None),
        (SmsOnline, Number("6"), "ID"),
        (SmsActivate, "Russia", None),
        (SmsActivate, Number("0.0"), None),
    ],
)
def test_country_is_from_the_providers_table(profile, id_, expected):
    """Mutant: one table for all, without SMSBower's Japan."""
    said = data({**SMS, "country": id_}, source=profile())

    assert said.country == expected
    assert said.warnings == (() if expected else ("country",))


@pytest.mark.parametrize(
    ("profile", "id_", "expected"),
    [
        (SmsActivate, "go", Service(id="go", name="Google", key="google")),
        (SmsActivate, "aws", Service(id="aws", name="7-Eleven", key="7eleven")),
        (SmsBower, "aws", Service(id="aws", name="AWS", key="aws")),
        (SmsBower, "adf", Service(id="adf", name="BCA Syariah", key="bcasyariah")),
        (SmsBower, "aev", Service(id="aev", name="BankKaro", key="bankkaro")),
        (SmsBower, "gr_bg", Service(id="gr_bg", name=None, key="grbg")),
        (SmsActivate, Number("7"), Service(id="7", name=None, key="7")),
        (SmsActivate, "_", Service(id="_", name=None, key=None)),
    ],
)
def test_service_is_from_the_providers_table(profile, id_, expected):
    """Mutant: SMSBower's `aws` is reported as a shop."""
    said = data({**SMS, "service": id_}, source=profile())

    assert (said.service, said.warnings) == (expected, ())


def test_tables_are_complete():
    assert len(SmsActivate.countries) == 205
    assert len(SmsActivate.services) == 2035
    assert all(len(country) == 2 for country in SmsBower.countries.values())


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("12345", "99999", "12345"),
        (Number("12345"), None, "12345"),
        (None, "Your code is 12345", "12345"),
        ("", "Your code is 12345", "12345"),
        (None, "hello", None),
        ("123456", "Your code is 123-456", "123456"),
    ],
)
def test_code_is_as_sent_or_found_in_the_text(code, text, expected):
    assert data({**SMS, "code": code, "text": text}).code == expected


def test_links_are_found_in_the_text():
    text = "Open https://a.example/x, then http://b.example."

    assert data({**SMS, "text": text}).urls == ("https://a.example/x", "http://b.example")


# -- time -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("received_at", "time", "time_from", "warnings"),
    [
        ("2023-01-01 12:00:00", "2023-01-01T09:00:00Z", "timezone", ()),
        ("2026-02-16T12:36:59+03:00", "2026-02-16T09:36:59Z", "provider", ()),
        ("2026-09-08T10:15:30.000000Z", "2026-09-08T10:15:30.000000Z", "provider", ()),
        ("", None, "received", ()),
        (None, None, "received", ()),
        ("0000-00-00 00:00:00", None, "received", ("receivedAt",)),
        ("2030-01-01 12:00:00", None, "received", ("receivedAt",)),
        (Number("1600108956"), "2020-09-14T18:42:36Z", "provider", ()),
        ("1600108956", "2020-09-14T18:42:36Z", "provider", ()),
        (Number("1600108956123"), "2020-09-14T18:42:36.123Z", "provider", ()),
        ("1600108956123", "2020-09-14T18:42:36.123Z", "provider", ()),
        ({}, None, "received", ("receivedAt",)),
    ],
)
def test_time_without_an_offset_is_in_the_configured_zone(received_at, time, time_from, warnings):
    said = happening({**SMS, "receivedAt": received_at})

    assert (said.time, said.data.time_from, said.data.warnings) == (time, time_from, warnings)


def test_zone_is_an_option():
    said = happening(SMS, source=SmsBower(timezone="Asia/Kathmandu"))

    assert said.time == "2023-01-01T06:15:00Z"


@pytest.mark.parametrize("profile", PROFILES)
def test_invalid_zone_is_refused_at_start(profile):
    tag = profile.__struct_config__.tag

    with pytest.raises(msgspec.ValidationError, match="is not a time zone"):
        msgspec.convert({"provider": tag, "timezone": "Mars/Olympus"}, profile)


# -- keys -----------------------------------------------------------------------------------------

SECOND = 725889600  # of 2023-01-01 12:00:00 as if in UTC, since 2000


def test_key_of_an_activation_sms_has_time_text_and_code():
    parts = ("act", "123456", "2023-01-01 12:00:00", "Your code is 12345", "12345")

    assert keys(SMS) == (Key(second=SECOND, parts=parts),)
    assert keys({**SMS, "code": Number("12345"), "service": "x", "country": "1"}) == keys(SMS)


def test_corrected_zone_makes_no_retry_a_new_event():
    """Mutant: the key's time goes through the configured zone."""
    zones = ("Europe/Moscow", "UTC", "America/New_York", "Pacific/Kiritimati")

    assert len({keys(SMS, source=SmsActivate(timezone=zone)) for zone in zones}) == 1


def test_one_instant_is_one_key_with_any_offset():
    here, there = (
        keys({**SMS, "receivedAt": text}, source=HeroSms())
        for text in ("2026-02-16T12:36:59+03:00", "2026-02-16T09:36:59.000000Z")
    )

    assert here == there
    assert here[0].parts[2] == "1771234619"


@pytest.mark.parametrize(
    ("fields", "same"),
    [
        ({"text": "Your  code is\r\n12345 "}, {}),
        ({"text": "A &amp; B 12345"}, {"text": "A & B 12345"}),
        ({"code": "123-45"}, {}),
        ({"code": "G-12345"}, {"code": " 12345"}),
        ({"id": "5", "code": "123 45"}, {"id": "5"}),
        ({"code": None}, {}),
        ({"text": "", "code": "Your code is 12345"}, {}),
    ],
)
def test_message_in_another_spelling_shares_a_key(fields, same):
    """Mutants: keys only from texts and codes as sent; no keys from text and code as read."""
    first, second = ({**SMS, **one} for one in (fields, same))

    assert set(keys(first, source=HeroSms())) & set(keys(second, source=HeroSms()))


def test_rental_message_in_another_spelling_shares_a_key():
    spelled = {**RENT, "sms": {**RENT_SMS, "text": " 2792\u00a0"}}

    assert set(keys(RENT)) < set(keys(spelled))


@pytest.mark.parametrize(
    "other",
    [
        {"activationId": "2"},
        {"receivedAt": "2023-01-01 12:00:01"},
        {"text": "Your code is 12346"},
        {"code": "1"},
    ],
)
def test_another_message_has_another_key(other):
    """Mutant: the activation alone in the key, so that its second SMS is lost."""
    assert set(keys(SMS)).isdisjoint(keys({**SMS, **other}))


@pytest.mark.parametrize("received_at", ["", None, "0000-00-00 00:00:00", "2200-01-01 12:00:00"])
@pytest.mark.parametrize("fields", [SMS, RENT])
def test_message_without_a_time_is_recognized_for_an_hour(fields, received_at):
    timeless = {**SMS, "receivedAt": received_at}
    if fields is RENT:
        timeless = {**RENT, "sms": {**RENT_SMS, "date": received_at}}

    first = keys(timeless)

    assert [(key.second, key.parts[-1]) for key in first] == [(0, "w0:249342"), (0, "w1:249342")]
    assert set(first) & set(keys(timeless, received=RECEIVED + timedelta(minutes=59)))
    assert set(first).isdisjoint(keys(timeless, received=RECEIVED + timedelta(days=1)))


def test_key_of_a_rental_sms_has_only_polled_fields():
    parts = ("rent", "26251422", "SPORTMASTER", "2025-06-17 16:01:10", "2792")

    assert keys(RENT) == (Key(second=803491270, parts=parts),)
    assert keys({**RENT, "rentId": Number("26251422")}) == keys(RENT)


def test_daisysms_message_is_identified_by_its_id():
    """Mutants: text in the key, so that a retry without it is a second event; time in the key."""
    message = {**SMS, "messageId": Number("987")}
    expected = (Key(second=987, parts=("act", "123456", "msg", "987")),)

    assert keys(message, source=DaisySms()) == expected
    assert keys({**message, "text": None}, source=DaisySms()) == expected
    assert keys({**message, "receivedAt": "2023-01-01 12:00:01"}, source=DaisySms()) == expected
    assert data(message, source=DaisySms()).message_id == "987"


@pytest.mark.parametrize(("id_", "second"), [(str(2**32 + 5), 5), ("a1", 0), ("٣", 0)])
def test_keys_of_messages_with_ids_grow_with_their_ids(id_, second):
    (key,) = keys({**SMS, "messageId": id_}, source=DaisySms())

    assert key.second == second


def test_herosms_key_has_id_text_and_code():
    message = {**SMS, "id": "a1"}
    parts = ("act", "123456", "id", "a1", "Your code is 12345", "12345")

    assert keys(message, source=HeroSms()) == (Key(second=SECOND, parts=parts),)
    assert data(message, source=HeroSms()).message_id == "a1"


@pytest.mark.parametrize(("profile", "name"), [(DaisySms, "messageId"), (HeroSms, "id")])
def test_message_with_an_id_needs_no_time(profile, name):
    (key,) = keys({**SMS, name: "5", "receivedAt": ""}, source=profile())

    assert "5" in key.parts


@pytest.mark.parametrize(("profile", "name"), [(DaisySms, "messageId"), (HeroSms, "id")])
@pytest.mark.parametrize("nothing", ["", None, "0", []])
def test_message_without_an_id_has_its_time_in_the_key(profile, name, nothing):
    assert keys({**SMS, name: nothing}, source=profile()) == keys(SMS)


def test_other_profiles_ignore_message_ids():
    assert data({**SMS, "id": "1", "messageId": "2"}).message_id is None


def test_time_too_far_ahead_is_null_but_keeps_its_key():
    """The bound moves with our clock. Mutant: it is in the key, so that retries have others."""
    ahead = {**SMS, "receivedAt": "2026-11-25T12:00:00Z"}

    assert happening(ahead).time is None
    assert keys(ahead) == keys(ahead, received=RECEIVED + timedelta(days=3))


# -- profiles -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("profile", "tag", "documented"),
    [
        (TellABot, "tellabot", ()),
        (HeroSms, "herosms", ("84.32.223.53", "185.138.88.87")),
        (SmsActivate, "sms_activate", ("188.42.218.183", "142.91.156.119")),
        (SmsBower, "smsbower", ("167.235.198.205",)),
        (SmsOnline, "sms_online", ()),
        (DaisySms, "daisysms", ()),
        (GrizzlySms, "grizzlysms", ()),
    ],
)
def test_profile_has_a_tag_and_documented_addresses(profile, tag, documented):
    assert (profile.__struct_config__.tag, profile.documented) == (tag, documented)
    assert profile in PROVIDERS
    assert profile.paste_at


def test_sample_in_another_encoding_is_refused():
    with pytest.raises(ValueError, match="is neither json nor form"):
        SmsActivate().sample("sms", "multipart", number=1, now=RECEIVED)


# -- other forms ----------------------------------------------------------------------------------

REST = {
    "activationId": "123456",
    "phoneNumber": "447700900123",
    "serviceCode": "ig",
    "countryCode": "6",
    "smsCode": "12345",
    "smsText": "Your code is 12345",
}


def several(fields, *, source=None, received=RECEIVED):
    callback = Callback(headers=(), body=b"", peer="192.0.2.7", received=received)
    return (source or SmsActivate()).normalize(fields, callback)


def words(fields, **how):
    return [(it.data.text, it.data.code) for it in several(fields, **how)]


def test_rest_names_are_read_as_webhook_names():
    """Mutant: `phoneNumber` left out, the only number that this dialect sends."""
    said = data(REST)

    assert (said.text, said.code, said.to) == ("Your code is 12345", "12345", "+447700900123")
    assert (said.service.key, said.country, said.warnings) == ("instagram", "ID", ())


def test_webhook_names_override_rest_names():
    said = data({**SMS, "smsText": "other", "smsCode": "999"})

    assert (said.text, said.code) == (SMS["text"], SMS["code"])


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"smsText": ["a 1111"], "smsCode": "1111"}, [("a 1111", "1111")]),
        ({"smsText": ["a", "b"], "smsCode": ["1111", "2222"]}, [("a", "1111"), ("b", "2222")]),
        # The text of the newest alone, as lists of activations have it.
        ({"smsText": "b", "smsCode": ["1111", "2222"]}, [(None, "1111"), ("b", "2222")]),
        ({"smsText": ["code 1111", "b"], "code": "2222"}, [("code 1111", "1111"), ("b", "2222")]),
        ({"smsCode": ["1111", "2222"]}, [(None, "1111"), (None, "2222")]),
        ({"text": ["code 1111", "code 2222"]}, [("code 1111", "1111"), ("code 2222", "2222")]),
        ({"smsCode": [Number("1111")]}, [(None, "1111")]),
        ({"smsText": ["a", None], "smsCode": [None, None]}, [("a", None)]),
    ],
)
@pytest.mark.parametrize("profile", PROFILES)
def test_each_message_of_a_list_is_an_event(profile, fields, found):
    """Mutants: only the first message; a text with the code of another message."""
    fields = {"activationId": "1", "id": "7", "messageId": "8", **fields}

    said = several(fields, source=profile())

    assert [(it.data.text, it.data.code) for it in said] == found
    assert len({key for it in said for key in it.keys}) == sum(len(it.keys) for it in said)


@pytest.mark.parametrize(
    "fields",
    [
        {"smsText": [], "smsCode": []},
        {"smsText": [{"a": "b"}]},
        {"smsText": [None, ""]},
        {"smsCode": ["1"] * 501},
    ],
)
def test_list_with_an_empty_item_is_malformed(fields):
    """The whole callback is kept. Mutant: the other messages are recorded, and this one is lost."""
    assert refusal({"activationId": "1", **fields}) == "malformed"


def test_longer_list_repeats_no_message():
    """Mutant: the key has the time of the callback, which is the newest message's."""
    first = several({"activationId": "1", "smsCode": ["1111"], "receivedAt": "1795262400"})
    longer = {"activationId": "1", "smsCode": ["1111", "2222"], "receivedAt": "1795262460"}
    again, new = several(longer)

    assert set(first[0].keys) & set(again.keys)
    assert not set(new.keys) & {*first[0].keys, *again.keys}


def test_list_beside_a_code_keeps_the_former_key():
    """The first versions read only the code. Mutant: only the keys of the list."""
    before = keys({**SMS, "text": None})

    assert set(before) < set(keys({**SMS, "text": ["Your code is 12345"]}))


def test_time_in_milliseconds_keeps_the_former_key():
    """Mutant: no key with its text, so that a retry after an upgrade is a new event."""
    said = happening({**SMS, "receivedAt": "1795262400123"})

    assert (said.time, said.data.time_from) == ("2026-11-21T12:00:00.123Z", "provider")
    assert [key.second for key in said.keys] == [848577600, 0, 0]
    assert all("1795262400123" in key.parts for key in said.keys[1:])


@pytest.mark.parametrize("phone", ["+447700900123", "447700900123"])
def test_form_of_a_rental_has_its_message_in_brackets(phone):
    """PHP writes forms like this. Mutant: `sms` is no object, and the message is quarantined."""
    flat = {"rentId": "7", "phoneNumber": phone, "sms[text]": "2792", "sms[phoneFrom]": "X"}

    said = happening(flat)

    assert said.keys == keys({"rentId": "7", "sms": {"text": "2792", "phoneFrom": "X"}})
    assert (said.data.text, said.data.to, said.data.from_) == ("2792", "+447700900123", "X")


# -- any input ------------------------------------------------------------------------------------

STRANGE = st.dictionaries(
    st.sampled_from([*SMS, *RENT, *RENT_SMS, "id", "messageId"]) | st.text(), VALUES
)


@pytest.mark.uncounted
@given(
    st.sampled_from(PROFILES),
    st.sampled_from([SMS, RENT, {"rentId": "1"}]),
    STRANGE,
    st.none() | STRANGE,
)
def test_any_fields_are_an_event_or_malformed(profile, fields, strange, sms):
    """Each item of a list of texts is an event.

    Mutant: any other exception is a 500; the provider retries and gives up.
    """
    strange = {**fields, **strange, **({"sms": {**RENT_SMS, **sms}} if sms else {})}
    callback = Callback(headers=(), body=b"", peer="192.0.2.7", received=RECEIVED)
    try:
        each = profile().normalize(strange, callback)
    except Malformed:
        return

    for said in each:
        assert said.subject
        assert said.keys
        assert len(set(said.data.warnings)) == len(said.data.warnings)
        assert msgspec.json.encode(said)
