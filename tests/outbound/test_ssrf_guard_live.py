"""The guard over real sockets: nothing reaches a sentinel on loopback, and what may be reached is."""

import asyncio
import errno
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from ipaddress import ip_network
from pathlib import Path
from typing import NamedTuple

import httpcore
import httpx
import pytest

from outbound.guard_cases import GOOD, INNER_NAMES, LOOPBACK_NOTATIONS, REFUSED
from outbound.guard_network import Certified, Network, Records, Site, certified_for, running
from stepwell.basics.errors import StepwellError
from stepwell.outbound.address_policy import AddressPolicy
from stepwell.outbound.http_client import plain_client
from stepwell.outbound.ssrf_guard import (
    GuardedTransport,
    Resolver,
    UrlBlocked,
    guarded_client,
    parse_url,
)

CLOSED = AddressPolicy()
LOOPBACK = AddressPolicy([ip_network("127.0.0.0/8")])
PUBLIC, PUBLIC_V6, ELSEWHERE = "93.184.216.34", "2606:2800:220:1::1", "151.101.1.69"
CLOSING = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


@pytest.fixture
async def sentinel() -> AsyncIterator[Site]:
    """On 127.0.0.1, and on the same port of ::1 where the machine has it. Nothing may ever connect."""
    async with running() as site:
        try:
            second = await asyncio.start_server(site.serve, "::1", site.port)
        except OSError as error:
            assert error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}  # noqa: PT017 - no IPv6 here
            second = None
        yield site
        if second is not None:
            second.close()


class Guarded(NamedTuple):
    client: httpx.AsyncClient
    network: Network


Make = Callable[..., Awaitable[Guarded]]


@pytest.fixture
async def guarded() -> AsyncIterator[Make]:
    """Makes clients whose connections to public addresses end on loopback."""
    async with AsyncExitStack() as stack:

        async def make(
            resolver: Resolver,
            policy: AddressPolicy = CLOSED,
            *,
            dead: Iterable[str] = (),
            https_only: bool = False,
            ssl_context: ssl.SSLContext | None = None,
            resolve_timeout_s: float = 5.0,
        ) -> Guarded:
            network = Network(dead)
            transport = GuardedTransport(
                policy,
                resolver=resolver,
                network=network,
                https_only=https_only,
                ssl_context=ssl_context,
                resolve_timeout_s=resolve_timeout_s,
            )
            return Guarded(await stack.enter_async_context(plain_client(transport)), network)

        yield make


async def test_without_the_guard_the_sentinel_can_be_reached(sentinel: Site) -> None:
    async with plain_client() as client:
        for count, host in enumerate(["127.0.0.1", "0.0.0.0", "2130706433", "127.1", "[::ffff:127.0.0.1]"], 1):
            assert (await client.get(f"http://{host}:{sentinel.port}/")).status_code == 200
            assert sentinel.connections == count


@pytest.mark.parametrize("https_only", [False, True])
async def test_no_bad_url_reaches_a_sentinel(sentinel: Site, *, https_only: bool) -> None:
    resolver = Records(["127.0.0.1", "::1"])
    async with guarded_client(CLOSED, https_only=https_only, resolver=resolver) as client:
        for case in REFUSED:
            url = case.replace("{port}", str(sentinel.port))
            with pytest.raises(UrlBlocked):
                await client.get(parse_url(url))
            with pytest.raises((UrlBlocked, httpx.InvalidURL, httpx.UnsupportedProtocol, ValueError)):
                await client.get(url)  # by one who forgot to parse it
    assert sentinel.connections == 0


async def test_numeric_hosts_are_refused_without_resolving_them(sentinel: Site) -> None:
    resolver = Records([PUBLIC])
    async with guarded_client(CLOSED, resolver=resolver) as client:
        for host in LOOPBACK_NOTATIONS:
            with pytest.raises(
                UrlBlocked, match=r"^127\.0\.0\.1 may not be reached from here: it is a loopback address; "
            ):
                await client.get(parse_url(f"http://{host}:{sentinel.port}/"))
    assert (resolver.asked, sentinel.connections) == ([], 0)


@pytest.mark.parametrize(
    "records",
    [
        ["127.0.0.1"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["0.0.0.0"],
        ["fe80::1%lo"],
        [PUBLIC, "127.0.0.1"],
        ["127.0.0.1", PUBLIC],
        [PUBLIC, "::1"],
        [PUBLIC, "fd00:ec2::254"],
        [PUBLIC, PUBLIC_V6, "64:ff9b::a00:1"],
        [PUBLIC, "2002:7f00:1::"],
        [PUBLIC, "2001:0:4136:e378:8000:63bf:80ff:fffe"],
        [PUBLIC, "2a00::5efe:10.0.0.1"],
        [PUBLIC] * 40 + ["169.254.169.254"],
        [PUBLIC, "no address"],
    ],
    ids=lambda records: ",".join(records[-2:]),
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_one_private_record_refuses_the_whole_host(
    sentinel: Site, guarded: Make, records: list[str], scheme: str
) -> None:
    client, network = await guarded(Records(records))
    with pytest.raises(UrlBlocked) as refusal:
        await client.get(f"{scheme}://hooks.example:{sentinel.port}/")
    assert str(refusal.value) == "hooks.example may not be reached from here; STEPWELL_ALLOWED_CIDRS can allow it", (
        "what is inside is nobody's business"
    )
    assert isinstance(refusal.value, StepwellError)
    assert (network.dialled, sentinel.connections) == ([], 0)


async def test_public_names_that_resolve_to_loopback_are_refused(sentinel: Site) -> None:
    async with guarded_client(CLOSED, resolver=Records(["127.0.0.1"])) as client:
        for case in GOOD:
            with pytest.raises(UrlBlocked):
                await client.get(parse_url(case.replace("{port}", str(sentinel.port))))
    assert sentinel.connections == 0


async def test_the_connection_goes_to_the_address_that_was_judged(guarded: Make) -> None:
    resolver = Records([PUBLIC], ["127.0.0.1"])
    client, network = await guarded(resolver)
    async with running(CLOSING) as site:
        url = f"http://hooks.example:{site.port}/"
        assert (await client.get(url)).text == "ok"
        assert network.dialled == [PUBLIC]
        assert resolver.asked == [("hooks.example", site.port)], "one look-up a connection: no second to be fooled by"
        with pytest.raises(UrlBlocked):
            await client.get(url)
        assert (len(resolver.asked), network.dialled, site.connections) == (2, [PUBLIC], 1)


async def test_a_connection_is_reused_for_its_own_host_only(guarded: Make) -> None:
    client, network = await guarded(Records([PUBLIC]))
    async with running() as site:
        for host in ("a.example", "a.example", "b.example"):
            await client.get(f"http://{host}:{site.port}/")
        assert network.dialled == [PUBLIC, PUBLIC]
        assert site.hosts() == [f"{host}.example:{site.port}" for host in "aab"]


async def test_the_addresses_of_a_host_are_tried_in_turn(guarded: Make) -> None:
    client, network = await guarded(Records([PUBLIC_V6, PUBLIC, PUBLIC_V6, ELSEWHERE]), dead={PUBLIC_V6, PUBLIC})
    async with running() as site:
        assert (await client.get(f"http://hooks.example:{site.port}/")).text == "ok"
    assert network.dialled == [PUBLIC_V6, PUBLIC, ELSEWHERE]


async def test_each_address_has_its_share_of_the_time(guarded: Make) -> None:
    client, network = await guarded(Records([PUBLIC_V6, PUBLIC]), dead={PUBLIC_V6})
    async with running() as site:
        await client.get(f"http://hooks.example:{site.port}/", timeout=60.0)
    first, second = network.timeouts
    assert first is not None
    assert second is not None
    assert 20 < first <= 30 < second <= 60


async def test_a_host_whose_addresses_all_fail_raises_a_connect_error(guarded: Make) -> None:
    client, network = await guarded(Records([PUBLIC_V6, PUBLIC]), dead={PUBLIC_V6, PUBLIC})
    with pytest.raises(httpx.ConnectError, match="refused"):
        await client.get("http://hooks.example/")
    assert network.dialled == [PUBLIC_V6, PUBLIC]


@pytest.mark.parametrize("trouble", [[], OSError("no such name"), UnicodeError("label too long")], ids=repr)
async def test_a_name_that_does_not_resolve_is_not_connected_to(
    guarded: Make, trouble: Sequence[str] | Exception
) -> None:
    client, network = await guarded(Records(trouble), LOOPBACK)
    with pytest.raises(httpx.ConnectError, match=r"^hooks\.example (did not resolve|has no address)$"):
        await client.get("http://hooks.example/")
    assert network.dialled == []


@pytest.mark.parametrize(("resolve_s", "connect_s"), [(0.05, None), (0.05, 60.0), (60.0, 0.05)])
async def test_a_slow_resolver_is_ended_by_the_deadline(
    guarded: Make, resolve_s: float, connect_s: float | None
) -> None:
    async def slow(_host: str, _port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return [PUBLIC]

    client, network = await guarded(slow, resolve_timeout_s=resolve_s)
    with pytest.raises(httpx.ConnectTimeout, match=r"^hooks\.example did not resolve in time$"):
        async with asyncio.timeout(60):
            await client.get("http://hooks.example/", timeout=httpx.Timeout(None, connect=connect_s))
    assert network.dialled == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(sentinel: Site, guarded: Make, status: int) -> None:
    target = f"http://127.0.0.1:{sentinel.port}/"
    client, network = await guarded(Records([PUBLIC]))
    response = f"HTTP/1.1 {status} X\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode()
    async with running(response) as site:
        url = f"http://hooks.example:{site.port}/"
        assert (await client.post(url, content=b"")).status_code == status
        with pytest.raises(UrlBlocked):
            await client.post(url, content=b"", follow_redirects=True)
    assert (set(network.dialled), sentinel.connections) == ({PUBLIC}, 0)


async def test_proxies_of_the_environment_are_not_used(
    sentinel: Site, guarded: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{sentinel.port}")
        monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{sentinel.port}")
    client, network = await guarded(Records([PUBLIC]))
    async with running() as site, guarded_client(LOOPBACK, resolver=Records(["127.0.0.1"])) as plain:
        for by in (client, plain):
            assert (await by.get(f"http://hooks.example:{site.port}/")).text == "ok"
        assert site.connections == 2
    assert (network.dialled, sentinel.connections) == ([PUBLIC], 0)


@pytest.mark.parametrize("https_only", [False, True])
async def test_an_allowed_network_is_reached_by_name(*, https_only: bool) -> None:
    resolver = Records(["127.0.0.1"])
    async with running() as site, guarded_client(LOOPBACK, https_only=https_only, resolver=resolver) as client:
        names = ["hooks.example", "receiver", "receiver.internal", "bücher.example"]
        for name in names:
            assert (await client.get(parse_url(f"http://{name}:{site.port}/x"))).text == "ok"
        assert site.hosts() == [f"{name}:{site.port}" for name in [*names[:3], "xn--bcher-kva.example"]]
        assert len(resolver.asked) == 4


async def test_the_operating_system_resolves_by_default() -> None:
    both = AddressPolicy([*LOOPBACK.allowed, ip_network("::1/128")])
    async with running() as site, guarded_client(both) as client:
        assert (await client.get(f"http://localhost:{site.port}/")).text == "ok"
        assert site.hosts() == [f"localhost:{site.port}"]


async def test_an_allowed_network_is_reached_in_every_notation() -> None:
    resolver = Records([PUBLIC])
    async with running() as site, guarded_client(LOOPBACK, https_only=True, resolver=resolver) as client:
        for host in (*LOOPBACK_NOTATIONS, "[::ffff:127.0.0.1]"):
            assert (await client.get(parse_url(f"http://{host}:{site.port}/"))).text == "ok"
        assert set(site.hosts()) == {f"127.0.0.1:{site.port}", f"[::ffff:127.0.0.1]:{site.port}"}
    assert resolver.asked == []


@pytest.mark.parametrize("host", INNER_NAMES)
async def test_an_allowed_network_opens_no_other(guarded: Make, host: str) -> None:
    client, network = await guarded(Records(["127.0.0.1", "10.0.0.1"]), LOOPBACK)
    with pytest.raises(UrlBlocked):
        await client.get(parse_url(f"http://{host}/"))
    assert network.dialled == []


@pytest.mark.parametrize("records", [[PUBLIC], ["127.0.0.1", PUBLIC]], ids=len)
async def test_https_only_permits_http_to_allowed_networks_only(guarded: Make, records: list[str]) -> None:
    client, network = await guarded(Records(records), LOOPBACK, https_only=True)
    with pytest.raises(UrlBlocked, match="only https URLs are taken"):
        await client.get("http://hooks.example/")
    assert network.dialled == []


async def test_no_cookie_is_kept(guarded: Make) -> None:
    client, _ = await guarded(Records([PUBLIC]))
    async with running(b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b; Path=/\r\nContent-Length: 0\r\n\r\n") as site:
        for _ in range(2):
            await client.get(f"http://hooks.example:{site.port}/")
        assert len(site.heads) == 2
        assert b"cookie" not in b"".join(site.heads).lower()


async def test_a_response_that_ends_early_raises_the_error_of_httpx(guarded: Make) -> None:
    client, _ = await guarded(Records([PUBLIC]))
    async with (
        running(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\nok") as site,
        client.stream("GET", f"http://hooks.example:{site.port}/") as response,
    ):
        assert response.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            await response.aread()


async def test_unix_sockets_are_refused(tmp_path: Path) -> None:
    transport = GuardedTransport(LOOPBACK, resolver=Records(["127.0.0.1"]))
    for pool in transport._pools.values():
        assert pool._network_backend is not None
        with pytest.raises(UrlBlocked):
            await pool._network_backend.connect_unix_socket(str(tmp_path / "socket"))
    await transport.aclose()


def test_every_error_of_httpcore_has_one_of_the_same_name_in_httpx() -> None:
    for name in httpcore.__all__:
        kind = getattr(httpcore, name)
        if isinstance(kind, type) and issubclass(kind, Exception) and name != "ConnectionNotAvailable":
            assert issubclass(getattr(httpx, name), httpx.HTTPError), name


@pytest.fixture
def certified(tmp_path: Path) -> Certified:
    return certified_for("hooks.example", tmp_path)


async def test_tls_checks_the_certificate_against_the_name(guarded: Make, certified: Certified) -> None:
    client, network = await guarded(Records([PUBLIC]), https_only=True, ssl_context=certified.client)
    async with running(tls=certified.server) as site:
        response = await client.get(
            f"https://hooks.example:{site.port}/", extensions={"sni_hostname": "evil.example", "target": b"/x"}
        )
        assert (response.text, response.http_version) == ("ok", "HTTP/1.1")
        assert site.hosts() == [f"hooks.example:{site.port}"]
        assert site.heads[0].startswith(b"GET / HTTP/1.1")
        for other in ("evil.example", PUBLIC):
            with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
                await client.get(f"https://{other}:{site.port}/")
        assert len(site.heads) == 1
    assert certified.asked_for == ["hooks.example", "evil.example", None]
    assert set(network.dialled) == {PUBLIC}
