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
    planned = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal planned
        if request.method != "POST" or request.url.path != BASE:
            return httpx.Response(200, json={"id": str(uuid4()), "status": "COMPLETED", "final_step_result": PICTURE})
        plan = await service.client.post(
            f"{BASE}plan", content=request.content, headers={"Content-Type": "application/json"}
        )
        planned += 1
        if plan.status_code != 200:
            refusals.append(plan.text)
        return httpx.Response(201, json={"id": str(uuid4())})

    async with httpx.AsyncClient(base_url="http://attacked", transport=httpx.MockTransport(answer)) as http:
        await ATTACKS[name].send(Attacker(http, "http://127.0.0.1:9", "token", 0.001))
    assert planned > 0
    assert refusals == []


def test_attacks_are_selected_by_letter_and_by_name() -> None:
    assert list(names("")) == list(ATTACKS)
    assert list(names("e,h")) == ["E1", "E2", "E3", "E4", "H"]
    assert list(names("A1,B2")) == ["A1", "B2"]
