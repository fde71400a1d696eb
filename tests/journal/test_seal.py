import os
import re
import string
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from period_keys import MemoryKeys

from core.event import Event, NumberChanged, Service, SmsReceived
from journal.seal import Kind, MissingKeys, Opener, Opening, Reason, Sealer, StoredBody

AT = 1_764_500_000.0
JOURNAL = "7f3a9c52e1d04b6c"
BOTH = (Kind.CODES, Kind.PEOPLE)
SHOWN = Opening(BOTH, Reason.SHOW)
TEXTS = st.text(st.sampled_from('ab"\\:,{}*é\u2028') | st.characters(codec="utf-8"), max_size=12)
NUMBERS = st.text(string.digits, min_size=7, max_size=15).map("+{}".format)


def sealer(keys=None, journal=JOURNAL):
    return Sealer(MemoryKeys() if keys is None else keys, journal=journal, chance=os.urandom)


def sms(**data):
    return Event(
        id="019ad0e0-0000-7000-8000-000000000001",
        source="tellabot",
        type="sms.received",
        subject=data.pop("subject", "request/1"),
        time="2026-11-30T10:00:00Z",
        recordedtime="2026-11-30T10:00:01.000001Z",
        dedupekey="00",
        data=SmsReceived(
            provider="tellabot",
            channel="callback",
            labels=data.pop("labels", {}),
            sample=False,
            time_from="provider",
            **data,
        ),
    )


SMS = sms(to="+18505550123", from_="Google", text="G-804036 is your code", code="G-804036")


def seal(event, by, at=AT, id_=None):
    id_ = id_ or event.id
    sealed = by.seal(id_, msgspec.to_builtins(event), at)
    return StoredBody(id_, sealed.body, sealed.codes, sealed.people)


@given(
    to=NUMBERS | st.none(),
    from_=TEXTS | st.none(),
    text=TEXTS | st.none(),
    code=TEXTS | st.none(),
    urls=st.lists(TEXTS, max_size=3).map(tuple),
    labels=st.dictionaries(st.sampled_from(["to", "text", "code", "a"]), TEXTS),
    by_number=st.booleans(),
)
def test_opened_event_has_the_bytes_that_were_sealed(by_number, **data):
    """Mutants: labels are masked, too; the keys are sorted; `[]` becomes null; the subject stays
    masked."""
    if by_number:
        data["subject"] = f"number/{data['to']}"
    event, by = sms(service=Service(id="go", name=None, key="google"), **data), sealer()

    opened = by.open(seal(event, by), SHOWN)

    assert opened == (msgspec.json.encode(event), ())


OF_CHANGE = {"provider": "smspins", "channel": "poll", "sample": False, "time_from": "received"}


@given(
    sms=st.builds(
        sms,
        to=NUMBERS | st.none(),
        from_=TEXTS | st.none(),
        text=TEXTS | st.none(),
        code=TEXTS | st.none(),
        urls=st.lists(TEXTS, max_size=3).map(tuple) | st.none(),
        subject=NUMBERS.map("number/{}".format) | st.just("request/1"),
    ),
    change=st.builds(
        NumberChanged,
        labels=st.just({}),
        to=NUMBERS | st.none(),
        previous_to=NUMBERS | st.none(),
        **{name: st.just(value) for name, value in OF_CHANGE.items()},
    )
    | st.none(),
)
def test_new_event_is_sealed_like_a_changed_one(sms, change):
    """Mutants: a field of another name in JSON stays in clear; null or `[]` is masked; the index
    is that of the other number; both parts get one key."""
    event = sms if change is None else msgspec.structs.replace(sms, data=change)
    by = sealer()

    (new,) = by.seal_new([(event, AT)])
    other = by.seal(event.id, msgspec.to_builtins(event), AT)
    opened = by.open(StoredBody(event.id, new.body, new.codes, new.people), SHOWN)

    assert (new.body, new.subject, new.number) == (other.body, other.subject, other.number)
    assert (new.codes is None, new.people is None) == (other.codes is None, other.people is None)
    assert opened == (msgspec.json.encode(event), ())


def test_new_events_have_the_keys_of_their_own_times():
    """Mutants: all events of a batch get the keys of the first one, or of the last one; `make_seal`
    seals under the key of its first time."""
    by, times = sealer(), (AT, AT + 1, AT + 86_400, AT - 3_600)

    sealed = by.seal_new([(SMS, at) for at in times])
    seal_raw = by.make_seal(Kind.RAW, times)
    parts = [seal_raw("1", b"part", at) for at in times]

    alone = [by.seal(SMS.id, msgspec.to_builtins(SMS), at) for at in times]
    assert [(one.codes[:5], one.people[:5]) for one in sealed] == [
        (one.codes[:5], one.people[:5]) for one in alone
    ]
    assert [one.number for one in sealed] == [one.number for one in alone]
    assert [part[:5] for part in parts] == [
        by.seal_part(Kind.RAW, "1", b"", at)[:5] for at in times
    ]
    assert [by.open_part(Kind.RAW, "1", part, Reason.RAW) for part in parts] == [b"part"] * 4


def test_new_event_without_content_needs_no_key():
    """Mutant: the keys of both kinds are looked up first."""
    by = sealer(MissingKeys())

    (sealed,) = by.seal_new([(sms(), AT)])

    assert sealed.body == msgspec.json.encode(sms())
    assert (sealed.codes, sealed.people, sealed.number) == (None, None, None)
    assert by.seal_new([]) == []


def test_sealed_event_shows_only_masks():
    """Mutants: a field is left out of its kind; null or `[]` is masked."""
    event = sms(
        subject="number/+18505550123",
        to="+18505550123",
        from_="+18505550199",
        text="code 804036",
        code=None,
        urls=("https://example.com/804036",),
    )
    changed = Event(
        **{**msgspec.structs.asdict(event), "type": "number.changed"}
        | {
            "data": NumberChanged(
                provider="smspins",
                channel="poll",
                labels={},
                sample=False,
                time_from="received",
                to="+18505550123",
                previous_to="+18505550124",
            )
        }
    )

    by = sealer()
    bodies = [msgspec.json.decode(seal(one, by).body) for one in (event, changed)]

    assert [one["subject"] for one in bodies] == ["***", "***"]
    shown = [{name: one["data"].get(name) for name in SECRET} for one in bodies]
    assert shown == [
        {"to": "***", "from": "***", "text": "***", "code": None, "urls": ["***"]}
        | {"previous_to": None},
        dict.fromkeys(SECRET) | {"to": "***", "previous_to": "***"},
    ]


SECRET = ("to", "from", "previous_to", "text", "code", "urls")


def test_parts_stay_masked_until_their_kind_is_requested():
    """Mutant: the other kind is opened, too."""
    by = sealer()
    stored = seal(SMS, by)

    codes = msgspec.json.decode(by.open(stored, Opening((Kind.CODES,), Reason.SHOW)).body)["data"]
    people = msgspec.json.decode(by.open(stored, Opening((Kind.PEOPLE,), Reason.SHOW)).body)["data"]

    assert (codes["code"], codes["to"]) == ("G-804036", "***")
    assert (people["code"], people["to"]) == ("***", "+18505550123")
    assert by.open(stored, None).body == stored.body
    assert by.opened == {Reason.SHOW: 2}


def test_event_without_its_key_reads_as_erased():
    """Mutants: the mask stays; `erasedtime` is missing; only a requested part becomes null."""
    keys = MemoryKeys()
    by = sealer(keys)
    stored = seal(SMS, by)
    keys.destroy(Kind.CODES)

    for opening, to in ((SHOWN, "+18505550123"), (None, "***")):
        opened = by.open(stored, opening)

        event = msgspec.json.decode(opened.body)
        assert event["erasedtime"] == SMS.recordedtime
        its = [event["data"][name] for name in ("text", "code", "urls", "to")]
        assert its == [None, None, [], to]
        assert opened.erased == (Kind.CODES,)


def test_event_erased_by_a_person_says_when():
    """Mutant: the attribute is the time of acceptance."""
    by = sealer()
    stored = msgspec.structs.replace(seal(SMS, by), codes=None, people=None, erased_at=AT)

    opened = by.open(stored, SHOWN)

    event = msgspec.json.decode(opened.body)
    assert event["erasedtime"] == "2025-11-30T10:53:20.000000Z"
    assert (event["data"]["code"], event["data"]["to"]) == (None, None)
    assert opened.erased == BOTH


@pytest.mark.parametrize("erased_at", [None, AT])
def test_event_in_clear_is_returned_as_it_is(erased_at):
    """Mutants: it is decoded and encoded again; a text of asterisks is erased with the number."""
    stored = StoredBody("1", b'{ "subject": null, "data": {"code": "***"} }', erased_at=erased_at)

    assert Opener(None, journal=JOURNAL).open(stored, None) == (stored.body, ())


def test_journal_without_keys_shows_erased_events():
    stored = seal(SMS, sealer())

    opened = Opener(None, journal=JOURNAL).open(stored, SHOWN)

    data = msgspec.json.decode(opened.body)["data"]
    assert (data["to"], data["code"]) == (None, None)
    assert opened.erased == BOTH


@pytest.mark.parametrize("other", ["row", "column", "journal", "kind"])
def test_part_of_another_place_does_not_open(other):
    """Mutants: the bound data leaves out the id, the kind or the journal; one key for all kinds."""
    keys = MemoryKeys(people=60)
    by, id_ = sealer(keys), "a"
    part = by.seal_part(Kind.CODES, id_, b"804036", AT)
    keys.current(Kind.PEOPLE, AT)
    reader, kind = by, Kind.CODES
    match other:
        case "row":
            id_ = "b"
        case "column":
            id_ = "a/answer/1"
        case "journal":
            reader = sealer(keys, journal="other")
        case "kind":
            kind = Kind.PEOPLE

    assert by.open_part(Kind.CODES, "a", part, Reason.SHOW) == b"804036"
    assert reader.open_part(kind, id_, part, Reason.SHOW) is None


def test_swapped_parts_of_two_events_read_as_erased():
    """Mutant: the bound data leaves out the id of the event."""
    by = sealer()
    one, two = (seal(sms(code=code), by, id_=id_) for id_, code in (("1", "11"), ("2", "22")))
    swapped = msgspec.structs.replace(one, codes=two.codes)

    opened = by.open(swapped, SHOWN)

    assert opened.erased == (Kind.CODES,)
    assert b"22" not in opened.body


@given(part=st.binary(max_size=40), place=st.integers(0), change=st.integers(1, 255))
def test_damaged_part_does_not_open(part, place, change):
    by = sealer()
    sealed = bytearray(by.seal_part(Kind.RAW, "1", part, AT))
    sealed[place % len(sealed)] ^= change

    assert by.open_part(Kind.RAW, "1", bytes(sealed), Reason.RAW) is None
    assert by.open_part(Kind.RAW, "1", bytes(sealed[:5]), Reason.RAW) is None


def test_no_two_parts_have_one_nonce():
    """Mutant: the fetched bytes are used twice."""
    by = sealer()

    seal_raw = by.make_seal(Kind.RAW, [AT])
    nonces = {by.seal_part(Kind.RAW, "1", b"", AT)[5:17] for _ in range(1000)}
    nonces |= {bytes(seal_raw("1", b"", AT)[5:17]) for _ in range(1000)}
    nonces |= {bytes(one.codes[5:17]) for one in by.seal_new([(SMS, AT)] * 1000)}

    assert len(nonces) == 3000


def test_changed_event_keeps_its_periods():
    """Mutants: the part is sealed under the key of today; a new part gets the key of today."""
    keys = MemoryKeys()
    by = sealer(keys)
    stored, later = seal(sms(code="1"), by), AT + 7 * 86400
    keys.current(Kind.CODES, later)
    keys.current(Kind.PEOPLE, AT)
    keys.current(Kind.PEOPLE, later)

    changed = sms(code="1", text="code 1", to="+18505550123")
    sealed = by.seal(stored.id, msgspec.to_builtins(changed), AT, was=stored)

    assert sealed.codes[:5] == stored.codes[:5]
    assert sealed.people[:5] == by.seal_part(Kind.PEOPLE, "", b"", AT)[:5]
    assert sealed.number == by.index_number("+18505550123", AT)


def test_part_added_after_its_key_was_destroyed_is_erased():
    """Mutant: it is sealed under a later key."""
    keys = MemoryKeys()
    by = sealer(keys)
    stored = seal(sms(code="1"), by)
    keys.destroy(Kind.CODES)
    keys.current(Kind.CODES, AT + 86400)

    event = msgspec.to_builtins(sms(code="1", text="code 1"))
    sealed = by.seal(stored.id, event, AT, was=stored)
    again = StoredBody(stored.id, sealed.body, sealed.codes, sealed.people)

    assert by.open(again, SHOWN).erased == (Kind.CODES,)
    assert by.seal_beside(Kind.CODES, "1", b"answer", AT, stored.codes) is None
    assert by.seal_beside(Kind.CODES, "1", b"answer", AT, None) is None


def found(by, number="+18505550123", **between):
    return [index for _, index in by.find_number(number, **between)]


def test_number_is_found_by_one_index_a_day_newest_first():
    """Mutants: `since` or `until` leaves out the day at its edge; the oldest is first."""
    keys = MemoryKeys()
    by = sealer(keys)
    days = [AT - 86400 * back for back in range(4)]
    indexes = [by.index_number("+18505550123", at) for at in days]

    assert found(by) == indexes
    assert found(by, since=days[1], until=days[0] - 86400) == indexes[1:2]
    assert found(by, since=days[2]) == indexes[:3]
    assert found(by, until=days[2]) == indexes[2:]
    assert sorted(indexes, reverse=True) == indexes
    assert not set(found(by, "+18505550124")) & set(indexes)
    keys.destroy(Kind.PEOPLE, before=AT - 86400)
    assert found(by) == indexes[:1]


def test_index_of_a_number_is_not_its_hash_without_the_key():
    """Mutants: a plain hash of the number; one key for all days."""
    by = sealer()
    index = by.index_number("+18505550123", AT)

    assert index != by.index_number("+18505550123", AT + 86400)
    assert bytes.fromhex(index)[:4] == int(AT // 86400 * 24 * 60).to_bytes(4)
    assert not index.startswith("+")


def test_line_of_a_value_is_the_same_on_every_day():
    by, again = sealer(), sealer()

    assert by.hash_line('"+18505550123"') == again.hash_line('"+18505550123"')
    assert by.hash_line('"+18505550123"') != by.hash_line('"+18505550124"')


#: Modules that open sealed parts. Each names its reason.
OPENERS = {
    "journal/seal.py",
    "journal/sqlite/deliveries.py",
    "journal/sqlite/erasure.py",
    "journal/sqlite/look_up.py",
    "journal/sqlite/orders.py",
    "journal/sqlite/outbox.py",
    "journal/sqlite/queries.py",
    "journal/sqlite/sealed.py",
    "journal/sqlite/visible.py",
    "server/cli/audit_compare.py",
    "sinks/attempt.py",
}


def test_no_other_module_opens_sealed_parts():
    """Mutant: the API opens an event by itself."""
    root = Path(__file__).parents[2]
    rooms = ("core", "httpd", "journal", "receiver", "routes", "server", "sinks")
    opening = re.compile(r"opener\.open\(|\.open_part\(|\.unmask\(|open_answer\(|open_order\(")
    found = {
        str(path.relative_to(root))
        for room in rooms
        for path in (root / room).rglob("*.py")
        if opening.search(path.read_text())
    }

    assert found == OPENERS
