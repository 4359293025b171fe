"""Every error that the product raises on purpose.

The table in `api.responses.problems` says which response each error becomes.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from msgspec import Struct

from stepwell.contract.enums import WorkflowStatus
from stepwell.contract.tasks import Cost


class Fault(Struct, frozen=True):
    """One fault of a request. `loc` starts with "body", "query" or "path". `type` is a stable identifier."""

    loc: tuple[str | int, ...]
    msg: str
    type: str


class StepwellError(Exception):
    """The root of all errors of the product."""


class InvalidRequest(StepwellError):
    """A request has faults. `faults` has all of them, each with its place."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(f"{len(faults)} faults in the request")
        self.faults = tuple(faults)


class NotFound(StepwellError):
    """There is no such thing, or it belongs to another tenant."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} not found")


class InvalidTransition(StepwellError):
    """The state of a workflow doesn't allow *verb*. The message lists the states that do.

    If the workflow is *deleted*, the verb isn't allowed in any status.
    """

    def __init__(
        self,
        verb: str,
        current: WorkflowStatus,
        allowed: Sequence[WorkflowStatus],
        hint: str = "",
        *,
        deleted: bool = False,
    ) -> None:
        self.verb, self.current, self.allowed, self.deleted = verb, current, tuple(allowed), deleted
        if deleted:
            message = (
                f"{verb} is not allowed, because the workflow is deleted. Only GET, cleanup and DELETE of its data are."
            )
        else:
            message = f"{verb} is allowed from {' or '.join(allowed)}, but the workflow is {current}."
        super().__init__(f"{message} {hint}".rstrip())


class DefinitionArchived(StepwellError):
    """A run of the definition *name*, which is archived."""

    def __init__(self, name: str) -> None:
        super().__init__(f"The definition {name} is archived, so it can't be run: PATCH sets archived to false.")


class NotWaiting(StepwellError):
    """The step doesn't wait for the decision or the signal, or not any more."""


class NotByHand(StepwellError):
    """The step or the item can't be ended by hand, because of its status or of the results that are stored already."""


class JobFollowedUp(StepwellError):
    """The data of a workflow can't be deleted yet, because a job of it is still polled at its provider."""

    def __init__(self) -> None:
        super().__init__(
            "A job of the workflow is still polled at its provider, so that its end and its cost are recorded: "
            "try again when following_up of its tasks is false."
        )


class NoWebhook(StepwellError):
    """A verb about webhooks was sent to a workflow that has no `webhook_url`."""


class PreconditionFailed(StepwellError):
    """The workflow or the definition has another version than `If-Match` names, or one that `If-None-Match` names."""


class StillRunning(StepwellError):
    """An earlier request with the same `Idempotency-Key` has no response yet."""

    def __init__(self) -> None:
        super().__init__("a request with this Idempotency-Key is being worked on")


class ResultTooLarge(StepwellError):
    """The result of a step, which is built from its items, is too large to be read at once."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"the results that the step reads are over {max_bytes:,} bytes")
        self.max_bytes = max_bytes


class Forbidden(StepwellError):
    """The token lacks a scope, or is for another tenant."""


class Unauthenticated(StepwellError):
    """The request has no bearer token."""


class InvalidToken(Unauthenticated):
    """The bearer token of the request is refused."""


class TooManyRequests(StepwellError):
    """A tenant has as many requests, streams or workflows as it may have at once."""

    def __init__(self, why: str, retry_after_s: int = 2) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class Unavailable(StepwellError):
    """The database doesn't respond, or the service is stopping. The request may be repeated after `retry_after_s`."""

    def __init__(self, why: str, retry_after_s: int = 2) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class DiskFull(Unavailable):
    """A disk is full. Writes wait until there is space, as in every other outage."""

    def __init__(self, why: str, retry_after_s: int = 5) -> None:
        super().__init__(why, retry_after_s)


class ReadOnly(Unavailable):
    """The database accepts no writes."""


class ResourcesExhausted(Unavailable):
    """The database has no memory or no connection left."""


class NeverFits(StepwellError):
    """A request or an attempt needs *size* bytes of memory at once, and may hold at most *largest*."""

    def __init__(self, size: int, largest: int) -> None:
        super().__init__(
            f"needs {size:,} bytes of memory at once, and may hold at most {largest:,}: "
            "half of STEPWELL_MEMORY_MAX_BYTES"
        )
        self.size, self.largest = size, largest


class TooManyValues(StepwellError):
    """A body has more than *most* JSON values, or members of objects, which would take too much memory or time."""

    def __init__(self, most: int, noun: str) -> None:
        super().__init__(f"The body has more than {most:,} {noun}.")


class AttemptError(StepwellError):
    """One attempt failed.

    `retryable`: another attempt may succeed. `provider_fault`: the fallback provider may succeed, even if a retry would
    not. `request_fault`: the request itself was refused, which says nothing about the provider's health.
    `retry_after_s`: the seconds after which the provider wants the next attempt. `paid`: the provider has done the work
    nevertheless, for `cost` if that is known. `provider_away`: nothing was sent, because there was no connection, or
    the provider has asked to come back later.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool,
        provider_fault: bool = True,
        request_fault: bool = False,
        retry_after_s: float | None = None,
        provider_away: bool = False,
    ) -> None:
        super().__init__(message)
        self.retryable, self.provider_fault = bool(retryable), bool(provider_fault)
        self.request_fault, self.provider_away = bool(request_fault), bool(provider_away)
        self.retry_after_s = _seconds(retry_after_s)
        self.paid = False
        self.cost: Cost | None = None


class MissingProvider(AttemptError):
    """The service doesn't have the provider of the attempt (any more). A job of the attempt may still run there."""

    def __init__(self, provider: str) -> None:
        message = f"this service has no provider {provider}: its package or its settings are missing"
        super().__init__(message, retryable=True)


def _seconds(value: float | str | None) -> float | None:
    """Return the seconds, which a plug-in may pass on as the text of a header. None for any other value, because an
    error here would end the engine.
    """
    try:
        seconds = None if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if seconds is None or math.isnan(seconds) else seconds


@contextmanager
def paid_for() -> Iterator[None]:
    """Mark an `AttemptError` raised inside as paid: the answer holds finished work, even if it can't be used."""
    try:
        yield
    except AttemptError as error:
        error.paid = True
        raise


class OutcomeUnknown(StepwellError):
    """The answer to a submit was lost or can't be read, so there may be a job that costs money."""


class CallFailed(StepwellError):
    """A call about a job got no usable answer. `forgotten`: the provider says that there is no such job.

    `provider_away`: as in `AttemptError`.
    """

    def __init__(
        self, message: str, *, forgotten: bool = False, retry_after_s: float | None = None, provider_away: bool = False
    ) -> None:
        super().__init__(message)
        self.forgotten, self.retry_after_s = forgotten, _seconds(retry_after_s)
        self.provider_away = provider_away


class ArtifactGone(StepwellError):
    """A stored file is missing."""


class ArtifactError(StepwellError):
    """A file could not be read, written or deleted."""


class ArtifactDiskFull(ArtifactError):
    """A file could not be written, because the disk is full."""


class UnsupportedFile(StepwellError):
    """The bytes of an uploaded file have no type that is accepted."""


class QuotaExceeded(StepwellError):
    """A tenant has as many uploads or stored definitions, or bytes of them, as it may have."""

    retry_after_s = 3_600  # uploads expire, but nobody knows when this tenant's do


class UploadInUse(StepwellError):
    """A workflow that isn't deleted names the upload, so its file must stay."""

    def __init__(self, workflow_id: UUID) -> None:
        super().__init__(f"The workflow {workflow_id} names this file. Clean the workflow up first.")
        self.workflow_id = workflow_id


class UploadMissing(StepwellError):
    """The client hasn't sent the file of an upload to the bucket."""

    def __init__(self) -> None:
        super().__init__("The file has not been sent: PUT it to the upload's URL, with the announced Content-Length.")


class UploadsGone(StepwellError):
    """A new workflow names uploads that are being deleted."""

    def __init__(self, upload_ids: Collection[UUID]) -> None:
        super().__init__(f"{len(upload_ids)} uploads are being deleted")
        self.upload_ids = frozenset(upload_ids)
