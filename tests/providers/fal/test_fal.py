"""FAL against its emulator, through the port: submits, where calls about a job go, and polls."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from providers.fal.fal_cases import FLUX, NO_ANSWER, PICTURE, Bench, answer_with, attempt, fal_bench, prepare
from providers.image_files import TASK
from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown
from stepwell.contract.enums import TaskType
from stepwell.ports.providers import CancelAnswer, Job, JobState, JobStatus, Request
from stepwell.providers.fal.parameters import root_of
from stepwell.providers.fal.provider import FalProvider
from stepwell.providers.shared.credentials import Credentials
from support.emulators.base import Fault
from support.emulators.fal import KEY, FalEmulator


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with fal_bench(tmp_path) as made:
        yield made


class TestSubmit:
    async def test_a_submit_sends_the_body_the_key_and_the_webhook(self, bench: Bench) -> None:
        work = attempt(callback_url="https://us.example/cb?t=1&u=2", prompt="x", reference_image_url=PICTURE)
        job = await bench.submitted(work)
        call = bench.fal.calls[0]
        assert (call.method, call.path) == ("POST", f"/{FLUX}/image-to-image")
        assert call.query == {"fal_webhook": "https://us.example/cb?t=1&u=2"}
        assert call.headers["authorization"] == f"Key {KEY}"
        assert call.headers["x-fal-no-retry"] == "1"
        assert call.json() == (await prepare(work)).body
        base = f"{bench.fal.url}/{FLUX}/requests/{job.id}"
        assert job.urls == {"status": f"{base}/status", "response": base, "cancel": f"{base}/cancel"}
        assert [entry[0] for entry in bench.fal.ledger.jobs()] == [job.id]

    async def test_without_a_callback_url_there_is_no_webhook(self, bench: Bench) -> None:
        await bench.submitted()
        assert bench.fal.calls[0].query == {}

    async def test_the_credential_that_the_step_names_is_sent(self, bench: Bench) -> None:
        provider = FalProvider(bench.client, Credentials({"fal": "a", "Fal-B": KEY}), url=bench.fal.url)
        work = attempt(provider_config={"credential": "fal-b"}, prompt="x")
        await provider.submit(work, await provider.prepare(work, bench.io), bench.io)
        assert bench.fal.calls[0].headers["authorization"] == f"Key {KEY}"

    @pytest.mark.parametrize(
        ("fault", "retryable"),
        [(Fault.BUSY, True), (Fault.UNAVAILABLE, True), (Fault.BROKEN, True), (Fault.REFUSED, False)],
    )
    async def test_a_submit_that_was_certainly_not_accepted_raises_an_attempt_error(
        self,
        bench: Bench,
        fault: Fault,
        retryable: bool,  # noqa: FBT001
    ) -> None:
        bench.fal.plan("submit", fault)
        with pytest.raises(AttemptError) as failure:
            await bench.submitted()
        assert failure.value.retryable is retryable
        assert failure.value.retry_after_s == (0.0 if fault is Fault.BUSY else None)
        assert bench.fal.ledger.jobs() == []

    @pytest.mark.parametrize(
        "fault",
        [
            Fault.LOSE_BEFORE,
            Fault.LOSE_AFTER,
            Fault.HANG_AFTER,
            Fault.DRIP_AFTER,
            Fault.GARBAGE_AFTER,
            Fault.TRUNCATE_AFTER,
            Fault.HUGE_AFTER,
            Fault.GATEWAY_BEFORE,
            Fault.GATEWAY_AFTER,
        ],
    )
    async def test_a_submit_that_may_have_been_accepted_raises_outcome_unknown(
        self, bench: Bench, fault: Fault
    ) -> None:
        bench.fal.plan("submit", fault)
        with pytest.raises(OutcomeUnknown):
            await bench.submitted()
        taken = fault not in {Fault.LOSE_BEFORE, Fault.GATEWAY_BEFORE}
        assert len(bench.fal.ledger.jobs()) == taken
        assert bench.fal.count("submit") == 1

    async def test_a_refused_connection_is_retryable(self, bench: Bench) -> None:
        provider = bench.provider(url="http://127.0.0.1:9")
        with pytest.raises(AttemptError) as failure:
            await provider.submit(bench.work, Request(model=FLUX, body={}), bench.io)
        assert failure.value.retryable

    async def test_a_wrong_key_is_not_shown(self, bench: Bench) -> None:
        with pytest.raises(AttemptError, match="401") as failure:
            await bench.provider(key="the-id:a-wrong-secret").submit(bench.work, Request(model=FLUX, body={}), bench.io)
        assert not failure.value.retryable
        assert "wrong" not in str(failure.value)
        assert "***" in str(failure.value)

    async def test_an_answer_without_an_id_is_no_job(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("support.emulators.fal.uuid4", lambda: "")
        with pytest.raises(OutcomeUnknown):
            await bench.submitted()


class TestAddresses:
    @pytest.mark.parametrize("other", ["http://127.0.0.1:9", "https://{host}", "http://user@{host}", "no address"])
    async def test_urls_of_another_origin_are_replaced_by_built_ones(self, bench: Bench, other: str) -> None:
        bench.fal.url_base = other.replace("{host}", bench.fal.url.partition("://")[2])
        job = await bench.submitted()
        assert set(job.urls.values()) == {
            f"{bench.fal.url}/{FLUX}/requests/{job.id}{end}" for end in ("", "/status", "/cancel")
        }

    async def test_urls_of_fal_are_used_as_they_are(self, bench: Bench) -> None:
        bench.fal.url_base = f"{bench.fal.url}/elsewhere"
        job = await bench.submitted()
        assert job.urls["status"] == f"{bench.fal.url}/elsewhere/{FLUX}/requests/{job.id}/status"

    async def test_a_request_id_is_escaped_in_a_path(self, bench: Bench) -> None:
        with pytest.raises(CallFailed):
            await bench.provider().poll(bench.work, Job(id="a/../b?c#d"))
        assert bench.fal.calls[0].path == f"/{FLUX}/requests/a%2F..%2Fb%3Fc%23d/status"

    async def test_a_stored_url_of_another_origin_is_not_called(self, bench: Bench, tmp_path: Path) -> None:
        real = await bench.submitted()
        (tmp_path / "thief").mkdir()
        async with FalEmulator(tmp_path / "thief") as thief:
            job = Job(id=real.id, urls=dict.fromkeys(real.urls, f"{thief.url}/x"))
            assert (await bench.provider().poll(bench.work, job)).status is JobStatus.SUCCEEDED
            await bench.provider().fetch(bench.work, job, bench.io)
            assert await bench.provider().cancel(bench.work, job) is CancelAnswer.ENDED
            assert thief.calls == []

    async def test_urls_are_built_if_fal_names_none(self, bench: Bench) -> None:
        bench.fal.names_urls = False
        assert (await bench.ended()).result["result_image_path"] == f"media/{TASK}/result.png"

    async def test_a_job_is_polled_and_fetched_by_its_id_alone(self, bench: Bench) -> None:
        work = attempt(TaskType.EDITING, base_image_url=PICTURE, mask_image_url=PICTURE, prompt="x")
        job = await bench.submitted(work)
        later = attempt(TaskType.EDITING)  # as a later process has it: without inputs
        assert (await bench.provider().poll(later, Job(id=job.id))).status is JobStatus.SUCCEEDED

    @pytest.mark.parametrize(
        ("app", "root"),
        [("a/b", "a/b"), ("a/b/c/d", "a/b"), ("workflows/a/b/c", "workflows/a/b"), ("comfy/a/b", "comfy/a/b")],
    )
    def test_the_root_of_an_app_is_its_namespace_owner_and_name(self, app: str, root: str) -> None:
        assert root_of(app) == root


class TestPoll:
    async def test_poll_reports_fals_words_for_a_job(self, bench: Bench) -> None:
        bench.fal.polls_until_done = 3
        job = await bench.submitted()
        states = [await bench.provider().poll(bench.work, job) for _ in range(3)]
        assert [(state.status, state.word) for state in states] == [
            (JobStatus.RUNNING, "IN_QUEUE"),
            (JobStatus.RUNNING, "IN_PROGRESS"),
            (JobStatus.SUCCEEDED, "COMPLETED"),
        ]

    async def test_an_unknown_word_means_running(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        job = await bench.submitted()
        word = "PONDERING\n" * 20
        answer_with(monkeypatch, {"status": word})
        state = await bench.provider().poll(bench.work, job)
        assert state == JobState(status=JobStatus.RUNNING, word=word[:40].replace("\n", " "))

    async def test_a_job_in_the_queue_is_running(self, bench: Bench) -> None:
        bench.fal.held = True
        job = await bench.submitted()
        for _ in range(3):
            assert (await bench.provider().poll(bench.work, job)).status is JobStatus.RUNNING

    @pytest.mark.parametrize(
        ("error_type", "retryable"),
        [
            ("request_timeout", True),
            ("startup_timeout", True),
            ("runner_scheduling_failure", True),
            ("runner_disconnected", True),
            ("runner_server_error", True),
            ("internal_error", True),
            ("bad_request", False),
            ("never_heard_of", False),
        ],
    )
    async def test_an_error_type_of_the_platform_decides_whether_a_retry_helps(
        self,
        bench: Bench,
        error_type: str,
        retryable: bool,  # noqa: FBT001
    ) -> None:
        bench.fal.outcome = "error"
        bench.fal.failure = (503, {"detail": f"no luck {KEY}", "error_type": error_type})
        job = await bench.submitted()
        state = await bench.provider().poll(bench.work, job)
        assert state == JobState(
            status=JobStatus.FAILED,
            word="COMPLETED",
            error=f"FAL: {error_type}: no luck ***",
            retryable=retryable,
        )
        with pytest.raises(AttemptError, match=f"^FAL: {error_type}: no luck") as failure:
            await bench.provider().fetch(bench.work, job, bench.io)
        assert failure.value.retryable is retryable
        assert KEY.partition(":")[2] not in str(failure.value)

    @pytest.mark.parametrize(("status", "retryable"), [(422, False), (500, True)])
    async def test_an_error_of_the_model_is_reported_with_its_details(
        self,
        bench: Bench,
        status: int,
        retryable: bool,  # noqa: FBT001
    ) -> None:
        details = [{"loc": ["body", "prompt"], "msg": "too long", "type": "string_too_long"}, {"msg": "and odd"}]
        bench.fal.outcome, bench.fal.failure = "error", (status, {"detail": details})
        job = await bench.submitted()
        state = await bench.provider().poll(bench.work, job)
        assert state == JobState(
            status=JobStatus.FAILED, word="COMPLETED", error="FAL: prompt: too long; and odd", retryable=retryable
        )

    async def test_an_error_without_details_is_retryable(self, bench: Bench) -> None:
        bench.fal.outcome, bench.fal.failure = "error", (500, {"detail": "a bare text"})
        job = await bench.submitted()
        state = await bench.provider().poll(bench.work, job)
        assert (state.status, state.error, state.retryable) == (JobStatus.FAILED, "FAL: a bare text", True)

    @pytest.mark.parametrize("fault", [*NO_ANSWER, Fault.REFUSED])
    async def test_a_poll_without_an_answer_raises_call_failed(self, bench: Bench, fault: Fault) -> None:
        job = await bench.submitted()
        bench.fal.plan("poll", fault)
        with pytest.raises(CallFailed) as failure:
            await bench.provider().poll(bench.work, job)
        assert not failure.value.forgotten
        assert (await bench.provider().poll(bench.work, job)).status is JobStatus.SUCCEEDED

    async def test_an_unknown_job_is_forgotten(self, bench: Bench) -> None:
        job = await bench.submitted()
        bench.fal.forget(job.id)
        with pytest.raises(CallFailed, match="not found") as failure:
            await bench.provider().poll(bench.work, job)
        assert failure.value.forgotten
