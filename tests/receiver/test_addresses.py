"""Tokens of callback URLs, and the addresses of callers."""

import hashlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.secret import Secret, digest, digest_of
from receiver.addresses import Allowed, Peers
from receiver.tokens import Tokens


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_token_is_found_by_its_index():
    tokens = Tokens((Secret("current"), Secret("before"), Secret(f"sha256:{sha256('oldest')}")))

    found = [tokens.find(sent) for sent in (b"current", b"before", b"oldest", b"other", b"")]

    assert found == [0, 1, 2, None, None]


def test_token_has_any_letters_and_its_digest_any_case():
    tokens = Tokens((Secret("žeton"), Secret(f"sha256:{sha256('k').upper()}")))

    assert (tokens.find("žeton".encode()), tokens.find(b"k")) == (0, 1)


@given(st.text(min_size=1, max_size=40, alphabet=st.characters(codec="utf-8")), st.binary())
def test_only_the_whole_token_is_found(token, sent):
    """Mutant: only the shorter length is compared, and a prefix passes."""
    whole = token.encode()
    tokens = Tokens((Secret(f"sha256:{sha256(token)}"),))

    assert tokens.find(whole) == 0
    assert tokens.find(whole[:-1]) is None
    assert tokens.find(whole + b"\0") is None
    assert tokens.find(whole.swapcase()) in ({0} if whole.swapcase() == whole else {None})
    assert (tokens.find(sent) == 0) is (sent == whole)


def test_digest_itself_is_not_a_token():
    """Mutant: texts are compared first, and a leaked configuration has valid tokens."""
    written = f"sha256:{sha256('token')}"
    tokens = Tokens((Secret(written),))

    assert tokens.find(written.encode()) is None
    assert tokens.find(bytes.fromhex(sha256("token"))) is None


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_all_tokens_are_compared_for_any_source(count, monkeypatch):
    """Mutants: it stops at the first match; it returns early without tokens."""
    compared = []
    monkeypatch.setattr(
        "receiver.tokens.hmac.compare_digest", lambda a, b: bool(compared.append(len(a))) or a == b
    )
    tokens = Tokens([Secret(f"t{n}") for n in range(count)])

    found = [tokens.find(sent) for sent in (b"t0", b"t3", b"none")]

    assert found == [0 if count else None, 3 if count == 4 else None, None]
    assert compared == [32] * 12


def test_empty_tokens_find_nothing():
    assert [Tokens(()).find(sent) for sent in (b"", bytes(32), b"\0")] == [None, None, None]


@pytest.mark.parametrize(
    ("written", "error"),
    [
        ("sha256:", "[1]: not a digest; after sha256: come 64 hexadecimal digits"),
        ("sha256:" + "g" * 64, "[1]: not a digest; after sha256: come 64 hexadecimal digits"),
        ("sha256:" + "a" * 63 + " ", "[1]: not a digest; after sha256: come 64 hexadecimal digits"),
        ("half\ud800", "[1]: not UTF-8; a secret is ordinary text"),
    ],
)
def test_invalid_token_is_refused_without_its_value(written, error):
    with pytest.raises(ValueError) as refused:
        Tokens((Secret("good"), Secret(written)))

    assert str(refused.value) == error


def test_key_and_token_have_the_same_digest():
    assert digest_of(Secret("k")) == digest_of(Secret(f"sha256:{sha256('k')}")) == digest(b"k")


def test_fingerprint_differs_from_the_digest():
    tokens = Tokens((Secret("one"), Secret("two"), Secret(f"sha256:{sha256('one')}")))

    prints = [tokens.fingerprint(index) for index in range(3)]

    expected = hashlib.sha256(b"fingerprint\0" + digest(b"one")).hexdigest()[:12]
    assert prints[0] == prints[2] == expected
    assert prints[1] != prints[0]
    assert sha256("one")[:12] not in prints


@pytest.mark.parametrize(
    ("client", "forwarded", "peer"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["203.0.113.9"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.66, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.66", "203.0.113.9,10.0.0.2"], "203.0.113.9"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("10.0.0.1", ["[2001:DB8::1]:443"], "2001:db8::1"),
        ("10.0.0.1", ["[2001:db8::1]"], "2001:db8::1"),
        ("10.0.0.1", ["2001:db8:0:0::1"], "2001:db8::1"),
        ("10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9, ::ffff:10.0.0.2"], "203.0.113.9"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("fd00::1", ["203.0.113.9"], "203.0.113.9"),
        ("fd00::2", ["203.0.113.9"], "fd00::2"),
        ("fe80::1%eth0", [], "fe80::1"),
        ("10.0.0.1", ["203.0.113.9, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", ["203.0.113.9,"], "10.0.0.1"),
        ("10.0.0.1", ["[2001:db8::1]x"], "10.0.0.1"),
        ("10.0.0.1", ["010.0.0.1"], "10.0.0.1"),
        ("10.0.0.1", ["fe80::1%\x1b[31m"], "fe80::1"),
        ("10.0.0.1", ["9" * 10_000], "10.0.0.1"),
        ("", ["203.0.113.9"], "unknown"),
    ],
)
def test_forwarded_addresses_are_read_from_the_right(client, forwarded, peer):
    """Mutant: the first address counts (as with uvicorn's `*`), which the sender can choose."""
    peers = Peers(["10.0.0.0/8", "fd00::1"])

    assert peers.peer(client, forwarded) == peer


def test_ipv4_proxy_may_be_configured_as_ipv6():
    peers = Peers(["::ffff:10.0.0.0/104", "::ffff:192.0.2.1"])

    found = [peers.peer(client, ["203.0.113.9"]) for client in ("10.9.9.9", "192.0.2.1", "::1")]

    assert found == ["203.0.113.9", "203.0.113.9", "::1"]


addresses = st.ip_addresses().map(str)
parts = st.one_of(
    addresses,
    st.text(max_size=30),
    addresses.map(lambda address: f"[{address}]:80"),
    addresses.map(lambda address: f" {address}:1 "),
)
fields = st.lists(st.lists(parts, max_size=5).map(",".join), max_size=4)


@given(st.ip_addresses(v=4), fields)
def test_untrusted_peer_is_its_socket_address(client, forwarded):
    """Mutant: the socket's address is not checked, and any sender can claim any address."""
    trusted = Peers(["240.0.0.0/4"] if int(client) < 0xF0000000 else ["10.0.0.0/8"])

    assert trusted.peer(str(client), forwarded) == str(client)
    assert Peers(()).peer(str(client), forwarded) == str(client)


@given(st.one_of(addresses, st.text(max_size=20)), fields)
def test_peer_is_an_address_in_one_spelling(client, forwarded):
    found = Peers(["0.0.0.0/0", "::/0"]).peer(client, forwarded)

    assert found == "unknown" or str(ipaddress.ip_address(found)) == found


def test_empty_list_allows_any_address():
    assert Allowed((), ("192.0.2.1",)).permits("203.0.113.9")


def test_list_allows_addresses_networks_and_documented():
    allowed = Allowed(("documented", "10.0.0.0/8", "2001:db8::/32"), ("192.0.2.1",))

    callers = [
        "192.0.2.1",
        "10.1.2.3",
        "::ffff:10.1.2.3",
        "2001:db8::5",
        "192.0.2.2",
        "unknown",
        "",
    ]

    assert [allowed.permits(address) for address in callers] == [True] * 4 + [False] * 3


def test_documented_addresses_count_only_if_named():
    assert not Allowed(("10.0.0.1",), ("192.0.2.1",)).permits("192.0.2.1")


def test_documented_is_refused_without_documented_addresses():
    """Mutant: an empty list in its place allows every address."""
    with pytest.raises(ValueError) as refused:
        Allowed(("documented",), ())

    assert str(refused.value) == (
        "this provider documents no addresses; write them, or leave it empty"
    )


@pytest.mark.parametrize("written", ["proxy.example.com", "10.0.0.0/33", "", "1.2.3.4:80"])
def test_invalid_address_error_shows_examples(written):
    with pytest.raises(ValueError) as refused:
        Peers([written])

    assert str(refused.value) == (
        f"{written!r} is neither an address nor a network; "
        "write 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32"
    )


@pytest.mark.parametrize(
    ("client", "expected"),
    [("10.0.0.7", True), ("::ffff:10.0.0.7", True), ("192.0.2.1", False), ("", False)],
)
def test_proxy_is_trusted_by_its_socket_address(client, expected):
    """Mutants: every address; none."""
    assert expected == Peers(["10.0.0.0/8"]).trusts(client)
    assert not Peers([]).trusts(client)
