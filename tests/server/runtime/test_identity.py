import base64
import itertools
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.callback import Key
from receiver.samples import SampleSigner
from server.runtime.identity import BadCursor, Chance, Identity, StaleCursor

SECRET = "a secret of thirty-two bytes or more"
JOURNAL, ANOTHER = "00112233445566778899aabbccddeeff", "ff" * 16
#: From the epoch to the year 9999, in microseconds.
MICROSECONDS = st.integers(0, 253_402_300_799_999_999)
parts = st.lists(st.text(max_size=8), min_size=1, max_size=4).map(tuple)


def zeros(count):
    return bytes(count)


def ones(count):
    return b"\xff" * count


@pytest.fixture(scope="module")
def identity():
    return Identity(SECRET, zeros)


# Ids of events


@given(at=MICROSECONDS, chance=st.sampled_from([zeros, ones]))
def test_event_id_is_a_uuid7_with_its_millisecond(at, chance):
    """RFC 9562, 5.7: 48 bits of milliseconds, version, variant."""
    made = Identity(SECRET, chance).event_id(at / 1_000_000)

    value = uuid.UUID(made)
    assert made == str(value)
    assert (value.version, value.variant) == (7, uuid.RFC_4122)
    assert value.int >> 80 == int(at / 1_000_000 * 1_000_000) // 1000


def test_event_id_matches_the_example_of_the_rfc():
    """RFC 9562, A.6: Tuesday, February 22, 2022 2:22:22.00 PM GMT-05:00."""
    identity = Identity(SECRET, lambda _count: bytes.fromhex("18c4dc0c0c07398f"))

    # Its rand_a is chance there and the fraction of the millisecond here.
    assert identity.event_id(1645557742.0) == "017f22e2-79b0-7000-98c4-dc0c0c07398f"


@given(earlier=st.integers(0, 4 * 10**15), later=st.integers(1, 10**9))
def test_event_ids_grow_with_time(earlier, later):
    """Mutant: random bits above the microseconds, and every insert lands on another page."""
    first = Identity(SECRET, ones).event_id(earlier / 1e6)
    second = Identity(SECRET, zeros).event_id((earlier + later + 1) / 1e6)

    assert first < second


def test_event_ids_of_one_instant_differ():
    drawn = iter([b"\x01" * 8, b"\x02" * 8])
    identity = Identity(SECRET, lambda _count: next(drawn))

    assert identity.event_id(1.0) != identity.event_id(1.0)


# Keys


@given(second=st.integers(0, 2**32 - 2), parts=parts, other=parts)
def test_dedupe_keys_grow_with_the_providers_time(identity, second, parts, other):
    """Mutant: a key that is a hash only costs three times the time."""
    earlier = identity.dedupe_key(Key(second=second, parts=parts))
    later = identity.dedupe_key(Key(second=second + 1, parts=other))

    assert earlier < later
    assert {len(earlier), len(later)} == {20}
    assert earlier[:4] == second.to_bytes(4, "big")


@given(one=parts, other=parts)
def test_dedupe_keys_are_equal_for_equal_parts(identity, one, other):
    """Mutant: parts joined without their lengths, where "ab" + "c" is "a" + "bc"."""
    keys = [identity.dedupe_key(Key(second=5, parts=each)) for each in (one, other)]

    assert (keys[0] == keys[1]) == (one == other)


@given(whole=st.text(min_size=1, max_size=12), cuts=st.tuples(*[st.integers(0, 12)] * 2))
def test_dedupe_key_depends_on_where_parts_end(identity, whole, cuts):
    cut = [(whole[:at], whole[at:]) for at in cuts]

    keys = {identity.dedupe_key(Key(parts=each)) for each in [*cut, (whole,)]}

    assert len(keys) == len({*cut, (whole,)})


def test_dedupe_key_depends_on_the_secret():
    """Mutant: a plain hash, of which a million guesses find the code."""
    key = Key(second=1, parts=("sms", "your code is 123456"))

    one, other = (Identity(secret, zeros).dedupe_key(key) for secret in (SECRET, SECRET + "!"))

    assert one[:4] == other[:4]
    assert one[4:] != other[4:]


def test_dedupe_key_without_a_time_begins_with_zeros(identity):
    assert identity.dedupe_key(Key(parts=("renewal",)))[:4] == bytes(4)


def test_each_use_of_the_secret_has_a_key_of_its_own(identity):
    text = b"\x00\x00\x00\x01a"

    made = {
        identity.fingerprint(text),
        identity.dedupe_key(Key(parts=("a",)))[4:],
        bytes.fromhex(SampleSigner(SECRET).sign("", text[1:]))[:16],
        bytes.fromhex(identity.seal)[:16],
    }

    assert len(made) == 4
    assert identity.seal != Identity(SECRET + "!", zeros).seal


# Cursors


MARK = b"12345678"


@given(
    place=st.integers(0, 2**40 - 1),
    mark=st.binary(min_size=8, max_size=8),
    kind=st.sampled_from(["events", "quarantine"]),
    back=st.integers(0, 2**24 - 1),
)
def test_cursor_holds_its_place_its_mark_and_the_way_back(identity, place, mark, kind, back):
    cursor = identity.cursor(JOURNAL, kind, place, mark, back=back)

    assert identity.place(JOURNAL, kind, cursor) == (place, mark, back)
    with pytest.raises(BadCursor):
        identity.place(JOURNAL, kind + "x", cursor)
    with pytest.raises(StaleCursor):
        identity.place(ANOTHER, kind, cursor)
    with pytest.raises(BadCursor):
        Identity(SECRET + "!", zeros).place(JOURNAL, kind, cursor)


@given(text=st.one_of(st.text(max_size=70), st.binary(max_size=50).map(base64.urlsafe_b64encode)))
def test_text_that_is_not_a_cursor_is_refused(identity, text):
    cursor = text.decode() if isinstance(text, bytes) else text

    with pytest.raises(BadCursor):
        identity.place(JOURNAL, "events", cursor)


@given(place=st.integers(0, 1000), at=st.integers(0, 47), bit=st.integers(0, 7))
def test_cursor_with_a_changed_bit_is_refused(identity, place, at, bit):
    raw = bytearray(base64.urlsafe_b64decode(identity.cursor(JOURNAL, "events", place, MARK)))
    raw[at] ^= 1 << bit

    with pytest.raises(BadCursor):
        identity.place(JOURNAL, "events", base64.urlsafe_b64encode(raw).decode())


def test_cursors_fit_into_a_url_and_have_one_length(identity):
    cursors = [identity.cursor(JOURNAL, "events", place, MARK) for place in (0, 1, 2**39)]

    assert {len(cursor) for cursor in cursors} == {64}
    assert set("".join(cursors)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    )


def shared_bytes(texts):
    """Return the most bytes that two neighbours of a list share."""
    return max(
        sum(a == b for a, b in zip(one, two, strict=True)) for one, two in itertools.pairwise(texts)
    )


def test_cursors_of_neighbours_look_unrelated(identity):
    """Mutant: the place in clear beside its tag, so that two cursors differ in one byte of 24."""
    cursors = [
        base64.urlsafe_b64decode(identity.cursor(JOURNAL, "events", place, MARK))
        for place in range(1000)
    ]

    assert shared_bytes(cursors) <= 6


# Deliveries


@given(number=st.integers(0, 2**63 - 1))
def test_delivery_number_is_found_by_its_id(identity, number):
    name = identity.delivery_id(number)

    assert identity.delivery_number(name) == number
    assert Identity(SECRET + "!", zeros).delivery_number(name) is None


def test_delivery_id_is_of_one_generation():
    """A restored journal uses numbers again. Mutant: the generation is not in the block."""
    identities = [Identity(SECRET, zeros) for _ in range(3)]
    for identity, generation in zip(identities[1:], ("ab" * 16, "cd" * 16), strict=True):
        identity.begin_generation(generation, first=False)
    identities[0].begin_generation("ef" * 16, first=True)
    names = [identity.delivery_id(7) for identity in identities]

    assert [[one.delivery_number(name) for name in names] for one in identities] == [
        [7, None, None],
        [None, 7, None],
        [None, None, 7],
    ]
    assert names[0] == Identity(SECRET, zeros).delivery_id(7)


def test_delivery_ids_do_not_show_their_order(identity):
    """Mutant: the number itself, which shows how many deliveries there are."""
    names = [bytes.fromhex(identity.delivery_id(number)) for number in range(1000)]

    assert shared_bytes(names) <= 4
    assert sorted(names) != names


@given(text=st.text(max_size=40) | st.binary(min_size=16, max_size=16).map(bytes.hex))
def test_text_that_is_not_a_delivery_id_has_no_number(identity, text):
    assert identity.delivery_number(text) is None


# Chance


def test_random_bytes_are_fetched_in_bulk_and_used_once():
    """Mutants: the same bytes for two callers; a fetch for each id."""
    fetched = []

    def fetch(size):
        fetched.append(size)
        return b"".join(number.to_bytes(8) for number in range(size // 8))

    chance = Chance(fetch)
    got = [chance(8) for _ in range(512)]
    again = chance(8)

    assert len(set(got)) == 512
    assert (fetched, again) == ([4096, 4096], bytes(8))


def test_request_for_many_random_bytes_is_served():
    assert len(Chance()(10_000)) == 10_000


def test_request_ids_differ():
    identity = Identity(SECRET, Chance())

    assert len({identity.request_id() for _ in range(1000)}) == 1000
