"""A sink needs erased content unless it masks it or leaves it out."""

import msgspec
import pytest

from core.erasure import CODES, PEOPLE
from core.secret import Secret
from sinks.erased import lacks_content, needed
from sinks.file.sink import File
from sinks.http.sink import Http
from sinks.redact import compile_redact
from sinks.slack.sink import Slack

URL = Secret("https://x.example/hook")
EVENT = {"id": "e", "subject": "number/+1850", "data": {"text": None, "code": None, "to": "+1850"}}


@pytest.mark.parametrize(
    ("sink", "codes", "people"),
    [
        (File(path="x"), True, True),
        (File(path="x", redact="codes"), False, True),
        (File(path="x", redact="people"), False, False),
        (File(path="x", redact=("data",)), False, True),  # a subject may be a number
        (File(path="x", redact=("data.code",)), True, True),
        (Http(url=URL), True, True),
        (Http(url=URL, json={"a": ["{data.service.name}"], "b": 1}), False, False),
        (Http(url=URL, json="code {data.code}"), True, False),
        (Http(url=URL, json={"all": "{data}"}), True, True),
        (Http(url=URL, json="{data.code}", redact="codes"), False, False),
        (Slack(url=URL), True, True),
        (Slack(url=URL, message="{data.service.name} to {data.to}"), False, True),
    ],
)
def test_need_follows_redact_and_template(sink, codes, people):
    """Mutants: `redact` is ignored; a template needs everything; `{data}` needs nothing."""
    assert (bool(needed(sink, CODES)), bool(needed(sink, PEOPLE))) == (codes, people)


def test_event_lacks_content_only_after_an_erasure():
    """Mutant: a code that was never sent counts as erased."""
    erased = EVENT | {"erasedtime": "2026-09-14T18:42:36Z"}

    assert lacks_content(File(path="x"))(msgspec.json.encode(erased))
    assert not lacks_content(File(path="x"))(msgspec.json.encode(EVENT))
    assert not lacks_content(File(path="x", redact="codes"))(msgspec.json.encode(erased))


def test_people_masks_a_subject_only_if_it_is_a_number():
    """Mutant: every subject is masked, and the events of a request cannot be joined."""
    redact = compile_redact("people")
    request = EVENT | {"subject": "request/1"}

    masked, kept = (msgspec.json.decode(redact(msgspec.json.encode(e))) for e in (EVENT, request))

    assert (masked["subject"], kept["subject"]) == ("***", "request/1")
