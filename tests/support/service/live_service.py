"""The whole service in the test's own loop, and what tests do with it over HTTP."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx

from stepwell.api.auth.authentication import sign_token
from stepwell.app import DatabaseSource, PostgresSource, running_app
from stepwell.app import Service as RunningService
from stepwell.basics.setting_values import Networks
from stepwell.contract.enums import ProviderType
from stepwell.contract.scopes import DEFAULT_PERMISSIONS, Permission
from stepwell.persistence.clock import DatabaseClock
from stepwell.ports.providers import Provider
from stepwell.providers.installed_providers import installed_providers
from stepwell.rules.webhook_secrets import SigningSecrets
from stepwell.settings import Settings, make_settings
from support.database.changed_source import ChangedSource
from support.database.failing_store import add_failing_store
from support.service.conformance import conforming_client

SECRET = "a secret of the tests, long enough for HS256"
WEBHOOK_SECRET = "whsec_YSBzZWNyZXQgb2YgdGhlIHRlc3RzIGZvciBob29rcw=="
EVERYTHING = DEFAULT_PERMISSIONS
ENDED = {"COMPLETED", "FAILED", "CANCELLED"}


def token(
    tenant: str | None = None,
    *,
    every: bool = True,
    permissions: tuple[Permission, ...] = EVERYTHING,
    subject: str = "tester",
    definitions: Collection[str] = (),
    origin_instance: str | None = None,
) -> str:
    return sign_token(
        SECRET,
        "HS256",
        "stepwell",
        "stepwell",
        subject=subject,
        tenant=tenant,
        every=every,
        permissions=permissions,
        expires_s=3600,
        now=DatabaseClock().now(),
        definitions=definitions,
        origin_instance=origin_instance,
    )


@dataclass
class Service:
    app: RunningService
    client: httpx.AsyncClient
    database: str | DatabaseSource
    artifacts: Path

    @property
    def dsn(self) -> str:
        assert isinstance(self.database, str), "the service has no PostgreSQL database"
        return self.database

    @property
    def transport(self) -> httpx.ASGITransport:
        """For clients that don't check their exchanges against the OpenAPI document."""
        return httpx.ASGITransport(app=cast("Any", self.app.api))

    def as_tenant(
        self, tenant: str | None = None, *, every: bool = False, permissions: tuple[Permission, ...] = EVERYTHING
    ) -> httpx.AsyncClient:
        return conforming_client(self.app.api, token(tenant, every=every, permissions=permissions))

    def as_subject(self, subject: str, *definitions: str, tenant: str | None = "acme") -> httpx.AsyncClient:
        """A client that may only run these definitions."""
        own = token(
            tenant,
            every=False,
            permissions=(Permission.RUN,),
            subject=subject,
            definitions=definitions,
            origin_instance="tests",
        )
        return conforming_client(self.app.api, own)

    def unchecked_client(self, tenant: str | None = None) -> httpx.AsyncClient:
        """A client of *tenant*, or of all, for answers that are too large to check against the OpenAPI document."""
        headers = {"Authorization": f"Bearer {token(tenant, every=tenant is None)}"}
        return httpx.AsyncClient(transport=self.transport, base_url="http://t.local", headers=headers, timeout=60)

    def stored_files(self) -> list[Path]:
        """Return the files in the folder of artifacts, also while some are deleted."""
        return [Path(folder, name) for folder, _, names in os.walk(self.artifacts) for name in names]

    async def create(self, *steps: dict[str, Any], start: bool = True, **fields: Any) -> dict[str, Any]:
        body = {"name": "a test", "origin_instance": "tests", "steps": list(steps), **fields}
        response = await self.client.post("/api/v1/workflows/", params={"start": start}, json=body)
        assert response.status_code == 201, response.text
        created: dict[str, Any] = response.json()
        return created

    async def verb(self, workflow_id: str, verb: str, **params: Any) -> httpx.Response:
        path = f"/api/v1/workflows/{workflow_id}"
        if verb == "cancel":
            return await self.client.delete(path)
        return await self.client.post(f"{path}/{verb}", params=params)

    async def get(self, workflow_id: str) -> dict[str, Any]:
        response = await self.client.get(f"/api/v1/workflows/{workflow_id}")
        assert response.status_code == 200, response.text
        content: dict[str, Any] = response.json()
        return content

    async def until(
        self, workflow_id: str, wanted: Callable[[dict[str, Any]], bool], within_s: float = 120
    ) -> dict[str, Any]:
        """The workflow once it is as wanted; fails with its last state after *within_s*."""
        workflow: dict[str, Any] = {}
        try:
            async with asyncio.timeout(within_s):
                began = time.monotonic()
                while not wanted(workflow := await self.get(workflow_id)):
                    # A large workflow takes long to read and to check. That must not hold up what is waited for.
                    await asyncio.sleep(max(0.01, time.monotonic() - began))
                    began = time.monotonic()
        except TimeoutError:
            raise AssertionError(f"not within {within_s} s: {workflow}") from None
        return workflow

    async def until_ended(self, workflow_id: str, within_s: float = 120) -> dict[str, Any]:
        return await self.until(workflow_id, lambda workflow: workflow["status"] in ENDED, within_s)

    async def events(self, workflow_id: str) -> list[dict[str, Any]]:
        response = await self.client.get(f"/api/v1/workflows/{workflow_id}/events", params={"limit": 1000})
        assert response.status_code == 200, response.text
        found: list[dict[str, Any]] = response.json()["events"]
        return found

    async def tasks(self, workflow_id: str, **params: Any) -> list[dict[str, Any]]:
        response = await self.client.get(f"/api/v1/workflows/{workflow_id}/tasks", params=params)
        assert response.status_code == 200, response.text
        tasks: list[dict[str, Any]] = response.json()["tasks"]
        return tasks


def step_of(workflow: dict[str, Any], step_id: str) -> dict[str, Any]:
    """Return the step with this id of a workflow as the API returns it."""
    step: dict[str, Any] = next(step for step in workflow["steps"] if step["step_id"] == step_id)
    return step


def statuses_of(workflow: dict[str, Any]) -> dict[str, str]:
    """Return the status of each step by its id."""
    return {step["step_id"]: step["status"] for step in workflow["steps"]}


def serving(
    database: str | DatabaseSource, folder: Path, provider: Provider, **settings: Any
) -> AbstractAsyncContextManager[Service]:
    """The service with *provider* besides its own. When it stops, it waits for no attempt that hangs."""
    return running_service(database, folder, providers=[provider], grace_s=0.1, **settings)


@asynccontextmanager
async def running_service(
    database: str | DatabaseSource,
    folder: Path,
    *,
    providers: Iterable[Provider] = (),
    exclusive: bool = True,
    wait_for_claims: bool = True,
    **overrides: Any,
) -> AsyncIterator[Service]:
    """The service on *database*, or on the PostgreSQL database at that address. Enter and leave it in one task, or by
    the fixtures of `conftest`. Once entered it has claimed all that it can.
    """
    source = PostgresSource(database, durable=False) if isinstance(database, str) else database
    settings = settings_for(folder, **overrides)
    async with (
        running_app(
            settings,
            source=ChangedSource(source, add_failing_store),
            url_secret=SECRET.encode(),
            exclusive=exclusive,
            extra_providers=providers,
        ) as app,
        conforming_client(app.api, token()) as client,
    ):
        if wait_for_claims:
            async with asyncio.timeout(120):
                await app.engine.ownership.caught_up.wait()
        yield Service(app, client, database, settings.artifacts)


def settings_for(folder: Path, **overrides: Any) -> Settings:
    """Return the settings of a service whose data folder is *folder*."""
    # Inputs of tests are on loopback, which the guard refuses by itself.
    defaults: dict[str, Any] = {
        "database_pool": 4,
        "database_slow_s": 600,  # otherwise a busy machine makes the service refuse workflows
        "allowed_cidrs": Networks.read("127.0.0.0/8"),
        "webhook_secret": SigningSecrets.read(WEBHOOK_SECRET),
    }
    return make_settings(
        installed_providers(),
        data_dir=folder,
        jwt_secret=SECRET,
        default_provider=ProviderType.LOCAL,
        **(defaults | overrides),
    )
