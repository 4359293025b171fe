"""Uploads into a bucket: through the service, and straight to the bucket by a URL that the service signs."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.test_s3_live import in_bucket
from api.test_uploads_live import ARTIFACTS, PDF, picture, refine, upload
from stepwell.artifacts.s3 import Bucket
from stepwell.client import AsyncStepwell
from stepwell.testing import ManualClock, MemoryDatabase
from support.emulators.s3 import S3Server, s3_server
from support.providers.scripted import eventually
from support.service.live_service import Service, running_service, token


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
async def service(bucket: Bucket, tmp_path: Path) -> AsyncIterator[Service]:
    async with running_service(MemoryDatabase(), tmp_path, **in_bucket(bucket)) as running:
        yield running


@pytest.fixture
async def web() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


async def presign(client: httpx.AsyncClient, size: int, name: str = "photo.png") -> dict[str, Any]:
    response = await client.post(ARTIFACTS, params={"presign": True, "size": size, "name": name})
    assert response.status_code == 201, response.text
    assert response.json()["artifacts"] == []
    presigned: dict[str, Any] = response.json()["presigned"]
    assert response.headers["location"] == presigned["complete"]
    return presigned


async def send(web: httpx.AsyncClient, presigned: dict[str, Any], data: bytes) -> None:
    response = await web.request(presigned["method"], presigned["url"], headers=presigned["headers"], content=data)
    assert response.status_code == 200, response.text


@pytest.mark.extended
async def test_an_upload_is_stored_in_the_bucket_and_used(service: Service, s3: S3Server, bucket: Bucket) -> None:
    artifact = await upload(service.client, picture())
    assert s3.keys(bucket) == [f"some/where/{artifact['path']}"]
    workflow = await service.until_ended((await service.create(refine(artifact["path"])))["id"])
    assert workflow["status"] == "COMPLETED", workflow
    assert (await service.verb(workflow["id"], "cleanup")).status_code == 200
    assert s3.keys(bucket) == [f"some/where/{artifact['path']}"]
    assert (await service.client.delete(f"{ARTIFACTS}/{artifact['path']}")).status_code == 200
    assert s3.keys(bucket) == []


@pytest.mark.extended
async def test_nothing_is_left_of_an_upload_that_the_bucket_refuses(
    service: Service, s3: S3Server, bucket: Bucket
) -> None:
    s3.once("PUT", 403, "AccessDenied")
    headers = {"Content-Type": "image/png"}
    refused = await service.client.post(ARTIFACTS, content=picture(), headers=headers)
    assert refused.status_code == 503
    large = b"a line of text\n" * 1_200_000  # in parts
    s3.once("PUT partNumber", 403, "AccessDenied")
    refused = await service.client.post(ARTIFACTS, content=large, headers=headers)
    assert refused.status_code == 503
    assert "DELETE uploadId" in s3.kinds(), "the parts that were sent are deleted"
    assert s3.keys(bucket) == []
    assert (await service.client.get(ARTIFACTS)).json()["total"] == 0
    assert (await upload(service.client, large))["media_type"] == "text/plain"


async def test_a_client_sends_a_file_straight_to_the_bucket(
    service: Service, s3: S3Server, bucket: Bucket, web: httpx.AsyncClient
) -> None:
    data = picture("blue")
    async with service.as_tenant("acme") as owner, service.as_tenant("other") as other:
        presigned = await presign(owner, len(data), "../my photo.jpg")
        assert presigned["headers"] == {"Content-Length": str(len(data))}
        early = await owner.post(presigned["complete"])
        assert (early.status_code, early.json()["title"]) == (409, "File not sent")
        await send(web, presigned, data)
        assert (await owner.get(ARTIFACTS)).json()["artifacts"] == []
        for path in s3.keys(bucket):
            assert (await owner.get(f"{ARTIFACTS}/{path.removeprefix('some/where/')}")).status_code == 404
        assert (await other.post(presigned["complete"])).status_code == 404

        response = await owner.post(presigned["complete"])
        assert response.status_code == 201, response.text
        (artifact,) = response.json()["artifacts"]
        assert response.headers["location"] == f"{ARTIFACTS}/{artifact['path']}"
        assert (artifact["name"], artifact["media_type"], artifact["width"]) == ("my_photo.jpg.png", "image/png", 40)
        assert artifact["path"].startswith(f"media/{presigned['upload_id']}/")
        assert s3.keys(bucket) == [f"some/where/{artifact['path']}"]
        assert (await owner.get(f"{ARTIFACTS}/{artifact['path']}")).content == data

        again = await owner.post(presigned["complete"])
        assert (again.status_code, again.json()["artifacts"]) == (200, [artifact])
        await send(web, presigned, picture("green"))  # the URL is still valid, but nobody reads what it writes
        assert (await owner.get(f"{ARTIFACTS}/{artifact['path']}")).content == data
        assert (await owner.delete(f"{ARTIFACTS}/{artifact['path']}")).status_code == 200
        assert s3.keys(bucket) == []


async def test_bytes_that_the_tenant_has_already_get_the_same_path(
    service: Service, s3: S3Server, bucket: Bucket, web: httpx.AsyncClient
) -> None:
    data = picture("yellow")
    artifact = await upload(service.client, data)
    presigned = await presign(service.client, len(data))
    await send(web, presigned, data)
    response = await service.client.post(presigned["complete"])
    assert (response.status_code, response.json()["artifacts"][0]["path"]) == (200, artifact["path"])
    assert s3.keys(bucket) == [f"some/where/{artifact['path']}"]


@pytest.mark.parametrize(("data", "size", "status"), [(PDF, len(PDF), 415), (b"text", 5, 422), (b"text", 3, 422)])
async def test_what_is_refused_is_deleted(
    service: Service, s3: S3Server, bucket: Bucket, web: httpx.AsyncClient, data: bytes, size: int, status: int
) -> None:
    presigned = await presign(service.client, size)
    s3.put(bucket, f"some/where/media/{presigned['upload_id']}/unchecked-upload", data)  # as if S3 took any length
    response = await service.client.post(presigned["complete"])
    assert response.status_code == status, response.text
    assert s3.keys(bucket) == []
    assert (await service.client.post(presigned["complete"])).status_code == 404


async def test_an_announced_file_counts_for_the_quota(bucket: Bucket, tmp_path: Path) -> None:
    clock = ManualClock()
    database = MemoryDatabase(clock)
    settings: dict[str, Any] = in_bucket(bucket) | {"upload_quota_bytes": 2_000, "upload_max_bytes": 5_000}
    async with running_service(database, tmp_path, **settings) as service, service.as_tenant("acme") as client:
        presigned = await presign(client, 1_500)
        for size, status in ((501, 507), (5_001, 413), (0, 422)):
            response = await client.post(ARTIFACTS, params={"presign": True, "size": size})
            assert response.status_code == status, response.text
        clock.advance(3_600 + 7_200 + 1)
        await eventually(lambda: not database.tables.uploads)
        assert (await client.post(presigned["complete"])).status_code == 404
        await presign(client, 2_000)


async def test_without_such_a_bucket_the_request_is_refused(bucket: Bucket, tmp_path: Path) -> None:
    for settings in ({}, in_bucket(bucket) | {"s3_links": False}):
        async with running_service(MemoryDatabase(), tmp_path, **settings) as service:
            response = await service.client.post(ARTIFACTS, params={"presign": True, "size": 5})
            assert response.status_code == 422
            assert response.json()["detail"][0]["loc"] == ["query", "presign"]
            for query in ({"presign": True}, {"size": 5}):
                assert (await service.client.post(ARTIFACTS, params=query)).status_code == 422


@pytest.mark.extended
async def test_the_python_client_sends_a_file_straight_to_the_bucket(service: Service, web: httpx.AsyncClient) -> None:
    data = picture("green")
    async with AsyncStepwell("http://t.local", token=token(), transport=service.transport) as client:
        presigned = await client.presign_upload(len(data), "photo.png")
        await web.put(presigned.url, headers=presigned.headers, content=data)
        artifact = await client.complete_upload(presigned.upload_id)
        assert (artifact.name, await client.download(artifact.path)) == ("photo.png", data)
