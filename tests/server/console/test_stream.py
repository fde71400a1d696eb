"""The stream of the inbox: masked rows, resumed by `Last-Event-ID`, as long as the session."""

import pytest
from consoles import HOSTILE, stream
from live import eventually

from core.printable import plain


def test_row_of_the_stream_is_masked_text(person, service):
    """Mutants: codes are in it; the text of a stranger has controls; buttons for every key."""
    event = service.sms(501, service="Streamed", **{"from": f"from {HOSTILE}"})

    with stream(person("support"), "q=streamed&after=start&since=all") as (answer, row):
        _, shown = row()
    with stream(person("reader"), "q=streamed&after=start&since=all") as (_, row):
        _, read = row()

    assert "no-store" == answer.headers["cache-control"]
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert {
        "id": event,
        "time": shown["texts"]["time"],
        "number": "+18505550501",
        "service": "Streamed",
        "code": "••••••",
        "from": f"from {plain(HOSTILE)}",
        "kind": "wait",
        "mark": "◆",
        "words": "new",
        "about": "Streamed for +18505550501",
        "what": "text",
    } == shown["texts"]
    assert (True, True) == (shown["copies"], shown["reveals"])
    assert (False, False) == (read["copies"], read["reveals"])


def test_stream_resumes_after_the_last_event(person, service):
    """Mutant: the header of the browser is dropped."""
    one = person("reader")
    events = [service.sms(number, service="Resumed") for number in (511, 512, 513)]
    with stream(one, "q=resumed&after=start&since=all") as (_, row):
        first, shown = row()

    with stream(one, "q=resumed&since=all", **{"Last-Event-ID": first}) as (_, row):
        rest = [row()[1]["texts"]["id"] for _ in range(2)]

    assert events == [shown["texts"]["id"], *rest]


@pytest.mark.parametrize("end", ["sign out", "revoke"])
def test_stream_ends_with_its_session(person, service, end):
    """Mutant: the stream of a session that has ended goes on."""
    key = {"name": "ended", "scopes": ["events:read"]}
    made = service.api("/keys", method="POST", json=key).json()["key"]
    one = person()
    one.sign_in(made)

    with stream(one, "q=nothing") as (answer, row):
        assert 200 == answer.status_code
        eventually(lambda: service.parts.hub.streams > 0)
        if end == "sign out":
            one.post("/logout")
        else:
            service.api("/keys/ended", method="DELETE")
        assert row() is None
    service.api("/keys/ended", method="DELETE")


def test_stream_with_a_wrong_cursor_is_refused(person):
    with stream(person("reader"), "after=x") as (answer, _):
        assert 400 == answer.status_code
        assert b"" == answer.read()


def test_lines_of_the_stream_name_the_session(person, service):
    """It is masked: `stream.opened` says so, and no code counts as read."""
    one = person("admin")
    service.sms(521, service="Masked")
    with stream(one, "q=masked&after=start&since=all") as (_, row):
        row()

    def closed():
        found = [leaf for leaf in service.leaves("stream.closed") if leaf["by"] == "key/admin"]
        return found[0] if found else None

    line = eventually(closed)
    [opened] = [
        leaf for leaf in service.leaves("stream.opened") if leaf["stream"] == line["stream"]
    ]
    assert (False, 0) == (opened["clear"], line["codes"])
    assert opened["session"] == line["session"]
