"""GEMINI's videos: operations of Veo, interactions of Omni, and the files that they name."""

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from providers.google.google_cases import VEO, VIDEO, Bench, gemini_bench
from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown
from stepwell.ports.providers import CancelAnswer, Job, JobState, JobStatus
from support.emulators.base import Call, Fault, Reply
from support.emulators.google import VIDEO as BYTES
from support.emulators.google import GeminiEmulator
from support.providers.attempt_io import TASK

RESULT = {"result_video_path": f"media/{TASK}/result.mp4", "format": "MP4", "size": len(BYTES)}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with gemini_bench(tmp_path) as bench:
        yield bench


def emulator(bench: Bench) -> GeminiEmulator:
    assert isinstance(bench.at, GeminiEmulator)
    return bench.at


async def poll_until_ended(bench: Bench, work: Any) -> JobState:
    return await bench.provider().poll(work, await bench.job(work))


@pytest.mark.parametrize(("work", "word"), [(VEO, "done"), (VIDEO, "completed")], ids=["veo", "omni"])
async def test_a_video_is_polled_fetched_and_stored(bench: Bench, work: Any, word: str) -> None:
    bench.at.polls_until_done = 2
    job = await bench.job(work)
    assert (job.id, job.urls) == (bench.at.ledger.jobs()[0][0], {})
    assert bench.at.ledger.keys() == {"it turns": 1}
    provider = bench.provider()
    assert (await provider.poll(work, job)).status is JobStatus.RUNNING
    bench.at.polls_until_done = 9
    with pytest.raises(CallFailed):
        await provider.fetch(work, job, bench.io)
    await bench.at.finish(job.id)
    assert await provider.poll(work, job) == JobState(status=JobStatus.SUCCEEDED, word=word)
    # A later process knows no inputs any more.
    result = (await provider.fetch(structs.replace(work, inputs={}), job, bench.io)).result
    usage = {"usage": {"input_tokens": 3, "output_tokens": 9, "total_tokens": 12}} if work is VIDEO else {}
    assert result == RESULT | {"model": provider.model(work.task_type, work.provider_config)} | usage
    assert bench.io.stored == {"result.mp4": BYTES}
    assert bench.io.kinds == [("video/",)]


@pytest.mark.parametrize("work", [VEO, VIDEO], ids=["veo", "omni"])
async def test_the_key_is_sent_to_the_api_only(bench: Bench, work: Any, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with GeminiEmulator(tmp_path / "other") as other:
        other.trusts_all = True
        job = await bench.job(work)
        await bench.at.finish(job.id)
        emulator(bench).videos_at = other.url
        await bench.provider().fetch(work, job, bench.io)
        emulator(bench).videos_at = None
        emulator(bench).redirects_videos_to = f"{other.url}/v1beta/files/moved:download"
        await bench.provider().fetch(work, job, bench.io)
        assert bench.at.calls[-1].headers["x-goog-api-key"] == bench.secret
        assert [call.headers.get("x-goog-api-key") for call in other.calls] == [None, None]


FAILURES = [
    ({"code": 3, "message": "a bad picture"}, "GEMINI: a bad picture", False),
    ({"code": 8, "message": "no room"}, "GEMINI: no room", True),
    ({"code": 13}, "GEMINI: no reason given", True),
]


async def test_a_failed_operation_reports_its_error(bench: Bench) -> None:
    for failure, words, retryable in FAILURES:
        bench.at.failure = failure
        state = await poll_until_ended(bench, VEO)
        assert (state.status, state.error, state.retryable) == (JobStatus.FAILED, words, retryable)


async def test_a_cancelled_operation_is_cancelled(bench: Bench) -> None:
    bench.at.failure = {"code": 1, "message": "cancelled"}
    assert (await poll_until_ended(bench, VEO)).status is JobStatus.CANCELLED


RESPONSES = [
    (
        {"generateVideoResponse": {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["a celebrity"]}},
        "GEMINI: the filters withheld the video: a celebrity",
        False,
    ),
    ({"raiMediaFilteredCount": 1}, "GEMINI: the filters withheld the video", False),
    ({"generateVideoResponse": {"generatedSamples": [{"video": 3}, 4]}}, "done, but gave no video", True),
    ({}, "done, but gave no video", True),
]


async def test_an_operation_without_a_video_has_failed(bench: Bench) -> None:
    for response, words, retryable in RESPONSES:
        bench.at.response = response
        state = await poll_until_ended(bench, VEO)
        assert (state.status, state.retryable) == (JobStatus.FAILED, retryable)
        assert words in state.error


async def test_the_secret_is_in_no_error(bench: Bench) -> None:
    bench.at.failure = {"code": 13, "message": f"the key {bench.secret} broke"}
    for work in (VEO, VIDEO):
        assert "the key … broke" in (await poll_until_ended(bench, work)).error


INTERACTIONS = [
    ({"message": "the prompt was blocked by our policy"}, None, "blocked by our policy", False),
    ({"message": "out of machines"}, None, "out of machines", True),
    ({}, None, "the interaction is failed", True),
    (None, [{"type": "model_output", "content": [{"type": "text", "text": "I won't."}]}], "no video: I won't.", False),
    (None, [{"type": "thought"}, 3, {"type": "model_output"}], "no video: no reason given", False),
]


async def test_an_interaction_without_a_video_has_failed(bench: Bench) -> None:
    for failure, response, words, retryable in INTERACTIONS:
        bench.at.failure, bench.at.response = failure, response
        job = await bench.job(VIDEO)
        state = await bench.provider().poll(VIDEO, job)
        assert (state.status, state.retryable) == (JobStatus.FAILED, retryable)
        assert words in state.error
        with pytest.raises((AttemptError, CallFailed)):
            await bench.provider().fetch(VIDEO, job, bench.io)


async def test_a_video_in_the_answer_is_stored(bench: Bench) -> None:
    content = {"type": "video", "data": base64.b64encode(BYTES).decode()}
    bench.at.response = [{"type": "model_output", "content": [content]}]
    job = await _done(bench)
    await bench.provider().fetch(VIDEO, job, bench.io)
    assert bench.io.stored == {"result.mp4": BYTES}
    for data in ("AAAA", "!"):
        content["data"] = data
        with pytest.raises(AttemptError, match="the data of the video is not a video"):
            await bench.provider().fetch(VIDEO, job, bench.io)


async def test_a_file_is_downloaded_by_its_bytes(bench: Bench) -> None:
    uri = f"{bench.at.url}/v1beta/files/film:download"
    bench.at.response = [{"type": "model_output", "content": [{"type": "video", "uri": uri}]}]
    await bench.provider().fetch(VIDEO, await _done(bench), bench.io)
    assert bench.at.calls[-1].query == {"alt": "media"}


async def _done(bench: Bench) -> Job:
    job = await bench.job(VIDEO)
    await bench.at.finish(job.id)
    return job


async def test_an_operation_cannot_be_cancelled(bench: Bench) -> None:
    job = await bench.job(VEO)
    calls = len(bench.at.calls)
    assert await bench.provider().cancel(VEO, job) is CancelAnswer.REFUSED
    assert len(bench.at.calls) == calls


async def test_an_interaction_can_be_cancelled(bench: Bench) -> None:
    provider, job = bench.provider(), await bench.job(VIDEO)
    assert await provider.cancel(VIDEO, job) is CancelAnswer.ACCEPTED
    assert (await provider.poll(VIDEO, job)).status is JobStatus.CANCELLED
    assert await provider.cancel(VIDEO, await _done(bench)) is CancelAnswer.ENDED
    assert await provider.cancel(VIDEO, Job(id="v1_gone")) is CancelAnswer.UNKNOWN_JOB
    bench.at.plan("cancel", Fault.REFUSED)
    assert await provider.cancel(VIDEO, job) is CancelAnswer.REFUSED
    for fault in (Fault.BUSY, Fault.GATEWAY_BEFORE, Fault.GARBAGE_AFTER, Fault.LOSE_AFTER):
        bench.at.plan("cancel", fault)
        with pytest.raises(CallFailed):
            await provider.cancel(VIDEO, job)


async def test_a_proxys_answer_to_a_cancel_raises_call_failed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await bench.job(VIDEO)
    monkeypatch.setattr(bench.at, "_interaction", lambda _: Reply(404, b"<html>nothing here</html>"))
    with pytest.raises(CallFailed, match="without an error message"):
        await bench.provider().cancel(VIDEO, job)


@pytest.mark.parametrize("work", [VEO, VIDEO], ids=["veo", "omni"])
async def test_a_poll_without_an_answer_raises_call_failed(bench: Bench, work: Any) -> None:
    job = await bench.job(work)
    for fault in (Fault.GARBAGE_AFTER, Fault.BROKEN, Fault.UNAVAILABLE, Fault.LOSE_AFTER, Fault.BUSY, Fault.HUGE_AFTER):
        bench.at.plan("poll", fault)
        with pytest.raises(CallFailed) as caught:
            await bench.provider().poll(work, job)
        assert not caught.value.forgotten


async def test_an_unknown_job_is_forgotten(bench: Bench) -> None:
    for job_id in ("models/veo-3.1-generate-001/operations/gone", "v1_gone", "../v1beta/models?x", ""):
        with pytest.raises(CallFailed) as caught:
            await bench.provider().poll(VEO, Job(id=job_id))
        assert caught.value.forgotten
    assert all(call.path.endswith("gone") for call in bench.at.calls)


@pytest.mark.parametrize("work", [VEO, VIDEO], ids=["veo", "omni"])
@pytest.mark.parametrize("status", [404, 410])
async def test_a_proxys_page_does_not_forget_a_job(bench: Bench, work: Any, status: int) -> None:
    job, usual = await bench.job(work), bench.at.answer

    async def away(call: Call) -> Reply:
        return Reply(status, b"<html>404 Not Found</html>") if call.kind == "poll" else await usual(call)

    bench.at.answer = away  # type: ignore[method-assign]
    with pytest.raises(CallFailed, match=str(status)) as caught:
        await bench.provider().poll(work, job)
    assert not caught.value.forgotten


@pytest.mark.parametrize("work", [VEO, VIDEO], ids=["veo", "omni"])
@pytest.mark.parametrize(
    ("status", "words", "forgotten"),
    [(404, True, True), (410, True, True), (404, False, False), (403, False, False), (401, True, False)],
)
async def test_only_a_404_or_410_of_the_api_forgets_a_file(
    bench: Bench, work: Any, status: int, *, words: bool, forgotten: bool
) -> None:
    job, usual = await bench.job(work), bench.at.answer
    await bench.at.finish(job.id)

    async def answer(call: Call) -> Reply:
        if call.kind != "file":
            return await usual(call)
        return bench.at.error(status, f"no such file, {bench.secret}") if words else Reply(status, b"<html>no</html>")

    bench.at.answer = answer  # type: ignore[method-assign]
    end = ".*: no such file, …" if words else r"\Z"
    with pytest.raises(CallFailed, match=f"responded with {status}{end}") as caught:
        await bench.provider().fetch(work, job, bench.io)
    assert caught.value.forgotten is forgotten


@pytest.mark.parametrize("status", [403, 404])
async def test_a_url_elsewhere_decides_about_its_file(bench: Bench, tmp_path: Path, status: int) -> None:
    (tmp_path / "other").mkdir()
    job = await bench.job(VEO)
    await bench.at.finish(job.id)
    async with GeminiEmulator(tmp_path / "other") as other:

        async def answer(call: Call) -> Reply:
            return Reply(status, b"<Error/>" if call.kind == "file" else b"")

        other.answer = answer  # type: ignore[method-assign]
        emulator(bench).videos_at = other.url
        with pytest.raises(CallFailed, match=str(status)) as caught:
            await bench.provider().fetch(VEO, job, bench.io)
    assert caught.value.forgotten


async def test_an_invalid_name_of_an_operation_raises_outcome_unknown(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("../../x", "a/b/c", "", "x" * 600):
        answer = {"name": name, "id": name}
        monkeypatch.setattr(bench.at, "_began", lambda *_, answer=answer, **__: Reply(200, answer))
        for work in (VEO, VIDEO):
            with pytest.raises(OutcomeUnknown, match="can't be read"):
                await bench.answered(work)


async def test_a_missing_key_raises_call_failed_for_a_job(bench: Bench) -> None:
    job = await bench.job(VIDEO)
    with pytest.raises(CallFailed, match="holds no credential"):
        await bench.provider().poll(structs.replace(VIDEO, provider_config={"credential": "gone"}), job)
