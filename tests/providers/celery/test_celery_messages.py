"""The messages between the service and its workers."""

from typing import Any
from uuid import UUID

import pytest
from msgspec import json

from stepwell.basics.errors import AttemptError
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.providers.celery import messages
from stepwell.providers.celery.job_records import JobPhase, read_result
from stepwell.providers.celery.messages import (
    VERSION,
    AttemptMessage,
    ReportedError,
    ResultMessage,
    UnreadableMessage,
    decode,
    encode,
)

ID = UUID("0197a5f0-1c2d-7e3f-8a4b-5c6d7e8f9a0b")
MESSAGE = AttemptMessage(
    provider=ProviderType.LOCAL,
    task_id=ID,
    workflow_id=ID,
    tenant="acme",
    step_id="draw",
    task_type=TaskType.GENERATION,
    number=2,
    inputs={"prompt": "ünïcode", "object": {"__type__": "datetime", "__value__": "now"}},
    provider_config={},
    seed=2**63 - 1,
    timeout_s=12.5,
    artifacts={f"media/{ID}/result.png": 12},
)


def test_a_message_is_read_as_it_was_written() -> None:
    assert decode(encode(MESSAGE), AttemptMessage) == MESSAGE


@pytest.mark.parametrize(("version", "age"), [(VERSION + 1, "newer"), (VERSION - 1, "older")])
def test_a_message_of_another_version_is_refused_with_both_versions(version: int, age: str) -> None:
    other = json.encode({"version": version, "of": "another form"}).decode()
    with pytest.raises(UnreadableMessage) as refusal:
        decode(other, AttemptMessage)
    assert str(refusal.value) == f"its version {version} is {age} than {VERSION}, which this one reads"


@pytest.mark.parametrize("text", ["", "no", "[]", "{}", '{"version": 1}', '{"version": "1"}', None, {"version": 1}])
def test_a_text_that_is_no_message_is_refused(text: Any) -> None:
    with pytest.raises(UnreadableMessage):
        decode(text, AttemptMessage)


def test_an_error_keeps_all_that_the_engine_decides_by() -> None:
    error = AttemptError("bad input", retryable=False, provider_fault=False, request_fault=True)
    message = decode(encode(ResultMessage(error=ReportedError.of(error))), ResultMessage)
    assert message.error == ReportedError(
        message="bad input", retryable=False, provider_fault=False, request_fault=True
    )


def test_the_version_of_a_message_is_in_it() -> None:
    assert json.decode(encode(ResultMessage(result={})))["version"] == messages.VERSION


@pytest.mark.parametrize("text", ["{}", '{"version": 1}', '{"version": 1, "outputs": []}'])
def test_an_end_without_a_result_and_an_error_is_refused(text: str) -> None:
    with pytest.raises(UnreadableMessage):
        decode(text, ResultMessage)


@pytest.mark.parametrize("data", ["no JSON", "[]", "1", "[" * 100_000, '"' + "x" * 2**24 + '"'])
def test_a_result_that_cannot_be_read_is_a_failure(data: str) -> None:
    assert read_result(data).phase is JobPhase.FAILURE


def test_a_status_of_celery_that_is_not_final_means_that_the_job_has_started() -> None:
    assert read_result('{"status": "RETRY", "result": null}').phase is JobPhase.STARTED
