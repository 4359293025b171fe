"""The query of the list of workflows and of their counts, and the links from page to page."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import quote_plus

from msgspec import UNSET, Meta, Struct, UnsetType, ValidationError, convert

from stepwell.api.requests.query_parameters import (
    CheckedQuery,
    Cursor,
    DefinitionQuery,
    IncludeResults,
    IncludeSteps,
    Limit,
    Skip,
    page_links,
    read_cursor,
    several_of,
    status_faults,
)
from stepwell.basics.errors import Fault
from stepwell.contract.definition import MAX_LABELS
from stepwell.contract.enums import WaitsFor, WorkflowStatus
from stepwell.contract.fields import about
from stepwell.lifecycle.records import WorkflowParts
from stepwell.rules.access.cursors import PageCursors
from stepwell.rules.access.signed_texts import SignedTexts
from stepwell.rules.list_records import ListFilter, WorkflowCursor, WorkflowFilter, WorkflowPage

_LABEL: Final = re.compile(r"[A-Za-z0-9._/-]{1,63}:[^\x00]{0,255}", re.DOTALL)
_TIMES: Final = ("created_after", "created_before")
_AwareTime = Annotated[datetime, Meta(tz=True)]

Statuses = Annotated[str, several_of(WorkflowStatus, "Only workflows in one of these statuses")]
Labels = Annotated[tuple[str, ...], about("Only those with this label, as key:value. If repeated, with all of them")]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
Order = Annotated[
    Literal["-created_at", "created_at"],
    Meta(
        description="-created_at: the newest first; created_at: the oldest",
        extra_json_schema={"x-enum-varnames": ["NEWEST_FIRST", "OLDEST_FIRST"]},  # for openapi-python-client
    ),
]
Total = Annotated[bool, about("Whether all workflows that match are counted; if not, total is null")]


def label_faults(values: dict[str, Any]) -> Iterator[Fault]:
    """Yield the faults of the labels in *values*."""
    labels = values.get("label", ())
    if not all(_LABEL.fullmatch(label) for label in labels):
        message = "Expected key:value, with 1 to 63 of A-Z a-z 0-9 . _ / - as key and at most 255 characters as value"
        yield Fault(("query", "label"), message, "string_pattern_mismatch")
    if len(labels) > MAX_LABELS:
        yield Fault(("query", "label"), f"Expected at most {MAX_LABELS} labels", "too_long")


class FilterQuery(CheckedQuery, DefinitionQuery, frozen=True, kw_only=True):
    REPEATABLE: ClassVar = frozenset({"status", "label"})

    created_after: Annotated[Time, about("Only workflows created after this time")] | UnsetType = UNSET
    created_before: Annotated[Time, about("Only workflows created before this time")] | UnsetType = UNSET
    include_children: Annotated[bool, about("Whether sub-workflows are included")] = False
    include_deleted: Annotated[bool, about("Whether deleted workflows are included")] = False
    label: Labels = ()
    name: Annotated[str, about("Only workflows whose name begins with this text, in any case")] | UnsetType = UNSET
    origin_instance: Annotated[str, about("Only workflows of this instance")] | UnsetType = UNSET
    origin_reference: Annotated[str, about("Only workflows with this reference")] | UnsetType = UNSET
    origin_tenant_id: Annotated[str, about("Only workflows of this tenant")] | UnsetType = UNSET
    origin_zone: Annotated[str, about("Only workflows of this zone")] | UnsetType = UNSET
    status: Statuses | UnsetType = UNSET
    waits_for: Annotated[WaitsFor, about("Only workflows whose waits_for is this")] | UnsetType = UNSET

    @staticmethod
    def value_faults(values: dict[str, Any]) -> Iterator[Fault]:
        for name in _TIMES:
            if name in values and _time(values[name]) is None:
                message = "Expected a time with an offset, like 2026-01-31T12:00:00Z; a + is written %2B"
                yield Fault(("query", name), message, "datetime_parsing")
        yield from status_faults(values, WorkflowStatus)
        yield from label_faults(values)
        if "cursor" in values and values.get("skip"):
            yield Fault(("query", "skip"), "Expected no skip beside a cursor", "conflict")

    def as_filter(self) -> WorkflowFilter:
        return WorkflowFilter(**self._members())

    def _members(self) -> dict[str, Any]:
        return {
            "statuses": () if self.status is UNSET else _distinct(map(WorkflowStatus, self.status.split(","))),
            "labels": _distinct(iter(self.label)),
            "name": self.name or None,
            "origin_instance": _or_none(self.origin_instance),
            "origin_reference": _or_none(self.origin_reference),
            "origin_tenant_id": _or_none(self.origin_tenant_id),
            "origin_zone": _or_none(self.origin_zone),
            "created_after": None if self.created_after is UNSET else _time(self.created_after),
            "created_before": None if self.created_before is UNSET else _time(self.created_before),
            "waits_for": None if self.waits_for is UNSET else self.waits_for,
            "definition": self.wanted_definition,
            "include_deleted": self.include_deleted,
            "include_children": self.include_children,
        }


class ListQuery(FilterQuery, frozen=True, kw_only=True):
    cursor: Cursor | UnsetType = UNSET
    include_results: IncludeResults = True
    include_steps: IncludeSteps = True
    limit: Limit = 50
    order: Order = "-created_at"
    skip: Skip = 0
    total: Total = True

    @property
    def oldest_first(self) -> bool:
        return self.order == "created_at"

    def as_page(self, cursors: PageCursors) -> ListFilter:
        """Return the filters and the page. Raises `InvalidRequest` if the cursor isn't one of this order."""
        return ListFilter(
            **self._members(),
            skip=self.skip,
            limit=self.limit,
            after=self._after(cursors),
            oldest_first=self.oldest_first,
            count=self.total,
            parts=WorkflowParts(self.include_steps, self.include_results),
        )

    def own(self, cursors: PageCursors) -> SignedTexts[WorkflowCursor]:
        return cursors.oldest_first if self.oldest_first else cursors.newest_first

    def _after(self, cursors: PageCursors) -> WorkflowCursor | None:
        return read_cursor(self.own(cursors), self.cursor, f"a list with order={self.order}")


def list_links(path: str, query: ListQuery, page: WorkflowPage, cursors: PageCursors) -> str:
    """Return the `Link` header (RFC 8288) of a page. The links keep the filters of *query*.

    A page of no workflows has no previous and no next one.
    """
    limit, total, links = query.limit, page.total, {"first": "skip=0"}
    last = None if total is None else max(0, (total - 1) // limit * limit) if limit else 0
    if limit and query.skip > 0:
        before = query.skip - limit
        links["prev"] = f"skip={max(0, before if last is None else min(before, last))}"
    if page.last is not None:
        links["next"] = f"cursor={query.own(cursors).sign(page.last)}"
    if last is not None:
        links["last"] = f"skip={last}"
    return page_links(path, [*stable_parameters(query), f"limit={limit}"], links)


def stable_parameters(query: Struct) -> Iterator[str]:
    """Yield the parameters that lead to other pages of the same list."""
    defaults = type(query)()
    for name in query.__struct_fields__:
        value = getattr(query, name)
        if name not in ("skip", "limit", "cursor") and value != getattr(defaults, name):
            for each in value if isinstance(value, tuple) else (value,):
                yield f"{name}={quote_plus(str(each).lower() if isinstance(each, bool) else str(each))}"


def _or_none(value: str | UnsetType) -> str | None:
    return None if value is UNSET else value


def _distinct(values: Iterator[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(values))


def _time(text: str) -> datetime | None:
    """Return the time in UTC; None if *text* isn't an RFC 3339 time with an offset."""
    try:
        return convert(text, _AwareTime).astimezone(UTC)
    except (ValidationError, OverflowError):
        return None
