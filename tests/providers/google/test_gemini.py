"""GEMINI and VERTEX where they do the same: submits and what becomes of them, over real sockets."""

import base64
import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from msgspec import structs
from PIL import Image

from providers.attempts import attempt
from providers.conftest import PAUSES_S
from providers.google.google_cases import (
    BASE,
    DRAWING,
    PASSING,
    SENT,
    TALK,
    UNKNOWN,
    VEO,
    VIDEO,
    Bench,
    gemini_bench,
    vertex_bench,
)
from stepwell.basics.errors import AttemptError, OutcomeUnknown
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.ports.providers import Attempt, Finished
from support.emulators.base import Fault, Reply
from support.emulators.google import picture
from support.providers.attempt_io import TASK, MemoryIO, UnsteadyIO

BENCHES = {"gemini": gemini_bench, "vertex": vertex_bench}


@pytest.fixture(params=BENCHES)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(BENCHES[request.param](tmp_path))


async def test_an_image_in_the_answer_is_stored(bench: Bench) -> None:
    result = await bench.finished(structs.replace(DRAWING, inputs={"prompt": "a shoe", "width": 1920, "height": 1080}))
    assert result == {
        "result_image_path": f"media/{TASK}/result.png",
        "width": 64,
        "height": 36,
        "format": "PNG",
        "size": len(bench.io.stored["result.png"]),
        "seed": 7,
        "model": "gemini-nano-banana-2.1",
        "usage": {"input_tokens": 7, "output_tokens": 7, "total_tokens": 14},
    }
    assert Image.open(io.BytesIO(bench.io.stored["result.png"])).size == (64, 36)
    assert bench.at.ledger.keys() == {"a shoe": 1}


async def test_text_in_the_answer_is_the_result(bench: Bench) -> None:
    result = await bench.finished(TALK)
    assert (result["result_text"], result["model"]) == ("say it (0 pictures)", "gemini-3.8-flash")
    assert "result_json" not in result
    assert not bench.io.stored


async def test_json_that_was_asked_for_is_decoded(bench: Bench) -> None:
    work = attempt(TaskType.LLM_INTERACTION, prompt="say it", json_schema={"type": "object"}, image_urls=[BASE])
    assert (await bench.finished(work))["result_json"] == {"asked": "say it", "pictures": 1}
    bench.at.answered = {"candidates": [{"content": {"parts": [{"text": "{half"}]}, "finishReason": "STOP"}]}
    with pytest.raises(AttemptError, match="isn't JSON") as caught:
        await bench.finished(work)
    assert caught.value.retryable


@pytest.mark.parametrize("task_type", [TaskType.EDITING, TaskType.REFINE, TaskType.FACE_ENHANCER])
async def test_an_image_is_edited_by_an_instruction(bench: Bench, task_type: TaskType) -> None:
    result = await bench.finished(attempt(task_type, prompt="make it blue", base_image_url="media/t/tall.png"))
    assert (result["width"], result["height"]) == (36, 64)
    assert sum(bench.at.ledger.keys().values()) == 1


async def test_an_image_of_imagen_is_stored(bench: Bench) -> None:
    config = {"model": "imagen-4.0-generate-001", "parameters": {"sampleCount": 4, "personGeneration": "dont_allow"}}
    result = await bench.finished(
        attempt(config=config, prompt="a shoe", width=90, height=160, negative_prompt="laces")
    )
    assert (result["width"], result["height"], result["model"]) == (36, 64, "imagen-4.0-generate-001")
    sent = bench.sent()
    assert sent["instances"] == [{"prompt": "a shoe\n\nLeave out: laces"}]
    own = {"sampleCount": 1, "includeRaiReason": True, "aspectRatio": "9:16", "personGeneration": "dont_allow"}
    seeded = bench.provider().type is ProviderType.VERTEX
    assert sent["parameters"] == own | ({"seed": 7, "addWatermark": False} if seeded else {})
    assert result.get("seed") == (7 if seeded else None)


@pytest.mark.parametrize("work", [DRAWING, VIDEO], ids=["answered", "job"])
async def test_a_submit_without_a_readable_answer_raises_outcome_unknown(bench: Bench, work: Any) -> None:
    for count, fault in enumerate(UNKNOWN, 1):
        bench.at.plan("submit", fault)
        with pytest.raises(OutcomeUnknown):
            await bench.answered(work)
        assert bench.at.count("submit") == count
    assert await bench.provider().reconcile(work, SENT) is None


async def test_a_submit_that_was_not_accepted_is_retryable(bench: Bench) -> None:
    for fault in PASSING:
        bench.at.plan("submit", fault)
        with pytest.raises(AttemptError) as caught:
            await bench.answered(DRAWING)
        assert (caught.value.retryable, caught.value.retry_after_s) == (True, 0.0 if fault is Fault.BUSY else None)
    assert not bench.at.ledger.jobs()


async def test_a_refused_submit_is_not_retryable(bench: Bench) -> None:
    bench.at.plan("submit", Fault.REFUSED)
    with pytest.raises(AttemptError, match="INVALID_ARGUMENT: this can't be done") as caught:
        await bench.answered(DRAWING)
    assert (caught.value.retryable, caught.value.provider_fault) == (False, True)


async def test_a_model_that_is_gone_is_not_retryable(bench: Bench) -> None:
    with pytest.raises(AttemptError, match=r"models/gemini-1\.5-pro is not found") as caught:
        await bench.answered(attempt(config={"model": "gemini-1.5-pro"}, prompt="a shoe"))
    assert not caught.value.retryable


async def test_a_retry_info_counts_as_retry_after(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.Help"}, {"retryDelay": "34.5s"}]

    async def answer(*_: object) -> Reply:
        return bench.at.error(429, "Quota exceeded", *details)

    monkeypatch.setattr(bench.at, "started", answer)
    with pytest.raises(AttemptError, match="RESOURCE_EXHAUSTED: Quota exceeded") as caught:
        await bench.answered(DRAWING)
    assert (caught.value.retryable, caught.value.retry_after_s) == (True, 34.5)


@pytest.mark.parametrize("fault", [Fault.HANG_AFTER, Fault.DRIP_AFTER])
async def test_a_slow_answer_has_a_deadline(tmp_path: Path, fault: Fault) -> None:
    async with gemini_bench(tmp_path) as bench:
        bench.at.plan("submit", fault)
        with pytest.raises(OutcomeUnknown, match="TimeoutError"):
            await bench.answered(DRAWING, timeout_s=600.0)
        bench.at.plan("submit", fault)
        with pytest.raises(OutcomeUnknown, match="TimeoutError"):
            await bench.answered(VIDEO, work_s=600.0)  # its answer is no result


async def test_a_refused_connection_is_retryable(bench: Bench) -> None:
    await bench.answered(DRAWING)
    with pytest.raises(AttemptError, match="connection refused") as caught:
        await bench.answered(DRAWING, url="http://127.0.0.1:9")
    assert caught.value.retryable


async def test_the_emulator_can_hold_an_answer_back(bench: Bench) -> None:
    bench.at.held = True
    answers = []

    async def ask() -> None:
        answers.append(await bench.answered(DRAWING))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            while not bench.at.ledger.jobs():
                await anyio.sleep(0.01)
            assert not answers
            await bench.at.finish(bench.at.ledger.jobs()[0][0])
    assert isinstance(answers[0], Finished)


ENDINGS = [
    ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, r"blocked \(PROHIBITED_CONTENT\)", False),
    ({"usageMetadata": {"totalTokenCount": 1}}, "no candidates", True),
    ({"candidates": [{"finishReason": "SAFETY", "finishMessage": "not this"}]}, r"stopped \(SAFETY\): not this", False),
    ({"candidates": [{"finishReason": "IMAGE_SAFETY", "content": {}}]}, r"stopped \(IMAGE_SAFETY\)", False),
    ({"candidates": [{"finishReason": "MAX_TOKENS"}]}, r"limit of tokens \(MAX_TOKENS\)", False),
    ({"candidates": [{"finishReason": "OTHER"}]}, r"stopped \(OTHER\)", True),
    ({"candidates": [{"finishReason": "STOP", "content": {"parts": [{"thought": True}, 3]}}]}, "answer has no", True),
]


@pytest.mark.parametrize("work", [DRAWING, TALK], ids=["picture", "text"])
async def test_an_answer_without_a_result_reports_the_reason(tmp_path: Path, work: Any) -> None:
    async with gemini_bench(tmp_path) as bench:
        for answer, words, retryable in ENDINGS:
            bench.at.answered = answer
            with pytest.raises(AttemptError, match=words) as caught:
                await bench.answered(work)
            assert caught.value.retryable is retryable


async def test_no_reason_in_an_answer_shows_the_key(tmp_path: Path) -> None:
    async with gemini_bench(tmp_path) as bench:
        key = bench.secret
        cut_off = "x" * 245 + key  # messages end in the midst of it
        for answer in (
            {"promptFeedback": {"blockReason": key, "blockReasonMessage": key}},
            {"candidates": [{"finishReason": key, "finishMessage": key}]},
            {"candidates": [{"finishReason": "STOP", "content": {"parts": [{"text": key}]}}]},
            {"candidates": [{"finishReason": "OTHER", "finishMessage": cut_off}]},
        ):
            bench.at.answered = answer
            with pytest.raises(AttemptError, match="…") as caught:
                await bench.answered(DRAWING)
            assert key[:10] not in str(caught.value)


async def test_an_unreadable_200_raises_outcome_unknown(tmp_path: Path) -> None:
    async with gemini_bench(tmp_path) as bench:
        for answer in ({}, {"candidates": [3]}, {"candidates": "x"}, {"hello": 1}):
            bench.at.answered = answer
            with pytest.raises(OutcomeUnknown):
                await bench.answered(DRAWING)


async def test_data_that_is_not_an_image_is_not_stored(tmp_path: Path) -> None:
    async with gemini_bench(tmp_path) as bench:
        for data in ("!not base64", "aGVsbG8=", "", 3):
            parts = [{"text": "here"}, {"inlineData": {"mimeType": "image/png", "data": data}}]
            bench.at.answered = {"candidates": [{"finishReason": "STOP", "content": {"parts": parts}}]}
            with pytest.raises(AttemptError, match="is not an image") as caught:
                await bench.answered(DRAWING)
            assert caught.value.retryable
        assert not bench.io.stored


async def test_the_models_text_is_the_reason_for_a_missing_image(tmp_path: Path) -> None:
    async with gemini_bench(tmp_path) as bench:
        content = {"parts": [{"text": "I can't draw that."}]}
        bench.at.answered = {"candidates": [{"finishReason": "STOP", "content": content}]}
        with pytest.raises(AttemptError, match="the answer has no image: I can't draw that"):
            await bench.answered(DRAWING)


IMAGEN = attempt(config={"model": "imagen-4.0-generate-001"}, prompt="a fight")


@pytest.mark.parametrize(("prompt", "revised"), [("a fair fight", "a fair fight"), ("", None), (None, None), (7, None)])
async def test_a_prompt_that_imagen_has_rewritten_is_reported(bench: Bench, prompt: Any, revised: str | None) -> None:
    data = base64.b64encode(picture(8, 8)).decode()
    bench.at.answered = {"predictions": [{"bytesBase64Encoded": data, "mimeType": "image/png", "prompt": prompt}]}
    finished = await bench.answered(IMAGEN)
    assert isinstance(finished, Finished)
    assert finished.result.get("revised_prompt") == revised


async def test_an_image_that_imagens_filters_withhold_is_not_retried(bench: Bench) -> None:
    bench.at.answered = {"predictions": [{"raiFilteredReason": "violence"}]}
    with pytest.raises(AttemptError, match="filters withheld the image: violence") as caught:
        await bench.answered(IMAGEN)
    assert (caught.value.retryable, caught.value.paid) == (False, True)


@pytest.mark.parametrize("predictions", [[], [{}], [{"raiFilteredReason": ""}], [7], [{"mimeType": "image/png"}]])
async def test_an_imagen_answer_without_a_reason_is_retryable(bench: Bench, predictions: Any) -> None:
    bench.at.answered = {"predictions": predictions}
    with pytest.raises(AttemptError, match="the answer has no image") as caught:
        await bench.answered(IMAGEN)
    assert (caught.value.retryable, caught.value.paid) == (True, True)


@pytest.mark.parametrize("answer", [{}, {"status": "ok"}, {"predictions": None}, {"predictions": {}}])
async def test_an_answer_without_predictions_raises_outcome_unknown(bench: Bench, answer: Any) -> None:
    bench.at.answered = answer
    with pytest.raises(OutcomeUnknown):
        await bench.answered(IMAGEN)


@pytest.mark.parametrize("policy", ["fail", "resubmit"])
@pytest.mark.parametrize("work", [DRAWING, IMAGEN], ids=["gemini", "imagen"])
async def test_an_image_that_cannot_be_stored_is_made_again_only_if_on_unknown_says_so(
    bench: Bench, work: Attempt, policy: Literal["fail", "resubmit"]
) -> None:
    tries = 0

    class Full(MemoryIO):
        async def store(self, *_: object) -> Any:
            nonlocal tries
            tries += 1
            raise AttemptError("the output could not be stored", retryable=True, provider_fault=False)

    work = structs.replace(work, on_unknown=policy)
    with pytest.raises(AttemptError, match="is done and paid for, but the output could not be stored") as caught:
        await bench.provider().submit(work, await bench.prepared(work), Full())
    flags = (caught.value.retryable, caught.value.provider_fault, caught.value.paid)
    assert flags == (policy == "resubmit", False, True)
    assert tries == len(PAUSES_S) + 1


async def test_an_image_that_cannot_be_stored_at_once_is_stored_later(bench: Bench) -> None:
    io = UnsteadyIO(len(PAUSES_S))
    answer = await bench.provider().submit(DRAWING, await bench.prepared(DRAWING), io)
    assert isinstance(answer, Finished)
    assert (answer.result["result_image_path"], list(io.stored)) == (f"media/{TASK}/result.png", ["result.png"])
    assert bench.at.count("submit") == 1


async def test_a_wrong_key_is_reported_without_showing_it(tmp_path: Path) -> None:
    async with gemini_bench(tmp_path) as bench:
        with pytest.raises(AttemptError, match="API key not valid") as caught:
            await bench.answered(DRAWING, secret="AIza-another-key")
        assert not caught.value.retryable
        bench.at.plan("submit", Fault.REFUSED)
        bench.at.error = lambda status, message: Reply(status, {"error": {"message": f"{bench.secret} {message}"}})  # type: ignore[method-assign,misc]
        with pytest.raises(AttemptError) as caught:
            await bench.answered(DRAWING)
        assert bench.secret not in str(caught.value)
        assert "… this can't be done" in str(caught.value)


async def test_without_a_credential_nothing_is_sent(bench: Bench) -> None:
    with pytest.raises(AttemptError, match="holds no credential") as caught:
        await bench.answered(attempt(config={"credential": "theirs"}, prompt="a shoe"))
    assert not caught.value.retryable
    assert not bench.at.calls


async def test_the_same_attempt_gives_the_same_request(bench: Bench) -> None:
    for work in (DRAWING, VEO, VIDEO, TALK):
        assert await bench.prepared(work) == await bench.prepared(work)


async def test_each_provider_offers_its_task_types(bench: Bench) -> None:
    provider = bench.provider()
    assert provider.capabilities(TaskType.IMAGE_ADJUSTER) is None
    assert provider.capabilities(TaskType.PASSTHROUGH) is None
    talk, video = (provider.capabilities(each) for each in (TaskType.LLM_INTERACTION, TaskType.VIDEO_GENERATION))
    assert sorted(talk or ()) == ["image_input", "json_schema", "system_prompt"]
    assert sorted(video or ()) == ["motion", "prompt", *(["seed"] if provider.type is ProviderType.VERTEX else [])]
    assert provider.model(TaskType.IMAGE_ADJUSTER, {}) == "IMAGE_ADJUSTER"
    assert provider.model(TaskType.GENERATION, {"model": "../x"}) == "GENERATION"
    assert provider.called_back(b"{}") is None
    with pytest.raises(AttemptError, match="can't do IMAGE_ADJUSTER"):
        await bench.prepared(attempt(TaskType.IMAGE_ADJUSTER, base_image_url=BASE))
