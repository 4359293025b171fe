"""Warnings in the responses of create and plan."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from stepwell.basics.setting_values import Secrets
from support.providers.configured_by_steps import WORKFLOWS
from support.service.live_service import Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def with_fal(tmp_path: Path, dsn: str) -> AsyncIterator[Service]:
    async with running_service(dsn, tmp_path, credentials=Secrets({"fal": "id:secret"})) as service:
        yield service


def definition(**config: Any) -> dict[str, Any]:
    step = {"id": "a", "task_type": "GENERATION", "config": {"prompt": "x", "width": 16, "height": 16} | config}
    return {"name": "w", "origin_instance": "tests", "steps": [step]}


def at_fal(**config: Any) -> dict[str, Any]:
    value = definition(**config)
    value["steps"][0]["provider_config"] = {"provider_type": "FAL"}
    return value


PLACEHOLDER = {
    "loc": ["body", "steps", 0, "config", "prompt"],
    "msg": "Nothing fills {{animal}}; in the config of a step, write an expression: ${…}",
    "type": "unfilled_placeholder",
}


async def test_create_and_plan_return_the_same_warnings(with_fal: Service) -> None:
    value = at_fal(heigth=5)
    created = (await with_fal.client.post(f"{WORKFLOWS}?start=false", json=value)).json()
    assert created["warnings"] == [
        {
            "loc": ["body", "steps", 0, "config", "heigth"],
            "msg": "heigth is unknown here, and is passed to FAL; did you mean height?",
            "type": "mistyped_member",
        }
    ]
    assert (await with_fal.client.post(f"{WORKFLOWS}plan", json=value)).json()["warnings"] == created["warnings"]
    assert created["steps"][0]["config"]["heigth"] == 5
    del created["warnings"]
    assert (await with_fal.client.get(WORKFLOWS + created["id"])).json() == created


async def test_a_sound_definition_has_no_warnings(live: Service) -> None:
    assert "warnings" not in (await live.client.post(f"{WORKFLOWS}?start=false", json=definition())).json()
    assert (await live.client.post(f"{WORKFLOWS}plan", json=definition())).json()["warnings"] == []


async def test_a_mistyped_member_on_local_is_a_422(live: Service) -> None:
    for path in ("", "plan"):
        response = await live.client.post(WORKFLOWS + path, json=definition(heigth=5))
        assert (response.status_code, [fault["type"] for fault in response.json()["detail"]]) == (
            422,
            ["mistyped_member"],
        )


@pytest.mark.parametrize("more", ["", "x" * 1_200_000], ids=["stored", "rebuilt"])
async def test_a_repeated_create_returns_the_same_warnings(live: Service, more: str) -> None:
    value = definition(prompt="a {{animal}}")
    value["steps"].append({"id": "b", "task_type": "PASSTHROUGH", "config": {"text": more}})
    headers = {"Idempotency-Key": f"warnings-{len(more)}"}
    first, second = [await live.client.post(f"{WORKFLOWS}?start=false", json=value, headers=headers) for _ in range(2)]
    assert first.json()["warnings"] == [PLACEHOLDER]
    assert second.content == first.content
    assert second.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("more", ["", "x" * 100_000], ids=["whole", "in slices"])
async def test_a_create_that_waits_for_the_end_returns_warnings(live: Service, more: str) -> None:
    value = definition(prompt="a {{animal}}")
    value["steps"].append({"id": "b", "task_type": "PASSTHROUGH", "config": {"text": more}})
    response = await live.client.post(WORKFLOWS, json=value, headers={"Prefer": "wait=60"})
    assert ("content-length" in response.headers) is (more == "")
    assert (response.json()["status"], response.json()["warnings"]) == ("COMPLETED", [PLACEHOLDER])
