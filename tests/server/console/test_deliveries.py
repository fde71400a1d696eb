"""The page of deliveries, and the retry of those chosen and of all that match."""

import html
import re

import live
import pytest
from consoles import Parsed, text_of

from server.console import deliveries
from server.console.api import ApiCalls
from server.console.deliveries import delivery_row, left_out, sinks_of

ATTEMPT = {
    "number": 1,
    "at": "2026-12-01T10:00:00Z",
    "outcome": "failed",
    "status": 503,
    "error": "status",
    "took_ms": 3.0,
    "probe": False,
    "count": 1,
}
DELIVERY = {
    "id": "45d7bd81",
    "event": "01a2322a",
    "sink": "crm",
    "state": "pending",
    "waits_for": "slot",
    "replay": False,
    "attempts": [],
    "next_at": None,
    "accepted_at": "2026-12-01T10:00:00Z",
}


@pytest.mark.parametrize(
    ("state", "attempts", "kind", "words"),
    [
        ("pending", [], "wait", "pending"),
        ("pending", [ATTEMPT], "bad", "failing, 503"),
        ("sending", [ATTEMPT], "wait", "sending"),
        ("dead", [ATTEMPT | {"status": 410}], "bad", "dead, 410"),
        ("dead", [], "bad", "dead"),
        ("expired", [ATTEMPT | {"status": None, "error": "timeout"}], "bad", "expired, timeout"),
        ("delivered", [ATTEMPT, ATTEMPT | {"status": 200}], "ok", "delivered"),
    ],
)
def test_state_of_delivery_is_in_words(state, attempts, kind, words):
    """Mutants: a delivery that failed only waits; the first answer in place of the last."""
    row = delivery_row(DELIVERY | {"state": state, "attempts": attempts}, None)

    assert (row["kind"], row["words"], row["attempts"]) == (kind, words, len(attempts))
    assert row["can"] is (state in ("pending", "dead", "expired"))


def test_probes_are_no_attempts_of_the_row():
    probe = ATTEMPT | {"probe": True, "at": "2026-12-01T11:00:00Z"}
    row = delivery_row(DELIVERY | {"attempts": [ATTEMPT, probe]}, None)

    assert (row["attempts"], row["last_at"]) == (1, "2026-12-01T11:00:00Z")


def test_counts_of_a_retry_are_in_words():
    counted = {
        "sinks": {"log": 1, "crm": 1200, "a": 1},
        "left_out": {"delivered": 2, "being_sent": 1},
    }

    assert sinks_of(counted) == "1,200 to crm, 1 to a, 1 to log"
    assert left_out(counted) == ["1 left out: being sent", "2 left out: delivered"]


def attempts_of(service, **wanted):
    """Return the number of attempts of deliveries, by the id of the event.

    Probes are left out: a sink that fails gets them at any moment.
    """
    found = service.api("/deliveries", params={"limit": 1000} | wanted).json()["data"]
    return {
        one["event"]: len([each for each in one["attempts"] if not each["probe"]]) for one in found
    }


def telegram(service, number):
    """Send a message whose delivery to `old` dies; return the id of its event.

    The first attempt of `crm` is over, too.
    """
    event = service.sms(number, service="Telegram")
    live.eventually(lambda: attempts_of(service, event=event, state="dead", sink="old"))
    live.eventually(lambda: attempts_of(service, event=event, sink="crm") == {event: 1})
    return event


def form_of(text):
    """Return the fields of the form that writes, and its action."""
    form = re.search(
        r'<form class="write" method="post" action="(/console/deliveries.*?)</form>',
        text,
        re.DOTALL,
    )
    fields = re.findall(r'<input type="hidden" name="(.*?)" value="(.*?)">', form[1])
    return [(name, html.unescape(value)) for name, value in fields if name != "csrf"]


def post(person, path, fields):
    """Post a form whose fields may repeat."""
    sent = {name: [value for key, value in fields if key == name] for name, _ in fields}
    return person.post(path, sent)


def test_first_view_is_what_wants_somebody(admin, service):
    """Mutants: delivered ones too; expired ones in place of failing ones."""
    event = telegram(service, 20)
    answer = admin.get("/deliveries")
    parsed = Parsed(answer.text)
    shown = set(re.findall(r"[▲●◆] (dead|failing|expired|delivered|pending)", text_of(answer)))

    assert shown == {"dead", "failing"}
    assert f"/console/events/{event}" in [its["href"] for its in parsed.all("a")]


def test_without_any_that_want_somebody_the_newest_are_shown(admin):
    """Mutants: an empty page; a retry of all of them is offered."""
    answer = admin.get("/deliveries?sink=log")

    assert "These are the newest." in text_of(answer)
    assert "● delivered" in text_of(answer)
    assert "Retry all that match" not in answer.text


def test_buttons_need_a_delivery_that_can_be_retried(admin):
    """Mutants: a column without boxes; a button that selects nothing."""
    texts = [admin.get(f"/deliveries?state={state}").text for state in ("delivered", "dead")]

    for part in ("Retry selected…", 'id="all"', '<th scope="col">Select</th>'):
        assert [part in text for text in texts] == [False, True]


def test_alert_is_named_by_its_type(admin, service):
    """Mutant: its id, as the list of events leaves out alerts."""
    event = service.api("/alerts/disk_low/test", method="POST").json()["event"]
    body = {"sinks": ["old"]}
    service.api(f"/events/{event}/replay", method="POST", json=body)
    live.eventually(lambda: attempts_of(service, event=event, state="dead"))

    link = re.search(
        rf'<a href="/console/events/{event}">(.*?)</a>\s*(<time)?', admin.get("/deliveries").text
    )

    assert link.groups() == ("system.disk_low", "<time")


def test_owed_is_a_choice(admin, service, monkeypatch):
    """Mutants: the choice shows another state; `sending` only, or `pending` only; a retry of what
    is not owed.
    """
    call, asked = ApiCalls.call, []

    async def noted(api, method, path, parameters=None, *args, **named):
        if path == "/v1/deliveries":
            asked.append(parameters["state"])
        return await call(api, method, path, parameters or {}, *args, **named)

    monkeypatch.setattr(ApiCalls, "call", noted)
    failing = {one["event"] for one in service.api("/deliveries?state=pending").json()["data"]}

    answer = admin.get("/deliveries?state=owed&sink=crm")
    parsed = Parsed(answer.text)

    assert '<option value="owed" selected>' in answer.text
    shown = {its["href"].rpartition("/")[2] for its in parsed.all("a") if "/events/" in its["href"]}
    assert shown == failing
    assert [sorted(states) for states in asked] == [["pending", "sending"]]
    assert "/console/deliveries/retry?state=pending&amp;sink=crm" in answer.text


def test_retry_of_deliveries_made_meanwhile_says_so(admin, service):
    """Mutant: `0 made due`."""
    event = service.sms(19)
    live.eventually(lambda: attempts_of(service, event=event, state="delivered"))
    [found] = service.api("/deliveries", params={"event": event}).json()["data"]

    asked = admin.get("/deliveries/retry", params={"id": found["id"]})
    post(admin, "/deliveries/retry", [("id", found["id"])])

    assert "No delivery becomes due. The deliveries that matched" in text_of(asked)
    said = text_of(admin.get("/deliveries"))
    assert "Nothing was left to retry, 1 left out: delivered" in said


def test_all_that_match_are_retried_and_not_the_page(admin, service, monkeypatch):
    """The page after it is the first view of that sink: the states have changed.

    Mutants: the retry of the page only; of all sinks; also of what came after the question; the
    list of the old states; the list of all sinks.
    """
    events = [telegram(service, number) for number in (21, 22, 23)]
    monkeypatch.setattr(deliveries, "SHOWN", 1)
    before = attempts_of(service, sink="old", state="dead")

    page = admin.get("/deliveries?state=dead&state=failing&sink=old")
    [link] = re.findall(r'<a href="(.*?)">Retry all that match', page.text)
    asked = admin.get(html.unescape(link))
    unchanged = attempts_of(service, sink="old", state="dead")
    late = telegram(service, 24)
    others = attempts_of(service, sink="crm")
    done = post(admin, "/deliveries/retry", form_of(asked.text))
    count = len(before)

    assert 1 == len(re.findall("<tr data-id", page.text))
    assert f"This makes {count} deliveries due now: {count} to old. Oldest event" in text_of(asked)
    assert unchanged == before
    assert (done.status_code, done.headers["location"]) == (
        303,
        "/console/deliveries?sink=old",
    )
    said = f"{count} made due. Show updates the list."
    assert said in text_of(admin.get("/deliveries?sink=old"))
    expected = {event: made + 1 for event, made in before.items()} | {late: 1}
    live.eventually(lambda: attempts_of(service, sink="old", state="dead") == expected)
    assert set(events) <= set(expected)
    assert attempts_of(service, sink="crm") == others


def test_chosen_ones_are_retried(admin, service):
    """Mutants: all that match; what is delivered is said to be due; no line in the audit log."""
    events = [telegram(service, number) for number in (25, 26, 27)]
    found = service.api("/deliveries", params={"event": events}).json()["data"]
    ids = {(one["event"], one["sink"]): one["id"] for one in found}
    chosen = [ids[events[0], "old"], ids[events[1], "old"], ids[events[2], "log"]]

    asked = admin.get("/deliveries/retry", params={"id": chosen, "back": "state=dead"})
    done = post(admin, "/deliveries/retry", form_of(asked.text))

    assert "This makes 2 deliveries due now: 2 to old." in text_of(asked)
    assert "1 left out: delivered" in text_of(asked)
    assert done.headers["location"] == "/console/deliveries"
    lines = [one for one in service.leaves("delivery.retried") if one["event"] in events]
    assert {(one["by"], one["event"], one["sink"]) for one in lines} == {
        ("key/admin", event, "old") for event in events[:2]
    }
    assert "2 made due, 1 left out: delivered" in text_of(admin.get("/deliveries"))
    expected = dict(zip(events, (2, 2, 1), strict=True))
    live.eventually(
        lambda: attempts_of(service, event=events, sink="old", state="dead") == expected
    )


def test_more_than_the_bound_is_said(admin, service, monkeypatch):
    """The filter stays, for the next retry.

    Mutants: the page counts all, and the retry does fewer; the retry does not say so; the first
    view.
    """
    telegram(service, 28), telegram(service, 29)
    before = attempts_of(service, sink="old", state="dead")
    monkeypatch.setattr("server.api.retries.MOST", 1)

    asked = admin.get("/deliveries/retry?state=dead&sink=old")

    assert "This makes 1 delivery due now: 1 to old." in text_of(asked)
    assert "More deliveries match. At most 1 are retried at a time" in text_of(asked)
    done = post(admin, "/deliveries/retry", form_of(asked.text))
    assert done.headers["location"] == "/console/deliveries?state=dead&sink=old"
    said = text_of(admin.get("/deliveries"))
    assert "1 made due; more match: retry them again" in said
    count = sum(before.values()) + 1
    live.eventually(lambda: sum(attempts_of(service, sink="old", state="dead").values()) == count)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/deliveries/retry", []),
        ("/deliveries/retry?back=//evil.example", []),
    ],
)
def test_retry_of_nothing_goes_back(admin, path, fields):
    """Mutants: no state means all; the way back leads to another site."""
    answers = [
        admin.get(path),
        post(admin, "/deliveries/retry", [*fields, ("back", "//evil.example")]),
    ]

    assert [answer.status_code for answer in answers] == [303, 303]
    assert all(one.headers["location"].startswith("/console/deliveries") for one in answers)
    assert text_of(admin.get("/deliveries")).count("Select deliveries first") == 2


@pytest.mark.parametrize(
    "fields", [[("state", "dead"), ("dry_run", "true")], [("state", "delivered")]]
)
def test_wrong_form_changes_nothing(admin, fields):
    assert post(admin, "/deliveries/retry", fields).status_code == 400


@pytest.mark.parametrize(
    ("key", "page", "retry"),
    [
        ("reader", 200, 403),
        ("support", 200, 403),
        ("writer", 200, 200),
        ("growth", 403, 403),
        ("auditor", 403, 403),
    ],
)
def test_scopes_decide_who_sees_and_retries(person, key, page, retry):
    """Behind the page, the API refuses too. Mutant: buttons without deliveries:write."""
    one = person(key)
    shown = one.get("/deliveries?state=any")
    asked = one.get("/deliveries/retry?state=dead")
    posted = post(one, "/deliveries/retry", [("id", "none")])

    assert (shown.status_code, asked.status_code) == (page, retry)
    assert posted.status_code == (303 if retry == 200 else 403)
    assert ("Retry selected" in shown.text) is (retry == 200)
    assert ('type="checkbox" name="id"' in shown.text) is (retry == 200)
    assert ('type="checkbox" id="all"' in shown.text) is (retry == 200)


def test_hostile_texts_are_texts_and_codes_are_masked(admin, service):
    """Mutants: `|safe` on the event; the event's code in the row."""
    text = admin.get("/deliveries?state=delivered&sink=log").text

    assert service.events["hostile"] in text
    assert "\\u{202e}" in text
    assert Parsed(text).all("img") == []
    assert [] == [number for number in range(1, 30) if live.code(number) in text]


def test_whole_page_is_small_and_made_of_few_calls(admin, service, monkeypatch):
    """A row costs no call of its own. Mutant: each event is read by itself."""
    for number in range(100, 130):
        service.sms(number, service="Telegram")
    made, call = [], ApiCalls.call

    async def counted(api, method, path, *args, **named):
        made.append(path)
        return await call(api, method, path, *args, **named)

    monkeypatch.setattr(ApiCalls, "call", counted)
    page = admin.get("/deliveries?state=any")

    assert 80 == len(re.findall("<tr data-id", page.text))
    assert len(page.content) < 80_000
    assert len(made) < 10
