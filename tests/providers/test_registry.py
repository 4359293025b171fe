"""Which providers work in this process, and which elsewhere."""

from uuid import UUID

import httpx
import pytest

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.ports.providers import Attempt, Finished
from stepwell.providers.comfyui.provider import ComfyUiProvider
from stepwell.providers.local.provider import LocalProvider
from stepwell.providers.registry import Registry
from stepwell.providers.shared.credentials import Credentials
from support.providers.attempt_io import MemoryIO
from support.providers.scripted import ScriptedProvider, Succeed


@pytest.fixture
def remote() -> ComfyUiProvider:
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(500)))
    return ComfyUiProvider(client, Credentials({}), url="http://comfyui.example")


def test_steps_without_a_provider_and_those_of_in_process_providers_work_here(remote: ComfyUiProvider) -> None:
    registry = Registry([LocalProvider(), ScriptedProvider(ProviderType.VERTEX), remote])
    here = {kind for kind in (None, *ProviderType) if registry.works_here(kind)}
    assert here == {None, ProviderType.LOCAL, ProviderType.VERTEX}
    assert registry.in_process_types() == {ProviderType.LOCAL, ProviderType.VERTEX}


def test_a_remote_provider_in_the_place_of_local_does_not_work_here(remote: ComfyUiProvider) -> None:
    remote.type = ProviderType.LOCAL
    registry = Registry([remote])
    assert not registry.works_here(ProviderType.LOCAL)
    assert registry.remote(ProviderType.LOCAL) is remote


async def test_an_in_process_provider_runs_and_is_no_remote_one() -> None:
    provider = ScriptedProvider(ProviderType.VERTEX, default=Succeed({"a": 1}))
    registry = Registry([provider])
    run = registry.in_process(ProviderType.VERTEX)
    assert run is not None
    assert await run(attempt(), MemoryIO()) == Finished({"a": 1})
    with pytest.raises(KeyError):
        registry.remote(ProviderType.VERTEX)


def test_a_provider_that_is_not_configured_is_neither(remote: ComfyUiProvider) -> None:
    registry = Registry([remote])
    assert registry.in_process(ProviderType.FAL) is None
    with pytest.raises(KeyError):
        registry.remote(ProviderType.FAL)


def test_two_providers_of_one_type_are_an_error() -> None:
    with pytest.raises(ValueError, match="two providers for LOCAL"):
        Registry([LocalProvider(), LocalProvider()])


def attempt() -> Attempt:
    return Attempt(
        task_id=UUID(int=1),
        workflow_id=UUID(int=2),
        tenant=None,
        step_id="draw",
        task_type=TaskType.GENERATION,
        number=1,
        inputs={},
        provider_config={},
        seed=1,
    )
