"""The YAML of each how-to page sends what the API accepts."""

import json
from urllib.parse import urlsplit

import awkward
import pytest
import receiving_apis
from contracts.sink import outgoing
from endpoint import endpoint, reply
from msgspec.structs import replace
from pages import ENVIRONMENT, REST, blocks

from core.secret import Secret
from server.config.load import load
from sinks.http.sink import Http
from sinks.sink import Failed

pytestmark = pytest.mark.uncounted

#: Page and block -> the API, and its answer's status.
EXAMPLES = {
    ("telegram.md", 0): (receiving_apis.telegram, 200),
    ("discord.md", 0): (receiving_apis.discord, 200),
    ("discord.md", 1): (receiving_apis.discord, 200),
    ("ntfy.md", 0): (receiving_apis.ntfy, 200),
    ("teams.md", 0): (receiving_apis.teams, 202),
    ("pagerduty.md", 0): (receiving_apis.pagerduty, 202),
}
WHOLE = {
    "country": "US",
    "from": "22000",
    "service": {"id": "go", "name": "Google", "key": "google"},
    "text": "G-804036 is your code.",
    "code": "G-804036",
    "previous_rental_id": "7",
    "reason": "Insufficient funds",
}


def configured(page, number, folder):
    """Return the sink of the page, loaded like the service does."""
    block = blocks(f"how-to/{page}", "yaml")[number]
    file = folder / "smshook.yaml"
    file.write_text(REST["server"] + block)
    file.chmod(0o600)
    loaded = load(file, environ=ENVIRONMENT)
    assert loaded.warnings == ()
    [sink] = loaded.config.sinks.values()
    assert isinstance(sink, Http)
    return sink


def at(end, sink):
    """Return the sink with another host."""
    url = urlsplit(sink.url.reveal())
    query = f"?{url.query}" if url.query else ""
    return replace(sink, url=Secret(f"{end.url}{url.path}{query}"))


def event(**data):
    plain = json.loads(outgoing(1).body)
    return {**plain, "data": {**plain["data"], **WHOLE, **data}}


@pytest.fixture(params=EXAMPLES, ids=lambda key: f"{key[0]}-{key[1]}")
def example(request):
    return request.param


@pytest.fixture
def sink(example, tmp_path):
    return configured(*example, tmp_path)


@pytest.fixture
async def end(example):
    async with endpoint() as end:
        end.usual = receiving_apis.answering(EXAMPLES[example][0])
        yield end


async def test_example_is_accepted_by_the_api(example, sink, end):
    """Mutants, on the pages: `chat` for `chat_id`, `{parse: [everyone]}`, a topic in the URL, a
    TextBlock, `severity: high`."""
    async with at(end, sink).open() as send:
        receipt = await send(awkward.outgoing(event()))

    assert receipt.status == EXAMPLES[example][1]


async def test_event_with_few_fields_is_accepted(sink, end):
    """Mutant: `text: "{data.text}"` alone in a TextRun, which is null here."""
    little = dict.fromkeys((*WHOLE, "to"))

    async with at(end, sink).open() as send:
        receipt = await send(awkward.outgoing(event(**little)))

    assert receipt.status in {200, 202}


async def test_longest_sms_is_accepted(sink, end):
    """Phones join at most ten parts of 153 characters."""
    async with at(end, sink).open() as send:
        receipt = await send(awkward.outgoing(event(text="x" * 1530)))

    assert receipt.status in {200, 202}


async def test_refused_request_fails_with_the_answer(sink, end):
    broken = replace(sink, json={"wrong": "{data.code}"})
    if sink.json.get("type") == "message":  # Teams checks only the card
        broken = replace(sink, json={**sink.json, "type": "{type}"})

    async with at(end, broken).open() as send:
        with pytest.raises(Failed) as failure:
            await send(awkward.outgoing(event()))

    assert failure.value.status == 400
    assert json.loads(failure.value.answer)


async def test_too_many_requests_wait_for_the_header(sink, end):
    end.says(reply(429, b"{}", headers={"Retry-After": "7"}))

    async with at(end, sink).open() as send:
        with pytest.raises(Failed) as failure:
            await send(awkward.outgoing(event()))

    assert (failure.value.status, failure.value.retry_after) == (429, 7)


async def test_retry_after_in_the_body_only_is_ignored(tmp_path):
    body = b'{"ok":false,"error_code":429,"parameters":{"retry_after":7}}'
    async with endpoint() as end:
        end.says(reply(429, body))
        async with at(end, configured("telegram.md", 0, tmp_path)).open() as send:
            with pytest.raises(Failed) as failure:
                await send(awkward.outgoing(event()))

    assert (failure.value.retry_after, failure.value.answer) == (None, body)


@pytest.mark.parametrize("case", awkward.CASES, ids=lambda case: case["name"])
async def test_hostile_text_stays_in_its_place(sink, case):
    """Mutant: a body concatenated as text: a quote in an SMS ends the string."""
    strange = awkward.event_of(case)
    marked = awkward.harmless(strange)
    async with endpoint() as end, at(end, sink).open() as send:
        await send(awkward.outgoing(strange))
        await send(awkward.outgoing(marked))
        arrived, expected = (json.loads(request.body) for request in end.requests)

    texts = {
        "A text.": strange["data"]["text"],
        "Acme": strange["data"]["service"]["name"],
        "acme": strange["data"]["service"]["key"] or "",
    }
    assert arrived == with_words(expected, texts, strange)


def with_words(value, words, event):
    """Replace our words in each text by those of the event."""
    if isinstance(value, dict):
        if value == awkward.harmless(event)["data"]["service"]:
            return event["data"]["service"]
        return {key: with_words(each, words, event) for key, each in value.items()}
    if isinstance(value, list):
        return [with_words(each, words, event) for each in value]
    if not isinstance(value, str):
        return value
    head, mark, tail = value.partition("A text.")
    for ours in ("Acme", "acme"):
        head = head.replace(ours, words[ours])
    return head + (words["A text."] if mark else "") + tail
