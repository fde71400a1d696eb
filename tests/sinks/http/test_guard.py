"""The addresses that a subscription may reach. Oracles: the guard's word, and a listener's hits."""

import contextlib
import ipaddress
import ssl

import pytest
import trustme
from endpoint import endpoint, reply, server_tls

from sinks.http import guard as module
from sinks.http.guard import BLOCKED, AddressGuard
from sinks.http.guarded import GuardedClient
from sinks.http.subscription import check_subscribed_url
from sinks.sink import Failed

UNSPECIFIED = str(ipaddress.IPv4Address(0))
#: One address or more for each row of the table, and for each special part of IPv6.
SPECIAL = (
    *(UNSPECIFIED, "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.254"),
    *("127.0.0.1", "127.255.255.254", "169.254.0.1", "169.254.169.254", "169.254.170.2"),
    *("172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.31.196.1"),
    *("192.52.193.1", "192.88.99.1", "192.168.0.1", "192.175.48.1", "198.18.0.1"),
    *("198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255"),
    *("240.0.0.1", "255.255.255.255", "100.100.100.200", "168.63.129.16"),
    *("::", "::1", "::127.0.0.1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:8.8.8.8"),
    *("::ffff:0:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::7f00:1"),
    *("100::1", "100:0:0:1::1", "2001::1", "2001:0:7f00:1::", "2001:2::1", "2001:10::1"),
    *("2001:20::1", "2001:1ff:ffff::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1"),
    *("2620:4f:8000::1", "3fff::1", "5f00::1", "fc00::1", "fd00::1", "fd00:ec2::254"),
    *("fd20:ce::254", "fe80::1", "fe80::1%lo", "fe80::a9fe:a9fe", "fec0::1", "ff02::1"),
    *("4000::1", "::1%1"),
)
PUBLIC = (
    *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.1"),
    *("126.255.255.255", "128.0.0.1", "172.15.255.255", "172.32.0.1", "192.0.1.1"),
    *("223.255.255.255", "168.63.129.15"),
    *("2001:200::1", "2001:4860:4860::8888", "2606:4700::1111", "2a00:1450::1", "2003::1"),
)
#: Hosts that lead to this machine or to a metadata service.
SPELLINGS = (
    *("127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.1", "0X7F.0.0.1", "0177.0.0.1"),
    *("017700000001", "00000177.1", "127.0.0.1.", "127.1.", "%31%32%37.0.0.1", "0", UNSPECIFIED),
    *(
        "\uff11\uff12\uff17.\uff10.\uff10.\uff11",
        "\u2460\u2461\u2466.0.0.1",
        "127\u30020\u30020\u30021",
        "[::1]",
        "[::]",
    ),
    *("[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]"),
    *("[64:ff9b::7f00:1]", "[2002:7f00:1::]", "169.254.169.254", "2852039166"),
    *("0xa9fea9fe", "[fd00:ec2::254]", "localhost", "LOCALHOST"),
)


def answering(*answers):
    """Return a resolver that gives these answers one after another, the last one for ever."""
    left = list(answers)

    async def resolve(_host, _port):
        return left.pop(0) if len(left) > 1 else left[0]

    return resolve


@contextlib.asynccontextmanager
async def two(first, second, *, tls=None):
    """Yield endpoints at two addresses with the same port."""
    async with contextlib.AsyncExitStack() as stack:
        one = await stack.enter_async_context(endpoint(host=first, tls=tls))
        other = endpoint(host=second, port=one.port, tls=tls)
        yield one, await stack.enter_async_context(other)


async def post(url, guard, **named):
    client = GuardedClient(url, guard, connections=2, **named)
    try:
        return await client.post({"webhook-id": "one"}, b"body", within=5)
    finally:
        await client.close()


async def word_of(url, guard):
    with pytest.raises(Failed) as caught:
        await post(url, guard)
    return caught.value.word


# The table


@pytest.mark.parametrize("address", SPECIAL)
async def test_special_address_is_refused(address):
    """Mutant: `is_global` of the standard library in place of the table."""
    guard = AddressGuard(resolve=answering([address]))
    with pytest.raises(Failed, match=BLOCKED):
        await guard.vet("name.example", 443)


@pytest.mark.parametrize("address", PUBLIC)
async def test_public_address_is_allowed(address):
    """Mutant: a network of the table is one bit too wide."""
    guard = AddressGuard(resolve=answering([address]))
    assert await guard.vet("name.example", 443) == [address]


def test_each_row_of_the_table_has_an_address_here():
    rows = [*module.PRIVATE, *module.NEVER]
    given = [ipaddress.ip_address(address) for address in SPECIAL]
    assert [row for row in rows if not any(each in row for each in given)] == []


@pytest.mark.parametrize("host", SPELLINGS)
async def test_odd_spelling_does_not_reach_this_machine(host):
    """Mutant: the guard compares the host as written."""
    async with endpoint() as end:
        assert await word_of(f"http://{host}:{end.port}/", AddressGuard()) == BLOCKED
    assert end.connections == 0


@pytest.mark.parametrize("port", [1, 22, 25, 53, 110, 445, 1023])
async def test_port_of_another_service_is_refused(port):
    assert await word_of(f"http://1.1.1.1:{port}/", AddressGuard()) == BLOCKED


async def test_name_without_an_address_is_dns():
    assert await word_of("http://name.example/", AddressGuard(resolve=answering([]))) == "dns"


# The resolver changes its answer


async def test_one_bad_answer_of_several_is_enough():
    """Mutant: only the first answer is vetted."""
    async with endpoint(host="127.0.0.2") as end:
        guard = AddressGuard(["127.0.0.2"], answering(["127.0.0.2", "127.0.0.1"]))
        assert await word_of(f"http://name.example:{end.port}/", guard) == BLOCKED
    assert end.connections == 0


@pytest.mark.parametrize("is_tls", [False, True])
async def test_rebinding_after_the_check_changes_nothing(is_tls):
    """The name really leads to 127.0.0.1, which is refused; the guard's resolver says 127.0.0.2.

    Mutant: the client connects to the name.
    """
    authority = trustme.CA()
    tls, trust = (server_tls(authority), trusting(authority)) if is_tls else (None, None)
    async with two("127.0.0.2", "127.0.0.1", tls=tls) as (vetted, private):
        guard = AddressGuard(["127.0.0.2"], answering(["127.0.0.2"]))
        url = f"http{'s' if is_tls else ''}://localhost:{vetted.port}/hook?a=b"
        answer = await post(url, guard, trust=trust)

    assert (answer.status, len(vetted.requests), private.connections) == (200, 1, 0)
    [request] = vetted.requests
    assert request.target == "/hook?a=b"
    assert request.headers["host"] == f"localhost:{vetted.port}"


def trusting(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_each_post_asks_again():
    """The second answer is refused, though a connection to the first is open.

    Mutant: the host is vetted once a client.
    """
    async with two("127.0.0.2", "127.0.0.1") as (vetted, private):
        guard = AddressGuard(["127.0.0.2"], answering(["127.0.0.2"], ["127.0.0.1"]))
        client = GuardedClient(f"http://name.example:{vetted.port}/", guard, connections=2)
        assert (await client.post({}, b"one", within=5)).status == 200
        with pytest.raises(Failed, match=BLOCKED):
            await client.post({}, b"two", within=5)
        await client.close()
    assert (len(vetted.requests), private.connections) == (1, 0)


async def test_connection_is_not_used_for_another_address():
    """Mutant: the pool outlives the addresses it was made for."""
    async with two("127.0.0.2", "127.0.0.3") as (first, second):
        guard = AddressGuard(["127.0.0.0/8"], answering(["127.0.0.2"], ["127.0.0.3"]))
        client = GuardedClient(f"http://name.example:{first.port}/", guard, connections=2)
        await client.post({}, b"one", within=5)
        await client.post({}, b"two", within=5)
        await client.close()
    assert [request.body for request in first.requests] == [b"one"]
    assert [request.body for request in second.requests] == [b"two"]


async def test_next_vetted_address_is_tried():
    """Mutant: only the first vetted address is tried."""
    async with endpoint(host="127.0.0.3") as end:
        guard = AddressGuard(["127.0.0.0/8"], answering(["127.0.0.2", "127.0.0.3"]))
        assert (await post(f"http://name.example:{end.port}/", guard)).status == 200


# Ways around


async def test_redirect_is_an_answer():
    """Mutant: the redirect is followed."""
    async with endpoint(host="127.0.0.2") as end, endpoint() as private:
        end.says(reply(302, headers={"Location": f"http://127.0.0.1:{private.port}/"}))
        answer = await post(end.url, AddressGuard(["127.0.0.2"]))
    assert (answer.status, private.connections) == (302, 0)


async def test_proxy_of_the_environment_is_ignored(monkeypatch):
    async with endpoint(host="127.0.0.2") as end, endpoint() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert (await post(end.url, AddressGuard(["127.0.0.2"]))).status == 200
    assert proxy.connections == 0


async def test_endless_interim_answers_end_the_attempt():
    """Mutant: they are read until the deadline, and callbacks wait meanwhile."""
    sent = 0

    async def flood(_request, connection):
        nonlocal sent
        while not connection.writer.is_closing():
            connection.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)
            sent += 1
            await connection.drain()

    async with endpoint() as end:
        end.says(flood)
        assert await word_of(end.url, AddressGuard(["127.0.0.1"])) == "protocol"
        assert (await post(end.url, AddressGuard(["127.0.0.1"]))).status == 200
    assert sent < 10_000


async def test_connection_is_kept_for_the_same_addresses():
    async with endpoint() as end:
        client = GuardedClient(end.url, AddressGuard(["127.0.0.1"]), connections=2)
        for _ in range(3):
            await client.post({}, b"body", within=5)
        await client.close()
    assert (end.connections, len(end.requests)) == (1, 3)


# Networks that the operator allows


@pytest.mark.parametrize(
    ("allowed", "address"),
    [
        ("127.0.0.0/8", "127.0.0.1"),
        ("10.1.2.3/8", "10.9.9.9"),
        ("192.168.7.7", "192.168.7.7"),
        ("100.64.0.0/10", "100.64.0.1"),
        ("::1", "::1"),
        ("fd00::/8", "fd12::1"),
    ],
)
def test_allowed_private_network_is_reached(allowed, address):
    assert AddressGuard([allowed]).allows(address)
    assert not AddressGuard().allows(address)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "100.100.100.200",
        "fd00:ec2::254",
        UNSPECIFIED,
        "::ffff:10.0.0.1",
        "fe80::1",
    ],
)
def test_metadata_address_is_never_allowed(address):
    """Mutant: an allowed network is looked at first."""
    assert not AddressGuard(["0.0.0.0/0", "::/0"]).allows(address)


# URLs


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://user:pw@hooks.example.com/", "user or password"),
        ("https://@hooks.example.com/", "user or password"),
        ("https://hooks.example.com/#part", "has #"),
        ("https://hooks.example.com:22/", "port below 1024"),
        ("ftp://hooks.example.com/", "http:// or https://"),
        ("https://[fe80::1%25eth0]/", "http:// or https://"),
        ("https://hooks.example.com\\@127.0.0.1/", "backslash"),
        (f"https://hooks.example.com/{'a' * 2048}", "longer than"),
    ],
)
def test_url_that_nobody_may_subscribe_is_refused(url, said):
    with pytest.raises(ValueError, match=said) as caught:
        check_subscribed_url(url)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://hooks.example.com/a?b=c@d", "https://x.example?b=@", "http://10.0.0.1:8080"]
)
def test_url_with_a_host_and_a_path_is_accepted(url):
    check_subscribed_url(url)
