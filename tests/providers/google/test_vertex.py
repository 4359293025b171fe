"""VERTEX: where its calls go, its videos, and the access tokens of its service accounts."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from msgspec import structs

from providers.attempts import attempt
from providers.google.google_cases import BASE, DRAWING, TALK, VIDEO, Bench, vertex_bench
from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown
from stepwell.contract.enums import TaskType
from stepwell.ports.providers import CancelAnswer, Finished, Job, JobState, JobStatus, Request
from stepwell.providers.google.vertex import VertexProvider
from stepwell.providers.shared.credentials import Credentials
from support.emulators.base import Call, Fault, Reply
from support.emulators.google import PROJECT, VertexEmulator
from support.emulators.google import VIDEO as BYTES
from support.providers.attempt_io import TASK, MemoryIO

RESULT = {
    "result_video_path": f"media/{TASK}/result.mp4",
    "format": "MP4",
    "size": len(BYTES),
    "model": "veo-3.1-generate-001",
}
BUCKET = "gs://a-bucket/films/"


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with vertex_bench(tmp_path) as bench:
        yield bench


def emulator(bench: Bench) -> VertexEmulator:
    assert isinstance(bench.at, VertexEmulator)
    return bench.at


async def test_calls_are_sent_to_the_location_of_their_models(bench: Bench) -> None:
    await bench.answered(TALK)
    await bench.answered(VIDEO)
    await bench.answered(structs.replace(TALK, provider_config={"location": "europe-west4"}))
    await bench.answered(TALK, location="asia-northeast1")
    assert emulator(bench).locations == ["global", "us-central1", "europe-west4", "asia-northeast1"]
    paths = [call.path for call in bench.at.calls if call.kind == "submit"]
    model = "publishers/google/models/gemini-3.8-flash:generateContent"
    assert paths[0] == f"/v1/projects/{PROJECT}/locations/global/{model}"
    await bench.answered(TALK, project="another-project")
    assert bench.at.calls[-1].path == f"/v1/projects/another-project/locations/global/{model}"


async def test_each_location_has_a_host(bench: Bench) -> None:
    hosts = []

    def answer(request: httpx.Request) -> httpx.Response:
        hosts.append(request.url.host)
        raise httpx.ConnectError("nobody is there")

    places = {
        None: "aiplatform.googleapis.com",
        "europe-west4": "europe-west4-aiplatform.googleapis.com",
        "eu": "aiplatform.eu.rep.googleapis.com",
    }
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        for location in places:
            provider = VertexProvider(client, Credentials({"VERTEX": bench.secret}), location=location)
            with pytest.raises(AttemptError, match="outgoing traffic may be blocked"):
                await provider.submit(TALK, Request(model="gemini-3.8-flash", body={}), bench.io)
    assert hosts == list(places.values())


async def test_an_invalid_location_is_refused(bench: Bench) -> None:
    for location in ("evil.example/x", "us-central1.evil", "US", "a" * 90, 3, "us-central1\n"):
        with pytest.raises(AttemptError, match=r"provider_config\.location"):
            await bench.answered(structs.replace(TALK, provider_config={"location": location}))
    assert bench.at.count("submit") == 0


async def test_a_project_is_needed(bench: Bench) -> None:
    account = json.loads(bench.secret)
    for project in (None, "", "../x"):
        with pytest.raises(AttemptError, match="names no project"):
            await bench.answered(TALK, secret=json.dumps(account | {"project_id": project}))


async def test_a_video_in_the_answer_is_stored(bench: Bench) -> None:
    bench.at.polls_until_done = 2
    provider, job = bench.provider(), await bench.job(VIDEO)
    assert job.id == bench.at.ledger.jobs()[0][0]
    assert job.id.startswith(f"projects/{PROJECT}/locations/us-central1/publishers/google/models/veo-3.1-generate-001/")
    assert (await provider.poll(VIDEO, job)).status is JobStatus.RUNNING
    assert await provider.poll(VIDEO, job) == JobState(status=JobStatus.SUCCEEDED, word="done")
    assert (await provider.fetch(structs.replace(VIDEO, inputs={}), job, bench.io)).result == RESULT
    assert bench.io.stored == {"result.mp4": BYTES}
    assert await provider.cancel(VIDEO, job) is CancelAnswer.REFUSED


async def test_a_video_in_the_bucket_is_downloaded_with_the_token(bench: Bench) -> None:
    provider = bench.provider(bucket=BUCKET)
    job = await provider.submit(VIDEO, await provider.prepare(VIDEO, bench.io), bench.io)
    assert isinstance(job, Job)
    assert bench.sent()["parameters"]["storageUri"] == BUCKET
    assert (await provider.fetch(VIDEO, job, bench.io)).result == RESULT
    (call,) = [call for call in bench.at.calls if call.kind == "file"]
    assert (call.path, call.query) == ("/storage/v1/b/a-bucket/o/films%2Fa%20b%2F0.mp4", {"alt": "media"})
    assert call.headers["authorization"] == f"Bearer {emulator(bench).issued[0]}"


@pytest.mark.parametrize(
    ("status", "body", "forgotten"),
    [
        (404, b"No such object: a-bucket/films/a b/0.mp4", True),  # so it is where the bytes are asked for
        (404, {"error": {"code": 404, "message": "The specified bucket does not exist."}}, True),
        (404, b"<html>nothing here</html>", False),
        (404, b"No such object: another/films/a b/0.mp4", False),
        (401, {"error": {"code": 401, "message": "Invalid Credentials"}}, False),
        (403, b"stepwell@example does not have storage.objects.get access", False),
    ],
)
async def test_only_cloud_storage_itself_forgets_a_video(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, status: int, body: Any, *, forgotten: bool
) -> None:
    usual = bench.at.answer

    async def answer(call: Call) -> Reply:
        return Reply(status, body) if call.kind == "file" else await usual(call)

    monkeypatch.setattr(bench.at, "answer", answer)
    provider = bench.provider(bucket=BUCKET)
    job = await provider.submit(VIDEO, await provider.prepare(VIDEO, bench.io), bench.io)
    assert isinstance(job, Job)
    with pytest.raises(CallFailed, match=f"responded with {status}") as caught:
        await provider.fetch(VIDEO, job, bench.io)
    assert caught.value.forgotten is forgotten
    issued = len(emulator(bench).issued)
    await provider.poll(VIDEO, job)
    assert len(emulator(bench).issued) - issued == (status == 401)


@pytest.mark.parametrize("member", ["storageUri", "storage_uri"])
async def test_a_step_cannot_name_a_bucket(bench: Bench, member: str) -> None:
    named = structs.replace(VIDEO, provider_config={"parameters": {member: "gs://theirs/"}})
    with pytest.raises(AttemptError, match=r"provider_config\.parameters\.storageUri: the service's settings decide"):
        await bench.prepared(named)


async def test_urls_that_are_not_of_a_bucket_fail_the_attempt(bench: Bench) -> None:
    job = await bench.job(VIDEO)
    for uri in ("https://evil.example/x", "gs://../x", "gs://bucket", "gs://Bucket/x", "gs://b?/x"):
        bench.at.response = {"videos": [{"gcsUri": uri}]}
        with pytest.raises(AttemptError, match="not in a bucket"):
            await bench.provider().fetch(VIDEO, job, bench.io)


async def test_a_video_that_could_not_be_stored_is_fetched_again(bench: Bench) -> None:
    class Full(MemoryIO):
        async def store(self, *_: object) -> Any:
            raise AttemptError("the output could not be stored", retryable=True, provider_fault=False)

    job = await bench.job(VIDEO)
    with pytest.raises(CallFailed, match="could not be stored"):
        await bench.provider().fetch(VIDEO, job, Full())


async def test_data_that_is_not_a_video_is_not_stored(bench: Bench) -> None:
    bench.at.response = {"videos": [{"bytesBase64Encoded": "aGVsbG8="}]}
    with pytest.raises(AttemptError, match="the data of the video is not a video"):
        await bench.provider().fetch(VIDEO, await bench.job(VIDEO), bench.io)


async def test_a_name_of_another_form_is_not_called(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CallFailed) as caught:
        await bench.provider().poll(VIDEO, Job(id="models/veo-3.1-generate-001/operations/x"))
    assert caught.value.forgotten
    monkeypatch.setattr(bench.at, "_began", lambda *_, **__: Reply(200, {"name": "projects/p/locations/x/../y"}))
    with pytest.raises(OutcomeUnknown):
        await bench.answered(VIDEO)


async def test_one_token_serves_all_calls(bench: Bench) -> None:
    provider = bench.provider()
    request = await bench.prepared(DRAWING)
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(provider.submit, DRAWING, request, bench.io)
    assert (bench.at.count("token"), bench.at.count("submit")) == (1, 5)


async def test_a_token_is_renewed_early(bench: Bench) -> None:
    emulator(bench).token_life_s = 0
    provider, request = bench.provider(), await bench.prepared(TALK)
    for _ in range(2):
        await provider.submit(TALK, request, bench.io)
    assert bench.at.count("token") == 2


async def test_a_token_that_was_revoked_is_dropped_and_nothing_is_sent_twice(bench: Bench) -> None:
    provider, request = bench.provider(), await bench.prepared(TALK)
    await provider.submit(TALK, request, bench.io)
    token = emulator(bench).issued.pop()
    with pytest.raises(AttemptError, match="UNAUTHENTICATED") as caught:
        await provider.submit(TALK, request, bench.io)
    assert (caught.value.retryable, bench.at.count("submit"), token in str(caught.value)) == (True, 2, False)
    assert isinstance(await provider.submit(TALK, request, bench.io), Finished)
    job = await bench.job(VIDEO)
    emulator(bench).issued.clear()
    with pytest.raises(CallFailed):
        await provider.poll(VIDEO, job)
    assert (await provider.poll(VIDEO, job)).status is JobStatus.SUCCEEDED


def without(secret: str, member: str) -> str:
    return json.dumps({name: value for name, value in json.loads(secret).items() if name != member})


async def test_an_invalid_service_account_is_refused_without_quoting_it(bench: Bench) -> None:
    broken = json.dumps(json.loads(bench.secret) | {"private_key": "-----BEGIN PRIVATE KEY-----\nhidden\n"})
    for secret in (
        "a-mere-key",
        "[1]",
        '"text"',
        without(bench.secret, "private_key"),
        without(bench.secret, "client_email"),
        without(bench.secret, "token_uri"),
        broken,
    ):
        with pytest.raises(AttemptError) as caught:
            await bench.answered(TALK, secret=secret)
        words = "VERTEX: the credential is not the JSON of a service account, with its private key"
        assert (str(caught.value), caught.value.retryable, caught.value.__suppress_context__) == (words, False, True)
    assert not bench.at.calls


REFUSED = r"^VERTEX: the key was refused \(set STEPWELL_CREDENTIALS__VERTEX\): no access token: .*Invalid JWT Signature"
TOKENS: list[tuple[Any, str, bool]] = [
    (Reply(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}), REFUSED, False),
    (Reply(401, {"error": {"message": "no"}}), "no access token", False),
    (Reply(503, b"<html>"), "the token endpoint answered 503", True),
    (Reply(429, {}), "the token endpoint answered 429", True),
    (Reply(302, b"", {"Location": "http://127.0.0.1:9/"}), "the token endpoint answered 302", True),
    (Reply(200, b"<html>"), "can't be read", True),
    (Reply(200, {"token_type": "Bearer"}), "No access token", False),
    (Reply(200, {"access_token": 3}), "can't be read", True),
    (Reply(200, {"access_token": "x", "expires_in": "soon"}), "can't be read", True),
    (Reply(200, b" " * 2_000_000), "too big", True),
]


async def test_without_a_token_nothing_is_sent(bench: Bench) -> None:
    job = await bench.job(VIDEO)
    provider = bench.provider(work_s=5.0)
    for count, (answer, words, retryable) in enumerate(TOKENS):
        emulator(bench).token_answer = answer
        with pytest.raises(AttemptError, match=words) as caught:
            await provider.submit(TALK, Request(model="gemini-3.8-flash", body={}), bench.io)
        assert caught.value.retryable is retryable
        with pytest.raises(CallFailed, match=words):
            await provider.poll(VIDEO, job)
        assert (bench.at.count("submit"), bench.at.count("token")) == (1, 2 * count + 3)


@pytest.mark.parametrize("fault", [Fault.HANG_AFTER, Fault.DRIP_AFTER, Fault.LOSE_AFTER])
async def test_a_token_request_has_a_deadline(bench: Bench, fault: Fault) -> None:
    bench.at.plan("token", fault)
    with pytest.raises(AttemptError, match="no access token") as caught:
        await bench.answered(TALK)
    assert (caught.value.retryable, bench.at.count("submit")) == (True, 0)
    bench.at.let_go()


async def test_a_token_without_an_end_is_used(bench: Bench) -> None:
    emulator(bench).token_answer = Reply(200, {"access_token": "mine"})
    emulator(bench).issued.append("mine")
    assert isinstance(await bench.answered(TALK), Finished)


async def test_neither_token_nor_key_is_in_an_error(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    await bench.answered(TALK)
    token, key = emulator(bench).issued[0], json.loads(bench.secret)["private_key"]

    async def answer(*_: object) -> Reply:
        return bench.at.error(400, f"{token} and {key} are bad")

    monkeypatch.setattr(bench.at, "started", answer)
    with pytest.raises(AttemptError) as caught:
        await bench.answered(TALK)
    assert token not in str(caught.value)
    assert not [line for line in key.splitlines() if line and line in str(caught.value)]
    emulator(bench).token_answer = Reply(400, {"error": "invalid_grant", "error_description": key})
    with pytest.raises(AttemptError) as caught:
        await bench.answered(TALK, work_s=5.0)
    assert not [line for line in key.splitlines() if line and line in str(caught.value)]


async def test_imagen_is_called_at_its_location(bench: Bench) -> None:
    await bench.answered(attempt(config={"model": "imagen-4.0-generate-001"}, prompt="x"))
    await bench.answered(attempt(TaskType.BACKGROUND_REMOVE, base_image_url=BASE))
    assert emulator(bench).locations == ["us-central1", "global"]
