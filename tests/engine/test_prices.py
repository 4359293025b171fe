"""The cost of attempts at providers, and the sums that workflows report."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from stepwell.basics.setting_values import Prices
from stepwell.contract.enums import ProviderType
from stepwell.testing import MemoryDatabase
from support.database.failing_store import expire_attempt
from support.emulators.base import Call, Fault, Reply
from support.emulators.comfyui_graphs import CHECKPOINT
from support.emulators.custom import CustomEmulator, CustomJob
from support.providers.emulated import SECRET, World, world_of
from support.providers.scripted import eventually, passthrough_step
from support.service.live_service import Service, running_service

AT_ONCE = {"retry": {"base_s": 0}}
UNKNOWN = {"amounts": [], "unknown_attempts": 1}
# The model that each provider uses if a step names none.
MODELS = {
    ProviderType.FAL: "fal-ai/flux-lora",
    ProviderType.REPLICATE: "stability-ai/sdxl",
    ProviderType.CUSTOM: "GENERATION",
    ProviderType.COMFYUI: CHECKPOINT,
}


def list_price(amount: float, currency: str = "USD", source: str = "settings") -> dict[str, Any]:
    """Return the cost of an attempt by the price list."""
    return {"amount": amount, "currency": currency, "source": source}


def reported_cost(amount: float, currency: str = "USD") -> dict[str, Any]:
    """Return the cost of an attempt as the provider reported it."""
    return list_price(amount, currency, "provider")


def total(*amounts: tuple[float, str], unknown: int = 0) -> dict[str, Any]:
    """Return the cost of a workflow."""
    sums = [{"amount": amount, "currency": currency} for amount, currency in amounts]
    return {"amounts": sums, "unknown_attempts": unknown}


class Worker(CustomEmulator):
    """A custom worker that reports costs.

    `costs`: the cost of a job, by its step and attempt. `slow`: jobs of first attempts don't end. `refusals`: if given,
    submits wait until it is set and are then refused.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, secret=SECRET)
        self.costs: dict[tuple[str, int], dict[str, Any]] = {}
        self.slow = False
        self.refusals: asyncio.Event | None = None

    async def answer(self, call: Call) -> Reply:
        if call.kind == "submit" and self.refusals is not None:
            await self.refusals.wait()
            return self.signed(call, Reply(422, {"error": "no"}))
        if call.kind == "poll":
            job = self._jobs[call.path.rpartition("/")[2]]
            self.held = self.slow and job.body["attempt"] == 1
        return await super().answer(call)

    def _done(self, job: CustomJob) -> dict[str, Any]:
        cost = self.costs.get((job.body["step_id"], job.body["attempt"]))
        return super()._done(job) | ({} if cost is None else {"cost": cost})


@asynccontextmanager
async def run_with_worker(
    memory: MemoryDatabase, folder: Path, prices: dict[str, float] | None = None, **settings: Any
) -> AsyncIterator[tuple[World, Worker, Service]]:
    """Run a service with a worker that reports costs. *prices*: the price list of its models."""
    folder.joinpath("emulator").mkdir()
    listed = Prices() if prices is None else Prices({ProviderType.CUSTOM: {**prices}})
    async with Worker(folder / "emulator") as worker:
        world = World(ProviderType.CUSTOM, worker)
        async with running_service(memory, folder / "data", prices=listed, **world.settings, **settings) as service:
            yield world, worker, service


async def costs_of(service: Service, workflow_id: str) -> list[Any]:
    """Return the costs of the workflow's attempts, in the order in which they began."""
    response = await service.client.get(f"/api/v1/workflows/{workflow_id}/tasks")
    return [task["cost"] for task in sorted(response.json()["tasks"], key=lambda task: task["created_at"])]


async def cost_of_workflow(service: Service, workflow_id: str) -> Any:
    """Return the workflow's cost, after checking that all requests return the same."""
    cost = (await service.get(workflow_id))["cost"]
    path, listed = f"/api/v1/workflows/{workflow_id}", "/api/v1/workflows/"
    without = (await service.client.get(path, params={"include_steps": False})).json()
    assert without["cost"] == cost
    for include_steps in (False, True):
        page = (await service.client.get(listed, params={"include_steps": include_steps, "limit": 100})).json()
        assert [w["cost"] for w in page["workflows"] if w["id"] == workflow_id] == [cost]
    return cost


async def task_after_receipt(service: Service, workflow_id: str, receipt: str) -> dict[str, Any]:
    """Return the first task once its cancel receipt is known, which must be *receipt*."""
    async with asyncio.timeout(30):
        while True:
            response = await service.client.get(f"/api/v1/workflows/{workflow_id}/tasks")
            task: dict[str, Any] = min(response.json()["tasks"], key=lambda task: task["created_at"])
            if task["cancel_receipt"] not in {None, "unknown"}:
                assert task["cancel_receipt"] == receipt
                return task
            await asyncio.sleep(0.01)


async def run_to_completion(service: Service, *steps: dict[str, Any]) -> str:
    """Run a workflow that must complete, and return its id."""
    created = await service.create(*steps, config=AT_ONCE)
    workflow = await service.until_ended(created["id"])
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    workflow_id: str = created["id"]
    return workflow_id


# One attempt


@pytest.mark.parametrize(("prices", "sync"), [({"GENERATION": 9.0, "*": 8.0}, False), (None, True)])
async def test_the_cost_that_the_provider_reports_precedes_the_price_list(
    memory: MemoryDatabase, tmp_path: Path, prices: dict[str, float] | None, *, sync: bool
) -> None:
    async with run_with_worker(memory, tmp_path, prices) as (world, worker, service):
        worker.cost, worker.sync, worker.inline = {"amount": 0.25, "currency": "EUR"}, sync, True
        workflow_id = await run_to_completion(service, world.step())
        assert await costs_of(service, workflow_id) == [reported_cost(0.25, "EUR")]
        assert await cost_of_workflow(service, workflow_id) == total((0.25, "EUR"))


async def test_a_reported_cost_of_zero_counts(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with run_with_worker(memory, tmp_path, {"*": 8.0}) as (world, worker, service):
        worker.cost = {"amount": 0, "currency": "USD"}
        workflow_id = await run_to_completion(service, world.step())
        assert await costs_of(service, workflow_id) == [reported_cost(0.0)]
        assert await cost_of_workflow(service, workflow_id) == total((0.0, "USD"))


@pytest.mark.parametrize(
    ("kind", "named", "others", "cost"),
    [
        *((kind, 0.05, 9.0, 0.05) for kind in MODELS),
        (ProviderType.CUSTOM, 0.05, None, 0.05),
        (ProviderType.CUSTOM, 0.0, 9.0, 0.0),
        (ProviderType.FAL, None, 9.0, 9.0),
        (ProviderType.CUSTOM, None, None, None),
    ],
)
async def test_the_price_list_prices_models_by_name_or_asterisk(
    memory: MemoryDatabase,
    tmp_path: Path,
    kind: ProviderType,
    named: float | None,
    others: float | None,
    cost: float | None,
) -> None:
    own = {MODELS[kind]: named, "*": others, "another": 7.0}
    prices = Prices({kind: {model: amount for model, amount in own.items() if amount is not None}})
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(world_of(kind, tmp_path / "emulator"))
        running = running_service(memory, tmp_path / "data", prices=prices, currency="CHF", **world.settings)
        service = await stack.enter_async_context(running)
        workflow_id = await run_to_completion(service, world.step())
        tasks = (await service.client.get(f"/api/v1/workflows/{workflow_id}/tasks")).json()["tasks"]
        assert [task["model"] for task in tasks] == [MODELS[kind]]
        assert [task["cost"] for task in tasks] == [None if cost is None else list_price(cost, "CHF")]
        expected = UNKNOWN if cost is None else total((cost, "CHF"))
        assert await cost_of_workflow(service, workflow_id) == expected


async def test_the_prices_of_another_provider_do_not_apply(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(world_of(ProviderType.CUSTOM, tmp_path / "emulator"))
        prices = Prices({ProviderType.FAL: {"*": 1.0, "GENERATION": 1.0}})
        running = running_service(memory, tmp_path / "data", prices=prices, **world.settings)
        service = await stack.enter_async_context(running)
        workflow_id = await run_to_completion(service, world.step())
        assert (await costs_of(service, workflow_id), await cost_of_workflow(service, workflow_id)) == ([None], UNKNOWN)


async def test_the_model_that_the_step_names_decides_the_price(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with run_with_worker(memory, tmp_path, {"big": 3.0, "GENERATION": 1.0}) as (world, _, service):
        workflow_id = await run_to_completion(service, world.step(provider_config={"model": "big"}))
        assert await costs_of(service, workflow_id) == [list_price(3.0)]


async def test_work_in_this_process_costs_nothing(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with run_with_worker(memory, tmp_path, {"*": 8.0}) as (world, _, service):
        local = world.step("local", provider_config={"provider_type": "LOCAL"})
        workflow_id = await run_to_completion(service, passthrough_step("first"), local)
        assert await costs_of(service, workflow_id) == [None, None]
        assert await cost_of_workflow(service, workflow_id) is None


async def test_before_the_first_request_there_is_no_cost(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with run_with_worker(memory, tmp_path) as (world, _, service):
        created = await service.create(world.step(), start=False)
        assert created["cost"] is None
        assert await cost_of_workflow(service, created["id"]) is None


async def test_the_cost_of_a_running_attempt_is_unknown(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with run_with_worker(memory, tmp_path, {"*": 2.0}) as (world, worker, service):
        worker.slow = True
        created = await service.create(world.step())
        await eventually(lambda: worker.count("poll") > 0, "it is polled")
        assert (await costs_of(service, created["id"]), await cost_of_workflow(service, created["id"])) == (
            [None],
            UNKNOWN,
        )
        worker.slow = False
        assert (await service.until_ended(created["id"]))["cost"] == total((2.0, "USD"))


async def test_the_cost_of_a_failed_job_is_unknown(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with run_with_worker(memory, tmp_path, {"*": 2.0}) as (world, worker, service):
        worker.outcome, worker.retryable = "failed", False
        created = await service.create(world.step())
        await service.until_ended(created["id"])
        assert (await costs_of(service, created["id"]), await cost_of_workflow(service, created["id"])) == (
            [None],
            UNKNOWN,
        )


@pytest.mark.parametrize("fault", [Fault.LOSE_BEFORE, Fault.LOSE_AFTER])
async def test_the_cost_of_a_job_that_cannot_be_found_is_unknown(
    memory: MemoryDatabase, tmp_path: Path, fault: Fault
) -> None:
    async with run_with_worker(memory, tmp_path, {"*": 2.0}) as (world, worker, service):
        worker.hide_from_listing = True
        worker.plan("submit", fault)
        created = await service.create(world.step())
        assert (await service.until_ended(created["id"]))["status"] == "FAILED"
        assert (await costs_of(service, created["id"]), await cost_of_workflow(service, created["id"])) == (
            [None],
            UNKNOWN,
        )


# Several attempts


async def test_costs_are_summed_by_currency(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with run_with_worker(memory, tmp_path, {"GENERATION": 0.7}) as (world, worker, service):
        worker.costs = {
            ("a", 1): {"amount": 0.1, "currency": "USD"},
            ("b", 1): {"amount": 0.2, "currency": "USD"},
            ("c", 1): {"amount": 0.000001, "currency": "EUR"},
            ("d", 1): {"amount": 1_000_000.1, "currency": "EUR"},
        }
        unpriced = world.step("f", provider_config={"model": "without a price"})
        steps = [world.step(step_id) for step_id in "abcde"]
        workflow_id = await run_to_completion(service, *steps, unpriced, passthrough_step("g"))
        cost = await cost_of_workflow(service, workflow_id)
        assert cost == total((1_000_000.100001, "EUR"), (1.0, "USD"), unknown=1)


async def test_sums_are_exact_decimals(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with run_with_worker(memory, tmp_path) as (world, worker, service):
        worker.costs = {(step, 1): {"amount": amount, "currency": "USD"} for step, amount in (("a", 0.1), ("b", 0.2))}
        workflow_id = await run_to_completion(service, world.step("a"), world.step("b"))
        path = f"/api/v1/workflows/{workflow_id}"
        for text in [(await service.client.get(at)).text for at in (path, "/api/v1/workflows/")]:
            assert '"cost":{"amounts":[{"amount":0.3,"currency":"USD"}],"unknown_attempts":0}' in text


async def test_a_step_has_the_provider_and_the_model_of_its_latest_attempt_and_the_cost_of_all(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    async with run_with_worker(memory, tmp_path) as (world, worker, service):
        worker.costs = {("a", 2): {"amount": 0.1, "currency": "USD"}}
        worker.slow = worker.ignore_cancel = True
        timed = world.step("a", config={"timeout_s": 60}, provider_config={"model": "big"})
        local = world.step("b", provider_config={"provider_type": "LOCAL"}, depends_on=["a"])
        created = await service.create(timed, local, passthrough_step("c"), config=AT_ONCE)
        await eventually(lambda: worker.count("poll") > 0, "it is polled")
        expire_attempt(service, created["id"])
        workflow = await service.until_ended(created["id"])
        assert [[step[name] for name in ("provider", "model", "cost")] for step in workflow["steps"]] == [
            ["CUSTOM", "big", total((0.1, "USD"), unknown=1)],
            ["LOCAL", None, None],
            [None, None, None],
        ]


async def test_a_workflows_cost_has_only_its_own_attempts(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with run_with_worker(memory, tmp_path, {"*": 0.5}) as (world, _, service):
        ids = [await run_to_completion(service, *(world.step(f"s{n}") for n in range(count))) for count in (1, 2, 3)]
        assert [await cost_of_workflow(service, each) for each in ids] == [
            total((each, "USD")) for each in (0.5, 1.0, 1.5)
        ]
        page = (await service.client.get("/api/v1/workflows/")).json()["workflows"]
        found = {each["id"]: each["cost"] for each in page}
        assert found == dict(zip(ids, [total((each, "USD")) for each in (0.5, 1.0, 1.5)], strict=True))


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.UNAVAILABLE, Fault.BROKEN])
async def test_an_attempt_that_the_provider_did_not_accept_costs_nothing(
    memory: MemoryDatabase, tmp_path: Path, fault: Fault
) -> None:
    async with run_with_worker(memory, tmp_path, {"*": 0.5}) as (world, worker, service):
        worker.plan("submit", fault, fault)
        workflow_id = await run_to_completion(service, world.step())
        assert await costs_of(service, workflow_id) == [None, None, list_price(0.5)]
        assert await cost_of_workflow(service, workflow_id) == total((0.5, "USD"))


async def test_an_attempt_that_the_provider_refused_costs_nothing(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with run_with_worker(memory, tmp_path, {"*": 0.5}) as (world, worker, service):
        worker.plan("submit", Fault.REFUSED)
        created = await service.create(world.step())
        assert (await service.until_ended(created["id"]))["status"] == "FAILED"
        assert (await costs_of(service, created["id"]), await cost_of_workflow(service, created["id"])) == (
            [None],
            None,
        )


async def test_a_lost_job_and_its_successful_retry_both_count(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with run_with_worker(memory, tmp_path, {"*": 0.5}) as (world, worker, service):
        worker.slow = True
        step = world.step(provider_config={"on_unknown": "resubmit"})
        created = await service.create(step, config=AT_ONCE)
        await eventually(lambda: worker.count("poll") > 0, "it is polled")
        worker.forget(worker.ledger.jobs()[0][0])
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        assert await costs_of(service, created["id"]) == [None, list_price(0.5)]
        assert await cost_of_workflow(service, created["id"]) == total((0.5, "USD"), unknown=1)


# Cancelled and timed out


async def test_a_cancelled_attempt_that_never_started_costs_nothing(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with run_with_worker(memory, tmp_path, {"*": 0.5}) as (world, worker, service):
        worker.refusals = asyncio.Event()
        created = await service.create(world.step())
        await eventually(lambda: worker.count("submit") > 0, "it is sent")
        await service.verb(created["id"], "cancel")
        assert await cost_of_workflow(service, created["id"]) == UNKNOWN
        worker.refusals.set()
        assert (await task_after_receipt(service, created["id"], "never_started"))["cost"] is None
        assert await cost_of_workflow(service, created["id"]) is None


@pytest.mark.parametrize(("prices", "cost"), [({"*": 0.5}, list_price(0.5)), (None, None)])
@pytest.mark.parametrize("receipt", ["finished_too_late", "provider_refused"])
async def test_a_cancelled_job_that_finishes_all_the_same_is_paid_for(
    memory: MemoryDatabase, tmp_path: Path, prices: dict[str, float] | None, cost: dict[str, Any] | None, receipt: str
) -> None:
    async with run_with_worker(memory, tmp_path, prices) as (world, worker, service):
        worker.slow = worker.ignore_cancel = True
        worker.refuse_cancel = receipt == "provider_refused"
        created = await service.create(world.step())
        await eventually(lambda: worker.count("poll") > 0, "it is polled")
        await service.verb(created["id"], "cancel")
        await eventually(lambda: worker.count("cancel") > 0, "it is cancelled")
        assert await cost_of_workflow(service, created["id"]) == UNKNOWN
        worker.slow = False
        assert (await task_after_receipt(service, created["id"], receipt))["cost"] == cost
        assert await cost_of_workflow(service, created["id"]) == (total((0.5, "USD")) if cost else UNKNOWN)


async def test_a_result_that_arrives_with_the_submit_after_a_cancel_is_paid_for(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    async with run_with_worker(memory, tmp_path, {"*": 0.5}) as (world, worker, service):
        worker.sync, worker.inline, worker.cost = True, True, {"amount": 4, "currency": "EUR"}
        worker.plan("submit", Fault.HANG_AFTER)
        created = await service.create(world.step())
        await eventually(lambda: len(worker.ledger.jobs()) == 1, "it is submitted")
        await service.verb(created["id"], "cancel")
        worker.let_go()
        task = await task_after_receipt(service, created["id"], "finished_too_late")
        assert (task["cost"], task["outputs"], task["remote_id"]) == (reported_cost(4.0, "EUR"), [], None)
        assert await cost_of_workflow(service, created["id"]) == total((4.0, "EUR"))


async def test_the_cost_of_a_job_cancelled_at_the_provider_is_unknown(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with run_with_worker(memory, tmp_path, {"*": 0.5}) as (world, worker, service):
        worker.slow = True
        created = await service.create(world.step())
        await eventually(lambda: worker.count("poll") > 0, "it is polled")
        await service.verb(created["id"], "cancel")
        assert (await task_after_receipt(service, created["id"], "provider_cancelled"))["cost"] is None
        assert await cost_of_workflow(service, created["id"]) == UNKNOWN


async def test_a_timed_out_attempt_and_its_retry_are_both_paid_for(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with run_with_worker(memory, tmp_path, {"*": 0.1}) as (world, worker, service):
        worker.slow = worker.ignore_cancel = True
        worker.costs = {("draw", 2): {"amount": 0.2, "currency": "USD"}}
        created = await service.create(world.step(config={"timeout_s": 60}), config=AT_ONCE)
        await eventually(lambda: worker.count("poll") > 0, "it is polled")
        expire_attempt(service, created["id"])
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        worker.slow = False
        assert (await task_after_receipt(service, created["id"], "finished_too_late"))["status"] == "FAILED"
        assert await costs_of(service, created["id"]) == [list_price(0.1), reported_cost(0.2)]
        assert await cost_of_workflow(service, created["id"]) == total((0.3, "USD"))


async def test_costs_are_the_same_after_a_restart_with_other_prices(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with run_with_worker(memory, tmp_path, {"*": 0.5}) as (world, worker, service):
        worker.costs = {("a", 1): {"amount": 0.1, "currency": "EUR"}}
        workflow_id = await run_to_completion(service, world.step("a"), world.step("b"))
    async with running_service(memory, tmp_path / "data", prices=Prices({ProviderType.CUSTOM: {"*": 7.0}})) as later:
        assert sorted(map(str, await costs_of(later, workflow_id))) == sorted(
            map(str, [reported_cost(0.1, "EUR"), list_price(0.5)])
        )
        assert await cost_of_workflow(later, workflow_id) == total((0.1, "EUR"), (0.5, "USD"))


async def test_a_job_whose_file_is_useless_is_paid_for(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with run_with_worker(memory, tmp_path, {"*": 0.5}) as (world, worker, service):
        worker.plan("file", Fault.GARBAGE_AFTER)
        created = await service.create(world.step(), config=AT_ONCE)
        workflow = await service.until_ended(created["id"])
        assert workflow["status"] == "FAILED"
        assert await costs_of(service, created["id"]) == [list_price(0.5)]
        assert await cost_of_workflow(service, created["id"]) == total((0.5, "USD"))


# Reuse


async def test_what_a_rerun_takes_over_is_saved_and_not_paid_again(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with run_with_worker(memory, tmp_path, {"*": 0.1}) as (world, worker, service):
        below = {
            "id": "sub",
            "task_type": "SUBWORKFLOW",
            "config": {"workflow": {"name": "b", "steps": [world.step()]}},
        }
        first = await run_to_completion(service, world.step("each", for_each={"count": 3}), below, world.step("b"))
        answer = await service.client.post(f"/api/v1/workflows/{first}/rerun", json={"config": {"b": {"seed": 1}}})
        second = await service.until_ended(answer.json()["id"])
        assert (second["status"], second["cost"]) == ("COMPLETED", total((0.1, "USD")))
        (found,) = (await service.client.get("/api/v1/costs?by=provider,model")).json()["costs"]
        sums = {"currency": "USD", "amount": 0.6, "attempts": 6, "saved": 0.4}
        assert found == {"provider": "CUSTOM", "model": "GENERATION", **sums}
        assert len(worker.ledger.jobs()) == 6
