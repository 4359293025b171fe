"""The process that runs a workflow dies, stops or stands still while verbs are under way at other processes."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from support.database.postgres import connected, fresh_folder
from support.emulators.base import Fault
from support.processes.cluster import (
    WAIT_S,
    WORKFLOWS,
    Cluster,
    Json,
    Member,
    held_step,
    quick_step,
    running_cluster,
    verb_request,
)

EVENT_OF = {"pause": "workflow.paused", "cancel": "workflow.cancelled", "update": "workflow.updated"}
TABLES = ("workflows", "steps", "tasks", "events")


@pytest.fixture
async def cluster(dsn: str) -> AsyncIterator[Cluster]:
    """Three processes whose leases are short."""
    with fresh_folder() as folder:
        async with running_cluster(dsn, folder, 3, lease_s="2") as cluster:
            await cluster.identify()
            yield cluster


class Request:
    """A verb with an idempotency key, for a workflow of its own."""

    def __init__(self, verb: str, workflow_id: str) -> None:
        self.verb, self.workflow_id, self.key = verb, workflow_id, uuid4().hex
        self.responses: list[httpx.Response] = []

    async def send(self, member: Member) -> httpx.Response:
        method, path, body = verb_request(self.workflow_id, self.verb)
        response = await member.client.request(method, path, json=body, headers={"Idempotency-Key": self.key})
        assert response.status_code in {200, 503}, response.text
        assert response.status_code == 200 or int(response.headers["retry-after"]) > 0
        self.responses.append(response)
        return response

    async def repeat(self, members: list[Member], chance: random.Random) -> None:
        """Send it again and again, to any process, until it has succeeded."""
        async with asyncio.timeout(WAIT_S):
            while not self.responses or self.responses[-1].status_code != 200:
                response = await self.send(chance.choice(members))
                if response.status_code != 200:
                    await asyncio.sleep(0.2)

    async def times_applied(self, member: Member) -> int:
        types = [event["type"] for event in await member.events(self.workflow_id)]
        return types.count(EVENT_OF[self.verb])


async def requests_at(cluster: Cluster, owner: Member, count: int) -> list[Request]:
    """Return requests of each verb, each about a workflow that *owner* runs.

    On a slow machine its lease may end, so that another process takes a workflow over. Then there is another workflow.
    """
    made = list[Request]()
    async with asyncio.timeout(WAIT_S):
        while len(made) < count:
            prompt = uuid4().hex
            created = await cluster.create(owner, held_step("held", prompt=prompt), quick_step("after", "held"))
            await cluster.until_job(prompt)
            if await cluster.owner_of(created["id"]) == owner.owner:
                made.append(Request(list(EVENT_OF)[len(made) % len(EVENT_OF)], created["id"]))
    return made


async def until_sent(dsn: str, request: Request) -> None:
    """Wait until the request waits for the process that runs the workflow, or has a response.

    On a slow machine the lease of that process may end first, so that another one takes the workflow over.
    """
    async with asyncio.timeout(WAIT_S), connected(dsn) as sql:
        query = "SELECT count(*) FROM commands WHERE workflow_id = $1"
        while not request.responses and not await sql.fetchval(query, request.workflow_id):
            await asyncio.sleep(0.01)


async def test_a_verb_whose_process_dies_first_is_applied_once_by_the_next(dsn: str, cluster: Cluster) -> None:
    owner, *others = cluster.members
    requests = await requests_at(cluster, owner, 9)
    owner.stop()  # it takes no command any more
    async with asyncio.TaskGroup() as group:
        for number, request in enumerate(requests):
            group.create_task(request.send(others[number % 2]))
        for request in requests:
            await until_sent(dsn, request)
        await owner.kill()
    for request in requests:
        await request.repeat(others, random.Random(0))  # a slow machine may have responded with 503
        assert await request.times_applied(others[0]) == 1


@pytest.mark.extended
async def test_a_verb_that_no_process_takes_is_never_applied(dsn: str) -> None:
    """All processes but the one that is asked stand still, and the one that is asked ends in order."""
    with fresh_folder() as folder:
        # Within a shorter lease, the one that is asked could take over the workflow.
        async with running_cluster(dsn, folder, 3, lease_s="60") as cluster:
            await cluster.identify()
            owner, asked, other = cluster.members
            (request,) = await requests_at(cluster, owner, 1)
            owner.stop()
            other.stop()
            async with asyncio.TaskGroup() as group:
                sent = group.create_task(request.send(asked))
                await until_sent(dsn, request)
                group.create_task(asyncio.to_thread(asked.process.terminate))
            assert (await sent).status_code == 503
            other.go_on()
            owner.go_on()
            response = await other.client.patch(WORKFLOWS + request.workflow_id, json={"name": "afterwards"})
            while response.status_code == 503:
                await asyncio.sleep(0.2)
                response = await other.client.patch(WORKFLOWS + request.workflow_id, json={"name": "afterwards"})
            assert response.status_code == 200
            assert await request.times_applied(other) == 0


@pytest.mark.extended
async def test_a_verb_during_the_death_of_its_process_is_applied_once(cluster: Cluster) -> None:
    chance = random.Random()
    owner, *others = cluster.members
    requests = await requests_at(cluster, owner, 24)
    async with asyncio.TaskGroup() as group:
        for request in requests:
            group.create_task(request.send(chance.choice(others)))
        await asyncio.sleep(chance.uniform(0, 0.1))
        await owner.kill()
    refused = [request for request in requests if request.responses[0].status_code == 503]
    await asyncio.gather(*(request.repeat(others, chance) for request in refused))
    for request in requests:
        assert await request.times_applied(others[0]) == 1, request.verb


async def test_a_process_that_stood_still_beyond_its_lease_writes_nothing_any_more(dsn: str, cluster: Cluster) -> None:
    """Meanwhile others run its workflows. What it was asked to do just before, it would do on its old state."""
    owner, *others = cluster.members
    prompts = [uuid4().hex for _ in range(8)]
    made = [
        await cluster.create(owner, held_step("held", prompt=prompt), quick_step("after", "held")) for prompt in prompts
    ]
    jobs = [(await cluster.until_job(prompt))[0] for prompt in prompts]
    tags = [(await owner.client.get(WORKFLOWS + each["id"])).headers["etag"] for each in made]
    for job in jobs[4:]:
        cluster.end_job(job)  # the results may be under way, in any stage
    owner.stop()
    async with asyncio.TaskGroup() as group:
        late = [
            group.create_task(owner.verb(each["id"], "update", headers={"If-Match": tag}))
            for each, tag in zip(made, tags, strict=True)
        ]
        for number, each in enumerate(made):
            await until_changed(cluster, others[number % 2], each["id"], cancels=number < 4)
        before = await rows(dsn, made)
        owner.go_on()
    assert {response.status_code for response in [await each for each in late]} <= {412, 503}
    await asyncio.gather(*(same_everywhere(cluster, each["id"]) for each in made))
    assert await rows(dsn, made) == before


async def until_changed(cluster: Cluster, member: Member, workflow_id: str, *, cancels: bool) -> None:
    """Wait until the workflow has ended without the process that stands still, and nobody writes to it any more.

    A cancelled workflow keeps its owner until the provider has confirmed the end of its jobs.
    """
    async with asyncio.timeout(WAIT_S):
        while cancels and (await member.verb(workflow_id, "cancel")).status_code == 503:
            await asyncio.sleep(0.1)
        ended = await member.until_ended(workflow_id)
        assert ended["status"] == ("CANCELLED" if cancels else "COMPLETED")
        while await cluster.owner_of(workflow_id) is not None:
            await asyncio.sleep(0.02)


async def rows(dsn: str, made: list[Json]) -> dict[str, list[Any]]:
    """Return all rows of the workflows."""
    found = {}
    async with connected(dsn) as sql:
        for table in TABLES:
            name = "id" if table == "workflows" else "workflow_id"
            query = f"SELECT to_jsonb(t)::text AS row FROM {table} AS t WHERE {name} = ANY($1) ORDER BY 1"
            found[table] = [record["row"] for record in await sql.fetch(query, [each["id"] for each in made])]
    return found


async def same_everywhere(cluster: Cluster, workflow_id: str) -> None:
    """All processes refuse the same verb alike, so none has a state of its own."""
    responses = [await member.verb(workflow_id, "pause") for member in cluster.members]
    assert [response.status_code for response in responses] == [409] * len(responses)
    assert len({response.content for response in responses}) == 1


@pytest.mark.extended
async def test_a_verb_is_applied_by_a_process_that_stops_while_its_attempts_run(dsn: str) -> None:
    with fresh_folder() as folder:
        async with running_cluster(dsn, folder, 2, grace_s="120") as cluster:
            await cluster.identify()
            owner, other = cluster.members
            cluster.worker.always("submit", Fault.HANG_AFTER)  # so the attempt doesn't end
            created = await cluster.create(owner, held_step("held"))
            await cluster.until_job("held")
            owner.process.process.terminate()
            async with asyncio.timeout(WAIT_S):
                while (await owner.client.get("/health/ready")).status_code == 200:
                    await asyncio.sleep(0.05)
            response = await other.verb(created["id"], "update")
            assert (response.status_code, response.json().get("description")) == (200, "changed")
            assert await cluster.owner_of(created["id"]) == owner.owner
            assert (await owner.client.get("/health/ready")).headers["connection"] == "close"
