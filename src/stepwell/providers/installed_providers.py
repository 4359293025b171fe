"""The installed providers: the built-in ones, and those that packages bring.

An entry point of the group `stepwell.providers` is a `ProviderDescriptor`, which brings a new provider. Or it is a
function that takes the settings and an HTTP client, and returns providers that replace installed ones.
"""

import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

from msgspec.structs import fields, replace

from stepwell.basics.setting_names import PREFIX
from stepwell.definition.provider_descriptors import InstalledProviders, InvalidProviders, ProviderDescriptor
from stepwell.ports.providers import Provider
from stepwell.providers.comfyui.descriptor import COMFYUI
from stepwell.providers.custom.descriptor import CUSTOM
from stepwell.providers.fal.descriptor import FAL
from stepwell.providers.google.descriptors import GEMINI, VERTEX
from stepwell.providers.local.descriptor import LOCAL
from stepwell.providers.openai.descriptor import OPENAI
from stepwell.providers.replicate.descriptor import REPLICATE
from stepwell.runtime.containment import contained
from stepwell.settings import Settings

BUILT_IN = (LOCAL, FAL, REPLICATE, VERTEX, GEMINI, OPENAI, COMFYUI, CUSTOM)
ENTRY_POINTS = "stepwell.providers"


class Replacement(NamedTuple):
    """A function of a package that returns providers in the place of installed ones."""

    package: str
    build: Callable[[Settings, Any], Iterable[Provider]]


class ProviderInstallation(NamedTuple):
    """The installed providers, and the functions that replace some of them."""

    providers: InstalledProviders
    replacements: tuple[Replacement, ...]


def installed_providers() -> InstalledProviders:
    """Return the descriptors of all installed providers. Raises `InvalidProviders`."""
    return read_installation().providers


def read_installation() -> ProviderInstallation:
    """Return what is installed on the search path. Raises `InvalidProviders`."""
    return _read_installation(tuple(sys.path))


@lru_cache(maxsize=1)
def _read_installation(_search_path: tuple[str, ...]) -> ProviderInstallation:
    """Return what is installed. Each further service of a test run would need 5 ms to read it again."""
    loaded = [_load(each) for each in entry_points(group=ENTRY_POINTS)]
    descriptors = [each for each in loaded if isinstance(each, ProviderDescriptor)]
    providers = InstalledProviders([*BUILT_IN, *descriptors])
    known = {PREFIX + field.name.upper() for field in fields(Settings)}
    for provider in providers.values():
        if taken := sorted(known & provider.variables.keys()):
            raise InvalidProviders(f"{provider} can't be called so: {taken[0]} is another setting")
        known |= provider.variables.keys()
    return ProviderInstallation(providers, tuple(each for each in loaded if isinstance(each, Replacement)))


def _load(entry_point: EntryPoint) -> ProviderDescriptor | Replacement:
    package = entry_point.dist.name if entry_point.dist else entry_point.value
    try:
        with contained():
            loaded = entry_point.load()
    except Exception as error:
        why = f"can't be loaded: {type(error).__name__}: {error}"
        raise InvalidProviders(f"the provider {entry_point.name} of the package {package} {why}") from error
    if isinstance(loaded, ProviderDescriptor):
        return replace(loaded, package=package)
    if not callable(loaded):
        why = "is neither a ProviderDescriptor nor a function"
        raise InvalidProviders(f"the entry point {entry_point.value} of the package {package} {why}")
    return Replacement(package, loaded)
