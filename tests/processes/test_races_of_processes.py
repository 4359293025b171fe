"""Two things happen to a workflow at once, and two processes are told: it is as if one came before the other.

`support.workflows.races` lists the pairs and their legal ends. Each verb of a pair is sent to another process. One
process alone runs the whole table in `engine/execution/test_races.py`. Here are the pairs whose order may depend on
the processes: of verbs, and of a verb and the end of a job, about workflows that a process runs; and of verbs that
change who runs a workflow.
"""

import asyncio
import random

import httpx
import pytest

from support.processes.cluster import Cluster, Json, Member, held_step
from support.workflows.races import COMMANDS, End, legal_ends, races

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.extended]

OWNED, ENDS = ("RUNNING", "PAUSED"), {"completion", "failure"}
MOVING = {"start", "resume", "cancel", "cleanup"}
AT_ONCE = 40
STILL_S = 180.0
PAUSE_S = 0.02


class Race:
    """One workflow, whose steps' jobs the test ends."""

    def __init__(self, cluster: Cluster, number: int, chance: random.Random) -> None:
        self.cluster, self.chance = cluster, chance
        self.prompts = [f"s{position}@{number}" for position in range(3)]
        self.workflow_id, self.failing = "", False

    async def run(self, state: str, first: str, second: str) -> End:
        await self.bring_to(state)
        self.failing = "failure" in (first, second)
        one, other = self.chance.sample(self.cluster.members, 2)
        codes = await asyncio.gather(self.fire(one, first), self.fire(other, second))
        await self.until_still()
        await self.end(2, 0, 1)
        found = await self.get()
        statuses = tuple(step["status"] for step in found["steps"])
        return (*codes, found["status"], statuses, found["is_deleted"])

    async def bring_to(self, state: str) -> None:
        owner = self.chance.choice(self.cluster.members)
        s0, s1, s2 = self.prompts
        definition = (
            held_step("s0", prompt=s0, max_retries=0),
            held_step("s1", "s0", prompt=s1, max_retries=0),
            held_step("s2", prompt=s2, max_retries=0),
        )
        retry = {"retry": {"base_s": 0}}
        created = await self.cluster.create(owner, *definition, start=state != "PENDING", config=retry)
        self.workflow_id = created["id"]
        await self.until_still()
        match state:
            case "PAUSED" | "PAUSED, idle":
                await self.verb(owner, "pause")
                await self.end(*(2, 0) if state == "PAUSED, idle" else ())
            case "FAILED":
                self.failing = True
                await self.end(2, 0)
            case "COMPLETED":
                await self.end(2, 0, 1)
            case "CANCELLED":
                await self.verb(owner, "cancel")
        await self.until_still()

    async def fire(self, member: Member, command: str) -> int | None:
        await asyncio.sleep(self.chance.choice([0, 0, 0.001, 0.005]))
        if command in ("completion", "failure"):
            self.end_jobs(0 if command == "completion" else 2)
            return None
        return (await self.verb(member, command)).status_code

    async def verb(self, member: Member, verb: str) -> httpx.Response:
        params = {"cleanup_tasks": "true"} if verb == "cleanup" and self.chance.random() < 0.5 else {}
        return await member.verb(self.workflow_id, verb, params=params)

    async def end(self, *positions: int) -> None:
        for position in positions:
            self.end_jobs(position)
            await self.until_still()

    def end_jobs(self, position: int) -> None:
        """End the jobs of a step. The first of s2 that ends after `failing` was set fails."""
        for job in self.cluster.jobs_of(self.prompts[position]):
            if not job.is_ended:
                fails = position == 2 and self.failing
                self.failing = self.failing and not fails
                self.cluster.end_job(job, "failed" if fails else "succeeded")

    async def until_still(self) -> None:
        """Wait until nothing goes on but jobs that the test has yet to end."""
        try:
            async with asyncio.timeout(STILL_S):
                while not await self.is_still():
                    await asyncio.sleep(PAUSE_S)
        except TimeoutError:
            raise AssertionError(f"something still goes on: {await self.get()}") from None

    async def get(self) -> Json:
        return await self.chance.choice(self.cluster.members).get(self.workflow_id)

    async def is_still(self) -> bool:
        status, steps = await self.cluster.steps_of(self.workflow_id)
        for prompt, step in zip(self.prompts, steps, strict=True):
            hangs = any(job.key == step.task_id and not job.is_ended for job in self.cluster.jobs_of(prompt))
            if step.status == "RUNNING" and not hangs:
                return False
            may_start = step.status == "PENDING" and status == "RUNNING"
            if may_start and all(steps[position].status == "COMPLETED" for position in step.needs):
                return False
        return True

    async def check_history(self) -> None:
        events = await self.chance.choice(self.cluster.members).events(self.workflow_id)
        assert [event["id"] for event in events] == list(range(1, len(events) + 1))
        started = [event["task_id"] for event in events if event["type"] == "step.started"]
        assert len(started) == len(set(started))
        accepted = [job.key for prompt in self.prompts for job in self.cluster.jobs_of(prompt)]
        assert len(accepted) == len(set(accepted))
        assert set(accepted) <= set(started)


def cases() -> list[tuple[str, str, str]]:
    """Return the pairs, each in one order: both are sent at once."""
    return [
        (state, first, second)
        for state, first, second in races()
        if COMMANDS.index(first) <= COMMANDS.index(second)
        and (len(ENDS & {first, second}) < 2 if state in OWNED else {first, second} <= MOVING)
    ]


async def test_every_pair_from_every_state_ends_in_one_of_its_two_orders(cluster: Cluster) -> None:
    chance, every = random.Random(len(cluster.members)), cases()
    chance.shuffle(every)
    wrong = []
    for at in range(0, len(every), AT_ONCE):
        part = every[at : at + AT_ONCE]
        running = [Race(cluster, at + number, chance) for number in range(len(part))]
        ends = await asyncio.gather(*(race.run(*what) for race, what in zip(running, part, strict=True)))
        for race, what, end in zip(running, part, ends, strict=True):
            if end not in legal_ends(*what):
                wrong.append((what, end, legal_ends(*what)))
            await race.check_history()
    assert not wrong
