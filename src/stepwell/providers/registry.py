"""Which providers there are, and what each can do."""

from collections.abc import Callable, Iterable
from functools import partial

import structlog

from stepwell.domain.definition import KnownStep
from stepwell.domain.errors import Fault
from stepwell.domain.model import ProviderType, TaskType
from stepwell.domain.validation.provider_rules import FileRule
from stepwell.outbound.ssrf_guard import AddressPolicy
from stepwell.ports.providers import Provider, ReadsFiles
from stepwell.providers.in_process import InProcess
from stepwell.providers.shared.file_rules import file_rule

log = structlog.get_logger()


class Registry:
    """The configured providers by type. Raises ValueError when two are of one type."""

    def __init__(self, providers: Iterable[Provider]) -> None:
        self._providers: dict[ProviderType, Provider] = {}
        for provider in providers:
            if provider.type in self._providers:
                raise ValueError(f"two providers for {provider.type}")
            self._providers[provider.type] = provider

    def __getitem__(self, kind: ProviderType) -> Provider:
        """Raises KeyError if *kind* isn't configured."""
        return self._providers[kind]

    def __contains__(self, kind: ProviderType) -> bool:
        return kind in self._providers

    def close(self) -> None:
        """Let go of what providers hold: those that hold anything have a `close` of their own."""
        for provider in self._providers.values():
            if (close := getattr(provider, "close", None)) is not None:
                close()

    def keyed(self) -> frozenset[ProviderType]:
        """Those that need a credential."""
        return frozenset(kind for kind, provider in self._providers.items() if provider.needs_credential)

    def in_process(self) -> frozenset[ProviderType]:
        """Those that work in this process."""
        return frozenset(kind for kind, provider in self._providers.items() if provider.in_process)

    def refusals(self) -> dict[ProviderType, Callable[[KnownStep], Iterable[Fault]]]:
        """What each configured provider refuses of a step, as the port says."""
        usual = InProcess.refusals  # none, so there is no need to ask
        return {
            kind: partial(_told, provider)
            for kind, provider in self._providers.items()
            if getattr(type(provider), "refusals", usual) is not usual
        }

    def file_rules(self, policy: AddressPolicy, *, https_only: bool) -> dict[ProviderType, FileRule]:
        """Return the file rules of the providers that declare how they read files."""
        return {
            kind: file_rule(provider, policy, https_only=https_only)
            for kind, provider in self._providers.items()
            if isinstance(provider, ReadsFiles)
        }

    def offers(self) -> dict[ProviderType, dict[TaskType, frozenset[str]]]:
        """What each configured provider can do, with the capabilities it offers for it."""
        return {
            kind: {
                task_type: capabilities
                for task_type in TaskType
                if (capabilities := provider.capabilities(task_type)) is not None
            }
            for kind, provider in self._providers.items()
        }


def _told(provider: Provider, step: KnownStep) -> Iterable[Fault]:
    try:
        return list(provider.refusals(step))
    except Exception:  # a fault of the provider's code: that is told where the step runs
        log.exception("provider.no_refusals", action="check", provider=provider.type)
        return ()
