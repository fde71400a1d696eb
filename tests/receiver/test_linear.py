"""The time to read an answer of a provider, and the bytes stored, grow with its size."""

import ast
import importlib
import inspect
import itertools
import json
import re
from datetime import UTC, datetime
from functools import partial

import msgspec
import pytest
from answers.recorded import BY_TAG, driven, ok, source_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from regex_steps import lines_run, steps

from receiver.polling.answers import ErrorTexts, read_lenient
from receiver.polling.questions import FoundMessage, Known
from receiver.polling.rows import MOST_TOGETHER

NOW = datetime(2026, 11, 30, 8, 0, tzinfo=UTC)
SINCE = datetime(2026, 11, 28, 8, 0, tzinfo=UTC)
#: The modules with patterns that match answers of providers.
MODULES = (
    "receiver.polling.answers",
    "receiver.decode",
    "receiver.fields.numbers",
    "receiver.addresses",
    "receiver.fields.reader",
    "receiver.signatures",
    "receiver.fields.times",
    "receiver.providers.sms_activate.poll",
    "receiver.providers.sms_activate.answers",
    "receiver.providers.smspins",
    "receiver.providers.tellabot.poll",
)
METHODS = ("search", "match", "fullmatch", "finditer", "sub")
#: Repeated, these make patterns backtrack.
FRAGMENTS = [
    '"',
    '\\"',
    "'",
    "\\'",
    "u'",
    "\\",
    "//",
    "// ",
    "[",
    "{",
    "]",
    '"sms":"[',
    '"sms": "sms":"["',
    ']"',
    ']" ',
    " ",
    "\n",
    "a",
    "A",
    "A_",
    "STATUS_",
    "order ",
    "id ",
    "action ",
    "invalid ",
    "1",
    "1-",
    "-",
    "1 s",
    "2026-11-30 ",
    "2026-11-30 12:00:0",
    "+1",
    ":",
    ",",
    ".",
    "(",
    "\u0661",
]
#: Beginnings of texts that some patterns look for.
BEFORE = ("", "{", '"sms":"[', "STATUS_OK", "+")
SIZE = 60


def uses():
    """Return each compiled pattern of these modules, and its use there."""
    for name in MODULES:
        module = importlib.import_module(name)
        patterns = {n: v for n, v in vars(module).items() if isinstance(v, re.Pattern)}
        calls = {
            (node.value.id, node.attr)
            for node in ast.walk(ast.parse(inspect.getsource(module)))
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.attr in METHODS
        }
        for pattern, how in sorted(calls):
            if pattern in patterns:
                yield pytest.param(as_text(patterns[pattern]), how, id=f"{name}.{pattern}.{how}")
        for texts in (it for it in vars(module).values() if isinstance(it, ErrorTexts)):
            for word, pattern in msgspec.structs.asdict(texts).items():
                yield pytest.param(pattern, "search", id=f"{name}.{word}.search")


def as_text(pattern):
    """Return a pattern for bytes as one for text, which takes the same steps."""
    if isinstance(pattern.pattern, str):
        return pattern
    return re.compile(pattern.pattern.decode("latin-1"), pattern.flags | re.ASCII)


def is_relevant(pattern, before):
    """Return whether the pattern fits a part of that beginning, which is more than to refuse it."""
    return not before or steps(pattern, "match", before) > steps(pattern, "match", "!")


@pytest.mark.uncounted
@pytest.mark.parametrize(("pattern", "how"), list(uses()))
@pytest.mark.parametrize("befores", ["relevant", pytest.param("all", marks=pytest.mark.nightly)])
def test_steps_of_a_pattern_grow_with_the_text(pattern, how, befores):
    r"""Mutant: `"(?:[^"\\]|\\.)*+"` in `_TOKEN`, which tries again at each quote.

    Steps are counted, not seconds. A text of twice the length may take a bit more than twice.
    """
    tried = [it for it in BEFORE if befores == "all" or is_relevant(pattern, it)]
    for before, fragment in itertools.product(tried, FRAGMENTS):
        once, twice = (
            steps(pattern, how, before + fragment * (size // len(fragment)) + "!")
            for size in (SIZE, 2 * SIZE)
        )

        assert twice <= 2.6 * once + 60, (before, fragment, once, twice)


TEXTS = st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=4).map("".join)


@given(TEXTS, st.sampled_from(["{", "[", '{"a": ', '"sms":"[', ""]))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_executed_lines_grow_with_broken_json(text, before):
    """Lines of Python are counted; the steps of patterns are counted above."""
    times = 400 // len(text)
    once, twice = (
        lines_run(partial(read_lenient, (before + text * count).encode()))
        for count in (times, 2 * times)
    )

    assert twice <= 2.3 * once + 200


def found(provider, answers, *known):
    def answer(ask):
        return ok(json.dumps(answers[ask.command]) if ask.command in answers else "NO_NUMBERS")

    steps_of = source_of(provider).poll(known, since=SINCE, now=NOW)
    messages, sent = [], None
    while True:
        try:
            step = steps_of.send(sent)
        except StopIteration:
            return messages
        sent = None
        if isinstance(step, FoundMessage):
            messages.append(step)
        elif hasattr(step, "read"):
            sent = step.read(answer(step))


def split_rows(count):
    """Return rows with many messages, as a provider sends them."""
    pins = {"success": True, "message": None}
    row = {"request_id": "1", "telephone": "9171234567", "updated_at": "2026-11-30 02:00:00"}
    many = [f"text {number:06d} of many" for number in range(count)]
    codes = [f"{number:06d}" for number in range(count)]
    yield (
        "smspins",
        {
            "bulk_sms/telephones": pins
            | {"data": [{"telephone_id": "2", "telephone": "9171234567"}]},
            "bulk_sms/smses_by_tid": pins | {"data": [row | {"smses": "|".join(many)}]},
            "nc/requests": pins | {"data": []},
        },
    )
    yield (
        "sms_activate",
        {"getHistory": [{"id": "77", "phone": "447700900123", "sms": json.dumps(many)}]},
    )
    yield (
        "sms_online",
        {"getActiveActivations": [{"activationId": "77", "smsCode": codes, "smsText": "x" * 500}]},
    )


@pytest.mark.parametrize("index", range(3))
def test_row_with_several_messages_is_stored_once(index):
    """Mutant: the whole row is stored as a callback for each message."""
    count = 50
    provider, answers = list(split_rows(count))[index]

    [one] = found(provider, answers)

    assert len(one.happenings) == count


@pytest.mark.uncounted
@pytest.mark.parametrize("index", range(3))
def test_stored_bytes_grow_with_a_huge_row(index):
    """Mutants: each part has the whole row; one transaction has all parts."""
    stored = []
    for count in (1000, 2000):
        provider, answers = list(split_rows(count))[index]
        messages = found(provider, answers)
        assert max(len(one.happenings) for one in messages) <= MOST_TOGETHER
        assert sum(len(one.happenings) for one in messages) == count
        stored.append(sum(len(one.callback.body) for one in messages))

    assert stored[1] <= 2.2 * stored[0]
    assert stored[1] <= 2 * len(json.dumps(answers))


@pytest.mark.uncounted
@pytest.mark.parametrize("provider", sorted(BY_TAG))
def test_hostile_answers_of_a_megabyte_are_read(provider):
    """Each of them once took minutes to hours, or raised a RecursionError."""
    orders = [Known(request_id="1"), Known(activation_id="1"), Known(rental_id="1")]
    size = 1024 * 1024 // 8
    for unit in ('\\"', '"sms":"[', "[", "{'a':", "'", "STATUS_", "//", " "):
        for before in ("", "{"):
            body = (before + unit * (size // len(unit))).encode()
            driven(
                source_of(provider).poll(orders, since=SINCE, now=NOW), lambda _ask, b=body: ok(b)
            )


def test_too_deep_list_of_codes_is_one_text():
    """Mutant: only the ValueError of `json.loads` is caught."""
    row = {"activationId": "1", "smsCode": "[" * 100_000 + "1234"}

    assert found("sms_online", {"getActiveActivations": [row]})
