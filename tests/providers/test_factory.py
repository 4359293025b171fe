"""What the settings make of the providers, where they say nothing."""

from typing import Any

import httpx
import pytest

from stepwell.contract.enums import ProviderType
from stepwell.providers.factory import build_providers
from stepwell.providers.registry import Registry
from stepwell.settings import Settings
from support.emulators.google import service_account
from support.service.installed_settings import read_settings

P = ProviderType
URL = "http://127.0.0.1:1"
ENVIRONMENT = {
    f"STEPWELL_{kind}_URL": URL for kind in (P.FAL, P.REPLICATE, P.OPENAI, P.GEMINI, P.VERTEX, P.COMFYUI, P.CUSTOM)
} | {"STEPWELL_CREDENTIALS__VERTEX": service_account(URL)}


async def lags(**settings: Any) -> dict[ProviderType, float]:
    environment = ENVIRONMENT | {f"STEPWELL_{name.upper()}": value for name, value in settings.items()}
    read: Settings = read_settings(environment)
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(500))) as client:
        providers = Registry(build_providers(read, client))
        return {kind: providers.remote(kind).listing_lag_s for kind in P if kind is not P.LOCAL}


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [(P.FAL, 60), (P.REPLICATE, 30), (P.COMFYUI, 30), (P.OPENAI, 30), (P.GEMINI, 30), (P.VERTEX, 30), (P.CUSTOM, 0)],
)
async def test_each_provider_has_its_own_listing_lag_unless_the_settings_override_it(
    kind: ProviderType, seconds: float
) -> None:
    assert (await lags())[kind] == seconds
    assert (await lags(reconcile_s="5"))[kind] == 5
