"""fal-client, fal's own client, as a witness of what Stepwell and the emulator believe of fal's queue."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import fal_client
import pytest

from providers.clients.wire import Side, differences, drawing, side_of
from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import ProviderType
from support.emulators.fal import KEY


@pytest.fixture
async def side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Side]:
    async with side_of(ProviderType.FAL, tmp_path) as side:
        monkeypatch.setattr("fal_client.client.QUEUE_URL_FORMAT", f"{side.emulator.url}/")
        yield side


@asynccontextmanager
async def submitted(model: str, body: Mapping[str, Any]) -> AsyncIterator[fal_client.AsyncRequestHandle]:
    """A request that the client has submitted. Nothing but the request can close the client's connections."""
    handle = await fal_client.AsyncClient(key=KEY).submit(model, dict(body))
    async with aclosing(handle.client):
        yield handle


async def test_a_job_is_submitted_polled_and_fetched_by_the_same_requests(side: Side) -> None:
    work = drawing(width=512, height=512)
    request, job = await side.submit(work)
    await side.until_done(work, job)
    await side.provider.fetch(work, job, side.io)
    own = {kind: side.last(kind) for kind in ("submit", "poll", "fetch")}
    async with submitted(request.model, request.body) as handle:
        result = await handle.get(interval=0)
    assert len(result["images"]) == 1
    found = {kind: differences(call, side.last(kind), job.id, handle.request_id) for kind, call in own.items()}
    assert found == {"submit": {"x-fal-no-retry": ("1", None)}, "poll": {"?logs": (None, "false")}, "fetch": {}}


async def test_a_job_is_cancelled_by_the_same_request(side: Side) -> None:
    side.world.hold()
    work = drawing()
    request, job = await side.submit(work)
    await side.provider.cancel(work, job)
    own = side.last("cancel")
    async with submitted(request.model, request.body) as handle:
        await handle.cancel()
    assert differences(own, side.last("cancel"), job.id, handle.request_id) == {}


async def test_an_error_means_the_same_to_both(side: Side) -> None:
    side.emulator.outcome, side.emulator.failure = "error", (422, {"detail": "no such size"})
    work = drawing()
    request, job = await side.submit(work)
    while (state := await side.provider.poll(work, job)).status == "running":
        pass
    assert (state.status, "no such size" in state.error) == ("failed", True)
    async with submitted(request.model, request.body) as handle:
        with pytest.raises(fal_client.FalClientHTTPError, match="no such size"):
            await handle.get(interval=0)


async def test_a_refused_key_means_the_same_to_both(side: Side) -> None:
    async with submitted("fal-ai/flux-lora", {"prompt": "a shoe"}) as handle:
        side.emulator.key = "another"
        with pytest.raises(AttemptError, match="the key was refused"):
            await side.submit(drawing())
        with pytest.raises(fal_client.FalClientHTTPError, match="No user found"):
            await handle.status()
