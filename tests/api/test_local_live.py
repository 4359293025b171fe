"""LOCAL through the API: every task type, by every kind of reference, and what it says of pictures it can't use."""

import asyncio
import base64
import hashlib
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from msgspec import Struct
from PIL import Image

from providers.image_files import file_of, gradient, picture_of
from support.database.postgres import TestServer, database
from support.providers.configured_by_steps import steps_are, views_are
from support.service.conformance import conforming_client
from support.service.live_service import Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE = "base_image_url"
PATH_FIELD = {"VIDEO_GENERATION": "result_video_path"}
# By type: config, and the input that is a picture.
WORK: dict[str, tuple[dict[str, Any], str]] = {
    "GENERATION": (
        {"prompt": "red", "width": 32, "height": 32, "reference_image_strength": 0.5},
        "reference_image_url",
    ),
    "EDITING": ({"rotate": 90}, BASE),
    "REFINE": ({}, BASE),
    "VIDEO_GENERATION": ({"duration_s": 0.25, "width": 32}, BASE),
    "BACKGROUND_FIX": ({"background_color": "#00ff00"}, BASE),
    "FACE_ENHANCER": ({"strength": 0.5}, BASE),
    "IMAGE_ADJUSTER": ({"exposure": 1}, BASE),
    "DETAIL_ENHANCER": ({"strength": 1}, BASE),
    "BACKGROUND_REMOVE": ({"tolerance": 40}, BASE),
}


class Web(Struct):
    """A web server of the test: `pages` are its responses by path, each a type and a body."""

    url: str
    pages: dict[str, tuple[str, bytes]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web() -> AsyncIterator[Web]:
    pages: dict[str, tuple[str, bytes]] = {}

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        status = "200 OK" if path in pages else "404 Not Found"
        kind, body = pages.get(path, ("text/plain", b"no"))
        writer.write(
            f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(respond, "127.0.0.1", 0)
    yield Web(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}", pages)
    listener.close()


def step(step_id: str, task_type: str, *needed: str, **config: Any) -> dict[str, Any]:
    return {"id": step_id, "task_type": task_type, "config": config, "depends_on": list(needed)}


def mapped(made: dict[str, Any], *mappings: tuple[str, str, str | None]) -> dict[str, Any]:
    """*made* with mappings (from step, to field, transform) of the picture's path."""
    return made | {
        "input_mappings": [
            {"from_step": source, "from_field": "result_image_path", "to_field": field, "transform": transform}
            for source, field, transform in mappings
        ]
    }


def data_uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


async def run(live: Service, *steps: dict[str, Any], **members: Any) -> dict[str, Any]:
    return await live.until_ended((await live.create(*steps, **members))["id"], within_s=60)


async def file(live: Service, path: str) -> httpx.Response:
    response = await live.client.get("/api/v1/artifacts/" + path)
    assert response.status_code == 200
    return response


async def drawn(live: Service, **config: Any) -> dict[str, Any]:
    """The result of a picture's generation."""
    workflow = await run(live, step("draw", "GENERATION", **{"prompt": "blue", "width": 48, "height": 32} | config))
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    result: dict[str, Any] = workflow["final_step_result"]
    return result


async def test_every_image_task_accepts_every_kind_of_reference(live: Service, web: Web) -> None:
    """The same picture with the same seed gives the same bytes, however the step came by it."""
    drawing = await drawn(live, seed=1)
    picture = (await file(live, drawing["result_image_path"])).content
    web.pages["/picture.png"] = ("image/png", picture)
    ways = {"path": drawing["result_image_path"], "url": web.url + "/picture.png", "data": data_uri(picture)}
    steps = [step("again", "GENERATION", prompt="blue", width=48, height=32, seed=1)]
    for task_type, (config, field) in WORK.items():
        steps.append(mapped(step(f"{task_type} mapped", task_type, "again", seed=5, **config), ("again", field, None)))
        steps += [
            step(f"{task_type} {way}", task_type, seed=5, **config, **{field: reference})
            for way, reference in ways.items()
        ]
    workflow = await run(live, *steps)
    assert (workflow["status"], workflow["errors"]) == ("COMPLETED", [])
    results = {found["step_id"]: found["result"] for found in workflow["steps"]}
    tasks = (await live.client.get(f"/api/v1/workflows/{workflow['id']}/tasks")).json()["tasks"]
    outputs = {task["step_id"]: task["outputs"] for task in tasks}
    for task_type in WORK:
        made = set()
        for way in ("mapped", *ways):
            result, (output,) = results[f"{task_type} {way}"], outputs[f"{task_type} {way}"]
            path = result[PATH_FIELD.get(task_type, "result_image_path")]
            response = await file(live, path)
            assert output == {
                "path": path,
                "size": len(response.content),
                "sha256": hashlib.sha256(response.content).hexdigest(),
            }
            assert (result["seed"], result["size"]) == (5, output["size"])
            assert response.headers["content-type"] == f"image/{result['format'].lower()}"
            image = picture_of(response.content)
            assert (image.width, image.height, image.format) == (result["width"], result["height"], result["format"])
            made.add(output["sha256"])
        assert len(made) == 1, task_type
    sizes = {
        task_type: (results[f"{task_type} url"]["width"], results[f"{task_type} url"]["height"]) for task_type in WORK
    }
    assert sizes["EDITING"] == (32, 48)
    assert sizes["REFINE"] == (96, 64)
    film = picture_of((await file(live, results["VIDEO_GENERATION url"]["result_video_path"])).content)
    assert getattr(film, "n_frames", 1) == 3
    cut = picture_of((await file(live, results["BACKGROUND_REMOVE url"]["result_image_path"])).content)
    assert (cut.mode, cut.format) == ("RGBA", "PNG")


@pytest.mark.extended
async def test_a_step_reads_several_images(live: Service, web: Web) -> None:
    own = (await drawn(live))["result_image_path"]
    web.pages["/mask.png"] = ("", file_of(Image.new("L", (48, 32), 255)))
    inputs = {
        BASE: data_uri(file_of(Image.new("RGB", (48, 32), "white"))),
        "overlay_image_url": data_uri(file_of(Image.new("RGB", (10, 10), "red"))),
        "mask_image_url": web.url + "/mask.png",
        "reference_image_urls": [],
    }
    backgrounds = {BASE: own, "background_image_url": data_uri(file_of(gradient()))}
    workflow = await run(
        live,
        step("edit", "EDITING", x=5, y=6, **inputs),
        step("refer", "EDITING", **inputs | {"reference_image_urls": [own, web.url + "/mask.png"]}),
        step("back", "BACKGROUND_FIX", **backgrounds),
    )
    assert workflow["errors"] == []
    edited = picture_of((await file(live, workflow["steps"][0]["result"]["result_image_path"])).content).convert("RGB")
    assert [edited.getpixel(place) for place in ((4, 6), (5, 6), (14, 15), (15, 15))] == [
        (255, 255, 255),
        *((255, 0, 0), (255, 0, 0)),
        (255, 255, 255),
    ]


async def test_equal_seeds_and_prompts_draw_equal_images(live: Service) -> None:
    async def digest(**config: Any) -> str:
        path = (await drawn(live, **config))["result_image_path"]
        return hashlib.sha256((await file(live, path)).content).hexdigest()

    first = await digest(prompt="a dress", seed=7)
    assert await digest(prompt="a dress", seed=7) == first
    others = [await digest(prompt="a coat", seed=7), await digest(prompt="a dress", seed=8)]
    others += [
        await digest(prompt="a dress", seed=7, negative_prompt="x"),
        await digest(prompt="a dress", seed=2**63 - 1),
    ]
    assert len({first, *others}) == 5
    unseeded = [await drawn(live, prompt="a dress") for _ in range(2)]
    assert unseeded[0]["seed"] != unseeded[1]["seed"]
    assert (
        await digest(prompt="a dress", seed=unseeded[0]["seed"])
        == hashlib.sha256((await file(live, unseeded[0]["result_image_path"])).content).hexdigest()
    )


def _png(width: int, height: int) -> bytes:
    """Says that it is that large, and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"\x00" * 100_000, 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.extended
async def test_an_unusable_image_fails_the_step(live: Service, web: Web) -> None:
    sound = file_of(gradient())
    web.pages |= {"/page": ("text/html", b"<p>"), "/empty.png": ("image/png", b""), "/x.png": ("image/png", b"not one")}
    cases = {
        "a pixel too many": (data_uri(_png(8_000, 8_001)), "64 megapixels"),
        "a bomb": (data_uri(_png(100_000, 100_000)), "64 megapixels"),
        "a wider bomb": (data_uri(_png(2**31 - 1, 1)), ""),
        "truncated": (data_uri(sound[: len(sound) // 2]), "broken or truncated"),
        "torn": (data_uri(sound[:60] + b"\x00" * 40 + sound[100:]), "broken or truncated"),
        "text": (data_uri(b"hello"), "not an image"),
        "SVG": (data_uri(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml"), "not an image"),
        "nothing": ("data:image/png;base64,", "empty"),
        "a page": (web.url + "/page", "expected an image"),
        "an empty file": (web.url + "/empty.png", "empty"),
        "a lie": (web.url + "/x.png", "not an image"),
        "not there": (web.url + "/nowhere", "404"),
    }
    steps = [step(name, "REFINE", **{BASE: reference}) for name, (reference, _) in cases.items()]
    steps.append(
        step("a result that is too large", "REFINE", **{BASE: data_uri(_png(3_000, 3_000)), "upscale_factor": 8})
    )
    workflow = await run(live, *steps, config={"on_failure": "continue"})
    assert workflow["status"] == "FAILED"
    assert len(workflow["errors"]) == len(steps)
    for found in workflow["steps"]:
        message = found["error_message"]
        assert (found["status"], found["retry_count"], found["result"]) == ("FAILED", 0, None)
        if found["step_id"] in cases:
            assert message.startswith(f"{BASE}: "), (found["step_id"], message)
            assert cases[found["step_id"]][1] in message, (found["step_id"], message)
    assert await drawn(live)


async def test_a_step_whose_input_cannot_be_downloaded_is_tried_again(live: Service, web: Web) -> None:
    away = web.url.rpartition(":")[0] + ":1/picture.png"
    members = {"max_retries": 2}
    workflow = await run(live, step("a", "REFINE", **{BASE: away}) | members, config={"retry": {"base_s": 0}})
    (found,) = workflow["steps"]
    assert (found["status"], found["retry_count"]) == ("FAILED", 2)
    assert "127.0.0.1:1/picture.png" in found["error_message"]


async def test_transforms_turn_a_path_into_a_signed_url_or_a_data_uri(live: Service) -> None:
    draws = [step(name, "GENERATION", prompt=name, width=32, height=32) for name in ("one", "two")]
    last = mapped(
        step("last", "PASSTHROUGH", "one", "two"),
        ("one", "url", "PATH_TO_URL"),
        ("one", "data", "PATH_TO_DATA_URI"),
        ("two", "other", "PATH_TO_URL"),
    )
    workflow = await run(live, *draws, last, origin_tenant_id="acme")
    result = workflow["final_step_result"]
    path = workflow["steps"][0]["result"]["result_image_path"]
    picture = (await file(live, path)).content
    assert result["data"] == data_uri(picture)
    base, _, query = result["url"].partition("?")
    assert base == f"http://127.0.0.1:9000/api/v1/artifacts/{path}"
    where = base.removeprefix("http://127.0.0.1:9000")
    expires, signature = (pair.partition("=")[2] for pair in query.split("&"))
    elsewhere = result["other"].removeprefix("http://127.0.0.1:9000")
    async with conforming_client(live.app.api) as anyone, live.as_tenant("other") as stranger:
        response = await anyone.get(f"{where}?{query}")
        assert (response.status_code, response.content) == (200, picture)
        assert (await anyone.get(elsewhere)).status_code == 200
        for changed in (
            f"{where}?expires={int(expires) + 1}&signature={signature}",
            f"{where}?expires={expires}&signature={signature[:-1]}{'0' if signature[-1] != '0' else '1'}",
            f"{where}?expires={expires}&signature=",
            f"{where}?expires=0&signature={signature}",
            f"{elsewhere.partition('?')[0]}?{query}",
            f"/api/v1/artifacts/media/{'0' * 36}/x.png?{query}",
        ):
            response = await anyone.get(changed)
            assert response.status_code == 403, changed
            assert picture not in response.content
        for lacking in (where, f"{where}?expires={expires}"):
            assert (await anyone.get(lacking)).status_code == 401
        for malformed in (f"{where}?signature={signature}", f"{where}?expires=x&signature={signature}"):
            assert (await anyone.get(malformed)).status_code == 403
        assert (await stranger.get(where)).status_code == 404
        assert (await anyone.get(f"/api/v1/workflows/{workflow['id']}?{query}")).status_code == 401
        assert (await live.verb(workflow["id"], "cleanup")).status_code == 200
        assert (await anyone.get(f"{where}?{query}")).status_code == 404


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def narrow(server: TestServer, template: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A service that does one LOCAL step at a time, and takes small inputs only."""
    async with (
        database(server, template) as dsn,
        running_service(dsn, _folder(tmp_path_factory), max_local_steps=1, input_max_bytes=2_000) as service,
    ):
        yield service


def _folder(factory: pytest.TempPathFactory) -> Path:
    return factory.mktemp("narrow")


async def test_a_cancelled_step_ends_at_once_and_frees_its_slot(narrow: Service) -> None:
    large = {"width": 4_000, "height": 4_000, "prompt": "x"}
    for _ in range(2):
        first = await narrow.create(step("large", "GENERATION", **large), step("waits", "GENERATION", **large))
        await narrow.until(first["id"], steps_are("RUNNING", "PENDING"))
        second = await narrow.create(step("small", "GENERATION", prompt="x", width=16, height=16))
        assert (await narrow.get(second["id"]))["steps"][0]["status"] == "PENDING"
        cancelled = (await narrow.verb(first["id"], "cancel")).json()
        assert cancelled["status"] == "CANCELLED"
        assert [found["status"] for found in cancelled["steps"]] == ["CANCELLED", "CANCELLED"]
        assert (await narrow.until(second["id"], views_are(status="COMPLETED")))["errors"] == []
        assert await narrow.get(first["id"]) == cancelled
        assert not (narrow.artifacts / "media" / cancelled["steps"][0]["task_id"]).exists()


async def test_an_attempt_that_takes_too_long_fails(narrow: Service) -> None:
    config = {"width": 4_000, "height": 4_000, "prompt": "x", "timeout_s": 0.2}
    workflow = await run(narrow, step("a", "GENERATION", **config) | {"max_retries": 0})
    assert (workflow["status"], workflow["errors"]) == ("FAILED", ["a: timed out after 0.2 s"])
    assert (await drawn(narrow))["width"] == 48


@pytest.mark.extended
async def test_an_input_beyond_the_limit_fails_the_step(narrow: Service, web: Web) -> None:
    noise = file_of(gradient(400, 400), "BMP")
    web.pages["/big.bmp"] = ("image/bmp", noise)
    own = (await drawn(narrow, width=300, height=300))["result_image_path"]
    references = [web.url + "/big.bmp", data_uri(noise, "image/bmp"), own]
    steps = [step(str(number), "REFINE", **{BASE: reference}) for number, reference in enumerate(references)]
    workflow = await run(narrow, *steps, config={"on_failure": "continue"})
    assert [found["retry_count"] for found in workflow["steps"]] == [0, 0, 0]
    assert all("larger than 2000 bytes" in error for error in workflow["errors"])
    assert len(workflow["errors"]) == 3
