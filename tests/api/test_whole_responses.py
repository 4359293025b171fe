"""Responses that are built whole, when there is no memory for them."""

from pathlib import Path

import pytest

from stepwell.testing import MemoryDatabase
from support.providers.configured_by_steps import WORKFLOWS, passthrough_step
from support.service.live_service import running_service


async def test_a_response_that_finds_no_memory_is_a_503(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [passthrough_step(str(number)) for number in range(600)]
    body = {"name": "x", "origin_instance": "tests", "steps": steps}
    async with running_service(MemoryDatabase(), tmp_path) as service:
        async with service.unchecked_client() as client:
            created = (await client.post(WORKFLOWS, json=body, params={"start": False})).json()
            path = f"{WORKFLOWS}{created['id']}/explain"
            assert len((await client.get(path)).content) > 64 * 1024
        monkeypatch.setattr(service.app.services.memory, "largest", 64 * 1024)
        response = await service.client.get(path)
        assert (response.status_code, response.headers["retry-after"]) == (503, "5")
        assert response.json()["title"] == "Unavailable"


async def test_a_create_whose_response_finds_no_memory_says_that_it_has_been_carried_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_service(MemoryDatabase(), tmp_path) as service:
        steps = [passthrough_step(str(number)) for number in range(300)]
        monkeypatch.setattr(service.app.services.memory, "largest", 64 * 1024)
        body = {"name": "x", "origin_instance": "tests", "steps": steps}
        response = await service.client.post(WORKFLOWS, json=body)
        assert response.status_code == 503
        assert "the request has been carried out all the same" in response.json()["detail"]
        query = {"include_steps": False}
        assert (await service.client.get(WORKFLOWS, params=query)).json()["total"] == 1
