"""The attacks of the benchmark are requests that the service accepts, so that its figures say something."""

from uuid import uuid4

import httpx
import pytest

from bench.attackers import ATTACKS, BASE, Attacker, names
from support.service.live_service import Service

PICTURE = {"result_image_path": f"media/{uuid4()}/result.png"}
WORKFLOWS = [name for name in ATTACKS if name[0] in "BCDGH"]


@pytest.mark.parametrize("name", WORKFLOWS)
async def test_an_attack_by_workflows_sends_valid_definitions(name: str, service: Service) -> None:
    refusals: list[str] = []
    created = 0

    async def create(request: httpx.Request) -> httpx.Response:
        nonlocal created
        if request.method != "POST" or request.url.path != BASE:
            return httpx.Response(200, json={"id": str(uuid4()), "status": "COMPLETED", "final_step_result": PICTURE})
        headers = {name: value for name, value in request.headers.items() if name.startswith("content-")}
        response = await service.client.post(BASE, params={"start": False}, content=request.content, headers=headers)
        created += 1
        if response.status_code != 201:
            refusals.append(response.text)
        return httpx.Response(201, json={"id": str(uuid4())})

    async with httpx.AsyncClient(base_url="http://attacked", transport=httpx.MockTransport(create)) as http:
        await ATTACKS[name].send(Attacker(http, "http://127.0.0.1:9", "token", 0.001))
    assert created > 0
    assert refusals == []


def test_attacks_are_selected_by_letter_and_by_name() -> None:
    assert list(names("")) == list(ATTACKS)
    assert list(names("e,h")) == ["E1", "E2", "E3", "E4", "H"]
    assert list(names("A1,B2")) == ["A1", "B2"]
