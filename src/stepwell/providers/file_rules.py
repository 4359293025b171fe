"""What a provider surely refuses of a file that a step names, as far as the reference itself shows it."""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

from stepwell.domain.file_inputs import form_refusal, is_web
from stepwell.domain.model import TaskType
from stepwell.domain.offers import FileRule, ReferenceRule
from stepwell.ports.providers import ReadsFiles, UrlReader
from stepwell.providers.guard import AddressPolicy, host_refusal
from stepwell.providers.guard import form_refusal as url_refusal

_REMEMBERED = 4_096  # URLs; a definition may name the same ones in thousands of steps
_MAX_REMEMBERED_URL = 1_024  # characters


def file_rule(provider: ReadsFiles, policy: AddressPolicy, *, https_only: bool) -> FileRule:
    """The rule of *provider* for `domain.offers.Catalog`. URLs are judged as those of webhooks if Stepwell reads them;
    if the provider does, only their hosts are, because its network is another than ours, but no private one.
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


def _reference_rule(judge: Callable[[str], str | None]) -> ReferenceRule:
    """The form of any reference is judged, and URLs by *judge*, which says why it refuses one."""
    remembered = lru_cache(_REMEMBERED)(judge)

    def rule(reference: str) -> tuple[str, str] | None:
        if (wrong := form_refusal(reference)) is not None or not is_web(reference):
            return wrong
        why = (remembered if len(reference) <= _MAX_REMEMBERED_URL else judge)(reference)
        return None if why is None else (why, "url_invalid")

    return rule
