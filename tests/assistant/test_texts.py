"""The texts that an assistant reads: the page of the manual, the prompt and the resources."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import TextContent, TextResourceContents

from providers.image_files import file_of, gradient
from stepwell.api.routes.manual_pages import PAGES, read_page
from support.documents.manual import pages
from support.documents.markdown import blocks_of
from support.service.assistant import assistant, call, stdio_assistant
from support.service.live_service import token

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.extended
async def test_the_tool_calls_of_the_manual_do_what_it_says(url: str, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(file_of(gradient(40, 30)))
    calls = [block for block in blocks_of(pages()["assistant"]) if block.note.startswith("tool: ")]
    values: dict[str, str] = {}
    result: dict[str, Any] = {}
    async with stdio_assistant(url, token("acme", every=False), tmp_path) as client:
        for block in calls:
            text = block.text
            for name, value in values.items():
                text = text.replace(f'"{name}"', json.dumps(value))
            result = await call(client, block.note.removeprefix("tool: "), **json.loads(text))
            if "file" in result:
                values["PATH"] = result["file"]["path"]
            if "workflow" in result:
                assert result["workflow"]["status"] == "COMPLETED"
                values["ID"] = result["workflow"]["id"]
    assert [file["shown"] for file in result["files"]] == [True]
    assert len(calls) == 4


async def test_every_tool_is_in_the_manual(url: str) -> None:
    async with assistant(url, token()) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
    assert [name for name in names if f"`{name}`" not in pages()["assistant"]] == []


async def test_the_example_of_the_prompt_is_valid(url: str) -> None:
    async with assistant(url, token()) as client:
        (prompt,) = (await client.list_prompts()).prompts
        result = await client.get_prompt(prompt.name, {"task": "Cut out my photo."})
        content = result.messages[0].content
        assert isinstance(content, TextContent)
        assert content.text.endswith("The task: Cut out my photo.\n")
        (example,) = [block for block in blocks_of(content.text) if block.language == "json"]
        planned = await call(client, "plan_workflow", definition=json.loads(example.text))
        assert planned["layers"] == [["draw"], ["refine"], ["cut"]]
        schema = json.loads(await _read(client, "stepwell://schema/definition"))
        Draft202012Validator(schema).validate(json.loads(example.text))
        assert not Draft202012Validator(schema).is_valid({"name": "No steps", "origin_instance": "tests"})


async def test_the_manual_and_the_schemas_are_resources(url: str) -> None:
    async with assistant(url, token()) as client:
        uris = [resource.uri for resource in (await client.list_resources()).resources]
        assert uris[:2] == ["stepwell://schema/definition", "stepwell://schema/openapi"]
        assert uris[2:] == [f"stepwell://manual/{name}" for name in PAGES]
        assert await _read(client, "stepwell://manual/tasks") == read_page("tasks")
        openapi: dict[str, Any] = json.loads(await _read(client, "stepwell://schema/openapi"))
        assert "/api/v1/workflows/" in openapi["paths"]
        for wrong in ("stepwell://manual/../secret", "stepwell://manual/nothing", "file:///etc/passwd"):
            with pytest.raises(MCPError, match="There is no resource"):
                await client.read_resource(wrong)


async def _read(client: Client, uri: str) -> str:
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    return content.text
