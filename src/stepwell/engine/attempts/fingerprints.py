"""Computes the fingerprints of attempts: equal ones mean equal work at a provider.

What must hold:
- A fingerprint depends on nothing that changes from run to run while the work stays the same: not on the paths of
  files, whose bytes count instead, not on credentials, and not on a seed that the service has drawn.
- Inputs of any size never block the event loop.
"""

import hashlib
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Protocol

from msgspec import Struct

from stepwell.basics.artifacts import parse_artifact_path
from stepwell.basics.data_uris import decode_data
from stepwell.basics.strict_json.canonical import digest
from stepwell.basics.tenancy import FileScope
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.contract.tasks import Output
from stepwell.definition.mapping.templates import strings_of
from stepwell.definition.provider_descriptors import SHARED_MEMBERS, ProviderDescriptor
from stepwell.engine.attempts.attempt_inputs import AttemptContext, provider_config
from stepwell.engine.attempts.checked_provider import checked_model
from stepwell.ports.providers import Providers
from stepwell.runtime.offloop import off_loop_if_large

_DATA_URI = "data:"


class FileDigests(Protocol):
    """The digests of stored files."""

    async def sha256_of(self, path: str, scope: FileScope) -> str | None:
        """Return the digest of the file of *scope* with exactly that path, in hex; None if there is none."""

    def remember(self, tenant: str | None, outputs: Iterable[Output]) -> None:
        """Remember the digests of new files, so that nobody has to read them from the database."""


class Fingerprints(Struct, frozen=True):
    """Computes fingerprints. *installed* are the descriptors of the providers."""

    _providers: Providers
    _installed: Mapping[ProviderType, ProviderDescriptor]
    _files: FileDigests

    async def of(
        self, context: AttemptContext, position: int, provider: ProviderType, inputs: dict[str, Any], *, fallback: bool
    ) -> str:
        """Return the fingerprint of an attempt with these *inputs*, which have paths where it gets URLs or data URIs.

        *fallback*: *provider* is that of the fallback.
        """
        task_type, descriptor = context.resolved_step(position).task_type, self._installed.get(provider)
        config = provider_config(context, position, on_fallback=fallback)
        no_effect = SHARED_MEMBERS if descriptor is None else SHARED_MEMBERS | descriptor.members_without_effect
        head = {
            "task_type": task_type,
            "provider": provider,
            "version": "" if descriptor is None else descriptor.version,
            "model": self._model(provider, task_type, config),
            "provider_config": {
                name: value for name, value in config.items() if name not in no_effect and value is not None
            },
        }
        paths = await off_loop_if_large(_paths, inputs)
        digests = {path: await self._files.sha256_of(path, context.files) for path in paths}
        return await off_loop_if_large(partial(_fingerprint, head, digests), inputs)

    def remember(self, tenant: str | None, outputs: Iterable[Output]) -> None:
        self._files.remember(tenant, outputs)

    def _model(self, provider: ProviderType, task_type: TaskType, config: dict[str, Any]) -> str | None:
        """Return the model that does the work; None if it is done here or on workers of this service."""
        if self._providers.works_here(provider) or self._providers.on_workers(provider):
            return None
        return checked_model(self._providers, provider, task_type, config, "fingerprint")


def _fingerprint(head: Mapping[str, Any], digests: Mapping[str, str | None], inputs: dict[str, Any]) -> str:
    return digest({**head, "inputs": _with_digests(inputs, digests)})


def _paths(inputs: dict[str, Any]) -> list[str]:
    """Return the strings in *inputs* that are paths of artifacts, each once."""
    return sorted({text for _, text in strings_of(inputs) if parse_artifact_path(text) is not None})


def _with_digests(value: Any, digests: Mapping[str, str | None]) -> Any:
    """Return *value* with the digests of the bytes in place of paths and data URIs."""
    if isinstance(value, str):
        if value[:5].lower() == _DATA_URI:
            return _of_data_uri(value)
        return value if (known := digests.get(value)) is None else {"sha256": known}
    if isinstance(value, Mapping):
        return {name: _with_digests(each, digests) for name, each in value.items()}
    return [_with_digests(each, digests) for each in value] if isinstance(value, list | tuple) else value


def _of_data_uri(uri: str) -> Any:
    head, comma, body = uri.partition(",")
    try:
        data = decode_data(body, is_base64=head.lower().endswith(";base64"))
    except ValueError:
        return uri
    return {"sha256": hashlib.sha256(data).hexdigest()} if comma else uri
