"""The responses about the service itself: the root, health, and the limits of a tenant."""

from typing import Annotated

from msgspec import Struct

from stepwell.contract.fields import Time, about
from stepwell.contract.tasks import BudgetStatus


class ActiveWorkflows(Struct):
    """The workflows in the process that responds, and how many it may have. A large one counts several times."""

    limit: int
    used: int


class WaitingWorkflows(Struct):
    """The RUNNING workflows that wait in the database until a process has a slot for them."""

    limit: int
    used: int
    oldest_started_at: Annotated[Time | None, about("When the longest waiting one was started")]


class RunningSteps(Struct):
    """The steps that run in the process that responds. `limit` holds for all processes together; null if there is
    none of its own for a tenant.
    """

    limit: int | None
    used: int


class StorageUse(Struct):
    """The uploaded files or the stored definitions: how many there are, and their bytes, with the limits of both.
    Previews of files count as bytes, and all versions of definitions.
    """

    limit: int
    used: int
    limit_bytes: int
    used_bytes: int


class Limits(Struct):
    """A tenant's limits and use. `tenant_id` is null for workflows without a tenant. Less than a limit is possible if
    other tenants use a lot: `remaining_workflows` is how many further workflows the tenant may start now.
    """

    tenant_id: str | None
    remaining_workflows: int
    active_workflows: ActiveWorkflows
    waiting_workflows: WaitingWorkflows
    running_steps: RunningSteps
    uploads: StorageUse
    definitions: StorageUse
    budget: Annotated[BudgetStatus, about("Of this day (UTC); null if there is none")] | None = None


class Root(Struct):
    version: str
    name: str = "Stepwell"
    schema: str = "/schema"
    openapi: str = "/schema/openapi.json"
    ready: str = "/health/ready"


class Health(Struct):
    status: str = "ok"
