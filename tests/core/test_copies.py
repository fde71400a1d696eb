import functools
import hashlib
import itertools
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import msgspec
import pytest
from contracts.journal import NOW, arrival, planned
from hypothesis import strategies as st

from core.copies import Copy, PossibleCopy, find_copy
from journal.sqlite import schema
from journal.sqlite.batch import BatchWriter
from journal.writes import Record

TEXT, OTHER = "G-804036 is your code.", "Another text, 804036."


def sms(text=TEXT, code="804036", second=100.0, form="getHistory"):
    return Copy(form=form, text=text, code=code, second=second)


def candidates(*others):
    return [PossibleCopy(seq=n, id=f"event-{n}", copy=one) for n, one in enumerate(others, 1)]


@pytest.mark.parametrize(
    ("mine", "others", "found"),
    [
        (sms(), [sms(second=102.0)], 1),
        (sms(), [sms(second=102.5)], None),
        (sms(), [sms(second=98.0)], 1),
        (sms(), [sms(OTHER)], None),
        (sms(second=None), [sms()], 1),
        (sms(), [sms(second=None)], 1),
        (sms(), [sms(second=None), sms(second=101.0)], 2),
        (sms(), [sms(second=101.0), sms(second=100.0)], 2),
        (sms(second=None), [sms(second=500.0), sms(second=100.0)], 1),
        (sms(text=None), [sms(second=None)], 1),
        (sms(text=None), [sms(second=300.0)], None),
        (sms(text=None, second=None), [sms(second=300.0)], 1),
        (sms(text=None), [sms("Code 111111", code="111111", second=None)], None),
        # Codes in another spelling.
        (sms(text=None, code="804036"), [sms(text=None, code="G-804036", second=None)], 1),
        (sms(text=None, code="482913"), [sms("Code 482-913", None, second=None)], 1),
        (sms(text=None, code="482-913"), [sms("Code 482 913", None, second=300.0)], None),
        (sms("رمز ٤٨٢٩١٣", None, second=None), [sms(text=None, code="482913")], 1),
        (sms(text=None, code="4829"), [sms("Code 482913", None, second=None)], None),
        (sms(text=None, code="10"), [sms("Valid for 10 min", None, second=None)], None),
        (
            sms(text=None, code="5678", second=None),
            [sms("Not 5678 but 1234", code="1234", second=1.0), sms(code="5678", second=2.0)],
            2,
        ),
        # Texts in another spelling.
        (sms("A &amp; B&#39;s<br>code\u00a01234"), [sms("A & B's\r\ncode 1234")], 1),
        (sms("Code  1234 "), [sms("Code 1234", second=None)], 1),
        (sms("Code 1234"), [sms("Code 12 34")], None),
        (sms(text=None, code=None), [sms(code=None, text=None, second=None)], None),
        (sms(text=None, second=None), [sms(second=None), sms(text=None)], 1),
    ],
)
def test_copy_belongs_to_the_most_similar_event(mine, others, found):
    """Mutants: the second rule first; 2 s read as 3; a code compared although texts differ; codes
    or texts compared as sent; a code found in a longer one."""
    matched = find_copy(mine, candidates(*others))

    assert (matched and matched.seq) == found


@functools.cache
def new_journal():
    """Return the bytes of a new journal file, which takes a tenth of a second to make."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "smshook.db"
        schema.begin(path, seal="seal", now=NOW, version="0.1.0")[0].close()
        return path.read_bytes()


class Journal:
    """A journal file and its writer."""

    def __init__(self, folder):
        path = Path(folder) / "smshook.db"
        path.write_bytes(new_journal())
        self.conn, start, *_ = schema.begin(path, seal="seal", now=NOW, version="0.1.0")
        self.writer = BatchWriter(self.conn, start)

    def record(self, *plans):
        ops = [Record(arrival(), (plan,), None) for plan in plans]
        return [recorded.new[0] for recorded in self.writer.write(ops)]

    def events(self):
        return [
            msgspec.json.decode(body)
            for (body,) in self.conn.execute("select body from events order by seq")
        ]


@pytest.fixture
def journal(tmp_path):
    opened = Journal(tmp_path)
    yield opened
    opened.conn.close()


def copy(number, *, form="callback", second=100.0, text=TEXT, code="804036", **data):
    """Return a copy of a message of activation 7. Each form has another key."""
    plan = planned(
        number,
        subject="activation/7",
        channel="callback" if form == "callback" else "poll",
        text=text,
        code=code,
        time_from="received" if second is None else "provider",
        **data,
    )
    time = None if second is None else datetime.fromtimestamp(second, UTC)
    event = msgspec.structs.replace(
        plan.event, time=plan.event.time if time is None else f"{time:%Y-%m-%dT%H:%M:%SZ}"
    )
    return msgspec.structs.replace(
        plan,
        event=event,
        body=msgspec.json.encode(event),
        copy=Copy(form=form, text=text, code=code, second=second),
    )


def test_polled_copy_of_a_callback_adds_its_fields(journal):
    """Mutant: `_add` left out: the number stays unknown."""
    assert journal.record(copy(1)) == [True]

    assert journal.record(copy(2, form="getActiveActivations", second=None, to="+79001234567")) == [
        False
    ]

    [event] = journal.events()
    assert event["data"]["to"] == "+79001234567"
    assert event["data"]["channel"] == "callback"


def test_polled_copy_with_the_same_key_adds_its_fields(journal):
    """A rental's SMS has one key by callback and by poll. Mutant: only copies add fields."""
    callback = msgspec.structs.replace(copy(1), copy=None)
    polled = msgspec.structs.replace(copy(1, form="getRentStatus", to="+79001234567"), copy=None)

    assert journal.record(callback, polled) == [True, False]
    assert [event["data"]["to"] for event in journal.events()] == ["+79001234567"]


def test_copy_in_the_same_batch_is_found(journal):
    """Mutant: rows are flushed at the end of the batch."""
    assert journal.record(copy(1), copy(2, form="getStatusV2", second=101.0)) == [True, False]


def test_event_has_one_copy_of_each_form(journal):
    """Mutant: a claimed event can be claimed again: the second message is lost."""
    journal.record(copy(1, second=None, form="getHistory"))

    new = journal.record(copy(2, second=100.0), copy(3, second=200.0))

    assert new == [False, True]


def test_untimed_event_has_the_time_of_its_first_timed_copy(journal):
    """Mutant: `second` is not asked of copies: the third copy is taken for the first message."""
    journal.record(copy(1, second=None, form="getHistory"))
    journal.record(copy(2, second=200.0))

    assert journal.record(copy(3, second=100.0, form="getStatusV2")) == [True]


def test_copy_is_recognized_by_its_key_later(journal):
    """Mutant: `_claim` left out for messages with one key."""
    journal.record(copy(1))
    polled = copy(2, form="getStatusV2", second=101.0)
    journal.record(polled)

    assert journal.record(polled, polled) == [False, False]
    assert len(journal.events()) == 1


# --- against a model ----------------------------------------------------------------------------

#: Whether each way of receiving a message has its time, and its text.
FORMS = {
    "callback": (True, True),
    "getStatusV2": (True, True),
    "getActiveActivations": (False, True),
    "getHistory": (False, True),
    "getStatus": (False, False),
}


#: `next`: the provider receives a message. A number: it sends the callback of that message, perhaps
#: again. A form: all messages so far are polled in it.
steps = st.lists(
    st.just("next")
    | st.integers(0, 4)
    | st.sampled_from([form for form in FORMS if form != "callback"]),
    max_size=16,
)
#: Seconds since the message before, and a text.
messages = st.lists(st.tuples(st.integers(3, 60), st.sampled_from("ab")), min_size=1, max_size=5)


def number_of(what):
    """Return a digest that is the same in each process."""
    return int.from_bytes(hashlib.blake2b(repr(what).encode(), digest_size=8).digest())


def rows(messages, form):
    """Return the rows of a poll of that form, with keys that a later poll repeats."""
    seen = {}
    for n, (second, text) in enumerate(messages):
        timed, texted = FORMS[form]
        alike = (form, second if timed else None, text)
        seen[alike] = seen.get(alike, 0) + 1
        yield (
            n,
            copy(
                number_of((*alike, seen[alike])),
                form=form,
                second=second if timed else None,
                text=f"text {text}" if texted else None,
                code=f"code {text}",
            ),
        )


@hypothesis.given(messages, steps)
@hypothesis.settings(deadline=None)
def test_messages_are_never_lost_doubled_or_merged(gaps, steps):
    """Mutants: `form` is ignored; an untimed event stays untimed; a rule is left out."""
    seconds = itertools.accumulate([gap for gap, _ in gaps], initial=1000)
    coming = list(zip(itertools.islice(seconds, 1, None), [text for _, text in gaps], strict=True))
    come = 1
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(folder)
        # The last poll finds all messages, also those that only an earlier poll had.
        for step in [*steps, "getHistory"]:
            come = min(come + (step == "next"), len(coming))
            if isinstance(step, int):
                journal.record(*[plan for n, plan in rows(coming[:come], "callback") if n == step])
            elif step != "next":
                journal.record(*[plan for _, plan in rows(coming[:come], step)])
        codes = [event["data"]["code"] for event in journal.events()]
        journal.conn.close()

    assert sorted(codes) == sorted(f"code {text}" for _, text in coming[:come])
