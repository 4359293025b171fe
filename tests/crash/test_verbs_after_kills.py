"""Every verb right after each restart of a killed service, with attempts under way at each kill: none gets a 503.

From the third restart on, the workflows that were under way are on trial. `engine/execution/test_trials.py` shows what
becomes of them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from msgspec import Struct

from stepwell.contract.enums import ProviderType
from support.database.postgres import fresh_folder
from support.processes.cluster import WORKFLOWS, Json, Member, held_step, quick_step
from support.processes.stepwell_process import StepwellProcess, start, start_up
from support.providers.emulated_in_thread import Worlds, emulated
from support.service.live_service import SECRET, statuses_of

_MORE = pytest.param(10, marks=pytest.mark.extended)
STEPS = (
    held_step("held", prompt="held"),
    {"id": "ask", "task_type": "APPROVAL"},
    {"id": "hear", "task_type": "SIGNAL", "config": {"name": "go"}},
    quick_step("then", "ask", "hear"),
)


class Verb(Struct, frozen=True):
    """A request about a workflow whose attempt is under way. `paused`: the workflow is PAUSED before."""

    method: str
    path: str = ""
    body: Json | None = None
    paused: bool = False


VERBS = [
    Verb("POST", "/pause"),
    Verb("POST", "/resume", paused=True),
    Verb("DELETE"),
    Verb("PATCH", body={"name": "changed"}),
    Verb("POST", "/steps/ask/decision", {"choice": "approve"}),
    Verb("POST", "/signals/go", {"data": 1}),
    Verb("POST", "/steps/then/result", {"result": {"x": 1}}, paused=True),
    Verb("POST", "/steps/then/skip", paused=True),
    Verb("POST", "/cleanup", paused=True),
    Verb("POST", "/cleanup?cleanup_tasks=true", paused=True),
    Verb("DELETE", "/data", paused=True),
]


class RestartableService:
    """A service that is killed and started again."""

    def __init__(self, start: Callable[[], StepwellProcess]) -> None:
        self._start = start
        self.member: Member

    async def begin(self) -> None:
        process = self._start()
        try:
            await asyncio.to_thread(process.wait_ready)
        except BaseException:
            process.kill_group()
            raise
        self.member = Member(process)

    async def kill(self) -> None:
        await self.member.kill()
        await self.member.client.aclose()

    async def end(self) -> None:
        self.member.process.kill_group()
        await self.member.client.aclose()

    async def make(self, *steps: Json, start: bool = True) -> str:
        body = {"name": "a test", "origin_instance": "tests", "steps": steps}
        response = await self.member.client.post(WORKFLOWS, params={"start": start}, json=body)
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    async def make_for(self, verb: Verb) -> str:
        """Return the id of a workflow whose attempt is under way, and that permits the verb."""
        workflow_id = await self.make(*STEPS)
        await self.member.until(workflow_id, lambda each: list(statuses_of(each).values()).count("RUNNING") == 3)
        if verb.paused:
            assert (await self.send(Verb("POST", "/pause"), workflow_id)).status_code == 200
        return workflow_id

    async def send(self, verb: Verb, workflow_id: str) -> httpx.Response:
        return await self.member.client.request(verb.method, WORKFLOWS + workflow_id + verb.path, json=verb.body)


@asynccontextmanager
async def restartable_service(
    start: Callable[[Worlds], StepwellProcess], folder: Path
) -> AsyncIterator[RestartableService]:
    with emulated(folder, (ProviderType.CUSTOM,)) as worlds:
        worlds.hold()
        service = RestartableService(lambda: start(worlds))
        await service.begin()
        try:
            yield service
        finally:
            await service.end()


async def no_verb_is_refused(service: RestartableService, restarts: int) -> None:
    responses: list[tuple[int, Verb, int, str]] = []
    for restart in range(restarts):
        made = await asyncio.gather(*(service.make_for(verb) for verb in VERBS))
        pending = await service.make(quick_step("a"), start=False)
        failed = await service.make({**quick_step("a"), "when": "length(`1`)"})
        await service.member.until_ended(failed)
        await service.kill()
        await service.begin()
        others = [(Verb("POST", "/start"), pending), (Verb("POST", "/resume"), failed)]
        verbs = [*zip(VERBS, made, strict=True), *others]
        found = await asyncio.gather(*(service.send(*each) for each in verbs))
        responses += [
            (restart, verb, response.status_code, response.text)
            for (verb, _), response in zip(verbs, found, strict=True)
        ]
    assert [each for each in responses if each[2] != 200] == []


@pytest.mark.parametrize("restarts", [pytest.param(3, marks=pytest.mark.extended), _MORE])
async def test_up_accepts_every_verb_after_a_kill(data_dir: Path, tmp_path: Path, restarts: int) -> None:
    settings = {"STEPWELL_JWT_SECRET": SECRET}
    async with restartable_service(
        lambda worlds: start_up(data_dir, worlds.environment | settings), tmp_path
    ) as service:
        await no_verb_is_refused(service, restarts)


@pytest.mark.parametrize("restarts", [3, _MORE])
async def test_serve_accepts_every_verb_after_a_kill(durable_dsn: str, restarts: int) -> None:
    settings = {"STEPWELL_JWT_SECRET": SECRET, "STEPWELL_DATABASE_URL": durable_dsn, "STEPWELL_LEASE_S": "2"}
    with fresh_folder() as folder:

        def start_serve(worlds: Worlds) -> StepwellProcess:
            return start("serve", folder / "data", worlds.environment | settings)

        async with restartable_service(start_serve, folder) as service:
            await no_verb_is_refused(service, restarts)
