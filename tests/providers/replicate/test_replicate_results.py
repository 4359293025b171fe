"""What REPLICATE makes of a prediction's output, and how its emulator tells of the end."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio import fail_after, sleep

from providers.attempts import attempt
from providers.replicate.replicate_cases import (
    GENERATED,
    TASK,
    FilesIO,
    called_back,
    provider_at,
    state_after_polls,
    submit,
)
from stepwell.basics.errors import AttemptError, CallFailed
from stepwell.contract.enums import TaskType
from stepwell.ports.providers import CancelAnswer, Finished, Job
from stepwell.providers.replicate.provider import ReplicateProvider
from support.emulators.base import Fault
from support.emulators.replicate import ReplicateEmulator, picture
from support.providers.outputs import check_outputs


class TestFetch:
    @pytest.mark.parametrize(
        ("task_type", "output", "result", "names"),
        [
            (TaskType.GENERATION, "{}/a.png", {"result_image_path": "result.png"}, ["result.png"]),
            (TaskType.GENERATION, ["{}/a.WEBP?x=1"], {"result_image_path": "result.webp"}, ["result.webp"]),
            (TaskType.GENERATION, "{}/noname", {"result_image_path": "result.png"}, ["result.png"]),
            (TaskType.GENERATION, "{}/a.svg", {"result_image_path": "result.bin"}, ["result.bin"]),
            (
                TaskType.GENERATION,
                ["{}/a.png", "{}/b.jpg", "{}/a.png"],
                {"result_image_path": "result.png", "result_image_paths": ["result.png", "result_2.jpg"]},
                ["result.png", "result_2.jpg"],
            ),
            (
                TaskType.EDITING,
                {"image": "{}/a.png", "more": {"mask": "{}/b.png"}, "score": 0.5},
                {"result_image_path": "result.png", "result_image_paths": ["result.png", "result_2.png"]},
                ["result.png", "result_2.png"],
            ),
            (
                TaskType.VIDEO_GENERATION,
                {"thumbnail": "{}/a.png", "video": "{}/a.mp4"},
                {"result_video_path": "result.mp4", "result_video_paths": ["result.mp4", "result_2.png"]},
                ["result.mp4", "result_2.png"],
            ),
            (TaskType.VIDEO_GENERATION, "{}/film", {"result_video_path": "result.mp4"}, ["result.mp4"]),
            (TaskType.LLM_INTERACTION, ["Hel", "lo", " {}/a"], {"result_text": "Hello {}/a"}, []),
            (TaskType.LLM_INTERACTION, "{}/a", {"result_text": "{}/a"}, []),
            (TaskType.GENERATION, "a caption, of http things", {"result_text": "a caption, of http things"}, []),
            (TaskType.LLM_INTERACTION, {"a": 1}, {"result_text": '{"a":1}', "result_json": {"a": 1}}, []),
        ],
    )
    async def test_each_form_of_output_becomes_the_steps_result(
        self,
        provider: ReplicateProvider,
        emulator: ReplicateEmulator,
        client: httpx.AsyncClient,
        task_type: TaskType,
        output: Any,
        result: dict[str, Any],
        names: list[str],
    ) -> None:
        emulator.output = at(output, f"{emulator.url}/files")
        work = attempt(task_type, {"model": "me/mine"}, prompt="x", base_image_url="https://a/b.png", seed=9)
        job, io = await submit(provider, work), FilesIO(client)
        await state_after_polls(provider, job)
        wanted = {name: stored(at(value, f"{emulator.url}/files")) for name, value in result.items()}
        assert await provider.fetch(work, job, io) == Finished({**wanted, "seed": 9}, None)
        check_outputs(provider.type, work.task_type, {**wanted, "seed": 9})
        assert io.stored == dict.fromkeys(names, picture())
        types = ("video/", "image/") if task_type is TaskType.VIDEO_GENERATION else ("image/",)
        assert io.asked == [types] * len(names)
        assert all("authorization" not in call.headers for call in emulator.calls if call.kind == "file")

    async def test_a_later_process_fetches_the_result_by_the_job_alone(
        self, provider: ReplicateProvider, client: httpx.AsyncClient, emulator: ReplicateEmulator
    ) -> None:
        job = await submit(provider)
        await state_after_polls(provider, job)
        later, finished = attempt(), {"result_image_path": f"media/{TASK}/result.png", "seed": 9}
        other = provider_at(emulator, client)
        assert (await other.fetch(later, Job(id=job.id), FilesIO(client))).result == finished
        assert (await other.fetch(later, job, FilesIO(client))).result == finished

    async def test_a_removed_result_fails_the_attempt_without_a_retry(
        self, provider: ReplicateProvider, emulator: ReplicateEmulator
    ) -> None:
        job = await submit(provider)
        await state_after_polls(provider, job)
        emulator.remove_data(job.id)
        with pytest.raises(AttemptError, match="removed before it was fetched") as failure:
            await provider.fetch(GENERATED, job, FilesIO())
        assert not failure.value.retryable

    @pytest.mark.parametrize("output", ["", [], {}])
    async def test_a_prediction_without_output_is_retried(
        self, provider: ReplicateProvider, emulator: ReplicateEmulator, output: Any
    ) -> None:
        emulator.output = output
        job = await submit(provider)
        await state_after_polls(provider, job)
        with pytest.raises(AttemptError, match="gave no output") as failure:
            await provider.fetch(GENERATED, job, FilesIO())
        assert failure.value.retryable

    async def test_a_result_of_an_unfinished_job_raises_call_failed(
        self, provider: ReplicateProvider, emulator: ReplicateEmulator
    ) -> None:
        emulator.held = True
        with pytest.raises(CallFailed, match="is processing, not succeeded"):
            await provider.fetch(GENERATED, await submit(provider), FilesIO())

    @pytest.mark.parametrize("fault", Fault)
    async def test_a_file_that_cannot_be_read_is_fetched_again_or_fails_for_good(
        self,
        provider: ReplicateProvider,
        emulator: ReplicateEmulator,
        client: httpx.AsyncClient,
        fault: Fault,
    ) -> None:
        job, io = await submit(provider), FilesIO(client)
        await state_after_polls(provider, job)
        emulator.plan("file", fault)
        for_good = fault in {Fault.GARBAGE_AFTER, Fault.HUGE_AFTER}
        with pytest.raises(AttemptError if for_good else CallFailed):
            await provider.fetch(GENERATED, job, io)
        assert (await provider.fetch(GENERATED, job, io)).result["seed"] == 9


class TestWebhooks:
    @pytest.mark.parametrize(("mode", "times"), [("once", 1), ("duplicate", 2), ("early", 1)])
    async def test_a_callback_names_the_job(
        self, provider: ReplicateProvider, emulator: ReplicateEmulator, tmp_path: Path, mode: Any, times: int
    ) -> None:
        (tmp_path / "ours").mkdir()
        emulator.webhooks = mode
        async with ReplicateEmulator(tmp_path / "ours") as ours:
            job = await submit(provider, called_back(GENERATED, f"{ours.url}/callbacks/1"))
            assert len(ours.calls) == (1 if mode == "early" else 0)
            with fail_after(60):
                while len(emulator.delivered) < times:
                    await sleep(0.01)
            assert [call.json()["id"] for call in ours.calls] == [job.id] * times
            assert {call.json()["status"] for call in ours.calls} == {"succeeded"}

    async def test_a_cancelled_prediction_is_called_back_once(
        self, provider: ReplicateProvider, emulator: ReplicateEmulator, tmp_path: Path
    ) -> None:
        (tmp_path / "ours").mkdir()
        emulator.webhooks, emulator.held = "once", True
        async with ReplicateEmulator(tmp_path / "ours") as ours:
            work = called_back(GENERATED, f"{ours.url}/callbacks/1")
            job = await submit(provider, work)
            assert await provider.cancel(work, job) is await provider.cancel(work, job) is CancelAnswer.ACCEPTED
            with fail_after(60):
                while not emulator.delivered:
                    await sleep(0.01)
            assert [call.json()["status"] for call in ours.calls] == ["canceled"]


def at(value: Any, base: str) -> Any:
    """*value* with addresses below *base*."""
    match value:
        case str():
            return value.replace("{}", base)
        case list():
            return [at(item, base) for item in value]
        case dict():
            return {name: at(item, base) for name, item in value.items()}
        case _:
            return value


def stored(value: Any) -> Any:
    """Paths for the names of files."""
    if isinstance(value, list):
        return [stored(item) for item in value]
    return f"media/{TASK}/{value}" if isinstance(value, str) and value.startswith("result") else value
