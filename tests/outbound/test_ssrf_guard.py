"""What the guard makes of URLs and of addresses, without a network."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outbound.guard_cases import (
    DENIED,
    FORMS,
    GOOD,
    INNER_NAMES,
    ISATAP,
    LOOPBACK_NOTATIONS,
    NO_HOSTS,
    OTHER_NOTATIONS,
    PUBLIC,
    REFUSED,
    TRANSITION,
    url_of,
)
from stepwell.outbound.address_policy import AddressPolicy, embedded_ipv4, isatap_ipv4, parse_address
from stepwell.outbound.ssrf_guard import UrlBlocked, parse_url, url_refusal

CLOSED = AddressPolicy()
PORT = "8080"


def allowing(*networks: str) -> AddressPolicy:
    return AddressPolicy([ip_network(network) for network in networks])


LOOPBACK = allowing("127.0.0.0/8")


def printable(url: str) -> str:
    return ascii(url[:60])


@pytest.mark.parametrize("address", DENIED)
def test_an_address_in_a_denied_network_is_refused(address: str) -> None:
    refusal = CLOSED.refusal(ip_address(address))
    assert refusal is not None
    assert refusal.startswith(("a ", "an "))
    if ":" not in address:
        assert CLOSED.refusal(ip_address(f"::ffff:{address}")) == refusal
        assert CLOSED.refusal(ip_address(f"64:ff9b::{address}")) == refusal


@pytest.mark.parametrize("address", [*PUBLIC, "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"])
def test_addresses_next_to_the_denied_networks_pass(address: str) -> None:
    assert CLOSED.refusal(ip_address(address)) is None
    assert url_refusal(url_of(address).format(port=PORT), CLOSED) is None
    if ":" not in address:
        assert CLOSED.refusal(ip_address(f"::ffff:{address}")) is None
        assert CLOSED.refusal(ip_address(f"64:ff9b::{address}")) is None


@given(st.ip_addresses())
def test_addresses_that_the_standard_library_calls_private_are_refused(address: IPv4Address | IPv6Address) -> None:
    if address.is_private and embedded_ipv4(address) is None:
        assert CLOSED.refusal(address) is not None


@pytest.mark.parametrize(("address", "inside"), TRANSITION.items())
def test_the_ipv4_address_inside_a_tunnel_address_is_judged_too(address: str, inside: str) -> None:
    outer = ip_address(address)
    assert embedded_ipv4(outer) == ip_address(inside)
    assert CLOSED.refusal(outer) is not None
    assert allowing(inside).refusal(outer) is None
    assert allowing(address).refusal(outer) is None
    assert allowing("172.16.0.0/12", "fc00::/7").refusal(outer) is not None


@pytest.mark.parametrize(("address", "inside"), ISATAP.items())
def test_an_isatap_address_is_refused_for_either_half(address: str, inside: str) -> None:
    outer = ip_address(address)
    assert isatap_ipv4(outer) == ip_address(inside)
    assert CLOSED.refusal(outer) is not None
    assert allowing(address).refusal(outer) is None
    assert (allowing(inside).refusal(outer) is None) == (not outer.is_private), "the upper half says where it goes"


@pytest.mark.parametrize(
    "address", ["::ffff:8.8.8.8", "64:ff9b::808:808", "2a00:1450::5efe:8.8.8.8", "2a00::5eff:a00:1"]
)
def test_a_public_ipv4_address_inside_passes(address: str) -> None:
    assert CLOSED.refusal(ip_address(address)) is None


@pytest.mark.parametrize("address", ["::", "::1"])
def test_loopback_and_unspecified_are_no_tunnels(address: str) -> None:
    assert allowing("0.0.0.0/0").refusal(ip_address(address)) is not None


@pytest.mark.parametrize("url", REFUSED, ids=printable)
def test_a_bad_url_is_refused_by_its_form(url: str) -> None:
    refusal = url_refusal(url.replace("{port}", PORT), CLOSED)
    assert refusal is not None
    assert refusal.isprintable()
    assert 0 < len(refusal) <= 300


def test_a_port_without_its_colon_is_refused_after_a_public_address_too() -> None:
    # httpx would connect, so this isn't among the URLs that are requested.
    assert url_refusal("http://[2606:4700:4700::1111]8080/", AddressPolicy()) == "the URL is not valid"


def test_there_are_at_least_the_expected_number_of_bad_urls() -> None:
    assert len(REFUSED) >= 280


@pytest.mark.parametrize("url", [f"http://{host}/" for host in NO_HOSTS] + list(FORMS), ids=printable)
def test_an_invalid_url_is_refused_whatever_networks_are_allowed(url: str) -> None:
    with pytest.raises(UrlBlocked):
        parse_url(url.replace("{port}", PORT))
    assert url_refusal(url.replace("{port}", PORT), allowing("0.0.0.0/0", "::/0")) is not None


@pytest.mark.parametrize("url", GOOD, ids=printable)
def test_a_good_url_passes(url: str) -> None:
    assert url_refusal(url.replace("{port}", PORT), CLOSED) is None


def test_a_url_of_8192_characters_passes_and_a_longer_one_is_refused() -> None:
    url = "https://hooks.example/"
    assert url_refusal(url.ljust(8_192, "a"), CLOSED) is None
    assert url_refusal(url.ljust(8_193, "a"), CLOSED) == "the URL is too long"


def unreachable(host: str, kind: str) -> str:
    return f"{host} may not be reached from here: it is {kind}; STEPWELL_ALLOWED_CIDRS can allow it"


@pytest.mark.parametrize(
    ("url", "refusal"),
    [
        ("ftp://hooks.example/", "only http and https URLs are taken"),
        ("http://u:secret@hooks.example/", "the URL holds a user name or a password"),
        ("http://hooks.example:0/", "the port is not in the range 1 to 65535"),
        ("http://hooks.example/\n", "the URL holds characters that can't be printed"),
        ("http://xn--/", "the URL is not valid"),
        ("http://256.0.0.1/", "the URL is not valid"),
        ("http://[::1%25lo]/", "the URL has no valid host"),
        ("http:///", "the URL has no valid host"),
        ("http://2130706433/", unreachable("127.0.0.1", "a loopback address")),
        ("http://10.0.0.1:5/", unreachable("10.0.0.1", "a private address")),
        ("http://[::1]/", unreachable("::1", "a loopback address")),
        ("http://router/", unreachable("router", "a name of an inner network")),
    ],
)
def test_a_refusal_says_why(url: str, refusal: str) -> None:
    assert url_refusal(url, CLOSED) == refusal


@pytest.mark.parametrize("host", LOOPBACK_NOTATIONS)
def test_every_notation_of_an_ipv4_address_becomes_four_numbers(host: str) -> None:
    assert parse_url(f"http://{host}:81/a?b#c") == httpx.URL("http://127.0.0.1:81/a?b#c")
    assert url_refusal(f"http://{host}:81/", LOOPBACK) is None
    assert url_refusal(f"http://{host}/", LOOPBACK, https_only=True) is None
    assert url_refusal(f"http://{host}", allowing("10.0.0.0/8")) is not None


@pytest.mark.parametrize("host", [host for host in LOOPBACK_NOTATIONS + OTHER_NOTATIONS if host.isascii()])
def test_a_notation_denotes_the_address_that_the_c_library_reads(host: str) -> None:
    bare = host.removesuffix(".").lower()
    if bare != "0x":  # a number to browsers alone
        assert parse_address(host.lower()) == IPv4Address(socket.inet_aton(bare))


@given(st.from_regex(r"((0x[0-9a-f]{0,9}|0?[0-9]{1,11})\.){0,4}(0x[0-9a-f]{0,9}|0?[0-9]{1,11})", fullmatch=True))
def test_no_number_of_the_c_library_is_taken_for_a_name(host: str) -> None:
    try:
        expected = IPv4Address(socket.inet_aton(host))
    except OSError:
        return
    assert parse_address(host) == expected


@given(st.ip_addresses(v=4), st.sampled_from(["{0}", "0x{0:x}", "0{0:o}", "{1}.{2}", "0x{1:x}.0{2:o}"]))
def test_every_notation_of_an_address_is_judged_alike(address: IPv4Address, form: str) -> None:
    number = int(address)
    host = form.format(number, number >> 24, number & 0xFFFFFF)
    url = f"http://{host}/"
    assert parse_url(url).host == str(address)
    assert (url_refusal(url, CLOSED) is None) == (CLOSED.refusal(address) is None)


@pytest.mark.parametrize(
    ("url", "networks", "passes"),
    [
        ("http://10.1.2.3/", ["10.0.0.0/8"], True),
        ("http://10.1.2.3:1/", ["10.1.2.3/32"], True),
        ("https://10.1.2.3:65535/", ["10.1.2.3/32"], True),
        ("http://10.1.2.4/", ["10.1.2.3/32"], False),
        ("http://9.255.255.255/", ["10.0.0.0/8"], True),
        ("http://[::1]/", ["::1/128"], True),
        ("http://[::1]/", ["127.0.0.0/8"], False),
        ("http://127.0.0.1/", ["::1/128"], False),
        ("http://[::ffff:127.0.0.1]/", ["127.0.0.0/8"], True),
        ("http://[::ffff:127.0.0.1]/", ["::ffff:0:0/96"], True),
        ("http://127.0.0.1/", ["::ffff:0:0/96"], False),
        ("http://[64:ff9b::7f00:1]/", ["127.0.0.0/8"], True),
        ("http://[64:ff9b::7f00:1]/", ["64:ff9b::/96"], True),
        ("http://[2002:7f00:1::]/", ["127.0.0.0/8"], True),
        ("http://[2002:7f00:1::]/", ["10.0.0.0/8"], False),
        ("http://[64:ff9b:1::7f00:1]/", ["127.0.0.0/8"], False),
        ("http://[64:ff9b:1::7f00:1]/", ["64:ff9b:1::/48"], True),
        ("http://[fd00::5efe:10.0.0.1]/", ["10.0.0.0/8"], False),
        ("http://[fd00:ec2::254]/", ["fd00:ec2::/32"], True),
        ("http://0/", ["0.0.0.0/8"], True),
        ("http://169.254.169.254/", ["10.0.0.0/8", "169.254.169.254/32"], True),
        ("http://127.1/", ["127.0.0.1/32"], True),
        ("http://user@127.0.0.1/", ["127.0.0.0/8"], False),
        ("ftp://127.0.0.1/", ["127.0.0.0/8"], False),
        ("http://127.0.0.1:0/", ["127.0.0.0/8"], False),
    ],
)
@pytest.mark.parametrize("https_only", [True, False])
def test_an_allowed_network_wins(url: str, networks: list[str], https_only: bool, passes: bool) -> None:  # noqa: FBT001
    if https_only and passes and networks == ["10.0.0.0/8"] and "9.255" in url:
        passes = False  # it is public, and not what is allowed
    assert (url_refusal(url, allowing(*networks), https_only=https_only) is None) == passes


@pytest.mark.parametrize("host", INNER_NAMES)
def test_where_a_network_is_allowed_a_name_may_lead_there(host: str) -> None:
    assert url_refusal(f"http://{host}:81/", CLOSED) is not None
    assert url_refusal(f"http://{host}:81/", LOOPBACK) is None
    assert url_refusal(f"http://{host}:81/", LOOPBACK, https_only=True) is None


@pytest.mark.parametrize("host", ["hooks.example", "93.184.216.34", "[2a00::1]", "1572395042"])
def test_https_only_refuses_http(host: str) -> None:
    assert url_refusal(f"http://{host}/", CLOSED) is None
    assert url_refusal(f"https://{host}/", CLOSED, https_only=True) is None
    assert url_refusal(f"http://{host}/", CLOSED, https_only=True) == "only https URLs are taken"
    assert url_refusal(f"HTTP://{host}:443/", CLOSED, https_only=True) == "only https URLs are taken"


def test_a_parsed_url_keeps_its_host_path_and_query() -> None:
    assert parse_url("https://Bücher.example:8443/ü?a=1#x") == httpx.URL(
        "https://xn--bcher-kva.example:8443/%C3%BC?a=1#x"
    )
    assert parse_url("http://hooks.example:80").port is None
    assert parse_url("http://[::ffff:8.8.8.8]:81/").netloc == b"[::ffff:8.8.8.8]:81"
