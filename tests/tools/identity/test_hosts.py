"""What a host name means."""

import pytest

from tools.identity.hosts import HostMeaning, network_of, read_host

FIRST = HostMeaning(first=True)
NOBODY = HostMeaning()


@pytest.mark.parametrize(
    ("host", "meaning"),
    [
        ("localhost", FIRST),
        ("LOCALHOST:8400", FIRST),
        ("localhost.", FIRST),
        ("127.0.0.1:8400", FIRST),
        ("127.9.9.9", FIRST),
        ("[::1]:8400", FIRST),
        ("::1", FIRST),
        ("", FIRST),
        ("northwind.localhost:8400", HostMeaning(slug="northwind")),
        ("a.b.localhost", HostMeaning(slug="a.b")),
        ("academy.example", NOBODY),
        ("10.0.0.5", NOBODY),
        ("localhost.example.org", NOBODY),
        ("evil-localhost", NOBODY),
        ("127.0.0.1.example.org", NOBODY),
    ],
)
def test_a_host_means_a_tenant_or_nothing(host: str, meaning: HostMeaning) -> None:
    assert read_host(host) == meaning


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
        ("x" * 500, "x" * 64),
    ],
)
def test_the_rate_limit_counts_an_ipv6_network_as_one_address(address: str, network: str) -> None:
    assert network_of(address) == network
