"""What a workflow shows of itself while it runs and afterwards: computed views, tasks, events, times."""

import hashlib
import re
from datetime import datetime
from typing import Any
from urllib.parse import quote

import pytest

from support.providers.configured_by_steps import (
    WORKFLOWS,
    ConfiguredProvider,
    configured_step,
    passthrough_step,
    steps_are,
    views_are,
)
from support.service.live_service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")


async def test_a_workflow_shows_its_progress_and_its_current_step(live: Service, scripted: ConfiguredProvider) -> None:
    names = ["a", "b", "c"]
    chain = [configured_step(name, *names[max(0, at - 1) : at], wait=True) for at, name in enumerate(names)]
    workflow = await live.create(*chain, start=False)
    assert (workflow["progress"], workflow["completed_steps"], workflow["current_step"]) == (0.0, 0, None)
    await live.verb(workflow["id"], "start")
    for done, (name, progress) in enumerate(zip(names, (0.0, 33.33, 66.67), strict=True)):
        found = await live.until(workflow["id"], views_are(current_step=name))
        assert (found["progress"], found["completed_steps"], found["total_steps"]) == (progress, done, 3)
        assert found["status"] == "RUNNING"
        assert found["completed_at"] is None
        scripted.release(workflow["id"], name)
    found = await live.until_ended(workflow["id"])
    assert (found["progress"], found["completed_steps"], found["current_step"]) == (100.0, 3, None)


async def test_the_current_step_is_the_one_that_runs_longest(live: Service, scripted: ConfiguredProvider) -> None:
    workflow = await live.create(
        passthrough_step("first"), configured_step("late", "first", wait=True), configured_step("early", wait=True)
    )
    await live.until(workflow["id"], steps_are("COMPLETED", "RUNNING", "RUNNING"))
    found = await live.get(workflow["id"])
    by_start = sorted(found["steps"][1:], key=lambda step: step["started_at"])
    assert found["current_step"] == by_start[0]["step_id"]
    scripted.release(workflow["id"], by_start[0]["step_id"])
    await live.until(workflow["id"], views_are(current_step=by_start[1]["step_id"]))
    scripted.release(workflow["id"], by_start[1]["step_id"])
    await live.until_ended(workflow["id"])


@pytest.mark.parametrize(
    ("steps", "final"),
    [
        ([passthrough_step("a", n=1)], "a"),
        ([passthrough_step("a"), passthrough_step("b", "a"), passthrough_step("c", "a", n=1)], "c"),
        ([passthrough_step("c", "a"), passthrough_step("b", "a"), passthrough_step("a")], "b"),
        ([passthrough_step("lone", n=1), passthrough_step("x", "y", n=2), passthrough_step("y")], "x"),
        ([passthrough_step("y", "x"), passthrough_step("x"), passthrough_step("lone")], "lone"),
    ],
)
async def test_the_final_step_is_the_last_listed_sink(live: Service, steps: list[dict[str, Any]], final: str) -> None:
    workflow = await live.create(*steps, start=False)
    assert (workflow["final_step_id"], workflow["final_step_result"]) == (final, None)
    await live.verb(workflow["id"], "start")
    done = await live.until_ended(workflow["id"])
    (config,) = [step["config"] for step in steps if step["id"] == final]
    assert (done["final_step_id"], done["final_step_result"]) == (final, config)
    assert [step["step_id"] for step in done["steps"]] == [step["id"] for step in steps]
    assert [step["result"] for step in done["steps"]] == [step["config"] for step in steps]


async def test_each_execution_has_a_canvas_task_id_of_its_own(live: Service, scripted: ConfiguredProvider) -> None:
    workflow = await live.create(configured_step("a", wait=True), start=False)
    seen = [workflow["canvas_task_id"]]
    for verb in ("start", "pause", "resume", "pause", "resume"):
        found = (await live.verb(workflow["id"], verb)).json()
        assert found["canvas_task_id"] == (await live.get(workflow["id"]))["canvas_task_id"]
        seen.append(found["canvas_task_id"])
    none, start, pause, resume, pause_again, last = seen
    assert none is None
    assert (pause, pause_again) == (start, resume)
    assert len({start, resume, last}) == 3
    scripted.release(workflow["id"], "a")
    assert (await live.until_ended(workflow["id"]))["canvas_task_id"] == last


async def test_errors_are_in_the_order_of_the_definition(live: Service) -> None:
    steps = [
        configured_step("z", fails=9),
        configured_step("a", fails=9),
        passthrough_step("ok"),
        passthrough_step("after", "z", "ok"),
    ]
    workflow = await live.until_ended((await live.create(*steps, config={"on_failure": "continue"}))["id"])
    assert workflow["status"] == "FAILED"
    assert workflow["errors"] == ["z: told to fail", "a: told to fail"]
    assert workflow["error_message"] == workflow["errors"][0]
    assert [step["status"] for step in workflow["steps"]] == ["FAILED", "FAILED", "COMPLETED", "SKIPPED"]
    assert [step["error_message"] for step in workflow["steps"]] == ["told to fail", "told to fail", None, None]
    assert (workflow["progress"], workflow["completed_steps"]) == (25.0, 1)


async def test_the_first_failure_leaves_the_other_steps_pending(live: Service) -> None:
    steps = [configured_step("a", fails=9), passthrough_step("b", "a")]
    workflow = await live.until_ended((await live.create(*steps))["id"])
    assert (workflow["errors"], workflow["progress"]) == (["a: told to fail"], 0.0)
    assert [step["status"] for step in workflow["steps"]] == ["FAILED", "PENDING"]
    assert workflow["completed_at"] == workflow["updated_at"] == workflow["steps"][0]["completed_at"]


async def test_a_workflow_that_takes_too_long_fails(live: Service) -> None:
    workflow = await live.create(configured_step("a", wait=True), config={"workflow_timeout_s": 0.25})
    workflow = await live.until_ended(workflow["id"])
    assert (workflow["status"], workflow["errors"]) == ("FAILED", ["workflow: timed out after 0.25 s"])
    assert workflow["error_message"] == workflow["errors"][0]
    assert workflow["steps"][0]["status"] == "CANCELLED"


async def test_between_attempts_a_step_is_running_with_the_time_of_the_next(live: Service) -> None:
    workflow = await live.create(
        configured_step("a", fails=1, retryable=True, retry_after_s=600, members={"max_retries": 2})
    )
    found = await live.until(workflow["id"], lambda found: found["steps"][0]["next_attempt_at"] is not None)
    (step,) = found["steps"]
    assert (step["status"], step["retry_count"], step["max_retries"]) == ("RUNNING", 0, 2)
    assert (step["error_message"], found["errors"]) == ("told to fail", [])
    assert step["next_attempt_at"] >= step["updated_at"]
    cancelled = (await live.verb(workflow["id"], "cancel")).json()["steps"][0]
    assert (cancelled["status"], cancelled["next_attempt_at"]) == ("CANCELLED", None)


async def test_retries_are_counted_and_limited(live: Service) -> None:
    step = configured_step("a", fails=9, retryable=True, members={"max_retries": 2})
    workflow = await live.until_ended((await live.create(step, config={"retry": {"base_s": 0}}))["id"])
    assert (workflow["status"], workflow["steps"][0]["retry_count"]) == ("FAILED", 2)
    attempts = await live.tasks(workflow["id"])
    assert [(task["attempt"], task["status"], task["error"]) for task in attempts] == [
        (number, "FAILED", "told to fail") for number in (1, 2, 3)
    ]
    assert workflow["steps"][0]["task_id"] == attempts[-1]["id"]


async def test_tasks_list_every_attempt_with_its_outputs(live: Service) -> None:
    workflow = await live.until_ended(
        (await live.create(configured_step("a", files=2), passthrough_step("b", "a")))["id"]
    )
    first, second = await live.tasks(workflow["id"])
    assert first == {
        "id": workflow["steps"][0]["task_id"],
        "workflow_id": workflow["id"],
        "step_id": "a",
        "item": None,
        "task_type": "GENERATION",
        "attempt": 1,
        "provider": "CUSTOM",
        "status": "COMPLETED",
        "phase": "STORED",
        "seed": first["seed"],
        "remote_id": None,
        "outcome_unknown": False,
        "cancel_receipt": None,
        "model": None,
        "sent_at": None,
        "cost": None,
        "outputs": [
            {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for number, path in enumerate(workflow["steps"][0]["result"]["paths"])
            if (data := f"file-{number}.bin of a".encode())
        ],
        "error": None,
        "started_at": workflow["steps"][0]["started_at"],
        "completed_at": workflow["steps"][0]["completed_at"],
        "created_at": first["started_at"],
        "is_deleted": False,
        "deleted_at": None,
    }
    assert isinstance(first["seed"], int)
    assert (second["step_id"], second["provider"], second["outputs"]) == ("b", None, [])
    for task in (first, second):
        assert (await live.client.get(f"/api/v1/tasks/{task['id']}")).json() == task
    for output in first["outputs"]:
        response = await live.client.get("/api/v1/artifacts/" + output["path"])
        assert response.status_code == 200
        assert (len(response.content), hashlib.sha256(response.content).hexdigest()) == (
            output["size"],
            output["sha256"],
        )
        assert response.headers["content-disposition"].startswith("attachment")
        again = await live.client.get(response.request.url, headers={"If-None-Match": response.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")


async def test_a_step_is_read_alone_by_the_id_that_it_has_in_the_definition(live: Service) -> None:
    names = ["a", "b/c", "d//e", "f/", "50%", "ä?#", "..."]
    created = await live.create(*(passthrough_step(name) for name in names))
    done = await live.until_ended(created["id"])
    path = f"/api/v1/workflows/{created['id']}/steps/"
    responses = [await live.client.get(path + quote(name, safe="")) for name in names]
    assert [response.json() for response in responses] == done["steps"]
    assert (await live.client.get(path + "a/")).json() == done["steps"][0]
    assert (await live.client.get(path + "b")).status_code == 404


async def test_every_transition_is_a_numbered_event(live: Service) -> None:
    workflow = await live.create(
        passthrough_step("a"), configured_step("b", "a", fails=1), passthrough_step("c", "b"), start=False
    )
    await live.verb(workflow["id"], "start")
    await live.until_ended(workflow["id"])
    await live.verb(workflow["id"], "resume")
    await live.until_ended(workflow["id"])
    await live.verb(workflow["id"], "cleanup")
    found = await live.events(workflow["id"])
    assert [(event["type"], event["step_id"]) for event in found] == [
        *(("workflow.created", None), ("workflow.started", None)),
        *(("step.started", "a"), ("step.completed", "a"), ("step.started", "b"), ("step.failed", "b")),
        *(("workflow.failed", None), ("workflow.resumed", None)),
        *(("step.started", "b"), ("step.completed", "b"), ("step.started", "c"), ("step.completed", "c")),
        *(("workflow.completed", None), ("workflow.cleaned", None)),
        ("workflow.files_deleted", None),
    ]
    assert [event["id"] for event in found] == list(range(1, len(found) + 1))
    by_us = {"workflow.created", "workflow.started", "workflow.resumed", "workflow.cleaned"}
    assert [event["actor"] for event in found] == [
        "tester" if event["type"] in by_us else "stepwell" for event in found
    ]
    assert [event["at"] for event in found] == sorted(event["at"] for event in found)
    owners = {task["id"]: task["step_id"] for task in await live.tasks(workflow["id"], include_deleted=True)}
    assert [event["step_id"] for event in found] == [owners.get(event["task_id"]) for event in found]


async def test_events_are_returned_in_pages(live: Service) -> None:
    workflow = await live.until_ended(
        (await live.create(*(passthrough_step(str(number)) for number in range(60))))["id"]
    )
    path = f"{WORKFLOWS}{workflow['id']}/events"
    everything = await live.events(workflow["id"])
    assert len(everything) == 2 + 2 * 60 + 1
    assert (await live.client.get(path)).json() == {"events": everything[:100], "has_more": True}
    for after, limit in ((0, 1), (3, 7), (3, 119), (3, 120), (120, 1000), (123, 10), (2**31, 10), (2**63 - 1, 1)):
        response = await live.client.get(path, params={"after": after, "limit": limit})
        assert response.status_code == 200, response.text
        more = after + limit < len(everything)
        assert response.json() == {"events": everything[after : after + limit], "has_more": more}
    for query in ("after=-1", "limit=0", "limit=1001", "after=x", "after=9223372036854775808"):
        assert (await live.client.get(f"{path}?{query}")).status_code == 422, query


async def test_all_times_are_utc_and_in_order(live: Service) -> None:
    workflow = await live.until_ended((await live.create(passthrough_step("a"), passthrough_step("b", "a")))["id"])
    await live.verb(workflow["id"], "cleanup")
    found = await live.get(workflow["id"])
    things = [found, *found["steps"], *await live.tasks(workflow["id"], include_deleted=True)]
    times = [value for thing in things for name, value in thing.items() if name.endswith("_at") and value is not None]
    times += [event["at"] for event in await live.events(workflow["id"])]
    assert len(times) > 20
    for time in times:
        assert TIME.fullmatch(time)
        assert datetime.fromisoformat(time).utcoffset() is not None
    order = [found["created_at"], found["steps"][0]["started_at"], found["steps"][0]["completed_at"]]
    order += [found["steps"][1]["completed_at"], found["deleted_at"]]
    assert order == sorted(order)
    assert found["started_at"] == found["created_at"]
    assert found["completed_at"] == found["steps"][1]["completed_at"]


async def test_mapped_values_reach_the_step_over_its_config(live: Service) -> None:
    source = passthrough_step("source", list=[1, 2], deep={"a": {"b": "x"}}, **{"dotted.key": 7})
    mappings = [
        ("list", "first", "FIRST"),
        ("deep.a.b", "made.of.parts", None),
        ("dotted.key", "seed", None),
        ("length(list)", "count", "TO_STRING"),
        ("list[?@ > `1`]", "big", "FLATTEN"),
    ]
    target = passthrough_step("target", "source", seed=1, kept=True) | {
        "input_mappings": [
            {"from_step": "source", "from_field": source_field, "to_field": field, "transform": transform}
            for source_field, field, transform in mappings
        ]
    }
    done = await live.until_ended((await live.create(source, target))["id"])
    assert done["final_step_result"] == {
        "first": 1,
        "made": {"of": {"parts": "x"}},
        "seed": 7,
        "count": "2",
        "big": [2],
        "kept": True,
    }


async def test_a_mapping_that_finds_nothing_names_the_existing_fields(live: Service) -> None:
    mapping = {"from_step": "source", "from_field": "nope", "to_field": "x"}
    steps = [
        passthrough_step("source", one=1, two=2),
        passthrough_step("target", "source") | {"input_mappings": [mapping]},
    ]
    workflow = await live.until_ended((await live.create(*steps))["id"])
    assert (workflow["status"], workflow["steps"][1]["retry_count"]) == ("FAILED", 0)
    message = workflow["steps"][1]["error_message"]
    assert all(word in message for word in ("nope", "source", "'x'", "one, two"))


def check_counts(workflow: dict[str, Any], steps: int) -> None:
    """Check that the counts of a workflow that has not ended are those of its steps."""
    statuses = [step["status"] for step in workflow["steps"]]
    running = [step["step_id"] for step in workflow["steps"] if step["status"] == "RUNNING"]
    assert workflow["completed_steps"] == statuses.count("COMPLETED") <= steps
    assert [workflow["current_step"]] == (running or [None])
    assert workflow["updated_at"] == max(step["updated_at"] for step in workflow["steps"])


async def test_no_response_shows_a_half_committed_transition(live: Service) -> None:
    chain = [passthrough_step(str(number), *([str(number - 1)] if number else [])) for number in range(150)]
    workflow, seen = await live.create(*chain), 0
    async with live.unchecked_client() as client:
        while (found := (await client.get(WORKFLOWS + workflow["id"])).json())["status"] == "RUNNING":
            check_counts(found, len(chain))
            (listed,) = (await client.get(WORKFLOWS, params={"limit": 1})).json()["workflows"]
            check_counts(listed, len(chain))
            seen += 1
    assert found["status"] == "COMPLETED"
    assert seen > 1
