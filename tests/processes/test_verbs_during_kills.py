"""Processes are killed and started again while clients send verbs to any of them: none is lost, none applied twice.

A soak sends 1,000 verbs during 50 kills. It prints the responses that were counted:

    STEPWELL_TEST_FULL=1 python -m pytest --everything -s tests/processes/test_verbs_during_kills.py
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from support.database.postgres import fresh_folder
from support.processes.cluster import WORKFLOWS, Cluster, Json, Member, anyone, quick_step, running_cluster
from support.soaks import FULL

VERBS, KILLS, CALLERS = (1_000, 50, 20) if FULL else (160, 6, 20)
END_S = 900.0
OF_VERBS = {"workflow.started", "workflow.paused", "workflow.resumed", "workflow.updated", "workflow.cancelled"}
BEING_HANDLED = "Being worked on"

pytestmark = pytest.mark.extended


@pytest.fixture
async def cluster(dsn: str) -> AsyncIterator[Cluster]:
    with fresh_folder() as folder:
        async with running_cluster(dsn, folder, 3, lease_s="2") as cluster:
            yield cluster


class Caller:
    """Sends verbs about one workflow, one after the other. Nobody else changes the workflow.

    So the caller knows the status, and with it the response that each verb must get. The workflow waits most of the
    time: its first step fails at once, and is tried again only after an hour.
    """

    def __init__(self, cluster: Cluster, chance: random.Random, statuses: "Counter[str]") -> None:
        self.cluster, self.chance, self.statuses = cluster, chance, statuses
        self.workflow_id, self.status = "", "RUNNING"
        self.applied = ["workflow.started"]
        self.returned = 0

    async def create(self) -> None:
        away = {"id": "away", "task_type": "REFINE", "config": {"base_image_url": "http://127.0.0.1:9/picture.png"}}
        body = {
            "name": "a test",
            "origin_instance": "tests",
            "steps": [away, quick_step("after", "away")],
            "config": {"retry": {"base_s": 3600, "max_s": 3600}},
        }
        response = await self.send("POST", WORKFLOWS, body, {"start": "true"})
        assert response.status_code == 201, response.text
        self.workflow_id = response.json()["id"]

    async def verb(self) -> None:
        """Send a verb that the status allows, or now and then one that it doesn't allow."""
        path, event = WORKFLOWS + self.workflow_id, ""
        match self.chance.choice(["move", "move", "update", "forbidden"]):
            case "move":
                verb, event, self.status = {
                    "RUNNING": ("pause", "workflow.paused", "PAUSED"),
                    "PAUSED": ("resume", "workflow.resumed", "RUNNING"),
                }[self.status]
                response = await self.send("POST", f"{path}/{verb}")
            case "update":
                event, name = "workflow.updated", uuid4().hex
                response = await self.send("PATCH", path, {"name": name})
                assert response.json()["name"] == name, response.text
            case _:
                response = await self.send("POST", f"{path}/start")
        assert response.status_code == (200 if event else 409), response.text
        assert response.json()["status" if event else "current_status"] == self.status
        self.applied += [event] if event else []
        self.returned += 1

    async def cancel(self) -> None:
        if self.status == "PAUSED":
            assert (await self.send("POST", f"{WORKFLOWS}{self.workflow_id}/resume")).status_code == 200
            self.applied.append("workflow.resumed")
        assert (await self.send("DELETE", WORKFLOWS + self.workflow_id)).status_code == 200
        self.applied.append("workflow.cancelled")

    async def send(
        self, method: str, path: str, body: Json | None = None, params: Json | None = None
    ) -> httpx.Response:
        """Send a request with a key of its own to random processes, until it has a response other than 503."""
        key = {"Idempotency-Key": uuid4().hex}
        while True:
            member = anyone(self.cluster.members, self.chance)
            member.open_requests += 1
            try:
                response = await member.client.request(method, path, json=body, params=params, headers=key)
            except httpx.TransportError:
                self.statuses["cut off"] += 1
                continue
            finally:
                member.open_requests -= 1
            self.statuses[str(response.status_code)] += 1
            if response.status_code == 503:
                assert int(response.headers["retry-after"]) > 0
            elif response.status_code != 409 or response.json()["title"] != BEING_HANDLED:
                return response
            await asyncio.sleep(0.2)

    async def check(self) -> None:
        """The history has each verb that has had its response once, in the order in which they were sent."""
        events = await anyone(self.cluster.members, self.chance).events(self.workflow_id)
        assert [event["id"] for event in events] == list(range(1, len(events) + 1))
        assert [event["type"] for event in events if event["type"] in OF_VERBS] == self.applied


class Load:
    """Callers that send verbs. They send so many, and wait then until more are allowed."""

    def __init__(self, callers: list[Caller]) -> None:
        self.callers, self.allowed = callers, 0.0

    @property
    def returned(self) -> int:
        return sum(caller.returned for caller in self.callers)

    async def call(self, caller: Caller) -> None:
        while (returned := self.returned) < VERBS:
            if returned < self.allowed:
                await caller.verb()
            else:
                await asyncio.sleep(0.01)

    async def kill_and_start(self, cluster: Cluster, chance: random.Random) -> None:
        """Kill one process after the other in the middle of the verbs, and start another in its place."""
        for kill in range(KILLS):
            self.allowed = VERBS * (kill + 1) / KILLS
            while self.returned < self.allowed - VERBS / KILLS * 0.8:
                await asyncio.sleep(0)
            await cluster.remove(await self.busy_member(cluster, chance))
            await cluster.add()

    async def busy_member(self, cluster: Cluster, chance: random.Random) -> Member:
        """Return a process with several open requests; any process if there is none until all allowed have returned."""
        while True:
            busy = [member for member in cluster.members if member.open_requests > 2]
            if busy or self.returned >= self.allowed:
                return anyone(busy or cluster.members, chance)
            await asyncio.sleep(0)


async def test_no_verb_is_lost_or_applied_twice_while_processes_are_killed(cluster: Cluster) -> None:
    chance, statuses = random.Random(), Counter[str]()
    callers = [Caller(cluster, chance, statuses) for _ in range(CALLERS)]
    load = Load(callers)
    async with asyncio.timeout(END_S):
        await asyncio.gather(*(caller.create() for caller in callers))
        async with asyncio.TaskGroup() as group:
            for caller in callers:
                group.create_task(load.call(caller))
            group.create_task(load.kill_and_start(cluster, chance))
        await asyncio.gather(*(caller.cancel() for caller in callers))
        await asyncio.gather(*(caller.check() for caller in callers))
    print(f"{load.returned} verbs during {KILLS} kills: {dict(statuses)}")
