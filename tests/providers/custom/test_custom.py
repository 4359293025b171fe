"""CUSTOM against a worker that does as it is told, over real sockets: what each answer, and each lost one, comes to."""

import base64
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from providers.conftest import PAUSES_S
from providers.custom.custom_cases import CALLS, PATH, SECRET, SENT, WebIO, World, attempt, running_world
from providers.image_files import TASK
from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown
from stepwell.contract.enums import WITHOUT_PROVIDER, ProviderType, TaskType
from stepwell.contract.tasks import Cost
from stepwell.ports.providers import CancelAnswer, Finished, Job, JobState, JobStatus, RemoteProvider, Request
from support.emulators.base import Call, Fault, Reply
from support.emulators.custom import PICTURE, SHA256

LOST = (Fault.LOSE_BEFORE, Fault.LOSE_AFTER, Fault.TRUNCATE_AFTER, Fault.HUGE_AFTER)
ODD = (Fault.GARBAGE_AFTER, Fault.GATEWAY_BEFORE, Fault.GATEWAY_AFTER)
SLOW = (Fault.HANG_AFTER, Fault.DRIP_AFTER)
TOLD = (Fault.BUSY, Fault.UNAVAILABLE, Fault.BROKEN, Fault.REFUSED)


with_and_without_signatures = pytest.mark.parametrize(
    "world", [None, SECRET], ids=["unsigned", "signed"], indirect=True
)


@pytest.fixture
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    async with running_world(tmp_path, getattr(request, "param", SECRET)) as world:
        yield world


class TestPrepare:
    async def test_the_body_contains_the_whole_job(self, world: World) -> None:
        work = attempt(
            inputs={
                "prompt": "shoe",
                "seed": 9,
                "mask": None,
                "reference_image_url": PATH,
                "image_urls": [PATH, "data:,x"],
            },
            provider_config={
                "provider_type": "CUSTOM",
                "credential": "custom",
                "on_unknown": "fail",
                "model": "m",
                "x": 1,
            },
            callback_url="https://stepwell.example.com/callback",
        )
        assert await world.provider.prepare(work, world.io) == Request(
            model="m",
            body={
                "attempt_id": str(TASK),
                "task_type": "GENERATION",
                "step_id": "step 1",
                "workflow_id": str(UUID(int=7)),
                "attempt": 2,
                "inputs": {
                    "prompt": "shoe",
                    "seed": 9,
                    "reference_image_url": f"https://stepwell.example.com/{PATH}?signature=1",
                    "image_urls": [f"https://stepwell.example.com/{PATH}?signature=1", "data:,x"],
                },
                "config": {"model": "m", "x": 1},
                "seed": 9,
                "callback_url": "https://stepwell.example.com/callback",
            },
        )

    async def test_files_without_a_url_are_sent_as_data_uris(self, world: World) -> None:
        io = WebIO({PATH: b"abc"}, links=False)
        request = await world.provider.prepare(attempt(inputs={"base_image_url": PATH}), io)
        assert request.body["inputs"]["base_image_url"] == "data:image/png;base64,YWJj"
        assert (request.model, request.body["seed"]) == ("GENERATION", 5)
        assert "callback_url" not in request.body

    @pytest.mark.parametrize(
        "members",
        [
            {"inputs": {"seed": -1}},
            {"inputs": {"seed": True}},
            {"inputs": {"seed": 2**63}},
            {"provider_config": {"model": 3}},
            {"task_type": TaskType.PASSTHROUGH},
        ],
        ids=str,
    )
    async def test_inputs_that_cannot_be_sent_are_refused(self, world: World, members: dict[str, Any]) -> None:
        with pytest.raises(AttemptError) as refusal:
            await world.provider.prepare(attempt(**members), world.io)
        assert not refusal.value.retryable

    async def test_a_worker_offers_every_task_type_except_two(self, world: World) -> None:
        provider: RemoteProvider = world.provider
        cant = {task_type for task_type in TaskType if provider.capabilities(task_type) is None}
        assert cant == WITHOUT_PROVIDER | {TaskType.EXPERIMENTAL_FAL}
        assert provider.capabilities(TaskType.LLM_INTERACTION) == frozenset({"seed"})
        assert (provider.type, provider.listing_lag_s) == (ProviderType.CUSTOM, 0.0)


class TestSubmit:
    @with_and_without_signatures
    async def test_a_job_is_polled_and_fetched_with_its_cost(self, world: World) -> None:
        world.worker.polls_until_done, world.worker.cost = 2, {"amount": 0.25, "currency": "EUR"}
        job = await world.job()
        states = [await world.provider.poll(attempt(), job) for _ in range(2)]
        assert [(state.status, state.word) for state in states] == [
            (JobStatus.RUNNING, "running"),
            (JobStatus.SUCCEEDED, "succeeded"),
        ]
        finished = await world.provider.fetch(attempt(), job, world.io)
        assert finished == Finished({"seed": 5, "result_image_path": PATH}, Cost(0.25, "EUR", "provider"))
        assert finished == await world.provider.fetch(attempt(), job, world.io)
        assert world.io.stored == {"result.png": PICTURE}
        assert set(world.io.kinds) == {("image/",)}
        assert world.worker.ledger.keys() == {str(TASK): 1}

    @with_and_without_signatures
    async def test_work_in_the_answer_to_a_submit_is_the_result(self, world: World) -> None:
        world.worker.sync, world.worker.cost = True, {"amount": 1, "currency": "USD"}
        assert await world.submit() == Finished({"seed": 5, "result_image_path": PATH}, Cost(1.0, "USD", "provider"))
        assert world.worker.count("poll") == 0

    async def test_a_202_with_a_result_is_a_job(self, world: World) -> None:
        world.worker.extra = {"result": {}, "files": []}
        await world.job()

    @with_and_without_signatures
    async def test_one_attempt_has_one_job(self, world: World) -> None:
        assert await world.job() == await world.job() != await world.job(attempt(uuid4()))
        world.worker.idempotent = False
        await world.job()
        assert world.worker.ledger.keys()[str(TASK)] == 2

    @pytest.mark.parametrize("fault", [*LOST, *ODD, *SLOW])
    async def test_a_submit_without_a_readable_answer_raises_outcome_unknown(self, world: World, fault: Fault) -> None:
        world.worker.plan("submit", fault)
        with pytest.raises(OutcomeUnknown, match=r"^custom worker: "):
            await world.submit()
        taken = 0 if fault in {Fault.LOSE_BEFORE, Fault.GATEWAY_BEFORE} else 1
        assert len(world.worker.ledger.jobs()) == len(await world.provider.reconcile(attempt(), SENT)) == taken
        assert world.worker.count("submit") == 1

    @with_and_without_signatures
    @pytest.mark.parametrize(
        ("fault", "retryable", "after_s"),
        [
            (Fault.BUSY, True, 0.0),
            (Fault.UNAVAILABLE, True, None),
            (Fault.BROKEN, True, None),
            (Fault.REFUSED, False, None),
        ],
    )
    async def test_an_error_of_the_worker_decides_whether_a_retry_helps(
        self,
        world: World,
        fault: Fault,
        retryable: bool,  # noqa: FBT001
        after_s: float | None,
    ) -> None:
        for said in (None, not retryable, retryable):
            world.worker.retryable = said
            world.worker.plan("submit", fault)
            with pytest.raises(AttemptError, match=r"^custom worker: the submit was answered \d+: \w") as failure:
                await world.submit()
            assert failure.value.retryable is (retryable if said is None else said)
            assert failure.value.retry_after_s == after_s
        assert world.worker.ledger.jobs() == []

    async def test_a_refused_connection_is_retryable(self, world: World) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # but nobody listens
            with pytest.raises(AttemptError) as failure:
                await world.submit(provider=world.provider_with(url=f"http://127.0.0.1:{taken.getsockname()[1]}"))
        assert failure.value.retryable

    @pytest.mark.parametrize(
        "extra",
        [
            {"id": None},
            {"id": ""},
            {"id": ".."},
            {"id": "a/b"},
            {"id": "a\n"},
            {"id": 7},
            {"id": "x" * 256},
            {"files": 1},
        ],
        ids=str,
    )
    async def test_an_answer_without_a_job_or_result_raises_outcome_unknown(
        self, world: World, extra: dict[str, Any]
    ) -> None:
        world.worker.extra = extra
        with pytest.raises(OutcomeUnknown):
            await world.submit()

    async def test_work_in_an_answer_that_cannot_be_stored_at_once_is_stored_later(self, world: World) -> None:
        world.worker.sync, world.worker.inline, world.io.failures = True, True, len(PAUSES_S)
        finished = await world.submit()
        assert isinstance(finished, Finished)
        assert (finished.result["result_image_path"], world.worker.count("submit")) == (PATH, 1)

    @with_and_without_signatures
    @pytest.mark.parametrize("trouble", ["lost file", "wrong file", "full disk"])
    async def test_files_of_finished_work_are_fetched_again_from_its_job(self, world: World, trouble: str) -> None:
        world.worker.sync, world.worker.inline = True, trouble == "full disk"
        world.io.full = world.worker.inline
        world.worker.file = {"size": 3} if trouble == "wrong file" else {}
        world.worker.always("file", Fault.LOSE_BEFORE if trouble == "lost file" else None)
        with pytest.raises(OutcomeUnknown):
            await world.submit()
        (outcome,) = await world.provider.reconcile(attempt(), SENT)
        world.worker.sync_names_id = True
        assert await world.submit() == outcome
        world.worker.always("file", None)
        world.worker.file, world.io.full = {}, False
        assert (await world.provider.fetch(attempt(), outcome, world.io)).result["result_image_path"] == PATH
        assert world.worker.ledger.keys() == {str(TASK): 1}

    async def test_without_a_connection_the_error_names_the_setting_of_the_url(
        self, world: World, unused_port: int
    ) -> None:
        provider = world.provider_with(url=f"http://127.0.0.1:{unused_port}")
        why = f"no connection to 127.0.0.1:{unused_port}: connection refused; the address is from STEPWELL_CUSTOM_URL"
        with pytest.raises(AttemptError) as not_sent:
            await world.submit(provider=provider)
        assert str(not_sent.value) == f"custom worker: the submit was not sent: {why}"
        with pytest.raises(CallFailed) as not_read:
            await world.call("reconcile", Job(id="1"), provider)
        assert str(not_read.value) == f"custom worker: {why}"


class TestFollowing:
    @pytest.mark.parametrize("fault", [*LOST, *ODD, *SLOW, *TOLD])
    @pytest.mark.parametrize("kind", CALLS)
    async def test_a_call_without_an_answer_raises_call_failed(self, world: World, kind: str, fault: Fault) -> None:
        job = await world.job()
        world.worker.plan(CALLS[kind], fault)
        with pytest.raises(CallFailed) as failure:
            await world.call(kind, job)
        assert not failure.value.forgotten
        assert failure.value.retry_after_s == (0.0 if fault is Fault.BUSY else None)
        await world.call(kind, job)

    @pytest.mark.parametrize(("said", "retryable"), [(None, True), (True, True), (False, False)])
    async def test_a_failed_job_reports_its_error(self, world: World, said: bool | None, retryable: bool) -> None:  # noqa: FBT001
        world.worker.outcome, world.worker.retryable = "failed", said
        state = await world.provider.poll(attempt(), await world.job())
        assert state == JobState(status=JobStatus.FAILED, word="failed", error="the work failed", retryable=retryable)

    @with_and_without_signatures
    async def test_a_job_that_is_gone_is_forgotten(self, world: World) -> None:
        job = await world.job()
        world.worker.forget(job.id)
        for kind in ("poll", "fetch"):
            with pytest.raises(CallFailed, match="404: there is no such job") as failure:
                await world.call(kind, job)
            assert failure.value.forgotten
        assert await world.call("cancel", job) is CancelAnswer.UNKNOWN_JOB
        assert await world.call("reconcile", job) == []

    @with_and_without_signatures
    @pytest.mark.parametrize("status", [404, 410])
    async def test_a_gateways_404_does_not_forget_a_job(self, world: World, status: int) -> None:
        job = await world.job()

        async def lost(call: Call) -> Reply:
            return world.worker.signed(call, Reply(status, b"<html>not found</html>"))

        world.worker.answer = lost  # type: ignore[method-assign]
        for kind in CALLS:
            with pytest.raises(CallFailed) as failure:
                await world.call(kind, job)
            assert not failure.value.forgotten

    @with_and_without_signatures
    async def test_a_cancel_is_accepted_or_refused(self, world: World) -> None:
        world.worker.held, world.worker.ignore_cancel = True, True
        job = await world.job()
        assert await world.call("cancel", job) is CancelAnswer.ACCEPTED
        assert (await world.provider.poll(attempt(), job)).status is JobStatus.RUNNING
        world.worker.ignore_cancel, world.worker.refuse_cancel = False, True
        assert await world.call("cancel", job) is CancelAnswer.REFUSED
        world.worker.refuse_cancel = False
        assert [await world.call("cancel", job) for _ in range(2)] == [CancelAnswer.ACCEPTED] * 2
        assert (await world.provider.poll(attempt(), job)).status is JobStatus.CANCELLED

    async def test_a_cancel_of_an_ended_job_answers_ended(self, world: World) -> None:
        job = await world.job()
        await world.provider.poll(attempt(), job)
        assert await world.call("cancel", job) is CancelAnswer.ENDED

    async def test_a_result_of_an_unfinished_job_raises_call_failed(self, world: World) -> None:
        world.worker.held = True
        with pytest.raises(CallFailed, match="running"):
            await world.call("fetch", await world.job())

    async def test_an_answer_about_another_job_raises_call_failed(self, world: World) -> None:
        job, other = await world.job(), await world.job(attempt(uuid4()))
        crossed = Job(id=job.id, urls={"status": f"{world.worker.url}/jobs/{other.id}"})
        for kind in ("poll", "fetch"):
            with pytest.raises(CallFailed, match="another job"):
                await world.call(kind, crossed)


class TestReconcile:
    @with_and_without_signatures
    async def test_only_the_attempts_own_jobs_are_found(self, world: World) -> None:
        world.worker.idempotent = False
        jobs = [await world.job(), await world.job()]
        await world.job(attempt(uuid4()))
        world.worker.list_all = True
        assert await world.provider.reconcile(attempt(inputs={}), SENT) == jobs
        assert await world.provider.reconcile(attempt(uuid4(), inputs={}), SENT) == []
        world.worker.hide_from_listing = True
        assert await world.provider.reconcile(attempt(), SENT) == []

    async def test_a_worker_without_a_list_forgets_no_job(self, world: World) -> None:
        provider = world.provider_with(url=f"{world.worker.url}/elsewhere/")
        with pytest.raises(CallFailed, match="404") as failure:
            await provider.reconcile(attempt(), SENT)
        assert not failure.value.forgotten
        assert world.worker.calls[-1].path == "/elsewhere/jobs"


class TestFiles:
    @pytest.mark.parametrize("wrong", [{"size": len(PICTURE) - 1}, {"sha256": "0" * 64}], ids=str)
    async def test_a_file_with_another_size_or_digest_is_not_stored(self, world: World, wrong: dict[str, Any]) -> None:
        world.worker.file, job = wrong, await world.job()
        with pytest.raises(CallFailed, match="result_image_path"):
            await world.call("fetch", job)
        world.io.stored.clear()
        world.worker.inline = True
        with pytest.raises(AttemptError, match="result_image_path") as failure:
            await world.call("fetch", job)
        assert (failure.value.retryable, world.io.stored) == (False, {})

    @pytest.mark.parametrize("data", ["", "é", "AAA", "AA AA=="], ids=repr)
    async def test_data_that_is_not_base64_fails_the_attempt(self, world: World, data: str) -> None:
        world.worker.inline, world.worker.file = True, {"data": data}
        with pytest.raises(AttemptError, match="result_image_path") as failure:
            await world.call("fetch", await world.job())
        assert not failure.value.retryable

    @pytest.mark.parametrize(
        "entry",
        [
            {"url": None},
            {"data": "AAAA"},
            {"field": "../x"},
            {"field": ""},
            {"size": 0},
            {"sha256": "x"},
            {"media_type": None},
        ],
        ids=str,
    )
    async def test_an_unreadable_entry_of_a_file_raises_call_failed(self, world: World, entry: dict[str, Any]) -> None:
        world.worker.file, job = entry, await world.job()
        with pytest.raises(CallFailed, match="can't be read"):
            await world.call("fetch", job)
        assert (await world.provider.poll(attempt(), job)).status is JobStatus.SUCCEEDED

    async def test_the_names_of_stored_files_are_chosen_here(self, world: World) -> None:
        data = base64.b64encode(PICTURE).decode()
        kinds = ("video/mp4", "image/../../etc", "image/jpeg")
        files = [{"field": f"file_{n}", "media_type": kind, "data": data} for n, kind in enumerate(kinds)]
        files[0]["sha256"] = SHA256.upper()
        world.worker.sync, world.worker.extra = True, {"files": files, "result": {"file_0": "not this", "x": [1, None]}}
        finished = await world.submit()
        assert isinstance(finished, Finished)
        names = ["result.mp4", "result-2.bin", "result-3.jpg"]
        paths = {f"file_{n}": f"media/{TASK}/{name}" for n, name in enumerate(names)}
        assert finished == Finished(paths | {"x": [1, None]}, None)
        assert world.io.stored == dict.fromkeys(names, PICTURE)
        world.worker.extra["files"] = [files[0], files[0]]
        with pytest.raises(AttemptError, match="two files"):
            await world.submit()

    @pytest.mark.parametrize(
        "extra", [{"result": [1]}, {"result": "x"}, {"cost": {"amount": -1, "currency": "EUR"}}], ids=str
    )
    async def test_a_result_that_is_not_an_object_raises_outcome_unknown(
        self, world: World, extra: dict[str, Any]
    ) -> None:
        world.worker.sync, world.worker.extra = True, extra
        with pytest.raises(OutcomeUnknown):
            await world.submit()
