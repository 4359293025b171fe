"""Films of OPENAI, at a server that speaks its Videos API: the one kind of job that goes on without us."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs

from providers.attempts import attempt
from providers.openai.openai_cases import NOW, VIDEO, io_of, offline, provider_at, state_after_polls, submit, video_job
from stepwell.basics.errors import AttemptError, CallFailed
from stepwell.contract.enums import TaskType
from stepwell.lifecycle.model import Sent
from stepwell.ports.providers import Attempt, CancelAnswer, Finished, Job, JobState, JobStatus
from stepwell.providers.openai.provider import OpenAiProvider
from stepwell.providers.shared.credentials import Credentials
from support.emulators.base import Call, Fault, Reply
from support.emulators.fal import VIDEO as VIDEO_FILE
from support.emulators.openai import KEY, OpenAiEmulator
from support.providers.attempt_io import TASK

WORDS = attempt(TaskType.VIDEO_GENERATION, prompt="it turns")  # without a picture
SIZED = attempt(TaskType.VIDEO_GENERATION, prompt="it turns", duration_s=8.0, width=1280, height=720)
SENT = Sent("sora-2", "digest", NOW)
# Faults that strike any call about a job.
FAULTS = [fault for fault in Fault if fault not in {Fault.HANG_AFTER, Fault.DRIP_AFTER}]


class TestPoll:
    async def test_a_job_is_running_until_it_has_succeeded(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator
    ) -> None:
        emulator.polls_until_done = 3
        job = await video_job(provider)
        states = [await provider.poll(VIDEO, job) for _ in range(3)]
        assert states == [
            JobState(status=JobStatus.RUNNING, word="in_progress", progress=0.25),
            JobState(status=JobStatus.RUNNING, word="in_progress", progress=0.5),
            JobState(status=JobStatus.SUCCEEDED, word="completed"),
        ]

    @pytest.mark.parametrize(
        ("failure", "reason", "retryable"),
        [
            ({"code": "generation_failed", "message": "It broke"}, "generation_failed: It broke", True),
            ({"code": "moderation_blocked", "message": "No"}, "moderation_blocked: No", False),
            ({"code": None, "message": "Blocked by our content policy"}, "Blocked by our content policy", False),
            ({"message": f"a\x00b {KEY}"}, "a b …", True),
            (None, "no reason given", True),
        ],
    )
    async def test_a_failed_job_reports_its_error(
        self,
        provider: OpenAiProvider,
        emulator: OpenAiEmulator,
        failure: Any,
        reason: str,
        retryable: bool,  # noqa: FBT001 - a column
    ) -> None:
        emulator.outcome, emulator.failure = "failed", failure
        state = await state_after_polls(provider, await video_job(provider))
        error = f"OpenAI: {reason}"
        assert state == JobState(status=JobStatus.FAILED, word="failed", error=error, retryable=retryable)

    @pytest.mark.parametrize(
        ("word", "status"),
        [("queued", JobStatus.RUNNING), ("in review", JobStatus.RUNNING), ("cancelled", JobStatus.CANCELLED)],
    )
    async def test_each_status_is_understood(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, word: str, status: JobStatus
    ) -> None:
        emulator.polls_until_done = 9
        job = await video_job(provider)
        await state_after_polls(provider, job)
        emulator.videos[job.id].status = word
        assert (await state_after_polls(provider, job)).status is status

    async def test_an_unknown_job_is_forgotten(self, provider: OpenAiProvider, emulator: OpenAiEmulator) -> None:
        job = await video_job(provider)
        emulator.forget(job.id)
        with pytest.raises(CallFailed, match="404: not_found: Video not found") as failure:
            await provider.poll(VIDEO, job)
        assert failure.value.forgotten

    @pytest.mark.parametrize("status", [404, 410])
    async def test_a_proxys_page_does_not_forget_a_job(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, status: int
    ) -> None:
        job, usual = await video_job(provider), emulator.answer

        async def away(call: Call) -> Reply:
            return Reply(status, b"<html>nothing here</html>") if call.kind == "poll" else await usual(call)

        emulator.answer = away  # type: ignore[method-assign]
        for call in (provider.poll(VIDEO, job), provider.fetch(VIDEO, job, io_of()), provider.cancel(VIDEO, job)):
            with pytest.raises(CallFailed, match=str(status)) as failure:
                await call
            assert not failure.value.forgotten

    @pytest.mark.parametrize("fault", FAULTS)
    async def test_a_poll_or_fetch_without_an_answer_raises_call_failed(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, fault: Fault
    ) -> None:
        job = await video_job(provider)
        emulator.plan("poll", fault, fault)
        for call in (provider.poll(VIDEO, job), provider.fetch(VIDEO, job, io_of())):
            with pytest.raises(CallFailed) as failure:
                await call
            assert not failure.value.forgotten
            assert failure.value.retry_after_s == {Fault.BUSY: 0, Fault.AWAY: 1}.get(fault)
        assert (await state_after_polls(provider, job)).status is JobStatus.SUCCEEDED

    @pytest.mark.parametrize("fault", [Fault.HANG_AFTER, Fault.DRIP_AFTER])
    async def test_a_poll_has_the_deadline_of_a_call(
        self, emulator: OpenAiEmulator, client: httpx.AsyncClient, fault: Fault
    ) -> None:
        provider = provider_at(emulator, client, timeout_s=5.0, work_s=600.0)
        emulator.plan("poll", fault)
        with pytest.raises(CallFailed):
            await provider.poll(VIDEO, Job(id="video_x"))


class TestFetch:
    async def test_a_video_is_stored_with_its_facts(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, client: httpx.AsyncClient
    ) -> None:
        job = await video_job(provider, SIZED)
        await state_after_polls(provider, job)
        later, files = attempt(TaskType.VIDEO_GENERATION), io_of(client)
        assert await provider_at(emulator, client).fetch(later, Job(id=job.id), files) == Finished(
            {
                "result_video_path": f"media/{TASK}/result.mp4",
                "format": "MP4",
                "size": len(VIDEO_FILE),
                "width": 1280,
                "height": 720,
                "model": "sora-2",
            }
        )
        assert (files.stored, files.kinds) == ({"result.mp4": VIDEO_FILE}, [("video/",)])
        assert emulator.calls[-1].headers["authorization"] == f"Bearer {KEY}"

    async def test_an_unreadable_size_is_left_out(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, client: httpx.AsyncClient
    ) -> None:
        job = await video_job(provider)
        await state_after_polls(provider, job)
        emulator.videos[job.id].size = "large"
        assert "width" not in (await provider.fetch(VIDEO, job, io_of(client))).result

    async def test_a_result_of_an_unfinished_job_raises_call_failed(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator
    ) -> None:
        emulator.held = True
        job = await video_job(provider)
        with pytest.raises(CallFailed, match="is in_progress, not completed"):
            await provider.fetch(VIDEO, job, io_of())

    @pytest.mark.parametrize("fault", FAULTS)
    async def test_a_file_that_cannot_be_read_is_fetched_again_or_fails_for_good(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, client: httpx.AsyncClient, fault: Fault
    ) -> None:
        job = await video_job(provider)
        await state_after_polls(provider, job)
        emulator.plan("file", fault)
        for_good = fault in {Fault.GARBAGE_AFTER, Fault.HUGE_AFTER}
        with pytest.raises(AttemptError if for_good else CallFailed):
            await provider.fetch(VIDEO, job, io_of(client))
        assert (await provider.fetch(VIDEO, job, io_of(client))).result["format"] == "MP4"

    @pytest.mark.parametrize("status", [302, 401, 403, 404, 410])
    async def test_a_proxys_page_does_not_forget_a_file(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, client: httpx.AsyncClient, status: int
    ) -> None:
        job = await video_job(provider)
        await state_after_polls(provider, job)
        answering_files(emulator, Reply(status, b"<html>nothing here</html>"))
        with pytest.raises(CallFailed, match=rf"responded with {status}\Z") as failure:
            await provider.fetch(VIDEO, job, io_of(client))
        assert not failure.value.forgotten

    @pytest.mark.parametrize(
        ("status", "body", "forgotten"),
        [
            (404, {"error": {"message": f"No file for {KEY}", "code": "not_found"}}, True),
            (410, {"detail": "No file for …"}, True),
            (403, {"error": {"message": "No file for …"}}, False),
            (500, {"error": {"message": "No file for …"}}, False),
            (404, b" " * 100_000 + b'{"error": {"message": "No file for \xe2\x80\xa6"}}', False),
        ],
    )
    async def test_only_a_404_or_410_of_the_api_forgets_a_file(
        self,
        provider: OpenAiProvider,
        emulator: OpenAiEmulator,
        client: httpx.AsyncClient,
        status: int,
        body: Any,
        forgotten: bool,  # noqa: FBT001 - a column
    ) -> None:
        job = await video_job(provider)
        await state_after_polls(provider, job)
        answering_files(emulator, Reply(status, body, {"Retry-After": "3"}))
        with pytest.raises(CallFailed, match=f"responded with {status}") as failure:
            await provider.fetch(VIDEO, job, io_of(client))
        assert (failure.value.forgotten, failure.value.retry_after_s) == (forgotten, 3.0)
        assert ("No file for …" in str(failure.value)) is not isinstance(body, bytes)

    @pytest.mark.parametrize("status", [403, 404])
    async def test_a_signed_url_that_the_api_redirects_to_decides_about_the_file(
        self,
        provider: OpenAiProvider,
        emulator: OpenAiEmulator,
        client: httpx.AsyncClient,
        tmp_path: Path,
        status: int,
    ) -> None:
        job = await video_job(provider)
        await state_after_polls(provider, job)
        (tmp_path / "other").mkdir()
        async with OpenAiEmulator(tmp_path / "other") as other:
            answering_files(emulator, Reply(302, b"", {"Location": f"{other.url}/files/film.mp4?signature=1"}))
            answering_files(other, Reply(status, b"<Error/>"))
            with pytest.raises(CallFailed, match=rf"responded with {status}\Z") as failure:
                await provider.fetch(VIDEO, job, io_of(client))
            assert "authorization" not in other.calls[0].headers
        assert failure.value.forgotten


class TestCancel:
    async def test_a_running_video_is_deleted(self, provider: OpenAiProvider, emulator: OpenAiEmulator) -> None:
        emulator.held = True
        job = await video_job(provider)
        assert await provider.cancel(VIDEO, job) is CancelAnswer.ACCEPTED
        assert await provider.cancel(VIDEO, job) is CancelAnswer.UNKNOWN_JOB
        assert emulator.count("cancel") == 1

    @pytest.mark.parametrize("word", ["queued", "in review"])
    async def test_a_video_that_waits_is_deleted(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, monkeypatch: pytest.MonkeyPatch, word: str
    ) -> None:
        job, usual = await video_job(provider), emulator.answer

        async def waiting(call: Call) -> Reply:
            # The emulator starts a video when it is asked for its status.
            return Reply(200, {"id": job.id, "status": word}) if call.kind == "poll" else await usual(call)

        monkeypatch.setattr(emulator, "answer", waiting)
        assert await provider.cancel(VIDEO, job) is CancelAnswer.ACCEPTED
        assert (emulator.count("cancel"), emulator.videos) == (1, {})

    @pytest.mark.parametrize("outcome", ["completed", "failed"])
    async def test_an_ended_video_is_not_deleted(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, outcome: Any
    ) -> None:
        emulator.outcome = outcome
        job = await video_job(provider)
        await emulator.finish(job.id)
        assert await provider.cancel(VIDEO, job) is CancelAnswer.ENDED
        assert (emulator.count("cancel"), emulator.videos[job.id].status) == (0, outcome)

    async def test_a_server_may_refuse_a_cancel(self, provider: OpenAiProvider, emulator: OpenAiEmulator) -> None:
        emulator.held = emulator.ignore_cancel = True
        job = await video_job(provider)
        assert await provider.cancel(VIDEO, job) is CancelAnswer.REFUSED

    async def test_openai_itself_refuses_a_cancel(self) -> None:
        provider = OpenAiProvider(offline(), Credentials({"openai": "sk-x"}))
        assert await provider.cancel(VIDEO, Job(id="video_x")) is CancelAnswer.REFUSED

    @pytest.mark.parametrize(
        ("status", "body", "answer"),
        [
            (204, b"", CancelAnswer.ACCEPTED),
            (200, {"deleted": False}, CancelAnswer.REFUSED),
            (404, {"error": {"message": "gone"}}, CancelAnswer.UNKNOWN_JOB),
            (405, {"detail": "Method Not Allowed"}, CancelAnswer.REFUSED),
        ],
    )
    async def test_each_answer_to_a_delete_is_understood(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, status: int, body: Any, answer: CancelAnswer
    ) -> None:
        emulator.held = True
        job, usual = await video_job(provider), emulator.deleted

        def deleted(found: Any) -> Any:
            reply = usual(found)
            reply.status, reply.body = status, body
            return reply

        emulator.deleted = deleted  # type: ignore[method-assign]
        assert await provider.cancel(VIDEO, job) is answer

    @pytest.mark.parametrize("fault", FAULTS)
    async def test_a_cancel_without_an_answer_raises_call_failed(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, fault: Fault
    ) -> None:
        emulator.held = True
        job = await video_job(provider)
        emulator.plan("cancel", fault)
        if fault is Fault.REFUSED:
            assert await provider.cancel(VIDEO, job) is CancelAnswer.REFUSED
            return
        with pytest.raises(CallFailed) as failure:
            await provider.cancel(VIDEO, job)
        assert KEY not in str(failure.value)

    async def test_a_wrong_key_does_not_count_as_a_refused_cancel(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator
    ) -> None:
        emulator.held = True
        job = await video_job(provider)
        emulator.key = "sk-another"
        with pytest.raises(CallFailed, match="401"):
            await provider.cancel(VIDEO, job)


class TestReconcile:
    @pytest.mark.parametrize("work", [VIDEO, WORDS, SIZED], ids=["picture", "words", "sized"])
    async def test_a_video_is_found_by_its_parameters(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, work: Attempt
    ) -> None:
        for about in ({"prompt": "else"}, {"model": "wan"}, {"seconds": "12"}, {"seconds": "soon"}):
            emulator.place(about.pop("prompt", "it turns"), at=NOW.timestamp(), **about)
        emulator.place("it turns", at=(NOW - timedelta(minutes=2)).timestamp(), seconds="8", size="1280x720")
        job = await video_job(provider, work)
        assert await provider.reconcile(work, SENT) == [job]

    async def test_a_video_of_another_size_is_not_found(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator
    ) -> None:
        emulator.place("it turns", at=NOW.timestamp(), seconds="8", size="720x1280")
        assert await provider.reconcile(SIZED, SENT) == []

    async def test_of_matching_videos_the_one_nearest_in_time_comes_first(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator
    ) -> None:
        emulator.page = 2
        ids = [emulator.place("it turns", at=NOW.timestamp() + seconds) for seconds in (50, -5, 20, 600, -30)]
        outcome = await provider.reconcile(WORDS, SENT) or ()
        assert [job.id for job in outcome] == [ids[1], ids[2], ids[4], ids[0], ids[3]]

    async def test_of_two_matching_videos_with_input_images_none_is_used(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator
    ) -> None:
        emulator.place("it turns", at=NOW.timestamp())
        await submit(provider, VIDEO)
        assert await provider.reconcile(VIDEO, SENT) == ()

    async def test_times_in_milliseconds_are_understood(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator
    ) -> None:
        placed = emulator.place("it turns", at=NOW.timestamp() * 1000)
        assert await provider.reconcile(WORDS, SENT) == [Job(id=placed)]

    async def test_without_the_inputs_nothing_can_be_found(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator
    ) -> None:
        await submit(provider, VIDEO)
        assert await provider.reconcile(structs.replace(VIDEO, inputs={}), SENT) is None
        assert emulator.count("list") == 0

    @pytest.mark.parametrize("switch", ["hide_from_listing", "lists_prompts"])
    async def test_a_list_without_the_video_or_its_prompt_finds_nothing(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, switch: str
    ) -> None:
        setattr(emulator, switch, switch == "hide_from_listing")
        await submit(provider, VIDEO)
        assert await provider.reconcile(VIDEO, SENT) == []

    async def test_reconcile_reads_no_more_pages_than_needed(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator
    ) -> None:
        emulator.page = 1
        for hours in range(1, 9):
            emulator.place("it turns", at=(NOW - timedelta(hours=hours)).timestamp())
        emulator.place("it turns", at=NOW.timestamp())
        assert len(await provider.reconcile(WORDS, SENT) or ()) == 1
        assert emulator.count("list") == 2

    async def test_a_list_of_more_than_20_pages_raises_call_failed(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator
    ) -> None:
        emulator.page = 1
        for seconds in range(25):
            emulator.place("else", at=NOW.timestamp() + seconds)
        with pytest.raises(CallFailed, match="more than 20 pages"):
            await provider.reconcile(WORDS, SENT)

    @pytest.mark.parametrize("fault", FAULTS)
    async def test_a_list_call_without_an_answer_raises_call_failed(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, fault: Fault
    ) -> None:
        job = await video_job(provider)
        emulator.plan("list", fault)
        with pytest.raises(CallFailed):
            await provider.reconcile(VIDEO, SENT)
        assert await provider.reconcile(VIDEO, SENT) == [job]


async def test_the_emulator_keeps_its_videos_over_a_restart(
    provider: OpenAiProvider, emulator: OpenAiEmulator, tmp_path: Path
) -> None:
    job = await video_job(provider, SIZED)
    later = OpenAiEmulator(tmp_path)
    assert later.videos == {job.id: emulator.videos[job.id]}
    later.ledger.close()


def answering_files(emulator: OpenAiEmulator, reply: Reply) -> None:
    """Each look at a file is answered so."""
    usual = emulator.answer

    async def answer(call: Call) -> Reply:
        return reply if call.kind == "file" else await usual(call)

    emulator.answer = answer  # type: ignore[method-assign]
