"""Callbacks of providers about attempts of this process."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from stepwell.basics.errors import OutcomeUnknown
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.lifecycle.model import Sent
from stepwell.ports.providers import Attempt, AttemptIO, CancelAnswer, Finished, Job, JobState, JobStatus, Request
from stepwell.rules.access.signed_urls import CallbackUrls
from stepwell.testing import MemoryDatabase
from support.database.failing_store import scheduler_of, use_failing_store
from support.providers.scripted import eventually, scripted_step
from support.service.live_service import SECRET, running_service


class AnsweringByCallback:
    """A provider whose answers to submits are always lost. Only its callbacks say which job an attempt has."""

    type = ProviderType.FAL
    needs_credential = False
    listing_lag_s = 0.0

    def capabilities(self, _task_type: TaskType, /) -> frozenset[str] | None:
        return frozenset()

    def model(self, _task_type: TaskType, _provider_config: Mapping[str, Any], /) -> str:
        return "a-model"

    def ends_jobs(self, _model: str, /) -> bool:
        return True

    async def prepare(self, _attempt: Attempt, _io: AttemptIO, /) -> Request:
        return Request(model="a-model", body={})

    async def submit(self, _attempt: Attempt, _request: Request, _io: AttemptIO, /) -> Job | Finished:
        raise OutcomeUnknown("the answer is lost")

    async def poll(self, _attempt: Attempt, _job: Job, /) -> JobState:
        return JobState(status=JobStatus.SUCCEEDED)

    async def fetch(self, _attempt: Attempt, job: Job, _io: AttemptIO, /) -> Finished:
        return Finished({"job": job.id})

    async def cancel(self, _attempt: Attempt, _job: Job, /) -> CancelAnswer:
        return CancelAnswer.REFUSED

    def called_back(self, body: bytes, /) -> Job | None:
        return Job(id=body.decode())

    async def reconcile(self, _attempt: Attempt, _sent: Sent, /) -> Sequence[Job] | None:
        return None


async def test_a_callback_before_the_attempt_has_started_is_not_lost(memory: MemoryDatabase, tmp_path: Path) -> None:
    async with running_service(memory, tmp_path, providers=[AnsweringByCallback()]) as service:
        store = use_failing_store(service)
        store.gate.clear()  # the attempt starts once its row is committed, which now has to wait
        workflow_id = UUID((await service.create(scripted_step("a", provider=ProviderType.FAL)))["id"])
        await eventually(lambda: bool(store.batches))
        (task_id,) = scheduler_of(service).leaving.attempts_of(workflow_id)
        url = CallbackUrls(SECRET.encode(), "").url(workflow_id, task_id)
        response = await service.client.post(url, content=b"job-1")
        assert response.status_code == 200
        store.gate.set()
        workflow = await service.until_ended(str(workflow_id))
    assert (workflow["status"], workflow["final_step_result"]) == ("COMPLETED", {"job": "job-1"})
