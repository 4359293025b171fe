"""The provider LOCAL, which needs no key, no network and no GPU."""

from collections.abc import Iterable, Mapping
from typing import Any

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.domain.errors import AttemptError, Fault
from stepwell.domain.steps import KnownStep
from stepwell.outbound.sanitise import invalid_input
from stepwell.ports.providers import LIGHT, Attempt, AttemptIO, UrlReader, WorkWeight
from stepwell.providers.in_process import InProcess
from stepwell.providers.local.pool import Pool
from stepwell.providers.local.weights import weigh_job
from stepwell.providers.local.work import KINDS, RenderJob, RenderKind, perform

MAX_REFERENCES = 16
MAX_SEED = 2**63 - 1


class LocalProvider(InProcess):
    """Implements `InProcessProvider` with classical image processing. It doesn't understand images or prompts.

    The engine limits how many attempts run at once. Each attempt has its own worker process.
    """

    type = ProviderType.LOCAL

    def __init__(self, max_memory: int | None = None) -> None:
        self._max_memory = max_memory
        self._pool = Pool()

    def capabilities(self, task_type: TaskType) -> frozenset[str] | None:
        kind = KINDS.get(task_type)
        return kind.capabilities if kind else None

    def url_reader(self, _task_type: TaskType, _name: str, _provider_config: Mapping[str, Any], /) -> UrlReader | None:
        return UrlReader.STEPWELL

    def refusals(self, step: KnownStep) -> Iterable[Fault]:
        """Return the fault of a step that needs more memory than there is, whatever its files turn out to be."""
        if step.unresolved or self._max_memory is None:
            return
        try:
            weigh_job(step.task_type, step.inputs, {}).check_fits(self._max_memory)
        except AttemptError as error:
            yield Fault(("config",), str(error), "provider_refuses")

    async def run(self, attempt: Attempt, io: AttemptIO) -> dict[str, Any]:
        kind = KINDS.get(attempt.task_type)
        if kind is None:
            raise AttemptError(f"LOCAL can't do {attempt.task_type}", retryable=False)
        seed = _seed(attempt)
        files = await _fetch_files(kind, attempt.inputs, io)
        job = {"task_type": str(attempt.task_type), "inputs": dict(attempt.inputs), "files": files, "seed": seed}
        answer = await self._perform(job, io)
        if "error" in answer:
            raise AttemptError(answer["error"], retryable=answer["retryable"], provider_fault=answer["provider_fault"])
        output = await io.store(kind.name, answer["data"])
        path_field = "result_video_path" if attempt.task_type is TaskType.VIDEO_GENERATION else "result_image_path"
        return {path_field: output.path, **answer["result"], "seed": seed, "size": output.size}

    async def _perform(self, job: RenderJob, io: AttemptIO) -> dict[str, Any]:
        """Do the job. A worker for light work weighs it; heavy work then waits for a worker of its weight."""
        async with io.worker(LIGHT):
            answer = await self._pool.run(perform, job | {"light_only": True})
        if "cost" in answer:
            io.charge(answer["cost"])
        if "memory" not in answer:
            return answer
        weight = WorkWeight(answer["cost"], answer["memory"])
        async with io.worker(weight):
            return await self._pool.run(perform, job | {"light_only": False}, weight)


def _seed(attempt: Attempt) -> int:
    """Return the seed in the inputs, else the random seed of the attempt."""
    seed = attempt.inputs.get("seed")
    if seed is None:
        return attempt.seed
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise invalid_input("seed", "must be an integer from 0 to 2^63 - 1")
    return seed


async def _fetch_files(kind: RenderKind, inputs: Mapping[str, Any], io: AttemptIO) -> dict[str, bytes]:
    """Fetch the inputs that are files. The files of a list are named `field[0]`, `field[1]`..."""
    files: dict[str, bytes] = {}
    for field in kind.files:
        if (reference := inputs.get(field)) is not None:
            files[field] = await _fetch(reference, field, io)
    for field in kind.many:
        references = inputs.get(field) or []
        if not isinstance(references, list) or len(references) > MAX_REFERENCES:
            raise invalid_input(field, f"must be a list of at most {MAX_REFERENCES} strings")
        for place, reference in enumerate(references):
            name = f"{field}[{place}]"
            files[name] = await _fetch(reference, name, io)
    return files


async def _fetch(reference: object, field: str, io: AttemptIO) -> bytes:
    if not isinstance(reference, str):
        raise invalid_input(field, "must be a string: an artifact path, an http(s) URL or a data URI")
    return (await io.fetch(reference, field)).data
