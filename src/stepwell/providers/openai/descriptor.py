"""The descriptor of OPENAI."""

from typing import Annotated

from stepwell.contract.enums import ProviderType
from stepwell.contract.fields import about
from stepwell.definition.provider_descriptors import ConfiguredBy, OutputNames, ProviderDescriptor, ProviderSettings
from stepwell.providers.shared.output_names import IMAGE, TEXT, USE, VIDEO


class OpenAiSettings(ProviderSettings, frozen=True, kw_only=True):
    url: Annotated[
        str | None,
        about(
            "OpenAI's API, or that of a server that speaks it, with its path",
            default="the public one, if there is a key",
        ),
    ] = None


OPENAI = ProviderDescriptor(
    name=ProviderType.OPENAI,
    build="stepwell.providers.openai.provider:build",
    configured_by=ConfiguredBy.CREDENTIAL_OR_URL,
    settings=OpenAiSettings,
    members=frozenset({"model", "parameters"}),
    outputs=OutputNames(image=IMAGE | USE, video=VIDEO | USE, text=TEXT | USE | {"finish_reason"}),
    public_hosts=("openai.com",),
)
