"""What OPENAI makes of what it is answered with: texts, JSON, pictures."""

import asyncio
import base64
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from msgspec import structs

from providers.attempts import attempt
from providers.conftest import PAUSES_S
from providers.openai.openai_cases import CHAT, DRAWING, EDIT, io_of, run_to_end, submit
from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown
from stepwell.contract.enums import TaskType
from stepwell.ports.providers import Attempt, CancelAnswer, Finished, Job, JobState, JobStatus
from stepwell.providers.openai.provider import OpenAiProvider
from support.emulators.base import Fault
from support.emulators.openai import KEY, OpenAiEmulator, drawn
from support.providers.attempt_io import TASK, UnsteadyIO

SCHEMA = {"type": "object", "properties": {}, "additionalProperties": False}
ASKS_FOR_JSON = attempt(TaskType.LLM_INTERACTION, prompt="why?", json_schema=SCHEMA)
MODEL = "gpt-6-luna-2026"
USAGE = {"prompt_tokens": 4, "completion_tokens": 7, "total_tokens": 11}
PICTURE_USAGE = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}


class TestChat:
    @pytest.mark.parametrize(
        ("text", "reason", "expected"),
        [
            ("Because.", "stop", {"result_text": "Because.", "finish_reason": "stop"}),
            ("Because of", "length", {"result_text": "Because of", "finish_reason": "length"}),
            ("Because.", None, {"result_text": "Because."}),
            (
                [{"type": "text", "text": "Be"}, {"type": "text", "text": "cause."}, {"type": "x"}],
                "stop",
                {"result_text": "Because.", "finish_reason": "stop"},
            ),
        ],
    )
    async def test_a_text_becomes_the_result(
        self,
        provider: OpenAiProvider,
        emulator: OpenAiEmulator,
        text: Any,
        reason: str | None,
        expected: dict[str, Any],
    ) -> None:
        emulator.text, emulator.finish_reason = text, reason
        assert await run_to_end(provider, CHAT) == {**expected, "model": MODEL, "usage": USAGE}

    @pytest.mark.parametrize("fence", ["{}", "```json\n{}\n```", " ```{}``` "])
    async def test_json_is_read_with_or_without_a_fence(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, fence: str
    ) -> None:
        emulator.text = fence.replace("{}", '{"a": [1, null]}')
        result = await run_to_end(provider, ASKS_FOR_JSON)
        assert (result["result_text"], result["result_json"]) == (emulator.text, {"a": [1, None]})

    async def test_json_can_be_asked_for_by_parameters(self, provider: OpenAiProvider) -> None:
        config = {"model": "llama", "parameters": {"response_format": {"type": "json_object"}}}
        result = await run_to_end(provider, attempt(TaskType.LLM_INTERACTION, config, prompt="x"))
        assert (result["result_json"], result["model"]) == ({"answer": "yes"}, "llama-2026")

    @pytest.mark.parametrize(
        ("asks_for_json", "switches", "words"),
        [
            (True, {"refusal": f"I won't, {KEY}"}, "the model refused: I won't, …"),
            (False, {"refusal": "I won't"}, "the model refused: I won't"),
            (False, {"finish_reason": "content_filter", "text": "Half"}, "its content filter has stopped the answer"),
            (True, {"finish_reason": "length", "text": '{"a": '}, "cut off at the limit of tokens"),
            (False, {"finish_reason": "length", "text": ""}, "cut off at the limit of tokens"),
            (False, {"finish_reason": "tool_calls", "text": ""}, r"has no text \(finish_reason: tool_calls\)"),
            (True, {"text": "Here it is: {}"}, "isn't the JSON that was asked for"),
            (True, {"text": "[" * 100_000}, "isn't the JSON that was asked for"),
        ],
    )
    async def test_an_answer_without_a_result_is_not_retried(
        self,
        provider: OpenAiProvider,
        emulator: OpenAiEmulator,
        asks_for_json: bool,  # noqa: FBT001 - a column
        switches: dict[str, Any],
        words: str,
    ) -> None:
        for name, value in switches.items():
            setattr(emulator, name, value)
        with pytest.raises(AttemptError, match=words) as failure:
            await submit(provider, ASKS_FOR_JSON if asks_for_json else CHAT)
        assert (failure.value.retryable, failure.value.provider_fault) == (False, True)
        assert (KEY in str(failure.value), emulator.count("submit")) == (False, 1)

    @pytest.mark.parametrize(
        ("reason", "error", "words"),
        [
            ("insufficient_system_resource", None, r"\(finish_reason: insufficient_system_resource\)\Z"),
            ("abort", None, r"\(finish_reason: abort\)\Z"),
            ("error", {"code": 502, "message": f"Upstream broke off, {KEY}"}, ": Upstream broke off, …"),
            ("error", {"code": 502}, r"\(finish_reason: error\)\Z"),
            ("stop", {"code": 502, "message": "Upstream broke off"}, ": Upstream broke off"),
            (None, "out of memory", ": out of memory"),
        ],
    )
    @pytest.mark.parametrize("work", [CHAT, ASKS_FOR_JSON], ids=["text", "json"])
    async def test_an_answer_that_the_server_broke_off_is_paid_for_and_retried(
        self,
        provider: OpenAiProvider,
        emulator: OpenAiEmulator,
        work: Attempt,
        reason: str | None,
        error: Any,
        words: str,
    ) -> None:
        message = {"role": "assistant", "content": '{"answer": "the first half of'}
        replying(emulator, {"choices": [{"message": message, "finish_reason": reason, "error": error}]})
        with pytest.raises(AttemptError, match=f"the server broke the answer off .*{words}") as failure:
            await submit(provider, work)
        assert (failure.value.retryable, failure.value.provider_fault, failure.value.paid) == (True, True, True)
        assert KEY not in str(failure.value)

    async def test_a_null_error_is_no_error(self, provider: OpenAiProvider, emulator: OpenAiEmulator) -> None:
        replying(emulator, {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop", "error": None}]})
        assert (await run_to_end(provider, CHAT))["result_text"] == "yes"

    async def test_a_text_that_was_cut_off_at_the_limit_is_a_result(self, provider: OpenAiProvider) -> None:
        result = await run_to_end(provider, attempt(TaskType.LLM_INTERACTION, prompt="a b c", max_tokens=3))
        assert (result["result_text"], result["finish_reason"]) == ("You said: a", "length")

    @pytest.mark.parametrize(
        ("schema", "words"),
        [({"type": "object"}, "Invalid schema for response_format 'result'"), (SCHEMA, None)],
    )
    async def test_a_schema_that_openai_refuses_fails_the_step(
        self, provider: OpenAiProvider, schema: dict[str, Any], words: str | None
    ) -> None:
        work = attempt(TaskType.LLM_INTERACTION, prompt="x", json_schema=schema)
        if words is None:
            assert (await run_to_end(provider, work))["result_json"] == {"answer": "yes"}
            return
        with pytest.raises(AttemptError, match=words) as refusal:
            await submit(provider, work)
        assert not refusal.value.retryable

    async def test_an_unreadable_answer_raises_outcome_unknown(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator
    ) -> None:
        replying(emulator, b'{"choices": []}')
        with pytest.raises(OutcomeUnknown):
            await submit(provider, CHAT)


class TestImages:
    @pytest.mark.parametrize(
        ("kind", "name", "expected"),
        [("png", "png", "PNG"), ("jpeg", "jpg", "JPEG"), ("webp", "webp", "WEBP"), ("gif", "gif", "GIF")],
    )
    async def test_an_image_in_the_answer_is_stored(
        self, provider: OpenAiProvider, kind: str, name: str, expected: str
    ) -> None:
        files = io_of()
        work = attempt(config={"parameters": {"output_format": kind}}, prompt="a shoe", width=1024, height=768)
        result = await run_to_end(provider, work, files)
        data = drawn((1024, 768), kind)
        assert files.stored == {f"result.{name}": data}
        assert result == {
            "result_image_path": f"media/{TASK}/result.{name}",
            "width": 1024,
            "height": 768,
            "format": expected,
            "size": len(data),
            "model": "gpt-image-2.6-flare",
            "usage": PICTURE_USAGE,
        }

    async def test_an_image_without_its_background_is_stored_as_png(self, provider: OpenAiProvider) -> None:
        files = io_of()
        work = attempt(TaskType.BACKGROUND_REMOVE, base_image_url="media/x/base.jpg")
        result = await run_to_end(provider, work, files)
        assert (result["width"], result["height"], result["format"]) == (40, 20, "PNG")
        assert files.stored["result.png"] == drawn((40, 20), clear="transparent")

    async def test_an_image_as_a_data_uri_is_stored(self, provider: OpenAiProvider, emulator: OpenAiEmulator) -> None:
        emulator.answers_by = "data_uri"
        assert (await run_to_end(provider, DRAWING))["format"] == "PNG"

    async def test_an_image_by_its_url_is_a_finished_job(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, client: httpx.AsyncClient
    ) -> None:
        emulator.answers_by = "url"
        job = await submit(provider, DRAWING)
        assert isinstance(job, Job)
        address = f"{emulator.url}{next(iter(emulator.files))}"
        assert job == Job(id=f"picture-{TASK}", urls={"picture": address, "revised_prompt": "better"}, done=True)
        later = attempt()
        assert await provider.poll(later, job) == JobState(status=JobStatus.SUCCEEDED, word="completed")
        assert await provider.cancel(later, job) is CancelAnswer.ENDED
        emulator.plan("file", Fault.LOSE_BEFORE)
        with pytest.raises(CallFailed):
            await provider.fetch(later, job, io_of(client))
        files = io_of(client)
        data = next(iter(emulator.files.values()))
        assert (await provider.fetch(later, job, files)).result == {
            "result_image_path": f"media/{TASK}/result.png",
            "size": len(data),
            "model": "gpt-image-2.6-flare",
            "revised_prompt": "better",
        }
        assert (files.stored, files.kinds) == ({"result.png": data}, [("image/",)])
        assert emulator.calls[-1].headers["authorization"] == f"Bearer {KEY}"

    async def test_the_key_is_not_sent_to_the_url_of_an_image_at_another_origin(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, client: httpx.AsyncClient, tmp_path: Path
    ) -> None:
        (tmp_path / "other").mkdir()
        async with OpenAiEmulator(tmp_path / "other") as other:
            other.files["/files/a.webp"] = drawn((8, 8))
            replying(emulator, f'{{"data": [{{"url": "{other.url}/files/a.webp?x=1.gif"}}]}}'.encode())
            job = await submit(provider, DRAWING)
            assert isinstance(job, Job)
            result = (await provider.fetch(DRAWING, job, io_of(client))).result
            assert result["result_image_path"] == f"media/{TASK}/result.webp"
            assert "authorization" not in other.calls[0].headers

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({"data": []}, "has no image"),
            ({"data": [{}]}, "has no image"),
            ({"data": [{"url": "ftp:x"}]}, "has no image"),
            ({"data": [{"url": "https://x.example/" + "a" * 9_000}]}, "has no image"),
            ({"data": [{"b64_json": "§"}]}, "isn't an image"),
            ({"data": [{"b64_json": base64.b64encode(b"<svg/>").decode()}]}, "isn't an image"),
            ({"data": [{"b64_json": base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()}]}, "isn't an image"),
        ],
    )
    async def test_an_answer_without_an_image_is_not_retried(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator, body: Any, words: str
    ) -> None:
        replying(emulator, body)
        with pytest.raises(AttemptError, match=words) as failure:
            await submit(provider, DRAWING)
        assert (failure.value.retryable, failure.value.provider_fault) == (False, True)

    @pytest.mark.parametrize("policy", ["fail", "resubmit"])
    async def test_an_image_that_cannot_be_stored_is_made_again_only_if_on_unknown_says_so(
        self, provider: OpenAiProvider, policy: Literal["fail", "resubmit"]
    ) -> None:
        work = structs.replace(EDIT, on_unknown=policy)
        with pytest.raises(AttemptError, match="is done and paid for, but the store is away") as failure:
            await submit(provider, work, UnsteadyIO(9, inputs=io_of().inputs))
        flags = (failure.value.retryable, failure.value.provider_fault, failure.value.paid)
        assert flags == (policy == "resubmit", False, True)

    async def test_an_image_that_cannot_be_stored_at_once_is_stored_later(
        self, provider: OpenAiProvider, emulator: OpenAiEmulator
    ) -> None:
        io = UnsteadyIO(len(PAUSES_S), inputs=io_of().inputs)
        assert (await run_to_end(provider, EDIT, io))["result_image_path"] == f"media/{TASK}/result.png"
        assert (list(io.stored), emulator.count("submit")) == (["result.png"], 1)


async def test_the_emulator_can_hold_an_answer_back(provider: OpenAiProvider, emulator: OpenAiEmulator) -> None:
    async def sent() -> tuple[str, asyncio.Task[Job | Finished]]:
        known = len(emulator.ledger.jobs())
        asyncio_task = asyncio.ensure_future(submit(provider, CHAT))
        async with asyncio.timeout(60):
            while len(emulator.ledger.jobs()) == known:
                await asyncio.sleep(0.01)
        assert not asyncio_task.done()
        return emulator.ledger.jobs()[-1][0], asyncio_task

    emulator.held = True
    job_id, first = await sent()
    await emulator.finish(job_id)
    assert isinstance(await first, Finished)
    _, second = await sent()
    emulator.let_go()
    assert isinstance(await second, Finished)
    _, third = await sent()
    emulator.held = False
    assert isinstance(await third, Finished)


def replying(emulator: OpenAiEmulator, body: Any) -> None:
    """It answers everything so."""
    usual = emulator.answer

    async def answer(call: Any) -> Any:
        reply = await usual(call)
        reply.body = body
        return reply

    emulator.answer = answer  # type: ignore[method-assign]
