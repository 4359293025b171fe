"""COMFYUI: what the nodes of a graph gave, made into results."""

import io
from typing import Any

import httpx
import pytest
from PIL import Image

from providers.comfyui.comfyui_cases import attempt, files, poll_until_ended, provider_at, submit
from stepwell.basics.errors import AttemptError, CallFailed
from stepwell.contract.enums import TaskType
from stepwell.ports.providers import Finished, Job, JobStatus
from stepwell.providers.comfyui import client
from stepwell.providers.comfyui.provider import ComfyUiProvider
from support.emulators.base import Fault, Reply
from support.emulators.comfyui import VIDEO, ComfyUiEmulator, graph_for, picture
from support.providers.attempt_io import TASK, MemoryIO

PICTURE = {"result_image_path": f"media/{TASK}/result.png", "width": 8, "height": 8, "format": "PNG"}


TEXT = {"result_text": "An answer to: what is it?"}
DRAWN = {**PICTURE, "width": 24, "height": 16, "seed": 7}


@pytest.mark.parametrize(
    ("task_type", "result"),
    [
        (TaskType.GENERATION, DRAWN),
        (TaskType.EDITING, {**PICTURE, "seed": 7}),
        (TaskType.REFINE, PICTURE),
        (TaskType.VIDEO_GENERATION, {"result_video_path": f"media/{TASK}/result.mp4"}),
        (TaskType.BACKGROUND_FIX, PICTURE),
        (TaskType.BACKGROUND_REMOVE, PICTURE),
        (TaskType.IMAGE_ADJUSTER, PICTURE),
        (TaskType.FACE_ENHANCER, PICTURE),
        (TaskType.DETAIL_ENHANCER, PICTURE),
        (TaskType.LLM_INTERACTION, TEXT),
    ],
)
async def test_each_task_type_has_its_result(
    provider: ComfyUiProvider,
    emulator: ComfyUiEmulator,
    client: httpx.AsyncClient,
    task_type: TaskType,
    result: dict[str, Any],
) -> None:
    work, kept = attempt(task_type), files()
    job = await submit(provider, work)
    assert (await poll_until_ended(provider, job, work)).status is JobStatus.SUCCEEDED
    assert await provider.fetch(work, job, kept) == Finished(result)
    assert len(kept.stored) == (0 if task_type is TaskType.LLM_INTERACTION else 1)
    # A later process knows neither the inputs nor the messages to this one.
    later = attempt(task_type, absent=None)
    assert await provider_at(emulator, client).fetch(later, job, kept) == Finished(result)
    assert (len(emulator.ledger.jobs()), emulator.count("submit")) == (1, 1)


async def fetch_result(
    provider: ComfyUiProvider,
    emulator: ComfyUiEmulator,
    task_type: TaskType,
    outputs: dict[str, Any],
    output: str | None = None,
) -> tuple[dict[str, Any], MemoryIO]:
    emulator.outputs = outputs
    for node in outputs.values():
        for value in node.values() if isinstance(node, dict) else ():
            for entry in value if isinstance(value, list) else ():
                if isinstance(entry, dict) and isinstance(name := entry.get("filename"), str):
                    data = (
                        VIDEO if name.endswith("mp4") else name.encode() if "odd" in name else picture((len(name), 3))
                    )
                    emulator.files[entry.get("type", "output"), entry.get("subfolder", ""), name] = data
    work, kept = attempt(task_type, {"output": output}), files()
    work.provider_config["graph"]["2"] = work.provider_config["graph"].get("2", work.provider_config["graph"]["1"])
    job = Job(id=str(TASK))
    emulator.posted({"prompt": graph_for("GENERATION")["graph"], "prompt_id": job.id})
    await emulator.finish(job.id)
    return (await provider.fetch(work, job, kept)).result, kept


def output_file(name: str, type_: str = "output", **more: Any) -> dict[str, Any]:
    return {"filename": name, "subfolder": "", "type": type_, **more}


def images(*names: str, type_: str = "output", **more: Any) -> dict[str, Any]:
    return {"images": [output_file(name, type_) for name in names], **more}


class TestWhatIsTheResult:
    @pytest.mark.parametrize(
        ("outputs", "output", "width"),
        [
            ({"9": images("1.png"), "10": images("22.png"), "2": images("333.png")}, None, 6),
            ({"9": images("1.png"), "9:1": images("22.png")}, None, 6),
            ({"9": images("1.png"), "save": images("22.png")}, None, 6),
            ({"9": images("1.png"), "10": images("22.png", type_="temp")}, None, 5),
            ({"9": images("1.png", type_="temp"), "10": images("22.png", type_="temp")}, None, 6),
            ({"9": images("1.png"), "10": {"text": ["words"]}, "11": images("22.mp4", animated=[True])}, None, 5),
            ({"1": images("1.png", type_="temp"), "10": images("22.png")}, "1", 5),
            ({"9": images("1.png"), "10": 5, "11": {"images": [5, {"filename": 5}]}, "12": {"images": 5}}, None, 5),
        ],
    )
    async def test_the_output_node_decides_which_image_is_the_result(
        self,
        provider: ComfyUiProvider,
        emulator: ComfyUiEmulator,
        outputs: dict[str, Any],
        output: str | None,
        width: int,
    ) -> None:
        result, kept = await fetch_result(provider, emulator, TaskType.REFINE, outputs, output)
        assert result == {**PICTURE, "width": width, "height": 3}
        assert Image.open(io.BytesIO(kept.stored["result.png"])).size == (width, 3)

    async def test_several_images_of_a_node_are_all_stored(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        outputs = {"9": images("1.png", "22.JPG")}
        result, kept = await fetch_result(provider, emulator, TaskType.REFINE, outputs)
        paths = [f"media/{TASK}/result.png", f"media/{TASK}/result_2.jpg"]
        assert result == {**PICTURE, "result_image_paths": paths, "width": 5, "height": 3}
        assert list(kept.stored) == ["result.png", "result_2.jpg"]

    @pytest.mark.parametrize(
        ("output", "name"),
        [
            ({"gifs": [output_file("a.mp4", format="video/h264-mp4")]}, "result.mp4"),
            ({"gifs": [output_file("a.odd", format="video/odd")]}, "result.bin"),
            ({"gifs": [output_file("a.gif", format="image/gif")]}, "result.gif"),
            ({"videos": [output_file("a.webm")]}, "result.webm"),
            (images("a.mp4", animated=[True]), "result.mp4"),
            (images("a.mp4"), "result.mp4"),
            (images("a.webp"), "result.webp"),
            (images("a.png", animated=[True]), "result.png"),
            (images("odd", animated=[True]), "result.bin"),
        ],
    )
    async def test_each_form_of_a_video_is_found(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, output: dict[str, Any], name: str
    ) -> None:
        outputs = {"8": output, "9": images("still.png")}
        result, kept = await fetch_result(provider, emulator, TaskType.VIDEO_GENERATION, outputs)
        assert (result, list(kept.stored)) == ({"result_video_path": f"media/{TASK}/{name}"}, [name])

    @pytest.mark.parametrize(
        ("text", "result"),
        [
            (["a", "b"], {"result_text": "a\nb"}),
            ("a", {"result_text": "a"}),
            ([["a", 5], "b"], {"result_text": "a\nb"}),
            ([""], {"result_text": ""}),
            (['{"a": 1}'], {"result_text": '{"a": 1}', "result_json": {"a": 1}}),
            (["[1, 2]"], {"result_text": "[1, 2]", "result_json": [1, 2]}),
            (["[1, 2"], {"result_text": "[1, 2"}),
            (["5"], {"result_text": "5"}),
        ],
    )
    async def test_texts_are_joined_and_json_in_them_is_read(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, text: Any, result: dict[str, Any]
    ) -> None:
        outputs = {"9": images("1.png"), "3": {"text": text}}
        assert (await fetch_result(provider, emulator, TaskType.LLM_INTERACTION, outputs))[0] == result

    @pytest.mark.parametrize(
        ("task_type", "outputs", "output", "words"),
        [
            (TaskType.REFINE, {}, None, "gave no image$"),
            (TaskType.REFINE, {"9": images("a.mp4"), "2": {"text": ["a"]}}, None, "gave no image$"),
            (TaskType.REFINE, {"9": images("a.png")}, "1", "gave no image at node 1$"),
            (TaskType.VIDEO_GENERATION, {"9": images("a.png")}, None, "gave no video$"),
            (TaskType.VIDEO_GENERATION, {"9": images("a.png", animated=[False])}, None, "gave no video$"),
            (TaskType.LLM_INTERACTION, {"9": images("a.png"), "3": {"text": [5]}}, None, "gave no text$"),
        ],
    )
    async def test_outputs_without_the_wanted_kind_fail_the_attempt(
        self,
        provider: ComfyUiProvider,
        emulator: ComfyUiEmulator,
        task_type: TaskType,
        outputs: dict[str, Any],
        output: str | None,
        words: str,
    ) -> None:
        with pytest.raises(AttemptError, match=words) as failure:
            await fetch_result(provider, emulator, task_type, outputs, output)
        assert (failure.value.retryable, failure.value.provider_fault, failure.value.paid) == (False, True, True)


class TestTrouble:
    async def test_a_result_of_an_unsuccessful_job_raises_call_failed(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        emulator.held = True
        job = await submit(provider)
        with pytest.raises(CallFailed, match="hasn't succeeded"):
            await provider.fetch(attempt(), job, files())
        emulator.failure = ("ValueError", "no")
        await emulator.finish(job.id)
        with pytest.raises(CallFailed, match="hasn't succeeded"):
            await provider.fetch(attempt(), job, files())
        emulator.forget(job.id)
        with pytest.raises(CallFailed) as failure:
            await provider.fetch(attempt(), job, files())
        assert failure.value.forgotten

    async def test_a_file_that_is_gone_is_forgotten(self, provider: ComfyUiProvider, emulator: ComfyUiEmulator) -> None:
        job = await submit(provider)
        await emulator.finish(job.id)
        emulator.files.clear()
        with pytest.raises(CallFailed, match="404") as failure:
            await provider.fetch(attempt(), job, files())
        assert failure.value.forgotten

    async def test_a_proxys_page_does_not_forget_a_file(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = await submit(provider)
        await emulator.finish(job.id)
        monkeypatch.setattr(
            emulator, "_viewed", lambda _: Reply(404, b"404: Not Found", {"Content-Type": "text/plain"})
        )
        with pytest.raises(CallFailed, match="404") as failure:
            await provider.fetch(attempt(), job, files())
        assert not failure.value.forgotten

    @pytest.mark.parametrize("fault", [Fault.LOSE_AFTER, Fault.TRUNCATE_AFTER, Fault.BUSY, Fault.BROKEN])
    async def test_a_file_without_an_answer_raises_call_failed(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, fault: Fault
    ) -> None:
        job, kept = await submit(provider), files()
        await emulator.finish(job.id)
        emulator.plan("file", fault)
        with pytest.raises(CallFailed) as failure:
            await provider.fetch(attempt(), job, kept)
        assert (failure.value.forgotten, kept.stored) == (False, {})
        assert (await provider.fetch(attempt(), job, kept)).result == DRAWN

    @pytest.mark.parametrize(
        ("data", "headers", "error", "words"),
        [
            (b"<html>log in</html>", {"Content-Type": "Text/HTML; charset=utf-8"}, AttemptError, "output is text/html"),
            (b"{}", {"Content-Type": "application/json"}, AttemptError, "output is application/json"),
            (b"no picture", {"Content-Type": "image/png"}, AttemptError, "not a readable image"),
            (picture()[:20], {}, AttemptError, "not a readable image"),
            (b"", {"Content-Type": "image/png"}, CallFailed, "empty"),
        ],
    )
    async def test_an_answer_that_is_not_the_file_is_an_error(
        self,
        provider: ComfyUiProvider,
        emulator: ComfyUiEmulator,
        monkeypatch: pytest.MonkeyPatch,
        data: bytes,
        headers: dict[str, str],
        error: type[Exception],
        words: str,
    ) -> None:
        job, kept = await submit(provider), files()
        await emulator.finish(job.id)
        monkeypatch.setattr(emulator, "_viewed", lambda _: Reply(200, data, headers))
        with pytest.raises(error, match=words) as failure:
            await provider.fetch(attempt(), job, kept)
        assert kept.stored == {}
        if isinstance(failure.value, AttemptError):
            assert (failure.value.retryable, failure.value.provider_fault) == (False, False)

    async def test_a_file_larger_than_the_limit_fails_the_attempt(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        job = await submit(provider)
        await emulator.finish(job.id)
        emulator.plan("file", Fault.HUGE_AFTER)
        monkeypatch.setattr(client, "MAX_FILE", 1_000_000)
        with pytest.raises(AttemptError, match="the output is larger than 1000000 bytes") as failure:
            await provider.fetch(attempt(), job, files())
        error = failure.value
        assert (error.retryable, error.provider_fault, error.paid) == (False, False, True)

    async def test_a_file_that_cant_be_stored_is_fetched_again(
        self, provider: ComfyUiProvider, emulator: ComfyUiEmulator
    ) -> None:
        class Full(MemoryIO):
            async def store(self, *_: object) -> Any:
                raise AttemptError("the disk is full", retryable=True, provider_fault=False)

        job = await submit(provider)
        await emulator.finish(job.id)
        with pytest.raises(CallFailed, match="the disk is full"):
            await provider.fetch(attempt(), job, Full())
        assert (await provider.fetch(attempt(), job, files())).result == DRAWN
