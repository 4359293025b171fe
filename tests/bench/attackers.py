"""The attacks of `attacks.py`: what one tenant sends, over and over, until the process is stopped.

Each attack is a coroutine that sends its requests once. Responses don't matter: an attacker takes a refusal and goes
on.
"""

import asyncio
import gzip
import json
import resource
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import httpx
from msgspec import Struct

from providers.image_files import empty_png
from stepwell.basics.artifacts import PREVIEW_WIDTHS

BASE = "/api/v1/workflows/"
ARTIFACTS = "/api/v1/artifacts"
ENDED = {"COMPLETED", "FAILED", "CANCELLED"}
_PAUSE_S = 0.1
_MEBIBYTE = 1024 * 1024
SMALL_MEMORY = {"STEPWELL_MEMORY_MAX_BYTES": str(256 * _MEBIBYTE)}
SIDES = range(7_000, 7_900)  # pixels
_UNLIMITED = httpx.Limits(max_connections=None)

Step = dict[str, Any]


class Attack(Struct, frozen=True):
    """An attack: its row's text, its requests, and the circumstances that it needs.

    `open_files` is the service's limit of open files. `image`: the victim's workflow also draws an image. `preview`:
    the victim asks for previews by signed URL instead.
    """

    text: str
    send: "Callable[[Attacker], Awaitable[object]]"
    open_files: int | None = None
    image: bool = False
    preview: bool = False
    settings: Mapping[str, str] = {}


class Attacker:
    """A client of one tenant. *scale* multiplies the number of requests, steps or sockets of an attack."""

    def __init__(self, http: httpx.AsyncClient, url: str, token: str, scale: float) -> None:
        self.http, self.token, self.scale = http, token, scale
        address = urlsplit(url)
        self.host, self.port = str(address.hostname), int(address.port or 80)

    def times(self, number: int) -> int:
        return max(1, round(number * self.scale))

    async def create(self, *steps: Step, start: bool = True, **config: Any) -> str | None:
        """Create a workflow. Return its id; None if it is refused."""
        body = {"name": "attack", "origin_instance": "attack", "steps": steps, "config": config}
        response = await self.post(json.dumps(body).encode(), start=start)
        return None if response is None or response.status_code != 201 else str(response.json()["id"])

    async def post(
        self, body: bytes, headers: Mapping[str, str] = MappingProxyType({}), **params: Any
    ) -> httpx.Response | None:
        headers = {"Content-Type": "application/json", **headers}
        with suppress(httpx.HTTPError):
            return await self.http.post(BASE, content=body, params=params, headers=headers)
        return None

    async def run(self, *steps: Step) -> dict[str, Any] | None:
        """Create a workflow, and return it once it has ended; None if it is refused."""
        if (workflow_id := await self.create(*steps)) is None:
            await asyncio.sleep(_PAUSE_S)
            return None
        while True:
            with suppress(httpx.HTTPError, KeyError, ValueError):
                response = await self.http.get(BASE + workflow_id, params={"include_steps": False})
                if response.json()["status"] in ENDED:
                    return dict(response.json())
            await asyncio.sleep(_PAUSE_S)

    async def read(self, path: str, **params: Any) -> int:
        """Read a response to its end without keeping it. Return its size."""
        size = 0
        with suppress(httpx.HTTPError):
            async with self.http.stream("GET", path, params=params) as response:
                async for piece in response.aiter_bytes():
                    size += len(piece)
        return size

    async def at_once(self, number: int, send: Callable[[], Awaitable[object]]) -> None:
        """Send the same *number* times at once, for an attack scaled by its number."""
        await asyncio.gather(*(send() for _ in range(self.times(number))))

    async def raw(self, head: str, body: bytes = b"", hold_s: float = 10.0) -> None:
        """Open a connection, send *head* and *body*, and keep it open without reading."""
        with suppress(OSError, TimeoutError):
            reader, writer = await asyncio.open_connection(self.host, self.port)
            try:
                writer.write(head.encode() + body)
                async with asyncio.timeout(hold_s):
                    await writer.drain()
                    await reader.read()  # nothing more is sent, so this ends when the service closes
            finally:
                writer.transport.abort()

    def head(self, method: str, path: str, *lines: str) -> str:
        """Return the head of an HTTP request with the token."""
        return "\r\n".join(
            [f"{method} {path} HTTP/1.1", "Host: attack", f"Authorization: Bearer {self.token}", *lines, "", ""]
        )


def passthrough(step_id: str, *needs: str, mappings: list[dict[str, str]] | None = None, **config: Any) -> Step:
    return {
        "id": step_id,
        "task_type": "PASSTHROUGH",
        "config": config,
        "depends_on": list(needs),
        "input_mappings": mappings or [],
    }


def mapping(from_step: str, from_field: str, to_field: str, transform: str | None = None) -> dict[str, str]:
    members = {"from_step": from_step, "from_field": from_field, "to_field": to_field}
    return members if transform is None else {**members, "transform": transform}


def local(step_id: str, task_type: str, *needs: str, **config: Any) -> Step:
    mappings = [mapping(needs[0], "result_image_path", "base_image_url")] if needs else []
    members = {"id": step_id, "task_type": task_type, "config": config, "depends_on": list(needs)}
    return {**members, "input_mappings": mappings, "provider_config": {"provider_type": "LOCAL"}}


def expression_over(elements: int, expression: str, steps: int) -> list[Step]:
    """Return a step with a list, and *steps* steps that each map it twice by *expression*."""
    maps = [mapping("list", expression, "first"), mapping("list", expression, "second")]
    return [
        passthrough("list", v=[1] * elements),
        *(passthrough(f"map-{number}", "list", mappings=maps) for number in range(steps)),
    ]


async def pipes(attacker: Attacker) -> None:
    await attacker.run(*expression_over(attacker.times(60_000), "v" + "|[*]" * 240, 1))


async def copies(attacker: Attacker) -> None:
    await attacker.run(*expression_over(attacker.times(60_000), "v" + "|[*].[@,@]|[]" * 8, 1))


async def searches(attacker: Attacker) -> None:
    literal = json.dumps(list(range(2, 240)), separators=(",", ":"))
    await attacker.run(*expression_over(attacker.times(60_000), f"v[?contains(`{literal}`, @)]", 1))


async def many_expressions(attacker: Attacker) -> None:
    await attacker.run(*expression_over(50_000, "v" + "|[*]" * 20, attacker.times(800)))


async def many_sources(attacker: Attacker) -> None:
    copies = _copies_of_a_result(50)
    sources = [step["id"] for step in copies[1:]]
    maps = [mapping(source, "copy[0] || `1`", f"from-{source}") for source in sources]
    gathered = (passthrough(f"gather-{n}", *sources, mappings=maps) for n in range(attacker.times(100)))
    await attacker.run(*copies, *gathered)


async def many_parses(attacker: Attacker) -> None:
    expressions = [f"v[{number}] | [@, `x`, `{number}`] | [0]" for number in range(attacker.times(8_000))]
    # No mapping may have one as long as the last two.
    for some in (expressions, ["v" + "[0]" * 90_000], ["(" * 1_000_000]):
        maps = (mapping("list", expression, "x") for expression in some)
        steps = (passthrough(f"map-{n}", "list", mappings=[each]) for n, each in enumerate(maps))
        await attacker.create(passthrough("list", v=[1]), *steps, start=False)


async def config_expressions(attacker: Attacker) -> None:
    elements, stages = list(range(attacker.times(60_000))), "|[?@ != `-1`]" * 70
    hostile = ["${inputs.v" + stages + "}", "${inputs.v[0]} " * 1_000, "${inputs} " * 1_000]
    steps = [passthrough(f"s-{number}", x=hostile[number % 3]) for number in range(20)]
    schema = {"properties": {"text": {"pattern": "^(a+)+$"}}}
    for more in ({}, {"inputs_schema": schema}):
        inputs = {"v": elements, "text": "a" * 64 + "!"}
        body = {"name": "attack", "origin_instance": "attack", "steps": steps, "inputs": inputs, **more}
        await attacker.post(json.dumps(body).encode(), start=True)


async def _file(attacker: Attacker) -> str | None:
    workflow = await attacker.run(local("draw", "GENERATION", prompt="noise", width=1600, height=1600))
    return None if workflow is None else (workflow["final_step_result"] or {}).get("result_image_path")


async def data_uris(attacker: Attacker) -> None:
    if (path := await _file(attacker)) is not None:
        uris = [mapping("paths", "paths", "files", "PATH_TO_DATA_URI")]
        steps = (passthrough(f"uris-{n}", "paths", mappings=uris) for n in range(attacker.times(20)))
        await attacker.run(passthrough("paths", paths=[path] * 60), *steps)


async def data_uris_as_inputs(attacker: Attacker) -> None:
    if (path := await _file(attacker)) is not None:
        uris = [mapping("paths", "paths", "reference_image_urls", "PATH_TO_DATA_URI")]
        edits = (
            local(f"edit-{n}", "EDITING", base_image_url=path, rotate=1)
            | {"depends_on": ["paths"], "input_mappings": uris}
            for n in range(attacker.times(20))
        )
        await attacker.run(passthrough("paths", paths=[path] * 16), *edits)


async def many_inputs(attacker: Attacker) -> None:
    if (path := await _file(attacker)) is not None:
        edits = (
            local(f"edit-{n}", "EDITING", base_image_url=path, reference_image_urls=[path] * 16, rotate=1)
            for n in range(attacker.times(20))
        )
        await attacker.run(*edits)


def _copies_of_a_result(steps: int) -> list[Step]:
    copied = [mapping("text", "text", "copy")]
    text = "x" * 900_000
    return [
        passthrough("text", text=text),
        *(passthrough(f"copy-{number}", "text", mappings=copied) for number in range(steps)),
    ]


async def _workflow_with_large_results(attacker: Attacker) -> str | None:
    # 60 results of 900 kB are within STEPWELL_RESULTS_MAX_BYTES; without that bound, 800 were possible.
    workflow = await attacker.run(*_copies_of_a_result(60))
    return None if workflow is None else str(workflow["id"])


async def large_responses(attacker: Attacker) -> None:
    await attacker.run(*_copies_of_a_result(attacker.times(800)))
    workflow_id = await _workflow_with_large_results(attacker)
    for _ in range(3):
        await attacker.at_once(4, lambda: attacker.read(f"{BASE}{workflow_id}"))


async def large_lists(attacker: Attacker) -> None:
    for _ in range(attacker.times(10)):
        await _workflow_with_large_results(attacker)
    for _ in range(3):
        await attacker.at_once(3, lambda: attacker.read(BASE, limit=100))


async def large_results(attacker: Attacker) -> None:
    steps = [passthrough(f"s-{number}") for number in range(60)]
    defaults = {"PASSTHROUGH": {"text": "x" * 1_000_000}}
    body = {"name": "attack", "origin_instance": "attack", "steps": steps, "config": {"step_defaults": defaults}}
    packed = gzip.compress(json.dumps(body).encode(), mtime=0)
    await attacker.at_once(40, lambda: attacker.post(packed, {"Content-Encoding": "gzip"}))


async def large_items(attacker: Attacker) -> None:
    for_each = {"items": "${inputs.texts}"}
    steps = [passthrough(f"s-{number}") | {"for_each": for_each} for number in range(50)]
    inputs = {"texts": ["x" * 10_000] * 100}
    body = {"name": "attack", "origin_instance": "attack", "steps": steps, "inputs": inputs}
    packed = gzip.compress(json.dumps(body).encode(), mtime=0)
    await attacker.at_once(40, lambda: attacker.post(packed, {"Content-Encoding": "gzip"}))


async def slow_readers(attacker: Attacker) -> None:
    workflow_id = await _workflow_with_large_results(attacker)
    await attacker.at_once(50, lambda: attacker.raw(attacker.head("GET", f"{BASE}{workflow_id}")))


async def creates(attacker: Attacker) -> None:
    body = json.dumps({"name": "a", "origin_instance": "a", "steps": [passthrough("a"), passthrough("b", "a")]})
    await _flood(attacker, body.encode(), attacker.times(20_000))


async def large_creates(attacker: Attacker) -> None:
    steps = [passthrough(f"s-{n}", *([f"s-{n - 1}"] if n else [])) for n in range(200)]
    body = json.dumps({"name": "a", "origin_instance": "a", "steps": steps}).encode()
    await _flood(attacker, body, attacker.times(1_000))


async def _flood(attacker: Attacker, body: bytes, number: int, clients: int = 50) -> None:
    left = iter(range(number))

    async def client() -> None:
        for _ in left:
            response = await attacker.post(body)
            if response is None or response.status_code >= 400:
                await asyncio.sleep(_PAUSE_S)

    await asyncio.gather(*(client() for _ in range(clients)))


async def streams(attacker: Attacker) -> None:
    await attacker.at_once(
        560, lambda: attacker.raw(attacker.head("GET", "/api/v1/events", "Accept: text/event-stream"))
    )


async def silent_sockets(attacker: Attacker) -> None:
    await attacker.at_once(560, lambda: attacker.raw(""))


async def half_heads(attacker: Attacker) -> None:
    await attacker.at_once(560, lambda: attacker.raw("GET / HTTP/1.1\r\nHost: attack\r\nX-More: "))


async def unread_responses(attacker: Attacker) -> None:
    requests = attacker.head("GET", "/schema/openapi.json") * 20
    await attacker.at_once(300, lambda: attacker.raw(requests))


def _body_head(attacker: Attacker, length: int) -> str:
    return attacker.head("POST", BASE, "Content-Type: application/json", f"Content-Length: {length}")


async def stalled_bodies(attacker: Attacker) -> None:
    size = 15 * _MEBIBYTE
    body = b" " * (size - 1)
    await attacker.at_once(60, lambda: attacker.raw(_body_head(attacker, size), body, hold_s=30))


async def many_values(attacker: Attacker) -> None:
    body = b"[" + b"{}," * (5 * _MEBIBYTE) + b"{}]"
    await attacker.at_once(8, lambda: attacker.post(body))


async def many_members(attacker: Attacker) -> None:
    body = json.dumps({"steps": [{f"k{number}": number} for number in range(450_000)]}).encode()
    await attacker.at_once(8, lambda: attacker.post(body))


async def large_images(attacker: Attacker) -> None:
    draws = (local(f"draw-{n}", "GENERATION", prompt="x", width=8_000, height=8_000) for n in range(attacker.times(30)))
    await attacker.run(*draws)


async def large_enhancers(attacker: Attacker) -> None:
    enhances = (local(f"enhance-{n}", "FACE_ENHANCER", "draw", strength=1) for n in range(attacker.times(10)))
    await attacker.run(local("draw", "GENERATION", prompt="x", width=8_000, height=8_000), *enhances)


async def cleanups(attacker: Attacker) -> None:
    draws = (local(f"draw-{n}", "GENERATION", prompt="x", width=16, height=16) for n in range(attacker.times(300)))
    if (workflow := await attacker.run(*draws)) is not None:
        with suppress(httpx.HTTPError):
            await attacker.http.post(f"{BASE}{workflow['id']}/cleanup")


async def preview_urls(http: httpx.AsyncClient, width: int, height: int) -> AsyncIterator[str]:
    """Upload an image of one colour, and yield the signed URL of each preview of it."""
    headers = {"Content-Type": "application/octet-stream"}
    sent = await http.post(ARTIFACTS, content=empty_png(width, height), params={"name": "x.png"}, headers=headers)
    path = sent.raise_for_status().json()["artifacts"][0]["path"]
    link = await http.post(f"{ARTIFACTS}/links", json={"path": path})
    url = urlsplit(link.raise_for_status().json()["url"])
    for preview_width in PREVIEW_WIDTHS:
        yield f"{url.path}?{url.query}&w={preview_width}"


async def previews(attacker: Attacker) -> None:
    urls: list[str] = []
    while len(urls) < attacker.times(40):
        # Each has other bytes than those before it, so that no preview is stored already.
        width, height = secrets.choice(SIDES), secrets.choice(SIDES)
        with suppress(httpx.HTTPError):
            urls += [url async for url in preview_urls(attacker.http, width, height)]
    # One client sends all at once, without a token.
    async with httpx.AsyncClient(base_url=attacker.http.base_url, timeout=120, limits=_UNLIMITED) as http:
        await asyncio.gather(*(http.get(url) for url in urls), return_exceptions=True)


ATTACKS: Mapping[str, Attack] = {
    "A1": Attack("240 stages of `[*]` over 60,000 elements, mapped twice", pipes),
    "A2": Attack("8 doublings of 60,000 elements, mapped twice", copies),
    "A3": Attack("60,000 searches in a list of 238, mapped twice", searches),
    "A4": Attack("800 steps with 20 stages over 50,000 elements each", many_expressions),
    "A5": Attack("100 steps that map from 50 results of 900 kB each", many_sources),
    "A6": Attack("a create of 8,000 expressions; one of 270,000 characters, and one of 1,000,000", many_parses),
    "A7": Attack("20 steps with expressions over inputs of 60,000 elements; a hostile schema", config_expressions),
    "B1": Attack("20 steps with 60 data URIs each", data_uris),
    "B2": Attack("20 EDITING steps with 16 data URIs each", data_uris_as_inputs),
    "B3": Attack("20 EDITING steps with 17 input files each", many_inputs),
    "C1": Attack("4 readers of a workflow of 55 MB; a create of 800 results of 900 kB", large_responses),
    "C2": Attack("3 readers of a list of 10 such workflows", large_lists),
    "C3": Attack("50 readers that don't read on", slow_readers),
    "C4": Attack(
        "40 gzip bodies of 1.4 kB, 60 results of 1 MB each; 256 MiB of memory", large_results, settings=SMALL_MEMORY
    ),
    "C5": Attack(
        "40 gzip bodies of 2 kB, 5,000 items of 10 kB each; 256 MiB of memory", large_items, settings=SMALL_MEMORY
    ),
    "D1": Attack("20,000 creates", creates),
    "D2": Attack("1,000 creates of 200 steps", large_creates),
    "E1": Attack("560 streams, with 1,024 files", streams, open_files=1024),
    "E2": Attack("560 silent sockets without a token, with 1,024 files", silent_sockets, open_files=1024),
    "E3": Attack("560 heads that don't end, with 1,024 files", half_heads, open_files=1024),
    "E4": Attack("300 connections with 20 requests for the OpenAPI document each, which don't read", unread_responses),
    "F1": Attack("60 bodies of 15 MiB that stall", stalled_bodies),
    "F2": Attack("8 bodies of 15 MiB of `{}`", many_values),
    "F3": Attack("8 bodies of 900,000 values, which is within the bound", many_members),
    "G1": Attack("30 images of 64 megapixels", large_images, image=True),
    "G2": Attack("10 FACE_ENHANCER of 64 megapixels", large_enhancers, image=True),
    "H": Attack("cleanups of 300 files", cleanups),
    "I": Attack("40 previews of up to 62 megapixels by signed URL; the times are of previews", previews, preview=True),
}


async def attack(name: str, url: str, token: str, scale: float) -> None:
    """Repeat an attack until SIGTERM."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    headers = {"Authorization": f"Bearer {token}"}
    limits = httpx.Limits(max_connections=2_000, max_keepalive_connections=100)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=120, limits=limits) as http:
        attacker = Attacker(http, url, token, scale)

        async def repeat() -> None:
            while True:
                await ATTACKS[name].send(attacker)
                await asyncio.sleep(_PAUSE_S)

        async with asyncio.TaskGroup() as group:
            repeated = group.create_task(repeat(), name=f"attack {name}")
            await stopped.wait()
            repeated.cancel()


def names(only: str) -> Iterator[str]:
    """Yield the names of the attacks that *only* selects: a letter, or names with commas between them; all if empty."""
    wanted = only.upper().split(",")
    yield from (name for name in ATTACKS if not only or name in wanted or name[0] in wanted)


if __name__ == "__main__":
    asyncio.run(attack(sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])))
