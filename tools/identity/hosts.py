"""Which tenant a host name speaks of, before any table is asked."""

import ipaddress
from dataclasses import dataclass

LOCAL_SUFFIX = ".localhost"
"""Names below it always mean this machine (RFC 6761, 6.3)."""


@dataclass(frozen=True)
class HostMeaning:
    """What a host name says: the first tenant, a tenant by slug, or nothing known (neither)."""

    first: bool = False
    slug: str | None = None


def read_host(host: str) -> HostMeaning:
    """What *host* means; a port, brackets, a final dot and capitals don't matter.

    Loopback names and addresses, and the empty name of a unix socket, are the first tenant.
    """
    name = host.strip().lower()
    if name.startswith("["):
        name = name[1:].partition("]")[0]
    elif name.count(":") == 1:
        name = name.partition(":")[0]
    name = name.rstrip(".")
    if name in ("", "localhost"):
        return HostMeaning(first=True)
    if name.endswith(LOCAL_SUFFIX):
        return HostMeaning(slug=name.removesuffix(LOCAL_SUFFIX))
    try:
        return HostMeaning(first=ipaddress.ip_address(name).is_loopback)
    except ValueError:
        return HostMeaning()


def network_of(address: str) -> str:
    """What the rate limit counts as one address: an IPv4 address, or an IPv6 network of /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
