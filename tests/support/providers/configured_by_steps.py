"""A provider that does as its step's config says, and steps for it: what tests over the live service need."""

import asyncio
from base64 import b64decode
from collections import defaultdict
from collections.abc import Callable
from typing import Any
from uuid import UUID

from anyio import CancelScope

from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.in_process import InProcess

WORKFLOWS = "/api/v1/workflows/"
JSON = {"Content-Type": "application/json"}
FAILURE = "told to fail"


class ConfiguredProvider(InProcess):
    """Implements `InProcessProvider`, in this order, by members of the step's config:

    `fails` n: attempts up to number n fail, `retryable` or not, and the next one may begin after `retry_after_s`;
    `wait`: until `release`d; `stubborn`: the same, but it can't be cancelled meanwhile, and stores a file after that;
    `breaks`: it fails now, for good, with that text if it is one; `files` n: so many are stored; `texts`: files with
    these contents, by their names; `media`: the same with contents in base64; `result`: is given back.
    """

    type = ProviderType.CUSTOM

    def __init__(self) -> None:
        self._gates: dict[tuple[str, str], asyncio.Event] = defaultdict(asyncio.Event)
        self.running: set[tuple[str, str]] = set()

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:
        return frozenset({"scripted"}) if task_type is TaskType.GENERATION else None

    def release(self, workflow_id: str, step_id: str) -> None:
        """Let the attempt at that step go on, and all later ones."""
        self._gates[workflow_id, step_id].set()

    async def run(self, attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
        key = (str(attempt.workflow_id), attempt.step_id)
        self.running.add(key)
        try:
            return await self._obey(attempt, io, self._gates[key])
        finally:
            self.running.discard(key)

    async def _obey(self, attempt: Attempt, io: AttemptIO, gate: asyncio.Event) -> dict[str, Any]:
        configured_step = attempt.inputs
        if attempt.number <= configured_step.get("fails", 0):
            raise AttemptError(
                FAILURE,
                retryable=configured_step.get("retryable", False),
                provider_fault=False,
                retry_after_s=configured_step.get("retry_after_s"),
            )
        if configured_step.get("wait"):
            await gate.wait()
        if configured_step.get("stubborn"):
            with CancelScope(shield=True):
                await gate.wait()
                await io.store("late.bin", b"late")
        if breaks := configured_step.get("breaks"):
            raise AttemptError(FAILURE if breaks is True else breaks, retryable=False, provider_fault=False)
        named = [f"file-{number}.bin" for number in range(configured_step.get("files", 0))]
        files = {name: _contents(attempt.step_id, name) for name in named}
        files |= {name: text.encode() for name, text in configured_step.get("texts", {}).items()}
        files |= {name: b64decode(data) for name, data in configured_step.get("media", {}).items()}
        stored = [await io.store(name, content) for name, content in files.items()]
        return {"paths": [output.path for output in stored], **configured_step.get("result", {})}


def _contents(step_id: str, name: str) -> bytes:
    return f"{name} of {step_id}".encode()


def configured_step(step_id: str, *needed: str, members: dict[str, Any] | None = None, **orders: Any) -> dict[str, Any]:
    """A step that the scripted provider does, with *orders* as above; *members* go into the step itself."""
    return {
        "id": step_id,
        "task_type": "GENERATION",
        "config": {"prompt": "p", **orders},
        "depends_on": list(needed),
        "provider_config": {"provider_type": "CUSTOM"},
    } | (members or {})


def passthrough_step(step_id: str, *needed: str, **config: Any) -> dict[str, Any]:
    """A step whose result is its config."""
    return {"id": step_id, "task_type": "PASSTHROUGH", "depends_on": list(needed), "config": config}


def task_id_of(path: str) -> UUID:
    """The task that a file's path names."""
    return UUID(path.split("/")[1])


def views_are(**views: Any) -> Callable[[dict[str, Any]], bool]:
    """For `Service.until`: the workflow's members have those values."""
    return lambda workflow: all(workflow[name] == value for name, value in views.items())


def steps_are(*statuses: str) -> Callable[[dict[str, Any]], bool]:
    """For `Service.until`: the steps have those statuses, in the order of the definition."""
    return lambda workflow: [step["status"] for step in workflow["steps"]] == list(statuses)
