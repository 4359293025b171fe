"""Builds the providers that the settings configure, and loads those of plug-ins."""

import sys
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.metadata import EntryPoints, entry_points

import httpx

from stepwell.basics.credential_names import owner
from stepwell.contract.enums import ProviderType
from stepwell.ports.providers import Provider
from stepwell.providers.comfyui.provider import ComfyUiProvider
from stepwell.providers.custom.provider import CustomProvider
from stepwell.providers.fal.provider import FalProvider
from stepwell.providers.google.gemini import PUBLIC_URL as GEMINI_URL
from stepwell.providers.google.gemini import GeminiProvider
from stepwell.providers.local.provider import LocalProvider
from stepwell.providers.openai.provider import PUBLIC_URL as OPENAI_URL
from stepwell.providers.openai.provider import OpenAiProvider
from stepwell.providers.replicate.provider import ReplicateProvider
from stepwell.providers.shared.credentials import Credentials, KeyRefusals
from stepwell.runtime.memory import default_local_max_bytes, default_max_bytes
from stepwell.settings import Settings

ENTRY_POINTS = "stepwell.providers"
_FAL_URL, _FAL_API_URL = "https://queue.fal.run", "https://api.fal.ai"
_REPLICATE_URL = "https://api.replicate.com"


def build_providers(
    settings: Settings, client: httpx.AsyncClient, refusals: KeyRefusals | None = None
) -> list[Provider]:
    """Return LOCAL, each provider with a URL or a credential in the settings, and the providers of plug-ins.

    *client* is for calls to the providers' APIs. Credentials that a provider refuses are reported to *refusals*.

    Plug-ins are the entry points of the group `stepwell.providers`. Each is called with *settings* and *client*, and
    returns any number of providers. A plug-in's provider replaces a built-in one of its type.
    """
    by_type: dict[ProviderType, Provider] = {
        provider.type: provider for provider in _built_in(settings, client, refusals)
    }
    for entry_point in _plugins(tuple(sys.path)):
        others: Iterable[Provider] = entry_point.load()(settings, client)
        by_type |= {provider.type: provider for provider in others}
    return list(by_type.values())


@lru_cache(maxsize=1)
def _plugins(_search_path: tuple[str, ...]) -> EntryPoints:
    """Return the plug-ins on the search path. Each further service of a test run would need 5 ms to read them again."""
    return entry_points(group=ENTRY_POINTS)


def local_memory(settings: Settings) -> int:
    """Return the bytes that LOCAL's worker processes may use together."""
    configured = settings.local_memory_max_bytes
    return configured or default_local_max_bytes(settings.memory_max_bytes or default_max_bytes())


def _built_in(settings: Settings, client: httpx.AsyncClient, refusals: KeyRefusals | None) -> Iterator[Provider]:
    credentials, timeout_s = Credentials(settings.credentials, refusals), settings.provider_timeout_s
    work_s = settings.provider_work_s
    keyed = {owner(name) for name in credentials.names}
    yield LocalProvider(local_memory(settings))
    if settings.fal_url is not None or ProviderType.FAL in keyed:
        url = settings.fal_url or _FAL_URL
        api_url = settings.fal_api_url or (_FAL_API_URL if url.rstrip("/") == _FAL_URL else url)
        lag_s = _listing_lag_s(settings, 60.0)
        yield FalProvider(client, credentials, url=url, api_url=api_url, listing_lag_s=lag_s, timeout_s=timeout_s)
    if settings.replicate_url is not None or ProviderType.REPLICATE in keyed:
        url, lag_s = settings.replicate_url or _REPLICATE_URL, _listing_lag_s(settings, 30.0)
        yield ReplicateProvider(client, credentials, url=url, listing_lag_s=lag_s, timeout_s=timeout_s)
    if settings.openai_url is not None or ProviderType.OPENAI in keyed:
        url, lag_s = settings.openai_url or OPENAI_URL, _listing_lag_s(settings, 30.0)
        yield OpenAiProvider(client, credentials, url=url, listing_lag_s=lag_s, timeout_s=timeout_s, work_s=work_s)
    if settings.gemini_url is not None or ProviderType.GEMINI in keyed:
        url, lag_s = settings.gemini_url or GEMINI_URL, _listing_lag_s(settings, 30.0)
        yield GeminiProvider(client, credentials, url=url, listing_lag_s=lag_s, timeout_s=timeout_s, work_s=work_s)
    if settings.vertex_url is not None or ProviderType.VERTEX in keyed:
        yield _vertex(settings, client, credentials)
    if settings.comfyui_url is not None:
        url, lag_s = settings.comfyui_url, _listing_lag_s(settings, 30.0)
        yield ComfyUiProvider(client, credentials, url=url, listing_lag_s=lag_s, timeout_s=timeout_s)
    if settings.custom_url is not None:
        url, lag_s = settings.custom_url, _listing_lag_s(settings, 0.0)
        yield CustomProvider(client, credentials, url=url, listing_lag_s=lag_s, timeout_s=timeout_s)


def _vertex(settings: Settings, client: httpx.AsyncClient, credentials: Credentials) -> Provider:
    # Imported here, because google-auth takes a tenth of a second to import, and most services have no account.
    from stepwell.providers.google.vertex import VertexProvider  # noqa: PLC0415

    return VertexProvider(
        client,
        credentials,
        url=settings.vertex_url,
        project=settings.vertex_project,
        location=settings.vertex_location,
        bucket=settings.vertex_bucket,
        listing_lag_s=_listing_lag_s(settings, 30.0),
        timeout_s=settings.provider_timeout_s,
        work_s=settings.provider_work_s,
    )


def _listing_lag_s(settings: Settings, default: float) -> float:
    return default if settings.reconcile_s is None else settings.reconcile_s
