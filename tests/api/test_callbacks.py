"""Where providers call back: nobody without the address gets in, and nothing that is said there is believed."""

from pathlib import Path
from uuid import uuid4

import pytest

from stepwell.contract.enums import ProviderType
from stepwell.rules.access.signed_urls import CallbackUrls
from support.providers.emulated import world_of
from support.providers.scripted import Hang, ScriptedProvider, scripted_step
from support.service.live_service import SECRET, running_service

URLS = CallbackUrls(SECRET.encode(), "http://t.local")


def path_of(url: str) -> str:
    return url.removeprefix("http://t.local")


def test_a_token_names_its_attempt_and_nobody_else_can_make_one() -> None:
    workflow_id, task_id = uuid4(), uuid4()
    token = URLS.url(workflow_id, task_id).rpartition("/")[2]
    assert URLS.attempt(token) == (workflow_id, task_id)
    assert CallbackUrls(b"another secret, also long enough", "http://t.local").attempt(token) is None
    changed = [("B" if token[0] == "A" else "A") + token[1:], token[:-1] + ("B" if token[-1] == "A" else "A")]
    spaced = [token.upper(), token[:2] + " " + token[2:], f" {token}", f"{token}\n", token + "\u0660", f"{token}="]
    for wrong in (*spaced, "", "zz", token[:-2], token + "00", *changed):
        assert URLS.attempt(wrong) is None


async def test_a_callback_changes_nothing_by_itself(dsn: str, tmp_path: Path) -> None:
    provider = ScriptedProvider(default=Hang())
    async with running_service(dsn, tmp_path, providers=[provider], public_url="http://t.local") as service:
        created = await service.create(scripted_step("a"))
        await provider.until_called("a")
        call = provider.calls[0]
        before = await service.events(created["id"])
        known = path_of(URLS.url(call.workflow_id, call.task_id))
        for body in (b"", b"\xff\x00", b'{"id": "x", "status": "succeeded"}', b"[" * 100_000):
            response = await service.client.post(known, content=body)
            assert (response.status_code, response.json()) == (200, {"status": "ok"})
        assert (await service.client.post(path_of(URLS.url(uuid4(), uuid4())))).status_code == 200  # long gone
        assert (await service.client.post("/api/v1/callbacks/" + "ab" * 36)).status_code == 404
        assert await service.events(created["id"]) == before
        provider.release("a")
        await service.until_ended(created["id"])


@pytest.mark.parametrize("public_url", [None, "http://t.local"])
async def test_a_provider_gets_a_callback_url_only_if_the_service_has_a_public_url(
    dsn: str, tmp_path: Path, public_url: str | None
) -> None:
    async with (
        world_of(ProviderType.CUSTOM, tmp_path / "emulator") as world,
        running_service(dsn, tmp_path / "data", public_url=public_url, **world.settings) as service,
    ):
        created = await service.create(world.step())
        workflow = await service.until_ended(created["id"])
        (job,) = world.emulator.ledger.jobs()
        callback_url = job[2].get("callback_url")
        task_id = workflow["steps"][0]["task_id"]
        assert (callback_url is None) == (public_url is None)
        if callback_url is not None:
            assert [str(one) for one in URLS.attempt(callback_url.rpartition("/")[2]) or ()] == [created["id"], task_id]
