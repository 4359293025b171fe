"""Each reason why a step doesn't move, provoked in a live service whose provider works in the process itself."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from stepwell.contract.enums import ProviderType
from support.database.failing_store import BEFORE, faulty, scheduler_of
from support.providers.scripted import Fail, Hang, Scripted, eventually, passthrough, scripted
from support.service.explain_requests import explained, reason, until_code
from support.service.live_service import Service, running_service

UNKNOWN = "/api/v1/workflows/019b0000-0000-7000-8000-000000000000/explain"


def hanging(**script: Any) -> Scripted:
    return Scripted(script=script, default=Hang())


def without_detail(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name != "detail"}


async def test_a_workflow_that_was_never_started(dsn: str, tmp_path: Path) -> None:
    async with running_service(dsn, tmp_path, providers=[hanging()]) as service:
        created = await service.create(scripted("a"), scripted("b", "a"), start=False)
        told = await explained(service, created["id"])
        never = {"code": "not_started", "detail": "The workflow was never started."}
        assert (told["status"], told["reason"]) == ("PENDING", never)
        assert {name: step["reason"] for name, step in told["steps"].items()} == {"a": never, "b": never}
        assert (await service.client.get(UNKNOWN)).status_code == 404


async def test_steps_that_wait_for_steps(dsn: str, tmp_path: Path) -> None:
    provider = hanging()
    async with running_service(dsn, tmp_path, providers=[provider]) as service:
        names = [f"s{number:02}" for number in range(60)]
        first = [scripted(name) for name in names]
        created = await service.create(*first, passthrough("join", *names), passthrough("last", "join", "s00"))
        await provider.until_called("s59")
        provider.release("s00", "s01")
        await service.until(created["id"], lambda found: found["completed_steps"] == 2)
        told = await explained(service, created["id"])
        assert (told["status"], told["reason"]) == ("RUNNING", None)
        assert without_detail(told["steps"]["join"]["reason"]) == {
            "code": "waits_for_steps",
            "unfinished": 58,
            "steps": names[2:52],
            "stuck": [],
        }
        assert told["steps"]["join"]["reason"]["detail"].startswith("Waits for 's02', 's03', ")
        assert told["steps"]["last"]["reason"]["steps"] == ["join"]
        assert "s00" not in told["steps"]
        provider.release(*names)
        await service.until_ended(created["id"])
        assert (await explained(service, created["id"]))["steps"] == {}


async def test_work_in_this_process(dsn: str, tmp_path: Path) -> None:
    provider = hanging()
    async with running_service(dsn, tmp_path, providers=[provider]) as service:
        journal = faulty(service)
        created = await service.create(scripted("a"), start=False)
        journal.gate.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(service.verb(created["id"], "start"))
            told = await until_code(service, created["id"], "a", "running_locally")
            assert (told["doing"], told["attempt"]) == ("recording", 1)
            journal.gate.set()
        await provider.until_called("a")
        told = await reason(service, created["id"], "a")
        step = (await service.get(created["id"]))["steps"][0]
        assert without_detail(told) == {
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
async def test_a_step_that_waits_for_a_slot(
    dsn: str, tmp_path: Path, limits: dict[str, Any], limit: str, slots: int
) -> None:
    provider = hanging()
    async with running_service(dsn, tmp_path, providers=[provider], **limits) as service:
        one = await service.create(*(scripted(f"a{number}") for number in range(5)), origin_tenant_id="t")
        await eventually(lambda: provider.running == slots)
        two = await service.create(*(scripted(f"b{number}") for number in range(2)), origin_tenant_id="t")
        first, second = await explained(service, one["id"]), await explained(service, two["id"])
        places = {
            name: step["reason"]["position"]
            for told in (first, second)
            for name, step in told["steps"].items()
            if step["reason"]["code"] == "waits_for_slot"
        }
        # They take turns, the one that was there first begins.
        waiting = [f"a{number}" for number in range(slots, 5)]
        order = [name for pair in zip(waiting, ["b0", "b1", "", ""], strict=False) for name in pair if name]
        order += waiting[len(order) - 2 :] if len(waiting) > 4 else []
        assert places == {name: place for place, name in enumerate(order, 1)}
        told = first["steps"]["a4"]["reason"]
        assert (told["limit"], told["slots"], told["used"]) == (limit, slots, slots)
        assert (told["provider"], told["model"]) == ("CUSTOM", None)
        provider.release(*(step["step_id"] for step in one["steps"] + two["steps"]))
        for workflow in (one, two):
            await service.until_ended(workflow["id"])


async def test_a_retry_to_come(dsn: str, tmp_path: Path) -> None:
    script = {"a": [Fail("not today", retry_after_s=600)], "b": [Fail(retryable=False), Fail("nor here")]}
    local = Scripted(ProviderType.REPLICATE, {"b": [Fail("nor here", retry_after_s=900)]})
    async with running_service(dsn, tmp_path, providers=[Scripted(script=script), local]) as service:
        with_fallback = scripted("b", fallback_provider_type="REPLICATE", max_retries=1)
        created = await service.create(scripted("a", max_retries=4), with_fallback)
        found = await service.until(created["id"], lambda found: all(step["error_message"] for step in found["steps"]))
        told = await until_code(service, created["id"], "b", "retry")
        assert (told["provider"], told["attempt"], told["attempts"], told["error"]) == ("REPLICATE", 2, 2, "nor here")
        told = await reason(service, created["id"], "a")
        assert without_detail(told) == {
            "code": "retry",
            "provider": "CUSTOM",
            "attempt": 2,
            "attempts": 5,
            "at": found["steps"][0]["next_attempt_at"],
            "error": "not today",
        }
        assert told["detail"].endswith(" The last error: not today")


async def test_who_has_paused_it_and_when(dsn: str, tmp_path: Path) -> None:
    provider = hanging()
    async with running_service(dsn, tmp_path, providers=[provider], max_steps_per_provider=1) as service:
        created = await service.create(scripted("a"), scripted("b"), scripted("c", "a"))
        await provider.until_called("a")
        for _ in range(2):  # the last pause counts
            assert (await service.verb(created["id"], "pause")).status_code == 200
            (*_, at) = [e["at"] for e in await service.events(created["id"]) if e["type"] == "workflow.paused"]
            told = await explained(service, created["id"])
            codes = {name: step["reason"]["code"] for name, step in told["steps"].items()}
            assert codes == {"a": "running_locally", "b": "paused", "c": "waits_for_steps"}
            paused = {"code": "paused", "by": "tester", "at": at}
            assert without_detail(told["reason"]) == without_detail(told["steps"]["b"]["reason"]) == paused
            assert told["reason"]["detail"].startswith("The workflow was paused by tester at 2")
            assert (await service.verb(created["id"], "resume")).status_code == 200
        await service.verb(created["id"], "pause")
        provider.release("a")
        await service.until(created["id"], lambda found: found["completed_steps"] == 1)
        await eventually(lambda: UUID(created["id"]) not in scheduler_of(service).workflows)
        told = await explained(service, created["id"])  # now from the database
        assert (told["reason"]["by"], told["steps"]["b"]["reason"]["code"]) == ("tester", "paused")


async def test_what_others_failures_keep_from_starting(dsn: str, tmp_path: Path) -> None:
    provider = hanging(a=[Hang(Fail("broken", retryable=False))])
    async with running_service(dsn, tmp_path, providers=[provider], max_steps_per_provider=2) as service:
        steps = [scripted("a"), scripted("b"), scripted("c"), scripted("d", "a"), scripted("e", "b")]
        created = await service.create(*steps)
        await provider.until_called("b")
        provider.release("a")
        await service.until(created["id"], lambda found: found["errors"])
        told = await explained(service, created["id"])
        assert (told["status"], told["reason"]["code"], told["reason"]["steps"]) == ("RUNNING", "failed", ["a"])
        codes = {name: step["reason"]["code"] for name, step in told["steps"].items()}
        waits = "waits_for_steps"
        assert codes == {"b": "running_locally", "c": "failed_elsewhere", "d": waits, "e": waits}
        assert told["steps"]["d"]["reason"]["stuck"] == ["a"]
        assert "only resume moves that" in told["steps"]["d"]["reason"]["detail"]
        assert told["steps"]["e"]["reason"]["stuck"] == []
        provider.release("b")
        await service.until_ended(created["id"])
        told = await explained(service, created["id"])
        assert (told["status"], told["reason"]["code"]) == ("FAILED", "failed")
        left = {"code": "failed_elsewhere", "steps": ["a"], "failure": None}
        assert without_detail(told["steps"]["c"]["reason"]) == left
        assert told["steps"]["e"]["reason"]["code"] == "failed_elsewhere"


async def test_what_waits_for_what_only_resume_moves(dsn: str, tmp_path: Path) -> None:
    provider = hanging(l=[Fail("broken", retryable=False)])
    async with running_service(dsn, tmp_path, providers=[provider]) as service:
        created = await service.create(scripted("l"), scripted("x", "l"), scripted("y", "x"), scripted("z", "l", "x"))
        await service.until_ended(created["id"])
        steps = (await explained(service, created["id"]))["steps"]
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


async def test_what_waits_for_what_is_paused(dsn: str, tmp_path: Path) -> None:
    provider = hanging()
    async with running_service(dsn, tmp_path, providers=[provider], max_steps_per_provider=1) as service:
        created = await service.create(scripted("a"), scripted("b"), scripted("c", "a", "b"))
        await provider.until_called("a")
        assert (await reason(service, created["id"], "c"))["stuck"] == []
        assert (await service.verb(created["id"], "pause")).status_code == 200
        told = await reason(service, created["id"], "c")
        assert (told["steps"], told["stuck"]) == (["a", "b"], ["b"])
        assert told["detail"] == "Waits for 'a', 'b'. Nothing new starts: only resume moves 'b'."


async def test_a_workflow_that_has_timed_out(dsn: str, tmp_path: Path) -> None:
    async with running_service(dsn, tmp_path, providers=[hanging()], max_steps_per_provider=1) as service:
        created = await service.create(scripted("a"), scripted("b"), config={"workflow_timeout_s": 0.05})
        await service.until_ended(created["id"])
        told = await explained(service, created["id"])
        failure = "workflow: timed out after 0.05 s"
        assert without_detail(told["reason"]) == {"code": "failed", "steps": [], "failure": failure}
        assert told["steps"]["b"]["reason"]["failure"] == failure
        assert set(told["steps"]) == {"b"}


async def test_one_that_another_process_runs(dsn: str, tmp_path: Path) -> None:
    provider = hanging(r=[Fail("later", retry_after_s=600)])
    async with (
        running_service(dsn, tmp_path / "1", providers=[provider], exclusive=False, lease_s=600, grace_s=1) as one,
        running_service(dsn, tmp_path / "2", providers=[hanging()], exclusive=False, lease_s=600, grace_s=1) as two,
    ):
        created = await one.create(scripted("a"), scripted("r"), scripted("b", "a"), origin_tenant_id="t")
        found = await one.until(created["id"], lambda found: found["steps"][1]["next_attempt_at"])
        await provider.until_called("a")
        told = await explained(two, created["id"])
        connection = await asyncpg.connect(dsn)
        owner, lease_until = await connection.fetchrow(
            "SELECT p.id, p.lease_until FROM workflows w JOIN processes p ON p.id = w.owner"
        )
        elsewhere = {
            "code": "other_process",
            "owner": str(owner),
            "lease_until": lease_until.isoformat().replace("+00:00", "Z"),
        }
        assert without_detail(told["reason"]) == without_detail(told["steps"]["a"]["reason"]) == elsewhere
        assert told["steps"]["r"]["reason"]["code"] == "retry"
        assert told["steps"]["r"]["reason"]["at"] == found["steps"][1]["next_attempt_at"]
        assert told["steps"]["b"]["reason"]["steps"] == ["a"]
        assert (await reason(one, created["id"], "a"))["code"] == "running_locally"
        async with two.as_tenant("other") as stranger:
            assert (await stranger.get(f"/api/v1/workflows/{created['id']}/explain")).status_code == 404
        async with one.as_tenant("other") as stranger:
            assert (await stranger.get(f"/api/v1/workflows/{created['id']}/explain")).status_code == 404

        await connection.execute("UPDATE processes SET lease_until = 'infinity' WHERE id = $1", owner)
        told = await explained(two, created["id"])
        assert without_detail(told["reason"]) == elsewhere | {"lease_until": None}
        dead = uuid4()
        await connection.execute("UPDATE workflows SET owner = $1", dead)  # it has ended in order
        told = await explained(two, created["id"])
        assert without_detail(told["reason"]) == {"code": "owner_dead", "owner": str(dead), "lease_until": None}
        await connection.execute("INSERT INTO processes VALUES ($1, '2020-01-01Z')", dead)
        await connection.close()
        told = await explained(two, created["id"])
        owner_dead = {"code": "owner_dead", "owner": str(dead), "lease_until": "2020-01-01T00:00:00Z"}
        assert without_detail(told["reason"]) == owner_dead
        assert told["steps"]["a"]["reason"]["code"] == "other_process"
        assert told["steps"]["a"]["reason"]["detail"].endswith("another takes the workflow over.")


async def test_a_database_that_is_away_and_a_process_that_stops(dsn: str, tmp_path: Path) -> None:
    provider = hanging()
    async with running_service(dsn, tmp_path, providers=[provider], max_steps_per_provider=1, grace_s=2) as service:
        created = await service.create(scripted("a"), scripted("b"))
        await provider.until_called("a")
        journal, stored = faulty(service), service.app.components.stores.database.store
        journal.faults.extend([BEFORE] * 1000)
        provider.release("a")
        await eventually(lambda: scheduler_of(service).checkpointer.outage)
        told = await explained(service, created["id"])
        assert told["reason"]["code"] == "database_away"
        assert told["steps"]["b"]["reason"] | {"detail": ""} == {
            "code": "running_locally",
            "detail": "",
            "attempt": 1,
            "doing": "recording",
            "provider": "CUSTOM",
            "since": told["steps"]["b"]["reason"]["since"],
            "trouble": None,
        }
        assert stored is service.app.components.stores.database.store
        journal.faults.clear()
        await provider.until_called("b")
        more = await service.create(scripted("c"))
        async with asyncio.TaskGroup() as group:
            group.create_task(stopping(service))
            await eventually(lambda: scheduler_of(service).stopping)
            told = await explained(service, more["id"])
            assert told["reason"]["code"] == told["steps"]["c"]["reason"]["code"] == "draining"
            provider.release("b")


async def stopping(service: Service) -> None:
    await service.app.stop()


async def test_a_large_workflow_costs_no_more_statements_than_a_small_one(dsn: str, tmp_path: Path) -> None:
    async with running_service(dsn, tmp_path, providers=[hanging()], max_steps_per_provider=1, grace_s=1) as service:
        steps = [scripted(f"s{number}") for number in range(400)]
        for started in (True, False):
            created = await service.create(*steps, start=started)
            if started:
                await until_code(service, created["id"], "s0", "running_locally")
            costs = list[float]()
            for _ in range(3):  # the service may still be starting
                before = await statements(service)
                await explained(service, created["id"])
                costs.append(await statements(service) - before)
            # The load of one that isn't in memory is three in a transaction, and one about who runs it.
            assert min(costs) <= (0 if started else 8)
            told = await explained(service, created["id"])
            assert len(told["steps"]) == 400
            if started:
                places = [step["reason"].get("position") for step in told["steps"].values()]
                assert places == [None, *range(1, 400)]


async def statements(service: Service) -> float:
    answer = await service.client.get("/metrics")
    (line,) = [line for line in answer.text.splitlines() if line.startswith("stepwell_database_statements_total ")]
    return float(line.split()[1])
