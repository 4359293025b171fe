"""Attempts that fail, hang, crash or come too late, through the whole service."""

import asyncio
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stepwell.contract.enums import ProviderType
from stepwell.testing import ManualClock, MemoryDatabase
from support.database.failing_store import expire_attempt, nothing_left
from support.providers.scripted import (
    Crash,
    Fail,
    Hang,
    Outcome,
    ScriptedProvider,
    Succeed,
    eventually,
    passthrough_step,
    scripted_step,
)
from support.service.live_service import Service, running_service, statuses_of, step_of

AT_ONCE = {"retry": {"base_s": 0}}
LATER = {"retry": {"base_s": 3600, "max_s": 3600}}
FOR_GOOD = Fail("broken", retryable=False)


def serving(
    memory: MemoryDatabase, folder: Path, *providers: ScriptedProvider, **settings: Any
) -> AbstractAsyncContextManager[Service]:
    return running_service(memory, folder, providers=providers, grace_s=1, **settings)


async def short_history(service: Service, workflow_id: str) -> list[str]:
    """The history in short, `workflow.created` left out."""
    events = await service.events(workflow_id)
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    return [f"{e['type']} {e['step_id']}" if e["step_id"] else e["type"] for e in events][1:]


async def attempts(service: Service, workflow_id: str) -> list[tuple[str, int, str, str | None]]:
    response = await service.client.get(f"/api/v1/workflows/{workflow_id}/tasks")
    return [(t["step_id"], t["attempt"], t["status"], t["provider"]) for t in response.json()["tasks"]]


async def end(service: Service, *steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
    created = await service.create(*steps, **fields)
    workflow = await service.until_ended(created["id"])
    await eventually(lambda: nothing_left(service), "the engine is empty")
    return workflow


@pytest.mark.parametrize("outcome", [Fail(), Crash(), Crash(TimeoutError), Crash(KeyError)])
async def test_what_may_get_better_is_tried_again(memory: MemoryDatabase, tmp_path: Path, outcome: Outcome) -> None:
    provider = ScriptedProvider(script={"a": [outcome, outcome, Succeed({"f": 1})]})
    async with serving(memory, tmp_path, provider) as service:
        workflow = await end(service, scripted_step("a"), config=AT_ONCE)
        assert (workflow["status"], workflow["final_step_result"]) == ("COMPLETED", {"f": 1})
        step = step_of(workflow, "a")
        assert (step["retry_count"], step["error_message"], step["next_attempt_at"]) == (2, None, None)
        assert [call.number for call in provider.calls] == [1, 2, 3]
        assert len({call.task_id for call in provider.calls}) == 3
        assert await attempts(service, workflow["id"]) == [
            ("a", 1, "FAILED", "CUSTOM"),
            ("a", 2, "FAILED", "CUSTOM"),
            ("a", 3, "COMPLETED", "CUSTOM"),
        ]
        assert await short_history(service, workflow["id"]) == [
            "workflow.started",
            *["step.started a", "step.retrying a"] * 2,
            "step.started a",
            "step.completed a",
            "workflow.completed",
        ]


async def test_an_inner_cancellation_of_a_provider_is_a_failure_like_any_other(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ScriptedProvider(script={"a": [Crash(asyncio.CancelledError)]})
    async with serving(memory, tmp_path, provider) as service:
        workflow = await end(service, scripted_step("a"), config=AT_ONCE)
        assert workflow["status"] == "COMPLETED"
        retrying = next(e for e in await service.events(workflow["id"]) if e["type"] == "step.retrying")
        assert retrying["data"]["error"] == "internal error: CancelledError"


async def test_the_text_of_a_crash_is_not_shown(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = ScriptedProvider(script={"a": [Crash()]})
    async with serving(memory, tmp_path, provider) as service:
        workflow = await end(service, scripted_step("a", max_retries=0))
        assert (workflow["status"], workflow["errors"]) == ("FAILED", ["a: internal error: RuntimeError"])


async def test_a_result_of_too_many_levels_fails_its_step_for_good(memory: MemoryDatabase, tmp_path: Path) -> None:
    text = "[" * 60 + "]" * 60
    decoded = {"from_step": "0", "from_field": "text", "to_field": "x", "transform": "JSON_DECODE"}
    deeper = [
        passthrough_step(
            str(number),
            str(number - 1),
            input_mappings=[{"from_step": str(number - 1), "from_field": "x", "to_field": "x.a.b.c.d.e"}],
        )
        for number in range(2, 40)
    ]
    steps = [
        passthrough_step("0", config={"text": text}),
        passthrough_step("1", "0", input_mappings=[decoded]),
        *deeper,
    ]
    async with serving(memory, tmp_path, ScriptedProvider()) as service:
        workflow = await end(service, *steps, config=AT_ONCE)
        assert (workflow["status"], workflow["errors"]) == (
            "FAILED",
            ["29: Mapping of 'x' of step '28' to 'x.a.b.c.d.e': the value is nested deeper than 200 levels"],
        )
        assert (workflow["completed_steps"], step_of(workflow, "29")["retry_count"]) == (29, 0)


async def test_a_result_that_is_no_json_is_named_and_not_tried_again(memory: MemoryDatabase, tmp_path: Path) -> None:
    surrogate = r'`"\ud800"`'  # as a literal it passes as text and is one only once it is read
    mapping = {"from_step": "a", "from_field": surrogate, "to_field": "t"}
    async with serving(memory, tmp_path, ScriptedProvider()) as service:
        workflow = await end(
            service, scripted_step("a"), passthrough_step("b", "a", input_mappings=[mapping]), config=AT_ONCE
        )
        assert (workflow["status"], step_of(workflow, "b")["retry_count"]) == ("FAILED", 0)
        assert step_of(workflow, "b")["error_message"].startswith("the result is no JSON")


async def test_attempts_are_max_retries_and_one(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = ScriptedProvider(default=Fail("busy"))
    async with serving(memory, tmp_path, provider) as service:
        workflow = await end(service, scripted_step("a", max_retries=2), scripted_step("b"), config=AT_ONCE)
        assert (workflow["status"], workflow["error_message"]) == ("FAILED", "a: busy")
        assert provider.count("a") == 3
        assert step_of(workflow, "a")["retry_count"] == 2


async def test_what_can_not_get_better_is_tried_once(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = ScriptedProvider(default=FOR_GOOD)
    async with serving(memory, tmp_path, provider) as service:
        workflow = await end(service, scripted_step("a"), scripted_step("b", "a"))
        assert (workflow["status"], workflow["errors"]) == ("FAILED", ["a: broken"])
        assert statuses_of(workflow) == {"a": "FAILED", "b": "PENDING"}
        assert [call.step_id for call in provider.calls] == ["a"]


@pytest.mark.parametrize(
    ("failure", "primary", "fallback"),
    [
        (Fail(retryable=True), 2, 2),
        (Fail(retryable=False, provider_fault=True), 1, 1),
        (Fail(retryable=False, provider_fault=False), 1, 0),
    ],
)
async def test_the_fallback_has_as_many_attempts_where_the_fault_is_the_providers(
    memory: MemoryDatabase, tmp_path: Path, failure: Fail, primary: int, fallback: int
) -> None:
    custom, fal = ScriptedProvider(default=failure), ScriptedProvider(ProviderType.FAL, default=failure)
    step = scripted_step(
        "a",
        max_retries=1,
        provider_config={"model": "mine"},
        fallback_provider_type="FAL",
        fallback_provider_config={"model": "other"},
    )
    async with serving(memory, tmp_path, custom, fal) as service:
        workflow = await end(service, step, config=AT_ONCE)
        assert workflow["status"] == "FAILED"
        assert (len(custom.calls), len(fal.calls)) == (primary, fallback)
        assert {call.provider_config["model"] for call in custom.calls} == {"mine"}
        assert {call.provider_config["model"] for call in fal.calls} <= {"other"}
        assert [call.number for call in custom.calls + fal.calls] == list(range(1, primary + fallback + 1))
        assert step_of(workflow, "a")["retry_count"] == primary - 1 + max(fallback - 1, 0)


async def test_a_fallback_of_the_same_provider_has_its_own_configuration(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ScriptedProvider(script={"a": [FOR_GOOD]})
    step = scripted_step(
        "a",
        provider_config={"model": "big"},
        fallback_provider_type="CUSTOM",
        fallback_provider_config={"model": "small"},
    )
    async with serving(memory, tmp_path, provider) as service:
        assert (await end(service, step))["status"] == "COMPLETED"
        assert [call.provider_config["model"] for call in provider.calls] == ["big", "small"]


async def test_the_time_of_the_next_attempt_shows_and_the_providers_own_word_counts(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ScriptedProvider(script={"a": [Fail(retry_after_s=1800)], "b": [Fail(retry_after_s=0)]})
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"), scripted_step("b"), config=LATER)
        workflow = await service.until(
            created["id"], lambda w: step_of(w, "a")["next_attempt_at"] and step_of(w, "b")["status"] == "COMPLETED"
        )
        step = step_of(workflow, "a")
        assert (step["status"], step["error_message"], step["retry_count"]) == ("RUNNING", "no", 0)
        failed = next(
            e for e in await service.events(created["id"]) if e["type"] == "step.retrying" and e["step_id"] == "a"
        )
        at, due = (datetime.fromisoformat(time) for time in (failed["at"], step["next_attempt_at"]))
        assert due - at == timedelta(seconds=1800)
        assert failed["data"]["next_attempt_at"] == step["next_attempt_at"]
        assert (await service.verb(created["id"], "cancel")).status_code == 200
        workflow = await service.get(created["id"])
        assert (statuses_of(workflow)["a"], step_of(workflow, "a")["next_attempt_at"]) == ("CANCELLED", None)
        await eventually(lambda: nothing_left(service))


async def test_an_attempt_that_takes_too_long_is_ended_and_tried_again(memory: MemoryDatabase, tmp_path: Path) -> None:
    provider = ScriptedProvider(script={"a": [Hang(files={"x": b"1"}), Succeed()]})
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a", config={"timeout_s": 60}), config=AT_ONCE)
        await provider.until_called("a")
        expire_attempt(service, created["id"])
        workflow = await service.until_ended(created["id"])
        assert workflow["status"] == "COMPLETED"
        assert provider.ends("a") == ["cancelled", "succeeded"]
        assert "timeout_s" not in provider.calls[0].inputs
        retrying = next(e for e in await service.events(workflow["id"]) if e["type"] == "step.retrying")
        assert retrying["data"]["error"] == "timed out after 60 s"
        assert not service.stored_files()


async def test_a_workflow_that_takes_too_long_fails_and_resume_restarts_its_clock(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    provider = ScriptedProvider(script={"a": [Hang()], "b": [Fail(retry_after_s=1800)], "c": [Hang()]})
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(
            scripted_step("a"), scripted_step("b"), scripted_step("c", "a"), config={"workflow_timeout_s": 60}
        )
        await service.until(created["id"], lambda found: step_of(found, "b")["next_attempt_at"])
        clock.advance(59)
        assert (await service.get(created["id"]))["status"] == "RUNNING"
        clock.advance(1)
        workflow = await service.until_ended(created["id"])
        assert (workflow["status"], workflow["errors"]) == ("FAILED", ["workflow: timed out after 60 s"])
        assert statuses_of(workflow) == {"a": "CANCELLED", "b": "CANCELLED", "c": "PENDING"}
        await eventually(lambda: nothing_left(service), "the engine is empty")
        assert provider.ends("a") == ["cancelled"]
        assert (await service.verb(workflow["id"], "resume")).status_code == 200
        await provider.until_called("c")
        clock.advance(59)
        provider.release("c")
        again = await service.until_ended(workflow["id"])
        assert (again["status"], again["errors"]) == ("COMPLETED", [])


async def test_the_clock_of_a_workflow_stands_still_while_it_is_paused(
    memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    provider = ScriptedProvider(script={"a": [Hang()], "b": [Hang()]})
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"), scripted_step("b", "a"), config={"workflow_timeout_s": 60})
        await provider.until_called("a")
        clock.advance(30)
        assert (await service.verb(created["id"], "pause")).status_code == 200
        clock.advance(3600)
        assert (await service.get(created["id"]))["status"] == "PAUSED"
        provider.release("a")
        workflow = await service.until(created["id"], lambda w: statuses_of(w)["a"] == "COMPLETED")
        assert workflow["status"] == "PAUSED"
        await eventually(lambda: nothing_left(service))
        assert (await service.verb(created["id"], "resume")).status_code == 200
        await provider.until_called("b")
        clock.advance(29)
        assert (await service.get(created["id"]))["status"] == "RUNNING"
        clock.advance(1)
        ended = await service.until_ended(created["id"])
        assert ended["errors"] == ["workflow: timed out after 60 s"]


FAN = (
    scripted_step("bad"),
    scripted_step("slow"),
    scripted_step("after", "slow"),
    scripted_step("dependant", "bad"),
    passthrough_step("join", "dependant"),
)


@pytest.mark.parametrize(
    ("on_failure", "left", "slow"),
    [
        ("drain", {"slow": "COMPLETED", "after": "PENDING", "dependant": "PENDING", "join": "PENDING"}, "succeeded"),
        ("cancel", {"slow": "CANCELLED", "after": "PENDING", "dependant": "PENDING", "join": "PENDING"}, "cancelled"),
        (
            "continue",
            {"slow": "COMPLETED", "after": "COMPLETED", "dependant": "SKIPPED", "join": "SKIPPED"},
            "succeeded",
        ),
    ],
)
async def test_what_a_failure_leaves_running(
    memory: MemoryDatabase, tmp_path: Path, on_failure: str, left: dict[str, str], slow: str
) -> None:
    provider = ScriptedProvider(script={"bad": [Hang(then=FOR_GOOD)], "slow": [Hang()]})
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(*FAN, config={"on_failure": on_failure})
        await provider.until_called("slow")
        await provider.until_called("bad")
        provider.release("bad")
        if on_failure != "cancel":
            found = await service.until(created["id"], lambda w: statuses_of(w)["bad"] == "FAILED")
            assert (found["status"], statuses_of(found)["slow"]) == ("RUNNING", "RUNNING")
            provider.release("slow")
        workflow = await service.until_ended(created["id"])
        assert (workflow["status"], workflow["errors"]) == ("FAILED", ["bad: broken"])
        assert statuses_of(workflow) == {"bad": "FAILED"} | left
        assert provider.ends("slow") == [slow]
        await eventually(lambda: nothing_left(service))
        # And on from there: what is COMPLETED never runs again.
        before = provider.count("slow") + (slow == "cancelled")
        assert (await service.verb(created["id"], "resume")).status_code == 200
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        assert provider.count("slow") == before


@pytest.mark.parametrize("paused", [True, False])
async def test_a_step_between_two_attempts_is_held_back_while_nothing_may_start(
    memory: MemoryDatabase,
    tmp_path: Path,
    paused: bool,  # noqa: FBT001
) -> None:
    """By a pause, or by a failure that drains."""
    provider = ScriptedProvider(
        script={"a": [Fail(retry_after_s=1800)], "slow": [Hang()], "bad": [Hang(then=FOR_GOOD)]}
    )
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"), scripted_step("slow"), scripted_step("bad"))
        await service.until(created["id"], lambda w: step_of(w, "a")["next_attempt_at"])
        await provider.until_called("bad")
        if paused:
            assert (await service.verb(created["id"], "pause")).status_code == 200
        else:
            provider.release("bad")
        workflow = await service.until(created["id"], lambda w: statuses_of(w)["a"] == "PENDING")
        assert (step_of(workflow, "a")["next_attempt_at"], statuses_of(workflow)["slow"]) == (None, "RUNNING")
        provider.release("slow", "bad")
        workflow = await service.until(created["id"], lambda w: w["status"] == "FAILED")
        assert statuses_of(workflow) == {"a": "PENDING", "slow": "COMPLETED", "bad": "FAILED"}
        assert (await service.verb(created["id"], "resume")).status_code == 200
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        assert [call.number for call in provider.calls if call.step_id == "a"] == [1, 2]


async def test_a_step_that_fails_while_paused_is_retried_only_after_resume(
    memory: MemoryDatabase, tmp_path: Path
) -> None:
    provider = ScriptedProvider(script={"a": [Hang(then=Fail())]})
    async with serving(memory, tmp_path, provider) as service:
        created = await service.create(scripted_step("a"), config=AT_ONCE)
        await provider.until_called("a")
        assert (await service.verb(created["id"], "pause")).status_code == 200
        provider.release("a")
        workflow = await service.until(created["id"], lambda w: statuses_of(w)["a"] == "PENDING")
        assert (workflow["status"], provider.count("a")) == ("PAUSED", 1)
        await eventually(lambda: nothing_left(service))
        assert (await service.verb(created["id"], "resume")).status_code == 200
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        assert provider.count("a") == 2


async def test_limits_hold_for_attempts_and_their_fallbacks(memory: MemoryDatabase, tmp_path: Path) -> None:
    custom, fal = ScriptedProvider(default=FOR_GOOD), ScriptedProvider(ProviderType.FAL)
    steps = [scripted_step(f"s{n}", fallback_provider_type="FAL") for n in range(20)]
    async with serving(memory, tmp_path, custom, fal, max_steps_per_provider=3, max_running_steps=5) as service:
        assert (await end(service, *steps))["status"] == "COMPLETED"
        assert (len(custom.calls), len(fal.calls)) == (20, 20)
        assert 1 <= custom.peak <= 3
        assert 1 <= fal.peak <= 3
