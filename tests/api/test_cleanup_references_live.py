"""Cleanup of one workflow takes no file that another one's definition still names."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from msgspec import Struct

from support.database.statement_recorder import statements_sent, until_quiet
from support.providers.configured_by_steps import (
    WORKFLOWS,
    ConfiguredProvider,
    configured_step,
    passthrough_step,
    steps_are,
    task_id_of,
)
from support.providers.scripted import eventually
from support.service.live_service import Service

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOTHING: dict[str, Any] = {
    "tasks_processed": 0,
    "tasks_cleaned": 0,
    "deleted_paths": [],
    "errors": [],
    "pending": False,
}


def drawing(step_id: str, seed: int) -> dict[str, Any]:
    config = {"prompt": "blue", "width": 16, "height": 16, "seed": seed}
    return {"id": step_id, "task_type": "GENERATION", "config": config}


def editing(step_id: str, base: str, **config: Any) -> dict[str, Any]:
    return {"id": step_id, "task_type": "EDITING", "config": {"base_image_url": base, "rotate": 90, **config}}


def signing(step_id: str, drawn: str) -> dict[str, Any]:
    """A step whose result is the signed address of the other's picture."""
    read = {"from_step": drawn, "from_field": "result_image_path", "to_field": "url", "transform": "PATH_TO_URL"}
    return passthrough_step(step_id, drawn) | {"input_mappings": [read]}


class Drawn(Struct):
    """A workflow with two pictures; `url` is a signed address of the one that is `used`."""

    id: str
    used: str
    url: str
    free: str

    def kept(self, reader: str) -> dict[str, str]:
        """Return the report of a cleanup about the picture that is used."""
        error = f"{self.used}: still referenced by workflow {reader}"
        return {"task_id": str(task_id_of(self.used)), "step_id": "used", "task_type": "GENERATION", "error": error}


async def draw(live: Service) -> Drawn:
    made = await live.create(drawing("used", 1), drawing("free", 2), signing("url", "used"))
    workflow = await live.until_ended(made["id"])
    assert workflow["status"] == "COMPLETED", workflow["errors"]
    used, free, url = (step["result"] for step in workflow["steps"])
    assert "/api/v1/artifacts/" + used["result_image_path"] + "?expires=" in url["url"]
    return Drawn(workflow["id"], used["result_image_path"], url["url"], free["result_image_path"])


async def cleanup(live: Service, workflow_id: str, **params: Any) -> dict[str, Any]:
    response = await live.verb(workflow_id, "cleanup", **params)
    assert response.status_code == 200, response.text
    report: dict[str, Any] = response.json()["cleanup"]
    return report


async def readable(live: Service, path: str) -> bool:
    on_disk = (live.artifacts / path).exists()
    assert on_disk == ((await live.client.get("/api/v1/artifacts/" + path)).status_code == 200)
    return on_disk


async def until_gone(live: Service, path: str) -> None:
    """Wait until the file is deleted that a cleanup has left, because another workflow needed it."""
    await eventually(lambda: not (live.artifacts / path).exists(), f"{path} is deleted")
    assert not await readable(live, path)


async def undeleted(live: Service, workflow_id: str) -> list[str]:
    response = await live.client.get(f"{WORKFLOWS}{workflow_id}/tasks")
    return [task["step_id"] for task in response.json()["tasks"]]


async def refer(live: Service, path: str, workflow_id: UUID | str) -> None:
    connection = await asyncpg.connect(live.dsn)
    await connection.execute(
        "INSERT INTO artifact_references VALUES ($1, $2)", task_id_of(path), UUID(str(workflow_id))
    )
    await connection.close()


async def references(live: Service, workflow_id: str) -> set[UUID]:
    connection = await asyncpg.connect(live.dsn)
    query = "SELECT task_id FROM artifact_references WHERE workflow_id = $1"
    found = {row["task_id"] for row in await connection.fetch(query, UUID(workflow_id))}
    await connection.close()
    return found


async def test_an_image_that_another_workflow_reads_stays(live: Service) -> None:
    drawn = await draw(live)
    reader = (await live.create(editing("edit", drawn.used), start=False))["id"]
    for processed, deleted in ((3, [drawn.free]), (1, [])):
        assert await cleanup(live, drawn.id) == {
            "tasks_processed": processed,
            "tasks_cleaned": processed - 1,
            "deleted_paths": deleted,
            "errors": [drawn.kept(reader)],
            "pending": False,
        }
        assert [await readable(live, path) for path in (drawn.used, drawn.free)] == [True, False]
        assert await undeleted(live, drawn.id) == ["used"]
    assert (await live.verb(reader, "start")).status_code == 200
    workflow = await live.until_ended(reader)
    assert (workflow["status"], workflow["errors"]) == ("COMPLETED", [])
    assert (await cleanup(live, drawn.id))["errors"] == [drawn.kept(reader)]  # it may be resumed, or read again
    own = workflow["final_step_result"]["result_image_path"]
    assert await cleanup(live, reader) == NOTHING | {"tasks_processed": 1, "tasks_cleaned": 1, "deleted_paths": [own]}
    await until_gone(live, drawn.used)
    assert await cleanup(live, drawn.id) == NOTHING


Named = Callable[[Drawn], dict[str, Any]]
PLACES: dict[str, Named] = {
    "address in a list": lambda drawn: {
        "steps": [passthrough_step("a", links=["https://elsewhere.example/", drawn.url])]
    },
    "address deep within": lambda drawn: {"steps": [passthrough_step("a", one={"two": [{"three": drawn.url}]})]},
    "path in a text": lambda drawn: {"steps": [passthrough_step("a", text=f"see\n{drawn.used}, as well")]},
    "a later step": lambda drawn: {
        "steps": [passthrough_step("a"), passthrough_step("b", "a"), editing("c", drawn.used)]
    },
    "provider's config": lambda drawn: {"steps": [passthrough_step("a") | {"provider_config": {"style": [drawn.url]}}]},
    "fallback's config": lambda drawn: {
        "steps": [
            drawing("a", 3)
            | {"fallback_provider_type": "CUSTOM", "fallback_provider_config": {"style": {"of": drawn.used}}}
        ]
    },
    "workflow's config": lambda drawn: {"steps": [passthrough_step("a")], "config": {"ours": {"logo": drawn.url}}},
    "step defaults": lambda drawn: {
        "steps": [{"id": "a", "task_type": "EDITING", "config": {"rotate": 90}}],
        "config": {"step_defaults": {"EDITING": {"base_image_url": drawn.used}}},
    },
}


CORE_PLACES = {"address deep within", "a later step", "step defaults"}


@pytest.mark.parametrize(
    "place",
    [place if place in CORE_PLACES else pytest.param(place, marks=pytest.mark.extended) for place in PLACES],
)
async def test_a_file_stays_wherever_another_definition_names_it(live: Service, place: str) -> None:
    drawn = await draw(live)
    definition = PLACES[place](drawn)
    reader = (await live.create(*definition.pop("steps"), start=False, **definition))["id"]
    report = await cleanup(live, drawn.id)
    assert (report["deleted_paths"], report["errors"]) == ([drawn.free], [drawn.kept(reader)])
    assert (await live.verb(reader, "start")).status_code == 200
    assert (await live.until_ended(reader))["errors"] == []
    assert await readable(live, drawn.used)
    await cleanup(live, reader)
    await until_gone(live, drawn.used)


async def test_a_reference_to_one_file_keeps_all_files_of_its_task(live: Service) -> None:
    """A definition that names a single file keeps its task, and all other files of that task."""
    workflow = await live.until_ended((await live.create(configured_step("a", files=3)))["id"])
    paths = workflow["final_step_result"]["paths"]
    reader = (await live.create(passthrough_step("a", of=paths[1])))["id"]
    report = await cleanup(live, workflow["id"])
    assert [error["error"] for error in report["errors"]] == [
        f"{path}: still referenced by workflow {reader}" for path in paths
    ]
    assert (report["tasks_processed"], report["tasks_cleaned"], report["deleted_paths"]) == (1, 0, [])
    assert [await readable(live, path) for path in paths] == [True] * 3


async def test_of_several_referencing_workflows_the_one_with_the_lowest_id_is_reported(live: Service) -> None:
    drawn = await draw(live)
    readers = [(await live.create(passthrough_step("a", of=drawn.used)))["id"] for _ in range(3)]
    assert readers == sorted(readers)
    for reader in readers:
        assert (await cleanup(live, drawn.id))["errors"] == [drawn.kept(reader)]
        await live.until_ended(reader)
        assert await cleanup(live, reader, cleanup_tasks=False) == NOTHING
    assert (await cleanup(live, drawn.id))["deleted_paths"] == [drawn.used]


async def test_a_cancelled_or_failed_workflow_keeps_its_references_until_it_is_deleted(
    live: Service, scripted: ConfiguredProvider
) -> None:
    drawn = await draw(live)
    cancelled = (await live.create(configured_step("a", wait=True, of=drawn.used)))["id"]
    await live.until(cancelled, steps_are("RUNNING"))
    assert (await live.verb(cancelled, "cancel")).json()["status"] == "CANCELLED"
    failed = (await live.create(configured_step("a", breaks=True, of=drawn.used)))["id"]
    assert (await live.until_ended(failed))["status"] == "FAILED"
    for reader in (cancelled, failed):
        assert (await cleanup(live, drawn.id))["errors"] == [drawn.kept(reader)]
        assert await readable(live, drawn.used)
        await cleanup(live, reader)
    await until_gone(live, drawn.used)


async def test_two_workflows_that_name_each_other_s_files_are_cleaned_one_after_the_other(live: Service) -> None:
    first = await draw(live)
    workflow = await live.create(passthrough_step("a", of=first.used), drawing("used", 4))
    second = (await live.until_ended(workflow["id"]))["steps"][1]["result"]["result_image_path"]
    await refer(live, second, first.id)
    assert (await cleanup(live, first.id))["errors"] == [first.kept(workflow["id"])]
    assert (await cleanup(live, workflow["id"]))["deleted_paths"] == [second]
    await until_gone(live, first.used)


@pytest.mark.parametrize("reader", ["itself", "one that was never stored"])
async def test_references_of_the_workflow_itself_or_of_an_unknown_one_keep_nothing(live: Service, reader: str) -> None:
    drawn = await draw(live)
    await refer(live, drawn.used, drawn.id if reader == "itself" else uuid4())
    assert await cleanup(live, drawn.id) == NOTHING | {
        "tasks_processed": 3,
        "tasks_cleaned": 3,
        "deleted_paths": [drawn.used, drawn.free],
    }


async def test_a_reference_to_a_task_without_files_keeps_nothing(live: Service) -> None:
    workflow = await live.until_ended((await live.create(passthrough_step("a")))["id"])
    task_id = workflow["steps"][0]["task_id"]
    await live.create(passthrough_step("a", of=f"media/{task_id}/image.png"))
    assert await cleanup(live, workflow["id"]) == NOTHING | {"tasks_processed": 1, "tasks_cleaned": 1}


async def test_references_of_another_tenant_keep_nothing(live: Service) -> None:
    async def create(tenant: str, *steps: dict[str, Any]) -> str:
        body = {"name": "a test", "origin_instance": "tests", "steps": list(steps), "origin_tenant_id": tenant}
        response = await live.client.post(WORKFLOWS, json=body)
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    owner = await create("acme", drawing("used", 1))
    path = (await live.until_ended(owner))["final_step_result"]["result_image_path"]
    await create("other", passthrough_step("a", of=path))
    own = await create("acme", passthrough_step("a", of=path))
    async with live.as_tenant("acme") as acme:

        async def cleaned(workflow_id: str) -> dict[str, Any]:
            response = await acme.post(f"{WORKFLOWS}{workflow_id}/cleanup")
            assert response.status_code == 200, response.text
            report: dict[str, Any] = response.json()["cleanup"]
            return report

        assert [error["error"] for error in (await cleaned(owner))["errors"]] == [
            f"{path}: still referenced by workflow {own}"
        ]
        await live.until_ended(own)
        assert await readable(live, path)
        await cleaned(own)
    await until_gone(live, path)


async def counted(live: Service, call: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    """How many statements *call* takes, and what it returns."""
    await until_quiet(live)
    before = statements_sent(live)
    response = await call()
    return statements_sent(live) - before, response


@pytest.mark.extended
async def test_only_a_create_that_names_files_sends_one_more_statement(live: Service) -> None:
    drawn = await draw(live)
    await live.app.services.workflows.until_idle(UUID(drawn.id))
    without = [passthrough_step(str(number), of="media/ and nothing else") for number in range(20)]
    sent, created = await counted(live, lambda: live.create(*without, start=False))
    assert (sent, await references(live, created["id"])) == (1, set())
    having = [
        passthrough_step(str(number), of=path) for number, path in enumerate([drawn.used, drawn.free, drawn.url] * 10)
    ]
    sent, created = await counted(live, lambda: live.create(*having, start=False))
    assert (sent, await references(live, created["id"])) == (2, {task_id_of(drawn.used), task_id_of(drawn.free)})


@pytest.mark.extended
async def test_cleanup_reads_the_references_of_all_tasks_at_once(live: Service) -> None:
    costs = []
    for steps in (1, 20):
        workflow = await live.until_ended(
            (await live.create(*(configured_step(str(number), files=1) for number in range(steps))))["id"]
        )
        await live.app.services.workflows.until_idle(UUID(workflow["id"]))
        sent, report = await counted(live, lambda: cleanup(live, workflow["id"]))  # noqa: B023 - called at once
        assert len(report["deleted_paths"]) == steps
        costs.append(sent)
    assert costs[0] == costs[1]
