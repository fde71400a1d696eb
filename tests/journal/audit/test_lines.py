"""Lines of the audit log."""

import base64
import hashlib
import hmac
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.audit.lines import (
    ACTIONS,
    LONGEST,
    Fact,
    commitment,
    commitment_key,
    encode,
    erased_line,
    line_erased,
    next_epoch,
    read_ranges,
    restored,
    write_ranges,
)
from journal.audit.note import Algorithm, Checkpoint, SigningKey
from journal.audit.tree import leaf_hash

AT = 1_764_483_121.532104
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def test_line_is_json_without_spaces():
    fact = Fact("code.read", {"by": "key/ana", "fields": ["code"], "reason": "ticket 4711"})

    assert (
        b'{"n":48122,"at":"2025-11-30T06:12:01.532104Z","do":"code.read","by":"key/ana",'
        b'"fields":["code"],"reason":"ticket 4711"}'
    ) == encode(48122, AT, fact)


@given(
    st.integers(0, 2**40),
    st.sampled_from(sorted(ACTIONS)),
    st.dictionaries(st.text(max_size=8).filter(lambda key: key not in {"n", "at", "do"}), VALUES),
)
def test_line_is_one_line_of_ascii_in_order(n, do, fields):
    """Mutant: a line that is not ASCII is written as UTF-8."""
    line = encode(n, AT, Fact(do, fields))

    assert line.isascii()
    assert not re.search(rb"[\x00-\x1f]", line)
    assert line.startswith(
        b'{"n":%d,"at":"2025-11-30T06:12:01.532104Z","do":"%s"' % (n, do.encode())
    )
    assert {"n": n, "at": "2025-11-30T06:12:01.532104Z", "do": do, **fields} == json.loads(line)
    assert [*json.loads(line)][3:] == [*fields]


def test_line_of_16_kib_is_the_longest():
    room = LONGEST - len(encode(1, AT, Fact("code.read", {"reason": ""})))

    assert LONGEST == len(encode(1, AT, Fact("code.read", {"reason": "x" * room})))
    with pytest.raises(ValueError, match=r"a line of code.read has 16385 bytes"):
        encode(1, AT, Fact("code.read", {"reason": "x" * (room + 1)}))


def test_unknown_action_is_an_error():
    """The list of actions is closed. Mutant: `Fact` takes any name."""
    with pytest.raises(ValueError, match=r"'code.seen' is not an action"):
        Fact("code.seen")


@pytest.mark.parametrize("field", ["n", "at", "do"])
def test_fact_cannot_replace_the_first_fields(field):
    with pytest.raises(ValueError, match="has the fields n, at, do already"):
        Fact("code.read", {field: 1})


def test_erased_line_keeps_the_hash():
    leaf = leaf_hash(b"{}")

    assert {"erased": base64.b64encode(leaf).decode()} == json.loads(erased_line(leaf))


def test_facts_for_verifiers_have_their_fields():
    key = SigningKey("smshook/1/epoch", Algorithm.COSIGNATURE, b"e" * 32).verifier
    root = base64.b64encode(bytes(32)).decode()

    assert Fact("audit.epoch", {"key": str(key)}) == next_epoch(key)
    assert Fact("audit.erased", {"of": 3, "by": "cli/0", "reason": "r"}) == line_erased(
        3, by="cli/0", reason="r"
    )
    assert Fact(
        "journal.restored", {"origin": "smshook/1", "size": 7, "root": root, "by": "cli/0"}
    ) == restored(Checkpoint("smshook/1", 7, bytes(32)), by="cli/0")


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([5], "5"),
        ([1000000, 1000001, 1000002, 1000003, 1000017], "1000000-1000003,1000017"),
        (range(1000000, 1001000), "1000000-1000999"),
        ([1, 3, 4], "1,3-4"),
    ],
)
def test_ranges_are_runs(numbers, text):
    assert [text] == list(write_ranges(numbers))


@given(st.sets(st.integers(0, 3000), max_size=2000))
def test_ranges_are_exact(numbers):
    """Mutant: a run ends one number early."""
    written = list(write_ranges(sorted(numbers)))

    read = [number for text in written for run in read_ranges(text) for number in run]
    assert sorted(numbers) == read


def test_ranges_of_many_numbers_fit_several_lines():
    numbers = range(10**9, 10**9 + 10_000, 2)

    written = list(write_ranges(numbers))

    assert len(written) == 5
    assert all(
        len(encode(1, AT, Fact("code.read", {"events": text}))) < LONGEST for text in written
    )
    assert list(numbers) == [n for text in written for run in read_ranges(text) for n in run]


@given(st.binary(min_size=32, max_size=32), st.text(max_size=40), st.binary(max_size=300))
def test_commitment_is_keyed_by_period_and_event(key, event_id, event):
    """Mutant: `c` is a plain SHA-256, or its key is the same for all events."""
    own = hmac.digest(key, b"commit|" + event_id.encode(), hashlib.sha256)
    expected = hmac.digest(own, event, hashlib.sha256)[:24]

    assert own == commitment_key(key, event_id)
    assert base64.b64encode(expected).decode() == commitment(own, event)
    assert commitment(own, event) != base64.b64encode(hashlib.sha256(event).digest()[:24]).decode()
