"""The descriptors of GEMINI and VERTEX."""

from typing import Annotated

from msgspec import Meta

from stepwell.contract.enums import ProviderType
from stepwell.contract.fields import about
from stepwell.definition.provider_descriptors import ConfiguredBy, OutputNames, ProviderDescriptor, ProviderSettings
from stepwell.providers.shared.output_names import IMAGE, SEED, TEXT, USE, VIDEO

_HOSTS = ("googleapis.com",)
_OUTPUTS = OutputNames(image=IMAGE | SEED | USE, video=VIDEO | USE, text=TEXT | USE)


class GeminiSettings(ProviderSettings, frozen=True, kw_only=True):
    url: Annotated[str | None, about("The Gemini API", default="the public one, if there is a key")] = None


class VertexSettings(ProviderSettings, frozen=True, kw_only=True):
    url: Annotated[str | None, about("Vertex AI", default="the public one of the location, if there is a key")] = None
    project: Annotated[str | None, about("The project of VERTEX", default="the service account's")] = None
    location: Annotated[
        Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,40}(?!\n)$")] | None,
        about("The location of VERTEX", default="by model: `global` or us-central1"),
    ] = None
    bucket: Annotated[
        Annotated[str, Meta(pattern=r"^gs://[a-z0-9][a-z0-9._-]{1,221}/([^\s]*)(?!\n)$")] | None,
        about(
            "`gs://bucket/folder/`: videos are written there and read from there",
            default="none: they come in the answer",
        ),
    ] = None


GEMINI = ProviderDescriptor(
    name=ProviderType.GEMINI,
    build="stepwell.providers.google.gemini:build",
    configured_by=ConfiguredBy.CREDENTIAL,
    settings=GeminiSettings,
    members=frozenset({"model", "parameters"}),
    outputs=_OUTPUTS,
    public_hosts=_HOSTS,
)
VERTEX = ProviderDescriptor(
    name=ProviderType.VERTEX,
    build="stepwell.providers.google.vertex:build",
    configured_by=ConfiguredBy.CREDENTIAL,
    settings=VertexSettings,
    members=frozenset({"model", "parameters", "location"}),
    outputs=_OUTPUTS,
    public_hosts=_HOSTS,
    credential_fault="stepwell.providers.google.access_tokens:account_fault",
)
