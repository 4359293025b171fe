"""The provider LOCAL, which needs no key, no network and no GPU."""

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AsyncExitStack
from functools import cache
from typing import Any

from stepwell.basics.errors import AttemptError, Fault
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.contract.task_configs import CONFIGS
from stepwell.lifecycle.steps import KnownStep, StepMembers
from stepwell.outbound.sanitise import invalid_input
from stepwell.ports.providers import LIGHT, Attempt, AttemptIO, UrlReader, WorkWeight
from stepwell.providers.in_process import InProcess
from stepwell.providers.local.descriptor import LOCAL
from stepwell.providers.local.kinds import KINDS, RenderKind
from stepwell.providers.local.pool import NamedFunction, Pool
from stepwell.providers.local.sizes import image_count
from stepwell.providers.local.weights import weigh_work
from stepwell.providers.shared.refusals import seed_of
from stepwell.providers.shared.result_storage import file_name
from stepwell.providers.shared.setup import ProviderSetup
from stepwell.runtime.memory import default_local_max_bytes, default_max_bytes
from stepwell.runtime.temporary_files import path_for_others
from stepwell.settings import Settings

MAX_REFERENCES = 16
_PERFORM = NamedFunction[dict[str, Any], dict[str, Any]]("stepwell.providers.local.work:perform")
_SIZES = frozenset({"width", "height"})  # as long as the files are unknown, the least memory depends on these inputs


class LocalProvider(InProcess):
    """Implements `InProcessProvider` with classical image processing. It doesn't understand images or prompts.

    The engine limits how many attempts run at once. Each attempt has its own child process.
    """

    type = ProviderType.LOCAL

    def __init__(self, max_memory: int | None = None) -> None:
        self._max_memory = max_memory
        self._pool = Pool(math.inf if max_memory is None else max_memory)

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:
        kind = KINDS.get(task_type)
        return kind.capabilities if kind else None

    def members(self, task_type: TaskType, _provider_config: Mapping[str, Any], /) -> StepMembers:
        return _members(task_type)

    def url_reader(self, _task_type: TaskType, _name: str, _provider_config: Mapping[str, Any], /) -> UrlReader | None:
        return UrlReader.STEPWELL

    def refusals(self, step: KnownStep) -> Iterable[Fault]:
        """Return the fault of a step that needs more memory than there is, however small its files are."""
        if step.unresolved & _SIZES or self._max_memory is None:
            return
        try:
            weigh_work(KINDS[step.task_type].weigh, step.inputs, {}).check_fits(self._max_memory)
        except AttemptError as error:
            yield Fault(("config",), str(error), "provider_refuses")

    async def run(self, attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
        kind = KINDS.get(attempt.task_type)
        if kind is None:
            raise AttemptError(f"LOCAL can't do {attempt.task_type}", retryable=False)
        seed = seed_of(attempt.inputs, attempt.seed)
        inputs = {field: value for field, value in attempt.inputs.items() if field not in {*kind.files, *kind.many}}
        async with AsyncExitStack() as stack:
            files = {
                field: await stack.enter_async_context(io.input_file(reference, field))
                for field, reference in _references(kind, attempt.inputs)
            }
            is_list = attempt.task_type is TaskType.GENERATION and inputs.get("num_images") is not None
            count = image_count(inputs) if is_list else 1
            outputs = [await stack.enter_async_context(io.temporary_file()) for _ in range(count)]
            job = {"task_type": str(attempt.task_type), "inputs": inputs, "files": files, "seed": seed}
            outcome = await self._perform(job | {"outputs": [*map(path_for_others, outputs)]}, io)
            if "error" in outcome:
                again, own_fault = outcome["retryable"], outcome["provider_fault"]
                raise AttemptError(outcome["error"], retryable=again, provider_fault=own_fault)
            numbered = enumerate(outputs, 1)
            stored = [await io.store_file(file_name(number, kind.suffix), file) for number, file in numbered]
        path_field = "result_video_path" if attempt.task_type is TaskType.VIDEO_GENERATION else "result_image_path"
        result = {path_field: stored[0].path, **outcome["result"], "seed": seed, "size": stored[0].size}
        return result | ({f"{path_field}s": [each.path for each in stored]} if is_list else {})

    async def _perform(self, job: dict[str, Any], io: AttemptIO) -> dict[str, Any]:
        """Do the job. A child process for light work weighs it; heavy work then waits for one of its weight.

        While the disk is full, the work is done again after a pause.
        """
        outcome = await self._run(job | {"light_only": True}, LIGHT, io)
        if "cost" in outcome:
            io.charge(outcome["cost"])
        weight = WorkWeight(outcome["cost"], outcome["memory"]) if "memory" in outcome else LIGHT
        while "memory" in outcome or "disk_full" in outcome:
            if "disk_full" in outcome:
                await io.wait_for_disk(outcome["disk_full"])
            outcome = await self._run(job | {"light_only": False}, weight, io)
        return outcome

    async def _run(self, job: dict[str, Any], weight: WorkWeight, io: AttemptIO) -> dict[str, Any]:
        async with io.child_process(weight):
            return await self._pool.run(_PERFORM, job, weight)


@cache
def _members(task_type: TaskType) -> StepMembers:
    """Return the members that LOCAL knows. It uses a prompt only to draw, and nothing of `provider_config`."""
    known = frozenset(CONFIGS[task_type].__struct_fields__)
    inputs = known if task_type is TaskType.GENERATION else known - {"prompt"}
    outputs = LOCAL.outputs_of(task_type)
    return StepMembers(inputs=inputs, config=frozenset({"provider_type"}), outputs=outputs)


def _references(kind: RenderKind, inputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the inputs that are files, by field. The files of a list are named `field[0]`, `field[1]`..."""
    for field in kind.files:
        if (reference := inputs.get(field)) is not None:
            yield field, _reference(reference, field)
    for field in kind.many:
        references = inputs.get(field) or []
        if not isinstance(references, list) or len(references) > MAX_REFERENCES:
            raise invalid_input(field, f"must be a list of at most {MAX_REFERENCES} strings")
        for index, reference in enumerate(references):
            name = f"{field}[{index}]"
            yield name, _reference(reference, name)


def _reference(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise invalid_input(field, "must be a string: an artifact path, an http(s) URL or a data URI")
    return value


def local_memory(settings: Settings) -> int:
    """Return the bytes that LOCAL's child processes may use together."""
    configured = settings.local_memory_max_bytes
    return configured or default_local_max_bytes(settings.memory_max_bytes or default_max_bytes())


def build(setup: ProviderSetup[None]) -> LocalProvider:
    return LocalProvider(local_memory(setup.settings))
