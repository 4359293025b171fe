"""Reports in responses: problem details (RFC 9457), the faults of a request, and the warnings about a definition."""

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType

from stepwell.contract.enums import WorkflowStatus


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
    """RFC 9457. If the workflow's status doesn't allow a verb, the answer also has current_status and allowed_from; if
    the workflow is deleted, it has is_deleted in place of allowed_from.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str | UnsetType = UNSET
    current_status: WorkflowStatus | UnsetType = UNSET
    allowed_from: list[WorkflowStatus] | UnsetType = UNSET
    is_deleted: bool | UnsetType = UNSET
