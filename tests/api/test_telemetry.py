"""Logs: one form for all of them, and no secrets in them."""

import json
import logging

import pytest
import structlog
from structlog.testing import capture_logs

from stepwell.runtime.telemetry import REDACTED, Distribution, Metrics, configure_logging, redact


def raised() -> RuntimeError:
    """An error with a traceback in whose frame a secret stands."""

    def fail(hidden: str) -> None:
        raise RuntimeError("broken" if hidden else "")

    with pytest.raises(RuntimeError) as caught:
        fail("hunter" + str(2))
    return caught.value


@pytest.mark.parametrize(
    "key", ["authorization", "Authorization", "token", "access_token", "jwt_secret", "PASSWORD", "api_key", "x-api-key"]
)
def test_secrets_are_redacted_by_name_at_any_depth(key: str) -> None:
    event = {"event": "x", key: "hunter2", "headers": {key: "hunter2"}, "list": [{"a": {key: ["hunter2"]}}]}
    clean = redact(None, "info", event)
    assert "hunter2" not in repr(clean)
    assert clean[key] == REDACTED


def test_other_keys_stay() -> None:
    event = {"event": "a token was refused", "max_tokens": 5, "secrets_found": 0, "steps": ("a", "b")}
    assert redact(None, "info", event) == event | {"steps": ["a", "b"]}


@pytest.mark.usefixtures("restored_logging")
def test_json_lines_for_ours_and_the_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("json", "info")
    structlog.get_logger("stepwell.x").error("failed", token="hunter2", exc_info=raised())
    structlog.get_logger("stepwell.x").debug("too quiet")
    logging.getLogger("some.library").warning("theirs %d", 1)
    logging.getLogger("httpx").info("GET https://example.com/?token=hunter2")
    text = capsys.readouterr().err
    ours, theirs = map(json.loads, text.splitlines())
    assert (ours["event"], ours["level"], ours["logger"], ours["token"]) == ("failed", "error", "stepwell.x", REDACTED)
    assert "RuntimeError: broken" in ours["exception"]
    assert (theirs["event"], theirs["level"]) == ("theirs 1", "warning")
    assert "hunter2" not in text


@pytest.mark.usefixtures("restored_logging")
def test_the_console_shows_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("console", "warning")
    structlog.get_logger("stepwell.x").error("failed", exc_info=raised())
    text = capsys.readouterr().err
    assert "RuntimeError: broken" in text
    assert "hunter2" not in text


def test_two_apps_share_no_numbers() -> None:
    one, two = Metrics(), Metrics()
    one.requests.labels("/", "GET", 200).inc()
    labels = {"route": "/", "method": "GET", "status": "200"}
    assert one.registry.get_sample_value("stepwell_http_requests_total", labels) == 1
    assert two.registry.get_sample_value("stepwell_http_requests_total", labels) is None


def test_a_value_is_in_the_bucket_whose_end_it_does_not_exceed() -> None:
    distribution = Distribution((0.5, 1))
    for value in (0, 0.5, 0.75, 1, 1.25):
        distribution.observe(value)
    assert distribution.buckets() == [("0.5", 2), ("1.0", 4), ("+Inf", 5)]
    assert distribution.total == 3.5


def test_a_merged_distribution_has_the_values_of_both() -> None:
    one, two = Distribution((0.5, 1)), Distribution((0.5, 1))
    one.observe(0.25)
    two.observe(0.75)
    two.observe(2)
    one.merge(two)
    assert one.buckets() == [("0.5", 1), ("1.0", 2), ("+Inf", 3)]
    assert (one.observed, one.total) == (3, 3.0)
    assert (two.observed, two.total) == (2, 2.75)


def test_reading_one_value_reads_no_other_metric() -> None:
    def unread() -> float:
        raise AssertionError

    metrics = Metrics()
    metrics.counters("stepwell_one", "One.", ("side",), lambda: {("left",): 1, ("right",): 2})
    metrics.watch("stepwell_other", "Other.", unread)
    with capture_logs() as lines:
        assert metrics.value("stepwell_one_total", {"side": "right"}) == 2
    assert lines == []
    with pytest.raises(KeyError):
        metrics.value("stepwell_one_total")
    with pytest.raises(KeyError):
        metrics.value("stepwell_none")


async def test_a_metric_that_cannot_be_read_hides_no_other() -> None:
    def broken() -> float:
        raise RuntimeError("gone")

    metrics = Metrics()
    metrics.watch("stepwell_broken", "It breaks.", broken)
    metrics.watch("stepwell_sound", "It works.", lambda: 7)
    text = (await metrics.exposition()).decode()
    assert "stepwell_broken" not in text
    assert "\nstepwell_sound 7.0\n" in text


async def test_no_metric_has_the_time_of_its_creation_as_a_gauge() -> None:
    metrics = Metrics()
    metrics.requests.labels("/", "GET", 200).inc()
    text = (await metrics.exposition()).decode()
    assert 'stepwell_http_requests_total{method="GET",route="/",status="200"} 1.0' in text
    assert "_created" not in text
