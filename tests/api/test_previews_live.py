"""Previews of images: made once, small, upright, and gone with their images."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from PIL import ExifTags, Image

from providers.image_files import empty_png, file_of, gradient, picture_of
from stepwell.basics.artifacts import preview_path, preview_paths
from stepwell.engine.files import previews
from stepwell.testing import ManualClock, MemoryDatabase
from support.emulators.s3 import KEY_ID, SECRET_KEY, S3Server, s3_server
from support.providers.scripted import ScriptedProvider, Succeed, scripted_step
from support.service.live_service import Service, running_service

OCTETS = {"Content-Type": "application/octet-stream"}
pytestmark = pytest.mark.asyncio(loop_scope="module")


def turned() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return file_of(Image.new("RGB", (600, 300), "red"), "JPEG", exif=exif)


@cache
def files() -> dict[str, bytes]:
    """Return the contents of the files by name. They take seconds to make."""
    return {
        "wide.png": file_of(gradient(600, 300)),
        "small.png": file_of(gradient(50, 20)),
        "clear.png": file_of(Image.new("RGBA", (600, 600), (255, 0, 0, 128))),
        "turned.jpg": turned(),
        "thin.png": file_of(Image.new("L", (3000, 2))),
        "large.png": file_of(gradient(3000, 2000)),
        "bomb.png": empty_png(40_000, 40_000),
        "row.png": empty_png(12_000_000, 1),
        "cut.png": file_of(gradient())[:-100],
        "text.png": b"no image at all",
        "film.mp4": b"no film either",
    }


@asynccontextmanager
async def service_in(folder: Path, clock: ManualClock, **settings: Any) -> AsyncIterator[Service]:
    provider = ScriptedProvider(default=Succeed(files=files()))
    async with running_service(MemoryDatabase(clock), folder, providers=[provider], **settings) as service:
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(clock: ManualClock, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(service_in(tmp_path_factory.mktemp("api"), clock))


async def stored(api: Service) -> tuple[str, dict[str, str]]:
    """The id of a workflow with all the files, and their paths by name."""
    created = await api.create(scripted_step("a"))
    await api.until_ended(created["id"])
    (task,) = await api.tasks(created["id"])
    return created["id"], {output["path"].rpartition("/")[2]: output["path"] for output in task["outputs"]}


async def preview_of(api: Service, path: str, width: int, **headers: str) -> httpx.Response:
    return await api.client.get(f"/api/v1/artifacts/{path}", params={"w": width}, headers=headers)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def paths(api: Service) -> dict[str, str]:
    return (await stored(api))[1]


@pytest.mark.parametrize(
    ("name", "width", "size"),
    [
        pytest.param("wide.png", 64, (64, 32), marks=pytest.mark.extended),
        ("wide.png", 256, (256, 128)),
        ("wide.png", 1024, (600, 300)),
        ("small.png", 64, (50, 20)),
        ("turned.jpg", 256, (128, 256)),
        pytest.param("thin.png", 64, (64, 1), marks=pytest.mark.extended),
        pytest.param("large.png", 512, (512, 341), marks=pytest.mark.extended),
        pytest.param("row.png", 1024, (1024, 1), marks=pytest.mark.extended),
    ],
)
async def test_a_preview_fits_into_its_square_and_is_upright(
    api: Service, paths: dict[str, str], name: str, width: int, size: tuple[int, int]
) -> None:
    response = await preview_of(api, paths[name], width)
    assert response.status_code == 200, response.text
    image = picture_of(response.content)
    assert (image.format, image.mode, image.size) == ("WEBP", "RGB", size)
    assert response.headers["content-type"] == "image/webp"
    assert response.headers["content-disposition"] == "inline"
    assert response.headers["etag"] == f'"{hashlib.sha256(files()[name]).hexdigest()}-{width}"'


async def test_a_preview_keeps_transparency(api: Service, paths: dict[str, str]) -> None:
    image = picture_of((await preview_of(api, paths["clear.png"], 64)).content)
    assert image.mode == "RGBA"
    assert image.getpixel((32, 32)) == pytest.approx((255, 0, 0, 128), abs=3)


async def test_a_preview_is_served_like_a_file(api: Service, paths: dict[str, str]) -> None:
    url = f"/api/v1/artifacts/{paths['wide.png']}?w=64"
    whole = await api.client.get(url)
    part = await api.client.get(url, headers={"Range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"RIFF")
    assert part.headers["content-range"] == f"bytes 0-3/{len(whole.content)}"
    head = await api.client.head(url)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(whole.content)))
    assert (await api.client.get(url, headers={"If-None-Match": whole.headers["etag"]})).status_code == 304
    download = await api.client.head(f"{url}&download=1")
    assert download.headers["content-disposition"] == 'attachment; filename="wide-64.webp"'


async def test_requests_at_the_same_time_make_a_preview_once(api: Service) -> None:
    _, paths = await stored(api)
    before = api.app.metrics.value("stepwell_previews_total")
    responses = await asyncio.gather(*(preview_of(api, paths["wide.png"], 256) for _ in range(8)))
    assert len({response.content for response in responses}) == 1
    assert {response.status_code for response in responses} == {200}
    await preview_of(api, paths["wide.png"], 256)
    assert api.app.metrics.value("stepwell_previews_total") == before + 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bomb.png", "the file: more than 64 megapixels"),
        ("cut.png", "the file: the image is broken or truncated"),
        ("text.png", "the file: not an image that LOCAL can read (PNG, JPEG, WebP, GIF, BMP, TIFF)"),
        ("film.mp4", "the file isn't an image, by its name"),
    ],
)
async def test_a_file_without_a_preview_is_refused(api: Service, paths: dict[str, str], name: str, reason: str) -> None:
    for _ in range(2):
        response = await preview_of(api, paths[name], 64)
        assert response.status_code == 422
        assert response.json()["detail"] == [
            {"loc": ["query", "w"], "msg": f"There is no preview: {reason}", "type": "no_preview"}
        ]
    folder = api.artifacts / Path(paths[name]).parent
    assert not [each for each in preview_paths(paths[name]) if (folder / Path(each).name).exists()]


@pytest.mark.parametrize("width", ["0", "65", "-64", "9999999999", "x", "", "64.0"])
async def test_other_widths_are_refused(api: Service, paths: dict[str, str], width: str) -> None:
    response = await api.client.get(f"/api/v1/artifacts/{paths['wide.png']}", params={"w": width})
    assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["query", "w"])


async def test_a_preview_is_no_file_of_its_own(api: Service, paths: dict[str, str]) -> None:
    assert (await preview_of(api, paths["wide.png"], 64)).status_code == 200
    assert (await api.client.get(f"/api/v1/artifacts/{preview_path(paths['wide.png'], 64)}")).status_code == 404
    async with api.as_tenant("other") as stranger:
        assert (await stranger.get(f"/api/v1/artifacts/{paths['wide.png']}?w=64")).status_code == 404


async def test_cleanup_deletes_previews(api: Service) -> None:
    workflow_id, paths = await stored(api)
    for width in (64, 1024):
        assert (await preview_of(api, paths["wide.png"], width)).status_code == 200
    report = (await api.verb(workflow_id, "cleanup")).json()["cleanup"]
    assert (sorted(report["deleted_paths"]), report["errors"]) == (sorted(paths.values()), [])
    assert not (api.artifacts / Path(paths["wide.png"]).parent).exists()
    assert (await preview_of(api, paths["wide.png"], 64)).status_code == 404


async def test_a_preview_that_is_made_while_its_image_is_deleted_leaves_nothing(
    api: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow_id, paths = await stored(api)
    artifacts, cleaned = api.app.stores.files.artifacts, list[int]()
    put_file = artifacts.put_file

    async def put_after_cleanup(path: str, file: Any) -> Any:
        cleaned.append((await api.verb(workflow_id, "cleanup")).status_code)
        return await put_file(path, file)

    monkeypatch.setattr(artifacts, "put_file", put_after_cleanup)
    assert (await preview_of(api, paths["wide.png"], 64)).status_code == 404
    assert cleaned == [200]
    assert not (api.artifacts / preview_path(paths["wide.png"], 64)).exists()


async def test_a_preview_that_takes_too_long_is_a_503(api: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    _, paths = await stored(api)
    monkeypatch.setattr(previews, "WAIT_S", 0)
    response = await preview_of(api, paths["wide.png"], 64)
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")
    monkeypatch.undo()
    assert (await preview_of(api, paths["wide.png"], 64)).status_code == 200


async def test_the_sweep_keeps_previews_of_recorded_images_alone(api: Service) -> None:
    _, paths = await stored(api)
    assert (await preview_of(api, paths["wide.png"], 64)).status_code == 200
    kept = api.artifacts / preview_path(paths["wide.png"], 64)
    orphan = api.artifacts / preview_path(paths["wide.png"].replace("wide", "lost"), 64)
    orphan.write_bytes(b"x")
    assert await api.app.stores.task_files.sweep() == 1
    assert (kept.exists(), orphan.exists()) == (True, False)


async def test_a_preview_of_an_upload_counts_for_the_quota_until_the_upload_is_deleted(
    clock: ManualClock, tmp_path: Path
) -> None:
    data = files()["clear.png"]
    async with service_in(tmp_path, clock, upload_quota_bytes=len(data) + 600) as service:
        sent = await service.client.post("/api/v1/artifacts?name=clear.png", content=data, headers=OCTETS)
        path = sent.json()["artifacts"][0]["path"]
        assert (await preview_of(service, path, 64)).status_code == 200
        refused = await preview_of(service, path, 512)
        assert refused.status_code == 507, refused.text
        assert not (service.artifacts / preview_path(path, 512)).exists()
        assert (await preview_of(service, path, 64)).status_code == 200
        assert (await service.client.delete(f"/api/v1/artifacts/{path}")).status_code == 200
        assert not (service.artifacts / path).parent.exists()
        again = await service.client.post("/api/v1/artifacts?name=again.png", content=data, headers=OCTETS)
        path = again.json()["artifacts"][0]["path"]
        assert (await preview_of(service, path, 64)).status_code == 200


@pytest.mark.extended
async def test_an_image_that_needs_more_memory_than_local_has_is_refused(clock: ManualClock, tmp_path: Path) -> None:
    async with service_in(tmp_path, clock, local_memory_max_bytes=512 * 1024 * 1024) as service:
        data = empty_png(8_000, 8_000)
        sent = await service.client.post("/api/v1/artifacts?name=huge.png", content=data, headers=OCTETS)
        response = await preview_of(service, sent.json()["artifacts"][0]["path"], 64)
    assert response.status_code == 422
    assert response.json()["detail"][0]["msg"].startswith("There is no preview: a preview of this image needs ")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.mark.extended
async def test_previews_of_images_in_a_bucket_are_in_the_bucket(
    clock: ManualClock, tmp_path: Path, s3: S3Server
) -> None:
    bucket = s3.bucket()
    settings: dict[str, Any] = {"s3_bucket": bucket.name, "s3_prefix": bucket.prefix, "s3_endpoint": bucket.endpoint}
    settings |= {"s3_region": bucket.region, "s3_access_key_id": KEY_ID, "s3_secret_access_key": SECRET_KEY}
    async with service_in(tmp_path, clock, **settings) as service:
        workflow_id, paths = await stored(service)
        response = await preview_of(service, paths["wide.png"], 64, Range="bytes=8-11")
        assert (response.status_code, response.content) == (206, b"WEBP")
        assert f"some/where/{preview_path(paths['wide.png'], 64)}" in s3.keys(bucket)
        assert picture_of((await preview_of(service, paths["wide.png"], 64)).content).size == (64, 32)
        part = await service.client.get(f"/api/v1/artifacts/{paths['wide.png']}", headers={"Range": "bytes=1-3"})
        assert (part.status_code, part.content) == (206, b"PNG")
        assert (await service.verb(workflow_id, "cleanup")).json()["cleanup"]["errors"] == []
        assert s3.keys(bucket) == []
