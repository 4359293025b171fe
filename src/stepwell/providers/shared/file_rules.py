"""Checks at create of the files that a step names, by who reads them."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from stepwell.contract.enums import TaskType
from stepwell.definition.validation.file_inputs import form_refusal, is_web
from stepwell.definition.validation.provider_rules import FileRule, ReferenceRule
from stepwell.outbound.ssrf_guard import AddressPolicy, host_refusal, url_refusal
from stepwell.ports.providers import ReadsFiles, UrlReader

_CACHE_SIZE = 4_096  # URLs; a definition may name the same ones in thousands of steps
_MAX_CACHED_URL = 1_024  # characters


def file_rule(provider: ReadsFiles, policy: AddressPolicy, *, https_only: bool) -> FileRule:
    """Return the rule of *provider* for `definition.validation.provider_rules.ProviderCatalog`.

    A URL that Stepwell reads is checked like that of a webhook. Of a URL that the provider reads, only the host is
    checked: the provider has another network, but can't reach this service's private addresses either.
    """
    rules = {
        UrlReader.STEPWELL: _reference_rule(partial(url_refusal, policy=policy, https_only=https_only)),
        UrlReader.PROVIDER: _reference_rule(partial(host_refusal, policy=policy)),
        UrlReader.OPERATOR: form_refusal,
    }

    def rule(task_type: TaskType, name: str, config: Mapping[str, Any]) -> ReferenceRule | None:
        reader = provider.url_reader(task_type, name, config)
        return None if reader is None else rules[reader]

    return rule


def _reference_rule(check: Callable[[str], str | None]) -> ReferenceRule:
    """Return a rule that checks the form of a reference and, by *check*, a URL. *check* returns why it refuses one."""
    cached = lru_cache(_CACHE_SIZE)(check)

    def rule(reference: str) -> tuple[str, str] | None:
        if (wrong := form_refusal(reference)) is not None or not is_web(reference):
            return wrong
        why = (cached if len(reference) <= _MAX_CACHED_URL else check)(reference)
        return None if why is None else (why, "url_invalid")

    return rule
