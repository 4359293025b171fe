"""Runs one attempt at a step: resolves its inputs, calls the provider within its time, and returns the outcome.

What must hold:
- A bug in a provider, or here, fails the attempt and nothing else.
- An attempt that was cancelled, or that its run ignores, has no outcome.
- What an attempt holds in proportion to what a tenant sends has its memory in the memory governor, from before it is
  read until the attempt ends. Attempts with little to hold take none.
- The caller deletes the files of an attempt, because only the caller knows whether its end was recorded.
"""

import asyncio
from asyncio import CancelledError
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal, Protocol
from uuid import UUID

import structlog
from anyio import sleep_forever
from msgspec import UNSET, Struct
from msgspec.structs import replace

from stepwell.basics.errors import ArtifactError, ArtifactGone, AttemptError, MissingProvider
from stepwell.contract.definition import WorkflowStepDefinition
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.contract.tasks import Cost
from stepwell.definition.mapping.input_mapping import effective_config, resolve_inputs
from stepwell.engine.attempts.attempt_answers import AttemptAnswers, answer_path
from stepwell.engine.attempts.attempt_control import AttemptControl, AttemptSuperseded
from stepwell.engine.attempts.attempt_inputs import (
    AttemptContext,
    are_small,
    decoded_item,
    final_inputs,
    provider_config,
    read_results,
    resolved_inputs,
)
from stepwell.engine.attempts.attempt_io import AttemptProcesses, BoundAttemptIO, FileAccess
from stepwell.engine.attempts.attempt_memory import AttemptMemory
from stepwell.engine.attempts.attempt_outcomes import encoded_inputs, encoded_result, failure, outcome_of_error
from stepwell.engine.attempts.budget_keeper import NoRoom
from stepwell.engine.attempts.checked_provider import CheckedProvider, checked_model
from stepwell.engine.attempts.expression_evaluator import ExpressionEvaluator
from stepwell.engine.attempts.fingerprints import Fingerprints
from stepwell.engine.attempts.flow_evaluator import verdict_of_run
from stepwell.engine.attempts.input_resolver import AttemptResources, InputResolver, PreparedAttempt
from stepwell.engine.attempts.remote_attempt import RemoteAttempt, end_job
from stepwell.engine.attempts.remote_jobs import RemoteJobs
from stepwell.engine.dispatch.local_dispatcher import LocalDispatcher
from stepwell.engine.dispatch.model_health import ModelKey
from stepwell.lifecycle.inputs import (
    AttemptFailed,
    ExceedBudget,
    FingerprintComputed,
    FollowUpEnded,
    HeldBack,
    RunVerdict,
    SeedResolved,
    Succeeded,
)
from stepwell.lifecycle.model import Task
from stepwell.ports.providers import AnswerMemory, Attempt, Finished, Providers
from stepwell.ports.storage import WorkflowStore
from stepwell.rules.access.signed_urls import CallbackUrls
from stepwell.runtime.memory import FREE_BYTES, MemoryGovernor

log = structlog.get_logger()

_MAX_SEED = 2**63 - 1  # a task stores no larger one, and providers refuse it
_PAUSED_WITHIN = timedelta(seconds=1)  # a sub-workflow, after the workflow at the top
_CREDENTIALS = {"content_credentials": True}


class SubWorkflowAttempts(Protocol):
    """`ChildAttempts`, which is in a layer above this one."""

    async def create(self, parent_id: UUID, task: Task, inputs: Mapping[str, Any], control: AttemptControl) -> None:
        """Create the sub-workflow of an attempt, or continue it, and report that. *inputs* are those of the step.

        Raises `AttemptError`, and `AttemptSuperseded` if this process has lost the parent.
        """

    async def stop(self, parent_id: UUID, task: Task) -> FollowUpEnded:
        """Stop the sub-workflow of an abandoned attempt. Return what became of it.

        It becomes CANCELLED if its parent is, and otherwise FAILED, so that resume can continue it.
        """

    async def exceed_budget(self, root_id: UUID, verb: ExceedBudget) -> None:
        """Pause the workflow at the top, or let it fail. Return once that is committed, or once it isn't RUNNING."""


class AttemptEnd(Struct):
    """The end of an attempt. `outcome` is None if it was cancelled, and `HeldBack` if a budget has no room for it.
    `stored`: it has written files, or may have. `has_answer`: one of them is an answer of its provider
    (`AttemptAnswers`).
    """

    outcome: Succeeded | AttemptFailed | HeldBack | None
    stored: bool
    has_answer: bool


class AttemptRunner:
    """Runs attempts and follow-ups. `RemoteJobs` has the state that remote attempts share.

    *callbacks* makes the URLs at which providers report the ends of attempts; None if they can't reach this service.
    """

    def __init__(
        self,
        providers: Providers,
        files: FileAccess,
        callbacks: CallbackUrls | None,
        remote_jobs: RemoteJobs,
        memory: MemoryGovernor,
        expressions: ExpressionEvaluator,
        *,
        store: WorkflowStore,
        local: LocalDispatcher,
        sub_workflows: SubWorkflowAttempts,
        fingerprints: Fingerprints,
    ) -> None:
        self._providers, self._files, self._callbacks = providers, files, callbacks
        self._remote_jobs, self._memory, self._expressions, self._store = remote_jobs, memory, expressions, store
        self._local, self._inputs = local, InputResolver(expressions)
        self._sub_workflows, self._fingerprints = sub_workflows, fingerprints

    def prepare(self, context: AttemptContext, task: Task) -> Succeeded | AttemptFailed | PreparedAttempt:
        """Evaluate the inputs. Return the outcome if the attempt needs no I/O, otherwise the argument for `run`."""
        if not _needs_inputs(task):
            return PreparedAttempt([])
        resolved, definition = context.resolved_step(task.position), context.definition(task.position)
        try:
            if context.evaluates or definition.input_mappings or resolved.flow is not None:
                return self._evaluated(context, task, definition)
            if task.provider is not None:
                return PreparedAttempt([])
            # The check at create has covered all inputs.
            inputs, _ = resolve_inputs(definition, effective_config(context.config, definition), ())
            return _result_at_once(task, inputs)
        except Exception as error:  # noqa: BLE001 - the outcome reports it
            return outcome_of_error(error, task, resolved)

    def _evaluated(
        self, context: AttemptContext, task: Task, definition: WorkflowStepDefinition
    ) -> Succeeded | PreparedAttempt:
        """Evaluate what the step maps, and its expressions."""
        if (evaluated := self._inputs.evaluate_at_once(context, task.position, definition)) is None:
            return PreparedAttempt(None)
        expressions, values = evaluated
        if values is None or task.provider is not None:
            return PreparedAttempt(values, heavy=values is None)
        flow = context.resolved_step(task.position).flow
        if flow is not None and (flow.repeat is not None or flow.runs_workflow):
            return PreparedAttempt(values)
        decoded = None
        if definition.for_each is not UNSET:
            if not are_small([(item := context.item(task.position)).value]):
                return PreparedAttempt(values)
            decoded = decoded_item(item)
        inputs, deferred = resolved_inputs(context, definition, expressions, values, decoded)
        if deferred:
            return PreparedAttempt(values)
        return _result_at_once(task, final_inputs(context, task.position, definition, inputs, decoded))

    def works_here(self, provider: ProviderType | None) -> bool:
        """Return whether the provider works in this process: the registry decides that, and only the registry."""
        return self._providers.works_here(provider)

    def model_key(self, context: AttemptContext, position: int, *, on_fallback: bool) -> ModelKey | None:
        """Return the model that the step's next attempt would use; None if it works in this process."""
        resolved = context.resolved_step(position)
        provider = resolved.fallback if on_fallback else resolved.provider
        if provider is None or self._providers.works_here(provider):
            return None
        config = provider_config(context, position, on_fallback=on_fallback)
        model = checked_model(self._providers, provider, resolved.task_type, config, "attempt")
        return None if model is None else ModelKey(provider, model)

    async def run(
        self, context: AttemptContext, task: Task, work: PreparedAttempt, control: AttemptControl
    ) -> AttemptEnd:
        """Run the attempt to its end.

        When the step's time is up, an attempt that is submitting waits for the provider's answer (`RemoteAttempt`). A
        job that may exist is reported with the failure (`timed_out`, `endable`), and `Run` decides what follows.
        """
        with self._memory_of(context.tenant, task, control) as (memory, answers):
            processes = AttemptProcesses(self._local, context.tenant, (context.workflow_id, task.position), control)
            io = BoundAttemptIO(context.files, task, self._files, memory, processes)
            outcome = await self._attempt(AttemptResources(context, task, io, memory, answers, control), work)
        if isinstance(outcome, AttemptFailed) and outcome.provider_away and answers.has_file:
            # The next try would find the answer of this one.
            outcome = replace(outcome, provider_away=False)
        stored = bool(io.stored) or answers.has_file or self._providers.on_workers(task.provider)
        return AttemptEnd(outcome, stored, answers.has_file)

    @contextmanager
    def _memory_of(
        self, tenant: str | None, task: Task, control: AttemptControl
    ) -> Iterator[tuple[AttemptMemory, AttemptAnswers]]:
        """Yield the memory of an attempt. It is returned at the end."""
        with self._memory.reservation(tenant) as reservation:
            memory = AttemptMemory(reservation, control)
            yield memory, AttemptAnswers(memory, control, self._files.artifacts, task.id)

    async def discard(self, task: Task) -> None:
        try:
            await self._files.artifacts.discard(task.id)
        except ArtifactError:
            log.exception("artifact.discard_failed", action="discard", task_id=str(task.id))

    async def discard_answer(self, task: Task) -> None:
        try:
            await self._files.artifacts.delete(answer_path(task.id))
        except ArtifactGone:
            pass
        except ArtifactError:
            log.exception("artifact.discard_failed", action="discard", task_id=str(task.id))

    async def _attempt(
        self, attempt: AttemptResources, work: PreparedAttempt
    ) -> Succeeded | AttemptFailed | HeldBack | None:
        context, task, memory, control = attempt.context, attempt.task, attempt.memory, attempt.control
        resolved = context.resolved_step(task.position)
        encoded: bytes | None = None
        verdict: RunVerdict | None = None
        cost: Cost | None = None
        try:
            with control.within(resolved.timeout_s):
                if _needs_inputs(task) and (units := context.parse_work(task.position)):
                    await self._expressions.until_work_here(units)
                with context.lend_results(await self._read_results(context, task, memory)):
                    finished = await self._call(attempt, work)
                cost = finished.cost
                result = finished.result | (_CREDENTIALS if attempt.io.has_credentials else {})
                encoded = await _encoded(result, encoded_inputs if task.provider is None else encoded_result, memory)
            repeat = context.definition(task.position).repeat
            if encoded is not None and repeat is not UNSET:  # it was paid for: no time-out any more
                verdict = await verdict_of_run(self._expressions, context, repeat, encoded, memory)
        except AttemptSuperseded:
            return None
        except NoRoom as error:
            return await self._held_back(context, task, control, error)
        except (Exception, CancelledError) as error:
            if isinstance(error, CancelledError) and _is_being_cancelled():
                raise
            if control.cancelled:
                return None  # even if the provider has answered
            return outcome_of_error(error, task, resolved, cost)
        if encoded is not None:
            self._fingerprints.remember(context.tenant, attempt.io.stored.values())
            return Succeeded(task.position, task.id, encoded, tuple(attempt.io.stored.values()), cost, verdict)
        if control.cancelled:
            return None
        endable = self._is_endable(context, task)
        why = "" if endable else "; its job can't be ended there, so that it isn't paid for again (on_unknown is fail)"
        late = AttemptError(f"timed out after {resolved.timeout_s:g} s{why}", retryable=True)
        return replace(failure(task, late), timed_out=True, endable=endable)

    async def _held_back(
        self, context: AttemptContext, task: Task, control: AttemptControl, error: NoRoom
    ) -> HeldBack | None:
        """Stop the workflow at the top first: if this process ends in between, the next one continues the attempt.

        The workflow at the top pauses its sub-workflows. One that isn't paused by then, because the one at the top was
        resumed meanwhile, tries again.
        """
        root_id, until = context.budget_root, error.until
        if until is None and root_id is not None and root_id != context.workflow_id:
            await self._sub_workflows.exceed_budget(root_id, ExceedBudget(error.why, fails=error.fails))
            until = None if error.fails else self._remote_jobs.clock.now() + _PAUSED_WITHIN
        if control.cancelled:
            return None
        return HeldBack(task.position, task.id, error.why, fails=error.fails, until=until)

    async def _read_results(self, context: AttemptContext, task: Task, memory: AttemptMemory) -> Mapping[int, bytes]:
        """Return the results that the step reads and that are in the database only, by position."""
        positions = context.stored_results(task.position) if _needs_inputs(task) else []
        if not positions:
            return {}
        reserved = await memory.take_results(context.max_result_bytes(positions))
        results = await read_results(self._store, context.workflow_id, positions)
        memory.give_back(max(reserved - sum(map(len, results.values())), 0))
        return results

    def _is_endable(self, context: AttemptContext, task: Task) -> bool:
        """Return whether another attempt may start: no job exists, it can be ended, or the step allows paying twice."""
        if not context.has_sent(task.position):
            return True
        on_fallback = context.on_fallback(task.position)
        key = self.model_key(context, task.position, on_fallback=on_fallback)
        if key is None or CheckedProvider(self._providers.remote(key.provider)).ends_jobs(key.model):
            return True
        return self._attempt_of(context, task, {}, None, on_fallback=on_fallback).on_unknown == "resubmit"

    async def child_completed(self, context: AttemptContext, task: Task, result: bytes) -> Succeeded | AttemptFailed:
        """Return the end of an attempt whose sub-workflow is COMPLETED with this result."""
        repeat, verdict = context.definition(task.position).repeat, None
        if repeat is not UNSET:
            control = AttemptControl(lambda _: False, lambda: asyncio.sleep(0))
            try:
                with self._memory_of(context.tenant, task, control) as (memory, _):
                    verdict = await verdict_of_run(self._expressions, context, repeat, result, memory)
            except AttemptError as error:
                return failure(task, error)
        return Succeeded(task.position, task.id, result, verdict=verdict)

    async def follow_up(self, context: AttemptContext, task: Task, control: AttemptControl) -> FollowUpEnded:
        """End the job of an abandoned attempt at its provider. Return the receipt of the cancellation."""
        if task.provider is None:
            return await self._sub_workflows.stop(context.workflow_id, task)
        on_fallback = task.sent is not None and task.sent.on_fallback
        try:
            provider = self._providers.remote(task.provider)
            with self._memory_of(context.tenant, task, control) as (_, answers):
                attempt = self._attempt_of(context, task, {}, answers, on_fallback=on_fallback)
                ended = await end_job(RemoteAttempt(self._remote_jobs, provider, attempt, task, control))
            if self._providers.on_workers(task.provider):
                await self.discard(task)  # what the worker has stored since the attempt was abandoned
        except Exception:
            # The provider isn't configured any more, or has a bug. Another process may do better, until the time to
            # follow up is over.
            log.exception("follow_up.broken", action="follow_up", task_id=str(task.id))
            await sleep_forever()
            raise
        return ended

    async def _call(self, attempt: AttemptResources, work: PreparedAttempt) -> Finished:
        context, task, control = attempt.context, attempt.task, attempt.control
        inputs: dict[str, Any] = {}
        if _needs_inputs(task):
            inputs, of_work = await self._inputs.resolve(attempt, work)
            if task.provider is not None:
                fallback = context.on_fallback(task.position)
                of = self._fingerprints.of(context, task.position, task.provider, of_work, fallback=fallback)
                control.report(FingerprintComputed(task.position, task.id, await of))
        if context.resolved_step(task.position).task_type is TaskType.SUBWORKFLOW:
            await self._sub_workflows.create(context.workflow_id, task, inputs, control)
            raise AttemptSuperseded  # the end of the sub-workflow is that of the attempt
        if task.provider is None:
            return Finished(inputs)
        seed = inputs.get("seed")
        if type(seed) is int and seed != task.seed and 0 <= seed <= _MAX_SEED:
            control.report(SeedResolved(task.position, task.id, seed))
        on_fallback = context.on_fallback(task.position)
        request = self._attempt_of(context, task, inputs, attempt.answers, on_fallback=on_fallback)
        if (run_here := self._providers.in_process(task.provider)) is not None:
            return await run_here(request, attempt.io)
        if self._callbacks is not None:
            request = replace(request, callback_url=self._callbacks.url(context.workflow_id, task.id))
        try:
            provider = self._providers.remote(task.provider)
        except KeyError:
            raise MissingProvider(task.provider) from None
        remote = RemoteAttempt(self._remote_jobs, provider, request, task, control, root_id=context.budget_root)
        return await remote.run(attempt.io, attempt.memory, attempt.answers, on_fallback=on_fallback)

    def _attempt_of(
        self,
        context: AttemptContext,
        task: Task,
        inputs: dict[str, Any],
        answers: AnswerMemory | None,
        *,
        on_fallback: bool,
    ) -> Attempt:
        definition = context.definition(task.position)
        config = provider_config(context, task.position, on_fallback=on_fallback)
        by_type: Literal["fail", "resubmit"] = "fail"
        if definition.task_type is TaskType.LLM_INTERACTION or self._providers.on_workers(task.provider):
            by_type = "resubmit"  # a second answer costs a few cents or nothing, and loses no picture
        return Attempt(
            task_id=task.id,
            workflow_id=context.workflow_id,
            tenant=context.tenant,
            step_id=definition.id,
            task_type=definition.task_type,
            number=task.attempt,
            inputs=inputs,
            provider_config=config,
            seed=task.seed or 0,
            on_unknown=config.get("on_unknown") or context.config.on_unknown or by_type,
            execution_id=context.execution_id,
            timeout_s=context.resolved_step(task.position).timeout_s,
            answers=answers,
        )


def _result_at_once(task: Task, inputs: dict[str, Any]) -> Succeeded | PreparedAttempt:
    """Return the end of a step whose result is its *inputs*.

    The attempt of a large result waits for memory, which the result needs until it is stored.
    """
    encoded = encoded_inputs(inputs)
    return PreparedAttempt(None) if len(encoded) > FREE_BYTES else Succeeded(task.position, task.id, encoded)


async def _encoded(result: dict[str, Any], encode: Callable[[dict[str, Any]], bytes], memory: AttemptMemory) -> bytes:
    """Return the result as *encode* encodes it, once it has memory. During the wait, it is encoded nowhere."""
    encoded = [encode(result)]

    async def drop() -> None:
        encoded.clear()

    if (size := len(encoded[0])) > FREE_BYTES:
        await memory.take_result(size, drop)
    return encoded[0] if encoded else encode(result)


def _needs_inputs(task: Task) -> bool:
    """Return whether the attempt evaluates its inputs. Once a request was sent, its provider has them.

    A sub-workflow, which has no provider, may not have been created yet.
    """
    return task.sent is None or task.provider is None


def _is_being_cancelled() -> bool:
    """Return whether this `asyncio.Task` is being cancelled. If a provider cancels its own, that is only a failure."""
    asyncio_task = asyncio.current_task()
    return asyncio_task is not None and asyncio_task.cancelling() > 0
