"""What attempts work with: providers, files, addresses, limits and prices, by the settings."""

import asyncio
import contextlib
from typing import NamedTuple
from uuid import UUID

import httpx

from stepwell.artifacts.store_setup import Storage
from stepwell.contract.enums import ProviderType
from stepwell.domain.access.signed_urls import CallbackUrls, SignedUrls
from stepwell.domain.errors import Unavailable
from stepwell.domain.model_terms import ANY_MODEL, PriceList
from stepwell.domain.tenancy import TenantScope
from stepwell.domain.validation.provider_rules import ProviderCatalog
from stepwell.engine.admission.controller import SlotLimits
from stepwell.engine.artifact_cleanup import ArtifactCleaner
from stepwell.engine.attempts.remote_jobs import PollIntervals, PollPace, RemoteJobs
from stepwell.engine.attempts.runner import AttemptRunner
from stepwell.engine.execution.outcomes import ModelLabels, Outcomes
from stepwell.outbound.http_client import plain_client
from stepwell.outbound.input_fetcher import HttpInputFetcher
from stepwell.outbound.output_download import HttpOutputDownloader
from stepwell.outbound.ssrf_guard import AddressPolicy, guarded_client
from stepwell.outbound.webhook_sender import webhook_rule
from stepwell.ports.clock import Clock
from stepwell.ports.storage import WorkflowStore
from stepwell.providers.registry import Registry
from stepwell.settings import Settings

_ASK_AGAIN_S = 0.5
_SLOWEST_LOOK_S = 10.0


class SignedArtifactUrls:
    """`runner.Links`: signed addresses of artifacts, for those whose they are."""

    def __init__(
        self, cleaner: ArtifactCleaner, storage: Storage, own: SignedUrls, clock: Clock, *, public: bool
    ) -> None:
        self._cleaner, self._bucket, self._own, self._clock = cleaner, storage.address, own, clock
        self.public = public or self._bucket is not None

    async def owns(self, path: str, tenant: str | None) -> bool:
        # Asked in an attempt, which an outage must not fail: it waits, for no longer than its own time.
        while True:
            try:
                return await self._cleaner.find(TenantScope(tenant), path) is not None
            except Unavailable:
                await asyncio.sleep(_ASK_AGAIN_S)

    async def url(self, path: str) -> str:
        return self._own.url(path, self._clock.now()) if self._bucket is None else await self._bucket(path)


class CallbackAddresses:
    """`runner.Callbacks`: none where nobody outside could reach us."""

    def __init__(self, urls: CallbackUrls, *, public: bool) -> None:
        self._urls, self._public = urls, public

    def url(self, workflow_id: UUID, task_id: UUID) -> str | None:
        return self._urls.url(workflow_id, task_id) if self._public else None


def made_runner(
    settings: Settings,
    registry: Registry,
    storage: Storage,
    links: SignedArtifactUrls,
    callbacks: CallbackUrls,
    clients: "HttpClients",
    known: WorkflowStore,
    clock: Clock,
) -> AttemptRunner:
    inputs = HttpInputFetcher(
        storage.artifacts,
        links.owns,
        client=clients.inputs,
        max_bytes=settings.input_max_bytes,
        timeout_s=settings.input_timeout_s,
    )
    downloads = HttpOutputDownloader(
        clients.outputs, max_bytes=settings.output_max_bytes, timeout_s=settings.output_timeout_s
    )
    return AttemptRunner(
        registry,
        storage.artifacts,
        inputs,
        links,
        downloads,
        CallbackAddresses(callbacks, public=settings.public_url is not None),
        RemoteJobs(known, clock, _paces(settings), prices(settings), settings.provider_timeout_s),
    )


def made_catalog(settings: Settings, registry: Registry) -> ProviderCatalog:
    rule = webhook_rule(settings.allowed_cidrs, https_only=settings.https_only, configured=settings.signing_secrets.any)
    return ProviderCatalog(
        registry.offers(),
        settings.default_provider,
        frozenset(settings.credentials),
        registry.keyed(),
        rule,
        registry.refusals(),
        registry.file_rules(AddressPolicy(settings.allowed_cidrs), https_only=settings.https_only),
    )


class HttpClients(NamedTuple):
    """For addresses that users name, that providers name for results, and that the operator has set: users who name
    what never answers hold up no result, which is paid for.
    """

    inputs: httpx.AsyncClient
    outputs: httpx.AsyncClient
    trusted: httpx.AsyncClient


def made_clients(settings: Settings, stack: contextlib.AsyncExitStack) -> HttpClients:
    def guarded() -> httpx.AsyncClient:
        return guarded_client(
            AddressPolicy(settings.allowed_cidrs),
            https_only=settings.https_only,
            # A step reads one file at a time, so none waits for another's, and there are no more than steps that run.
            connections=settings.max_running_steps,
        )

    clients = HttpClients(inputs=guarded(), outputs=guarded(), trusted=plain_client())
    for client in clients:
        stack.push_async_callback(client.aclose)
    return clients


def _paces(settings: Settings) -> PollIntervals:
    own = {
        ProviderType.FAL: settings.fal_poll_interval_s,
        ProviderType.REPLICATE: settings.replicate_poll_interval_s,
        ProviderType.OPENAI: settings.openai_poll_interval_s,
        ProviderType.GEMINI: settings.gemini_poll_interval_s,
        ProviderType.VERTEX: settings.vertex_poll_interval_s,
        ProviderType.COMFYUI: settings.comfyui_poll_interval_s,
        ProviderType.CUSTOM: settings.custom_poll_interval_s,
    }
    return PollIntervals(
        _pace(settings.poll_interval_s),
        {kind: _pace(first_s) for kind, first_s in own.items() if first_s is not None},
    )


def _pace(first_s: float) -> PollPace:
    return PollPace(first_s, max(first_s, _SLOWEST_LOOK_S))


def prices(settings: Settings) -> PriceList:
    return PriceList(settings.prices, settings.currency)


def limits(settings: Settings) -> SlotLimits:
    return SlotLimits(
        total=settings.max_running_steps,
        local=settings.max_local_steps,
        per_provider=settings.max_steps_per_provider,
        per_tenant=settings.max_steps_per_tenant,
        models=settings.limits,
    )


def create_outcomes(settings: Settings, runner: AttemptRunner) -> Outcomes:
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
