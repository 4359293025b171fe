"""Builds the providers that the settings configure."""

from collections.abc import Iterator
from contextlib import contextmanager
from pkgutil import resolve_name

import httpx

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.definition.provider_descriptors import (
    ConfiguredBy,
    InstalledProviders,
    InvalidProviders,
    ProviderDescriptor,
)
from stepwell.outbound.sanitise import mask_secrets
from stepwell.ports.providers import InProcessProvider, Provider, RemoteProvider
from stepwell.providers.installed_providers import read_installation
from stepwell.providers.shared.credentials import Credentials, KeyRefusals
from stepwell.providers.shared.setup import ProviderSetup
from stepwell.runtime.containment import contained
from stepwell.settings import Settings


def build_providers(
    settings: Settings, client: httpx.AsyncClient, refusals: KeyRefusals | None = None
) -> list[Provider]:
    """Return the installed providers that *settings* configure.

    *client* is for calls to the providers' APIs. Credentials that a provider refuses are reported to *refusals*. Raises
    `InvalidProviders`, also for whatever their code raises.
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
        with _named(f"the package {replacement.package}", settings):
            providers = list(replacement.build(settings, client))
            for provider in providers:
                _check(provider)
        for provider in providers:
            if provider.type not in installed:
                why = f"the provider {provider.type} has no descriptor: name one as the entry point"
                raise InvalidProviders(f"the package {replacement.package}: {why}")
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
    with _named(str(provider), settings):
        build = resolve_name(provider.build) if isinstance(provider.build, str) else provider.build
        built: Provider = build(ProviderSetup(settings=settings, own=own, client=client, credentials=credentials))
        _check(built)
        if built.type != provider.name:
            raise InvalidProviders(f"what it builds has the type {built.type}")
    return built


def _check(provider: Provider) -> None:
    """Raise `InvalidProviders` unless the provider has the members of its port, and names its capabilities."""
    port = RemoteProvider if hasattr(provider, "submit") else InProcessProvider
    names = {name for base in (port, Provider) for name in (*vars(base), *base.__annotations__) if name[0] != "_"}
    if missing := sorted(name for name in names if not hasattr(provider, name)):
        raise InvalidProviders(f"{type(provider).__name__} is no {port.__name__}: it has no {', '.join(missing)}")
    for task_type in TaskType:
        found: object = provider.capabilities(task_type)
        if not isinstance(found, frozenset | None):
            why = f"expected a frozenset or None, got {type(found).__name__}"
            raise InvalidProviders(f"its capabilities for {task_type}: {why}")


@contextmanager
def _named(what: str, settings: Settings) -> Iterator[None]:
    """Convert whatever the code of *what* raises to an `InvalidProviders` that names it."""
    try:
        with contained():
            yield
    except Exception as error:
        kind = "" if isinstance(error, InvalidProviders) else f"{type(error).__name__}: "
        why = mask_secrets(f"{kind}{error}", settings.credentials.values())
        raise InvalidProviders(f"{what} can't be used: {why}") from error
