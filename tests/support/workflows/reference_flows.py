"""The reference flows: small workflows for each kind of flow control, whose paid work a `FlowWorker` does.

A script does what users do in the flow. It is repeated from its beginning after a death, as users repeat what had no
answer, so everything in it has the same effect however often it is done.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import httpx

from stepwell.contract.enums import ProviderType
from stepwell.persistence.clock import DatabaseClock
from support.emulators.custom import CustomEmulator, CustomJob
from support.providers.emulated import SECRET
from support.service.live_service import ENDED, step_of

Step = dict[str, Any]
Workflow = dict[str, Any]
_BETWEEN_CLOCKS_S = 0.05  # more than the clocks of the test and of the service differ
_FOR_GOOD = "fails for good"
_ENDLESS = "endless"
ITEMS = 100


class FlowWorker(CustomEmulator):
    """A worker whose jobs end as their inputs say, so that a repeated run ends in the same way.

    Its jobs cost money, and it doesn't recognise a request that comes again: that is another job. `forget_workflow`
    bounds what it remembers: each of its answers looks through all jobs.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, secret=SECRET)
        self.idempotent = False
        self.cost = {"amount": 0.25, "currency": "USD"}

    def is_done(self, job: CustomJob) -> bool:
        return super().is_done(job) and job.body["inputs"].get("prompt") != _ENDLESS

    def outcome_of(self, job: CustomJob) -> Literal["succeeded", "failed"]:
        """A prompt like "fails 2": the first two jobs for these inputs fail. "fails for good": all do."""
        match job.body["inputs"].get("prompt", "").split():
            case ["fails", "for", "good", *_]:
                return "failed"
            case ["fails", times, *_]:
                alike = [each.id for each in self._jobs.values() if _work(each) == _work(job)]
                return "failed" if alike.index(job.id) < int(times) else "succeeded"
        return "succeeded"

    def _view(self, job: CustomJob) -> dict[str, Any]:
        may_retry = not job.body["inputs"].get("prompt", "").startswith(_FOR_GOOD)
        return super()._view(job) | ({} if job.status != "failed" else {"retryable": may_retry})

    def answer_to(self, job: CustomJob) -> dict[str, Any]:
        return super().answer_to(job) | {"score": job.body["seed"] % 10 / 10}

    def jobs_of(self, workflow_id: str) -> list[CustomJob]:
        """Return all jobs that were accepted for the workflow."""
        return [job for job in self._jobs.values() if job.body["workflow_id"] == workflow_id]

    def forget_workflow(self, workflow_id: str) -> None:
        """Forget the jobs of the workflow, and all calls so far."""
        for job in self.jobs_of(workflow_id):
            del self._jobs[job.id]
        self.calls.clear()


def _work(job: CustomJob) -> list[Any]:
    """Return what a job is for; the same for each attempt at it."""
    return [job.body[name] for name in ("workflow_id", "step_id", "inputs")]


class FlowClient(Protocol):
    """What a script can do with its workflow."""

    async def get(self) -> Workflow: ...

    async def until(self, wanted: Callable[[Workflow], bool]) -> Workflow: ...

    async def post(self, path: str, body: Mapping[str, Any]) -> httpx.Response:
        """POST to a path below the workflow."""

    async def children(self) -> list[Workflow]:
        """Return the sub-workflows."""

    async def tasks(self, workflow_id: str) -> list[dict[str, Any]]:
        """Return the attempts of a workflow."""

    async def cancel(self) -> httpx.Response: ...


async def _wait(client: FlowClient) -> None:
    await client.until(lambda workflow: workflow["status"] in ENDED)


@dataclass(frozen=True)
class ReferenceFlow:
    """`statuses`: how the steps end. `script` returns when the workflow has ended."""

    name: str
    steps: tuple[Step, ...]
    statuses: Mapping[str, str]
    script: Callable[[FlowClient], Awaitable[None]] = _wait
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def body(self, webhook_url: str) -> dict[str, Any]:
        config = {"retry": {"base_s": 0, "max_s": 0}, "on_unknown": "resubmit"}
        members = {"inputs": self.inputs, "config": config, "webhook_url": webhook_url}
        return {"name": self.name, "origin_instance": "flows", "steps": list(self.steps), **members}


def _paid(step_id: str, task_type: str = "LLM_INTERACTION", *needed: str, **members: Any) -> Step:
    """A step of the worker. Its prompt is the step's id, and its seed is 1, unless its config has others.

    It has more retries than it needs, because an attempt whose process dies before the request is sent counts as one.
    """
    config = {"prompt": step_id, "seed": 1} | members.pop("config", {})
    provider = {"provider_type": ProviderType.CUSTOM}
    step = {"id": step_id, "task_type": task_type, "depends_on": list(needed), "config": config}
    return step | {"provider_config": provider, "max_retries": 5} | members


def _free(step_id: str, *needed: str, **members: Any) -> Step:
    return {"id": step_id, "task_type": "PASSTHROUGH", "depends_on": list(needed)} | members


def _condition() -> ReferenceFlow:
    draw = _paid("draw", "GENERATION", config={"seed": 3})
    steps = (
        draw,
        _paid("taken", when="draw.seed == `3`"),
        _paid("not taken", when="draw.seed == `4`"),
        _paid("behind", "LLM_INTERACTION", "not taken"),
        _free("end", "taken", "behind", run_if="all_ended", config={"text": "${taken.result_text}"}),
    )
    done, skipped = "COMPLETED", "SKIPPED"
    ends = {"draw": done, "taken": done, "not taken": skipped, "behind": skipped, "end": done}
    return ReferenceFlow("condition", steps, ends)


def _join() -> ReferenceFlow:
    """One of three fails for good, one after a retry; what joins them runs with what there is."""
    steps = (
        _paid("left", "GENERATION", config={"seed": 1}),
        _paid("broken", config={"prompt": _FOR_GOOD}, optional=True),
        _paid("retried", config={"prompt": "fails 1"}),
        _paid("join", "LLM_INTERACTION", "left", "broken", "retried", run_if="any_completed"),
        _paid("skipped", "LLM_INTERACTION", "broken"),
        _free("end", "join", "skipped", run_if="all_ended"),
    )
    done = "COMPLETED"
    ends = {"left": done, "broken": "FAILED", "retried": done, "join": done, "skipped": "SKIPPED", "end": done}
    return ReferenceFlow("join after partial failure", steps, ends)


def _judged() -> ReferenceFlow:
    """The first repetition ends with its third run. The second one has no good run, so the best of two counts."""
    good = {"until": "score >= `0.7`", "max": 5, "best": "score"}
    never = {"until": "score > `1`", "max": 2, "best": "-score"}
    steps = (
        _paid("judged", config={"seed": 5, "prompt": "fails 1"}, repeat=good),
        _paid("best", config={"seed": 2}, repeat={**never, "best": "to_number(score)"}),
        _paid("end", when="judged.score >= `0.7` && best.score == `0.3`"),
    )
    return ReferenceFlow("repeat with a judge", steps, dict.fromkeys(("judged", "best", "end"), "COMPLETED"))


def _approval() -> ReferenceFlow:
    config = {"message": "Is it good?", "choices": ["print", "reject"]}
    in_vain = {"message": "Quick!", "choices": ["print", "wait"], "timeout_s": 0.3, "on_timeout": "wait"}
    steps = (
        _paid("draw", "GENERATION", config={"seed": 3}),
        {"id": "ask", "task_type": "APPROVAL", "config": config | {"picture": "${draw.result_image_path}"}},
        {"id": "ask in vain", "task_type": "APPROVAL", "config": in_vain, "depends_on": ["draw"]},
        _paid("print", when="ask.choice == 'print' && \"ask in vain\".choice == 'wait'"),
    )
    ends = dict.fromkeys(("draw", "ask", "ask in vain", "print"), "COMPLETED")
    return ReferenceFlow("approval", steps, ends, _decide)


def _items() -> ReferenceFlow:
    """Some items are retried, and some fail for good. The result has the others."""
    endings = {0: "fails 1", 3: "fails 2", 5: _FOR_GOOD}
    prompts = [f"{endings.get(number % 10, 'draws')} item {number}" for number in range(ITEMS)]
    items = {"items": "${inputs.prompts}", "as": "prompt", "on_item_failure": "collect"}
    steps = (
        _paid("each", for_each=items),
        _paid("end", when=f"each.count == `{ITEMS}` && each.failed == `{ITEMS // 10}`"),
    )
    ends = dict.fromkeys(("each", "end"), "COMPLETED")
    return ReferenceFlow("items", steps, ends, inputs={"prompts": prompts})


async def _decide(client: FlowClient) -> None:
    """Decide in time, and too late."""
    await client.until(lambda workflow: step_of(workflow, "ask")["started_at"] is not None)
    response = await client.post("steps/ask/decision", {"choice": "print", "note": "the light is good"})
    assert response.status_code in {200, 409}, response.text  # 409: an earlier life has recorded it
    workflow = await client.until(lambda workflow: step_of(workflow, "ask in vain")["started_at"] is not None)
    if (waiting_for := step_of(workflow, "ask in vain")["waiting_for"]) is not None:
        until = datetime.fromisoformat(waiting_for["until"])
        await asyncio.sleep((until - DatabaseClock().now()).total_seconds() + _BETWEEN_CLOCKS_S)
    late = await client.post("steps/ask%20in%20vain/decision", {"choice": "print"})
    assert late.status_code == 409, late.text
    await _wait(client)


def _tree() -> ReferenceFlow:
    """A sub-workflow with an endless job is cancelled through its parent."""
    inner = (
        _paid("begun"),
        _paid("endless", "LLM_INTERACTION", "begun", config={"prompt": _ENDLESS}),
        _paid("never", "LLM_INTERACTION", "endless"),
    )
    config = {"retry": {"base_s": 0, "max_s": 0}, "on_unknown": "resubmit"}
    definition = {"name": "inner", "steps": list(inner), "config": config}
    steps = (
        _paid("before"),
        {"id": "inner", "task_type": "SUBWORKFLOW", "depends_on": ["before"], "config": {"workflow": definition}},
        _paid("after", "LLM_INTERACTION", "inner"),
    )
    ends = {"before": "COMPLETED", "inner": "CANCELLED", "after": "CANCELLED"}
    return ReferenceFlow("sub-workflow", steps, ends, _cancel)


async def _cancel(client: FlowClient) -> None:
    """Cancel the workflow once the endless job is under way, and wait until all of it has ended.

    Workflows end before the receipts of their jobs are known.
    """
    while (await client.get())["status"] not in ENDED:
        tasks = [task for child in await client.children() for task in await client.tasks(child["id"])]
        if any(task["step_id"] == "endless" and task["remote_id"] is not None for task in tasks):
            response = await client.cancel()
            assert response.status_code in {200, 409}, response.text  # 409: an earlier life has cancelled it
            break
        await asyncio.sleep(0.05)
    await _wait(client)
    while any(child["status"] not in ENDED for child in await client.children()):
        await asyncio.sleep(0.05)
    ids = [each["id"] for each in (await client.get(), *await client.children())]
    while "unknown" in [task["cancel_receipt"] for each in ids for task in await client.tasks(each)]:
        await asyncio.sleep(0.05)


FLOWS = {flow.name: flow for flow in (_condition(), _join(), _judged(), _approval(), _items(), _tree())}
