import itertools

import structlog
from journals import shell

from server.api.app import create_health


def listeners(service):
    return service.public, service.admin


# Health


async def test_health_needs_no_key_on_any_listener(service):
    for listener in listeners(service):
        for method in ("GET", "HEAD"):
            answers = [
                await listener.request(method, path)
                for path in ("/healthz", "/readyz", "/healthz/", "/readyz?x=1")
            ]

            assert [answer.status_code for answer in answers] == [200] * 4
            if method == "GET":
                assert answers[0].json() == {"status": "ok"}
                assert answers[1].text == "ready\n"


async def test_unready_service_names_the_time_to_ask_again(service):
    service.is_ready = False

    for listener in listeners(service):
        for method in ("GET", "HEAD"):
            ready = await listener.request(method, "/readyz")
            alive = await listener.request(method, "/healthz")

            assert (ready.status_code, ready.headers["retry-after"]) == (503, "5")
            if method == "GET":
                assert ready.text == "the service is not ready\n"
            assert alive.status_code == 200


async def test_health_takes_no_other_method(service):
    for listener in listeners(service):
        answer = await listener.post("/healthz")

        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


# Headers


async def test_no_header_and_no_charset_is_given_twice(service):
    """Mutants: an answer adds its own `no-store`; a text type with its charset."""
    plain = ["/healthz", "/readyz", "/metrics", "/", "/v1/nothing"]
    logs = ["/v1/audit/log/pruned", "/v1/audit/export"]
    answers = [await service.ask(path) for path in plain + logs]

    for answer in answers:
        names = [name for name, _ in answer.headers.multi_items()]
        assert len(names) == len(set(names)), (answer.url, names)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-type"].count("charset") <= 1


# Unknown paths


async def test_unknown_path_gets_the_answer_of_the_door(service):
    """Mutant: another field, or a request id, that reveals the API to a stranger."""
    at_the_door = await service.public.get("/in/nobody/wrong")

    # The admin listener has pages.
    pages = [
        "/",
        "/metrics",
        "/schema",
        "/schema/openapi.json",
        "/schema/events",
        "/schema/events/sms.received",
    ]
    nowhere = ["/consoles", "/index", "/schema/nothing"]
    answers = [
        await listener.request(method, path)
        for listener in listeners(service)
        for path in ([*pages, *nowhere] if listener is service.public else nowhere)
        for method in ("GET", "POST", "OPTIONS")
    ]

    assert {outcome(answer) for answer in answers} == {outcome(at_the_door)}


async def test_api_is_not_on_the_public_listener(service):
    headers = {"Authorization": "Bearer admin-key-0123456789"}
    nowhere = await service.public.get("/nowhere")

    answers = [
        await service.public.get(path, headers=sent)
        for path in ("/v1", "/v1/events", "/v1/stats", "/v1/nothing")
        for sent in ({}, headers)
    ]

    assert [(answer.status_code, answer.content) for answer in answers] == [
        (404, nowhere.content)
    ] * 8


async def test_api_can_share_a_listener_with_the_door(service):
    one = service.behind_the_door()
    sent = {"Authorization": "Bearer admin-key-0123456789"}

    answers = [
        await one.get("/in/tellabot/tellabot-token-01"),
        await one.get("/healthz"),
        await one.get("/v1/stats", headers=sent),
        await one.get("/v1/stats"),
        await one.get("/nothing"),
    ]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 401, 404]


async def test_door_is_not_on_the_admin_listener(service):
    at_the_door = await service.public.get("/in/nobody/wrong")

    for path in ("/in", "/in/", "/in/tellabot/tellabot-token-01"):
        answer = await service.ask(path, method="POST")

        assert (answer.status_code, answer.content) == (404, at_the_door.content), path


def outcome(answer):
    """The status, headers and body, without the request id."""
    headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    return answer.status_code, answer.content, tuple(sorted(headers.items()))


# Headers of every answer


PATHS = ["/v1/events", "/v1/nothing", "/v1/events?limit=0", "/healthz", "/nowhere"]


async def test_request_id_is_returned(service):
    for path, key in itertools.product(PATHS, ("admin", None)):
        answer = await service.ask(path, key, headers={"X-Request-Id": "their.id:1"})

        assert answer.headers.get_list("x-request-id") == ["their.id:1"]
        assert answer.headers.get_list("cache-control") == ["no-store"]
        if answer.status_code != 200 and path.startswith("/v1"):
            assert answer.json()["request_id"] == "their.id:1"


async def test_request_id_unfit_for_a_log_is_replaced(service):
    for sent in (None, "", "two words", "x" * 65, "<b>", 'a"b'):
        headers = {} if sent is None else {"X-Request-Id": sent}

        answers = [await service.ask("/v1/stats", headers=headers) for _ in range(2)]

        made = {answer.headers["x-request-id"] for answer in answers}
        assert len(made) == 2, sent
        assert all(len(id_) == 16 and int(id_, 16) >= 0 for id_ in made), sent


# Errors


async def test_unwritable_journal_answers_503(service, locked):
    """Another process holds the file's lock."""
    kept = (await service.post(b"event=new"))["id"]
    with locked():
        answer = await service.ask(f"/v1/quarantine/{kept}", method="DELETE")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["code"] == "unavailable"
    assert answer.json()["detail"].endswith("; the change may or may not be stored")


async def test_unreadable_journal_answers_503(service, tmp_path):
    """Its table is missing. Mutant: the answer to a GET names a change."""
    with shell(tmp_path / "smshook.db") as other:
        other.execute("alter table events rename to others")

    answer = await service.ask("/v1/events")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["code"] == "unavailable"
    assert answer.json()["detail"] == "the journal is not available", "it changes nothing"


async def test_internal_error_is_logged_once_without_values(service, tmp_path):
    """A corrupt event. Mutant: the text of the exception in the answer or the log."""
    await service.sms()
    with shell(tmp_path / "smshook.db") as other:
        other.execute("update events set body = '4711'")

    with structlog.testing.capture_logs() as lines:
        answer = await service.ask("/v1/events", "reader", headers={"X-Request-Id": "mine"})

    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.json() == {
        "type": "about:blank",
        "title": "Internal Server Error",
        "status": 500,
        "code": "internal",
        "detail": "internal error; the log has its request id",
        "request_id": "mine",
    }
    where = lines[0].pop("where")
    assert lines == [
        {
            "event": "api.fault",
            "log_level": "error",
            "request_id": "mine",
            "error": "TypeError",
        }
    ]
    assert where.partition(":")[0].endswith("seal.py")


async def test_unknown_call_is_404_with_any_parameters(service):
    """Mutant: the path is read as an event id, and its parameters are refused with 400."""
    for call in ("events/latest?timeout=1", "events/search?after=start"):
        answer = await service.ask(f"/v1/{call}")

        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), call


async def test_refusal_of_the_framework_is_a_problem(service):
    answer = await service.ask("/v1/events", headers={"Host": "b<a>d"})

    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_environment_cannot_turn_on_debugging(monkeypatch):
    monkeypatch.setenv("LITESTAR_DEBUG", "1")
    monkeypatch.setenv("LITESTAR_PDB", "1")

    app = create_health(lambda: True)

    assert (app.debug, app.pdb_on_exception) == (False, False)
