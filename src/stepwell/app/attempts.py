"""Builds the parts that attempts need from the settings: HTTP clients, files, URLs, limits and prices."""

import contextlib
from collections.abc import Iterable
from functools import partial
from typing import NamedTuple

import httpx

from stepwell.artifacts.store_setup import Storage
from stepwell.basics.tenancy import FileScope
from stepwell.basics.workflow_limits import WorkflowLimits
from stepwell.contract.enums import ProviderType
from stepwell.contract.tasks import Output
from stepwell.definition.validation.provider_rules import ProviderCatalog
from stepwell.engine.attempts.attempt_io import ArtifactUrls, FileAccess
from stepwell.engine.attempts.remote_jobs import PollIntervals, PollPace
from stepwell.engine.attempts.runner import AttemptRunner
from stepwell.engine.dispatch.pools import SlotLimits
from stepwell.engine.execution.outcomes import ModelLabels, Outcomes
from stepwell.engine.files.task_files import TaskFiles
from stepwell.outbound.address_policy import AddressPolicy
from stepwell.outbound.http_client import plain_client
from stepwell.outbound.input_fetcher import HttpInputFetcher
from stepwell.outbound.output_download import HttpOutputDownloader
from stepwell.outbound.ssrf_guard import guarded_client
from stepwell.outbound.webhook_sender import webhook_rule
from stepwell.ports.artifacts import Artifacts
from stepwell.ports.clock import Clock
from stepwell.providers.installed_providers import BUILT_IN, installed_providers
from stepwell.providers.local.provider import local_memory
from stepwell.providers.registry import Registry
from stepwell.rules.access.signed_urls import SignedUrls
from stepwell.rules.costs import ANY_MODEL, PriceList
from stepwell.runtime.outages import until_available
from stepwell.settings import Settings

_LONGEST_POLL_PAUSE_S = 10.0
_MOST_DIGESTS = 10_000


class SignedArtifactUrls:
    """Implements `attempt_io.ArtifactUrls`: URLs of the bucket if it signs them, else URLs of this service.

    Also implements `fingerprints.FileDigests`: the digests of the latest files stay in memory.
    """

    def __init__(
        self, task_files: TaskFiles, storage: Storage, own_urls: SignedUrls, clock: Clock, *, public: bool
    ) -> None:
        self._task_files, self._own_urls, self._clock = task_files, own_urls, clock
        self._sign_at_bucket = storage.sign_url
        self.public = public or self._sign_at_bucket is not None
        self._digests: dict[tuple[str | None, str], str] = {}

    async def size_of(self, path: str, scope: FileScope) -> int | None:
        file = await self._find(path, scope)
        return None if file is None else file.size

    async def sha256_of(self, path: str, scope: FileScope) -> str | None:
        if scope.named is None and (known := self._digests.get((scope.tenant, path))) is not None:
            return known
        file = await self._find(path, scope)
        return None if file is None else file.sha256

    def remember(self, tenant: str | None, outputs: Iterable[Output]) -> None:
        self._digests |= {(tenant, output.path): output.sha256 for output in outputs if output.sha256}
        while len(self._digests) > _MOST_DIGESTS:
            del self._digests[next(iter(self._digests))]

    async def _find(self, path: str, scope: FileScope) -> Output | None:
        # An outage must not fail the attempt that calls this. So this repeats until the attempt's own timeout.
        file = await until_available(partial(self._task_files.find_for_run, scope, path))
        if file is None:
            return None
        self.remember(scope.tenant, [file.output])
        return file.output

    async def url(self, path: str) -> str:
        if self._sign_at_bucket is not None:
            return await self._sign_at_bucket(path)
        return self._own_urls.url(path, self._clock.now())


def build_catalog(settings: Settings, registry: Registry) -> ProviderCatalog:
    """Build the rules by which new definitions are validated."""
    rule = webhook_rule(settings.allowed_cidrs, https_only=settings.https_only, configured=settings.signing_secrets.any)
    installed = installed_providers()
    # A built-in provider declares its members itself, and another one in its place may have others.
    brought = {each.name: each.members_of for each in installed.values() if each not in BUILT_IN}
    return ProviderCatalog(
        installed,
        registry.offers(),
        settings.default_provider,
        frozenset(settings.credentials),
        keyed=registry.keyed(),
        webhook_refusal=rule,
        refusals=registry.refusals(),
        file_rules=registry.file_rules(AddressPolicy(settings.allowed_cidrs), https_only=settings.https_only),
        members=brought | registry.members(),
        currencies=build_prices(settings).currencies,
    )


class HttpClients(NamedTuple):
    """HTTP clients by who chose the URL: users (`inputs`), providers (`outputs`), and the operator (`trusted`).

    They don't share connections. So a user's URL that never responds can't delay the download of results, which are
    already paid for.
    """

    inputs: httpx.AsyncClient
    outputs: httpx.AsyncClient
    trusted: httpx.AsyncClient


def open_clients(settings: Settings, stack: contextlib.AsyncExitStack) -> HttpClients:
    """Open the clients. *stack* closes them."""

    def guarded() -> httpx.AsyncClient:
        return guarded_client(
            AddressPolicy(settings.allowed_cidrs),
            https_only=settings.https_only,
            # A step reads one file at a time. So no step waits for another one's connection.
            connections=settings.max_running_steps,
        )

    clients = HttpClients(inputs=guarded(), outputs=guarded(), trusted=plain_client())
    for client in clients:
        stack.push_async_callback(client.aclose)
    return clients


def build_file_access(settings: Settings, clients: HttpClients, artifacts: Artifacts, urls: ArtifactUrls) -> FileAccess:
    """Return what attempts read and write files by. *urls* has the sizes and the URLs of *artifacts*."""
    max_bytes, timeout_s = settings.input_max_bytes, settings.input_timeout_s
    inputs = HttpInputFetcher(artifacts, urls.size_of, client=clients.inputs, max_bytes=max_bytes, timeout_s=timeout_s)
    downloads = HttpOutputDownloader(
        clients.outputs, max_bytes=settings.output_max_bytes, timeout_s=settings.output_timeout_s
    )
    return FileAccess(artifacts, inputs, urls, downloads)


def build_poll_intervals(settings: Settings) -> PollIntervals:
    def pace(first_s: float) -> PollPace:
        return PollPace(first_s, max(first_s, _LONGEST_POLL_PAUSE_S))

    own = {each.name: settings.of(each) for each in installed_providers().values()}
    first = {kind: each.poll_interval_s for kind, each in own.items() if each is not None}
    return PollIntervals(
        pace(settings.poll_interval_s), {kind: pace(first_s) for kind, first_s in first.items() if first_s is not None}
    )


def build_prices(settings: Settings) -> PriceList:
    return PriceList(settings.prices, settings.currency)


def build_limits(settings: Settings) -> SlotLimits:
    return SlotLimits(
        total=settings.max_running_steps,
        local=settings.max_local_steps,
        per_provider=settings.max_steps_per_provider,
        per_tenant=settings.max_steps_per_tenant,
        models=settings.limits,
        local_memory=local_memory(settings),
        local_on_workers=settings.executor == "celery",
    )


def build_workflow_limits(settings: Settings) -> WorkflowLimits:
    return WorkflowLimits(
        active=settings.max_active_workflows,
        active_per_tenant=settings.max_active_workflows_per_tenant,
        waiting=settings.max_waiting_workflows,
        waiting_s=settings.max_waiting_s,
        tenants=settings.tenant_limits,
    )


def build_outcomes(settings: Settings, runner: AttemptRunner) -> Outcomes:
    """Create the counts of outcomes. Models that the settings name always have their own label in metrics."""
    sources = (settings.limits, settings.prices)
    labels = ModelLabels(
        (ProviderType(provider), model)
        for models in sources
        for provider, of_provider in models.items()
        for model in of_provider
        if model != ANY_MODEL
    )
    return Outcomes(runner, labels)
