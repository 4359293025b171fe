"""The descriptor of FAL."""

from typing import Annotated

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.contract.fields import about
from stepwell.definition.provider_descriptors import (
    ORDINARY_TASKS,
    ConfiguredBy,
    OutputNames,
    ProviderDescriptor,
    ProviderSettings,
)
from stepwell.providers.shared.output_names import IMAGES, SEED, TEXT, VIDEO


class FalSettings(ProviderSettings, frozen=True, kw_only=True):
    url: Annotated[str | None, about("FAL's queue", default="the public one, if there is a key")] = None
    api_url: Annotated[
        str | None, about("FAL's list of requests", default="the public one; beside another queue, that")
    ] = None


FAL = ProviderDescriptor(
    name=ProviderType.FAL,
    build="stepwell.providers.fal.provider:build",
    configured_by=ConfiguredBy.CREDENTIAL,
    settings=FalSettings,
    members=frozenset({"fal_app_id", "loras"}),
    outputs=OutputNames(image=IMAGES | SEED, video=VIDEO | SEED, text=TEXT | SEED),
    task_types=ORDINARY_TASKS | {TaskType.EXPERIMENTAL_FAL},
    public_hosts=("fal.run", "fal.ai"),
)
