"""Uploads over the live service, into a folder: stored, listed, served, used by a workflow, and deleted."""

import asyncio
import hashlib
import io
import zlib
from typing import Any

import httpx
import pytest
from PIL import Image

from stepwell.contract.scopes import Permission
from support.service.live_service import Service, step_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

ARTIFACTS = "/api/v1/artifacts"
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"


def picture(color: str = "red", size: tuple[int, int] = (40, 30), kind: str = "PNG") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, color).save(data, kind)
    return data.getvalue()


async def upload(client: httpx.AsyncClient, data: bytes, status: int = 201, **params: str) -> dict[str, Any]:
    headers = {"Content-Type": "application/octet-stream"}
    response = await client.post(ARTIFACTS, content=data, headers=headers, params=params)
    assert response.status_code == status, response.text
    (artifact,) = response.json()["artifacts"]
    assert response.headers["location"] == f"{ARTIFACTS}/{artifact['path']}"
    found: dict[str, Any] = artifact
    return found


def refine(path: str) -> dict[str, Any]:
    return {"id": "refine", "task_type": "REFINE", "config": {"base_image_url": path}}


async def test_an_upload_is_stored_served_to_its_tenant_and_used_by_a_workflow(live: Service) -> None:
    data = picture()
    async with live.as_tenant("acme") as owner, live.as_tenant("other") as other:
        artifact = await upload(owner, data, name="my photo.PNG")
        assert artifact["path"].startswith("media/")
        assert artifact["path"].endswith("/my_photo.png")
        facts = {name: artifact[name] for name in ("name", "size", "sha256", "media_type", "width", "height")}
        assert facts == {
            "name": "my_photo.png",
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "media_type": "image/png",
            "width": 40,
            "height": 30,
        }
        assert artifact["duration_s"] is None
        served = await owner.get(f"{ARTIFACTS}/{artifact['path']}")
        assert (served.content, served.headers["content-type"]) == (data, "image/png")
        assert (await other.get(f"{ARTIFACTS}/{artifact['path']}")).status_code == 404

        created = await live.create(refine(artifact["path"]), origin_tenant_id="acme")
        workflow = await live.until_ended(created["id"])
        assert workflow["status"] == "COMPLETED", workflow
        assert step_of(workflow, "refine")["result"]["width"] == 80
        foreign = await live.create(refine(artifact["path"]), origin_tenant_id="other")
        assert "not found" in (await live.until_ended(foreign["id"]))["error_message"]

        in_use = await owner.delete(f"{ARTIFACTS}/{artifact['path']}")
        assert in_use.status_code == 409
        assert workflow["id"] in in_use.json()["detail"]
        report = (await live.verb(workflow["id"], "cleanup")).json()["cleanup"]
        assert artifact["path"] not in report["deleted_paths"]
        assert (await other.delete(f"{ARTIFACTS}/{artifact['path']}")).status_code == 404
        assert (await owner.delete(f"{ARTIFACTS}/{artifact['path']}")).json()["path"] == artifact["path"]
        assert (await owner.get(f"{ARTIFACTS}/{artifact['path']}")).status_code == 404
        assert not (live.artifacts / artifact["path"]).exists()


async def test_the_same_bytes_get_the_same_path_also_at_the_same_time(live: Service) -> None:
    data = picture("blue")
    async with live.as_tenant("acme") as owner, live.as_tenant("other") as other:
        headers = {"Content-Type": "image/png"}
        responses = await asyncio.gather(*(owner.post(ARTIFACTS, content=data, headers=headers) for _ in range(4)))
        assert sorted(response.status_code for response in responses) == [200, 200, 200, 201]
        paths = {response.json()["artifacts"][0]["path"] for response in responses}
        assert len(paths) == 1
        again = await upload(owner, data, 200, name="another.png")
        assert {again["path"]} == paths
        foreign = await upload(other, data)
        assert foreign["path"] not in paths
        stored = [path for path in live.stored_files() if path.read_bytes() == data]
        assert len(stored) == 2


async def test_a_form_uploads_several_files_and_all_or_none(live: Service) -> None:
    async with live.as_tenant("forms") as client:
        song = b"ID3\x04" + bytes(60)
        files = [
            ("file", ("../../etc/a b\u00e4.jpeg", picture(kind="JPEG"), "text/html")),
            ("file", ("", b'{"a": [1]}', "image/png")),
            ("file", ("page.html", b"<script>alert(1)</script>", "text/html")),
            ("file", ("song", song, "application/octet-stream")),
        ]
        response = await client.post(ARTIFACTS, files=files)
        assert response.status_code == 201, response.text
        artifacts = response.json()["artifacts"]
        assert [(each["name"], each["media_type"]) for each in artifacts] == [
            ("a_b_.jpeg", "image/jpeg"),
            ("file.json", "application/json"),
            ("page.html.txt", "text/plain"),
            ("song.mp3", "audio/mpeg"),
        ]
        page = await client.get(f"{ARTIFACTS}/{artifacts[2]['path']}")
        assert page.headers["content-disposition"].startswith("attachment")
        assert page.headers["x-content-type-options"] == "nosniff"

        mixed = [("file", ("a.png", picture("green"))), ("file", ("b", PDF))]
        refused = await client.post(ARTIFACTS, files=mixed)
        assert refused.status_code == 415
        listed = (await client.get(ARTIFACTS)).json()
        assert listed["artifacts"] == [artifacts[index] for index in (3, 2, 1, 0)]
        assert listed["total"] == 4
        page = await client.get(ARTIFACTS, params={"skip": 1, "limit": 2})
        assert [each["path"] for each in page.json()["artifacts"]] == [artifacts[2]["path"], artifacts[1]["path"]]
        assert f'<{ARTIFACTS}?skip=3&limit=2>; rel="next"' in page.headers["link"]
        assert (await client.get(ARTIFACTS, params={"limit": 0})).json()["artifacts"] == []


@pytest.mark.parametrize(
    ("data", "status", "part"),
    [
        (b"", 415, "empty"),
        (PDF, 415, "no image, video, sound, JSON or text"),
        (b"\xff\xfe\x00binary", 415, "no image, video, sound, JSON or text"),
        (b"PK\x03\x04" + bytes(40), 415, "no image, video, sound, JSON or text"),
        (picture()[:20], 415, "begins like image/png, but can't be read"),
    ],
)
async def test_other_bytes_are_refused_whatever_they_are_declared_as(
    live: Service, data: bytes, status: int, part: str
) -> None:
    before = live.stored_files()
    response = await live.client.post(ARTIFACTS, content=data, headers={"Content-Type": "image/png"})
    assert (response.status_code, part in response.json()["detail"]) == (status, True), response.text
    assert live.stored_files() == before


async def test_an_image_with_too_many_pixels_is_refused(live: Service) -> None:
    data = bytearray(picture())
    data[16:24] = (30_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    response = await live.client.post(ARTIFACTS, content=bytes(data), headers={"Content-Type": "image/png"})
    assert (response.status_code, "more than 178,956,970 pixels" in response.json()["detail"]) == (415, True), (
        response.text
    )


@pytest.mark.parametrize(
    ("headers", "params", "content", "status"),
    [
        ({}, {}, b"text", 415),
        ({"Content-Type": "text/plain", "Content-Encoding": "gzip"}, {}, b"text", 415),
        ({"Content-Type": "multipart/form-data"}, {}, b"text", 415),
        ({"Content-Type": "multipart/form-data; boundary=b"}, {}, b"no form", 400),
        ({"Content-Type": "multipart/form-data; boundary=b"}, {}, b"--b--\r\n", 422),
        ({"Content-Type": "multipart/form-data; boundary=b"}, {"name": "a"}, b"--b--\r\n", 422),
        ({"Content-Type": "text/plain"}, {"nam": "a"}, b"text", 422),
        ({"Content-Type": "text/plain"}, {"name": "\x00"}, b"text", 422),
    ],
)
async def test_a_broken_request_is_refused(
    live: Service, headers: dict[str, str], params: dict[str, str], content: bytes, status: int
) -> None:
    response = await live.client.post(ARTIFACTS, content=content, headers=headers, params=params)
    assert response.status_code == status, response.text


async def test_an_unknown_part_of_a_form_is_named(live: Service) -> None:
    response = await live.client.post(ARTIFACTS, files={"image": ("a.png", picture())})
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["body", "image"]


async def test_only_a_token_for_every_tenant_names_the_tenant(live: Service) -> None:
    artifact = await upload(live.client, picture("white"), origin_tenant_id="acme")
    async with live.as_tenant("acme") as owner:
        assert (await owner.get(f"{ARTIFACTS}/{artifact['path']}")).status_code == 200
        headers = {"Content-Type": "image/png"}
        params = {"origin_tenant_id": "other"}
        foreign = await owner.post(ARTIFACTS, content=picture(), headers=headers, params=params)
        assert foreign.status_code == 403
    async with live.as_tenant("acme", permissions=(Permission.READ,)) as reader:
        assert (await reader.post(ARTIFACTS, content=picture(), headers=headers)).status_code == 403
        assert (await reader.delete(f"{ARTIFACTS}/{artifact['path']}")).status_code == 403
