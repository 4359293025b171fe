"""Reports in responses: problem details (RFC 9457), the faults of a request, and the warnings about a definition."""

import re
from collections.abc import Sequence
from typing import Final

from msgspec import UNSET, Struct, UnsetType, json

from stepwell.contract.enums import WorkflowStatus

_PLAIN_NAME: Final = re.compile(r"[^.\[\]\"\s\x00-\x1f\x7f]+")


def place_text(loc: Sequence[str | int]) -> str:
    """Return the place that a fault or a warning names, as people read it: `steps[1].config.width`.

    The first part, which says that it is in the body, is left out. A name that could be misread is in double quotes.
    """
    parts = [f"[{each}]" if isinstance(each, int) else f".{_quoted(each)}" for each in loc[1:]]
    return "".join(parts).removeprefix(".") or ".".join(map(str, loc)) or "request"


def _quoted(name: str) -> str:
    return name if _PLAIN_NAME.fullmatch(name) else json.encode(name).decode()


class ValidationError(Struct):
    loc: list[str | int]
    msg: str
    type: str


class DefinitionWarning(Struct, frozen=True):
    """A place of a definition that is accepted, but probably isn't meant so: a mistyped member, a member that the
    step's provider ignores, a placeholder that nothing fills, an expression that stays literal, one that reads a
    member of inputs or workflow that doesn't exist, a wait that the workflow's timeout ends first or that no webhook
    reports, an on_timeout without timeout_s, and others. `type` is mistyped_member, ignored_member,
    unfilled_placeholder, literal_expression, unknown_member, timeout_too_long, no_timeout, no_webhook, time_passed,
    no_items, few_items, or too_many_warnings for the last one of a list that is cut.
    """

    loc: Sequence[str | int]
    msg: str
    type: str


class HTTPValidationError(Struct, kw_only=True):
    detail: list[ValidationError] | UnsetType = UNSET
    title: str | UnsetType = UNSET
    status: int | UnsetType = UNSET


class Problem(Struct, kw_only=True):
    """RFC 9457. If the workflow's status doesn't allow a verb, the response also has current_status and allowed_from;
    if the workflow is deleted, it has is_deleted instead of allowed_from.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str | UnsetType = UNSET
    current_status: WorkflowStatus | UnsetType = UNSET
    allowed_from: list[WorkflowStatus] | UnsetType = UNSET
    is_deleted: bool | UnsetType = UNSET
