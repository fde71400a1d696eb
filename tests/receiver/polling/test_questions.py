"""Recorded answers become the recorded events, and only reading commands are sent."""

import json
from datetime import UTC, datetime

import msgspec
import pytest
from answers.recorded import (
    BY_TAG,
    KEY,
    RECORDED,
    FoundOne,
    driven,
    ok,
    reported,
    said,
    shown,
    source_of,
)
from hypothesis import given
from hypothesis import strategies as st

from core.copies import Copy
from core.secret import Secret
from receiver.callback import Callback, Malformed
from receiver.decode import decode
from receiver.polling.answers import read_lenient, retry_after
from receiver.polling.options import Backfill
from receiver.polling.questions import (
    Ask,
    BadKey,
    Balance,
    Busy,
    Ended,
    Known,
    ListedOrder,
    Notice,
    ProviderAnswer,
    Unreadable,
)

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SINCE = datetime(2026, 11, 19, 12, 0, tzinfo=UTC)
OUTCOMES = FoundOne | Notice | ListedOrder | Ended | Balance | BadKey | Busy | Unreadable
KNOWN = {
    "tellabot": [Known(request_id="10000001")],
    "smspins": [Known(request_id="15682")],
}
ORDERS = [
    Known(request_id="10000001"),
    Known(rental_id="2000001"),
    Known(number="+18503814729"),
    Known(activation_id="635468021"),
]


def poll(tag, known=(), **options):
    return source_of(tag, **options).poll(known, since=SINCE, now=NOW)


def first(tag, body, *, status=200, known=None, **headers):
    """Return the first finding of a poll with this answer to every call."""
    known = known or KNOWN.get(tag) or [Known(activation_id="635468021")]
    came, _ = driven(poll(tag, known), lambda _ask: ok(body, status, **headers))
    return came[0] if came else None


# Questions and findings


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: recorded.name)
def test_recorded_answers_become_the_recorded_events(recorded):
    asked = []
    answers = iter(recorded.answers)

    def answer(ask):
        command, what, body = next(answers)
        asked.append((command, what))
        assert (ask.command, shown(ask)) == (command, what)
        return ok(body)

    source = source_of(recorded.provider)
    came, _ = driven(source.poll(recorded.known, since=recorded.since, now=recorded.now), answer)

    assert [said(one) for one in came if isinstance(one, FoundOne)] == recorded.events
    notices = [f"{one.word} {one.about}" for one in came if isinstance(one, Notice)]
    assert notices == recorded.notices
    assert reported(came) == recorded.reports
    assert len(came) == len(recorded.events) + len(notices) + len(recorded.reports)
    assert asked == [(command, what) for command, what, _ in recorded.answers]


def test_every_provider_has_recorded_answers():
    assert {recorded.provider for recorded in RECORDED} >= set(BY_TAG) - {"daisysms"}


def test_same_answers_later_are_the_same_events():
    """Mutant: keys with windows of arrival make an untimed row a new event every two hours."""
    keys = set()
    for hours in (0, 5, 26):
        now = datetime(2026, 11, 21 + hours // 24, hours % 24, tzinfo=UTC)
        row = '[{"activationId": "1", "smsCode": ["1234"], "smsText": "it is 1234"}]'
        source = source_of("sms_online")

        came, _ = driven(source.poll((), since=SINCE, now=now), lambda _ask, row=row: ok(row))

        [one] = [one for one in came if isinstance(one, FoundOne)]
        keys.add(one.happening.keys)

    assert len(keys) == 1


def test_repeated_message_of_a_check_is_a_second_event():
    body = {"success": True, "message": None}
    row = {"request_id": "1", "telephone_id": "2", "telephone": "9171234567"}
    row |= {"smses": "A|B|A| ", "updated_at": "2026-11-21 06:00:00"}
    answers = {
        "bulk_sms/telephones": body | {"data": [{"telephone_id": "2", "telephone": "9171234567"}]},
        "bulk_sms/smses_by_tid": body | {"data": [row]},
        "nc/requests": body | {"data": []},
    }

    came, _ = driven(poll("smspins"), lambda ask: ok(json.dumps(answers[ask.command])))

    parts = [one.happening.keys[0].parts for one in came]
    assert parts == [
        ("sms", "2", "1", "A", "1"),
        ("sms", "2", "1", "B", "1"),
        ("sms", "2", "1", "A", "2"),
    ]


@given(st.lists(st.text(alphabet="AB |", max_size=3), max_size=4), st.text("AB", min_size=1))
def test_growing_check_keeps_the_keys_of_its_messages(parts, tail):
    """Mutant: `updated_at` in the key, which changes with every action."""

    def keys(smses, updated):
        row = {"request_id": "1", "smses": smses, "updated_at": updated, "telephone": "9171234567"}
        body = {"success": True, "data": [{"telephone_id": "2", **row}]}
        came, _ = driven(poll("smspins"), lambda _ask: ok(json.dumps(body)))
        return [one.happening.keys for one in came if isinstance(one, FoundOne)]

    before = keys("|".join(parts), "2026-11-21 05:00:00")
    after = keys("|".join([*parts, tail]), "2026-11-21 06:00:00")

    assert after[: len(before)] == before
    assert len(after) == len(before) + 1


def test_rental_pages_are_read_until_one_repeats():
    """Mutant: the end at the first repeat loses pages of providers that count from 1."""
    pages = [[f"text {10 * page + i}" for i in range(10)] for page in range(3)]

    def answer_from(begin):
        def answer(ask):
            if ask.command != "getRentStatus":
                return ok("NO_NUMBERS")
            page = dict(part.split("=") for part in shown(ask).split("&")).get("page", str(begin))
            # After its last page the provider repeats it.
            texts = pages[min(int(page) - begin, 2)]
            values = {
                str(i): {"phoneFrom": "1", "text": text, "date": "2026-11-21 10:00:00"}
                for i, text in enumerate(texts)
            }
            return ok(json.dumps({"status": "success", "quantity": "30", "values": values}))

        return answer

    for begin in (0, 1):
        came, _ = driven(poll("sms_activate", [Known(rental_id="7")]), answer_from(begin))

        assert [one.happening.data.text for one in came] == [
            text for page in pages for text in page
        ]


def test_rental_pages_end_before_since():
    row = {"phoneFrom": "1", "text": "old", "date": "2026-11-01 10:00:00"}

    def answer(ask):
        rented = {"status": "success", "values": {"0": row}}
        return ok(json.dumps(rented) if ask.command == "getRentStatus" else "NO_NUMBERS")

    _, asked = driven(poll("sms_activate", [Known(rental_id="7")]), answer)

    assert [ask.command for ask in asked].count("getRentStatus") == 1


# A message by callback and by poll


MESSAGES = st.fixed_dictionaries(
    {
        "timestamp": st.integers(946684800, 1795000000).map(str),
        "from": st.sampled_from(["22000", "18339020112", "Google"]),
        "to": st.sampled_from(["18503814729", "15182193312"]),
        "reply": st.text(min_size=1, max_size=40).filter(str.strip),
    }
)


@given(MESSAGES, st.sampled_from([{"id": "10000001"}, {"ltr_id": "2000001", "first_ltr_id": "1"}]))
def test_tellabot_sms_has_the_same_key_by_callback_and_poll(message, identity):
    """Mutant: the request's id in the key; rows found by number do not have it."""
    more = {"service": "Google", "pin": "1", "price": 1.2}
    row = {**message, "service": "Gmail", "price": 1.20, "pin": ""}
    body = json.dumps({"event": "incoming_message", **message, **more, **identity}).encode()
    source = source_of("tellabot")
    fields = decode(body, content_encoding=None, encodings=source.encodings)
    callback = Callback(headers=(), body=body, peer="192.0.2.7", received=NOW)
    by_callback = source.normalize(fields, callback)[0]

    for known in ORDERS[:3]:
        answer = ok(json.dumps({"status": "ok", "message": [row]}))
        came, _ = driven(source.poll([known], since=SINCE, now=NOW), lambda _ask, a=answer: a)

        assert came[0].happening.keys == by_callback.keys
        assert came[0].happening.data.channel == "poll"


@given(
    st.fixed_dictionaries(
        {
            "phoneFrom": st.text(min_size=1, max_size=9).filter(str.strip),
            "text": st.text(min_size=1, max_size=40).filter(str.strip),
            "date": st.datetimes(datetime(2020, 1, 1), datetime(2026, 11, 20)).map(  # noqa: DTZ001
                lambda at: f"{at:%Y-%m-%d %H:%M:%S}"
            ),
        }
    )
)
def test_rental_sms_has_the_same_key_by_callback_and_poll(sms):
    body = json.dumps({"rentId": "26251422", "sms": sms}).encode()
    source = source_of("sms_activate")
    fields = decode(body, content_encoding=None, encodings=source.encodings)
    callback = Callback(headers=(), body=body, peer="192.0.2.7", received=NOW)
    by_callback = source.normalize(fields, callback)[0]

    def answer(ask):
        row = {"status": "success", "quantity": "1", "values": {"0": {**sms, "service": "ot"}}}
        return ok(json.dumps(row) if ask.command == "getRentStatus" else "NO_NUMBERS")

    came, _ = driven(poll("sms_activate", [Known(rental_id="26251422")]), answer)

    assert [one.happening.keys for one in came] == [by_callback.keys]


def test_activation_message_has_what_identifies_its_copy():
    source = source_of("herosms")
    text = {"activationId": "9", "text": "Your code is 12345", "receivedAt": "2026-11-21T10:00:00Z"}
    callback = Callback(headers=(), body=b"", peer="192.0.2.7", received=NOW)
    sms = {"code": "12345", "text": "Your code is 12345", "date": "2026-11-21 13:00:01"}

    def answer(ask):
        v2 = json.dumps({"verificationType": "sms", "data": sms})
        return ok(v2 if ask.command == "getStatusV2" else "NO_ACTIVATIONS")

    by_callback = source.normalize(text, callback)[0].copy
    came, _ = driven(poll("herosms", [Known(activation_id="9")]), answer)

    second = int(datetime(2026, 11, 21, 10, 0, tzinfo=UTC).timestamp())
    said_by = {"text": "Your code is 12345", "code": "12345"}
    assert by_callback == Copy(form="callback", second=second, **said_by)
    assert came[0].happening.copy == Copy(form="getStatusV2", second=second + 1, **said_by)


def test_code_beside_a_wait_is_found():
    """It is the same event as the original, never a second one.

    Mutant: read as nothing, so that a code of an outage is lost after the next request.
    """
    found = first("smsbower", "STATUS_WAIT_RETRY:12345")
    again = first("smsbower", "STATUS_OK:12345")

    assert found.happening.data.code == "12345"
    assert (found.happening.keys, found.happening.copy) == (
        again.happening.keys,
        again.happening.copy,
    )


@pytest.mark.parametrize(
    ("tag", "said"),
    [("herosms", "60"), ("herosms", "12345"), ("smsbower", "60"), ("smsbower", "")],
)
def test_seconds_beside_wait_retry_are_not_a_code(tag, said):
    """HeroSMS sends the seconds to wait. Mutant: read as STATUS_OK."""
    assert first(tag, f"STATUS_WAIT_RETRY:{said}") is None


def test_error_that_names_a_user_may_not_be_about_the_key():
    """Mutants: `user` alone; `rate` in `operator`."""
    other = '{"status": "error", "message": "Rented by another user of that operator"}'
    key = '{"status": "error", "message": "User not found"}'

    assert type(first("tellabot", other)) is Unreadable
    assert type(first("tellabot", key)) is BadKey


# Only reading

#: All commands that are ever sent. If you add one to a provider, add it here, too.
READS = {
    "balance",
    "read_sms",
    "request_status",
    "getActiveActivations",
    "getBalance",
    "getHistory",
    "getRentList",
    "getRentStatus",
    "getStatus",
    "getStatusV2",
    "bulk_sms/telephones",
    "bulk_sms/smses_by_tid",
    "bulk_sms/status",
    "nc/requests",
}


@pytest.mark.parametrize("tag", sorted(BY_TAG))
def test_provider_declares_only_known_reading_commands(tag):
    """Mutant: `setStatus` among the reads of a profile."""
    api = BY_TAG[tag].polling_api

    assert api.reads <= READS
    assert api.switches == ({"bulk_sms/autocheck"} if tag == "smspins" else set())


@pytest.mark.parametrize("tag", sorted(BY_TAG))
def test_url_has_the_declared_reading_command(tag):
    """Mutant: an Ask takes any command, and one method sends `setStatus`."""

    def answer(ask):
        listed = {"telephone_id": "23354", "activationId": "1", "id": "12345", "smsCode": "1234"}
        listed |= {"telephone": "9171234567", "status": "SUCCESS", "phoneFrom": "1", "text": "a b"}
        message = {"status": "ok", "success": True, "message": [listed], "data": [listed]}
        return ok(json.dumps(message | {"ask": ask.command}))

    _, asked = driven(poll(tag, [*ORDERS, *KNOWN.get(tag, [])]), answer)

    urls = {ask.command: ask.url.reveal() for ask in asked}
    assert urls
    assert urls.keys() <= BY_TAG[tag].polling_api.reads
    for command, url in urls.items():
        said_so = (f"cmd={command}&", f"action={command}", f"/{KEY}/{command}")
        assert any(part in url for part in said_so)


WRITES = [
    "request",
    "reject",
    "send_sms",
    "ltr_rent",
    "ltr_activate",
    "ltr_release",
    "ltr_report",
    "ltr_autorenew",
    "ltr_swap",
    "proxy_rent",
    "proxy_swap",
    "proxy_redial",
    "getNumber",
    "getNumberV2",
    "getMultiServiceNumber",
    "setStatus",
    "getRentNumber",
    "setRentStatus",
    "continueRentNumber",
    "buyPartnerProduct",
    "getAdditionalService",
    "bulk_sms/request",
    "bulk_sms/cancel",
    "bulk_sms/autocheck",
    "nc/request",
    "nc/cancel",
]


@pytest.mark.parametrize("tag", sorted(BY_TAG))
def test_ask_cannot_be_made_of_a_command_that_writes(tag):
    """Mutant: the check of `Ask` left out."""
    api, url = BY_TAG[tag].polling_api, Secret("https://example.com")
    for command in WRITES:
        with pytest.raises(ValueError, match="only reads"):
            Ask(api=api, command=command, url=url, read=ok)


@pytest.mark.parametrize("id_", ["../request/1", "a b", "1&cmd=request", "", "1" * 65, "1#", "1\n"])
def test_id_with_url_characters_is_refused(id_):
    with pytest.raises(ValueError, match="order's id"):
        Known(request_id=id_)


# Secrets


@pytest.mark.parametrize("tag", sorted(BY_TAG))
def test_key_is_in_no_repr(tag):
    _, asked = driven(poll(tag, [*ORDERS, *KNOWN.get(tag, [])]), lambda _ask: ok("nonsense"))

    assert asked
    assert all(KEY in ask.url.reveal() for ask in asked)
    assert KEY not in repr([asked, source_of(tag), source_of(tag).polling_settings()])


@pytest.mark.parametrize("tag", sorted(BY_TAG))
@pytest.mark.parametrize(
    "body", ["s3cret 12345", '{"s3cret": 12345}', '["s3cret"', "12345", '{"status": "s3cret"}', ""]
)
def test_unreadable_answer_is_reported_without_its_content(tag, body):
    """Mutant: the body in the exception's text."""
    came = first(tag, body)

    if body.startswith("{") and "status" not in body and tag not in ("tellabot", "smspins"):
        assert came is None  # an object without anything known
        return
    if tag in ("sms_activate", "herosms", "grizzlysms") and body.startswith('["'):
        assert came is None  # a list without rows
        return
    if body.startswith("[") and tag == "sms_online":
        assert came is None
        return
    if isinstance(came, Unreadable):
        assert came.command in BY_TAG[tag].polling_api.reads
        assert "s3cret" not in str(came)
        assert "12345" not in str(came)
    else:
        assert came is None


# Kinds of errors


@pytest.mark.parametrize(
    ("tag", "body"),
    [
        ("tellabot", '{"status": "error", "message": "Invalid API key"}'),
        ("sms_activate", "BAD_KEY"),
        ("sms_activate", '{"status": "error", "message": "BAD_KEY"}'),
        ("smsbower", "BAD_KEY"),
        ("herosms", '{"title": "BAD_KEY", "details": "", "info": null}'),
        ("smspins", "{'success' : False, 'message' : 'Invalid API Key', 'data' : None}"),
    ],
)
def test_bad_key_is_recognized(tag, body):
    assert isinstance(first(tag, body), BadKey)


@pytest.mark.parametrize("tag", sorted(BY_TAG))
@pytest.mark.parametrize("status", [401, 403])
def test_unauthorized_status_is_a_bad_key(tag, status):
    assert isinstance(first(tag, "<html>", status=status), BadKey)


@pytest.mark.parametrize("tag", sorted(BY_TAG))
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_unavailable_provider_is_busy_with_its_wait(tag, status):
    """Mutant: 5xx read as an answer that is not understood."""
    busy = first(tag, "<html>", status=status, **{"retry-after": "7"})

    assert isinstance(busy, Busy)
    assert busy.retry_after == 7.0


@pytest.mark.parametrize(
    ("tag", "body"),
    [
        ("sms_activate", "ERROR_SQL"),
        ("smsbower", "RATE_LIMIT"),
        ("herosms", '{"title": "RATE_LIMIT", "details": "5 s"}'),
        ("sms_activate", '{"status": "error", "message": "SERVER_ERROR"}'),
        ("tellabot", '{"status": "error", "message": "Too many requests"}'),
    ],
)
def test_busy_answer_is_recognized(tag, body):
    assert isinstance(first(tag, body), Busy)


@pytest.mark.parametrize(
    ("tag", "body"),
    [
        ("tellabot", '{"status": "error", "message": "No messages"}'),
        ("tellabot", '{"status": "error", "message": "Not found"}'),
        ("sms_activate", "NO_ACTIVATIONS"),
        ("sms_activate", '"NO_ACTIVATIONS"'),
        ("sms_activate", '{"status": "error", "error": "NO_ACTIVATIONS"}'),
        ("smsbower", "STATUS_WAIT_CODE"),
        ("smsbower", "STATUS_WAIT_RESEND"),
        ("smspins", "{'success' : False, 'message' : \"No SMS\", 'data' : None}"),
    ],
)
def test_error_that_means_nothing_found_is_no_error(tag, body):
    """Mutant: `NO_ACTIVATIONS` not understood."""
    assert first(tag, body) is None


def test_ended_activation_is_no_error_with_any_status():
    title = '{"title": "ACTIVATION_NOT_ACTIVE", "details": ""}'

    ended = Ended(kind="activation_id", name="635468021", reason="finished")
    assert first("herosms", title, status=409) == ended


@pytest.mark.parametrize("tag", sorted(BY_TAG))
def test_redirect_is_unreadable(tag):
    assert isinstance(first(tag, "", status=302, location="https://example.com"), Unreadable)


def test_code_may_have_a_colon():
    came = first("smsbower", "STATUS_OK:'12:34'")

    assert (came.happening.data.text, came.happening.data.code) == (None, "12:34")


@given(st.sampled_from(sorted(BY_TAG)), st.binary(max_size=60) | st.text(max_size=40))
def test_any_answer_has_a_known_outcome(tag, body):
    came, _ = driven(poll(tag, [*ORDERS, *KNOWN.get(tag, [])]), lambda _ask: ok(body))

    assert all(isinstance(one, OUTCOMES) for one in came)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "status",
                    "message",
                    "data",
                    "sms",
                    "call",
                    "values",
                    "activeActivations",
                    "activationId",
                    "id",
                    "smsCode",
                    "smsText",
                    "success",
                    "telephone_id",
                    "telephone",
                    "smses",
                    "request_id",
                    "mdn",
                    "phone",
                    "text",
                    "code",
                    "date",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(
    st.sampled_from(sorted(BY_TAG)),
    JSON,
    st.sampled_from([{}, {"success": True}, {"status": "ok"}, {"status": "success"}]),
)
def test_any_json_has_a_known_outcome(tag, value, more):
    """Mutant: `row["id"]` trusted to be a text."""
    body = json.dumps({**value, **more} if isinstance(value, dict) else value)

    came, _ = driven(poll(tag, [*ORDERS, *KNOWN.get(tag, [])]), lambda _ask: ok(body))

    assert all(isinstance(one, OUTCOMES) for one in came)
    for one in came:
        assert not isinstance(one, FoundOne) or msgspec.json.encode(one.happening)


# Broken JSON


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ('{"message": { {"a": "1"}, {"a": "2"} }}', {"message": [{"a": "1"}, {"a": "2"}]}),
        ('{"a": "1",}', {"a": "1"}),
        ('{"a": "1" "b": "2"}', {"a": "1", "b": "2"}),
        ('{"a": 840 //ISO 4217 Num\n}', {"a": "840"}),
        ('{"a": ["1"', {"a": ["1"]}),
        ("{'a': None, 'b': True 'c': u'd\\'e'}", {"a": None, "b": True, "c": "d'e"}),
        ('{"sms": "sms":"["a {b"]"}', None),
        ('{"sms": "sms":"["a b"]"}', {"sms": ["a b"]}),
        ('{"text": "{ {//, ,} \\" {"}', {"text": '{ {//, ,} " {'}),
        ("\ufeff[]", []),
    ],
)
def test_broken_json_of_documentation_is_read(text, means):
    if means is None:
        with pytest.raises(Malformed):
            read_lenient(text.encode())
        return

    assert read_lenient(text.encode()) == means


@given(JSON)
def test_valid_json_is_read_unchanged(value):
    """Mutant: mending first, which would change texts that look broken."""
    strict = json.loads(json.dumps(value), parse_int=str)

    assert read_lenient(json.dumps(value).encode()) == strict


@pytest.mark.parametrize("text", ["{", '{"a": }', "{'a", '"a', "a", "{a}", "}", "\\", '{"a": "b'])
def test_too_broken_json_is_malformed_or_none(text):
    try:
        value = read_lenient(text.encode())
    except Malformed:
        return
    assert value in ({}, [])


# Options


def test_missing_options_are_the_providers_defaults():
    asked = {tag: source_of(tag).polling_settings() for tag in BY_TAG}

    assert {tag: (one.api_url, one.every, one.min_interval) for tag, one in asked.items()} == {
        "tellabot": ("https://www.tellabot.com/sims/api_command.php", 300.0, 15.0),
        "sms_activate": ("https://api.sms-activate.ae/stubs/handler_api.php", 120.0, 1.0),
        "herosms": ("https://hero-sms.com/stubs/handler_api.php", 120.0, 1.0),
        "smsbower": ("https://smsbower.page/stubs/handler_api.php", 120.0, 1.0),
        "sms_online": ("https://api.sms.online/stubs/handler_api.php", 120.0, 1.0),
        "grizzlysms": ("https://api.grizzlysms.com/stubs/handler_api.php", 120.0, 1.0),
        "daisysms": ("https://daisysms.com/stubs/handler_api.php", 120.0, 1.0),
        "smspins": ("https://smspins.com/apiv2", 30.0, 1.0),
    }


def test_interval_of_zero_is_kept():
    """Mutant: `backfill.min_interval or self.min_interval`."""
    assert source_of("tellabot", min_interval=0.0).polling_settings().min_interval == 0.0


def test_source_without_backfill_is_not_polled():
    with pytest.raises(ValueError, match="backfill: not configured"):
        BY_TAG["tellabot"]().polling_settings()


def test_tellabot_requires_a_user():
    with pytest.raises(ValueError, match="backfill: user"):
        BY_TAG["tellabot"](backfill=Backfill(api_key=Secret(KEY)))


@pytest.mark.parametrize("url", ["api.example", "ftp://a", "https://a/b?c=d", "https://a b", ""])
def test_invalid_api_url_is_refused_without_its_value(url):
    with pytest.raises(ValueError, match="api_url: not a URL") as refused:
        Backfill(api_key=Secret(KEY), api_url=url)

    assert not url or url not in str(refused.value)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": "9" * 30}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
        (
            {
                "retry-after": "Sat, 21 Nov 2026 12:00:30 GMT",
                "date": "Sat, 21 Nov 2026 12:00:00 GMT",
            },
            30.0,
        ),
        ({"retry-after": "Sat, 21 Nov 2026 12:00:30 GMT"}, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers, seconds):
    assert retry_after(ProviderAnswer(status=429, headers=headers, body=b"")) == seconds


@pytest.mark.parametrize(
    ("listed", "newest", "older"),
    [
        (["1111", "2222"], "2222", ["1111"]),
        (["2222", "1111"], "2222", ["1111"]),
        (["1111"], None, ["1111"]),
        (["1111", "123-456"], "123456", ["1111"]),
    ],
)
def test_codes_before_the_newest_are_found_at_either_end(listed, newest, older):
    """Mutants: the last is always the newest; a code in another spelling is another code."""

    def answer(ask):
        if ask.command == "getActiveActivations":
            row = {"activationId": "9", "smsCode": listed, "smsText": "a text of some length"}
            return ok(json.dumps({"status": "success", "activeActivations": [row]}))
        if ask.command == "getStatusV2":
            sms = {
                "code": newest,
                "text": "a text of some length",
                "dateTime": "2026-11-21 13:00:00",
            }
            return ok(json.dumps({"verificationType": 2, "sms": sms}))
        return ok("NO_ACTIVATIONS")

    came, _ = driven(poll("sms_activate"), answer)

    assert [one.happening.data.code for one in came if isinstance(one, FoundOne)] == [
        newest,
        *older,
    ]
