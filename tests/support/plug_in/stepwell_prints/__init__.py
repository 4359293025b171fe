"""Two providers: STAMP works in-process, PRESS elsewhere, with a key and an address of its own."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from stepwell.plugin import (
    Attempt,
    AttemptError,
    AttemptIO,
    CancelAnswer,
    ConfiguredBy,
    Cost,
    Finished,
    InProcess,
    Job,
    JobState,
    JobStatus,
    OutputNames,
    ProviderDescriptor,
    ProviderSettings,
    ProviderSetup,
    ProviderType,
    Request,
    Sent,
    TaskType,
    about,
)

_OUTPUTS = OutputNames(image=frozenset({"result_image_path"}))


class Stamp(InProcess):
    """Writes the prompt of a GENERATION into a file."""

    type = ProviderType("STAMP")

    def __init__(self, setup: ProviderSetup[None]) -> None:
        self._currency = setup.settings.currency

    def capabilities(self, task_type: TaskType, /) -> frozenset[str] | None:
        return frozenset({"seed"}) if task_type is TaskType.GENERATION else None

    async def run(self, attempt: Attempt, io: AttemptIO, /) -> dict[str, Any]:
        if attempt.inputs["prompt"] == "smudge":
            raise AttemptError("the stamp is dry", retryable=False)
        stored = await io.store("stamp.txt", attempt.inputs["prompt"].encode())
        return {"result_image_path": stored.path}


class PressSettings(ProviderSettings, frozen=True, kw_only=True):
    url: Annotated[str | None, about("The print shop")] = None
    paper: Annotated[str, about("The paper of all prints")] = "plain"


class Press:
    """Prints a GENERATION. Its jobs end at their second poll, but those of a machine that is stuck."""

    type = ProviderType("PRESS")
    needs_credential = True
    listing_lag_s = 0.0

    def __init__(self, setup: ProviderSetup[PressSettings]) -> None:
        self._own, self._credentials = setup.own, setup.credentials
        self._polls: dict[str, int] = {}

    def capabilities(self, task_type: TaskType, /) -> frozenset[str] | None:
        return frozenset() if task_type is TaskType.GENERATION else None

    def model(self, _task_type: TaskType, provider_config: Mapping[str, Any], /) -> str:
        return str(provider_config.get("machine", "offset"))

    def ends_jobs(self, _model: str, /) -> bool:
        return True

    async def prepare(self, attempt: Attempt, _io: AttemptIO, /) -> Request:
        model = self.model(attempt.task_type, attempt.provider_config)
        return Request(model=model, body={"prompt": attempt.inputs["prompt"], "paper": self._own.paper})

    async def submit(self, attempt: Attempt, _request: Request, _io: AttemptIO, /) -> Job:
        self._credentials.require_key(attempt.provider_config, self.type)
        return Job(id=str(attempt.task_id))

    async def poll(self, attempt: Attempt, job: Job, /) -> JobState:
        if attempt.provider_config.get("machine") == "stuck":
            return JobState(status=JobStatus.RUNNING)
        self._polls[job.id] = self._polls.get(job.id, 0) + 1
        return JobState(status=JobStatus.RUNNING if self._polls[job.id] == 1 else JobStatus.SUCCEEDED)

    async def fetch(self, _attempt: Attempt, job: Job, io: AttemptIO, /) -> Finished:
        stored = await io.store("print.txt", f"{job.id} on {self._own.paper}".encode())
        return Finished({"result_image_path": stored.path}, Cost(0.5, "USD", "provider"))

    async def cancel(self, _attempt: Attempt, _job: Job, /) -> CancelAnswer:
        return CancelAnswer.ACCEPTED

    def called_back(self, _body: bytes, /) -> Job | None:
        return None

    async def reconcile(self, _attempt: Attempt, _sent: Sent, /) -> Sequence[Job] | None:
        return []


STAMP = ProviderDescriptor(name=ProviderType("STAMP"), build=Stamp, members=frozenset({"ink"}), outputs=_OUTPUTS)
PRESS = ProviderDescriptor(
    name=ProviderType("PRESS"),
    build="stepwell_prints:Press",
    configured_by=ConfiguredBy.CREDENTIAL,
    settings=PressSettings,
    members=frozenset({"machine"}),
    outputs=_OUTPUTS,
)
