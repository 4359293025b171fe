"""replicate, Replicate's own client, as a witness of what Stepwell and the emulator believe of its API."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ReplicateError

from providers.clients.wire import Side, differences, drawing, side_of
from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import ProviderType
from support.emulators.replicate import TOKEN

VERSION = "a1" * 32


@pytest.fixture
async def side(tmp_path: Path) -> AsyncIterator[Side]:
    async with side_of(ProviderType.REPLICATE, tmp_path) as side:
        yield side


@pytest.fixture
async def client(side: Side) -> AsyncIterator[Client]:
    async with httpx.AsyncHTTPTransport() as transport:  # nothing else closes the client's connections
        yield Client(api_token=TOKEN, base_url=side.emulator.url, transport=transport)


async def created(client: Client, config: dict[str, Any], model_input: dict[str, Any]) -> Any:
    if "deployment" in config:
        return await client.deployments.predictions.async_create(config["deployment"], input=model_input)
    if ":" in config["model"]:
        return await client.predictions.async_create(version=VERSION, input=model_input)
    return await client.models.predictions.async_create(config["model"], input=model_input)


@pytest.mark.parametrize(
    "config",
    [
        {"model": "black-forest-labs/flux-schnell"},
        {"model": f"stability-ai/sdxl:{VERSION}"},
        {"deployment": "acme/shoes"},
    ],
)
async def test_a_prediction_is_created_polled_and_cancelled_by_the_same_requests(
    side: Side, client: Client, config: dict[str, Any]
) -> None:
    work = drawing(config)
    request, job = await side.submit(work)
    await side.until_done(work, job)
    assert (await side.provider.fetch(work, job, side.io)).result["result_image_path"]
    await side.provider.cancel(work, job)
    own = {kind: side.last(kind) for kind in ("submit", "poll", "cancel")}
    prediction = await created(client, config, request.body["input"])
    await prediction.async_reload()
    await prediction.async_wait()
    assert (prediction.status, len(prediction.output)) == ("succeeded", 1)
    await prediction.async_cancel()
    found = {kind: differences(call, side.last(kind), job.id, prediction.id) for kind, call in own.items()}
    assert found == {"submit": {}, "poll": {}, "cancel": {}}


async def test_a_failed_prediction_means_the_same_to_both(side: Side, client: Client) -> None:
    side.emulator.outcome = "failed"
    work = drawing()
    request, job = await side.submit(work)
    while (state := await side.provider.poll(work, job)).status == "running":
        pass
    prediction = await created(client, {"model": "stability-ai/sdxl"}, request.body["input"])
    while prediction.status not in {"failed", "succeeded"}:
        await prediction.async_reload()
    assert (state.status, prediction.status) == ("failed", "failed")
    assert prediction.error in state.error


async def test_a_wrong_token_is_refused_to_both(side: Side, client: Client) -> None:
    side.emulator.token = "another"
    with pytest.raises(AttemptError, match="the key was refused"):
        await side.submit(drawing())
    with pytest.raises(ReplicateError, match="401"):
        await created(client, {"model": "stability-ai/sdxl"}, {"prompt": "a shoe"})
