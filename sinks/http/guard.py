"""The addresses that a subscription may reach: those of the public internet.

Rules that live here: the table of refused addresses, checked at each attempt. It follows the IANA
registries of special-purpose addresses (RFC 6890). `ipaddress.is_global` is no guard: it accepts
translated and tunnelled addresses that lead to a private network.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress

from ..sink import Failed
from .names import look_up

#: smshook's word for an address that may not be reached.
BLOCKED = "blocked"
#: Ports below this belong to other services of a machine, except these two.
_FIRST_PORT = 1024
_WEB_PORTS = frozenset({80, 443})

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: Takes a host and a port; returns all addresses of the host as texts. They may be empty.
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(map(ipaddress.ip_network, texts))


#: Private networks: refused unless the operator allows them.
PRIVATE = _networks(
    "10.0.0.0/8",  # RFC 1918
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",  # behind a provider's address translation: RFC 6598
    "127.0.0.0/8",  # this machine
    "::1/128",
    "fc00::/7",  # unique local: RFC 4193
)
#: Refused whatever the operator allows.
NEVER = _networks(
    "0.0.0.0/8",  # "this network": Linux connects to this machine
    "169.254.0.0/16",  # link-local, and the metadata services of most clouds
    "192.0.0.0/24",  # protocol assignments
    "192.0.2.0/24",  # documentation: RFC 5737
    "192.31.196.0/24",  # AS112
    "192.52.193.0/24",  # automatic multicast tunnels
    "192.88.99.0/24",  # relays of 6to4
    "192.175.48.0/24",  # AS112
    "198.18.0.0/15",  # benchmarks: RFC 2544
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
    # Metadata services beside 169.254.169.254: of Alibaba, Azure, AWS and Google.
    "100.100.100.200/32",
    "168.63.129.16/32",
    "fd00:ec2::254/128",
    "fd20:ce::254/128",
    # Within the public 2000::/3:
    "2001::/23",  # Teredo (2001::/32), ORCHID, benchmarks and other protocols
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4: any IPv4 address may be inside
    "2620:4f:8000::/48",  # AS112
    "3fff::/20",  # documentation: RFC 9637
)
#: All other IPv6 addresses are special: unspecified, IPv4-mapped and IPv4-compatible, NAT64
#: (64:ff9b::/96 and 64:ff9b:1::/48), discard-only, segment routing, link-local, site-local,
#: multicast, and those that are not assigned yet.
_PUBLIC_V6 = ipaddress.ip_network("2000::/3")


async def resolve(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a host by the system's resolver. Raises Unusable."""
    with suppress(ValueError):  # it is a name
        return (str(ipaddress.ip_address(host)),)
    found = await look_up(host, port)
    return tuple(dict.fromkeys(str(where[0]) for *_, where in found))


class AddressGuard:
    """Vets a host at each attempt.

    `allowed` are private networks that may be reached, as texts. The rest of the table stays
    refused inside them.
    """

    def __init__(self, allowed: Iterable[str] = (), resolve: Resolve = resolve) -> None:
        self._allowed = tuple(ipaddress.ip_network(text, strict=False) for text in allowed)
        self._resolve = resolve

    async def vet(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host, to connect to them and not to the name.

        Raises Failed: `dns` if it has no address, `blocked` if the port or an address is refused.
        Each address is checked, because a client may connect to any of them.
        """
        if not is_port_allowed(port):
            raise Failed(BLOCKED)
        addresses = await self._resolve(host, port)
        if not addresses:
            raise Failed("dns")
        if not all(map(self.allows, addresses)):
            raise Failed(BLOCKED)
        return addresses

    def allows(self, address: str) -> bool:
        try:
            it = ipaddress.ip_address(address)
        except ValueError:
            return False
        # A zone id names an interface of this machine.
        if getattr(it, "scope_id", None) is not None or _is_in(it, NEVER):
            return False
        if _is_in(it, PRIVATE):
            return _is_in(it, self._allowed)
        return isinstance(it, ipaddress.IPv4Address) or it in _PUBLIC_V6


def is_port_allowed(port: int) -> bool:
    return port >= _FIRST_PORT or port in _WEB_PORTS


def _is_in(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, networks: Iterable[Network]
) -> bool:
    return any(address in network for network in networks)
