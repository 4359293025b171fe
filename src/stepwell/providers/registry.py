"""The configured providers: which of them work in this process, and what each can do."""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import Any, cast

import structlog

from stepwell.basics.errors import AttemptError, Fault
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.definition.validation.file_inputs import form_refusal, is_web
from stepwell.definition.validation.provider_rules import FileRule, MemberRule, ReferenceRule
from stepwell.lifecycle.steps import KnownStep, StepMembers
from stepwell.outbound.address_policy import AddressPolicy
from stepwell.outbound.ssrf_guard import host_refusal, url_refusal
from stepwell.ports.providers import (
    Attempt,
    AttemptIO,
    DeclaresMembers,
    Finished,
    InProcessProvider,
    Provider,
    ReadsFiles,
    RefusesSteps,
    RemoteProvider,
    RunInProcess,
    RunsOnWorkers,
    UrlReader,
)
from stepwell.runtime.containment import contained

_CACHE_SIZE = 4_096  # URLs; a definition may name the same ones in thousands of steps
_MAX_CACHED_URL = 1_024  # characters
log = structlog.get_logger()


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


class Registry:
    """Implements `ports.providers.Providers`. Raises ValueError for two providers of one type."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        self._providers: dict[ProviderType, Provider] = {}
        self._in_process: dict[ProviderType, RunInProcess] = {}
        for provider in providers:
            if provider.type in self._providers:
                raise ValueError(f"two providers for {provider.type}")
            self._providers[provider.type] = provider
            if is_in_process(provider):
                self._in_process[provider.type] = partial(_run, cast(InProcessProvider, provider))

    def __getitem__(self, kind: ProviderType) -> Provider:
        return self._providers[kind]

    def __contains__(self, kind: ProviderType) -> bool:
        return kind in self._providers

    def works_here(self, kind: ProviderType | None) -> bool:
        return kind is None or kind in self._in_process

    def in_process(self, kind: ProviderType) -> RunInProcess | None:
        return self._in_process.get(kind)

    def in_process_types(self) -> frozenset[ProviderType]:
        return frozenset(self._in_process)

    def remote(self, kind: ProviderType) -> RemoteProvider:
        if kind in self._in_process:
            raise KeyError(kind)
        return cast(RemoteProvider, self._providers[kind])

    def on_workers(self, kind: ProviderType | None) -> bool:
        return kind is not None and isinstance(self._providers.get(kind), RunsOnWorkers)

    def close(self) -> None:
        for provider in self._providers.values():
            if (close := getattr(provider, "close", None)) is not None:
                try:
                    close()
                except Exception:
                    log.exception("provider.not_closed", action="stop", provider=provider.type)

    def keyed(self) -> frozenset[ProviderType]:
        return frozenset(kind for kind, provider in self._providers.items() if provider.needs_credential)

    def refusals(self) -> dict[ProviderType, Callable[[KnownStep], Iterable[Fault]]]:
        """Return the check of each provider that can refuse a step at create."""
        return {
            kind: partial(_refusals_of, kind, provider)
            for kind, provider in self._providers.items()
            if isinstance(provider, RefusesSteps)
        }

    def file_rules(self, policy: AddressPolicy, *, https_only: bool) -> dict[ProviderType, FileRule]:
        """Return the file rules of the providers that declare how they read files."""
        return {
            kind: file_rule(provider, policy, https_only=https_only)
            for kind, provider in self._providers.items()
            if isinstance(provider, ReadsFiles)
        }

    def members(self) -> dict[ProviderType, MemberRule]:
        """Return the members that each provider declares, of the providers that do."""
        return {
            kind: partial(_members_of, kind, provider)
            for kind, provider in self._providers.items()
            if isinstance(provider, DeclaresMembers)
        }

    def offers(self) -> dict[ProviderType, dict[TaskType, frozenset[str]]]:
        """Return the task types that each provider can do, with the capabilities that it offers for them."""
        return {
            kind: {
                task_type: capabilities
                for task_type in TaskType
                if (capabilities := provider.capabilities(task_type)) is not None
            }
            for kind, provider in self._providers.items()
        }


def is_in_process(provider: Provider) -> bool:
    """Return whether the provider works in-process, and not on somebody else's machine. A remote one has a `submit`."""
    return not hasattr(provider, "submit")


async def _run(provider: InProcessProvider, attempt: Attempt, io: AttemptIO) -> Finished:
    result: Any
    with contained():
        result = await provider.run(attempt, io)
    if not isinstance(result, dict):
        message = f"{provider.type}: run returned what can't be used: Expected `dict`, got `{type(result).__name__}`"
        raise AttemptError(message, retryable=False)
    return Finished(result)


def _refusals_of(kind: ProviderType, provider: RefusesSteps, step: KnownStep) -> Iterable[Fault]:
    try:
        return list(provider.refusals(step))
    except Exception:  # a bug of the provider; it shows when the step runs
        log.exception("provider.no_refusals", action="check", provider=kind)
        return ()


def _members_of(
    kind: ProviderType, provider: DeclaresMembers, task_type: TaskType, config: Mapping[str, Any]
) -> StepMembers:
    try:
        return provider.members(task_type, config)
    except Exception:  # a bug of the provider; its steps are accepted without these checks
        log.exception("provider.no_members", action="check", provider=kind)
        return StepMembers()
