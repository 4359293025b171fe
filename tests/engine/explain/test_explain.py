"""Each reason why a step isn't moving, in a live service whose provider works in this process.

The cost of an explanation is measured on PostgreSQL, because only its adapters count statements.
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from stepwell.contract.enums import ProviderType
from stepwell.testing import ManualClock, MemoryDatabase
from stepwell.testing.memory_tables import ALWAYS
from support.database.failing_store import BEFORE, scheduler_of, use_failing_store
from support.providers.scripted import Fail, Hang, ScriptedProvider, eventually, passthrough_step, scripted_step
from support.service.explain_requests import explain, reason_of, wait_for_code
from support.service.live_service import Service, running_service

UNKNOWN = "/api/v1/workflows/019b0000-0000-7000-8000-000000000000/explain"


def hanging(**script: Any) -> ScriptedProvider:
    return ScriptedProvider(script=script, default=Hang())


def without_detail(reason: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in reason.items() if name != "detail"}


async def test_steps_of_a_workflow_that_was_never_started_are_not_started(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    async with running_service(memory, tmp_path, providers=[hanging()]) as service:
        created = await service.create(scripted_step("a"), scripted_step("b", "a"), start=False)
        explanation = await explain(service, created["id"])
        not_started = {"code": "not_started", "detail": "The workflow was never started."}
        assert (explanation["status"], explanation["reason"]) == ("PENDING", not_started)
        assert {name: step["reason"] for name, step in explanation["steps"].items()} == {
            "a": not_started,
            "b": not_started,
        }
        assert (await service.client.get(UNKNOWN)).status_code == 404


async def test_a_step_names_the_unfinished_steps_that_it_waits_for(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = hanging()
    async with running_service(memory, tmp_path, providers=[provider]) as service:
        names = [f"s{number:02}" for number in range(60)]
        first = [scripted_step(name) for name in names]
        created = await service.create(
            *first, passthrough_step("join", *names), passthrough_step("last", "join", "s00")
        )
        await provider.until_called("s59")
        provider.release("s00", "s01")
        await service.until(created["id"], lambda workflow: workflow["completed_steps"] == 2)
        explanation = await explain(service, created["id"])
        assert (explanation["status"], explanation["reason"]) == ("RUNNING", None)
        assert without_detail(explanation["steps"]["join"]["reason"]) == {
            "code": "waits_for_steps",
            "unfinished": 58,
            "steps": names[2:52],
            "stuck": [],
        }
        assert explanation["steps"]["join"]["reason"]["detail"].startswith("Waits for 's02', 's03', ")
        assert explanation["steps"]["last"]["reason"]["steps"] == ["join"]
        assert "s00" not in explanation["steps"]
        provider.release(*names)
        await service.until_ended(created["id"])
        assert (await explain(service, created["id"]))["steps"] == {}


async def test_a_step_that_works_in_this_process_is_running_locally(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = hanging()
    async with running_service(memory, tmp_path, providers=[provider]) as service:
        workflow_store = use_failing_store(service)
        created = await service.create(scripted_step("a"), start=False)
        workflow_store.gate.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(service.verb(created["id"], "start"))
            reason = await wait_for_code(service, created["id"], "a", "running_locally")
            assert (reason["doing"], reason["attempt"]) == ("recording", 1)
            workflow_store.gate.set()
        await provider.until_called("a")
        reason = await reason_of(service, created["id"], "a")
        step = (await service.get(created["id"]))["steps"][0]
        assert without_detail(reason) == {
            "code": "running_locally",
            "attempt": 1,
            "doing": "working",
            "provider": "CUSTOM",
            "since": step["started_at"],
            "trouble": None,
        }
        provider.release("a")
        await service.until_ended(created["id"])


@pytest.mark.parametrize(
    ("limits", "limit", "slots"),
    [
        ({"max_steps_per_provider": 2}, "provider", 2),
        ({"max_running_steps": 3}, "total", 3),
        ({"max_steps_per_tenant": 1}, "tenant", 1),
    ],
)
async def test_a_step_that_waits_for_a_slot_knows_the_limit_and_its_queue_position(
    memory: MemoryDatabase, tmp_path: Path, limits: dict[str, Any], limit: str, slots: int
) -> None:
    provider = hanging()
    async with running_service(memory, tmp_path, providers=[provider], **limits) as service:
        one = await service.create(*(scripted_step(f"a{number}") for number in range(5)), origin_tenant_id="t")
        await eventually(lambda: provider.running == slots)
        two = await service.create(*(scripted_step(f"b{number}") for number in range(2)), origin_tenant_id="t")
        first, second = await explain(service, one["id"]), await explain(service, two["id"])
        places = {
            name: step["reason"]["position"]
            for explanation in (first, second)
            for name, step in explanation["steps"].items()
            if step["reason"]["code"] == "waits_for_slot"
        }
        # The workflows take turns, beginning with the older one.
        waiting = [f"a{number}" for number in range(slots, 5)]
        order = [name for pair in zip(waiting, ["b0", "b1", "", ""], strict=False) for name in pair if name]
        order += waiting[len(order) - 2 :] if len(waiting) > 4 else []
        assert places == {name: place for place, name in enumerate(order, 1)}
        reason = first["steps"]["a4"]["reason"]
        assert (reason["limit"], reason["slots"], reason["used"]) == (limit, slots, slots)
        assert (reason["provider"], reason["model"]) == ("CUSTOM", None)
        provider.release(*(step["step_id"] for step in one["steps"] + two["steps"]))
        for workflow in (one, two):
            await service.until_ended(workflow["id"])


async def test_a_step_before_its_next_attempt_knows_when_that_is(memory: MemoryDatabase, tmp_path: Path) -> None:
    script = {"a": [Fail("not today", retry_after_s=600)], "b": [Fail(retryable=False), Fail("nor here")]}
    local = ScriptedProvider(ProviderType.REPLICATE, {"b": [Fail("nor here", retry_after_s=900)]})
    async with running_service(memory, tmp_path, providers=[ScriptedProvider(script=script), local]) as service:
        with_fallback = scripted_step("b", fallback_provider_type="REPLICATE", max_retries=1)
        created = await service.create(scripted_step("a", max_retries=4), with_fallback)
        workflow = await service.until(
            created["id"], lambda workflow: all(step["error_message"] for step in workflow["steps"])
        )
        reason = await wait_for_code(service, created["id"], "b", "retry")
        counts = reason["attempt"], reason["attempts"]
        assert (reason["provider"], counts, reason["error"]) == ("REPLICATE", (2, 2), "nor here")
        reason = await reason_of(service, created["id"], "a")
        assert without_detail(reason) == {
            "code": "retry",
            "provider": "CUSTOM",
            "attempt": 2,
            "attempts": 5,
            "at": workflow["steps"][0]["next_attempt_at"],
            "error": "not today",
        }
        assert reason["detail"].endswith(" The last error: not today")


async def test_a_paused_workflow_names_who_paused_it_and_when(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = hanging()
    async with running_service(memory, tmp_path, providers=[provider], max_steps_per_provider=1) as service:
        created = await service.create(scripted_step("a"), scripted_step("b"), scripted_step("c", "a"))
        await provider.until_called("a")
        for _ in range(2):  # the last pause counts
            assert (await service.verb(created["id"], "pause")).status_code == 200
            (*_, at) = [e["at"] for e in await service.events(created["id"]) if e["type"] == "workflow.paused"]
            explanation = await explain(service, created["id"])
            codes = {name: step["reason"]["code"] for name, step in explanation["steps"].items()}
            assert codes == {"a": "running_locally", "b": "paused", "c": "waits_for_steps"}
            paused = {"code": "paused", "by": "tester", "at": at, "budget": False}
            assert without_detail(explanation["reason"]) == paused
            assert without_detail(explanation["steps"]["b"]["reason"]) == paused
            assert explanation["reason"]["detail"].startswith("The workflow was paused by tester at 2")
            assert (await service.verb(created["id"], "resume")).status_code == 200
        await service.verb(created["id"], "pause")
        provider.release("a")
        await service.until(created["id"], lambda workflow: workflow["completed_steps"] == 1)
        await eventually(lambda: UUID(created["id"]) not in scheduler_of(service).workflows)
        explanation = await explain(service, created["id"])  # now from the database
        assert (explanation["reason"]["by"], explanation["steps"]["b"]["reason"]["code"]) == ("tester", "paused")


async def test_a_step_that_does_not_start_because_another_failed_names_it(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = hanging(a=[Hang(Fail("broken", retryable=False))])
    async with running_service(memory, tmp_path, providers=[provider], max_steps_per_provider=2) as service:
        steps = [
            scripted_step("a"),
            scripted_step("b"),
            scripted_step("c"),
            scripted_step("d", "a"),
            scripted_step("e", "b"),
        ]
        created = await service.create(*steps)
        await provider.until_called("b")
        provider.release("a")
        await service.until(created["id"], lambda workflow: workflow["errors"])
        explanation = await explain(service, created["id"])
        assert explanation["status"] == "RUNNING"
        later = "Nothing new starts. The workflow fails when its running steps have ended."
        failed = {"code": "failed", "steps": ["a"], "error": "broken", "failure": None}
        assert explanation["reason"] == failed | {"detail": f"'a' failed for good: broken. {later}"}
        codes = {name: step["reason"]["code"] for name, step in explanation["steps"].items()}
        waits = "waits_for_steps"
        assert codes == {"a": "failed", "b": "running_locally", "c": "failed_elsewhere", "d": waits, "e": waits}
        assert explanation["steps"]["a"]["reason"] == failed | {"detail": "Has failed for good: broken."}
        assert explanation["steps"]["d"]["reason"]["stuck"] == ["a"]
        assert explanation["steps"]["d"]["reason"]["detail"] == "Waits for 'a'. 'a' ended without success."
        assert explanation["steps"]["c"]["reason"]["detail"] == "'a' failed: nothing new starts."
        assert explanation["steps"]["e"]["reason"]["stuck"] == []
        provider.release("b")
        await service.until_ended(created["id"])
        explanation = await explain(service, created["id"])
        assert explanation["status"] == "FAILED"
        assert explanation["reason"] == failed | {"detail": "'a' failed for good: broken. Resume runs what is left."}
        left = {"code": "failed_elsewhere", "steps": ["a"], "failure": None}
        assert without_detail(explanation["steps"]["c"]["reason"]) == left
        assert explanation["steps"]["e"]["reason"]["code"] == "failed_elsewhere"
        assert explanation["steps"]["e"]["reason"]["detail"] == "'a' failed: resume runs this step."
        assert (await service.verb(created["id"], "cleanup")).status_code == 200
        explanation = await explain(service, created["id"])
        assert {explanation["reason"]["code"], *(each["reason"]["code"] for each in explanation["steps"].values())} == {
            "deleted"
        }


async def test_a_step_behind_a_failed_one_says_that_only_resume_moves_it(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = hanging(l=[Fail("broken", retryable=False)])
    async with running_service(memory, tmp_path, providers=[provider]) as service:
        created = await service.create(
            scripted_step("l"), scripted_step("x", "l"), scripted_step("y", "x"), scripted_step("z", "l", "x")
        )
        await service.until_ended(created["id"])
        steps = (await explain(service, created["id"]))["steps"]
        assert steps["x"]["reason"] == {
            "code": "waits_for_steps",
            "detail": "Waits for 'l'. 'l' ended without success: only resume moves that.",
            "unfinished": 1,
            "steps": ["l"],
            "stuck": ["l"],
        }
        assert steps["y"]["reason"] == {
            "code": "waits_for_steps",
            "detail": "Waits for 'x'. Nothing new starts: only resume moves 'x'.",
            "unfinished": 1,
            "steps": ["x"],
            "stuck": ["x"],
        }
        assert steps["z"]["reason"]["stuck"] == ["l", "x"]


async def test_a_step_behind_a_paused_one_says_that_only_resume_moves_it(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = hanging()
    async with running_service(memory, tmp_path, providers=[provider], max_steps_per_provider=1) as service:
        created = await service.create(scripted_step("a"), scripted_step("b"), scripted_step("c", "a", "b"))
        await provider.until_called("a")
        assert (await reason_of(service, created["id"], "c"))["stuck"] == []
        assert (await service.verb(created["id"], "pause")).status_code == 200
        reason = await reason_of(service, created["id"], "c")
        assert (reason["steps"], reason["stuck"]) == (["a", "b"], ["b"])
        assert reason["detail"] == "Waits for 'a', 'b'. Nothing new starts: only resume moves 'b'."
        provider.release("a")


async def test_a_workflow_that_timed_out_gives_the_timeout_as_its_failure(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    async with running_service(memory, tmp_path, providers=[hanging()], max_steps_per_provider=1) as service:
        created = await service.create(scripted_step("a"), scripted_step("b"), config={"workflow_timeout_s": 60})
        clock.advance(60)
        await service.until_ended(created["id"])
        explanation = await explain(service, created["id"])
        failure = "workflow: timed out after 60 s"
        assert without_detail(explanation["reason"]) == {
            "code": "failed",
            "steps": [],
            "error": None,
            "failure": failure,
        }
        assert explanation["steps"]["b"]["reason"]["failure"] == failure
        assert set(explanation["steps"]) == {"b"}


async def test_a_workflow_of_another_process_names_its_owner_and_lease_if_that_does_not_respond(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = hanging(r=[Fail("later", retry_after_s=600)])
    async with (
        running_service(memory, tmp_path / "1", providers=[provider], exclusive=False, lease_s=600, grace_s=1) as one,
        running_service(memory, tmp_path / "2", providers=[hanging()], exclusive=False, lease_s=600, grace_s=1) as two,
    ):
        created = await one.create(
            scripted_step("a"), scripted_step("r"), scripted_step("b", "a"), origin_tenant_id="t"
        )
        workflow = await one.until(created["id"], lambda workflow: workflow["steps"][1]["next_attempt_at"])
        await provider.until_called("a")
        assert (await reason_of(two, created["id"], "a"))["code"] == "running_locally"
        await two.app.services.commands.stop(0)  # from now on it asks nobody
        explanation = await explain(two, created["id"])
        (state,), processes = memory.states(), memory.tables.processes
        assert state.owner is not None
        owner, lease_until = state.owner, processes[state.owner]
        elsewhere = {
            "code": "other_process",
            "owner": str(owner),
            "lease_until": lease_until.isoformat().replace("+00:00", "Z"),
        }
        assert without_detail(explanation["reason"]) == without_detail(explanation["steps"]["a"]["reason"]) == elsewhere
        assert explanation["steps"]["r"]["reason"]["code"] == "retry"
        assert explanation["steps"]["r"]["reason"]["at"] == workflow["steps"][1]["next_attempt_at"]
        assert explanation["steps"]["b"]["reason"]["steps"] == ["a"]
        assert (await reason_of(one, created["id"], "a"))["code"] == "running_locally"
        async with two.as_tenant("other") as stranger:
            assert (await stranger.get(f"/api/v1/workflows/{created['id']}/explain")).status_code == 404
        async with one.as_tenant("other") as stranger:
            assert (await stranger.get(f"/api/v1/workflows/{created['id']}/explain")).status_code == 404

        processes[owner] = ALWAYS
        explanation = await explain(two, created["id"])
        assert without_detail(explanation["reason"]) == elsewhere | {"lease_until": None}
        dead = uuid4()
        state.owner = dead  # an owner that has stopped has no row
        explanation = await explain(two, created["id"])
        assert without_detail(explanation["reason"]) == {"code": "owner_dead", "owner": str(dead), "lease_until": None}
        processes[dead] = datetime(2020, 1, 1, tzinfo=UTC)
        explanation = await explain(two, created["id"])
        owner_dead = {"code": "owner_dead", "owner": str(dead), "lease_until": "2020-01-01T00:00:00Z"}
        assert without_detail(explanation["reason"]) == owner_dead
        assert explanation["steps"]["a"]["reason"]["code"] == "other_process"
        assert explanation["steps"]["a"]["reason"]["detail"].endswith("another takes the workflow over.")


async def test_an_outage_and_a_stopping_process_are_reported(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = hanging()
    async with running_service(memory, tmp_path, providers=[provider], max_steps_per_provider=1, grace_s=2) as service:
        created = await service.create(scripted_step("a"), scripted_step("b"))
        await provider.until_called("a")
        workflow_store = use_failing_store(service)
        workflow_store.faults.extend([BEFORE] * 1000)
        provider.release("a")
        await eventually(lambda: scheduler_of(service).checkpointer.outage)
        explanation = await explain(service, created["id"])
        assert explanation["reason"]["code"] == "database_away"
        assert explanation["steps"]["b"]["reason"] | {"detail": ""} == {
            "code": "running_locally",
            "detail": "",
            "attempt": 1,
            "doing": "recording",
            "provider": "CUSTOM",
            "since": explanation["steps"]["b"]["reason"]["since"],
            "trouble": None,
        }
        workflow_store.faults.clear()
        await provider.until_called("b")
        more = await service.create(scripted_step("c"))
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.wait_for(service.app.stop(), 30))
            await eventually(lambda: scheduler_of(service).stopping)
            explanation = await explain(service, more["id"])
            assert explanation["reason"]["code"] == explanation["steps"]["c"]["reason"]["code"] == "draining"
            provider.release("b")


async def test_a_large_workflow_costs_no_more_statements_than_a_small_one(dsn: str, tmp_path: Path) -> None:
    async with running_service(dsn, tmp_path, providers=[hanging()], max_steps_per_provider=1, grace_s=1) as service:
        steps = [scripted_step(f"s{number}") for number in range(100)]
        for started in (True, False):
            created = await service.create(*steps, start=started)
            if started:
                await wait_for_code(service, created["id"], "s0", "running_locally")
            costs = list[float]()
            for _ in range(3):  # the service may still be starting
                before = await count_statements(service)
                await explain(service, created["id"])
                costs.append(await count_statements(service) - before)
            # If it isn't in memory: a transaction with three statements to load it, and one for its owner.
            assert min(costs) <= (0 if started else 8)
            explanation = await explain(service, created["id"])
            assert len(explanation["steps"]) == 100
            if started:
                places = [step["reason"].get("position") for step in explanation["steps"].values()]
                assert places == [None, *range(1, 100)]


async def count_statements(service: Service) -> float:
    response = await service.client.get("/metrics")
    (line,) = [line for line in response.text.splitlines() if line.startswith("stepwell_database_statements_total ")]
    return float(line.split()[1])
