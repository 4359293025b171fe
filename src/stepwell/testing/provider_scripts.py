"""The scripts of providers, and the ledger of the calls that they get.

A test writes:

    providers.fal.on("GENERATION").fails("busy").times(2).then.returns({"result_image_path": png()}, cost="0.04")

`scripted_providers` has the providers that these scripts control.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from io import BytesIO
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct
from PIL import Image

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.contract.tasks import Cost
from stepwell.ports.providers import Attempt


class ProviderCall(Struct, kw_only=True):
    """One attempt that a provider was asked for.

    `inputs` is the step's config after defaults and mappings. `outcome` is "running" until the call has ended.
    """

    provider: ProviderType
    task_type: TaskType
    model: str
    workflow_id: UUID
    step_id: str
    task_id: UUID
    attempt: int
    tenant: str | None
    inputs: Mapping[str, Any]
    provider_config: Mapping[str, Any]
    seed: int
    outcome: Literal["running", "succeeded", "failed", "cancelled"] = "running"


class Answer(Struct, frozen=True, kw_only=True):
    """A scripted answer: a *result*, or a failure with an *error*. It comes *delay_s* after the call."""

    result: Mapping[str, Any] = {}
    error: str | None = None
    retryable: bool = True
    retry_after_s: float | None = None
    cost: Cost | None = None
    delay_s: float = 0.0


class CallScript:
    """The answers to the calls of one task type at one provider, in order. The last one is repeated."""

    def __init__(self, provider: ProviderType, matches: Callable[[ProviderCall], bool], *, is_free: bool) -> None:
        self.matches = matches
        self._provider, self._is_free = provider, is_free
        self._answers: list[tuple[Answer, float]] = []  # each with how many calls get it
        self._last: Answer | None = None

    def returns(
        self,
        result: Mapping[str, Any] | None = None,
        *,
        cost: str | Decimal | float | None = None,
        currency: str = "USD",
        delay_s: float = 0.0,
    ) -> "LastAnswer":
        """Answer with *result*. Each value in it that is `bytes` is stored as a file, and replaced by the file's path.

        *cost* is what the provider reports; one that works in-process reports none. *delay_s* passes on the clock of
        the test.
        """
        if cost is not None and self._is_free:
            raise ValueError(f"{self._provider} costs nothing: leave cost out")
        reported = None if cost is None else Cost(float(cost), currency, "provider")
        return self._add(Answer(result=dict(result or {}), cost=reported, delay_s=delay_s))

    def fails(
        self,
        error: str = "scripted failure",
        *,
        retryable: bool = True,
        retry_after_s: float | None = None,
        delay_s: float = 0.0,
    ) -> "LastAnswer":
        """Fail the attempt with the message *error*. If it is *retryable*, the step is tried again as in production."""
        return self._add(Answer(error=error, retryable=retryable, retry_after_s=retry_after_s, delay_s=delay_s))

    def never_ends(self) -> "LastAnswer":
        """Give no answer. The attempt runs until it is cancelled, its time has ended, or the service stops."""
        return self._add(Answer(delay_s=math.inf))

    def next_answer(self) -> Answer | None:
        """Return the answer to the next call; None if nothing is scripted."""
        if not self._answers:
            return self._last
        answer, times = self._answers[0]
        self._last = answer
        if times > 1:
            self._answers[0] = answer, times - 1
        else:
            del self._answers[0]
        return answer

    def _add(self, answer: Answer) -> "LastAnswer":
        self._answers.append((answer, 1))
        return LastAnswer(self, self._repeat_last)

    def _repeat_last(self, times: int) -> None:
        if times < 1:
            raise ValueError("times is at least 1")
        self._answers[-1] = self._answers[-1][0], times


class LastAnswer:
    """The last answer of a script: `times` says how many calls get it, `then` continues the script."""

    def __init__(self, script: CallScript, repeat: Callable[[int], None]) -> None:
        self._script, self._repeat = script, repeat

    @property
    def then(self) -> CallScript:
        return self._script

    def times(self, count: int) -> "LastAnswer":
        self._repeat(count)
        return self


class ProviderScript:
    """The scripts of one provider. `calls` is the ledger of it, in the order of the calls."""

    def __init__(self, kind: ProviderType) -> None:
        self.type = kind
        self.calls: list[ProviderCall] = []
        self._scripts: list[CallScript] = []
        self._can_do: Callable[[TaskType], bool] = lambda _: True
        self._is_free = False

    def on(self, task_type: TaskType | str, *, step_id: str | None = None, model: str | None = None) -> CallScript:
        """Begin a script for the calls of *task_type*: all of them, or those of a step or a model.

        A later script takes precedence over an earlier one. Raises ValueError if the provider can't do such tasks.
        """
        wanted = TaskType(task_type)
        if not self._can_do(wanted):
            raise ValueError(f"{self.type} can't do {wanted}")

        def matches(call: ProviderCall) -> bool:
            return (
                call.task_type is wanted
                and (step_id is None or call.step_id == step_id)
                and (model is None or call.model == model)
            )

        script = CallScript(self.type, matches, is_free=self._is_free)
        self._scripts.insert(0, script)
        return script

    def reset(self) -> None:
        self._scripts.clear()
        self.calls.clear()

    def bind(self, can_do: Callable[[TaskType], bool], *, is_free: bool) -> None:
        """Let `on` refuse the task types that the provider can't do, and answers with a cost if it costs nothing."""
        self._can_do, self._is_free = can_do, is_free

    def begin(self, attempt: Attempt, model: str) -> tuple[ProviderCall, Answer | None]:
        """Record the call, and return its answer; None if none is scripted."""
        call = ProviderCall(
            provider=self.type,
            task_type=attempt.task_type,
            model=model,
            workflow_id=attempt.workflow_id,
            step_id=attempt.step_id,
            task_id=attempt.task_id,
            attempt=attempt.number,
            tenant=attempt.tenant,
            inputs=attempt.inputs,
            provider_config=attempt.provider_config,
            seed=attempt.seed,
        )
        self.calls.append(call)
        for script in self._scripts:
            if script.matches(call):
                return call, script.next_answer()
        return call, None


class ProviderScripts:
    """The scripts of all installed providers: `providers.fal.on(...)`.

    LOCAL, and what packages bring that works in-process, do their real work unless a script says otherwise.
    """

    def __init__(self, names: Iterable[ProviderType]) -> None:
        self.by_type = {name: ProviderScript(name) for name in names}

    def __getitem__(self, kind: ProviderType | str) -> ProviderScript:
        return self.by_type[ProviderType(kind)]

    def __getattr__(self, name: str) -> ProviderScript:
        """Return the script of the provider of this name, in lower case."""
        try:
            return self.__dict__["by_type"][ProviderType(name.upper())]  # type: ignore[no-any-return]
        except KeyError:
            raise AttributeError(f"no provider {name.upper()} is installed") from None

    @property
    def calls(self) -> list[ProviderCall]:
        """All calls, by provider, then in their order."""
        return [call for script in self.by_type.values() for call in script.calls]

    def repeated_calls(self) -> list[ProviderCall]:
        """Return the calls of attempts that were requested more than once. Each may have been paid for twice."""
        counts = Counter(call.task_id for call in self.calls)
        return [call for call in self.calls if counts[call.task_id] > 1]

    def reset(self) -> None:
        for script in self.by_type.values():
            script.reset()


def png(width: int = 64, height: int = 64, color: tuple[int, int, int] = (90, 120, 200)) -> bytes:
    """Return a PNG image of one color, for the result of a scripted provider or an upload."""
    file = BytesIO()
    Image.new("RGB", (width, height), color).save(file, "PNG")
    return file.getvalue()


def files_of(result: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield the values of *result* that are files, with their keys. Values of lists have keys like `images[0]`."""
    for key, value in result.items():
        if isinstance(value, bytes):
            yield key, value
        elif isinstance(value, list):
            yield from ((f"{key}[{index}]", each) for index, each in enumerate(value) if isinstance(each, bytes))
