"""A provider that follows a script for each step and records its calls, and helpers for tests that use it.

`stepwell.testing` has the scripts for users. These can also crash, hang until a release, and ignore a cancellation.
"""

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from msgspec import Struct, field

from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.in_process import InProcess


class Succeed(Struct, frozen=True):
    result: dict[str, Any] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


class Fail(Struct, frozen=True):
    """Fail the attempt. Attempts with the number *before* or a later one succeed."""

    message: str = "no"
    retryable: bool = True
    provider_fault: bool = True
    retry_after_s: float | None = None
    before: int | None = None


class Crash(Struct, frozen=True):
    """Raise an error that a provider shouldn't raise."""

    error: type[BaseException] = RuntimeError


class Hang(Struct, frozen=True):
    """Store *files*, wait for `ScriptedProvider.release`, then do `then`."""

    then: Succeed | Fail = Succeed()
    files: dict[str, bytes] = field(default_factory=dict)


class Stubborn(Struct, frozen=True):
    """Wait for `ScriptedProvider.release` in spite of cancellations, then store *files*."""

    files: dict[str, bytes] = field(default_factory=dict)


Outcome = Succeed | Fail | Crash | Hang | Stubborn


class Call(Struct):
    step_id: str
    number: int
    task_id: UUID
    workflow_id: UUID
    seed: int
    inputs: Mapping[str, Any]
    provider_config: Mapping[str, Any]
    end: str = "running"  # then succeeded, failed, crashed or cancelled


class ScriptedProvider(InProcess):
    """A provider whose calls have the outcomes of *script*, by step id and in order, and then the outcome *default*.

    `calls` has the calls in their order. `peak` is the highest number of calls that ran at once.
    """

    def __init__(
        self,
        kind: ProviderType = ProviderType.CUSTOM,
        script: Mapping[str, Sequence[Outcome]] | None = None,
        *,
        default: Outcome | None = None,
    ) -> None:
        self.type = kind
        self.default = default or Succeed()
        self.calls: list[Call] = []
        self.running = self.peak = 0
        self._script = {step_id: list(outcomes) for step_id, outcomes in (script or {}).items()}
        self._by_workflow: dict[UUID, list[Call]] = defaultdict(list)
        self._gates: dict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:  # noqa: ARG002 - the port's
        return frozenset()

    async def run(self, attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
        call = Call(
            attempt.step_id,
            attempt.number,
            attempt.task_id,
            attempt.workflow_id,
            attempt.seed,
            attempt.inputs,
            attempt.provider_config,
        )
        self.calls.append(call)
        self._by_workflow[attempt.workflow_id].append(call)
        self.running += 1
        self.peak = max(self.peak, self.running)
        call.end = "crashed"
        try:
            planned = self._script.get(attempt.step_id)
            result = await self._do(planned.pop(0) if planned else self.default, attempt, io)
            call.end = "succeeded"
        except AttemptError:
            call.end = "failed"
            raise
        except asyncio.CancelledError:
            call.end = "cancelled"
            raise
        finally:
            self.running -= 1
        return result

    async def _do(self, outcome: Outcome, attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
        match outcome:
            case Succeed(result, files):
                await _store(files, io)
                return result
            case Fail(before=before) if before is not None and attempt.number >= before:
                return {}
            case Fail(message, retryable, provider_fault, retry_after_s):
                raise AttemptError(
                    message, retryable=retryable, provider_fault=provider_fault, retry_after_s=retry_after_s
                )
            case Crash(error):
                raise error
            case Hang(then, files):
                await _store(files, io)
                await self._gates[attempt.step_id].wait()
                return await self._do(then, attempt, io)
            case Stubborn(files):
                await _wait_in_spite_of_cancellation(self._gates[attempt.step_id])
                await _store(files, io)
                return {}

    def release(self, *step_ids: str) -> None:
        """Let the calls of these steps continue, those that hang now and later ones, until `hold`."""
        for step_id in step_ids:
            self._gates[step_id].set()

    def hold(self, *step_ids: str) -> None:
        """Let later calls of these steps hang again."""
        for step_id in step_ids:
            self._gates[step_id].clear()

    def hangs(self, step_id: str) -> bool:
        return not self._gates[step_id].is_set()

    def plan(self, step_id: str, *outcomes: Outcome) -> None:
        self._script[step_id] = list(outcomes)

    def calls_of(self, workflow_id: UUID) -> list[Call]:
        return self._by_workflow[workflow_id]

    def count(self, step_id: str) -> int:
        return sum(call.step_id == step_id for call in self.calls)

    def ends(self, step_id: str) -> list[str]:
        return [call.end for call in self.calls if call.step_id == step_id]

    def repeated(self) -> list[tuple[UUID, str, int]]:
        """Return the attempts that were submitted more than once."""
        counted = Counter((call.workflow_id, call.step_id, call.number) for call in self.calls)
        return [key for key, times in counted.items() if times > 1]

    async def until_called(self, step_id: str, times: int = 1) -> None:
        await eventually(lambda: self.count(step_id) >= times, f"{step_id} was called {times} times")


async def _store(files: Mapping[str, bytes], io: AttemptIO) -> None:
    for name, data in files.items():
        await io.store(name, data)


async def _wait_in_spite_of_cancellation(gate: asyncio.Event) -> None:
    while not gate.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await gate.wait()


async def eventually(condition: Callable[[], bool], what: str = "it", within_s: float = 120) -> None:
    """Return when *condition* holds. Raises AssertionError, which names *what*, after *within_s* seconds."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError(f"not within {within_s} s: {what}") from None


def scripted_step(
    step_id: str, *needs: str, provider: ProviderType = ProviderType.CUSTOM, **members: Any
) -> dict[str, Any]:
    """Return the definition of a step for a `ScriptedProvider`."""
    return {
        "id": step_id,
        "task_type": "GENERATION",
        "config": {"prompt": "x"} | members.pop("config", {}),
        "depends_on": list(needs),
        "provider_config": {"provider_type": provider} | members.pop("provider_config", {}),
    } | members


def passthrough_step(step_id: str, *needs: str, **members: Any) -> dict[str, Any]:
    return {"id": step_id, "task_type": "PASSTHROUGH", "depends_on": list(needs)} | members
