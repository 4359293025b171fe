"""`stepwell providers check`: runs a small paid job at the real provider, and cancels a second one.

What must hold:
- Nothing is sent if the price of both jobs together may be over the limit, or in a dry run.
- No request is sent twice. A job that still runs when the command ends, also by Ctrl-C, is cancelled.
- No output has a key: all texts are those that attempts show to users.
"""

import math
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, NoReturn, TypeVar, cast

import anyio
from msgspec import Struct
from msgspec.structs import replace

from stepwell.app.attempts import build_poll_intervals, build_prices, open_clients
from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown, StepwellError
from stepwell.basics.setting_names import credential_setting
from stepwell.basics.strict_json.canonical import digest
from stepwell.cli.errors import FAILED, INTERRUPTED, MISUSED, Refused
from stepwell.cli.output import print_result, printable
from stepwell.cli.provider_check_files import CheckedFiles
from stepwell.cli.signals import Signals, run_stoppable
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.contract.tasks import Cost
from stepwell.definition.mapping.input_mapping import checked_inputs
from stepwell.definition.provider_descriptors import ConfiguredBy, ProviderDescriptor
from stepwell.engine.attempts.checked_provider import CheckedProvider
from stepwell.lifecycle.model import Sent
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
    """A call had another outcome than Stepwell expects."""


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
            check = _Check(descriptor, CheckedProvider(provider), plan, CheckedFiles(plan.attempt.task_id, downloads))
            check.pause_s = build_poll_intervals(settings).of(provider.type).first_s
            return 0 if await check.run() else FAILED

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
    """Makes the calls in the order of an attempt. `agrees` is False once one has differed."""

    def __init__(
        self, descriptor: ProviderDescriptor, provider: CheckedProvider, plan: _Plan, files: CheckedFiles
    ) -> None:
        self._descriptor, self._provider, self._plan, self._files = descriptor, provider, plan, files
        self.agrees, self.pause_s = True, 1.0
        self._running: tuple[Attempt, Job] | None = None

    async def run(self) -> bool:
        """Check the calls. Returns whether all agreed."""
        try:
            if await self._check_result() and self._plan.jobs > 1:
                await self._check_cancel()
        except _Differs:
            pass
        finally:
            if self._running is not None:
                attempt, job = self._running
                with anyio.move_on_after(_LEAVING_S, shield=True), suppress(StepwellError):
                    await self._provider.cancel(attempt, job)
                    print_result(f"The job {printable(job.id)} was still running: the provider was asked to cancel it.")
        verdict = "all agreed" if self.agrees else "not all agreed, see above"
        print_result(f"{self._descriptor.name}: {verdict}")
        return self.agrees

    # The calls

    async def _check_result(self) -> bool:
        """Submit a job, wait for it and fetch its result. Returns whether it was a job, and not an answer at once."""
        attempt = self._plan.attempt
        sent, answer = await self._submit(attempt)
        if isinstance(answer, Finished):
            self._agree("submit", "the answer was the result itself, so there is no job to poll, list or cancel")
            self._check_finished(answer)
            return False
        self._agree("submit", f"the job {answer.id}")
        await self._check_listed(attempt, sent, answer)
        state = await self._until_ended(attempt, answer, _JOB_S)
        if state is None or state.status is not JobStatus.SUCCEEDED:
            self._differ("poll", "the job has not ended" if state is None else f"{state.status}: {state.error}")
        self._agree("poll", f"succeeded: {state.word}")
        self._running = None
        self._check_finished(await self._call("fetch", lambda: self._provider.fetch(attempt, answer, self._files)))
        return True

    async def _check_cancel(self) -> None:
        now = DatabaseClock().now()
        attempt = replace(self._plan.attempt, task_id=uuid7(now), seed=self._plan.attempt.seed + 1)
        _, answer = await self._submit(attempt)
        if isinstance(answer, Finished):
            return self._agree("cancel", "the second answer was the result itself")
        outcome = await self._call("cancel", lambda: self._provider.cancel(attempt, answer))
        if outcome is CancelAnswer.UNKNOWN_JOB:
            self._differ("cancel", "the provider doesn't know the job that it has just accepted")
        state = await self._until_ended(attempt, answer, _CANCELLED_S, forgets=outcome is CancelAnswer.ACCEPTED)
        if state is None:
            self._differ("cancel", f"{outcome}, and the job still runs after {_CANCELLED_S:g} s")
        self._running = None
        return self._agree("cancel", f"{outcome}; the job ended: {state.word or state.status}")

    async def _submit(self, attempt: Attempt) -> tuple[Sent, Job | Finished]:
        request = await self._call("prepare", lambda: self._provider.prepare(attempt, self._files))
        sent = Sent(request.model, digest(request.body), DatabaseClock().now())
        answer = await self._call("submit", lambda: self._provider.submit(attempt, request, self._files))
        if isinstance(answer, Job):
            self._running = attempt, answer
        return sent, answer

    async def _check_listed(self, attempt: Attempt, sent: Sent, job: Job) -> None:
        """Check that the job is found as after a lost answer."""
        until = time.monotonic() + self._provider.listing_lag_s
        while True:
            listed = await self._call("list", lambda: self._provider.reconcile(attempt, sent))
            if listed is None:
                return self._agree("list", "the provider has no list: if an answer is lost, `on_unknown` decides")
            if any(each.id == job.id for each in listed):
                return self._agree("list", "the job is found without its id, as after a lost answer")
            if time.monotonic() >= until:
                self._differ("list", "the job isn't found: after a lost answer it would be paid, and never used")
            await anyio.sleep(self.pause_s)

    async def _until_ended(
        self, attempt: Attempt, job: Job, seconds: float, *, forgets: bool = False
    ) -> JobState | None:
        """Return how the job has ended; None if it hasn't. *forgets*: the provider may not know it any more."""
        failed, until = 0, time.monotonic() + seconds
        while time.monotonic() < until and not job.done:
            try:
                state = await self._provider.poll(attempt, job)
            except CallFailed as error:
                if error.forgotten and forgets:
                    return JobState(status=JobStatus.CANCELLED, word="gone")
                failed += 1
                if failed == _FAILED_POLLS:
                    self._differ("poll", _text_of(error))
            except Exception as error:  # noqa: BLE001 - see `_call`
                self._differ("poll", _text_of(error))
            else:
                failed = 0
                if state.status is not JobStatus.RUNNING:
                    return state
            await anyio.sleep(self.pause_s)
        return JobState(status=JobStatus.SUCCEEDED) if job.done else None

    def _check_finished(self, finished: Finished) -> None:
        known = self._descriptor.outputs_of(self._plan.attempt.task_type)
        if known is not None and (others := finished.result.keys() - known):
            self._differ("fetch", f"unknown members of the result: {', '.join(sorted(others))}")
        if (fault := self._files.fault(finished.result, self._plan.attempt.task_type)) is not None:
            self._differ("fetch", fault)
        self._agree("fetch", self._files.summary(finished.result))
        cost, price = finished.cost, self._plan.price
        known_by = "by the provider" if cost is not None else "by STEPWELL_PRICES"
        shown = cost or price
        self._agree("cost", "unknown" if shown is None else f"{shown.amount:g} {shown.currency} {known_by}")

    # Outcomes

    async def _call(self, name: str, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await call()
        except Exception as error:  # noqa: BLE001 - a provider's code may raise anything
            self._differ(name, _text_of(error))

    def _agree(self, name: str, what: str) -> None:
        print_result(f"  agrees   {name:<8}{printable(what)}")

    def _differ(self, name: str, what: str) -> NoReturn:
        self.agrees = False
        print_result(f"  DIFFERS  {name:<8}{printable(what)}")
        raise _Differs


def _text_of(error: Exception) -> str:
    if isinstance(error, OutcomeUnknown):
        return f"{error}; there may be a job, which is paid"
    # The text of an unexpected error may have the key.
    return str(error) if isinstance(error, StepwellError) else f"internal error: {type(error).__name__}"
