"""Simulated providers on real sockets: faults, records, callbacks and the page."""

import json
import re
from urllib.parse import parse_qsl

import msgspec
import pytest
from endpoint import endpoint, hang, reply
from rehearsing import KEY, OfflineProvider, running, running_all

from rehearsal.account import Fault
from rehearsal.providers import SIMULATED
from rehearsal.simulation import NewOrder
from rehearsal.web.page import POLICY

TELLABOT = {"user": "test", "api_key": KEY}
#: A command of each provider that is answered with JSON, with and without the right key.
READING = {
    "tellabot": ("/sims/api_command.php", {"cmd": "read_sms", "user": "test"}),
    "smspins": ("/apiv2/{key}/bulk_sms/telephones", {}),
}


def asking(provider, key=KEY):
    path, given = READING.get(
        provider, ("/stubs/handler_api.php", {"action": "getStatus", "id": "1"})
    )
    return path.format(key=key), given | ({} if provider == "smspins" else {"api_key": key})


async def posted(client, path, **body):
    answer = await client.post(f"/rehearsal/{path}", json=body)
    assert answer.is_success, answer.text
    return answer.json()


# Commands


@pytest.mark.parametrize("provider", SIMULATED)
async def test_wrong_key_is_answered_in_the_providers_words(provider):
    """Mutant: the key is not compared."""
    path, given = asking(provider, key="wrong")

    async with running(provider) as (_, client):
        answer = await client.get(path, params=given)

    words = {
        "tellabot": (200, {"status": "error", "message": "Invalid API key"}),
        "smspins": (200, {"success": False, "message": "Invalid API Key", "data": None}),
        "herosms": (401, {"title": "BAD_KEY", "details": "invalid API key", "info": None}),
    }
    status, said = words.get(provider, (200, "BAD_KEY"))
    assert (status, said) == (
        answer.status_code,
        answer.text if isinstance(said, str) else answer.json(),
    )


@pytest.mark.parametrize(
    ("provider", "number"),
    [
        ("tellabot", "+18505550123"),
        ("herosms", "447700900123"),
        ("smspins", "+1 (212) 555-0123"),
    ],
)
async def test_message_to_a_number_goes_to_its_newest_order(provider, number):
    """Applications send SMS to numbers. Mutants: the oldest order; digits compared as written."""
    written = re.sub(r"\D", "", number)[1 if provider == "smspins" else 0 :]
    async with running(provider) as (_, client):
        for id_ in ("1", "2"):
            await posted(client, "orders", id=id_, number=written)
        await posted(client, "orders", id="3", number=f"{written[:-1]}9")
        await posted(client, "orders", id="4", number="")

        message = await posted(client, "messages", to=number, text="Your code is 4711")
        unknown = await client.post("/rehearsal/messages", json={"to": "+15550100"})

    fields = ("order_id", "to", "text", "code")
    assert [message[name] for name in fields] == ["2", written, "Your code is 4711", "4711"]
    assert (unknown.status_code, unknown.json()) == (400, {"error": "to: no order has this number"})


@pytest.mark.parametrize("provider", SIMULATED)
async def test_numbers_are_not_given_twice(provider):
    """Until a hundred are taken. Mutant: any number."""
    async with running(provider) as (simulation, _):
        for _ in range(101):
            simulation.order(NewOrder())
        first = [order.number for order in simulation.account.orders.values()][:50]

    assert len(set(first)) == 50


async def test_writing_command_is_recorded_without_the_key():
    """Mutants: an unknown command counts as reading; the key is among the parameters."""
    commands = ("read_sms", "request", "reject", "nobody_knows")

    async with running("tellabot") as (simulation, client):
        for command in commands:
            await client.get("/sims/api_command.php", params={"cmd": command} | TELLABOT)
        await client.post("/api_command.php", data={"cmd": "send_sms"} | TELLABOT)
        await client.get("/elsewhere")
        asked = (await client.get("/rehearsal/asked")).json()

    assert [(it["command"], it["writes"], it["parameters"]) for it in asked] == [
        ("read_sms", False, {"cmd": "read_sms"}),
        ("request", True, {"cmd": "request"}),
        ("reject", True, {"cmd": "reject"}),
        ("nobody_knows", True, {"cmd": "nobody_knows"}),
        ("send_sms", True, {"cmd": "send_sms"}),
    ]
    assert KEY not in json.dumps(asked)
    assert simulation.account.orders == {}


@pytest.mark.parametrize(
    ("provider", "writing"),
    [
        ("sms_activate", ["getNumber", "setStatus", "setRentStatus", "continueRentNumber"]),
        ("smspins", ["bulk_sms/request", "bulk_sms/cancel", "bulk_sms/autocheck", "nc/request"]),
        ("tellabot", ["ltr_rent", "ltr_activate", "ltr_autorenew", "proxy_rent"]),
    ],
)
def test_writing_command_is_never_recorded_as_reading(provider, writing):
    assert SIMULATED[provider].reads.isdisjoint(writing)


async def test_key_in_the_path_is_not_recorded():
    async with running("smspins") as (_, client):
        await client.get(f"/apiv2/{KEY}/bulk_sms/request/23354")
        asked = (await client.get("/rehearsal/asked")).text

    assert '"bulk_sms/request","writes":true' in asked
    assert KEY not in asked


# Faults


@pytest.mark.parametrize("provider", SIMULATED)
async def test_fault_happens_as_often_as_requested(provider):
    """Mutant: `times` is not counted down."""
    path, given = asking(provider)

    async with running(provider) as (_, client):
        before = await client.get(path, params=given)
        for fault in ("rate_limit", "error", "bad_key", "plain_text"):
            await posted(client, "faults", fault=fault, times=1, seconds=7)
        answers = [await client.get(path, params=given) for _ in range(4)]
        after = await client.get(path, params=given)

    limited, broken, wrong, busy = answers
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "7")
    assert broken.status_code == 500
    assert wrong.status_code == (401 if provider == "herosms" else 200)
    assert re.search("BAD_KEY|Invalid API [kK]ey", wrong.text)
    assert (busy.status_code, busy.headers["content-type"]) == (200, "text/html; charset=UTF-8")
    assert (before.status_code, before.content) == (after.status_code, after.content)


async def test_fault_of_one_command_stays_until_deleted():
    async with running("tellabot") as (_, client):
        path = "/sims/api_command.php"
        await posted(client, "faults", fault="error", command="ltr_status")
        one = [
            (await client.get(path, params={"cmd": cmd} | TELLABOT)).status_code
            for cmd in ("read_sms", "ltr_status", "ltr_status")
        ]
        listed = (await client.get("/rehearsal/faults")).json()
        await client.delete("/rehearsal/faults")
        two = (await client.get(path, params={"cmd": "ltr_status"} | TELLABOT)).status_code

    assert (one, two) == ([200, 500, 500], 200)
    assert listed == [{"fault": "error", "times": None, "command": "ltr_status", "seconds": 5}]


async def test_slow_answer_takes_the_requested_seconds():
    offline = OfflineProvider("tellabot")
    offline.account.faults.append(Fault(fault="slow", times=1, seconds=20))

    answer = await offline.tellabot("read_sms")

    assert (offline.slept, answer["message"]) == ([20], "No messages")


async def test_invalid_json_fault_is_not_json():
    async with running("tellabot") as (_, client):
        order = await posted(client, "orders")
        await posted(client, f"orders/{order['id']}/messages")
        await posted(client, "faults", fault="invalid_json", times=1)
        answer = await client.get("/sims/api_command.php", params={"cmd": "read_sms"} | TELLABOT)

    with pytest.raises(json.JSONDecodeError):
        answer.json()


# Callbacks


def no_wait(simulation):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    simulation.sender._sleep = sleep
    return slept


@pytest.mark.parametrize(
    ("provider", "speed", "waits"),
    [
        ("tellabot", 60.0, [10.0] * 5),
        ("sms_activate", 1.0, [1020.0] * 7),
        ("smsbower", 60.0, [1.0, 5.0]),
        ("sms_online", 1.0, []),
    ],
)
async def test_callback_is_retried_until_the_schedule_ends(provider, speed, waits):
    """Mutants: 201 is success; a redirect is followed; another body at each attempt."""
    async with endpoint() as end, running(provider, callback=end.url, speed=speed) as (it, client):
        end.says(reply(201), reply(302, headers={"Location": "/there"}))
        end.usual = reply(503)
        slept = no_wait(it)
        order = await posted(client, "orders")
        await posted(client, f"orders/{order['id']}/messages")
        await it.settled()
        listed = (await client.get("/rehearsal/callbacks")).json()

    assert slept == waits
    assert len(end.requests) == len(waits) + 1
    assert len({(request.target, request.body) for request in end.requests}) == 1
    statuses = [201, 302, *[503] * 10][: len(waits) + 1]
    assert [(row["attempt"], row["status"]) for row in listed] == list(enumerate(statuses, 1))


async def test_delivered_callback_is_not_sent_again():
    async with endpoint() as end, running("tellabot", callback=end.url) as (it, client):
        end.says(reply(500), reply(200))
        no_wait(it)
        order = await posted(client, "orders")
        await posted(client, f"orders/{order['id']}/messages")
        await it.settled()

    assert len(end.requests) == 2
    assert end.requests[0].headers["content-type"] == "application/x-www-form-urlencoded"


async def test_late_or_missing_answer_is_a_failure():
    """Mutant: a timeout that ends the schedule with an exception."""
    async with endpoint() as end, running("sms_online", callback=end.url) as (it, client):
        end.says(hang)
        it.sender._schedule = msgspec.structs.replace(it.sender._schedule, timeout=0.2)
        slow = await posted(client, "orders")
        await posted(client, f"orders/{slow['id']}/messages")
        await it.settled()
        gone = await posted(client, "orders", kind="rental", url="http://127.0.0.1:1/")
        await posted(client, f"orders/{gone['id']}/messages")
        await it.settled()

    outcomes = [(row.order_id, row.status, row.error) for row in it.sender.attempts]
    assert outcomes == [(slow["id"], None, "timeout"), (gone["id"], None, "connect")]
    assert len(end.requests) == 1


async def test_callbacks_are_doubled_or_reordered_on_request():
    """Mutant: the callback that was held back is lost."""
    async with endpoint() as end, running("herosms", callback=end.url) as (it, client):
        order = await posted(client, "orders")
        path = f"orders/{order['id']}/messages"
        await posted(client, "faults", fault="duplicate", times=1)
        await posted(client, path, text="a")
        await it.settled()
        await posted(client, "faults", fault="out_of_order", times=1)
        await posted(client, path, text="b")
        await posted(client, path, text="c")
        await it.settled()
        await posted(client, path, text="silent", callback=False)

    assert [json.loads(request.body)["text"] for request in end.requests] == ["a", "a", "c", "b"]


async def test_won_bid_sends_a_callback():
    async with endpoint() as end, running("tellabot", callback=end.url) as (it, client):
        order = await posted(client, "orders", number="", service="Amazon", price=0.75)
        early = await client.post(f"/rehearsal/orders/{order['id']}/messages", json={})
        await posted(client, f"orders/{order['id']}", number="15302286946")
        await it.settled()

    assert early.json() == {"error": "the order still waits for its number"}
    assert [request.body for request in end.requests] == [
        b"event=priority_request&status=ok&id=10000001&mdn=15302286946&service=Amazon&price=0.75"
    ]


async def test_renewal_or_its_failure_sends_a_callback():
    """Mutants: the new rental has the id of the old one; its first id is its own id."""
    async with endpoint() as end, running("tellabot", callback=end.url) as (it, client):
        rental = await posted(client, "orders", kind="rental", id="7", number="18505550100")
        await posted(client, "orders/7/renewal", error="Low balance")
        await it.settled()
        after = await posted(client, "orders/7/renewal")
        await it.settled()
        again = await posted(client, f"orders/{after['id']}/renewal")
        await posted(client, f"orders/{again['id']}/messages")
        await it.settled()
        request = await posted(client, "orders")
        refused = await client.post(f"/rehearsal/orders/{request['id']}/renewal", json={})

    failed, renewed, _, message = (dict(parse_qsl(it.body.decode())) for it in end.requests)
    common = {"event": "ltr_renewal", "mdn": "18505550100", "service": "Google"}
    assert failed == common | {
        "status": "error",
        "message": "Low balance",
        "previous_ltr_id": "7",
    }
    expires = renewed.pop("expires")
    assert renewed == common | {
        "status": "ok",
        "new_ltr_id": after["id"],
        "previous_ltr_id": "7",
        "price": "1.25",
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", expires)
    assert (rental["id"], after["id"]) == ("7", "10000001")
    assert (message["ltr_id"], message["first_ltr_id"]) == (again["id"], "7")
    assert refused.json() == {"error": "only a rental is renewed"}


# Control


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "orders", {"kind": "lease"}, 400),
        ("POST", "orders", {"knid": "x"}, 400),
        ("POST", "orders/1", {"price": 1}, 400),
        ("POST", "orders/2", {}, 404),
        ("POST", "orders/2/messages", {}, 404),
        ("POST", "orders/1/change", {}, 400),
        ("POST", "orders/1", {"status": "gone"}, 400),
        ("POST", "orders", {"id": "1"}, 400),
        ("POST", "faults", {"fault": "none"}, 400),
        ("POST", "faults", {"fault": "error", "times": 0}, 400),
        ("POST", "orders", {"life": 10**12}, 400),
        ("POST", "orders", {"url": "here"}, 400),
        ("POST", "orders", {"url": "http://127.0.0.1:99999/"}, 400),
        ("POST", "orders/1/messages", {"ago": 10**12}, 400),
        ("POST", "orders/1", {"changes_at": "2026-01-01T00:00:00"}, 400),
        ("PUT", "orders", {}, 405),
        ("DELETE", "orders", {}, 405),
        ("GET", "nothing", None, 404),
    ],
)
async def test_invalid_request_is_refused_with_the_reason(method, path, body, status):
    async with running("tellabot") as (_, client):
        await posted(client, "orders", id="1")

        answer = await client.request(method, f"/rehearsal/{path}", json=body)

    assert (answer.status_code, list(answer.json())) == (status, ["error"])


async def test_form_of_another_page_changes_nothing():
    """Mutant: any content type is taken."""
    async with running("tellabot") as (simulation, client):
        answer = await client.post("/rehearsal/orders", data={"id": "1"})
        too_long = await client.post("/rehearsal/orders", content=b" " * 1_100_000)

    assert (answer.status_code, too_long.status_code) == (415, 413)
    assert simulation.account.orders == {}


async def test_control_lists_orders_and_messages():
    async with running("tellabot") as (_, client):
        order = await posted(client, "orders")
        message = await posted(client, f"orders/{order['id']}/messages", text="hello")

        assert (await client.get("/rehearsal/orders")).json() == [order]
        assert (await client.get("/rehearsal/messages")).json() == [message]
        assert (await client.get("/rehearsal/callbacks")).json() == []


# The page


async def test_page_shows_numbers_and_escaped_messages():
    """Mutants: a text that is not escaped; a script in the page."""
    awkward = "<script>alert('&\"')</script>"

    async with running("tellabot") as (_, client):
        order = await posted(client, "orders", id='"><b>', number="18505550100", service=awkward)
        path = "/rehearsal/orders/%22%3E%3Cb%3E/messages"
        said = await client.post(path, json={"text": awkward, "from": awkward, "code": awkward})
        page = await client.get("/rehearsal/")
        script = await client.get("/rehearsal/page.js")
        style = await client.get("/rehearsal/page.css")

    assert (order["id"], said.status_code) == ('"><b>', 201)
    assert awkward not in page.text
    assert page.text.count("&lt;script&gt;alert(&#x27;&amp;&quot;&#x27;)&lt;/script&gt;") == 4
    assert '<button form="message" data-post="orders/%22%3E%3Cb%3E/messages"' in page.text
    assert re.findall('name="kind" value="(.*?)"', page.text) == ["request", "rental"]
    assert re.findall("<script[^>]*>", page.text) == ['<script src="page.js" defer>']
    assert page.headers["content-security-policy"] == POLICY
    assert "://" not in page.text + script.text + style.text
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert style.headers["content-type"] == "text/css; charset=utf-8"


def test_order_gets_a_free_id():
    """Mutant: the first id for all."""
    offline = OfflineProvider("tellabot")

    ids = [offline.order(id="10000008").id, offline.order().id, offline.order().id]

    assert ids == ["10000008", "10000001", "10000015"]


@pytest.mark.parametrize(
    ("given", "code", "text"),
    [
        ({"text": "Your code is 4711."}, "4711", "Your code is 4711."),
        ({"text": "G-804036 it is"}, "804036", "G-804036 it is"),
        ({"text": "hello 12"}, "", "hello 12"),
        ({"text": "4711", "code": ""}, "", "4711"),
        ({"code": "G-1"}, "G-1", "G-1 is your verification code."),
    ],
)
def test_code_is_found_in_the_text(given, code, text):
    """Mutant: the code is not from the text."""
    offline = OfflineProvider("tellabot")

    message = offline.message(offline.order(), **given)

    assert (message.code, message.text) == (code, text)


async def test_several_providers_share_an_address_by_name():
    """Mutant: the first answers for all."""
    names = {"mine": "tellabot", "other": "smsbower", "pins": "smspins"}

    async with running_all(names) as (simulations, client):
        order = await posted_at(client, "/other/rehearsal/orders")
        code = await posted_at(client, f"/other/rehearsal/orders/{order['id']}/messages")
        asked = {"action": "getStatus", "id": order["id"], "api_key": KEY}
        status = await client.get("/other/stubs/handler_api.php", params=asked)
        nothing = await client.get("/mine/sims/api_command.php", params=TELLABOT)
        pins = await client.get(f"/pins/apiv2/{KEY}/bulk_sms/telephones")
        index = await client.get("/", follow_redirects=True)
        missing = [(await client.get(path)).status_code for path in ("/no", "/no/", "/mine/no")]
        pages = [await client.get(path, follow_redirects=True) for path in PAGES]

    assert status.text == f"STATUS_OK:{code['code']}"
    assert nothing.json()["status"] == "error"
    assert pins.json()["data"] == []
    assert {name: len(it.account.orders) for name, it in simulations.items()} == {
        "mine": 0,
        "other": 1,
        "pins": 0,
    }
    links = re.findall('<a href="([^"#]*)"', index.text)
    assert links == [f"../../{name}/rehearsal/" for name in names]
    assert index.url.path == "/mine/rehearsal/"
    assert '"../../mine/rehearsal/" aria-current="page"' in index.text
    assert index.headers["content-security-policy"] == POLICY
    assert missing == [404, 404, 404]
    assert {(page.status_code, page.url.path) for page in pages} == {(200, "/mine/rehearsal/")}


PAGES = ("/mine", "/mine/", "/mine/rehearsal", "/mine/rehearsal/")


async def test_single_provider_has_its_page_at_its_address():
    async with running("tellabot") as (_, client):
        page = await client.get("/", follow_redirects=True)

    assert (page.status_code, page.url.path) == (200, "/rehearsal/")


async def posted_at(client, path):
    answer = await client.post(path, json={})
    assert answer.status_code == 201
    return answer.json()
