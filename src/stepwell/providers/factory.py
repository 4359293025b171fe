"""Builds the providers that the settings configure."""

from pkgutil import resolve_name

import httpx

from stepwell.contract.enums import ProviderType
from stepwell.definition.provider_descriptors import (
    ConfiguredBy,
    InstalledProviders,
    InvalidProviders,
    ProviderDescriptor,
)
from stepwell.ports.providers import Provider
from stepwell.providers.installed_providers import read_installation
from stepwell.providers.shared.credentials import Credentials, KeyRefusals
from stepwell.providers.shared.setup import ProviderSetup
from stepwell.settings import Settings


def build_providers(
    settings: Settings, client: httpx.AsyncClient, refusals: KeyRefusals | None = None
) -> list[Provider]:
    """Return the installed providers that *settings* configure.

    *client* is for calls to the providers' APIs. Credentials that a provider refuses are reported to *refusals*. Raises
    `InvalidProviders`, and what packages raise.
    """
    installed, replacements = read_installation()
    credentials = Credentials(settings.credentials, refusals, installed)
    built = {
        each.name: _build(each, settings, client, credentials)
        for each in installed.values()
        if _is_configured(each, settings, installed)
    }
    replaced = dict[ProviderType, Provider]()
    for replacement in replacements:
        for provider in replacement(settings, client):
            if provider.type not in installed:
                raise InvalidProviders(f"the provider {provider.type} has no descriptor: name one as the entry point")
            if provider.type in replaced:
                raise InvalidProviders(f"two packages replace the provider {provider.type}")
            replaced[provider.type] = provider
    return list((built | replaced).values())


def _is_configured(provider: ProviderDescriptor, settings: Settings, installed: InstalledProviders) -> bool:
    if provider.configured_by is ConfiguredBy.NOTHING:
        return True
    own = settings.of(provider)
    if own is not None and own.url is not None:
        return True
    keyed = any(installed.owner(name) == provider.name for name in settings.credentials)
    return keyed and provider.configured_by is not ConfiguredBy.URL


def _build(
    provider: ProviderDescriptor, settings: Settings, client: httpx.AsyncClient, credentials: Credentials
) -> Provider:
    own = settings.of(provider)
    build = resolve_name(provider.build) if isinstance(provider.build, str) else provider.build
    built: Provider = build(ProviderSetup(settings=settings, own=own, client=client, credentials=credentials))
    if built.type != provider.name:
        raise InvalidProviders(f"the descriptor of {provider.name} builds a provider {built.type}")
    return built
