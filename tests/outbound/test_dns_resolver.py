"""The resolver for names that strangers have chosen. A zone that never responds delays nobody else."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import anyio
import httpx
import pytest

from outbound.guard_network import running
from stepwell.outbound.address_policy import AddressPolicy
from stepwell.outbound.dns_resolver import ZONE_THREADS, BoundedResolver, ResolverBusy, zone_of
from stepwell.outbound.http_client import plain_client
from stepwell.outbound.ssrf_guard import guarded_client
from stepwell.outbound.webhook_sender import WebhookSender
from stepwell.persistence.clock import DatabaseClock

LOOPBACK = AddressPolicy([ip_network("127.0.0.0/8")])
MORE_THAN_ASYNCIO_HAS_THREADS = 40
DEADLINE_S = 60.0
real = socket.getaddrinfo


class Names:
    """The system's resolver: names with "tarpit" in them are resolved when the test says so, all others at once."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.hanging: Counter[str] = Counter()
        self.most: Counter[str] = Counter()  # ever at once, by the last two labels
        self.let_go, self.known = threading.Event(), False
        self._lock = threading.Lock()

    def __call__(self, host: str | bytes, *args: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        zone = ".".join(name.split(".")[-2:])
        with self._lock:
            self.asked.append(name)
            if "tarpit" in name:
                self.hanging[zone] += 1
                self.most[zone] = max(self.most[zone], self.hanging[zone])
        if "tarpit" in name:
            assert self.let_go.wait(DEADLINE_S)
            with self._lock:
                self.hanging[zone] -= 1
            if not self.known:
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real("127.0.0.1", *args, **options)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made)
    yield made
    made.let_go.set()


async def until(condition: Any) -> None:
    with anyio.fail_after(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def asking(resolver: BoundedResolver, *hosts: str) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Those who ask, gone at the end."""
    async with asyncio.TaskGroup() as group:
        asyncio_tasks = [group.create_task(one(resolver, host)) for host in hosts]
        yield asyncio_tasks
        for asyncio_task in asyncio_tasks:
            asyncio_task.cancel()


async def one(resolver: BoundedResolver, host: str) -> list[str] | Exception:
    try:
        return sorted(set(await resolver(host, 443)))
    except OSError as error:
        return error


async def test_a_zone_that_never_responds_delays_neither_other_names_nor_providers(names: Names) -> None:
    async with (
        running() as site,
        guarded_client(LOOPBACK) as client,
        plain_client() as plain,
        asyncio.TaskGroup() as group,
    ):
        sender = WebhookSender(client, DatabaseClock(), timeout_s=DEADLINE_S)
        stuck = [
            group.create_task(sender.send(f"http://h{number}.tarpit.example/", {}, "{}", ()))
            for number in range(MORE_THAN_ASYNCIO_HAS_THREADS)
        ]
        await until(lambda: names.hanging["tarpit.example"] == ZONE_THREADS)
        with anyio.fail_after(30.0):
            outcome = await sender.send(f"http://good.example.net:{site.port}/", {}, "{}", ())
            assert (outcome.attempt.code, outcome.attempt.error) == (200, None)
            assert (await plain.get(f"http://api.example.com:{site.port}/")).status_code == 200
        assert not any(asyncio_task.done() for asyncio_task in stuck)
        assert names.most == {"tarpit.example": ZONE_THREADS}
        for asyncio_task in stuck:
            asyncio_task.cancel()


async def test_a_webhook_to_a_late_name_fails_with_that_reason(names: Names) -> None:
    resolver = BoundedResolver(8, late_s=0.01)
    async with guarded_client(LOOPBACK, resolver=resolver) as client, asking(resolver, "tarpit.example"):
        await until(lambda: resolver.is_late("tarpit.example"))
        outcome = await WebhookSender(client, DatabaseClock(), timeout_s=60.0).send(
            "http://tarpit.example/", {}, "{}", ()
        )
    assert outcome.attempt.error == "tarpit.example did not resolve in time"
    assert names.asked == ["tarpit.example"]


async def test_further_look_ups_of_a_busy_zone_are_queued(names: Names) -> None:
    resolver, names.known = BoundedResolver(8, late_s=60.0), True
    async with asking(resolver, *(f"h{number}.tarpit.example" for number in range(10))) as tasks:
        await until(lambda: names.hanging["tarpit.example"] == ZONE_THREADS)
        assert len(names.asked) == ZONE_THREADS
        names.let_go.set()
        assert await asyncio.gather(*tasks) == [["127.0.0.1"]] * 10
    assert names.most["tarpit.example"] <= ZONE_THREADS
    assert names.asked == [f"h{number}.tarpit.example" for number in range(10)]
    assert resolver.is_idle


async def test_a_queued_look_up_is_dropped_when_nobody_waits_for_it(names: Names) -> None:
    resolver = BoundedResolver(8, late_s=60.0)
    async with asking(resolver, *(f"h{number}.tarpit.example" for number in range(50))):
        await until(lambda: names.hanging["tarpit.example"] == ZONE_THREADS)
    names.let_go.set()
    await until(lambda: resolver.is_idle)
    assert len(names.asked) == ZONE_THREADS


async def test_all_callers_share_one_look_up_of_a_name(names: Names) -> None:
    resolver, names.known = BoundedResolver(8, late_s=60.0), True
    async with asking(resolver, *["tarpit.example"] * 20, "TARPIT.example") as tasks:
        await until(lambda: names.hanging["tarpit.example"])
        tasks[0].cancel()
        names.let_go.set()
        assert await asyncio.gather(*tasks[1:]) == [["127.0.0.1"]] * 20
    assert names.asked == ["tarpit.example"]
    assert await resolver("tarpit.example", 443) == ["127.0.0.1"]
    assert names.asked == ["tarpit.example"] * 2, "a result is not stored"


async def test_a_look_up_fails_at_once_when_all_threads_are_busy(names: Names) -> None:
    resolver = BoundedResolver(ZONE_THREADS * 2, late_s=60.0)
    async with asking(resolver, *(f"h.tarpit{number}.example" for number in range(ZONE_THREADS * 2))):
        await until(lambda: names.hanging.total() == ZONE_THREADS * 2)
        with pytest.raises(ResolverBusy, match=r"^too many look-ups are under way$"):
            await resolver("good.example.net", 443)
    names.let_go.set()
    await until(lambda: resolver.is_idle)
    assert await resolver("good.example.net", 443) == ["127.0.0.1"]


async def test_busy_threads_are_reported_as_a_connection_error(names: Names) -> None:
    async with guarded_client(LOOPBACK, look_ups=1) as client, asyncio.TaskGroup() as group:
        stuck = group.create_task(client.get("http://tarpit.example/"))
        await until(lambda: names.hanging.total() == 1)
        words = r"^good\.example\.net did not resolve: too many look-ups are under way$"
        with pytest.raises(httpx.ConnectError, match=words):
            await client.get("http://good.example.net/")
        outcome = await WebhookSender(client, DatabaseClock(), timeout_s=60.0).send("http://b.example/", {}, "{}", ())
        assert outcome.attempt.error == "b.example did not resolve: too many look-ups are under way"
        stuck.cancel()


async def test_a_late_name_fails_at_once_until_its_block_is_over(names: Names) -> None:
    now = 0.0
    resolver = BoundedResolver(8, late_s=5.0, block_s=60.0, clock=lambda: now)
    async with asking(resolver, "tarpit.example") as tasks:
        await until(lambda: names.hanging["tarpit.example"])
        assert not resolver.is_late("tarpit.example")
        now = 5.0
        with pytest.raises(TimeoutError):
            await resolver("tarpit.example", 443)
        assert names.asked == ["tarpit.example"]
        names.let_go.set()
        assert isinstance(await tasks[0], socket.gaierror), "callers that still wait get the result"
    with pytest.raises(TimeoutError):
        await resolver("tarpit.example", 443)
    assert await resolver("good.tarpi.example", 443) == ["127.0.0.1"], "others of the zone are as good as ever"
    names.known, now = True, 65.0
    assert await resolver("tarpit.example", 443) == ["127.0.0.1"]


async def test_a_late_result_is_used(names: Names) -> None:
    resolver, names.known = BoundedResolver(8, late_s=0.02, block_s=60.0), True
    async with asking(resolver, "tarpit.example") as tasks:
        await until(lambda: resolver.is_late("tarpit.example"))
        names.let_go.set()
        assert await tasks[0] == ["127.0.0.1"]
    assert await resolver("tarpit.example", 443) == ["127.0.0.1"]


async def test_only_the_last_late_names_are_remembered(names: Names) -> None:
    resolver = BoundedResolver(8, late_s=0.0, max_blocked=2)
    names.let_go.set()
    async with asking(resolver, *(f"tarpit.{zone}.example" for zone in "abc")) as tasks:
        for result in await asyncio.gather(*tasks):
            assert isinstance(result, socket.gaierror)
    assert [resolver.is_late(f"tarpit.{zone}.example") for zone in "abc"].count(True) == 2


async def test_the_resolver_is_busy_when_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    resolver = BoundedResolver(8, late_s=5.0)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        with pytest.raises(ResolverBusy, match="no thread"):
            await resolver("127.0.0.1", 80)
    assert resolver.is_idle
    assert await resolver("127.0.0.1", 80) == ["127.0.0.1"]


@pytest.mark.parametrize("error", [OSError("no such name"), UnicodeError("label too long"), ValueError("odd")])
async def test_errors_of_the_system_are_raised_to_the_caller(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def failing(*_args: Any, **_options: Any) -> Any:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", failing)
    with pytest.raises(type(error), match=str(error)):
        await BoundedResolver(1, late_s=5.0)("x.example", 80)


def test_a_look_up_that_outlives_its_loop_ends_silently(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    odd: list[Any] = []
    before = set(threading.enumerate())
    monkeypatch.setattr(threading, "excepthook", odd.append)

    async def asked_in_vain() -> None:
        async with asking(BoundedResolver(1, late_s=5.0), "tarpit.example"):
            await until(names.hanging.total)

    asyncio.run(asked_in_vain())
    threads = [thread for thread in set(threading.enumerate()) - before if thread.name == "stepwell-look-up"]
    names.let_go.set()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert (len(threads), odd) == (1, [])
    assert threads[0].daemon, "the process doesn't wait for it"


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("example.com", "example.com"),
        ("a.b.example.com.", "example.com"),
        ("receiver", "receiver"),
        ("a.example.co.uk", "example.co.uk"),
        ("co.uk", "co.uk"),
        ("a.b.co", "b.co"),
        ("a.example.de", "example.de"),
        ("a.com.example", "com.example"),
        ("com.au.example.com.au", "example.com.au"),
    ],
)
def test_the_zone_of_a_name_is_its_registered_domain(name: str, zone: str) -> None:
    assert zone_of(name) == zone
