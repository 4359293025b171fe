"""Who a client is: its own address, or what trusted proxies say of it."""

import pytest

from stepwell.basics.client_address import client_name, forwarded_client, is_trusted
from stepwell.basics.setting_values import Networks

TRUSTED = Networks.read("10.0.0.0/8 fd00::/8")
PEER = "10.0.0.1"


@pytest.mark.parametrize(
    ("sent", "client"),
    [
        ([], PEER),
        (["203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
        (["198.51.100.1", "203.0.113.7, 10.2.0.1"], "203.0.113.7"),
        (["203.0.113.7,10.3.0.1 , 10.2.0.1"], "203.0.113.7"),
        (["10.3.0.1, 10.2.0.1"], "10.3.0.1"),
        (["203.0.113.7:4711"], "203.0.113.7"),
        (["[2001:db8::7]:4711"], "2001:db8::7"),
        (["2001:db8::7"], "2001:db8::7"),
        (["::ffff:203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7, unknown"], PEER),
        (["203.0.113.7, unknown, 10.2.0.1"], "10.2.0.1"),
        ([""], PEER),
        (["203.0.113.7,"], PEER),
        (["\xff" * 100], PEER),
    ],
)
def test_the_rightmost_untrusted_address_is_the_client(sent: list[str], client: str) -> None:
    headers = [(b"x-forwarded-for", value.encode("latin-1")) for value in sent]
    assert forwarded_client(PEER, headers, TRUSTED) == (client, None)


@pytest.mark.parametrize(
    ("addresses", "schemes", "scheme"),
    [
        (b"203.0.113.7", b"https", "https"),
        (b"203.0.113.7, 10.2.0.1", b"https, http", "https"),
        (b"203.0.113.7, 10.2.0.1", b"HTTPS", "https"),
        (b"198.51.100.1, 203.0.113.7", b"https, http", "http"),
        (b"203.0.113.7", b"gopher", None),
        (b"203.0.113.7", b"", None),
    ],
)
def test_the_scheme_is_that_of_the_client(addresses: bytes, schemes: bytes, scheme: str | None) -> None:
    headers = [(b"x-forwarded-for", addresses), (b"x-forwarded-proto", schemes)]
    assert forwarded_client(PEER, headers, TRUSTED)[1] == scheme


@pytest.mark.parametrize(
    ("address", "trusted"),
    [(PEER, True), ("::ffff:10.0.0.1", True), ("fd00::1", True), ("203.0.113.7", False), ("", False), ("a", False)],
)
def test_a_peer_is_trusted_by_its_network(address: str, trusted: bool) -> None:  # noqa: FBT001
    assert is_trusted(address, TRUSTED) is trusted
    assert not is_trusted(address, Networks())


def test_addresses_of_one_ipv6_network_are_one_client() -> None:
    assert client_name("2001:db8:1:2:3:4:5:6") == client_name("2001:db8:1:2::1") == "2001:db8:1:2::/64"
    assert client_name("2001:db8:1:3::1") != client_name("2001:db8:1:2::1")
    assert client_name("::ffff:203.0.113.7") == client_name("203.0.113.7") == "203.0.113.7"
