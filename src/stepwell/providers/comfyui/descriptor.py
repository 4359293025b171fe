"""The descriptor of COMFYUI."""

from typing import Annotated

from stepwell.contract.enums import ProviderType
from stepwell.contract.fields import about
from stepwell.definition.provider_descriptors import ConfiguredBy, OutputNames, ProviderDescriptor, ProviderSettings
from stepwell.providers.shared.output_names import IMAGES, SEED, TEXT, VIDEOS


class ComfyUiSettings(ProviderSettings, frozen=True, kw_only=True):
    url: Annotated[str | None, about("The ComfyUI server; without it there is no COMFYUI")] = None


COMFYUI = ProviderDescriptor(
    name=ProviderType.COMFYUI,
    build="stepwell.providers.comfyui.provider:build",
    configured_by=ConfiguredBy.URL,
    settings=ComfyUiSettings,
    members=frozenset({"graph", "inputs", "output", "model"}),
    outputs=OutputNames(image=IMAGES | SEED, video=VIDEOS | SEED, text=TEXT | SEED),
)
