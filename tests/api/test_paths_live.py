"""No input reaches a file that isn't the caller's own artifact: not by address, not as a step's input."""

import os
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import pytest
import pytest_asyncio
from msgspec import Struct

from support.providers.configured_by_steps import ConfiguredProvider, configured_step, passthrough_step
from support.service.live_service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

_DOTS = re.compile(r"(?<![^/])\.\.?(?![^/])")
SECRET = "the text of a file that is none of theirs"
# {path} is an artifact's, {task} its task, {root} the store's folder.
CORPUS = [
    *("../secret.txt", "../../secret.txt", "media/../../secret.txt", "media/{task}/../../../secret.txt", "./{path}"),
    *("media/./{task}/file-0.bin", "media/{task}/./file-0.bin", "media/{task}/../{task}/file-0.bin", "{root}/{path}"),
    *("{root}/../secret.txt", "/etc/passwd", "etc/passwd", "media", "media/", "media/{task}", "media/{task}/", "."),
    *("media/{task}/file-0.bin/", "media/{task}/file-0.bin/..", "media/{task}/FILE-0.BIN", "MEDIA/{task}/file-0.bin"),
    *("media/{task}/file-0.bin.", "media/{task}/file-0.bin ", " {path}", "media\\{task}\\file-0.bin", "..\\secret.txt"),
    *("media/{task}/..\\..\\..\\secret.txt", "{path}%00", "{path}%00.png", "%2e%2e/secret.txt", "%2e%2e%2fsecret.txt"),
    *("..%2fsecret.txt", "..%252fsecret.txt", "%252e%252e/secret.txt", "..%c0%afsecret.txt", "%c0%ae%c0%ae/secret.txt"),
    *(
        "\uff0e\uff0e/secret.txt",
        "..\u2215secret.txt",
        "..\uff0fsecret.txt",
        "media/{task}/link.bin",
        "media/*/file-0.bin",
    ),
    *("media/{task}/*", "media/{task}/file-?.bin", "media/{task}/.part-" + "0" * 32, "media/{task}/file-0.bin#1"),
    *(
        "media/{other}/file-0.bin",
        "media/{task}/file-1.bin",
        "media/{task}/" + "x" * 300,
        "media/{task}/" + "x" * 20_000,
    ),
    *(
        "media/{task}/file-0.bin?x=1#y",
        "~/secret.txt",
        "$HOME/secret.txt",
        "C:\\secret.txt",
        "//media/{task}/file-0.bin/x",
    ),
    *("media//{task}/file-0.bin", "media/{task}//file-0.bin", "media/{task}/file-0.bin\n", "media/{{task}}/file-0.bin"),
    *(
        "media/{task}/\u202efile-0.bin",
        "media/{braced}/file-0.bin",
        "media/{bare}/file-0.bin",
        "media/{upper}/file-0.bin",
    ),
]
REFERENCES = [
    *("file:///etc/passwd", "file://{root}/{path}", "FILE:/etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x"),
    *(
        "data:",
        "data:image/png;base64",
        "data:image/png;base64,***",
        "data:text/html,<x>",
        "javascript:alert(1)",
        "//x/y",
    ),
    *("http://", "https://:80/", "http://u:p@127.0.0.1/x.png", "http://[::1", "http://127.0.0.1:99999/", "x", " "),
]


class Files(Struct):
    """`own` is a file of the tenant "acme", `theirs` one of "other", `nobodys` one without a tenant."""

    own: str
    theirs: str
    nobodys: str
    corpus: list[str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def files(live: Service, scripted: ConfiguredProvider) -> AsyncIterator[Files]:
    made = []
    for tenant in ("acme", "other", None):
        workflow = await live.create(configured_step("a", files=1), origin_tenant_id=tenant)
        made.append((await live.until_ended(workflow["id"]))["steps"][0]["result"]["paths"][0])
    own, theirs, nobodys = made
    for folder in (live.artifacts, live.artifacts.parent):
        (folder / "secret.txt").write_text(SECRET)
    (live.artifacts / own).with_name("link.bin").symlink_to(live.artifacts / "secret.txt")
    task = own.split("/")[1]
    names = {
        "{path}": own,
        "{task}": task,
        "{other}": str(uuid4()),
        "{root}": str(live.artifacts),
        "{braced}": "{" + task + "}",
        "{bare}": task.replace("-", ""),
        "{upper}": task.upper(),
    }
    yield Files(own, theirs, nobodys, [_filled(entry, names) for entry in CORPUS + REFERENCES])
    (live.artifacts / own).with_name("link.bin").unlink()


def _filled(entry: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        entry = entry.replace(name, value)
    return entry


async def test_only_the_exact_path_opens_a_file(live: Service, files: Files) -> None:
    async with live.as_tenant("acme") as client:
        assert (await client.get("/api/v1/artifacts/" + files.own)).content == b"file-0.bin of a"
        for path in files.corpus:
            for text in (path, path.replace("%", "%25"), path.replace("/", "%2f")):
                # As escapes, else the client itself would take dots out of the path.
                dotted = _DOTS.sub(lambda dots: dots[0].replace(".", "%2e"), text)
                url = "/api/v1/artifacts/" + dotted.replace("?", "%3f").replace("#", "%23").replace("\n", "%0a")
                response = await client.get(url)
                # Slashes too many are the same address to the router.
                same = re.sub("/+", "/", unquote(text)).strip("/") == files.own
                assert response.status_code == (200 if same else 404), (url[:200], response.text[:200])
                assert SECRET not in response.text
        for path in (files.theirs, files.nobodys):
            assert (await client.get("/api/v1/artifacts/" + path)).status_code == 404


def edits(references: list[str]) -> list[dict[str, Any]]:
    return [
        {"id": f"edit {number}", "task_type": "EDITING", "config": {"base_image_url": reference, "rotate": 1}}
        for number, reference in enumerate(references)
    ]


async def failed_steps(live: Service, *steps: dict[str, Any], tenant: str | None) -> list[dict[str, Any]]:
    """All fail, at once and for good."""
    members: dict[str, Any] = {"origin_tenant_id": tenant, "config": {"on_failure": "continue"}}
    workflow = await live.until_ended((await live.create(*steps, **members))["id"], within_s=60)
    assert workflow["status"] == "FAILED"
    assert SECRET not in repr(workflow)
    found: list[dict[str, Any]] = [step for step in workflow["steps"] if step["task_type"] != "PASSTHROUGH"]
    assert {(step["status"], step["retry_count"]) for step in found} == {("FAILED", 0)}
    return found


async def test_no_other_notation_of_a_path_is_read_as_an_input(live: Service, files: Files) -> None:
    """Create refuses values that can't name a file. A step with one of the other values fails."""
    steps = edits(files.corpus)
    body = {"name": "w", "origin_instance": "tests", "origin_tenant_id": "acme", "steps": steps}
    response = await live.client.post("/api/v1/workflows/", json=body)
    assert response.status_code == 422
    assert SECRET not in response.text
    refused = {fault["loc"][2]: fault for fault in response.json()["detail"]}
    for number, fault in refused.items():
        assert fault["loc"] == ["body", "steps", number, "config", "base_image_url"]
        assert fault["type"] in {"file_invalid", "url_invalid"}, files.corpus[number]
    rest = [step for number, step in enumerate(steps) if number not in refused]
    assert len(refused) > len(rest) > 0
    for step in await failed_steps(live, *rest, tenant="acme"):
        reference, message = step["config"]["base_image_url"], step["error_message"]
        assert message.startswith("base_image_url: "), (reference, message)
        if reference.startswith("media/"):
            assert message.endswith(" not found"), (reference, message)


@pytest.mark.parametrize("tenant", ["acme", "other", None])
async def test_another_tenants_file_is_not_found(live: Service, files: Files, tenant: str | None) -> None:
    owned = {"acme": files.own, "other": files.theirs, None: files.nobodys}
    foreign = [path for owner, path in owned.items() if owner != tenant]
    unknown = f"media/{uuid4()}/file-0.bin"
    *steps, last = await failed_steps(live, *edits([*foreign, unknown]), tenant=tenant)
    for step in steps:
        path = step["config"]["base_image_url"]
        assert step["error_message"] == last["error_message"].replace(unknown, path)
        assert step["error_message"].endswith(" not found")


@pytest.mark.parametrize(
    "transform",
    [*(pytest.param(name, marks=pytest.mark.extended) for name in ("PATH_TO_URL", "PATH_TO_DATA_URI")), None],
)
async def test_paths_from_mappings_are_checked_too(live: Service, files: Files, transform: str | None) -> None:
    references = [files.theirs, files.nobodys, *files.corpus]
    mappings = [{"from_step": "source", "from_field": "x", "to_field": "base_image_url", "transform": transform}]
    source = passthrough_step("source", all=references)
    steps = [
        {
            "id": f"edit {number}",
            "task_type": "EDITING",
            "depends_on": ["source"],
            "input_mappings": [mappings[0] | {"from_field": f"all[{number}]"}],
        }
        for number, _ in enumerate(references)
    ]
    for step in await failed_steps(live, source, *steps, tenant="acme"):
        assert "base_image_url" in step["error_message"]


async def test_a_file_of_a_cleaned_workflow_is_not_found(live: Service) -> None:
    workflow = await live.until_ended((await live.create(configured_step("a", files=1)))["id"])
    path = workflow["steps"][0]["result"]["paths"][0]
    copy = (live.artifacts / path).read_bytes()
    assert (await live.verb(workflow["id"], "cleanup")).status_code == 200
    os.makedirs((live.artifacts / path).parent)  # noqa: PTH103
    (live.artifacts / path).write_bytes(copy)
    assert (await live.client.get("/api/v1/artifacts/" + path)).status_code == 404
    (step,) = await failed_steps(live, *edits([path]), tenant=None)
    assert step["error_message"].endswith(" not found")
