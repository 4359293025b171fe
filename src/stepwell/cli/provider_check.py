"""`stepwell providers check`: runs a small paid job at the real provider, and cancels a second one.

What must hold:
- Nothing is sent if the price of both jobs together may be over the limit, or in a dry run.
- No request is sent twice. A job that still runs when the command ends, also by Ctrl-C, is cancelled.
- No output has a key: all texts are those that attempts show to users.
"""

import math
import time
from collections.abc import Awaitable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any, TypeVar, cast

import anyio
import filetype
from msgspec import Struct
from msgspec.structs import replace
from obstore.store import MemoryStore

from stepwell.app.attempts import build_poll_intervals, build_prices, open_clients
from stepwell.artifacts.store import ObstoreArtifacts
from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown, StepwellError
from stepwell.basics.setting_names import credential_setting
from stepwell.basics.strict_json.canonical import digest
from stepwell.basics.tenancy import FileScope
from stepwell.cli.errors import FAILED, INTERRUPTED, MISUSED, Refused
from stepwell.cli.output import print_result, printable
from stepwell.cli.signals import Signals, run_stoppable
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.contract.task_configs import TASK_TYPES
from stepwell.contract.tasks import Cost
from stepwell.definition.mapping.input_mapping import checked_inputs
from stepwell.definition.provider_descriptors import ConfiguredBy, ProviderDescriptor
from stepwell.engine.attempts.attempt_io import BoundAttemptIO, FileAccess
from stepwell.engine.attempts.checked_provider import CheckedProvider
from stepwell.lifecycle.model import Sent, Task
from stepwell.outbound.output_download import HttpOutputDownloader
from stepwell.persistence.clock import DatabaseClock, uuid7
from stepwell.ports.providers import Attempt, CancelAnswer, Finished, Job, JobState, JobStatus, Provider, RemoteProvider
from stepwell.providers.factory import build_providers
from stepwell.providers.installed_providers import installed_providers
from stepwell.providers.registry import is_in_process
from stepwell.rules.costs import PricedWork
from stepwell.settings import Settings

T = TypeVar("T")
DEFAULT_SPEND = 0.05
_JOB_S, _CANCELLED_S, _LEAVING_S = 600.0, 120.0, 10.0
_FAILED_POLLS = 3  # in a row
_INPUTS = {
    TaskType.GENERATION: {"prompt": "a plain grey square", "width": 512, "height": 512, "num_images": 1},
    TaskType.LLM_INTERACTION: {"prompt": "Answer with the one word: yes", "max_tokens": 64},
}
# A graph of nodes that each ComfyUI has, and that needs no model.
_GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "stepwell-check"}},
}
_GRAPH_CONFIG = {
    "graph": _GRAPH,
    "inputs": {"prompt": None, "num_images": None, "width": "1.width", "height": "1.height", "seed": "1.color"},
}


class CheckOptions(Struct, frozen=True):
    """The options of the command. *spend* is None unless the user has given it."""

    provider: str
    model: str | None = None
    spend: float | None = None
    dry_run: bool = False


class _Plan(Struct, frozen=True):
    """What is sent: *jobs* jobs, for at most the price of so many."""

    attempt: Attempt
    model: str
    jobs: int
    price: Cost | None


class _Differs(Exception):
    """The call *name* had another outcome than Stepwell expects."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(what)
        self.name, self.what = name, what


def check_provider(settings: Settings, options: CheckOptions, signals: Signals) -> int:
    """Check the provider, and print the outcome of each call. Return 0 if all agreed, else 1. Raises `Refused`."""

    async def body(_: object) -> int:
        async with AsyncExitStack() as stack:
            clients = open_clients(settings, stack)
            descriptor, provider = _chosen(settings, options, build_providers(settings, clients.trusted))
            if (close := getattr(provider, "close", None)) is not None:
                stack.callback(close)
            plan = _plan(settings, options, descriptor, provider)
            _print_plan(settings, options, descriptor, plan)
            if options.dry_run:
                return 0
            downloads = HttpOutputDownloader(
                clients.outputs, max_bytes=settings.output_max_bytes, timeout_s=settings.output_timeout_s
            )
            pause_s = build_poll_intervals(settings).of(provider.type).first_s
            return await _Check(descriptor, provider, plan, downloads, pause_s).run()

    return run_stoppable(signals, body, stopped=INTERRUPTED)


def _chosen(
    settings: Settings, options: CheckOptions, configured: list[Provider]
) -> tuple[ProviderDescriptor, RemoteProvider]:
    name, installed = options.provider.upper(), installed_providers()
    descriptor = next((each for each in installed.values() if each.name == name), None)
    if descriptor is None:
        raise Refused(f"{printable(name)} is no provider; known are {', '.join(installed)}", code=MISUSED)
    provider = next((each for each in configured if each.type == name), None)
    if provider is None:
        by_url = descriptor.configured_by is ConfiguredBy.URL
        wanted = descriptor.url_setting if by_url else credential_setting(name)
        raise Refused(f"{name} is not configured: set {wanted}", code=MISUSED)
    if is_in_process(provider):
        raise Refused(f"{name} works in this process, so there is nothing to check", code=MISUSED)
    if provider.needs_credential and not any(installed.owner(each) == name for each in settings.credentials):
        raise Refused(f"{name} has no key: set {credential_setting(name)}", code=MISUSED)
    return descriptor, cast(RemoteProvider, provider)


def _plan(settings: Settings, options: CheckOptions, descriptor: ProviderDescriptor, provider: RemoteProvider) -> _Plan:
    """Choose the job. Raises `Refused` if it may cost too much."""
    kind = provider.type
    task_type = next((each for each in _INPUTS if provider.capabilities(each) is not None), None)
    if task_type is None:
        raise Refused(f"{kind} makes neither images nor texts, so this command has no job for it", code=MISUSED)
    config: dict[str, Any] = {"provider_type": kind, **(_GRAPH_CONFIG if kind == ProviderType.COMFYUI else {})}
    if options.model is not None:
        members = descriptor.config_members
        member = next((each for each in ("model", "fal_app_id") if members is None or each in members), None)
        if member is None:
            raise Refused(f"{kind} has no models: leave --model out", code=MISUSED)
        config[member] = options.model
    try:
        model, inputs = provider.model(task_type, config), checked_inputs(task_type, _INPUTS[task_type])
    except AttemptError as error:
        raise Refused(f"--model: {error}", code=MISUSED) from error
    now = DatabaseClock().now()
    attempt = Attempt(
        task_id=uuid7(now),
        workflow_id=uuid7(now),
        tenant=None,
        step_id="check",
        task_type=task_type,
        number=1,
        inputs=inputs,
        provider_config=config,
        seed=7,
        timeout_s=_JOB_S,
    )
    price = build_prices(settings).of(kind, model, PricedWork(task_type, inputs))
    plan = _Plan(attempt, model, 2 if provider.ends_jobs(model) else 1, price)
    _check_price(options, plan)
    return plan


def _check_price(options: CheckOptions, plan: _Plan) -> None:
    kind, price = plan.attempt.provider_config["provider_type"], plan.price
    if price is None:
        if options.spend is None and not options.dry_run:
            why = f"the price of {kind} {plan.model} isn't known, so --spend can't bound it"
            raise Refused(f"{why}: set STEPWELL_PRICES, or pass --spend to accept any price", code=MISUSED)
        return
    limit, total = DEFAULT_SPEND if options.spend is None else options.spend, price.amount * plan.jobs
    if total > limit and not math.isclose(total, limit):
        message = f"{plan.jobs} jobs of {kind} {plan.model} cost {total:g} {price.currency}, and --spend is {limit:g}"
        raise Refused(f"{message}: nothing was sent", code=MISUSED)


def _print_plan(settings: Settings, options: CheckOptions, descriptor: ProviderDescriptor, plan: _Plan) -> None:
    own = settings.of(descriptor)
    where = (own.url if own is not None else None) or ", ".join(descriptor.public_hosts) or "its public API"
    print_result(f"{descriptor.name}: {plan.attempt.task_type} with {printable(plan.model)}, at {where}")
    second = "; the second one is cancelled" if plan.jobs > 1 else "; the provider can't end one, so none is cancelled"
    price = "of unknown price (without STEPWELL_PRICES, --spend is required)"
    if plan.price is not None:
        price = f"for at most {plan.price.amount * plan.jobs:g} {plan.price.currency} by STEPWELL_PRICES"
    begin = "A dry run: nothing is sent. It would send" if options.dry_run else "Sends"
    print_result(f"{begin} at most {plan.jobs} {'job' if plan.jobs == 1 else 'jobs'} {price}{second}")


class _Check:
    """Makes the calls in the order of an attempt. The files of the results stay in memory."""

    def __init__(
        self,
        descriptor: ProviderDescriptor,
        provider: RemoteProvider,
        plan: _Plan,
        downloads: HttpOutputDownloader,
        pause_s: float,
    ) -> None:
        self._descriptor, self._provider = descriptor, CheckedProvider(provider)
        self._plan, self._pause_s = plan, pause_s
        self._artifacts = ObstoreArtifacts(MemoryStore())
        task = Task(plan.attempt.task_id, position=0, attempt=1, provider=provider.type)
        absent: Any = None  # inputs that are files, and child processes
        files = FileAccess(self._artifacts, absent, absent, downloads)
        self._io = BoundAttemptIO(FileScope(), task, files, absent, absent)
        self._running: tuple[Attempt, Job] | None = None

    async def run(self) -> int:
        """Check the calls. Return the exit code: 0 if all agreed, else 1."""
        differs = None
        try:
            if await self._check_result() and self._plan.jobs > 1:
                await self._check_cancel()
        except _Differs as error:
            differs = error
            _print_outcome("DIFFERS", error.name, error.what)
        finally:
            if self._running is not None:
                attempt, job = self._running
                with anyio.move_on_after(_LEAVING_S, shield=True), suppress(StepwellError):
                    await self._provider.cancel(attempt, job)
                    print_result(f"The job {printable(job.id)} was still running: the provider was asked to cancel it.")
        print_result(f"{self._descriptor.name}: {'not all agreed, see above' if differs else 'all agreed'}")
        return FAILED if differs else 0

    # The calls

    async def _check_result(self) -> bool:
        """Submit a job, wait for it and fetch its result. Returns whether it was a job, and not an answer at once."""
        attempt = self._plan.attempt
        sent, answer = await self._submit(attempt)
        if isinstance(answer, Finished):
            _agree("submit", "the answer was the result itself, so there is no job to poll, list or cancel")
            await self._check_finished(answer)
            return False
        _agree("submit", f"the job {answer.id}")
        await self._check_listed(attempt, sent, answer)
        state = await self._until_ended(attempt, answer, _JOB_S)
        if state is None or state.status is not JobStatus.SUCCEEDED:
            raise _Differs("poll", "the job has not ended" if state is None else f"{state.status}: {state.error}")
        _agree("poll", f"succeeded: {state.word}")
        self._running = None
        await self._check_finished(await _called("fetch", self._provider.fetch(attempt, answer, self._io)))
        return True

    async def _check_cancel(self) -> None:
        attempt = replace(self._plan.attempt, task_id=uuid7(DatabaseClock().now()), seed=self._plan.attempt.seed + 1)
        _, answer = await self._submit(attempt)
        if isinstance(answer, Finished):
            return _agree("cancel", "the second answer was the result itself")
        outcome = await _called("cancel", self._provider.cancel(attempt, answer))
        if outcome is CancelAnswer.UNKNOWN_JOB:
            raise _Differs("cancel", "the provider doesn't know the job that it has just accepted")
        state = await self._until_ended(attempt, answer, _CANCELLED_S, forgets=outcome is CancelAnswer.ACCEPTED)
        if state is None:
            raise _Differs("cancel", f"{outcome}, and the job still runs after {_CANCELLED_S:g} s")
        self._running = None
        return _agree("cancel", f"{outcome}; the job ended: {state.word or state.status}")

    async def _submit(self, attempt: Attempt) -> tuple[Sent, Job | Finished]:
        request = await _called("prepare", self._provider.prepare(attempt, self._io))
        sent = Sent(request.model, digest(request.body), DatabaseClock().now())
        answer = await _called("submit", self._provider.submit(attempt, request, self._io))
        if isinstance(answer, Job):
            self._running = attempt, answer
        return sent, answer

    async def _check_listed(self, attempt: Attempt, sent: Sent, job: Job) -> None:
        """Check that the job is found as after a lost answer."""
        until = time.monotonic() + self._provider.listing_lag_s
        while True:
            listed = await _called("list", self._provider.reconcile(attempt, sent))
            if listed is None:
                return _agree("list", "the provider has no list: if an answer is lost, `on_unknown` decides")
            if any(each.id == job.id for each in listed):
                return _agree("list", "the job is found without its id, as after a lost answer")
            if time.monotonic() >= until:
                raise _Differs("list", "the job isn't found: after a lost answer it would be paid, and never used")
            await anyio.sleep(self._pause_s)

    async def _until_ended(
        self, attempt: Attempt, job: Job, seconds: float, *, forgets: bool = False
    ) -> JobState | None:
        """Return how the job has ended; None if it hasn't. *forgets*: the provider may not know it any more."""
        failed, until = 0, time.monotonic() + seconds
        while time.monotonic() < until and not job.done:
            try:
                state = await _called("poll", self._provider.poll(attempt, job))
            except _Differs as differs:
                error, failed = differs.__cause__, failed + 1
                if forgets and isinstance(error, CallFailed) and error.forgotten:
                    return JobState(status=JobStatus.CANCELLED, word="gone")
                if failed == _FAILED_POLLS or not isinstance(error, CallFailed):
                    raise
            else:
                failed = 0
                if state.status is not JobStatus.RUNNING:
                    return state
            await anyio.sleep(self._pause_s)
        return JobState(status=JobStatus.SUCCEEDED) if job.done else None

    async def _check_finished(self, finished: Finished) -> None:
        known = self._descriptor.outputs_of(self._plan.attempt.task_type)
        if known is not None and (others := finished.result.keys() - known):
            raise _Differs("fetch", f"unknown members of the result: {', '.join(sorted(others))}")
        _agree("fetch", await self._looked_at(finished.result))
        cost, price = finished.cost, self._plan.price
        known_by = "by the provider" if cost is not None else "by STEPWELL_PRICES"
        shown = cost or price
        _agree("cost", "unknown" if shown is None else f"{shown.amount:g} {shown.currency} {known_by}")

    async def _looked_at(self, result: Mapping[str, Any]) -> str:
        """Return what the result has: a text, or files. Raises `_Differs` if it isn't what the task type gives."""
        output = TASK_TYPES[self._plan.attempt.task_type].output
        if output == "text":
            if not (text := result.get("result_text")):
                raise _Differs("fetch", "the result has no text")
            return f"a text of {len(str(text))} characters"
        sizes = {path: file.size for path, file in self._io.stored.items() if file.size}
        if (named := result.get(f"result_{output}_path")) not in sizes:
            raise _Differs("fetch", f"the result has no {output}")
        kinds = {path: filetype.guess_mime(await self._artifacts.get(path)) for path in sizes}
        if not (kind := str(kinds[named])).startswith(f"{output}/"):
            raise _Differs("fetch", f"the file is no {output}, but {kind}")
        return ", ".join(f"{kinds[path]} of {size:,} bytes" for path, size in sizes.items())


async def _called(name: str, call: Awaitable[T]) -> T:
    """Return the outcome of the *call*. Raises `_Differs` from any error of it."""
    try:
        return await call
    except Exception as error:  # a provider's code may raise anything
        # The text of an unexpected error may have the key.
        what = str(error) if isinstance(error, StepwellError) else f"internal error: {type(error).__name__}"
        paid = "; there may be a job, which is paid" if isinstance(error, OutcomeUnknown) else ""
        raise _Differs(name, what + paid) from error


def _agree(name: str, what: str) -> None:
    _print_outcome("agrees", name, what)


def _print_outcome(outcome: str, name: str, what: str) -> None:
    print_result(f"  {outcome:<9}{name:<8}{printable(what)}")
