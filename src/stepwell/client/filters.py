"""The filters of lists of workflows."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, TypedDict

from stepwell.contract.enums import WaitsFor, WorkflowStatus


class CountFilters(TypedDict, total=False):
    """Filters that select workflows. All of `labels` must match; `name` is the beginning of the name, in any case.
    `definition` is the stored one that they run, as name or as name@version.
    """

    status: WorkflowStatus | str | Iterable[WorkflowStatus | str] | None
    labels: Mapping[str, str] | None
    name: str | None
    definition: str | None
    origin_instance: str | None
    origin_tenant_id: str | None
    origin_zone: str | None
    origin_reference: str | None
    created_after: datetime | str | None
    created_before: datetime | str | None
    waits_for: WaitsFor | str | None
    include_deleted: bool | None
    include_children: bool | None


class ListFilters(CountFilters, total=False):
    """Filters of a list, its order, and the parts of each workflow that it has."""

    order: Literal["-created_at", "created_at"] | None
    include_steps: bool | None
    include_results: bool | None


class PageOptions(ListFilters, total=False):
    """Options of one page of a list. `total`: whether all that match are counted."""

    limit: int | None
    skip: int | None
    cursor: str | None
    total: bool | None


def filter_query(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters for *filters*."""
    query = dict(filters)
    labels = query.pop("labels", None) or {}
    status = query.pop("status", None)
    if status is not None and not isinstance(status, str):
        status = ",".join(status) or None
    return {**query, "status": status, "label": [f"{key}:{value}" for key, value in labels.items()]}
