"""Conditions over the live service: what a user sees of them in responses, events, plans, dry runs and definitions."""

from typing import Any

import pytest

from support.providers.configured_by_steps import WORKFLOWS, ConfiguredProvider, configured_step, steps_are
from support.service.live_service import Service, step_of
from support.workflows.definitions import body, join

pytestmark = pytest.mark.asyncio(loop_scope="module")

STEPS = [
    configured_step("judge", result={"score": 4}),
    join("refine", when="judge.score > `5`"),
    join("publish", "refine"),
    join("reject", when="judge.score <= `5` && inputs.strict"),
    join("end", "publish", "reject", run_if="any_completed"),
]


async def test_a_condition_skips_its_step_and_the_workflow_completes(live: Service) -> None:
    created = await live.create(*STEPS, inputs={"strict": True})
    assert step_of(created, "reject")["dependencies"] == ["judge"]
    done = await live.until_ended(created["id"])
    assert (done["status"], done["completed_steps"], done["progress"], done["errors"]) == ("COMPLETED", 3, 100.0, [])
    assert [(step["status"], step["skip_reason"], step["when"]) for step in done["steps"]] == [
        ("COMPLETED", None, None),
        ("SKIPPED", "when", "judge.score > `5`"),
        ("SKIPPED", "dependency", None),
        ("COMPLETED", None, "judge.score <= `5` && inputs.strict"),
        ("COMPLETED", None, None),
    ]
    listed = (await live.client.get(WORKFLOWS, params={"include_steps": True})).json()["workflows"]
    assert [each for each in listed if each["id"] == done["id"]] == [done]
    events = {(event["type"], event["step_id"]): event["data"] for event in await live.events(done["id"])}
    assert events["step.skipped", "refine"] == {"reason": "when"}


async def test_a_definition_is_returned_with_its_conditions(live: Service) -> None:
    created = await live.create(*STEPS, start=False)
    response = (await live.client.get(f"{WORKFLOWS}{created['id']}/definition")).json()
    assert [step.get("when") for step in response["steps"]] == [step.get("when") for step in STEPS]
    again = await live.client.post(WORKFLOWS, json=response, params={"start": "false"})
    assert again.status_code == 201
    assert [step["when"] for step in again.json()["steps"]] == [step.get("when") for step in STEPS]


async def test_a_faulty_condition_is_refused_at_its_place(live: Service) -> None:
    steps = [join("a"), join("b", when="${a.ok}"), join("c", when="d.ok")]
    response = await live.client.post(WORKFLOWS, json=body(*steps))
    assert response.status_code == 422
    assert [(fault["loc"], fault["type"]) for fault in response.json()["detail"]] == [
        (["body", "steps", 1, "when"], "bad_expression"),
        (["body", "steps", 2, "when"], "unknown_step"),
    ]


async def test_a_dry_run_says_which_steps_a_condition_decides_about(
    live: Service, scripted: ConfiguredProvider
) -> None:
    waiting: Any = [configured_step("judge", wait=True, result={"score": 9}), *STEPS[1:], join("after", "judge")]
    created = await live.create(*waiting, start=False, inputs={"strict": True})
    started = (await live.verb(created["id"], "start", dry_run="true")).json()
    assert (started["would_run"], started["would_run_later"]) == (["judge"], ["after"])
    assert started["may_run"] == ["refine", "publish", "reject", "end"]
    await live.verb(created["id"], "start")
    await live.until(created["id"], steps_are("RUNNING", *["PENDING"] * 5))
    await live.verb(created["id"], "pause")
    scripted.release(created["id"], "judge")
    await live.until(created["id"], steps_are("COMPLETED", *["PENDING"] * 5))
    resumed = (await live.verb(created["id"], "resume", dry_run="true")).json()
    assert (resumed["kept"], resumed["would_run"]) == (["judge"], ["after"])
    assert resumed["may_run"] == ["refine", "publish", "reject", "end"]
    await live.verb(created["id"], "resume")
    done = await live.until_ended(created["id"])
    assert [step["status"] for step in done["steps"]] == [
        *["COMPLETED"] * 3,
        "SKIPPED",
        "COMPLETED",
        "COMPLETED",
    ]
