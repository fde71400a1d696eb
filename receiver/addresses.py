"""Addresses of callers: behind trusted proxies, and allowed for a source."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: `[::1]:443`, `[::1]`, `192.0.2.1:99`, or an address without a port. A zone (`%eth0`) is dropped:
#: it names a link of our own machine, and in a header it can be any text.
_HOP = re.compile(r"\[([^\]%]*)(?:%[^\]]*)?\](?::\d*)?|([^:\[\]]*):\d*|([^%\[\]]*)(?:%.*)?")
#: No written address is longer.
_LONGEST = 80
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


class Peers:
    """The proxies whose X-Forwarded-For is trusted."""

    __slots__ = ("_trusted",)

    def __init__(self, trusted: Sequence[str]) -> None:
        """Raises ValueError for a text that is neither an address nor a network."""
        self._trusted = _networks(trusted)

    def trusts(self, client: str) -> bool:
        """Return whether a socket's address is that of a trusted proxy."""
        address = _address(client)
        return address is not None and _within(address, self._trusted)

    def peer(self, client: str, forwarded_for: Iterable[str]) -> str:
        """Return the address that a request came from.

        `client` is the socket's; `forwarded_for` are the X-Forwarded-For fields in order. They are
        read from the right up to the first hop that is not trusted.
        """
        if not self._trusted:
            return _format(client)
        hop = _address(client)
        if hop is None:
            return "unknown"
        hops = ",".join(forwarded_for).split(",")
        while hops and _within(hop, self._trusted):
            before = _address(hops.pop())
            if before is None:
                break
            hop = before
        return str(hop)

    def counted_as(self, client: str) -> str | None:
        """Return the peer that a socket's address counts as, for limits on connections.

        None for this machine and trusted proxies, which many clients share. An IPv6 network of
        64 bits is one peer, because its owner has all of its addresses.
        """
        address = _parsed(client)
        if address is None:
            return "unknown"
        if address.is_loopback or _within(address, self._trusted):
            return None
        if isinstance(address, ipaddress.IPv6Address):
            return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
        return client


class Allowed:
    """The addresses that a source accepts callbacks from."""

    __slots__ = ("_networks",)

    def __init__(self, allow_from: Sequence[str], documented: Sequence[str]) -> None:
        """`documented` in `allow_from` stands for the provider's published addresses.

        Raises ValueError for any other text that is no address or network, and for `documented` if
        the provider publishes no addresses.
        """
        if "documented" in allow_from and not documented:
            raise ValueError("this provider documents no addresses; write them, or leave it empty")
        written = [entry for entry in allow_from if entry != "documented"]
        published = documented if "documented" in allow_from else ()
        self._networks = _networks([*written, *published])

    def permits(self, address: str) -> bool:
        if not self._networks:
            return True
        parsed = _address(address)
        return parsed is not None and _within(parsed, self._networks)


def _networks(written: Iterable[str]) -> tuple[_Network, ...]:
    networks: list[_Network] = []
    for entry in written:
        try:
            network = ipaddress.ip_network(entry.strip(), strict=False)
        except ValueError:
            raise ValueError(
                f"{entry!r} is neither an address nor a network; "
                "write 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32"
            ) from None
        if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
            # Addresses are unwrapped before they are compared, so networks are, too.
            low = int(network.network_address) & 0xFFFFFFFF
            network = ipaddress.IPv4Network((low, network.prefixlen - _MAPPED.prefixlen))
        networks.append(network)
    return tuple(networks)


@lru_cache(maxsize=1024)
def _parsed(text: str) -> _Address | None:
    match = _HOP.fullmatch(text)
    if match is None:
        return None
    try:
        address = ipaddress.ip_address(next(part for part in match.groups() if part is not None))
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=1024)
def _format(client: str) -> str:
    """Format a socket's address; cached, because that takes as long as parsing it."""
    return str(_address(client) or "unknown")


def _address(text: str) -> _Address | None:
    text = text.strip(" \t")
    return _parsed(text) if len(text) <= _LONGEST else None


def _within(address: _Address, networks: tuple[_Network, ...]) -> bool:
    return any(address in network for network in networks)
