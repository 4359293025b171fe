"""Files in a bucket, over the live service: stored, served, signed for others, deleted, and what an outage does.

The bucket is moto's server, which checks no signatures (see `support.emulators.s3`).
`artifacts/test_s3_addresses.py` checks them.
"""

import hashlib
from collections.abc import AsyncIterator, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID
from zipfile import ZipFile

import httpx
import pytest

from providers.image_files import picture_of
from stepwell.artifacts.s3 import Bucket
from stepwell.cli.run import _outcome
from stepwell.contract.enums import ProviderType
from stepwell.settings import Settings
from support.emulators.s3 import KEY_ID, SECRET_KEY, S3Server, s3_server
from support.providers.configured_by_steps import WORKFLOWS, ConfiguredProvider, configured_step, passthrough_step
from support.providers.emulated import world_of
from support.service.listening_service import listening
from support.service.live_service import Service, running_service, token

STRANGER = "media/0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b/theirs.png"


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    s3.heal()
    s3.calls.clear()
    return s3.bucket()


@pytest.fixture
async def web() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


def in_bucket(bucket: Bucket) -> dict[str, Any]:
    return {
        "s3_bucket": bucket.name,
        "s3_prefix": bucket.prefix,
        "s3_endpoint": bucket.endpoint,
        "s3_region": bucket.region,
        "s3_access_key_id": KEY_ID,
        "s3_secret_access_key": SECRET_KEY,
    }


GENERATE = {"id": "generate", "task_type": "GENERATION", "config": {"prompt": "red", "width": 32, "height": 32}}
REFINE = {
    "id": "refine",
    "task_type": "REFINE",
    "depends_on": ["generate"],
    "input_mappings": [{"from_step": "generate", "from_field": "result_image_path", "to_field": "base_image_url"}],
}


def address_of(step: str, field: str = "result_image_path") -> dict[str, Any]:
    mapping = {"from_step": step, "from_field": field, "to_field": "url", "transform": "PATH_TO_URL"}
    return passthrough_step("address", step) | {"input_mappings": [mapping]}


async def done(service: Service, *steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    workflow = await service.until_ended((await service.create(*steps, **members))["id"])
    assert workflow["status"] == "COMPLETED", workflow
    return workflow


def result_of(workflow: dict[str, Any], step_id: str) -> dict[str, Any]:
    (result,) = [step["result"] for step in workflow["steps"] if step["step_id"] == step_id]
    found: dict[str, Any] = result
    return found


async def test_a_zip_streams_the_files_of_the_bucket_and_breaks_off_if_one_is_gone(
    dsn: str, tmp_path: Path, s3: S3Server, bucket: Bucket
) -> None:
    text = "long " * 500_000
    async with running_service(dsn, tmp_path, providers=[ConfiguredProvider()], **in_bucket(bucket)) as service:
        steps = configured_step("a", texts={"a.txt": text}), configured_step("b", "a", files=1)
        path = f"{WORKFLOWS}{(await done(service, *steps))['id']}/outputs"
        _, last = (await service.client.get(path)).json()["outputs"]
        async with (
            listening(service) as port,
            httpx.AsyncClient(headers={"Authorization": f"Bearer {token()}"}) as client,
        ):
            url, asked = f"http://127.0.0.1:{port}{path}", {"Accept": "application/zip"}
            with ZipFile(BytesIO((await client.get(url, headers=asked)).content)) as found:
                assert found.namelist() == ["a/a.txt", "b/file-0.bin"]
                assert found.read("a/a.txt") == text.encode()
            s3.always("GET", 404, "NoSuchKey", about=last["path"])
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get(url, headers=asked)


async def test_images_are_stored_in_the_bucket(
    dsn: str, tmp_path: Path, s3: S3Server, bucket: Bucket, web: httpx.AsyncClient
) -> None:
    s3.put(bucket, f"some/where/{STRANGER}")
    async with running_service(dsn, tmp_path, **in_bucket(bucket), signed_url_ttl_s=600) as service:
        workflow = await done(service, GENERATE, REFINE, address_of("refine"), origin_tenant_id="acme")
        paths = [result_of(workflow, step)["result_image_path"] for step in ("generate", "refine")]
        keys = [f"some/where/{path}" for path in (*paths, STRANGER)]
        assert sorted(s3.keys(bucket)) == sorted(keys), "nothing is swept where others may have files"
        assert not (tmp_path / "artifacts").exists()

        url = result_of(workflow, "address")["url"]
        assert url.startswith(f"{s3.url}/{bucket.name}/some/where/{paths[1]}?")
        assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["600"]
        fetched = await web.get(url)
        assert picture_of(fetched.content).size == (64, 64)
        assert fetched.headers["content-type"] == "image/png"

        settings = Settings(s3_bucket=bucket.name, s3_prefix=bucket.prefix)
        outcome = await _outcome(service.app, settings, UUID(workflow["id"]))  # what `stepwell run` prints
        assert outcome.files == [f"s3://{bucket.name}/some/where/{path}" for path in paths]

        async with service.as_tenant("acme") as owner, service.as_tenant("other") as other:
            served = await owner.get(f"/api/v1/artifacts/{paths[1]}")
            assert served.content == fetched.content
            assert served.headers["etag"] == f'"{hashlib.sha256(fetched.content).hexdigest()}"'
            assert (await other.get(f"/api/v1/artifacts/{paths[1]}")).status_code == 404
        assert (await service.client.get(f"/api/v1/artifacts/{STRANGER}")).status_code == 404

        report = (await service.verb(workflow["id"], "cleanup")).json()["cleanup"]
        assert (report["deleted_paths"], report["errors"]) == (paths, [])
        assert s3.keys(bucket) == [f"some/where/{STRANGER}"]
        assert (await web.get(url)).status_code == 404
        assert (await service.client.get(f"/api/v1/artifacts/{paths[1]}")).status_code == 404


@pytest.mark.extended
async def test_a_provider_reads_inputs_from_the_bucket(
    dsn: str, tmp_path: Path, s3: S3Server, bucket: Bucket, web: httpx.AsyncClient
) -> None:
    async with (
        world_of(ProviderType.FAL, tmp_path / "fal") as fal,
        running_service(dsn, tmp_path, **in_bucket(bucket), **fal.settings) as service,
    ):
        refine = REFINE | {"provider_config": {"provider_type": "FAL"}}
        workflow = await done(service, GENERATE, refine)
        ((_, _, body),) = fal.emulator.ledger.jobs()
        (read,) = [value for value in body.values() if isinstance(value, str) and value.startswith(s3.url)]
        assert picture_of((await web.get(read)).content).size == (32, 32)
        submitted = next(call for call in fal.emulator.calls if call.method == "POST")
        assert "fal_webhook" not in submitted.query, "a bucket that others reach doesn't make us reachable"
        path = result_of(workflow, "refine")["result_image_path"]
        assert f"some/where/{path}" in s3.keys(bucket)


@pytest.mark.extended
async def test_with_a_private_bucket_the_service_serves_the_files(dsn: str, tmp_path: Path, bucket: Bucket) -> None:
    own: dict[str, Any] = {"s3_links": False, "public_url": "https://stepwell.example"}
    async with running_service(dsn, tmp_path, **in_bucket(bucket), **own) as service:
        url = result_of(await done(service, GENERATE, address_of("generate")), "address")["url"]
        assert url.startswith("https://stepwell.example/api/v1/artifacts/media/")
        ours: Any = service.app.api
        anyone = httpx.AsyncClient(transport=httpx.ASGITransport(ours), base_url="https://stepwell.example")
        async with anyone:
            assert picture_of((await anyone.get(url)).content).size == (32, 32)


async def test_an_outage_of_the_bucket_fails_the_attempt_and_the_next_succeeds(
    dsn: str, tmp_path: Path, s3: S3Server, bucket: Bucket
) -> None:
    async with running_service(dsn, tmp_path, providers=[ConfiguredProvider()], **in_bucket(bucket)) as service:
        retry = {"retry": {"base_s": 0.01, "max_s": 0.01}}
        s3.once("PUT", 403, "AccessDenied")
        workflow = await done(service, configured_step("a", files=1), config=retry)
        tasks = (await service.client.get(f"{WORKFLOWS}{workflow['id']}/tasks")).json()["tasks"]
        assert [task["status"] for task in tasks] == ["FAILED", "COMPLETED"]
        assert "HTTP 403 AccessDenied" in tasks[0]["error"]
        path = workflow["steps"][0]["result"]["paths"][0]
        assert s3.keys(bucket) == [f"some/where/{path}"]

        s3.always("GET", 403, "AccessDenied")
        refused = await service.client.get(f"/api/v1/artifacts/{path}")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert KEY_ID not in refused.text + tasks[0]["error"]
        s3.always("HEAD", 403, "AccessDenied")
        report = (await service.verb(workflow["id"], "cleanup")).json()["cleanup"]
        assert (report["tasks_cleaned"], [fault["error"] for fault in report["errors"]]) == (
            1,
            [f"{path}: '{path}' could not be read: HTTP 403"],
        )
        s3.heal()
        report = (await service.verb(workflow["id"], "cleanup")).json()["cleanup"]
        assert (report["deleted_paths"], report["errors"]) == ([path], [])
        assert s3.keys(bucket) == []
