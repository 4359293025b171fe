"""What becomes of what FAL has made."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from providers.fal.fal_cases import NO_ANSWER, PICTURE, Bench, answer_with, attempt, fal_bench
from providers.image_files import TASK, picture_of
from stepwell.basics.errors import AttemptError, CallFailed
from stepwell.contract.enums import TaskType
from stepwell.ports.providers import Finished, Job
from support.emulators.base import Fault
from support.emulators.fal import VIDEO


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with fal_bench(tmp_path) as made:
        yield made


class TestFetch:
    async def test_an_image_is_stored_with_its_facts(self, bench: Bench) -> None:
        done = await bench.ended()
        data = bench.io.stored["result.png"]
        assert done == Finished(
            {
                "result_image_path": f"media/{TASK}/result.png",
                "width": 40,
                "height": 30,
                "format": "PNG",
                "size": len(data),
                "seed": 5,
                "nsfw": False,
            }
        )
        assert picture_of(data).size == (40, 30)
        assert [asked[1:] for asked in bench.io.downloads] == [("result.png", ("image/",))]

    async def test_a_result_can_be_fetched_again(self, bench: Bench) -> None:
        job = await bench.submitted()
        await bench.provider().poll(bench.work, job)
        first, second = [await bench.provider().fetch(bench.work, job, bench.io) for _ in range(2)]
        assert first == second
        assert set(bench.io.stored) == {"result.png"}

    async def test_several_images_are_all_listed(self, bench: Bench) -> None:
        result = (await bench.ended(attempt(prompt="x", width=8, height=8, num_images=3))).result
        paths = [f"media/{TASK}/{name}" for name in ("result.png", "result_1.png", "result_2.png")]
        assert (result["result_image_path"], result["result_image_paths"]) == (paths[0], paths)
        assert set(bench.io.stored) == {"result.png", "result_1.png", "result_2.png"}

    @pytest.mark.parametrize(
        ("flags", "count", "nsfw"),
        [
            ([True], 1, True),
            ([False, True], 2, [False, True]),
            ([False, True], 1, True),
            ([True], 2, True),
            ([], 1, None),
            ([1], 1, None),
            ("no", 1, None),
            (None, 1, None),
        ],
    )
    async def test_the_findings_of_the_safety_checker_are_reported(
        self, bench: Bench, flags: Any, count: int, nsfw: Any
    ) -> None:
        images = [{"url": "data:image/webp;base64,QUJD"}] * count
        bench.fal.output = {"images": images, "has_nsfw_concepts": flags}
        assert (await bench.ended()).result.get("nsfw") == nsfw

    @pytest.mark.parametrize(("actual", "revised"), [("a red shoe", "a red shoe"), ("", None), (None, None), (7, None)])
    async def test_a_rewritten_prompt_is_reported(self, bench: Bench, actual: Any, revised: str | None) -> None:
        bench.fal.output = {"images": [{"url": "data:image/webp;base64,QUJD"}], "actual_prompt": actual}
        assert (await bench.ended()).result.get("revised_prompt") == revised

    async def test_a_single_image_in_the_member_image_is_stored(self, bench: Bench) -> None:
        result = (await bench.ended(attempt(TaskType.BACKGROUND_REMOVE, base_image_url=PICTURE))).result
        assert result["result_image_path"] == f"media/{TASK}/result.png"
        assert "seed" not in result

    async def test_a_video_is_stored_with_its_facts(self, bench: Bench) -> None:
        result = (await bench.ended(attempt(TaskType.VIDEO_GENERATION, base_image_url=PICTURE))).result
        assert result == {
            "result_video_path": f"media/{TASK}/result.mp4",
            "format": "MP4",
            "size": len(VIDEO),
            "seed": 7,
        }
        assert [asked[1:] for asked in bench.io.downloads] == [("result.mp4", ("video/",))]

    @pytest.mark.parametrize(
        ("text", "value"), [("plain", None), ('{"a": 1}', {"a": 1}), ("```json\n[1]\n```", [1]), ("5", None)]
    )
    async def test_text_and_json_in_it_are_returned(self, bench: Bench, text: str, value: Any) -> None:
        bench.fal.output = {"output": text}
        result = (await bench.ended(attempt(TaskType.LLM_INTERACTION, prompt="x"))).result
        assert result == {"result_text": text} | ({} if value is None else {"result_json": value})

    @pytest.mark.parametrize(
        ("file", "name", "members"),
        [
            ({"content_type": "image/jpeg; q=1"}, "result.jpg", {"format": "JPEG"}),
            ({"content_type": 5, "width": "wide", "height": True}, "result.webp", {"format": "WEBP"}),
            (None, "result.webp", {"format": "WEBP"}),
        ],
    )
    async def test_file_names_get_the_extension_of_the_type_or_the_url(
        self, bench: Bench, file: Any, name: str, members: dict[str, Any]
    ) -> None:
        job = await bench.submitted()
        url = f"{bench.fal.url}/files/{job.id}/x.webp?y=z.gif"
        bench.fal.output = {"images": [url if file is None else {"url": url, **file}], "seed": True}
        result = (await self._fetched(bench, job)).result
        assert result == {"result_image_path": f"media/{TASK}/{name}", "size": result["size"], **members}

    @pytest.mark.parametrize("server", ["[::1", "[x]", "\u2100.com", "a:b"])
    async def test_a_malformed_url_of_a_file_fails_the_attempt(self, bench: Bench, server: str) -> None:
        job = await bench.submitted()
        bench.fal.output = {"images": [f"http://{server}/x.webp?y=z.gif"]}
        with pytest.raises(AttemptError, match="no such address"):
            await self._fetched(bench, job)
        assert [name for _, name, _ in bench.io.downloads] == ["result.webp"]

    async def _fetched(self, bench: Bench, job: Job) -> Finished:
        await bench.provider().poll(bench.work, job)
        return await bench.provider().fetch(bench.work, job, bench.io)

    async def test_a_file_as_a_data_uri_is_stored(self, bench: Bench) -> None:
        bench.fal.output = {"images": [{"url": "data:image/webp;base64,QUJD"}]}
        assert (await bench.ended()).result["format"] == "WEBP"
        assert bench.io.stored == {"result.webp": b"ABC"}
        assert bench.io.downloads == []

    async def test_the_output_of_an_experimental_app_is_returned_as_it_is(self, bench: Bench) -> None:
        work = attempt(TaskType.EXPERIMENTAL_FAL, {"fal_app_id": "me/mine"}, arguments={"num_images": 2})
        result = (await bench.ended(work)).result
        assert (result["output"]["has_nsfw_concepts"], result["nsfw"]) == ([False], False)
        assert result["result_image_paths"] == [f"media/{TASK}/result.png", f"media/{TASK}/result_1.png"]

    @pytest.mark.parametrize("output", [[1, {"a": None}], "text", 5, {"images": "no"}, {"image": None}])
    async def test_an_experimental_output_may_have_no_files(self, bench: Bench, output: Any) -> None:
        bench.fal.output = output if output != {"images": "no"} else {"images": [7]}
        work = attempt(TaskType.EXPERIMENTAL_FAL, {"fal_app_id": "me/mine"}, arguments={})
        assert (await bench.ended(work)).result == {"output": bench.fal.output}

    async def test_an_experimental_output_may_be_null(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        work = attempt(TaskType.EXPERIMENTAL_FAL, {"fal_app_id": "me/mine"}, arguments={})
        job = await bench.submitted(work)
        answer_with(monkeypatch, b"null")
        assert (await bench.provider().fetch(work, job, bench.io)).result == {"output": None}

    @pytest.mark.parametrize("task_type", [TaskType.GENERATION, TaskType.VIDEO_GENERATION, TaskType.LLM_INTERACTION])
    async def test_an_output_without_the_wanted_kind_fails_the_attempt(self, bench: Bench, task_type: TaskType) -> None:
        bench.fal.output = {"images": [{"url": ""}], "video": {}, "output": None}
        with pytest.raises(AttemptError, match="the answer has no") as failure:
            await bench.ended(attempt(task_type, prompt="x", base_image_url=PICTURE))
        assert not failure.value.retryable

    @pytest.mark.parametrize("fault", NO_ANSWER)
    async def test_a_fetch_without_an_answer_raises_call_failed(self, bench: Bench, fault: Fault) -> None:
        job = await bench.submitted()
        await bench.provider().poll(bench.work, job)
        bench.fal.plan("fetch", fault)
        with pytest.raises(CallFailed):
            await bench.provider().fetch(bench.work, job, bench.io)
        assert (await bench.provider().fetch(bench.work, job, bench.io)).result["width"] == 40

    @pytest.mark.parametrize("fault", [Fault.LOSE_AFTER, Fault.TRUNCATE_AFTER, Fault.BUSY, Fault.GATEWAY_AFTER])
    async def test_a_file_that_cannot_be_read_raises_call_failed(self, bench: Bench, fault: Fault) -> None:
        job = await bench.submitted()
        await bench.provider().poll(bench.work, job)
        bench.fal.plan("file", fault)
        with pytest.raises(CallFailed):
            await bench.provider().fetch(bench.work, job, bench.io)
        assert (await bench.provider().fetch(bench.work, job, bench.io)).result["width"] == 40

    async def test_a_file_of_another_type_fails_the_attempt(self, bench: Bench) -> None:
        bench.fal.plan("file", Fault.GARBAGE_AFTER)
        with pytest.raises(AttemptError, match="no such file"):
            await bench.ended()

    async def test_a_failed_request_fails_the_attempt(self, bench: Bench) -> None:
        job = await bench.submitted()
        bench.fal.plan("fetch", Fault.REFUSED)
        with pytest.raises(AttemptError, match=r"^FAL: this can't be done$") as failure:
            await bench.provider().fetch(bench.work, job, bench.io)
        assert not failure.value.retryable

    @pytest.mark.parametrize(
        ("status", "body", "retryable"),
        [
            (422, {"detail": "a text"}, False),
            (400, {"detail": [{"msg": "m"}]}, False),
            (500, {"detail": [{"msg": "m"}]}, True),
            (500, {"detail": "x", "error_type": "runner_server_error"}, True),
            (504, {"error_type": "request_timeout"}, True),
            (499, {"detail": "x", "error_type": "client_cancelled"}, False),
        ],
    )
    async def test_a_failure_that_only_the_result_shows_fails_the_attempt(
        self,
        bench: Bench,
        status: int,
        body: dict[str, Any],
        retryable: bool,  # noqa: FBT001
    ) -> None:
        bench.fal.outcome, bench.fal.failure, bench.fal.error_in_status = "error", (status, body), False
        with pytest.raises(AttemptError, match=r"^FAL: ") as failure:
            await bench.ended()
        assert failure.value.retryable is retryable

    @pytest.mark.parametrize(("status", "header", "retryable"), [(422, "true", True), (500, "false", False)])
    async def test_the_header_x_fal_retryable_decides_whether_a_retry_helps(
        self,
        bench: Bench,
        status: int,
        header: str,
        retryable: bool,  # noqa: FBT001
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        answer_with(monkeypatch, {"detail": [{"msg": "m"}]}, status, X_Fal_Retryable=header)
        with pytest.raises(AttemptError, match=r"^FAL: m$") as failure:
            await bench.provider().fetch(bench.work, Job(id="x"), bench.io)
        assert failure.value.retryable is retryable

    @pytest.mark.parametrize(("status", "body"), [(500, {"detail": "a text"}), (418, {}), (500, {"detail": [5]})])
    async def test_an_error_that_may_be_the_queues_raises_call_failed(
        self, bench: Bench, status: int, body: dict[str, Any]
    ) -> None:
        bench.fal.outcome, bench.fal.failure, bench.fal.error_in_status = "error", (status, body), False
        with pytest.raises(CallFailed, match=f"answered {status}"):
            await bench.ended()

    async def test_a_result_that_is_not_there_yet_raises_call_failed(self, bench: Bench) -> None:
        job = await bench.submitted()
        with pytest.raises(CallFailed, match="in progress"):
            await bench.provider().fetch(bench.work, job, bench.io)

    async def test_a_result_that_is_gone_is_forgotten(self, bench: Bench) -> None:
        job = await bench.submitted()
        bench.fal.forget(job.id)
        with pytest.raises(CallFailed) as failure:
            await bench.provider().fetch(bench.work, job, bench.io)
        assert failure.value.forgotten
