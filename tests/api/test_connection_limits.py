"""Which connections are served, which are closed for others, and which requests are too many."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.api.requests.connection_limits import (
    RESERVED,
    CloseReason,
    ConnectionLimits,
    ConnectionSlot,
    RequestBound,
)
from stepwell.basics.errors import TooManyRequests

MOST = 8
ACME, OTHER = "acme", "other"


class Clients:
    """Connections to *limits*, and those that were closed for others."""

    def __init__(self, per_client: int | None = None) -> None:
        self.limits = ConnectionLimits(per_client)
        self.limits.open(MOST + 2 * RESERVED)
        self.dropped: list[ConnectionSlot] = []

    def connect(self, client: str | None = "a", *, busy: bool = False) -> ConnectionSlot:
        slot: ConnectionSlot
        slot = self.limits.add(client, lambda: self.dropped.append(slot))
        if busy and slot.served:
            self.limits.begin(slot)
        return slot

    def busy(self, client: str | None, count: int) -> list[ConnectionSlot]:
        return [self.connect(client, busy=True) for _ in range(count)]


def test_a_silent_connection_is_closed_before_an_idle_one() -> None:
    clients = Clients(per_client=MOST)
    idle, silent = clients.connect("b"), clients.connect("b")
    clients.limits.begin(idle)
    clients.limits.end(idle)
    clients.busy("c", MOST - 2)
    assert clients.connect("d", busy=True).served
    assert clients.dropped == [silent]
    assert clients.connect("d", busy=True).served
    assert clients.dropped == [silent, idle]
    assert clients.limits.closed == {CloseReason.ANOTHER: 2}


def test_a_client_beyond_its_bound_loses_its_own_connections_only() -> None:
    clients = Clients(per_client=2)
    others, own = clients.connect("b"), [clients.connect("a") for _ in range(5)]
    assert clients.dropped == own[:3]
    assert others not in clients.dropped


def test_of_a_full_service_a_client_loses_its_own_connections_first() -> None:
    clients = Clients()
    others = [clients.connect("b") for _ in range(MOST // 2)]
    own = [clients.connect("a") for _ in range(MOST // 2)]
    clients.connect("c")
    assert clients.dropped == others[:1], "the oldest, because the newcomer has none"
    clients.connect("a")
    assert clients.dropped == [others[0], own[0]]


def test_busy_connections_are_never_closed_and_newcomers_are_reserved_then() -> None:
    clients = Clients(per_client=MOST)
    busy = clients.busy("a", MOST)
    newcomers = [clients.connect("b") for _ in range(RESERVED + 2)]
    assert not any(slot.served for slot in newcomers)
    assert clients.dropped == newcomers[:2], "the oldest reserved ones"
    assert not clients.limits.serve(newcomers[-1])
    clients.limits.remove(busy[0])
    assert clients.limits.serve(newcomers[-1])
    assert clients.limits.connections == MOST + RESERVED - 1


def test_connections_of_nobody_are_bounded_by_the_total_alone() -> None:
    clients = Clients(per_client=1)
    assert all(slot.served for slot in clients.busy(None, MOST))
    assert not clients.connect(None).served


def test_a_tenant_has_as_many_requests_as_are_left_for_others() -> None:
    clients = Clients(per_client=MOST)

    def request(tenant: str) -> bool:
        clients.connect(None, busy=True)
        try:
            clients.limits.begin_request_of_tenant(tenant)
        except TooManyRequests:
            return False
        return True

    assert [request(ACME) for _ in range(MOST // 2)] == [True] * (MOST // 2)
    assert not request(ACME)
    assert request(OTHER)
    assert clients.limits.refused == {RequestBound.TENANT: 1}
    for _ in range(MOST // 2):
        clients.limits.end_request_of_tenant(ACME)
    assert request(ACME)


def test_a_client_behind_a_proxy_has_no_more_requests_than_another_has_connections() -> None:
    limits = Clients(per_client=2).limits
    limits.begin_request_of_client("a")
    limits.begin_request_of_client("a")
    with pytest.raises(TooManyRequests):
        limits.begin_request_of_client("a")
    limits.begin_request_of_client("b")
    limits.end_request_of_client("a")
    limits.begin_request_of_client("a")


STEPS = st.tuples(st.sampled_from(["add", "begin", "end", "remove", "serve"]), st.integers(0, 40))


@given(st.lists(STEPS, max_size=200))
def test_the_bounds_hold_after_any_sequence(steps: list[tuple[str, int]]) -> None:
    clients = Clients(per_client=3)
    alive: list[ConnectionSlot] = []
    busy: set[ConnectionSlot] = set()
    for step, number in steps:
        if step == "add":
            alive.append(clients.connect(["a", "b", "c", "d", None][number % 5]))
        elif alive:
            slot = alive[number % len(alive)]
            if step == "begin" and slot.served:
                clients.limits.begin(slot)
                busy.add(slot)
            elif step == "end":
                clients.limits.end(slot)
                busy.discard(slot)
            elif step == "serve" and not slot.served:
                clients.limits.serve(slot)
            elif step == "remove":
                clients.limits.remove(slot)
                alive.remove(slot)
                busy.discard(slot)
        assert not busy.intersection(clients.dropped)
        alive = [slot for slot in alive if slot not in clients.dropped]
        served = [slot for slot in alive if slot.served]
        assert clients.limits.connections == len(alive)
        assert len(served) <= MOST
        assert len(alive) - len(served) <= RESERVED
        assert all(sum(slot.client_name == name for slot in served) <= 3 for name in "abcd")
        assert clients.limits.free == MOST - len(busy)
