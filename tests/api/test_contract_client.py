"""A stock generator makes a client from the contract alone, and this client runs every operation of the contract.

openapi-python-client 0.29 can't read an array without `items`, which the contract has. By JSON Schema 2020-12 such an
array has items of any kind, so the test writes that out before. https://github.com/openapi-generators/openapi-python-client
has the issue as number 1435.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from support.documents.python_client import PythonClient, generate_python_client
from support.providers.configured_by_steps import configured_step, passthrough_step
from support.service.live_service import Service

pytestmark = [pytest.mark.extended, pytest.mark.asyncio(loop_scope="module")]

CONTRACT = Path(__file__).with_name("contract.openapi.json")
PACKAGE = "contract_client"


def with_items(node: Any) -> Any:
    """Return the document *node* with `items` of any kind for arrays that have none."""
    if isinstance(node, list):
        return [with_items(item) for item in node]
    if not isinstance(node, dict):
        return node
    return ({"items": {}} if node.get("type") == "array" else {}) | {key: with_items(node[key]) for key in node}


class ContractClient(PythonClient):
    """The generated client, which checks the exchanges against our document as well."""

    def __init__(self, service: Service) -> None:
        super().__init__(PACKAGE, service.client)

    def definition(self, *steps: dict[str, Any], name: str = "client") -> Any:
        parsed = [self.models.WorkflowStepDefinition.from_dict(step) for step in steps]
        return self.models.CreateWorkflow(name=name, steps=parsed, origin_instance="contract")

    async def create(self, *steps: dict[str, Any], start: bool = True) -> Any:
        body = self.definition(*steps)
        return await self.call("post_api_v1_workflows", body=body, start=start, expects=201)


@pytest.fixture(scope="module", autouse=True)
def generated(tmp_path_factory: pytest.TempPathFactory) -> None:
    generate_python_client(with_items(json.loads(CONTRACT.read_text())), tmp_path_factory.mktemp("client"), PACKAGE)


async def test_a_generated_client_runs_every_operation_of_the_contract(api: Service) -> None:
    client = ContractClient(api)
    drawn = {"id": "draw", "task_type": "GENERATION", "config": {"prompt": "a square", "width": 64, "height": 64}}
    mapping = {"from_step": "draw", "from_field": "result_image_path", "to_field": "base_image_url"}
    refined = {"id": "refine", "task_type": "REFINE", "input_mappings": [mapping]}

    created = await client.create(drawn, refined, start=False)
    assert (created.status, created.total_steps, created.canvas_task_id) == ("PENDING", 2, None)
    assert created.steps[1].dependencies == ["draw"]

    update = client.models.WorkflowUpdate(name=None, description="new")
    updated = await client.call("patch_api_v1_workflows_workflow_id", created.id, body=update)
    assert (updated.name, updated.description) == ("client", "new")

    for limit, ids in ((1000, [created.id]), (0, [])):
        found = await client.call(
            "get_api_v1_workflows", origin_instance="contract", status="PENDING", include_deleted=True, limit=limit
        )
        assert ([workflow.id for workflow in found.workflows], found.total) == (ids, 1)

    started = await client.call("post_api_v1_workflows_workflow_id_start", created.id)
    assert (started.status, started.steps[0].status) == ("RUNNING", "RUNNING")
    await api.until_ended(str(created.id))
    done = await client.call("get_api_v1_workflows_workflow_id", created.id)
    assert (done.status, done.progress, done.errors) == ("COMPLETED", 100.0, [])
    assert done.final_step_result["width"] == 128

    cleaned = await client.call("post_api_v1_workflows_workflow_id_cleanup", created.id)
    assert (cleaned.workflow.is_deleted, cleaned.cleanup.tasks_cleaned) == (True, 2)
    assert sorted(cleaned.cleanup.deleted_paths) == sorted(step.result["result_image_path"] for step in done.steps)

    unneeded = await client.create(passthrough_step("a"), start=False)
    cancelled = await client.call("delete_api_v1_workflows_workflow_id", unneeded.id)
    assert (cancelled.status, cancelled.steps[0].status) == ("CANCELLED", "CANCELLED")

    failing = await client.create(configured_step("a", fails=1, wait=True) | {"max_retries": 0})
    await api.until_ended(str(failing.id))
    failed = await client.call("get_api_v1_workflows_workflow_id", failing.id)
    assert (failed.status, failed.error_message) == ("FAILED", failed.errors[0])
    resumed = await client.call("post_api_v1_workflows_workflow_id_resume", failing.id)
    assert (resumed.status, resumed.error_message) == ("RUNNING", None)

    assert client.called == client.operations


async def test_a_generated_client_reads_what_is_refused(api: Service) -> None:
    client = ContractClient(api)
    body = client.definition({"id": "a", "task_type": "PASSTHROUGH"} | {"depends_on": ["x"]}, name="")
    refused = await client.call("post_api_v1_workflows", body=body, expects=422)
    assert [fault.loc for fault in refused.detail] == [["body", "name"], ["body", "steps", 0, "depends_on", 0]]
