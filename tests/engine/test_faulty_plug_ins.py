"""What the code of a plug-in may do wrong: it fails its step in clear words, and the service runs on."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from stepwell.contract.enums import ProviderType, TaskType
from stepwell.plugin import (
    Attempt,
    AttemptError,
    AttemptIO,
    CancelAnswer,
    Cost,
    Finished,
    InProcess,
    Job,
    JobState,
    JobStatus,
    Provider,
    Request,
    Sent,
)
from stepwell.testing import MemoryDatabase
from support.providers.scripted import scripted_step
from support.service.live_service import Service, running_service

Act = Callable[[], Any]


class PanicError(BaseException):
    """As extension modules raise it: no `Exception`."""


class Here(InProcess):
    """Does in `run` what the test says."""

    type = ProviderType.GEMINI

    def __init__(self) -> None:
        self.acts: dict[str, Act] = {}

    def capabilities(self, _task_type: TaskType, /) -> frozenset[str] | None:
        return frozenset()

    async def run(self, _attempt: Attempt, _io: AttemptIO, /) -> dict[str, Any]:
        result: dict[str, Any] = self.acts["run"]()
        return result


class Elsewhere:
    """Does in each method what the test says, or what is right."""

    type = ProviderType.VERTEX
    needs_credential = False
    listing_lag_s = 0.0

    def __init__(self) -> None:
        self.acts: dict[str, Act] = {}
        self.submits = 0

    def _do(self, method: str, right: Any) -> Any:
        return self.acts[method]() if method in self.acts else right

    def capabilities(self, _task_type: TaskType, /) -> frozenset[str] | None:
        return frozenset()

    def model(self, _task_type: TaskType, _provider_config: Mapping[str, Any], /) -> str:
        return "m"

    def ends_jobs(self, _model: str, /) -> bool:
        return bool(self._do("ends_jobs", right=True))

    async def prepare(self, _attempt: Attempt, _io: AttemptIO, /) -> Request:
        return self._do("prepare", Request(model="m", body={}))  # type: ignore[no-any-return]

    async def submit(self, _attempt: Attempt, _request: Request, _io: AttemptIO, /) -> Job | Finished:
        self.submits += 1
        return self._do("submit", Job(id="j"))  # type: ignore[no-any-return]

    async def poll(self, _attempt: Attempt, _job: Job, /) -> JobState:
        return self._do("poll", JobState(status=JobStatus.SUCCEEDED))  # type: ignore[no-any-return]

    async def fetch(self, _attempt: Attempt, _job: Job, _io: AttemptIO, /) -> Finished:
        return self._do("fetch", Finished({}))  # type: ignore[no-any-return]

    async def cancel(self, _attempt: Attempt, _job: Job, /) -> CancelAnswer:
        return CancelAnswer.ENDED

    def called_back(self, _body: bytes, /) -> Job | None:
        return None

    async def reconcile(self, _attempt: Attempt, _sent: Sent, /) -> Sequence[Job] | None:
        return self._do("reconcile", [])  # type: ignore[no-any-return]


AT_ONCE = {"retry": {"base_s": 0}}
HERE, ELSEWHERE = Here(), Elsewhere()


@pytest.fixture
async def service(memory: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Service]:
    HERE.acts, ELSEWHERE.acts, ELSEWHERE.submits = {}, {}, 0
    providers: list[Provider] = [HERE, ELSEWHERE]
    async with running_service(memory, tmp_path / "data", providers=providers, poll_interval_s=0.01) as running:
        yield running


def raising(error: BaseException) -> Act:
    def act() -> Any:
        raise error

    return act


async def run(service: Service, provider: ProviderType, **members: Any) -> dict[str, Any]:
    """Run one step at the provider. Then another step runs, and the tasks can be read."""
    step = scripted_step("a", **({"max_retries": 0} | members)) | {"provider_config": {"provider_type": provider}}
    workflow = await service.until_ended((await service.create(step, config=AT_ONCE))["id"])
    await service.tasks(workflow["id"])
    HERE.acts["run"] = dict
    after = scripted_step("a") | {"provider_config": {"provider_type": HERE.type}}
    assert (await service.until_ended((await service.create(after))["id"]))["status"] == "COMPLETED"
    return workflow


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (raising(PanicError()), "internal error: ProviderCrashed"),
        (raising(SystemExit(1)), "internal error: ProviderCrashed"),
        (lambda: None, "GEMINI: run returned what can't be used: Expected `dict`, got `NoneType`"),
    ],
)
async def test_an_in_process_provider_fails_its_step_only(service: Service, act: Act, error: str) -> None:
    HERE.acts["run"] = act
    assert (await run(service, HERE.type))["errors"] == [f"a: {error}"]


@pytest.mark.parametrize(
    ("method", "act", "error"),
    [
        ("prepare", lambda: None, "VERTEX: prepare returned what can't be used: Expected `Request`, got `NoneType`"),
        ("prepare", lambda: Request(model=5, body={}), "Expected `str`, got `int` - at `$.model`"),  # type: ignore[arg-type]
        ("prepare", lambda: Request(model="a\0b", body={}), "- at `$.model`"),
        ("prepare", raising(PanicError()), "internal error: ProviderCrashed"),
        ("submit", lambda: None, "VERTEX: submit returned what can't be used: Expected `Job`, got `NoneType`"),
        ("submit", lambda: Job(id=5), "Expected `str`, got `int` - at `$.id`"),  # type: ignore[arg-type]
        ("submit", lambda: Job(id="a\0b"), "- at `$.id`"),
        ("submit", lambda: Job(id="j" * 501), "Expected `str` of length <= 500 - at `$.id`"),
        ("submit", lambda: Job(id="j", urls={"a": 5}), "Expected `str`, got `int` - at `$.urls[...]`"),  # type: ignore[dict-item]
        ("submit", lambda: Finished(None), "Expected `object`, got `null`"),  # type: ignore[arg-type]
        ("submit", raising(PanicError()), "VERTEX: internal error: ProviderCrashed"),
        ("fetch", dict, "VERTEX: fetch returned what can't be used: Expected `Finished`, got `dict`"),
    ],
)
async def test_what_a_remote_provider_returns_is_checked_before_it_is_stored(
    service: Service, method: str, act: Act, error: str
) -> None:
    ELSEWHERE.acts[method] = act
    workflow = await run(service, ELSEWHERE.type)
    assert error in workflow["errors"][0]
    assert ELSEWHERE.submits == (method != "prepare")


@pytest.mark.parametrize(
    "cost",
    [
        Cost(float("nan"), "USD", "provider"),
        Cost(-1.0, "USD", "provider"),
        Cost("many", "USD", "provider"),  # type: ignore[arg-type]
        Cost(1.0, "USD", "nobody"),  # type: ignore[arg-type]
        5,
    ],
)
async def test_finished_work_is_kept_without_a_cost_that_cannot_be_used(service: Service, cost: Any) -> None:
    ELSEWHERE.acts["submit"] = lambda: Finished({"a": 1}, cost)
    workflow = await run(service, ELSEWHERE.type)
    assert workflow["steps"][0]["result"] == {"a": 1}
    assert [task["cost"] for task in await service.tasks(workflow["id"])] == [None]


UNKNOWN: Any = "x"


@pytest.mark.parametrize(
    "act", [lambda: None, lambda: JobState(status=UNKNOWN), raising(PanicError()), raising(ValueError())]
)
async def test_a_poll_that_fails_is_repeated(service: Service, act: Act) -> None:
    def once() -> Any:
        del ELSEWHERE.acts["poll"]
        return act()

    ELSEWHERE.acts["poll"] = once
    assert (await run(service, ELSEWHERE.type))["status"] == "COMPLETED"


@pytest.mark.parametrize("act", [lambda: [5], lambda: 5, lambda: [Job(id=5)], raising(ValueError())])  # type: ignore[arg-type]
async def test_a_search_for_a_lost_job_that_fails_is_repeated(service: Service, act: Act) -> None:
    def once() -> Any:
        ELSEWHERE.acts["reconcile"] = lambda: [Job(id="found")]
        return act()

    ELSEWHERE.acts |= {"submit": raising(ValueError()), "reconcile": once}
    assert (await run(service, ELSEWHERE.type))["status"] == "COMPLETED"
    assert ELSEWHERE.submits == 1


@pytest.mark.parametrize("seconds", ["soon", object(), float("nan"), "0"])
async def test_a_retry_after_may_be_anything(service: Service, seconds: Any) -> None:
    ELSEWHERE.acts["submit"] = raising(AttemptError("later", retryable=True, retry_after_s=seconds))
    retry = {"max_retries": 1}
    assert (await run(service, ELSEWHERE.type, **retry))["errors"] == ["a: later"]
    assert ELSEWHERE.submits == 2


async def test_a_time_out_holds_if_nobody_knows_whether_a_job_can_be_ended(service: Service) -> None:
    ELSEWHERE.acts |= {"ends_jobs": raising(ValueError()), "poll": lambda: JobState(status=JobStatus.RUNNING)}
    workflow = await run(service, ELSEWHERE.type, config={"timeout_s": 0.2})
    assert "timed out after 0.2 s; its job can't be ended there" in workflow["errors"][0]
