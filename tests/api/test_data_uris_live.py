"""Data URIs in definitions: stored as uploads at create, and deleted with their workflows."""

import base64
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from providers.image_files import file_of, gradient
from stepwell.basics.errors import Unavailable
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.testing import ManualClock, MemoryDatabase
from support.database.postgres import connected
from support.emulators.s3 import KEY_ID, SECRET_KEY, S3Server, s3_server
from support.providers.configured_by_steps import WORKFLOWS
from support.service.live_service import Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")


def image(seed: int) -> bytes:
    """A PNG of more than 4 kB that no other seed has."""
    return file_of(gradient(60, 60)) + random.Random(seed).randbytes(5_000)


def uri(data: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def adjust(base: Any, step_id: str = "a", **config: Any) -> dict[str, Any]:
    return {"id": step_id, "task_type": "IMAGE_ADJUSTER", "config": {"base_image_url": base, **config}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(clock: ManualClock, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        folder = tmp_path_factory.mktemp("api")
        yield await stack.enter_async_context(running_service(MemoryDatabase(clock), folder))


async def uploads_of(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    response = await client.get("/api/v1/artifacts", params={"limit": 1000})
    found: list[dict[str, Any]] = response.json()["artifacts"]
    return found


def config_of(workflow: dict[str, Any], position: int = 0) -> dict[str, Any]:
    config: dict[str, Any] = workflow["steps"][position]["config"]
    return config


async def test_a_large_data_uri_becomes_an_upload_that_is_deleted_with_the_workflow(api: Service) -> None:
    data = image(1)
    created = await api.create(adjust(uri(data)), origin_tenant_id="acme")
    path = config_of(created)["base_image_url"]
    assert path.endswith("/base_image_url.png")
    ended = await api.until_ended(created["id"])
    assert (ended["status"], config_of(ended)["base_image_url"]) == ("COMPLETED", path)
    texts = [
        (await api.client.get(f"{WORKFLOWS}{each}")).text for each in ("", created["id"], f"{created['id']}/events")
    ]
    assert "base64" not in "".join(texts)
    async with api.as_tenant("acme") as owner, api.as_tenant("other") as other:
        assert (await owner.get(f"/api/v1/artifacts/{path}")).content == data
        assert (await other.get(f"/api/v1/artifacts/{path}")).status_code == 404
        assert [each["path"] for each in await uploads_of(owner)] == [path]
        assert (await owner.delete(f"/api/v1/artifacts/{path}")).status_code == 409
        report = (await owner.post(f"{WORKFLOWS}{created['id']}/cleanup")).json()["cleanup"]
        result = ended["steps"][0]["result"]["result_image_path"]
        assert (report["deleted_paths"], report["errors"]) == ([result, path], [])
        assert await uploads_of(owner) == []
    assert not (api.artifacts / path).exists()
    (event,) = [each for each in await api.events(created["id"]) if each["type"] == "workflow.files_deleted"]
    assert event["data"] == {"deleted": 2, "gone": 0, "kept": 0}


async def test_all_known_inputs_of_steps_and_defaults_are_stored_and_the_same_bytes_once(api: Service) -> None:
    one, two, three = (uri(image(number)) for number in (2, 3, 4))
    edit = {"base_image_url": one, "reference_image_urls": [two, one]}
    defaults = {"IMAGE_ADJUSTER": {"base_image_url": three}, "*": {"overlay_image_url": one}}
    steps: list[dict[str, Any]] = [
        {"id": "a", "task_type": "IMAGE_ADJUSTER", "config": {}},
        {"id": "b", "task_type": "EDITING", "config": edit},
    ]
    created = await api.create(*steps, start=False, config={"step_defaults": defaults}, origin_tenant_id="defaults")
    stored = config_of(created, 1)
    assert stored["reference_image_urls"][1] == stored["base_image_url"]
    kept = created["config"]["step_defaults"]
    assert kept["*"]["overlay_image_url"] == stored["base_image_url"]
    async with api.as_tenant("defaults") as owner:
        paths = {each["path"] for each in await uploads_of(owner)}
    assert paths == {
        stored["base_image_url"],
        stored["reference_image_urls"][0],
        kept["IMAGE_ADJUSTER"]["base_image_url"],
    }


async def test_data_uris_of_sub_workflows_become_uploads_before_these_are_created(api: Service) -> None:
    one, two = (uri(image(number)) for number in (6, 7))
    inner: dict[str, Any] = {"name": "inner", "steps": [{"id": "c", "task_type": "IMAGE_ADJUSTER"}]}
    inner["config"] = {"step_defaults": {"IMAGE_ADJUSTER": {"base_image_url": two}}}
    outer = {"name": "outer", "steps": [adjust(one), sub_workflow(inner)]}
    created = await api.create(sub_workflow(outer), origin_tenant_id="nested")
    async with api.as_tenant("nested") as owner:
        paths = {each["path"] for each in await uploads_of(owner) if each["path"].endswith("base_image_url.png")}
    ended = await api.until_ended(created["id"])
    assert ended["status"] == "COMPLETED", ended["errors"]
    definition = config_of(ended)["workflow"]
    first = definition["steps"][0]["config"]["base_image_url"]
    defaults = definition["steps"][1]["config"]["workflow"]["config"]["step_defaults"]
    assert {first, defaults["IMAGE_ADJUSTER"]["base_image_url"]} == paths
    child = await api.get(ended["steps"][0]["result"]["workflow_id"])
    assert config_of(child)["base_image_url"] == first


def sub_workflow(definition: dict[str, Any]) -> dict[str, Any]:
    return {"id": "sub", "task_type": "SUBWORKFLOW", "config": {"workflow": definition}}


SVG = b"<svg xmlns='http://www.w3.org/2000/svg'>" + b" " * 5_000 + b"</svg>"


@pytest.mark.parametrize(
    "kept",
    [
        uri(file_of(gradient(8, 8))),
        uri(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(5_000)),
        uri(SVG, "image/svg+xml"),
        uri(image(5)) + "!",
        "data:image/png;base64" + "A" * 5_000,
        "data:image/png;base64," + " " * 5_000,
        f"data:image/png{';a=b' * 300};base64,{base64.b64encode(image(5)).decode()}",
    ],
    ids=["small", "PDF", "SVG", "broken", "no comma", "empty", "long head"],
)
async def test_any_other_data_uri_stays_as_it_is(api: Service, kept: str) -> None:
    created = await api.create(adjust(kept), start=False, origin_tenant_id="kept")
    assert config_of(created)["base_image_url"] == kept
    async with api.as_tenant("kept") as owner:
        assert await uploads_of(owner) == []


async def test_inputs_that_no_task_type_knows_stay_as_they_are(api: Service) -> None:
    sent = uri(image(6))
    step = {"id": "a", "task_type": "PASSTHROUGH", "config": {"base_image_url": sent, "nested": {"image_url": sent}}}
    created = await api.create(step, start=False)
    assert config_of(created) == step["config"]


async def test_a_plan_and_a_refused_definition_store_nothing(api: Service) -> None:
    body = {"name": "n", "origin_instance": "o", "steps": [adjust(uri(image(7)))]}
    async with api.as_tenant("planner") as owner:
        assert (await owner.post(f"{WORKFLOWS}plan", json=body)).status_code == 200
        assert (await owner.post(WORKFLOWS, json=body | {"name": ""})).status_code == 422
        assert await uploads_of(owner) == []


async def test_a_create_that_fails_leaves_no_upload(api: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise Unavailable("the database is away")

    monkeypatch.setattr(api.app.services.workflows.access, "insert", fail)
    body = {"name": "n", "origin_instance": "o", "steps": [adjust(uri(image(8)))]}
    async with api.as_tenant("failing") as owner:
        assert (await owner.post(WORKFLOWS, json=body)).status_code == 503
        assert await uploads_of(owner) == []
    assert not [each for each in api.artifacts.rglob("base_image_url.png") if each.read_bytes() == image(8)]


async def test_a_create_can_be_repeated_if_the_same_file_is_deleted_meanwhile(
    api: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    add, store = api.app.services.uploads.add, api.app.stores.database.uploads

    async def add_and_begin_deletion(*arguments: Any) -> Any:
        upload = await add(*arguments)
        await store.begin_deletion(EVERY_TENANT, upload.record.id)
        return upload

    body = {"name": "n", "origin_instance": "o", "steps": [adjust(uri(image(15)))]}
    async with api.as_tenant("deleting") as owner:
        monkeypatch.setattr(api.app.services.uploads, "add", add_and_begin_deletion)
        refused = await owner.post(WORKFLOWS, json=body)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        monkeypatch.undo()
        assert (await owner.post(WORKFLOWS, json=body)).status_code == 201


async def test_a_repeated_create_makes_no_second_upload(api: Service) -> None:
    body = {"name": "n", "origin_instance": "o", "steps": [adjust(uri(image(9)))]}
    async with api.as_tenant("repeating") as owner:
        responses = [await owner.post(WORKFLOWS, json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)]
        assert responses[0].content == responses[1].content
        other = await owner.post(WORKFLOWS, json=body)
        assert config_of(other.json())["base_image_url"] == config_of(responses[0].json())["base_image_url"]
        assert len(await uploads_of(owner)) == 1


async def test_an_upload_stays_until_its_last_workflow_is_cleaned_up(api: Service) -> None:
    async with api.as_tenant("sharing") as owner:
        ids, path = [], ""
        for _ in range(2):
            created = await api.create(adjust(uri(image(10))), start=False, origin_tenant_id="sharing")
            ids.append(created["id"])
            path = config_of(created)["base_image_url"]
        for workflow_id, left in zip(ids, ([path], []), strict=True):
            assert (await owner.post(f"{WORKFLOWS}{workflow_id}/cleanup")).status_code == 200
            assert [each["path"] for each in await uploads_of(owner)] == left


async def test_cleanup_leaves_what_the_user_has_uploaded(api: Service) -> None:
    data = image(11)
    async with api.as_tenant("uploader") as owner:
        headers = {"Content-Type": "image/png"}
        sent = await owner.post("/api/v1/artifacts?name=mine.png", content=data, headers=headers)
        path = sent.json()["artifacts"][0]["path"]
        created = await api.create(adjust(uri(data)), start=False, origin_tenant_id="uploader")
        assert config_of(created)["base_image_url"] == path
        assert (await owner.post(f"{WORKFLOWS}{created['id']}/cleanup")).status_code == 200
        assert [each["path"] for each in await uploads_of(owner)] == [path]


async def test_a_create_beyond_the_quota_is_a_507_that_names_the_place(clock: ManualClock, tmp_path: Path) -> None:
    steps = [adjust(uri(image(12)), "first"), adjust(uri(image(13)), "second")]
    quota = len(image(12)) + 1_000
    async with running_service(MemoryDatabase(clock), tmp_path, upload_quota_bytes=quota) as service:
        body = {"name": "n", "origin_instance": "o", "steps": steps}
        refused = await service.client.post(WORKFLOWS, json=body)
        assert refused.status_code == 507
        assert refused.json()["detail"].startswith("body.steps.1.config.base_image_url: the data URI would be stored")
        assert await uploads_of(service.client) == []
        assert (await service.client.get(WORKFLOWS)).json()["total"] == 0


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.mark.extended
async def test_rows_and_a_bucket_hold_the_file_once_and_nothing_after_cleanup(
    dsn: str, tmp_path: Path, s3: S3Server
) -> None:
    bucket, data = s3.bucket(), image(14)
    settings: dict[str, Any] = {"s3_bucket": bucket.name, "s3_prefix": bucket.prefix, "s3_endpoint": bucket.endpoint}
    settings |= {"s3_region": bucket.region, "s3_access_key_id": KEY_ID, "s3_secret_access_key": SECRET_KEY}
    async with running_service(dsn, tmp_path, **settings) as service, connected(dsn) as sql:
        created = await service.create(adjust(uri(data)), adjust(uri(data), "b"))
        path = config_of(created)["base_image_url"]
        assert config_of(created, 1)["base_image_url"] == path
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        stored = await sql.fetchval("SELECT string_agg(definition::text, '') FROM steps")
        assert (stored.count(path), "base64" in stored) == (2, False)
        assert (await service.client.get(f"/api/v1/artifacts/{path}")).content == data
        assert f"some/where/{path}" in s3.keys(bucket)
        report = (await service.verb(created["id"], "cleanup")).json()["cleanup"]
        assert (path in report["deleted_paths"], report["errors"]) == (True, [])
        assert s3.keys(bucket) == []
        assert await sql.fetchval("SELECT count(*) FROM uploads") == 0
