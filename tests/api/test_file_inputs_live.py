"""Files that a step names are checked by create and plan alike, before anything is stored."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from stepwell.basics.setting_values import Networks
from stepwell.testing import MemoryDatabase
from support.service.live_service import Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOCAL_PATH = (
    "The service can't read a path on your computer: expected an http(s) URL, a data URI, or the path of an artifact, "
    "media/{task_id}/{name}. POST /api/v1/artifacts uploads a file and returns such a path"
)


def refused(host: str, kind: str) -> str:
    return f"{host} may not be reached from here: it is {kind}; STEPWELL_ALLOWED_CIDRS can allow it"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def closed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """No network is allowed here."""
    async with AsyncExitStack() as stack:
        service = running_service(MemoryDatabase(), tmp_path_factory.mktemp("closed"), allowed_cidrs=Networks())
        yield await stack.enter_async_context(service)


def definition(reference: str, **more: Any) -> dict[str, Any]:
    step = {"id": "a", "task_type": "REFINE", "config": {"base_image_url": reference}}
    return {"name": "w", "origin_instance": "tests", "steps": [step]} | more


async def faults(service: Service, body: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """Those that create reports, and those of plan."""
    responses = [await service.client.post(f"/api/v1/workflows/{path}", json=body) for path in ("", "plan")]
    return [response.json()["detail"] if response.status_code == 422 else [] for response in responses]


@pytest.mark.parametrize(
    ("reference", "message", "kind"),
    [
        ("http://127.0.0.1:9000/x.png", refused("127.0.0.1", "a loopback address"), "url_invalid"),
        ("http://2130706433/", refused("127.0.0.1", "a loopback address"), "url_invalid"),
        ("http://169.254.169.254/x", refused("169.254.169.254", "a link-local address"), "url_invalid"),
        ("http://localhost/x", refused("localhost", "a name of an inner network"), "url_invalid"),
        ("./photo.jpg", LOCAL_PATH, "file_invalid"),
        ("file:///etc/passwd", LOCAL_PATH, "file_invalid"),
    ],
)
async def test_a_file_that_cannot_be_read_is_refused_before_anything_is_stored(
    closed: Service, reference: str, message: str, kind: str
) -> None:
    expected = [{"loc": ["body", "steps", 0, "config", "base_image_url"], "msg": message, "type": kind}]
    assert await faults(closed, definition(reference)) == [expected] * 2
    in_defaults = definition("x", config={"step_defaults": {"REFINE": {"base_image_url": reference}}})
    in_defaults["steps"][0]["config"] = {}
    expected[0]["loc"] = ["body", "config", "step_defaults", "REFINE", "base_image_url"]
    assert await faults(closed, in_defaults) == [expected] * 2
    listed = (await closed.client.get("/api/v1/workflows/")).json()
    assert listed["total"] == 0


async def test_the_refusal_of_a_private_webhook_url_names_the_setting(closed: Service) -> None:
    body = definition("https://public.example/x.png", webhook_url="http://10.0.0.1/hook")
    assert [fault["msg"] for fault in (await faults(closed, body))[0]] == [refused("10.0.0.1", "a private address")]


async def test_inputs_may_be_in_the_networks_that_are_allowed_for_webhooks(tmp_path: Path) -> None:
    async with running_service(MemoryDatabase(), tmp_path, allowed_cidrs=Networks.read("10.0.0.0/8")) as service:
        assert await faults(service, definition("http://10.0.0.5/x.png")) == [[], []]
        assert all(await faults(service, definition("http://192.168.0.5/x.png")))
