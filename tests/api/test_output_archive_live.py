"""The ZIP of a run's outputs over the live service: all files of the list, or an end that every client notices."""

import asyncio
import hashlib
import tracemalloc
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from support.providers.configured_by_steps import WORKFLOWS, ConfiguredProvider, configured_step
from support.service.listening_service import listening
from support.service.live_service import Service, token
from support.workflows.sub_workflows import runs

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1024 * 1024
LONG = "long " * 100_000
ZIP = {"Accept": "application/zip"}


@pytest.fixture(params=["api", "live"])
def service(request: pytest.FixtureRequest) -> Service:
    """The service in memory, and on PostgreSQL."""
    found: Service = request.getfixturevalue(request.param)
    return found


async def ended(service: Service, *steps: dict[str, Any], **members: Any) -> str:
    """Run *steps*, and return the path of the list of their outputs."""
    created = await service.create(*steps, **members)
    workflow = await service.until_ended(created["id"])
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    return f"{WORKFLOWS}{created['id']}/outputs"


async def stored_files(service: Service, path: str) -> list[Path]:
    outputs = (await service.client.get(path)).json()["outputs"]
    return [service.artifacts / each["path"] for each in outputs]


def unpacked(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(BytesIO(data)) as found:
        return {name: found.read(name) for name in found.namelist()}


async def test_the_zip_has_each_file_of_the_list_by_its_path(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwell.api.responses.output_archive._PAGE", 3)
    deep = runs(configured_step("x", files=2), step_id="de/ep", for_each={"items": [0, 1]})
    path = await ended(
        service,
        configured_step("each", files=2, members={"for_each": {"count": 2}}),
        configured_step("Own", texts={"a.json": "{}", "A.json": "[]", "b.PNG": "x"}),
        runs(configured_step("large", files=1), deep, step_id="own", for_each={"count": 2}),
    )
    outputs = (await service.client.get(path)).json()["outputs"]
    expected = {}
    for each in outputs:
        name = "A.json~2" if each["name"] == "A.json" else each["name"]
        expected[f"{each['step_path']}/{name}"] = (service.artifacts / each["path"]).read_bytes()
    response = await service.client.get(path, headers=ZIP)
    assert unpacked(response.content) == expected
    assert len(expected) == len(outputs) == 4 + 3 + 2 * (1 + 2 * 2)
    assert {"each/1/file-0.bin", "Own/A.json~2", "own~2/1/de%2Fep/0/x/file-1.bin"} <= expected.keys()
    assert response.headers["Content-Type"] == "application/zip"
    assert response.headers["Content-Length"] == str(len(response.content))
    assert response.headers["Content-Disposition"] == f'attachment; filename="{path.split("/")[4]}.zip"'
    assert response.headers["Vary"] == "Accept"
    by_link = await service.client.get(path, params={"download": 1}, headers={"Accept": "text/html, */*"})
    assert unpacked(by_link.content) == expected
    head = await service.client.head(path, headers=ZIP)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(response.content))


async def test_a_run_without_files_has_an_empty_zip(api: Service) -> None:
    assert unpacked((await api.client.get(await ended(api, configured_step("a")), headers=ZIP)).content) == {}


async def test_a_zip_belongs_to_its_tenant_and_counts_for_it(api: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    path = await ended(api, configured_step("a", files=1), origin_tenant_id="t")
    async with api.as_tenant("other") as other, api.as_tenant("t") as own:
        assert (await other.get(path, headers=ZIP)).status_code == 404
        assert len(unpacked((await own.get(path, headers=ZIP)).content)) == 1
    counted = list[Any]()
    monkeypatch.setattr(
        "stepwell.api.requests.connection_limits.ConnectionLimits.begin_request_of_tenant",
        lambda _, tenant: counted.append(tenant),
    )
    monkeypatch.setattr(
        "stepwell.api.requests.connection_limits.ConnectionLimits.end_request_of_tenant", lambda *_: None
    )
    assert (await api.client.get(path, headers=ZIP)).status_code == 200
    assert counted[-1] == "t"


async def test_a_zip_takes_no_page(api: Service) -> None:
    path = await ended(api, configured_step("a", files=1))
    for query in ("limit=1", "limit=50&download=1", "cursor=x&download=true"):
        refused = await api.client.get(f"{path}?{query}", headers=ZIP)
        assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["query", query.split("=")[0]])
    unknown = await api.client.get(f"{WORKFLOWS}0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b/outputs", headers=ZIP)
    assert unknown.status_code == 404


async def test_a_list_that_is_too_large_for_the_memory_is_refused(
    api: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await ended(api, configured_step("a", files=1))
    monkeypatch.setattr("stepwell.api.responses.output_archive._FILE_BYTES", 1024 * MIB)
    refused = await api.client.get(path, headers=ZIP)
    assert (refused.status_code, refused.json()["detail"][0]["type"]) == (422, "too_large")
    assert "get the files one by one" in refused.json()["detail"][0]["msg"]
    assert api.app.services.memory.held == 0


async def test_a_list_that_changes_between_two_pages_is_no_zip_with_two_files_of_one_name(
    api: Service, scripted: ConfiguredProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell.api.responses.output_archive._PAGE", 1)
    once = configured_step("first", files=1), configured_step("wait", "first", wait=True, result={"score": 1})
    again = runs(*once) | {"repeat": {"until": "final.done", "max": 2, "best": "final.score"}}
    created = await api.create(again)
    path, seen = f"{WORKFLOWS}{created['id']}/outputs", list[str]()

    async def next_run() -> None:
        def begun(workflow: dict[str, Any]) -> bool:
            waiting = workflow["steps"][0]["waiting_for"]
            return waiting is not None and waiting["workflow_id"] not in seen

        workflow = await api.until(created["id"], begun)
        seen.append(workflow["steps"][0]["waiting_for"]["workflow_id"])
        await api.until(seen[-1], lambda child: child["steps"][1]["status"] == "RUNNING")

    await next_run()
    read = type(api.app.services.reads).outputs

    async def read_and_go_on(reads: Any, scope: Any, workflow_id: Any, after: Any, limit: int) -> Any:
        page = await read(reads, scope, workflow_id, after, limit)
        if len(seen) == 1:
            scripted.release(seen[0], "wait")
            await next_run()
        return page

    monkeypatch.setattr(type(api.app.services.reads), "outputs", read_and_go_on)
    response = await api.client.get(path, headers=ZIP)
    assert (response.status_code, "has changed" in response.json()["detail"]) == (503, True)
    scripted.release(seen[1], "wait")
    await api.until_ended(created["id"])
    assert list(unpacked((await api.client.get(path, headers=ZIP)).content)) == ["sub/first/file-0.bin"]


@pytest.mark.parametrize("fault", ["missing", "short", "other", "long"])
async def test_a_client_notices_that_a_file_is_not_as_it_was_stored(api: Service, fault: str) -> None:
    path = await ended(api, configured_step("a", texts={"a.txt": LONG}), configured_step("b", "a", files=1))
    _, second = await stored_files(api, path)
    data = second.read_bytes()
    second.unlink()
    if fault != "missing":
        second.write_bytes({"short": data[:-1], "other": data[:-1] + b"?", "long": data + b"?"}[fault])
    async with listening(api) as port, httpx.AsyncClient(headers={"Authorization": f"Bearer {token()}"}) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get(f"http://127.0.0.1:{port}{path}", headers=ZIP)
        second.write_bytes(data)
        whole = await client.get(f"http://127.0.0.1:{port}{path}", headers=ZIP)
    assert unpacked(whole.content) == {"a/a.txt": LONG.encode(), "b/file-0.bin": b"file-0.bin of b"}


async def test_a_fault_before_the_first_chunk_is_a_proper_response(api: Service) -> None:
    path = await ended(api, configured_step("a", files=2))
    first, second = await stored_files(api, path)
    second.write_bytes(b"?")
    assert (await api.client.get(path, headers=ZIP)).status_code == 503
    first.unlink()
    assert (await api.client.get(path, headers=ZIP)).status_code == 404


async def test_a_large_file_takes_the_memory_of_its_chunks(live: Service) -> None:
    path = await ended(live, configured_step("a", files=1))
    size, digest = 96 * MIB, hashlib.sha256()
    for _ in range(96):
        digest.update(bytes(MIB))
    (file,) = await stored_files(live, path)
    with file.open("wb") as sparse:
        sparse.truncate(size)
    connection = await asyncpg.connect(live.dsn)
    await connection.execute(
        "UPDATE tasks SET outputs = json_build_array(json_build_object("
        "'path', $1::text, 'size', $2::bigint, 'sha256', $3::text)) WHERE id = $4",
        str(file.relative_to(live.artifacts)),
        size,
        digest.hexdigest(),
        file.parent.name,
    )
    await connection.close()
    received, held, memory = 0, 0, live.app.services.memory
    async with listening(live) as port, httpx.AsyncClient(headers={"Authorization": f"Bearer {token()}"}) as client:
        tracemalloc.start()
        async with client.stream("GET", f"http://127.0.0.1:{port}{path}", headers=ZIP) as response:
            async for part in response.aiter_raw():
                received += len(part)
                held = max(held, memory.held)
            assert received == int(response.headers["Content-Length"]) > size
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 16 * MIB
    assert 0 < held < 16 * MIB
    async with asyncio.timeout(20):
        while memory.held:
            await asyncio.sleep(0.01)
