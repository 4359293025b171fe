"""`stepwell mcp`: the server as a process of its own, which an assistant starts, and which calls a live service."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from providers.image_files import file_of, gradient
from stepwell.contract.scopes import Permission
from support.service.assistant import LEGACY, MODERN, call, failure, stdio_assistant
from support.service.live_service import token

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("mode", [pytest.param(LEGACY, marks=pytest.mark.extended), MODERN])
async def test_an_assistant_uses_the_service(url: str, tmp_path: Path, mode: str) -> None:
    (tmp_path / "photo.png").write_bytes(file_of(gradient(40, 30)))
    async with stdio_assistant(url, token("acme", every=False), tmp_path, mode=mode) as client:
        path = (await call(client, "upload_file", path=str(tmp_path / "photo.png")))["file"]["path"]
        step = {"id": "refine", "task_type": "REFINE", "config": {"base_image_url": path}}
        definition = {"name": "Refined", "origin_instance": "tests", "steps": [step]}
        result = await call(client, "submit_workflow", definition=definition, wait_s=50)
        assert result["workflow"]["status"] == "COMPLETED"
        outputs = await call(client, "get_outputs", workflow_id=result["workflow"]["id"])
        assert [file["shown"] for file in outputs["files"]] == [True]
    assert (tmp_path / "stderr").read_text() == ""


@pytest.mark.extended
async def test_only_media_are_uploaded_by_their_path(url: str, tmp_path: Path) -> None:
    (tmp_path / "key.png").write_text("-----BEGIN PRIVATE KEY-----")
    async with stdio_assistant(url, token("acme", every=False), tmp_path) as client:
        refusal = "is no image, video or sound"
        assert refusal in await failure(client, "upload_file", path=str(tmp_path / "key.png"))
        assert "No such file" in await failure(client, "upload_file", path=str(tmp_path / "missing.png"))
        os.mkfifo(tmp_path / "pipe.png")
        assert refusal in await failure(client, "upload_file", path=str(tmp_path / "pipe.png"))
        assert "Give either" in await failure(client, "upload_file")


@pytest.mark.extended
async def test_a_token_that_reads_gets_only_the_tools_that_read(url: str, tmp_path: Path) -> None:
    reading = token("acme", every=False, permissions=(Permission.READ,))
    async with stdio_assistant(url, reading, tmp_path) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        assert "get_workflow" in tools
        assert "submit_workflow" not in tools


@pytest.mark.extended
async def test_a_service_that_does_not_respond_is_reported_by_the_tools(tmp_path: Path) -> None:
    async with stdio_assistant("http://127.0.0.1:9", token(), tmp_path) as client:
        assert "doesn't respond" in await failure(client, "list_workflows")


@pytest.mark.extended
async def test_an_integer_that_the_service_cannot_hold_is_named(url: str, tmp_path: Path) -> None:
    async with stdio_assistant(url, token(), tmp_path) as client:
        huge = {"name": "Huge", "origin_instance": "tests", "steps": [], "config": {"seed": 2**100}}
        assert "- config.seed: " in await failure(client, "plan_workflow", definition=huge)


@pytest.mark.extended
async def test_without_the_extra_the_command_says_what_to_install(tmp_path: Path) -> None:
    blocked = (
        "import sys; sys.modules['mcp'] = None; from stepwell.cli import main; sys.argv = ['stepwell', 'mcp']; main()"
    )
    env = {**os.environ, "STEPWELL_URL": "http://127.0.0.1:9", "STEPWELL_TOKEN": token(), "HOME": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", blocked, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    printed, errors = await process.communicate()
    assert (process.returncode, printed) == (2, b"")
    assert errors.decode() == "stepwell: `stepwell mcp` needs the extra mcp: pip install 'stepwell[mcp]'\n"
