"""The client with all operations."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

from stepwell.client.asynchronous.files import AsyncFileCalls
from stepwell.client.asynchronous.step_ends import AsyncStepCalls
from stepwell.client.asynchronous.stored_definitions import AsyncDefinitionCalls
from stepwell.client.asynchronous.workflows import AsyncWorkflowCalls
from stepwell.client.errors import ConnectionFailed, Unavailable
from stepwell.client.requests import read
from stepwell.client.responses import decode, text_of, with_amounts
from stepwell.contract.enums import CostKey
from stepwell.contract.providers import ProviderListResponse, ProviderStatus
from stepwell.contract.system import Limits, Root
from stepwell.contract.tasks import CostGroup, CostsResponse


class AsyncStepwell(AsyncWorkflowCalls, AsyncStepCalls, AsyncFileCalls, AsyncDefinitionCalls):
    """A client of the Stepwell service at *url*, with a *token*; "" is none. It is a context manager.

    - Without *url* it is STEPWELL_URL of the environment. Without *token* it is STEPWELL_TOKEN, unless STEPWELL_URL
      names another service.
    - *timeout_s* bounds the silence of the service within one request. A stream is silent for at most the service's
      STEPWELL_HEARTBEAT_S (15).
    - *retry_s* bounds the time during which a request is repeated after its first failure. 0: it is sent once.
    - *transport* is a transport of httpx that replaces the network.
    """

    async def providers(self) -> list[ProviderStatus]:
        """Return the status of the providers, of their models and of their circuit breakers."""
        return list(decode(await self._send(read("/api/v1/providers")), ProviderListResponse).providers)

    async def costs(
        self,
        since: date | str | None = None,
        until: date | str | None = None,
        *,
        by: Iterable[CostKey | str] = (),
        definition: str | None = None,
    ) -> list[CostGroup]:
        """Return the costs of attempts from the day *since* to before the day *until* (UTC), summed *by* these keys and
        the currency: all, or those of runs of a stored *definition*. Amounts are exact `Decimal`s.
        """
        query = {"from": since, "to": until, "by": ",".join(by) or None, "definition": definition}
        return with_amounts(decode(await self._send(read("/api/v1/costs", query)), CostsResponse)).costs

    async def limits(self, *, origin_tenant_id: str | None = None) -> Limits:
        """Return the limits of the token's tenant, and their use."""
        return await self._fetch(Limits, read("/api/v1/limits", {"origin_tenant_id": origin_tenant_id}))

    async def ready(self) -> bool:
        """Return True if the service can work, False if it can't now or doesn't respond. The request isn't repeated."""
        return await self._succeeds("/health/ready")

    async def live(self) -> bool:
        """Return True if the service's process responds. The request isn't repeated."""
        return await self._succeeds("/health/live")

    async def root(self) -> Root:
        """Return the version of the service, and the addresses of its documents."""
        return await self._fetch(Root, read("/"))

    async def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document of the service."""
        return await self._fetch(dict[str, Any], read("/schema/openapi.json"))

    async def metrics(self) -> str:
        """Return the metrics of the service, as Prometheus reads them."""
        response = await self._send(read("/metrics"))
        return text_of(response)

    async def _succeeds(self, path: str) -> bool:
        try:
            response = await self._send(read(path), retry_s=0)
        except (ConnectionFailed, Unavailable):
            return False
        return response.is_success
