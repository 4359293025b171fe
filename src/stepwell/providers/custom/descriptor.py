"""The descriptor of CUSTOM, which takes members of any name."""

from typing import Annotated

from stepwell.contract.enums import ProviderType
from stepwell.contract.fields import about
from stepwell.definition.provider_descriptors import ConfiguredBy, ProviderDescriptor, ProviderSettings


class CustomSettings(ProviderSettings, frozen=True, kw_only=True):
    url: Annotated[str | None, about("The worker; without it there is no CUSTOM")] = None


CUSTOM = ProviderDescriptor(
    name=ProviderType.CUSTOM,
    build="stepwell.providers.custom.provider:build",
    configured_by=ConfiguredBy.URL,
    settings=CustomSettings,
)
