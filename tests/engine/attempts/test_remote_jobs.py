"""Attempts at providers that work elsewhere, over real sockets: the same promises whichever provider it is."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from stepwell.app import service as app_service
from stepwell.contract.enums import ProviderType
from stepwell.contract.providers import ModelLimit
from stepwell.engine.execution import scheduler
from stepwell.persistence.clock import DatabaseClock
from stepwell.ports.providers import Attempt, CancelAnswer, Job, JobState, JobStatus
from stepwell.testing import ManualClock, MemoryDatabase
from support.database.failing_store import expire_attempt, nothing_left, scheduler_of
from support.emulators.base import Fault
from support.providers.emulated import REMOTE, World, world_of
from support.providers.held_jobs import HeldJobs
from support.providers.scripted import eventually, passthrough_step, scripted_step
from support.service.live_service import Service, running_service, serving

RETRY_AT_ONCE = {"retry": {"base_s": 0}}


@pytest.fixture
def clock() -> ManualClock:
    """Begins at the time of this machine, by which jobs of the emulators are found again."""
    return ManualClock(DatabaseClock().now())


extended = pytest.mark.extended
# The core suite runs what each provider does its own way for all of them, and the rest for one.
AT_EACH = pytest.mark.parametrize("world", REMOTE, indirect=True)


@pytest.fixture(params=[REMOTE[0], *(pytest.param(kind, marks=extended) for kind in REMOTE[1:])])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(world_of(request.param, tmp_path / "emulator"))


@pytest.fixture
async def remote(world: World, memory: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(running_service(memory, tmp_path / "data", **world.settings))


async def only_task(service: Service, workflow_id: str) -> dict[str, Any]:
    (task,) = await service.tasks(workflow_id)
    return task


@AT_EACH
async def test_a_picture_comes_back(world: World, remote: Service) -> None:
    created = await remote.create(world.step())
    workflow = await remote.until_ended(created["id"])
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    path = workflow["final_step_result"]["result_image_path"]
    task = await only_task(remote, created["id"])
    assert (task["phase"], task["provider"], task["attempt"]) == ("STORED", world.kind, 1)
    assert task["remote_id"] == world.emulator.ledger.jobs()[0][0]
    assert [output["path"] for output in task["outputs"]] == [path]
    picture = await remote.client.get(f"/api/v1/artifacts/{path}")
    assert (picture.status_code, len(picture.content)) == (200, task["outputs"][0]["size"])
    types = [event["type"] for event in await remote.events(created["id"])]
    assert types[2:] == ["step.started", "step.submitted", "step.completed", "workflow.completed"]


LOST = [
    Fault.LOSE_AFTER,
    pytest.param(Fault.GARBAGE_AFTER, marks=extended),
    pytest.param(Fault.GATEWAY_AFTER, marks=extended),
    pytest.param(Fault.TRUNCATE_AFTER, marks=extended),
    pytest.param(Fault.HUGE_AFTER, marks=extended),
]


@AT_EACH
@pytest.mark.parametrize("fault", LOST)
async def test_a_job_whose_answer_was_lost_is_found_and_never_submitted_again(
    world: World, remote: Service, fault: Fault
) -> None:
    world.emulator.plan("submit", fault)
    created = await remote.create(world.step())
    workflow = await remote.until_ended(created["id"])
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    assert (world.accepted(), world.emulator.count("submit")) == ([1], 1)
    task = await only_task(remote, created["id"])
    assert (task["outcome_unknown"], task["remote_id"]) == (False, world.emulator.ledger.jobs()[0][0])
    types = [event["type"] for event in await remote.events(created["id"])]
    assert types[3:5] == ["step.outcome_unknown", "step.submitted"]


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ("default", Fault.LOSE_AFTER),
        ("default", Fault.LOSE_BEFORE),
        pytest.param("default", Fault.GATEWAY_BEFORE, marks=extended),
        ("step", Fault.LOSE_AFTER),
        ("workflow", Fault.LOSE_BEFORE),
    ],
)
async def test_what_nobody_finds_fails_the_step_and_lets_no_fallback_in(
    world: World, remote: Service, fault: Fault, where: str
) -> None:
    world.emulator.hide_from_listing = True
    world.emulator.plan("submit", fault)
    provider_config = {"on_unknown": "fail"} if where == "step" else {}
    # The step's word counts for more than the workflow's.
    config = {"on_unknown": {"step": "resubmit", "workflow": "fail"}[where]} if where != "default" else {}
    step = world.step(provider_config=provider_config, fallback_provider_type="LOCAL")
    created = await remote.create(step, config=config)
    workflow = await remote.until_ended(created["id"])
    assert (workflow["status"], world.emulator.count("submit")) == ("FAILED", 1)
    assert "there may be one" in workflow["error_message"]
    task = await only_task(remote, created["id"])
    assert (task["outcome_unknown"], task["status"], task["phase"]) == (True, "FAILED", "INTENT")


async def test_resubmit_counts_what_nobody_finds_and_goes_on(world: World, remote: Service) -> None:
    world.emulator.hide_from_listing = True
    world.emulator.plan("submit", Fault.LOSE_BEFORE)
    step = world.step(provider_config={"on_unknown": "resubmit"})
    created = await remote.create(step, config=RETRY_AT_ONCE)
    workflow = await remote.until_ended(created["id"])
    assert (workflow["status"], workflow["steps"][0]["retry_count"]) == ("COMPLETED", 1)
    assert [task["outcome_unknown"] for task in await remote.tasks(created["id"])] == [True, False]


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.UNAVAILABLE, Fault.BROKEN])
async def test_what_was_surely_not_taken_is_retried(world: World, remote: Service, fault: Fault) -> None:
    world.emulator.plan("submit", fault)
    created = await remote.create(world.step(), config=RETRY_AT_ONCE)
    workflow = await remote.until_ended(created["id"])
    assert (workflow["status"], workflow["steps"][0]["retry_count"], world.accepted()) == ("COMPLETED", 1, [1])


async def test_what_is_refused_is_not_retried_but_the_fallback_is_tried(world: World, remote: Service) -> None:
    world.emulator.plan("submit", Fault.REFUSED)
    created = await remote.create(world.step(fallback_provider_type="LOCAL"), config=RETRY_AT_ONCE)
    workflow = await remote.until_ended(created["id"])
    providers = [task["provider"] for task in await remote.tasks(created["id"])]
    assert (workflow["status"], providers) == ("COMPLETED", [world.kind, "LOCAL"])


@pytest.mark.parametrize("fault", [Fault.LOSE_AFTER, Fault.GARBAGE_AFTER, Fault.UNAVAILABLE, Fault.BUSY])
async def test_trouble_with_polls_and_files_costs_only_time(world: World, remote: Service, fault: Fault) -> None:
    world.emulator.plan("poll", fault, fault)
    if fault is not Fault.GARBAGE_AFTER:
        world.emulator.plan("file", fault)
    created = await remote.create(world.step())
    workflow = await remote.until_ended(created["id"])
    assert (workflow["status"], workflow["steps"][0]["retry_count"]) == ("COMPLETED", 0), workflow["errors"]
    assert world.emulator.count("submit") == 1


@pytest.mark.parametrize("on_unknown", ["fail", "resubmit"])
async def test_a_job_that_the_provider_forgets_is_paid_again_only_if_the_step_says_so(
    world: World, remote: Service, on_unknown: str
) -> None:
    world.hold()
    step = world.step(provider_config={"on_unknown": on_unknown}, fallback_provider_type="LOCAL")
    created = await remote.create(step, config=RETRY_AT_ONCE)
    await eventually(lambda: world.emulator.count("poll") > 0, "it is polled")
    world.emulator.forget(world.emulator.ledger.jobs()[0][0])
    world.hold(held=False)
    workflow = await remote.until_ended(created["id"])
    wanted = ("COMPLETED", 1, 2) if on_unknown == "resubmit" else ("FAILED", 0, 1)
    assert (workflow["status"], workflow["steps"][0]["retry_count"], world.emulator.count("submit")) == wanted


async def test_what_is_done_has_more_time_to_be_fetched_than_the_attempt_had(world: World, remote: Service) -> None:
    world.emulator.always("file", Fault.UNAVAILABLE)
    created = await remote.create(world.step(config={"timeout_s": 60}, max_retries=0))
    await eventually(lambda: world.emulator.count("file") > 0, "its file is requested")
    expire_attempt(remote, created["id"])
    requested = world.emulator.count("file")
    await eventually(lambda: world.emulator.count("file") > requested + 1, "its file is requested after that, too")
    world.emulator.always("file", None)
    workflow = await remote.until_ended(created["id"])
    assert (workflow["status"], world.accepted()) == ("COMPLETED", [1]), workflow["errors"]


async def test_a_submit_that_outlives_its_attempt_is_looked_for_and_ended(world: World, remote: Service) -> None:
    world.hold()
    world.emulator.plan("submit", Fault.HANG_AFTER)
    created = await remote.create(world.step(config={"timeout_s": 60}, max_retries=0))
    await eventually(lambda: len(world.emulator.ledger.jobs()) == 1, "it is taken")
    expire_attempt(remote, created["id"])
    await world.cut()
    workflow = await remote.until_ended(created["id"])
    assert (workflow["status"], world.emulator.count("submit")) == ("FAILED", 1)
    await receipt_of(remote, created["id"], "provider_cancelled")


async def test_a_provider_that_is_missing_after_a_restart_stops_nobody_else(
    world: World, memory: MemoryDatabase, tmp_path: Path
) -> None:
    world.hold()
    limits = {world.kind: {"*": ModelLimit(concurrency=5)}}
    async with running_service(memory, tmp_path / "data", grace_s=1, **world.settings) as first:
        running = await first.create(world.step(fallback_provider_type="LOCAL"))
        given_up = await first.create(world.step("given up"))
        steps = passthrough_step("a"), world.step("b", depends_on=["a"])
        waiting = await first.create(*steps, start=False, config=RETRY_AT_ONCE)
        await eventually(lambda: len(world.emulator.ledger.jobs()) == 2, "they are taken")
        await eventually(lambda: world.emulator.count("poll") > 1, "they are polled")
        world.emulator.always("cancel", Fault.UNAVAILABLE)
        await first.verb(given_up["id"], "cancel")
    async with running_service(memory, tmp_path / "data", limits=limits) as second:
        workflow = await second.until_ended(running["id"])
        assert (workflow["status"], len(await second.tasks(running["id"]))) == ("FAILED", 1)
        assert f"this service has no provider {world.kind}" in workflow["errors"][0]
        await second.verb(waiting["id"], "start")
        assert (await second.until_ended(waiting["id"]))["status"] == "FAILED"
        assert (await only_task(second, given_up["id"]))["cancel_receipt"] == "unknown"
    world.emulator.always("cancel", None)
    async with running_service(memory, tmp_path / "data", **world.settings) as third:
        for workflow_id in (running["id"], given_up["id"]):
            await receipt_of(third, workflow_id, "provider_cancelled")
    assert world.accepted() == [1, 1]


async def test_a_fault_in_a_providers_code_costs_no_second_job(
    world: World, remote: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = remote.app.engine.registry.remote(world.kind)
    polled, poll = [], provider.poll

    async def breaks_once(*args: Any) -> Any:
        polled.append(args)
        if len(polled) == 1:
            raise TypeError("a fault")
        return await poll(*args)

    monkeypatch.setattr(provider, "poll", breaks_once)
    created = await remote.create(world.step())
    workflow = await remote.until_ended(created["id"])
    assert (workflow["status"], world.emulator.count("submit"), len(polled)) == ("COMPLETED", 1, 2)


async def test_two_alike_each_find_a_job_of_their_own(world: World, remote: Service) -> None:
    world.emulator.plan("submit", Fault.LOSE_AFTER, Fault.LOSE_AFTER)
    config = {"prompt": "the same", "seed": 7}
    created = await remote.create(world.step("one", config=config), world.step("two", config=config))
    workflow = await remote.until_ended(created["id"])
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    ids = {task["remote_id"] for task in await remote.tasks(created["id"])}
    assert ids == {job_id for job_id, _, _ in world.emulator.ledger.jobs()}
    assert len(ids) == 2


# Given up


async def receipt_of(service: Service, workflow_id: str, wanted: str) -> dict[str, Any]:
    async def found() -> dict[str, Any]:
        return (await service.tasks(workflow_id))[0]

    await service.until(workflow_id, lambda _: not service.app.engine.scheduler.workflows)
    async with asyncio.timeout(60):
        while (task := await found())["cancel_receipt"] == "unknown" != wanted:  # lost, and not claimed yet
            await asyncio.sleep(0.01)
    assert task["cancel_receipt"] == wanted
    return task


@AT_EACH
async def test_a_cancel_reaches_the_provider(world: World, remote: Service) -> None:
    world.hold()
    created = await remote.create(world.step())
    await eventually(lambda: world.emulator.count("poll") > 0, "it is polled")
    response = await remote.verb(created["id"], "cancel")
    assert response.json()["status"] == "CANCELLED"
    await receipt_of(remote, created["id"], "provider_cancelled")
    assert world.emulator.count("cancel") >= 1
    assert (await remote.events(created["id"]))[-1]["data"] == {"receipt": "provider_cancelled"}


async def test_a_cancel_that_comes_too_late_says_so(world: World, remote: Service) -> None:
    world.hold()
    world.emulator.ignore_cancel = True
    created = await remote.create(world.step())
    await eventually(lambda: world.emulator.count("poll") > 0, "it is polled")
    await remote.verb(created["id"], "cancel")
    await eventually(lambda: world.emulator.count("cancel") > 0, "it is cancelled")
    assert (await only_task(remote, created["id"]))["cancel_receipt"] == "unknown"
    world.hold(held=False)
    task = await receipt_of(remote, created["id"], "finished_too_late")
    assert (task["status"], task["outputs"]) == ("CANCELLED", [])


class _LateJobs(HeldJobs):
    """Doesn't know a job yet when it is cancelled for the first time. The job is done when it is polled after that."""

    def __init__(self) -> None:
        super().__init__()
        self.polled, self.cancels = asyncio.Event(), 0

    async def poll(self, attempt: Attempt, job: Job, /) -> JobState:
        self.polled.set()
        if self.cancels:
            self.end(self.jobs[job.id])
        return await super().poll(attempt, job)

    async def cancel(self, attempt: Attempt, job: Job, /) -> CancelAnswer:
        self.cancels += 1
        return CancelAnswer.UNKNOWN_JOB if self.cancels == 1 else await super().cancel(attempt, job)


async def test_a_cancel_is_repeated_if_the_provider_did_not_know_the_job_yet(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = _LateJobs()
    async with serving(memory, tmp_path, provider, poll_interval_s=0.01) as service:
        created = await service.create(scripted_step("a"))
        await provider.polled.wait()
        await service.verb(created["id"], "cancel")
        await receipt_of(service, created["id"], "provider_cancelled")
    assert (provider.cancels, provider.jobs["job-0"].status) == (2, JobStatus.CANCELLED)


async def test_a_cancel_during_the_submit_hears_it_out_and_ends_the_job(world: World, remote: Service) -> None:
    world.hold()
    world.emulator.plan("submit", Fault.HANG_AFTER)
    created = await remote.create(world.step())
    await eventually(lambda: len(world.emulator.ledger.jobs()) == 1, "it is taken")
    assert (await remote.verb(created["id"], "cancel")).json()["status"] == "CANCELLED"
    world.emulator.let_go()
    task = await receipt_of(remote, created["id"], "provider_cancelled")
    assert task["remote_id"] == world.emulator.ledger.jobs()[0][0]


async def test_a_cancel_while_nobody_knows_looks_for_the_job_and_ends_it(world: World, remote: Service) -> None:
    world.hold()
    world.emulator.always("list", Fault.UNAVAILABLE)
    world.emulator.plan("submit", Fault.LOSE_AFTER)
    created = await remote.create(world.step())
    await eventually(lambda: world.emulator.count("list") > 0, "it is looked for")
    await remote.verb(created["id"], "cancel")
    world.emulator.always("list", None)
    await receipt_of(remote, created["id"], "provider_cancelled")


async def test_a_job_whose_time_is_up_is_ended(world: World, remote: Service) -> None:
    world.hold()
    created = await remote.create(world.step(config={"timeout_s": 60}, max_retries=0))
    await eventually(lambda: world.emulator.count("poll") > 0, "it is polled")
    expire_attempt(remote, created["id"])
    workflow = await remote.until_ended(created["id"])
    assert (workflow["status"], workflow["errors"]) == ("FAILED", ["draw: timed out after 60 s"])
    await receipt_of(remote, created["id"], "provider_cancelled")


async def test_what_is_followed_up_goes_on_after_the_run_was_lost(world: World, remote: Service) -> None:
    world.hold()
    world.emulator.always("cancel", Fault.UNAVAILABLE)
    created = await remote.create(world.step())
    await eventually(lambda: world.emulator.count("poll") > 0, "it is polled")
    await remote.verb(created["id"], "cancel")
    await eventually(lambda: world.emulator.count("cancel") > 0, "it is cancelled")
    scheduler_of(remote).drop(UUID(created["id"]))  # it comes back by a claim
    world.emulator.always("cancel", None)
    await receipt_of(remote, created["id"], "provider_cancelled")


# Restarts


@AT_EACH
@pytest.mark.parametrize(
    "stage", ["submitting", pytest.param("waiting", marks=extended), pytest.param("cancelling", marks=extended)]
)
async def test_a_restart_goes_on_where_it_was(
    world: World, memory: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    monkeypatch.setattr(scheduler, "_CANCEL_S", 0.1)  # a request that is under way heeds no cancellation
    world.hold()
    if stage == "submitting":
        world.emulator.plan("submit", Fault.HANG_AFTER)
    async with running_service(memory, tmp_path / "data", grace_s=1, **world.settings) as first:
        created = await first.create(world.step())
        await eventually(lambda: len(world.emulator.ledger.jobs()) == 1, "it is taken")
        if stage != "submitting":
            await eventually(lambda: world.emulator.count("poll") > 0, "it is polled")
        if stage == "cancelling":
            world.emulator.always("cancel", Fault.UNAVAILABLE)
            await first.verb(created["id"], "cancel")
            await eventually(lambda: world.emulator.count("cancel") > 0, "it is cancelled")
            world.emulator.always("cancel", None)
    world.hold(held=stage == "cancelling")
    async with running_service(memory, tmp_path / "data", **world.settings) as second:
        if stage == "cancelling":
            await receipt_of(second, created["id"], "provider_cancelled")
        else:
            workflow = await second.until_ended(created["id"])
            assert (workflow["status"], workflow["steps"][0]["retry_count"]) == ("COMPLETED", 0), workflow["errors"]
            assert (await only_task(second, created["id"]))["attempt"] == 1
    assert (world.accepted(), world.emulator.count("submit")) == ([1], 1)


async def test_what_has_no_credential_here_is_refused_at_create(
    world: World, memory: MemoryDatabase, tmp_path: Path
) -> None:
    if world.kind is ProviderType.CUSTOM:
        world.emulator.secret = None  # a worker may do without
    async with running_service(memory, tmp_path / "data", **world.settings | {"credentials": {}}) as service:
        body = {"name": "w", "origin_instance": "tests", "steps": [world.step()]}
        response = await service.client.post("/api/v1/workflows/", json=body)
        if world.kind in (ProviderType.CUSTOM, ProviderType.COMFYUI):
            assert (await service.until_ended(response.json()["id"]))["status"] == "COMPLETED"
        else:
            (fault,) = response.json()["detail"]
            assert (response.status_code, fault["type"]) == (422, "unknown_credential")
            assert fault["loc"] == ["body", "steps", 0, "provider_config", "credential"]


# Limits


async def test_no_more_of_a_model_run_at_once_than_its_limit(
    world: World, memory: MemoryDatabase, tmp_path: Path
) -> None:
    world.hold()
    limits = {world.kind: {"*": ModelLimit(concurrency=2)}}
    async with running_service(memory, tmp_path / "data", limits=limits, **world.settings) as service:
        created = await service.create(*(world.step(f"s{number}") for number in range(5)))
        await eventually(lambda: len(world.emulator.ledger.jobs()) == 2, "two are taken")
        assert service.app.metrics.value("stepwell_steps_waiting") == 3
        world.hold(held=False)
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
    assert world.accepted() == [1] * 5


async def test_what_may_not_start_yet_starts_when_it_may(
    world: World, memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    limits = {world.kind: {"*": ModelLimit(per_minute=300)}}  # five at once, and then one each fifth of a second
    async with running_service(memory, tmp_path / "data", limits=limits, **world.settings) as service:
        created = await service.create(*(world.step(f"s{number}") for number in range(7)))
        for started in (5, 6, 7):
            await service.until(created["id"], lambda workflow, wanted=started: workflow["completed_steps"] == wanted)  # type: ignore[misc]
            assert sum(world.accepted()) == started
            clock.advance(0.2)
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
    assert world.accepted() == [1] * 7


@pytest.mark.parametrize("ends_by", ["its answer", "its time"])
async def test_a_process_that_was_taken_for_dead_leaves_the_file_of_the_living(
    world: World, memory: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends_by: str
) -> None:
    """The first is still at work on the attempt that the second has finished, and ends it well, or badly."""
    monkeypatch.setattr(app_service, "_LAST_WRITES_S", 0.1)  # of the first, which has no lease to give back
    world.emulator.plan("poll" if ends_by == "its time" else "file", Fault.HANG_AFTER)
    shared = world.settings | {"exclusive": False, "lease_s": 3_600.0, "grace_s": 0.1}
    async with running_service(memory, tmp_path / "data", **shared) as first:
        created = await first.create(world.step(max_retries=0))
        await eventually(lambda: any(call.kind in ("poll", "file") for call in world.emulator.calls), "it is at work")
        memory.declare_dead()
        async with running_service(memory, tmp_path / "data", **shared) as second:
            done = await second.until_ended(created["id"])
            assert done["status"] == "COMPLETED", done["errors"]
            if ends_by == "its answer":
                world.emulator.let_go()
            else:
                (attempt,) = first.app.engine.scheduler.leaving.attempts_of(UUID(created["id"])).values()
                assert attempt.control is not None
                attempt.control.set_deadline(0)
            await eventually(lambda: nothing_left(first), "the first has let go")
            picture = await second.client.get(f"/api/v1/artifacts/{done['final_step_result']['result_image_path']}")
            assert picture.status_code == 200
    assert world.accepted() == [1]
