"""What a provider surely refuses of a file that a step names, as far as the reference itself shows it."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from stepwell.domain.file_inputs import form_refusal, is_web
from stepwell.domain.model import TaskType
from stepwell.domain.offers import FileRule
from stepwell.ports.providers import ReadsFiles, UrlReader
from stepwell.providers.guard import AddressPolicy, host_refusal
from stepwell.providers.guard import form_refusal as url_refusal

_REMEMBERED = 4_096  # URLs; a definition may name the same ones in thousands of steps
_MAX_REMEMBERED_URL = 1_024  # characters


def file_rule(provider: ReadsFiles, policy: AddressPolicy, *, https_only: bool) -> FileRule:
    """The rule of *provider* for `domain.offers.Catalog`. URLs are judged as those of webhooks if Stepwell reads them;
    if the provider does, only their hosts are, because its network is another than ours, but no private one.
    """

    def judge(url: str, reader: UrlReader) -> str | None:
        if reader is UrlReader.STEPWELL:
            return url_refusal(url, policy, https_only=https_only)
        return host_refusal(url, policy)

    remembered = lru_cache(_REMEMBERED)(judge)

    def rule(task_type: TaskType, name: str, config: Mapping[str, Any], reference: str) -> tuple[str, str] | None:
        reader = provider.url_reader(task_type, name, config)
        if reader is None:
            return None
        if (wrong := form_refusal(reference)) is not None:
            return wrong
        if reader is UrlReader.OPERATOR or not is_web(reference):
            return None
        why = (remembered if len(reference) <= _MAX_REMEMBERED_URL else judge)(reference, reader)
        return None if why is None else (why, "url_invalid")

    return rule
