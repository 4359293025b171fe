"""One attempt at a step: resolve its inputs, call the provider within its time, say how it went."""

import asyncio
import base64
import mimetypes
import random
from asyncio import CancelledError
from collections.abc import Mapping
from typing import Any, Protocol

import structlog
from anyio import CancelScope
from msgspec import Struct, json

from stepwell.domain.definition import StepPlan, WorkflowConfig, WorkflowStepDefinition
from stepwell.domain.errors import ArtifactError, AttemptError
from stepwell.domain.inputs import AttemptFailed, Succeeded
from stepwell.domain.mapping import DeferredTransform, check_inputs, effective_config, put_input, resolve_inputs
from stepwell.domain.model import Output, ProviderType, Task, TransformType
from stepwell.domain.weight import MAX_RESULT_BYTES, is_heavier
from stepwell.ports import Artifacts, Attempt, Blob, InputFetcher, Provider

log = structlog.get_logger()

_ERROR_CAP = 2_000


class AttemptContext(Protocol):
    """What an attempt needs to know of its workflow."""

    @property
    def workflow_id(self) -> Any: ...
    @property
    def tenant(self) -> str | None: ...
    @property
    def config(self) -> WorkflowConfig: ...

    @property
    def lost(self) -> bool:
        """Whether another process may have the workflow now, and with it the task's files."""

    def plan(self, position: int) -> StepPlan: ...
    def definition(self, position: int) -> WorkflowStepDefinition: ...
    def on_fallback(self, position: int) -> bool: ...
    def results(self, definition: WorkflowStepDefinition) -> Mapping[str, bytes]: ...


class Providers(Protocol):
    def __getitem__(self, kind: ProviderType, /) -> Provider: ...


class Links(Protocol):
    """Signed, expiring addresses of artifacts."""

    async def owns(self, path: str, tenant: str | None) -> bool:
        """Whether a task of that tenant has stored exactly that path."""

    def url(self, path: str) -> str: ...


class Leash(Protocol):
    """By which an attempt can be stopped from outside."""

    @property
    def cancelled(self) -> bool: ...

    def within(self, timeout_s: float) -> CancelScope:
        """The scope for whatever the attempt waits for: cancelled after that time, or when the attempt is."""


class Work(Struct):
    """What an attempt has to wait for: transforms that need I/O, the provider."""

    inputs: dict[str, Any]
    deferred: list[DeferredTransform]


class Runner:
    def __init__(
        self,
        providers: Providers,
        artifacts: Artifacts,
        inputs: InputFetcher,
        links: Links,
    ) -> None:
        self._providers, self._artifacts, self._inputs, self._links = providers, artifacts, inputs, links

    def begin(self, context: AttemptContext, task: Task) -> Succeeded | AttemptFailed | Work:
        """Resolve the inputs. An attempt that has nothing to wait for ends here; the other goes on with `run`."""
        plan, definition = context.plan(task.position), context.definition(task.position)
        try:
            results = {step_id: json.decode(result) for step_id, result in context.results(definition).items()}
            inputs, deferred = resolve_inputs(definition, effective_config(context.config, definition), results)
            if deferred or task.provider is not None:
                return Work(inputs, deferred)
            check_inputs(plan.task_type, inputs)
            return Succeeded(task.position, task.id, _encoded(inputs))
        except Exception as error:  # noqa: BLE001 - it is told
            return _failed(task, _attempt_error(error, task, plan))

    async def run(
        self, context: AttemptContext, task: Task, work: Work, leash: Leash
    ) -> Succeeded | AttemptFailed | None:
        """How the attempt went; None if it was cancelled. Files of one that didn't succeed are deleted again."""
        io = _AttemptIO(context.tenant, task, self._artifacts, self._inputs)
        outcome: Succeeded | AttemptFailed | None = None
        try:
            outcome = await self._attempt(context, task, work, io, leash)
        finally:
            if io.stored and not isinstance(outcome, Succeeded) and not context.lost:
                with CancelScope(shield=True):
                    await self.discard(task)
        return outcome

    async def discard(self, task: Task) -> None:
        """Delete whatever the task has stored."""
        try:
            await self._artifacts.discard(task.id)
        except ArtifactError:
            log.exception("artifact.discard_failed", action="discard", task_id=str(task.id))

    async def _attempt(
        self, context: AttemptContext, task: Task, work: Work, io: "_AttemptIO", leash: Leash
    ) -> Succeeded | AttemptFailed | None:
        plan = context.plan(task.position)
        encoded: bytes | None = None
        try:
            with leash.within(plan.timeout_s):
                encoded = _encoded(await self._call(context, plan, task, work, io))
        except (Exception, CancelledError) as error:
            if isinstance(error, CancelledError) and _cancelling():
                raise
            if leash.cancelled:
                return None  # whatever the provider has made of it
            return _failed(task, _attempt_error(error, task, plan))
        if encoded is not None:
            return Succeeded(task.position, task.id, encoded, tuple(io.stored.values()))
        if leash.cancelled:
            return None
        return _failed(task, AttemptError(f"timed out after {plan.timeout_s:g} s", retryable=True))

    async def _call(
        self, context: AttemptContext, plan: StepPlan, task: Task, work: Work, io: "_AttemptIO"
    ) -> dict[str, Any]:
        inputs, definition = work.inputs, context.definition(task.position)
        for transform in work.deferred:
            put_input(inputs, transform.to_field, await self._finish(transform, context.tenant, io))
        check_inputs(plan.task_type, inputs)
        if task.provider is None:
            return inputs
        on_fallback = context.on_fallback(task.position)
        provider_config = definition.fallback_provider_config if on_fallback else definition.provider_config
        attempt = Attempt(
            task_id=task.id,
            workflow_id=context.workflow_id,
            tenant=context.tenant,
            step_id=plan.step_id,
            task_type=plan.task_type,
            number=task.attempt,
            inputs=inputs,
            provider_config=provider_config or {},
            seed=task.seed or 0,
        )
        return await self._providers[task.provider].run(attempt, io)

    async def _finish(self, transform: DeferredTransform, tenant: str | None, io: "_AttemptIO") -> Any:
        """The transforms that need more than their value, one path or a list: a signed address, or the file itself."""
        if isinstance(transform.value, list):
            return [await self._finish_one(transform, path, tenant, io) for path in transform.value]
        return await self._finish_one(transform, transform.value, tenant, io)

    async def _finish_one(self, transform: DeferredTransform, path: Any, tenant: str | None, io: "_AttemptIO") -> str:
        if not isinstance(path, str) or not await self._links.owns(path, tenant):
            message = f"{transform.label}: {transform.transform} needs the path of an artifact, and there is none such"
            raise AttemptError(message, retryable=False, provider_fault=False)
        if transform.transform is TransformType.PATH_TO_URL:
            return self._links.url(path)
        blob = await io.fetch(path, transform.to_field)
        media_type = mimetypes.guess_type(path)[0] or "application/octet-stream"
        return f"data:{media_type};base64,{base64.b64encode(blob.data).decode()}"


class _AttemptIO:
    """`ports.AttemptIO`, bound to one task."""

    def __init__(self, tenant: str | None, task: Task, artifacts: Artifacts, inputs: InputFetcher) -> None:
        self._tenant, self._task, self._artifacts, self._inputs = tenant, task, artifacts, inputs
        self.stored: dict[str, Output] = {}

    async def fetch(self, reference: str, field: str) -> Blob:
        return await self._inputs.fetch(reference, field, self._tenant)

    async def store(self, name: str, data: bytes) -> Output:
        path = f"media/{self._task.id}/{name}"
        # Noted before it is written: a cancel that strikes meanwhile must find it.
        self.stored[path] = Output(path, len(data), "")
        try:
            with CancelScope(shield=True):
                self.stored[path] = await self._artifacts.put(path, data)
        except ArtifactError as error:
            raise AttemptError(
                f"the output could not be stored: {error}", retryable=True, provider_fault=False
            ) from error
        return self.stored[path]


def _encoded(result: dict[str, Any]) -> bytes:
    if is_heavier(result, MAX_RESULT_BYTES):
        message = (
            f"the result is over {MAX_RESULT_BYTES:,} bytes: files belong into artifacts, their paths into results"
        )
        raise AttemptError(message, retryable=False)
    try:
        return json.encode(result)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        # A literal in an expression may hold a lone surrogate, mappings may nest too deeply: that won't get better.
        raise AttemptError(f"the result is no JSON: {error}", retryable=False) from error


def _cancelling() -> bool:
    """Whether somebody asked for it; a provider's inner task that was cancelled is no more than a failure."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _attempt_error(error: BaseException, task: Task, plan: StepPlan) -> AttemptError:
    if isinstance(error, AttemptError):
        return error
    # A bug of ours or of a provider: its text may hold anything, so only its kind is shown.
    log.error("attempt.crashed", action="attempt", task_id=str(task.id), step_id=plan.step_id, exc_info=error)
    return AttemptError(f"internal error: {type(error).__name__}", retryable=True)


def _failed(task: Task, error: AttemptError) -> AttemptFailed:
    clean = str(error).replace("\x00", "").encode("utf-8", "replace").decode()
    return AttemptFailed(
        task.position,
        task.id,
        clean if len(clean) <= _ERROR_CAP else clean[: _ERROR_CAP - 1] + "…",
        retryable=error.retryable,
        provider_fault=error.provider_fault,
        jitter=random.random(),  # noqa: S311 - jitter
        retry_after_s=error.retry_after_s,
    )
