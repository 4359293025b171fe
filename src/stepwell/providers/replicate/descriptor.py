"""The descriptor of REPLICATE."""

from typing import Annotated

from stepwell.contract.enums import ProviderType
from stepwell.contract.fields import about
from stepwell.definition.provider_descriptors import ConfiguredBy, OutputNames, ProviderDescriptor, ProviderSettings
from stepwell.providers.shared.output_names import IMAGES, SEED, TEXT, VIDEOS


class ReplicateSettings(ProviderSettings, frozen=True, kw_only=True):
    url: Annotated[str | None, about("Replicate's API", default="the public one, if there is a key")] = None


REPLICATE = ProviderDescriptor(
    name=ProviderType.REPLICATE,
    build="stepwell.providers.replicate.provider:build",
    configured_by=ConfiguredBy.CREDENTIAL,
    settings=ReplicateSettings,
    members=frozenset({"model", "deployment", "parameters", "loras", "cancel_after_s"}),
    members_without_effect=frozenset({"cancel_after_s"}),
    # A model that gives no files gives text, whatever the task.
    outputs=OutputNames(image=IMAGES | TEXT | SEED, video=VIDEOS | TEXT | SEED, text=TEXT | SEED),
    public_hosts=("replicate.com",),
)
