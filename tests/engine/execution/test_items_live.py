"""Steps with items in the running service: their inputs, attempts and seeds, and what follows a failure."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from stepwell.testing import MemoryDatabase
from support.database.failing_store import scheduler_of
from support.providers.scripted import (
    Call,
    Fail,
    Hang,
    ScriptedProvider,
    Succeed,
    eventually,
    passthrough_step,
    scripted_step,
)
from support.service.live_service import Service, running_service, serving, step_of

QUICK = {"retry": {"base_s": 0.01}}


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture
async def service(
    memory_in_real_time: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider
) -> AsyncIterator[Service]:
    async with running_service(memory_in_real_time, tmp_path, providers=[provider]) as service:
        yield service


def listed(items: Any, **members: Any) -> dict[str, Any]:
    return {"items": items, **members}


async def ended(service: Service, *steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    created = await service.create(*steps, **members)
    return await service.until_ended(created["id"])


def in_order(provider: ScriptedProvider) -> list[Call]:
    """The calls in the order of the items that are their input."""
    return sorted(provider.calls, key=lambda call: (call.inputs["item"], call.number))


async def events_of_items(service: Service, workflow_id: str) -> list[tuple[str, int]]:
    events = await service.events(workflow_id)
    return [(event["type"], event["data"]["item"]) for event in events if "item" in event["data"]]


@pytest.mark.parametrize(
    ("config", "for_each", "inputs"),
    [
        ({"prompt": "p"}, {"count": 2}, [{"prompt": "p", "item": 0}, {"prompt": "p", "item": 1}]),
        ({"prompt": "p"}, listed(["x", "y"], **{"as": "prompt"}), [{"prompt": "x"}, {"prompt": "y"}]),
        (
            {"prompt": "p", "seed": 7},
            listed([{"prompt": "x"}, {"seed": 3, "timeout_s": 1}], **{"as": None}),
            [{"prompt": "x", "seed": 7}, {"prompt": "p", "seed": 3}],
        ),
        (
            {"prompt": "a ${item.thing} of ${inputs.kind}"},
            listed("${inputs.things}"),
            [
                {"prompt": "a vase of glass"},
                {"prompt": "a ${item} of glass"},
            ],
        ),
        (
            {"prompt": "${item}"},
            listed(["${inputs.kind}", "$${x}"]),
            [{"prompt": "glass"}, {"prompt": "${x}"}],
        ),
    ],
)
async def test_each_item_is_in_the_inputs_of_its_attempt(
    service: Service,
    provider: ScriptedProvider,
    config: dict[str, Any],
    for_each: dict[str, Any],
    inputs: list[dict[str, Any]],
) -> None:
    things = {"kind": "glass", "things": [{"thing": "vase"}, {"thing": "${item}"}]}
    step = scripted_step("a", config=config, for_each=for_each)
    workflow = await ended(service, step, inputs=things)
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    assert [dict(call.inputs) for call in provider.calls] == inputs


async def test_the_items_of_a_result_are_read_like_a_mapping_and_mapped_values_lie_over_them(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.plan("a", Succeed({"lists": [[{"prompt": "x"}], [{"prompt": "y"}]], "style": "oil"}))
    step = scripted_step(
        "b",
        "a",
        config={"prompt": "p", "style": "ink"},
        for_each={"from_step": "a", "from_field": "lists", "transform": "FLATTEN", "as": None},
        input_mappings=[{"from_step": "a", "from_field": "style", "to_field": "style"}],
    )
    workflow = await ended(service, scripted_step("a"), step)
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    assert [dict(call.inputs) for call in provider.calls[1:]] == [
        {"prompt": "x", "style": "oil"},
        {"prompt": "y", "style": "oil"},
    ]


@pytest.mark.parametrize(
    ("for_each", "error"),
    [
        (listed("${inputs.none}"), "for_each.items: needs a list of items, got null"),
        ({"count": "${inputs.n}"}, "for_each.count needs a whole number from 1 to 1,000, got 0"),
        (listed("${abs(inputs.none)}"), "Expression in for_each.items: abs(inputs.none) can't be evaluated: "),
        (
            {"from_step": "a", "from_field": "x"},
            "Mapping of 'x' of step 'a' to 'for_each.items' finds nothing; the result has y: correct from_field",
        ),
    ],
)
async def test_a_step_whose_items_cannot_be_read_fails_for_good(
    service: Service, provider: ScriptedProvider, for_each: dict[str, Any], error: str
) -> None:
    provider.plan("a", Succeed({"y": 1}))
    step = scripted_step("b", "a", for_each=for_each)
    workflow = await ended(service, scripted_step("a"), step, inputs={"n": 0})
    assert workflow["status"] == "FAILED"
    assert step_of(workflow, "b")["error_message"].startswith(error)
    assert len(provider.calls) == 1


async def test_a_step_fails_if_its_items_come_from_a_step_without_a_result(
    service: Service, provider: ScriptedProvider
) -> None:
    skipped = scripted_step("a", when="`false`")
    step = scripted_step("b", "a", run_if="all_ended", for_each={"from_step": "a", "from_field": "x"})
    workflow = await ended(service, skipped, step)
    error = "Mapping of 'x' of step 'a' to 'for_each.items': step 'a' has no result"
    assert (workflow["status"], step_of(workflow, "b")["error_message"]) == ("FAILED", error)
    assert provider.calls == []


async def test_large_items_are_evaluated_in_a_worker_process(service: Service, provider: ScriptedProvider) -> None:
    numbers = list(range(30_000))
    provider.plan("a", Succeed({"lists": [numbers, numbers]}))
    for_each = listed("${a.lists}", **{"as": "numbers"})
    step = scripted_step("b", "a", for_each=for_each, config={"prompt": "the sum is ${sum(item)}"})
    workflow = await ended(service, scripted_step("a"), step)
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    assert [(call.inputs["numbers"] == numbers, call.inputs["prompt"]) for call in provider.calls[1:]] == [
        (True, f"the sum is {sum(numbers)}")
    ] * 2


async def test_a_step_without_items_completes_at_once(service: Service, provider: ScriptedProvider) -> None:
    workflow = await ended(service, scripted_step("a", for_each=listed([])), passthrough_step("b", "a"))
    assert workflow["status"] == "COMPLETED"
    assert provider.calls == []
    events = [event["type"] for event in await service.events(workflow["id"]) if event["step_id"] == "a"]
    assert events == ["step.started", "step.completed"]


async def test_each_item_has_attempts_and_a_seed_of_its_own_and_a_retry_keeps_the_seed(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.plan("a", *[Fail(before=2)] * 6)
    workflow = await ended(service, scripted_step("a", for_each={"count": 3}, max_retries=1), config=QUICK)
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    calls = in_order(provider)
    assert [(call.inputs["item"], call.number) for call in calls] == [(i, n) for i in range(3) for n in (1, 2)]
    seeds = [call.seed for call in calls]
    assert seeds[::2] == seeds[1::2]
    assert len(set(seeds)) == 3
    assert len({call.task_id for call in calls}) == 6
    page = (await service.client.get(f"/api/v1/workflows/{workflow['id']}/steps/a/items")).json()
    assert [item["retry_count"] for item in page["items"]] == [1, 1, 1]
    assert (step_of(workflow, "a")["retry_count"], step_of(workflow, "a")["items"]["retries"]) == (3, 3)


@pytest.mark.parametrize(
    ("config", "for_each", "seeds"),
    [
        ({"seed": 41}, {"count": 3}, [41, 42, 43]),
        ({"seed": "${inputs.seed}"}, {"count": 3}, [7, 8, 9]),
        ({}, {"count": 3, "as": "seed"}, [0, 1, 2]),
        ({"seed": 41}, listed([{"seed": 5}, {}], **{"as": None}), [5, 42]),
        ({"seed": "${item.seed}"}, listed([{"seed": 5}, {"seed": 5}]), [5, 5]),
    ],
)
async def test_a_seed_that_all_items_share_is_one_more_for_each_of_them(
    service: Service, provider: ScriptedProvider, config: dict[str, Any], for_each: dict[str, Any], seeds: list[int]
) -> None:
    step = scripted_step("a", config={"prompt": "x", **config}, for_each=for_each)
    await ended(service, step, inputs={"seed": 7})
    assert [call.inputs["seed"] for call in provider.calls] == seeds


async def test_each_item_repeats_with_seeds_of_its_own(service: Service, provider: ScriptedProvider) -> None:
    provider.plan("a", *(Succeed({"score": score}) for score in (0.1, 0.9, 0.8)))
    step = scripted_step(
        "a",
        config={"prompt": "x", "seed": 10},
        for_each={"count": 2, "max_concurrency": 1},
        repeat={"until": "score > `0.5`", "max": 3},
    )
    workflow = await ended(service, step)
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    assert [(call.inputs["item"], call.inputs["seed"]) for call in provider.calls] == [(0, 10), (0, 11), (1, 11)]
    assert len({call.seed for call in provider.calls}) == 3


async def test_no_more_items_are_under_way_than_the_step_allows(service: Service, provider: ScriptedProvider) -> None:
    provider.default = Hang()
    created = await service.create(scripted_step("a", for_each={"count": 7, "max_concurrency": 3}))
    await eventually(lambda: len(provider.calls) == 3)
    response = await service.client.get(f"/api/v1/workflows/{created['id']}/explain")
    (explained,) = response.json()["steps"]
    counts = {name: explained["reason"][name] for name in ("total", "pending", "running", "completed", "reasons")}
    expected = {"total": 7, "pending": 4, "running": 3, "completed": 0, "reasons": {"running_locally": 3}}
    assert (explained["reason"]["code"], counts) == ("waits_for_items", expected)
    provider.release("a")
    workflow = await service.until_ended(created["id"])
    assert workflow["status"] == "COMPLETED"
    assert (len(provider.calls), provider.peak) == (7, 3)


async def test_a_workflow_counts_as_more_active_ones_once_its_items_are_known(
    memory_in_real_time: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider
) -> None:
    provider.plan("a", *[Hang()] * 100)
    async with running_service(
        memory_in_real_time, tmp_path, providers=[provider], max_active_workflows_per_tenant=5
    ) as service:
        large = await service.create(scripted_step("a", for_each={"count": 100}))
        await eventually(lambda: len(provider.calls) == 10)
        small = await service.create(scripted_step("b"))
        assert scheduler_of(service).workflows.keys() == {UUID(large["id"])}
        provider.release("a")
        await service.until_ended(large["id"])
        assert (await service.until_ended(small["id"]))["status"] == "COMPLETED"


async def test_an_item_that_fails_fails_the_step_and_resume_runs_only_those_that_did_not_complete(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.plan("a", Succeed({"x": 0}), Fail("out of paint", retryable=False))
    created = await service.create(scripted_step("a", for_each={"count": 4, "max_concurrency": 1}))
    workflow = await service.until_ended(created["id"])
    assert workflow["status"] == "FAILED"
    assert step_of(workflow, "a")["error_message"] == "item 1: out of paint"
    assert [call.inputs["item"] for call in provider.calls] == [0, 1]
    await service.verb(workflow["id"], "resume")
    workflow = await service.until(workflow["id"], lambda workflow: workflow["status"] == "COMPLETED")
    assert [call.inputs["item"] for call in provider.calls] == [0, 1, 1, 2, 3]


async def test_collect_completes_the_step_with_the_results_of_the_other_items(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.plan("a", Succeed({"x": 0}), Fail("out of paint", retryable=False), Succeed({"x": 2}))
    step = scripted_step("a", for_each={"count": 3, "max_concurrency": 1, "on_item_failure": "collect"})
    workflow = await ended(
        service, step, passthrough_step("b", "a", config={"x": "${a.items[*].x}", "n": "${a.failed}"})
    )
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    assert step_of(workflow, "b")["result"] == {"x": [0, 2], "n": 1}
    ends = [(kind, item) for kind, item in await events_of_items(service, workflow["id"]) if kind != "step.started"]
    assert ends == [("step.completed", 0), ("step.failed", 1), ("step.completed", 2)]


async def test_an_item_that_is_no_object_fails_alone_if_its_members_are_inputs(
    service: Service, provider: ScriptedProvider
) -> None:
    for_each = listed("${inputs.things}", **{"as": None, "on_item_failure": "collect"})
    step = scripted_step("a", for_each=for_each)
    workflow = await ended(service, step, inputs={"things": [{"prompt": "x"}, "y"]})
    assert workflow["status"] == "COMPLETED"
    assert [call.inputs["prompt"] for call in provider.calls] == ["x"]
    events = await service.events(workflow["id"])
    (failed,) = [event["data"] for event in events if event["type"] == "step.failed"]
    assert failed["item"] == 1
    assert (
        failed["error"] == 'the item is a text: it must be an object, because its members are the inputs ("as" is null)'
    )


async def test_pause_lets_items_end_and_starts_no_other(service: Service, provider: ScriptedProvider) -> None:
    provider.default = Hang()
    created = await service.create(scripted_step("a", for_each={"count": 4, "max_concurrency": 2}))
    await eventually(lambda: len(provider.calls) == 2)
    await service.verb(created["id"], "pause")
    provider.release("a")
    await eventually(lambda: not provider.running)
    paused = await service.until(created["id"], lambda workflow: step_of(workflow, "a")["status"] == "PENDING")
    assert (paused["status"], len(provider.calls)) == ("PAUSED", 2)
    await service.verb(created["id"], "resume")
    workflow = await service.until_ended(created["id"])
    assert workflow["status"] == "COMPLETED"
    assert [call.inputs["item"] for call in provider.calls] == [0, 1, 2, 3]


async def test_cancel_cancels_the_items_that_run(service: Service, provider: ScriptedProvider) -> None:
    provider.default = Hang()
    created = await service.create(scripted_step("a", for_each={"count": 4, "max_concurrency": 2}))
    await eventually(lambda: len(provider.calls) == 2)
    await service.verb(created["id"], "cancel")
    workflow = await service.until_ended(created["id"])
    assert (workflow["status"], step_of(workflow, "a")["status"]) == ("CANCELLED", "CANCELLED")
    await eventually(lambda: not provider.running)
    assert [call.end for call in provider.calls] == ["cancelled"] * 2
    assert scheduler_of(service).workflows == {}


async def test_no_item_starts_once_the_results_of_the_workflow_have_no_room(
    memory_in_real_time: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider
) -> None:
    provider.default = Succeed({"text": "x" * 600})
    async with running_service(memory_in_real_time, tmp_path, providers=[provider], results_max_bytes=1_250) as service:
        step = scripted_step("a", for_each={"count": 9, "max_concurrency": 1, "on_item_failure": "collect"})
        workflow = await ended(service, step)
    assert len(provider.calls) == 3, "the third result has no room, and the others would be paid for nothing"
    assert workflow["status"] == "COMPLETED"


async def test_results_of_items_that_are_too_large_to_be_read_at_once_are_refused(service: Service) -> None:
    """They are 17 MB together. The items can still be read in pages, and the whole response in slices."""
    big = {"id": "big", "task_type": "PASSTHROUGH", "config": {"text": "x" * 1_000_000}, "for_each": {"count": 17}}
    mapping = {"from_step": "big", "from_field": "count", "to_field": "n"}
    use = {"id": "use", "task_type": "PASSTHROUGH", "input_mappings": [mapping]}
    workflow = await ended(service, big, use)
    failed = step_of(workflow, "use")
    why = "the results that the step reads are over 16,777,216 bytes"
    assert (failed["status"], failed["error_message"]) == ("FAILED", why)
    assert len(step_of(workflow, "big")["result"]["items"]) == 17
    response = await service.client.get(f"/api/v1/workflows/{workflow['id']}/steps/big")
    assert response.status_code == 422
    assert "get the items of the step, page by page" in response.text


async def test_the_files_of_items_stay_and_those_of_a_failed_attempt_are_deleted(
    service: Service, provider: ScriptedProvider
) -> None:
    provider.plan("a", Succeed({"x": 0}, {"0.png": b"x"}), Succeed({"x": object()}, {"1.png": b"x"}))
    step = scripted_step("a", for_each={"count": 2, "max_concurrency": 1})
    workflow = await ended(service, step)
    assert workflow["status"] == "FAILED"
    folders = [service.artifacts / "media" / str(call.task_id) for call in provider.calls]
    await eventually(
        lambda: [path for path in service.stored_files() if path.parent in folders] == [folders[0] / "0.png"]
    )


async def test_items_go_on_where_they_were_after_their_process_is_gone(
    memory_in_real_time: MemoryDatabase, tmp_path: Path
) -> None:
    first = ScriptedProvider(script={"a": [Succeed({"x": 0}), Hang(), Hang()]})
    async with serving(memory_in_real_time, tmp_path, first) as service:
        created = await service.create(
            scripted_step("a", for_each=listed("${inputs.things}", max_concurrency=2)), inputs={"things": [5, 6, 7, 8]}
        )
        await eventually(lambda: len(first.calls) == 3)
    memory_in_real_time.take_over(uuid4())
    second = ScriptedProvider()
    async with running_service(memory_in_real_time, tmp_path, providers=[second]) as service:
        workflow = await service.until_ended(created["id"])
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    assert [(call.inputs["item"], call.number) for call in in_order(second)] == [(6, 1), (7, 1), (8, 1)]
    interrupted = {call.task_id: call.seed for call in first.calls[1:]}
    assert {call.task_id: call.seed for call in in_order(second)[:2]} == interrupted, "the same attempts again"


async def test_items_run_on_postgresql(dsn: str, tmp_path: Path, provider: ScriptedProvider) -> None:
    provider.plan("a", Succeed({"x": 0}), Fail("out of paint", retryable=False), Fail(before=2))
    items = scripted_step("a", for_each=listed("${inputs.things}", max_concurrency=1, on_item_failure="collect"))
    judged = scripted_step(
        "b",
        for_each={"from_step": "a", "from_field": "items"},
        repeat={"until": "score == `1`", "max": 2},
        depends_on=["a"],
    )
    provider.plan("b", *(Succeed({"score": score}) for score in (0, 1, 1, 0, 1)))
    async with running_service(dsn, tmp_path, providers=[provider]) as service:
        workflow = await ended(service, items, judged, config=QUICK, inputs={"things": ["x", None, {"y": "z"}]})
        assert workflow["status"] == "COMPLETED", workflow["errors"]
        ends = [each for each in await events_of_items(service, workflow["id"]) if each[0] == "step.completed"]
    assert [call.inputs["item"] for call in provider.calls if call.step_id == "a"] == [
        "x",
        None,
        {"y": "z"},
        {"y": "z"},
    ]
    assert [item for _, item in ends[:2]] == [0, 2]
    assert sorted(item for _, item in ends[2:]) == [0, 1, 2]


async def test_items_wait_while_too_many_are_in_memory(service: Service, provider: ScriptedProvider) -> None:
    memory = scheduler_of(service).item_memory
    memory.max_bytes = 0
    provider.default = Hang()

    async def create(*texts: str) -> str:
        steps = [{**scripted_step(text), "for_each": listed(["${inputs.text}"])} for text in texts]
        created = await service.create(*steps, inputs={"text": "x" * 100})
        return str(created["id"])

    oldest = await create("a", "b")
    waiting = await create("c")
    explained = (await service.client.get(f"/api/v1/workflows/{waiting}/explain")).json()
    await eventually(lambda: len(provider.calls) == 2)  # the oldest one with items never waits
    assert [step["reason"]["code"] for step in explained["steps"]] == ["evaluating_expressions"]
    await service.verb(oldest, "cancel")
    await eventually(lambda: len(provider.calls) == 3)
    memory.longest_wait_s = 0
    last = await create("d")
    await eventually(lambda: len(provider.calls) == 4)  # as soon as it has waited for long enough
    for each in (waiting, last):
        await service.verb(each, "cancel")  # else the service waits for the attempts when it stops
