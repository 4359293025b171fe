"""Stored definitions, as an assistant uses them: by name, and as tools of their own."""

from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from stepwell.client import AsyncStepwell
from stepwell.contract.scopes import Permission
from stepwell.mcp.definition_tools import definition_of_run
from support.service.assistant import assistant, call, failure
from support.service.live_service import token

pytestmark = pytest.mark.asyncio(loop_scope="module")
STEP: dict[str, Any] = {"id": "a", "task_type": "PASSTHROUGH", "config": {"product": "${inputs.product}"}}
SCHEMA = {"type": "object", "required": ["product"], "properties": {"product": {"type": "string", "minLength": 2}}}
STORED: dict[str, Any] = {"steps": [STEP], "inputs_schema": SCHEMA}
LABELS = {"mcp": "tool"}


async def tools(client: Client) -> dict[str, Any]:
    return {tool.name: tool for tool in (await client.list_tools()).tools if tool.name.startswith("run_")}


async def test_a_definition_with_the_label_is_a_tool_that_runs_its_default_version(url: str) -> None:
    bearer = token("shop", every=False)
    async with AsyncStepwell(url, token=bearer) as stepwell, assistant(url, bearer) as client:
        for definition in (STORED, {"steps": [STEP]}):
            await stepwell.put_definition("photo-set", definition)
        assert await tools(client) == {}
        await stepwell.update_definition("photo-set", labels=LABELS, default_version=1, description="Draw photos.")
        tool = (await tools(client))["run_photo-set"]
        assert (tool.input_schema, tool.title) == (SCHEMA, "photo-set")
        assert tool.description == "Draw photos. It creates a workflow, and its steps may cost money at providers."
        submit = next(each for each in (await client.list_tools()).tools if each.name == "submit_workflow")
        assert (tool.output_schema, tool.annotations) == (submit.output_schema, submit.annotations)
        result = await call(client, "run_photo-set", product="cup")
        assert result["workflow"]["definition"] == {"name": "photo-set", "version": 1}
        run = await call(client, "get_workflow", workflow_id=result["workflow"]["id"], wait_s=30)
        assert run["workflow"]["status"] == "COMPLETED"
        assert "inputs.product: Expected minLength 2" in await failure(client, "run_photo-set", product="c")
        await stepwell.update_definition("photo-set", default_version=None)
        assert (await tools(client))["run_photo-set"].input_schema == {"type": "object"}
        await stepwell.update_definition("photo-set", archived=True)
        assert await tools(client) == {}
        assert (await failure(client, "run_photo-set", product="cup")).startswith("409")
        assert "There is no definition no-set" in await failure(client, "run_no-set")


async def test_the_tools_are_those_of_the_tenant_and_of_tokens_that_read_and_run(url: str) -> None:
    async with AsyncStepwell(url, token=token("one", every=False)) as stepwell:
        await stepwell.put_definition("cards", STORED)
        await stepwell.update_definition("cards", labels=LABELS)
    for tenant, permissions, names in (
        ("one", (Permission.READ, Permission.WRITE, Permission.READ_DEFINITIONS), ["run_cards"]),
        ("one", (Permission.READ, Permission.WRITE), []),
        ("one", (Permission.READ, Permission.READ_DEFINITIONS), []),
        ("two", tuple(Permission), []),
    ):
        async with assistant(url, token(tenant, every=False, permissions=permissions)) as client:
            assert [*await tools(client)] == names
            assert len((await client.list_tools()).tools) >= 7
            if tenant == "two":
                assert "There is no definition cards" in await failure(client, "run_cards", product="cup")
            if Permission.WRITE not in permissions:
                assert "workflows:write" in await failure(client, "run_cards", product="cup")


async def test_the_first_forty_by_name_are_tools_and_long_names_are_left_out(url: str) -> None:
    bearer = token("many", every=False)
    names = [f"d-{number:02}" for number in range(42)]
    async with AsyncStepwell(url, token=bearer) as stepwell, assistant(url, bearer) as client:
        for name in ("a" * 60, "b" * 61, *names):
            await stepwell.put_definition(name, {"steps": [STEP]})
            await stepwell.update_definition(name, labels=LABELS)
        assert [*await tools(client)] == [f"run_{name}" for name in ("a" * 60, *names[:39])]
        with pytest.raises(MCPError, match="Unknown tool"):
            await client.call_tool(f"run_{'b' * 61}", {})


@pytest.mark.parametrize(
    ("tool", "name"),
    [
        ("run_a", "a"),
        (f"run_{'a' * 60}", "a" * 60),
        (f"run_{'a' * 61}", None),
        ("run_", None),
        ("run_A", None),
        ("run_a\n", None),
        ("run_-a", None),
        ("runs_a", None),
    ],
)
async def test_a_tool_names_a_definition(tool: str, name: str | None) -> None:
    found = definition_of_run(tool, {"x": 1})
    assert found == (None if name is None else {"definition": {"name": name}, "inputs": {"x": 1}})


async def test_a_definition_is_planned_submitted_and_filtered_by_name(url: str) -> None:
    bearer = token("plain", every=False)
    async with AsyncStepwell(url, token=bearer) as stepwell, assistant(url, bearer) as client:
        ask = {"id": "ask", "task_type": "APPROVAL", "config": {"message": "?", "choices": ["yes"]}}
        await stepwell.put_definition("asked", {"steps": [ask]})
        body = {"definition": {"name": "asked"}}
        assert (await call(client, "plan_workflow", definition=body))["total_steps"] == 1
        run = (await call(client, "submit_workflow", definition=body, wait_s=0.1))["workflow"]
        assert run["definition"] == {"name": "asked", "version": 1}
        for definition, count in (("asked", 1), ("asked@1", 1), ("asked@2", 0)):
            listed = await call(client, "list_workflows", definition=definition)
            assert [each["id"] for each in listed["workflows"]] == [run["id"]] * count
            decisions = await call(client, "list_decisions", definition=definition)
            assert [each["workflow_id"] for each in decisions["decisions"]] == [run["id"]] * count
        assert (await call(client, "get_costs", by=["definition"], definition="asked"))["costs"] == []
