"""All ordered pairs of what can happen to a workflow whose steps wait: each has one outcome.

The engine applies inputs one after the other. So two at once end as one of their orders.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import combinations
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from stepwell.testing import ManualClock, MemoryDatabase
from support.providers.configured_by_steps import WORKFLOWS
from support.service.live_service import Service, running_service, step_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT_S = 60.0
ASK = {"timeout_s": LIMIT_S, "on_timeout": "reject", "on_reject": "continue"}
STEPS: list[dict[str, Any]] = [
    {"id": "ask", "task_type": "APPROVAL", "config": ASK},
    {"id": "paid", "task_type": "SIGNAL"},
]
EVENTS = ("decision", "timeout", "cancel", "pause", "cleanup", "signal")


class Outcome(NamedTuple):
    """The answers to both (None: it is no request), the workflow's status, and how both steps stand."""

    first: int | None
    second: int | None
    status: str
    ask: str
    paid: str


WAITS, DONE, GONE, APPROVED, LATE = "RUNNING", "COMPLETED", "CANCELLED", "approve by tester", "reject by stepwell"
# By the pair in the order in which its parts happen. Cancel isn't allowed from PAUSED, and cleanup not from RUNNING.
OUTCOMES = {
    ("decision", "timeout"): Outcome(200, None, "RUNNING", APPROVED, WAITS),
    ("timeout", "decision"): Outcome(None, 409, "RUNNING", LATE, WAITS),
    ("decision", "cancel"): Outcome(200, 200, "CANCELLED", APPROVED, GONE),
    ("cancel", "decision"): Outcome(200, 409, "CANCELLED", GONE, GONE),
    ("decision", "pause"): Outcome(200, 200, "PAUSED", APPROVED, WAITS),
    ("pause", "decision"): Outcome(200, 200, "PAUSED", APPROVED, WAITS),
    ("decision", "cleanup"): Outcome(200, 409, "RUNNING", APPROVED, WAITS),
    ("cleanup", "decision"): Outcome(409, 200, "RUNNING", APPROVED, WAITS),
    ("decision", "signal"): Outcome(200, 200, "COMPLETED", APPROVED, DONE),
    ("signal", "decision"): Outcome(200, 200, "COMPLETED", APPROVED, DONE),
    ("timeout", "cancel"): Outcome(None, 200, "CANCELLED", LATE, GONE),
    ("cancel", "timeout"): Outcome(200, None, "CANCELLED", GONE, GONE),
    ("timeout", "pause"): Outcome(None, 200, "PAUSED", LATE, WAITS),
    ("pause", "timeout"): Outcome(200, None, "PAUSED", LATE, WAITS),
    ("timeout", "cleanup"): Outcome(None, 409, "RUNNING", LATE, WAITS),
    ("cleanup", "timeout"): Outcome(409, None, "RUNNING", LATE, WAITS),
    ("timeout", "signal"): Outcome(None, 200, "COMPLETED", LATE, DONE),
    ("signal", "timeout"): Outcome(200, None, "COMPLETED", LATE, DONE),
    ("cancel", "pause"): Outcome(200, 409, "CANCELLED", GONE, GONE),
    ("pause", "cancel"): Outcome(200, 409, "PAUSED", WAITS, WAITS),
    ("cancel", "cleanup"): Outcome(200, 200, "CANCELLED", GONE, GONE),
    ("cleanup", "cancel"): Outcome(409, 200, "CANCELLED", GONE, GONE),
    ("cancel", "signal"): Outcome(200, 409, "CANCELLED", GONE, GONE),
    ("signal", "cancel"): Outcome(200, 200, "CANCELLED", GONE, DONE),
    ("pause", "cleanup"): Outcome(200, 200, "CANCELLED", GONE, GONE),
    ("cleanup", "pause"): Outcome(409, 200, "PAUSED", WAITS, WAITS),
    ("pause", "signal"): Outcome(200, 200, "PAUSED", WAITS, DONE),
    ("signal", "pause"): Outcome(200, 200, "PAUSED", WAITS, DONE),
    ("cleanup", "signal"): Outcome(409, 200, "RUNNING", WAITS, DONE),
    ("signal", "cleanup"): Outcome(200, 409, "RUNNING", WAITS, DONE),
    ("decision", "decision"): Outcome(200, 409, "RUNNING", APPROVED, WAITS),
    ("signal", "signal"): Outcome(200, 409, "RUNNING", WAITS, DONE),
}


@pytest.fixture(scope="module")
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(clock: ManualClock, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        folder = tmp_path_factory.mktemp("races")
        yield await stack.enter_async_context(running_service(MemoryDatabase(clock), folder))


class Race:
    """A workflow whose two steps wait."""

    def __init__(self, service: Service, clock: ManualClock, workflow_id: str) -> None:
        self.service, self.clock, self.workflow_id = service, clock, workflow_id

    @classmethod
    async def begin(cls, service: Service, clock: ManualClock) -> "Race":
        created = await service.create(*STEPS)
        await service.until(created["id"], lambda shown: all(step["waiting_for"] for step in shown["steps"]))
        return cls(service, clock, created["id"])

    async def do(self, event: str) -> int | None:
        path, client = f"{WORKFLOWS}{self.workflow_id}", self.service.client
        requests: dict[str, Callable[[], Awaitable[Any]]] = {
            "decision": lambda: client.post(f"{path}/steps/ask/decision", json={"choice": "approve"}),
            "signal": lambda: client.post(f"{path}/signals/paid"),
            "cancel": lambda: client.delete(path),
            "pause": lambda: client.post(f"{path}/pause"),
            "cleanup": lambda: client.post(f"{path}/cleanup"),
        }
        if event == "timeout":
            self.clock.advance(LIMIT_S)
            return None
        status: int = (await requests[event]()).status_code
        return status

    async def outcome(self, first: int | None, second: int | None, *, has_time_passed: bool) -> Outcome:
        """Return the outcome, once a time-out that has passed is recorded."""
        shown = await self.service.until(
            self.workflow_id, lambda shown: not has_time_passed or not step_of(shown, "ask")["waiting_for"]
        )
        ask, paid = step_of(shown, "ask"), step_of(shown, "paid")
        result = ask["result"]
        decided = ask["status"] if result is None else f"{result['choice']} by {result['by']}"
        return Outcome(first, second, shown["status"], decided, paid["status"])


@pytest.mark.parametrize("pair", OUTCOMES, ids="-".join)
async def test_each_ordered_pair_has_one_outcome(service: Service, clock: ManualClock, pair: tuple[str, str]) -> None:
    race = await Race.begin(service, clock)
    first, second = await race.do(pair[0]), await race.do(pair[1])
    assert await race.outcome(first, second, has_time_passed="timeout" in pair) == OUTCOMES[pair]


@pytest.mark.parametrize("pair", [*combinations(EVENTS, 2)], ids="-".join)
async def test_a_pair_at_once_ends_as_one_of_its_orders(
    service: Service, clock: ManualClock, pair: tuple[str, str]
) -> None:
    race = await Race.begin(service, clock)
    first, second = await asyncio.gather(race.do(pair[0]), race.do(pair[1]))
    outcome = await race.outcome(first, second, has_time_passed="timeout" in pair)
    swapped = OUTCOMES[pair[1], pair[0]]
    assert outcome in (OUTCOMES[pair], swapped._replace(first=swapped.second, second=swapped.first))


async def test_the_table_has_every_ordered_pair() -> None:
    pairs = {(first, second) for first in EVENTS for second in EVENTS if first != second}
    assert OUTCOMES.keys() == pairs | {("decision", "decision"), ("signal", "signal")}
