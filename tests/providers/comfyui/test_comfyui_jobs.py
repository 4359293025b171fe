"""COMFYUI: what becomes of a job, what ends it, and how one is found again."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from providers.comfyui.comfyui_cases import SENT, attempt, files, provider_at, submit, task
from stepwell.basics.errors import CallFailed, OutcomeUnknown
from stepwell.ports.providers import CancelAnswer, Job, JobState, JobStatus
from stepwell.providers.comfyui.provider import ComfyUiProvider
from support.emulators.base import Call, Fault, Reply
from support.emulators.comfyui import ComfyUiEmulator
from support.providers.attempt_io import TASK

ID = str(TASK)
TROUBLE = [Fault.LOSE_AFTER, Fault.GARBAGE_AFTER, Fault.TRUNCATE_AFTER, Fault.BUSY, Fault.BROKEN, Fault.GATEWAY_BEFORE]


def calls(emulator: ComfyUiEmulator, kind: str) -> list[Call]:
    return [call for call in emulator.calls if call.kind == kind]


class TestPoll:
    async def test_a_job_is_pending_then_running_then_succeeded(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        emulator.always("socket", Fault.REFUSED)
        emulator.busy = True
        waits = attempt(number=1)
        assert await provider.poll(waits, await submit(provider, waits)) == JobState(
            status=JobStatus.RUNNING, word="pending"
        )
        emulator.busy, emulator.held = False, True
        job = await submit(provider)
        assert await provider.poll(attempt(), job) == JobState(status=JobStatus.RUNNING, word="running")
        emulator.held = False
        assert await provider.poll(attempt(), job) == JobState(status=JobStatus.SUCCEEDED, word="success")

    async def test_polls_share_one_read_of_the_queue(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        emulator.busy = True
        emulator.always("socket", Fault.REFUSED)
        work = [attempt(number=number) for number in range(5)]
        jobs = [await submit(provider, one) for one in work]
        for one, job in zip(work, jobs, strict=True):
            assert (await provider.poll(one, job)).word == "pending"
        assert (emulator.count("poll"), emulator.count("list")) == (5, 1)
        later = await submit(provider, attempt(number=9))
        assert (await provider.poll(attempt(), later)).word == "pending"

    @pytest.mark.parametrize(
        ("kind", "retryable"),
        [("torch.OutOfMemoryError", True), ("RuntimeError", True), ("ValueError", False), ("custom.KeyError", False)],
    )
    async def test_a_failed_node_is_reported_with_its_error(
        self,
        provider: ComfyUiProvider,
        emulator: ComfyUiEmulator,
        kind: str,
        retryable: bool,  # noqa: FBT001 - a column
    ) -> None:
        emulator.failure = (kind, "it broke\x00\n")
        state = await provider.poll(attempt(), await submit(provider))
        why = "ComfyUI: node 3 (KSampler): it broke"
        assert (state.status, state.word, state.retryable) == (JobStatus.FAILED, "error", retryable)
        assert state.error.strip() == why

    @pytest.mark.parametrize("messages", [None, [], [5], [["execution_error", 5]], [["execution_start", {}]]])
    async def test_a_failed_job_without_a_reason_is_reported_as_such(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, messages: Any
    ) -> None:
        job = await submit(provider)
        run = emulator.runs[job.id]
        run.ended, run.status, run.messages = True, "error", messages
        state = await provider.poll(attempt(), job)
        assert (state.status, state.error) == (JobStatus.FAILED, "ComfyUI: no reason given")

    async def test_an_interrupted_job_is_cancelled(self, provider: ComfyUiProvider, emulator: ComfyUiEmulator) -> None:
        job = await submit(provider)
        emulator.begin(job.id)
        emulator.interrupt(emulator.runs[job.id])
        assert await provider.poll(attempt(), job) == JobState(status=JobStatus.CANCELLED, word="interrupted")

    async def test_a_job_without_a_status_has_succeeded(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = await submit(provider)
        entry = {"prompt": emulator.runs[job.id].prompt, "outputs": {}}
        monkeypatch.setattr(emulator, "_polled", lambda _: Reply(200, {job.id: entry}))
        assert (await provider.poll(attempt(), job)).status is JobStatus.SUCCEEDED

    async def test_an_unknown_job_is_forgotten(self, provider: ComfyUiProvider, emulator: ComfyUiEmulator) -> None:
        job = await submit(provider)
        emulator.forget(job.id)
        with pytest.raises(CallFailed, match="knows no such job") as failure:
            await provider.poll(attempt(), job)
        assert failure.value.forgotten

    async def test_a_job_that_ends_between_two_calls_is_found_in_the_history(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        emulator.busy = True
        job, queue = await submit(provider), emulator.queue_view

        def looked() -> Any:
            emulator.end(emulator.runs[job.id])
            return queue()

        monkeypatch.setattr(emulator, "queue_view", looked)
        assert (await provider.poll(attempt(), job)).status is JobStatus.SUCCEEDED

    @pytest.mark.parametrize("fault", TROUBLE)
    async def test_a_poll_without_an_answer_raises_call_failed(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, fault: Fault
    ) -> None:
        emulator.busy = True
        job = await submit(provider)
        for kind in ("poll", "list"):
            emulator.plan(kind, fault)
            with pytest.raises(CallFailed) as failure:
                await provider.poll(attempt(), job)
            assert not failure.value.forgotten

    async def test_a_wrong_url_forgets_no_job(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, client: httpx.AsyncClient
    ) -> None:
        job, elsewhere = await submit(provider), provider_at(emulator, client, url=f"{emulator.url}/elsewhere")
        lost: list[Callable[[], Awaitable[Any]]] = [
            lambda: elsewhere.poll(attempt(), job),
            lambda: elsewhere.fetch(attempt(), job, files()),
            lambda: elsewhere.cancel(attempt(), job),
            lambda: elsewhere.reconcile(attempt(), SENT),
        ]
        for call in lost:
            with pytest.raises(CallFailed, match="404") as failure:
                await call()
            assert not failure.value.forgotten

    @pytest.mark.parametrize("body", [b'{"%s": 5}', b'{"%s": {"prompt": 5}}', b"[]", b"[" * 100_000, b'{"a": 1e999}x'])
    async def test_an_unreadable_answer_raises_call_failed(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, monkeypatch: pytest.MonkeyPatch, body: bytes
    ) -> None:
        job = await submit(provider)
        monkeypatch.setattr(emulator, "_polled", lambda _: Reply(200, body.replace(b"%s", ID.encode())))
        with pytest.raises(CallFailed, match="can't be read"):
            await provider.poll(attempt(), job)

    async def test_nan_and_infinity_in_an_answer_are_accepted(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        job = await submit(provider)
        emulator.outputs = {"9": {"images": [], "strange": [float("nan"), float("inf")]}}
        assert (await provider.poll(attempt(), job)).status is JobStatus.SUCCEEDED


@pytest.fixture(params=["in one", "in steps"])
def in_steps(request: pytest.FixtureRequest, emulator: ComfyUiEmulator) -> bool:
    emulator.cancels_jobs = request.param == "in one"
    return not emulator.cancels_jobs


class TestCancel:
    async def test_a_queued_job_is_cancelled(
        self,
        provider: ComfyUiProvider,
        emulator: ComfyUiEmulator,
        in_steps: bool,  # noqa: FBT001
    ) -> None:
        job = await submit(provider)
        assert await provider.cancel(attempt(), job) is CancelAnswer.ACCEPTED
        paths = [call.path for call in calls(emulator, "cancel")]
        assert paths == [f"/api/jobs/{ID}/cancel", *(["/queue"] if in_steps else [])]
        with pytest.raises(CallFailed) as failure:
            await provider.poll(attempt(), job)
        assert failure.value.forgotten
        assert await provider.cancel(attempt(), job) is CancelAnswer.UNKNOWN_JOB

    async def test_a_running_job_is_interrupted(
        self,
        provider: ComfyUiProvider,
        emulator: ComfyUiEmulator,
        in_steps: bool,  # noqa: FBT001
    ) -> None:
        job, other = await submit(provider), await submit(provider, attempt(number=1))
        emulator.begin(job.id)
        emulator.begin(other.id)
        assert await provider.cancel(attempt(), job) is CancelAnswer.ACCEPTED
        paths = [call.path for call in calls(emulator, "cancel")]
        assert paths == [f"/api/jobs/{ID}/cancel", *(["/interrupt"] if in_steps else [])]
        assert (await provider.poll(attempt(), job)).status is JobStatus.CANCELLED
        assert await provider.cancel(attempt(), job) is CancelAnswer.ENDED
        assert not emulator.runs[other.id].ended

    @pytest.mark.usefixtures("in_steps")
    async def test_a_cancel_of_an_ended_job_answers_ended(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        job = await submit(provider)
        await emulator.finish(job.id)
        assert await provider.cancel(attempt(), job) is CancelAnswer.ENDED
        assert (await provider.poll(attempt(), job)).status is JobStatus.SUCCEEDED

    @pytest.mark.usefixtures("in_steps")
    async def test_a_cancel_of_an_unknown_job_answers_unknown_job(self, provider: ComfyUiProvider) -> None:
        assert await provider.cancel(attempt(), Job(id="nobody-s")) is CancelAnswer.UNKNOWN_JOB

    @pytest.mark.parametrize(
        ("meanwhile", "answer"),
        [("begin", CancelAnswer.ACCEPTED), ("end", CancelAnswer.ENDED), ("vanish", CancelAnswer.ACCEPTED)],
    )
    async def test_a_job_that_changes_during_a_cancel_in_steps_is_handled(
        self,
        provider: ComfyUiProvider,
        emulator: ComfyUiEmulator,
        monkeypatch: pytest.MonkeyPatch,
        meanwhile: str,
        answer: CancelAnswer,
    ) -> None:
        emulator.cancels_jobs = False
        job, queue = await submit(provider), emulator.queue_view

        def looked() -> Any:
            listing = queue()
            if job.id in emulator.runs:
                {"begin": emulator.begin, "end": lambda _: emulator.end(emulator.runs[ID]), "vanish": emulator.forget}[
                    meanwhile
                ](job.id)
            return listing

        monkeypatch.setattr(emulator, "queue_view", looked)
        assert await provider.cancel(attempt(), job) is answer
        if meanwhile == "begin":
            assert (await provider.poll(attempt(), job)).status is JobStatus.CANCELLED

    async def test_a_cancel_does_not_interrupt_another_job(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        emulator.cancels_jobs = emulator.interrupts_by_id = False
        job, other = await submit(provider), await submit(provider, attempt(number=1))
        await emulator.finish(job.id)
        emulator.begin(other.id)
        assert await provider.cancel(attempt(), job) is CancelAnswer.ENDED
        assert not emulator.runs[other.id].ended

    @pytest.mark.parametrize("fault", TROUBLE)
    async def test_a_cancel_without_an_answer_raises_call_failed(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, fault: Fault
    ) -> None:
        job = await submit(provider)
        emulator.plan("cancel", fault)
        with pytest.raises(CallFailed):
            await provider.cancel(attempt(), job)


class TestReconcile:
    """Where the server chooses the id, the task stands in what came along."""

    @pytest.mark.parametrize("takes_prompt_id", [True, False])
    @pytest.mark.parametrize("state", ["waits", "runs", "has ended"])
    async def test_a_job_whose_answer_was_lost_is_found_by_its_task(
        self,
        provider: ComfyUiProvider,
        emulator: ComfyUiEmulator,
        takes_prompt_id: bool,  # noqa: FBT001 - a column
        state: str,
    ) -> None:
        emulator.takes_prompt_id, emulator.held = takes_prompt_id, True
        await submit(provider, attempt(number=1))
        emulator.plan("submit", Fault.LOSE_AFTER)
        with pytest.raises(OutcomeUnknown):
            await submit(provider)
        await submit(provider, attempt(number=2))
        run = list(emulator.runs)[1]
        if state != "waits":
            emulator.begin(run)
        if state == "has ended":
            await emulator.finish(run)
        assert (run == ID) is takes_prompt_id
        assert await provider.reconcile(attempt(x=1), SENT) == [Job(id=run)]
        assert emulator.count("submit") == 3

    async def test_a_job_that_was_not_accepted_is_not_found(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        await submit(provider, attempt(number=1))
        await emulator.finish((await submit(provider, attempt(number=2))).id)
        assert await provider.reconcile(attempt(), SENT) == []
        emulator.plan("submit", Fault.LOSE_AFTER)
        with pytest.raises(OutcomeUnknown):
            await submit(provider)
        emulator.hide_from_listing = True
        assert await provider.reconcile(attempt(), SENT) == []
        await emulator.finish(ID)
        assert await provider.reconcile(attempt(), SENT) == []

    async def test_prompts_of_others_are_not_found(self, provider: ComfyUiProvider, emulator: ComfyUiEmulator) -> None:
        body = {"prompt": (await provider.prepare(attempt(), files())).body["prompt"]}
        for extra in ({}, {"stepwell": 5}, {"stepwell": {"task_id": 5}}, {"stepwell": {"task_id": str(task(3))}}):
            emulator.posted({**body, "extra_data": extra})
        await emulator.finish(next(iter(emulator.runs)))
        assert await provider.reconcile(attempt(), SENT) == []

    @pytest.mark.parametrize("fault", TROUBLE)
    async def test_a_list_call_without_an_answer_raises_call_failed(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, fault: Fault
    ) -> None:
        for kind in ("list", "poll"):
            emulator.plan(kind, fault)
            with pytest.raises(CallFailed) as failure:
                await provider.reconcile(attempt(), SENT)
            assert not failure.value.forgotten
