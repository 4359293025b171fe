"""The example worker as a process of its own, driven by our side; and the published protocol, held against both."""

import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from anyio import fail_after, sleep
from jsonschema import Draft202012Validator

from providers.custom.custom_cases import SECRET, SENT, WebIO, attempt
from providers.image_files import TASK, picture_of
from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown
from stepwell.contract.enums import TaskType
from stepwell.outbound.http_client import plain_client
from stepwell.ports.providers import Attempt, CancelAnswer, Finished, Job, JobState, JobStatus
from stepwell.providers.custom import protocol
from stepwell.providers.custom.provider import CustomProvider
from stepwell.providers.custom.signing import check_signature, signature_headers
from stepwell.providers.shared.credentials import Credentials
from support.documents.manual import pages
from support.documents.markdown import blocks_of
from support.emulators.base import Call, Emulator, Reply
from support.emulators.custom import CustomEmulator
from support.processes.source_tree import TOP

WORKER = TOP / "src/stepwell/examples/custom_worker.py"
PUBLISHED: dict[str, Any] = json.loads(protocol.read_openapi())
SCHEMAS: dict[str, Any] = PUBLISHED["components"]["schemas"]
STRUCTS: dict[str, list[type[msgspec.Struct]]] = {
    "Taken": [protocol.SubmitAnswer],
    "JobView": [protocol.JobView, protocol.JobViewWithResult],
    "JobList": [protocol.JobList],
    "CancelView": [protocol.CancelView],
    "WorkerError": [protocol.WorkerError],
}
SMALL = {"prompt": "shoe", "width": 40, "height": 30}


@contextmanager
def running_worker(folder: Path, *options: str, secret: str | None = None) -> Iterator[str]:
    """Its address. It is killed in the end, as a crash would."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
    environment |= {} if secret is None else {"WORKER_SECRET": secret}
    with (folder / "worker.err").open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, WORKER, "--port", "0", "--folder", folder / "jobs", *options],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            text=True,
        )
    try:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready.startswith("ready on http://127.0.0.1:"), (folder / "worker.err").read_text()
        yield ready.split()[-1]
    finally:
        process.kill()
        process.communicate()
    assert "Traceback" not in (folder / "worker.err").read_text()


class Driver:
    def __init__(self, client: httpx.AsyncClient, url: str, secret: str | None) -> None:
        self.url, self.io = url, WebIO()
        credentials = Credentials({} if secret is None else {"custom": secret})
        self.provider = CustomProvider(client, credentials, url=url)

    async def submit(self, work: Attempt) -> Job:
        job = await self.provider.submit(work, await self.provider.prepare(work, self.io), self.io)
        assert isinstance(job, Job)
        return job

    async def seen(self, work: Attempt, job: Job, wanted: JobStatus, word: str = "") -> JobState:
        with fail_after(20):
            while True:
                state = await self.provider.poll(work, job)
                if state.status is wanted and word in state.word:
                    return state
                await sleep(0.01)


@asynccontextmanager
async def driven(folder: Path, *options: str, secret: str | None = None) -> AsyncIterator[Driver]:
    with running_worker(folder, *options, secret=secret) as url:
        async with plain_client() as client:
            yield Driver(client, url, secret)


class Receiver(Emulator):
    def kind_of(self, method: str, path: str, query: object) -> str:  # noqa: ARG002
        return "callback"

    async def answer(self, call: Call) -> Reply:  # noqa: ARG002
        return Reply(200, {})


@pytest.mark.parametrize("secret", [None, SECRET], ids=["unsigned", "signed"])
class TestWorker:
    async def test_a_picture_is_drawn_and_stored(self, tmp_path: Path, secret: str | None) -> None:
        work = attempt(inputs=SMALL)
        async with driven(tmp_path, "--delay", "0", secret=secret) as driver:
            job = await driver.submit(work)
            await driver.seen(work, job, JobStatus.SUCCEEDED)
            finished = await driver.provider.fetch(work, job, driver.io)
        path = f"media/{TASK}/result.png"
        assert finished == Finished(
            {"width": 40, "height": 30, "format": "PNG", "seed": 5, "result_image_path": path}, None
        )
        picture = picture_of(driver.io.stored["result.png"])
        assert (picture.size, picture.mode) == ((40, 30), "RGB")
        assert picture.getpixel((0, 0)) == picture.getpixel((39, 0)) != picture.getpixel((0, 29))

    async def test_one_job_an_attempt_whatever_happens(self, tmp_path: Path, secret: str | None) -> None:
        work, other = attempt(inputs=SMALL), attempt(uuid4(), inputs={**SMALL, "width": -1})
        async with driven(tmp_path, "--delay", "3600", secret=secret) as driver:
            job = await driver.submit(work)
            assert await driver.submit(work) == job != await driver.submit(other)
            await driver.seen(work, job, JobStatus.RUNNING, "running")
            assert await driver.provider.reconcile(work, SENT) == [job]
        async with driven(tmp_path, "--delay", "0", secret=secret) as driver:
            assert await driver.provider.reconcile(work, SENT) == [job] == [await driver.submit(work)]
            assert await driver.provider.reconcile(attempt(uuid4()), SENT) == []
            await driver.seen(work, job, JobStatus.SUCCEEDED)
            (failed,) = await driver.provider.reconcile(other, SENT)
            state = await driver.seen(other, failed, JobStatus.FAILED)
            assert (state.error, state.retryable) == ("width and height must be integers from 1 to 8192", False)
        assert len(list((tmp_path / "jobs").glob("*.json"))) == 2

    async def test_a_job_may_be_cancelled_until_it_has_ended(self, tmp_path: Path, secret: str | None) -> None:
        work, late = attempt(inputs=SMALL), attempt(uuid4(), inputs=SMALL)
        async with driven(tmp_path, "--delay", "3600", secret=secret) as driver:
            jobs = [await driver.submit(work), await driver.submit(late)]
            for _ in range(2):
                assert await driver.provider.cancel(work, jobs[0]) is CancelAnswer.ACCEPTED
        async with driven(tmp_path, "--delay", "0", secret=secret) as driver:
            await driver.seen(late, jobs[1], JobStatus.SUCCEEDED)
            assert (await driver.provider.poll(work, jobs[0])).status is JobStatus.CANCELLED
            assert await driver.provider.cancel(late, jobs[1]) is CancelAnswer.ENDED
            nobodys = Job(id="0" * 32)
            assert await driver.provider.cancel(work, nobodys) is CancelAnswer.UNKNOWN_JOB
            with pytest.raises(CallFailed) as failure:
                await driver.provider.poll(work, nobodys)
            assert failure.value.forgotten

    async def test_what_it_doesnt_do(self, tmp_path: Path, secret: str | None) -> None:
        async with driven(tmp_path, secret=secret) as driver:
            with pytest.raises(AttemptError, match="422: this worker does GENERATION alone") as failure:
                await driver.submit(attempt(task_type=TaskType.REFINE))
            assert not failure.value.retryable

    async def test_it_calls_back(self, tmp_path: Path, secret: str | None) -> None:
        async with Receiver(tmp_path) as ours, driven(tmp_path, "--delay", "0", secret=secret) as driver:
            work = attempt(inputs=SMALL, callback_url=f"{ours.url}/callback?token=1")
            job = await driver.submit(work)
            with fail_after(20):
                while not ours.calls:
                    await sleep(0.01)
            (call,) = ours.calls
            assert call.json() == {"id": job.id, "attempt_id": str(TASK), "status": "succeeded"}
            assert (call.path, call.query) == ("/callback", {"token": "1"})
            if secret is not None:
                check_signature(secret, time.time(), call.headers, (str(TASK),), call.body)


class TestSignedWorker:
    @pytest.mark.parametrize("change", ["none", "another secret", "old", "another path", "another body", "unsigned"])
    async def test_it_takes_nothing_without_a_right_signature(self, tmp_path: Path, change: str) -> None:
        with running_worker(tmp_path, secret=SECRET) as url:
            body = json.dumps({"attempt_id": "a", "task_type": "GENERATION", "inputs": SMALL, "seed": 1}).encode()
            headers = signature_headers(
                "x" if change == "another secret" else SECRET,
                time.time() - (301 if change == "old" else 0),
                ("POST", "/elsewhere" if change == "another path" else "/jobs"),
                body + (b" " if change == "another body" else b""),
            )
            async with plain_client() as client:
                response = await client.post(
                    f"{url}/jobs",
                    content=body,
                    headers={"Idempotency-Key": "a"} | ({} if change == "unsigned" else headers),
                )
        assert response.status_code == (202 if change == "none" else 401)
        assert len(list((tmp_path / "jobs").glob("*.json"))) == (1 if change == "none" else 0)

    async def test_our_side_hears_of_a_wrong_one(self, tmp_path: Path) -> None:
        async with driven(tmp_path, secret="theirs") as driver:
            provider = CustomProvider(driver.provider._client, Credentials({"custom": "ours"}), url=driver.url)
            with pytest.raises(OutcomeUnknown, match="WrongSignature"):
                await provider.submit(attempt(), await provider.prepare(attempt(), driver.io), driver.io)
            with pytest.raises(CallFailed, match="WrongSignature"):
                await provider.reconcile(attempt(), SENT)
        assert list((tmp_path / "jobs").glob("*.json")) == []

    @pytest.mark.parametrize(
        ("content", "key"),
        [
            (b"", "a"),
            (b"[1]", "a"),
            (b"\xff", "a"),
            (b'{"attempt_id": "a", "inputs": {}, "seed": "x"}', "a"),
            (b'{"attempt_id": "a", "inputs": {}, "seed": 1, "task_type": "GENERATION"}', "b"),
            (b'{"attempt_id": "a", "inputs": {}, "seed": 1, "task_type": "GENERATION"}', None),
        ],
    )
    async def test_what_cant_be_understood(self, tmp_path: Path, content: bytes, key: str | None) -> None:
        with running_worker(tmp_path) as url:
            async with plain_client() as client:
                response = await client.post(
                    f"{url}/jobs", content=content, headers={} if key is None else {"Idempotency-Key": key}
                )
        assert response.status_code == 400
        assert response.json()["error"]


def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": PUBLISHED["components"]})


def examples(node: Any) -> Iterator[tuple[str, Any]]:
    """Every example with the name of its schema."""
    if isinstance(node, dict):
        if "examples" in node and "$ref" in node.get("schema", {}):
            for example in node["examples"].values():
                yield node["schema"]["$ref"].rpartition("/")[2], example["value"]
        for below in node.values():
            yield from examples(below)


class TestPublished:
    def test_it_is_a_document(self) -> None:
        assert PUBLISHED["openapi"].startswith("3.1")
        assert set(PUBLISHED["paths"]) == {"/jobs", "/jobs/{id}", "/jobs/{id}/cancel"}
        for schema in SCHEMAS.values():
            Draft202012Validator.check_schema(schema)

    def test_generators_make_a_class_of_each_object(self) -> None:
        """openapi-python-client makes none of a schema with `oneOf` or `anyOf`, nor of one that extends a single
        schema; openapi-typescript makes a member with a default mandatory, and takes a bare object for an empty one.
        """
        for schema in SCHEMAS.values():
            assert schema["type"] in ("object", "string")
            assert not schema.keys() & {"oneOf", "anyOf"}
            assert [list(part) for part in schema.get("allOf", [])] != [["$ref"]]
            for member in schema.get("properties", {}).values():
                assert "default" not in member
                assert member.get("type") != "object" or member["additionalProperties"] is True

    def test_its_examples_fit_its_schemas_and_our_structs(self) -> None:
        seen = set()
        for name, value in examples(PUBLISHED):
            validator(name).validate(value)
            for kind in STRUCTS.get(name, []):
                msgspec.convert(value, kind)
            seen.add(name)
        assert seen == {*STRUCTS, "JobRequest", "Callback"}

    @pytest.mark.parametrize(
        ("schema", "kind"),
        [
            ("ResultFile", protocol.ResultFile),
            ("Price", protocol.Price),
            ("Done", protocol.WorkResult),
            ("ListedJob", protocol.ListedJob),
            ("CancelView", protocol.CancelView),
            ("WorkerError", protocol.WorkerError),
        ],
    )
    def test_it_names_the_members_that_we_read(self, schema: str, kind: type[msgspec.Struct]) -> None:
        fields = msgspec.structs.fields(kind)
        assert set(SCHEMAS[schema]["properties"]) == {field.name for field in fields}
        assert set(SCHEMAS[schema].get("required", ())) == {field.name for field in fields if field.required}

    def test_it_names_what_can_be_done(self) -> None:
        provider = CustomProvider(httpx.AsyncClient(), Credentials({}), url="http://x")
        can = [str(task_type) for task_type in TaskType if provider.capabilities(task_type) is not None]
        assert SCHEMAS["JobRequest"]["properties"]["task_type"]["enum"] == can
        assert SCHEMAS["WorkerStatus"]["enum"] == list(protocol.WorkerStatus)

    async def test_the_request_and_the_responses_of_the_manual_are_what_is_sent(self, tmp_path: Path) -> None:
        request, accepted, ended = (
            json.loads(each.text) for each in blocks_of(pages()["custom"]) if each.language == "json"
        )
        work = attempt(
            UUID(request["attempt_id"]),
            workflow_id=UUID(request["workflow_id"]),
            step_id=request["step_id"],
            number=request["attempt"],
            inputs=request["inputs"],
            provider_config={"provider_type": "CUSTOM", **request["config"]},
            callback_url=request["callback_url"],
        )
        async with driven(tmp_path, "--delay", "0") as driver:
            assert (await driver.provider.prepare(work, driver.io)).body == request
            job = await driver.submit(work)
            assert {"id": job.id} == accepted
            await driver.seen(work, job, JobStatus.SUCCEEDED)
            async with plain_client() as client:
                response = (await client.get(f"{driver.url}/jobs/{job.id}")).json()
        (shown,), (sent,) = ended["files"], response["files"]
        assert sent["data"].startswith(shown["data"].removesuffix("…"))
        # How well the picture is compressed depends on the machine's zlib.
        assert response == ended | {"files": [shown | {name: sent[name] for name in ("data", "size", "sha256")}]}
        validator("JobView").validate(ended)

    async def test_what_we_send_fits(self, tmp_path: Path) -> None:
        async with CustomEmulator(tmp_path) as worker, plain_client() as client:
            driver = Driver(client, worker.url, None)
            await driver.submit(attempt(callback_url="https://stepwell.example.com/callback"))
            validator("JobRequest").validate(worker.calls[0].json())

    @pytest.mark.parametrize("make", ["emulator", "example"])
    async def test_what_workers_answer_fits(self, tmp_path: Path, make: str) -> None:
        body = {"attempt_id": "a", "task_type": "GENERATION", "inputs": SMALL, "seed": 1}

        async def drive(url: str) -> None:
            async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
                taken = (await client.post("/jobs", json=body, headers={"Idempotency-Key": "a"})).json()
                validator("Taken").validate(taken)
                validator("JobList").validate((await client.get("/jobs", params={"attempt_id": "a"})).json())
                with fail_after(20):
                    while (view := (await client.get(f"/jobs/{taken['id']}")).json())["status"] != "succeeded":
                        validator("JobView").validate(view)
                        await sleep(0.01)
                validator("JobView").validate(view)
                validator("CancelView").validate((await client.post(f"/jobs/{taken['id']}/cancel")).json())
                validator("WorkerError").validate((await client.get("/jobs/0")).json())

        if make == "emulator":
            async with CustomEmulator(tmp_path) as worker:
                worker.polls_until_done = 3
                await drive(worker.url)
        else:
            with running_worker(tmp_path, "--delay", "0.1") as url:
                await drive(url)
