"""Optional steps and `run_if` over the live service: results, views, events, and what a user may ask about them."""

from typing import Any

import pytest

from support.providers.configured_by_steps import (
    WORKFLOWS,
    ConfiguredProvider,
    configured_step,
    steps_are,
)
from support.service.live_service import Service, step_of
from support.workflows.definitions import join, mapped

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAILS = configured_step("a", fails=9, members={"optional": True})
FLOW = ("status", "skip_reason", "run_if", "optional")


def shown(workflow: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [tuple(step[name] for name in FLOW) for step in workflow["steps"]]


async def test_a_join_uses_what_there_is_and_the_workflow_completes(live: Service) -> None:
    created = await live.create(
        FAILS,
        configured_step("b", result={"n": 1}),
        join(
            "join",
            config={"a": "none", "b": "none"},
            run_if="any_completed",
            input_mappings=[mapped("a", "n", "a"), mapped("b", "n", "b")],
        ),
        join("rest", "a"),
    )
    done = await live.until_ended(created["id"])
    assert (done["status"], done["completed_steps"], done["progress"]) == ("COMPLETED", 2, 100.0)
    assert (done["errors"], done["error_message"]) == (["a: told to fail"], None)
    assert shown(done) == [
        ("FAILED", None, "all_completed", True),
        ("COMPLETED", None, "all_completed", False),
        ("COMPLETED", None, "any_completed", False),
        ("SKIPPED", "failure", "all_completed", False),
    ]
    assert step_of(done, "join")["result"] == {"a": "none", "b": 1}
    listed = (await live.client.get(WORKFLOWS, params={"include_steps": True})).json()["workflows"]
    assert [each for each in listed if each["id"] == done["id"]] == [done]
    events = {(event["type"], event["step_id"]): event["data"] for event in await live.events(done["id"])}
    assert events["step.failed", "a"] == {"error": "told to fail", "optional": True}
    assert events["step.skipped", "rest"] == {"reason": "failure"}


async def test_a_step_without_an_input_that_it_needs_says_which_mapping_was_left_out(live: Service) -> None:
    refine = {
        "id": "refine",
        "task_type": "REFINE",
        "run_if": "all_ended",
        "provider_config": {"provider_type": "LOCAL"},
        "input_mappings": [mapped("a", "paths[0]", "base_image_url")],
    }
    done = await live.until_ended((await live.create(FAILS, refine))["id"])
    assert done["error_message"] == (
        "refine: Refused inputs: base_image_url: required. Mapping of 'paths[0]' of step 'a' to 'base_image_url' was "
        "left out: the step has no result"
    )
    assert step_of(done, "refine")["retry_count"] == 0


async def test_a_definition_is_returned_with_its_flow(live: Service) -> None:
    steps = [join("a", optional=True), join("b", "a", run_if="all_ended"), join("c", "b")]
    given = [*steps[:2], steps[2] | {"run_if": "all_completed", "optional": False}]
    created = await live.create(*given, start=False)
    response = await live.client.get(f"{WORKFLOWS}{created['id']}/definition")
    assert response.json()["steps"] == [{k: v for k, v in step.items() if v != []} for step in steps]


async def test_a_running_workflow_shows_how_much_is_done_and_explains_what_waits(
    live: Service, scripted: ConfiguredProvider
) -> None:
    created = await live.create(FAILS, configured_step("b", wait=True), join("end", "a", "b", run_if="all_ended"))
    found = await live.until(created["id"], steps_are("FAILED", "RUNNING", "PENDING"))
    assert (found["status"], found["progress"], found["completed_steps"]) == ("RUNNING", 33.33, 0)
    explained = (await live.client.get(f"{WORKFLOWS}{created['id']}/explain")).json()
    reason = next(step["reason"] for step in explained["steps"] if step["step_id"] == "end")
    assert explained["reason"] is None
    assert (reason["code"], reason["steps"], reason["stuck"]) == ("waits_for_steps", ["b"], [])
    scripted.release(created["id"], "b")
    assert (await live.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_resume_of_a_paused_workflow_leaves_an_optional_failure_and_says_so(
    live: Service, scripted: ConfiguredProvider
) -> None:
    created = await live.create(FAILS, join("after", "a"), configured_step("b", wait=True), join("end", "b"))
    await live.until(created["id"], steps_are("FAILED", "SKIPPED", "RUNNING", "PENDING"))
    await live.verb(created["id"], "pause")
    dry = (await live.verb(created["id"], "resume", dry_run="true")).json()
    assert (dry["still_failed"], dry["still_skipped"], dry["reset"]) == (["a"], ["after"], [])
    assert (dry["running"], dry["would_run_later"]) == (["b"], ["end"])
    resumed = (await live.verb(created["id"], "resume")).json()
    assert [step["status"] for step in resumed["steps"]] == ["FAILED", "SKIPPED", "RUNNING", "PENDING"]
    events = [event["data"] for event in await live.events(created["id"]) if event["type"] == "workflow.resumed"]
    assert events == [{"still_skipped": ["after"], "still_failed": ["a"]}]
    scripted.release(created["id"], "b")
    assert (await live.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_resume_of_a_failed_workflow_runs_optional_steps_again(live: Service) -> None:
    again = configured_step("a", fails=1, members={"optional": True})
    created = await live.create(again, join("after", "a"), configured_step("b", fails=1))
    failed = await live.until_ended(created["id"])
    assert (failed["status"], failed["error_message"]) == ("FAILED", "b: told to fail")
    await live.verb(created["id"], "resume")
    done = await live.until_ended(created["id"])
    assert (done["status"], done["completed_steps"], done["errors"]) == ("COMPLETED", 3, [])
